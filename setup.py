"""Declares the compiled modules; everything else is in pyproject.toml.

HARMONY_EXTENSION says what to do about them: unset builds them where a compiler
is found, "no" never does, "yes" fails where they cannot be built.
"""

import os
import sys

from setuptools import Extension, setup

choice = os.environ.get("HARMONY_EXTENSION", "")
if choice not in ("", "yes", "no"):
    raise SystemExit(f"HARMONY_EXTENSION: expected `yes`, `no` or nothing, got `{choice}`")

flags = ["/O2"] if sys.platform == "win32" else ["-O3", "-g0"]
extensions = [
    Extension(
        f"harmony.{name}",
        [f"harmony/{name}.pyx"],
        depends=[f"harmony/{name}.pxd" for name in ("_column_rows", "_content", "_memory", "_moves")],
        extra_compile_args=flags,
        optional=choice != "yes",
    )
    for name in ("_moves", "_parser", "_scan", "_repeats", "_column_rows", "_columns", "_lines")
]
setup(ext_modules=[] if choice == "no" else extensions)
