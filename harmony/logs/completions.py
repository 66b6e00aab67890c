"""Reads the records of a piece of a log, parses their completions, and writes them as lines or as rows of a table.

RecordReader reads the records for every command. Its input is a piece of a log: some lines of JSON, or some rows of a
table. Its output is Unparsed, which holds the source of each record. `Unparsed.parse` makes Completions, in which each
record has its messages or its error. This module does not know which files the pieces come from.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from harmony.columns.engine import build
from harmony.columns.rows import ELSEWHERE, GIVEN, Columns, Source, Sources
from harmony.errors import Fault, RecordError
from harmony.logs.inputs import MAX_LINE
from harmony.logs.records import (
    BadRecord,
    Names,
    Record,
    as_line,
    completion_field,
    no_completion,
    read_completion,
    read_conversation,
    read_records,
    read_role,
    record_error,
)
from harmony.messages.model import Conversation
from harmony.messages.roles import Role, as_role
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.columns.tables import TableParser
    from harmony.logs.inputs import Piece
    from harmony.logs.records import FieldTypes

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.json_py import Ids, Writer
else:
    from harmony.logs.json_c import Ids, Writer

_ASSISTANT: Final = GIVEN.index(Role.ASSISTANT)
_MESSAGES: Final = "messages"


class Tally(msgspec.Struct):
    """Counts of records, messages and tokens, and of errors and diagnostics by code."""

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
    """The tally of some records. `lengths` has the number of tokens of each record; None for a text."""
    messages = sum(number >= 0 for number in memoryview(columns.message).cast("B").cast("i"))
    errors = Counter(error.code for error in columns.errors.values())
    repairs = Counter(found.code for repairs in columns.diagnostics.values() for found in repairs)
    return Tally(len(lengths), messages, sum(filter(None, lengths)), dict(errors), dict(repairs))


class Unparsed(NamedTuple):
    """Some records before parsing. In each field, index `i` belongs to record `i`.

    If a record holds a conversation, its source is ignored. Such records exist only if the reader allows conversations.
    """

    numbers: Sequence[int]  # the numbers of their lines or rows, from 1
    sources: Sources
    lengths: list[int | None]  # the number of tokens of each; None for a text
    fields: list[Mapping[str, Any]]  # as JSON or as values; empty if the reader skips other fields
    left_out: list[tuple[str, ...]]  # the fields that do not pass through once the record is parsed
    conversations: Mapping[int, Conversation] = {}
    errors: Mapping[int, RecordError] = {}  # for values of a table that cannot be written
    batch: pa.RecordBatch | None = None  # the rows, if the piece is of a table

    def parse(self, *, strict: bool, stripped: bool = False, bare: bool, threads: int = 1) -> Completions:
        """Parses all records. The arguments are those of `build`. A record with an error keeps all of its fields."""
        tokens, offsets, roles, elsewhere, texts = self.sources
        columns = build(
            tokens,
            offsets,
            roles,
            strict=strict,
            stripped=stripped,
            bare=bare,
            threads=threads,
            elsewhere=elsewhere,
            texts=texts,
        )
        columns = columns.with_errors(self.errors)
        fields = self.fields
        if self.batch is not None and columns.errors:
            fields = list(fields)
            for index in columns.errors:
                fields[index] = _values_of_row(self.batch, index)
        return Completions(fields, self.left_out, self.lengths, columns)


class RecordReader(msgspec.Struct, frozen=True):
    """Reads the records of pieces: the completion of each, its role, and the fields that pass through.

    `most` is the limit in bytes for a completion in a table (lines were limited when they were cut). `roles` says
    whether the field with the role is read, `passing` whether other fields are read. With `conversations`, a record
    without a completion may have `messages`.
    """

    names: Names = Names()
    most: int = MAX_LINE
    roles: bool = True
    passing: bool = True
    conversations: bool = False

    def read(self, piece: Piece) -> Unparsed:
        """Reads the records of a piece. Raises TypeError and ValueError for a table without the required columns."""
        if isinstance(piece.data, bytes):
            return self.lines(piece.data, piece.first, piece.too_long)
        return self.rows(piece.data, piece.first)

    def lines(self, data: bytes, first: int, too_long: int = 0) -> Unparsed:
        """Reads the records of all lines that are not blank. The arguments are those of `read_records`."""
        records = read_records(data, first, too_long)
        ids, offsets, roles = Ids(), [0], bytearray()
        elsewhere: dict[int, Source] = {}
        conversations: dict[int, Conversation] = {}
        left_out: list[tuple[str, ...]] = []
        lengths: list[int | None] = []
        for index, record in enumerate(records):
            role = _ASSISTANT
            hidden: tuple[str, ...] = ()
            before = len(ids)
            if isinstance(record, BadRecord):
                elsewhere[index] = record.error
            else:
                try:
                    name = completion_field(record.fields, self.names)
                    if name is not None:
                        if name != self.names.tokens or not ids.scan(record.fields[name]):
                            elsewhere[index] = read_completion(record.fields, name, self.names)
                        if self.roles:
                            role = GIVEN.index(as_role(read_role(record.fields, self.names)))
                        hidden = (name, self.names.role, "diagnostics")
                    elif self.conversations and _MESSAGES in record.fields:
                        conversations[index] = read_conversation(record.written)
                    else:
                        raise no_completion(self.names, conversations=self.conversations)
                except (ValueError, RecursionError) as error:
                    elsewhere[index] = record_error(error, record.number)
            roles.append(role | (ELSEWHERE if index in elsewhere else 0))
            left_out.append(hidden)
            offsets.append(len(ids))
            source = elsewhere.get(index)
            lengths.append(len(ids) - before if source is None else len(source) if isinstance(source, list) else None)
        sources = Sources(ids.view(), memoryview(array("q", offsets)), bytes(roles), elsewhere)
        fields: list[Mapping[str, Any]] = [record.fields if isinstance(record, Record) else {} for record in records]
        return Unparsed([record.number for record in records], sources, lengths, fields, left_out, conversations)

    def rows(self, batch: pa.RecordBatch, first: int) -> Unparsed:
        """Reads the records of rows of a table. The first row has the number `first`."""
        from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

        numbers = range(first, first + len(batch))
        if self._has_conversations(batch.schema) and not self._has_completions(batch.schema):
            nothing = Sources(memoryview(b"").cast("I"), memoryview(bytes(8 * len(batch) + 8)).cast("q"), b"", {})
            return self._with_conversations(Unparsed(numbers, nothing, [], [], []), batch, range(len(batch)))
        parser = self.table_parser(batch.schema)
        read = Unparsed(numbers, parser.read(batch), parser.lengths(batch), [], [()] * len(batch))
        if self.passing:
            fields, errors = values_of(batch.select(parser.kept(batch.schema)))
            read = read._replace(fields=list(fields), errors=errors, batch=batch)
        if self._has_conversations(batch.schema):
            read = self._with_conversations(read, batch, parser.rows_without_completion(batch))
        return read

    def table_parser(
        self,
        schema: pa.Schema,
        *,
        strict: bool = False,
        stripped: bool = False,
        nested: bool = False,
        threads: int = 1,
    ) -> TableParser:
        """The parser for tables of this schema. It uses those of the named columns that exist.

        Raises TypeError and ValueError for tables without the required columns.
        """
        from harmony.columns.tables import TableParser  # loaded here, because lines of JSON need no Arrow

        named = (self.names.tokens, self.names.text, self.names.role)
        tokens, text, role = (name if name in schema.names else None for name in named)
        parser = TableParser(
            tokens if tokens or text else self.names.tokens,
            text,
            Role.ASSISTANT,
            role if self.roles else None,
            strict=strict,
            stripped=stripped,
            nested=nested,
            threads=threads,
            most=self.most,
        )
        parser.schema(schema)  # raises an error if a column is missing or has a wrong type
        return parser

    def _has_completions(self, schema: pa.Schema) -> bool:
        return self.names.tokens in schema.names or self.names.text in schema.names

    def _has_conversations(self, schema: pa.Schema) -> bool:
        return self.conversations and schema.get_field_index(_MESSAGES) >= 0

    def _with_conversations(self, read: Unparsed, batch: pa.RecordBatch, rows: Sequence[int]) -> Unparsed:
        """The same records, with the conversations of these rows from the column `messages`."""
        from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

        conversations: dict[int, Conversation] = {}
        elsewhere = dict(read.sources.elsewhere)
        values, errors = values_of(batch.select([_MESSAGES])) if rows else ([], {})
        for index in rows:
            elsewhere.pop(index, None)
            written = msgspec.json.encode(values[index])
            if len(written) > self.most:
                fault = Fault("record-too-large", found=len(written))
                elsewhere[index] = fault.record_error(f"at `{_MESSAGES}`")
            elif index in errors:
                elsewhere[index] = errors[index]
            else:
                try:
                    conversations[index] = read_conversation(written)
                except (ValueError, RecursionError) as error:
                    elsewhere[index] = record_error(error)
        return read._replace(sources=read.sources._replace(elsewhere=elsewhere), conversations=conversations)


def _values_of_row(batch: pa.RecordBatch, index: int) -> Mapping[str, Any]:
    from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

    [fields], _ = values_of(batch.slice(index, 1))
    return fields


class Completions(NamedTuple):
    """Some records after parsing. Conversation `i` of the columns is record `i`."""

    fields: Sequence[Mapping[str, Any]]  # of each record, as JSON or as values
    left_out: Sequence[tuple[str, ...]]  # the fields that do not pass through once they are parsed
    lengths: list[int | None]  # how many tokens each has; None for a text
    columns: Columns

    def tally(self) -> Tally:
        """The tally of these records."""
        return tally_of(self.columns, self.lengths)

    def passed(self) -> Iterator[dict[str, Any]]:
        """The fields of each record that pass through. A record with an error keeps all, except an old `error`."""
        errors = self.columns.errors
        for index, (fields, left_out) in enumerate(zip(self.fields, self.left_out, strict=True)):
            hidden = () if index in errors else left_out
            yield {name: value for name, value in fields.items() if name not in hidden and name != "error"}

    def to_json(self) -> bytes:
        """The records as lines of JSON, one for each record."""
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

    def kept(self, types: FieldTypes, taken: Sequence[str]) -> pa.RecordBatch:
        """The fields that pass through, as columns of these types, one row for each record.

        Taken names are left out.
        """
        from harmony.logs.fields import as_columns  # loaded here, because JSON to JSON needs no Arrow

        return as_columns(list(self.passed()), types, taken)


def parse_lines(
    data: bytes, first: int, names: Names, *, strict: bool, stripped: bool = False, bare: bool, too_long: int = 0
) -> Completions:
    """Parses lines of JSON. The arguments are those of `read_records` and `build`."""
    return RecordReader(names).lines(data, first, too_long).parse(strict=strict, stripped=stripped, bare=bare)
