"""The comparison of two logs: intervals against published ones and draws, order, and what cannot be compared."""

from __future__ import annotations

import random
from io import StringIO

import pytest
from rich.console import Console

from harmony.stats.comparison import compare, difference_of_shares
from harmony.stats.counts import Stats
from harmony.stats.tables import tables_of_comparison
from helpers.counting import Log, count, message


# Table II of Newcombe (1998), method 10.
@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_intervals_as_published(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    _, found_low, found_high = difference_of_shares(*counts)
    assert (found_low, found_high) == pytest.approx((low, high), abs=6e-5)


def test_an_interval_holds_the_difference_in_95_of_100_draws() -> None:
    draws = random.Random(1)
    held = 0
    for _ in range(1_000):
        one = sum(draws.random() < 0.1 for _ in range(200))
        other = sum(draws.random() < 0.04 for _ in range(300))
        _, low, high = difference_of_shares(one, 200, other, 300)
        held += low <= 0.06 <= high
    assert 930 <= held <= 970


def log(cut: int, whole: int, tool: str = "python", tokens: int = 9) -> Log:
    made: Log = [([message(channel="final", stop="return", tokens=tokens)], 10)] * (whole - cut)
    call = message(channel="commentary", recipient=tool, tokens=tokens, complete=False, diagnostics=[{"code": "a"}])
    return made + [([call], 20)] * cut


def test_what_surely_moved_comes_first() -> None:
    compared = compare(count(log(60, 200)).summary(), count(log(10, 400, tokens=30)).summary())
    assert (compared.conversations, compared.other_conversations) == (200, 400)
    found = {(share.of, share.name): share for share in compared.shares}
    moved = found["conversations", "no stop"]
    assert (moved.count, moved.whole, moved.other_count, moved.other_whole) == (60, 200, 10, 400)
    assert moved.difference == pytest.approx(0.275)
    assert moved.low is not None
    assert moved.high is not None
    assert 0 < moved.low < 0.275 < moved.high
    assert found["channel", "final"].difference == pytest.approx(-0.275)
    assert found["repair", "a"].difference == pytest.approx(0.275)
    assert found["tool", "python"].difference == found["conversations", "bad"].difference == 0
    sureness = [share.sureness for share in compared.shares]
    assert sureness == sorted(sureness, key=lambda sure: sure or 0, reverse=True)
    assert {median.of: (median.median, median.other_median) for median in compared.medians} == {
        "conversations, in tokens": (10, 10),
        "conversations, in messages": (1, 1),
        "content of final": (9, 30),
        "content of commentary": (9, 30),
    }


def test_a_log_against_itself_and_the_other_way_round() -> None:
    one, other = count(log(60, 200, "f")).summary(), count(log(10, 400)).summary()
    assert {share.difference for share in compare(one, one).shares} == {0}
    there, back = (
        {(share.of, share.name): share for share in compare(*pair).shares} for pair in ((one, other), (other, one))
    )
    for key, share in there.items():
        assert share.difference == pytest.approx(-(back[key].difference or 0))
        assert share.low == pytest.approx(-(back[key].high or 0))


def test_what_one_of_the_logs_does_not_have() -> None:
    compared = compare(count(log(3, 9)).summary(), Stats().summary())
    assert {share.sureness for share in compared.shares} == {None}
    assert all(median.other_median is None for median in compared.medians)
    console = Console(file=StringIO(), width=80, color_system=None)
    for both in (compared, compare(count(log(60, 200)).summary(), count(log(10, 400)).summary())):
        for table in tables_of_comparison(both):
            console.print(table)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    moved, others = text.split("Shares that moved")[1].split("Shares that may not have moved")
    assert "no stop  " in moved
    assert "bad  " in others
    assert "+27.50" in moved
