"""The same work on a cluster: logs that Ray reads, parsed on all of its nodes, and written in the order of the input.

This module decides how files become blocks of a Ray dataset, how rows get the numbers that one machine would have given
them, and when an output is whole. How records are cut, parsed and written is the same as on one machine, and stands in
`harmony/logs`. It needs Ray, which the extra `ray` brings. Every node must have this package, and see local files under
the same paths.

What is wrong with a file travels as a row behind everything good before it, so that it is raised in its place. A task
that raised an error itself would lose the rest of its block, and the error would be worded by Ray.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import chain, pairwise
from math import ceil
from typing import Any, Final, TypeAlias

import msgspec
import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.context import DataContext
from ray.data.datasource import Datasource, ReadTask
from ray.data.exceptions import ExecutionTimeoutError
from ray.data.expressions import monotonically_increasing_id

from harmony.columns.arrow import without_dictionaries
from harmony.columns.tables import TableParser
from harmony.errors import printable
from harmony.logs import convert
from harmony.logs.completions import Tally
from harmony.logs.formats import LINES, PARQUET, LineFormat, is_table
from harmony.logs.inputs import Unreadable
from harmony.logs.outputs import Output, check_apart, check_columns
from harmony.logs.places import Place
from harmony.logs.records import FieldTypes
from harmony.logs.remote import Folder, RemoteFile, find, folder_of, pieces_of
from harmony.messages.roles import Role, as_role

__all__ = ["parse", "read_lines", "run"]

#: A piece of a log, or what became of one or of several, as a row of a Ray dataset.
Parcel: TypeAlias = dict[str, Any]

_TASK_BYTES: Final = 1 << 24  # small files are read together in tasks of about this size
_TASKS_PER_CORE: Final = 4
_NUMBER: Final = "_harmony_conversation"

_LINES: Final = pa.schema([("path", pa.string()), ("first", pa.int64()), ("data", pa.large_binary())])
_PIECES: Final = pa.schema(
    [
        ("file", pa.int32()),  # its index
        ("first", pa.int64()),
        ("after", pa.binary()),  # the place
        ("taken", pa.int64()),  # bytes, of the files so far
        ("is_table", pa.bool_()),
        ("data", pa.large_binary()),
        ("fault", pa.binary()),  # pickled; then there is no data
        ("too_long", pa.int64()),
    ]
)
_MADE: Final = pa.schema([*_PIECES, ("tally", pa.binary())])
_PARTS: Final = pa.schema(
    [
        ("part", pa.string()),  # its name until all are whole
        ("taken", pa.int64()),
        ("tally", pa.binary()),
        ("schema", pa.binary()),  # of a table
        ("fault", pa.binary()),
    ]
)


def parse(
    dataset: ray.data.Dataset,
    *,
    tokens: str | None = None,
    text: str | None = None,
    role: Role | str | None = Role.ASSISTANT,
    roles: str | None = None,
    strict: bool = False,
    nested: bool = False,
) -> ray.data.Dataset:
    """The messages of a dataset that has a completion a row, as lists of ids or as text; lazy, as datasets are.

    The arguments are those of `harmony.batch.parse_table`, and so are the rows, with plain strings in place of
    dictionaries. But `conversation` is no row number, for Ray does not know how many rows other blocks have: it is
    unique to the row of the dataset, ascends within a block, and is the same for all messages of the row. Columns of
    your own that are kept, such as an id, are repeated beside it. With `nested` there is no such column.

    Raises TypeError and ValueError as `parse_table` does where the columns are known already, and else when the dataset
    is read.
    """
    if tokens is None and text is None:
        tokens = "tokens"
    parser = TableParser(tokens, text, as_role(role), roles, strict=strict, nested=nested, threads=1)
    known = dataset.schema(fetch_if_missing=False)
    if known is not None and isinstance(known.base_schema, pa.Schema):
        parser.schema(known.base_schema)
    if not nested:
        dataset = dataset.with_column(_NUMBER, monotonically_increasing_id())
    return _mapped(dataset, _rows_of, parser=parser)


def read_lines(paths: str | Sequence[str], *, filesystem: Any = None) -> ray.data.Dataset:
    """Files of lines, piece by piece: a row has the `path`, the number of the `first` line, and the lines as `data`.

    A piece is whole lines of about a mebibyte, or one line that is longer, so that no file is too large, and nothing
    is decided about what lines hold. A line may have any length. Files and folders are local or URIs; compressed files
    are decompressed, by their suffix. `filesystem` is pyarrow's or fsspec's, and then that of all paths. Raises
    Unreadable for files that are not there, and when the dataset is read for those that cannot be read to their end;
    ValueError for tables.
    """
    files = find([paths] if isinstance(paths, str) else paths, filesystem)
    for file in files:
        if is_table(file.name):
            raise ValueError(f"{file.name}: expected a file of lines, found a table")
    return _dataset(files, _line_blocks)


def run(
    task: convert.Task,
    inputs: Sequence[str],
    output: str,
    *,
    filesystem: Any = None,
    watch: convert.Watcher | None = None,
) -> Tally:
    """Parses all inputs, files and folders, on the cluster that there is, or else on one begun here; what was in them.

    The output is a folder if its name ends in `/`, has no suffix, or is that of a local folder: new, or empty. It gets
    the files part-00000.jsonl and so on (.parquet where `task.to` is "rows"), in the order of the input, and `_SUCCESS`
    when all are there. Until then they are in `.partial` inside. Any other name is that of one local file, which this
    process writes as `convert.convert` does, to the same lines and rows. Two runs at a time must not have one output.

    Inputs are local or URIs, and so is a folder; `filesystem` is pyarrow's or fsspec's, and then that of all of them.
    Raises Unreadable where an input ends in a fault: the first of them, in the order of the inputs; TypeError and
    ValueError for tables without the columns that they should have; OSError for what cannot be written; RuntimeError
    where the cluster fails, or does not get on for as long as Ray waits. Of a folder nothing is left then.
    """
    task = msgspec.structs.replace(task, threads=1)
    files = find(inputs, filesystem)
    folder = folder_of(output, (LINES if task.to == "lines" else PARQUET).suffix, filesystem)
    if folder is None:
        check_apart((file.path for file in files if file.stamp is not None), [output])
    else:
        folder.check(files)
    types = _types(task, files)
    size = sum(file.size for file in files)
    told = watch or _nobody
    with _cluster(bars=watch is None and sys.stderr.isatty()), _errors_of_tasks():
        pieces = _dataset(files, partial(_piece_blocks, most=task.max_record_size))
        if folder is None:
            return _into_file(task, inputs, output, pieces, types, lambda taken, tally: told(taken, size, tally))
        return _into_folder(task, folder, pieces, types, lambda taken, tally: told(taken, size, tally))


def _nobody(taken: int, size: int | None, tally: Tally) -> None:
    """Watches nothing."""


@contextmanager
def _cluster(*, bars: bool) -> Iterator[None]:
    """A cluster: the one that there is, or one for the time of the context; blocks keep their order."""
    begun = not ray.is_initialized()
    logger = logging.getLogger("ray.data")
    level = logger.level
    with ExitStack() as stack:
        if begun:
            stack.callback(ray.shutdown)
            _begin()
        context = DataContext.get_current()
        settings = [
            (context.execution_options, "preserve_order", True),
            (context, "enable_progress_bars", bars),
            (context, "print_on_execution_start", False),
        ]
        for holder, name, value in settings:
            stack.callback(setattr, holder, name, getattr(holder, name))
            setattr(holder, name, value)
        stack.callback(logger.setLevel, level)
        logger.setLevel(logging.CRITICAL)  # what goes wrong is raised
        yield


def _begin() -> None:
    """Connects to the cluster that RAY_ADDRESS names or Ray finds, or begins one, which tells nobody of its use."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@contextmanager
