"""Whether tokens or rendered text are of the format: `validate` says what is wrong, `is_valid` only whether.

`validate` is the grammar's verdict; `is_valid` is the same verdict from the automaton and the header rules, without
Lark and at the speed of parsing. What no grammar can state is `harmony.lint`'s.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, get_args

from harmony.errors import Diagnostic, HarmonyError, printable, quote
from harmony.format import machine, vocabulary
from harmony.format.header import KNOWN_CONTENT_TYPES, NOT_IN_NAMES, WORD
from harmony.format.machine import Start
from harmony.messages.model import Role
from harmony.parsing import engine
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.runtime.locks import forks_wait

_SPECIAL: Final = vocabulary.SPECIAL_TEXTS
_MESSAGE: Final = _SPECIAL[vocabulary.MESSAGE]
_STOPS: Final = tuple(_SPECIAL[token] for token in vocabulary.STOPS)

# Headers repeat, and to ask about one takes a parser: the verdicts of so many are remembered, up to a length of each.
_REMEMBERED: Final = 4096
_REMEMBERED_LENGTH: Final = 256

# How much of a line an excerpt shows before a fault, and after it.
_BEFORE: Final = 48
_AFTER: Final = 24


class Finding(Diagnostic, frozen=True):
    """A Diagnostic of a text: `line` and `column` count from 1, and `excerpt` shows the place with a caret under it."""

    line: int
    column: int
    excerpt: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.code} {self.message}\n{self.excerpt}"


def validate(text_or_tokens: str | Tokens, start: Start = "conversation") -> list[Diagnostic]:
    """What is wrong with a rendered text or with token ids, by the formal grammar; [] where they are valid.

    A diagnostic says what would have been right at its position, and what was found. Of a text, the position is a
    character's offset, and the diagnostic is a Finding, with line, column and an excerpt. Of tokens, it is a token's
    index. After a fault, the next message is looked at. TypeError and ValueError for wrong arguments.
    """
    with forks_wait:
        import harmony.grammar as grammar  # Lark is loaded where it is needed

    _check_start(start)
    if isinstance(text_or_tokens, str):
        text = str.__str__(text_or_tokens)
        return list(_findings(text, grammar.faults(text, start)))
    tokens = list(as_sequence(text_or_tokens))
    laid_out = grammar.LaidOut(engine.as_buffer(tokens))
    return [
        _diagnostic(tokens, laid_out.token_at(offset), accepts)
        for offset, accepts in grammar.faults(laid_out.text, start)
    ]


def is_valid(text_or_tokens: str | Tokens, start: Start = "conversation") -> bool:
    """Whether `validate` would find nothing, at the speed of parsing. Raises as `validate` does."""
    _check_start(start)
    first = _FIRST if start == "completion" else None
    given: bytes | memoryview
    if isinstance(text_or_tokens, str):
        given = vocabulary.encode_utf_8(str.__str__(text_or_tokens))
        end = engine.skip_text(given, first, _OTHERS)
    else:
        given = engine.as_buffer(as_sequence(text_or_tokens))
        end = engine.skip_tokens(given, first, _OTHERS)
    if start == "prompt":
        return 0 <= end < len(given) and _is_open_turn(given[end:])
    return end == len(given) and not (end == 0 and start == "completion")


# --- the grammar's verdict, in words


def _diagnostic(tokens: list[int], position: int, accepts: Callable[[], set[str]]) -> Diagnostic:
    if position == len(tokens):
        return Diagnostic(*_said("", accepts()), position)
    token = as_id(tokens[position], position)
    found = vocabulary.load().describe(token)
    if not 0 <= token <= vocabulary.LAST_TOKEN:
        fault = machine.no_token(position, found)
        return Diagnostic(fault.code, fault.sentence, position)
    return Diagnostic(*_said(found, accepts()), position)


def _findings(text: str, faults: Iterator[tuple[int, Callable[[], set[str]]]]) -> Iterator[Finding]:
    line, line_start, before = 1, 0, 0
    for position, accepts in faults:
        line += text.count("\n", before, position)
        line_start = text.rfind("\n", before, position) + 1 or line_start
        before = position
        code, sentence = _said(_found_in(text, position), accepts())
        yield Finding(code, sentence, position, line, position - line_start + 1, _excerpt(text, line_start, position))


def _said(found: str, accepted: set[str]) -> tuple[str, str]:
    """The code and the sentence of a diagnostic; nothing was found at the end of the input."""
    if not found:
        code, found = "unexpected-end", "the end of the input"
    else:
        code = "unexpected-marker" if found.strip("`") in vocabulary.SPECIAL_TOKENS else "unexpected-text"
    *most, last = _words(accepted)
    expected = f"{', '.join(most)} or {last}" if most else last
    return code, f"expected {expected}, found {found}"


def _words(accepted: set[str]) -> Iterator[str]:
    """What the grammar's terminals stand for at a place where all of these are accepted."""
    if "_TO" in accepted and accepted.isdisjoint({"_MESSAGE", "ROLE"}):  # behind an undotted tool
        if "_CHANNEL" in accepted:
            yield quote(_SPECIAL[vocabulary.CHANNEL])
        yield "a recipient, which an author needs that is no role and has no dot"
        return
    if "ROLE" in accepted:
        yield "an author: a role, or the name of a tool"
    elif "ASSISTANT" in accepted:
        yield "`assistant`"
    if "NAME" in accepted:
        yield "a recipient's name right after `to=`"
    elif "_TO" in accepted:
        yield "a recipient"
    elif "DOTTED" in accepted and "ROLE" not in accepted:
        yield "a channel's name right after `<|channel|>`"
    if "UNDOTTED" in accepted and accepted.isdisjoint({"DOTTED", "ROLE"}):
        yield "a content type"
    elif "KNOWN_TYPE" in accepted:
        yield f"a known content type ({' '.join(sorted(KNOWN_CONTENT_TYPES))})"
    for name, marker in (
        ("_CHANNEL", vocabulary.CHANNEL),
        ("CONSTRAIN", vocabulary.CONSTRAIN),
        ("_MESSAGE", vocabulary.MESSAGE),
        ("_START", vocabulary.START),
    ):
        if name in accepted:
            yield quote(_SPECIAL[marker])
    if "TEXT" in accepted:
        yield "text"
    if "STOP" in accepted:
        yield from map(quote, _STOPS)
    if "$END" in accepted:
        yield "the end of the input"


