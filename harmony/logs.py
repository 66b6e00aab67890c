"""Logs of any size, from files to a file: several processes parse pieces, and what comes of them stays in order.

What is held of a log at a time is bounded. Each piece that was written is remembered beside the output, so that a run
that was interrupted can be gone on with, and gives what it would have given. How records are parsed, and what files
are, is known elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

import harmony
from harmony._workers import Pending, Workers
from harmony.completions import Completions, Kind, Kinds, Tally, parse_lines, parse_rows, tally_of
from harmony.files import TABLES, Piece, Place, Reader, Unreadable, format_of, library_of
from harmony.jsonl import Names
from harmony.messages import Role
from harmony.outputs import Output

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony._tables import TableParser
    from harmony.stats import Stats


# What is written is kept this often, for that takes a millisecond.
_SECONDS_KEPT: Final = 0.2


class Task(msgspec.Struct, frozen=True):
    """What is done to each piece of a log."""

    names: Names = Names()
    strict: bool = False
    to: Literal["lines", "rows", "stats"] = "lines"
    nested: bool = False
    threads: int = 1  # for tables, which one process parses

    def do(self, data: bytes | pa.RecordBatch, first: int, kinds: Kinds) -> tuple[Any, Tally]:
        """What a piece becomes, and what was in it.

        `first` is the number of its first line or row, `kinds` are those of the columns that fields of JSON become.
        """
        bare = self.to == "stats" or (self.to == "rows" and not self.nested)
        if isinstance(data, bytes):
            parsed = parse_lines(data, first, self.names, strict=self.strict, bare=bare)
        else:
            parser = self._table_parser(data.schema)
            if self.to == "rows":
                columns = parser.columns(data, bare=bare)
                return _plain(parser.rows(data, columns)), tally_of(columns, parser.lengths(data))
            parsed = parse_rows(data, parser, bare=bare)
        if self.to == "lines":
            return parsed.to_json(), parsed.tally()
        if self.to == "rows":
            return _plain(parsed.to_rows(kinds, nested=self.nested)), parsed.tally()
        return _stats(parsed), parsed.tally()

    def _table_parser(self, schema: pa.Schema) -> TableParser:
        """What parses a table, by those columns of the names that it has."""
        from harmony._tables import TableParser

        names = (self.names.tokens, self.names.text, self.names.role)
        tokens, text, role = (name if name in schema.names else None for name in names)
        parser = TableParser(
            tokens if tokens or text else self.names.tokens,
            text,
            Role.ASSISTANT,
            role,
            strict=self.strict,
            nested=self.nested,
            threads=self.threads,
        )
        parser.schema(schema)  # tells what is wrong with it
        return parser


def _plain(rows: pa.RecordBatch) -> pa.RecordBatch:
    from harmony._arrow import without_dictionaries  # lines of JSON need no Arrow

    return without_dictionaries(rows)


def _stats(parsed: Completions) -> Stats:
    from harmony._arrow import flat
    from harmony.stats import Stats

    stats = Stats()
    stats.add(flat(parsed.columns), parsed.lengths)
    return stats


class State(msgspec.Struct):
    """How far a log was worked on: where to go on, what there was so far, and the columns of its fields."""

    place: Place = Place()
    tally: Tally = msgspec.field(default_factory=Tally)
    kinds: dict[str, Kind] | None = None


#: Is told after each piece: the bytes taken of all inputs, how many there are or None, and what there was so far.
Watcher: TypeAlias = Callable[[int, int | None, Tally], None]


def convert(task: Task, inputs: Sequence[str], output: str, *, workers: int, resume: bool, watch: Watcher) -> Tally:
    """Parses all inputs into one output, which gets its name when it is whole; what there was in them.

    With `resume` it goes on where an earlier run of the same inputs and task was interrupted. Raises Unreadable where
    an input ends in a fault, after what comes before it has been written and kept; CannotResume; OSError for what
    cannot be written; TypeError and ValueError for tables without the columns that they should have.
    """
    if format_of(output) in TABLES:
        library_of(format_of(output))  # says what is missing, which the work would not
    with _workers(task, workers) as pool, Output(output, run_of(task, inputs), resume=resume) as target:
        state = State() if target.state is None else msgspec.convert(target.state, State)
        reader = Reader(inputs, state.place, full=output != "-" or pool is not None)
        kept = 0.0
        try:
            for made, tally, place in _in_order(pool, task, reader, state):
                target.write(numbered(made, state.tally.records))
                state.place, state.tally = place, state.tally + tally
                if output == "-" or monotonic() - kept > _SECONDS_KEPT:
                    target.keep(msgspec.to_builtins(state))
                    kept = monotonic()
                watch(reader.taken, reader.size, state.tally)
        except Unreadable:
            target.keep(msgspec.to_builtins(state))
            raise
        if task.to == "rows" and state.tally.records == 0:  # a table has columns all the same
            target.write(task.do(b"", 1, {})[0])
        target.finish()
    return state.tally


def count(task: Task, inputs: Sequence[str], *, workers: int, watch: Watcher) -> tuple[Stats, Tally]:
    """Counts what is in all inputs; raises as `convert` does."""
    from harmony.stats import Stats

    stats, state = Stats(), State()
    with _workers(task, workers) as pool:
        reader = Reader(inputs)
        for made, tally, _ in _in_order(pool, task, reader, state):
            stats, state.tally = stats + made, state.tally + tally
            watch(reader.taken, reader.size, state.tally)
    return stats, state.tally


def run_of(task: Task, inputs: Sequence[str]) -> dict[str, Any]:
    """What must be the same to go on with an output: anything but how many work on it."""
    run: dict[str, Any] = {
        "inputs": list(inputs),
        "task": msgspec.to_builtins(task, str_keys=True),
        "version": harmony.__version__,
    }
    del run["task"]["threads"]
    return run


def numbered(made: Any, before: int) -> Any:
    """What a piece became, its conversations behind those of so many records; lines have no numbers."""
    if isinstance(made, bytes) or "conversation" not in made.schema.names:
        return made
    from harmony._arrow import numbered_from

    return numbered_from(before, made)


def _in_order(
    workers: Workers | None, task: Task, pieces: Iterable[Piece], state: State
) -> Iterator[tuple[Any, Tally, Place]]:
    """What pieces become, with the place after each. Where they end in a fault, it is raised when all else is given."""
    pending: deque[tuple[Pending, Place]] = deque()
    most = 1 if workers is None else workers.most
    fault = None
    try:
        for piece in pieces:
            if state.kinds is None and task.to == "rows" and isinstance(piece.data, bytes):
                state.kinds = kinds_in(task, piece)
            pending.append((_begun(workers, task, piece, state.kinds or {}), piece.after))
            while pending and (len(pending) == most or pending[0][0].done()):
                future, place = pending.popleft()
                yield *future.result(), place
    except Unreadable as error:
        fault = error
    for future, place in pending:
        yield *future.result(), place
    if fault is not None:
        raise fault


def kinds_in(task: Task, piece: Piece) -> dict[str, Kind]:
    """The columns for the fields of a piece of lines, which are those of all later pieces too."""
    from harmony._fields import kinds_of

    return kinds_of(parse_lines(piece.data, piece.first, task.names, strict=task.strict, bare=False).passed())


def _begun(workers: Workers | None, task: Task, piece: Piece, kinds: Kinds) -> Pending:
    """The work on a piece: that of lines is done by another process, if there are any."""
    if workers is not None and isinstance(piece.data, bytes):
        return workers.begin(piece.data, piece.first, kinds)
    done: Future[tuple[Any, Tally]] = Future()
    done.set_result(task.do(piece.data, piece.first, kinds))
    return done


def _workers(task: Task, count: int) -> AbstractContextManager[Workers | None]:
    if count == 1:
        return nullcontext()
    task.do(b"", 1, {})  # loads here what every process would load for itself
    return Workers(task.do, count)
