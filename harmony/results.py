"""What parsing and rendering give: where each message stands, what a step added, and how the input ended."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

import msgspec

from harmony import vocabulary
from harmony.errors import Diagnostic
from harmony.messages import Message, Role


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


class RecordError(msgspec.Struct, frozen=True):
    """Why nothing came of a record; `position` is that of a HarmonyError, None where the record itself is wrong."""

    code: str
    message: str
    position: int | None
