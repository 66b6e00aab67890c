"""Makes typed columns of the fields of JSON records.

The first records of a log decide the columns and their types. A later value that does not fit its column, and a later
field without a column, are written as JSON to the column `other`. So nothing is lost, and one record cannot spoil a
table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from harmony.logs.records import FieldType, FieldTypes

#: The column for fields without a column of their own.
OTHER: Final = "other"

_ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "json": pa.string(),
}
_TYPE_OF: Final[dict[type, FieldType]] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_MOST: Final = 1 << 63
_ABSENT: Final = object()


def types_of(records: Iterable[Mapping[str, Any]]) -> dict[str, FieldType]:
    """The types of the columns for the fields of these records, in the order of their first occurrence."""
    found: dict[str, set[FieldType]] = {}
    for record in records:
        for name, value in record.items():
            types = found.setdefault(name, set())
            read = _read(value)
            if read is not None:
                types.add(_type_of(read))
    return {name: _common(types) for name, types in found.items() if name != OTHER}


def schema_of(types: FieldTypes, taken: Sequence[str]) -> pa.Schema:
    """The names and types of the columns. Taken names get no column."""
    fields = [(name, _ARROW_TYPES[field_type]) for name, field_type in types.items() if name not in taken]
    return pa.schema([*fields, (OTHER, pa.string())])


def as_columns(records: Sequence[Mapping[str, Any]], types: FieldTypes, taken: Sequence[str]) -> pa.RecordBatch:
    """The fields of records as columns, one row for each record. The fields are JSON or values."""
    columns: dict[str, list[Any]] = {name: [None] * len(records) for name in types if name not in taken}
    other: list[str | None] = [None] * len(records)
    for index, record in enumerate(records):
        rest = {}
        for name, value in record.items():
            read = _fitting(value, types[name]) if name in columns else _ABSENT
            if read is not _ABSENT:
                columns[name][index] = read
            else:
                rest[name] = value
        if rest:
            other[index] = msgspec.json.encode(rest).decode()
    schema = schema_of(types, taken)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip([*columns.values(), other], schema, strict=True)],
        schema=schema,
    )


def as_json_column(values: Iterable[msgspec.Raw | None]) -> pa.Array:
    """Values of JSON as a column of texts."""
    return pa.array([None if value is None else bytes(value).decode() for value in values], _ARROW_TYPES["json"])


def _read(value: Any) -> Any:
    """The value of some JSON; the JSON itself if Python cannot hold the value, such as 1e400."""
    if not isinstance(value, msgspec.Raw):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value


def _type_of(value: Any) -> FieldType:
    field_type = _TYPE_OF.get(type(value), "json")
    return "json" if field_type == "integer" and not -_MOST <= value < _MOST else field_type


def _common(types: set[FieldType]) -> FieldType:
    if types == {"integer", "number"}:
        return "number"
    if "string" in types and types <= {"string", "integer", "number"}:
        return "string"  # ids are often numbers in some records and strings in others
    return types.pop() if len(types) == 1 else "json"


def _fitting(value: Any, field_type: FieldType) -> Any:
    """The value for a column of this type, or _ABSENT if it does not fit."""
    read = _read(value)
    if read is None:
        return None
    if field_type == "json":
        return (bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)).decode()
    found = _type_of(read)
    if field_type == "string" and found in ("integer", "number"):
        return (bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)).decode()
    if field_type == "number" and found == "integer" and int(float(read)) == read:
        return float(read)
    return read if found == field_type else _ABSENT
