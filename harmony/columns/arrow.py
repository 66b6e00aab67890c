"""Makes Arrow data of Columns. Buffers are used without a copy; values of a conversation are given to its rows."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.constants import strings
from harmony.columns.engine import bits_of_rows, validity
from harmony.columns.rows import CODED, END_VALUES, Columns
from harmony.errors import Diagnostic, RecordError

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The most bytes that are repeated at a time: an array holds at most 2 GiB, and memory is limited too.
_MOST_REPEATED: Final = 1 << 26

# The most values of a dictionary that is remembered.
_SHORT: Final = 16

_CODED: Final = pa.dictionary(pa.int32(), pa.string())
_FINDING: Final = pa.struct([("code", pa.string()), ("message", pa.string()), ("position", pa.int64())])
_FINDINGS: Final = pa.list_(_FINDING)
_NO_FINDINGS: Final = pa.nulls(0, _FINDING)


def changed(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Applies `change` to the type, or to all innermost types inside it."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(changed(field.type, change)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(changed(kind.value_type, change)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(changed(kind.value_type, change)), kind.list_size)
    if pa.types.is_map(kind):
        fields = [field.with_type(changed(field.type, change)) for field in (kind.key_field, kind.item_field)]
        return pa.map_(*fields, kind.keys_sorted)
    return change(kind)


def without_dictionary(kind: pa.DataType) -> pa.DataType:
    """The type with plain values instead of dictionaries, also inside lists and structs."""
    return changed(kind, lambda found: found.value_type if pa.types.is_dictionary(found) else found)


class OutputColumn(NamedTuple):
    """A column of the output: its name, its type, and its meaning in words."""

    name: str
    type: pa.DataType
    meaning: str


class MessageColumn(NamedTuple):
    """A column about messages. `fill` makes it from the builder's columns and the message numbers."""

    name: str
    type: pa.DataType
    meaning: str
    fill: Callable[[Columns, pa.Array], pa.Array]


def _field_of_header(name: str) -> Callable[[Columns, pa.Array], pa.Array]:
    place = CODED.index(name)
    return lambda columns, message: _coded(getattr(columns, name), columns.values[place])


def _content(columns: Columns, message: pa.Array) -> pa.Array:
    buffers = [message.buffers()[0], pa.py_buffer(columns.offsets), pa.py_buffer(columns.content)]
    return pa.Array.from_buffers(pa.large_string(), len(message), buffers)


#: The columns of the output. SCHEMA and NESTED_SCHEMA are made of these, and fields of a log cannot have these names.
OF_ROW: Final = (
    OutputColumn("conversation", pa.int64(), "the number of the completion, from 0"),
    OutputColumn("message", pa.int32(), "the number of the message in its completion, from 0"),
)
OF_MESSAGE: Final = (
    MessageColumn("role", _CODED, "who speaks", _field_of_header("role")),
    MessageColumn("name", _CODED, "the name of the author, such as that of a tool", _field_of_header("name")),
    MessageColumn("recipient", _CODED, "to whom the message goes, such as a tool", _field_of_header("recipient")),
    MessageColumn("channel", _CODED, "such as analysis, commentary or final", _field_of_header("channel")),
    MessageColumn("content_type", _CODED, "such as `<|constrain|>json`", _field_of_header("content_type")),
    MessageColumn("content", pa.large_string(), "the text", _content),
    MessageColumn(
        "content_tokens",
        pa.int32(),
        "how many tokens the text has; null where a completion was given as text",
        lambda columns, message: _with_nulls(columns.content_tokens),
    ),
    MessageColumn(
        "stop",
        _CODED,
        "what ended the message: end, call or return; null where nothing did",
        lambda columns, message: _coded(columns.end, END_VALUES),
    ),
)
OF_CONVERSATION: Final = (
    OutputColumn("complete", pa.bool_(), "whether the completion ended between messages"),
    OutputColumn("diagnostics", _FINDINGS, "what was repaired: a code, a sentence and a position each"),
    OutputColumn("error", _FINDING, "why the completion could not be parsed; null where it could"),
)


def _fields(columns: Iterable[OutputColumn | MessageColumn]) -> list[tuple[str, pa.DataType]]:
    return [(column.name, column.type) for column in columns]


#: Each message is a row. A conversation without a message has one row, in which the columns of messages are null. The
#: columns about the conversation are the same in all of its rows; only `diagnostics` stands in the first one alone.
SCHEMA: Final = pa.schema(_fields([*OF_ROW, *OF_MESSAGE, *OF_CONVERSATION]))
#: Each conversation is a row.
NESTED_SCHEMA: Final = pa.schema(
    [
        ("messages", pa.list_(pa.struct([(name, without_dictionary(kind)) for name, kind in _fields(OF_MESSAGE)]))),
        *_fields(OF_CONVERSATION),
    ]
)


