"""What both builders of columns share: the columns, the values that codes stand for, and parsing one conversation.

A column is a buffer of integers or of UTF-8. -1 means null. The builders know nothing of Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, groupby
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from harmony.errors import Diagnostic, Fault, HarmonyError, RecordError
from harmony.format import vocabulary
from harmony.format.header import REMEMBERED_HEADERS, Header
from harmony.messages.model import Message, TextContent
from harmony.messages.roles import Role
from harmony.parsing.engine import decode_bytes, parse, parse_text
from harmony.parsing.shared import repaired
from harmony.parsing.tokens import as_id
from harmony.results import ENDS, ParseResult

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: The roles that a caller can give a conversation. The code of a role is its index; the last one means no role.
GIVEN: Final = (*Role, None)
#: What ended a message. The code is the index.
END_VALUES: Final = tuple(ENDS.values())
#: The code for each stop token.
END_CODES: Final = {token: END_VALUES.index(end) for token, end in ENDS.items()}
_CODE_OF_END: Final[dict[str | None, int]] = {None: -1, **{end: code for code, end in enumerate(END_VALUES)}}
#: The columns that hold indices into `values`, in their order in Columns. Each is a field of a header.
CODED: Final = ("role", "name", "recipient", "channel", "content_type")
#: The bits of a role's code. Flags may stand beside them.
GIVEN_CODE: Final = 0x07
#: A flag beside the code of a role: the role counts only if the conversation does not begin with `<|start|>`.
UNLESS_START: Final = 0x10
#: A flag beside the code of a role: the conversation is in `texts`, not in the buffer of tokens.
IN_TEXTS: Final = 0x20
#: A flag beside the code of a role: the conversation is in `elsewhere`, wherever else it may be.
ELSEWHERE: Final = 0x40

#: What a conversation is parsed from: token ids, a text, or the error of its record.
Source: TypeAlias = memoryview | list[int] | str | RecordError


class Texts(NamedTuple):
    """A column of texts in UTF-8, which is not checked: text `i` is `data[offsets[i]:offsets[i + 1]]`."""

    data: memoryview
    offsets: memoryview  # int64, and checked
    name: str  # of the column

    def of(self, index: int) -> str | RecordError:
        """Text `index`; an error if it is not UTF-8."""
        return decoded(bytes(self.data[self.offsets[index] : self.offsets[index + 1]]), self.name)


class Sources(NamedTuple):
    """What many conversations are parsed from. These are the first arguments of `build`, which explains them."""

    tokens: memoryview
    offsets: memoryview
    roles: bytes
    elsewhere: Mapping[int, Source]
    texts: Texts | None = None

    def of(self, index: int) -> Source:
        """The source of conversation `index`."""
        if index in self.elsewhere:
            return self.elsewhere[index]
        if self.texts is not None and self.roles[index] & IN_TEXTS:
            return self.texts.of(index)
        return integers(self.tokens[self.offsets[index] : self.offsets[index + 1]])

    def role_of(self, index: int) -> Role | None:
        """The role that the caller gave conversation `index`."""
        return given_role(self.roles[index], self.of(index))


def decoded(data: bytes, name: str) -> str | RecordError:
    """A text of the column `name`; the error of its record if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        return text_error(error, name)


def text_error(error: UnicodeDecodeError, name: str) -> RecordError:
    """The error for a text in this column that is not UTF-8."""
    byte = f"0x{error.object[error.start]:02x} at byte {error.start:,}"
    return Fault("invalid-utf-8/bytes", found=byte).record_error(f"at `{name}`")


def integers(tokens: memoryview) -> memoryview | list[int]:
    """Tokens as the engine reads them: uint32, or a list of other integers."""
    return tokens if tokens.format == "I" else tokens.tolist()


def given_role(code: int, source: Source) -> Role | None:
    """The role of the first message, by the code and the flags that the caller gave for this source."""
    role: Role | None = GIVEN[code & GIVEN_CODE]
    return None if code & UNLESS_START and _begins(source) else role


def _begins(source: Source) -> bool:
    """Whether a completion begins with `<|start|>`, and so names its role itself."""
    if isinstance(source, str):
        return source.startswith(vocabulary.SPECIAL_TEXTS[vocabulary.START])
    return not isinstance(source, RecordError) and len(source) > 0 and source[0] == vocabulary.START


