"""Prints records and tokens on a terminal. Control characters are written out, so they cannot command the terminal."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Literal

import click
import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harmony.columns.rows import Values, message_of, parse_source
from harmony.encoding import load_harmony_encoding
from harmony.errors import UNSEEN, HarmonyError, RecordError, printable
from harmony.format import vocabulary
from harmony.logs.choosing import Choice, chosen
from harmony.logs.inputs import Reader, expand
from harmony.logs.reading import RecordReader
from harmony.logs.records import Layout, Outcome, Rendered, record_error
from harmony.logs.unparsed import Unparsed
from harmony.messages.model import Message, TextContent
from harmony.messages.roles import Role
from harmony.results import ParseResult

_CHANNEL_STYLES: Final = {"analysis": "dim", "commentary": "yellow", "final": "bold green"}
_SPECIAL_STYLE: Final = "bold magenta"
_ASIDE_STYLE: Final = "italic dim"
# Characters that are printed as they are in content, but written out in names: line breaks, spaces, characters that are
# newer than this Python, characters that join or vary letters and emoji, and the visible Arabic signs around numbers.
_KEPT: Final = UNSEEN | set("\t\n\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u0890\u0891\u08e2")
_KEPT_CATEGORIES: Final = frozenset({"Zs", "Co", "Cn"})
# Unassigned characters that Unicode reserves for invisible ones. They are written out in content too.
_FREE: Final = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")
_UNUSUAL: Final = re.compile("[^\t\n -~]")


def console() -> Console:
    """A console as wide as the terminal. If the terminal reports the width 0, it is 80 columns wide."""
    console = Console(highlight=False)
    return console if console.width > 0 else Console(highlight=False, width=80)


def show_logs(files: Sequence[str], layout: Layout, most: int, *, strict: bool, choice: Choice = Choice()) -> int:  # noqa: B008
    """Parses records and prints their messages one by one. Returns how many records are bad."""
    screen, bad = console(), 0
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
    """Prints the result of one record."""
    title, name = f"{outcome.unit} {outcome.number:,}", outcome.fields.get("id")
    if name is not None:
        written = bytes(name) if isinstance(name, msgspec.Raw) else msgspec.json.encode(name)
        title = printable(written.decode().strip('"'))
    console.print(Rule(Text(title), style="dim", align="left"))
    if isinstance(outcome.result, RecordError):
        console.print(Text(f"error {outcome.result.code}: {printable(outcome.result.message)}", style="bold red"))
    elif isinstance(outcome.result, Rendered):
        _show_rendered(console, outcome.result.tokens)
    else:
        _show_parsed(console, outcome.result)


def _show_parsed(console: Console, result: ParseResult) -> None:
    for message in result.messages:
        console.print(_heading(message))
        for part in message.content:
            if isinstance(part, TextContent):
                console.print(Padding(Text(readable(part.text)), (0, 0, 1, 2)))
    for repair in result.diagnostics:
        sentence = printable(repair.message)
        console.print(Text(f"repaired {repair.code} at {repair.position}: {sentence}", style=_ASIDE_STYLE))
    if result.next_role is not None:
        console.print(Text(f"(ends in an open <|start|>{result.next_role.value})", style=_ASIDE_STYLE))
    elif not result.complete:
        console.print(Text("(the input ends inside a message)", style=_ASIDE_STYLE))


def _show_rendered(console: Console, numbers: Sequence[int]) -> None:
    """Prints the text of token ids, with special tokens in colour and a line break after each stop."""
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    line = Text()
    for special, run in groupby(numbers, encoding.is_special_token):
        if not special:
            line.append(readable(encoding.decode(run)))
            continue
        for token in run:
            line.append(encoding.decode([token]), _SPECIAL_STYLE)
            if token in vocabulary.STOPS:
                console.print(line)
                line = Text()
    if line:
        console.print(line)
    console.print(Text(f"({len(numbers):,} tokens)", style=_ASIDE_STYLE))


def _heading(message: Message) -> Text:
    return heading(message.to_dict())


def heading(header: Mapping[str, Any]) -> Text:
    """The header of a message in its flat form, as a line for a terminal."""
    role, name = header["role"], header.get("name")
    heading = Text(printable(str(getattr(role, "value", role))), style="bold cyan")
    if name is not None:
        heading.append(f" {printable(name)}", "cyan")
    if (channel := header.get("channel")) is not None:
        heading.append(f" · {printable(channel)}", _CHANNEL_STYLES.get(channel, "magenta"))
    if (recipient := header.get("recipient")) is not None:
        heading.append(f" → {printable(recipient)}", "blue")
    if (content_type := header.get("content_type")) is not None:
        heading.append(f" {printable(content_type)}", "dim")
    return heading


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
    screen = console()
    table = Table("token", "id", "text", "", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(row[0], row[1], Text(f"│{row[2]}│"), row[3], style=_SPECIAL_STYLE if row[3] else None)
    screen.print(table)


def readable(text: str) -> str:
    """The text, with characters written out that would command a terminal, or turn or hide text. Lines are kept.

    Use it for content. `printable` writes out more characters: it is for names and sentences.
    """
    return _UNUSUAL.sub(lambda found: found[0] if _is_kept(found[0]) else printable(found[0]), text)


def _is_kept(character: str) -> bool:
    kind = unicodedata.category(character)
    return character in _KEPT or (kind in _KEPT_CATEGORIES and not _FREE.match(character))
