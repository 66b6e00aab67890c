"""Reads back what `harmony parse` wrote, and conversations, as batches of messages for counting.

Lines of JSON have no content tokens and do not say what ended a message, so both are unknown. Tables have both.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.constants import integers, strings
from harmony.columns.engine import validity
from harmony.errors import RecordError
from harmony.logs.choosing import joined_batches
from harmony.logs.completions import Tally
from harmony.logs.inputs import Piece, Unreadable
from harmony.messages.model import Conversation
from harmony.stats.batches import COLUMNS, first_rows_of, numbered

_OF_RECORD: Final = ("messages", "complete", "diagnostics", "error")
_MARK: Final = b'"diagnostics"'
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_COMPLETE: Final = msgspec.json.Decoder(bool)
_NULL: Final = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    role: str
    channel: str | None = None
    recipient: str | None = None
    # Messages of the Chat Completions API have these, and say with them what `channel` and `recipient` say.
    reasoning: msgspec.Raw = msgspec.Raw(b"")
    tool_calls: msgspec.Raw = msgspec.Raw(b"")


class _Fault(msgspec.Struct):
    code: str
    message: str = ""


_MESSAGES: Final = msgspec.json.Decoder(list[_Message] | None)
_FAULTS: Final = msgspec.json.Decoder(list[_Fault] | None)
_FAULT: Final = msgspec.json.Decoder(_Fault | None)


class Held(NamedTuple):
    """What a record holds: messages that need no parsing, or the error of the record."""

    messages: list[_Message]
    complete: bool
    diagnostics: list[_Fault]
    error: _Fault | None

    @classmethod
    def of_conversation(cls, conversation: Conversation) -> Held:
        """A conversation, which is complete."""
        messages = [
            _Message(message.author.role.value, message.channel, message.recipient) for message in conversation.messages
        ]
        return cls(messages, True, [], None)

    @classmethod
    def of_error(cls, error: RecordError) -> Held:
        """A record that cannot be read."""
        return cls([], False, [], _Fault(error.code, error.message))


def may_hold(data: bytes) -> bool:
    """Whether some lines may be what `harmony parse` wrote. It is quick."""
    return _MARK in data


def held_in(fields: Mapping[str, msgspec.Raw], into: str | None) -> Held | None:
    """What `harmony parse` wrote into a record; None if it did not write it."""
    try:
        if into is not None and into in fields:
            fields = _FIELDS.decode(fields[into])
        if not all(name in fields for name in _OF_RECORD):
            return None
        complete, error = _COMPLETE.decode(fields["complete"]), _FAULT.decode(fields["error"])
        diagnostics = _FAULTS.decode(fields["diagnostics"]) or []
        messages = _MESSAGES.decode(fields["messages"]) if error is None else []
    except msgspec.ValidationError:
        return None
    if messages is None or any(message.reasoning or message.tool_calls for message in messages):
        return None
    return Held(messages, complete, diagnostics, error)


def tally_of_held(held: Sequence[Held]) -> Tally:
    """The tally of some records. The numbers of their tokens are unknown."""
    errors = [each.error for each in held if each.error is not None]
    return Tally(
        records=len(held),
        messages=sum(len(each.messages) for each in held),
        errors=dict(Counter(error.code for error in errors)),
        diagnostics=dict(Counter(found.code for each in held for found in each.diagnostics)),
        first_error=errors[0].message if errors else None,
    )


def batch_of(held: Sequence[Held]) -> pa.RecordBatch:
    """The messages of some records, as rows for counting. Record `i` is conversation `i`."""
    rows: list[tuple[int, int, _Message | None, Held, bool]] = []
    for index, each in enumerate(held):
        rows += [(index, place, message, each, place == 0) for place, message in enumerate(each.messages)]
        if not each.messages:
            rows.append((index, -1, None, each, True))
    messages = [row[2] for row in rows]
    errors = [row[3].error for row in rows]
    faults = [row[3].diagnostics if row[4] else [] for row in rows]
    codes = strings([fault.code for found in faults for fault in found], pa.string())
    offsets = array("i", [0])
    for found in faults:
        offsets.append(offsets[-1] + len(found))
    fault = pa.struct([("code", pa.string())])
    there = _bits(error is not None for error in errors)
    columns = {
        "conversation": integers(row[0] for row in rows),
        "message": pa.Array.from_buffers(
            pa.int64(), len(rows), [_bits(row[1] >= 0 for row in rows), integers(row[1] for row in rows).buffers()[1]]
        ),
        "content_tokens": pa.nulls(len(rows), pa.int64()),
        "role": _names([None if message is None else message.role for message in messages]),
        "recipient": _names([None if message is None else message.recipient for message in messages]),
        "channel": _names([None if message is None else message.channel for message in messages]),
        "stop": pa.nulls(len(rows)),
        "complete": pc.not_equal(integers(row[3].complete for row in rows), integers([0])[0]),
        "diagnostics": pa.Array.from_buffers(
            pa.list_(fault),
            len(rows),
            [None, pa.py_buffer(offsets)],
            children=[pa.StructArray.from_arrays([codes], names=["code"])],
        ),
        "error": pa.Array.from_buffers(
            fault,
            len(rows),
            [there],
            children=[strings(["" if error is None else error.code for error in errors], pa.string())],
        ),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _bits(there: Iterable[bool]) -> pa.Buffer | None:
    bits = validity(array("i", [0 if each else -1 for each in there]))
    return bits and pa.py_buffer(bits)


def _names(values: Sequence[str | None]) -> pa.Array:
    return strings(
        ["" if value is None else value for value in values], pa.string(), _bits(value is not None for value in values)
    )


def rows_held(batch: pa.RecordBatch, into: str | None) -> pa.RecordBatch | None:
    """The rows for counting of a table that `harmony parse` wrote; None if it did not write it."""
    inside = _inside(batch, into)
    if set(COLUMNS) <= set(inside.schema.names):
        return inside.select(list(COLUMNS))
    if set(_OF_RECORD) <= set(inside.schema.names) and _is_nested(inside.schema.field("messages").type):
        return _unnested(inside)
    return None


def first_rows(batch: pa.RecordBatch, into: str | None) -> list[int] | None:
    """The first rows of the conversations of a table with a row for each message; None if it is no such table."""
    inside = _inside(batch, into)
    if not set(COLUMNS) <= set(inside.schema.names):
        return None
    rows: list[int] = first_rows_of(numbered(inside.column("conversation"))).to_pylist()
    return rows


def _inside(batch: pa.RecordBatch, into: str | None) -> pa.RecordBatch:
    if into is None or into not in batch.schema.names or not pa.types.is_struct(batch.schema.field(into).type):
        return batch
    column = batch.column(into)
    return pa.RecordBatch.from_arrays(column.flatten(), names=[field.name for field in column.type])


def _is_nested(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    names = {field.name for field in kind.value_type}
    return {"role", "recipient", "channel", "content_tokens", "stop"} <= names


def _unnested(inside: pa.RecordBatch) -> pa.RecordBatch:
    """One row for each message. A conversation without a message has one row, too."""
    lists = inside.column("messages")
    messages, parents = lists.flatten(), pc.list_parent_indices(lists).cast(pa.int64())
    bare = pc.indices_nonzero(pc.equal(pc.list_value_length(lists).fill_null(integers([0])[0].cast(pa.int32())), 0))
    conversation = pa.concat_arrays([parents, bare.cast(pa.int64())])
    order = pc.array_sort_indices(conversation)  # it is stable
    conversation = conversation.take(order)
    columns = {"conversation": conversation}
    for name in ("content_tokens", "role", "recipient", "channel", "stop"):
        column = pc.struct_field(messages, [name])
        columns[name] = pa.concat_arrays([column, pa.nulls(len(bare), column.type)]).take(order)
    numbers = pa.concat_arrays([integers(range(len(messages))), pa.nulls(len(bare), pa.int64())])
    columns["message"] = numbers.take(order)
    for name in ("complete", "diagnostics", "error"):
        columns[name] = inside.column(name).take(conversation)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def whole_conversations(pieces: Iterable[Piece], into: str | None) -> Iterator[Piece]:
    """The pieces, cut elsewhere where they are tables of messages, so that each holds whole conversations."""
    held: list[Piece] = []
    fault = None
    try:
        for piece in pieces:
            starts = None if isinstance(piece.data, bytes) else first_rows(piece.data, into)
            if held and (starts is None or _last(held[-1], into) != _number(piece, 0, into)):
                yield _together(held)
                held = []
            if not starts:
                yield piece
            elif len(starts) == 1:
                held.append(piece)
            else:
                assert not isinstance(piece.data, bytes)
                start = starts[-1]
                yield _together([*held, piece._replace(data=piece.data.slice(0, start))])
                held = [piece._replace(data=piece.data.slice(start), first=piece.first + start)]
    except Unreadable as error:
        fault = error
    if held:
        yield _together(held)
    if fault is not None:
        raise fault


def _number(piece: Piece, row: int, into: str | None) -> tuple[int, Any]:
    return piece.after.file, _inside(piece.data, into).column("conversation")[row].as_py()


def _last(piece: Piece, into: str | None) -> tuple[int, Any]:
    return _number(piece, len(piece.data) - 1, into)


def _together(pieces: Sequence[Piece]) -> Piece:
    return pieces[0]._replace(data=joined_batches([piece.data for piece in pieces]), after=pieces[-1].after)
