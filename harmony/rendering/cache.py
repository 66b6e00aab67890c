"""A cache that is bounded by bytes: what was not asked for longest goes first. Safe under threads."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Final, NamedTuple, TypeAlias

from harmony.runtime.locks import Locked

#: A text, a record in msgpack, or the fields of a header.
Key: TypeAlias = str | bytes | tuple[object, ...]

# What an entry takes beside its key: a tuple of integers, each an object of its own, and its place in the table.
_TOKEN_BYTES: Final = 40
_ENTRY_BYTES: Final = 240


class CacheInfo(NamedTuple):
    """How a cache is doing: `bytes` of `max_bytes` are taken, by `entries`."""

    hits: int
    misses: int
    max_bytes: int
    bytes: int
    entries: int


class Cache(Locked):
    """Token ids by what they were made from; all entries together take at most `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._hits = self._misses = 0
        super().__init__()

    def begin_anew(self) -> None:
        """Forgets everything: another thread may have been at work on the entries when the process forked."""
        super().begin_anew()
        self._entries: OrderedDict[Key, tuple[tuple[int, ...], int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> tuple[int, ...] | None:
        """The tokens that were put under the key, if they are still there."""
        with self.lock:
            entry = self._entries.get(key)
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Key, tokens: tuple[int, ...]) -> None:
        """Keeps the tokens, and lets go of others to make room; what is larger than the whole cache is not kept."""
        parts = key if isinstance(key, tuple) else (key,)
        size = sum(map(sys.getsizeof, parts)) + _TOKEN_BYTES * len(tokens) + _ENTRY_BYTES
        with self.lock:
            if size <= self._max_bytes and key not in self._entries:
                self._entries[key] = tokens, size
                self._bytes += size
                self._shrink()

    def resize(self, max_bytes: int) -> None:
        """Sets the bound, and lets go of what is over it."""
        with self.lock:
            self._max_bytes = max_bytes
            self._shrink()

    def info(self) -> CacheInfo:
        """How the cache is doing."""
        with self.lock:
            return CacheInfo(self._hits, self._misses, self._max_bytes, self._bytes, len(self._entries))

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            self._bytes -= self._entries.popitem(last=False)[1][1]
