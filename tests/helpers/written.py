"""What is written to outputs, piece after piece."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from helpers.paths import SAMPLE

LOG = SAMPLE.read_bytes()
LINES = LOG.splitlines(keepends=True)
NAMES = ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet", "out.arrow"]
TABLES = NAMES[3:]
RUN = {"inputs": ["a.jsonl", "b.jsonl"], "strict": False}


def written(name: str) -> list[Any]:
    """What is written in turn: some lines, or the same as batches."""
    pieces = [b"".join(LINES[begin : begin + 3]) for begin in range(0, len(LINES), 3)]
    if name not in TABLES:
        return pieces
    lines = [piece.decode().splitlines() for piece in pieces]
    return [pa.record_batch({"line": batch, "size": [len(line) for line in batch]}) for batch in lines]
