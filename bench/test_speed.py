"""`pytest bench/`: the same cases under pytest-benchmark, of harmony alone, to compare two commits with each other.

The engine is the one that HARMONY_EXTENSION asks for. docs/benchmarks.md shows the commands.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import commands, corpus
from bench.cases import COMMANDS, Case, Entry, cases, growths
from bench.processes import Input, Setting, made
from bench.subjects import OURS, PYTHON, Harmony, HarmonyPython
from harmony.runtime.compiled import COMPILED

_ENGINE = OURS if COMPILED else PYTHON
_SIZE = 10_000  # of what the curves show, or the last of a curve that ends before it
_RECORDS = 3000


def _entries() -> list[tuple[str, Entry]]:
    """What the engine does in every case, and of every curve one size; each with a name."""
    found = []
    for case in cases(quick=True):
        found += [(_name(case, entry), entry) for entry in case.entries if entry.subject == _ENGINE]
    for growth in growths():
        given = Input(growth.maker, min(_SIZE, growth.last))
        found.append((f"growth-{growth.name}", Entry(_ENGINE, _ENGINE, growth.method, given)))
    return found


def _name(case: Case, entry: Entry) -> str:
    """The case's name, and where it has several entries of one subject, which of them it is."""
    others = [other for other in case.entries if other.subject == entry.subject]
    if len(others) == 1:
        return case.name
    one_method = len({other.method for other in others}) == 1
    return f"{case.name}-{entry.given.maker if one_method else entry.method}"


@cache
def _subject() -> Harmony:
    return Harmony() if COMPILED else HarmonyPython()


_ENTRIES = dict(_entries())


@pytest.mark.parametrize("name", _ENTRIES)
def test_case(name: str, benchmark: BenchmarkFixture) -> None:
    entry = _ENTRIES[name]
    run = getattr(_subject(), entry.method)(made(entry.given))
    benchmark.group = name
    benchmark(run)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(tmp_path_factory.mktemp("bench"), None)


def test_fresh_process(setting: Setting, benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(commands.start, args=(_ENGINE, setting), rounds=7, warmup_rounds=1)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=" ".join)
def test_short_command(setting: Setting, words: list[str], benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(commands.command, args=(_ENGINE, setting, *words), rounds=7, warmup_rounds=1)  # type: ignore[no-untyped-call]


def test_stats_command(setting: Setting, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    log = tmp_path / "log.jsonl"
    corpus.log(log, 5)
    benchmark.pedantic(commands.command, args=(_ENGINE, setting, "stats", str(log)), rounds=7, warmup_rounds=1)  # type: ignore[no-untyped-call]


def test_log_command(setting: Setting, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "output.jsonl"
    corpus.log(log, _RECORDS)
    benchmark.pedantic(commands.parse_log, args=(_ENGINE, setting, log, output, 1), rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert output.read_bytes().count(b"\n") == _RECORDS
