"""Completions after parsing: their tally, and how they become lines of JSON or columns. `reading.py` makes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.columns.rows import CODED, Columns, read_messages
from harmony.logs.records import ADDED, Passing, as_line, check_free, opened_line
from harmony.messages.model import Message, SystemContent, flat_messages
from harmony.messages.roles import Role
from harmony.parsing.engine import parse, parse_text
from harmony.rendering.read_back import with_contents
from harmony.rendering.renderer import RenderConversationConfig
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.errors import Diagnostic
    from harmony.logs.records import FieldTypes

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.json_py import Writer
else:
    from harmony.logs.json_c import Writer

#: A run stops if as many records fail alike at its beginning.
FIRST: Final = 100

#: The field with the messages of the prompt.
PROMPT_MESSAGES: Final = "prompt_messages"

#: What the numbers of records count.
Unit: TypeAlias = Literal["line", "row"]

_MESSAGES: Final = "messages"
_PLACEHOLDER: Final = msgspec.Raw(b"[[]]")  # nothing like it stands behind the messages
_PLACE: Final = re.compile(r" (?:- )?in (?:line|row) [0-9,]+")


class Failure(msgspec.Struct, frozen=True):
    """What the first record of some is told, if all of them are told the same; and the fields that it has."""

    sentence: str  # with the place of the record
    fields: list[str]


class Tally(msgspec.Struct):
    """Counts of records, messages and tokens, and of errors and diagnostics by code.

    `first_error` is what the first bad record is told. `failure` says whether all of the first records fail alike.
    `unmarked` is the number of texts without any marker. `unfound` are paths that were given and led nowhere.
    """

    records: int = 0
    messages: int = 0
    tokens: int = 0
    errors: dict[str, int] = {}
    diagnostics: dict[str, int] = {}
    first_error: str | None = None
    failure: Failure | None = None
    unmarked: int = 0
    unfound: list[str] = []

    def __add__(self, other: Tally) -> Tally:
        failure = self.failure
        if self.records == 0:
            failure = other.failure
        elif self.records < FIRST and (other.failure is None or failure is None or not _alike(failure, other.failure)):
            failure = None
        return Tally(
            self.records + other.records,
            self.messages + other.messages,
            self.tokens + other.tokens,
            dict(Counter(self.errors) + Counter(other.errors)),
            dict(Counter(self.diagnostics) + Counter(other.diagnostics)),
            self.first_error or other.first_error,
            failure,
            self.unmarked + other.unmarked,
            [path for path in self.unfound if path in other.unfound or not other.records]
            if self.records
            else other.unfound,
        )


def _alike(one: Failure, other: Failure) -> bool:
    return _PLACE.sub("", one.sentence) == _PLACE.sub("", other.sentence)


def tally_of(
    columns: Columns, lengths: list[int | None], numbers: Sequence[int], unit: Unit, fields: Iterable[str] = ()
) -> Tally:
    """The tally of some records. `lengths` has the number of tokens of each record; None for a text.

    `numbers` are those of their lines or rows. `fields` are those of the first record.
    """
    messages = sum(number >= 0 for number in memoryview(columns.message).cast("B").cast("i"))
    errors = Counter(error.code for error in columns.errors.values())
    repairs = Counter(found.code for repairs in columns.diagnostics.values() for found in repairs)
    first_error = failure = None
    if errors:
        first_error = columns.errors[min(columns.errors)].message
        if _PLACE.search(first_error) is None:
            first_error += f" - in {unit} {numbers[min(columns.errors)]:,}"
        first = [columns.errors.get(index) for index in range(min(FIRST, len(lengths)))]
        if len({error and _PLACE.sub("", error.message) for error in first}) == 1 and first[0] is not None:
            failure = Failure(first_error, list(fields))
    return Tally(len(lengths), messages, sum(filter(None, lengths)), dict(errors), dict(repairs), first_error, failure)


def prompt_messages(
    prompt: Sequence[int] | str | None, structured: bool | RenderConversationConfig = False
) -> msgspec.Raw | None:
    """The messages of a prompt as JSON; None without a prompt. Its open header is no message.

    `structured` is that of `HarmonyEncoding.parse`.
    """
    if prompt is None:
        return None
    result = parse_text(prompt, None, strict=False) if isinstance(prompt, str) else parse(prompt, None, strict=False)
    return msgspec.Raw(_written(with_contents(result.messages, structured)))


def _written(messages: list[Message]) -> bytes:
    """Messages as JSON. System content keeps its nulls, because reading fills a default in for what is left out."""
    flat = flat_messages(messages)
    for one, message in zip(flat, messages, strict=True):
        if type(message.content[0]) is SystemContent:
            one.content = message.content
    return msgspec.json.encode(flat)


def structured_messages(columns: Columns, structured: bool | RenderConversationConfig) -> list[bytes] | None:
    """The messages of each completion as JSON, with the contents that read back; None if there is nothing to read.

    A bad completion has no JSON.
    """
    if {Role.SYSTEM.value, Role.DEVELOPER.value}.isdisjoint(columns.values[CODED.index("role")]):
        return None
    count = len(memoryview(columns.complete).cast("B"))
    return [
        b"" if index in columns.errors else _written(with_contents(read_messages(columns, index), structured))
        for index in range(count)
    ]


def _added(messages: msgspec.Raw | None, complete: bool, diagnostics: Sequence[Diagnostic] | None) -> dict[str, Any]:
    """What a record gets."""
    return dict(zip(ADDED, (messages, complete, diagnostics, None), strict=True))


def _frame(complete: bool, into: str | None) -> tuple[bytes, bytes, Set[str]]:
    """What stands before and behind the messages in a line, behind the fields, if the completion has no fault.

    The last part is the names of what is added.
    """
    added = _added(_PLACEHOLDER, complete, None)
    if into is not None:
        added = {into: added}
    before, _, behind = as_line({}, added)[1:].rpartition(bytes(_PLACEHOLDER))
    return before, behind, added.keys()


class Completions(NamedTuple):
    """Some completions after parsing. Conversation `i` of the columns is completion `i`."""

    numbers: Sequence[int]  # of their lines or rows
    fields: Sequence[Mapping[str, Any]]  # that pass through, as JSON or as values
    whole: Sequence[Mapping[str, Any]]  # that pass through if the completion is bad
    lengths: list[int | None]  # how many tokens each has; None for a text
    columns: Columns
    unit: Unit = "line"  # what the numbers count
    made: Sequence[bytes] | None = None  # the messages of each as JSON, if they are not those of the columns

    def tally(self) -> Tally:
        """The tally of these completions."""
        fields = self.whole[0] if self.whole else ()
        return tally_of(self.columns, self.lengths, self.numbers, self.unit, fields)

    def with_prompts(
        self, prompts: Mapping[int, Sequence[int] | str], structured: bool | RenderConversationConfig = False
    ) -> Completions:
        """The same with the messages of the prompts as a field. Raises FieldTaken."""
        for number, each in zip(self.numbers, self.fields, strict=False):
            check_free(each, [PROMPT_MESSAGES], number)
        fields = [
            {**each, PROMPT_MESSAGES: prompt_messages(prompts.get(index), structured)}
            for index, each in enumerate(self.fields)
        ]
        return self._replace(fields=fields)

    def passed(self) -> Iterator[Mapping[str, Any]]:
        """The fields of each record that pass through. A record with an error keeps all."""
        errors = self.columns.errors
        for index, fields in enumerate(self.fields):
            yield self.whole[index] if index in errors else fields

    def to_json(self, into: str | None = None) -> bytes:
        """The records as lines of JSON, one for each completion. What is added stands under the key `into`, if any.

        Raises FieldTaken for a field of a record that would be replaced.
        """
        complete = memoryview(self.columns.complete)
        errors, diagnostics = self.columns.errors, self.columns.diagnostics
        whole, cut_off = _frame(True, into), _frame(False, into)
        messages = Writer(self.columns).messages if self.made is None else self._made
        lines = []
        parts: Sequence[Mapping[str, Any] | bytes] = self.fields
        if isinstance(self.fields, Passing) and self.fields.free >= whole[2]:
            parts = self.fields.parts
        for index, part in enumerate(parts):
            before, behind, names = whole if complete[index] else cut_off
            if index not in errors and index not in diagnostics and (type(part) is bytes or names.isdisjoint(part)):
                lines.append(messages(index, opened_line(part) + before, behind))
                continue
            fields = self.whole[index] if index in errors else self.fields[index]
            error = errors.get(index)
            added: dict[str, Any]
            if error is None:
                added = _added(msgspec.Raw(messages(index)), complete[index] != 0, diagnostics.get(index))
            else:
                added = {**_added(None, False, diagnostics.get(index)), "error": error}
            if into is not None:
                added = {into: added}
            elif error is not None and _MESSAGES in fields:
                del added["messages"]  # it may be the conversation that is the fault of this record
            check_free(fields, added, self.numbers[index])
            lines.append(as_line(fields, added))
        return b"".join(lines)

    def _made(self, index: int, before: bytes = b"", behind: bytes = b"") -> bytes:
        """As `Writer.messages`, for messages that are not those of the columns."""
        assert self.made is not None
        return b"%b%b%b" % (before, self.made[index], behind)

    def kept(self, types: FieldTypes, taken: Sequence[str], hidden: Sequence[str]) -> pa.RecordBatch:
        """The fields that pass through, as columns of these types, one row for each completion.

        Hidden names are left out, except of bad records, which keep all. Values with taken names have no column of
        their own.
        """
        from harmony.logs.fields import as_columns  # loaded here, because JSON to JSON needs no Arrow

        errors = self.columns.errors
        rows = [
            fields if index in errors else {name: value for name, value in fields.items() if name not in hidden}
            for index, fields in enumerate(self.passed())
        ]
        return as_columns(rows, types, taken)
