"""The formal grammar of the strict language, in the file `harmony.lark`, which stock Lark loads without changes.

This module loads the grammar, and lays out token ids for it. Lark reads text. So token ids are first laid out as a text
in which only real special tokens are markers. It does not matter how the words of a header are split into tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Any, Final, NamedTuple, TypeAlias, get_args

from lark import Lark, Transformer, Tree, UnexpectedInput, UnexpectedToken

from harmony.format import vocabulary
from harmony.format.choices import Start
from harmony.parsing import engine

#: Returns the names of the terminals that the grammar accepts at a place.
Accepted: TypeAlias = Callable[[], set[str]]

# In ordinary tokens `<` begins no marker, so `{` is laid out in its place. That changes no verdict: content may hold
# any character, and a header may hold neither of the two. In a header, `{` also replaces bytes that are not UTF-8.
_NO_MARKER: Final = "{"
_NO_UTF_8: Final = re.compile("[\udc80-\udcff]")


def read() -> str:
    """The text of the grammar in Lark's notation. Its start rules are `conversation`, `prompt` and `completion`."""
    return files("harmony.grammar").joinpath("harmony.lark").read_text(encoding="utf-8")


class _Treeless(Transformer[Any, Tree[Any]]):
    """Makes empty trees: only whether a text can be parsed is asked."""

    def __getattr__(self, name: str) -> Callable[[Any], Tree[Any]]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda children: Tree("", [])


@cache
def load() -> Lark:
    """The grammar, loaded once per process. It makes empty trees, which is faster."""
    return Lark(read(), start=list(get_args(Start)), parser="lalr", transformer=_Treeless())


def expansions(rule: str) -> list[list[str]]:
    """The ways to write a rule of the grammar: each is the names of the rules and terminals in it."""
    return [[symbol.name for symbol in one.expansion] for one in load().rules if one.origin.name == rule]


class Misfit(NamedTuple):
    """A message that the grammar refuses. `text[begin:stop]` is the message and the `<|start|>` of the next one.

    `start` is the rule that was expected to match from `begin` on. `place` is the offset where the grammar refuses.
    """

    begin: int
    stop: int
    start: Start
    place: int
    accepts: Accepted

    def accepted(self, text: str, place: int) -> set[str] | None:
        """The terminals that may stand at a place of the message; None behind the place where the grammar refuses."""
        if place >= self.place:
            return self.accepts() if place == self.place else None
        try:
            before = load().parse_interactive(text[self.begin : place], start=self.start)
            before.exhaust_lexer()
        except UnexpectedInput:  # the place is within a word
            return None
        accepts: Accepted = before.accepts
        return accepts()


def misfits(text: str, start: Start) -> Iterator[Misfit]:
    """The messages of a text that the grammar refuses, one by one.

    After a fault, reading goes on at the next `<|start|>`. Content never holds a `<|start|>`, so a message begins
    there. From there on each message is read by itself, so many faults take no longer than many messages.
    """
    fault = _first_fault(text, start)
    if fault is None:
        return
    marker = vocabulary.SPECIAL_TEXTS[vocabulary.START]
    begin = max(0, text.rfind(marker, 0, fault[0]))
    next_begin = text.find(marker, fault[0])
    expected: Start = "conversation" if start == "completion" and begin > 0 else start
    yield Misfit(begin, next_begin + len(marker) if next_begin >= 0 else len(text), expected, *fault)
    begin = next_begin
    while begin >= 0:
        next_begin = text.find(marker, begin + 1)
        is_last = next_begin < 0
        expected = "prompt" if is_last and start == "prompt" else "conversation"
        end = len(text) if is_last else next_begin
        fault = _first_fault(text[begin:end], expected)
        if fault is not None:
            yield Misfit(begin, end if is_last else end + len(marker), expected, begin + fault[0], fault[1])
        begin = next_begin


def _first_fault(text: str, start: str) -> tuple[int, Accepted] | None:
    """The offset where the grammar refuses the text, and a function that returns the terminals accepted there."""
    try:
        load().parse(text, start=start)
    except UnexpectedInput as error:
        at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        return len(text) if at_end else int(error.pos_in_stream or 0), error.interactive_parser.accepts
    return None


class LaidOut:
    """Token ids (a buffer of uint32), laid out as `text` for the grammar. Only special tokens become markers in it."""

    def __init__(self, tokens: memoryview) -> None:
        self._tokens = tokens
        self._starts: list[int] = []  # the index of each piece's first token
        self._offsets: list[int] = []  # and where in the text the piece begins
        pieces: list[str] = []
        in_content = False
        start = offset = 0
        while start < len(tokens):
            stop = engine.next_special(tokens, start)
            if start < stop:
                piece = _ordinary(tokens[start:stop], in_content)
            else:
                stop = start + 1
                # An integer that is no token id is laid out as `<|endoftext|>`: both are illegal everywhere.
                token = tokens[start] if tokens[start] <= vocabulary.LAST_TOKEN else vocabulary.END_OF_TEXT
                piece = vocabulary.SPECIAL_TEXTS[token]
                in_content = token == vocabulary.MESSAGE
            self._starts.append(start)
            self._offsets.append(offset)
            pieces.append(piece)
            start = stop
            offset += len(piece)
        self.text: str = "".join(pieces)

    def token_at(self, offset: int) -> int:
        """The index of the token in which the character at `offset` begins; at the end, the number of tokens."""
        if offset >= len(self.text):
            return len(self._tokens)
        number = bisect_right(self._offsets, offset) - 1
        start = self._starts[number]
        stop = self._starts[number + 1] if number + 1 < len(self._starts) else len(self._tokens)
        if stop - start == 1:
            return start
        token_bytes = vocabulary.load().token_bytes
        # Only a header has faults inside a piece. There each character still has the bytes that it was read from.
        before = engine.decode_bytes(self._tokens[start:stop]).decode(errors="surrogateescape")
        size = len(before[: offset - self._offsets[number]].encode(errors="surrogateescape"))
        ends = accumulate(len(token_bytes(token)) for token in self._tokens[start:stop])
        return start + next(index for index, end in enumerate(ends) if end > size)


def _ordinary(tokens: memoryview, in_content: bool) -> str:
    """The text of neighbouring ordinary tokens, with `{` in the place of `<`."""
    data = engine.decode_bytes(tokens)
    if in_content:
        return data.decode(errors="replace").replace("<", _NO_MARKER)
    return _NO_UTF_8.sub(_NO_MARKER, data.decode(errors="surrogateescape")).replace("<", _NO_MARKER)
