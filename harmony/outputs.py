"""Files written whole or not at all, which a run that was killed leaves so that another can go on with them.

Decides what stands beside a file while it is written. `NAME.partial` holds what was written so far: lines, each write
of them compressed by itself, or the journal of a table, an Arrow stream. `NAME.partial.state` says how much of it
counts, and what the caller wants to find again. What was written after that is cut off, and is to be written anew.

Does not know what a state or a run is. It does not wait for the disk until the end: what was kept outlives the process,
and not the machine.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import zlib
from contextlib import closing, suppress
from io import BufferedWriter, FileIO
from itertools import zip_longest
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Self

import msgspec

from harmony.errors import quote
from harmony.files import TABLES, Format, format_of, library_of

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

_GZIP_LEVEL: Final = 6
# A row group of Parquet ends with the batch that reaches either of them.
_GROUP_ROWS: Final = 1 << 17
_GROUP_BYTES: Final = 1 << 26
_MISSING: Final = object()


class CannotResume(Exception):  # noqa: N818  nothing is wrong with what is to be written
    """Raised where an output cannot be gone on with, or another run is writing it; it says why, and what to do."""


class _Kept(msgspec.Struct):
    """What is in a state file: `size` is the bytes of the partial file that count."""

    run: dict[str, Any]
    size: Annotated[int, msgspec.Meta(ge=0)]
    state: dict[str, Any]


def is_finished(name: str) -> bool:
    """Whether an output has its name already, and no other run has begun it anew."""
    path = Path(os.path.realpath(name))
    return name != "-" and path.is_file() and not _beside(path, ".partial").exists()


class Output:
    """A file that appears under its name when it is whole. Until then it is `NAME.partial`, with `NAME.partial.state`.

    `run` is what must be the same to go on, such as options and inputs. `state` is the last state kept by the run that
    is gone on with, as JSON gives it back (bytes are base64); None where the output begins anew. `-` is standard
    output; it and what is no regular file, such as a pipe, are written directly, and nothing of them can be kept.

    Raises CannotResume, an OSError as it comes, and ImportError where a library is missing. To leave the context
    without `finish` keeps the partial file as it is.
    """

    def __init__(self, name: str, run: dict[str, Any], *, resume: bool) -> None:
        self.state: dict[str, Any] | None = None
        self._format = format_of(name)
        if self._format not in ("lines", "gzip"):
            library_of(self._format)
        self._run: dict[str, Any] = _as_json(run)
        self._size = 0
        self._schema: pa.Schema | None = None
        self._writer: TableWriter | None = None
        self._file: BinaryIO
        self._is_standard = name == "-"
        self._is_direct = _is_special(name)
        if self._is_direct:
            self._file = sys.stdout.buffer if name == "-" else BufferedWriter(FileIO(name, "w"))
            return
        self._path = Path(os.path.realpath(name))  # a link stays one
        self._partial = _beside(self._path, ".partial")
        self._state_file = _beside(self._partial, ".state")
        is_there = self._partial.exists()
        self._file = _locked(self._partial)
        try:
            if resume and is_there and self._state_file.exists():
                self._go_on()
            else:
                self._state_file.unlink(missing_ok=True)
                self._file.truncate(0)
        except BaseException:
            self._file.close()
            raise

    def write(self, data: bytes | pa.RecordBatch) -> None:
        """Appends lines, or the rows of a batch; the first batch, which may be empty, has the schema of all."""
        if self._format in TABLES:
            self._write_rows(data)
        elif data:
            self._append(_compressed(self._format, data))

    def keep(self, state: dict[str, Any]) -> None:
        """All that was written so far, and this state, survive a kill from now on."""
        if self._is_direct:
            self._file.flush()
            return
        kept = {"run": self._run, "size": self._size, "state": msgspec.to_builtins(state)}
        new = _beside(self._state_file, ".new")
        try:
            new.write_text(json.dumps(kept), "ascii")  # the name of a file need not be Unicode
            new.replace(self._state_file)
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    def finish(self) -> None:
        """Gives the file its name; ValueError for a table that has no schema, for nothing was written."""
        if self._format in TABLES and self._schema is None:
            raise ValueError("expected a batch, if only an empty one for the schema of the table, found none")
        if self._size == 0 and self._format in ("gzip", "zstd"):
            self._append(_compressed(self._format, b""))  # no bytes at all are not a file of the format
        if self._is_direct:
            self._close()
            return
        if sys.platform == "win32":
            self._file.close()  # an open file keeps its name there
        elif self._format not in TABLES:
            os.fsync(self._file.fileno())
        if self._format in TABLES:
            self._copy_journal()
            self._partial.unlink()
        else:
            self._partial.replace(self._path)
        self._state_file.unlink(missing_ok=True)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self._is_standard:
            self._file.flush()
        else:
            self._file.close()

    def _go_on(self) -> None:
        """Takes up what an earlier run kept."""
        again = f"remove {self._partial} to begin anew"
        try:
            kept = msgspec.convert(json.loads(self._state_file.read_bytes()), _Kept)
            if kept.run == self._run:
                found = os.fstat(self._file.fileno()).st_size
                if found < kept.size:
                    raise ValueError(f"{self._partial.name} has {found:,} bytes, not {kept.size:,}")
                self._file.truncate(kept.size)
                self._size = self._file.seek(kept.size)
                if self._format in TABLES and self._size:
                    self._schema = _schema_of(self._partial)
        except (ValueError, msgspec.ValidationError, RecursionError) as error:
            reason = f"expected what an earlier run kept, found a fault: {error}"
            raise CannotResume(f"{self._state_file} cannot be gone on with: {reason}; {again}") from None
        if kept.run != self._run:
            path, before, now = _difference(kept.run, self._run)
            raise CannotResume(f"{self._partial} is of another run: {path} was {before}, and is {now}; {again}")
        self.state = kept.state

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            if not self._is_direct:  # what is half written must not stand before what comes next
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise
        self._size += len(data)

    def _write_rows(self, batch: pa.RecordBatch) -> None:
        if self._schema is not None:
            check_columns(self._schema, batch.schema)
        if self._is_direct:
            self._writer = self._writer or TableWriter(self._file, self._format, batch.schema)
            self._writer.write(batch)
        else:
            messages = [] if self._schema is not None else [batch.schema.serialize()]
            self._append(b"".join([*messages, batch.serialize()] if batch.num_rows else messages))
        self._schema = batch.schema

    def _copy_journal(self) -> None:
        """Makes the journal a file of the table's own format, batch by batch, and gives it its name."""
        whole = _beside(self._partial, ".whole")
        try:
            with self._partial.open("rb") as journal, whole.open("wb") as file:
                with closing(TableWriter(file, self._format, self._schema)) as writer:
                    for batch in library_of("arrow").ipc.open_stream(journal):
                        writer.write(batch)
                file.flush()
                os.fsync(file.fileno())
            whole.replace(self._path)
        except BaseException:
            with suppress(OSError):
                whole.unlink(missing_ok=True)
            raise


