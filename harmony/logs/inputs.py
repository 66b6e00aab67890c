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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from xxhash import xxh3_64

from harmony.logs.cutting import Chunks, cut
from harmony.logs.formats import LineFormat, TableFormat, format_of, is_log, is_table, suffixes
from harmony.logs.limits import MAX_LINE as MAX_LINE
from harmony.logs.places import Changed, Place, Stamp, describe, stamp_of

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


def expand(names: Iterable[str]) -> list[tuple[str, str]]:
    """The files for some names of files and folders, each with its name relative to the folder.

    A folder stands for all its files with the suffix of a log, also in folders inside it, in the order of their names.
    Hidden files are left out. Raises Unreadable if a file or folder is missing or cannot be read, or if a folder has no
    log.
    """
    found: list[tuple[str, str]] = []
    for name in names:
        try:
            if name != "-" and S_ISDIR(Path(name).stat().st_mode):
                inside = _inside(Path(name))
                if not inside:
                    raise Unreadable(f"{name}: expected a file named {suffixes()}, found none")
                found += inside
            else:
                found.append((name, Path(name).name))
        except OSError as error:
            raise unread(str(error.filename or name), error) from None
    for name, _ in found:
        if name != "-" and not os.access(name, os.R_OK):
            reason = errno.EACCES if Path(name).exists() else errno.ENOENT
            raise unread(name, OSError(reason, os.strerror(reason)))
    return found


def _inside(folder: Path) -> list[tuple[str, str]]:
    def refuse(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            # A broken link is kept, so it is reported. A pipe is left out, because reading it would wait.
            if is_log(name) and not name.startswith(".") and (path.is_file() or not path.exists()):
                found.append((str(path), str(path.relative_to(folder))))
    return sorted(found, key=lambda pair: pair[1])


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
        self._stamps = [_stamp(name) for name in names]
        self._sizes = [stamp and stamp[0] for stamp in self._stamps]
        self.size = None if None in self._sizes else sum(size or 0 for size in self._sizes)
        self._done = sum(size or 0 for size in self._sizes[: place.file])
        self._file: Counted | None = None
        self._index = place.file

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
        if place.offset and is_table(name) and place.stamp != stamp:
            raise _changed(name, f"expected {describe(place.stamp)}, found {describe(stamp)}")
        with opened(name) as file:
            self._file = file.raw
            yield from pieces(name, file, msgspec.structs.replace(place, stamp=stamp), self._most, full=self._full)


class Counted(FileIO):
    """A file that counts the bytes that are read.

    If non-blocking input has no bytes yet, that is an error, not the end.
    """

    taken = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count: int | None = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.taken += count
        return count


def _stamp(name: str) -> Stamp | None:
    try:
        return stamp_of(name)
    except OSError as error:
        raise unread(name, error) from None


@contextmanager
def opened(name: str) -> Iterator[BufferedReader[Counted]]:
    """Opens a file for reading, or standard input for `-`. Raises Unreadable."""
    try:
        file = Counted(sys.stdin.fileno(), closefd=False) if name == "-" else Counted(name)
    except OSError as error:
        raise unread(name, error) from None
    with BufferedReader(file, _BUFFER) as buffered:
        yield buffered


def pieces(name: str, file: BufferedReader[Any], place: Place, most: int, *, full: bool = True) -> Iterator[Piece]:
    """The pieces of an open file after a place in it. `file.raw.taken` is the number of bytes read."""
    file_format = format_of(name)
    if isinstance(file_format, TableFormat):
        yield from _rows(name, file_format, file, place)
    else:
        yield from lines(name, chunks_of(file_format, file), place, most, full=full)


def chunks_of(file_format: LineFormat, file: BufferedReader[Any]) -> Chunks:
    """The bytes that an open file of lines holds, decompressed."""
    return Chunks(file_format.decompress(file))


def unread(name: str, error: Exception, read: int = 0, unit: str = "line") -> Unreadable:
    """The exception for a fault in a file after `read` lines or rows."""
    known = error.strerror if isinstance(error, OSError) else None
    reason = known or str(error).strip() or type(error).__name__
    after = f" after {read:,} {unit}{'s'[: read != 1]}" if read else ""
    return Unreadable(f"{_shown(name)} cannot be read{after}: {reason}")


def _changed(name: str, fact: str) -> Changed:
    return Changed(f"{_shown(name)} is not the file that was read before: {fact}")


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name


def lines(name: str, chunks: Chunks, place: Place, most: int, *, full: bool) -> Iterator[Piece]:
    """The pieces of a file of lines after a place in it. The chunks start at the beginning of the file."""
    offset, number, digest = place.offset, place.number, xxh3_64()
    size, last = 0, b""
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

    file_format = format_of(name)
    assert isinstance(file_format, TableFormat)
    try:
        with opened(name) as file:
            return pa.RecordBatch.from_pylist([], schema=file_format.read_schema(file))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unread(name, error) from None