def _found_in(text: str, position: int) -> str:
    """The marker or the word that stands at a position, as errors show it; nothing at the text's end."""
    ahead = text[position : position + 64]
    for start, stop, _ in vocabulary.special_tokens_in(ahead):
        if start == 0:
            return quote(ahead[:stop])
        ahead = ahead[:start]
        break
    if not ahead:
        return ""
    if not WORD.match(ahead):
        return "white space"
    if NOT_IN_NAMES.match(ahead):
        return f"{quote(ahead[0])}, which no name holds"
    return quote(WORD.findall(ahead)[0])


def _excerpt(text: str, line_start: int, position: int) -> str:
    """The line around a position, and a caret under it."""
    begin = max(line_start, position - _BEFORE)
    end = text.find("\n", position, position + _AFTER)
    before = printable(text[begin:position])
    after = printable(text[position : end if end >= 0 else position + _AFTER])
    width = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in before)
    return f"{before}{after}\n{' ' * width}^"


# --- the machine's verdict


class _Verdicts(dict["bytes | tuple[int, ...]", bool]):
    """By header, whether content may follow it; `role` is the one that a completion's prompt gives."""

    def __init__(self, role: Role | None) -> None:
        super().__init__()
        self._role = role

    def __missing__(self, header: bytes | tuple[int, ...]) -> bool:
        try:
            if isinstance(header, bytes):
                engine.parse_text(header.decode() + _MESSAGE, self._role, strict=True)
            else:
                engine.parse((*header, vocabulary.MESSAGE), self._role, strict=True)
            verdict = True
        except HarmonyError:
            verdict = False
        if len(header) <= _REMEMBERED_LENGTH:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[header] = verdict
        return verdict


_FIRST: Final = _Verdicts(Role.ASSISTANT)
_OTHERS: Final = _Verdicts(None)


def _is_open_turn(rest: bytes | memoryview) -> bool:
    try:
        if isinstance(rest, bytes):
            result = engine.parse_text(rest.decode(), None, strict=True)
        else:
            result = engine.parse(rest, None, strict=True)
    except HarmonyError:
        return False
    return result.next_role is not None


# --- arguments


def _check_start(start: object) -> None:
    if not isinstance(start, str):
        raise TypeError(f"Expected `str`, got `{type(start).__name__}` - at `start`")
    if start not in get_args(Start):
        raise ValueError(f"Expected one of {', '.join(map(quote, get_args(Start)))}, got {quote(start)} - at `start`")