def check_columns(expected: pa.Schema, found: pa.Schema) -> None:
    """Raises ValueError where columns are not those that a table has already, and names the first that is not."""
    for before, now in zip_longest(expected, found):
        if before is None or now is None or not before.equals(now):
            raise ValueError(f"expected the column {_column(before)} in all of a table, found {_column(now)}")


def _column(field: pa.Field | None) -> str:
    return "nothing" if field is None else f"`{field.name}` of {field.type}"


class TableWriter:
    """Writes a table in its own format: Parquet by row groups of many batches, Arrow batch by batch."""

    def __init__(self, file: BinaryIO, file_format: Format, schema: pa.Schema) -> None:
        if file_format == "parquet":
            new = library_of("parquet").ParquetWriter
            self._writer = new(file, schema, compression="zstd", write_page_checksum=True)
        else:
            self._writer = library_of("arrow").ipc.new_file(file, schema)
        self._in_groups = file_format == "parquet"
        self._group: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if not self._in_groups:
            self._writer.write_batch(batch)
            return
        self._group.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(library_of("arrow").Table.from_batches(self._group), row_group_size=self._rows)
        self._group = []
        self._rows = self._bytes = 0


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_special(name: str) -> bool:
    """Whether a name is that of no regular file, and of none that is to be made; IsADirectoryError for a folder."""
    try:
        mode = 0 if name == "-" else Path(name).stat().st_mode
    except OSError:  # told when it is opened, if it is more than a file that is not there yet
        return False
    if S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return not S_ISREG(mode)


def _locked(path: Path) -> FileIO:
    """A file opened to be written by one run at a time; it is made if need be, and not emptied."""
    while True:
        file = FileIO(path, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666))
        if sys.platform == "win32":
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise CannotResume(f"{path} is being written by another run: wait until it has ended") from None
        except OSError:  # a file system without locks
            return file
        # The run that held the lock may have given the file its name in the meantime: then it is no longer this one.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _compressed(file_format: Format, data: bytes) -> bytes:
    """Lines as they are stored: a gzip member or a zstd frame by itself, the same bytes at any time."""
    if file_format == "gzip":
        return zlib.compress(data, _GZIP_LEVEL, wbits=31)
    if file_format == "zstd":
        compressed: bytes = library_of("zstd").ZstdCompressor(write_checksum=True).compress(data)
        return compressed
    return data


def _schema_of(journal: Path) -> Any:
    """The schema that a journal begins with; ValueError where it does not."""
    arrow = library_of("arrow")
    with journal.open("rb") as file:
        try:
            return arrow.ipc.open_stream(file).schema
        except (OSError, arrow.ArrowException) as error:
            raise ValueError(f"{journal.name} begins with no schema of a table: {error}") from None


def _as_json(value: Any) -> Any:
    """A value as it comes back from a state file."""
    return json.loads(json.dumps(msgspec.to_builtins(value)))


def _difference(before: Any, now: Any, path: str = "") -> tuple[str, str, str]:
    """Where two values first differ, as `key[index]`, and what stands there in either."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = {key: (before.get(key, _MISSING), now.get(key, _MISSING)) for key in before | now}
        inside = {f"{path}.{key}".removeprefix("."): pair for key, pair in pairs.items()}
    elif isinstance(before, list) and isinstance(now, list):
        longest = range(max(len(before), len(now)))
        inside = {f"{path}[{i}]": (_item(before, i), _item(now, i)) for i in longest}
    else:
        return quote(path), _shown(before), _shown(now)
    name, (one, other) = next((name, pair) for name, pair in inside.items() if pair[0] != pair[1])
    return _difference(one, other, name)


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _MISSING


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else quote(json.dumps(value))
