"""Logs and tables as files of every format, and what is read of them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from harmony.logs.inputs import Piece, Reader, Unreadable
from harmony.logs.places import Changed, Place

SUFFIXES = [".jsonl", ".jsonl.gz", ".jsonl.zst"]


def stored(text: bytes, suffix: str, parts: int = 1) -> bytes:
    """Lines as a file of that suffix holds them; compressed, in so many members or frames."""
    if suffix == ".jsonl":
        return text
    frame = zstandard.ZstdCompressor(write_checksum=True).compress
    compress = partial(gzip.compress, compresslevel=1) if suffix == ".jsonl.gz" else frame
    size = len(text) // parts + 1
    return b"".join(compress(text[begin : begin + size]) for begin in range(0, max(len(text), 1), size))


def changed(names: list[Path], place: Place, before: Sequence[Place] = ()) -> str:
    """What is said of a file that is not the one that was read, before anything else is read."""
    pieces = []
    with pytest.raises(Changed) as caught:
        pieces += Reader([str(name) for name in names], place, before)
    assert pieces == []
    return str(caught.value).replace(" is not the file that was read before", "", 1)


def read(reader: Reader) -> tuple[list[Piece], str]:
    """The pieces, and what is said of the fault that they end in."""
    pieces = []
    try:
        for piece in reader:
            pieces.append(piece)
    except Unreadable as error:
        return pieces, str(error)
    return pieces, ""


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(bytes(piece.data) for piece in pieces)


def table(rows: int) -> pa.Table:
    ids = pa.array([f"completion-{number}" for number in range(rows)])
    tokens = pa.array([[200005, 17196, 200008, number, 200002] for number in range(rows)], pa.list_(pa.int32()))
    role = pa.array(["assistant", None][number % 2] for number in range(rows))
    return pa.table({"id": ids, "tokens": tokens, "role": role})


def write_table(
    file: Path, whole: pa.Table, size: int, *, stream: bool = False, compression: str | None = None
) -> None:
    """Writes a table in row groups or batches of so many rows."""
    if file.suffix == ".parquet":
        pq.write_table(whole, file, row_group_size=size, compression=compression or "none", write_page_checksum=True)
        return
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(file, whole.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(whole, max_chunksize=size)


def read_lines(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix == ".gz":
        return gzip.decompress(data)
    if file.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(data)
    return data
