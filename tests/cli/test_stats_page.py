"""The commands in `docs/stats.md` give what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.command import harmony
from helpers.paths import ROOT

PAGE = (ROOT / "docs" / "stats.md").read_text(encoding="utf-8")
SCREENS = re.findall(r"^    \$ harmony (.*)\n((?:    .*\n|\n(?=    ))*)", PAGE, re.M)


@pytest.mark.parametrize(("command", "shown"), SCREENS, ids=[command for command, _ in SCREENS])
def test_a_screen(command: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = harmony(*command.split())
    assert done.returncode == 0
    found = [line.rstrip() for line in done.stdout.decode().rstrip().split("\n")]
    expected = [line.removeprefix("    ").rstrip() for line in shown.rstrip().split("\n")]
    if expected[-1] == "…":  # the page shows the beginning
        expected.pop()
        assert len(found) > len(expected)
        found = found[: len(expected)]
    assert found == expected


def test_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [command] = re.findall(r"^    harmony (stats .*) --plot docs/stats.svg$", PAGE, re.M)
    assert harmony(*command.split(), "--plot", tmp_path / "stats.svg").returncode == 0
    found, shown = (
        re.findall(r">([^<>]+)</t(?:ext|span)>", path.read_text(encoding="utf-8"))
        for path in (tmp_path / "stats.svg", ROOT / "docs" / "stats.svg")
    )
    assert len(found) > 50
    assert found == shown, f"harmony {command} --plot docs/stats.svg"


def test_every_screen_is_run() -> None:
    assert len(SCREENS) == PAGE.count("\n    $ ") == 5
    assert "" not in [shown.strip() for _, shown in SCREENS]
