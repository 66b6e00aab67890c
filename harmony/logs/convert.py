"""Converts logs of any size to one file. Several processes parse pieces, and the results stay in order.

Only a limited part of a log is in memory at a time. A state file beside the output says how far the run got. So a run
that was interrupted can be resumed, and gives the same bytes. `completions.py` parses records; `inputs.py` and
`outputs.py` read and write files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias

import msgspec

from harmony.errors import quote
from harmony.format.choices import Shape
from harmony.logs.choosing import Choice, check_by, chosen
from harmony.logs.completions import FIRST, PROMPT_MESSAGES, Completions, Tally, prompt_messages, tally_of
from harmony.logs.formats import format_of
from harmony.logs.inputs import MAX_LINE, Piece, Reader, Unreadable, holds_table, input_name, no_rows, stamps_of
from harmony.logs.leads import lead_of_prefix
from harmony.logs.outputs import Output, finished
from harmony.logs.places import Changed, Place, Stamp
from harmony.logs.reading import RecordReader, Rows, plan_of
from harmony.logs.records import FieldTaken, FieldType, FieldTypes, Layout
from harmony.logs.stores import is_remote
from harmony.logs.unparsed import Unparsed
from harmony.logs.workers import Pending, Workers
from harmony.parsing.shared import check_stripped
from harmony.rendering.renderer import RenderConversationConfig
from harmony.runtime import VERSION

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.columns import rows as columns_of
    from harmony.columns.tables import TableParser
    from harmony.logs.united import Columns
    from harmony.stats.groups import GroupedStats


# The time between two writes of the state file. One write takes a millisecond.
_SECONDS_KEPT: Final = 0.2


class Task(msgspec.Struct, frozen=True):
    """What to do with each piece of a log.

    `strict` is that of `harmony.batch.parse_batch`. Raises ValueError for options that exclude each other.
    """

    layout: Layout = Layout()
    strict: bool = False
    to: Literal["lines", "rows", "stats"] = "lines"
    nested: bool = False
    shape: Shape = "harmony"  # of the messages
    prompt_messages: bool = False  # parse prompts too
    structured: bool | RenderConversationConfig = False  # as for `HarmonyEncoding.parse`
    keep_going: bool = False  # although all of the first records fail alike
    threads: int = 1  # for tables, which one process parses
    max_record_size: int = MAX_LINE  # bytes
    by: str | None = None  # the path to the field by whose values is counted
    choice: Choice = Choice()

    def __post_init__(self) -> None:
        if (self.shape != "harmony" or self.structured) and self.to == "rows" and not self.nested:
            option = "--structured" if self.structured else f"--to {self.shape}"
            raise ValueError(
                f"{option} has no row for each message: use --nested, which gives each completion a row, or write "
                "JSON Lines"
            )
        if self.layout.stripped:
            check_stripped(strict=self.strict)
        plan_of(self.layout.names)  # raises an error for what is no path
        if self.layout.prefix:  # the tokenizer takes long to load
            lead_of_prefix(self.layout.prefix)
        if self.by is not None:
            check_by(self.layout.names, self.by)

    def do(self, data: bytes | pa.RecordBatch, first: int, types: FieldTypes, too_long: int = 0) -> tuple[Any, Tally]:
        """Parses a piece, and returns its result and its tally. `data`, `first` and `too_long` are those of the piece.

        `types` are the types of the columns for fields of JSON.
        """
        if self.to == "stats":
            from harmony.logs.counting import count_piece  # other work needs no Arrow

            return count_piece(self, data, first, too_long)
        if not isinstance(data, bytes) and self.to != "lines":
            return self._rows_of_table(data, first)
        reader = self._reader()
        read = reader.lines(data, first, too_long) if isinstance(data, bytes) else reader.rows(data, first)
        parsed = self.parsed(read, threads=1 if isinstance(data, bytes) else self.threads)
        tally = self.with_hints(parsed.tally(), read, parsed.columns)
        if self.to == "lines":
            return parsed.to_json(self.layout.into), tally
        kept = parsed.kept(types, self.taken(), self.hidden())
        return self._table_rows(kept, parsed), tally

    def with_hints(self, tally: Tally, read: Unparsed, columns: columns_of.Columns) -> Tally:
        """The tally, with what hints at options: texts without any marker, and paths that led nowhere."""
        names, seen = self.layout.names, read.known.seen
        given = {"prompt": names.prompt, "finish_reason": names.finish_reason}
        unfound = [path for name, path in given.items() if path is not None and name not in seen]
        unmarked = 0 if self.layout.stripped else read.unmarked(columns)
        return msgspec.structs.replace(tally, unmarked=unmarked, unfound=unfound)

    def parsed(self, read: Unparsed, *, threads: int = 1) -> Completions:
        """Parses what was read of a piece."""
        bare = self.to == "stats" or (self.to == "rows" and not self.nested)
        parsed = read.parse(
            strict=self.strict,
            stripped=self.layout.stripped,
            bare=bare,
            threads=threads,
            shape=self.shape,
            structured=self.structured,
        )
        return parsed.with_prompts(read.known.prompts, self.structured) if self.prompt_messages else parsed

    def lines(self, piece: Piece) -> Completions:
        """Reads and parses a piece of lines."""
        return self.parsed(self._reader().lines(piece.data, piece.first, piece.too_long))

    def taken(self) -> list[str]:
        """The names of the columns that a table gets from this task."""
        if self.layout.into is not None:
            return [self.layout.into]
        from harmony.batch import NESTED_SCHEMA, SCHEMA  # lines of JSON need no Arrow

        names: list[str] = (NESTED_SCHEMA if self.nested else SCHEMA).names
        return names

    def hidden(self) -> list[str]:
        """The fields of records that get no column: the role of the first message has one."""
        return [] if self.nested or self.layout.into is not None else [plan_of(self.layout.names)[1].role]

    def _table_rows(self, kept: pa.RecordBatch, parsed: Completions) -> TableRows:
        return TableRows.of(kept, parsed, nested=self.nested, into=self.layout.into)

    def _reader(self) -> RecordReader:
        return RecordReader(self.layout, self.max_record_size)

    def rows_of_table(self, data: pa.RecordBatch, first: int) -> tuple[Rows, TableParser, Unparsed]:
        """Reads some rows of a table without making them Python objects."""
        reader = self._reader()
        rows = reader.taken(data, first)
        hidden = [*plan_of(self.layout.names)[1].completions(), *self.hidden()]
        parser = reader.table_parser(rows.batch.schema, hidden=hidden)
        sources, known = reader.sources(parser, rows)
        lengths = parser.lengths(rows.batch)
        read = Unparsed(rows.numbers, sources, lengths, [], [], known=known, start=self.layout.start)
        return rows, parser, read

    def _rows_of_table(self, data: pa.RecordBatch, first: int) -> tuple[Any, Tally]:
        """The same for rows of a table that become rows. No row becomes a Python object."""
        from harmony.columns.arrow import without_dictionaries  # lines of JSON need no Arrow
        from harmony.columns.passed import checked
        from harmony.logs.fields import as_json_column

        rows, parser, read = self.rows_of_table(data, first)
        known, lengths = read.known, read.lengths
        parsed = self.parsed(read, threads=self.threads)
        beside = without_dictionaries(parser.kept_of(rows.batch))
        if self.prompt_messages:
            check_columns_free(beside.schema.names, [PROMPT_MESSAGES])
            prompts = [known.prompts.get(index) for index in range(len(rows.batch))]
            made = [prompt_messages(prompt, self.structured) for prompt in prompts]
            beside = beside.append_column(PROMPT_MESSAGES, as_json_column(made))
        check_columns_free(beside.schema.names, self.taken())
        kept, errors = checked(beside)
        columns = parsed.columns.with_errors(errors)
        table = self._table_rows(kept, parsed._replace(columns=columns))
        tally = tally_of(columns, lengths, rows.numbers, "row", data.schema.names)
        return table, self.with_hints(tally, read, columns)


def check_columns_free(names: Sequence[str], taken: Sequence[str]) -> None:
    """Raises FieldTaken if a column of the log has the name of a column of the output."""
    for name in names:
        if name in taken:
            raise FieldTaken.of(name)


class AllFail(ValueError):  # noqa: N818  the log may be right, and the options wrong
    """Raised if the first records of a run all fail alike. It says what they are told, and which fields they have."""

    @classmethod
    def of(cls, name: str, tally: Tally) -> Self:
        """The exception for a file, and for the tally so far."""
        assert tally.failure is not None
        fields = ", ".join(map(quote, tally.failure.fields)) or "none"
        return cls(
            f"{name}: the first {FIRST} records all fail, the first with: {tally.failure.sentence}; its fields are "
            f"{fields}; say where the completions are with --tokens, --text or --preset, or use --keep-going"
        )


def check_first(task: Task, name: str, before: int, tally: Tally) -> None:
    """Raises AllFail once the first records of a run have all failed alike. `before` is the number before the last."""
    if before < FIRST <= tally.records and tally.failure is not None and not task.keep_going:
        raise AllFail.of(name, tally)


class TableRows(NamedTuple):
    """The result of a piece for a table: the fields that pass through, by record, and the rows of messages."""

    kept: pa.RecordBatch
    rows: pa.RecordBatch
    into: str | None  # the column that holds all columns of the messages

    @classmethod
    def of(cls, kept: pa.RecordBatch, parsed: Completions, *, nested: bool, into: str | None) -> TableRows:
        """The rows of these completions, with ordinary strings instead of dictionaries, as files need them.

        Messages that are not those of the columns are texts of JSON.
        """
        from harmony.columns import arrow  # lines of JSON need no Arrow

        rows = arrow.nested(parsed.columns) if nested else arrow.flat(parsed.columns)
        if parsed.made is not None:
            from harmony.logs.fields import as_json_column

            errors = parsed.columns.errors
            made = [None if index in errors else msgspec.Raw(each) for index, each in enumerate(parsed.made)]
            column = as_json_column(made)
            rows = rows.set_column(rows.schema.names.index("messages"), "messages", column)
        return cls(kept, arrow.without_dictionaries(rows), into)

    def batches(self, before: int) -> Iterator[pa.RecordBatch]:
        """Batches with the columns of both. `before` is the number of records before these."""
        from harmony.columns.arrow import repeated, under

        batches = repeated(self.kept, self.rows, before=before)
        if self.into is None:
            return batches
        return (under(batch, len(self.kept.schema), self.into) for batch in batches)


class RunState(msgspec.Struct):
    """How far a run got: the place to continue at, the tally so far, and the types of the columns for fields of JSON.

    `before` has the last places in the inputs that were already read to their end. `columns` is the schema of the
    columns of all inputs together, if they were united.
    """

    place: Place = Place()
    before: list[Place] = []
    tally: Tally = msgspec.field(default_factory=Tally)
    types: dict[str, FieldType] | None = msgspec.field(default=None, name="kinds")
    columns: bytes | None = None

    def add(self, tally: Tally, place: Place) -> None:
        """Adds the tally of a piece, and moves to the place after it."""
        if place.file > self.place.file:  # the files in between are empty
            self.before += [self.place, *map(Place, range(self.place.file + 1, place.file))]
        self.tally, self.place = self.tally + tally, place


#: Called after each piece: with the bytes read of all inputs, the size of all inputs (None if unknown), and the tally.
Watcher: TypeAlias = Callable[[int, int | None, Tally], None]


def convert(
    task: Task,
    inputs: Sequence[str],
    output: str,
    *,
    workers: int,
    resume: bool,
    watch: Watcher,
    tell: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Parses all inputs into one output, and returns the tally. The output gets its name when it is complete.

    With `resume`, it continues an interrupted run with the same inputs and task. The part of the inputs that was read
    must be unchanged: files that were read to their end, and the current file up to the place that was reached. So a
    log of lines may have grown, and the new lines are parsed too. Later inputs may have changed. Otherwise it raises
    CannotResume, before anything is written. An output that is complete is written again: ask `completed` before.
    `tell` is called with what users must know, such as that the work of an earlier run is discarded.

    Raises Unreadable if an input cannot be read to its end (the results before that are kept); OSError if the output
    cannot be written; TypeError and ValueError for tables without the required columns.
    """
    format_of(output).load()  # raises ImportError here, before worker processes start
    with _workers(task, workers) as pool, Output(output, run_of(task, inputs), resume=resume) as target:
        if target.discarded:
            tell(f"the unfinished {output}.partial of an earlier run is discarded; --resume would go on with it")
        state = RunState() if target.state is None else msgspec.convert(target.state, RunState)
        columns = _columns(task, inputs, state, begins=target.state is None)
        full = output != "-" or pool is not None
        reader = Reader(inputs, state.place, state.before, full=full, most=task.max_record_size)
        kept = 0.0
        try:
            for made, tally, place in _in_order(pool, task, inputs, chosen(reader, task.choice), state):
                before = state.tally.records
                check_first(task, inputs[place.file], before, state.tally + tally)
                try:
                    write(target, made, before, columns)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{inputs[place.file]}: {error}") from error
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
        except (AllFail, FieldTaken):
            if state.tally.records == 0:
                target.discard()
            raise
        if is_remote(output):
            target.keep(state)  # if it cannot be uploaded, no work is lost
        finish(target, task, state.tally, inputs, reader.stamps, columns)
    return state.tally


