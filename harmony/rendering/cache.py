"""A cache with a limit in bytes, which drops the least recently used entry first. Threads may share it."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Final, NamedTuple, TypeAlias

from harmony.runtime.locks import Locked

#: The key of an entry: a text, a record as msgpack, or the fields of a header.
Key: TypeAlias = str | bytes | tuple[object, ...]

# Estimated memory of an entry beside its key: for each token an integer object and its pointer; and for the rest.
_TOKEN_BYTES: Final = 40
_ENTRY_BYTES: Final = 240


class CacheInfo(NamedTuple):
    """The state of a cache: `bytes` of at most `max_bytes` are in use, by `entries` entries."""

    hits: int
    misses: int
    max_bytes: int
    bytes: int
    entries: int


class Cache(Locked):
    """Maps a key to the token ids that were made from it. All entries together use at most `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._hits = self._misses = 0
        super().__init__()

    def begin_anew(self) -> None:
        """Forgets everything. Another thread may have been changing the entries when the process forked."""
        super().begin_anew()
        self._entries: OrderedDict[Key, tuple[tuple[int, ...], int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> tuple[int, ...] | None:
        """The tokens of a key, or None where they were never put or are dropped."""
        with self.lock:
            entry = self._entries.get(key)
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Key, tokens: tuple[int, ...]) -> None:
        """Keeps the tokens, and drops others to make room. An entry larger than the whole cache is not kept."""
        parts = key if isinstance(key, tuple) else (key,)
        size = sum(map(sys.getsizeof, parts)) + _TOKEN_BYTES * len(tokens) + _ENTRY_BYTES
        with self.lock:
            if size <= self._max_bytes and key not in self._entries:
                self._entries[key] = tokens, size
                self._bytes += size
                self._shrink()

    def resize(self, max_bytes: int) -> None:
        """Sets the limit, and drops entries until they fit."""
        with self.lock:
            self._max_bytes = max_bytes
            self._shrink()

    def info(self) -> CacheInfo:
        """The state of the cache."""
        with self.lock:
            return CacheInfo(self._hits, self._misses, self._max_bytes, self._bytes, len(self._entries))

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            self._bytes -= self._entries.popitem(last=False)[1][1]
