"""The automaton's moves in Python: what `parser_py.py` is built on.

Tokens step the automaton; headers, contents and messages are begun and ended. The compiled twin is `moves_c.pyx`.
"""

from __future__ import annotations

import sys
from codecs import utf_8_decode
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from harmony.errors import Diagnostic, Fault, quote
from harmony.format import machine, vocabulary
from harmony.format.header import NO_HEADER, Header, open_role, read_header
from harmony.messages.model import Message, Role
from harmony.parsing.shared import characters, not_in_pair, placed, repaired
from harmony.parsing.tokens import as_id
from harmony.results import ENDS, Segment, Span
from harmony.runtime.locks import forks_wait

if TYPE_CHECKING:
    from typing import Self

    from harmony.parsing import bare_content, header_repair

_KIND_COUNT: Final = len(machine.Kind)
_HEADER_MARKERS: Final = (machine.Kind.CHANNEL, machine.Kind.CONSTRAIN)


def _load_lenient() -> None:
    """Imports what lenient parsing alone needs: without it, a process starts a tenth sooner."""
    global bare_content, header_repair
    with forks_wait:
        from harmony.parsing import bare_content, header_repair


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
            _load_lenient()
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
                self._tokens.append(token)
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
        if move >> 4 == machine.Action.ADD_TO_CONTENT:
            self._content += vocabulary.TOKEN_BYTES[token]
            self._content_tokens.append(token)
            self._delta = self._settle(final=False)
        else:
            self._act(move >> 4, kind, token, width)
        self._state = move & 15
        if kind == machine.Kind.TEXT and self._header is None and not self._strict:
            size = len(self._header_tokens) - self._run_start
            if size >= bare_content.FIRST_LOOK and size & (size - 1) == 0:
                self._look(kind)

    def _act(self, action: int, kind: int, token: int, width: int) -> None:
        """What a move does, or one of the things that a repair does."""
        match action:
            case machine.Action.ADD_TO_HEADER:
                self._header_tokens.append(token if kind != machine.Kind.INVALID else vocabulary.NO_TOKEN)
                if kind in _HEADER_MARKERS:
                    self._run_start = len(self._header_tokens)
            case machine.Action.CLOSE_HEADER:
                self._close_header(width)
            case machine.Action.CLOSE_MESSAGE:
                self._close_message(ENDS.get(token))
            case machine.Action.OPEN_HEADER:
                self._start = self._position
                self._header_start = self._position + width
            case machine.Action.IMPLY_START:
                self._imply_start()
            case machine.Action.MEND_HEADER:
                self._mend_header(width)
            case machine.Action.GIVE_UP_HEADER:
                self._give_up_header(kind, token, width)
            case machine.Action.REOPEN:
                self._reopen(token, width)
            case machine.Action.REPLACE:
                self._add_bytes(header_repair.REPLACEMENT)
            case machine.Action.LEAVE_OUT:
                self._add_bytes(header_repair.left_out(self._content))

    def _take_text(self, text: str) -> None:
        """Takes a piece of ordinary text, as a run of tokens would be taken."""
        size = 0 if self._strict else bare_content.FIRST_LOOK
        start = 0
        while self._header is None and 0 < size < len(text) - start:
            stop = not_in_pair(text, start + size)
            self._add_text(text[start:stop])
            self._look(machine.Kind.TEXT)
            start, size = stop, 2 * size
        self._add_text(text[start:])

    def _add_text(self, text: str) -> None:
        move = self._moves[self._state * _KIND_COUNT + machine.Kind.TEXT]
        if move == machine.ILLEGAL:
            if self._strict:
                found = "the text " + quote(text)
                self._refuse(machine.illegal(self._state, machine.Kind.TEXT, self._position, found))
            self._imply_start()
            self._state = int(machine.State.STRAY_TEXT)
            move = self._moves[self._state * _KIND_COUNT + machine.Kind.TEXT]
        data = vocabulary.encode_utf_8(text)
        if move >> 4 == machine.Action.ADD_TO_CONTENT:
            self._content += data
        else:
            self._header_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _end(self) -> Role | None:
        """Takes the end of the input; the role whose turn is next, where it ends in an open `<|start|>role`."""
        kind = int(machine.Kind.END_OF_INPUT)
        blank = self._state == machine.State.STRAY_TEXT and bare_content.is_blank(self._header_tokens)
        self._cut = self._cut or not (blank or self._state == machine.State.EXPECT_START)
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
            fault.position = self._place(fault.position)
            self._refuse(fault)
        self._open_content(header, self._position + width)

    def _mend_header(self, width: int) -> None:
        if self._look(machine.Kind.MESSAGE):
            self._repair(machine.Kind.MESSAGE, vocabulary.MESSAGE, width)
            return
        header, faults = header_repair.mend_header(self._header_tokens, self._given)
        self._note_in_header(faults)
        self._open_content(header, self._position + width)

    def _open_content(self, header: Header, start: int) -> None:
        self._header = header
        self._content_start = start
        self._forget_header_tokens()

    def _forget_header_tokens(self) -> None:
        self._given = None
        self._header_tokens = []
        self._run_start = 0

    def _place(self, index: int | None) -> int:
        """The position of the token at an index of the open header."""
        if self._unit == "character":
            return self._header_start + characters(islice(self._header_tokens, index))
        return self._header_start + (len(self._header_tokens) if index is None else index)

    def _close_message(self, end: Literal["end", "call", "return"] | None) -> None:
        header = self._header
        assert header is not None  # content is open
        if header is NO_HEADER and not self._content:  # a second `<|message|>` that nothing followed
            self._header = None
            return
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

    # --- lenient parsing

    def _look_before(self, kind: int) -> None:
        """Opens the content that a header's text turns out to be, now that a marker has ended it.

        Before `<|message|>` only where `<|start|>` is missing; elsewhere the header is read first, and may be legal.
        """
        stray = self._state == machine.State.STRAY_TEXT
        if kind in _HEADER_MARKERS or (kind == machine.Kind.MESSAGE and stray):
            self._look(kind)

    def _look_again(self) -> None:
        """The same while text comes in, where its last token may have decided it."""
        waiting = self._header is None and self._header_tokens and not self._strict
        if waiting and bare_content.may_decide(self._header_tokens, self._run_start, self._slot()):
            self._look(machine.Kind.TEXT)

    def _look(self, marker: int) -> bool:
        """Opens content whose `<|message|>` is missing, if the header's last text is that; whether it is."""
        tokens, run, slot = self._header_tokens, self._run_start, self._slot()
        if len(tokens) == run or not bare_content.is_content(tokens, run, slot, marker):
            return False
        self._open_bare_content(bare_content.content_of(tokens, run, slot, self._given))
        return True

    def _slot(self) -> bare_content.Slot:
        stray = self._state == machine.State.STRAY_TEXT
        return bare_content.slot_of(self._header_tokens, self._run_start, self._given, stray=stray)

    def _open_bare_content(self, mended: bare_content.Mended) -> None:
        assert mended.header is not None
        self._note_in_header(mended.faults)
        self._open_content(mended.header, self._place(mended.start))
        self._add_bytes(mended.content)
        self._state = int(machine.State.BARE_CONTENT)

    def _add_bytes(self, data: bytes) -> None:
        self._content += data
        if self._spans is None:
            self._content_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _repair(self, kind: int, token: int, width: int) -> None:
        """Takes a token that may not stand here; the end of the input is such a token too."""
        repair = machine.REPAIRS[machine.State(self._state), machine.Kind(kind)]
        if repair.code is not None:
            place = self._header_start if repair.at_header else self._position
            self._note([repaired(repair.code, place, token)])
        for action in repair.actions:
            self._act(action, kind, token, width)
        self._state = int(repair.after)

    def _give_up_header(self, kind: int, token: int, width: int) -> None:
        """Ends a header that gets no `<|message|>`. Where there was content behind it, the token ends that."""
        tokens, run, slot = self._header_tokens, self._run_start, self._slot()
        mended = bare_content.give_up(tokens, run, slot, self._given, kind)
        if mended.header is not None:
            self._open_bare_content(mended)
        else:
            self._note_in_header(mended.faults)
            self._forget_header_tokens()
            if not mended.nothing:
                return
            self._state = int(machine.State.EXPECT_START)
        move = self._moves[self._state * _KIND_COUNT + kind]
        if move == machine.ILLEGAL:
            self._repair(kind, token, width)
        elif move >> 4 == machine.Action.CLOSE_MESSAGE:
            self._close_message(ENDS.get(token))

    def _reopen(self, token: int, width: int) -> None:
        header = self._header
        assert header is not None
        bare = self._state == machine.State.BARE_CONTENT
        blank = len(self._content) <= header_repair.MOST_BLANK_BYTES and not self._content.strip()
        code = "late-message" if bare else "repeated-message" if blank else "second-message"
        self._note([repaired(code, self._position, token)])
        if not blank:
            self._close_message(None)
            self._start = self._position
            self._header = header if bare else NO_HEADER
            self._content_start = self._position + width

    def _note_in_header(self, faults: Sequence[Fault]) -> None:
        """Remembers what was mended in the open header."""
        self._note(placed(faults, self._header_tokens, self._header_start, self._unit))

    def _note(self, diagnostics: list[Diagnostic]) -> None:
        self._diagnostics += diagnostics

    def _refuse(self, fault: Fault) -> NoReturn:
        """Raises for a token that may not stand here. A header that holds one is given up; content stays open."""
        if self._header is None:
            self._state = int(machine.State.EXPECT_START)
            self._forget_header_tokens()
        self._fail(fault)

    def _fail(self, fault: Fault) -> NoReturn:
        raise fault.error(unit=self._unit, messages=self._messages) from None
