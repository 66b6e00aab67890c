"""What is wrong with files, told as linters tell it: file, line, column, code and sentence.

Decides what a file holds. One named `.jsonl` is JSON Lines, and so is standard input whose first character that is not
blank is a `{`: each line that is not blank is one record, with `tokens`, or else `text`, or else `messages`. Any other
file is one text as it was rendered, or token ids where it holds nothing but integers, white space, commas and brackets.
An editor's byte order mark at its begin and newline at its end are no part of it: no text of the format begins with
such a mark, and none is valid only with that newline.

Does not know whether what a `text` spells were markers before it was written out: there they are.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
from xxhash import xxh3_64

from harmony.checking.validation import Finding, is_valid, validate
from harmony.encoding import HarmonyEncoding
from harmony.errors import Diagnostic, Fault, HarmonyError, RecordError, printable, sentence
from harmony.format.machine import Start
from harmony.logs.cutting import Chunks, cut
from harmony.logs.inputs import BLOCK, MAX_LINE
from harmony.logs.records import (
    Line,
    LogRecord,
    batch_of,
    fault_of,
    read_blocks,
    read_conversation,
    read_role,
    read_source,
    source_field,
)
from harmony.messages.model import Conversation, Role
from harmony.rendering.renderer import RenderConversationConfig

#: What finds more in a conversation than the grammar does; its positions are indices of messages.
Linter: TypeAlias = Callable[[Conversation], Iterable[Diagnostic]]
Unit: TypeAlias = Literal["token", "character", "message"]

# All messages, for analysis that is left out by default would not be looked at.
_WHOLE: Final = RenderConversationConfig(auto_drop_analysis=False)
_SPACE: Final = " \t\r\n\f\v"
_ONLY_IDS: Final = re.compile(rf"[-0-9{_SPACE},\[\]]*")
_WORD: Final = re.compile(rf"[^{_SPACE},\[\]]+")
_ID: Final = re.compile("-?[0-9]{1,99}")  # Python does not read integers of any length


class Unreadable(Exception):  # noqa: N818  nothing is known to be wrong with what the file holds
    """Raised for a file that cannot be read; it says why."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong, and where: `line` and `column` count from 1, in the file; of a record, the column is 1.

    `position` is the index of a token or of a message, or the offset of a character, as `unit` says, in what the file
    or the record holds; both are None where there is no such place. `excerpt` shows the place in a text.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    position: int | None
    unit: Unit | None
    excerpt: str | None = None

    def to_text(self) -> str:
        """The problem as a line to be read, and its excerpt below."""
        line = printable(f"{self.file}:{self.line}:{self.column}: {self.code} {self.message}")
        return line if self.excerpt is None else "\n    ".join([line, *self.excerpt.split("\n")])

    def to_json(self) -> str:
        """The problem as a JSON object on one line, in ASCII, for the name of a file need not be Unicode."""
        return json.dumps(msgspec.to_builtins(self))

    def to_github(self) -> str:
        """The problem as a workflow command of GitHub Actions, which shows it at its place."""
        name, code = (_escaped(text).replace(":", "%3A").replace(",", "%2C") for text in (self.file, self.code))
        return f"::error file={name},line={self.line},col={self.column},title={code}::{_escaped(self.message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def linter_of(select: Iterable[str] | None, ignore: Iterable[str] | None) -> Linter:
    """`harmony.lint` by some of its rules; each string holds codes with commas between them.

    Raises ValueError for an unknown code, and ImportError where one needs a library that is missing.
    """
    from harmony.checking.rules import lint

    selected, ignored = (
        [code.strip() for text in texts for code in text.split(",")] if texts else None for texts in (select, ignore)
    )
    linter = partial(lint, select=selected, ignore=ignored)
    linter(Conversation())  # it checks the codes first
    return linter


def problems(
    name: str, encoding: HarmonyEncoding, start: Start, linter: Linter | None = None, most: int = MAX_LINE
) -> Iterator[Problem]:
    """What is wrong with a file, or with standard input for `-`, as soon as it is found. Raises Unreadable.

    `start` is what texts and tokens are to be. Where they are to be completions, a record can have a `role`: None where
    they begin with a `<|start|>` of their own. The linter gets whatever the grammar finds no fault with. A record, or a
    file that is one text, may have `most` bytes.
    """
    check = _Check(name, encoding, start, linter)
    try:
        with FileIO(0, closefd=False) if name == "-" else Path(name).open("rb", buffering=0) as file:
            blocks = read_blocks(file)
            are_lines = name.endswith(".jsonl")
            if name == "-":
                are_lines, blocks = _begins_with_object(blocks)
            if are_lines:
                for line in _records(blocks, most):
                    yield from check.record(line)
            else:
                yield from check.whole(_whole(name, blocks, most))
    except OSError as error:
        raise Unreadable(f"{name} cannot be read: {error.strerror}") from None


def _records(blocks: Iterator[bytes], most: int) -> Iterator[Line | LogRecord]:
    """The lines that are not blank, as soon as they are there."""
    chunks, number = Chunks(blocks), 1
    for lines in cut(chunks, xxh3_64(), BLOCK, most, full=False):
        yield from batch_of(lines.data, number, lines.too_long)
        number += lines.data.count(b"\n")
    if chunks.fault is not None:
        raise chunks.fault


def _whole(name: str, blocks: Iterator[bytes], most: int) -> bytes:
    """All that there is, unless that is too much."""
    read = bytearray()
    for block in blocks:
        read += block
        if len(read) > most:
            too_large = sentence("record-too-large", found=len(read))
            raise Unreadable(f"{name} cannot be read: {too_large} or more in one text")
    return bytes(read)


