"""Unites the columns of several inputs, by name, for one output table.

A column that only some inputs have is null in the rows of the others. Integers and floating-point numbers become
floating-point numbers. The columns are known before the first row is written, so every row has all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from harmony.logs.formats import is_table
from harmony.logs.inputs import Piece, Reader, Unreadable, holds_table, no_rows
from harmony.logs.stores import is_remote

if TYPE_CHECKING:
    import pyarrow as pa

_ADVICE: Final = "convert one of them, or write a folder, in which each input has an output of its own"


class Columns:
    """The columns of an output table, apart from those of messages; and the types of the fields of JSON, if any."""

    def __init__(self, schema: pa.Schema, types: Mapping[str, Any]) -> None:
        self.schema = schema
        self.types: dict[str, Any] = dict(types)

    @classmethod
    def of(
        cls,
        inputs: Sequence[str],
        most: int,
        kept: Callable[[Any, Mapping[str, Any]], pa.RecordBatch],
        types_in: Callable[[Piece], Mapping[str, Any]],
    ) -> Columns | None:
        """The columns of these inputs; None if nothing must be united, because no table is beside another input.

        `kept` gives the fields that pass through of lines or of a batch. `types_in` gives the types of a piece of
        lines. An input that cannot be read is left out: that is told when its turn comes. Raises ValueError.
        """
        tables = [name for name in inputs if _is_table(name)]
        if not tables or len(inputs) == 1:
            return None
        found: list[tuple[str, pa.Schema]] = []
        types: Mapping[str, Any] = {}
        lines = [name for name in inputs if name not in tables]
        if "-" in lines:
            raise ValueError("standard input cannot be united with tables: give it as a file, so it can be read before")
        for name in lines:
            if (piece := _first(name, most)) is not None:
                types = types_in(piece)
                found.append((name, kept(b"", types).schema))
                break
        for name in dict.fromkeys(tables):
            try:
                batch = no_rows(name)
            except Unreadable:
                continue
            try:
                found.append((name, kept(batch, {}).schema))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        ordered = sorted(found, key=lambda pair: inputs.index(pair[0]))
        return cls(_united(ordered), types) if ordered else None

    def conform(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch with these columns. Raises ValueError for a column that is not one of them, or does not fit."""
        import pyarrow as pa

        if batch.schema.equals(self.schema):
            return batch
        if new := [name for name in batch.schema.names if name not in self.schema.names]:
            raise ValueError(f"expected the columns that the inputs had when the run began, found also `{new[0]}`")
        columns = []
        for field in self.schema:
            place = batch.schema.get_field_index(field.name)
            try:
                found = pa.nulls(len(batch), field.type) if place < 0 else batch.column(place).cast(field.type)
            except pa.ArrowException as error:
                raise ValueError(f"column `{field.name}` cannot become {field.type}: {error}") from None
            columns.append(found)
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _is_table(name: str) -> bool:
    if is_remote(name) or name == "-":  # to look into each file of a store would take a request
        return is_table(name)
    try:
        return holds_table(name)
    except (Unreadable, ImportError):
        return False


def _first(name: str, most: int) -> Piece | None:
    try:
        return next(iter(Reader([name], most=most)), None)
    except Unreadable:
        return None


def _united(found: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    import pyarrow as pa

    first = found[0][1]
    if all(schema.equals(first) for _, schema in found):
        return first
    fields: dict[str, tuple[str, pa.DataType]] = {}
    for name, schema in found:
        for field in schema:
            if field.name not in fields:
                fields[field.name] = name, field.type
                continue
            other, before = fields[field.name]
            common = _common(before, field.type)
            if common is None:
                which = f"the column `{field.name}` is {before} in the one and {field.type} in the other"
                raise ValueError(f"{other} and {name} cannot be united: {which}; {_ADVICE}")
            fields[field.name] = other, common
    return pa.schema([(name, kind) for name, (_, kind) in fields.items()])


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both types; None if there is none."""
    import pyarrow as pa

    if one.equals(other):
        return one
    is_number = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (one, other))
    if is_number and pa.types.is_integer(one) != pa.types.is_integer(other):
        return pa.float64()
    try:
        schemas = [pa.schema([("column", kind)]) for kind in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
