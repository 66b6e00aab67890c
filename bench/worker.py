"""The process of one subject. It prepares inputs, and runs and times what it is asked to; it decides nothing.

`python -m bench.worker SUBJECT` answers requests, a line of JSON each, until its input ends. With a method, a file and
a number of runs behind it, it does these and no more, so that its memory can be told.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.subjects import SUBJECTS, Run, Subject


def prepare(subject: Subject, method: str, path: str) -> Run:
    run: Run = getattr(subject, method)(json.loads(Path(path).read_bytes()))
    return run


def clock(run: Run, least: float) -> float:
    """Seconds of one run: the mean of as many as take `least` seconds together, one at least."""
    gc.collect()
    rounds, elapsed = 0, 0.0
    while rounds == 0 or elapsed < least:
        start = time.perf_counter()
        run()
        elapsed += time.perf_counter() - start
        rounds += 1
    return elapsed / rounds


def serve(subject: Subject) -> None:
    prepared: dict[tuple[str, str], Run] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if request is None:  # another case follows
                prepared.clear()
                continue
            key = request["method"], request["path"]
            if key not in prepared:
                prepared[key] = prepare(subject, *key)
            answer = {"seconds": clock(prepared[key], request["least"])}
        except Exception as error:  # of any library; the others are measured all the same
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)


def main(name: str, method: str = "", path: str = "", runs: str = "0") -> None:
    try:
        subject = SUBJECTS[name]()
    except Exception as error:  # not installed, or not to be used
        print(json.dumps({"error": str(error) or type(error).__name__}))
        raise SystemExit(1) from None
    if not method:
        print(json.dumps({"version": subject.version}), flush=True)
        serve(subject)
    else:
        run = prepare(subject, method, path)
        for _ in range(int(runs)):
            run()


if __name__ == "__main__":
    main(*sys.argv[1:])
