"""A format of logs that the package does not have: lines compressed by xz."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from harmony.logs.compression import CorruptData
from harmony.logs.formats import LineFormat


def read_xz(file: BufferedReader[Any]) -> Iterator[bytes]:
    """What the streams of an xz file hold."""
    decompressor = lzma.LZMADecompressor()
    while data := file.read1(1 << 14):
        while data:
            if decompressor.eof:
                decompressor = lzma.LZMADecompressor()
            try:
                chunk = decompressor.decompress(data, 1 << 18)
                while chunk:
                    yield chunk
                    chunk = b"" if decompressor.eof else decompressor.decompress(b"", 1 << 18)
            except lzma.LZMAError as error:
                raise CorruptData(f"expected xz data, found a fault: {error}") from None
            data = decompressor.unused_data
    if not decompressor.eof:
        raise CorruptData("expected the rest of an xz stream, found the end of the file")


#: A format that the package does not have. This one entry is all there is to it; the library is in Python itself.
XZ = LineFormat(name="xz", suffix=".jsonl.xz", decompress=read_xz, compress=lzma.compress)
