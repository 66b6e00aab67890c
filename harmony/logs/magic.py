"""Tells the format of a file by its first bytes, which say more than its name.

A log that is compressed without the suffix, or has the suffix and is not compressed, is read as what it is. What cannot
be read is refused with one sentence: what it is, and what makes a log of it. It is never read as lines.
"""

from __future__ import annotations

import re
from typing import Final

from harmony.logs.formats import LINES, Format, by_magic, format_of

#: How many bytes at the beginning of a file tell its format.
HEAD: Final = 16

_EXPECTED: Final = "expected lines of JSON or a table"
_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b" \t\r\n"
_LOOKED_AT: Final = 4096  # bytes of the first line of a text

#: What is known and not read: its first bytes, its name, and what to do.
_FOREIGN: Final = [
    (re.compile(rb"\xfd7zXZ\0"), "xz data", "decompress it with `xz -d`"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "bzip2 data", "decompress it with `bzip2 -d`"),
    (re.compile(rb"\x04\"M\x18"), "lz4 data", "decompress it with `lz4 -d`"),
    (re.compile(rb"PK\x03\x04"), "a zip archive", "unpack it with `unzip`"),
    (re.compile(rb"7z\xbc\xaf'\x1c"), "a 7z archive", "unpack it with `7z x`"),
    (re.compile(rb"PARE"), "an encrypted Parquet file", "decrypt it first"),
    (re.compile(rb"FEA1"), "a Feather file of version 1", "write it again as Arrow or Parquet"),
    (re.compile(rb"Obj\x01"), "an Avro file", "convert it to Parquet"),
    (re.compile(rb"SQLite format 3"), "an SQLite database", "export its table to Parquet or JSON Lines"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "text in UTF-16", "convert it with `iconv -f UTF-16 -t UTF-8`"),
]
_WORD: Final = rb'"?[A-Za-z_][\w .-]*"?'
_CSV: Final = re.compile(rb"%b(?:,%b)+|%b(?:;%b)+|%b(?:\t%b)+" % ((_WORD,) * 6))


class WrongFormatError(ValueError):
    """Raised for a file of a format that is not read. It says what was found, and what to do; it does not name it."""


def format_in(name: str, head: bytes) -> Format:
    """The format of a file that begins with these bytes. Raises WrongFormatError.

    A file without bytes is a log without lines. If the bytes say nothing, the suffix of the name decides.
    """
    found = by_magic(head)
    if found is not None:
        return found
    named = format_of(name)
    if named is not LINES and not named.magic:
        return named
    _refuse(head)
    is_text = head.removeprefix(_BOM).lstrip(_BLANK)[:1] in (b"{", b"[")
    return LINES if is_text or not head else named


def check_lines(name: str, first: bytes) -> None:
    """Raises WrongFormatError if the first bytes of a log, decompressed, are certainly not lines of JSON."""
    packed = by_magic(first[:HEAD])
    if packed is not None:
        raise WrongFormatError(f"expected lines of JSON in it, found {packed.name} data: unpack it once, and read that")
    _refuse(first[:HEAD])
    text = first[:_LOOKED_AT].removeprefix(_BOM).lstrip(_BLANK)
    if text.startswith(b"["):
        _check_array(text, first)
    elif re.match(rb'\{[ \t\r]*\n[ \t\r\n]*"', text):
        raise WrongFormatError(
            "expected one record in each line, found JSON over several lines: use `jq -c .` to join them"
        )
    else:
        _check_csv(name, text)


def _refuse(head: bytes) -> None:
    for begin, found, advice in _FOREIGN:
        if begin.match(head):
            raise WrongFormatError(f"{_EXPECTED}, found {found}: {advice}")


def _check_array(text: bytes, first: bytes) -> None:
    """Refuses one array of objects. Lines that each hold an array are bad records, and are told as such."""
    if not re.match(rb"\[[ \t\r]*(\n|\{)", text):
        return
    line, _, rest = first.partition(b"\n")
    if line.rstrip().endswith(b"]") and rest.strip():
        return
    raise WrongFormatError(
        "expected one record in each line, found one JSON array: use `jq -c '.[]'` to make lines of it"
    )


def _check_csv(name: str, text: bytes) -> None:
    header, _, rest = text.partition(b"\n")
    is_named = name.lower().endswith((".csv", ".tsv")) and not text.startswith(b"{") and text != b""
    if not is_named:
        if not _CSV.fullmatch(header.rstrip(b"\r")):
            return
        mark = next(mark for mark in (b",", b";", b"\t") if mark in header)
        if rest.startswith(b"{") or rest.partition(b"\n")[0].count(mark) < header.count(mark):
            return
    advice = "convert it to Parquet, for example with `duckdb -c \"COPY 'in.csv' TO 'out.parquet'\"`"
    raise WrongFormatError(f"{_EXPECTED}, found CSV: {advice}")
