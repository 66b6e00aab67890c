"""What is counted of logs: against counting by hand, however a log is cut, and within bounds where it is hostile."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harmony import HarmonyError, load_harmony_encoding
from harmony.stats.counts import OTHERS, Stats, Summary
from harmony.stats.picture import save
from harmony.stats.tables import tables
from helpers.paths import SAMPLE
from helpers.sizes import examples

NAME = pa.dictionary(pa.int32(), pa.string())
FAULT = pa.struct([("code", pa.string()), ("message", pa.string()), ("position", pa.int64())])
SCHEMA = pa.schema(
    [
        ("conversation", pa.int64()),
        ("message", pa.int32()),
        ("role", NAME),
        ("name", NAME),
        ("recipient", NAME),
        ("channel", NAME),
        ("content_type", NAME),
        ("content", pa.large_string()),
        ("content_tokens", pa.int32()),
        ("stop", NAME),
        ("complete", pa.bool_()),
        ("diagnostics", pa.list_(FAULT)),
        ("error", FAULT),
    ]
)

#: The rows of a conversation, without its index, and the number of its tokens.
Log = list[tuple[list[dict[str, Any]], int | None]]


def parsed(record: dict[str, Any], *, strict: bool = False) -> tuple[list[dict[str, Any]], int | None]:
    encoding = load_harmony_encoding("HarmonyGptOss")
    tokens, role = record.get("tokens"), record.get("role", "assistant")
    count = None if tokens is None else len(tokens)
    whole: dict[str, Any] = {"message": None, "role": "assistant", "complete": False, "diagnostics": [], "error": None}
    try:
        result = (
            encoding.parse_text(record["text"], role, strict=strict)
            if tokens is None
            else encoding.parse(tokens, role, strict=strict)
        )
    except HarmonyError as error:
        return [{**whole, "error": {"code": error.code, "message": str(error), "position": error.position}}], count
    whole |= {"complete": result.complete, "diagnostics": [msgspec.to_builtins(found) for found in result.diagnostics]}
    rows = [
        {
            **whole,
            "message": index,
            "role": message.author.role.value,
            "name": message.author.name,
            "recipient": message.recipient,
            "channel": message.channel,
            "content_type": message.content_type,
            "content": "".join(part.text for part in message.content),
            "content_tokens": None if tokens is None else span.stop - span.content_start,
            "stop": span.end,
        }
        for index, (message, span) in enumerate(zip(result.messages, result.spans, strict=True))
    ]
    return rows or [whole], count


def message(role: str = "assistant", tokens: int | None = 1, **fields: Any) -> dict[str, Any]:
    return {"message": 0, "role": role, "content_tokens": tokens, "complete": True, "diagnostics": [], **fields}


def to_batch(log: Log, *, plain: bool = False) -> pa.RecordBatch:
    rows = [{"conversation": index, **row} for index, (rows, _) in enumerate(log) for row in rows]
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    if not plain:
        return batch
    columns = [column.cast(pa.string()) if column.type == NAME else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, SCHEMA.names)


def count(*logs: Log, plain: bool = False) -> Stats:
    stats = Stats()
    for log in logs:
        stats.add(to_batch(log, plain=plain), [tokens for _, tokens in log])
    return stats


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
    """The sample log, and what models break: repaired, refused, and cut."""
    records = [json.loads(line) for line in SAMPLE.read_bytes().splitlines()]
    broken = [
        {"text": "I can't help with that."},
        {"text": '<|channel|>final {"sky": "blue"}'},
        {"text": "<|channel|>final<|message|>Hi<|return|><|return|><|return|>"},
        {"tokens": [200005, 17196]},
    ]
    refused = [{"text": "<|channel|>final thoughts<|message|>Hi<|end|>"}, {"tokens": [9]}]
    return [*map(parsed, records + broken), *(parsed(record, strict=True) for record in refused)]


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
        tokens = [row["content_tokens"] for row in mine if row["content_tokens"] is not None]
        assert facts(channel.content_tokens) == by_hand(tokens)
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
    assert sum(channel.content_tokens.total for channel in whole.channels) == sum(range(300)) + 10
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
        r"truncated +700 +15\.22%",
        r"bad +200 +4\.35%",
        r"user +\(no channel\) +500 +4\.55%",
        r"functions\.get_weather +200 +10\.00%",
        r"extra-stop +100 +2\.17%",
    ):
        assert re.search(pattern, text), pattern
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text  # no name is cut at this width


def test_tables_of_odd_logs() -> None:
    assert shown(Stats().summary()).count("0       -") == 4
    names = [f"functions.f{number}" for number in range(30)] + ["evil\x1b[31m\u202e", "[red]a\nb"]
    log: Log = [([message(recipient=name, channel="[bold]")], 1) for name in names]
    (table,) = (table for table in tables(count(log).summary()) if table.title == "Tool calls")
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
    assert done.stderr.endswith("pip install altair vl-convert-python, or the extra `plot` of harmony-codec\n")
