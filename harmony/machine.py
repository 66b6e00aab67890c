"""The automaton of the Harmony format: kinds of tokens, states, actions, and which move is legal when.

A message is `<|start|>` header `<|message|>` content stop. What a header's words mean is not decided here but in
`header.py`; here, a header is text in which `<|channel|>` and `<|constrain|>` may stand once each, in that order.
A move that a table does not hold is illegal. This module knows no bytes and no messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Final

from harmony import vocabulary
from harmony.errors import Fault, quote


class Kind(IntEnum):
    """What a token is to the automaton."""

    TEXT = 0  # any byte-pair rank
    START = 1
    CHANNEL = 2
    CONSTRAIN = 3
    MESSAGE = 4
    STOP = 5  # <|end|>, <|call|> or <|return|>
    OTHER = 6  # a special token without a place in the format: reserved, <|endoftext|>, <|startoftext|>
    INVALID = 7  # not the id of any token
    END_OF_INPUT = 8


class State(IntEnum):
    """Where in the format the input stands."""

    EXPECT_START = 0  # between messages
    HEADER = 1  # after <|start|>: author and recipient
    CHANNEL = 2  # after <|channel|>: its name, and what may follow it
    CONSTRAIN = 3  # after <|constrain|>: the content type
    CONTENT = 4  # after <|message|>


class Action(IntEnum):
    """What an engine does on a move."""

    SKIP = 0
    OPEN_HEADER = 1  # a message begins
    ADD_TO_HEADER = 2
    CLOSE_HEADER = 3  # read the header; its content begins
    ADD_TO_CONTENT = 4
    CLOSE_MESSAGE = 5  # at a stop, or at the end of the input
    LEAVE_OPEN = 6  # the input ends after `<|start|>role`, where the next turn is to be written


Table = Mapping[tuple[State, Kind], tuple[Action, State]]

#: The strict language.
STRICT: Final[Table] = {
    (State.EXPECT_START, Kind.START): (Action.OPEN_HEADER, State.HEADER),
    (State.EXPECT_START, Kind.END_OF_INPUT): (Action.SKIP, State.EXPECT_START),
    (State.HEADER, Kind.TEXT): (Action.ADD_TO_HEADER, State.HEADER),
    (State.HEADER, Kind.CHANNEL): (Action.ADD_TO_HEADER, State.CHANNEL),
    (State.HEADER, Kind.CONSTRAIN): (Action.ADD_TO_HEADER, State.CONSTRAIN),
    (State.HEADER, Kind.MESSAGE): (Action.CLOSE_HEADER, State.CONTENT),
    (State.HEADER, Kind.END_OF_INPUT): (Action.LEAVE_OPEN, State.HEADER),
    (State.CHANNEL, Kind.TEXT): (Action.ADD_TO_HEADER, State.CHANNEL),
    (State.CHANNEL, Kind.CONSTRAIN): (Action.ADD_TO_HEADER, State.CONSTRAIN),
    (State.CHANNEL, Kind.MESSAGE): (Action.CLOSE_HEADER, State.CONTENT),
    (State.CONSTRAIN, Kind.TEXT): (Action.ADD_TO_HEADER, State.CONSTRAIN),
    (State.CONSTRAIN, Kind.MESSAGE): (Action.CLOSE_HEADER, State.CONTENT),
    (State.CONTENT, Kind.TEXT): (Action.ADD_TO_CONTENT, State.CONTENT),
    (State.CONTENT, Kind.STOP): (Action.CLOSE_MESSAGE, State.EXPECT_START),
    (State.CONTENT, Kind.END_OF_INPUT): (Action.CLOSE_MESSAGE, State.EXPECT_START),
}

_MARKERS: Final = {
    vocabulary.START: Kind.START,
    vocabulary.CHANNEL: Kind.CHANNEL,
    vocabulary.CONSTRAIN: Kind.CONSTRAIN,
    vocabulary.MESSAGE: Kind.MESSAGE,
    **dict.fromkeys(vocabulary.STOPS, Kind.STOP),
}
#: The kind of each special token, one byte each, from `vocabulary.FIRST_SPECIAL` on.
KINDS: Final = bytes(_MARKERS.get(token, Kind.OTHER) for token in vocabulary.SPECIAL_TEXTS)

#: A packed move is `action << 4 | state`; this one says that a move is illegal.
ILLEGAL: Final = 0xFF


@cache
def moves(strict: bool) -> bytes:
    """The table of a mode as engines index it: one byte a move, at `state * len(Kind) + kind`."""
    if not strict:
        raise NotImplementedError("lenient parsing, `strict=False`, is not part of this version")
    packed = bytearray([ILLEGAL]) * (len(State) * len(Kind))
    for (state, kind), (action, after) in STRICT.items():
        packed[state * len(Kind) + kind] = action << 4 | after
    return bytes(packed)


_WORDS: Final = {
    Kind.TEXT: "text",
    **{kind: quote(vocabulary.SPECIAL_TEXTS[token]) for token, kind in _MARKERS.items()},
    Kind.STOP: ", ".join(quote(vocabulary.SPECIAL_TEXTS[token]) for token in vocabulary.STOPS),
}


def no_token(position: int, found: str) -> Fault:
    """The fault that an integer, which errors show as `found`, is the id of no token."""
    return Fault("invalid-token", position, found=found, last=vocabulary.LAST_TOKEN)


def illegal(state: int, kind: int, position: int, found: str) -> Fault:
    """The fault that a token of `kind`, which errors show as `found`, has no move in `state`."""
    if kind == Kind.INVALID:
        return no_token(position, found)
    expected = ", ".join(word for legal, word in _WORDS.items() if (State(state), legal) in STRICT)
    expected = " or ".join(expected.rsplit(", ", 1))
    if kind == Kind.END_OF_INPUT:
        return Fault("truncated-header", position, expected=expected)
    code = {State.EXPECT_START: "expected-start", State.CONTENT: "unexpected-in-content"}.get(
        State(state), "unexpected-in-header"
    )
    return Fault(code, position, expected=expected, found=found)
