"""What parsing and rendering give: where each message stands, what a step added, and how the input ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Final, Literal, TypeVar, overload

import msgspec

from harmony.errors import Diagnostic
from harmony.format import vocabulary
from harmony.messages.model import Message
from harmony.messages.roles import Role


class StreamState(Enum):
    """Where a StreamableParser stands, by openai-harmony's names."""

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
    """What a list that only grows held at one moment, read-only. It shares the list, so it costs nothing to take.

    It compares equal to a list or a tuple of the same items. Slices and sums with a list are lists, and `list(...)`
    makes a copy, which a library that accepts nothing but lists, such as `json`, asks for.
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

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __add__(self, other: list[_Item]) -> list[_Item]:
        return [*self, *other]

    def __radd__(self, other: list[_Item]) -> list[_Item]:
        return [*other, *self]

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple[type[list[_Item]], tuple[list[_Item]]]:
        return list, (list(self),)


#: What `Span.end` says of each stop.
ENDS: Final[dict[int, Literal["end", "call", "return"]]] = {
    vocabulary.END: "end",
    vocabulary.CALL: "call",
    vocabulary.RETURN: "return",
}


class Span(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands in the input: token indices, or character offsets where the input was text.

    `start` is that of its `<|start|>`, or of the input where the caller gave the role. Its content is
    `[content_start, stop)`; `end` tells which stop stands at `stop`: None where the input ended there.

    Where lenient parsing began a message without `<|start|>`, `start` is that of the first token it took; where it
    ended one without a stop, `end` is None; where `<|message|>` was missing, the token at `content_start` may hold the
    end of the header too.
    """

    start: int
    content_start: int
    stop: int
    end: Literal["end", "call", "return"] | None


class RenderedSpan(Span, frozen=True, gc=False):
    """Where a message stands in what was rendered, with what one selects by: its role and its channel.

    `index` is its place in the conversation, in which dropped messages count too. The spans of a conversation follow
    one another without a gap, each from `start` to `stop`, the marker at `stop` among its tokens.
    """

    index: int
    role: Role
    channel: str | None


class RenderResult(msgspec.Struct, frozen=True):
    """A rendered conversation: its token ids, and one span for each message in them."""

    tokens: list[int]
    spans: list[RenderedSpan]


class Segment(msgspec.Struct, frozen=True):
    """What one step of several tokens added to one message: `delta`, and `message` where the step finished it."""

    channel: str | None
    recipient: str | None
    role: Role
    delta: str
    message: Message | None


class ParseResult(msgspec.Struct, frozen=True):
    """All that was read from one input.

    `spans` has one Span for each of `messages`. `diagnostics` is empty for well-formed input; they are in the order of
    their positions. `complete` is False where the input stops inside a header, whose message is not there, or inside
    content, whose message is as far as it went. `next_role` is set where the input ends in an open `<|start|>role`.
    """

    messages: list[Message]
    diagnostics: list[Diagnostic]
    spans: list[Span]
    complete: bool
    next_role: Role | None
