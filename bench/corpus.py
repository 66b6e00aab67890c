"""What the benchmark parses: the sample log's completions, joined in a fixed order into longer ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

from harmony.vocabulary import CALL, CHANNEL, CONSTRAIN, END, FIRST_SPECIAL, MESSAGE, START, STOPS

ASSISTANT = 173781
SAMPLES = Path(__file__).parent.parent / "examples" / "completions.jsonl"

#: Samples in forms that openai-harmony 0.0.8 cannot read, or reads otherwise.
OURS_ALONE = {
    "constrain-space-word",
    "named-authors",
    "tool-results-two-forms",
    "structured-output",
    "structured-bare-type",
    "markdown-table",
}


def completions(count: int = 50, length: int = 550) -> list[list[int]]:
    """`count` completions of about `length` tokens, prose and calls mixed, each several messages long."""
    records = map(json.loads, SAMPLES.read_bytes().splitlines())
    samples = [
        record["tokens"]
        for record in records
        if record.get("tokens", [0])[0] == CHANNEL and record["tokens"][-1] in STOPS and record["id"] not in OURS_ALONE
    ]
    order = random.Random(1)
    joined = []
    for _ in range(count):
        tokens = list(order.choice(samples))
        while len(tokens) < length:
            tokens += [START, ASSISTANT, *order.choice(samples)]
        joined.append(tokens)
    return joined


def long_message(length: int = 4000) -> list[int]:
    """One message of `length` tokens of content."""
    body = [token for tokens in completions() for token in tokens if token < FIRST_SPECIAL]
    return [CHANNEL, 17196, MESSAGE, *body[:length], END]


def headers(count: int) -> list[int]:
    """`count` times the same message, fifteen tokens long, with nothing in it."""
    header = [START, ASSISTANT, CHANNEL, 12606, 815, 316, 28, 44580, 775, 170154, 220, CONSTRAIN, 4108, MESSAGE, CALL]
    return header * count
