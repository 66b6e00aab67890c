"""The formats of log files, as one table: the suffix of each, the library it needs, and what reads and writes it.

To add a format, add one entry to FORMATS. If it needs a library, add that to the extra `cli` in `pyproject.toml`. Help
texts, error messages, the search in folders, outputs and `--resume` all take what they need from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

import msgspec

from harmony.logs import compression, table_files
from harmony.runtime.extras import how_to_install

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.logs.table_files import Batches, TableWriter


class FileFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The common part of all formats: the name in errors, the suffix of a log, and the module that it needs.

    A file of the format begins with one of the bytes of `magic`. Without them, only the suffix tells the format.
    """

    name: str
    suffix: str
    library: str | None = None
    magic: tuple[bytes, ...] = ()

    @property
    def ending(self) -> str:
        """The last part of the suffix, such as `.gz`. Every name with this ending has this format."""
        return Path(f"log{self.suffix}").suffix

    def load(self) -> None:
        """Imports the library; ImportError says how to install it."""
        if self.library is None:
            return
        try:
            import_module(self.library)
        except ImportError:
            package = self.library.partition(".")[0]
            raise ImportError(f"files of {self.name} need {package}: {how_to_install('cli', package)}") from None


class LineFormat(FileFormat, frozen=True, kw_only=True):
    """A format for lines of JSON. The output of `compress` for one write must be readable without other writes."""

    decompress: Callable[[BufferedReader[Any]], Iterator[bytes]]
    compress: Callable[[bytes], bytes]


class TableFormat(FileFormat, frozen=True, kw_only=True):
    """A format for a table. The arguments of `read` are the number of rows to skip, and the most rows in a batch.

    If it `streams`, it can be read from a pipe.
    """

    read: Callable[[BufferedReader[Any], int, int], Batches]
    read_schema: Callable[[BufferedReader[Any]], pa.Schema]
    write: Callable[[BinaryIO, pa.Schema], TableWriter]
    streams: bool = False


Format: TypeAlias = LineFormat | TableFormat

#: Lines that are not compressed; also the format of standard input and of every name without a known suffix.
LINES: Final = LineFormat(name="lines", suffix=".jsonl", decompress=compression.read_uncompressed, compress=bytes)
#: The format of tables in an output folder, where no suffix names one.
PARQUET: Final = TableFormat(
    name="parquet",
    suffix=".parquet",
    library="pyarrow.parquet",
    magic=(b"PAR1",),
    read=table_files.read_parquet,
    read_schema=table_files.read_parquet_schema,
    write=table_files.ParquetWriter,
)

# Other suffixes for lines: one that only lines have, and one that other JSON has too.
_LINES_TOO: Final = (".jsonl", ".ndjson")
_MAYBE_LINES: Final = ".json"

#: All formats, in the order in which help texts and errors list their suffixes.
FORMATS: Final[list[Format]] = [
    LINES,
    LineFormat(
        name="gzip",
        suffix=".jsonl.gz",
        magic=(b"\x1f\x8b",),
        decompress=compression.read_gzip,
        compress=compression.write_gzip,
    ),
    LineFormat(
        name="zstd",
        suffix=".jsonl.zst",
        library="zstandard",
        magic=(b"\x28\xb5\x2f\xfd", *(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))),
        decompress=compression.read_zstd,
        compress=compression.write_zstd,
    ),
    PARQUET,
    TableFormat(
        name="arrow",
        suffix=".arrow",
        library="pyarrow",
        magic=(b"ARROW1", b"\xff\xff\xff\xff"),
        streams=True,
        read=table_files.read_arrow,
        read_schema=table_files.read_arrow_schema,
        write=table_files.ArrowWriter,
    ),
]


def format_of(name: str) -> Format:
    """The format for the last suffix of a name, in upper or lower case. It is LINES for `-` and all other names.

    That is the format of an output. What an input holds is told by `magic.py`.
    """
    ending = _suffix(name)
    return next((each for each in FORMATS if each.ending == ending), LINES)


def _suffix(name: str) -> str:
    """The last suffix, in lower case; of a web address, that before its question mark."""
    if name.startswith(("http://", "https://")):
        name = name.partition("?")[0]
    return Path(name).suffix.lower()


def by_magic(head: bytes) -> Format | None:
    """The format of a file that begins with these bytes; None if they are the magic bytes of none."""
    return next((each for each in FORMATS if each.magic and head.startswith(each.magic)), None)


def may_become_magic(head: bytes) -> bool:
    """Whether these bytes are too few to tell a format: more of them may be magic bytes."""
    return not head or any(magic.startswith(head) for each in FORMATS for magic in each.magic)


def is_table(name: str) -> bool:
    """Whether the suffix of this name is that of a table; otherwise it is that of lines."""
    return isinstance(format_of(name), TableFormat)


def is_log(name: str) -> bool:
    """Whether a file of this name in a folder is read as a log."""
    return name.lower().endswith(tuple(suffix for each in FORMATS for suffix in _endings(each, *_LINES_TOO)))


def may_be_log(name: str) -> bool:
    """Whether a file of this name in a folder is read as a log if it holds lines."""
    return name.lower().endswith(tuple(suffix for each in FORMATS for suffix in _endings(each, _MAYBE_LINES)))


def check_output(name: str) -> None:
    """Raises ValueError if the name of an output has a suffix that no format has."""
    ending = _suffix(name)
    if ending and ending not in (*_LINES_TOO, _MAYBE_LINES, *(each.ending for each in FORMATS)):
        raise ValueError(f"{name}: expected an output named {suffixes()}, found the suffix `{ending}`")


def _endings(file_format: Format, *lines: str) -> list[str]:
    """The suffixes of a format. For lines, other words may stand in the place of `.jsonl`."""
    if isinstance(file_format, TableFormat):
        return [file_format.suffix]
    return [file_format.suffix.replace(LINES.suffix, word, 1) for word in lines]


def suffixes(kind: type[FileFormat] = FileFormat) -> str:
    """The suffixes of all formats, or only of lines or of tables, as a list for texts."""
    return ", ".join(each.suffix for each in FORMATS if isinstance(each, kind))
