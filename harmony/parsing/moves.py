"""The moves that are seldom made, once for both engines: the end of an input, errors, long text, and pickles.

An engine (`moves_py.py`, `moves_c.pyx`) steps, runs and settles. Where a token may not stand, or the input ends, it
calls a function of this module, which works on the fields and methods that both engines have by the same names. Strict
parsing raises here; lenient parsing goes on to `repairs.py`.
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

# As plain integers, for members of an enumeration take longer to ask for.
_KIND_COUNT: Final = len(machine.Kind)
_TEXT: Final = int(machine.Kind.TEXT)
_END_OF_INPUT: Final = int(machine.Kind.END_OF_INPUT)
_EXPECT_START: Final = int(machine.State.EXPECT_START)
_STRAY_TEXT: Final = int(machine.State.STRAY_TEXT)
_CLOSE_MESSAGE: Final = int(machine.Action.CLOSE_MESSAGE)
_LEAVE_OPEN: Final = int(machine.Action.LEAVE_OPEN)


def _import_repairs() -> ModuleType:
    with forks_wait:
        from harmony.parsing import repairs
    return repairs


#: The module of the repairs. Lenient parsing alone needs it: without it, a process starts a tenth sooner.
repairs: Final = Once(_import_repairs)


def illegal(moves: Moves, kind: int, token: int, width: int) -> None:
    """Takes a token that has no move here: strict parsing refuses it, lenient parsing repairs what it breaks."""
    if moves._strict:
        found = vocabulary.load().describe(token)
        refuse(moves, machine.illegal(moves._state, kind, moves._position, found))
    repairs().repair(moves, kind, token, width)


def illegal_header(moves: Moves, fault: Fault, width: int) -> None:
    """Takes the `<|message|>` behind a header whose words are not legal, as `fault` says."""
    if moves._strict:
        fault.position = place(moves, fault.position)
        refuse(moves, fault)
    repairs().repair_header(moves, width)


def refuse(moves: Moves, fault: Fault) -> NoReturn:
    """Raises for a token that may not stand here. A header that holds one is given up; content stays open."""
    if moves._header is None:
        moves._enter(_EXPECT_START)
        moves._forget_header_tokens()
    _fail(moves, fault)


def _fail(moves: Moves, fault: Fault) -> NoReturn:
    raise fault.error(unit=moves._unit, messages=moves._messages) from None


def end(moves: Moves) -> Role | None:
    """Takes the end of the input; the role whose turn is next, where it ends in an open `<|start|>role`."""
    state = moves._state
    if state == _EXPECT_START:
        return None
    moves._cut = moves._cut or state != _STRAY_TEXT or not repairs().is_blank(moves._header_tokens)
    move = machine.MOVES[moves._strict][state * _KIND_COUNT + _END_OF_INPUT]
    if move != machine.ILLEGAL:
        if move >> 4 == _CLOSE_MESSAGE:
            moves._close_message(None)
            moves._enter(move & 15)
            return None
        if move >> 4 == _LEAVE_OPEN and (role := open_role(moves._header_tokens, moves._given)) is not None:
            return role
    if moves._strict:
        _fail(moves, machine.illegal(state, _END_OF_INPUT, moves._position, ""))
    repairs().repair(moves, _END_OF_INPUT, vocabulary.NO_TOKEN, 0)
    return None


def take_text(moves: Moves, text: str) -> None:
    """Takes a piece of ordinary text that no engine took itself: the text between messages, or a long one."""
    if machine.MOVES[moves._strict][moves._state * _KIND_COUNT + _TEXT] == machine.ILLEGAL:
        if moves._strict:
            refuse(moves, machine.illegal(moves._state, _TEXT, moves._position, "the text " + quote(text)))
        repairs().begin_without_start(moves)
        moves._enter(_STRAY_TEXT)
    if not moves._strict and moves._header is None:
        text = repairs().take_header_text(moves, text)
    moves._add_text(text)


def save(moves: Moves) -> SavedParser:
    """What a pickle or a copy keeps; the lists are copies."""
    content, settled = moves._held()
    rest = [name for name in SavedParser.__struct_fields__ if name not in ("content", "settled")]
    values = {name: getattr(moves, f"_{name}") for name in rest}
    copied: dict[str, Any] = {name: value[:] if isinstance(value, list) else value for name, value in values.items()}
    return SavedParser(**copied, content=content, settled=settled)


def restore(moves: Moves, saved: SavedParser) -> None:
    """Makes an input what was saved. Raises ValueError for what no engine has saved."""
    saved = SavedParser.checked(saved)
    moves._begin(saved.given, saved.strict)
    moves._enter(saved.state)
    if saved.header is not None:
        moves._remember_header(saved.header)
    moves._hold(saved.content, saved.settled)
    for name in SavedParser.__struct_fields__:
        if name not in ("strict", "state", "header", "content", "settled"):
            setattr(moves, f"_{name}", getattr(saved, name))