def flat(columns: Columns) -> pa.RecordBatch:
    """One row for each message, with the columns of SCHEMA. `columns` must have bare rows."""
    return pa.RecordBatch.from_arrays(_flat(columns), schema=SCHEMA)


def _flat(columns: Columns) -> list[pa.Array]:
    conversation = _numbers(columns.conversation, pa.int64())
    message = _with_nulls(columns.message)
    return [conversation, message, *_of_message(columns, message), *_of_rows(columns, conversation)]


def nested(columns: Columns) -> pa.RecordBatch:
    """One row for each conversation, with the columns of NESTED_SCHEMA. `columns` must have no bare rows."""
    fields = NESTED_SCHEMA.field("messages").type.value_type
    message = _numbers(columns.message, pa.int32())
    arrays = [array.cast(field.type) for array, field in zip(_of_message(columns, message), list(fields), strict=True)]
    rows = _numbers(columns.rows, pa.int64()).cast(pa.int32())
    messages = pa.ListArray.from_arrays(rows, pa.StructArray.from_arrays(arrays, fields=list(fields)))
    return pa.RecordBatch.from_arrays([messages, *_of_conversation(columns)], schema=NESTED_SCHEMA)


def flat_beside(kept: pa.RecordBatch, columns: Columns, schema: pa.Schema, before: int) -> Iterator[pa.RecordBatch]:
    """`repeated(kept, flat(columns), before)`, with the schema of both. It makes fewer objects on the way."""
    return _repeated(kept, _flat(columns), schema, before)


def repeated(kept: pa.RecordBatch, rows: pa.RecordBatch, before: int = 0) -> Iterator[pa.RecordBatch]:
    """The rows with the kept columns of their conversations, some rows at a time, because that can be much data.

    `rows` have the columns of SCHEMA or of NESTED_SCHEMA, or the same ones without dictionaries. `before` is the number
    of conversations before these.
    """
    schema = pa.schema([*kept.schema, *rows.schema])
    if "conversation" not in rows.schema.names:  # nested: each conversation has one row
        return iter([pa.RecordBatch.from_arrays([*kept.columns, *rows.columns], schema=schema)])
    return _repeated(kept, rows.columns, schema, before)


def _repeated(kept: pa.RecordBatch, rows: list[pa.Array], schema: pa.Schema, before: int) -> Iterator[pa.RecordBatch]:
    """`rows` are the columns of SCHEMA, of which the first two are `conversation` and `message`."""
    count = len(rows[0])
    for start, stop in _bounded(kept, *rows[:2]):
        some = rows if stop - start == count else [column.slice(start, stop - start) for column in rows]
        conversation = some[0]
        # Each conversation has a row. So if there are no more rows, each has just one.
        beside = kept.columns if count == len(kept) else [pc.take(column, conversation) for column in kept.columns]
        numbers = pc.add(conversation, before) if before else conversation
        yield pa.RecordBatch.from_arrays([*beside, numbers, *some[1:]], schema=schema)


