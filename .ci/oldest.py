"""Prints constraints for pip: for each lower bound in pyproject.toml, such as `lark>=1.1.8`, the line `lark==1.1.8`."""

import re
import tomllib
from pathlib import Path

pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
project = pyproject["project"]
for requirement in sum(
    project["optional-dependencies"].values(), pyproject["build-system"]["requires"] + project["dependencies"]
):
    name, bound = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?([^;]*)(?:;.*)?", requirement).groups()
    if bound.startswith(">="):
        version = re.fullmatch(r">=([\d.]+)", bound)
        if version is None:
            raise SystemExit(f"pyproject.toml: expected one lower bound, such as `>=1.2`, found `{requirement}`")
        print(f"{name}=={version[1]}")
