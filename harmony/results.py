"""The results of parsing and rendering: where each message stands, what a step added, and how the input ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import ClassVar, Final, Literal, TypeVar, overload

import msgspec

from harmony.errors import Diagnostic
from harmony.format import vocabulary
from harmony.messages.model import Message
from harmony.messages.roles import KNOWN_CHANNELS, Role


class StreamState(Enum):
    """Where a StreamableParser stands: between messages, in a header, or in content. The names are openai-harmony's."""

    EXPECT_START = "ExpectStart"
    HEADER = "Header"
    CONTENT = "Content"


#: The StreamState of each `machine.State`, by its number.
STREAM_STATES: Final = (
    StreamState.EXPECT_START,
    StreamState.HEADER,
    StreamState.HEADER,
    StreamState.HEADER,
    StreamState.CONTENT,
    StreamState.HEADER,
    StreamState.HEADER,
    StreamState.CONTENT,
)

_Item = TypeVar("_Item")


class Snapshot(Sequence[_Item]):
    """A read-only view of the items that a growing list had at one moment. It shares the list and copies nothing.

    It equals a list or a tuple of the same items. A slice of it, or its sum with a list, is a list. Use `list(...)` for
    libraries that accept only lists, such as `json`.
    """

    __slots__ = ("_items", "_length")

    def __init__(self, items: list[_Item], length: int) -> None:
        self._items = items
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[_Item]:
        return islice(self._items, self._length)

    @overload
    def __getitem__(self, index: int) -> _Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[_Item]: ...

    def __getitem__(self, index: int | slice) -> _Item | list[_Item]:
        places = range(self._length)[index]
        return self._items[places] if isinstance(places, int) else [self._items[place] for place in places]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, tuple, Snapshot)):
            return NotImplemented
        return len(self) == len(other) and list(self) == list(other)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # as of a list

    def __add__(self, other: list[_Item]) -> list[_Item]:
        return [*self, *other]

    def __radd__(self, other: list[_Item]) -> list[_Item]:
        return [*other, *self]

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple[type[list[_Item]], tuple[list[_Item]]]:
        return list, (list(self),)


#: The word of `Span.end` for each stop.
ENDS: Final[dict[int, Literal["end", "call", "return"]]] = {
    vocabulary.END: "end",
    vocabulary.CALL: "call",
    vocabulary.RETURN: "return",
}


class Span(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands in the input. Positions are token indices, or character offsets where the input was text.

    `start` is the position of its `<|start|>`, or 0 for a first message whose role the caller gave. The content is
    `[content_start, stop)`. `end` names the stop at the position `stop`; it is None where the input ended there.

    In lenient parsing a marker may be missing. Without `<|start|>`, `start` is the position of the first token of the
    message. Without a stop, `end` is None. Without `<|message|>`, the token at `content_start` may also hold the end of
    the header.
    """

    start: int
    content_start: int
    stop: int
    end: Literal["end", "call", "return"] | None


class RenderedSpan(Span, frozen=True, gc=False):
    """Where a message stands in a rendering, with its role and channel. Positions are token indices.

    The tokens of the message are `[start, stop]`: the stop itself is at the index `stop`. The spans of a conversation
    follow one another without a gap. `index` is the index of the message in the conversation, before any messages were
    dropped. `role` and `channel` are there to select messages by, for example for a loss mask.
    """

    index: int
    role: Role
    channel: str | None


#: The length of `<|start|>` and `assistant`, each of them one token, with which a prompt ends.
OPEN_HEADER: Final = 2


def channels_of(learn: Iterable[str], name: str = "learn") -> frozenset[str]:
    """The channels that are to be learned, checked. Raises TypeError and ValueError, as `RenderResult.mask` does.

    `name` is that of the argument, for the errors.
    """
    if isinstance(learn, str):
        raise TypeError(f"Expected a collection of channels, got `str` - at `{name}`")
    channels = frozenset(learn)
    for unknown in channels.difference(KNOWN_CHANNELS):
        raise ValueError(f"Expected channels of {', '.join(KNOWN_CHANNELS)}, got {unknown!r} - at `{name}`")
    return channels


def learned(
    spans: Iterable[RenderedSpan],
    channels: Collection[str],
    *,
    sampled: bool = True,
    opened: Callable[[RenderedSpan], int] = lambda span: OPEN_HEADER,
) -> Iterator[slice]:
    """The places of the tokens that `RenderResult.mask` marks, in order.

    `opened` says how many tokens of a message a prompt may give.
    """
    goes_on = False  # whether the model wrote the message before, and did not stop behind it
    for span in spans:
        is_written = span.role is Role.ASSISTANT
        is_finished = span.channel == "final" and span.end == "end"  # the model wrote `<|return|>`
        if is_written and span.channel in channels:
            start = span.start if goes_on or not sampled else span.start + opened(span)
            yield slice(start, span.stop + (span.end is not None and not (is_finished and sampled)))
        goes_on = is_written and span.end == "end" and not is_finished


class RenderResult(msgspec.Struct, frozen=True):
    """A rendered conversation: its token ids, and one RenderedSpan for each message that was rendered."""

    tokens: list[int]
    spans: list[RenderedSpan]

    def mask(self, learn: Collection[str] = KNOWN_CHANNELS, sampled: bool = True) -> list[bool]:
        """For each token whether it is to be learned: those of the assistant's messages on the channels `learn`.

            >>> answer = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final")
            >>> found = encoding.render_with_spans(Conversation.from_messages([answer]), purpose="training")
            >>> encoding.decode([token for token, counts in zip(found.tokens, found.mask()) if counts])
            '<|channel|>final<|message|>Hi<|return|>'

        With `sampled`, only tokens count that the model itself samples, its stops among them. A prompt gives
        `<|start|>assistant` at the beginning of a turn and behind a call, so it counts only where the assistant goes on
        behind its own `<|end|>`. The model ends an answer with `<|return|>`, so the `<|end|>` of an answer does not
        count: learned, it would teach the model to write on. Without `sampled`, whole messages count.

        A message on another channel, or without one, does not count. Raises ValueError for a name in `learn` that is
        none of `analysis`, `commentary` and `final`, and TypeError for a string.
        """
        mask = [False] * len(self.tokens)
        for place in learned(self.spans, channels_of(learn), sampled=sampled):
            mask[place] = [True] * (place.stop - place.start)
        return mask


class Segment(msgspec.Struct, frozen=True):
    """What one step of several tokens added to one message.

    `delta` is the added text. `message` is the whole message where the step finished it, else None. The other fields
    are those of the message's header.
    """

    channel: str | None
    recipient: str | None
    role: Role
    delta: str
    message: Message | None


class ParseResult(msgspec.Struct, frozen=True):
    """The result of parsing one input.

    `messages` and `spans` have the same length: one Span for each message. `diagnostics` lists the repairs of lenient
    parsing by position, and is empty for well-formed input.

    `complete` is False where the input ends inside a message. Inside content, the message so far is the last of
    `messages`. Inside a header, there is no message for it. `complete` is also False where lenient parsing gave up a
    header that named a recipient: a call may be missing. `next_role` is the role where the input ends in an open
    `<|start|>role`, else None.

    `token_count` is the number of token ids of the input, special tokens included. It is None where the input was text.
    """

    messages: list[Message]
    diagnostics: list[Diagnostic]
    spans: list[Span]
    complete: bool
    next_role: Role | None
    token_count: int | None = None
