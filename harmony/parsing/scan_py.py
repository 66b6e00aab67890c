"""The scanner in Python: it passes over whole messages without making objects. The compiled twin is `scan_c.pyx`.

It finds where messages end by their markers alone. It asks its caller whether a header is legal.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from harmony.format import vocabulary
from harmony.parsing.tokens import as_id

#: Whether content may follow a header, by the header: its tokens in a tuple, or its text in bytes. A header that is not
#: there yet is parsed when it is asked for (`__missing__`).
Verdicts: TypeAlias = dict[Any, bool]

_NO_TOKEN: Final = 0xFFFFFFFF
_MESSAGE: Final = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE].encode()
_STOPS: Final = tuple(vocabulary.SPECIAL_TEXTS[token].encode() for token in vocabulary.STOPS)


def as_buffer(tokens: Sequence[object] | memoryview) -> memoryview:
    """Token ids as a buffer of uint32. Each integer that is no token id becomes 0xFFFFFFFF.

    Raises TypeError for an item that is no integer.
    """
    if isinstance(tokens, memoryview):
        return tokens
    ids = (as_id(token, position) for position, token in enumerate(list(tokens)))
    return memoryview(array("I", [token if 0 <= token <= vocabulary.LAST_TOKEN else _NO_TOKEN for token in ids]))


def next_special(tokens: memoryview, place: int) -> int:
    """The index of the first special token at `place` or behind it; the number of tokens where there is none.

    An integer that is no token id counts as a special token.
    """
    while place < len(tokens) and tokens[place] < vocabulary.FIRST_SPECIAL:
        place += 1
    return place


def skip_tokens(tokens: memoryview, first: Verdicts | None, others: Verdicts) -> int:
    """Passes over the whole messages at the beginning of the tokens, and returns the index behind them.

    The index is the number of tokens where nothing follows; otherwise a header without `<|message|>` follows. Returns
    -1 for a fault. `first` gives the verdicts for the first header of a completion, which has no `<|start|>`. It is
    None for other input, where the first header is like the `others`.
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
    """The same as `skip_tokens` for a rendered text in UTF-8; returns a byte offset, or -1 for a fault."""
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
