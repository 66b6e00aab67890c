"""`harmony explain`: prints what a code means, with the texts of docs/diagnostics.md."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click
from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harmony.cli.show import console, readable
from harmony.errors import printable

if TYPE_CHECKING:
    from harmony.explanations.page import Explanation

_CODE_STYLE: Final = "bold cyan"
_INPUT_STYLE: Final = "magenta"
_SAID_STYLE: Final = "yellow"
_PLAIN_WIDTH: Final = 88


def print_entry(code: str) -> None:
    """Prints what a code means. Ends the command with status 2 if there is no such code."""
    from harmony.explanations.page import explanation

    try:
        found = explanation(code)
    except ValueError as error:
        click.echo(f"harmony: {printable(str(error))}", err=True)
        sys.exit(2)
    if not sys.stdout.isatty():
        for _, indent, text in _pieces(found):
            click.echo("\n".join(f"{' ' * indent}{line}" for line in text.split("\n")))
        return
    screen = console()
    for style, indent, text in _pieces(found):
        screen.print(Padding(Text(text, style), (0, 0, 0, indent)))


def _pieces(found: Explanation) -> Iterator[tuple[str, int, str]]:
    """The parts of the printed entry, in order: each has a style, an indent and a text."""
    yield _CODE_STYLE, 0, f"{found.code} ({found.title})"
    yield "", 0, ""
    yield "", 0, found.about if sys.stdout.isatty() else textwrap.fill(found.about, _PLAIN_WIDTH)
    for shown, outcome in found.examples:
        yield "", 0, ""
        yield _INPUT_STYLE, 4, readable(shown)
        for said in outcome.said:
            yield _SAID_STYLE, 2, f"{said.code}: {printable(said.sentence)}"
        if outcome.read is not None:
            yield "", 2, "what is read:" if outcome.read else "nothing is read"
            for message in outcome.read:
                yield _INPUT_STYLE, 4, readable(message)


def print_list() -> None:
    """Prints all codes, each with the first sentence about it."""
    from harmony.explanations.page import ENTRIES, SECTIONS

    if not sys.stdout.isatty():
        width = max(map(len, ENTRIES))
        for code, entry in ENTRIES.items():
            click.echo(f"{code:{width}}  {entry.summary()}")
        return
    screen = console()
    for section in SECTIONS:
        table = Table(title=section.title, title_justify="left", box=box.SIMPLE, show_header=False)
        table.add_column(no_wrap=True)
        for code, entry in section.entries.items():
            table.add_row(Text(code, _CODE_STYLE), entry.summary())
        screen.print(table)
