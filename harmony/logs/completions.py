"""Completions of a log, some at a time: records in, and lines of JSON or rows of a table out.

A piece of a log is some lines of JSON, or some rows of a table. Either way it is parsed to columns, and every record of
it has something in the result: its messages, or its error. Which files the pieces come from is not known here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from harmony.columns.engine import build
from harmony.columns.rows import ELSEWHERE, GIVEN, Columns, Source
from harmony.errors import RecordError
from harmony.logs.records import (
    LogRecord,
    Names,
    as_line,
    batch_of,
    no_source,
    read_role,
    read_source,
    record_error,
    source_field,
)
from harmony.messages.model import Role, as_role
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.columns.tables import TableParser
    from harmony.logs.records import Kinds

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.json_py import Ids, Writer
else:
    from harmony.logs.json_c import Ids, Writer

_ASSISTANT: Final = GIVEN.index(Role.ASSISTANT)


class Tally(msgspec.Struct):
    """What was in some records: how many there were, and errors and diagnostics by their code."""

    records: int = 0
    messages: int = 0
    tokens: int = 0
    errors: dict[str, int] = {}
    diagnostics: dict[str, int] = {}

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.records + other.records,
            self.messages + other.messages,
            self.tokens + other.tokens,
            dict(Counter(self.errors) + Counter(other.errors)),
            dict(Counter(self.diagnostics) + Counter(other.diagnostics)),
        )


def tally_of(columns: Columns, lengths: list[int | None]) -> Tally:
    """What there is in some records, which have so many tokens each."""
    messages = sum(number >= 0 for number in memoryview(columns.message).cast("B").cast("i"))
    errors = Counter(error.code for error in columns.errors.values())
    repairs = Counter(found.code for repairs in columns.diagnostics.values() for found in repairs)
    return Tally(len(lengths), messages, sum(filter(None, lengths)), dict(errors), dict(repairs))


class Completions(NamedTuple):
    """Some records, parsed: conversation `i` of the columns is record `i`."""

    fields: list[Mapping[str, Any]]  # of each record, as JSON or as values
    left_out: list[tuple[str, ...]]  # the fields that do not pass through once they are parsed
    lengths: list[int | None]  # how many tokens each has; None for a text
    columns: Columns

    def tally(self) -> Tally:
        """What there is in them."""
        return tally_of(self.columns, self.lengths)

    def passed(self) -> Iterator[dict[str, Any]]:
        """The fields of each record that pass through: of one with an error all, but for an `error` of old."""
        errors = self.columns.errors
        for index, (fields, left_out) in enumerate(zip(self.fields, self.left_out, strict=True)):
            hidden = () if index in errors else left_out
            yield {name: value for name, value in fields.items() if name not in hidden and name != "error"}

    def to_json(self) -> bytes:
        """One line a record."""
        complete = memoryview(self.columns.complete)
        writer = Writer(self.columns)
        errors, diagnostics = self.columns.errors, self.columns.diagnostics
        lines = []
        for index, fields in enumerate(self.passed()):
            if index in errors:
                added: dict[str, Any] = {"error": errors[index]}
            else:
                added = {"messages": msgspec.Raw(writer.messages(index)), "complete": complete[index] != 0}
                if index in diagnostics:
                    added["diagnostics"] = diagnostics[index]
            lines.append(as_line(fields, added))
        return b"".join(lines)

    def kept(self, kinds: Kinds, taken: Sequence[str]) -> pa.RecordBatch:
        """The fields that pass through by columns of their kinds, without names that are taken; one row a record."""
        from harmony.logs.fields import as_columns  # what JSON becomes JSON needs no Arrow

        return as_columns(list(self.passed()), kinds, taken)


def parse_lines(data: bytes, first: int, names: Names, *, strict: bool, bare: bool, too_long: int = 0) -> Completions:
    """Parses the lines of JSON that are not blank, which are as in `batch_of`; `bare` is as in `build`."""
    batch = batch_of(data, first, too_long)
    ids, offsets, roles = Ids(), [0], bytearray()
    elsewhere: dict[int, Source] = {}
    left_out: list[tuple[str, ...]] = []
    lengths: list[int | None] = []
    for index, line in enumerate(batch):
        role = _ASSISTANT
        hidden: tuple[str, ...] = ()
        before = len(ids)
        if isinstance(line, LogRecord):
            assert isinstance(line.outcome, RecordError)  # which alone is known of a line before it is parsed
            elsewhere[index] = line.outcome
        else:
            try:
                name = source_field(line.fields, names)
                if name is None:
                    raise no_source(names)
                if name != names.tokens or not ids.scan(line.fields[name]):
                    elsewhere[index] = read_source(line.fields, name, names)
                role = GIVEN.index(as_role(read_role(line.fields, names)))
                hidden = (name, names.role, "diagnostics")
            except (ValueError, RecursionError) as error:
                elsewhere[index] = record_error(line.number, error)
        roles.append(role | (ELSEWHERE if index in elsewhere else 0))
        left_out.append(hidden)
        offsets.append(len(ids))
        source = elsewhere.get(index)
        lengths.append(len(ids) - before if source is None else len(source) if isinstance(source, list) else None)
    columns = build(
        ids.view(), memoryview(array("q", offsets)), bytes(roles), strict=strict, bare=bare, elsewhere=elsewhere
    )
    return Completions([line.fields for line in batch], left_out, lengths, columns)


def parse_rows(batch: pa.RecordBatch, parser: TableParser, *, bare: bool) -> Completions:
    """Parses the rows of a table. One with an error keeps its completion, as a record of JSON does."""
    from harmony.columns.passed import values_of  # lines of JSON need no Arrow

    columns = parser.columns(batch, bare=bare)
    fields, errors = values_of(batch.select(parser.kept(batch.schema)))
    columns = columns.with_errors(errors)
    for index in columns.errors:
        [fields[index]], _ = values_of(batch.slice(index, 1))
    return Completions(list(fields), [()] * len(fields), parser.lengths(batch), columns)
