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
        [f"harmony/{name.replace('.', '/')}.pyx"],
        depends=[
            f"harmony/{name}.pxd"
            for name in (
                "columns/entries",
                "columns/headers",
                "columns/memory",
                "columns/odd",
                "columns/openings",
                "columns/texts",
                "logs/json_c",
                "logs/scan_json",
                "parsing/characters",
                "parsing/content",
                "parsing/moves_c",
                "parsing/scan_c",
                "parsing/words",
                "runtime/calls",
                "runtime/memory",
            )
        ],
        extra_compile_args=flags,
        optional=choice != "yes",
    )
    for name in (
        "messages.repeats_c",
        "parsing.moves_c",
        "parsing.parser_c",
        "parsing.scan_c",
        "columns.memory",
        "columns.entries",
        "columns.headers",
        "columns.texts",
        "columns.odd",
        "columns.build_c",
        "logs.json_c",
        "logs.walk_c",
        "logs.quick_c",
    )
]
setup(ext_modules=[] if choice == "no" else extensions)
