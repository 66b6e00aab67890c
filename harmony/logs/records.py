"""Records as JSON: how one is read from a line, which of its fields mean what, and how one is written.

A record for parsing has a completion as `tokens` (ids) or as `text` (with special tokens written out). It can have the
`role` of the first message. Without it, the completion is one of the assistant, unless it begins with `<|start|>`; null
means no role. Other paths can be chosen for these fields. The record gets `messages`, `complete`, `diagnostics` and
`error`; `completions.py` writes them. A record for rendering has the `messages` of a conversation. It gets `tokens` or
`text`, a `role` of null, so it can be parsed again, and `error`; for training `input_ids`, `labels` and `error`.

All other fields pass through as they were written, byte for byte; of a record that gives an error all fields do. A
field of a record is never replaced, unless it is null: FieldTaken names it. Single surrogates, which UTF-8 cannot hold,
become U+FFFD.
"""

from __future__ import annotations

import json
import re
from array import array
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import msgspec

from harmony.conversion.given import ConversionError
from harmony.errors import Fault, HarmonyError, RecordError, sentence
from harmony.format.choices import Shape, Start
from harmony.logs.chat_shape import check_fields, check_parts
from harmony.logs.paths import INDEX
from harmony.messages.model import Conversation
from harmony.results import ParseResult

#: The type of the column that a field of JSON becomes; `json` is text, for values of several types, lists and objects.
FieldType: TypeAlias = Literal["string", "boolean", "integer", "number", "json"]
FieldTypes: TypeAlias = Mapping[str, FieldType]


class Names(msgspec.Struct, frozen=True):
    """The paths to what a record holds, as `paths.py` reads them: names, or such as `choices[].token_ids`.

    The completion, as ids or as text (None: not in this log); its role; the prompt before it, as ids or as text; why
    the model stopped; and, for commands that read conversations, the messages of one.
    """

    tokens: str | None = "tokens"
    text: str | None = "text"
    role: str = "role"
    prompt: str | None = None
    finish_reason: str | None = None
    messages: str = "messages"

    def completions(self) -> list[str]:
        """The paths that may hold the completion."""
        return [path for path in (self.tokens, self.text) if path is not None]

    def all(self) -> list[str]:
        """All paths."""
        return [*self.completions(), self.role, self.messages, *filter(None, [self.prompt, self.finish_reason])]


class Layout(msgspec.Struct, frozen=True):
    """How the records of a log are laid out, and where the output goes in them.

    `start` says what the completions are. `prefix` is a text that stands before each. With `stripped`, they have lost
    their markers. What is added to a record stands under the key `into`; None for its top.
    """

    names: Names = Names()
    start: Start = "completion"
    prefix: str = ""
    stripped: bool = False
    into: str | None = None

    def __post_init__(self) -> None:
        if self.start != "completion" and (self.prefix or self.names.prompt):
            raise ValueError(f"a prefix and a prompt stand before a completion, not before a {self.start}")
        if self.prefix and self.names.prompt:
            raise ValueError("a prefix and a prompt cannot be used together: the prompt has the whole open header")


class FieldTaken(ValueError):  # noqa: N818  nothing is wrong with the field
    """Raised for a field of a record that the output would replace. It names the record and the field."""

    @classmethod
    def of(cls, name: str, where: str = "") -> Self:
        """The exception for a field, and for the place of its record."""
        return cls(
            f"{where and where + ': '}the field `{name}` of the log would be replaced by that of the output: "
            "give a key for the output, such as --into harmony"
        )


class Record(msgspec.Struct, gc=False):
    """A record from a line: the number of the line, its bytes, and the fields of its JSON object, once they are read.

    `completions` is their number if the record was taken in another way.
    """

    number: int
    written: bytes
    completions: int = 0
    read: dict[str, msgspec.Raw] | None = None

    @property
    def fields(self) -> dict[str, msgspec.Raw]:
        """The fields of the object."""
        if self.read is None:
            self.read = _read_fields(self.written)
        return self.read


class BadRecord(NamedTuple):
    """A line that is not a JSON object, or is too long: its number and the error."""

    number: int
    error: RecordError


class Rendered(msgspec.Struct, frozen=True):
    """A rendered conversation: its token ids, and its text or its labels if these are wanted."""

    tokens: Sequence[int]
    text: str | None
    shape: Shape = "harmony"  # of the conversation in the record
    labels: Sequence[int] | None = None

    def added(self) -> dict[str, Any]:
        """The fields of the record that say this, apart from its error."""
        if self.labels is not None:
            return {"input_ids": self.tokens, "labels": self.labels}
        return {**({"tokens": self.tokens} if self.text is None else {"text": self.text}), "role": None}


