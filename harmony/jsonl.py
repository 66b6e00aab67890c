"""Logs as JSON Lines: each line is one completion, and becomes one line with its messages or with its error.

A record has its completion as `tokens` (ids) or else as `text` (special tokens written out), and may say the `role`
of the first message: assistant unless it does, none if it is null. All other fields pass through as they were
written, byte for byte; of a record that gives an error, these three do too. What is added replaces fields of the same
name.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from harmony.encoding import HarmonyEncoding
from harmony.errors import HarmonyError
from harmony.messages import flat_messages
from harmony.results import ParseResult


class RecordError(msgspec.Struct, frozen=True):
    """Why a record gave no messages; `position` is that of a HarmonyError, None where the record itself is wrong."""

    code: str
    message: str
    position: int | None


class LogRecord(msgspec.Struct, frozen=True):
    """What became of one line: `line` counts from 1, `fields` are those that pass through."""

    line: int
    fields: dict[str, msgspec.Raw]
    outcome: ParseResult | RecordError

    def to_json(self) -> bytes:
        """The record as a line of JSON, with the line's end."""
        if isinstance(self.outcome, RecordError):
            added: dict[str, Any] = {"error": self.outcome}
        else:
            added = {"messages": flat_messages(self.outcome.messages), "complete": self.outcome.complete}
        return _ENCODER.encode(self.fields | added) + b"\n"


_ENCODER: Final = msgspec.json.Encoder()
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOKENS: Final = msgspec.json.Decoder(list[int])
_TEXT: Final = msgspec.json.Decoder(str)
_ROLE: Final = msgspec.json.Decoder(str | None)
# An escape in JSON: a pair of surrogates, or a single one (the group), or any other.
_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_NULL: Final = msgspec.Raw(b"null")
_ASSISTANT: Final = msgspec.Raw(b'"assistant"')


def parse_lines(lines: Iterable[bytes], encoding: HarmonyEncoding) -> Iterator[LogRecord]:
    """Parses every line that is not blank; each gives one LogRecord, in order, whatever it holds."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _parse_line(number, line, encoding)


def _parse_line(number: int, line: bytes, encoding: HarmonyEncoding) -> LogRecord:
    try:
        line.decode()  # fields that pass through are looked at no further
        fields = _fields(line if number > 1 else line.removeprefix(BOM_UTF8))
    except UnicodeDecodeError as error:
        found = f"expected UTF-8, found the byte 0x{line[error.start]:02x} at byte {error.start:,} of line {number:,}"
        return LogRecord(number, {}, RecordError("invalid-utf-8", found, None))
    except (msgspec.DecodeError, RecursionError) as error:
        return LogRecord(number, {}, RecordError("invalid-json", f"{error} - in line {number:,}", None))

    given = dict(fields)
    name = "text" if fields.get("tokens", _NULL) == _NULL else "tokens"
    source = fields.pop(name, _NULL)
    written_role = fields.pop("role", _ASSISTANT)
    try:
        if source == _NULL:
            raise ValueError("expected a field `tokens` or `text`, found neither")
        role = _value(_ROLE, written_role, "role")
        if name == "tokens":
            return LogRecord(number, fields, encoding.parse(_value(_TOKENS, source, name), role))
        return LogRecord(number, fields, encoding.parse_text(_value(_TEXT, source, name), role))
    except HarmonyError as error:
        return LogRecord(number, given, RecordError(error.code, str(error), error.position))
    except (ValueError, RecursionError) as error:
        return LogRecord(number, given, RecordError("invalid-record", f"{error} - in line {number:,}", None))


def _fields(line: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(line)
    except msgspec.DecodeError:
        # Surrogates without their other half, which Python's json writes, are what msgspec cannot read.
        mended = _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], line)
        if mended == line:
            raise
        return _FIELDS.decode(mended)


def _value(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, name: str) -> Any:
    """The value of one field; ValueError with its path."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        text = str(error)
        raise ValueError(text.replace("`$", f"`$.{name}") if "`$" in text else f"{text} - at `$.{name}`") from None