def _columns(task: Task, inputs: Sequence[str], state: RunState, *, begins: bool) -> Columns | None:
    """The united columns of the inputs, which are kept in the state; None if nothing is united."""
    if task.to != "rows":
        return None
    from harmony.logs.united import Columns  # lines of JSON need no Arrow

    if not begins:
        return None if state.columns is None else Columns(_schema_of(state.columns), state.types or {})
    columns = Columns.of(
        inputs,
        task.max_record_size,
        lambda data, types: task.do(data, 1, types)[0].kept,
        lambda piece: types_in(task, piece),
    )
    if columns is not None:
        state.columns, state.types = columns.schema.serialize().to_pybytes(), columns.types
    return columns


def _schema_of(data: bytes) -> pa.Schema:
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(data))


def completed(task: Task, inputs: Sequence[str], output: str) -> Tally | None:
    """The tally of the run that made an output which is complete; None if there is none.

    Raises CannotResume if the output is not what this task makes of these inputs; Unreadable if an input is missing.
    """
    found = finished(output, run_of(task, inputs), stamps_of(inputs))
    return None if found is None else msgspec.convert(found, Tally)


def count(task: Task, inputs: Sequence[str], *, workers: int, watch: Watcher) -> tuple[GroupedStats, Tally]:
    """Counts what all inputs hold.

    Raises the same errors as `convert`, and ValueError if no record has the field at `task.by`.
    """
    from harmony.logs.parsed import first_rows, whole_conversations
    from harmony.stats.groups import GroupedStats

    stats, state = GroupedStats(grouped=task.by is not None), RunState()
    with _workers(task, workers) as pool:
        reader = Reader(inputs, most=task.max_record_size)
        into = task.layout.into
        starts = partial(first_rows, into=into)
        pieces = chosen(whole_conversations(reader, into), task.choice, starts)
        for made, tally, place in _in_order(pool, task, inputs, pieces, state):
            before = state.tally.records
            stats, state.tally = stats + made, state.tally + tally
            check_first(task, inputs[place.file], before, state.tally)
            watch(reader.taken, reader.size, state.tally)
    if not stats.has_field():
        fields = ", ".join(map(quote, stats.fields)) or "none"
        raise ValueError(f"no record has the field {quote(task.by or '')}; the fields of the first record are {fields}")
    return stats, state.tally


