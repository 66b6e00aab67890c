"""The automaton's tables and repairs: that they are whole, and that errors say of them what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from harmony.errors import TABLE
from harmony.format import machine, vocabulary
from harmony.format.machine import LENIENT, REPAIRS, STRICT, Action, Kind, State, Table
from harmony.results import STREAM_STATES, StreamState


def test_every_special_token_has_its_kind() -> None:
    assert len(machine.KINDS) == vocabulary.LAST_TOKEN + 1 - vocabulary.FIRST_SPECIAL
    kinds = {token: Kind(kind) for token, kind in zip(vocabulary.SPECIAL_TEXTS, machine.KINDS, strict=True)}
    assert {token: kind for token, kind in kinds.items() if kind is not Kind.OTHER} == {
        199_999: Kind.END_OF_TEXT,
        200_002: Kind.STOP,
        200_003: Kind.CONSTRAIN,
        200_005: Kind.CHANNEL,
        200_006: Kind.START,
        200_007: Kind.STOP,
        200_008: Kind.MESSAGE,
        200_012: Kind.STOP,
    }


@pytest.mark.parametrize(("strict", "table"), [(True, STRICT), (False, LENIENT)])
def test_the_packed_table_is_the_table(strict: bool, table: Table) -> None:
    moves = machine.MOVES[strict]
    assert len(moves) == len(State) * len(Kind)
    for state in State:
        for kind in Kind:
            move = moves[state * len(Kind) + kind]
            if (state, kind) in table:
                assert (Action(move >> 4), State(move & 15)) == table[state, kind]
            else:
                assert move == machine.ILLEGAL


STRICT_STATES = {State.EXPECT_START, State.HEADER, State.CHANNEL, State.CONSTRAIN, State.CONTENT}
LENIENT_STATES = set(State) - STRICT_STATES


def test_every_state_is_reached_and_every_state_but_headers_may_end() -> None:
    assert {state for state, _ in STRICT} == {after for _, after in STRICT.values()} == STRICT_STATES
    assert {state for state, kind in STRICT if kind is Kind.END_OF_INPUT} == {
        State.EXPECT_START,
        State.HEADER,
        State.CONTENT,
    }
    assert {action for action, _ in STRICT.values()} == {
        Action.SKIP,
        Action.OPEN_HEADER,
        Action.ADD_TO_HEADER,
        Action.CLOSE_HEADER,
        Action.ADD_TO_CONTENT,
        Action.CLOSE_MESSAGE,
        Action.LEAVE_OPEN,
    }
    assert [STREAM_STATES[state] for state in State if "HEADER" in state.name] == [StreamState.HEADER] * 2
    assert STREAM_STATES[State.CHANNEL] == STREAM_STATES[State.CONSTRAIN] == StreamState.HEADER
    assert STREAM_STATES[State.STRAY_TEXT] == StreamState.HEADER  # it may be one
    assert STREAM_STATES[State.BARE_CONTENT] == StreamState.CONTENT


def test_lenient_parsing_moves_as_strict_parsing_does_and_repairs_the_rest() -> None:
    assert LENIENT.items() >= STRICT.items()
    assert {state for state, _ in LENIENT.keys() - STRICT.keys()} == LENIENT_STATES
    # A header may stand open where the input ends, if it is a role; if it is not, that is repaired.
    assert LENIENT.keys() & REPAIRS.keys() == {(State.HEADER, Kind.END_OF_INPUT)}
    assert LENIENT.keys() | REPAIRS.keys() == set(product(State, Kind))
    repairing = {action for repair in REPAIRS.values() for action in repair.actions}
    assert {action for action, _ in LENIENT.values()} | repairing == set(Action)
    assert {repair.code for repair in REPAIRS.values()} - {None} <= TABLE["repair"].keys()


TOKENS = [kind for kind in Kind if kind not in (Kind.INVALID, Kind.END_OF_INPUT)]


@pytest.mark.parametrize(("state", "kind"), [move for move in product(State, TOKENS) if move not in STRICT])
def test_an_error_names_all_that_is_legal_and_nothing_else(state: State, kind: Kind) -> None:
    found = re.search(r"\bexpected (.*), found it$", machine.illegal(state, kind, 0, "it").sentence)
    assert found is not None
    for legal in (Kind.START, Kind.CHANNEL, Kind.CONSTRAIN, Kind.MESSAGE):
        assert (f"<|{legal.name.lower()}|>" in found[1]) == ((state, legal) in STRICT)
    assert ("text" in found[1]) == ((state, Kind.TEXT) in STRICT)
    assert ("<|return|>" in found[1]) == ((state, Kind.STOP) in STRICT)


def test_the_page_of_the_automaton_is_made_from_the_tables(tmp_path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs"
    shutil.copy(docs / "automaton.py", tmp_path)
    subprocess.run([sys.executable, str(tmp_path / "automaton.py")], check=True, timeout=120)
    for name in ("automaton.md", "automaton.svg"):
        assert (tmp_path / name).read_bytes() == (docs / name).read_bytes(), "run `python docs/automaton.py`"
