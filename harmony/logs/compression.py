"""Reads and writes files that are uncompressed, or compressed with gzip or Zstandard.

A decompressor reads an open file and yields its bytes in chunks of limited size. Before it raises CorruptData, it has
yielded every byte before the fault. A compressor makes a separate member or frame of each write, so a file can be cut
off after any write. The same bytes always give the same result.

`formats.py` says which suffix belongs to which of these.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, Final

_CHUNK: Final = 1 << 20
# One step of inflation reads few bytes, because zlib copies the bytes after the end of a member. Its output is limited
# too.
_COMPRESSED_STEP: Final = 1 << 14
_INFLATED_STEP: Final = 1 << 18
_GZIP_LEVEL: Final = 6
_ZSTD_FRAME: Final = 0xFD2FB528
_ZSTD_SKIPPED: Final = 0x184D2A50 >> 4  # the last four bits are free


class CorruptData(Exception):  # noqa: N818  it becomes an Unreadable where the file's name is known
    """Raised if compressed data ends too early or cannot be decompressed. It says what was expected and found."""


def read_uncompressed(file: BufferedReader[Any]) -> Iterator[bytes]:
    """The bytes of a file that is not compressed."""
    while chunk := file.read1(_CHUNK):
        yield chunk


def read_gzip(file: BufferedReader[Any]) -> Iterator[bytes]:
    """The content of all members of a gzip file. Zero bytes may follow each member."""
    data = file.read1(_COMPRESSED_STEP)
    while data:
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            before = inflater.copy()
            try:
                chunk = inflater.decompress(data, _INFLATED_STEP)
            except zlib.error as error:
                if chunk := _inflated_before_fault(before, data):
                    yield chunk
                raise CorruptData(f"expected gzip data, found a fault: {error}") from None
            if chunk:
                yield chunk
            data = inflater.unconsumed_tail
            # After a full step, the inflater may have more output without new data.
            if not data and len(chunk) < _INFLATED_STEP and not inflater.eof:
                data = file.read1(_COMPRESSED_STEP)
                if not data:
                    raise CorruptData("expected the rest of a gzip member, found the end of the file")
        data = inflater.unused_data.lstrip(b"\0")
        while not data and (more := file.read1(_COMPRESSED_STEP)):
            data = more.lstrip(b"\0")


def _inflated_before_fault(inflater: Any, data: bytes) -> bytes:
    """All bytes before the fault in the data. Byte by byte, because zlib returns nothing from a step with a fault."""
    inflated = bytearray()
    steps = [
        b"",
        *(data[index : index + 1] for index in range(len(data))),
    ]  # first without data, for output that it still holds
    try:
        for step in steps:
            byte = inflater.decompress(step, 1)
            while byte:
                inflated += byte
                byte = inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error:
        pass
    return bytes(inflated)


def write_gzip(data: bytes) -> bytes:
    """The data as one member of a gzip file."""
    return zlib.compress(data, _GZIP_LEVEL, wbits=31)


def read_zstd(file: BufferedReader[Any]) -> Iterator[bytes]:
    """The content of all frames of a zstd file. A step with a fault gives nothing, so each step is only one block."""
    import zstandard  # an extra, loaded when a file needs it

    decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    for block in _zstd_blocks(file):
        try:
            chunk = decompressor.decompress(block)
        except zstandard.ZstdError as error:
            raise CorruptData(f"expected zstd data, found a fault: {error}") from None
        if chunk:
            yield chunk


def write_zstd(data: bytes) -> bytes:
    """The data as one frame of a zstd file."""
    import zstandard  # an extra, loaded when a file needs it

    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def _zstd_blocks(file: BufferedReader[Any]) -> Iterator[bytes]:
    """The frames of a zstd file (RFC 8878), cut into their headers, blocks and checksums."""
    while magic := file.read(4):
        number = int.from_bytes(magic, "little")
        if number >> 4 == _ZSTD_SKIPPED and len(magic) == 4:
            size = int.from_bytes(_whole(file.read(4), 4), "little")
            while size:
                size -= len(_whole(file.read(min(size, _CHUNK)), min(size, _CHUNK)))
            continue
        if number != _ZSTD_FRAME:
            raise CorruptData(f"expected a zstd frame, found the bytes {magic.hex(' ')}")
        descriptor = _whole(file.read(1), 1)
        flags = descriptor[0]
        one_segment, has_checksum = flags >> 5 & 1, flags >> 2 & 1
        size = (1 - one_segment) + (0, 1, 2, 4)[flags & 3] + (one_segment, 2, 4, 8)[flags >> 6]
        yield magic + descriptor + _whole(file.read(size), size)
        is_last = 0
        while not is_last:
            header = _whole(file.read(3), 3)
            fields = int.from_bytes(header, "little")
            is_last, is_one_byte = fields & 1, fields >> 1 & 3 == 1
            size = 1 if is_one_byte else fields >> 3
            block = file.read(size)
            yield header + block  # also a part of a block: an uncompressed block gives the bytes that exist
            _whole(block, size)
        if has_checksum:
            yield _whole(file.read(4), 4)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise CorruptData("expected the rest of a zstd frame, found the end of the file")
    return data
