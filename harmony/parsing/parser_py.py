"""The engine in Python: token ids step the automaton, and messages come out.

This module is the reference. The compiled engine, `parser_c.pyx`, uses the same tables, header rules and errors, and
has the same docstrings; type checkers read this module for both.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from harmony.errors import Diagnostic
from harmony.format import machine, vocabulary
from harmony.format.header import DefaultChannel
from harmony.messages.model import Message
from harmony.messages.roles import Role, as_role
from harmony.parsing.moves import end, repairs, restore, save
from harmony.parsing.moves_py import Moves
from harmony.parsing.shared import (
    POSITION,
    Encoding,
    SavedParser,
    check_encoding,
    checked_channel,
    guessed,
    new_parser,
    state_data,
)
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.results import STREAM_STATES, ParseResult, Segment, Snapshot, StreamState

if TYPE_CHECKING:
    from typing import Self


class StreamableParser(Moves):
    """Parses the tokens of a completion as they come, one at a time or some at a time.

    `role` is the role of the first message. Pass it where the prompt ends in `<|start|>role`. Pass None where the
    tokens themselves begin with `<|start|>`.

        >>> parser = StreamableParser(encoding, Role.ASSISTANT)
        >>> tokens = encoding.encode("<|channel|>final<|message|>Hi", allowed_special="all")
        >>> [segment.delta for segment in parser.process_many(tokens)], parser.current_channel
        (['Hi'], 'final')

    A token that may not stand where it stands raises HarmonyError. Inside content that token is left out, and the
    content stays open. Inside a header the whole header is given up, and the next token has to be `<|start|>`. Only a
    stop inside a header does not raise at once. The next token raises instead, or `process_eos` where none follows.

    With `strict=False` no token raises HarmonyError. Every fault is repaired, and each repair is listed in
    `diagnostics`. Text that may still become part of a header is held back until the parser knows what it is;
    `process_eos` releases the rest. A delta that was given is never taken back. `default_channel`, such as "final", is
    the channel of the assistant's messages that have neither a channel nor a recipient. It is an option of
    `strict=False`, for programs that ignore messages without a channel.

    TypeError is raised for a token that is no integer, for an `encoding` that is no HarmonyEncoding, and for a `role`
    or a `default_channel` that is no string; ValueError for an unknown role, and for a `default_channel` that is no
    channel's name or stands beside `strict=True`.

    The class may be subclassed, and a parser may have further attributes. A parser can be pickled and copied, also in
    mid-stream; a pickle of the compiled engine can be read by the one in Python, and the other way round. Only one
    thread at a time may feed a parser.
    """

    __slots__ = ("__dict__", "__weakref__")

    def __init__(
        self,
        encoding: Encoding,
        role: Role | str | None,
        *,
        strict: bool = True,
        default_channel: str | DefaultChannel | None = None,
    ) -> None:
        check_encoding(encoding)
        self._begin(as_role(role), bool(strict), checked_channel(default_channel, strict=strict))

    # --- input

    def process(self, token: int) -> Self:
        """Takes the next token, and returns the parser itself. Raises HarmonyError and TypeError, as the class says."""
        if type(token) is not int:
            token = as_id(token, self._position)
        self._tokens.append(token)
        self._delta = self._delta_header = None
        try:
            self._step(token, 1)
            if not self._strict and self._delta is None:
                repairs().look_again(self)
                self._delta = self._settle(final=False)
        finally:
            self._position += 1
        return self

    def process_many(self, tokens: Tokens) -> list[Segment]:
        """Takes several tokens as one step, and returns what they added: one Segment for each message, in order.

        `tokens` are a list, a tuple, another iterable of integers, or a buffer of integers such as a numpy array.
        Where a token raises, the tokens behind it are not taken. What the tokens before it gave is in `messages` and
        `current_content`.
        """
        sequence = as_sequence(tokens)
        segments: list[Segment] = []
        self._segments = segments
        self._delta = self._delta_header = None
        try:
            self._run(sequence)
        finally:
            self._segments = None
            if not self._strict:
                repairs().look_again(self)
            if (header := self._header) is not None and (delta := self._settle(final=False)) is not None:
                segments.append(Segment(header.channel, header.recipient, header.role, delta, None))
                self._delta, self._delta_header = delta, None
        return segments

    def process_eos(self) -> Self:
        """Takes the end of the input, and returns the parser itself.

        A message that has no stop ends here. In strict mode HarmonyError is raised where the input ends inside a
        header, unless that is only `<|start|>` and a role.
        """
        self._delta = self._delta_header = None
        end(self)
        if self._diagnostics:
            repairs().finish(self)
        return self

    # --- what has been read

    @property
    def messages(self) -> list[Message]:
        """The finished messages. Do not change the list.

        The list that you get does not change either. Where you still hold it when the next message ends, the parser
        goes on with a copy.
        """
        return self._messages

    @property
    def tokens(self) -> Snapshot[int]:
        """All tokens so far, also those that raised a HarmonyError. Read-only, and made without a copy."""
        return Snapshot(self._tokens, len(self._tokens))

    @property
    def diagnostics(self) -> Snapshot[Diagnostic]:
        """One Diagnostic for each repair so far. Always empty in strict mode, where a fault raises.

        They are in the order in which the faults were found, which may differ from the order of their positions.
        Read-only, and made without a copy.
        """
        return Snapshot(self._diagnostics, len(self._diagnostics))

    @property
    def complete(self) -> bool:
        """Whether the input could end here: it is between messages, and no text is held back.

        After `process_eos`: whether that was so when the input ended. False in any case after a header that named a
        recipient, and that no content followed: a call may be missing.
        """
        return self._state == machine.State.EXPECT_START and not self._cut

    @property
    def state(self) -> StreamState:
        """Where the parser stands: EXPECT_START (between messages), HEADER or CONTENT."""
        return STREAM_STATES[self._state]

    @property
    def state_data(self) -> dict[str, Any]:
        """The state as a dict, with the keys of openai-harmony 0.0.8; the tokens in it are a Snapshot.

        Its keys are `state`, and `header_tokens` inside a header, or `header` and `content_tokens` inside content.
        """
        pending = len(self._content) - self._settled
        return state_data(self._state, self._header, self._header_tokens, self._content_tokens, pending)

    @property
    def current_content(self) -> str:
        """The text of the open message so far, up to its last whole character; "" between messages."""
        if self._shown < self._settled:
            self._text += utf_8_decode(self._content[self._shown : self._settled], "replace", True)[0]
            self._shown = self._settled
        return self._text

    @property
    def current_role(self) -> Role | None:
        """The role of the message whose content is open; None between messages.

        While the first header is open, it is the role that the caller gave. Where the last step ended a message and
        gave the end of its text, it is the role of that message until the next step.
        """
        header = self._delta_header or self._header
        return self._given if header is None else header.role

    @property
    def current_channel(self) -> str | None:
        """The channel of the message whose content is open; None where there is none.

        Where the last step ended a message and gave the end of its text, it is that of this message until the next
        step.
        """
        header = self._delta_header or self._header
        return None if header is None else header.channel

    @property
    def current_recipient(self) -> str | None:
        """The recipient of the message whose content is open; None where there is none.

        Where the last step ended a message and gave the end of its text, it is that of this message until the next
        step.
        """
        header = self._delta_header or self._header
        return None if header is None else header.recipient

    @property
    def current_content_type(self) -> str | None:
        """The content type of the message whose content is open; None where there is none.

        Where the last step ended a message and gave the end of its text, it is that of this message until the next
        step.
        """
        header = self._delta_header or self._header
        return None if header is None else header.content_type

    @property
    def last_content_delta(self) -> str | None:
        """The text that the last step added to the content; None where it added none.

        After `process_many` it is the text of the last Segment. Where a token ends inside a character, the delta ends
        before that character, and a later token gives it. Where the stop comes first, the stop gives U+FFFD instead. So
        the deltas of a message, joined, are its content. The token that ends a message also gives the text that was
        held back until then; `current_role`, `current_channel`, `current_recipient` and `current_content_type` are then
        still those of that message.
        """
        return self._delta

    # --- copies

    def __reduce__(self) -> tuple[Any, ...]:
        subclass = None if type(self) is StreamableParser else type(self)
        return new_parser, (subclass,), (save(self), getattr(self, "__dict__", {}))

    def __setstate__(self, state: tuple[SavedParser, dict[str, Any]]) -> None:
        restore(self, state[0])
        for name, value in state[1].items():
            setattr(self, name, value)


def _whole_input(
    role: Role | str | None, strict: bool, default_channel: str | DefaultChannel | None
) -> StreamableParser:
    parser = StreamableParser.__new__(StreamableParser)
    parser._begin(as_role(role), bool(strict), checked_channel(default_channel, strict=strict))
    parser._spans = []
    return parser


def _result(parser: StreamableParser, token_count: int | None) -> ParseResult:
    next_role = end(parser)
    if parser._diagnostics:
        repairs().finish(parser)
        parser._diagnostics.sort(key=POSITION)
    return ParseResult(
        parser._messages, parser._diagnostics, parser._spans or [], not parser._cut, next_role, token_count
    )


def parse(
    tokens: Tokens, role: Role | str | None, *, strict: bool, default_channel: str | DefaultChannel | None = None
) -> ParseResult:
    """Parses the tokens of one whole input, as `HarmonyEncoding.parse` documents."""
    sequence = as_sequence(tokens)
    parser = _whole_input(role, strict, default_channel)
    parser._run(sequence)
    return _result(parser, parser._position)


def parse_text(
    text: str,
    role: Role | str | None,
    *,
    strict: bool,
    stripped: bool = False,
    default_channel: str | DefaultChannel | None = None,
) -> ParseResult:
    """Parses one whole rendered text, as `HarmonyEncoding.parse_text` documents."""
    markers: Iterable[tuple[int, int, int]] = vocabulary.special_tokens_in(text)
    doubts: list[Diagnostic] = []
    if stripped:
        role, markers, doubts = guessed(text, as_role(role))
    parser = _whole_input(role, strict, default_channel)
    parser._unit = "character"
    parser._diagnostics.extend(doubts)
    for start, stop, token in markers:
        if parser._position < start:
            parser._take_text(text[parser._position : start])
            parser._position = start
        parser._step(token, stop - start)
        parser._position = stop
    if parser._position < len(text):
        parser._take_text(text[parser._position :])
        parser._position = len(text)
    return _result(parser, None)


def decode_bytes(tokens: Tokens) -> bytes:
    """The joined bytes of tokens; a special token gives its written form. Raises HarmonyError for an unknown id."""
    pieces = []
    for position, token in enumerate(as_sequence(tokens)):
        token = as_id(token, position)
        if not 0 <= token <= vocabulary.LAST_TOKEN:
            raise machine.no_token(position, vocabulary.load().describe(token)).error()
        pieces.append(vocabulary.TOKEN_BYTES[token])
    return b"".join(pieces)
