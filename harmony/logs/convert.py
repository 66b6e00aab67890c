"""Logs of any size, from files to one file: several processes parse pieces, and the results stay in order.

No more than a bounded part of a log is in memory at a time. How far the run got is kept beside the output, so that a
run that was interrupted can be resumed, and then gives the same bytes. How records are parsed stands in
`completions.py`, and what files are in `inputs.py` and `outputs.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.logs.completions import RecordReader, Tally, parse_lines, tally_of
from harmony.logs.formats import format_of, is_table
from harmony.logs.inputs import MAX_LINE, Piece, Reader, Unreadable, no_rows
from harmony.logs.outputs import Output
from harmony.logs.places import Changed, Place
from harmony.logs.records import FieldType, FieldTypes, Names
from harmony.logs.workers import Pending, Workers
from harmony.runtime import VERSION

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.columns.rows import Columns
    from harmony.stats.counts import Stats


# How often the state of the run is kept; each time takes a millisecond.
_SECONDS_KEPT: Final = 0.2


class Task(msgspec.Struct, frozen=True):
    """What is done to each piece of a log."""

    names: Names = Names()
    strict: bool = False
    to: Literal["lines", "rows", "stats"] = "lines"
    nested: bool = False
    threads: int = 1  # for tables, which one process parses
    max_record_size: int = MAX_LINE  # bytes

    def do(self, data: bytes | pa.RecordBatch, first: int, types: FieldTypes, too_long: int = 0) -> tuple[Any, Tally]:
        """What a piece becomes, and what was in it; `data`, `first` and `too_long` are those of the piece.

        `types` are those of the columns that fields of JSON become.
        """
        bare = self.to == "stats" or (self.to == "rows" and not self.nested)
        reader = RecordReader(self.names, self.max_record_size)
        if not isinstance(data, bytes) and self.to != "lines":
            return self._rows_of_table(data, reader, bare=bare)
        read = reader.lines(data, first, too_long) if isinstance(data, bytes) else reader.rows(data, first)
        parsed = read.parse(strict=self.strict, bare=bare, threads=1 if isinstance(data, bytes) else self.threads)
        if self.to == "lines":
            return parsed.to_json(), parsed.tally()
        if self.to == "stats":
            return _stats(parsed.columns, parsed.lengths), parsed.tally()
        from harmony.batch import NESTED_SCHEMA, SCHEMA

        kept = parsed.kept(types, (NESTED_SCHEMA if self.nested else SCHEMA).names)
        return TableRows.of(kept, parsed.columns, nested=self.nested), parsed.tally()

    def _rows_of_table(self, data: pa.RecordBatch, reader: RecordReader, *, bare: bool) -> tuple[Any, Tally]:
        """The same for the rows of a table that become rows, or are counted: no row becomes an object of Python."""
        from harmony.columns.arrow import without_dictionaries  # lines of JSON need no Arrow
        from harmony.columns.passed import checked

        parser = reader.table_parser(data.schema, strict=self.strict, nested=self.nested, threads=self.threads)
        columns, lengths = parser.columns(data, bare=bare), parser.lengths(data)
        if self.to == "stats":
            return _stats(columns, lengths), tally_of(columns, lengths)
        kept, errors = checked(without_dictionaries(parser.kept_of(data)))
        columns = columns.with_errors(errors)
        return TableRows.of(kept, columns, nested=self.nested), tally_of(columns, lengths)


class TableRows(NamedTuple):
    """What a piece becomes in a table: the fields of its records that pass through, and the rows of their messages."""

    kept: pa.RecordBatch
    rows: pa.RecordBatch

    @classmethod
    def of(cls, kept: pa.RecordBatch, columns: Columns, *, nested: bool) -> TableRows:
        """The rows as files have them, without dictionaries."""
        from harmony.columns import arrow  # lines of JSON need no Arrow

        rows = arrow.nested(columns) if nested else arrow.flat(columns)
        return cls(kept, arrow.without_dictionaries(rows))

    def batches(self, before: int) -> Iterator[pa.RecordBatch]:
        """Both side by side, some rows at a time; `before` is the number of records before these."""
        from harmony.columns.arrow import repeated

        return repeated(self.kept, self.rows, before)


def _stats(columns: Columns, lengths: list[int | None]) -> Stats:
    from harmony.columns.arrow import flat
    from harmony.stats.counts import Stats

    stats = Stats()
    stats.add(flat(columns), lengths)
    return stats


class RunState(msgspec.Struct):
    """How far a run got: where to go on, what there was so far, and the types of the columns for fields of JSON.

    `before` are the last places in the inputs before the one that was being read.
    """

    place: Place = Place()
    before: list[Place] = []
    tally: Tally = msgspec.field(default_factory=Tally)
    types: dict[str, FieldType] | None = msgspec.field(default=None, name="kinds")

    def add(self, tally: Tally, place: Place) -> None:
        """Takes in what there was in a piece, and the place after it."""
        if place.file > self.place.file:  # what is in between holds nothing
            self.before += [self.place, *map(Place, range(self.place.file + 1, place.file))]
        self.tally, self.place = self.tally + tally, place


#: Is told after each piece: the bytes taken of all inputs, how many there are or None, and what there was so far.
Watcher: TypeAlias = Callable[[int, int | None, Tally], None]


def convert(task: Task, inputs: Sequence[str], output: str, *, workers: int, resume: bool, watch: Watcher) -> Tally:
    """Parses all inputs into one output, which gets its name when it is whole; what there was in them.

    With `resume` it goes on where an earlier run of the same inputs and task was interrupted. What that run read must
    be as it was: an input that was read to its end, all of it; the one that was being read, up to where it was read to.
    So a log of lines may have grown there in the meantime, and what is new of it is parsed too. Later inputs may have
    changed. Raises CannotResume where that is not so, before anything is written.

    Raises Unreadable where an input ends in a fault, after what comes before it has been written and kept; OSError for
    what cannot be written; TypeError and ValueError for tables without the columns that they should have.
    """
    format_of(output).load()  # says what is missing; the worker processes would not
    with _workers(task, workers) as pool, Output(output, run_of(task, inputs), resume=resume) as target:
        state = RunState() if target.state is None else msgspec.convert(target.state, RunState)
        full = output != "-" or pool is not None
        reader = Reader(inputs, state.place, state.before, full=full, most=task.max_record_size)
        kept = 0.0
        try:
            for made, tally, place in _in_order(pool, task, inputs, reader, state):
                write(target, made, state.tally.records)
                state.add(tally, place)
                if output == "-" or monotonic() - kept > _SECONDS_KEPT:
                    target.keep(state)
                    kept = monotonic()
                watch(reader.taken, reader.size, state.tally)
        except Unreadable:
            target.keep(state)
            raise
        except Changed as error:
            raise target.refusal(str(error)) from None
        finish(target, task, state.tally, inputs)
    return state.tally


def count(task: Task, inputs: Sequence[str], *, workers: int, watch: Watcher) -> tuple[Stats, Tally]:
    """Counts what is in all inputs; raises as `convert` does."""
    from harmony.stats.counts import Stats

    stats, state = Stats(), RunState()
    with _workers(task, workers) as pool:
        reader = Reader(inputs, most=task.max_record_size)
        for made, tally, _ in _in_order(pool, task, inputs, reader, state):
            stats, state.tally = stats + made, state.tally + tally
            watch(reader.taken, reader.size, state.tally)
    return stats, state.tally


def run_of(task: Task, inputs: Sequence[str]) -> dict[str, Any]:
    """What must be the same to go on with an output: anything but how many work on it."""
    run: dict[str, Any] = {
        "inputs": list(inputs),
        "task": msgspec.to_builtins(task, str_keys=True),
        "version": VERSION,
    }
    del run["task"]["threads"]
    return run


def written(made: Any, before: int) -> Iterable[Any]:
    """The parts in which the result of a piece is written; `before` is the number of records before it."""
    made_of: Iterable[Any] = made.batches(before) if isinstance(made, TableRows) else [made]
    return made_of


def write(target: Output, made: Any, before: int) -> None:
    """Writes the result of a piece; `before` is the number of records before it."""
    for part in written(made, before):
        target.write(part)


def finish(target: Output, task: Task, tally: Tally, inputs: Sequence[str] = ()) -> None:
    """Gives the output its name, once everything is written.

    A table without a row still gets columns: those of the first table among the inputs.
    """
    if task.to == "rows" and tally.records == 0:
        table = next((name for name in inputs if is_table(name)), None)
        write(target, task.do(b"" if table is None else no_rows(table), 1, {})[0], 0)
    target.finish()


def _in_order(
    workers: Workers | None, task: Task, inputs: Sequence[str], pieces: Iterable[Piece], state: RunState
) -> Iterator[tuple[Any, Tally, Place]]:
    """The results of pieces in their order, each with the place after it. An Unreadable is raised after all of them."""
    pending: deque[tuple[Pending, Place]] = deque()
    most = 1 if workers is None else workers.most
    fault = None
    try:
        for piece in pieces:
            if state.types is None and task.to == "rows" and isinstance(piece.data, bytes):
                state.types = types_in(task, piece)
            pending.append((_begun(workers, task, inputs[piece.after.file], piece, state.types or {}), piece.after))
            while pending and (len(pending) == most or pending[0][0].done()):
                future, place = pending.popleft()
                yield *future.result(), place
    except Unreadable as error:
        fault = error
    for future, place in pending:
        yield *future.result(), place
    if fault is not None:
        raise fault


def types_in(task: Task, piece: Piece) -> dict[str, FieldType]:
    """The types of the columns for the fields of a piece of lines; all later pieces get the same columns."""
    from harmony.logs.fields import types_of

    parsed = parse_lines(piece.data, piece.first, task.names, strict=task.strict, bare=False, too_long=piece.too_long)
    types = types_of(parsed.passed())
    # A bad record keeps its completion too. Whether the first piece has a bad record must not decide the columns.
    return {name: found for name, found in types.items() if name not in (task.names.tokens, task.names.text)}


def _begun(workers: Workers | None, task: Task, name: str, piece: Piece, types: FieldTypes) -> Pending:
    """Begins the work on a piece: lines go to another process if there is one, tables are parsed here."""
    if workers is not None and isinstance(piece.data, bytes):
        return workers.begin(piece.data, piece.first, types, piece.too_long)
    done: Future[tuple[Any, Tally]] = Future()
    try:
        done.set_result(task.do(piece.data, piece.first, types, piece.too_long))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from error
    return done


def _workers(task: Task, count: int) -> AbstractContextManager[Workers | None]:
    if count == 1:
        return nullcontext()
    task.do(b"", 1, {})  # loads once, before the fork, what every process would load for itself
    return Workers(task.do, count)
