"""Completions after parsing: their tally, and how they become lines of JSON or columns. `reading.py` makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from harmony.columns.rows import Columns
from harmony.logs.records import as_line, check_free
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.logs.records import FieldTypes

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.json_py import Writer
else:
    from harmony.logs.json_c import Writer

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


class Completions(NamedTuple):
    """Some completions after parsing. Conversation `i` of the columns is completion `i`."""

    numbers: Sequence[int]  # of their lines or rows
    fields: Sequence[Mapping[str, Any]]  # that pass through, as JSON or as values
    whole: Sequence[Mapping[str, Any]]  # that pass through if the completion is bad
    lengths: list[int | None]  # how many tokens each has; None for a text
    columns: Columns

    def tally(self) -> Tally:
        """The tally of these completions."""
        return tally_of(self.columns, self.lengths)

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
        writer = Writer(self.columns)
        errors, diagnostics = self.columns.errors, self.columns.diagnostics
        lines = []
        for index, fields in enumerate(self.passed()):
            error = errors.get(index)
            added: dict[str, Any]
            if error is None:
                added = {"messages": msgspec.Raw(writer.messages(index)), "complete": complete[index] != 0}
            else:
                added = {"messages": None, "complete": False}
            added["diagnostics"] = diagnostics.get(index)
            added["error"] = error
            if into is not None:
                added = {into: added}
            elif error is not None and _MESSAGES in fields:
                del added["messages"]  # it may be the conversation that is the fault of this record
            if not added.keys().isdisjoint(fields):
                check_free(fields, added, self.numbers[index])
            lines.append(as_line(fields, added))
        return b"".join(lines)

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
