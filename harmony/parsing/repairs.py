"""Carries out the repairs of lenient parsing, once for both engines.

An engine calls this module in three cases:

- A token has no move. `machine.REPAIRS` lists the actions for each such token.
- A header cannot be read. `header_repair.py` finds its most likely meaning.
- Text in a header may be content. `bare_content.py` decides whether it is.

The functions use the fields and methods of the engine, which have the same names in both (see `moves_py.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from harmony.errors import Diagnostic, Fault, quote
from harmony.format import machine, vocabulary
from harmony.format.header import NO_HEADER, Header
from harmony.format.machine import Action, Kind, State
from harmony.messages.model import TextContent
from harmony.messages.roles import Role
from harmony.parsing import bare_content, header_repair
from harmony.parsing.bare_content import is_nothing as is_nothing
from harmony.parsing.shared import FIRST_CHARACTERS, not_in_pair, place, placed, repaired
from harmony.results import ENDS

if TYPE_CHECKING:
    from harmony.parsing.moves_py import Moves

#: Markers of other chat formats, as text: of ChatML, and of Llama.
OTHER_MARKERS: Final = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot|eom|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|end_of_text)\|>"
)
#: The recipient that other formats of tool calls give to thoughts.
OTHER_RECIPIENT: Final = "self"

_KIND_COUNT: Final = len(Kind)
_TABLE: Final = machine.MOVES[False]
# By the state and the kind as integers, which are faster to look up than members of an enumeration.
_REPAIRS: Final = [machine.REPAIRS.get((state, kind)) for state in State for kind in Kind]


# --- the end of the input


def finish(moves: Moves) -> None:
    """After an input that was repaired: tells where the text is plainly of another chat format."""
    for message in moves._messages:
        (part,) = message.content
        assert isinstance(part, TextContent)  # as each message that is parsed
        marker = OTHER_MARKERS.search(part.text) if "<" in part.text else None
        if marker is not None or message.recipient == OTHER_RECIPIENT:
            if any(told.code == "other-format" for told in moves._diagnostics):
                return
            position = min(told.position for told in moves._diagnostics)
            found = quote(f"to={OTHER_RECIPIENT}" if marker is None else marker[0])
            moves._diagnostics.append(Fault("other-format", found=found).diagnostic(position))
            return


# --- a token that has no move


def repair(moves: Moves, kind: int, token: int, width: int) -> None:
    """Takes a token that may not stand here. The end of the input counts as a token too."""
    found = _REPAIRS[moves._state * _KIND_COUNT + kind]
    assert found is not None
    if found.code is not None:
        position = moves._header_start if found.at_header else moves._position
        moves._diagnostics.append(repaired(found.code, position, token))
    for action in found.actions:
        act = _ACTIONS.get(action)
        if act is None:  # an action that well-formed input needs too is left to the engine
            moves._act(action, kind, token, width)
        else:
            act(moves, kind, token, width)
    moves._enter(found.after)


def _replace(moves: Moves, kind: int, token: int, width: int) -> None:
    moves._add_bytes(header_repair.REPLACEMENT)


def _leave_out(moves: Moves, kind: int, token: int, width: int) -> None:
    moves._add_bytes(header_repair.left_out(moves._last_bytes(header_repair.LONGEST_MARKER)))


def _repair_header(moves: Moves, kind: int, token: int, width: int) -> None:
    repair_header(moves, width)


def begin_without_start(moves: Moves, *_token: int) -> None:
    """Begins a message of the assistant here, without a `<|start|>`."""
    if moves._resumed is None:
        moves._start = moves._position
    moves._header_start = moves._position
    moves._given = Role.ASSISTANT


def repair_header(moves: Moves, width: int) -> None:
    """Repairs a header that is not legal, and opens its content."""
    if look(moves, Kind.MESSAGE):
        repair(moves, Kind.MESSAGE, vocabulary.MESSAGE, width)
        return
    header, faults = header_repair.repaired_header(moves._header_tokens, moves._given)
    _note_in_header(moves, faults)
    moves._open_content(header, moves._position + width)


def _give_up_header(moves: Moves, kind: int, token: int, width: int) -> None:
    """Ends a header that has no `<|message|>`. Where text behind it becomes content, the token ends that content."""
    found = bare_content.give_up(moves._header_tokens, moves._run_start, _slot(moves), moves._given, kind)
    if found.header is not None:
        _open_bare_content(moves, found)
    else:
        _note_in_header(moves, found.faults)
        moves._forget_header_tokens()
        resumed = moves._resumed
        moves._cut = moves._cut or found.addressed or (resumed is not None and resumed.recipient is not None)
        moves._resumed = None
        if not found.nothing:
            _add_empty_message(moves, kind, token)
            return
        moves._enter(State.EXPECT_START)
    move = _TABLE[moves._state * _KIND_COUNT + kind]
    if move == machine.ILLEGAL:
        repair(moves, kind, token, width)
    elif move >> 4 == Action.CLOSE_MESSAGE:
        moves._close_message(ENDS.get(token))


def _add_empty_message(moves: Moves, kind: int, token: int) -> None:
    """Adds an empty message where a stop ends a completion that has none, for programs that fail without a message."""
    default = moves._default_channel
    if default is None or not default.in_empty_completion or moves._messages:
        return
    if kind in (Kind.STOP, Kind.END_OF_TEXT):
        moves._content_start = moves._position
        moves._remember_header(NO_HEADER)
        moves._close_message(ENDS.get(token))


def _interrupt(moves: Moves, kind: int, token: int, width: int) -> None:
    """Takes a `<|start|>` or `<|channel|>` inside content: the message ends, as its stop is missing.

    An empty message is left out, if its header goes on with `<|channel|>`, or if it says nothing.
    """
    header = moves._header
    assert header is not None
    nothing = NO_HEADER if moves._default_channel is None else moves._default_channel.of(NO_HEADER)
    says_nothing = header is nothing or header == NO_HEADER
    if moves._last_bytes(1) or not (kind == Kind.CHANNEL or says_nothing):
        moves._diagnostics.append(repaired("missing-stop", moves._position, token))
        moves._close_message(None)
        return
    key = "empty-message/resumed" if kind == Kind.CHANNEL else "empty-message"
    moves._diagnostics.append(repaired(key, moves._position, token))
    moves._forget_header()
    moves._resumed = header if kind == Kind.CHANNEL and not says_nothing else None


def resumed(moves: Moves, header: Header) -> Header:
    """A header that was just read, with the first part of it, which `_interrupt` has kept."""
    before = moves._resumed
    assert before is not None
    moves._resumed = None
    return header.resumed(before)


def _reopen(moves: Moves, kind: int, token: int, width: int) -> None:
    """Takes a `<|message|>` inside content. It ends the message, unless the content so far is only white space."""
    header = moves._header
    assert header is not None
    bare = moves._state == State.BARE_CONTENT
    last = moves._last_bytes(header_repair.MOST_BLANK_BYTES + 1)
    blank = len(last) <= header_repair.MOST_BLANK_BYTES and not last.strip()
    code = "late-message" if bare else "repeated-message" if blank else "second-message"
    moves._diagnostics.append(repaired(code, moves._position, token))
    if not blank:
        moves._close_message(None)
        moves._start = moves._position
        moves._remember_header(header if bare else NO_HEADER)
        moves._without_header = not bare
        moves._content_start = moves._position + width


#: The actions that only repairs need.
_ACTIONS: Final[dict[Action, Callable[[Moves, int, int, int], None]]] = {
    Action.IMPLY_START: begin_without_start,
    Action.REPAIR_HEADER: _repair_header,
    Action.GIVE_UP_HEADER: _give_up_header,
    Action.REOPEN: _reopen,
    Action.REPLACE: _replace,
    Action.LEAVE_OUT: _leave_out,
    Action.INTERRUPT: _interrupt,
}


# --- text of a header: is it still a header?


def look_before(moves: Moves, kind: int) -> None:
    """Before a marker of this kind: opens content if the header text before the marker is content.

    Before `<|message|>` that is asked only where `<|start|>` is missing. Elsewhere the header is read first, because it
    may be legal.
    """
    if kind in (Kind.CHANNEL, Kind.CONSTRAIN) or (kind == Kind.MESSAGE and moves._state == State.STRAY_TEXT):
        look(moves, kind)


def look_again(moves: Moves) -> None:
    """After a step: opens content if the last token has shown that the header text is content."""
    waiting = moves._header is None and not moves._strict and moves._header_tokens
    if waiting and bare_content.may_decide(moves._header_tokens, moves._run_start, _slot(moves)):
        look(moves, Kind.TEXT)


def look(moves: Moves, marker: int) -> bool:
    """Opens content if the last header text is content without its `<|message|>`. Returns whether it is.

    `marker` is the kind of the marker that has ended the text, or Kind.TEXT where the text may go on.
    """
    tokens, run_start, slot = moves._header_tokens, moves._run_start, _slot(moves)
    if len(tokens) == run_start or not bare_content.is_content(tokens, run_start, slot, marker):
        return False
    found = bare_content.content_of(tokens, run_start, slot, moves._given)
    del tokens  # a long list takes eight times the text; nothing else holds it when the content is opened
    _open_bare_content(moves, found)
    return True


def take_header_text(moves: Moves, text: str) -> str:
    """Takes the text of a header in pieces, each twice as long as the one before, and returns the rest.

    After each piece the text is looked at, because it takes less memory once it is known to be content.
    """
    size = FIRST_CHARACTERS
    start = 0
    while moves._header is None and size < len(text) - start:
        stop = not_in_pair(text, start + size)
        moves._add_text(text[start:stop])
        look(moves, Kind.TEXT)
        start, size = stop, 2 * size
    return text[start:]


def _slot(moves: Moves) -> bare_content.Slot:
    stray = moves._state == State.STRAY_TEXT
    return bare_content.slot_of(moves._header_tokens, moves._run_start, moves._given, stray=stray)


def _open_bare_content(moves: Moves, found: bare_content.BareContent) -> None:
    assert found.header is not None
    _note_in_header(moves, found.faults)
    moves._open_content(found.header, place(moves, found.start))
    moves._enter(State.BARE_CONTENT)
    moves._add_bytes(found.content)


def _note_in_header(moves: Moves, found: Sequence[Diagnostic]) -> None:
    """Adds the diagnostics of what was repaired in the open header."""
    moves._diagnostics.extend(placed(found, moves._header_tokens, moves._header_start, moves._unit))
