"""Parses logs on a Ray cluster. All nodes parse, and the output has the order of the input.

This module decides how files become blocks of a Ray dataset, how rows get the same numbers as on one machine, and when
an output is complete. Records are cut, parsed and written as on one machine, by `harmony/logs`. The module needs Ray,
which comes with the extra `ray`. Every node must have this package, and must see local files under the same paths.

A fault in a file is sent as a row of the dataset, after all good rows before it, and is raised in its place. If a task
raised the error itself, the rest of its block would be lost.
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
from harmony.parsing.shared import check_stripped

__all__ = ["parse", "read_lines", "run"]

#: A row of a Ray dataset: a piece of a log, or the result of one piece or of several.
Parcel: TypeAlias = dict[str, Any]

_TASK_BYTES: Final = 1 << 24  # small files are read together in tasks of about this size
_TASKS_PER_CORE: Final = 4
_NUMBER: Final = "_harmony_conversation"

_LINES: Final = pa.schema([("path", pa.string()), ("first", pa.int64()), ("data", pa.large_binary())])
_PIECES: Final = pa.schema(
    [
        ("file", pa.int32()),  # the index of the file
        ("first", pa.int64()),
        ("after", pa.binary()),  # the Place after the piece, encoded
        ("taken", pa.int64()),  # bytes read of all files so far
        ("is_table", pa.bool_()),
        ("data", pa.large_binary()),
        ("fault", pa.binary()),  # a pickled exception; then `data` is null
        ("too_long", pa.int64()),
    ]
)
_MADE: Final = pa.schema([*_PIECES, ("tally", pa.binary())])
_PARTS: Final = pa.schema(
    [
        ("part", pa.string()),  # the name of the part until all parts are complete
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
    stripped: bool = False,
    nested: bool = False,
) -> ray.data.Dataset:
    """Parses a dataset in which each row has a completion, and returns a lazy dataset of messages.

    The arguments and the rows are those of `harmony.batch.parse_table`, with ordinary strings instead of dictionaries:

        dataset = ray.data.from_items([{"id": "a", "tokens": [200008, 12194, 200002]}])
        harmony.ray.parse(dataset).select_columns(["id", "content"]).take_all()  # [{"id": "a", "content": "Hi"}]

    One column differs: `conversation` is not a row number, because Ray does not know how many rows other blocks have.
    It is unique for each row of the dataset, ascends within a block, and is the same for all messages of a row. Your
    own columns, such as an id, are repeated for each message. With `nested`, there is no column `conversation`.

    Raises the TypeError and ValueError of `parse_table`: at once if Ray already knows the columns, otherwise when the
    dataset is read.
    """
    if tokens is None and text is None:
        tokens = "tokens"
    if stripped:
        check_stripped(strict=strict)
    parser = TableParser(tokens, text, as_role(role), roles, strict=strict, stripped=stripped, nested=nested, threads=1)
    known = dataset.schema(fetch_if_missing=False)
    if known is not None and isinstance(known.base_schema, pa.Schema):
        parser.schema(known.base_schema)
    if not nested:
        dataset = dataset.with_column(_NUMBER, monotonically_increasing_id())
    return _mapped(dataset, _rows_of, parser=parser)


def read_lines(paths: str | Sequence[str], *, filesystem: Any = None) -> ray.data.Dataset:
    """Reads files of lines as a dataset of pieces. Nothing is decided about what the lines hold.

    Each row is a piece: the `path` of its file, the number of its `first` line (from 1), and its lines as bytes in
    `data`. A piece is about a mebibyte of whole lines, or one longer line, so files and lines may have any length.

        harmony.ray.read_lines("s3://bucket/logs/").count()  # the number of pieces

    `paths` are files and folders, local or as URIs. Compressed files are decompressed; the suffix says how.
    `filesystem` is a filesystem of pyarrow or fsspec, and is used for all paths. Raises Unreadable if a file does not
    exist, and ValueError for tables. If a file cannot be read to its end, reading the dataset raises Unreadable.
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
    """Parses all inputs, files and folders, on a cluster. Returns the tally of their records.

    It uses the running cluster, or starts one. Example, with `Task` of `harmony.logs.convert`:
    `harmony.ray.run(Task(to="rows"), ["s3://bucket/logs/"], "s3://bucket/messages/")`

    The output is a folder if its name ends in `/`, has no suffix, or is that of a local folder. The folder must be new
    or empty. It gets the files part-00000.jsonl and so on (.parquet if `task.to` is "rows"), in the order of the input,
    and `_SUCCESS` when all are complete. Until then they are in `.partial` inside it. Any other output is a local file,
    with the lines or rows that `convert.convert` writes. Two runs at the same time must not have the same output.
    Inputs, and an output folder, are local or URIs. `filesystem` is one of pyarrow or fsspec, used for all of them.

    Raises Unreadable for the first input that cannot be read to its end; TypeError and ValueError for tables without
    the required columns; OSError if the output cannot be written; RuntimeError if the cluster fails, or makes no
    progress for as long as Ray waits. After an error, an output folder is empty.
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
    told = watch or (lambda taken, size, tally: None)
    with _cluster(bars=watch is None and sys.stderr.isatty()), _errors_of_tasks():
        pieces = _dataset(files, partial(_piece_blocks, most=task.max_record_size))
        if folder is None:
            return _into_file(task, inputs, output, pieces, types, lambda taken, tally: told(taken, size, tally))
        return _into_folder(task, folder, pieces, types, lambda taken, tally: told(taken, size, tally))


@contextmanager
def _cluster(*, bars: bool) -> Iterator[None]:
    """The running cluster, or one that is started for this context. Blocks keep their order."""
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
        logger.setLevel(logging.CRITICAL)  # faults are raised, so Ray need not log them
        yield


def _begin() -> None:
    """Connects to the cluster of RAY_ADDRESS, or one that Ray finds, or starts one. Ray sends no usage statistics."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@contextmanager