class Columns(NamedTuple):
    """Messages as columns: `n` conversations in `m` rows.

    Each message is a row. If `bare` rows are wanted, a conversation without a message has one row too, in which all but
    `conversation` is null. The five columns from `role` to `content_type` hold indices into `values`.
    """

    rows: Buffer  # int64, n + 1: the rows of conversation i are rows[i] to rows[i + 1]
    complete: Buffer  # uint8, n: 1 where the input ended between messages
    conversation: Buffer  # int64, m
    offsets: Buffer  # int64, m + 1: the content of row i is content[offsets[i]:offsets[i + 1]]
    message: Buffer  # int32, m: the index of the message in its conversation
    role: Buffer  # int32, m, as all that follow
    name: Buffer
    recipient: Buffer
    channel: Buffer
    content_type: Buffer
    content_tokens: Buffer  # the number of tokens of the content; null if it was read from text
    end: Buffer  # index into END_VALUES
    content: Buffer  # UTF-8
    values: Sequence[Sequence[str]]  # of `role` to `content_type`
    diagnostics: Mapping[int, list[Diagnostic]]  # of the conversations that were repaired
    errors: Mapping[int, RecordError]  # of those that could not be parsed

    def with_errors(self, errors: Mapping[int, RecordError]) -> Columns:
        """A copy with the errors of more conversations. If a conversation already has an error, that one is kept."""
        return self._replace(errors={**errors, **self.errors}) if errors else self


#: The string of each role. Looking it up is faster than `role.value`.
_ROLE_VALUES: Final[dict[Role, str]] = {role: role.value for role in Role}
_ROLE_CODES: Final[dict[str | None, int]] = {None: -1, **{role.value: code for code, role in enumerate(Role)}}


class Values:
    """Gives codes to the values of header fields, in the order in which they are met."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._codes: list[dict[str | None, int]] = [dict(_ROLE_CODES)]
        self._codes += [{None: -1} for _ in CODED[1:]]
        self._remembered: dict[tuple[str | None, ...], tuple[int, ...]] = {}

    def codes(
        self, role: Role, name: str | None, recipient: str | None, channel: str | None, content_type: str | None
    ) -> tuple[int, ...]:
        """The codes of role, name, recipient, channel and content type."""
        fields = (_ROLE_VALUES[role], name, recipient, channel, content_type)
        found = self._remembered.get(fields)
        if found is None:
            with self._lock:
                found = tuple(
                    [codes.setdefault(value, len(codes) - 1) for codes, value in zip(self._codes, fields, strict=True)]
                )
            if len(self._remembered) < REMEMBERED_HEADERS:
                self._remembered[fields] = found
        return found

    def of_header(self, header: Header) -> tuple[int, ...]:
        """The codes of a header's fields."""
        return self.codes(header.role, header.name, header.recipient, header.channel, header.content_type)

    def code_of(self, field: str, value: str) -> int:
        """The code of a value of this field; -1 if it was not met."""
        return self._codes[CODED.index(field)].get(value, -1)

    def lists(self) -> list[list[str]]:
        """The values by their codes, field by field."""
        return [[value for value in codes if value is not None] for codes in self._codes]


class MessageRow(NamedTuple):
    """One message as a row of the columns: codes, UTF-8, and numbers."""

    codes: tuple[int, ...]
    content: bytes
    content_tokens: int
    end: int


class Parsed(NamedTuple):
    """The result of parsing one source: the rows, and what belongs to the whole conversation."""

    rows: list[MessageRow]
    complete: bool
    diagnostics: list[Diagnostic]
    error: RecordError | None


def parse_source(source: Source, given: Role | None, values: Values, *, strict: bool, stripped: bool = False) -> Parsed:
    """Parses one source. A HarmonyError becomes the `error` of the result.

    With `stripped`, the source has lost its markers: it is read as a text, and tokens are decoded before that.
    """
    if isinstance(source, RecordError):
        return Parsed([], False, [], source)
    if stripped:
        return _parse_stripped(source, given, values)
    try:
        if isinstance(source, str):
            result = parse_text(source, given, strict=strict)
        else:
            result = parse(source, given, strict=strict)
    except HarmonyError as error:
        found = RecordError(error.code, str(error), error.position)
        rows = [_row(message, *ended, values) for message, ended in zip(error.messages, _ended(source), strict=False)]
        return Parsed(rows, False, [], found)
    rows = _rows_of(result, values, count_tokens=not isinstance(source, str))
    return Parsed(rows, result.complete, result.diagnostics, None)