def _bounded(kept: pa.RecordBatch, conversation: pa.Array, message: pa.Array) -> Iterator[tuple[int, int]]:
    """Ranges of rows that repeat at most _MOST_REPEATED bytes each. A row that repeats more is alone."""
    waiting = [(0, len(kept), 0, len(message))]  # ranges of conversations, and their rows
    while waiting:
        first, last, start, stop = waiting.pop()
        size = kept.slice(first, last - first).nbytes
        most = stop - start
        if size * most > _MOST_REPEATED and last - first > 1:  # no conversation has more messages than the longest
            most = 1 + (pc.max(message.slice(start, stop - start)).as_py() or 0)
        if size * most <= _MOST_REPEATED:
            yield start, stop
        elif last - first == 1:
            step = max(1, _MOST_REPEATED // size)
            yield from ((place, min(place + step, stop)) for place in range(start, stop, step))
        else:
            half = (first + last) // 2
            place = bisect_left(range(start, stop), half, key=lambda row: conversation[row].as_py()) + start
            waiting += [(half, last, place, stop), (first, half, start, place)]


def under(batch: pa.RecordBatch, first: int, name: str) -> pa.RecordBatch:
    """The batch with all columns from number `first` on as one column of structs."""
    inside = batch.select(list(range(first, batch.num_columns)))
    column = pa.StructArray.from_arrays(inside.columns, fields=list(inside.schema))
    fields = [*(batch.schema.field(place) for place in range(first)), pa.field(name, column.type)]
    return pa.RecordBatch.from_arrays([*batch.columns[:first], column], schema=pa.schema(fields))


def without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with strings instead of dictionaries. An Arrow file can have only one dictionary for all batches."""
    return batch.cast(pa.schema([pa.field(field.name, without_dictionary(field.type)) for field in batch.schema]))


def _of_message(columns: Columns, message: pa.Array) -> list[pa.Array]:
    """The columns of OF_MESSAGE."""
    return [column.fill(columns, message) for column in OF_MESSAGE]


def _of_conversation(columns: Columns) -> list[pa.Array]:
    """The columns of OF_CONVERSATION, one value for each conversation."""
    complete = _numbers(columns.complete, pa.uint8()).cast(pa.bool_())
    count = len(complete)
    return [complete, _diagnostics(columns, range(count), count), _errors(columns, count)]


def _of_rows(columns: Columns, conversation: pa.Array) -> list[pa.Array]:
    """The columns of OF_CONVERSATION for all rows. `diagnostics` can be large, so only the first row has them."""
    complete = pa.py_buffer(bits_of_rows(columns.complete, columns.conversation))
    first_rows = memoryview(columns.rows).cast("B").cast("q")
    return [
        pa.Array.from_buffers(pa.bool_(), len(conversation), [None, complete], 0),
        _diagnostics(columns, first_rows, len(conversation)),
        _errors(columns, len(conversation), conversation),
    ]


def _diagnostics(columns: Columns, rows: Sequence[int], count: int) -> pa.Array:
    """The diagnostics of each conversation in its row, among `count` rows; the others have none."""
    offsets = array("i", bytes(4 * count + 4))
    found: list[Diagnostic] = []
    for index, some in sorted(columns.diagnostics.items()):
        offsets[rows[index] + 1] = len(some)
        found += some
    if not found:
        return pa.Array.from_buffers(_FINDINGS, count, [None, pa.py_buffer(offsets)], 0, children=[_NO_FINDINGS])
    return pa.ListArray.from_arrays(pc.cumulative_sum(_numbers(offsets, pa.int32())), findings(found))


def _errors(columns: Columns, count: int, conversation: pa.Array | None = None) -> pa.Array:
    """The error of each conversation, or of the conversation of each of `count` rows."""
    if not columns.errors:
        return pa.nulls(count, _FINDING)
    places = array("i", bytes(4 * memoryview(columns.complete).nbytes))  # 0: no error
    for place, index in enumerate(columns.errors, 1):
        places[index] = place
    taken = _numbers(places, pa.int32())
    if conversation is not None:
        taken = pc.take(taken, conversation, boundscheck=False)
    return findings([None, *columns.errors.values()]).take(taken)


def findings(found: Sequence[Diagnostic | RecordError | None]) -> pa.Array:
    """An array of faults, as structs."""
    there = _validity(array("i", (-(one is None) for one in found)))
    positions = [-1 if one is None or one.position is None else one.position for one in found]
    known = _validity(array("i", (-(position < 0) for position in positions)))
    children = [
        strings(["" if one is None else one.code for one in found], pa.string(), there),
        strings(["" if one is None else one.message for one in found], pa.string(), there),
        pa.Array.from_buffers(pa.int64(), len(found), [known, pa.py_buffer(array("q", positions))]),
    ]
    return pa.Array.from_buffers(_FINDING, len(found), [there], children=children)


def _numbers(buffer: Buffer, kind: pa.DataType) -> pa.Array:
    data = pa.py_buffer(buffer)
    return pa.Array.from_buffers(kind, data.size * 8 // kind.bit_width, [None, data])


def _coded(codes: Buffer, values: Sequence[str]) -> pa.Array:
    """An array of the values with these codes, which need no check. Negative codes become null."""
    dictionary = _short_dictionary(tuple(values)) if len(values) <= _SHORT else strings(values, pa.string())
    data = pa.py_buffer(codes)
    return pa.DictionaryArray.from_buffers(_CODED, data.size // 4, [_validity(codes), data], dictionary)


@lru_cache(256)
def _short_dictionary(values: tuple[str, ...]) -> pa.Array:
    """The values as an array. Most batches have the same few roles and channels, and an array takes long to make."""
    return strings(values, pa.string())


def _with_nulls(numbers: Buffer) -> pa.Array:
    """An int32 array. Negative numbers become null."""
    data = pa.py_buffer(numbers)
    return pa.Array.from_buffers(pa.int32(), data.size // 4, [_validity(numbers), data])


def _validity(numbers: Buffer) -> pa.Buffer | None:
    bits = validity(numbers)
    return bits and pa.py_buffer(bits)
