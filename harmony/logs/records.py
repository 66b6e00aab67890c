"""Logs as JSON Lines: each line that is not blank is one record, and becomes one line with what came of it.

To be parsed, a record has a completion as `tokens` (ids) or else as `text` (special tokens written out), and may say
the `role` of the first message: assistant unless it does, none if it is null. Fields of other names may hold these. It
gets `messages` and `complete`, and where lenient parsing repaired it `diagnostics`: of each repair the `code`, the
`message` and the `position`, which counts tokens or characters as ParseResult does; `completions.py` writes them. To be
rendered, a record has a conversation's `messages`; the `tokens` or the `text` that it then gets have a `role` of null
beside them, so that it can be parsed.

All other fields pass through as they were written, byte for byte, and of a record that gives an error all fields do.
What is added replaces fields of the same name; a text that is rendered replaces `tokens` too, which would be parsed
in its place. A field `error` is always this record's own, and so is a field `diagnostics` of one that was parsed: an
older one is left out, also where nothing takes its place. Single surrogates, which no UTF-8 holds, become U+FFFD.
"""

from __future__ import annotations

import errno
import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from io import BytesIO, FileIO
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.encoding import HarmonyEncoding
from harmony.errors import Fault, HarmonyError, RecordError, sentence
from harmony.messages.model import Conversation
from harmony.rendering.renderer import Purpose, RenderConversationConfig
from harmony.results import ParseResult


class Rendered(msgspec.Struct, frozen=True):
    """A rendered conversation: its token ids, and where it is to be written out, its text."""

    tokens: list[int]
    text: str | None


class LogRecord(msgspec.Struct, frozen=True):
    """What became of one line: `line` counts from 1, `fields` are those that pass through.

    A ParseResult that has diagnostics is a completion that was repaired; only then does the line of JSON have them.
    """

    line: int
    fields: dict[str, msgspec.Raw]
    outcome: ParseResult | Rendered | RecordError

    def to_json(self) -> bytes:
        """A record that was rendered, or could not be, as a line of JSON, with the line's end."""
        if isinstance(self.outcome, Rendered):
            text = self.outcome.text
            found = {"tokens": self.outcome.tokens} if text is None else {"text": text}
            return as_line(self.fields, {**found, "role": None})
        return as_line(self.fields, {"error": self.outcome})


def as_line(fields: Mapping[str, Any], added: Mapping[str, Any]) -> bytes:
    """A record's fields and what is added to them, as a line of JSON with its end; an `error` of old is left out.

    A carriage return is white space between the parts of a value that passes through, for JSON escapes it in strings.
    Some readers end a line there, so it becomes a space.
    """
    passed = {name: value for name, value in fields.items() if name != "error"}
    return _ENCODER.encode({**passed, **added}).replace(b"\r", b" ") + b"\n"


#: What the column of a field holds; `json` is text, for values of several types, lists and objects.
Kind: TypeAlias = Literal["string", "boolean", "integer", "number", "json"]
Kinds: TypeAlias = Mapping[str, Kind]


class Names(msgspec.Struct, frozen=True):
    """Which fields of a record hold its completion, as ids or as text, and the role of the first message."""

    tokens: str = "tokens"
    text: str = "text"
    role: str = "role"


class Line(NamedTuple):
    """A line that holds an object: its number, as it was written, and its fields."""

    number: int
    written: bytes
    fields: dict[str, msgspec.Raw]


_NAMES: Final = Names()

#: Some lines, in order. Of one that holds no object, the record is known already.
Batch: TypeAlias = list[Line | LogRecord]

# A file is read by so many bytes, and from a pipe comes what there is: so nobody waits for a batch to fill.
_BLOCK: Final = 1 << 20

_ENCODER: Final = msgspec.json.Encoder()
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOKENS: Final = msgspec.json.Decoder(list[int])
_TEXT: Final = msgspec.json.Decoder(str)
_ROLE: Final = msgspec.json.Decoder(str | None)
# An escape in JSON: a pair of surrogates, or a single one (the group), or any other.
_ESCAPE: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\(u[dD][89a-fA-F]..)|\\.", re.DOTALL)
_NULL: Final = msgspec.Raw(b"null")
_ASSISTANT: Final = msgspec.Raw(b'"assistant"')


def read_blocks(file: FileIO) -> Iterator[bytes]:
    """All that a file holds, as it comes."""
    while block := file.read(_BLOCK):
        yield block
    if block is None:  # rather than take it for the end
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def parse_batch(batch: Batch, encoding: HarmonyEncoding, names: Names, *, strict: bool) -> Iterator[LogRecord]:
    """Parses every line; each gives one LogRecord, in order, whatever it holds.

    What the strict language does not hold is a RecordError if `strict`, and otherwise repaired.
    """
    for line in batch:
        yield line if isinstance(line, LogRecord) else _parsed(line, encoding, names, strict=strict)


def render_batch(
    batch: Batch, encoding: HarmonyEncoding, config: RenderConversationConfig, purpose: Purpose, *, as_text: bool
) -> Iterator[LogRecord]:
    """Renders every line, all of them at once on all cores; each gives one LogRecord, in order, whatever it holds."""
    read = [line if isinstance(line, LogRecord) else _conversation(line) for line in batch]
    conversations = (item[1] for item in read if not isinstance(item, LogRecord))
    outcomes = iter(encoding.render_many(conversations, config, purpose=purpose))
    for item in read:
        yield item if isinstance(item, LogRecord) else _rendered(item[0], next(outcomes), encoding, as_text=as_text)


