"""The engine in Python: token ids step the automaton, and messages come out.

This is the reference, and the type stub of the compiled engine, which does the same with the same tables, header
rules and errors. What is written here about a public name holds for both.
"""

from __future__ import annotations

import sys
from codecs import utf_8_decode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from harmony import machine, repairs, vocabulary
from harmony._engine import POSITION, SavedParser, as_role, characters, check_encoding, end_of, repair_fault, state_data
from harmony.errors import Diagnostic, Fault, quote
from harmony.header import Header, open_role, read_header
from harmony.messages import Message, Role
from harmony.results import STREAM_STATES, ParseResult, Segment, Span, StreamState
from harmony.stripped import markers_in
from harmony.tokens import Tokens, as_id, as_sequence

if TYPE_CHECKING:
    from typing import Self

    from harmony.encoding import HarmonyEncoding

_KIND_COUNT: Final = len(machine.Kind)


class StreamableParser:
    """Parses the tokens of a completion as they come, one at a time or some at a time.

    `role` is the role of the first message, whose `<|start|>role` is in the prompt; None where the tokens begin with
    a `<|start|>` of their own.

    A token that may not stand where it stands raises HarmonyError. In content it is left out, and the content stays
    open; a header with such a token is given up, and the next token has to be `<|start|>`. With `strict=False` no
    token raises it: what is wrong is repaired, and told in `diagnostics`. Text that may yet become part of a header is
    held back until it is known what it is, at the latest by `process_eos`; what was given as a delta stays.

    A token that is no integer is a TypeError. The class may be subclassed, pickled and copied, in mid-stream too; both
    engines read each other's pickles. One thread at a time may feed a parser.
    """

    __slots__ = (
        "__weakref__",
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

    def __init__(self, encoding: HarmonyEncoding, role: Role | str | None, *, strict: bool = True) -> None:
        check_encoding(encoding)
        self._begin(as_role(role), bool(strict))

    def _begin(self, given: Role | None, strict: bool) -> None:
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

    # --- input

    def process(self, token: int) -> Self:
        """Takes the next token; returns the parser itself."""
        if type(token) is not int:
            token = as_id(token, self._position)
        self._own_tokens().append(token)
        self._delta = None
        try:
            self._step(token, 1)
            if not self._strict and self._delta is None:
                self._delta = self._held_text()
        finally:
            self._position += 1
        return self

    def process_many(self, tokens: Tokens) -> list[Segment]:
        """Takes several tokens as one step; returns what they added, message by message, in order.

        Where one of them raises, those after it are not taken; what came before it is in `messages` and
        `current_content`.
        """
        sequence = as_sequence(tokens)
        segments: list[Segment] = []
        self._segments = segments
        self._delta = None
        try:
            self._run(sequence)
        finally:
            self._segments = None
            delta = self._held_text()
            if (header := self._header) is not None and delta is not None:
                segments.append(Segment(header.channel, header.recipient, header.role, delta, None))
                self._delta = delta
        return segments

    def process_eos(self) -> Self:
        """Takes the end of the input, which ends a message that has no stop; returns the parser itself."""
        self._delta = None
        self._end()
        return self

    # --- what has been read

    @property
    def messages(self) -> list[Message]:
        """The messages that are finished; not to be changed. A list that was read stays as it is."""
        return self._messages

    @property
    def tokens(self) -> list[int]:
        """All tokens that came, those that raised a HarmonyError among them; as `messages`, not to be changed."""
        return self._tokens

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What was found wrong and repaired so far; in strict mode nothing, for what is wrong raises.

        They are in the order in which they were found, which is not always that of their positions. As `messages`, not
        to be changed.
        """
        return self._diagnostics

    @property
    def complete(self) -> bool:
        """Whether the input may end here, or could when it did: it is between messages."""
        between = self._state == machine.State.EXPECT_START or (
            self._state == machine.State.STRAY_TEXT and repairs.is_blank(self._header_tokens)
        )
        return between and not self._cut

    @property
    def state(self) -> StreamState:
        """Between messages, in a header, or in content."""
        return STREAM_STATES[self._state]

    @property
    def state_data(self) -> dict[str, Any]:
        """The state as openai-harmony lays it out, with the tokens of the open header or content."""
        pending = len(self._content) - self._settled
        return state_data(self._state, self._header, self._header_tokens, self._content_tokens, pending)

    @property
    def current_content(self) -> str:
        """The content of the open message so far, up to its last whole character; "" between messages."""
        if self._shown < self._settled:
            self._text += utf_8_decode(self._content[self._shown : self._settled], "replace", True)[0]
            self._shown = self._settled
        return self._text

    @property
    def current_role(self) -> Role | None:
        """The role of the open message, or the one the caller gave while the first header is open."""
        return self._given if self._header is None else self._header.role

    @property
    def current_channel(self) -> str | None:
        """The channel of the message whose content is open."""
        return None if self._header is None else self._header.channel

    @property
    def current_recipient(self) -> str | None:
        """The recipient of the message whose content is open."""
        return None if self._header is None else self._header.recipient

    @property
    def current_content_type(self) -> str | None:
        """The content type of the message whose content is open."""
        return None if self._header is None else self._header.content_type

    @property
    def last_content_delta(self) -> str | None:
        """The text that the last step added to the content; None where it added none.

        After a step of several tokens it is that of its last segment.
        A token that ends within a character adds up to that character. What is left of one at the stop is added,
        as U+FFFD, by the stop: the deltas of a message join to its content.
        """
        return self._delta

    # --- copies

    def __reduce__(self) -> tuple[Any, ...]:
        from harmony.parser import new_parser

        saved = SavedParser(
            strict=self._strict,
            state=self._state,
            given=self._given,
            position=self._position,
            header_start=self._header_start,
            header_tokens=self._header_tokens[:],
            header=self._header,
            content=bytes(self._content),
            content_tokens=self._content_tokens[:],
            settled=self._settled,
            delta=self._delta,
            tokens=self._tokens[:],
            messages=self._messages[:],
            run_start=self._run_start,
            cut=self._cut,
            diagnostics=self._diagnostics[:],
        )
        subclass = None if type(self) is StreamableParser else type(self)
        return new_parser, (subclass,), (saved, getattr(self, "__dict__", {}))

    def __setstate__(self, state: tuple[SavedParser, dict[str, Any]]) -> None:
        saved = SavedParser.checked(state[0])
        self._begin(saved.given, strict=saved.strict)
        self._state = saved.state
        self._position = saved.position
        self._header_start = saved.header_start
        self._header_tokens = saved.header_tokens
        self._header = saved.header
        self._content = bytearray(saved.content)
        self._content_tokens = saved.content_tokens
        self._settled = saved.settled
        self._delta = saved.delta
        self._tokens = saved.tokens
        self._messages = saved.messages
        self._run_start = saved.run_start
        self._cut = saved.cut
        self._diagnostics = saved.diagnostics
        for name, value in state[1].items():
            setattr(self, name, value)

    # --- the automaton's moves

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
                return self._repair(kind, token, width)
            found = vocabulary.load().describe(token)
            self._refuse(machine.illegal(self._state, kind, self._position, found))
        match move >> 4:
            case machine.Action.ADD_TO_CONTENT:
                self._content += vocabulary.TOKEN_BYTES[token]
                self._content_tokens.append(token)
                self._delta = self._settle(final=False)
            case machine.Action.ADD_TO_HEADER:
                self._add_to_header(token, kind)
            case machine.Action.OPEN_HEADER:
                self._open_header(width)
            case machine.Action.CLOSE_HEADER:
                self._close_header(width)
            case machine.Action.MEND_HEADER:
                self._mend_header(width)
            case machine.Action.CLOSE_MESSAGE:
                self._close_message(end_of(token))
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
        self._cut = self._cut or not self.complete
        move = self._moves[self._state * _KIND_COUNT + kind]
        role: Role | None = None
        if move != machine.ILLEGAL and move >> 4 == machine.Action.LEAVE_OPEN:
            role = open_role(self._header_tokens, self._given)
            if role is None:
                move = machine.ILLEGAL
        if move == machine.ILLEGAL:
            if self._strict:
                self._fail(machine.illegal(self._state, kind, self._position, ""))
            self._repair(kind, repairs.NO_TOKEN, 0)
            return None
        if move >> 4 == machine.Action.CLOSE_MESSAGE:
            self._close_message(None)
        self._state = move & 15
        return role

    def _open_header(self, width: int) -> None:
        self._start = self._position
        self._header_start = self._position + width

    def _imply_start(self) -> None:
        self._start = self._header_start = self._position
        self._given = Role.ASSISTANT

    def _add_to_header(self, token: int, kind: int) -> None:
        self._header_tokens.append(token)
        if kind in (machine.Kind.CHANNEL, machine.Kind.CONSTRAIN):
            self._run_start = len(self._header_tokens)

    def _close_header(self, width: int) -> None:
        try:
            header = read_header(self._header_tokens, self._given)
        except Fault as fault:
            if not self._strict:
                return self._mend_header(width)
            fault.position = self._place(fault)
            self._refuse(fault)
        self._open_content(header, self._position + width)

    def _mend_header(self, width: int) -> None:
        if self._look(ended=True):
            return self._repair(machine.Kind.MESSAGE, vocabulary.MESSAGE, width)
        header, faults = repairs.mend_header(self._header_tokens, self._given)
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
        if self._header is None and self._header_tokens and not self._strict:
            if repairs.may_decide(self._header_tokens, self._run_start, self._slot()):
                self._look(ended=False)
        return None if self._header is None else self._settle(final=False)

    def _repair(self, kind: int, token: int, width: int) -> None:
        """Takes a token that may not stand here; the end of the input is such a token too."""
        repair = machine.REPAIRS[machine.State(self._state), machine.Kind(kind)]
        if repair.code is not None:
            self._note([repair_fault(repair.code, self._position, token)], placed=True)
        for action in repair.actions:
            match action:
                case machine.Action.IMPLY_START:
                    self._imply_start()
                case machine.Action.OPEN_HEADER:
                    self._open_header(width)
                case machine.Action.ADD_TO_HEADER:
                    self._add_to_header(token if kind != machine.Kind.INVALID else repairs.NO_TOKEN, kind)
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
                    self._add_bytes(repairs.REPLACEMENT)
                case machine.Action.LEAVE_OUT:
                    self._add_bytes(repairs.left_out(self._content[-repairs.LONGEST_MARKER :]))
        self._state = int(repair.after)

    def _give_up_header(self, kind: int, token: int, width: int) -> None:
        """Ends a header that gets no `<|message|>`. Where there was content behind it, the token ends that."""
        following = repairs.FOLLOWING[kind]
        mended = repairs.give_up(self._header_tokens, self._run_start, self._slot(), self._given, following)
        if mended.header is None:
            self._note(mended.faults)
            return self._forget_header_tokens()
        self._open_bare_content(mended)
        if (self._state, kind) in machine.LENIENT:
            self._close_message(end_of(token))
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

    def _note(self, faults: Sequence[Fault], *, placed: bool = False) -> None:
        """Remembers what was repaired; faults that are not `placed` count from where the header begins."""
        if sys.getrefcount(self._diagnostics) > 2:  # as in `_close_message`
            self._diagnostics = self._diagnostics[:]
        self._diagnostics += [fault.diagnostic(fault.position if placed else self._place(fault)) for fault in faults]

    def _refuse(self, fault: Fault) -> NoReturn:
        """Raises for a token that may not stand here. A header that holds one is given up; content stays open."""
        if self._header is None:
            self._state = int(machine.State.EXPECT_START)
            self._given = None
            self._header_tokens = []
        self._fail(fault)

    def _fail(self, fault: Fault) -> NoReturn:
        raise fault.error(unit=self._unit, messages=self._messages) from None


def _whole_input(role: Role | str | None, strict: bool) -> StreamableParser:
    parser = StreamableParser.__new__(StreamableParser)
    parser._begin(as_role(role), bool(strict))
    parser._spans = []
    return parser


def _result(parser: StreamableParser) -> ParseResult:
    next_role = parser._end()
    parser._diagnostics.sort(key=POSITION)
    return ParseResult(parser._messages, parser._diagnostics, parser._spans or [], not parser._cut, next_role)


def parse(tokens: Tokens, role: Role | str | None, *, strict: bool) -> ParseResult:
    """All that the tokens of one input hold; `HarmonyEncoding.parse` says the rest."""
    sequence = as_sequence(tokens)
    parser = _whole_input(role, strict)
    parser._run(sequence)
    return _result(parser)


def parse_text(text: str, role: Role | str | None, *, strict: bool, stripped: bool = False) -> ParseResult:
    """All that one rendered text holds; `HarmonyEncoding.parse_text` says the rest."""
    parser = _whole_input(role, strict)
    parser._unit = "character"
    for start, stop, token in markers_in(text, parser._given, stripped=stripped):
        if parser._position < start:
            parser._take_text(text[parser._position : start])
            parser._position = start
        parser._step(token, stop - start)
        parser._position = stop
    if parser._position < len(text):
        parser._take_text(text[parser._position :])
        parser._position = len(text)
    return _result(parser)


def decode_bytes(tokens: Tokens) -> bytes:
    """The bytes of tokens, joined; a special token's are its written form. Raises HarmonyError for an unknown id."""
    pieces = []
    for position, token in enumerate(as_sequence(tokens)):
        token = as_id(token, position)
        if not 0 <= token <= vocabulary.LAST_TOKEN:
            raise machine.no_token(position, vocabulary.load().describe(token)).error()
        pieces.append(vocabulary.TOKEN_BYTES[token])
    return b"".join(pieces)
