"""What is shown, as lines of text for a terminal: each line has an indent, and runs of text with their styles.

Whatever comes from the input is written with `readable` or `printable`, so it cannot command the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from harmony.errors import Diagnostic, printable
from harmony.viewing.characters import readable
from harmony.viewing.shown import Piece, Shown, ShownMessage

#: A run of text, and its style in the words of rich.
Run: TypeAlias = tuple[str, str]

_CHANNEL_STYLES: Final = {"analysis": "dim", "commentary": "yellow", "final": "bold green"}
_ASIDE_STYLE: Final = "italic dim"
_DIAGNOSTIC_STYLE: Final = "yellow"
ERROR_STYLE: Final = "bold red"
SPECIAL_STYLE: Final = "bold magenta"
_LEARNED_STYLE: Final = "underline"
_FEW_LINES: Final = 3  # of a message that is folded
_FEW_CHARACTERS: Final = 400
INDENT: Final = 2


class Line(NamedTuple):
    """A line, which may itself have line breaks, and how many columns it is indented."""

    indent: int
    runs: Sequence[Run]

    def plain(self) -> str:
        """The line without styles."""
        space = " " * self.indent
        return "\n".join(space + line for line in "".join(text for text, _ in self.runs).split("\n"))


def lines(shown: Shown, *, whole: bool, more: str = "", with_learned: bool = True) -> Iterator[Line]:
    """The lines of an input below its title.

    Messages are folded unless `whole`; `more` says how to see all of one. `with_learned` says whether headings tell how
    many tokens are learned.
    """
    if shown.error is not None:
        yield Line(0, [(f"error {printable(shown.error.code)}: {printable(shown.error.message)}", ERROR_STYLE)])
        yield Line(0, [])
    for message in shown.messages:
        yield Line(0, heading(message, with_learned=with_learned))
        for found in message.in_header():
            yield Line(INDENT, diagnostic(found, shown))
        yield from _content_lines(message, shown, whole=whole, more=more)
        yield Line(0, [])
    yield from closing_lines(shown)


def closing_lines(shown: Shown) -> Iterator[Line]:
    """The diagnostics that belong to no message, the note, and how the input ends."""
    said = [text for text in (shown.note, ending_of(shown)) if text is not None]
    yield from (Line(0, diagnostic(found, shown)) for found in shown.diagnostics)
    yield from (Line(0, [(f"({text})", _ASIDE_STYLE)]) for text in said)
    if said or shown.diagnostics:
        yield Line(0, [])


def title_of(shown: Shown) -> str:
    """The title of an input and how many tokens it has."""
    title = printable(shown.title)
    return title if shown.tokens is None else f"{title} ({size_of(shown.tokens)})"


def size_of(tokens: int) -> str:
    """A number of tokens in words."""
    return f"{tokens:,} {'token' if tokens == 1 else 'tokens'}"


def heading(message: ShownMessage, *, with_learned: bool = True) -> list[Run]:
    """The header of a message in words, how many tokens it has, and how it ends."""
    facts = ", ".join([*facts_of(message), *(learned_of(message) if with_learned else [])])
    return [*header_runs(message.message.to_dict()), *([(f"  {facts}", "dim")] if facts else [])]


def header_runs(header: Mapping[str, Any]) -> list[Run]:
    """The header of a message in its flat form, in words."""
    role = header["role"]
    found = [(printable(str(getattr(role, "value", role))), "bold cyan")]
    if (name := header.get("name")) is not None:
        found.append((f" {printable(name)}", "cyan"))
    if (channel := header.get("channel")) is not None:
        found.append((f" · {printable(channel)}", _CHANNEL_STYLES.get(channel, "magenta")))
    if (recipient := header.get("recipient")) is not None:
        found.append((f" → {printable(recipient)}", "blue"))
    if (content_type := header.get("content_type")) is not None:
        found.append((f" {printable(content_type)}", "dim"))
    return found


def facts_of(message: ShownMessage) -> list[str]:
    """How many tokens a message has, and its stop."""
    found = []
    if message.tokens is not None:
        found.append(size_of(message.tokens))
    if message.end is not None:
        found.append(f"<|{message.end}|>")
    return found


def learned_of(message: ShownMessage) -> list[str]:
    """How many tokens of a message are learned, if any."""
    return [f"{message.learned:,} learned"] if message.learned else []


def _content_lines(message: ShownMessage, shown: Shown, *, whole: bool, more: str) -> Iterator[Line]:
    """The content of a message with the diagnostics in it, and its JSON set out."""
    text, left = _folded(message.text) if message.is_folded and not whole else (message.text, "")
    is_plain = bool(left) or not message.is_exact
    if is_plain and text:
        yield Line(INDENT, [(readable(text), "")])
    for pieces, found in message.content_parts():
        if pieces and not is_plain:
            yield Line(INDENT, [(readable(piece.text), _LEARNED_STYLE * piece.learned) for piece in pieces])
        for each in found:
            yield Line(INDENT, diagnostic(each, shown))
    if left:
        yield Line(INDENT, [(f"… {left}{more}", _ASIDE_STYLE)])
    elif message.arguments is not None:
        yield Line(INDENT, [("set out:", _ASIDE_STYLE)])
        yield Line(2 * INDENT, [(readable(message.arguments), "")])


def _folded(text: str) -> tuple[str, str]:
    """The beginning of a content, and how much is left; "" where nothing is."""
    beginning = "\n".join(text.split("\n", _FEW_LINES)[:_FEW_LINES])[:_FEW_CHARACTERS]
    left = len(text) - len(beginning)
    return (text, "") if left < _FEW_CHARACTERS // 4 else (beginning, f"{left:,} more characters")


def diagnostic(found: Diagnostic, shown: Shown) -> list[Run]:
    """A diagnostic: its code, its place, and its sentence."""
    code = (printable(found.code), f"bold {_DIAGNOSTIC_STYLE}")
    return [("! ", _DIAGNOSTIC_STYLE), code, (f" {place_of(found, shown)}: {printable(found.message)}", "")]


def place_of(found: Diagnostic, shown: Shown) -> str:
    """The place of a diagnostic, in words."""
    return f"at {shown.unit} {shown.place(found):,}"


def ending_of(shown: Shown) -> str | None:
    """How the input ends, if not with a whole message."""
    if shown.next_role is not None:
        return f"ends in an open <|start|>{shown.next_role.value}"
    if not shown.complete:
        return "the input ends inside a message"
    return None if shown.messages or shown.behind or shown.error is not None else "no messages"


def raw_lines(shown: Shown) -> Iterator[Line]:
    """The source as it is, with special tokens in colour and a line break behind each stop."""
    line: list[Run] = []
    for message in shown.messages:
        for pieces in (message.before, message.header, message.content, message.stop):
            line += map(_raw, pieces)
        if message.stop:
            yield Line(0, line)
            line = []
    if line := [*line, *map(_raw, shown.behind)]:
        yield Line(0, line)


def _raw(piece: Piece) -> Run:
    styles = [SPECIAL_STYLE] * piece.is_special + [_LEARNED_STYLE] * piece.learned
    return readable(piece.text), " ".join(styles)


def token_cells(pieces: Iterable[Piece]) -> Iterator[tuple[Run, str]]:
    """Each piece on one line, as names are written, and its ids."""
    for piece in pieces:
        _, style = _raw(piece)
        yield (printable(piece.text), style), piece.written_ids()