def source_field(fields: Mapping[str, msgspec.Raw], names: Names = _NAMES) -> str | None:
    """The name of the field that holds a completion, its tokens or else its text; None where neither does."""
    for name in (names.tokens, names.text):
        if fields.get(name, _NULL) != _NULL:
            return name
    return None


def read_source(fields: Mapping[str, msgspec.Raw], name: str, names: Names = _NAMES) -> list[int] | str:
    """The completion that the field of this name holds.

    Raises ValueError for a value of a wrong type, with its path, as the next two do.
    """
    value: list[int] | str = _value(_TOKENS if name == names.tokens else _TEXT, fields[name], name)
    return value


def read_role(fields: Mapping[str, msgspec.Raw], names: Names = _NAMES) -> str | None:
    """The role of a completion's first message, not yet known to be one; None where its tokens say it."""
    role: str | None = _value(_ROLE, fields.get(names.role, _ASSISTANT), names.role)
    return role


def no_source(names: Names) -> ValueError:
    """What is wrong with a record that has no completion."""
    return ValueError(sentence("invalid-record/no-completion", tokens=names.tokens, text=names.text))


def read_conversation(line: Line) -> Conversation:
    """The conversation that `messages` are; RecursionError too, where they are nested too deeply."""
    try:
        return Conversation.from_json(line.written)
    except ValueError:
        if _mended(line.written) == line.written:
            raise
        # Python's json reads single surrogates, and rendering tells where they are.
        return Conversation.from_dict(json.loads(line.written))


def batch_of(lines: bytes, first: int, too_long: int = 0) -> Batch:
    """Lines, of which the first has this number, without those that are blank.

    Where the first was too long to be kept, `too_long` is the bytes that it had.
    """
    batch = [_line(number, line) for number, line in enumerate(BytesIO(lines), first) if line.strip()]
    if too_long:
        fault = Fault("record-too-large", found=too_long)
        batch.insert(0, LogRecord(first, {}, fault.record_error(f"in line {first:,}")))
    return batch


def _line(number: int, written: bytes) -> Line | LogRecord:
    try:
        written.decode()  # fields that pass through are looked at no further
        if number == 1:
            written = written.removeprefix(BOM_UTF8)
        return Line(number, written, _fields(written))
    except UnicodeDecodeError as error:
        byte = f"0x{written[error.start]:02x} at byte {error.start:,} of line {number:,}"
        return LogRecord(number, {}, Fault("invalid-utf-8/bytes", found=byte).record_error())
    except RecursionError as error:
        return LogRecord(number, {}, record_error(number, error))
    except msgspec.DecodeError as error:
        return LogRecord(number, {}, Fault("invalid-json", reason=error).record_error(f"in line {number:,}"))


def _parsed(line: Line, encoding: HarmonyEncoding, names: Names, *, strict: bool) -> LogRecord:
    try:
        name = source_field(line.fields, names)
        if name is None:
            raise no_source(names)
        value = read_source(line.fields, name, names)
        role = read_role(line.fields, names)
        if isinstance(value, str):
            result = encoding.parse_text(value, role, strict=strict)
        else:
            result = encoding.parse(value, role, strict=strict)
    except (ValueError, HarmonyError, RecursionError) as error:
        return _refused(line, error)
    return LogRecord(line.number, line.fields, result)


def _conversation(line: Line) -> tuple[Line, Conversation] | LogRecord:
    try:
        return line, read_conversation(line)
    except (ValueError, RecursionError) as error:
        return _refused(line, error)


def _rendered(line: Line, outcome: list[int] | HarmonyError, encoding: HarmonyEncoding, *, as_text: bool) -> LogRecord:
    if isinstance(outcome, HarmonyError):
        return _refused(line, outcome)
    replaced = ("messages", "tokens") if as_text else ("messages",)
    fields = {name: value for name, value in line.fields.items() if name not in replaced}
    return LogRecord(line.number, fields, Rendered(outcome, encoding.decode(outcome) if as_text else None))


def _refused(line: Line, error: Exception) -> LogRecord:
    """The record of a line whose fields are wrong: it keeps all of them."""
    return LogRecord(line.number, line.fields, record_error(line.number, error))


def record_error(number: int, error: Exception) -> RecordError:
    """What an error in the record of this line becomes."""
    if isinstance(error, HarmonyError):
        return RecordError(error.code, str(error), error.position)
    return fault_of(error).record_error(f"in line {number:,}")


def fault_of(error: Exception) -> Fault:
    """The fault that an error in what a record holds is."""
    return Fault("too-deep") if isinstance(error, RecursionError) else Fault("invalid-record", reason=error)


def _fields(line: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _FIELDS.decode(line)
    except msgspec.DecodeError:
        mended = _mended(line)
        if mended == line:
            raise
        return _FIELDS.decode(mended)


def _mended(line: bytes) -> bytes:
    """JSON without surrogates that lack their other half, which Python's json writes and msgspec cannot read."""
    return _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], line)


def _value(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, name: str) -> Any:
    """The value of one field; ValueError with its path."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        text = str(error)
        raise ValueError(text.replace("`$", f"`$.{name}") if "`$" in text else f"{text} - at `$.{name}`") from None
