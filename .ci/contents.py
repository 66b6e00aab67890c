"""Checks the files in packages: `python contents.py SDIST WHEEL...`. A wheel has just what it should, file by file."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRACKED = set(subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())
NAME = f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}"


def in_every_wheel() -> set[str]:
    """What git tracks of the package, without the sources of compiled modules; and the metadata."""
    sources = {file for file in TRACKED if file.startswith(("harmony/", "grammar/"))}
    sources -= {file for file in sources if file.endswith((".pyx", ".pxd"))} | {"harmony/format/data/pack.py"}
    found = {f"harmony/{file}" if file.startswith("grammar/") else file for file in sources}
    found |= {f"{NAME}.dist-info/licenses/{name}" for name in PROJECT["license-files"]}
    metadata = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt")
    return found | {f"{NAME}.dist-info/{name}" for name in metadata}


def check(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        sys.exit(f"{what}: has {sorted(found - expected)} too many, lacks {sorted(expected - found)}")
    print(f"{what}: {len(found)} files")


for name in map(Path, sys.argv[1:]):
    if name.name.endswith(".tar.gz"):
        with tarfile.open(name) as sdist:
            files = {file.name.removeprefix(f"{NAME}/") for file in sdist if file.isfile()}
        made = {"PKG-INFO", "setup.cfg"} | {file for file in files if file.startswith("harmony_codec.egg-info/")}
        needed = {file for file in TRACKED if file.startswith(("harmony/", "grammar/", "tests/"))}
        check(name.name, files, (files & TRACKED) | made | needed)
        continue
    with zipfile.ZipFile(name) as wheel:
        files = set(wheel.namelist())
    expected = in_every_wheel()
    if not name.name.endswith("-py3-none-any.whl"):
        sources = {file.removesuffix(".pyx") for file in TRACKED if file.endswith(".pyx")}
        extensions = {file for file in files if file.endswith((".so", ".pyd"))}
        check(f"{name.name}, compiled", {file.split(".")[0] for file in extensions}, sources)
        expected |= extensions
    check(name.name, files, expected)
