"""The automaton of the Harmony format: which token may stand where, and how lenient parsing repairs the others.

What there is to know of the format
-----------------------------------

A conversation is a row of messages. Each is written as

    <|start|>HEADER<|message|>CONTENT<|end|>

where `<|return|>` or `<|call|>` can stand in the place of `<|end|>`: these three are the stops. A marker such as
`<|start|>` is one token, a special one. Everything else is text, in tokens that are byte-pair ranks. So a spelled
marker in the content of a message is never taken for a marker.

A header names the author, and may name a recipient, a channel and a content type:

    assistant<|channel|>commentary to=functions.sky <|constrain|>json

`<|channel|>` and `<|constrain|>` may stand once each, in this order. What the words between them mean is decided in
`header.py`, when the header is complete. This module knows no words and no bytes.

A completion is what a model writes behind a prompt. The prompt ends with `<|start|>assistant`, so the first message of
a completion has no `<|start|>`, and the automaton begins in HEADER instead of EXPECT_START.

The two tables
--------------

The automaton has a State. Each token has a Kind, and so has the end of the input. STRICT says, for a state and a kind,
which Action an engine carries out and which state comes next. A pair that STRICT does not hold is illegal: strict
parsing raises an error there.

LENIENT has all moves of STRICT, and three more states for faulty input: text where `<|start|>` is missing (STRAY_TEXT),
a header with markers that no legal header has (ODD_HEADER), and content whose `<|message|>` is missing (BARE_CONTENT).
A strict stream uses ODD_HEADER too: it is in that state behind a stop inside a header, until the next token.

How a repair is found
---------------------

Lenient parsing never raises. REPAIRS has an entry for every pair of a state and a kind that LENIENT does not hold: the
code of the diagnostic, the actions to carry out, and the next state. For example, `<|start|>` in CONTENT means that a
stop is missing: the diagnostic is `missing-stop`, the actions are CLOSE_MESSAGE and OPEN_HEADER, the next state is
HEADER. Where the right repair depends on the words, an action such as GIVE_UP_HEADER decides it, in
`harmony/parsing/repairs.py`; the code is then None here.

`docs/automaton.md` has a picture of the strict table, and all repairs, made from this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from harmony.errors import Fault, in_turn, quote
from harmony.format import vocabulary


class Kind(IntEnum):
    """What a token is to the automaton."""

    TEXT = 0  # any byte-pair rank
    START = 1
    CHANNEL = 2
    CONSTRAIN = 3
    MESSAGE = 4
    STOP = 5  # <|end|>, <|call|> or <|return|>
    OTHER = 6  # a special token without a place in the format: reserved, <|startoftext|>
    END_OF_TEXT = 7  # <|endoftext|>, which has no place either, but ends what a model generates
    INVALID = 8  # an integer that is no token id
    END_OF_INPUT = 9


class State(IntEnum):
    """Where in the format the input stands."""

    EXPECT_START = 0  # between messages
    HEADER = 1  # after <|start|>: author and recipient
    CHANNEL = 2  # after <|channel|>: its name, and what may follow it
    CONSTRAIN = 3  # after <|constrain|>: the content type
    CONTENT = 4  # after <|message|>
    # Only lenient parsing reaches the following states, with one exception: see `stopped`.
    STRAY_TEXT = 5  # text where <|start|> is missing; not known yet: a header or content
    ODD_HEADER = 6  # a header with markers that no legal header has
    BARE_CONTENT = 7  # content whose <|message|> is missing


class Action(IntEnum):
    """What an engine does on a move."""

    SKIP = 0
    OPEN_HEADER = 1  # a message begins
    ADD_TO_HEADER = 2
    CLOSE_HEADER = 3  # read the header; its content begins
    ADD_TO_CONTENT = 4
    CLOSE_MESSAGE = 5  # at a stop, or at the end of the input
    LEAVE_OPEN = 6  # the input ends after `<|start|>role`, where the next turn is to be written
    # And for repairs:
    IMPLY_START = 7  # a message of the assistant begins without <|start|>
    REPAIR_HEADER = 8  # as CLOSE_HEADER, for a header that is not legal
    GIVE_UP_HEADER = 9  # no <|message|> comes: text that is no header becomes content, and the message ends
    REPLACE = 10  # add U+FFFD to the content
    LEAVE_OUT = 11  # leave out a token inside content
    REOPEN = 12  # `<|message|>` in content: end the message, and begin one with the same header or none
    INTERRUPT = 13  # `<|start|>` or `<|channel|>` in content: end the message; an empty one may be left out


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


class Repair(NamedTuple):
    """What lenient parsing does on a move that is not legal: a diagnostic, actions in order, and the next state.

    `code` is None where the actions choose the code. `at_header` is True where the position of the diagnostic is the
    beginning of the header, and not the token.
    """

    code: str | None
    actions: tuple[Action, ...]
    after: State
    at_header: bool = False


#: The moves of lenient parsing that need no diagnostic: all strict ones, and those of its own states.
LENIENT: Final[Table] = {
    **STRICT,
    (State.STRAY_TEXT, Kind.TEXT): (Action.ADD_TO_HEADER, State.STRAY_TEXT),
    (State.ODD_HEADER, Kind.TEXT): (Action.ADD_TO_HEADER, State.ODD_HEADER),
    (State.ODD_HEADER, Kind.CHANNEL): (Action.ADD_TO_HEADER, State.ODD_HEADER),
    (State.ODD_HEADER, Kind.CONSTRAIN): (Action.ADD_TO_HEADER, State.ODD_HEADER),
    (State.ODD_HEADER, Kind.MESSAGE): (Action.REPAIR_HEADER, State.CONTENT),
    (State.BARE_CONTENT, Kind.TEXT): (Action.ADD_TO_CONTENT, State.BARE_CONTENT),
    (State.BARE_CONTENT, Kind.STOP): (Action.CLOSE_MESSAGE, State.EXPECT_START),
    (State.BARE_CONTENT, Kind.END_OF_INPUT): (Action.CLOSE_MESSAGE, State.EXPECT_START),
}

_HEADERS: Final = (State.HEADER, State.CHANNEL, State.CONSTRAIN, State.ODD_HEADER)
_CONTENTS: Final = (State.CONTENT, State.BARE_CONTENT)

#: The repairs for all other moves, and for an input that ends inside a header, unless that is an open `<|start|>role`.
REPAIRS: Final[Mapping[tuple[State, Kind], Repair]] = {
    # Between messages. `<|end|>commentary to=f json<|message|>`: text may be a header without its `<|start|>`.
    (State.EXPECT_START, Kind.TEXT): Repair(None, (Action.IMPLY_START, Action.ADD_TO_HEADER), State.STRAY_TEXT),
    (State.EXPECT_START, Kind.INVALID): Repair(
        "replaced-token", (Action.IMPLY_START, Action.ADD_TO_HEADER), State.STRAY_TEXT
    ),
    # `<|end|><|channel|>final<|message|>`
    (State.EXPECT_START, Kind.CHANNEL): Repair(
        "missing-start", (Action.IMPLY_START, Action.ADD_TO_HEADER), State.CHANNEL
    ),
    (State.EXPECT_START, Kind.CONSTRAIN): Repair(
        "missing-start", (Action.IMPLY_START, Action.ADD_TO_HEADER), State.CONSTRAIN
    ),
    (State.EXPECT_START, Kind.MESSAGE): Repair(
        "missing-start", (Action.IMPLY_START, Action.CLOSE_HEADER), State.CONTENT
    ),
    # `<|end|><|return|>`
    (State.EXPECT_START, Kind.STOP): Repair("extra-stop", (), State.EXPECT_START),
    (State.EXPECT_START, Kind.END_OF_TEXT): Repair("extra-stop", (), State.EXPECT_START),
    (State.EXPECT_START, Kind.OTHER): Repair("misplaced-token", (), State.EXPECT_START),
    # Text where `<|start|>` is missing. The next marker shows what the text is.
    (State.STRAY_TEXT, Kind.CHANNEL): Repair(
        "missing-start", (Action.ADD_TO_HEADER,), State.ODD_HEADER, at_header=True
    ),
    (State.STRAY_TEXT, Kind.CONSTRAIN): Repair(
        "missing-start", (Action.ADD_TO_HEADER,), State.ODD_HEADER, at_header=True
    ),
    (State.STRAY_TEXT, Kind.MESSAGE): Repair("missing-start", (Action.REPAIR_HEADER,), State.CONTENT, at_header=True),
    (State.STRAY_TEXT, Kind.OTHER): Repair("misplaced-token", (Action.ADD_TO_HEADER,), State.STRAY_TEXT),
    (State.STRAY_TEXT, Kind.INVALID): Repair("replaced-token", (Action.ADD_TO_HEADER,), State.STRAY_TEXT),
    # Headers. `<|channel|>commentary to=assistant<|channel|>analysis<|message|>`: markers that no legal header has.
    **{
        (state, kind): Repair(None, (Action.ADD_TO_HEADER,), State.ODD_HEADER)
        for state in _HEADERS
        for kind in (Kind.CHANNEL, Kind.CONSTRAIN)
        if (state, kind) not in LENIENT
    },
    **{
        (state, kind): Repair(code, (Action.ADD_TO_HEADER,), State.ODD_HEADER)
        for state in _HEADERS
        for kind, code in ((Kind.OTHER, "misplaced-token"), (Kind.INVALID, "replaced-token"))
    },
    # `<|channel|>final {"answer": "hi"}<|return|>`, `<|start|><|start|>assistant`: no `<|message|>` comes.
    **{
        (state, kind): Repair(None, (Action.GIVE_UP_HEADER,), State.EXPECT_START)
        for state in (State.STRAY_TEXT, *_HEADERS)
        for kind in (Kind.STOP, Kind.END_OF_TEXT, Kind.END_OF_INPUT)
    },
    **{
        (state, Kind.START): Repair(None, (Action.GIVE_UP_HEADER, Action.OPEN_HEADER), State.HEADER)
        for state in (State.STRAY_TEXT, *_HEADERS)
    },
    # Content. `<|message|>a<|start|>assistant`, `<|message|>a<|channel|>final`: its stop is missing.
    **{(state, Kind.START): Repair(None, (Action.INTERRUPT, Action.OPEN_HEADER), State.HEADER) for state in _CONTENTS},
    **{
        (state, Kind.CHANNEL): Repair(None, (Action.INTERRUPT, Action.IMPLY_START, Action.ADD_TO_HEADER), State.CHANNEL)
        for state in _CONTENTS
    },
    **{
        (state, Kind.END_OF_TEXT): Repair("end-of-text", (Action.CLOSE_MESSAGE,), State.EXPECT_START)
        for state in _CONTENTS
    },
    # In CONTENT, a second `<|message|>` begins a message without a header. In BARE_CONTENT it is the first, too late.
    (State.CONTENT, Kind.MESSAGE): Repair(None, (Action.REOPEN,), State.CONTENT),
    (State.BARE_CONTENT, Kind.MESSAGE): Repair(None, (Action.REOPEN,), State.CONTENT),
    **{
        (state, kind): Repair("misplaced-token", (Action.LEAVE_OUT,), state)
        for state in _CONTENTS
        for kind in (Kind.CONSTRAIN, Kind.OTHER)
    },
    **{(state, Kind.INVALID): Repair("replaced-token", (Action.REPLACE,), state) for state in _CONTENTS},
}

_MARKERS: Final = {
    vocabulary.START: Kind.START,
    vocabulary.CHANNEL: Kind.CHANNEL,
    vocabulary.CONSTRAIN: Kind.CONSTRAIN,
    vocabulary.MESSAGE: Kind.MESSAGE,
    **dict.fromkeys(vocabulary.STOPS, Kind.STOP),
}
#: The kinds of the special tokens: one byte for each id, beginning with `vocabulary.FIRST_SPECIAL`.
KINDS: Final = bytes(
    Kind.END_OF_TEXT if token == vocabulary.END_OF_TEXT else _MARKERS.get(token, Kind.OTHER)
    for token in vocabulary.SPECIAL_TEXTS
)

#: A packed move is `action << 4 | state`. This value stands for a move that is not legal.
ILLEGAL: Final = 0xFF


def _packed(table: Table) -> bytes:
    packed = bytearray([ILLEGAL]) * (len(State) * len(Kind))
    for (state, kind), (action, after) in table.items():
        packed[state * len(Kind) + kind] = action << 4 | after
    return bytes(packed)


#: The tables for the engines, by `strict`. The move for a state and a kind is the byte at `state * len(Kind) + kind`.
MOVES: Final = {True: _packed(STRICT), False: _packed(LENIENT)}

_WORDS: Final = {
    Kind.TEXT: "text",
    **{kind: quote(vocabulary.SPECIAL_TEXTS[token]) for token, kind in _MARKERS.items()},
    Kind.STOP: ", ".join(quote(vocabulary.SPECIAL_TEXTS[token]) for token in vocabulary.STOPS),
}
#: What a completion may begin with, whose `<|start|>assistant` is in the prompt.
_IN_COMPLETIONS: Final = frozenset({Kind.TEXT, Kind.CHANNEL, Kind.CONSTRAIN, Kind.MESSAGE})
#: The state behind each marker that may stand inside a header.
_INNER: Final = {vocabulary.CHANNEL: State.CHANNEL, vocabulary.CONSTRAIN: State.CONSTRAIN}


def no_token(position: int, found: str) -> Fault:
    """The fault of an integer that is no token id. Errors show the integer as `found`."""
    return Fault("invalid-token", position, found=found, last=vocabulary.LAST_TOKEN)


def illegal(state: int, kind: int, position: int, found: str) -> Fault:
    """The fault of a token of `kind` that has no move in `state`. Errors show the token as `found`."""
    if kind == Kind.INVALID:
        return no_token(position, found)
    expected = _expected(state)
    if kind == Kind.END_OF_INPUT:
        return Fault("truncated-header", position, expected=expected)
    key = {State.EXPECT_START: "expected-start", State.CONTENT: "unexpected-in-content"}.get(
        State(state), "unexpected-in-header"
    )
    if state == State.EXPECT_START and position == 0 and kind in _IN_COMPLETIONS:  # a given role is another state
        key = "expected-start/no-role"
    return Fault(key, position, expected=expected, found=found)


def stopped(header_tokens: Sequence[int], position: int, found: str, *, at_end: bool) -> Fault:
    """The fault of a stop inside a header, in a strict stream. The stop is the last one of `header_tokens`.

    A stream tells of it one step later: at the next token, or at the end of the input (`at_end`). Programs rely on
    that, because openai-harmony takes such a stop without an error. Until then the state is ODD_HEADER.
    """
    marker = next((token for token in reversed(header_tokens) if token in _INNER), None)
    expected = _expected(State.HEADER if marker is None else _INNER[marker])
    key = "unexpected-in-header/at-end" if at_end else "unexpected-in-header"
    return Fault(key, position, expected=expected, found=found)


def _expected(state: int) -> str:
    return in_turn([word for legal, word in _WORDS.items() if (State(state), legal) in STRICT])
