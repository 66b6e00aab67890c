"""Logs as columns for a search: completions, conversations, and what `harmony parse` wrote, in lines and in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.arrow import flat, without_dictionaries
from harmony.columns.passed import values_of
from harmony.errors import RecordError
from harmony.logs.inputs import Piece, Reader
from harmony.logs.paths import INDEX
from harmony.logs.reading import RecordReader, plan_of
from harmony.logs.records import ID_FIELDS, Layout, id_of, own_of
from harmony.logs.search import HEADER, Part
from harmony.logs.unparsed import Unparsed
from harmony.messages.model import Message, TextContent
from harmony.messages.roles import ROLES
from harmony.rendering.sections import part_text

_STRING: Final = pa.string()
_SCHEMA: Final = pa.schema(
    [("conversation", pa.int64()), ("message", pa.int32())]
    + [(name, _STRING) for name in HEADER]
    + [("content", pa.large_string())]
)
_OF_MESSAGES: Final = frozenset((*HEADER, "content", "content_tokens", "stop", "end"))
_FLAT: Final = frozenset(("conversation", "message", "role", "content"))
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Place(NamedTuple):
    """The one record that is searched, by its number or by its id; None for all."""

    number: int | None = None
    id: str | None = None

    def is_all(self) -> bool:
        """Whether all records are searched."""
        return self.number is None and self.id is None

    def fits(self, number: int, identity: Callable[[], Any]) -> bool:
        """Whether this is the record. Its id is asked for only if it counts."""
        if self.number is not None and number != self.number:
            return False
        return self.id is None or _written(identity()) == self.id


def _written(identity: Any) -> str | None:
    if identity is None or isinstance(identity, str):
        return identity
    return msgspec.json.encode(identity).decode()


def parts(name: str, layout: Layout, place: Place, most: int) -> Iterator[Part]:
    """The messages of a file, piece by piece. Raises Unreadable, TypeError and ValueError."""
    reader = Reader([name], full=name != "-", most=most)
    held: pa.RecordBatch | None = None
    for piece in reader:
        if isinstance(piece.data, bytes):
            if place.number is not None and place.number < piece.first:
                return
            if place.number is None or place.number < piece.after.number:
                yield _of_lines(piece, layout, place, most)
            continue
        batch = _opened(piece.data, layout.into)
        if _FLAT.issubset(batch.schema.names):
            whole, held = _held_back(batch, held)
            if len(whole):
                yield _of_flat_rows(whole, place)
        else:
            yield _of_rows(piece, batch, layout, place, most)
    if held is not None and len(held):
        yield _of_flat_rows(held, place)


# Lines


def _of_lines(piece: Piece, layout: Layout, place: Place, most: int) -> Part:
    data = piece.data
    assert isinstance(data, bytes)
    lines: list[bytes] = []

    def line(number: int) -> bytes:
        if not lines:
            lines.extend(data.split(b"\n"))
        found = lines[number - piece.first]
        return (found.removeprefix(b"\xef\xbb\xbf") if number == 1 else found) + b"\n"

    some = data
    if not place.is_all():
        count = data.count(b"\n") + (not data.endswith(b"\n"))
        chosen = (line(number) for number in range(piece.first, piece.first + count))
        some = b"".join(
            found if place.fits(number, partial(_id_of_line, found)) else b"\n"
            for number, found in enumerate(chosen, piece.first)
        )
    if layout.into is not None and layout.names.messages == "messages":
        quoted = '"{}"'.format(layout.into.replace("\\", "\\\\").replace('"', '\\"'))
        path = f"{layout.into if layout.into.isidentifier() else quoted}.messages"
        layout = msgspec.structs.replace(layout, names=msgspec.structs.replace(layout.names, messages=path))
    is_whole = place.is_all() or place.number == piece.first
    reader = RecordReader(layout, most, conversations=True)
    read = reader.lines(some, piece.first, piece.too_long if is_whole else 0)
    own = [own_of(fields, layout.into) for fields in read.fields]
    part = _of_unparsed(read, layout, own)
    return part._replace(
        id_of=lambda index: id_of(read.fields[index]),
        index_of=lambda index: read.fields[index].get(INDEX),
        record_of=lambda index: line(read.numbers[index]),
    )


def _id_of_line(line: bytes) -> Any:
    try:
        return id_of(_FIELDS.decode(line))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None


def _of_unparsed(read: Unparsed, layout: Layout, own: Sequence[Mapping[str, Any]]) -> Part:
    """The messages of completions, which are parsed, and of conversations. `own` is what the log says of them."""
    count, conversations = len(read.numbers), read.conversations
    complete: list[bool | None] = [None] * count
    codes: list[tuple[int, str]] = []
    errors: dict[int, Mapping[str, Any]] = {}
    unread: dict[int, RecordError] = {
        index: error for index, error in read.sources.elsewhere.items() if isinstance(error, RecordError)
    }
    batches = []
    if len(conversations) + len(unread) < count:
        columns = read.parse(strict=False, stripped=layout.stripped, bare=True).columns
        rows = without_dictionaries(flat(columns).select(_SCHEMA.names))
        if conversations:
            others = pc.invert(pc.is_in(rows.column("conversation"), pa.array(conversations, pa.int64())))
            rows = rows.filter(others)
        batches.append(rows)
        unread = {index: error for index, error in columns.errors.items() if index not in conversations}
        complete = [bool(flag) for flag in memoryview(columns.complete).cast("B")]
        codes = [(index, each.code) for index, some in columns.diagnostics.items() for each in some]
    else:
        batches.append(_bare(list(unread)))
    objects: dict[tuple[int, int], Message] = {}
    if conversations:
        batches.append(_of_conversations(conversations, objects))
    for index, said in enumerate(own):
        if index in conversations:
            complete[index] = said.get("complete") if isinstance(said.get("complete"), bool) else None
            codes += [(index, code) for code in _codes(said.get("diagnostics"))]
        if isinstance(error := said.get("error"), dict) and isinstance(error.get("code"), str):
            errors[index] = error
            if said.get("complete") is False:
                unread.pop(index, None)  # it was told before
    errors |= {index: msgspec.to_builtins(error) for index, error in unread.items() if index not in errors}
    rows = _joined(batches)

    def message_of(row: int) -> Mapping[str, Any] | None:
        message = objects.get((rows.column("conversation")[row].as_py(), rows.column("message")[row].as_py()))
        return None if message is None else message.to_dict()

    repairs = [index for index, _ in codes], [code for _, code in codes]
    flags = pa.array(complete, pa.bool_())
    return Part(rows, read.numbers, flags, repairs, errors, unread, _no, _no, message_of, lambda index: b"")


def _no(index: int) -> None:
    return None


def _codes(diagnostics: Any) -> list[str]:
    if not isinstance(diagnostics, list):
        return []
    return [each["code"] for each in diagnostics if isinstance(each, dict) and isinstance(each.get("code"), str)]


def _bare(indices: Sequence[int]) -> pa.RecordBatch:
    nulls = [pa.nulls(len(indices), field.type) for field in list(_SCHEMA)[1:]]
    return pa.RecordBatch.from_arrays([pa.array(indices, pa.int64()), *nulls], schema=_SCHEMA)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of all batches in the order of their records."""
    batches = [batch for batch in batches if len(batch)] or [_bare([])]
    if len(batches) == 1:
        return batches[0].cast(_SCHEMA)
    table = pa.Table.from_batches([batch.cast(_SCHEMA) for batch in batches])
    table = table.sort_by([("conversation", "ascending"), ("message", "ascending")])
    return table.combine_chunks().to_batches()[0]


