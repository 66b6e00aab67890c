"""The site of the documentation is built, has every public name and command, and leads and fetches nowhere else."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harmony
from harmony.cli.commands import app
from helpers.paths import ROOT


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "docs" / "build.py")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository, without what was built in it."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "node_modules", "*.so")
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored)


def public_names() -> list[str]:
    """All names in `harmony` and in its public modules; those of a module that `harmony` has too count once."""
    top = [getattr(harmony, name) for name in harmony.__all__]
    found = [f"harmony.{name}" for name in harmony.__all__]
    for path in sorted((ROOT / "harmony").glob("[a-z]*.py")):
        module = importlib.import_module(f"harmony.{path.stem}")
        names = [name for name in getattr(module, "__all__", ()) if getattr(module, name) not in top]
        found += [f"{module.__name__}.{name}" for name in names]
    return found


def test_the_site_has_every_public_name_and_every_command(copy: Path) -> None:
    done = build(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = copy / "build" / "site" / "reference"
    pages = "".join(path.read_text(encoding="utf-8") for path in reference.glob("*.html"))
    names = public_names()
    assert {"harmony.Message", "harmony.batch.parse_table", "harmony.chat.Stream"} < set(names)
    assert [name for name in names if f'id="{name}"' not in pages] == []
    commands = (reference / "commands.html").read_text(encoding="utf-8")
    assert {"parse", "stats"} < set(app.commands)
    assert [name for name in app.commands if f'id="harmony-{name}"' not in commands] == []


def test_a_page_with_a_fault_is_refused(copy: Path) -> None:
    page = copy / "docs" / "repairs.md"
    before = page.read_text(encoding="utf-8")
    for text, fault in (
        ("[a](nowhere.md)", "docs/repairs.md: expected a link to a file of this repository, found `nowhere.md`"),
        ("[a](grep.md#nowhere)", "anchor does not exist"),
        ("![a](https://example.com/a.png)", "repairs.html: expected nothing to be fetched from other sites"),
    ):
        page.write_text(f"{before}\n{text}\n", encoding="utf-8")
        done = build(copy)
        assert done.returncode == 1
        assert fault in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_at_the_top_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\(([^)\s#:]+)[#)]", (ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
