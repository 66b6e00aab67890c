"""Prints records and tokens on a terminal. Control characters are written out, so they cannot command the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from msgspec.structs import replace
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harmony.errors import HarmonyError, RecordError, printable
from harmony.format import vocabulary
from harmony.logs.choosing import Choice, chosen
from harmony.logs.inputs import Reader, expand
from harmony.logs.reading import RecordReader
from harmony.logs.records import Layout, Outcome, Rendered, record_error
from harmony.logs.unparsed import Unparsed
from harmony.results import ParseResult
from harmony.viewing.lines import SPECIAL_STYLE, lines, raw_lines, title_of
from harmony.viewing.records import title_of_record
from harmony.viewing.shown import Shown, parsed, shown_result, shown_source
from harmony.viewing.terminal import console_of, drawn


def show_logs(files: Sequence[str], layout: Layout, most: int, *, strict: bool, choice: Choice = Choice()) -> int:  # noqa: B008
    """Parses records and prints their messages one by one. Returns how many records are bad."""
    screen, bad = console_of(), 0
    code = None
    records = RecordReader(layout, most)
    inputs = [name for name, _ in expand(files)]
    for piece in chosen(Reader(inputs, full=False, most=most), choice):
        try:
            read = records.read(piece)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{inputs[piece.after.file]}: {error}") from error
        for index, number in enumerate(read.numbers):
            result = _parsed(read, index, strict=strict, stripped=layout.stripped)
            outcome = Outcome(number, read.fields[index], result, piece.unit)
            show(screen, outcome)
            bad += isinstance(outcome.result, RecordError)
            code = code or _first_code(outcome.result)
    hint(code)
    return bad


def _first_code(result: ParseResult | Rendered | RecordError) -> str | None:
    """The code of a record's error, or of its first repair."""
    if isinstance(result, RecordError):
        return result.code
    repairs = result.diagnostics if isinstance(result, ParseResult) else []
    return repairs[0].code if repairs else None


def hint(code: str | None) -> None:
    """On a terminal, prints how to read more about a code."""
    if code is not None and sys.stderr.isatty():
        click.echo(f"harmony: `harmony explain {printable(code)}` says more", err=True)


def _parsed(read: Unparsed, index: int, *, strict: bool, stripped: bool) -> ParseResult | RecordError:
    """Parses one record. Columns would be faster, but only a ParseResult has `next_role`."""
    source = read.sources.of(index)
    if isinstance(source, RecordError):
        return source
    role = read.sources.role_of(index)
    try:
        result = parsed(source, role, strict=strict, stripped=stripped)
    except HarmonyError as error:
        return record_error(error)
    if not result.complete and read.lacks_only_a_stop(index, stripped=stripped):
        result = replace(result, complete=True)
    return read.errors.get(index, result)


def show(console: Console, outcome: Outcome) -> None:
    """Prints the result of one record: its messages, its rendered text, or its error."""
    title = title_of_record(outcome.unit, outcome.number, outcome.fields)
    result = outcome.result
    if isinstance(result, ParseResult):
        shown = shown_result(title, result)
    elif isinstance(result, RecordError):
        shown = Shown(title, error=result)
    else:
        shown = shown_source(title, result.tokens, None, channels=())
    found = raw_lines(shown) if isinstance(result, Rendered) else lines(shown, whole=True)
    for part in drawn(title_of(shown), found):
        console.print(part)


def show_tokens(numbers: list[int]) -> None:
    loaded = vocabulary.load()
    rows = [
        (
            str(index),
            str(token),
            printable(loaded.token_bytes(token).decode(errors="backslashreplace")),
            "special" if token >= vocabulary.FIRST_SPECIAL else "",
        )
        for index, token in enumerate(numbers)
    ]
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row).rstrip("\t"))
        return
    screen = console_of()
    table = Table("token", "id", "text", "", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(row[0], row[1], Text(f"│{row[2]}│"), row[3], style=SPECIAL_STYLE if row[3] else None)
    screen.print(table)