class Outcome(msgspec.Struct, frozen=True):
    """The result for one record, with the number of its line or row (from 1) and the fields that pass through.

    If a ParseResult has diagnostics, the completion was repaired.
    """

    number: int
    fields: Mapping[str, Any]
    result: ParseResult | Rendered | RecordError
    unit: Literal["line", "row"] = "line"

    def to_json(self, into: str | None = None) -> bytes:
        """A rendered record, or its error, as a line of JSON. What is added stands under the key `into`, if any.

        Raises FieldTaken for a field of the record that would be replaced.
        """
        added: dict[str, Any] = {"error": self.result}
        if isinstance(self.result, Rendered):
            found = self.result.added().items()
            added = {name: each.tolist() if isinstance(each, array) else each for name, each in found}
            added["error"] = None
        if into is not None:
            added = {into: added}
        check_free(self.fields, added, self.number)
        return as_line(self.fields, added)


#: The fields that may hold the id of a record. The first of them counts that is there.
ID_FIELDS: Final = ("id", "custom_id", "request_id", "doc_id")
#: The fields that a record gets.
ADDED: Final = ("messages", "complete", "diagnostics", "error")

_ENCODER: Final = msgspec.json.Encoder()
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOKENS: Final = msgspec.json.Decoder(list[int])
_TEXT: Final = msgspec.json.Decoder(str)
_PROMPT: Final = msgspec.json.Decoder(list[int] | str)
_ROLE: Final = msgspec.json.Decoder(str | None)
# An escape in JSON: a pair of surrogates, or a single one (the group), or any other.
_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_NULL: Final = msgspec.Raw(b"null")
_WORDS: Final = {b"null": None, b"true": True, b"false": False}
_EMPTY: Final = re.compile(rb"\s*\[\s*\]\s*")


def as_line(fields: Mapping[str, Any], added: Mapping[str, Any]) -> bytes:
    """The fields of a record and the added fields as a line of JSON with a newline.

    A raw carriage return can only be white space between parts of a value, because JSON escapes it in strings. Some
    readers would end a line there, so it becomes a space.
    """
    return _ENCODER.encode({**fields, **added}).replace(b"\r", b" ") + b"\n"


class Passing(Sequence[Mapping[str, Any]]):
    """The fields of records that pass through. Of most records they are JSON, without white space around names.

    None of these has a field with a name in `free`. With `numbered`, their field INDEX is an integer.
    """

    def __init__(self, parts: Sequence[Mapping[str, Any] | bytes], free: Iterable[str], *, numbered: bool) -> None:
        self.parts: Final = parts
        self.free: Final = frozenset(free)
        self._numbered = numbered

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Mapping[str, Any]:  # type: ignore[override]
        part = self.parts[index]
        if not isinstance(part, bytes):
            return part
        fields: dict[str, Any] = _FIELDS.decode(part)
        if self._numbered:
            fields[INDEX] = int(bytes(fields[INDEX]))
        return fields


def opened_line(fields: Mapping[str, Any] | bytes) -> bytes:
    """The beginning of such a line, up to where the first added field stands. The fields may be written already."""
    written = fields if isinstance(fields, bytes) else _ENCODER.encode(fields).replace(b"\r", b" ")
    return written[:-1] + b"," if len(written) > 2 else b"{"


def check_free(fields: Mapping[str, Any], added: Iterable[str], number: int) -> None:
    """Raises FieldTaken if a field that is to be added is already there, and is not null."""
    for name in added:
        if name in fields and fields[name] is not None and fields[name] != _NULL:
            raise FieldTaken.of(name, f"in line {number:,}")


def read_records(
    lines: bytes, first: int, too_long: int = 0, take: Callable[[bytes], int] = lambda line: 0
) -> Iterator[Record | BadRecord]:
    """Reads the records of all lines that are not blank. The first line has the number `first`.

    If that line was too long to be kept, `too_long` is its size in bytes. `take` is called with each line of UTF-8, and
    returns how many completions it took; 0 if the fields of the record are to be read.
    """
    if too_long:
        fault = Fault("record-too-large", found=too_long)
        yield BadRecord(first, fault.record_error(f"in line {first:,}"))
    is_utf8 = _is_utf8(lines)
    for number, line in enumerate(BytesIO(lines), first):
        completions = take(line) if is_utf8 else 0
        if completions:
            yield Record(number, line, completions)
        elif line.strip():
            yield _read_record(number, line)


