"""Measures whole processes: the log command, a fresh process, memory, and what two cores give."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bench import corpus
from bench.cases import SCRIPT, TWO_WORKERS
from bench.processes import Input, Setting, SubjectError, timed, worker_command
from bench.results import Measure
from bench.subjects import OURS, PEER, SUBJECTS

_SCRIPT_FILE: Final = Path(__file__).with_name("plain_script.py")
_FRESH: Final = """
import {module} as library
encoding = library.load_harmony_encoding("HarmonyGptOss")
encoding.parse_messages_from_completion_tokens([200005, 17196, 200008, 12194, 200002], library.Role.ASSISTANT)
"""

Run: TypeAlias = Callable[[], tuple[float, float]]

# Work that needs only a processor core.
_COUNT: Final = "for number in range(5_000_000): pass"


class Sizes(NamedTuple):
    """How long the log is, and how often each command is run; and the tokens of the message that memory is for."""

    records: int
    repeats: int
    tokens: int


WHOLE: Final = Sizes(20_000, 3, 1_000_000)
QUICK: Final = Sizes(600, 2, 100_000)


def cores(repeats: int) -> Measure:
    """The speed-up of two processes that share nothing. Two threads of ours cannot reach more."""
    words = [sys.executable, "-c", _COUNT]
    figures: dict[str, list[float]] = {"one process": [], "two processes": []}
    for _ in range(repeats):
        for number, found in enumerate(figures.values(), 1):
            began = time.perf_counter()
            processes = [subprocess.Popen(words) for _ in range(number)]
            for process in processes:
                process.wait()
            found.append((time.perf_counter() - began) * 1e3 / number)
    return Measure("cores", "the machine: counting in Python, for each process", "ms", figures)


def start(name: str, setting: Setting) -> tuple[float, float]:
    """Seconds and MB of a process that imports a library, loads the vocabulary and parses one completion."""
    words = [sys.executable, "-P", "-c", _FRESH.format(module=SUBJECTS[name].module)]
    return timed(words, setting.environment(name))


def parse_log(name: str, setting: Setting, log: Path, output: Path, workers: int) -> tuple[float, float]:
    """Seconds and MB of `harmony parse` on a log, JSON Lines in and out."""
    words = [sys.executable, "-P", "-m", "harmony", "parse", str(log), "--output", str(output)]
    return timed([*words, "--workers", str(workers)], setting.environment(name))


def fresh(names: list[str], setting: Setting, repeats: int) -> list[Measure]:
    """The cost of a fresh process, for each library."""
    seconds, peaks, failed = _in_turn({name: partial(start, name, setting) for name in names}, repeats)
    return [
        Measure("fresh", "fresh process, one completion", "ms", _scaled(seconds, 1e3), failed),
        Measure("fresh_memory", "fresh process, peak of memory", "MB", peaks, failed),
    ]


def logs(names: list[str], setting: Setting, sizes: Sizes) -> list[Measure]:
    """The whole command on a log, and the plain script on the same log."""
    log, output = setting.folder / "log.jsonl", setting.folder / "output.jsonl"
    corpus.log(log, sizes.records)
    runs: dict[str, Run] = {}
    if OURS in names:
        runs[OURS] = partial(parse_log, OURS, setting, log, output, 1)
        runs[TWO_WORKERS] = partial(parse_log, OURS, setting, log, output, 2)
    if PEER in names:
        script = [sys.executable, "-P", str(_SCRIPT_FILE), str(log), str(output)]
        runs[SCRIPT] = partial(timed, script, setting.environment(PEER))
    seconds, peaks, failed = _in_turn(runs, sizes.repeats)
    title = f"log of {sizes.records:,} records"
    return [
        Measure("log", title, "s", seconds, failed),
        Measure("log_memory", f"{title}, peak of memory", "MB", peaks, failed),
    ]


def memory(names: list[str], setting: Setting, sizes: Sizes) -> list[Measure]:
    """The peak of a process that parses the longest message, and of one that only has the library and the input."""
    path = str(setting.path(Input("one_message", sizes.tokens)))
    measures = []
    for runs, title in (("0", "before it is parsed"), ("1", "parsed")):
        commands = {
            name: partial(timed, worker_command(name, "parse", path, runs), setting.environment(name)) for name in names
        }
        _, peaks, failed = _in_turn(commands, 1)
        title = f"a message of {sizes.tokens:,} tokens, {title}, peak of memory"
        measures.append(Measure(f"memory_{runs}", title, "MB", peaks, failed))
    return measures


def _in_turn(
    runs: Mapping[str, Run], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, str]]:
    """Seconds and MB by name, one figure for each repeat, and why some commands could not be run."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            if name in failed:
                continue
            try:
                second, peak = run()
            except SubjectError as error:
                failed[name] = str(error)
                continue
            seconds.setdefault(name, []).append(second)
            peaks.setdefault(name, []).append(peak)
    return seconds, peaks, failed


def _scaled(figures: dict[str, list[float]], scale: float) -> dict[str, list[float]]:
    return {name: [figure * scale for figure in found] for name, found in figures.items()}
