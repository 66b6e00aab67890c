"""`python -m bench.validation`: `validate` and `is_valid` on messages of 500 characters, and how they grow."""

from __future__ import annotations

import time
from collections.abc import Callable

from harmony import is_valid, load_harmony_encoding, validate

GOAL_VALIDATE = 5.0  # MB a second
GOAL_RATIO = 50


def best(run: Callable[[], object], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    body = "The train to Bergen leaves at 8:25 and takes seven hours; book a seat on the left, for the view. " * 5
    messages = [
        f"<|start|>assistant<|channel|>{channel}<|message|>{body}{number}<|end|>"
        for number, channel in enumerate(["analysis", "final"] * 2000)
    ]
    encoding = load_harmony_encoding("HarmonyGptOss")
    for count in (500, 1000, 2000, 4000):
        text = "".join(messages[:count])
        for name, form in (("text", text), ("ids", encoding.encode(text, allowed_special="all"))):
            slow, fast = best(lambda form=form: validate(form), 3), best(lambda form=form: is_valid(form))
            size = len(text) / 1e6
            print(
                f"{count:5} messages of {len(text) // count} characters, {name:4}: validate {size / slow:6.1f} MB/s "
                f"(goal {GOAL_VALIDATE:g}), is_valid {size / fast:7.0f} MB/s, {slow / fast:4.0f}× (goal {GOAL_RATIO}×)"
            )


if __name__ == "__main__":
    main()
