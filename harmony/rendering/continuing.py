"""Continues a prompt token for token: what a model sampled stays as it is, and only the new messages are rendered.

A message that was parsed and is rendered again may have other tokens than those that were sampled. A model then reads
what it never wrote, and a cache of prefixes does not fit any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, compress, count
from operator import ne
from typing import Final

from harmony.format import vocabulary
from harmony.format.choices import Close, Reasoning
from harmony.messages.model import Conversation, Message
from harmony.messages.roles import Role
from harmony.parsing import engine
from harmony.parsing.shared import Encoding
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.rendering.renderer import RenderConversationConfig, Renderer, checked_messages
from harmony.rendering.turns import with_dropped
from harmony.results import StreamState

# The special tokens that may stand inside a header.
_IN_HEADERS: Final = frozenset({vocabulary.CHANNEL, vocabulary.CONSTRAIN})

_Sequence = list[int] | tuple[int, ...] | memoryview


def extended(
    encoding: Encoding,
    renderer: Renderer,
    prompt: Tokens,
    completion: Tokens,
    messages: Iterable[Message],
    config: RenderConversationConfig,
    next_role: Role,
    reasoning: Reasoning,
    close: Close,
) -> list[int] | None:
    """The next prompt, as `HarmonyEncoding.extend` documents."""
    added = _without_assistant(messages)
    before, sampled = as_sequence(prompt), _new_list(as_sequence(completion))
    start = _open_header(before)
    if start is None:
        return None

    # The header may have begun in the prompt, so it is read together with its rest. Lenient parsing says for any
    # input where it stands at the end.
    parser = engine.StreamableParser(encoding, None, strict=False)
    parser.process_many(before[start:])
    try:
        parser.process_many(sampled)
    except TypeError:
        for position, token in enumerate(sampled):
            as_id(token, position)  # raises with the position in the completion
        raise
    if parser.state is StreamState.HEADER:
        return None
    if parser.state is StreamState.CONTENT:
        parser.process(vocabulary.END)
        sampled.append(vocabulary.CALL if _is_call(parser.messages[-1:]) else vocabulary.END)
    elif close == "end" and sampled[-1] == vocabulary.RETURN:
        sampled[-1] = vocabulary.END

    if reasoning == "turn" and any(message.author.role == Role.USER for message in added):
        turn = chain(reversed(parser.messages), _backwards(before, start))
        if _loses_analysis(turn):
            return None
    rendering = renderer.conversation(added, config, "completion", next_role, before=len(before) + len(sampled))
    result = _new_list(before)
    result += sampled
    result += rendering.tokens()
    return result


def common_prefix(a: Tokens, b: Tokens) -> int:
    """How many tokens two inputs share from their beginning."""
    first, second = as_sequence(a), as_sequence(b)
    return next(compress(count(), map(ne, first, second)), min(len(first), len(second)))


def _without_assistant(messages: Iterable[Message]) -> Conversation:
    """The new messages. Raises ValueError for one of the assistant, whose messages are to come as sampled tokens."""
    if not isinstance(messages, Iterable):
        raise TypeError(f"Expected a sequence of `Message`, got `{type(messages).__name__}` - at `messages`")
    conversation = Conversation.from_messages(list(messages))
    for index, message in enumerate(checked_messages(conversation)):
        if message.author.role == Role.ASSISTANT:
            raise ValueError(
                "Expected messages that answer the completion, got one of the assistant, whose tokens belong in "
                f"`completion` - at `messages[{index}]`"
            )
    return conversation


def _new_list(tokens: _Sequence) -> list[int]:
    return tokens.tolist() if isinstance(tokens, memoryview) else list(tokens)


def _is_call(last: list[Message]) -> bool:
    """Whether rendering ends this message with `<|call|>`. An input may have no message in spite of its content."""
    return any(message.author.role is Role.ASSISTANT and message.recipient is not None for message in last)


def _open_header(prompt: _Sequence) -> int | None:
    """The index of the `<|start|>` whose header is open at the end of a prompt; None if no header is."""
    for place in range(len(prompt) - 1, -1, -1):
        token = as_id(prompt[place], place)
        if token == vocabulary.START:
            return place
        if token >= vocabulary.FIRST_SPECIAL and token not in _IN_HEADERS:
            return None
    return None


def _backwards(prompt: _Sequence, stop: int) -> Iterator[Message]:
    """The messages of a prompt before the index `stop`, the last one first. Only what is asked for is parsed."""
    for place in range(stop - 1, -1, -1):
        if prompt[place] == vocabulary.START:
            yield from reversed(engine.parse(prompt[place:stop], None, strict=False).messages)
            stop = place


def _loses_analysis(backwards: Iterable[Message]) -> bool:
    """Whether `drop_analysis` leaves out a message of the last turn, whose messages come from the last one on."""
    for message, dropped in with_dropped(backwards):
        if dropped or message.author.role is Role.USER:
            return dropped
    return False
