"""`python -m bench.logs`: columns and the log command against openai-harmony, runs interleaved, medians.

The log has 60,000 records of some 700 tokens, or as many as `--records` says. openai-harmony works on it by
`plain_script.py`, which takes minutes, and is run once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from bench import corpus
from bench.subjects import environment
from harmony import vocabulary

SCRIPT = Path(__file__).with_name("plain_script.py")
OURS = [sys.executable, "-m", "harmony", "parse"]


def columns(folder: str, completions: int, repeats: int) -> None:
    """From uint32 to Arrow, one thread and two, against openai-harmony on a fiftieth of the same completions."""
    from harmony import batch

    inputs = corpus.completions(completions)
    tokens, offsets = array("I"), array("q", [0])
    for each in inputs:
        tokens.extend(each)
        offsets.append(len(tokens))
    peer = subprocess.Popen(
        [sys.executable, "-m", "bench", "--serve", "openai-harmony"],
        env=environment("openai-harmony", folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert peer.stdin is not None
    assert peer.stdout is not None
    times: dict[str, list[float]] = {"one thread": [], "two threads": [], "openai-harmony": []}
    for _ in range(repeats):
        for threads, name in enumerate(("one thread", "two threads"), 1):
            start = time.perf_counter()
            batch.parse_batch(tokens, offsets, threads=threads)
            times[name].append((time.perf_counter() - start) / len(tokens))
        print(0, file=peer.stdin, flush=True)  # the first task: parsing completions of the same kind
        times["openai-harmony"].append(float(peer.stdout.readline()) / sum(map(len, corpus.completions())))
    peer.kill()
    medians = {name: statistics.median(found) * 1e9 for name, found in times.items()}
    for name, found in medians.items():
        low, high = min(times[name]) * 1e9, max(times[name]) * 1e9
        print(f"columns, {name:16} {found:10,.2f} ns a token ({low:,.2f} to {high:,.2f})")
    print(f"columns against openai-harmony: {medians['openai-harmony'] / medians['one thread']:,.0f}×")
    ratios = [one / two for one, two in zip(times["one thread"], times["two threads"], strict=True)]
    print(f"two threads against one: {statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})")


def write_log(path: Path, records: int) -> int:
    """Writes a log; how many tokens it has."""
    samples = corpus.completions(200)
    with path.open("w") as log:
        for number in range(records):
            record = {"id": f"request-{number:08}", "model": "gpt-oss-20b", "created": 1_757_320_098 + number}
            log.write(json.dumps({**record, "tokens": samples[number % 200], "finish_reason": "stop"}) + "\n")
    return sum(len(samples[number % 200]) for number in range(records))


def command(folder: Path, records: int, repeats: int, *, peer: bool) -> None:
    """The whole command, JSON Lines in and out, with one worker and two, against a plain script; and its memory."""
    log, small = folder / "log.jsonl", folder / "small.jsonl"
    tokens = write_log(log, records)
    write_log(small, records // 10)
    runs: dict[str, Callable[[], float]] = {
        "one worker": lambda: timed([*OURS, str(log), "-o", str(folder / "one.jsonl"), "--workers", "1"])[0],
        "two workers": lambda: timed([*OURS, str(log), "-o", str(folder / "two.jsonl"), "--workers", "2"])[0],
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(run())
    for name, found in times.items():
        print(f"log of {records:,}, {name:12} {statistics.median(found):8.2f} s ({min(found):.2f} to {max(found):.2f})")
    ratios = [one / two for one, two in zip(times["one worker"], times["two workers"], strict=True)]
    print(f"two workers against one: {statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})")
    for workers in ("1", "2"):
        peaks = [
            timed([*OURS, str(path), "-o", str(folder / "peak.jsonl"), "--workers", workers])[1]
            for path in (small, log)
        ]
        print(
            f"peak memory, {workers} workers: {peaks[0]:.0f} MB for {records // 10:,} records, "
            f"{peaks[1]:.0f} MB for {records:,}"
        )
    if peer:
        seconds, peak = timed(
            [sys.executable, str(SCRIPT), str(log), str(folder / "peer.jsonl")],
            environment("openai-harmony", str(folder)),
        )
        print(
            f"log of {records:,}, plain script {seconds:8.2f} s, {seconds / tokens * 1e9:,.0f} ns a token, "
            f"{peak:.0f} MB"
        )
        print(f"one worker against the plain script: {seconds / statistics.median(times['one worker']):.1f}×")


# A process begins with the memory of the one that made it: this one is small.
TIMED = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def timed(words: list[str], variables: dict[str, str] | None = None) -> tuple[float, float]:
    """Seconds that a command takes, and the most memory that one of its processes had, in MB."""
    done = subprocess.run([sys.executable, "-c", TIMED, *words], env=variables, check=True, capture_output=True)
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--completions", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--without-peer", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / vocabulary.FILE_NAME).write_bytes(vocabulary.load().official_file())
        columns(folder, chosen.completions, chosen.repeats)
        command(Path(folder), chosen.records, chosen.repeats, peer=not chosen.without_peer)


if __name__ == "__main__":
    main()
