"""The site of the documentation is built, has every public name and command, and leads and fetches nowhere else."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import harmony
from harmony.cli.commands import app
from helpers.paths import ROOT

#: The public modules. Modules that are public for other reasons have no names of their own.
MODULES: Final = {
    name: importlib.import_module(name)
    for name in sorted(f"harmony.{path.stem}" for path in (ROOT / "harmony").glob("[a-z]*.py"))
}


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "docs" / "build.py")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, as far as the site needs it, with the site."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "examples", "fuzz", "grammar", "harmony"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "data"))
    for path in ROOT.glob("*.*"):
        if path.suffix in (".md", ".yml", ".toml"):
            shutil.copy(path, folder)
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_public_name_is_in_the_reference(copy: Path) -> None:
    pages = [path.read_text(encoding="utf-8") for path in (copy / "build/site/reference").glob("*.html")]
    names = [f"harmony.{name}" for name in harmony.__all__]
    for name, module in MODULES.items():
        top = [getattr(harmony, each) for each in harmony.__all__]
        names += [f"{name}.{each}" for each in getattr(module, "__all__", ()) if getattr(module, each) not in top]
    assert len(names) > 50
    assert [name for name in names if not any(f'id="{name}"' in page for page in pages)] == []


def test_every_command_is_in_the_reference(copy: Path) -> None:
    page = (copy / "build/site/reference/commands.html").read_text(encoding="utf-8")
    assert {"parse", "stats"} < set(app.commands)
    assert [name for name in app.commands if f'id="harmony-{name}"' not in page] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nowhere.md)", "docs/repairs.md: expected a link to a file of this repository, found `nowhere.md`"),
        ("[a](grep.md#nowhere)", "anchor does not exist"),
        ("![a](https://example.com/a.png)", "found `https://example.com/a.png`"),
    ],
)
def test_a_page_with_a_fault_is_refused(copy: Path, text: str, fault: str) -> None:
    page = copy / "docs" / "repairs.md"
    before = page.read_text(encoding="utf-8")
    page.write_text(f"{before}\n{text}\n", encoding="utf-8")
    done = build(copy)
    page.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert fault in done.stdout + done.stderr
