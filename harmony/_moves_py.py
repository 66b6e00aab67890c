"""The automaton's moves in Python: what `_parser_py.py` is built on.

Tokens step the automaton; headers, contents and messages are begun and ended. The compiled twin is `_moves.pyx`.
"""

from __future__ import annotations

import sys
from codecs import utf_8_decode
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from harmony import machine, vocabulary
from harmony._engine import characters, repaired
from harmony.errors import Diagnostic, Fault, quote
from harmony.header import Header, open_role, read_header
from harmony.messages import Message, Role
from harmony.results import ENDS, Segment, Span
from harmony.tokens import as_id

if TYPE_CHECKING:
    from typing import Self


if TYPE_CHECKING:
    from harmony import mending, repairs

_KIND_COUNT: Final = len(machine.Kind)


def _load_repairs() -> None:
    """Imports what lenient parsing alone needs: without it, a process starts a tenth sooner."""
    global mending, repairs
    from harmony import mending, repairs


class Moves:
    """One input on its way through the automaton: its state, and what has been read so far."""

    __slots__ = (
        "_content",
        "_content_start",
        "_content_tokens",
        "_cut",
        "_delta",
        "_diagnostics",
        "_given",
        "_header",
        "_header_start",
        "_header_tokens",
        "_messages",
        "_moves",
        "_position",
        "_run_start",
        "_segments",
        "_settled",
        "_shown",
        "_spans",
        "_start",
        "_state",
        "_strict",
        "_text",
        "_tokens",
        "_unit",
    )

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        parser = super().__new__(cls)
        parser._begin(None, strict=True)
        return parser

    def _begin(self, given: Role | None, strict: bool) -> None:
        if not strict:
            _load_repairs()
        self._strict = strict
        self._moves = machine.MOVES[strict]
        self._unit: Literal["token", "character"] = "token"  # what positions count
        self._state = int(machine.State.EXPECT_START if given is None else machine.State.HEADER)
        self._given = given
        # Where the next token stands; where the message, its header's text and its content begin.
        self._position = self._start = self._header_start = self._content_start = 0
        self._header_tokens: list[int] = []
        self._run_start = 0  # where in them the text behind the last marker begins
        self._header: Header | None = None  # of the open content
        # The bytes of the open content. Those before `_settled` are whole characters that a delta has given; `_text`
        # is the text of those before `_shown`.
        self._content = bytearray()
        self._content_tokens: list[int] = []  # kept while an input comes in steps
        self._settled = self._shown = 0
        self._text = ""
        self._delta: str | None = None
        self._tokens: list[int] = []
        self._messages: list[Message] = []
        self._spans: list[Span] | None = None  # kept when an input is parsed as a whole; then no token is, no delta
        self._segments: list[Segment] | None = None  # kept during a step of several tokens
        self._cut = False  # whether the input has ended within a message
        self._diagnostics: list[Diagnostic] = []

    def _run(self, tokens: Sequence[int]) -> None:
        """Takes tokens until one raises."""
        streaming = self._spans is None
        adding = self._is_adding()
        for token in tokens:
            if type(token) is not int:
                token = as_id(token, self._position)
                adding = self._is_adding()  # its `__index__` may have used this parser
            if streaming:
                self._own_tokens().append(token)
            if adding and 0 <= token < vocabulary.FIRST_SPECIAL:
                self._content += vocabulary.TOKEN_BYTES[token]
                if streaming:
                    self._content_tokens.append(token)
                self._position += 1
                continue
            try:
                self._step(token, 1)
            finally:
                self._position += 1
            adding = self._is_adding()

    def _is_adding(self) -> bool:
        move = self._moves[self._state * _KIND_COUNT + machine.Kind.TEXT]
        return move >> 4 == machine.Action.ADD_TO_CONTENT

    def _step(self, token: int, width: int) -> None:
        """Takes one token, `width` positions wide; one that may not stand here is refused."""
        if 0 <= token < vocabulary.FIRST_SPECIAL:
            kind = int(machine.Kind.TEXT)
        elif 0 <= token <= vocabulary.LAST_TOKEN:
            kind = machine.KINDS[token - vocabulary.FIRST_SPECIAL]
        else:
            kind = machine.Kind.INVALID
        if self._header_tokens and not self._strict and kind != machine.Kind.TEXT:
            self._look_before(kind)
        move = self._moves[self._state * _KIND_COUNT + kind]
        if move == machine.ILLEGAL:
            if not self._strict:
                self._repair(kind, token, width)
                return
            found = vocabulary.load().describe(token)
            self._refuse(machine.illegal(self._state, kind, self._position, found))
        match move >> 4:
            case machine.Action.ADD_TO_CONTENT:
                self._content += vocabulary.TOKEN_BYTES[token]
                self._content_tokens.append(token)
                self._delta = self._settle(final=False)
            case machine.Action.ADD_TO_HEADER:
                self._header_tokens.append(token)
                if kind != machine.Kind.TEXT:
                    self._run_start = len(self._header_tokens)
            case machine.Action.OPEN_HEADER:
                self._start = self._position
                self._header_start = self._position + width
            case machine.Action.CLOSE_HEADER:
                self._close_header(width)
            case machine.Action.MEND_HEADER:
                self._mend_header(width)
            case machine.Action.CLOSE_MESSAGE:
                self._close_message(ENDS.get(token))
        self._state = move & 15

    def _take_text(self, text: str) -> None:
        """Takes a piece of ordinary text, as a run of tokens would be taken."""
        move = self._moves[self._state * _KIND_COUNT + machine.Kind.TEXT]
        if move == machine.ILLEGAL:
            if self._strict:
                found = "the text " + quote(text)
                self._refuse(machine.illegal(self._state, machine.Kind.TEXT, self._position, found))
            self._imply_start()
            self._state = int(machine.State.STRAY_TEXT)
        data = vocabulary.encode_utf_8(text)
        if move >> 4 == machine.Action.ADD_TO_CONTENT:
            self._content += data
        else:
            self._header_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _end(self) -> Role | None:
        """Takes the end of the input; the role whose turn is next, where it ends in an open `<|start|>role`."""
        kind = int(machine.Kind.END_OF_INPUT)
        self._cut = self._cut or not self._is_between()
        move = self._moves[self._state * _KIND_COUNT + kind]
        role: Role | None = None
        if move != machine.ILLEGAL and move >> 4 == machine.Action.LEAVE_OPEN:
            role = open_role(self._header_tokens, self._given)
            if role is None:
                move = machine.ILLEGAL
        if move == machine.ILLEGAL:
            if self._strict:
                self._fail(machine.illegal(self._state, kind, self._position, ""))
            self._repair(kind, vocabulary.NO_TOKEN, 0)
            return None
        if move >> 4 == machine.Action.CLOSE_MESSAGE:
            self._close_message(None)
        self._state = move & 15
        return role

    def _is_between(self) -> bool:
        if self._state == machine.State.STRAY_TEXT:
            return repairs.is_blank(self._header_tokens)
        return self._state == machine.State.EXPECT_START

    def _imply_start(self) -> None:
        self._start = self._header_start = self._position
        self._given = Role.ASSISTANT

    def _close_header(self, width: int) -> None:
        try:
            header = read_header(self._header_tokens, self._given)
        except Fault as fault:
            if not self._strict:
                self._mend_header(width)
                return
            fault.position = self._place(fault)
            self._refuse(fault)
        self._open_content(header, self._position + width)

    def _mend_header(self, width: int) -> None:
        if self._look(ended=True):
            self._repair(machine.Kind.MESSAGE, vocabulary.MESSAGE, width)
            return
        header, faults = mending.mend_header(self._header_tokens, self._given)
        self._note(faults)
        self._open_content(header, self._position + width)

    def _open_content(self, header: Header, start: int) -> None:
        self._header = header
        self._content_start = start
        self._forget_header_tokens()

    def _forget_header_tokens(self) -> None:
        self._given = None
        self._header_tokens = []
        self._run_start = 0

    def _place(self, fault: Fault) -> int:
        """The position of a fault in the open header, whose own is an index into the header's tokens."""
        before = self._header_tokens[: fault.position]
        return self._header_start + (len(before) if self._unit == "token" else characters(before))

    def _close_message(self, end: Literal["end", "call", "return"] | None) -> None:
        header = self._header
        assert header is not None  # content is open
        if self._spans is None:
            self._delta = self._settle(final=True)
        message = header.message(self._text + utf_8_decode(self._content[self._shown :], "replace", True)[0])
        if sys.getrefcount(self._messages) > 2:  # somebody keeps the list that `messages` gave: it stays as it was
            self._messages = self._messages[:]
        self._messages.append(message)
        if self._spans is not None:
            self._spans.append(Span(self._start, self._content_start, self._position, end))
        if self._segments is not None:
            self._segments.append(Segment(header.channel, header.recipient, header.role, self._delta or "", message))
        self._header = None
        self._content.clear()
        if self._spans is None:
            self._content_tokens = []
        self._settled = self._shown = 0
        self._text = ""

    def _settle(self, *, final: bool) -> str | None:
        """The text of the bytes that came since the last time, up to the last whole character, or all if `final`."""
        text, used = utf_8_decode(self._content[self._settled :], "replace", final)
        self._settled += used
        return text or None

    def _own_tokens(self) -> list[int]:
        if sys.getrefcount(self._tokens) > 2:  # as in `_close_message`
            self._tokens = self._tokens[:]
        return self._tokens

    # --- lenient parsing

    def _look_before(self, kind: int) -> None:
        """Looks at the header's text before a marker behind which it can be no content."""
        is_odd = self._state > machine.State.CONTENT
        if kind in (machine.Kind.CHANNEL, machine.Kind.CONSTRAIN) or (kind == machine.Kind.MESSAGE and is_odd):
            self._look(ended=True)

    def _look(self, *, ended: bool) -> bool:
        """Opens the content whose `<|message|>` is missing, where the header's last text turns out to be that."""
        tokens, run, slot = self._header_tokens, self._run_start, self._slot()
        if len(tokens) == run or not repairs.is_content(tokens, run, slot, ended=ended):
            return False
        self._open_bare_content(repairs.content_of(tokens, run, slot, self._given))
        return True

    def _slot(self) -> repairs.Slot:
        stray = self._state == machine.State.STRAY_TEXT
        return repairs.slot_of(self._header_tokens, self._run_start, self._given, stray=stray)

    def _open_bare_content(self, mended: repairs.Mended) -> None:
        assert mended.header is not None
        self._note(mended.faults)
        self._open_content(mended.header, self._place(Fault("missing-message", mended.start, found="")))
        self._add_bytes(mended.content)
        self._state = int(machine.State.BARE_CONTENT)

    def _add_bytes(self, data: bytes) -> None:
        self._content += data
        if self._spans is None:
            self._content_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _held_text(self) -> str | None:
        """What the last step added to the content without having said so."""
        waiting = self._header is None and self._header_tokens and not self._strict
        if waiting and repairs.may_decide(self._header_tokens, self._run_start, self._slot()):
            self._look(ended=False)
        return None if self._header is None else self._settle(final=False)

    def _repair(self, kind: int, token: int, width: int) -> None:
        """Takes a token that may not stand here; the end of the input is such a token too."""
        repair = machine.REPAIRS[machine.State(self._state), machine.Kind(kind)]
        if repair.code is not None:
            late = repair.code == "missing-start" and self._state == machine.State.STRAY_TEXT
            place = self._header_start if late else self._position
            self._note_placed([repaired(repair.code, place, token)])
        for action in repair.actions:
            match action:
                case machine.Action.IMPLY_START:
                    self._imply_start()
                case machine.Action.OPEN_HEADER:
                    self._start = self._position
                    self._header_start = self._position + width
                case machine.Action.ADD_TO_HEADER:
                    self._header_tokens.append(token if kind != machine.Kind.INVALID else vocabulary.NO_TOKEN)
                    if kind in (machine.Kind.CHANNEL, machine.Kind.CONSTRAIN):
                        self._run_start = len(self._header_tokens)
                case machine.Action.CLOSE_HEADER:
                    self._close_header(width)
                case machine.Action.MEND_HEADER:
                    self._mend_header(width)
                case machine.Action.GIVE_UP_HEADER:
                    self._give_up_header(kind, token, width)
                case machine.Action.CLOSE_MESSAGE:
                    self._close_message(None)
                case machine.Action.REOPEN:
                    self._reopen(width)
                case machine.Action.REPLACE:
                    self._add_bytes(mending.REPLACEMENT)
                case machine.Action.LEAVE_OUT:
                    self._add_bytes(mending.left_out(self._content[-mending.LONGEST_MARKER :]))
        self._state = int(repair.after)

    def _give_up_header(self, kind: int, token: int, width: int) -> None:
        """Ends a header that gets no `<|message|>`. Where there was content behind it, the token ends that."""
        following = repairs.FOLLOWING[kind]
        mended = repairs.give_up(self._header_tokens, self._run_start, self._slot(), self._given, following)
        if mended.header is None:
            self._note(mended.faults)
            self._forget_header_tokens()
            if self._state == machine.State.STRAY_TEXT and (machine.State.EXPECT_START, kind) in machine.REPAIRS:
                self._state = int(machine.State.EXPECT_START)  # behind white space, the token is as wrong as without
                self._repair(kind, token, width)
            return
        self._open_bare_content(mended)
        if (self._state, kind) in machine.LENIENT:
            self._close_message(ENDS.get(token))
        else:
            self._repair(kind, token, width)

    def _reopen(self, width: int) -> None:
        header = self._header
        assert header is not None
        if self._content:
            bare = self._state == machine.State.BARE_CONTENT
            self._close_message(None)
            self._start = self._position
            self._header = header if bare else repairs.NO_HEADER
        self._content_start = self._position + width

    def _note(self, faults: Iterable[Fault]) -> None:
        """Remembers what was repaired in the open header; the faults' positions count from where it begins."""
        self._note_placed([fault.diagnostic(self._place(fault)) for fault in faults])

    def _note_placed(self, diagnostics: list[Diagnostic]) -> None:
        if sys.getrefcount(self._diagnostics) > 2:  # as in `_close_message`
            self._diagnostics = self._diagnostics[:]
        self._diagnostics += diagnostics

    def _refuse(self, fault: Fault) -> NoReturn:
        """Raises for a token that may not stand here. A header that holds one is given up; content stays open."""
        if self._header is None:
            self._state = int(machine.State.EXPECT_START)
            self._given = None
            self._header_tokens = []
        self._fail(fault)

    def _fail(self, fault: Fault) -> NoReturn:
        raise fault.error(unit=self._unit, messages=self._messages) from None
