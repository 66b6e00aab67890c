"""Bytes that come in chunks, cut into blocks of whole lines in bounded memory.

Decides which lines are in a block, and what is left of a line that is too long. Where the bytes come from is not known
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from xxhash import xxh3_64


class Fault(Exception):  # noqa: N818  it becomes an Unreadable where its place is known
    """What is wrong with compressed data."""


class Chunks:
    """Uncompressed bytes as they come. Where a fault interrupts them they end, and `fault` is why."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._returned = b""
        self.ended = False
        self.fault: Exception | None = None

    def take(self) -> bytes:
        """The next of them; b"" at the end."""
        if self._returned:
            chunk, self._returned = self._returned, b""
            return chunk
        try:
            chunk = next(self._chunks, b"")
        except (Fault, OSError) as error:
            self.fault, chunk = error, b""
        self.ended = not chunk
        return chunk

    def first(self, size: int) -> Iterator[bytes]:
        """So many bytes, or all if there are fewer."""
        while size > 0 and (chunk := self.take()):
            self._returned = chunk[size:]
            yield chunk[:size]
            size -= len(chunk)


class Lines(NamedTuple):
    """Whole lines, and how many bytes they have where they come from.

    `too_long` is 0, or the bytes of the first line where it has more than are allowed: then `data` has an empty line in
    its place.
    """

    data: bytes
    size: int
    too_long: int = 0


def cut(chunks: Chunks, digest: xxh3_64, block: int, most: int, full: bool) -> Iterator[Lines]:
    """The whole lines in each block, which begins where the last of them ended; or one line that is longer.

    The last line may lack its end. Where a fault comes before its end, it is no whole line. A line may have `most`
    bytes before its end; of one with more no more than that is held. With `full`, blocks are as large as they may be.
    The digest gets all bytes of the lines before they are given, those of a line that is too long among them.
    """
    block = min(block, most)  # so that a line in a block is never too long
    held, long = b"", _NONE
    while True:
        parts, size, waits = [held], len(held), full or b"\n" not in held
        while waits and size <= block and (chunk := chunks.take()):
            parts.append(chunk)
            size += len(chunk)
            waits = full or b"\n" not in chunk
        data = b"".join(parts)
        end = data.rfind(b"\n", 0, block) + 1
        if size <= block and chunks.ended:
            if last := data if chunks.fault is None else data[:end]:
                yield _behind(long, last, digest)
            return
        if end:
            yield _behind(long, data[:end], digest)
            held, long = data[end:], _NONE
            continue
        line, held = _long_line(data, chunks, digest, most)
        if line.too_long:
            held, long = line.data + held, line
        elif line.data:
            yield line


_NONE: Final = Lines(b"", 0)


def _behind(long: Lines, data: bytes, digest: xxh3_64) -> Lines:
    """Lines of which the first stands for one that was too long, if there is such a one."""
    rest = data[len(long.data) :]
    digest.update(rest)
    return Lines(data, long.size + len(rest), long.too_long)


def _long_line(begin: bytes, chunks: Chunks, digest: xxh3_64, most: int) -> tuple[Lines, bytes]:
    """The line that begins so, and what came after it; no line if a fault comes before its end."""
    parts: list[bytes] = []
    chunk, size, end = begin, 0, 0
    while chunk and not (end := chunk.find(b"\n") + 1):
        digest.update(chunk)
        size += len(chunk)
        if size <= most:
            parts.append(chunk)
        else:
            parts.clear()
        chunk = chunks.take()
    if not end and chunks.fault is not None:
        return _NONE, b""
    last, rest = chunk[:end], chunk[end:]
    digest.update(last)
    length, size = size + max(end - 1, 0), size + end
    if length > most:
        return Lines(b"\n", size, length), rest
    return Lines(b"".join([*parts, last]), size), rest
