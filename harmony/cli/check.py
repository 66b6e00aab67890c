"""What is wrong with files, told as linters tell it: file, line, column, code and sentence.

A record of a log has `tokens`, or else `text`, or else `messages`. Any other file is one text, or token ids:
`harmony/logs/single.py` decides which.

Markers that a `text` spells are markers here, whatever they were before the text was written out.

A problem in a record of lines has the line of the record, and the column in that line where the character, the token id
or the message is written. Columns count characters from 1, as editors do.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.checking.validation import Finding, is_valid, validate
from harmony.cli.written import WrittenLine, path_of
from harmony.columns.rows import Source
from harmony.encoding import HarmonyEncoding, load_harmony_encoding
from harmony.errors import Diagnostic, Fault, HarmonyError, RecordError
from harmony.format import vocabulary
from harmony.format.choices import Start
from harmony.logs.inputs import MAX_LINE, Piece, unread
from harmony.logs.paths import INDEX, steps_of
from harmony.logs.reading import RecordReader
from harmony.logs.records import Layout, Names
from harmony.logs.single import ID, ids_of, parts_of, text_of
from harmony.logs.unparsed import Unparsed
from harmony.messages.model import Conversation
from harmony.messages.roles import Role
from harmony.rendering.renderer import RenderConversationConfig

Unit: TypeAlias = Literal["token", "character", "message"]

# All messages, for analysis that is left out by default would not be looked at.
_WHOLE: Final = RenderConversationConfig(auto_drop_analysis=False)

# What records are told that cannot be read from their lines: the text that says where, and the byte.
_AT_BYTE: Final = re.compile(r" \(byte ([0-9]{1,18})\)$| at byte [0-9,]+(?: of line [0-9,]+)?$")
_IN_LINE: Final = re.compile(r"(?: -)? in line [0-9,]+$")
_PATH: Final = re.compile(r" - at `(?:\$\.)?([^`]*)`$")
_TRUNCATED: Final = "Input data was truncated"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a file, and where.

    `line` and `column` count from 1, the column in characters. The column of a record is that of the character, the
    token id or the message in the line as it is written, or else of the field or the record. A record of a table has no
    line: `row` is the number of its row, from 1, and `line` and `column` are None. `position` is the index of a token
    or of a message, or the offset of a character, as `unit` says, in what the file or the record holds; both are None
    where there is no such place. `excerpt` shows the place in a text.
    """

    file: str
    line: int | None
    column: int | None
    code: str
    message: str
    position: int | None
    unit: Unit | None
    excerpt: str | None = None
    row: int | None = None


class Linter(NamedTuple):
    """What finds more than the grammar does, in whole conversations and in completions. Positions are of messages."""

    of_conversation: Callable[[Conversation], Iterable[Diagnostic]]
    of_completion: Callable[[Conversation], Iterable[Diagnostic]]


def codes_of(texts: Iterable[str]) -> list[str]:
    """The codes in some strings; each string holds codes with commas between them."""
    return [code.strip() for text in texts for code in text.split(",")]


def linter_of(select: Iterable[str] | None, ignore: Iterable[str] | None) -> Linter:
    """`harmony.lint` by some of its rules, given by their codes. None and no codes select all, and ignore none.

    In completions, the rules that need the whole conversation are left out. Raises ValueError for an unknown code, and
    ImportError where a selected rule needs a library that is missing.
    """
    from harmony.checking.rules import RULES, lint

    selected, ignored = (list(codes) if codes else None for codes in (select, ignore))
    of_conversation = partial(lint, select=selected, ignore=ignored)
    of_conversation(Conversation())  # it checks the codes first
    known = [code for code in selected or RULES if RULES[code].needs == "completion"]
    return Linter(of_conversation, partial(lint, select=known, ignore=ignored))


