"""The moves of the automaton in Python; `parser_py.py` is built on them. The compiled twin is `moves_c.pyx`.

Only three things are written twice, here and in the twin: `_step` takes one token, `_run` takes many tokens, and
`_settle` and `_close_message` make text and messages of the bytes. Everything else is written once, in `moves.py` and
`repairs.py`. Those modules use the fields and methods of this class, which have the same names in both engines.
"""

from __future__ import annotations

import sys
from codecs import utf_8_decode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from harmony.errors import Diagnostic, Fault
from harmony.format import machine, vocabulary
from harmony.format.header import DefaultChannel, Header, read_header
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.parsing import moves
from harmony.parsing.shared import FIRST_CHARACTERS, FIRST_LOOK
from harmony.parsing.tokens import as_id
from harmony.results import ENDS, Segment, Span

if TYPE_CHECKING:
    from typing import Self

_KIND_COUNT: Final = len(machine.Kind)
# Integers are faster to read than members of an enumeration.
_TEXT: Final = int(machine.Kind.TEXT)
_INVALID: Final = int(machine.Kind.INVALID)
_ADD_TO_CONTENT: Final = int(machine.Action.ADD_TO_CONTENT)
_HEADER_MARKERS: Final = (machine.Kind.CHANNEL, machine.Kind.CONSTRAIN)


