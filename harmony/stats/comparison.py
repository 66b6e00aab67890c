"""Compares the counts of two logs: which shares moved, and how sure that is.

The interval of a difference of two shares is the hybrid score interval of R. G. Newcombe, "Interval estimation for the
difference between independent proportions: comparison of eleven methods", Statistics in Medicine 17 (1998), method 10.
It is made of the intervals of E. B. Wilson (1927) for each share. It takes every count for independent of the others.
Messages and calls of one conversation are not, so their intervals are a little too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Final

import msgspec

from harmony.stats.counts import Summary
from harmony.stats.tables import NO_CHANNEL, TOOL_RESULTS, contents_of, kinds_of

_Z: Final = 1.959963984540054  # 95 % of a normal distribution lie within so many deviations


class Share(msgspec.Struct, frozen=True):
    """A share in a log, and in the log that it is compared with.

    `of` says of what it is a share. `count` things of `whole` have it in the first log. `difference` is that of the
    shares, the first less the other, and lies between `low` and `high` with 95 %. `sureness` is above 1 if this
    interval leaves out 0. All four are None if one of the logs has nothing of this kind.
    """

    of: str
    name: str
    count: int
    whole: int
    other_count: int
    other_whole: int
    difference: float | None
    low: float | None
    high: float | None
    sureness: float | None


class Median(msgspec.Struct, frozen=True):
    """The median of some lengths in both logs; None where there are none."""

    of: str
    median: int | None
    other_median: int | None


class Comparison(msgspec.Struct, frozen=True):
    """What moved between two logs. The shares that most surely moved are first."""

    conversations: int
    other_conversations: int
    shares: list[Share]
    medians: list[Median]


def compare(first: Summary, other: Summary) -> Comparison:
    """Compares the counts of a log with those of another."""
    shares = [
        _share(of, name, counts.get(name, 0), whole, others.get(name, 0), other_whole)
        for (of, counts, whole), (_, others, other_whole) in zip(_counts(first), _counts(other), strict=True)
        for name in {**counts, **others}
    ]
    shares.sort(key=lambda share: -1.0 if share.sureness is None else share.sureness, reverse=True)
    lengths, other_lengths = _lengths(first), _lengths(other)
    medians = [Median(of, lengths.get(of), other_lengths.get(of)) for of in {**lengths, **other_lengths}]
    return Comparison(first.conversations, other.conversations, shares, medians)


def difference_of_shares(count: int, whole: int, other_count: int, other_whole: int) -> tuple[float, float, float]:
    """The difference of two shares, and its interval."""
    share, other = count / whole, other_count / other_whole
    low, high = _wilson(count, whole)
    other_low, other_high = _wilson(other_count, other_whole)
    difference = share - other
    return (
        difference,
        difference - sqrt((share - low) ** 2 + (other_high - other) ** 2),
        difference + sqrt((high - share) ** 2 + (other - other_low) ** 2),
    )


def _wilson(count: int, whole: int) -> tuple[float, float]:
    share, square = count / whole, _Z**2 / whole
    middle, half = share + square / 2, _Z * sqrt((share * (1 - share) + square / 4) / whole)
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def _share(of: str, name: str, count: int, whole: int, other_count: int, other_whole: int) -> Share:
    if not whole or not other_whole:
        return Share(of, name, count, whole, other_count, other_whole, None, None, None, None)
    difference, low, high = difference_of_shares(count, whole, other_count, other_whole)
    to_zero = difference - low if difference > 0 else high - difference
    return Share(of, name, count, whole, other_count, other_whole, difference, low, high, abs(difference) / to_zero)


def _counts(summary: Summary) -> Iterator[tuple[str, Mapping[str, int], int]]:
    """The counts to compare: of what, by name, and how many there are in all."""
    whole = summary.conversations
    yield "conversations", kinds_of(summary), whole
    yield "repair", summary.repairs, whole
    yield "error", summary.errors, whole
    channels = {
        NO_CHANNEL if item.channel is None else item.channel: item.roles.get("assistant", 0)
        for item in summary.channels
    }
    yield "channel", {name: count for name, count in channels.items() if count}, sum(channels.values())
    yield "tool", summary.tool_calls.names, summary.tool_calls.calls


def _lengths(summary: Summary) -> dict[str, int | None]:
    lengths = {"conversations, in tokens": summary.conversation_tokens}
    lengths |= {"conversations, in messages": summary.conversation_messages}
    for name, found in contents_of(summary).items():
        of = name if name == TOOL_RESULTS else f"content {name}" if name.startswith("from ") else f"content of {name}"
        lengths[of] = found
    return {of: found.median for of, found in lengths.items() if found.count}
