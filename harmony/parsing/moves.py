"""The rare moves, written once for both engines: the end of an input, errors, long text, and pickles.

An engine (`moves_py.py` or `moves_c.pyx`) calls a function of this module where a token may not stand, and where the
input ends. The functions use the fields and methods of the engine, which have the same names in both. Here strict
parsing raises, and lenient parsing goes on to `repairs.py`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from harmony.errors import Fault, quote
from harmony.format import machine, vocabulary
from harmony.format.header import open_role
from harmony.messages.roles import Role
from harmony.parsing.shared import SavedParser, place
from harmony.runtime.locks import Once, forks_wait

if TYPE_CHECKING:
    from harmony.parsing.moves_py import Moves

# Integers are faster to read than members of an enumeration.
_KIND_COUNT: Final = len(machine.Kind)
_TEXT: Final = int(machine.Kind.TEXT)
_END_OF_INPUT: Final = int(machine.Kind.END_OF_INPUT)
_START: Final = int(machine.Kind.START)
_STOP: Final = int(machine.Kind.STOP)
_EXPECT_START: Final = int(machine.State.EXPECT_START)
_HEADER: Final = int(machine.State.HEADER)
_STRAY_TEXT: Final = int(machine.State.STRAY_TEXT)
_ODD_HEADER: Final = int(machine.State.ODD_HEADER)
_OPEN_HEADER: Final = int(machine.Action.OPEN_HEADER)
_CLOSE_MESSAGE: Final = int(machine.Action.CLOSE_MESSAGE)
_LEAVE_OPEN: Final = int(machine.Action.LEAVE_OPEN)


# The fields that `restore` sets by a method.
_RESTORED: Final = frozenset(
    {"strict", "default_channel", "state", "header", "content", "settled", "delta", "delta_header"}
)


def _import_repairs() -> ModuleType:
    with forks_wait:
        from harmony.parsing import repairs
    return repairs


#: The module of the repairs. It is imported late: only lenient parsing needs it, and the import takes time.
repairs: Final = Once(_import_repairs)


def illegal(moves: Moves, kind: int, token: int, width: int) -> None:
    """Takes a token that has no move here. Strict parsing raises HarmonyError, lenient parsing repairs."""
    if not moves._strict:
        repairs().repair(moves, kind, token, width)
    elif moves._state == _ODD_HEADER:
        _tell_of_stop(moves, kind, token, width)
    elif kind == _STOP and moves._header is None and moves._state != _EXPECT_START and moves._spans is None:
        moves._header_tokens.append(token)  # a stop inside a header: a stream tells of it at the next token
        moves._enter(_ODD_HEADER)
    else:
        refuse(moves, machine.illegal(moves._state, kind, moves._position, vocabulary.load().describe(token)))


def _tell_of_stop(moves: Moves, kind: int, token: int, width: int) -> NoReturn:
    """Raises HarmonyError for the stop inside a header that was the last token.

    This token is left out, unless it is `<|start|>`: then the next message begins, and its header is not lost.
    """
    try:
        refuse(moves, _stopped(moves, at_end=False))
    finally:
        if kind == _START:
            moves._act(_OPEN_HEADER, kind, token, width)
            moves._enter(_HEADER)


def _stopped(moves: Moves, *, at_end: bool) -> Fault:
    found = vocabulary.load().describe(moves._header_tokens[-1])
    return machine.stopped(moves._header_tokens, moves._position - 1, found, at_end=at_end)


def illegal_header(moves: Moves, fault: Fault, width: int) -> None:
    """Takes the `<|message|>` behind a header whose words are not legal. `fault` says why."""
    if moves._strict:
        fault.position = place(moves, fault.position)
        refuse(moves, fault)
    repairs().repair_header(moves, width)


def refuse(moves: Moves, fault: Fault) -> NoReturn:
    """Raises HarmonyError for a token that may not stand here. An open header is given up; open content stays open."""
    if moves._header is None:
        moves._enter(_EXPECT_START)
        moves._forget_header_tokens()
    _fail(moves, fault)


def _fail(moves: Moves, fault: Fault) -> NoReturn:
    raise fault.error(unit=moves._unit, messages=moves._messages) from None


def end(moves: Moves) -> Role | None:
    """Takes the end of the input. Returns the role if the input ends in an open `<|start|>role`, else None."""
    state = moves._state
    if state == _EXPECT_START:
        return None
    moves._cut = moves._cut or state != _STRAY_TEXT or not repairs().is_nothing(moves._header_tokens)
    move = machine.MOVES[moves._strict][state * _KIND_COUNT + _END_OF_INPUT]
    if move != machine.ILLEGAL:
        if move >> 4 == _CLOSE_MESSAGE:
            moves._close_message(None)
            moves._enter(move & 15)
            return None
        if move >> 4 == _LEAVE_OPEN and (role := open_role(moves._header_tokens, moves._given)) is not None:
            return role
    if state == _ODD_HEADER and moves._strict:
        _fail(moves, _stopped(moves, at_end=True))
    if moves._strict:
        _fail(moves, machine.illegal(state, _END_OF_INPUT, moves._position, ""))
    repairs().repair(moves, _END_OF_INPUT, vocabulary.NO_TOKEN, 0)
    return None


def take_text(moves: Moves, text: str) -> None:
    """Takes the pieces of text that the engines leave to this function: text between messages, and long header text."""
    if machine.MOVES[moves._strict][moves._state * _KIND_COUNT + _TEXT] == machine.ILLEGAL:
        if moves._strict:
            refuse(moves, machine.illegal(moves._state, _TEXT, moves._position, "the text " + quote(text)))
        repairs().begin_without_start(moves)
        moves._enter(_STRAY_TEXT)
    if not moves._strict and moves._header is None:
        text = repairs().take_header_text(moves, text)
    moves._add_text(text)


def save(moves: Moves) -> SavedParser:
    """The state of a parser for a pickle or a copy. Its lists are copies."""
    content, settled = moves._held()
    rest = [name for name in SavedParser.__struct_fields__ if name not in ("content", "settled")]
    values = {name: getattr(moves, f"_{name}") for name in rest}
    copied: dict[str, Any] = {name: value[:] if isinstance(value, list) else value for name, value in values.items()}
    return SavedParser(**copied, content=content, settled=settled)


def restore(moves: Moves, saved: SavedParser) -> None:
    """Sets a parser to a saved state. Raises ValueError for a state that no engine can have saved."""
    saved = SavedParser.checked(saved)
    moves._begin(saved.given, saved.strict, saved.default_channel)
    moves._enter(saved.state)
    if saved.header is not None:
        moves._remember_header(saved.header)
    moves._hold(saved.content, saved.settled)
    moves._remember_delta(saved.delta, saved.delta_header)
    for name in SavedParser.__struct_fields__:
        if name not in _RESTORED:
            setattr(moves, f"_{name}", getattr(saved, name))