def _is_utf8(lines: bytes) -> bool:
    try:
        lines.decode()  # checks fields too that are not decoded
    except UnicodeDecodeError:
        return False
    return True


def _read_record(number: int, line: bytes) -> Record | BadRecord:
    try:
        line.decode()
        if number == 1:
            line = line.removeprefix(BOM_UTF8)
        return Record(number, line, 0, _read_fields(line))
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
    """The path with the completion: tokens, or else text; None if the record has neither.

    An empty list of tokens beside a text is not the completion.
    """
    tokens, text = names.tokens, names.text
    has_text = text is not None and text in fields and fields[text] != _NULL
    if tokens is not None and tokens in fields:
        found = fields[tokens]
        if found != _NULL and not (has_text and _EMPTY.fullmatch(found)):  # some servers write both
            return tokens
    return text if has_text else None


def read_completion(value: msgspec.Raw, path: str, *, as_ids: bool) -> list[int] | str:
    """Reads the completion at this path. Raises ValueError for a wrong type, with the path."""
    found: list[int] | str = _value(_TOKENS if as_ids else _TEXT, value, path)
    return found


def read_prompt(value: msgspec.Raw, path: str) -> list[int] | str:
    """Reads a prompt, which may be ids or a text. Raises ValueError for a wrong type, with the path."""
    found: list[int] | str = _value(_PROMPT, value, path)
    return found


def read_name(value: msgspec.Raw, path: str) -> str | None:
    """Reads a name, or null. Raises ValueError for a wrong type, with the path."""
    found: str | None = _value(_ROLE, value, path)
    return found


def _value(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, name: str) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise ValueError(with_place(str(error), name)) from None


def with_place(text: str, path: str) -> str:
    """What msgspec says of a value, with the path to that value."""
    return text.replace("`$", f"`$.{path}") if "`$" in text else f"{text} - at `$.{path}`"


def no_completion(names: Names, *, conversations: bool = False, found: str | None = None) -> ValueError:
    """The error for a record without a completion (and without a conversation, if that is allowed).

    `found` says what the record has in the place of the messages, if that is a conversation.
    """
    expected = " or ".join(f"`{path}`" for path in names.completions())
    key = "invalid-record/no-input" if conversations else "invalid-record/no-completion"
    if not expected:
        key = "invalid-record/no-conversation"
    elif found is not None:
        key = "invalid-record/conversation"
    return ValueError(sentence(key, expected=expected, messages=names.messages, found=found))


def id_of(fields: Mapping[str, Any]) -> Any:
    """The id of a record, which may be a value of any type; None if it has none."""
    for name in ID_FIELDS:
        value = fields.get(name)
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value)
        if value is not None:
            return value
    return None


def own_of(fields: Mapping[str, Any], into: str | None) -> Mapping[str, Any]:
    """What `harmony parse` wrote into a record: `complete`, `diagnostics` and `error`, if they are there."""
    inside: Any = fields if into is None else fields.get(into)
    try:
        if isinstance(inside, msgspec.Raw):
            inside = _FIELDS.decode(inside)
        names = ("complete", "diagnostics", "error")
        return {name: _plain_value(inside[name]) for name in names if name in (inside or ())}
    except (ValueError, TypeError, msgspec.DecodeError, RecursionError):
        return {}


def _plain_value(value: Any) -> Any:
    if not isinstance(value, msgspec.Raw):
        return value
    written = bytes(value)
    return _WORDS[written] if written in _WORDS else msgspec.json.decode(written)


def read_conversation(written: bytes) -> Conversation:
    """Reads the conversation in the `messages` of a record.

    Raises ValueError if it is not valid, or has fields of the chat API, and RecursionError if it is nested too deeply.
    """
    try:
        return Conversation.from_json(written)
    except ValueError:
        repaired = _without_single_surrogates(written)
        check_fields(repaired)
        check_parts(repaired)
        if repaired == written:
            raise
        # Python's json accepts single surrogates. Rendering then reports where they are.
        return Conversation.from_dict(json.loads(written))


def record_error(error: Exception, number: int | None = None) -> RecordError:
    """Makes the error of a record from an exception. `number` is the number of its line; None for a row of a table."""
    if isinstance(error, HarmonyError):
        return RecordError(error.code, str(error), error.position)
    if isinstance(error, ConversionError):
        place = "" if number is None else f" - in line {number:,}"
        return RecordError(error.code, f"{error}{place}", None)
    fault = Fault("too-deep") if isinstance(error, RecursionError) else Fault("invalid-record", reason=error)
    return fault.record_error("" if number is None else f"in line {number:,}")
