"""The engine in Python: token ids step the automaton, and messages come out.

This is the reference, and the type stub of the compiled engine, which does the same with the same tables, header
rules and errors. What is written here about a public name holds for both.
"""

from __future__ import annotations

from codecs import utf_8_decode
from typing import TYPE_CHECKING, Any

from harmony.errors import Diagnostic
from harmony.format import machine, vocabulary
from harmony.messages.model import Message
from harmony.messages.roles import Role, as_role
from harmony.parsing.moves import end, repairs, restore, save
from harmony.parsing.moves_py import Moves
from harmony.parsing.shared import POSITION, Encoding, SavedParser, check_encoding, markers_in, new_parser, state_data
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.results import STREAM_STATES, ParseResult, Segment, Snapshot, StreamState

if TYPE_CHECKING:
    from typing import Self


class StreamableParser(Moves):
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

    __slots__ = ("__weakref__",)

    def __init__(self, encoding: Encoding, role: Role | str | None, *, strict: bool = True) -> None:
        check_encoding(encoding)
        self._begin(as_role(role), bool(strict))

    # --- input

    def process(self, token: int) -> Self:
        """Takes the next token; returns the parser itself."""
        if type(token) is not int:
            token = as_id(token, self._position)
        self._tokens.append(token)
        self._delta = None
        try:
            self._step(token, 1)
            if not self._strict and self._delta is None:
                repairs().look_again(self)
                self._delta = self._settle(final=False)
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
            if not self._strict:
                repairs().look_again(self)
            if (header := self._header) is not None and (delta := self._settle(final=False)) is not None:
                segments.append(Segment(header.channel, header.recipient, header.role, delta, None))
                self._delta = delta
        return segments

    def process_eos(self) -> Self:
        """Takes the end of the input, which ends a message that has no stop; returns the parser itself."""
        self._delta = None
        end(self)
        return self

    # --- what has been read

    @property
    def messages(self) -> list[Message]:
        """The messages that are finished; not to be changed.

        A list that was read stays as it is: where somebody still has it, the end of the next message copies it.
        """
        return self._messages

    @property
    def tokens(self) -> Snapshot[int]:
        """All tokens that came, those that raised a HarmonyError among them: read-only, and made without a copy."""
        return Snapshot(self._tokens, len(self._tokens))

    @property
    def diagnostics(self) -> Snapshot[Diagnostic]:
        """What was found wrong and repaired so far; in strict mode nothing, for what is wrong raises.

        They are in the order in which they were found, which is not always that of their positions. As `tokens`, they
        are read-only, and made without a copy.
        """
        return Snapshot(self._diagnostics, len(self._diagnostics))

    @property
    def complete(self) -> bool:
        """Whether the input may end here, or could when it did: it is between messages, and no text is held back."""
        return self._state == machine.State.EXPECT_START and not self._cut

    @property
    def state(self) -> StreamState:
        """Between messages, in a header, or in content."""
        return STREAM_STATES[self._state]

    @property
    def state_data(self) -> dict[str, Any]:
        """The state as openai-harmony lays it out, with the tokens of the open header or content as a Snapshot."""
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
        subclass = None if type(self) is StreamableParser else type(self)
        return new_parser, (subclass,), (save(self), getattr(self, "__dict__", {}))

    def __setstate__(self, state: tuple[SavedParser, dict[str, Any]]) -> None:
        restore(self, state[0])
        for name, value in state[1].items():
            setattr(self, name, value)


def _whole_input(role: Role | str | None, strict: bool) -> StreamableParser:
    parser = StreamableParser.__new__(StreamableParser)
    parser._begin(as_role(role), bool(strict))
    parser._spans = []
    return parser


def _result(parser: StreamableParser) -> ParseResult:
    next_role = end(parser)
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
    for start, stop, token in markers_in(text, stripped=stripped):
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
