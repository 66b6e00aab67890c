"""Files of records, read in pieces: some whole lines, or some rows of a table, so that no file need fit in memory.

Where lines are cut depends only on the file, the limit for a line, and the offset at which a piece begins. So a resumed
run cuts at the same places. Everything good before a fault is yielded first, and then the fault is raised.

`records.py` reads the records, and `formats.py` the bytes of each format.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from xxhash import xxh3_64

from harmony.logs import stores
from harmony.logs.cutting import Chunks, cut
from harmony.logs.formats import (
    Format,
    LineFormat,
    TableFormat,
    format_of,
    is_log,
    may_be_log,
    may_become_magic,
    suffixes,
)
from harmony.logs.limits import MAX_LINE as MAX_LINE
from harmony.logs.magic import HEAD, WrongFormatError, check_lines, format_in
from harmony.logs.places import Changed, Place, Stamp, describe, is_seal, stamp_of

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer

#: The most bytes in a piece of several lines.
BLOCK: Final = 1 << 20
#: The most rows in a piece of a table.
ROWS: Final = 16_384

_BUFFER: Final = 1 << 16


class Unreadable(Exception):  # noqa: N818  nothing is known to be wrong with what the file holds
    """Raised for a file that cannot be read, or not to its end; it says which, why, and how far it was read."""


class Piece(NamedTuple):
    """Whole lines (bytes) or rows (RecordBatch), the number of the first one in its file, and the place after them.

    `too_long` is 0, or the size in bytes of the first line if it is over the limit. An empty line stands in its place.
    """

    data: bytes | pa.RecordBatch
    first: int
    after: Place
    too_long: int = 0

    @property
    def unit(self) -> Literal["line", "row"]:
        """What the numbers of its records count."""
        return "line" if isinstance(self.data, bytes) else "row"


def expand(names: Iterable[str], skipped: list[str] | None = None) -> list[tuple[str, str]]:
    """The files for some names of files and folders, each with its name relative to the folder.

    A folder stands for all its files with the suffix of a log, also in folders inside it, in the order of their names.
    A file named `.json` is one of them if it holds lines. The names of all others, and of hidden files and folders, are
    added to `skipped`. A name may be a URI, and may have glob signs. Raises Unreadable if a file or folder is missing
    or cannot be read, or if a folder has no log; ImportError and ValueError for a URI that cannot be used.
    """
    skipped = [] if skipped is None else skipped
    found: list[tuple[str, str]] = []
    for name in map(stores.local, names):
        try:
            inside = _several(name, skipped)
        except OSError as error:
            raise unread(str(error.filename or name), error) from None
        if inside is not None and not inside:
            raise Unreadable(f"{name}: expected a file named {suffixes()}, found none")
        found += [(name, Path(name).name)] if inside is None else inside
    for name, _ in found:
        if name != "-" and not stores.is_remote(name) and not os.access(name, os.R_OK):
            reason = errno.EACCES if Path(name).exists() else errno.ENOENT
            raise unread(name, OSError(reason, os.strerror(reason)))
    return found


def _several(name: str, skipped: list[str]) -> list[tuple[str, str]] | None:
    """The files that a name stands for; None if it is the name of one file. Raises OSError."""
    if name == "-":
        return None
    if stores.is_pattern(name):
        found = stores.matches(name)
        if not found:
            raise Unreadable(f"{name}: expected a file that matches it, found none")
        return found if Path(name).suffix else _logs_of(found, skipped)
    if stores.is_remote(name):
        inside = stores.files_of(name)
        return None if inside is None else _logs_of(inside, skipped)
    return _inside(Path(name), skipped) if S_ISDIR(Path(name).stat().st_mode) else None


def _logs_of(files: Sequence[tuple[str, str]], skipped: list[str]) -> list[tuple[str, str]]:
    """Those of some files that are read in a folder."""
    found = []
    for name, relative in files:
        parts = relative.split("/")
        if not any(part.startswith(".") for part in parts) and is_read_in_folder(name, parts[-1]):
            found.append((name, relative))
        elif not is_seal(parts[-1]):
            skipped.append(relative)
    return found


def _inside(folder: Path, skipped: list[str]) -> list[tuple[str, str]]:
    def refuse(error: OSError) -> None:
        raise error

    found, others = [], []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        others += [f"{Path(parent, name).relative_to(folder)}/" for name in folders if name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            relative = str(path.relative_to(folder))
            # A broken link is kept, so it is reported. A pipe is left out, because reading it would wait.
            if is_read_in_folder(str(path), name) and (path.is_file() or not path.exists()):
                found.append((str(path), relative))
            elif not is_seal(name):
                others.append(relative)
    skipped += sorted(others)
    return sorted(found, key=lambda pair: pair[1])


def is_read_in_folder(path: str, name: str) -> bool:
    """Whether a file of a folder, of this name, is read as a log."""
    if name.startswith("."):
        return False
    return is_log(name) or (may_be_log(name) and _has_lines(path))


def _has_lines(name: str) -> bool:
    """Whether a file of JSON has lines of it. A file that cannot be read counts too, so it is reported."""
    if not stores.is_remote(name) and not os.access(name, os.R_OK):
        return True
    try:
        with opened(name) as file:
            file_format = format_here(name, file)
            if isinstance(file_format, LineFormat):
                check_lines(name, chunks_of(file_format, file).start())
    except (Unreadable, WrongFormatError):
        return False
    return True


class Reader:
    """Iterates over the pieces of some files, one file after another. `-` is standard input.

    It begins at `place`, the place after an earlier piece. `before` has the last places in the files before that one.
    With `full`, pieces of lines are as large as allowed. Without it, a piece is yielded as soon as some whole lines are
    there, for output that somebody waits for. Of a line of more than `most` bytes, only the size is kept. `size` is the
    size of all files in bytes, as they are stored; None if it is unknown.

    Raises Unreadable. Raises Changed, before the first piece, if a file is not the file that was read before. Raises
    ImportError if a library is missing.
    """

    def __init__(
        self,
        names: Sequence[str],
        place: Place = Place(),  # noqa: B008
        before: Sequence[Place] = (),
        *,
        full: bool = True,
        most: int = MAX_LINE,
    ) -> None:
        for name in names:
            format_of(name).load()
        self._names = list(names)
        self._begin = place
        self._before = before
        self._full = full
        self._most = most
        self._stamps = stamps_of(names)
        self._sizes = [stamp and stamp[0] for stamp in self._stamps]
        self.size: int | None = None if None in self._sizes else sum(size or 0 for size in self._sizes)
        self._done = sum(size or 0 for size in self._sizes[: place.file])
        self._file: Counted | stores.StoreFile | None = None
        self._index = place.file

    @property
    def stamps(self) -> list[Stamp | None]:
        """The stamps of the files, as they were before they were read."""
        return self._stamps

    @property
    def taken(self) -> int:
        """The bytes read so far of all files, as they are stored, including those of an earlier run."""
        if self._file is None:
            return self._done
        size = self._sizes[self._index]
        return self._done + (self._file.taken if size is None else min(self._file.taken, size))

    def __iter__(self) -> Iterator[Piece]:
        for place in self._before:
            if place.stamp is None or place.stamp != self._stamps[place.file]:
                for _ in self._rest(place):
                    raise _changed(self._names[place.file], "expected nothing behind what was read, found more")
        for index in range(self._begin.file, len(self._names)):
            yield from self._rest(self._begin if index == self._begin.file else Place(index))
            self._done, self._file = self.taken, None

    def _rest(self, place: Place) -> Iterator[Piece]:
        """The pieces of a file that follow a place in it."""
        self._index = place.file
        name, stamp = self._names[place.file], self._stamps[place.file]
        with opened(name) as file:
            self._file = file.raw
            if place.offset and isinstance(format_here(name, file), TableFormat) and place.stamp != stamp:
                raise _changed(name, f"expected {describe(place.stamp)}, found {describe(stamp)}")
            yield from pieces(name, file, msgspec.structs.replace(place, stamp=stamp), self._most, full=self._full)


class Counted(FileIO):
    """A file that counts the bytes that are read.

    If non-blocking input has no bytes yet, that is an error, not the end.
    """

    taken: int = 0
    _head: bytes = b""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count: int | None
        if self._head:
            with memoryview(buffer).cast("B") as view:
                count = min(len(view), len(self._head))
                view[:count] = self._head[:count]
            self._head = self._head[count:]
        elif (count := super().readinto(buffer)) is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.taken += count
        return count

    def head(self) -> bytes:
        """The first bytes of a pipe, at least as many as tell the format. They are read again afterwards."""
        while len(self._head) < HEAD and may_become_magic(self._head):
            more = super().read(_BUFFER)
            if more is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            if not more:
                break
            self._head += more
        return self._head


def stamps_of(names: Iterable[str]) -> list[Stamp | None]:
    """The stamps of files. Raises Unreadable."""
    stamps = []
    for name in names:
        try:
            stamps.append(stamp_of(name))
        except OSError as error:
            raise unread(name, error) from None
    return stamps


@contextmanager
def opened(name: str) -> Iterator[BufferedReader[Any]]:
    """Opens a file for reading, by its name or URI, or standard input for `-`. Raises Unreadable."""
    file: Counted | stores.StoreFile
    try:
        if stores.is_remote(name):
            file = stores.opened(name, seekable=isinstance(format_of(name), TableFormat))
        else:
            file = Counted(sys.stdin.fileno(), closefd=False) if name == "-" else Counted(name)
    except OSError as error:
        raise unread(name, error) from None
    with BufferedReader(file, _BUFFER) as buffered:
        yield buffered


def pieces(name: str, file: BufferedReader[Any], place: Place, most: int, *, full: bool = True) -> Iterator[Piece]:
    """The pieces of an open file after a place in it. `file.raw.taken` is the number of bytes read."""
    file_format = format_here(name, file)
    if isinstance(file_format, TableFormat):
        yield from _rows(name, file_format, file, place)
    else:
        yield from lines(name, chunks_of(file_format, file), place, most, full=full)


def format_here(name: str, file: BufferedReader[Any]) -> Format:
    """The format of a file that was just opened. Raises Unreadable, and ImportError if its library is missing."""
    try:
        seekable = file.seekable()
        is_pipe = isinstance(file.raw, Counted) and not seekable
        head = file.raw.head() if is_pipe else file.peek(HEAD)
        found = format_in(name, head[:HEAD])
    except (OSError, WrongFormatError) as error:
        raise unread(name, error) from None
    if isinstance(found, TableFormat) and not (found.streams or seekable):
        reason = f"{found.name} data is read from its end, which a stream cannot give: pass the name of a file"
        raise unread(name, ValueError(reason))
    found.load()
    return found


def holds_table(name: str) -> bool:
    """Whether a file holds a table; otherwise it holds lines. Standard input is not looked at. Raises Unreadable."""
    if name == "-":
        return False
    with opened(name) as file:
        return isinstance(format_here(name, file), TableFormat)


def chunks_of(file_format: LineFormat, file: BufferedReader[Any]) -> Chunks:
    """The bytes that an open file of lines holds, decompressed."""
    return Chunks(file_format.decompress(file))


def unread(name: str, error: Exception, read: int = 0, unit: str = "line") -> Unreadable:
    """The exception for a fault in a file after `read` lines or rows."""
    known = error.strerror if isinstance(error, OSError) else None
    reason = known or str(error).strip() or type(error).__name__
    after = f" after {read:,} {unit}{'s'[: read != 1]}" if read else ""
    return Unreadable(f"{input_name(name)} cannot be read{after}: {reason}")


def _changed(name: str, fact: str) -> Changed:
    return Changed(f"{input_name(name)} is not the file that was read before: {fact}")


def input_name(name: str) -> str:
    """The name of an input as errors show it."""
    return "standard input" if name == "-" else name


def lines(name: str, chunks: Chunks, place: Place, most: int, *, full: bool) -> Iterator[Piece]:
    """The pieces of a file of lines after a place in it. The chunks start at the beginning of the file."""
    offset, number, digest = place.offset, place.number, xxh3_64()
    size, last = 0, b""
    if not offset:
        try:
            check_lines(name, chunks.start())
        except WrongFormatError as error:
            raise unread(name, error) from None
    for data in chunks.first(offset):
        size, last = size + len(data), data[-1:]
        digest.update(data)
    if chunks.fault is not None:
        raise unread(name, chunks.fault)
    if size < offset:
        raise _changed(name, f"expected at least {offset:,} bytes, found {size:,}")
    if digest.intdigest() != place.digest:
        raise _changed(name, f"expected the {offset:,} bytes that were read, found others")
    if last not in (b"", b"\n") and chunks.take():
        raise _changed(name, f"expected its end at byte {offset:,}, found more")
    for block in cut(chunks, digest, BLOCK, most, full):
        first = number
        number += block.data.count(b"\n") + (not block.data.endswith(b"\n"))
        offset += block.size
        after = Place(place.file, offset, number, digest.intdigest(), place.stamp)
        yield Piece(block.data, first, after, block.too_long)
    if chunks.fault is not None:
        raise unread(name, chunks.fault, number - 1)


def _rows(name: str, file_format: TableFormat, file: BufferedReader[Any], place: Place) -> Iterator[Piece]:
    """The pieces of a table after a place in it."""
    import pyarrow as pa  # loaded here, because lines need no Arrow

    done, offset, end = place.number - 1, place.offset, 0
    try:
        for count, batch in file_format.read(file, done, ROWS):
            start, end = end, end + count
            if end <= done:
                continue
            if start < done:
                raise _changed(name, f"expected rows up to {done:,} in the batches read before, found {end:,}")
            offset += 1
            yield Piece(batch, start + 1, Place(place.file, offset, end + 1, stamp=place.stamp))
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise unread(name, error, max(end, done), "row") from None
    if end < done:
        raise _changed(name, f"expected at least {done:,} rows, found {end:,}")


def no_rows(name: str) -> pa.RecordBatch:
    """An empty batch with the columns of a table. Raises Unreadable."""
    import pyarrow as pa  # loaded here, because lines need no Arrow

    try:
        with opened(name) as file:
            file_format = format_here(name, file)
            assert isinstance(file_format, TableFormat)
            return pa.RecordBatch.from_pylist([], schema=file_format.read_schema(file))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unread(name, error) from None
