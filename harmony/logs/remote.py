"""Local and remote files: those of any filesystem of Arrow or fsspec, given by URI or as an object.

This module finds the files for some names, as `inputs.expand` does for local files, and decides when a folder of parts
is complete. `inputs.py` cuts the files into pieces.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from importlib import import_module
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
from pyarrow import fs

from harmony.logs.formats import Format, format_of, is_log, is_table, suffixes
from harmony.logs.inputs import BLOCK, MAX_LINE, Piece, Unreadable, expand, opened, pieces, unread
from harmony.logs.places import Place, Stamp, stamp_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_AHEAD: Final = 1 << 23  # bytes that are requested from an object store at a time


class RemoteFile(NamedTuple):
    """An input file: its name as errors show it, and where it is."""

    number: int  # of the file, from 0
    name: str
    path: str
    filesystem: fs.FileSystem
    size: int
    before: int  # the bytes of all files before it
    stamp: Stamp | None  # of a local file


def find(names: Sequence[str], filesystem: Any) -> list[RemoteFile]:
    """The files for some names of files and folders. Raises Unreadable."""
    found: list[RemoteFile] = []
    before = 0
    for name in names:
        is_local = filesystem is None and "://" not in name
        for shown, place, path, size in _local_files(name) if is_local else _other_files(name, filesystem):
            stamp = stamp_of(path) if isinstance(place, fs.LocalFileSystem) else None
            found.append(RemoteFile(len(found), shown, path, place, size, before, stamp))
            before += size
    return found


def _local_files(name: str) -> Iterator[tuple[str, fs.FileSystem, str, int]]:
    for found, _ in expand([name]):
        status = None if found == "-" else Path(found).stat()
        if status is None or not stat.S_ISREG(status.st_mode):
            shown = "standard input" if status is None else found
            raise Unreadable(f"{shown} cannot be read by a cluster: expected a file")
        yield found, fs.LocalFileSystem(), str(Path(found).absolute()), status.st_size


def _other_files(name: str, filesystem: Any) -> Iterator[tuple[str, fs.FileSystem, str, int]]:
    place, path = _located(name, filesystem)
    try:
        info = place.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        inside = (
            place.get_file_info(fs.FileSelector(path, recursive=True)) if info.type == fs.FileType.Directory else []
        )
    except OSError as error:
        raise unread(name, error) from None
    if info.is_file:
        yield name, place, path, info.size
        return
    root = info.path.rstrip("/")
    files = {found.path.removeprefix(root).lstrip("/"): found for found in inside if found.is_file}
    logged = sorted(relative for relative in files if _is_log(relative))
    if not logged:
        raise Unreadable(f"{name}: expected a file named {suffixes()}, found none")
    for relative in logged:
        yield f"{name.rstrip('/')}/{relative}", place, files[relative].path, files[relative].size


def _is_log(relative: str) -> bool:
    is_hidden = any(part.startswith(".") for part in relative.split("/"))
    return not is_hidden and is_log(relative)


def _located(name: str, filesystem: Any) -> tuple[fs.FileSystem, str]:
    """The filesystem of a name, and its path there. Raises ValueError or ImportError for an unknown kind of URI."""
    if filesystem is not None:
        if not isinstance(filesystem, fs.FileSystem):
            filesystem = fs.PyFileSystem(fs.FSSpecHandler(filesystem))
        return filesystem, name.partition("://")[2] or name
    if "://" not in name:
        return fs.LocalFileSystem(), str(Path(name).absolute())
    try:
        place, path = fs.FileSystem.from_uri(name)
    except pa.ArrowInvalid:
        fsspec: Any = import_module("fsspec.core")  # Ray brings it
        other, path = fsspec.url_to_fs(name)
        place = fs.PyFileSystem(fs.FSSpecHandler(other))
    return place, path


class _Stream(RawIOBase):
    """Makes a Python file of an Arrow file, and counts the bytes that are read."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self.taken = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = int(self._file.readinto(buffer))
        self.taken += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def pieces_of(file: RemoteFile, most: int = MAX_LINE) -> Generator[tuple[Piece, int], None, None]:
    """The pieces of a file, cut as on one machine, each with the bytes read of all files so far. Raises Unreadable."""
    if isinstance(file.filesystem, fs.LocalFileSystem):
        with opened(file.path) as reader:
            for piece in pieces(file.name, reader, Place(file.number, stamp=file.stamp), most):
                yield piece, file.before + min(reader.raw.taken, file.size)
        return
    try:
        if is_table(file.name):
            stored = file.filesystem.open_input_file(file.path)
        else:
            stored = file.filesystem.open_input_stream(file.path, compression=None, buffer_size=_AHEAD)
    except OSError as error:
        raise unread(file.name, error) from None
    stream: Any = _Stream(stored)
    with BufferedReader(stream, BLOCK) as reader:
        for piece in pieces(file.name, reader, Place(file.number, stamp=file.stamp), most):
            yield piece, file.before + min(stream.taken, file.size)


class Folder(NamedTuple):
    """An output folder for parts. They stay in a hidden folder inside it until all are complete."""

    name: str
    filesystem: fs.FileSystem
    path: str
    suffix: str

    @property
    def partial(self) -> str:
        return f"{self.path}/.partial"

    @property
    def part_format(self) -> Format:
        return format_of(f"part{self.suffix}")

    def check(self, files: Sequence[RemoteFile]) -> None:
        """Raises ValueError if an input is in the hidden folder, because that will be removed."""
        for file in files:
            paths = (file.path, self.partial)
            path, partial = map(os.path.realpath, paths) if file.stamp is not None else paths
            if file.filesystem == self.filesystem and Path(path).is_relative_to(partial):
                clash = f"{self.partial}, which the output {self.name} needs, holds the input {file.name}"
                raise ValueError(f"{clash}: write elsewhere")

    def begin(self) -> None:
        """Makes the folder. Raises FileExistsError if it is not empty."""
        inside = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        names = sorted(info.base_name for info in inside if not info.base_name.startswith("."))
        if names:
            reason = f"expected a new or an empty folder, found `{names[0]}` in it"
            raise FileExistsError(errno.EEXIST, reason, self.name)
        self.discard()  # removes what a killed run has left
        self.filesystem.create_dir(self.partial, recursive=True)

    def discard(self) -> None:
        if self.filesystem.get_file_info(self.partial).type != fs.FileType.NotFound:
            self.filesystem.delete_dir(self.partial)

    def finish(self, parts: Sequence[str]) -> None:
        """Gives the parts their names, in this order."""
        for number, part in enumerate(parts):
            self.filesystem.move(f"{self.partial}/{part}", f"{self.path}/part-{number:05}{self.suffix}")
        self.discard()
        self.filesystem.open_output_stream(f"{self.path}/_SUCCESS").close()


def folder_of(output: str, suffix: str, filesystem: Any) -> Folder | None:
    """The output as a folder of parts with this suffix; None if it is a local file.

    Raises ValueError for a remote file.
    """
    is_local = filesystem is None and "://" not in output
    is_folder = output.endswith("/") or not Path(output).suffix
    if is_local:
        is_folder = output != "-" and (Path(output).is_dir() or (is_folder and not Path(output).exists()))
    elif not is_folder:
        raise ValueError(f"{output}: expected a folder, whose name ends in `/`, found the name of a file")
    if not is_folder:
        return None
    place, path = _located(output, filesystem)
    return Folder(output, place, path.rstrip("/"), suffix)