def _of_conversations(found: Mapping[int, Any], objects: dict[tuple[int, int], Message]) -> pa.RecordBatch:
    """The messages of conversations. `objects` gets those that are more than one text."""
    rows: list[tuple[Any, ...]] = []
    for index, conversation in found.items():
        for number, message in enumerate(conversation.messages):
            author, content = message.author, message.content
            header = (author.role.value, author.name, message.recipient, message.channel, message.content_type)
            if len(content) == 1 and type(content[0]) is TextContent:
                text = content[0].text
            else:
                text = "".join(map(part_text, content))
                objects[index, number] = message
            rows.append((index, number, *header, text.encode(errors="replace").decode()))
        if not conversation.messages:
            rows.append((index, *[None] * (len(_SCHEMA) - 1)))
    columns: Any = zip(*rows, strict=True) if rows else [[]] * len(_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


# Tables


def _opened(batch: pa.RecordBatch, into: str | None) -> pa.RecordBatch:
    """The batch with the columns of the struct `into` beside the others, if it has that."""
    if into is None or into not in batch.schema.names or not pa.types.is_struct(batch.schema.field(into).type):
        return batch
    column = batch.column(into)
    names = [field.name for field in column.type]
    kept = [name for name in batch.schema.names if name != into and name not in names]
    return pa.RecordBatch.from_arrays(
        [*(batch.column(name) for name in kept), *column.flatten()], names=[*kept, *names]
    )


def _held_back(batch: pa.RecordBatch, held: pa.RecordBatch | None) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows of the conversations that are certainly whole, and the rows of the last one."""
    if held is not None and len(held):
        batch = pa.Table.from_batches([held, batch]).combine_chunks().to_batches()[0]
    conversation = batch.column("conversation")
    others = pc.indices_nonzero(pc.not_equal(conversation, conversation[-1]).fill_null(True)) if len(batch) else []
    end = others[-1].as_py() + 1 if len(others) else 0
    return batch.slice(0, end), batch.slice(end)


def _of_flat_rows(batch: pa.RecordBatch, place: Place) -> Part:
    """The messages of a table that has a row for each of them."""
    runs = pc.run_end_encode(batch.column("conversation").cast(pa.int64()))
    values, ends = runs.values.to_pylist(), runs.run_ends.to_pylist()
    starts = [0, *ends[:-1]]
    numbers = [-1 if value is None else value + 1 for value in values]
    owner = pa.array([index for index, (a, b) in enumerate(zip(starts, ends, strict=True)) for _ in range(a, b)])
    firsts = batch.take(pa.array(starts, pa.int64()))
    rows = _as_rows(batch, owner.cast(pa.int64()), batch.column("message"))

    def record_of(index: int) -> bytes:
        return _joined_record(batch.slice(starts[index], ends[index] - starts[index]))

    return _placed(_told(rows, numbers, firsts, record_of), place)


def _joined_record(batch: pa.RecordBatch) -> bytes:
    """The record that a conversation was, as `harmony parse` writes it into lines."""
    values, _ = values_of(batch)
    own = ("conversation", "message", *_OF_MESSAGES, "complete", "diagnostics", "error")
    header = ("role", "name", "content", "channel", "recipient", "content_type")
    messages = []
    for each in values:
        if each.get("message") is not None:
            found = {name: each.get(name) for name in header if name in ("role", "name") or each.get(name) is not None}
            messages.append({**found, "content": [{"type": "text", "text": each.get("content") or ""}]})
    added = {name: values[0].get(name) for name in ("complete", "diagnostics", "error")}
    kept = {name: value for name, value in values[0].items() if name not in own}
    added["diagnostics"] = added["diagnostics"] or None
    return msgspec.json.encode({**kept, "messages": messages, **added}) + b"\n"


def _as_rows(batch: pa.RecordBatch, conversation: pa.Array, message: pa.Array) -> pa.RecordBatch:
    names = batch.schema.names
    arrays = [conversation, message.cast(pa.int32())]
    for field in list(_SCHEMA)[2:]:
        found = batch.column(field.name) if field.name in names else pa.nulls(len(batch), field.type)
        arrays.append(found.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _told(
    rows: pa.RecordBatch, numbers: Sequence[int], batch: pa.RecordBatch, record_of: Callable[[int], bytes]
) -> Part:
    """The part for rows of messages, where `batch` has a row for each record, with what is said of it."""
    names, count = batch.schema.names, len(numbers)
    said: dict[str, list[Any]] = {
        name: batch.column(name).to_pylist() for name in ("complete", "diagnostics", "error") if name in names
    }
    nothing: list[Any] = [None] * count
    complete = [each if isinstance(each, bool) else None for each in said.get("complete", nothing)]
    codes = [(index, code) for index, each in enumerate(said.get("diagnostics", nothing)) for code in _codes(each)]
    found = enumerate(said.get("error", nothing))
    errors = {index: each for index, each in found if isinstance(each, dict) and isinstance(each.get("code"), str)}
    repairs = [index for index, _ in codes], [code for _, code in codes]
    flags = pa.array(complete, pa.bool_())
    return Part(rows, numbers, flags, repairs, errors, {}, _ids(batch), _no, _no, record_of)


def _ids(batch: pa.RecordBatch) -> Callable[[int], Any]:
    columns = [batch.column(name) for name in ID_FIELDS if name in batch.schema.names]
    return lambda index: next((found for column in columns if (found := column[index].as_py()) is not None), None)


def _of_rows(piece: Piece, batch: pa.RecordBatch, layout: Layout, place: Place, most: int) -> Part:
    whole = piece.data
    assert not isinstance(whole, bytes)
    numbers: Sequence[int] = range(piece.first, piece.first + len(batch))
    places_in_whole: Sequence[int] = range(len(batch))

    def record_of(index: int) -> bytes:
        row = whole.slice(places_in_whole[index], 1)
        return msgspec.json.encode(values_of(row)[0][0]) + b"\n"

    if not place.is_all():
        ids = _ids(batch)
        kept = [row for row, number in enumerate(numbers) if place.fits(number, partial(ids, row))]
        batch, numbers = batch.take(pa.array(kept, pa.int64())), [numbers[row] for row in kept]
        places_in_whole = kept
    _, names = plan_of(layout.names)
    if names.messages in batch.schema.names and not any(path in batch.schema.names for path in names.completions()):
        rows = _of_lists(batch.column(names.messages))
        if rows is not None:
            return _told(rows, numbers, batch, record_of)
    read = RecordReader(layout, most, passing=False, conversations=True).rows(batch, 1)
    places = [number - 1 for number in read.numbers]
    said = _told(_bare([]), numbers, batch, record_of)
    own: list[dict[str, Any]] = [{"complete": None} for _ in numbers]
    for index, flag in enumerate(said.complete.to_pylist()):
        own[index] = {"complete": flag, "error": said.errors.get(index)}
    for index, code in zip(*said.repairs, strict=True):
        own[index].setdefault("diagnostics", []).append({"code": code})
    part = _of_unparsed(read, layout, [own[row] for row in places])
    inside = {number: [row for row, _ in each] for number, each in groupby(enumerate(places), lambda pair: pair[1])}
    return part._replace(
        numbers=[numbers[row] for row in places],
        id_of=lambda index: said.id_of(places[index]),
        index_of=lambda index: inside[places[index]].index(index) if len(places) > len(numbers) else None,
        record_of=lambda index: record_of(places[index]),
    )


def _of_lists(column: pa.Array) -> pa.RecordBatch | None:
    """The messages of a column of lists, as rows; None if they are not all plain messages of a text."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return None
    names = {field.name for field in kind.value_type}
    if not {"role", "content"} <= names <= _OF_MESSAGES:
        return None
    owner, items = pc.list_parent_indices(column).cast(pa.int64()), pc.list_flatten(column)
    inside = pa.RecordBatch.from_arrays(items.flatten(), names=[field.name for field in kind.value_type])
    if not pa.types.is_string(inside.schema.field("content").type) and not pa.types.is_large_string(
        inside.schema.field("content").type
    ):
        return None
    roles = pc.unique(inside.column("role")).to_pylist()
    if items.null_count or inside.column("content").null_count or not set(roles) <= ROLES:
        return None
    lengths = pc.list_value_length(column).fill_null(0).to_pylist()
    numbers = pa.array([number for length in lengths for number in range(length)], pa.int32())
    rows = _as_rows(inside, owner, numbers)
    empty = [index for index, length in enumerate(lengths) if not length]
    return _joined([rows, _bare(empty)]) if empty else rows


def _placed(part: Part, place: Place) -> Part:
    """The part with the rows of the one record that is searched."""
    if place.is_all():
        return part
    kept = [index for index, number in enumerate(part.numbers) if place.fits(number, partial(part.id_of, index))]
    mask = pc.is_in(part.rows.column("conversation"), pa.array(kept, pa.int64()))
    return part._replace(rows=part.rows.filter(mask))