def problems(
    name: str,
    *,
    linter: Linter | None = None,
    most: int = MAX_LINE,
    layout: Layout = Layout(start="conversation"),  # noqa: B008
) -> Iterator[Problem]:
    """What is wrong with a file, or with standard input for `-`, as soon as it is found.

    The `start` of the layout is what texts and tokens are to be. Where they are to be completions, a record can have a
    role: None where they begin with a `<|start|>` of their own. The linter gets whatever the grammar finds no fault
    with. A record, or a file that is one text, may have `most` bytes.

    Raises Unreadable, also for a table without the columns that it should have; and ImportError where a library is
    missing.
    """
    check = _Check(name, load_harmony_encoding(vocabulary.ENCODING_NAME), layout.start, linter)
    reader = RecordReader(layout, most, passing=False, conversations=True)
    for part in parts_of(name, most):
        if isinstance(part, bytes):
            yield from check.whole(part)
            return
        try:
            read = reader.read(part)
        except (TypeError, ValueError) as error:
            raise unread(name, error) from None
        yield from check.records(read, part, layout.names)


class _Mistake(NamedTuple):
    """One thing that is wrong with an input; `place` is the token or the character it is at, where one is known."""

    code: str
    message: str
    position: int | None = None
    unit: Unit | None = None
    place: int | None = None
    finding: Finding | None = None


class _Check:
    """What is wrong with the records of a file, or with the one thing that it holds."""

    def __init__(self, name: str, encoding: HarmonyEncoding, start: Start, linter: Linter | None) -> None:
        self._name = name
        self._encoding = encoding
        self._start = start
        self._linter = linter

    def records(self, read: Unparsed, piece: Piece, names: Names) -> Iterator[Problem]:
        written = None if not isinstance(piece.data, bytes) else _Lines(piece.data, piece.first)
        for index, number in enumerate(read.numbers):
            for mistake in self._in_record(read, index):
                message, excerpt = mistake.message, None
                if mistake.finding is not None:
                    message += f" at {mistake.finding.line}:{mistake.finding.column} of `{names.text}`"
                    excerpt = mistake.finding.excerpt
                if mistake.unit is None and written is not None:
                    message = _AT_BYTE.sub("", _IN_LINE.sub("", message))
                problem = Problem(
                    self._name, None, None, mistake.code, message, mistake.position, mistake.unit, excerpt, number
                )
                if written is not None:
                    source = None if index in read.conversations else read.sources.of(index)
                    paths = [_steps(path or "", read, index) for path in (names.tokens, names.text, names.messages)]
                    column = _column(written.line(number), mistake, source, paths, read.known.shifts.get(index, 0))
                    problem = msgspec.structs.replace(problem, line=number, column=column, row=None)
                yield problem

    def whole(self, data: bytes) -> Iterator[Problem]:
        try:
            text = text_of(data)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            line, column = _Places(before, None).of(len(before))
            fault = Fault("invalid-utf-8/bytes", found=f"0x{error.object[error.start]:02x}")
            yield Problem(self._name, line, column, fault.code, fault.sentence, None, None)
            return
        ids = ids_of(text)
        places = None
        for mistake in self._in_source(text if ids is None else ids, self._start, Role.ASSISTANT):
            line, column, excerpt = 1, 1, None
            if mistake.finding is not None:
                line, column, excerpt = mistake.finding.line, mistake.finding.column, mistake.finding.excerpt
            elif mistake.place is not None:
                places = places or _Places(text, ids)
                line, column = places.of(mistake.place)
            yield Problem(
                self._name, line, column, mistake.code, mistake.message, mistake.position, mistake.unit, excerpt
            )

    def _in_record(self, read: Unparsed, index: int) -> Iterator[_Mistake]:
        source, start = read.sources.of(index), self._start
        if isinstance(source, RecordError):
            yield _Mistake(source.code, source.message)
        elif index in read.conversations:
            yield from self._in_conversation(read.conversations[index])
        elif start == "completion":
            role = read.sources.role_of(index)
            yield from self._in_source(source, "conversation" if role is None else start, role)
        else:
            yield from self._in_source(source, start, None)

    def _in_source(self, source: str | list[int] | memoryview, start: Start, role: Role | None) -> Iterator[_Mistake]:
        """What is wrong with a text or with tokens; `role` is that of a completion."""
        if not is_valid(source, start):
            yield from map(_mistake_of, validate(source, start))
        elif self._linter is not None:
            role = role if start == "completion" else None
            try:
                encoding = self._encoding
                result = encoding.parse_text(source, role) if isinstance(source, str) else encoding.parse(source, role)
            except HarmonyError as error:
                yield _Mistake(error.code, str(error), error.position, error.unit, error.position)
                return
            lint = self._linter.of_completion if start == "completion" else self._linter.of_conversation
            for diagnostic in lint(Conversation(result.messages)):
                yield _mistake_in_message(diagnostic, result.spans[diagnostic.position].start)

    def _in_conversation(self, conversation: Conversation) -> Iterator[_Mistake]:
        try:
            tokens = self._encoding.render_conversation(conversation, _WHOLE)
        except HarmonyError as error:
            yield _Mistake(error.code, str(error), error.position, error.unit)
            return
        if not is_valid(tokens):
            yield from map(_mistake_of, validate(tokens))
        elif self._linter is not None:
            for diagnostic in self._linter.of_conversation(conversation):
                yield _mistake_in_message(diagnostic, None)


