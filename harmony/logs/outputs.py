"""Writes files completely or not at all. If a run is killed, another run can resume its output.

While a file is written, there are two other files beside its name. `NAME.partial` holds the output so far: lines (each
write is compressed separately), or the journal of a table, which is an Arrow stream. `NAME.partial.state` holds the
number of valid bytes in it, and the state of the caller. A run that resumes cuts off the bytes after these, and writes
them again. The state file has a checksum of itself and one of the valid bytes; both are checked.

This module does not interpret the run or its state. It waits for the disk only at the end. So what was kept survives a
crash of the process, but not of the machine.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from io import BufferedWriter, FileIO
from itertools import zip_longest
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Self, TextIO

import msgspec
from xxhash import xxh3_64

from harmony.logs import stores
from harmony.logs.formats import LineFormat, TableFormat, format_of
from harmony.logs.places import SEAL, Stamp
from harmony.logs.states import Finished, Kept, difference, digest_of, framed, replace

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.logs.table_files import TableWriter

_BLOCK: Final = 1 << 20


class CannotResume(Exception):  # noqa: N818  nothing is wrong with what is to be written
    """Raised if an output cannot be resumed, or another run is writing it. It says why, and what to do."""


class Paths(NamedTuple):
    """All files for an output: itself, and the files beside it while it is written."""

    output: Path
    partial: Path
    state: Path
    new_state: Path
    table: Path  # the table that is made of its journal
    finished: Path  # the state that stays beside an output that is complete
    new_finished: Path

    @classmethod
    def of(cls, name: str) -> Paths:
        """The paths for an output that is a regular file. If the name is a link, they are beside its target.

        For a URI, they are in the current folder. The finished file and its state are then in the store.
        """
        path = os.path.realpath(stores.base_name(name) if stores.is_remote(name) else name)
        beside = (".partial", ".partial.state", ".partial.state.new", ".partial.whole")
        folder, name = os.path.split(path)
        finished = [Path(folder, f".{name}{SEAL}{suffix}") for suffix in ("", ".new")]
        return cls(Path(path), *(Path(path + suffix) for suffix in beside), *finished)


def check_apart(inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raises ValueError if two outputs are the same file, or an output is also an input, under any name or link.

    Call it before anything is written. `-` is standard input and standard output.
    """
    known: dict[object, str] = {}
    for name in inputs:
        known |= dict.fromkeys(_keys(name, sys.stdin), "standard input" if name == "-" else f"the input {name}")
    written = set()
    for name in outputs:
        if name in written:
            raise ValueError(f"{name} would be written twice, because two inputs have that name: rename one of them")
        written.add(name)
        whole = "standard output" if name == "-" else f"the output {name}"
        paths = ["-"] if name == "-" else [] if is_special(name) else map(str, Paths.of(name))
        for index, path in enumerate(paths):
            said = f"{path}, which {whole} needs," if index else whole
            keys = _keys(path, sys.stdout)
            for key in keys & known.keys():
                raise ValueError(f"{said} is also {known[key].rstrip(',')}: write elsewhere, or rename the input")
            known |= dict.fromkeys(keys, said)


def _keys(name: str, standard: TextIO) -> set[object]:
    """What identifies a file under any name: its path without links, and its device and inode if it exists."""
    if stores.is_remote(name):
        return {name}
    keys: set[object] = set() if name == "-" else {os.path.realpath(name)}
    with suppress(OSError, ValueError):  # it does not exist, or has no inode
        found = os.fstat(standard.fileno()) if name == "-" else Path(name).stat()
        if S_ISREG(found.st_mode):
            keys.add((found.st_dev, found.st_ino))
    return keys


def finished(name: str, run: dict[str, Any], stamps: Sequence[Stamp | None]) -> dict[str, Any] | None:
    """The tally of the run that has finished an output; None if there is no such file, or a run is writing it again.

    Raises CannotResume if the file is not what this run would write of inputs with these stamps.
    """
    if is_special(name):
        return None
    paths = Paths.of(name)
    there = None if paths.partial.exists() else _what_is_there(name, paths)
    if there is None:
        return None
    size, seal, data = there
    advice = f"; remove {name} to begin anew, or write elsewhere"
    if data is None:
        reason = "is empty, and" if size == 0 else "is a file that"
        raise CannotResume(f"{name} {reason} no run of harmony has finished: {seal} is missing{advice}")
    try:
        found = Finished.read(data)
    except ValueError as error:
        raise CannotResume(f"{seal}, the state of {name}, cannot be used: {error}{advice}") from None
    if (other := found.other_run(run, stamps)) is not None:
        raise CannotResume(f"{name} is complete, but {other}{advice}")
    if found.size != size:
        cut = f"it had {found.size:,} bytes then, and has {size:,}"
        raise CannotResume(f"{name} was changed or cut off after it was complete: {cut}{advice}")
    if found.digest != _digest(name, paths.output):
        raise CannotResume(f"{name} was changed after it was complete: it has other bytes{advice}")
    return found.tally


