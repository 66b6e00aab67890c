"""Prints records and tokens on a terminal. Control characters are written out, so they cannot command the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harmony.columns.rows import Values, message_of, parse_source
from harmony.encoding import load_harmony_encoding
from harmony.errors import HarmonyError, RecordError, printable
from harmony.format import vocabulary
from harmony.logs.choosing import Choice, chosen
from harmony.logs.inputs import Reader, expand
from harmony.logs.reading import RecordReader
from harmony.logs.records import Layout, Outcome, Rendered, record_error
from harmony.logs.unparsed import Unparsed
from harmony.messages.roles import Role
from harmony.results import ParseResult
from harmony.viewing.lines import lines, raw_lines, title_of
from harmony.viewing.records import name_of
from harmony.viewing.shown import Shown, shown_result, shown_source
from harmony.viewing.terminal import console_of, drawn

_SPECIAL_STYLE: Final = "bold magenta"


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
        unit: Literal["line", "row"] = "line" if isinstance(piece.data, bytes) else "row"
        for index, number in enumerate(read.numbers):
            result = _parsed(read, index, strict=strict, stripped=layout.stripped)
            outcome = Outcome(number, read.fields[index], result, unit)
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
    encoding, role = load_harmony_encoding(vocabulary.ENCODING_NAME), read.sources.role_of(index)
    try:
        if isinstance(source, str):
            result = encoding.parse_text(source, role, strict=strict, stripped=stripped)
        elif stripped:
            result = _parsed_stripped(source, role)
        else:
            result = encoding.parse(source, role, strict=strict)
    except HarmonyError as error:
        return record_error(error)
    return read.errors.get(index, result)


def _parsed_stripped(tokens: memoryview | list[int], role: Role | None) -> ParseResult:
    """Parses tokens that have lost their markers. Their text is read, so there is nothing to say of their places."""
    values = Values()
    found = parse_source(tokens, role, values, strict=False, stripped=True)
    messages = [message_of(values.lists(), row.codes, row.content.decode()) for row in found.rows]
    return ParseResult(messages, found.diagnostics, [], found.complete, None, len(tokens))


def show(console: Console, outcome: Outcome) -> None:
    """Prints the result of one record: its messages, its rendered text, or its error."""
    title, name = f"{outcome.unit} {outcome.number:,}", name_of(outcome.fields)
    title = title if name is None else printable(name)
    result = outcome.result
    if isinstance(result, ParseResult):
        shown = shown_result(title, result)
    elif isinstance(result, RecordError):
        shown = Shown(title, error=result)
    else:
        shown = shown_source(title, result.tokens, None, channels=())
        console.print(drawn(title_of(shown), raw_lines(shown)))
        return
    console.print(drawn(title_of(shown), lines(shown, whole=True)))


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
        table.add_row(row[0], row[1], Text(f"│{row[2]}│"), row[3], style=_SPECIAL_STYLE if row[3] else None)
    screen.print(table)
