"""The pictures of counts, also for odd logs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harmony.stats.counts import Stats
from harmony.stats.groups import GroupedStats
from harmony.stats.picture import save
from helpers.counting import Log, count, message, sample_log, to_batch


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
        assert "extra-stop" in drawn
        assert set(stats.summary().errors) <= set(re.findall(">([^<>]+)</text>", drawn))


def texts(drawn: str) -> str:
    """All texts of a picture, without the breaks in names."""
    return "".join(re.findall(r">([^<>]+)</t(?:ext|span)>", drawn))


def test_a_panel_for_all_that_is_there_and_none_for_what_is_not(sample: Log, tmp_path: Path) -> None:
    titles = ("What became of", "Messages", "Content tokens", "Repairs", "Errors", "Tool calls", "Lengths of")
    fault = {"code": "some-code"}
    log: Log = [([message(tokens=None, channel="final", diagnostics=[fault], error=fault)], None)]
    for stats, missing in (
        (count(sample), ()),
        (count(sample[:40]), ("Repairs", "Errors")),
        (count(sample[:1]), ("Repairs", "Errors", "Tool calls")),
        (count(log), ("Content tokens", "Tool calls", "Lengths of")),
        (Stats(), titles),
    ):
        save(stats.summary(), tmp_path / "log.svg")
        found = texts((tmp_path / "log.svg").read_text())
        assert tuple(title for title in titles if title not in found) == missing
        assert ("no conversations" in found) is (missing in (titles, ("Content tokens", "Tool calls", "Lengths of")))


def test_bars_go_by_size_and_names_are_whole(tmp_path: Path) -> None:
    names = {f"functions.look_up_{'a_very_' * 20}long_name_{number}": number + 1 for number in range(5)}
    log: Log = [([message(recipient=name)], 1) for name, number in names.items() for _ in range(number)]
    save(count(log).summary(), tmp_path / "log.svg")
    found = texts((tmp_path / "log.svg").read_text())
    places = [found.index(name) for name in names]
    assert places == sorted(places, reverse=True)


def test_a_picture_of_groups(tmp_path: Path) -> None:
    stats = GroupedStats(grouped=True)
    log: Log = [([message(stop="end")], 7), ([message(complete=False)], 9)]
    stats.add(to_batch(log * 20), [7, 9] * 20, [f'"model{number % 20}"' for number in range(40)])
    save(stats.summary(), tmp_path / "log.svg", stats.by("the.model"))
    drawn = (tmp_path / "log.svg").read_text()
    found = texts(drawn)
    assert "What became of conversations, by the.model" in found
    assert "Lengths of conversations, by the.model" in found
    assert "the 12 largest of 20 values" in found
    assert "model15" in found
    assert "model7" not in found
    assert "2 (100.0%)" in found
    assert "undefined" not in drawn


def test_names_in_a_picture_are_no_code(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><!--\u2028\u202e"
    named = message(channel=name, role=name, diagnostics=[{"code": name, "message": "", "position": 0}])
    stats = count([([named, message(recipient=name)], 1)])
    for suffix in (".svg", ".html"):
        save(stats.summary(), tmp_path / f"log{suffix}")
    page = (tmp_path / "log.html").read_text()
    shown = r"\u003c/script>\u003cscript>alert(1)\u003c/script>\u003c!--\\u2028\\u202e"
    assert f'"{shown}"' in page
    assert page.count("alert(1)") == page.count(r"\u003cscript>alert(1)\u003c/")  # also where a name takes two lines
    drawn = (tmp_path / "log.svg").read_text()
    assert "&lt;/script&gt;&lt;script" in drawn
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
    assert done.stderr.endswith("pip install altair vl-convert-python, or the extra `plot` of harmony-codec\n")