class Moves:
    """The state of one input in the automaton, and everything that was read so far."""

    __slots__ = (
        "_content",
        "_content_start",
        "_content_tokens",
        "_cut",
        "_default_channel",
        "_delta",
        "_delta_header",
        "_diagnostics",
        "_given",
        "_header",
        "_header_start",
        "_header_tokens",
        "_messages",
        "_moves",
        "_position",
        "_resumed",
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
        "_without_header",
    )

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        parser = super().__new__(cls)
        parser._begin(None, strict=True)
        return parser

    def _begin(self, given: Role | None, strict: bool, default_channel: DefaultChannel | None = None) -> None:
        self._strict = strict
        self._default_channel = default_channel
        self._moves = machine.MOVES[strict]
        self._unit: Literal["token", "character"] = "token"  # what positions count
        self._state = int(machine.State.EXPECT_START if given is None else machine.State.HEADER)
        self._given = given
        # Positions: of the next token; of the beginning of the message, of its header's text, and of its content.
        self._position = self._start = self._header_start = self._content_start = 0
        self._header_tokens: list[int] = []
        self._run_start = 0  # the index of the first header token behind the last marker
        self._header: Header | None = None  # the header of the open content
        self._resumed: Header | None = None  # the first part of the open header, which an early `<|message|>` ended
        self._without_header = False  # True for content that has no header of its own, behind a second `<|message|>`
        # The bytes of the open content. A delta has given those before `_settled`, which are whole characters. `_text`
        # is the text of those before `_shown`.
        self._content = bytearray()
        self._content_tokens: list[int] = []  # only while an input comes in steps
        self._settled = self._shown = 0
        self._text = ""
        self._delta: str | None = None
        self._delta_header: Header | None = None  # the header of the delta's message, where that message has ended
        self._tokens: list[int] = []
        self._messages: list[Message] = []
        self._spans: list[Span] | None = (
            None  # a list while a whole input is parsed; then tokens and deltas are not kept
        )
        self._segments: list[Segment] | None = None  # a list during a step of several tokens
        self._cut = False  # True if the input has ended inside a message
        self._diagnostics: list[Diagnostic] = []

    def _run(self, tokens: Sequence[int]) -> None:
        """Takes all tokens, or those before the first one that raises."""
        streaming = self._spans is None
        adding = self._is_adding()
        for token in tokens:
            if type(token) is not int:
                token = as_id(token, self._position)
                adding = self._is_adding()  # the token's `__index__` may have used this parser
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
        return self._moves[self._state * _KIND_COUNT + _TEXT] >> 4 == _ADD_TO_CONTENT

    def _step(self, token: int, width: int) -> None:
        """Takes one token, which is `width` positions wide: 1, or in text the length of a marker."""
        if 0 <= token < vocabulary.FIRST_SPECIAL:
            kind = _TEXT
        elif 0 <= token <= vocabulary.LAST_TOKEN:
            kind = machine.KINDS[token - vocabulary.FIRST_SPECIAL]
        else:
            kind = _INVALID
        if self._header_tokens and not self._strict and kind != _TEXT:
            moves.repairs().look_before(self, kind)
        move = self._moves[self._state * _KIND_COUNT + kind]
        if move == machine.ILLEGAL:
            moves.illegal(self, kind, token, width)
            return
        if move >> 4 == _ADD_TO_CONTENT:
            self._content += vocabulary.TOKEN_BYTES[token]
            self._content_tokens.append(token)
            self._delta = self._settle(final=False)
        else:
            self._act(move >> 4, kind, token, width)
        self._state = move & 15
        if kind == _TEXT and self._header is None and not self._strict:
            size = len(self._header_tokens) - self._run_start
            if size >= FIRST_LOOK and size & (size - 1) == 0:
                moves.repairs().look(self, kind)

    def _act(self, action: int, kind: int, token: int, width: int) -> None:
        """What a move does, other than to add to the content."""
        match action:
            case machine.Action.ADD_TO_HEADER:
                self._header_tokens.append(token if kind != _INVALID else vocabulary.NO_TOKEN)
                if kind in _HEADER_MARKERS:
                    self._run_start = len(self._header_tokens)
            case machine.Action.CLOSE_HEADER:
                try:
                    header = read_header(self._header_tokens, self._given)
                except Fault as fault:
                    moves.illegal_header(self, fault, width)
                else:
                    self._open_content(header, self._position + width)
            case machine.Action.CLOSE_MESSAGE:
                self._close_message(ENDS.get(token))
            case machine.Action.OPEN_HEADER:
                self._start = self._position
                self._header_start = self._position + width
            case machine.Action.REPAIR_HEADER:
                moves.repairs().repair_header(self, width)

    def _take_text(self, text: str) -> None:
        """Takes a piece of ordinary text: adds it to the content or to the header."""
        move = self._moves[self._state * _KIND_COUNT + _TEXT]
        long = self._header is None and not self._strict and len(text) > FIRST_CHARACTERS
        if long or move == machine.ILLEGAL:
            moves.take_text(self, text)
        else:
            self._add_text(text)

    def _add_text(self, text: str) -> None:
        data = vocabulary.encode_utf_8(text)
        if self._is_adding():
            self._content += data
        else:
            self._header_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _open_content(self, header: Header, start: int) -> None:
        self._remember_header(header)
        self._content_start = start
        self._forget_header_tokens()

    def _forget_header_tokens(self) -> None:
        self._given = None
        self._header_tokens = []
        self._run_start = 0

    def _close_message(self, end: Literal["end", "call", "return"] | None) -> None:
        header = self._header
        assert header is not None  # content is open
        if self._without_header and not self._content:  # nothing followed a second `<|message|>`
            self._forget_header()
            return
        if self._spans is None:
            self._delta = self._settle(final=True)
            self._delta_header = None if self._delta is None else header
        message = header.message(self._text + utf_8_decode(self._content[self._shown :], "replace", True)[0])
        if sys.getrefcount(self._messages) > 2:  # the user holds this list, so it stays as it is
            self._messages = self._messages[:]
        self._messages.append(message)
        if self._spans is not None:
            self._spans.append(Span(self._start, self._content_start, self._position, end))
        if self._segments is not None:
            self._segments.append(Segment(header.channel, header.recipient, header.role, self._delta or "", message))
        self._forget_header()
        self._content.clear()
        if self._spans is None:
            self._content_tokens = []
        self._settled = self._shown = 0
        self._text = ""

    def _forget_header(self) -> None:
        self._header = None
        self._without_header = False

    def _settle(self, *, final: bool) -> str | None:
        """The text of the new bytes up to the last whole character, or of all of them if `final`. May be None."""
        text, used = utf_8_decode(self._content[self._settled :], "replace", final)
        self._settled += used
        return text or None

    # --- further methods that `moves.py` and `repairs.py` use

    def _enter(self, state: int) -> None:
        self._state = int(state)

    def _remember_header(self, header: Header) -> None:
        if self._resumed is not None:
            header = moves.repairs().resumed(self, header)
        self._header = header if self._default_channel is None else self._default_channel.of(header)
        self._without_header = False

    def _remember_delta(self, delta: str | None, header: Header | None) -> None:
        self._delta = delta
        self._delta_header = header

    def _add_bytes(self, data: bytes | bytearray) -> None:
        self._content += data
        if self._spans is None:
            self._content_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _last_bytes(self, most: int) -> bytes:
        """The last bytes of the content, at most this many."""
        return bytes(self._content[-most:])

    def _held(self) -> tuple[bytes, int]:
        """The bytes of the content, and how many of them a delta has given."""
        return bytes(self._content), self._settled

    def _hold(self, content: bytes, settled: int) -> None:
        self._content = bytearray(content)
        self._settled = settled