def _what_is_there(name: str, paths: Paths) -> tuple[int, str, bytes | None] | None:
    """The size of an output, the name of its state, and the state if there is one; None if there is no output."""
    if stores.is_remote(name):
        try:
            stamp = stores.stamp_of(name)
        except FileNotFoundError:
            return None
        seal = stores.seal_of(name, paths.finished.name)
        return stamp[0] if stamp else 0, seal, stores.read(seal)
    if not paths.output.is_file():
        return None
    data = paths.finished.read_bytes() if paths.finished.exists() else None
    return paths.output.stat().st_size, str(paths.finished), data


def _digest(name: str, file: Path) -> int | str | None:
    """What tells the bytes of an output from others: their hash, or the version in a store."""
    if not stores.is_remote(name):
        return digest_of(file)
    stamp = stores.stamp_of(name)
    return stamp and stamp[1]


class Output:
    """A file that gets its name when it is complete. Until then it is `NAME.partial`, with `NAME.partial.state`.

    `run` is what must be the same to resume, such as options and inputs. `state` is the last state that the earlier run
    kept, as read from JSON (bytes are base64); None if the output starts from the beginning. `discarded` says whether
    an earlier run could have been resumed, and its partial file was emptied instead. `-` is standard output.
    Standard output, and other files that are not regular, such as pipes, are written directly and cannot be resumed.

    Raises CannotResume, OSError, and ImportError if a library is missing. If the context ends without `finish`, the
    partial file is kept.
    """

    def __init__(self, name: str, run: dict[str, Any], *, resume: bool) -> None:
        self.state: dict[str, Any] | None = None
        self.discarded: bool = False
        self._format = format_of(name)
        self._format.load()
        self._run = json.dumps(run).encode("ascii")  # the name of a file need not be Unicode
        self._size = 0
        self._digest = xxh3_64()  # of the `_size` bytes that were written
        self._schema: pa.Schema | None = None
        self._writer: TableWriter | None = None
        self._file: BinaryIO
        self._is_standard = name == "-"
        self._is_direct = is_special(name)
        self._remote = name if stores.is_remote(name) else None
        if self._remote is not None:
            stores.check_output(name)
        if self._is_direct:
            self._file = sys.stdout.buffer if name == "-" else BufferedWriter(FileIO(name, "w"))
            return
        self._paths = Paths.of(name)
        is_there = self._paths.partial.exists()
        self._file = _locked(self._paths.partial)
        try:
            if resume and is_there and self._paths.state.exists():
                self._go_on()
            else:
                self.discarded = is_there and self._paths.state.exists()
                self._paths.state.unlink(missing_ok=True)
                self._file.truncate(0)
        except BaseException:
            self._file.close()
            raise

    def write(self, data: bytes | pa.RecordBatch) -> None:
        """Appends lines, or the rows of a batch. All batches have the schema of the first one, which may be empty."""
        if isinstance(self._format, TableFormat):
            self._write_rows(self._format, data)
        elif data:
            self._append(self._format.compress(data))

    def keep(self, state: Any) -> None:
        """Writes the state file. From now on, this state and the output so far survive a kill."""
        if self._is_direct:
            self._file.flush()
            return
        kept = (self._run, self._size, self._digest.intdigest(), msgspec.json.encode(state))
        body = b'{"run":%b,"size":%d,"digest":%d,"state":%b}' % kept
        replace(self._paths.state, self._paths.new_state, framed(body))

    def discard(self) -> None:
        """Removes what was written. Nothing of it is to be gone on with."""
        if not self._is_direct:
            self._paths.partial.unlink(missing_ok=True)
            self._paths.state.unlink(missing_ok=True)

    def refusal(self, reason: str) -> CannotResume:
        """The exception for a run that cannot be resumed."""
        return CannotResume(f"{reason}; remove {self._paths.partial} to begin anew")

    def finish(self, stamps: Sequence[Stamp | None] | None = None, tally: Any = None) -> None:
        """Completes the file and gives it its name. Raises ValueError for a table if no batch was written.

        With the stamps of the inputs, a state stays beside the file, so that `finished` knows it.
        """
        if isinstance(self._format, TableFormat) and self._schema is None:
            raise ValueError("expected a batch, if only an empty one for the schema of the table, found none")
        if self._size == 0 and isinstance(self._format, LineFormat):
            self._append(self._format.compress(b""))  # an empty file would not be a valid gzip or zstd file
        if self._is_direct:
            self._close()
            return
        if sys.platform == "win32":
            self._file.close()  # Windows cannot rename an open file
        elif isinstance(self._format, LineFormat):
            os.fsync(self._file.fileno())
        if isinstance(self._format, TableFormat):
            self._copy_journal(self._format, lambda whole: self._name(whole, digest_of(whole), stamps, tally))
            self._paths.partial.unlink()
        else:
            self._name(self._paths.partial, self._digest.intdigest(), stamps, tally)
            self._paths.partial.unlink(missing_ok=True)
        self._paths.state.unlink(missing_ok=True)
        self._file.close()

    def _name(self, file: Path, digest: int, stamps: Sequence[Stamp | None] | None, tally: Any) -> None:
        """Gives a file that is whole the name of the output, or uploads it. With stamps, a state stays beside it.

        Until the partial file is removed, a kill at any moment leaves a run that can be resumed.
        """
        size = file.stat().st_size
        made = None
        if stamps is not None:
            made = Finished(json.loads(self._run), list(stamps), msgspec.to_builtins(tally), size, digest)
        if self._remote is not None:
            self._upload(file, self._remote, made)
            return
        if made is None:
            self._paths.finished.unlink(missing_ok=True)
        else:
            replace(self._paths.finished, self._paths.new_finished, made.encoded())
        file.replace(self._paths.output)

    def _upload(self, file: Path, name: str, made: Finished | None) -> None:
        seal = stores.seal_of(name, self._paths.finished.name)
        stores.upload(file, name)
        if made is None:
            stores.remove(seal)
        else:
            stamp = stores.stamp_of(name)
            made.digest = stamp[1] if stamp else ""
            stores.write(seal, made.encoded())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and not self._is_direct and not self._size and not self._paths.state.exists():
            with suppress(OSError):  # nothing was written, so there is nothing to go on with
                self._paths.partial.unlink(missing_ok=True)
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
        """Resumes what an earlier run kept."""
        try:
            kept = Kept.read(self._paths.state)
            if (own := json.loads(self._run)) != kept.run:
                path, before, now = difference(kept.run, own)
                raise self.refusal(f"{self._paths.partial} is of another run: {path} was {before}, and is {now}")
            self._take_up(kept.size, kept.digest)
        except ValueError as error:
            raise self.refusal(f"{self._paths.state} cannot be gone on with: {error}") from None
        self.state = kept.state

    def _take_up(self, size: int, digest: int) -> None:
        """Continues after the first `size` bytes of the partial file. Raises ValueError if these were changed."""
        name = self._paths.partial.name
        while self._size < size and (data := self._file.read(min(size - self._size, _BLOCK))):
            self._digest.update(data)
            self._size += len(data)
        if self._size < size:
            raise ValueError(f"expected at least {size:,} bytes in {name}, found {self._size:,}")
        if self._digest.intdigest() != digest:
            raise ValueError(f"expected the {size:,} bytes that were written to {name}, found others")
        self._file.truncate(size)
        if isinstance(self._format, TableFormat) and size:
            import pyarrow as pa  # lines need no Arrow

            with self._paths.partial.open("rb") as journal:
                self._schema = pa.ipc.open_stream(journal).schema

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            if not self._is_direct:  # removes a half-written part, so the next write follows complete data
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise
        self._size += len(data)
        self._digest.update(data)

    def _write_rows(self, table: TableFormat, batch: pa.RecordBatch) -> None:
        if self._schema is not None:
            check_columns(self._schema, batch.schema)
        if self._is_direct:
            self._writer = self._writer or table.write(self._file, batch.schema)
            self._writer.write(batch)
        else:
            messages = [] if self._schema is not None else [batch.schema.serialize()]
            self._append(b"".join([*messages, batch.serialize()] if batch.num_rows else messages))
        self._schema = batch.schema

    def _copy_journal(self, table: TableFormat, name: Callable[[Path], None]) -> None:
        """Converts the journal to the format of the table, batch by batch, and calls `name` with the table."""
        import pyarrow as pa  # lines need no Arrow

        whole = self._paths.table
        try:
            with self._paths.partial.open("rb") as journal, whole.open("wb") as file:
                with closing(table.write(file, self._schema)) as writer:
                    for batch in pa.ipc.open_stream(journal):
                        writer.write(batch)
                file.flush()
                os.fsync(file.fileno())
            name(whole)
            whole.unlink(missing_ok=True)
        except BaseException:
            with suppress(OSError):
                whole.unlink(missing_ok=True)
            raise


def check_columns(expected: pa.Schema, found: pa.Schema) -> None:
    """Raises ValueError if columns differ from those of a table. It names the first column that differs."""
    for before, now in zip_longest(expected, found):
        if before is None or now is None or not before.equals(now):
            raise ValueError(f"expected the column {_column(before)} in all of a table, found {_column(now)}")


def _column(field: pa.Field | None) -> str:
    return "nothing" if field is None else f"`{field.name}` of {field.type}"


def is_special(name: str) -> bool:
    """Whether a name is an existing file that is not regular, such as a pipe. Raises IsADirectoryError for a folder."""
    if stores.is_remote(name):
        return False
    try:
        mode = 0 if name == "-" else Path(name).stat().st_mode
    except OSError:  # the file does not exist yet; any other error is raised when it is opened
        return False
    if S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return not S_ISREG(mode)


def _locked(path: Path) -> FileIO:
    """Opens a file for writing, with a lock against other runs. It is created if needed, and not emptied."""
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
        # The run that held the lock may have renamed the file meanwhile. Then the path is another file now.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
