"""Tallies in limited memory: of lengths, of the most frequent names, and of names of which only some are kept.

The docstring of `counts.py` says how exact they are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection
from itertools import accumulate, islice
from math import ceil
from typing import Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from harmony.columns.constants import integer
from harmony.messages.roles import KNOWN_CHANNELS, Role

#: The label for all names that are not counted separately.
OTHERS: Final = "(all others)"
#: How many channels, roles and codes are counted separately.
LABELS: Final = 100

_TOOLS: Final = 10_000
_BUCKET_BITS: Final = 8  # the leading bits of a length that choose its bucket
_FREE_BITS: Final = integer(_BUCKET_BITS - 1)
_LENGTH_BITS: Final = 48  # the limit up to which the logarithm of a float is exact enough
_KNOWN: Final = frozenset([*KNOWN_CHANNELS, *(role.value for role in Role)])
_ZERO: Final = integer(0)
_ONE: Final = integer(1)


class Bin(msgspec.Struct, frozen=True):
    """The number of lengths from `start` up to, but not including, `stop`."""

    start: int
    stop: int
    count: int


class Lengths(msgspec.Struct, frozen=True):
    """Statistics of `count` lengths. They are None if `count` is 0.

    `bins` has four bins for each doubling, without empty ones. 90 % of the lengths do not exceed `percentile_90`.
    """

    count: int
    total: int
    mean: float | None
    median: int | None
    percentile_90: int | None
    percentile_99: int | None
    longest: int | None
    bins: list[Bin]


class ToolCalls(msgspec.Struct, frozen=True):
    """Counts of tool calls: in total, by name, and without a name. Counts by name may be too low by `undercount`."""

    calls: int
    names: dict[str, int]
    other_calls: int
    undercount: int


class Histogram:
    """Counts lengths in buckets. The key of a bucket is the smallest length in it."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.total: int = 0
        self._longest = 0

    def take(self, start: int, length: int, count: int) -> None:
        """Counts a length of the bucket with this start."""
        self._buckets[start] += count
        self.total += length * count
        self._longest = max(self._longest, length)

    def take_each(self, lengths: pa.Array) -> None:
        for bucket in starts_of(lengths).value_counts().to_pylist():
            self._buckets[bucket["values"]] += bucket["counts"]
        self.total += pc.sum(lengths, min_count=0).as_py()
        self._longest = max(self._longest, pc.max(lengths).as_py() or 0)

    def __iadd__(self, other: Histogram) -> Histogram:
        self._buckets.update(other._buckets)
        self.total += other.total
        self._longest = max(self._longest, other._longest)
        return self

    def lengths(self) -> Lengths:
        starts = sorted(self._buckets)
        passed = list(accumulate(self._buckets[start] for start in starts))
        if not passed:
            return Lengths(0, 0, None, None, None, None, None, [])
        count = passed[-1]
        # The middle of the bucket in which the percentile is reached.
        places = (starts[bisect_left(passed, -(-count * percent // 100))] for percent in (50, 90, 99))
        median, most, nearly_all = (min(start + _width(start) // 2, self._longest) for start in places)
        bins: Counter[int] = Counter()
        for start in starts:
            bins[bisect_right(_EDGES, start)] += self._buckets[start]
        listed = [Bin(_EDGES[index - 1], _EDGES[index], number) for index, number in bins.items()]
        return Lengths(count, self.total, self.total / count, median, most, nearly_all, self._longest, listed)


class FrequentNames:
    """Counts names. If there are too many, only the most frequent are kept."""

    def __init__(self) -> None:
        self._total = self._undercount = 0
        self._calls: Counter[str] = Counter()

    def take(self, names: pa.Array, counts: pa.Array) -> None:
        for name, calls in zip(names.to_pylist(), counts.to_pylist(), strict=True):
            self._calls[name] += calls
            self._total += calls
        self._bound()

    def __iadd__(self, other: FrequentNames) -> FrequentNames:
        self._total += other._total
        self._undercount += other._undercount
        self._calls.update(other._calls)
        self._bound()
        return self

    def _bound(self) -> None:
        # Not as soon as there are too many names, because this goes through all of them.
        if len(self._calls) > 4 * _TOOLS:
            less = sorted(self._calls.values(), reverse=True)[_TOOLS]
            self._calls = Counter({name: calls - less for name, calls in self._calls.items() if calls > less})
            self._undercount += less

    def summary(self) -> ToolCalls:
        names = dict(islice(by_count(self._calls).items(), _TOOLS))
        return ToolCalls(self._total, names, self._total - sum(names.values()), self._undercount)


def by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def bound(tallies: dict[Any, Any]) -> None:  # which makes missing values
    """Moves the counts of surplus names to OTHERS. Which names these are does not depend on the order of the data."""
    names = [name for name in tallies if name is not None and name != OTHERS]
    if len(names) > LABELS:
        for name in set(names) - kept_names(names):
            tallies[OTHERS] += tallies.pop(name)


def kept_names(names: Collection[str]) -> set[str]:
    """The names that are counted separately."""
    if len(names) <= LABELS:
        return set(names)
    return set(sorted(names, key=lambda name: (name not in _KNOWN, len(name), name))[:LABELS])


def check_lengths(lengths: pa.Array) -> None:
    for length in pc.min_max(lengths).as_py().values():
        if length is not None and not 0 <= length < 1 << _LENGTH_BITS:
            raise ValueError(f"expected a number of tokens below 2^{_LENGTH_BITS}, found {length:,}")


def starts_of(lengths: pa.Array) -> pa.Array:
    """For each length, the smallest length in its bucket."""
    exponents = pc.floor(pc.log2(pc.max_element_wise(lengths, _ONE, skip_nulls=False))).cast(pa.int64())
    shifts = pc.max_element_wise(pc.subtract(exponents, _FREE_BITS), _ZERO, skip_nulls=False)
    return pc.shift_left(pc.shift_right(lengths, shifts), shifts)


def _width(start: int) -> int:
    """The number of different lengths in the bucket with this start."""
    return 1 << max(0, start.bit_length() - _BUCKET_BITS)


# The starts of the bins: each is the start of a bucket.
_QUARTERS: Final = [ceil(2 ** (power / 4)) for power in range(4 * _LENGTH_BITS + 1)]
_EDGES: Final = sorted({0, *(-(-length // _width(length)) * _width(length) for length in _QUARTERS)})
