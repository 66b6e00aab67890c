"""The pictures of counts, also for odd logs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harmony.stats.counts import Stats
from harmony.stats.picture import save
from helpers.counting import Log, count, message, sample_log


@pytest.fixture(scope="module")
def sample() -> Log:
    return sample_log()


def many_channels() -> Stats:
    names = [None, "final", *(f"channel{number}" for number in range(30)), "x" * 400, "日本語" * 40]
    log: Log = [
        ([message(role, 40, channel=name, recipient=name)], number)
        for number, name in enumerate(names)
        for role in ("assistant", "tool")
    ]
    return count(log)


@pytest.mark.parametrize("kind", ["sample", "empty", "channels", "texts", "nothing"])
def test_pictures(kind: str, sample: Log, tmp_path: Path) -> None:
    stats = {
        "sample": count(sample),
        "empty": Stats(),
        "channels": many_channels(),
        "texts": count([([message(tokens=None, channel="final")], None)]),
        "nothing": count([([{**message(), "message": None}], 0)]),
    }[kind]
    for suffix in (".png", ".SVG", ".html"):
        save(stats.summary(), tmp_path / f"log{suffix}")
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "log.SVG").read_text()
    title = f"{stats.summary().conversations} conversation"
    assert title in drawn
    assert "NaN" not in drawn
    assert "undefined" not in drawn
    page = (tmp_path / "log.html").read_text()
    assert title in page
    # All scripts are in the page, and nothing but scripts is fetched by such pages.
    assert "<script src" not in page
    assert "<link" not in page
    assert "cdn." not in page
    if kind == "sample":  # in the legend, in messages, in tokens
        assert drawn.count("#009E73".lower()) + drawn.count("#009E73") >= 3
        assert "browser.search" in drawn
        assert "extra-stop" not in drawn


def test_names_in_a_picture_are_no_code(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><!--\u2028\u202e"
    named = message(channel=name, role=name, diagnostics=[{"code": name, "message": "", "position": 0}])
    stats = count([([named, message(recipient=name)], 1)])
    for suffix in (".svg", ".html"):
        save(stats.summary(), tmp_path / f"log{suffix}")
    page = (tmp_path / "log.html").read_text()
    shown = r"\u003c/script>\u003cscript>alert(1)\u003c/script>\u003c!--\\u2028\\u202e"
    assert f'"{shown}"' in page
    assert page.count("alert(1)") == page.count(shown)
    drawn = (tmp_path / "log.svg").read_text()
    assert "&lt;/script&gt;&lt;scri" in drawn
    assert "<script" not in drawn
    for text in (page, drawn):
        assert not set("\u2028\u202e") & set(text)


def test_pictures_of_another_kind(tmp_path: Path) -> None:
    for name in ("log.pdf", "log", "png"):
        with pytest.raises(ValueError, match=r"\.png, \.svg or \.html, found .*" + name):
            save(Stats().summary(), tmp_path / name)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="No such file"):
        save(Stats().summary(), tmp_path / "missing" / "log.svg")


@pytest.mark.parametrize("library", ["altair", "vl_convert"])
def test_pictures_without_their_libraries(library: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; import harmony.stats.picture"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr.endswith("pip install 'harmony-codec[plot]'\n")
