"""The automaton's table: that it is whole, and that errors say of it what it says."""

from __future__ import annotations

import re
from itertools import product

import pytest

from harmony import machine, vocabulary
from harmony.machine import STRICT, Action, Kind, State
from harmony.results import STREAM_STATES, StreamState


def test_every_special_token_has_its_kind() -> None:
    assert len(machine.KINDS) == vocabulary.LAST_TOKEN + 1 - vocabulary.FIRST_SPECIAL
    kinds = {token: Kind(kind) for token, kind in zip(vocabulary.SPECIAL_TEXTS, machine.KINDS, strict=True)}
    assert {token: kind for token, kind in kinds.items() if kind is not Kind.OTHER} == {
        200_002: Kind.STOP,
        200_003: Kind.CONSTRAIN,
        200_005: Kind.CHANNEL,
        200_006: Kind.START,
        200_007: Kind.STOP,
        200_008: Kind.MESSAGE,
        200_012: Kind.STOP,
    }


def test_the_packed_table_is_the_table() -> None:
    moves = machine.moves(strict=True)
    assert len(moves) == len(State) * len(Kind)
    for state in State:
        for kind in Kind:
            move = moves[state * len(Kind) + kind]
            if (state, kind) in STRICT:
                assert (Action(move >> 4), State(move & 15)) == STRICT[state, kind]
            else:
                assert move == machine.ILLEGAL


def test_every_state_is_reached_and_every_state_but_headers_may_end() -> None:
    assert {after for _, after in STRICT.values()} == set(State)
    assert {state for state in State if (state, Kind.END_OF_INPUT) in STRICT} == {
        State.EXPECT_START,
        State.HEADER,
        State.CONTENT,
    }
    assert {action for action, _ in STRICT.values()} == set(Action)
    assert len(STREAM_STATES) == len(State)
    assert {STREAM_STATES[State.HEADER], STREAM_STATES[State.CHANNEL], STREAM_STATES[State.CONSTRAIN]} == {
        StreamState.HEADER
    }


TOKENS = [kind for kind in Kind if kind not in (Kind.INVALID, Kind.END_OF_INPUT)]


@pytest.mark.parametrize(("state", "kind"), [move for move in product(State, TOKENS) if move not in STRICT])
def test_an_error_names_all_that_is_legal_and_nothing_else(state: State, kind: Kind) -> None:
    found = re.search(r"\bexpected (.*), found it$", machine.illegal(state, kind, 0, "it").sentence)
    assert found is not None
    for legal in (Kind.START, Kind.CHANNEL, Kind.CONSTRAIN, Kind.MESSAGE):
        assert (f"<|{legal.name.lower()}|>" in found[1]) == ((state, legal) in STRICT)
    assert ("text" in found[1]) == ((state, Kind.TEXT) in STRICT)
    assert ("<|return|>" in found[1]) == ((state, Kind.STOP) in STRICT)
