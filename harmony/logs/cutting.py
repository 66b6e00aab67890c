"""Cuts chunks of bytes into blocks of whole lines, in limited memory.

All lines are cut here. This module decides which lines are in a block, and what remains of a line that is too long. It
does not know where the bytes come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from xxhash import xxh3_64

from harmony.logs.compression import CorruptData


class Chunks:
    """A stream of uncompressed bytes. It ends at the end of the file, or at a fault, which is then in `fault`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._returned = b""
        self.ended: bool = False
        self.fault: Exception | None = None

    def take(self) -> bytes:
        """The next chunk; b"" at the end."""
        if self._returned:
            chunk, self._returned = self._returned, b""
            return chunk
        try:
            chunk = next(self._chunks, b"")
        except (CorruptData, OSError) as error:
            self.fault, chunk = error, b""
        self.ended = not chunk
        return chunk

    def first(self, size: int) -> Iterator[bytes]:
        """The first `size` bytes, or all if there are fewer."""
        while size > 0 and (chunk := self.take()):
            self._returned = chunk[size:]
            yield chunk[:size]
            size -= len(chunk)

    def start(self) -> bytes:
        """The first chunk, which stays in the stream."""
        self._returned = self.take()
        return self._returned

    def peek(self, blank: bytes, mark: bytes) -> bytes:
        """The first byte after an optional mark and after blanks; b"" at the end. The bytes stay in the stream."""
        held: list[bytes] = []
        found = b""
        while not found and (chunk := self.take()):
            found = (chunk if held else chunk.removeprefix(mark)).lstrip(blank)[:1]
            held.append(chunk)
        self._returned = b"".join(held)
        return found


class Block(NamedTuple):
    """Whole lines, and their size in bytes in the file.

    `too_long` is 0, or the size of the first line if it is over the limit. Then `data` has an empty line in its place.
    """

    data: bytes
    size: int
    too_long: int = 0


def cut(chunks: Chunks, digest: xxh3_64, block: int, most: int, full: bool) -> Iterator[Block]:
    """Yields blocks of whole lines, each of at most `block` bytes. A longer line is a block of its own.

    The last line of the file may lack its newline, but a line that a fault cuts off is not yielded. A line may have
    `most` bytes before its newline; never more than that is held in memory. With `full`, a block has as many lines as
    fit. All bytes are added to the digest before their line is yielded, also those of a line that is too long.
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


_NONE: Final = Block(b"", 0)


def _behind(long: Block, data: bytes, digest: xxh3_64) -> Block:
    """The data as a block. If `long` is a line that was too long, the first line of the data stands for it."""
    rest = data[len(long.data) :]
    digest.update(rest)
    return Block(data, long.size + len(rest), long.too_long)


def _long_line(begin: bytes, chunks: Chunks, digest: xxh3_64, most: int) -> tuple[Block, bytes]:
    """The line that starts with `begin`, and the bytes after it; an empty block if a fault cuts the line off."""
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
        return Block(b"\n", size, length), rest
    return Block(b"".join([*parts, last]), size), rest
