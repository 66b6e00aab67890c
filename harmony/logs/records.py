"""Records as JSON: how one is read from a line, which of its fields mean what, and how one is written.

A record that is to be parsed has a completion as `tokens` (ids) or else as `text` (special tokens written out), and may
say the `role` of the first message: assistant unless it does, none if it is null. Fields of other names may hold these.
It gets `messages` and `complete`, and `diagnostics` where lenient parsing repaired it; `completions.py` writes them. A
record that is to be rendered has a conversation's `messages`. The `tokens` or the `text` that it then gets have a
`role` of null beside them, so that it can be parsed.

All other fields pass through as they were written, byte for byte; of a record that gives an error all fields do. What
is added replaces fields of the same name; a text that is rendered replaces `tokens` too, which would be parsed in its
place. A field `error` is always this record's own, and so is a field `diagnostics` of one that was parsed: an older one
is left out, also where nothing takes its place. Single surrogates, which no UTF-8 holds, become U+FFFD.
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
from harmony.messages.model import Conversation
from harmony.rendering.renderer import Purpose, RenderConversationConfig
from harmony.results import ParseResult

#: The type of the column that a field of JSON becomes; `json` is text, for values of several types, lists and objects.
FieldType: TypeAlias = Literal["string", "boolean", "integer", "number", "json"]
FieldTypes: TypeAlias = Mapping[str, FieldType]


class Names(msgspec.Struct, frozen=True):
    """Which fields of a record hold its completion, as ids or as text, and the role of the first message."""

    tokens: str = "tokens"
    text: str = "text"
    role: str = "role"


class Record(NamedTuple):
    """A record as it was read from a line: the line's number, its bytes, and the fields of the object that it holds."""

    number: int
    written: bytes
    fields: dict[str, msgspec.Raw]


class BadRecord(NamedTuple):
    """A line that holds no object, or is too long: its number and the error."""

    number: int
    error: RecordError


class Rendered(msgspec.Struct, frozen=True):
    """A rendered conversation: its token ids, and where it is to be written out, its text."""

    tokens: list[int]
    text: str | None


class Outcome(msgspec.Struct, frozen=True):
    """What one record became: the number of its line or row from 1, the fields that pass through, and the result.

    A ParseResult that has diagnostics is a completion that was repaired; only then does the line of JSON have them.
    """

    number: int
    fields: Mapping[str, Any]
    result: ParseResult | Rendered | RecordError
    unit: Literal["line", "row"] = "line"

    def to_json(self) -> bytes:
        """A record that was rendered, or could not be, as a line of JSON, with the line's end."""
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
    """A record's fields and what is added to them, as a line of JSON with its end; an `error` of old is left out.

    A carriage return is white space between the parts of a value that passes through, for JSON escapes it in strings.
    Some readers end a line there, so it becomes a space.
    """
    passed = {name: value for name, value in fields.items() if name != "error"}
    return _ENCODER.encode({**passed, **added}).replace(b"\r", b" ") + b"\n"


def read_records(lines: bytes, first: int, too_long: int = 0) -> list[Record | BadRecord]:
    """The records of lines that are not blank; the first line has the number `first`.

    Where that line was too long to be kept, `too_long` is the bytes that it had.
    """
    records = [_read_record(number, line) for number, line in enumerate(BytesIO(lines), first) if line.strip()]
    if too_long:
        fault = Fault("record-too-large", found=too_long)
        records.insert(0, BadRecord(first, fault.record_error(f"in line {first:,}")))
    return records


def _read_record(number: int, line: bytes) -> Record | BadRecord:
    try:
        line.decode()  # fields that pass through are looked at no further
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
    """JSON in which U+FFFD stands for each surrogate without its other half: Python's json writes them."""
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], line)


def completion_field(fields: Mapping[str, msgspec.Raw], names: Names) -> str | None:
    """The name of the field that holds a completion, its tokens or else its text; None where neither does."""
    for name in (names.tokens, names.text):
        if fields.get(name, _NULL) != _NULL:
            return name
    return None


def read_completion(fields: Mapping[str, msgspec.Raw], name: str, names: Names) -> list[int] | str:
    """The completion that the field of this name holds; ValueError for a value of a wrong type, with its path."""
    value: list[int] | str = _value(_TOKENS if name == names.tokens else _TEXT, fields[name], name)
    return value


def read_role(fields: Mapping[str, msgspec.Raw], names: Names) -> str | None:
    """The role of a completion's first message, which may be no known role; None where its tokens say it.

    Raises ValueError for a value of a wrong type, with its path.
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
    """What is wrong with a record that has no completion, and no conversation where that would do."""
    if conversations:
        return ValueError(sentence("invalid-record/no-input", tokens=names.tokens, text=names.text))
    return ValueError(sentence("invalid-record/no-completion", tokens=names.tokens, text=names.text))


def read_conversation(written: bytes) -> Conversation:
    """The conversation that the `messages` of a record are, from its JSON.

    Raises ValueError for what is none, and RecursionError where it is nested too deeply.
    """
    try:
        return Conversation.from_json(written)
    except ValueError:
        if _without_single_surrogates(written) == written:
            raise
        # Python's json reads single surrogates, and rendering tells where they are.
        return Conversation.from_dict(json.loads(written))


def record_error(error: Exception, number: int | None = None) -> RecordError:
    """The error of a record, from what was raised for it; `number` is that of its line, None for the row of a table."""
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
    """Renders the conversations of records, all at once on all cores; the outcomes are in the order of the records."""
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
