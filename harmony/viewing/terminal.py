"""Draws what is shown on a terminal, with rich, or as plain lines for a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from harmony.viewing.lines import INDENT, Line, Run, closing_lines, diagnostic, heading, lines, raw_lines, token_cells
from harmony.viewing.shown import Piece, Shown

_BAR: Final = "│"


def console_of() -> Console:
    """A console as wide as the terminal. If the terminal reports the width 0, it is 80 columns wide."""
    console = Console(highlight=False)
    return console if console.width > 0 else Console(highlight=False, width=80)


def all_lines(shown: Shown, width: int, *, ids: bool, raw: bool, whole: bool, more: str = "") -> Iterator[Line]:
    """The lines of an input below its title.

    `ids` shows the tokens of each message with their ids, in rows of `width` columns, if they are known. `raw` shows
    the source as it is. `whole` folds nothing, and `more` says how to see all of a message that is folded.
    """
    if raw and shown.error is None:
        return raw_lines(shown)
    if ids and shown.error is None and shown.unit == "token":
        return _lines_with_ids(shown, width)
    return lines(shown, whole=whole, more=more)


def drawn(title: str, found: Iterable[Line]) -> Iterator[RenderableType]:
    """What rich prints for an input, part by part: its title, and the lines below it."""
    yield Rule(Text(title), style="dim", align="left")
    for line in found:
        for runs in _split(line.runs):  # rich takes far longer for many lines at once
            text = Text.assemble(*runs)
            yield Padding(text, (0, 0, 0, line.indent)) if line.indent else text


def _split(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """The runs of each line. Runs of the same style become one."""
    line: list[Run] = []
    for style, group in groupby(runs, itemgetter(1)):
        first, *others = "".join(text for text, _ in group).split("\n")
        line.append((first, style))
        for other in others:
            yield line
            line = [(other, style)]
    yield line


def _lines_with_ids(shown: Shown, width: int) -> Iterator[Line]:
    """Each message as its tokens, with the ids below. A diagnostic stands where its token is."""
    for message in shown.messages:
        yield from _rows(message.before, width)
        yield Line(0, heading(message))
        yield from _rows(message.header, width)
        for found in message.in_header():
            yield Line(INDENT, diagnostic(found, shown))
        for pieces, inside in message.content_parts():
            yield from _rows(pieces, width)
            for found in inside:
                yield Line(INDENT, diagnostic(found, shown))
        yield from _rows(message.stop, width)
        yield Line(0, [])
    yield from _rows(shown.behind, width)
    yield from closing_lines(shown)


def _rows(pieces: Iterable[Piece], width: int) -> Iterator[Line]:
    """Some pieces in rows of two lines: the text of each between bars, and its ids below."""
    above: list[Run] = []
    below, used = "", 0
    for (text, style), ids in token_cells(pieces):
        cell = max(cell_len(text), len(ids))
        if used and used + cell + 1 > width - INDENT - 1:
            yield _row(above, below)
            above, below, used = [], "", 0
        above += [(text, style), (" " * (cell - cell_len(text)) + _BAR, "dim")]
        below += ids.ljust(cell + 1)
        used += cell + 1
    if used:
        yield _row(above, below)


def _row(above: list[Run], below: str) -> Line:
    return Line(INDENT, [(_BAR, "dim"), *above, *([("\n " + below.rstrip(), "dim")] if below.strip() else [])])
