"""Assembling the playground: what is refused before anything is fetched. `test_page.py` assembles it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from docs.playground import build


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(build.HERE / "build.py"), *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)


def test_a_folder_with_other_files_is_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = run(str(tmp_path))
    assert (done.returncode, "name another folder" in done.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_npm_it_says_what_is_missing(tmp_path: Path) -> None:
    done = run(str(tmp_path / "site"), PATH=str(tmp_path))
    assert (done.returncode, "needs `npm`, which comes with Node.js" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_one_folder_at_most() -> None:
    assert "usage: " in run("a", "b").stderr


def test_all_our_files_are_taken() -> None:
    ours = {path.name for path in build.HERE.iterdir() if path.is_file()} - {"build.py"}
    assert ours == {*build.PAGES, *build.MODULES}
