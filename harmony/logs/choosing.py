"""Chooses records of a log: the first ones, or a sample; and checks the path by whose values records are counted.

A sample is a reservoir: algorithm L of Kim-Hung Li, "Reservoir-sampling algorithms of time complexity
O(n(1 + log(N/n)))", ACM Transactions on Mathematical Software 20 (1994). It is drawn by a fixed seed over the numbers
of the records. So a log with as many records gives the same ones. Only the chosen records are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from math import exp, floor, log, log1p
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from harmony.errors import quote
from harmony.logs.inputs import BLOCK, ROWS, Piece, Unreadable
from harmony.logs.paths import Plan
from harmony.logs.places import Place

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.logs.records import Names

_SEED: Final = 0
_GAP: Final = 1_000  # lines that were not chosen, between two that stand in one piece

#: The first rows of the records of a table; None if each row is a record.
Starts: TypeAlias = "Callable[[pa.RecordBatch], Sequence[int] | None]"


class Choice(msgspec.Struct, frozen=True):
    """Which records of a log are read: the first `limit`, and of these a sample of size `sample`. None means all."""

    limit: int | None = None
    sample: int | None = None

    def is_all(self) -> bool:
        """Whether all records are read."""
        return self.limit is None and self.sample is None


class _Record(NamedTuple):
    """A record of a piece: the number of its line or first row, its bytes or rows, and its size if it is too long."""

    after: Place
    number: int
    data: bytes | pa.RecordBatch
    too_long: int = 0


def check_by(names: Names, path: str) -> None:
    """Raises ValueError for a path that does not lead to one value for each completion."""
    before, after = Plan(names.all()), Plan([*names.all(), path])
    if after.depth > before.depth:
        raise ValueError(f"expected a path that leads to one value for each completion, found {quote(path)}")


def chosen(pieces: Iterable[Piece], choice: Choice, starts: Starts = lambda batch: None) -> Iterable[Piece]:
    """The chosen records of some pieces. `starts` says which rows of a table are records."""
    if choice.limit is not None:
        pieces = _first(pieces, choice.limit, starts)
    return pieces if choice.sample is None else _sampled(pieces, choice.sample, starts)


def _first(pieces: Iterable[Piece], limit: int, starts: Starts) -> Iterator[Piece]:
    if not limit:
        return
    for piece in pieces:
        records = _places(piece, starts)
        if len(records) < limit:
            yield piece
        elif isinstance(piece.data, bytes):
            yield piece._replace(data=b"\n".join(piece.data.split(b"\n")[: records[limit - 1] + 1]))
            return
        else:
            yield piece._replace(data=piece.data.slice(0, [*records, len(piece.data)][limit]))
            return
        limit -= len(records)


def _places(piece: Piece, starts: Starts) -> Sequence[int]:
    """The places of the records of a piece among its lines or rows."""
    if isinstance(piece.data, bytes):
        written = enumerate(piece.data.split(b"\n"))
        return [place for place, line in written if (piece.too_long and not place) or (line and not line.isspace())]
    found = starts(piece.data)
    return range(len(piece.data)) if found is None else found


def _sampled(pieces: Iterable[Piece], size: int, starts: Starts) -> Iterator[Piece]:
    random = Random(_SEED)
    reservoir: list[_Record] = []
    fault = None
    weight, done = 1.0, 0
    follows = 0 if size else None
    try:
        for piece in pieces:
            places = _places(piece, starts)
            lines = piece.data.split(b"\n") if isinstance(piece.data, bytes) else []
            while follows is not None and follows < done + len(places):
                record = _record(piece, lines, places, follows - done)
                if len(reservoir) < size:
                    reservoir.append(record)
                else:
                    reservoir[random.randrange(size)] = record
                if len(reservoir) < size:
                    follows += 1
                    continue
                weight *= exp(log(1 - random.random()) / size)
                follows += 1 + floor(log(1 - random.random()) / log1p(-weight))
            done += len(places)
    except Unreadable as error:
        fault = error
    reservoir.sort(key=lambda record: (record.after.file, record.number))
    for _, records in groupby(reservoir, key=lambda record: record.after.file):
        yield from _joined(list(records))
    if fault is not None:
        raise fault


def _record(piece: Piece, lines: Sequence[bytes], places: Sequence[int], index: int) -> _Record:
    place = places[index]
    if isinstance(piece.data, bytes):
        too_long = piece.too_long if place == 0 else 0
        return _Record(piece.after, piece.first + place, lines[place], too_long)
    end = places[index + 1] if index + 1 < len(places) else len(piece.data)
    return _Record(piece.after, piece.first + place, _copied(piece.data, place, end))


def _copied(batch: pa.RecordBatch, start: int, end: int) -> pa.RecordBatch:
    """Some rows, without the memory of the others."""
    from harmony.columns.constants import integers

    return batch.take(integers(range(start, end)))


def _joined(records: list[_Record]) -> Iterator[Piece]:
    """The records of one file as pieces. Empty lines stand for those that were not chosen, so numbers stay right."""
    waiting: list[_Record] = []
    size = 0
    for record in records:
        if waiting and (
            size > (BLOCK if isinstance(record.data, bytes) else ROWS)
            or record.too_long
            or record.number - waiting[-1].number > _GAP
            or not _alike(record.data, waiting[-1].data)
        ):
            yield _piece(waiting)
            waiting, size = [], 0
        waiting.append(record)
        size += len(record.data)
    if waiting:
        yield _piece(waiting)


def _alike(one: Any, other: Any) -> bool:
    return isinstance(one, bytes) or bool(one.schema == other.schema)


def _piece(records: list[_Record]) -> Piece:
    first = records[0]
    if isinstance(first.data, bytes):
        lines = [first.data]
        for before, record in pairwise(records):
            lines += [b""] * (record.number - before.number - 1)
            assert isinstance(record.data, bytes)
            lines.append(record.data)
        return Piece(b"\n".join(lines) + b"\n", first.number, first.after, first.too_long)
    return Piece(joined_batches([record.data for record in records]), first.number, first.after)


def joined_batches(batches: Sequence[Any]) -> pa.RecordBatch:
    """Batches of the same columns as one."""
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    made = table.to_batches()
    assert len(made) == 1
    return made[0]
