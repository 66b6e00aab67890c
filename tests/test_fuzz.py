"""The fuzzers: each runs for a moment, and tells a fault that was put in, with the shortest input."""

from __future__ import annotations

import re
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fuzz import differential, streams, volume
from harmony import Role
from harmony.vocabulary import CALL, END


def test_what_is_left_is_what_fails() -> None:
    assert streams.smallest([*range(50)], lambda items: 7 in items and 31 in items) == [7, 31]
    assert streams.smallest([1, 2, 3], lambda items: True) == []


def test_streams_are_of_all_kinds() -> None:
    """Half are well formed but for their faults, and some have none: strict parsing reads several messages."""
    read = []
    for number in range(400):
        tokens = streams.stream(5, number, Role.ASSISTANT)
        assert tokens == streams.stream(5, number, Role.ASSISTANT)
        read.append(differential.whole(differential.ENGINES[0], tokens, Role.ASSISTANT, strict=True))
    assert len({found[1][0] for found in read if found[0] == "refused"}) > 10
    assert sum(found[0] == "read" and len(found[1][0]) > 1 for found in read) > 10


def test_both_engines_and_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert differential.run(seed=4, first=60, count=80)
    assert capsys.readouterr().out.startswith("80 streams, ")


def with_a_fault(engine: ModuleType) -> Any:
    """The engine, but for a stream that holds a call and an end, of which it loses the last message."""

    def parse(tokens: Any, role: Role | None, *, strict: bool) -> Any:
        found = engine.parse(tokens, role, strict=strict)
        if CALL in tokens and END in tokens:
            found.messages.pop()
        return found

    return SimpleNamespace(**{**vars(engine), "__name__": "faulty", "parse": parse})


def test_a_fault_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine = differential.ENGINES[0]
    monkeypatch.setattr(differential, "ENGINES", [engine, with_a_fault(engine)])
    assert not differential.run(seed=4, first=0, count=400)
    told = capsys.readouterr().out
    assert "difference - lenient, faulty: a list" in told
    (tokens,) = re.findall(r"^  stream .*: \[(.*)\]$", told, re.MULTILINE)
    assert set(tokens.split(", ")) == {str(CALL), str(END)}


def test_columns_against_the_engine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(volume, "_BATCH", 300)
    assert volume.run(seed=4, first=0, tokens=100_000, faults=0.1)
    tokens, completions, faulty = map(int, re.findall(r"\b\d+\b", capsys.readouterr().out.replace(",", ""))[:3])
    assert tokens >= 100_000
    assert completions > 2 * faulty > 0


def test_a_row_that_differs_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = volume.by_columns

    def without_the_last(batch: volume.Batch, threads: int) -> Any:
        return right(batch, threads).slice(0, 299 if threads == 2 else 300)

    monkeypatch.setattr(volume, "_BATCH", 300)
    monkeypatch.setattr(volume, "by_columns", without_the_last)
    assert not volume.run(seed=4, first=0, tokens=1, faults=0)
    told = capsys.readouterr().out
    assert "difference - columns, 2 threads: row 299" in told
    assert "by itself it is read alike" in told
