"""Columns of a table that pass through to the output: as values for JSON, or as columns for a file.

If a value cannot be written, only its own record gets an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.arrow import changed
from harmony.columns.rows import text_error
from harmony.errors import Fault, RecordError

_ABSENT: Final = object()
# The text that Arrow writes for a time. For times far outside the calendar of Python, Arrow writes something else.
_TIME: Final = re.compile(r"-?\d{4,}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?Z?)?")
# The errors of pyarrow and Python for values that Python cannot hold.
_UNFIT: Final = (ValueError, ArithmeticError, LookupError, TypeError, pa.ArrowException)


def values_of(batch: pa.RecordBatch) -> tuple[list[dict[str, Any]], dict[int, RecordError]]:
    """The rows as values for JSON. Values that JSON cannot hold are left out, and their rows get an error.

    If several columns have the same name, all but the first get a number: `id`, `id_2`. These values become text: times
    with nanoseconds, times outside the calendar of Python, NaN and infinity.
    """
    names = _distinct(batch.schema.names)
    columns: list[list[Any]] = []
    errors: dict[int, RecordError] = {}
    for name, column in zip(names, batch.columns, strict=True):
        values, faults = _values(column)
        columns.append(values)
        for index, fault in faults.items():
            errors.setdefault(index, _error(fault, column.type, name))
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in range(len(batch))]
    for index in errors:
        rows[index] = {name: value for name, value in rows[index].items() if value is not _ABSENT}
    return rows, errors


def checked(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, RecordError]]:
    """The columns, with null for each value whose text is not UTF-8, and the errors of these rows."""
    errors: dict[int, RecordError] = {}
    for place, (field, column) in enumerate(zip(batch.schema, batch.columns, strict=True)):
        if _is_whole(column):
            continue
        faults = [index for index in range(len(column)) if not _is_whole(column.take(pa.array([index])))]
        kept = pa.array(range(len(column)), pa.int64(), mask=[index in set(faults) for index in range(len(column))])
        batch = batch.set_column(place, field.with_nullable(True), column.take(kept))
        for index in faults:
            errors.setdefault(index, Fault("invalid-utf-8/value").record_error(f"at `{field.name}`"))
    return batch, errors


def _error(fault: Exception, kind: pa.DataType, name: str) -> RecordError:
    if isinstance(fault, UnicodeDecodeError):
        return text_error(fault, name)
    return Fault("invalid-record/unwritable", found=kind, reason=fault).record_error(f"at `{name}`")


def _distinct(names: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        number, own = 1, name
        while own in found or (number > 1 and own in names):
            number += 1
            own = f"{name}_{number}"
        found[own] = None
    return list(found)


def _is_whole(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _values(column: pa.Array) -> tuple[list[Any], dict[int, Exception]]:
    """The values of a column, and the errors of values that Python cannot hold."""
    faults: dict[int, Exception] = {}
    values: list[Any]
    try:
        values = _without_nanoseconds(column).to_pylist()
    except _UNFIT:
        values = []
        for index in range(len(column)):
            try:
                values.append(_value(column.slice(index, 1)))
            except _UNFIT as error:
                values.append(_ABSENT)
                faults[index] = error
    if _any_not_finite(column):
        values = list(map(_spelled, values))
    return values, faults


def _value(column: pa.Array) -> Any:
    """The only value of a column. A time that Python cannot hold becomes its text."""
    try:
        return _without_nanoseconds(column).to_pylist()[0]
    except _UNFIT:
        kind = column.type
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise
        text: str = _in_utc(column).cast(pa.string())[0].as_py()
        if not _TIME.fullmatch(text):
            raise
        return text.replace(" ", "T")


def _in_utc(column: pa.Array) -> pa.Array:
    """The same times in UTC. So the database of time zones is not needed."""
    return column.cast(changed(column.type, lambda kind: pa.timestamp(kind.unit, "UTC") if _zone(kind) else kind))


def _zone(kind: pa.DataType) -> str | None:
    return kind.tz if pa.types.is_timestamp(kind) else None


def _without_nanoseconds(column: pa.Array) -> pa.Array:
    def as_text(kind: pa.DataType) -> pa.DataType:
        return pa.string() if getattr(kind, "unit", None) == "ns" else kind

    kind = changed(column.type, as_text)
    if kind == column.type:
        return column
    text = _in_utc(column).cast(kind)
    return pc.replace_substring(text, " ", "T") if pa.types.is_string(kind) else text


def _any_not_finite(column: pa.Array) -> bool:
    return any(
        pa.types.is_floating(leaf.type) and not pc.all(pc.is_finite(leaf), min_count=0).as_py()
        for leaf in _leaves(column)
    )


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """The columns inside this one that hold no other columns."""
    kind = column.type
    if pa.types.is_struct(kind):
        inside = column.flatten()
    elif pa.types.is_map(kind):
        inside = [column.keys, column.items]
    elif pa.types.is_dictionary(kind):
        inside = [column.dictionary]
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inside = [column.flatten()]
    else:
        yield column
        return
    for each in inside:
        yield from _leaves(each)


def _spelled(value: Any) -> Any:
    """The value, with NaN and infinity replaced by their names in JavaScript."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if value != value else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list | tuple) else value
