"""Files that hold one text, or token ids, and no records.

A file with the suffix of a log holds records. So does standard input, or a compressed file of another name, if its
first character that is not blank is a `{`. Any other file is one text as it was rendered, or token ids where it holds
nothing but integers, white space, commas and brackets. A byte order mark at its beginning and one newline at its end,
which editors add, are no part of it: no text of the format begins with such a mark, and none is valid only with that
newline.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Final

from harmony.errors import sentence
from harmony.logs.cutting import Chunks
from harmony.logs.formats import LINES, LineFormat, format_of, is_log, may_be_log
from harmony.logs.inputs import Piece, chunks_of, format_here, lines, opened, pieces, unread
from harmony.logs.places import Place

_SPACE: Final = " \t\r\n\f\v"
_ONLY_IDS: Final = re.compile(rf"[-0-9{_SPACE},\[\]]*")
#: Each id in a text of token ids.
ID: Final = re.compile(rf"[^{_SPACE},\[\]]+")
_INTEGER: Final = re.compile("-?[0-9]{1,99}")  # Python does not read integers of any length


def parts_of(name: str, most: int) -> Iterator[Piece | bytes]:
    """The pieces of a log, or all bytes of a file that holds no records. `-` is standard input.

    A record, or a file that is one text, may have `most` bytes. Raises Unreadable, and ImportError if a library is
    missing.
    """
    with opened(name) as file:
        file_format = format_here(name, file)
        if not isinstance(file_format, LineFormat):
            yield from pieces(name, file, Place(), most)
            return
        chunks = chunks_of(file_format, file)
        if _holds_records(name, file_format, chunks):
            yield from lines(name, chunks, Place(), most, full=False)
        else:
            yield _whole(name, chunks, most)


def _holds_records(name: str, file_format: LineFormat, chunks: Chunks) -> bool:
    """Whether a file of lines holds records, by its name or else by its first character that is not blank."""
    if is_log(name):
        return True
    may_be = name == "-" or file_format is not LINES or format_of(name) is not LINES or may_be_log(name)
    return may_be and chunks.peek(_SPACE.encode(), BOM_UTF8) == b"{"


def _whole(name: str, chunks: Chunks, most: int) -> bytes:
    """All that a file holds, unless that is too much."""
    read = bytearray()
    while chunk := chunks.take():
        read += chunk
        if len(read) > most:
            raise unread(name, ValueError(f"{sentence('record-too-large', found=len(read))} or more in one text"))
    if chunks.fault is not None:
        raise unread(name, chunks.fault)
    return bytes(read)


def text_of(data: bytes) -> str:
    """The text in the bytes of a file. Raises UnicodeDecodeError."""
    text = data.removeprefix(BOM_UTF8).decode()
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


def ids_of(text: str) -> list[int] | None:
    """The token ids that a text holds; None where it is text, as blank text is."""
    if not _ONLY_IDS.fullmatch(text) or not text.strip(_SPACE):
        return None
    words = ID.findall(text)
    return list(map(int, words)) if all(map(_INTEGER.fullmatch, words)) else None
