"""The picture in `docs/stats.md` is what the command above it draws."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from helpers.command import harmony
from helpers.pages import blocks
from helpers.paths import ROOT


def test_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "stats.md").read_text(encoding="utf-8")
    [command] = [block.text for block in blocks(page) if "--plot stats.svg" in block.text]
    monkeypatch.chdir(ROOT)
    program, *arguments, name = shlex.split(command)
    assert (program, name) == ("harmony", "stats.svg")
    assert harmony(*arguments, tmp_path / name).returncode == 0
    found, shown = (
        re.findall(r">([^<>]+)</t(?:ext|span)>", path.read_text(encoding="utf-8"))
        for path in (tmp_path / name, ROOT / "docs" / name)
    )
    assert len(found) > 50
    assert found == shown, command.replace(name, f"docs/{name}")
