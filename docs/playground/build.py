"""Assembles the playground: a folder that any static host can serve, and that needs no network in the browser.

    python docs/playground/build.py [FOLDER]
    python -m http.server --directory build/playground

It takes Pyodide from npm, wheels from PyPI, and a wheel of harmony from this repository. It needs `npm`, and `pip` in
the Python that runs it. FOLDER is `build/playground` unless another is given, and is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]

# The versions of all that is not ours. A new Pyodide may have another Python and another platform; then its wheels
# change too.
PYODIDE: Final = "314.0.7"
PYTHON: Final = "3.14"
PLATFORM: Final = "pyemscripten_2026_0_wasm32"
#: Taken as wheels.
WHEELS: Final = ("msgspec==0.22.0", "lark==1.3.1", "jinja2==3.1.6")
#: Built from the sdist without a compiler, because there are only compiled wheels, and none for Pyodide.
BUILT: Final = ("markupsafe==3.0.4",)

#: What the browser needs of the package `pyodide`.
OF_PYODIDE: Final = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
#: Our own files. Python imports the modules.
PAGES: Final = ("index.html", "style.css", "page.js", "worker.js", "samples.json")
MODULES: Final = ("bpe.py", "playground.py")


def main() -> None:
    if len(sys.argv) > 2:
        raise SystemExit("usage: python docs/playground/build.py [FOLDER]")
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / "build" / "playground"
    if folder.exists() and any(folder.iterdir()) and not (folder / "parts.json").exists():
        raise SystemExit(f"{folder}: expected no such folder, an empty one or an older playground; name another folder")
    assemble(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB. To see it: python -m http.server --directory {folder}")


def assemble(folder: Path) -> None:
    """Makes the folder. It takes the place of `folder` only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "playground"
        made.mkdir()
        add_pyodide(made / "pyodide", Path(scratch))
        add_wheels(made / "wheels")
        for name in PAGES + MODULES:
            shutil.copyfile(HERE / name, made / name)
        parts = {"wheels": sorted(f"wheels/{path.name}" for path in (made / "wheels").iterdir()), "modules": MODULES}
        (made / "parts.json").write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def add_pyodide(folder: Path, scratch: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            "the playground needs `npm`, which comes with Node.js, to get Pyodide; install it and try again"
        )
    run(npm, "pack", "--silent", f"pyodide@{PYODIDE}", "--pack-destination", str(scratch))
    folder.mkdir()
    with tarfile.open(scratch / f"pyodide-{PYODIDE}.tgz") as package:
        for name in OF_PYODIDE:
            member = package.extractfile(f"package/{name}")
            assert member is not None, f"pyodide {PYODIDE} has no file {name}"
            (folder / name).write_bytes(member.read())


def add_wheels(folder: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    of_pyodide = ("--python-version", PYTHON, "--implementation", "cp", "--platform", PLATFORM)
    run(*pip, "download", "--no-deps", "--only-binary", ":all:", *of_pyodide, "--dest", str(folder), *WHEELS)
    pure = {"CC": "false", "HARMONY_EXTENSION": "no"}
    sdists = ("--no-binary", ",".join(one.partition("==")[0] for one in BUILT))
    run(*pip, "wheel", "--no-deps", *sdists, "--wheel-dir", str(folder), *BUILT, str(ROOT), **pure)
    for path in folder.iterdir():
        if not path.stem.endswith(("-none-any", PLATFORM)):
            raise SystemExit(f"{path.name} does not run in Pyodide: expected a pure wheel, or one for {PLATFORM}")


def run(*command: str, **variables: str) -> None:
    """Runs a command. A failure ends the build; the command has said why."""
    try:
        subprocess.run(command, check=True, env={**os.environ, **variables})
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"this command failed with the exit code {error.returncode}: {' '.join(command)}") from None


if __name__ == "__main__":
    main()
