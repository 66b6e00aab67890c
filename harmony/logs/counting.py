"""Counts a piece of a log. Completions are parsed; conversations and what `harmony parse` wrote are taken as they are.

It also finds the values by which records are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.arrow import flat
from harmony.columns.constants import integers
from harmony.errors import RecordError
from harmony.logs.completions import Tally, tally_of
from harmony.logs.parsed import Held, batch_of, first_rows, held_in, may_hold, rows_held, tally_of_held
from harmony.logs.paths import Plan, steps_of
from harmony.logs.reading import RecordReader, plan_of
from harmony.logs.records import BadRecord, read_records
from harmony.logs.table_paths import take
from harmony.stats.batches import codes_of, conversations_of
from harmony.stats.groups import GroupedStats, Key, key_of

if TYPE_CHECKING:
    from harmony.logs.convert import Task
    from harmony.logs.walk_py import Step

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def count_piece(task: Task, data: bytes | pa.RecordBatch, first: int, too_long: int) -> tuple[GroupedStats, Tally]:
    """Counts a piece. The arguments after `task` are those of `Task.do`."""
    if isinstance(data, bytes):
        return _of_lines(task, data, first, too_long)
    return _of_rows(task, data, first)


def _of_lines(task: Task, data: bytes, first: int, too_long: int) -> tuple[GroupedStats, Tally]:
    stats, tally = GroupedStats(grouped=task.by is not None), Tally()
    if may_hold(data):
        data, records = _without_parsed(task, data, first)
        if records:
            held = [each for each, _ in records]
            _add_held(stats, task, held, [fields for _, fields in records])
            stats.parsed = len(held)
            tally += tally_of_held(held)
    reader = RecordReader(task.layout, task.max_record_size, conversations=True)
    read = reader.lines(data, first, too_long)
    conversations = read.conversations
    if len(conversations) < len(read.numbers) or not read.numbers:
        parsed = task.parsed(read)
        batch, lengths, whole = flat(parsed.columns), parsed.lengths, parsed.whole
        own = task.with_hints(parsed.tally(), read, parsed.columns)
        if conversations:
            kept = [index for index in range(len(lengths)) if index not in conversations]
            batch = _only(batch, kept, len(lengths))
            lengths, whole = [lengths[index] for index in kept], [whole[index] for index in kept]
            own.records = len(kept)
        stats.fields = stats.fields or list(whole[0] if whole else ())
        stats.add(batch, lengths, _keys(task, whole))
        tally += own
    if conversations:
        held = [Held.of_conversation(conversation) for conversation in conversations.values()]
        _add_held(stats, task, held, [read.whole[index] for index in conversations])
        stats.conversations = len(held)
        tally += tally_of_held(held)
    return stats, tally


def _without_parsed(task: Task, data: bytes, first: int) -> tuple[bytes, list[tuple[Held, Mapping[str, msgspec.Raw]]]]:
    """The lines, with an empty one in the place of each that `harmony parse` wrote; and these records."""
    lines = data.split(b"\n")
    found: list[tuple[Held, Mapping[str, msgspec.Raw]]] = []
    for record in read_records(data, first):
        if not isinstance(record, BadRecord):
            held = held_in(record.fields, task.layout.into)
            if held is not None:
                found.append((held, record.fields))
                lines[record.number - first] = b""
    return b"\n".join(lines), found


def _only(batch: pa.RecordBatch, kept: Sequence[int], count: int) -> pa.RecordBatch:
    """The rows of these conversations, among `count` that are numbered from 0."""
    marks = [0] * count
    for index in kept:
        marks[index] = 1
    chosen = pc.not_equal(integers(marks), integers([0])[0])
    return batch.filter(chosen.take(batch.column("conversation")))


def _add_held(stats: GroupedStats, task: Task, held: list[Held], whole: Sequence[Mapping[str, Any]]) -> None:
    stats.fields = stats.fields or list(whole[0])
    stats.add(batch_of(held), None, _keys(task, whole))


def _keys(task: Task, whole: Sequence[Mapping[str, Any]]) -> list[Key] | None:
    if task.by is None:
        return None
    steps = steps_of(task.by)
    return [_key_at(fields, steps) for fields in whole]


def _key_at(fields: Mapping[str, Any], steps: Sequence[Step]) -> Key:
    """The key of the value in a record; None if there is none.

    Of each list that `[]` stands for, the record has only the item of its completion.
    """
    value: Any = fields
    try:
        for step in steps:
            if isinstance(value, msgspec.Raw):
                value = (_OBJECT if isinstance(step, str) else _LIST).decode(value)
            if isinstance(step, str):
                value = value[step]
            elif step is None and len(value) != 1:  # a bad record, which was not taken apart
                return None
            else:
                value = value[step or 0]
    except (msgspec.DecodeError, LookupError, TypeError):
        return None
    return _key_of_raw(bytes(value)) if isinstance(value, msgspec.Raw) else _key_of_raw(msgspec.json.encode(value))


@lru_cache(1 << 10)
def _key_of_raw(written: bytes) -> str:
    return key_of(msgspec.json.decode(written))


def _of_rows(task: Task, data: pa.RecordBatch, first: int) -> tuple[GroupedStats, Tally]:
    stats = GroupedStats(grouped=task.by is not None)
    stats.fields = list(data.schema.names)
    written = rows_held(data, task.layout.into)
    if written is not None:
        starts = first_rows(data, task.layout.into)
        keys = _keys_of_rows(task, data)
        stats.add(written, None, keys and (keys if starts is None else [keys[row] for row in starts]))
        tally = _tally_of_rows(written)
        stats.parsed = tally.records
        return stats, tally
    names = plan_of(task.layout.names)[1]
    rows = RecordReader(task.layout).taken(data, first)
    if names.messages in rows.found and not any(path in rows.found for path in names.completions()):
        return _of_conversations(task, data, first, stats)
    rows, _, read = task.rows_of_table(data, first)
    columns = task.parsed(read, threads=task.threads).columns
    stats.add(flat(columns), read.lengths, _keys_of_rows(task, rows.whole))
    tally = tally_of(columns, read.lengths, rows.numbers, "row", data.schema.names)
    return stats, task.with_hints(tally, read, columns)


def _of_conversations(task: Task, data: pa.RecordBatch, first: int, stats: GroupedStats) -> tuple[GroupedStats, Tally]:
    reader = RecordReader(task.layout, task.max_record_size, passing=False, conversations=True)
    read, rows = reader.rows(data, first), reader.taken(data, first)
    held = []
    for index in range(len(read.numbers)):
        if index in read.conversations:
            held.append(Held.of_conversation(read.conversations[index]))
        else:
            error = read.sources.elsewhere[index]
            assert isinstance(error, RecordError)  # a row without a conversation has nothing else
            held.append(Held.of_error(error))
    stats.add(batch_of(held), None, _keys_of_rows(task, rows.whole))
    stats.conversations = len(held)
    return stats, tally_of_held(held)


def _keys_of_rows(task: Task, batch: pa.RecordBatch) -> list[Key] | None:
    """The keys of the values in some rows, one for each completion."""
    if task.by is None:
        return None
    steps = steps_of(task.by)
    nothing: list[Key] = [None] * len(batch)
    if steps[0] not in batch.schema.names:
        return nothing
    column = take(batch.select([steps[0]]), Plan([task.by]), ()).found.get(task.by)
    return nothing if column is None else [key_of(value) for value in column.to_pylist()]


def _tally_of_rows(rows: pa.RecordBatch) -> Tally:
    columns = {name: rows.column(name) for name in rows.schema.names}
    starts, _ = conversations_of(columns)
    errors = columns["error"].take(starts)
    diagnostics = columns["diagnostics"].take(starts).flatten()
    there = columns["message"].is_valid()
    bad = errors.filter(errors.is_valid())
    first_error = bad[0].as_py().get("message") if len(bad) else None
    return Tally(
        records=len(starts),
        messages=there.true_count,
        errors=dict(codes_of(bad)),
        diagnostics=dict(codes_of(diagnostics)),
        first_error=first_error,
    )
