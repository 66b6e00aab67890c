"""`harmony explain`: prints what a code means, with the texts of docs/diagnostics.md."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click
from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harmony.checking.rules import RULES
from harmony.cli.ending import refuse
from harmony.errors import printable
from harmony.explanations.rules_page import HEADINGS, cells
from harmony.viewing.characters import readable
from harmony.viewing.terminal import console_of

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
    screen = console_of()
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
    screen = console_of()
    for section in SECTIONS:
        table = Table(title=section.title, title_justify="left", box=box.SIMPLE, show_header=False)
        table.add_column(no_wrap=True)
        for code, entry in section.entries.items():
            table.add_row(Text(code, _CODE_STYLE), entry.summary())
        screen.print(table)


def print_rules(output_format: str) -> None:
    """Prints all rules of `lint`, as a table or as JSON. Ends the command with status 2 for another format."""
    if output_format == "json":
        found = [
            {"code": code, "rule": rule.sentence, "needs": rule.needs, "fixed_by": rule.fixed_by}
            for code, rule in RULES.items()
        ]
        click.echo(json.dumps(found, indent=2))
        return
    if output_format != "text":
        refuse(f"expected --format text or json beside --rules, found {output_format}")
    if not sys.stdout.isatty():
        rows = [HEADINGS, *map(cells, RULES.values())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(box=box.SIMPLE)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=heading == HEADINGS[0])
    for rule in RULES.values():
        code, *others = cells(rule)
        table.add_row(Text(code, _CODE_STYLE), *others)
    console_of().print(table)
