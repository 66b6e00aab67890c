"""Records as JSON: how one is read from a line, which of its fields mean what, and how one is written.

A record for parsing has a completion as `tokens` (ids) or as `text` (with special tokens written out). It can have the
`role` of the first message: the default is assistant, and null means none. Other names can be chosen for these fields.
The record gets `messages` and `complete`, and `diagnostics` if it was repaired; `completions.py` writes them. A record
for rendering has the `messages` of a conversation. It gets `tokens` or `text`, and a `role` of null, so it can be
parsed again.

All other fields pass through as they were written, byte for byte; of a record that gives an error all fields do. What
is added replaces fields of the same name. A rendered text also replaces `tokens`, because these would be parsed instead
of the text. A field `error` of the input is always removed, and so is a field `diagnostics` of a parsed record. Single
surrogates, which UTF-8 cannot hold, become U+FFFD.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.encoding import HarmonyEncoding
from harmony.errors import Fault, HarmonyError, RecordError, sentence
from harmony.format.choices import Purpose
from harmony.messages.model import Conversation
from harmony.rendering.renderer import RenderConversationConfig
from harmony.results import ParseResult

#: The type of the column that a field of JSON becomes; `json` is text, for values of several types, lists and objects.
FieldType: TypeAlias = Literal["string", "boolean", "integer", "number", "json"]
FieldTypes: TypeAlias = Mapping[str, FieldType]


class Names(msgspec.Struct, frozen=True):
    """The names of the fields that hold the completion of a record, as ids or as text, and its role."""

    tokens: str = "tokens"
    text: str = "text"
    role: str = "role"


class Record(NamedTuple):
    """A record from a line: the number of the line, its bytes, and the fields of its JSON object."""

    number: int
    written: bytes
    fields: dict[str, msgspec.Raw]


class BadRecord(NamedTuple):
    """A line that is not a JSON object, or is too long: its number and the error."""

    number: int
    error: RecordError


class Rendered(msgspec.Struct, frozen=True):
    """A rendered conversation: its token ids, and its text if that is wanted."""

    tokens: list[int]
    text: str | None


class Outcome(msgspec.Struct, frozen=True):
    """The result for one record, with the number of its line or row (from 1) and the fields that pass through.

    If a ParseResult has diagnostics, the completion was repaired.
    """

    number: int
    fields: Mapping[str, Any]
    result: ParseResult | Rendered | RecordError
    unit: Literal["line", "row"] = "line"

    def to_json(self) -> bytes:
        """A rendered record, or its error, as a line of JSON with a newline."""
        if isinstance(self.result, Rendered):
            text = self.result.text
            found = {"tokens": self.result.tokens} if text is None else {"text": text}
            return as_line(self.fields, {**found, "role": None})
        return as_line(self.fields, {"error": self.result})


_ENCODER: Final = msgspec.json.Encoder()
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOKENS: Final = msgspec.json.Decoder(list[int])
_TEXT: Final = msgspec.json.Decoder(str)
_ROLE: Final = msgspec.json.Decoder(str | None)
# An escape in JSON: a pair of surrogates, or a single one (the group), or any other.
_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_NULL: Final = msgspec.Raw(b"null")
_ASSISTANT: Final = msgspec.Raw(b'"assistant"')


def as_line(fields: Mapping[str, Any], added: Mapping[str, Any]) -> bytes:
    """The fields of a record and the added fields as a line of JSON with a newline. An `error` of the input is removed.

    A raw carriage return can only be white space between parts of a value, because JSON escapes it in strings. Some
    readers would end a line there, so it becomes a space.
    """
    passed = {name: value for name, value in fields.items() if name != "error"}
    return _ENCODER.encode({**passed, **added}).replace(b"\r", b" ") + b"\n"


def read_records(lines: bytes, first: int, too_long: int = 0) -> list[Record | BadRecord]:
    """Reads the records of all lines that are not blank. The first line has the number `first`.

    If that line was too long to be kept, `too_long` is its size in bytes.
    """
    records = [_read_record(number, line) for number, line in enumerate(BytesIO(lines), first) if line.strip()]
    if too_long:
        fault = Fault("record-too-large", found=too_long)
        records.insert(0, BadRecord(first, fault.record_error(f"in line {first:,}")))
    return records


def _read_record(number: int, line: bytes) -> Record | BadRecord:
    try:
        line.decode()  # checks the UTF-8 of the whole line, also of fields that are not decoded
        if number == 1:
            line = line.removeprefix(BOM_UTF8)
        return Record(number, line, _read_fields(line))
    except UnicodeDecodeError as error:
        byte = f"0x{line[error.start]:02x} at byte {error.start:,} of line {number:,}"
        return BadRecord(number, Fault("invalid-utf-8/bytes", found=byte).record_error())
    except RecursionError as error:
        return BadRecord(number, record_error(error, number))
    except msgspec.DecodeError as error:
        return BadRecord(number, Fault("invalid-json", reason=error).record_error(f"in line {number:,}"))


def _read_fields(line: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(line)
    except msgspec.DecodeError:
        repaired = _without_single_surrogates(line)
        if repaired == line:
            raise
        return _FIELDS.decode(repaired)


def _without_single_surrogates(line: bytes) -> bytes:
    """The JSON with U+FFFD for each surrogate without its other half. Python's json writes such surrogates."""
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], line)