def _errors_of_tasks() -> Iterator[None]:
    """Raises what a task raised as it was, and what befell the cluster as a RuntimeError of one line."""
    try:
        yield
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, (Unreadable, OSError, ImportError, TypeError, ValueError)):
            raise cause from None
        reason = next((line for line in str(cause or error).splitlines() if line.strip()), type(error).__name__)
        raise RuntimeError(f"the cluster failed: {reason}") from error


class LogDatasource(Datasource):
    """Files as blocks of Ray's: some files to a task, which gives block by block what they hold."""

    def __init__(
        self, files: Sequence[RemoteFile], groups: int, blocks: Callable[[Sequence[RemoteFile]], Iterator[pa.Table]]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self._files = files
        self._groups = groups
        self._blocks = blocks

    def estimate_inmemory_data_size(self) -> int | None:
        return sum(file.size for file in self._files)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        count = min(max(parallelism, 1), self._groups)
        bounds = [len(self._files) * index // count for index in range(count + 1)]
        groups = [self._files[begin:end] for begin, end in pairwise(bounds)]
        return [self._read_task(group, per_task_row_limit) for group in groups]

    def _read_task(self, group: Sequence[RemoteFile], limit: int | None) -> ReadTask:
        blocks = self._blocks
        metadata = BlockMetadata(
            num_rows=None,
            size_bytes=sum(file.size for file in group),
            input_files=tuple(printable(file.name) for file in group),
            exec_stats=None,
        )
        return ReadTask(lambda: blocks(group), metadata, per_task_row_limit=limit)


def _dataset(
    files: Sequence[RemoteFile], blocks: Callable[[Sequence[RemoteFile]], Iterator[pa.Table]]
) -> ray.data.Dataset:
    """The files as a dataset with enough blocks for all cores, none of them larger than Ray allows."""
    size = sum(file.size for file in files)
    if not ray.is_initialized():
        _begin()
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call,unused-ignore]
    tasks = _TASKS_PER_CORE * int(resources.get("CPU", 1))
    most = DataContext.get_current().target_max_block_size or size + 1
    groups = max(1, min(len(files), max(tasks, size // _TASK_BYTES)))
    splits = max(1, ceil(tasks / max(groups, size // most)))
    source = LogDatasource(files, groups, blocks)
    dataset: ray.data.Dataset = ray.data.read_datasource(source, override_num_blocks=groups * splits)
    return dataset


def _line_blocks(files: Sequence[RemoteFile]) -> Iterator[pa.Table]:
    for file in files:
        for piece, _ in pieces_of(file, sys.maxsize):
            yield _block({"path": printable(file.name), "first": piece.first, "data": piece.data}, _LINES)


def _piece_blocks(files: Sequence[RemoteFile], most: int) -> Iterator[pa.Table]:
    """The pieces of files up to the first fault, which is the last row."""
    for file in files:
        row: Parcel = {"file": file.number, "is_table": is_table(file.name)}
        try:
            for piece, taken in pieces_of(file, most):
                data = _as_stream(piece.data) if row["is_table"] else piece.data
                after = msgspec.msgpack.encode(piece.after)
                found = {"first": piece.first, "after": after, "taken": taken, "data": data}
                yield _block({**row, **found, "too_long": piece.too_long}, _PIECES)
        except (Unreadable, ImportError) as error:
            yield _block({**row, "fault": pickle.dumps(error)}, _PIECES)
            return


def _block(row: Parcel, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([row], schema=schema)


def _in_block(block: pa.Table) -> Iterator[Parcel]:
    for index in range(block.num_rows):  # one at a time, for they are large
        yield block.slice(index, 1).to_pylist()[0]


def _as_stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _batch_of(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()


def _types(task: convert.Task, files: Sequence[RemoteFile]) -> dict[str, Any] | None:
    """The columns of JSON fields, which the first piece of lines decides; None where there is none."""
    if task.to != "rows":
        return None
    for file in files:
        if is_table(file.name):
            continue
        try:
            with closing(pieces_of(file, task.max_record_size)) as pieces:
                for piece, _ in pieces:
                    return convert.types_in(task, piece)
        except (Unreadable, ImportError):  # told in its place
            return None
    return None


def _parsed(rows: Iterable[Parcel], task: convert.Task, types: FieldTypes) -> Iterator[Parcel]:
    for row in rows:
        if row["fault"] is None:
            try:
                data = _batch_of(row["data"]) if row["is_table"] else row["data"]
                made, tally = task.do(data, row["first"], types, row["too_long"])
                row["data"] = made if isinstance(made, bytes) else pickle.dumps(made)
                row["tally"] = msgspec.msgpack.encode(tally)
            except (ImportError, TypeError, ValueError) as error:
                row |= {"data": None, "fault": pickle.dumps(error)}
        yield row


def _parse_block(block: pa.Table, task: convert.Task, types: FieldTypes) -> Iterator[pa.Table]:
    for row in _parsed(_in_block(block), task, types):
        yield _block(row, _MADE)


def _mapped(dataset: ray.data.Dataset, function: Callable[..., Any], **arguments: Any) -> ray.data.Dataset:
    return dataset.map_batches(function, batch_size=None, batch_format="pyarrow", fn_kwargs=arguments)


def _given(dataset: ray.data.Dataset) -> Iterator[Parcel]:
    """The rows of a dataset, as soon as they are there. Raises the first fault among them."""
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in _in_block(block):
            if row["fault"] is not None:
                raise pickle.loads(row["fault"])
            yield row


def _tally(row: Parcel) -> Tally:
    return msgspec.msgpack.decode(row["tally"], type=Tally)


def _into_file(
    task: convert.Task,
    inputs: Sequence[str],
    output: str,
    pieces: ray.data.Dataset,
    types: dict[str, Any] | None,
    watch: Callable[[int, Tally], None],
) -> Tally:
    """Writes here what all nodes made of the pieces. What comes before a fault is kept as one machine keeps it."""
    state = convert.RunState(types=types)
    with Output(output, convert.run_of(task, inputs), resume=False) as target:
        try:
            for row in _given(_mapped(pieces, _parse_block, task=task, types=types or {})):
                made = row["data"] if task.to == "lines" else pickle.loads(row["data"])
                convert.write(target, made, state.tally.records)
                state.add(_tally(row), msgspec.msgpack.decode(row["after"], type=Place))
                watch(row["taken"], state.tally)
        except Unreadable:
            target.keep(state)
            raise
        convert.finish(target, task, state.tally)
    return state.tally


def _into_folder(
    task: convert.Task,
    folder: Folder,
    pieces: ray.data.Dataset,
    types: dict[str, Any] | None,
    watch: Callable[[int, Tally], None],
) -> Tally:
    """Has all nodes write what they made of the pieces."""
    arguments = {"task": task, "types": types or {}}
    folder.begin()
    try:
        if task.to == "rows" and not task.nested:
            # A conversation's number is known when all before it are parsed. Until then Ray holds what was made.
            made = _mapped(pieces, _parse_block, **arguments).materialize()
            parts = _mapped(made, _write_block, folder=folder, before=_records_before(made))
        else:
            parts = _mapped(pieces, _parse_and_write_block, folder=folder, **arguments)
        tally, names = _written(parts, watch)
        if not names:
            nothing = {"fault": None, "is_table": False, "data": b"", "first": 1, "file": 0, "too_long": 0}
            [row] = _parsed([nothing], task, {})
            names.append(_write_part([row], folder, {})["part"])
        folder.finish(names)
    except BaseException:
        folder.discard()
        raise
    return tally


def _records_before(made: ray.data.Dataset) -> dict[tuple[int, int], int]:
    """How many records there are before each piece, by its file and first line."""
    before, records = {}, 0
    for row in _given(made.select_columns(["file", "first", "tally", "fault"])):
        before[row["file"], row["first"]] = records
        records += _tally(row).records
    return before


def _written(parts: ray.data.Dataset, watch: Callable[[int, Tally], None]) -> tuple[Tally, list[str]]:
    """What was in all parts, and their names; ValueError for tables with different columns."""
    total, names = Tally(), []
    schema = None
    for row in _given(parts):
        if row["schema"] is not None:
            found = pa.ipc.read_schema(pa.py_buffer(row["schema"]))
            schema = schema or found
            check_columns(schema, found)
        total += _tally(row)
        names.append(row["part"])
        watch(row["taken"], total)
    return total, names


def _write_block(block: pa.Table, folder: Folder, before: Mapping[tuple[int, int], int]) -> Iterator[pa.Table]:
    if block.num_rows:
        yield _block(_write_part(_in_block(block), folder, before), _PARTS)


def _parse_and_write_block(
    block: pa.Table, folder: Folder, task: convert.Task, types: FieldTypes
) -> Iterator[pa.Table]:
    if block.num_rows:
        yield _block(_write_part(_parsed(_in_block(block), task, types), folder, {}), _PARTS)


def _write_part(rows: Iterable[Parcel], folder: Folder, before: Mapping[tuple[int, int], int]) -> Parcel:
    """Writes a part up to the first fault; its name is that of its first piece, so that a second attempt has it too."""
    rows = iter(rows)
    first = next(rows)
    if first["fault"] is not None:
        return {"fault": first["fault"]}
    part: Parcel = {"part": f"{first['file']:06}-{first['first']:012}"}
    total = Tally()
    try:
        with ExitStack() as stack:
            file = stack.enter_context(folder.filesystem.open_output_stream(f"{folder.partial}/{part['part']}"))
            writer = None
            for row in chain([first], rows):
                if row["fault"] is not None:
                    return {"fault": row["fault"]}
                if isinstance(folder.part_format, LineFormat):
                    file.write(folder.part_format.compress(row["data"]))
                else:
                    made = pickle.loads(row["data"])
                    for batch in convert.written(made, before.get((row["file"], row["first"]), 0)):
                        if writer is None:
                            part["schema"] = batch.schema.serialize().to_pybytes()
                            writer = stack.enter_context(closing(folder.part_format.write(file, batch.schema)))
                            schema = batch.schema
                        check_columns(schema, batch.schema)
                        writer.write(batch)
                total += _tally(row)
                part["taken"] = row.get("taken")
    except (OSError, ValueError) as error:
        return {"fault": pickle.dumps(error)}
    return {**part, "tally": msgspec.msgpack.encode(total)}


def _rows_of(table: pa.Table, parser: TableParser) -> Iterator[pa.Table]:
    """The rows of a block as files have them."""
    parser.schema(table.schema)  # tells what is wrong with it
    for rows in parser.parse(table.to_batches()):
        yield pa.Table.from_batches([_with_own_numbers(without_dictionaries(rows))])


def _with_own_numbers(rows: pa.RecordBatch) -> pa.RecordBatch:
    if _NUMBER not in rows.schema.names:
        return rows
    numbers = rows.column(_NUMBER)
    place = rows.schema.get_field_index("conversation")
    return rows.set_column(place, "conversation", numbers).drop_columns([_NUMBER])
