"""Files of records, read in pieces: some whole lines, or some rows of a table, so that memory need not hold a file.

Decides by its suffix what a file is, how it is cut into pieces, and where reading goes on after an interruption. How
lines are cut depends on nothing but the file, the longest line that is allowed, and the offset at which a piece begins.
So a run that goes on where another stopped cuts as that one would have. What is good before a fault is given first, and
then the fault is told.

Does not know what a record is. The strings of a Parquet file are not checked to be UTF-8; all else in a table is.
"""

from __future__ import annotations

import errno
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from io import BufferedReader, FileIO
from pathlib import Path
from stat import S_ISDIR
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from xxhash import xxh3_64

from harmony.logs.cutting import Chunks, Fault, cut
from harmony.logs.places import Changed, Place, Stamp, describe, stamp_of

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
    from _typeshed import WriteableBuffer

Format: TypeAlias = Literal["lines", "gzip", "zstd", "parquet", "arrow"]

#: The formats that hold tables; the others hold lines.
TABLES: Final = ("parquet", "arrow")
#: The most bytes in a piece of several lines.
BLOCK: Final = 1 << 20
#: The most rows in a piece of a table.
ROWS: Final = 16_384
#: The most bytes in a line, where nobody says otherwise.
MAX_LINE: Final = 256_000_000

_FORMATS: Final[dict[str, Format]] = {".gz": "gzip", ".zst": "zstd", ".parquet": "parquet", ".arrow": "arrow"}
#: The logs that are looked for in a folder.
LOG_SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".arrow")
_LIBRARIES: Final = {"zstd": "zstandard", "parquet": "pyarrow.parquet", "arrow": "pyarrow"}
_BUFFER: Final = 1 << 16
# A step of inflation: it reads little, for what follows a member's end is copied, and gives no more than it may.
_COMPRESSED_STEP: Final = 1 << 14
_INFLATED_STEP: Final = 1 << 18
_ARROW_FILE: Final = b"ARROW1"
_ZSTD_FRAME: Final = 0xFD2FB528
_ZSTD_SKIPPED: Final = 0x184D2A50 >> 4  # the last four bits are free


class Unreadable(Exception):  # noqa: N818  nothing is known to be wrong with what the file holds
    """Raised for a file that cannot be read, or not to its end; it says which, why, and how far it was read."""


class Piece(NamedTuple):
    """Whole lines (bytes), or rows (RecordBatch), the number of the first of them in its file, and the place after.

    `too_long` is 0, or the size in bytes of the first line where that is longer than is allowed. An empty line stands
    in its place.
    """

    data: bytes | pa.RecordBatch
    first: int
    after: Place
    too_long: int = 0


def format_of(name: str) -> Format:
    """What a file is by its suffix, in upper or lower case; `-` and all other suffixes are plain lines."""
    return _FORMATS.get(Path(name).suffix.lower(), "lines")


def library_of(file_format: Format) -> ModuleType:
    """The library that reads and writes a format; ImportError says how to install it."""
    name = _LIBRARIES[file_format]
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise ImportError(f"files of {file_format} need {package}: pip install 'harmony-codec[cli]'") from None


def expand(names: Iterable[str]) -> list[tuple[str, str]]:
    """The files that are named, or are in the folders that are: each with its name relative to that folder, or its own.

    Of a folder these are all files whose suffix is that of a log, also in folders inside, in the order of their names,
    without those that are hidden. Raises Unreadable where a file or a folder is missing, cannot be read, or holds none.
    """
    found: list[tuple[str, str]] = []
    for name in names:
        try:
            if name != "-" and S_ISDIR(Path(name).stat().st_mode):
                inside = _inside(Path(name))
                if not inside:
                    raise Unreadable(f"{name}: expected a file named {', '.join(LOG_SUFFIXES)}, found none")
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
            # A link to nothing is named, so that it is told; a pipe would wait.
            is_log = name.lower().endswith(LOG_SUFFIXES) and (path.is_file() or not path.exists())
            if is_log and not name.startswith("."):
                found.append((str(path), str(path.relative_to(folder))))
    return sorted(found, key=lambda pair: pair[1])