def ends_in_last_message(source: Source, given: Role | None) -> bool:
    """Whether lenient parsing reads a source to its end within the content of its last message."""
    if isinstance(source, RecordError):
        return False
    result = parse_text(source, given, strict=False) if isinstance(source, str) else parse(source, given, strict=False)
    return bool(result.spans) and result.spans[-1].end is None and result.spans[-1].stop == len(source)


def _parse_stripped(source: memoryview | list[int] | str, given: Role | None, values: Values) -> Parsed:
    text, replaced = (source, []) if isinstance(source, str) else _written(source)
    result = parse_text(text, given, strict=False, stripped=True)
    diagnostics = result.diagnostics
    if replaced:
        diagnostics = sorted([*replaced, *diagnostics], key=lambda found: found.position)
    return Parsed(_rows_of(result, values, count_tokens=False), result.complete, diagnostics, None)


def _written(tokens: memoryview | list[int]) -> tuple[str, list[Diagnostic]]:
    """The text of tokens, special ones in their written form. Each integer that is no token id becomes U+FFFD.

    There is a diagnostic for each of these integers.
    """
    try:
        return decode_bytes(tokens).decode(errors="replace"), []
    except HarmonyError:
        pass
    pieces, size, diagnostics = [], 0, []
    for is_token, run in groupby(map(as_id, tokens, count()), lambda token: 0 <= token <= vocabulary.LAST_TOKEN):
        if is_token:
            pieces.append(decode_bytes(list(run)).decode(errors="replace"))
            size += len(pieces[-1])
            continue
        for token in run:
            diagnostics.append(repaired("replaced-token", size, token))
            pieces.append("\ufffd")
            size += 1
    return "".join(pieces), diagnostics


def _rows_of(result: ParseResult, values: Values, *, count_tokens: bool) -> list[MessageRow]:
    return [
        _row(message, span.stop - span.content_start if count_tokens else -1, _CODE_OF_END[span.end], values)
        for message, span in zip(result.messages, result.spans, strict=False)
    ]


def _ended(source: memoryview | list[int] | str) -> list[tuple[int, int]]:
    """The number of tokens and the end of each message before an error. Up to there, the source is well-formed."""
    if isinstance(source, str):
        return [(-1, END_CODES[token]) for _, _, token in vocabulary.special_tokens_in(source) if token in END_CODES]
    starts = [place for place, token in enumerate(source) if token == vocabulary.MESSAGE]
    stops = [(place, END_CODES[token]) for place, token in enumerate(source) if token in END_CODES]
    return [(stop - start - 1, end) for start, (stop, end) in zip(starts, stops, strict=False)]


def _row(message: Message, content_tokens: int, end: int, values: Values) -> MessageRow:
    author, parts = message.author, message.content
    codes = values.codes(author.role, author.name, message.recipient, message.channel, message.content_type)
    text = "".join([part.text for part in parts if isinstance(part, TextContent)])
    return MessageRow(codes, text.encode(), content_tokens, end)


def message_of(values: Sequence[Sequence[str]], codes: Sequence[int], text: str) -> Message:
    """The message with these codes in its header, and this text."""
    role, name, recipient, channel, content_type = (
        None if code < 0 else field[code] for field, code in zip(values, codes, strict=True)
    )
    return Header(Role(role), name, recipient, channel, content_type).message(text)


def read_messages(columns: Columns, index: int) -> list[Message]:
    """The messages of conversation `index`."""
    first, stop = memoryview(columns.rows).cast("B").cast("q")[index : index + 2]
    offsets = memoryview(columns.offsets).cast("B").cast("q")
    content = memoryview(columns.content)
    codes = [memoryview(getattr(columns, name)).cast("B").cast("i") for name in CODED]
    return [
        message_of(
            columns.values, [column[row] for column in codes], str(content[offsets[row] : offsets[row + 1]], "utf-8")
        )
        for row in range(first, stop)
    ]