def _errors_of_tasks() -> Iterator[None]:
    """Raises the original error of a task, and a RuntimeError of one line if the cluster failed."""
    try:
        yield
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, (Unreadable, OSError, ImportError, TypeError, ValueError)):
            raise cause from None
        reason = next((line for line in str(cause or error).splitlines() if line.strip()), type(error).__name__)
        raise RuntimeError(f"the cluster failed: {reason}") from error


class LogDatasource(Datasource):
    """Files as blocks of Ray. A task reads some of the files, and yields their content block by block."""

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
    """The files as a dataset. It has enough blocks for all cores, and no block is larger than Ray allows."""
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
    """The pieces of files up to the first fault. The fault is the last row."""
    for file in files:
        row: Parcel = {"file": file.number, "is_table": False}
        try:
            for piece, taken in pieces_of(file, most):
                row["is_table"] = not isinstance(piece.data, bytes)
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
    for index in range(block.num_rows):  # one at a time, because they are large
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
    """The types of the columns for JSON fields, from the first piece of lines; None if there is no such piece."""
    if task.to != "rows":
        return None
    for file in (file for file in files if not is_table(file.name)):
        try:
            with closing(pieces_of(file, task.max_record_size)) as pieces:
                for piece, _ in pieces:
                    return convert.types_in(task, piece) if isinstance(piece.data, bytes) else None
        except (Unreadable, ImportError):  # the dataset has it as a row, and it is raised there
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
    """Yields the rows of a dataset as soon as they are ready. Raises the first fault among them."""
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
    """Writes the results of all nodes to one file here. Results before a fault are kept, as on one machine."""
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
    """Makes each node write its results to the folder."""
    arguments = {"task": task, "types": types or {}}
    folder.begin()
    try:
        if task.to == "rows" and not task.nested:
            # The number of a conversation is known only when all pieces before it are parsed. Ray holds the results
            # until then.
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
    """The number of records before each piece, by file and first line."""
    before, records = {}, 0
    for row in _given(made.select_columns(["file", "first", "tally", "fault"])):
        before[row["file"], row["first"]] = records
        records += _tally(row).records
    return before


def _written(parts: ray.data.Dataset, watch: Callable[[int, Tally], None]) -> tuple[Tally, list[str]]:
    """The tally of all parts, and their names. Raises ValueError if their columns differ."""
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
    """Writes a part up to the first fault. The first piece gives it its name, so a second attempt has the same name."""
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
    """The rows of a block, with the types that files have."""
    parser.schema(table.schema)  # raises an error if a column is missing or has a wrong type
    for rows in parser.parse(table.to_batches()):
        yield pa.Table.from_batches([_with_own_numbers(without_dictionaries(rows))])


def _with_own_numbers(rows: pa.RecordBatch) -> pa.RecordBatch:
    if _NUMBER not in rows.schema.names:
        return rows
    numbers = rows.column(_NUMBER)
    place = rows.schema.get_field_index("conversation")
    return rows.set_column(place, "conversation", numbers).drop_columns([_NUMBER])
