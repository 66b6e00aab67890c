"""Encodes in the browser: what harmony calls of tiktoken, in Python.

PyPI has no wheel of tiktoken for Pyodide. `playground.py` puts this module in its place, in the playground alone.
It takes the ranks and the pattern that harmony gives to tiktoken, and it gives the same ids.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush


class Encoding:
    """As `tiktoken.Encoding`, with the arguments that harmony passes and no others."""

    def __init__(
        self, name: str, *, pat_str: str, mergeable_ranks: Mapping[bytes, int], special_tokens: Mapping[str, int]
    ) -> None:
        self.name = name
        self._pieces = splitter(pat_str)
        self._ranks = mergeable_ranks
        self._special = special_tokens

    def encode(
        self, text: str, *, allowed_special: AbstractSet[str] = frozenset(), disallowed_special: tuple[()] = ()
    ) -> list[int]:
        """The token ids of a text. harmony itself refuses special tokens, so `disallowed_special` is always empty."""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # single surrogates, as tiktoken does
        if not allowed_special:
            return self._ordinary(text)
        tokens: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, allowed_special))})", text):
            if part in allowed_special:
                tokens.append(self._special[part])
            else:
                tokens += self._ordinary(part)
        return tokens

    def _ordinary(self, text: str) -> list[int]:
        tokens: list[int] = []
        for piece in self._pieces(text):
            data = piece.encode()
            rank = self._ranks.get(data)
            if rank is None:
                tokens += merge(data, self._ranks)
            else:
                tokens.append(rank)
        return tokens


def merge(piece: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    """The ids of a piece: of two neighbours, those are joined first whose joined bytes have the lowest rank.

    The candidates are in a heap, so the time grows with n log n, also for a piece that is very long.
    """
    size = len(piece)
    ends = list(range(1, size + 1))  # where the part that begins here ends; 0 if no part begins here any more
    before = list(range(-1, size - 1))  # where the part before it begins
    heap = [(rank, at, at + 1, at + 2) for at in range(size - 1) if (rank := ranks.get(piece[at : at + 2])) is not None]
    heapify(heap)

    def offer(begin: int, middle: int, end: int) -> None:
        rank = ranks.get(piece[begin:end])
        if rank is not None:
            heappush(heap, (rank, begin, middle, end))

    while heap:
        _, begin, middle, end = heappop(heap)
        if ends[begin] != middle or ends[middle] != end:
            continue  # one of the two was joined with another part since
        ends[begin], ends[middle] = end, 0
        if end < size:
            before[end] = begin
            offer(begin, end, ends[end])
        if begin > 0:
            offer(before[begin], begin, end)

    tokens, begin = [], 0
    while begin < size:
        tokens.append(ranks[piece[begin : ends[begin]]])
        begin = ends[begin]
    return tokens


def splitter(pattern: str) -> Callable[[str], list[str]]:
    """A function that splits a text into the pieces that the pattern matches.

    The browser does this with its own regular expressions. Their `\\s` has other characters than the one of tiktoken,
    so the property White_Space is named instead.
    """
    if sys.platform == "emscripten":
        from js import RegExp, String

        spelled = pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")
        expression, match = RegExp.new(spelled, "gu"), String.prototype.match
        # Each character is a part of some piece, so only the empty text has none.
        return lambda text: match.call(text, expression).to_py() if text else []
    import regex

    find: Callable[[str], list[str]] = regex.compile(pattern).findall
    return find
