"""Passing over whole messages without making any: the scanner in Python, and the type stub of the compiled one.

Decides where messages end, by their markers alone; whether a header is legal is asked of the caller.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from harmony.format import vocabulary
from harmony.parsing.tokens import as_id

#: By header, whether content may follow it; one that was not met before is looked at when it is asked for.
Verdicts: TypeAlias = dict[Any, bool]

_NO_TOKEN: Final = 0xFFFFFFFF
_MESSAGE: Final = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE].encode()
_STOPS: Final = tuple(vocabulary.SPECIAL_TEXTS[token].encode() for token in vocabulary.STOPS)


def as_buffer(tokens: Sequence[object] | memoryview) -> memoryview:
    """Token ids as a buffer of uint32, in which all integers that are no ids are the same. TypeError for no integer."""
    if isinstance(tokens, memoryview):
        return tokens
    ids = (as_id(token, position) for position, token in enumerate(list(tokens)))
    return memoryview(array("I", [token if 0 <= token <= vocabulary.LAST_TOKEN else _NO_TOKEN for token in ids]))


def next_special(tokens: memoryview, place: int) -> int:
    """The index of the first token from a place on that is no byte-pair rank; the number of tokens if all are."""
    while place < len(tokens) and tokens[place] < vocabulary.FIRST_SPECIAL:
        place += 1
    return place


def skip_tokens(tokens: memoryview, first: Verdicts | None, others: Verdicts) -> int:
    """The index behind the whole messages that the tokens begin with, or -1 where there is a fault.

    It is their number, or what follows is a header without an end. `first` is for the header of a completion's first
    message, and None where that is like the others.
    """
    at = 0
    is_first = first is not None
    verdicts = others if first is None else first
    while is_first or at < len(tokens):
        end = next_special(tokens, at if is_first else at + 1)
        while end < len(tokens) and tokens[end] != vocabulary.MESSAGE:
            end = next_special(tokens, end + 1)
        if end >= len(tokens):
            return at
        if not verdicts[tuple(tokens[at:end])]:
            return -1
        stop = next_special(tokens, end + 1)
        if stop == len(tokens) or tokens[stop] not in vocabulary.STOPS:
            return -1
        at = stop + 1
        is_first, verdicts = False, others
    return at


def skip_text(text: bytes, first: Verdicts | None, others: Verdicts) -> int:
    """As `skip_tokens`, of rendered text in UTF-8: the offset behind its whole messages, or -1."""
    at = 0
    is_first = first is not None
    verdicts = others if first is None else first
    while is_first or at < len(text):
        end = text.find(_MESSAGE, at)
        if end < 0:
            return at
        if not verdicts[text[at:end]]:
            return -1
        at = text.find(b"<|", end + len(_MESSAGE))
        while at < 0 or not text.startswith(_STOPS, at):
            if at < 0 or vocabulary.special_token_at(text, at):
                return -1
            at = text.find(b"<|", at + 1)
        at = text.find(b">", at) + 1
        is_first, verdicts = False, others
    return at
