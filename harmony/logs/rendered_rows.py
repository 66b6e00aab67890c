"""Rendered conversations as rows of a table. All batches of a table have the columns of the first one."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from harmony.columns.arrow import findings, under, without_dictionaries
from harmony.columns.passed import checked
from harmony.errors import RecordError
from harmony.logs.convert import check_columns_free
from harmony.logs.fields import as_columns, as_json_column, types_of
from harmony.logs.paths import steps_of
from harmony.logs.records import FieldTypes, Outcome, Rendered
from harmony.logs.shapes import INPUT

if TYPE_CHECKING:
    from harmony.logs.inputs import Piece
    from harmony.logs.rendered import Rendering

_NULL: Final = msgspec.Raw(b"null")
_IDS: Final = pa.list_(pa.int32())


class RenderedRows:
    """Makes the batches of a table: the fields that pass through, and the result of each record.

    What is added stands in the column `into`, if any.
    """

    def __init__(self, rendering: Rendering, into: str | None) -> None:
        self._into = into
        self._path = rendering.messages
        self._names = ["input_ids", "labels"]
        if rendering.turns is None:
            self._names = ["text" if rendering.as_text else "tokens", "role"]
        self._types: FieldTypes | None = None

    def batch(self, piece: Piece, outcomes: Sequence[Outcome]) -> pa.RecordBatch:
        """The rows of a piece. Raises FieldTaken for a column of the log that would be replaced, unless it is null."""
        taken = [*self._names, "error"] if self._into is None else [self._into]
        kept = self._of_lines(outcomes, taken) if isinstance(piece.data, bytes) else self._of_table(piece, outcomes)
        empty = [name for name in taken if name in kept.schema.names and kept.column(name).null_count == len(kept)]
        kept = kept.drop_columns(empty)
        added = {name: self._column(name, outcomes) for name in self._names}
        added["error"] = findings([each.result if isinstance(each.result, RecordError) else None for each in outcomes])
        check_columns_free(kept.schema.names, taken)
        whole = _beside(kept, added)
        return whole if self._into is None else under(whole, kept.num_columns, self._into)

    def _column(self, name: str, outcomes: Sequence[Outcome]) -> pa.Array:
        found = [each.result.added().get(name) if isinstance(each.result, Rendered) else None for each in outcomes]
        return pa.array(found, pa.string()) if name in ("text", "role") else _lists(found)

    def _of_lines(self, outcomes: Sequence[Outcome], taken: Sequence[str]) -> pa.RecordBatch:
        """The fields of JSON. A bad record keeps its conversation too, which gets no column of its own."""
        fields = [
            {name: value for name, value in each.fields.items() if name not in taken or value not in (None, _NULL)}
            for each in outcomes
        ]
        if self._types is None:
            rendered = zip(fields, outcomes, strict=True)
            self._types = types_of(each for each, one in rendered if isinstance(one.result, Rendered))
        return as_columns(fields, self._types, [])

    def _of_table(self, piece: Piece, outcomes: Sequence[Outcome]) -> pa.RecordBatch:
        """The columns of the table, without that of the conversations. What else is in that column is JSON."""
        whole = piece.data
        assert isinstance(whole, pa.RecordBatch)
        first = str(steps_of(self._path)[0])
        top = first if first in whole.schema.names else INPUT
        rows = pa.array([each.number - piece.first for each in outcomes], pa.int64())
        kept = without_dictionaries(checked(whole.drop_columns([top]).take(rows))[0])
        if not pa.types.is_struct(whole.schema.field(top).type):
            return kept
        return _beside(kept, {top: as_json_column([_as_json(each.fields.get(top)) for each in outcomes])})


def _beside(batch: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """The batch with more columns. It may have none itself, and then tells no number of rows."""
    schema = pa.schema([*batch.schema, *(pa.field(name, column.type) for name, column in columns.items())])
    return pa.RecordBatch.from_arrays([*batch.columns, *columns.values()], schema=schema)


def _lists(items: Sequence[Sequence[int] | None]) -> pa.Array:
    """Lists of int32. Arrays are copied without a loop over their items."""
    values = array("i")
    for each in items:
        values.extend(each or ())
    offsets = array("i", accumulate((len(each or ()) for each in items), initial=0))
    there = pa.array([each is not None for each in items], pa.bool_()).buffers()[1]
    child = pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(_IDS, len(items), [there, pa.py_buffer(offsets)], children=[child])


def _as_json(value: Any) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(msgspec.json.encode(value))
