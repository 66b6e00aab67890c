"""What is written about one code."""

from __future__ import annotations

from typing import NamedTuple

from harmony.explanations.examples import Example


class Entry(NamedTuple):
    """What a code means and what to do about it, and inputs that show it.

    The first sentence of `about` stands by itself in lists of codes.
    """

    about: str
    examples: tuple[Example, ...]

    def summary(self) -> str:
        """The first sentence."""
        first, dot, _ = self.about.partition(". ")
        return first + "." if dot else first


def entry(about: str, *examples: Example) -> Entry:
    """An entry with its examples."""
    return Entry(about, examples)