def run_of(task: Task, inputs: Sequence[str]) -> dict[str, Any]:
    """What must be the same to resume an output: everything except the number of threads."""
    run: dict[str, Any] = {
        "inputs": list(inputs),
        "task": msgspec.to_builtins(task, str_keys=True),
        "version": VERSION,
    }
    del run["task"]["threads"], run["task"]["keep_going"]
    return run


def written(made: Any, before: int) -> Iterable[Any]:
    """The parts of a piece's result, for writing. `before` is the number of records before the piece."""
    made_of: Iterable[Any] = made.batches(before) if isinstance(made, TableRows) else [made]
    return made_of


def write(target: Output, made: Any, before: int, columns: Columns | None = None) -> None:
    """Writes the result of a piece. `before` is the number of records before the piece."""
    if columns is not None:
        made = made._replace(kept=columns.conform(made.kept))
    for part in written(made, before):
        target.write(part)


def finish(
    target: Output,
    task: Task,
    tally: Tally,
    inputs: Sequence[str] = (),
    stamps: Sequence[Stamp | None] | None = None,
    columns: Columns | None = None,
) -> None:
    """Gives the output its name, after everything is written. With the stamps of the inputs, its state stays beside it.

    A table without a row still gets columns: those of the first table among the inputs.
    """
    if task.to == "rows" and tally.records == 0:
        table = next((name for name in inputs if holds_table(name)), None)
        write(target, task.do(b"" if table is None else no_rows(table), 1, {})[0], 0, columns)
    target.finish(stamps, tally)


