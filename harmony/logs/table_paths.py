"""What the paths of `paths.py` lead to in tables: through structs, and through lists of structs.

Each completion gets a row of its own. What passes through is repeated; of each list that `[]` stands for, only the own
item is left, as in records of JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harmony.errors import RecordError
from harmony.logs.paths import INDEX, Node, Plan, joined
from harmony.logs.records import FieldTaken


class Taken(NamedTuple):
    """Some rows, taken apart: one row for each completion.

    `found` has a column for each path that leads somewhere. `rest` has the columns without what these paths lead to,
    and `whole` the columns with it. `rows` has the index of the row of each completion; None if each row has one.
    `wrong` has the errors of rows without any.
    """

    found: dict[str, pa.Array]
    whole: pa.RecordBatch
    rest: pa.RecordBatch
    rows: list[int] | None
    wrong: dict[int, RecordError]


class _Walked(NamedTuple):
    found: dict[str, pa.Array]
    whole: pa.Array
    rest: pa.Array | None  # None if nothing is left
    rows: list[int] | None = None  # of the array that was walked, for each row here
    indices: tuple[list[int | None], ...] = ()  # those that each `[]` stands for
    wrong: Mapping[int, str] = MappingProxyType({})

    def take(self, rows: list[int]) -> _Walked:
        """The same for other rows, of which each may stand several times."""
        picked = pa.array(rows, pa.int64())
        return self._replace(
            found={path: array.take(picked) for path, array in self.found.items()},
            whole=self.whole.take(picked),
            rest=None if self.rest is None else self.rest.take(picked),
        )


def take(batch: pa.RecordBatch, plan: Plan, hidden: Iterable[str]) -> Taken:
    """Takes the rows of a table apart. `hidden` are the paths that `rest` is without.

    Raises TypeError for a column that has no such path.
    """
    hidden = frozenset(hidden)
    columns: list[tuple[str, _Walked]] = []
    spine: _Walked | None = None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        node = plan.root.children.get(name)
        walked = _Walked({}, column, column) if node is None else _walk(node, column, name, hidden)
        spine = walked if walked.rows is not None else spine
        columns.append((name, walked))
    rows = None if spine is None else spine.rows
    if rows is not None:
        columns = [(name, each if each.rows is not None else each.take(rows)) for name, each in columns]
    found = {path: array for _, each in columns for path, array in each.found.items()}
    whole = {name: each.whole for name, each in columns}
    rest = {name: each.rest for name, each in columns if each.rest is not None}
    if spine is not None and spine.indices:
        if INDEX in rest:
            raise FieldTaken.of(INDEX)
        index = pa.array(spine.indices[0] if len(spine.indices) == 1 else list(zip(*spine.indices, strict=True)))
        whole[INDEX] = rest[INDEX] = index
    wrong = (
        {} if spine is None else {row: RecordError("invalid-record", text, None) for row, text in spine.wrong.items()}
    )
    return Taken(found, _batch(whole), _batch(rest), rows, wrong)


def _batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _walk(node: Node, array: pa.Array, at: str, hidden: frozenset[str]) -> _Walked:
    if not node.children:
        assert node.path is not None
        return _Walked({node.path: array}, array, None if node.path in hidden else array)
    if isinstance(next(iter(node.children)), str):
        walked = _members(node, array, at, hidden)
    elif None in node.children:
        walked = _each(node.children[None], array, at, hidden)
    else:
        walked = _items(node, array, at, hidden)
    return walked if node.path is None else walked._replace(found={**walked.found, node.path: array})


def _members(node: Node, array: pa.Array, at: str, hidden: frozenset[str]) -> _Walked:
    if not pa.types.is_struct(array.type):
        raise TypeError(f"Expected a struct, found `{array.type}` - at `{at}`{_hint(array.type, at)}")
    names = [field.name for field in array.type]
    walked = []
    for name in names:
        child, inside = node.children.get(name), pc.struct_field(array, [name])
        walked.append(_Walked({}, inside, inside) if child is None else _walk(child, inside, joined(at, name), hidden))
    spine = next((each for each in walked if each.rows is not None), None)
    if spine is not None and spine.rows is not None:
        walked = [each if each.rows is not None else each.take(spine.rows) for each in walked]
    found = {path: column for each in walked for path, column in each.found.items()}
    nulls = array.is_null()
    if spine is not None:
        nulls = nulls.take(pa.array(spine.rows, pa.int64()))
    whole = _struct({name: each.whole for name, each in zip(names, walked, strict=True)}, nulls)
    rest = {name: each.rest for name, each in zip(names, walked, strict=True) if each.rest is not None}
    made = _Walked(found, whole, _struct(rest, nulls) if rest else None)
    return made if spine is None else made._replace(rows=spine.rows, indices=spine.indices, wrong=spine.wrong)


def _struct(columns: dict[str, pa.Array], nulls: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns), mask=nulls)


def _each(node: Node, array: pa.Array, at: str, hidden: frozenset[str]) -> _Walked:
    values, bounds = _list_of(array, at)
    rows: list[int] = []
    indices: list[int | None] = []
    places: list[int | None] = []
    wrong: dict[int, str] = {}
    for row, (start, length) in enumerate(bounds):
        if not length:
            expected = "a list, found null" if length is None else "at least one item, found an empty list"
            wrong[len(rows)] = f"expected {expected} - at `{at}`"
            rows.append(row)
            indices.append(None)
            places.append(None)
        for index in range(length or 0):
            rows.append(row)
            indices.append(index)
            places.append(start + index)
    inside = values.take(pa.array(places, pa.int64()))
    walked = _walk(node, inside, joined(at, None), hidden)
    if walked.rows is not None:
        wrong = {place: wrong[row] for place, row in enumerate(walked.rows) if row in wrong} | {**walked.wrong}
        indices = [indices[row] for row in walked.rows]
        rows = [rows[row] for row in walked.rows]
    rest = None if walked.rest is None else _alone(walked.rest)
    return walked._replace(
        whole=_alone(walked.whole), rest=rest, rows=rows, indices=(indices, *walked.indices), wrong=wrong
    )


def _alone(items: pa.Array) -> pa.Array:
    """A list of each item."""
    return pa.ListArray.from_arrays(pa.array(range(len(items) + 1), pa.int32()), items)


def _items(node: Node, array: pa.Array, at: str, hidden: frozenset[str]) -> _Walked:
    values, bounds = _list_of(array, at)
    found: dict[str, pa.Array] = {}
    for index, child in node.children.items():
        assert isinstance(index, int)
        places = [
            start + index + (length if index < 0 else 0) if length is not None and -length <= index < length else None
            for start, length in bounds
        ]
        walked = _walk(child, values.take(pa.array(places, pa.int64())), joined(at, index), hidden)
        if walked.rows is not None:
            raise TypeError(f"`{joined(at, index)}` holds a list for each item: use `[]` for the last list only")
        found |= walked.found
    is_read = any(path in hidden for path in found)
    return _Walked(found, array, None if is_read else array)


def _list_of(array: pa.Array, at: str) -> tuple[pa.Array, list[tuple[int, int | None]]]:
    """The items of all lists, and the first place and the length of each list; None for a null."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        array = array.cast(pa.large_list(kind.value_type))
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise TypeError(f"Expected a list, found `{kind}` - at `{at}`")
    lengths: list[Any] = pc.list_value_length(array).to_pylist()
    return array.values, list(zip(array.offsets.to_pylist(), lengths, strict=False))


def _hint(kind: pa.DataType, at: str) -> str:
    return f": write `{at}[]` for each item" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else ""
