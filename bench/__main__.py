"""`python -m bench`: ours against openai-harmony, each library in a process of its own, runs interleaved.

Benchmarks are hard: these are one machine's figures for one set of inputs. Only ratios of one run are worth
comparing, and only medians are shown.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench import corpus
from bench.subjects import SUBJECTS, environment

PEER = "openai-harmony"


class Task(NamedTuple):
    """What is timed: a method of the subjects, on these inputs; and whose ratio to the peer is to be at least what."""

    title: str
    method: str
    inputs: list[list[int]]
    goals: dict[str, float]
    by_token: bool = True  # its time is told for one token, else for the whole


TASKS = [
    Task("parse lists of 550 tokens", "parse", corpus.completions(), {"harmony": 100, "harmony in Python": 4}),
    Task("the same, strict=False", "parse_lenient", corpus.completions(), {}),
    Task("stream, three reads a token", "stream", corpus.completions(10), {"harmony": 20}),
    Task("the same, strict=False", "stream_lenient", corpus.completions(10), {}),
    Task("stream, 16 tokens a step", "stream_many", corpus.completions(10), {"harmony": 40}),
    Task("stream, current_content a token", "content", [corpus.long_message()], {"harmony": 20}),
    Task("stream, state and messages a token", "state", corpus.completions(2), {"harmony": 100}),
    Task("one header again and again", "headers", [corpus.headers(100)], {"harmony": 100}),
    Task("render 20 messages and 10 tools", "render", [], {"harmony": 2.5}, by_token=False),
    Task("the same, one message longer", "render_longer", [], {"harmony": 20}, by_token=False),
    Task("JSON round trip of them", "json", [], {"harmony": 10}, by_token=False),
    Task("render one letter 10,000 times", "letters", [[0] * 10_000], {}),
    Task("render one letter 100,000 times", "letters", [[0] * 100_000], {}),
]
FRESH = """
import {module} as library
encoding = library.load_harmony_encoding("HarmonyGptOss")
encoding.parse_messages_from_completion_tokens([200005, 17196, 200008, 12194, 200002], library.Role.ASSISTANT)
import re
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


class Worker:
    """A process that holds one subject, and times its tasks when asked."""

    def __init__(self, subject: str, folder: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench", "--serve", subject],
            env=environment(subject, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def time(self, task: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(task, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def serve(subject: str) -> None:
    """Times tasks, by number, until the input ends; a task that is short is repeated within one timing."""
    library = SUBJECTS[subject]()
    for line in sys.stdin:
        task = TASKS[int(line)]
        run = getattr(library, task.method)
        rounds, elapsed = 0, 0.0
        while elapsed < 0.2:
            start = time.perf_counter()
            run(task.inputs)
            elapsed += time.perf_counter() - start
            rounds += 1
        print(elapsed / rounds, flush=True)


def fresh(subject: str, folder: str) -> tuple[float, float]:
    """Seconds and MB of a process that imports the library and parses one completion."""
    code = FRESH.format(module=SUBJECTS[subject].module)
    start = time.perf_counter()
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, env=environment(subject, folder), check=True, capture_output=True).stdout
    return time.perf_counter() - start, int(output) / 1024


def main(repeats: int = 7) -> None:
    from harmony import vocabulary

    names = []
    for name, subject in SUBJECTS.items():
        try:
            print(f"{name} {subject.version()}", end="; ")
            names.append(name)
        except ModuleNotFoundError:
            print(f"{name} is not installed", end="; ")
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / vocabulary.FILE_NAME).write_bytes(vocabulary.load().official_file())
        workers = {name: Worker(name, folder) for name in names}
        for number, task in enumerate(TASKS):
            times: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(repeats):
                for name in names:
                    times[name].append(workers[name].time(number))
            tokens = sum(map(len, task.inputs))
            unit, scale = ("ns a token", 1e9 / tokens) if task.by_token else ("µs", 1e6)
            report(task.title, unit, {name: statistics.median(times[name]) * scale for name in names}, task.goals)
        for worker in workers.values():
            worker.process.kill()
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _ in range(repeats):
            for name in names:
                runs[name].append(fresh(name, folder))
        seconds = {name: statistics.median(run[0] for run in runs[name]) for name in names}
        memory = {name: statistics.median(run[1] for run in runs[name]) for name in names}
        report("fresh process, one completion", "ms", {n: t * 1e3 for n, t in seconds.items()}, {"harmony": 3})
        report("fresh process, memory", "MB", memory, {"harmony": 2})


def report(title: str, unit: str, figures: dict[str, float], goals: dict[str, float]) -> None:
    for name, figure in figures.items():
        line = f"{title:36} {name:18} {figure:12,.1f} {unit}"
        if name in goals and PEER in figures:
            line += f"   {figures[PEER] / figure:8.1f}× (goal {goals[name]:g}×)"
        print(line)


if __name__ == "__main__":
    arguments: list[Any] = sys.argv[1:]
    if arguments[:1] == ["--serve"]:
        serve(arguments[1])
    else:
        main()
