"""Measures whole processes: commands of harmony, a fresh process, memory, and what two cores give."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bench import corpus
from bench.cases import BYTE, COMMANDS, IMPORT, LONG_LOG, SCRIPT, SECOND, STATS, TWO_WORKERS
from bench.processes import Input, Setting, SubjectError, Usage, timed, worker_command
from bench.results import Measure
from bench.subjects import OURS, PEER, SUBJECTS

_SCRIPT_FILE: Final = Path(__file__).with_name("plain_script.py")
_FRESH: Final = """
import {module} as library
encoding = library.load_harmony_encoding("HarmonyGptOss")
encoding.parse_messages_from_completion_tokens([200005, 17196, 200008, 12194, 200002], library.Role.ASSISTANT)
"""

Run: TypeAlias = Callable[[], Usage]

# Work that needs only a processor core.
_COUNT: Final = "for number in range(5_000_000): pass"


class Sizes(NamedTuple):
    """Records of the log and of the long one, how often they are parsed, and the tokens of the longest message."""

    records: int
    long: int
    repeats: int
    tokens: int


WHOLE: Final = Sizes(20_000, 300_000, 3, 1_000_000)
QUICK: Final = Sizes(600, 2000, 2, 100_000)
_LONG_REPEATS: Final = 2  # of the long log, because each takes long


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


def start(name: str, setting: Setting) -> Usage:
    """What a process takes that imports a library, loads the vocabulary and parses one completion."""
    words = [sys.executable, "-P", "-c", _FRESH.format(module=SUBJECTS[name].module)]
    return timed(words, setting.environment(name))


def command(name: str, setting: Setting, *words: str) -> Usage:
    """What the command `harmony` takes."""
    return timed([sys.executable, "-P", "-m", "harmony", *words], setting.environment(name))


def parse_log(name: str, setting: Setting, log: Path, output: Path, workers: int) -> Usage:
    """What `harmony parse` takes on a log, JSON Lines in and out."""
    return command(name, setting, "parse", str(log), "--output", str(output), "--workers", str(workers))


def fresh(names: list[str], setting: Setting, repeats: int) -> list[Measure]:
    """The cost of a fresh process, for each library."""
    found, failed = _in_turn({name: partial(start, name, setting) for name in names}, repeats)
    return [
        Measure("fresh", "fresh process, one completion", "ms", _seconds(found, 1e3), failed),
        Measure("fresh_memory", "fresh process, peak of memory", "MB", _peaks(found), failed),
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
    found, failed = _in_turn(runs, sizes.repeats)
    title = f"log of {sizes.records:,} records"
    return [
        Measure("log", title, SECOND, _seconds(found), failed),
        Measure("log_memory", f"{title}, peak of memory", "MB", _peaks(found), failed),
    ]


def long_log(setting: Setting, sizes: Sizes) -> Measure:
    """The processor time of the whole command for a byte of a log, which is so long that the start does not count."""
    log, output = setting.folder / "long.jsonl", setting.folder / "output.jsonl"
    corpus.log(log, sizes.long)
    size = log.stat().st_size
    found, failed = _in_turn({LONG_LOG: partial(parse_log, OURS, setting, log, output, 1)}, _LONG_REPEATS)
    log.unlink()
    output.unlink(missing_ok=True)
    title = f"long log of {sizes.long:,} records, {size / 1e6:,.0f} MB, processor time"
    return Measure("long_log", title, BYTE, _processor(found, 1e9 / size), failed)


def short(setting: Setting, repeats: int) -> Measure:
    """Commands that have little to do."""
    log = setting.folder / "five.jsonl"
    corpus.log(log, 5)
    words = {**COMMANDS, STATS: ["stats", str(log)]}
    runs = {label: partial(command, OURS, setting, *each) for label, each in words.items()}
    found, failed = _in_turn(runs, repeats)
    return Measure("commands", "short commands", SECOND, _seconds(found), failed)


def imported(setting: Setting, repeats: int) -> Measure:
    """The processor time of a process that imports harmony, and of one that imports nothing."""
    environment = setting.environment(OURS)
    runs = {
        label: partial(timed, [sys.executable, "-P", "-c", code], environment)
        for label, code in ((IMPORT, "import harmony"), ("Python alone", "pass"))
    }
    found, failed = _in_turn(runs, repeats)
    return Measure("import", "import, processor time of the process", SECOND, _processor(found), failed)


def memory(names: list[str], setting: Setting, sizes: Sizes) -> list[Measure]:
    """The peak of a process that parses the longest message, and of one that only has the library and the input."""
    path = str(setting.path(Input("one_message", sizes.tokens)))
    measures = []
    for runs, title in (("0", "before it is parsed"), ("1", "parsed")):
        commands = {
            name: partial(timed, worker_command(name, "parse", path, runs), setting.environment(name)) for name in names
        }
        found, failed = _in_turn(commands, 1)
        title = f"a message of {sizes.tokens:,} tokens, {title}, peak of memory"
        measures.append(Measure(f"memory_{runs}", title, "MB", _peaks(found), failed))
    return measures


def _in_turn(runs: Mapping[str, Run], repeats: int) -> tuple[dict[str, list[Usage]], dict[str, str]]:
    """What each command took by its name, once for each repeat, and why some commands could not be run."""
    found: dict[str, list[Usage]] = {}
    failed: dict[str, str] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            if name in failed:
                continue
            try:
                found.setdefault(name, []).append(run())
            except SubjectError as error:
                failed[name] = str(error)
    return {name: usages for name, usages in found.items() if usages}, failed


def _seconds(found: dict[str, list[Usage]], scale: float = 1) -> dict[str, list[float]]:
    return {name: [usage.seconds * scale for usage in usages] for name, usages in found.items()}


def _processor(found: dict[str, list[Usage]], scale: float = 1) -> dict[str, list[float]]:
    return {name: [usage.processor * scale for usage in usages] for name, usages in found.items()}


def _peaks(found: dict[str, list[Usage]]) -> dict[str, list[float]]:
    return {name: [usage.peak for usage in usages] for name, usages in found.items()}
