"""What is counted of logs: against counting by hand, however a log is cut, and within bounds where it is hostile."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import pairwise
from math import ceil
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harmony.stats.counts import Stats, Summary
from harmony.stats.tables import tables
from harmony.stats.tallies import OTHERS
from helpers.counting import SCHEMA, Log, count, message, sample_log, to_batch
from helpers.sizes import examples


def calls(counts: Iterable[tuple[str, int]]) -> pa.RecordBatch:
    """Each name called so often, by one conversation."""
    names = [name for name, number in counts for _ in range(number)]
    size = len(names)
    columns: dict[str, pa.Array] = {field.name: pa.nulls(size, field.type) for field in SCHEMA}
    columns |= {
        "conversation": pa.repeat(pa.scalar(0, pa.int64()), size),
        "message": pa.array(range(size), pa.int32()),
        "role": pa.repeat("assistant", size).dictionary_encode(),
        "recipient": pa.array(names, pa.string()).dictionary_encode(),
        "complete": pa.repeat(pa.scalar(True), size),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), SCHEMA.names)


@pytest.fixture(scope="module")
def sample() -> Log:
    return sample_log()


def by_hand(values: Sequence[int]) -> dict[str, Any]:
    ranked = sorted(values)
    median, most, nearly_all = (ranked[ceil(len(ranked) * part / 100) - 1] for part in (50, 90, 99))
    return {
        "count": len(ranked),
        "total": sum(ranked),
        "mean": pytest.approx(sum(ranked) / len(ranked)),
        "median": pytest.approx(median, rel=0.004),
        "percentile_90": pytest.approx(most, rel=0.004),
        "percentile_99": pytest.approx(nearly_all, rel=0.004),
        "longest": ranked[-1],
    }


def known_tokens(rows: Iterable[dict[str, Any]]) -> list[int]:
    return [row["content_tokens"] for row in rows if row["content_tokens"] is not None]


def facts(lengths: Any) -> dict[str, Any]:
    found = msgspec.structs.asdict(lengths)
    assert sum(item.count for item in found.pop("bins")) == found["count"]
    return found


@pytest.mark.parametrize("plain", [False, True])
def test_the_sample_counted_by_hand(sample: Log, plain: bool) -> None:
    found = count(sample, plain=plain).summary()
    rows = [row for conversation, _ in sample for row in conversation if row["message"] is not None]
    first = [conversation[0] for conversation, _ in sample]
    assert found.conversations == len(sample) == 46
    assert found.bad == sum(row["error"] is not None for row in first) == 2
    assert found.truncated == sum(not row["complete"] and row["error"] is None for row in first)
    assert found.complete == sum(row["complete"] for row in first) > found.truncated > 0
    last = [conversation[-1] for conversation, _ in sample]
    cut = [row for row in last if not row["complete"] and row["error"] is None]
    assert found.no_stop == sum(row["message"] is not None and row["stop"] is None for row in cut) > 0
    assert found.cut_in_header == found.truncated - found.no_stop > 0
    assert found.repaired == sum(bool(row["diagnostics"]) for row in first) > 2
    assert found.errors == Counter(row["error"]["code"] for row in first if row["error"])
    # Twice the same repair of one conversation counts once.
    repairs = Counter(code for row in first for code in {repair["code"] for repair in row["diagnostics"]})
    assert found.repairs == repairs
    assert repairs["extra-stop"] == 1 < sum(len(row["diagnostics"]) for row in first)

    for channel in found.channels:
        mine = [row for row in rows if row.get("channel") == channel.channel]
        assert channel.messages == len(mine)
        assert channel.roles == Counter(row["role"] for row in mine)
        tokens = known_tokens(row for row in mine if row["role"] == "assistant")
        assert facts(channel.content_tokens) == by_hand(tokens)
    roles = {row["role"] for row in rows} - {"assistant"}
    assert {"tool", "user"} < roles == found.other_content_tokens.keys()
    for role, lengths in found.other_content_tokens.items():
        assert facts(lengths) == by_hand(known_tokens(row for row in rows if row["role"] == role))
    assert sum(channel.messages for channel in found.channels) == len(rows)
    assert {channel.channel for channel in found.channels} == {"analysis", "commentary", "final", None}

    called = Counter(
        row["recipient"]
        for row in rows
        if row["role"] == "assistant" and row["recipient"] not in (None, "assistant", "all")
    )
    assert found.tool_calls.names == called
    assert list(found.tool_calls.names.values()) == sorted(called.values(), reverse=True)
    assert (found.tool_calls.calls, found.tool_calls.other_calls, found.tool_calls.undercount) == (called.total(), 0, 0)
    assert {"python", "functions.get_weather"} < set(called)

    assert facts(found.conversation_tokens) == by_hand([tokens for _, tokens in sample if tokens is not None])
    lengths = [sum(row["message"] is not None for row in rows) for rows, _ in sample if rows[0]["error"] is None]
    assert 0 in lengths
    assert facts(found.conversation_messages) == by_hand(lengths)


def test_the_summary_is_json(sample: Log) -> None:
    found = count(sample).summary()
    written = msgspec.json.encode(found)
    assert msgspec.json.decode(written, type=Summary) == found
    assert None in [channel["channel"] for channel in json.loads(written)["channels"]]


def test_what_is_a_call_of_a_tool() -> None:
    called = {"python", "functions.f", "Assistant", "functions.all"}
    log: Log = [([message(recipient=name)], 1) for name in (*called, None, "all", "assistant")]
    log += [([message(role, recipient="functions.f")], 1) for role in ("user", "tool", "system", "developer")]
    assert count(log).summary().tool_calls.names == dict.fromkeys(called, 1)


def test_what_tools_answer_is_no_content_of_the_channel() -> None:
    call = message(tokens=7, channel="commentary", recipient="functions.f", stop="call")
    answer = message("tool", 1000, message=1, channel="commentary", stop="end")
    found = count([([call, answer], None)]).summary()
    assert found.channels[0].messages == 2
    assert found.channels[0].content_tokens.total == 7
    assert {role: lengths.total for role, lengths in found.other_content_tokens.items()} == {"tool": 1000}
    text = shown(found)
    assert re.search(r"commentary +7 ", text)
    assert re.search(r"tool results +1,000 ", text)


def test_where_cut_completions_end() -> None:
    whole, cut = {"stop": "end"}, {"complete": False}
    log: Log = [
        ([message(**whole), message(message=1, **whole)], 1),
        ([message(**cut, **whole), message(message=1, **cut)], 1),  # within content
        ([message(**cut), message(message=1, **cut, **whole)], 1),  # within the header after it
        ([message(**{**cut, "message": None})], 1),  # within the first header
        ([message(**cut, error={"code": "a"})], 1),
        ([message(**cut, diagnostics=[{"code": "a"}])], 1),
    ]
    found = count(log).summary()
    assert (found.complete, found.no_stop, found.cut_in_header, found.bad) == (1, 2, 2, 1)
    assert found.truncated == found.no_stop + found.cut_in_header
    # Without the column's values, only the sum is known.
    batch = to_batch(log)
    unknown = Stats()
    unknown.add(batch.set_column(SCHEMA.get_field_index("stop"), "stop", pa.nulls(len(batch))), None)
    found = unknown.summary()
    assert (found.complete, found.truncated, found.no_stop, found.cut_in_header) == (1, 4, 0, 0)
    assert re.search(r"cut off +4 ", shown(found))


def test_long_names_are_cut() -> None:
    long = "x" * 256
    codes = [{"code": code} for code in (long, long + "y", long + "z", "extra-stop")]
    rows = [message(channel=long, recipient=long + "z", diagnostics=codes)]
    found = count([(rows, 1), ([message(diagnostics=codes[1:2])], 1)]).summary()
    assert found.repairs == {long: 1, "x" * 255 + "…": 2, "extra-stop": 1}
    assert {channel.channel for channel in found.channels} == {long, None}
    assert found.tool_calls.names == {"x" * 255 + "…": 1}


faults = st.builds(
    lambda code: {"code": code, "message": "", "position": 1}, st.sampled_from(["extra-stop", "missing-stop"])
)
messages = st.builds(
    message,
    st.sampled_from(["assistant", "tool", "user"]),
    st.none() | st.integers(0, 5000),
    channel=st.sampled_from([None, "analysis", "final", "x" * 255 + "é", "x" * 300, "x" * 299 + "y"]),
    recipient=st.sampled_from([None, "all", "assistant", "python", "functions.f"]),
)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    log: Log = []
    for rows in draw(st.lists(st.lists(messages, max_size=4), max_size=12)):
        whole = {
            "complete": draw(st.booleans()),
            "diagnostics": draw(st.lists(faults, max_size=3)),
            "error": draw(st.none() | faults),
        }
        empty = {"message": None, "role": "assistant"}
        log.append(([{**row, **whole} for row in rows or [empty]], draw(st.none() | st.integers(0, 1 << 40))))
    return log


@given(logs(), st.lists(st.integers(0, 12)), st.booleans())
def test_however_a_log_is_cut_and_merged(log: Log, cuts: list[int], plain: bool) -> None:
    whole = count(log).summary()
    places = [0, *sorted(cuts), len(log)]
    pieces = [log[begin:end] for begin, end in pairwise(places)]
    assert count(*pieces, plain=plain).summary() == whole
    merged = Stats()
    for piece in reversed(pieces):
        merged = pickle.loads(pickle.dumps(count(piece))) + merged
    assert merged.summary() == whole
    assert whole.complete + whole.truncated + whole.bad == whole.conversations == len(log)


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, (1 << 48) - 1)), min_size=1))
def test_percentiles_and_bins_are_as_exact_as_they_say(lengths: list[int]) -> None:
    stats = Stats()
    stats.add(to_batch([([message()], None)] * len(lengths)), pa.array(lengths, pa.int64()))
    found = stats.summary().conversation_tokens
    assert facts(found) == by_hand(lengths)
    if by_hand(lengths)["longest"] < 256:
        assert found.median == sorted(lengths)[ceil(len(lengths) / 2) - 1]
    for item in found.bins:
        assert item.count == sum(item.start <= length < item.stop for length in lengths) > 0
        assert item.stop <= max(item.start + 1, item.start * 1.5)


def test_merging_leaves_both_as_they_were(sample: Log) -> None:
    first, second = count(sample[:20]), count(sample[20:])
    before = first.summary(), second.summary()
    assert (first + second).summary() == count(sample).summary()
    assert (first + first).summary().conversations == 40
    assert (first.summary(), second.summary()) == before


@examples(20)
@given(st.randoms(use_true_random=False))
def test_channels_roles_and_codes_without_number(random: Any) -> None:
    names = [f"channel{number}" for number in range(300)]
    log: Log = [([message(name, number, channel=name, error={"code": name})], 1) for number, name in enumerate(names)]
    log += [([message(tokens=5, channel=name, diagnostics=[{"code": name}])], 1) for name in ("commentary", None)]
    whole = count(log).summary()
    assert len(whole.channels) == 102  # and None, and the others
    others = next(channel for channel in whole.channels if channel.channel == OTHERS)
    assert {"commentary", None, "channel0", "channel9", "channel98"} < {channel.channel for channel in whole.channels}
    assert others.messages == whole.errors[OTHERS] + 1 == 201
    assert sum(channel.content_tokens.total for channel in whole.channels) == 10
    assert len(whole.other_content_tokens) == 101
    assert sum(lengths.total for lengths in whole.other_content_tokens.values()) == sum(range(300))
    random.shuffle(log)
    cut = random.randrange(len(log))
    assert count(log).summary() == (count(log[cut:]) + count(log[:cut])).summary() == whole


def test_more_tools_than_can_be_kept() -> None:
    frequent = {f"functions.tool_{number}": 300 + number for number in range(20)}
    stats, other = Stats(), Stats()
    for part in range(6):
        rare = [(f"functions.made_up_{part}_{number}", 1) for number in range(9_000)]
        (stats if part % 2 else other).add(calls([*rare[:4000], *frequent.items(), *rare[4000:]]), None)
    truth = {name: 6 * number for name, number in frequent.items()}
    for both in (stats + other, other + stats, other + Stats() + stats):
        found = both.summary().tool_calls
        assert found.calls == 54_000 + sum(truth.values())
        assert sum(found.names.values()) + found.other_calls == found.calls
        assert len(found.names) <= 10_000
        assert 0 < found.undercount <= found.calls / 10_000
        assert list(found.names)[:20] == list(reversed(frequent))
        for name, number in truth.items():
            assert number - found.undercount <= found.names[name] <= number
    # As many as can be kept are exact, whatever the order.
    exact = Stats()
    for begin in range(0, 10_000, 900):
        exact.add(
            calls([(f"functions.f{number}", 1 + number % 3) for number in range(begin, min(begin + 900, 10_000))]), None
        )
    found = (exact + exact).summary().tool_calls
    assert (len(found.names), found.undercount, found.other_calls) == (10_000, 0, 0)
    assert found.names["functions.f2"] == 6


def test_what_is_not_counted() -> None:
    stats = Stats()
    batch = to_batch([([message()], 1), ([message()], None)])
    before = stats.summary()
    other = pa.array([["a"], ["b"]])
    for wrong, words in (
        (batch.drop_columns(["channel"]), "expected a column `channel` of type string, found none"),
        (batch.set_column(2, "role", other), "expected a column `role` of type string, found list of string"),
        (batch.set_column(12, "error", other), "expected a column `error` of type struct with a string `code`, found"),
        (batch.set_column(8, "content_tokens", pa.array([1, -2])), "expected a number of tokens below 2^48, found -2"),
        (batch.set_column(5, "channel", not_utf_8()), "Invalid UTF8"),
    ):
        with pytest.raises(ValueError, match=words.replace("^", r"\^")):
            stats.add(wrong, None)
    for tokens in ([1], [1, 2, 3], [1, 1 << 48], [1, -1], [1, 1 << 70], [[1], [2]], [1, "a"], pa.array(["a", "b"]), 7):
        with pytest.raises(ValueError, match="expected "):
            stats.add(batch, tokens)  # type: ignore[arg-type]
    assert stats.summary() == before == Stats().summary()
    stats.add(batch.slice(0, 0), [])
    assert stats.summary() == before
    stats.add(batch, None)
    assert stats.summary().conversation_tokens.count == 0


def not_utf_8() -> pa.Array:
    buffers = [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    return pa.Array.from_buffers(pa.string(), 2, buffers)


def shown(summary: Summary, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    for table in tables(summary):
        console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_tables(sample: Log) -> None:
    text = shown(count(*[sample] * 100).summary())
    for pattern in (
        r"Conversations: 4,600",
        r"no stop +[1-9]\d\d +",
        r"cut inside a header +[1-9]\d\d +",
        r"tool results +",
        r"bad +200 +4\.35%",
        r"user +\(no channel\) +500 +4\.55%",
        r"functions\.get_weather +200 +10\.00%",
        r"extra-stop +100 +2\.17%",
    ):
        assert re.search(pattern, text), pattern
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text  # no name is cut at this width


def test_tables_of_odd_logs() -> None:
    assert shown(Stats().summary()).count("0       -") == 5
    names = [f"functions.f{number}" for number in range(30)] + ["evil\x1b[31m\u202e", "[red]a\nb"]
    log: Log = [([message(recipient=name, channel="[bold]")], 1) for name in names]
    (table,) = (table for table in tables(count(log).summary()) if str(table.title) == "Tool calls")
    assert table.row_count == 20
    text = shown(count(log).summary())
    assert "… 13 more" in text
    text = shown(count(log[-2:]).summary())
    assert "evil\\x1b[31m\\u202e" in text
    assert "[red]a\\nb" in text
    assert "[bold]" in text
    assert not any(ord(character) < 32 for character in text.replace("\n", ""))


def test_tables_say_that_tools_are_left_out() -> None:
    stats = Stats()
    for number in range(4):
        rare = ((f"functions.made_up_{number}_{index}", 1) for index in range(12_000))
        stats.add(calls([("functions.main", 500), *rare]), None)
    stats.add(calls((f"functions.again_{index}", 1) for index in range(10_500)), None)
    text = " ".join(shown(stats.summary(), width=200).split())
    assert "Tool calls; 48,502 under no name here, counts too low by at most 1 " in text
    assert "functions.main 1,999 3.30%" in text
