"""What is written to outputs, piece after piece, and what a file then holds."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import zstandard

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


def held(file: Path) -> list[bytes]:
    """The lines that a file holds, read by other ways than ours."""
    data = file.read_bytes()
    if file.suffix == ".gz":
        data = gzip.decompress(data)
    elif file.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    elif file.suffix == ".parquet":
        return [line.encode() + b"\n" for line in pq.read_table(file)["line"].to_pylist()]
    elif file.suffix == ".arrow":
        with pa.ipc.open_file(file) as reader:
            return [line.encode() + b"\n" for line in reader.read_all()["line"].to_pylist()]
    return data.splitlines(keepends=True)