def _mistake_of(diagnostic: Diagnostic) -> _Mistake:
    code, message, position = diagnostic.code, diagnostic.message, diagnostic.position
    if isinstance(diagnostic, Finding):
        return _Mistake(code, message, position, "character", position, diagnostic)
    return _Mistake(code, f"{message} at token {position}", position, "token", position)


def _mistake_in_message(diagnostic: Diagnostic, place: int | None) -> _Mistake:
    index = diagnostic.position
    return _Mistake(diagnostic.code, f"{diagnostic.message} at message {index}", index, "message", place)


class _Lines:
    """The lines of a piece of a log. They are looked at only if a record has a problem."""

    def __init__(self, data: bytes, first: int) -> None:
        self._data = data
        self._first = first
        self._lines: list[bytes] | None = None
        self._latest: tuple[int, WrittenLine] | None = None

    def line(self, number: int) -> WrittenLine:
        """The line of this number in the file."""
        if self._latest is None or self._latest[0] != number:
            if self._lines is None:
                self._lines = list(BytesIO(self._data))
            self._latest = number, WrittenLine(self._lines[number - self._first], first=number == 1)
        return self._latest[1]


def _steps(path: str, read: Unparsed, index: int) -> list[str | int]:
    """The steps of a path to what completion `index` has, with its own indices in the place of each `[]`."""
    own = read.whole[index].get(INDEX)
    indices = iter(own if isinstance(own, list) else [own or 0])
    return [next(indices, 0) if step is None else step for step in (steps_of(path) if path else ())]


def _column(
    line: WrittenLine, mistake: _Mistake, source: Source | None, paths: Sequence[list[str | int]], shift: int
) -> int:
    """The column of a problem in the line of its record. `source` is its completion; None for a conversation.

    `paths` lead to its tokens, text and messages. The first `shift` tokens or characters of the source are not its own.
    """
    tokens, text, messages = paths
    place = max((mistake.place or 0) - shift, 0)
    if mistake.unit is None:
        return _column_of_record(line, mistake)
    if source is None or isinstance(source, RecordError):
        path = _PATH.search(mistake.message)
        if path is not None:
            return line.of_value(path_of(path[1]))
        return line.of_value([*messages, mistake.position or 0] if mistake.unit == "message" else messages)
    if isinstance(source, str):
        return line.of_character(text, len(source) - shift, place)
    return line.of_item(tokens, len(source) - shift, place)


def _column_of_record(line: WrittenLine, mistake: _Mistake) -> int:
    """The column of a problem of the record itself, such as broken JSON."""
    message = _IN_LINE.sub("", mistake.message)
    path, byte = _PATH.search(message), _AT_BYTE.search(message)
    if line.is_cut or message.startswith(_TRUNCATED):
        return line.end()
    if byte is not None and byte[1] is not None:
        return line.of_byte(int(byte[1]))
    return line.of_value([] if path is None else path_of(path[1]))


class _Places:
    """The lines and columns of a file's text; of token ids, those of each id as it is written."""

    def __init__(self, text: str, ids: list[int] | None) -> None:
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._ids = None
        if ids is not None:
            words = list(ID.finditer(text))
            self._ids = [*(word.start() for word in words), words[-1].end() if words else len(text)]

    def of(self, place: int) -> tuple[int, int]:
        """Line and column of a character, or of a token; its end is a place too."""
        offset = place if self._ids is None else self._ids[place]
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1
