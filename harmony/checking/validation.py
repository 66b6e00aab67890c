"""Checks tokens or rendered text: `validate` says what is wrong, `is_valid` only whether something is wrong.

`validate` works in three steps. The grammar finds the messages that are wrong. Strict parsing of such a message gives
the code and the place, so a fault has the same name everywhere. Then the grammar says what is allowed at that place.
`is_valid` gives the same verdict with the automaton and the header rules, without Lark, as fast as parsing. Rules that
a grammar cannot express are in `harmony.lint`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from harmony.errors import TABLE, Diagnostic, HarmonyError, printable, quote, sentence
from harmony.format import vocabulary
from harmony.format.choices import Start
from harmony.format.header import KNOWN_CONTENT_TYPES, NOT_IN_NAMES, WORD
from harmony.messages.roles import Role
from harmony.parsing import engine
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.runtime.locks import forks_wait

if TYPE_CHECKING:
    from harmony.grammar import LaidOut, Misfit

_SPECIAL: Final = vocabulary.SPECIAL_TEXTS
_MESSAGE: Final = _SPECIAL[vocabulary.MESSAGE]
_STOPS: Final = tuple(_SPECIAL[token] for token in vocabulary.STOPS)

# Headers repeat, and a verdict about one needs a parser. This many verdicts are remembered, for headers of up to this
# length.
_REMEMBERED: Final = 4096
_REMEMBERED_LENGTH: Final = 256

# The codes whose sentence gets `{expected}` from the grammar. Strict parsing would only name kinds of tokens there.
_EXPECTING: Final = frozenset(
    code for family in ("strict", "validate") for code, template in TABLE[family].items() if "{expected}" in template
)
# The codes of faults inside a word. The grammar cannot add anything about these.
_WITHIN_WORDS: Final = frozenset({"invalid-name", "missing-recipient", "header-not-utf-8", "invalid-token"})

# How many characters of a line an excerpt shows before a fault, and after it.
_BEFORE: Final = 48
_AFTER: Final = 24


class Finding(Diagnostic, frozen=True):
    """A Diagnostic of `validate` for a text, with the place for people.

    `code`, `message` and `position` are those of Diagnostic; `position` is the offset of a character. `line` and
    `column` count from 1. `excerpt` has two lines: a part of the text, and a caret under the place. `str(finding)` has
    it all:

        1:36: unexpected-word expected …, found `thoughts`
        <|start|>assistant<|channel|>final thoughts<|message|>Hi<|end|>
                                           ^
    """

    line: int
    column: int
    excerpt: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.code} {self.message}\n{self.excerpt}"


def validate(text_or_tokens: str | Tokens, start: Start = "conversation") -> list[Diagnostic]:
    """Checks a rendered text or token ids with the formal grammar. Returns [] if they are valid.

    `start` says what the input must be: "conversation" (complete messages), "prompt" (ends in an open `<|start|>role`)
    or "completion" (the answer to a prompt). There is at most one diagnostic for each message. It has the code and the
    position of the HarmonyError that strict parsing raises, and says what was expected and what was found.

    For a text, the diagnostics are Findings, with line, column and excerpt, and `position` is the offset of a
    character. For tokens, `position` is the index of a token. Raises TypeError and ValueError for wrong arguments.

        for found in validate("<|start|>assistant<|channel|>final thoughts<|message|>Hi<|end|>"):
            print(found.code, found.position)  # unexpected-word 35
    """
    with forks_wait:
        import harmony.grammar as grammar  # on first use, because it loads Lark

    _check_start(start)
    if isinstance(text_or_tokens, str):
        text = str.__str__(text_or_tokens)
        return list(_findings(text, grammar.misfits(text, start)))
    tokens = list(as_sequence(text_or_tokens))
    laid_out = grammar.LaidOut(engine.as_buffer(tokens))
    return [_diagnostic(tokens, laid_out, misfit) for misfit in grammar.misfits(laid_out.text, start)]


def is_valid(text_or_tokens: str | Tokens, start: Start = "conversation") -> bool:
    """Whether `validate` would find nothing wrong. It is as fast as parsing.

    The arguments and errors are those of `validate`.

        is_valid("<|start|>user<|message|>Hi<|end|>")  # True
        is_valid([200006, 1428, 200008, 12194])  # False: the message has no end
    """
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


# --- the diagnostic of a wrong message


class _Refusal(NamedTuple):
    """Why a message is wrong: the code, its sentence, and the place in the message."""

    code: str
    sentence: str
    position: int


def _refusal(parse: Callable[..., Any], message: str | list[int], misfit: Misfit) -> _Refusal:
    """Why a message is wrong that the grammar refuses: the error of strict parsing."""
    try:
        result = parse(message, Role.ASSISTANT if misfit.start == "completion" else None, strict=True)
    except HarmonyError as error:
        return _Refusal(error.code, str(error.args[0]), error.position or 0)
    # Strict parsing accepts input that ends inside content, or after `<|start|>` and a role. It is not a complete
    # message.
    if result.next_role is not None:
        code = "truncated-header"
    else:
        code = "missing-turn" if result.complete else "truncated-content"
    return _Refusal(code, _said(code, "", misfit.accepts(), ""), len(message))


def _diagnostic(tokens: list[int], laid_out: LaidOut, misfit: Misfit) -> Diagnostic:
    begin, stop = laid_out.token_at(misfit.begin), laid_out.token_at(misfit.stop)
    message = [as_id(token, begin + index) for index, token in enumerate(tokens[begin:stop])]
    refusal = _refusal(engine.parse, message, misfit)
    accepted, found = None, ""
    if refusal.position < len(message):
        found = vocabulary.load().describe(message[refusal.position])
    if refusal.code not in _WITHIN_WORDS:
        # A token can begin before the wrong word. So the exact place comes from parsing the same message as text.
        text = laid_out.text
        in_text = _refusal(engine.parse_text, text[misfit.begin : misfit.stop], misfit)
        if in_text.code == refusal.code:
            accepted = misfit.accepted(text, misfit.begin + in_text.position)
    said = _said(refusal.code, refusal.sentence, accepted, found)
    return Diagnostic(refusal.code, said, begin + refusal.position)


def _findings(text: str, misfits: Iterator[Misfit]) -> Iterator[Finding]:
    line, line_start, before = 1, 0, 0
    for misfit in misfits:
        refusal = _refusal(engine.parse_text, text[misfit.begin : misfit.stop], misfit)
        position = misfit.begin + refusal.position
        accepted = None if refusal.code in _WITHIN_WORDS else misfit.accepted(text, position)
        said = _said(refusal.code, refusal.sentence, accepted, _found_in(text, position))
        line += text.count("\n", before, position)
        line_start = text.rfind("\n", before, position) + 1 or line_start
        before = position
        excerpt = _excerpt(text, line_start, position)
        yield Finding(refusal.code, said, position, line, position - line_start + 1, excerpt)


def _said(code: str, said: str, accepted: set[str] | None, found: str) -> str:
    """The sentence of strict parsing, with what the grammar accepts at the place; None if that is unknown."""
    if accepted is None:
        return said
    *most, last = _words(accepted)
    expected = f"{', '.join(most)} or {last}" if most else last
    if code in _EXPECTING:
        return sentence(code, expected=expected, found=found)
    # The sentence of any other code names one thing that is expected. The grammar may accept more.
    return f"{said}; here the grammar accepts {expected}" if most else said


def _words(accepted: set[str]) -> Iterator[str]:
    """Describes the terminals that the grammar accepts at a place, in words."""
    if "_TO" in accepted and accepted.isdisjoint({"_MESSAGE", "ROLE"}):  # after the name of a tool without a dot
        if "_CHANNEL" in accepted:
            yield quote(_SPECIAL[vocabulary.CHANNEL])
        yield "`to=assistant`, because the tool's name has no dot"
        return
    if "ROLE" in accepted:
        yield "an author: a role, or the name of a tool"
    elif "ASSISTANT" in accepted:
        yield "`assistant`"
    if "RECIPIENT" in accepted:
        yield "a recipient's name right after `to=`"
    elif "_TO" in accepted:
        yield "a recipient"
    elif "CHANNEL_NAME" in accepted:
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
    """The marker or the word at a position, as errors show it; "" at the end of the text."""
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
        return f"{quote(ahead[0])}, which no name may hold"
    return quote(WORD.findall(ahead)[0])


def _excerpt(text: str, line_start: int, position: int) -> str:
    """A part of the line around a position, and a second line with a caret under it."""
    begin = max(line_start, position - _BEFORE)
    end = text.find("\n", position, position + _AFTER)
    before = printable(text[begin:position])
    after = printable(text[position : end if end >= 0 else position + _AFTER])
    width = sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in before)
    return f"{before}{after}\n{' ' * width}^"


# --- the verdict of the automaton


class _Verdicts(dict["bytes | tuple[int, ...]", bool]):
    """Maps a header to whether content may follow it. `role` is the role that the prompt of a completion gives."""

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