class Reader:
    """The pieces of some files, one after the other; `-` is standard input.

    It begins at a place that an earlier piece was followed by; `before` are the last places in the files before that
    one. With `full`, a piece of lines is as large as it may be; without, it is given as soon as there are some whole
    lines, for a reader who waits. Raises Unreadable; Changed, before the first piece, where a file is not the one that
    an earlier reader read; and ImportError where a library is missing. `size` is the bytes of all files as they are
    stored, None if not known.
    Of a line of more than `most` bytes nothing is kept but its size.
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
            if (file_format := format_of(name)) in _LIBRARIES:
                library_of(file_format)
        self._names = list(names)
        self._begin = place
        self._before = before
        self._full = full
        self._most = most
        self._stamps = [_stamp(name) for name in names]
        self._sizes = [stamp and stamp[0] for stamp in self._stamps]
        self.size = None if None in self._sizes else sum(size or 0 for size in self._sizes)
        self._done = sum(size or 0 for size in self._sizes[: place.file])
        self._file: _Counted | None = None
        self._index = place.file

    @property
    def taken(self) -> int:
        """The bytes taken so far, of all files as they are stored, with those that an earlier run took."""
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
        if place.offset and format_of(name) in TABLES and place.stamp != stamp:
            raise _changed(name, f"expected {describe(place.stamp)}, found {describe(stamp)}")
        try:
            self._file = _Counted(sys.stdin.fileno(), closefd=False) if name == "-" else _Counted(name)
        except OSError as error:
            raise unread(name, error) from None
        with BufferedReader(self._file, _BUFFER) as source:
            yield from pieces(name, source, msgspec.structs.replace(place, stamp=stamp), self._most, full=self._full)


class _Counted(FileIO):
    """A file whose bytes are counted as they are taken. Where there are none yet, that is not taken for its end."""

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


def pieces(name: str, source: BufferedReader[Any], place: Place, most: int, *, full: bool = True) -> Iterator[Piece]:
    """The pieces of an open file, from a place in it; `source.raw.taken` is how many bytes were taken of it."""
    if format_of(name) in TABLES:
        yield from _rows(name, source, place)
    else:
        yield from _lines(name, source, place, most, full)


def unread(name: str, error: Exception, read: int = 0, unit: str = "line") -> Unreadable:
    """What a fault after so many lines or rows becomes."""
    known = error.strerror if isinstance(error, OSError) else None
    reason = known or str(error).strip() or type(error).__name__
    after = f" after {read:,} {unit}{'s'[: read != 1]}" if read else ""
    return Unreadable(f"{_shown(name)} cannot be read{after}: {reason}")


def _changed(name: str, fact: str) -> Changed:
    return Changed(f"{_shown(name)} is not the file that was read before: {fact}")


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name


def _lines(name: str, source: BufferedReader[_Counted], place: Place, most: int, full: bool) -> Iterator[Piece]:
    """The rest of a file of lines, from a place in it."""
    offset, number, digest = place.offset, place.number, xxh3_64()
    chunks = Chunks(_DECODERS[format_of(name)](source))
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
    for lines in cut(chunks, digest, BLOCK, most, full):
        first = number
        number += lines.data.count(b"\n") + (not lines.data.endswith(b"\n"))
        offset += lines.size
        after = Place(place.file, offset, number, digest.intdigest(), place.stamp)
        yield Piece(lines.data, first, after, lines.too_long)
    if chunks.fault is not None:
        raise unread(name, chunks.fault, number - 1)


def _plain(file: BufferedReader[_Counted]) -> Iterator[bytes]:
    while chunk := file.read1(BLOCK):
        yield chunk


def _gunzipped(file: BufferedReader[_Counted]) -> Iterator[bytes]:
    """What the members of a gzip file hold; zeros may follow each of them."""
    data = file.read1(_COMPRESSED_STEP)
    while data:
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            before = inflater.copy()
            try:
                chunk = inflater.decompress(data, _INFLATED_STEP)
            except zlib.error as error:
                if chunk := _inflated_before_fault(before, data):
                    yield chunk
                raise Fault(f"expected gzip data, found a fault: {error}") from None
            if chunk:
                yield chunk
            data = inflater.unconsumed_tail
            # A step that gave all it may can have more to give, without any more data.
            if not data and len(chunk) < _INFLATED_STEP and not inflater.eof:
                data = file.read1(_COMPRESSED_STEP)
                if not data:
                    raise Fault("expected the rest of a gzip member, found the end of the file")
        data = inflater.unused_data.lstrip(b"\0")
        while not data and (more := file.read1(_COMPRESSED_STEP)):
            data = more.lstrip(b"\0")


def _inflated_before_fault(inflater: Any, data: bytes) -> bytes:
    """All that comes before the fault that is known to be in the data; zlib gives nothing from a step that has one."""
    inflated = bytearray()
    steps = [b"", *(data[index : index + 1] for index in range(len(data)))]  # first, what it holds already
    try:
        for step in steps:
            byte = inflater.decompress(step, 1)
            while byte:
                inflated += byte
                byte = inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error:
        pass
    return bytes(inflated)


def _unzstd(file: BufferedReader[_Counted]) -> Iterator[bytes]:
    """What the frames of a zstd file hold. A step with a fault gives nothing, so each step is one block."""
    zstandard = library_of("zstd")
    decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    for block in _zstd_blocks(file):
        try:
            chunk = decompressor.decompress(block)
        except zstandard.ZstdError as error:
            raise Fault(f"expected zstd data, found a fault: {error}") from None
        if chunk:
            yield chunk


def _zstd_blocks(file: BufferedReader[_Counted]) -> Iterator[bytes]:
    """The frames of a zstd file (RFC 8878), cut into their headers, blocks and checksums."""
    while magic := file.read(4):
        number = int.from_bytes(magic, "little")
        if number >> 4 == _ZSTD_SKIPPED and len(magic) == 4:
            size = int.from_bytes(_whole(file.read(4), 4), "little")
            while size:
                size -= len(_whole(file.read(min(size, BLOCK)), min(size, BLOCK)))
            continue
        if number != _ZSTD_FRAME:
            raise Fault(f"expected a zstd frame, found the bytes {magic.hex(' ')}")
        descriptor = _whole(file.read(1), 1)
        flags = descriptor[0]
        one_segment, has_checksum = flags >> 5 & 1, flags >> 2 & 1
        size = (1 - one_segment) + (0, 1, 2, 4)[flags & 3] + (one_segment, 2, 4, 8)[flags >> 6]
        yield magic + descriptor + _whole(file.read(size), size)
        is_last = 0
        while not is_last:
            header = _whole(file.read(3), 3)
            fields = int.from_bytes(header, "little")
            is_last, is_one_byte = fields & 1, fields >> 1 & 3 == 1
            size = 1 if is_one_byte else fields >> 3
            block = file.read(size)
            yield header + block  # also if it is cut off, for one that is not compressed gives what there is
            _whole(block, size)
        if has_checksum:
            yield _whole(file.read(4), 4)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise Fault("expected the rest of a zstd frame, found the end of the file")
    return data


_DECODERS: Final[dict[str, Callable[[BufferedReader[_Counted]], Iterator[bytes]]]] = {
    "lines": _plain,
    "gzip": _gunzipped,
    "zstd": _unzstd,
}


def _rows(name: str, source: BufferedReader[_Counted], place: Place) -> Iterator[Piece]:
    """The rest of a table, from a place in it."""
    arrow = library_of("arrow")
    done, offset, end = place.number - 1, place.offset, 0
    batches = _parquet_batches if format_of(name) == "parquet" else _arrow_batches
    try:
        for count, batch in batches(source, done):
            start, end = end, end + count
            if end <= done:
                continue
            if start < done:
                raise _changed(name, f"expected rows up to {done:,} in the batches read before, found {end:,}")
            offset += 1
            yield Piece(batch, start + 1, Place(place.file, offset, end + 1, stamp=place.stamp))
    except (OSError, ValueError, MemoryError, arrow.ArrowException) as error:
        raise unread(name, error, max(end, done), "row") from None
    if end < done:
        raise _changed(name, f"expected at least {done:,} rows, found {end:,}")


def _parquet_batches(source: BufferedReader[_Counted], done: int) -> Iterator[tuple[int, pa.RecordBatch | None]]:
    """The batches of a Parquet file, each with its number of rows; None is a row group that was done before."""
    # Only with both of the first two options it does not read the whole of a row group, which may be the whole file.
    table = library_of("parquet").ParquetFile(
        source, pre_buffer=False, buffer_size=BLOCK, page_checksum_verification=True
    )
    _check_names(table.schema_arrow)
    end = 0
    for index in range(table.num_row_groups):
        group = table.metadata.row_group(index)
        end += group.num_rows
        if end <= done:
            source.raw.taken += sum(group.column(column).total_compressed_size for column in range(group.num_columns))
            yield group.num_rows, None
            continue
        for batch in table.iter_batches(ROWS, row_groups=[index]):
            if batch.num_rows:
                yield batch.num_rows, batch


def _arrow_batches(source: BufferedReader[_Counted], done: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batches of an Arrow file or stream, each with its number of rows."""
    batches = table = _arrow_table(source)
    if isinstance(table, library_of("arrow").ipc.RecordBatchFileReader):
        batches = map(table.get_batch, range(table.num_record_batches))
    _check_names(table.schema)
    end = 0
    for batch in batches:
        end += batch.num_rows
        if end > done:
            batch.validate(full=True)  # what it points to must be there
        for begin in range(0, batch.num_rows, ROWS):
            rows = batch.slice(begin, ROWS)
            yield rows.num_rows, rows


def no_rows(name: str) -> pa.RecordBatch:
    """The columns of a table, without its rows. Raises Unreadable."""
    arrow = library_of("arrow")
    try:
        with BufferedReader(FileIO(name)) as source:
            table = library_of("parquet").ParquetFile(source) if format_of(name) == "parquet" else _arrow_table(source)
            schema = table.schema_arrow if format_of(name) == "parquet" else table.schema
            return arrow.RecordBatch.from_pylist([], schema=schema)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise unread(name, error) from None


def _arrow_table(source: BufferedReader[Any]) -> Any:
    """What reads an Arrow file, or a stream."""
    ipc = library_of("arrow").ipc
    is_file = source.peek(len(_ARROW_FILE)).startswith(_ARROW_FILE)
    return ipc.open_file(source) if is_file else ipc.open_stream(source)


def _check_names(schema: pa.Schema) -> None:
    """Raises UnicodeDecodeError where the name of a column, or of a field inside one, is not UTF-8."""
    fields = list(schema)
    for field in fields:  # it grows
        str(field.name)  # decoded when it is asked for
        fields += [field.type.field(index) for index in range(field.type.num_fields)]