def _begins_with_object(blocks: Iterator[bytes]) -> tuple[bool, Iterator[bytes]]:
    """Whether the first character that is not blank is a `{`, and the blocks, none of them lost."""
    read: list[bytes] = []
    for block in blocks:
        begin = block if read else block.removeprefix(BOM_UTF8)
        read.append(block)
        if begin := begin.lstrip(_SPACE.encode()):
            return begin.startswith(b"{"), chain(read, blocks)
    return False, iter(read)


class _Fault(NamedTuple):
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

    def record(self, line: Line | LogRecord) -> Iterator[Problem]:
        number = line.line if isinstance(line, LogRecord) else line.number
        for fault in self._in_record(line):
            message, excerpt = fault.message, None
            if fault.finding is not None:
                message += f" at {fault.finding.line}:{fault.finding.column} of `text`"
                excerpt = fault.finding.excerpt
            yield Problem(self._name, number, 1, fault.code, message, fault.position, fault.unit, excerpt)

    def whole(self, data: bytes) -> Iterator[Problem]:
        data = data.removeprefix(BOM_UTF8)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            before = data[: error.start].decode()
            line, column = _Places(before, None).of(len(before))
            fault = Fault("invalid-utf-8/bytes", found=f"0x{data[error.start]:02x}")
            yield Problem(self._name, line, column, fault.code, fault.sentence, None, None)
            return
        text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
        ids = _ids(text)
        places = None
        for found in self._in_source(text if ids is None else ids, self._start, Role.ASSISTANT):
            line, column, excerpt = 1, 1, None
            if found.finding is not None:
                line, column, excerpt = found.finding.line, found.finding.column, found.finding.excerpt
            elif found.place is not None:
                places = places or _Places(text, ids)
                line, column = places.of(found.place)
            yield Problem(self._name, line, column, found.code, found.message, found.position, found.unit, excerpt)

    def _in_record(self, line: Line | LogRecord) -> Iterator[_Fault]:
        if isinstance(line, LogRecord):
            if isinstance(line.outcome, RecordError):
                yield _Fault(line.outcome.code, line.outcome.message.removesuffix(f" - in line {line.line:,}"))
            return
        conversation = source = None
        start, role = self._start, None
        try:
            name = source_field(line.fields)
            if name is not None:
                source = read_source(line.fields, name)
            if source is None:
                if "messages" not in line.fields:
                    raise ValueError(sentence("invalid-record/no-input"))
                conversation = read_conversation(line)
            elif start == "completion":
                written = read_role(line.fields)
                start, role = ("conversation", None) if written is None else (start, Role(written))
        except (ValueError, RecursionError) as error:
            fault = fault_of(error)
            yield _Fault(fault.code, fault.sentence)
            return
        if source is not None:
            yield from self._in_source(source, start, role)
        elif conversation is not None:
            yield from self._in_conversation(conversation)

    def _in_source(self, source: str | list[int], start: Start, role: Role | None) -> Iterator[_Fault]:
        """The faults of a text or of tokens; `role` is that of a completion."""
        if not is_valid(source, start):
            yield from map(_fault, validate(source, start))
        elif self._linter is not None:
            role = role if start == "completion" else None
            try:
                encoding = self._encoding
                result = encoding.parse_text(source, role) if isinstance(source, str) else encoding.parse(source, role)
            except HarmonyError as error:
                yield _Fault(error.code, str(error), error.position, error.unit, error.position)
                return
            for diagnostic in self._linter(Conversation(result.messages)):
                yield _of_message(diagnostic, result.spans[diagnostic.position].start)

    def _in_conversation(self, conversation: Conversation) -> Iterator[_Fault]:
        try:
            tokens = self._encoding.render_conversation(conversation, _WHOLE)
        except HarmonyError as error:
            yield _Fault(error.code, str(error), error.position, error.unit)
            return
        if not is_valid(tokens):
            yield from map(_fault, validate(tokens))
        elif self._linter is not None:
            for diagnostic in self._linter(conversation):
                yield _of_message(diagnostic, None)


def _fault(diagnostic: Diagnostic) -> _Fault:
    code, message, position = diagnostic.code, diagnostic.message, diagnostic.position
    if isinstance(diagnostic, Finding):
        return _Fault(code, message, position, "character", position, diagnostic)
    return _Fault(code, f"{message} at token {position}", position, "token", position)


def _of_message(diagnostic: Diagnostic, place: int | None) -> _Fault:
    index = diagnostic.position
    return _Fault(diagnostic.code, f"{diagnostic.message} at message {index}", index, "message", place)


def _ids(text: str) -> list[int] | None:
    """The token ids that a file holds; None where it is text, as blank text is."""
    if not _ONLY_IDS.fullmatch(text) or not text.strip(_SPACE):
        return None
    words = _WORD.findall(text)
    return list(map(int, words)) if all(map(_ID.fullmatch, words)) else None


class _Places:
    """The lines and columns of a file's text; of token ids, those of each id as it is written."""

    def __init__(self, text: str, ids: list[int] | None) -> None:
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._ids = None
        if ids is not None:
            words = list(_WORD.finditer(text))
            self._ids = [*(word.start() for word in words), words[-1].end() if words else len(text)]

    def of(self, place: int) -> tuple[int, int]:
        """Line and column of a character, or of a token; its end is a place too."""
        offset = place if self._ids is None else self._ids[place]
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1