def completion_field(fields: Mapping[str, msgspec.Raw], names: Names) -> str | None:
    """The name of the field with the completion: tokens, or else text; None if the record has neither."""
    for name in (names.tokens, names.text):
        if fields.get(name, _NULL) != _NULL:
            return name
    return None


def read_completion(fields: Mapping[str, msgspec.Raw], name: str, names: Names) -> list[int] | str:
    """Reads the completion in the field of this name. Raises ValueError for a wrong type, with the path."""
    value: list[int] | str = _value(_TOKENS if name == names.tokens else _TEXT, fields[name], name)
    return value


def read_role(fields: Mapping[str, msgspec.Raw], names: Names) -> str | None:
    """Reads the role of the first message, without checking that the role is known. None if the tokens name it.

    Raises ValueError for a wrong type, with the path.
    """
    role: str | None = _value(_ROLE, fields.get(names.role, _ASSISTANT), names.role)
    return role


def _value(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, name: str) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        text = str(error)
        raise ValueError(text.replace("`$", f"`$.{name}") if "`$" in text else f"{text} - at `$.{name}`") from None


def no_completion(names: Names, *, conversations: bool = False) -> ValueError:
    """The error for a record without a completion (and without a conversation, if that is allowed)."""
    if conversations:
        return ValueError(sentence("invalid-record/no-input", tokens=names.tokens, text=names.text))
    return ValueError(sentence("invalid-record/no-completion", tokens=names.tokens, text=names.text))


def read_conversation(written: bytes) -> Conversation:
    """Reads the conversation in the `messages` of a record.

    Raises ValueError if it is not valid, and RecursionError if it is nested too deeply.
    """
    try:
        return Conversation.from_json(written)
    except ValueError:
        if _without_single_surrogates(written) == written:
            raise
        # Python's json accepts single surrogates. Rendering then reports where they are.
        return Conversation.from_dict(json.loads(written))


def record_error(error: Exception, number: int | None = None) -> RecordError:
    """Makes the error of a record from an exception. `number` is the number of its line; None for a row of a table."""
    if isinstance(error, HarmonyError):
        return RecordError(error.code, str(error), error.position)
    fault = Fault("too-deep") if isinstance(error, RecursionError) else Fault("invalid-record", reason=error)
    return fault.record_error("" if number is None else f"in line {number:,}")


def render_records(
    records: Sequence[Record | BadRecord],
    encoding: HarmonyEncoding,
    config: RenderConversationConfig,
    purpose: Purpose,
    *,
    as_text: bool,
) -> Iterator[Outcome]:
    """Renders the conversations of records together, on all cores. The outcomes have the order of the records."""
    read = [(record, _conversation_or_error(record)) for record in records]
    conversations = (found for _, found in read if isinstance(found, Conversation))
    renderings = iter(encoding.render_many(conversations, config, purpose=purpose))
    for record, found in read:
        fields = record.fields if isinstance(record, Record) else {}
        if isinstance(found, RecordError):
            yield Outcome(record.number, fields, found)
            continue
        tokens = next(renderings)
        if isinstance(tokens, HarmonyError):
            yield Outcome(record.number, fields, record_error(tokens, record.number))
            continue
        replaced = ("messages", "tokens") if as_text else ("messages",)
        kept = {name: value for name, value in fields.items() if name not in replaced}
        yield Outcome(record.number, kept, Rendered(tokens, encoding.decode(tokens) if as_text else None))


def _conversation_or_error(record: Record | BadRecord) -> Conversation | RecordError:
    if isinstance(record, BadRecord):
        return record.error
    try:
        return read_conversation(record.written)
    except (ValueError, RecursionError) as error:
        return record_error(error, record.number)
