"""The fuzzers: each runs for a moment, and tells a fault that was put in, with the shortest input that shows it."""

from __future__ import annotations

import random
import re
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from fuzz import differential, streams, targets, volume
from harmony import Role
from harmony.batch import SCHEMA


def without_diagnostics(read: Any) -> Any:
    def reading(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        found.diagnostics.clear()
        return found

    return reading


def faulty(engine: ModuleType) -> Any:
    """The engine, but that it tells no repairs."""
    changed = {"parse": without_diagnostics(engine.parse), "parse_text": without_diagnostics(engine.parse_text)}
    return SimpleNamespace(**{**vars(engine), "__name__": "faulty", **changed})


# --- streams


def test_what_is_left_is_what_fails() -> None:
    assert streams.smallest([*range(50)], lambda items: 7 in items and 31 in items) == [7, 31]
    assert streams.smallest([1, 2, 3], lambda items: True) == []


def test_streams_are_of_all_kinds() -> None:
    """Half are well formed but for their faults, and some have none: strict parsing reads several messages."""
    read = []
    for number in range(200):
        tokens = streams.stream(5, number, Role.ASSISTANT)
        assert tokens == streams.stream(5, number, Role.ASSISTANT)
        read.append(differential.whole(differential.ENGINES[0], tokens, Role.ASSISTANT, strict=True))
    assert len({found[1][0] for found in read if found[0] == "refused"}) > 5
    assert sum(found[0] == "read" and len(found[1][0]) > 1 for found in read) > 5


# --- all ways of reading


def test_both_engines_and_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert differential.run(seed=4, first=60, count=40)
    assert capsys.readouterr().out.startswith("40 streams, ")


def test_a_fault_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine = differential.ENGINES[0]
    monkeypatch.setattr(differential, "ENGINES", [engine, faulty(engine)])
    assert not differential.run(seed=4, first=0, count=400)
    told = capsys.readouterr().out
    assert told.startswith("seed 4: difference - lenient, faulty: a list")
    (tokens,) = re.findall(r"^  stream .*: \[(.*)\]$", told, re.MULTILINE)
    assert "," not in tokens  # one token is enough


def test_a_fault_in_columns_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(differential, "parse_batch", lambda *_, **__: SCHEMA.empty_table())
    assert not differential.run(seed=4, first=0, count=3)
    told = capsys.readouterr().out
    assert "difference - lenient: columns of a list, one thread" in told
    assert len(re.findall(r"^  stream .*: \[\]$", told, re.MULTILINE)) == 1  # one completion without a token is enough


# --- very many tokens


def test_columns_against_the_engine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(volume, "_BATCH", 300)
    assert volume.run(seed=4, first=0, tokens=60_000, faults=0.1)
    tokens, completions, with_faults = map(int, re.findall(r"\b\d+\b", capsys.readouterr().out.replace(",", ""))[:3])
    assert tokens >= 60_000
    assert completions > 2 * with_faults > 0


def test_a_row_that_differs_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    by_columns = volume.by_columns

    def without_the_last(batch: volume.Batch, threads: int) -> Any:
        return by_columns(batch, threads).slice(0, 299 if threads == 2 else 300)

    monkeypatch.setattr(volume, "_BATCH", 300)
    monkeypatch.setattr(volume, "by_columns", without_the_last)
    assert not volume.run(seed=4, first=0, tokens=1, faults=0)
    told = capsys.readouterr().out
    assert "difference - columns, 2 threads: row 299" in told
    assert "by itself it is read alike" in told


# --- any bytes


def try_many(name: str, size: int, count: int) -> None:
    chance = random.Random(name)
    for _ in range(count):
        targets.TARGETS[name](chance.randbytes(chance.randrange(size)))


@pytest.mark.parametrize("name", targets.TARGETS)
def test_targets_read_any_bytes(name: str) -> None:
    try_many(name, 60, 30)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_targets_tell_a_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One engine that tells no repairs; lines of which one is left out; rows of which one is."""
    engine, parse_lines, parse_table = differential.ENGINES[0], targets.parse_lines, targets.parse_table

    def without_a_row(*arguments: Any, **options: Any) -> Any:
        found = parse_table(*arguments, **options)
        return (found.read_all() if isinstance(found, pa.RecordBatchReader) else found).slice(1)

    for module in (differential, targets):
        monkeypatch.setattr(module, "ENGINES", [engine, faulty(engine)])
    monkeypatch.setattr(targets, "parse_lines", lambda data, **options: parse_lines(b"", **options))
    monkeypatch.setattr(targets, "parse_table", without_a_row)
    with pytest.raises(AssertionError, match="expected: "):
        try_many(name, 60, 200)