def _in_order(
    workers: Workers | None, task: Task, inputs: Sequence[str], pieces: Iterable[Piece], state: RunState
) -> Iterator[tuple[Any, Tally, Place]]:
    """The results of pieces in their order, each with the place after it. An Unreadable is raised after all of them."""
    pending: deque[tuple[Pending, Place]] = deque()

    def made() -> tuple[Any, Tally, Place]:
        future, place = pending.popleft()
        with _named(inputs[place.file]):
            found, tally = future.result()
        if tally.first_error is not None:
            tally.first_error = f"{input_name(inputs[place.file])}: {tally.first_error}"
        return found, tally, place

    most = 1 if workers is None else workers.most
    fault = None
    try:
        for piece in pieces:
            with _named(inputs[piece.after.file]):
                if state.types is None and task.to == "rows" and isinstance(piece.data, bytes):
                    state.types = types_in(task, piece)
                pending.append((_begun(workers, task, piece, state.types or {}), piece.after))
            while pending and (len(pending) == most or pending[0][0].done()):
                yield made()
    except Unreadable as error:
        fault = error
    while pending:
        yield made()
    if fault is not None:
        raise fault


def types_in(task: Task, piece: Piece) -> dict[str, FieldType]:
    """The types of the columns for the fields of a piece of lines; all later pieces get the same columns.

    Raises FieldTaken if a field has the name of a column of the output.
    """
    from harmony.logs.fields import types_of

    parsed = task.lines(piece)
    types = types_of(parsed.passed())
    # A bad record keeps its completion too. Whether the first piece has a bad record must not decide the columns.
    _, names = plan_of(task.layout.names)
    types = {name: found for name, found in types.items() if name not in (*names.completions(), *task.hidden())}
    check_columns_free(list(types), task.taken())
    return types


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Names the file in the errors of its pieces."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        kind = FieldTaken if isinstance(error, FieldTaken) else ValueError
        raise kind(f"{input_name(name)}: {error}") from error


def _begun(workers: Workers | None, task: Task, piece: Piece, types: FieldTypes) -> Pending:
    """Begins the work on a piece. Lines go to a worker process if there are any; tables are parsed here."""
    if workers is not None and isinstance(piece.data, bytes):
        return workers.begin(piece.data, piece.first, types, piece.too_long)
    done: Future[tuple[Any, Tally]] = Future()
    done.set_result(task.do(piece.data, piece.first, types, piece.too_long))
    return done


def _workers(task: Task, count: int) -> AbstractContextManager[Workers | None]:
    if count == 1:
        return nullcontext()
    task.do(b"", 1, {})  # loads everything before the fork, so the worker processes need not load it
    return Workers(task.do, count)
