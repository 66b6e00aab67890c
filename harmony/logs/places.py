"""How far files were read, and whether they are still the same files.

A file of lines is the same if the hash of the bytes that were read is the same. The log may have grown after them, or
may have been copied or compressed again. A table is the same if its size and the time of its last change are the same.
A table cannot grow, because its directory is at the end. A file that was read to its end must still end there; if its
size and time are unchanged, it is not read again to check that. Standard input must be given again from its beginning.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Final, TypeAlias

import msgspec
from xxhash import xxh3_64

from harmony.logs import stores

#: The end of the name of the file that is kept beside an output, which begins with a dot.
SEAL: Final = ".harmony"

#: The size of a regular file, and the nanosecond of its last change; in a store, the text that stands for its version.
Stamp: TypeAlias = tuple[int, int | str]


class Changed(Exception):  # noqa: N818  nothing is known to be wrong with what the file holds
    """Raised if a file is not the file that was read before. It says which file, and what differs."""


class Place(msgspec.Struct, frozen=True):
    """How far files were read.

    `file` is the index of the file. `offset` is the number of uncompressed bytes that were read (for a table: batches).
    `number` is the number of the next line or row, from 1. `digest` is the XXH3 hash of those bytes (for a table: of no
    bytes). `stamp` is the stamp of the file before it was read; None if it is not a regular file, or was not read yet.
    """

    file: int = 0
    offset: int = 0
    number: int = 1
    digest: int = xxh3_64().intdigest()
    stamp: Stamp | None = None


def is_seal(name: str) -> bool:
    """Whether a file has the name of what is kept beside an output that is complete."""
    return name.startswith(".") and name.endswith(SEAL)


def stamp_of(name: str) -> Stamp | None:
    """The stamp of a file, or of standard input for `-`; None if it is not a regular file. Raises OSError."""
    if stores.is_remote(name):
        return stores.stamp_of(name)
    found = os.fstat(sys.stdin.fileno()) if name == "-" else Path(name).stat()
    return (found.st_size, found.st_mtime_ns) if S_ISREG(found.st_mode) else None


def describe(stamp: Stamp | None) -> str:
    """A stamp as errors show it."""
    if stamp is None:
        return "a file of unknown size"
    if isinstance(stamp[1], str):
        return f"{stamp[0]:,} bytes of version `{stamp[1]}`"
    seconds, nanoseconds = divmod(stamp[1], 10**9)
    time = datetime.fromtimestamp(seconds, UTC)
    return f"{stamp[0]:,} bytes last changed at {time:%Y-%m-%d %H:%M:%S}.{nanoseconds:09} UTC"
