"""Training examples of conversations: token ids, which of them are to be learned, and packs of a fixed length.

    >>> from harmony import training
    >>> answer = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final")
    >>> [example] = training.examples(Conversation.from_messages([answer]))
    >>> encoding.decode([id for id in example.labels() if id != -100])
    '<|channel|>final<|message|>Hi<|return|>'

`examples` makes the examples of a conversation, `pack` joins them. All arrays are of int32 and are buffers, so
`numpy.asarray` and `torch.frombuffer(…, dtype=torch.int32)` take them without a copy. docs/training.md is the guide.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias, get_args

import msgspec

from harmony.encoding import load_harmony_encoding, render_only
from harmony.errors import Fault, in_turn, quote
from harmony.format import vocabulary
from harmony.format.choices import Analysis, Turns
from harmony.messages.model import Conversation, Message
from harmony.messages.roles import KNOWN_CHANNELS, Role
from harmony.rendering.renderer import RenderConversationConfig, checked_messages
from harmony.rendering.turns import kept, turns_of
from harmony.results import RenderedSpan, channels_of, learned

__all__ = ["Example", "Packed", "examples", "pack"]

if TYPE_CHECKING:
    Integers: TypeAlias = array[int]
else:
    Integers = array  # before Python 3.12 it takes no type of its items

#: The label that the losses of torch and of most trainers leave out.
IGNORED: Final = -100

_ONE: Final = b"\x01"
_ZERO: Final = b"\x00"


class Example(msgspec.Struct, frozen=True):
    """The token ids of an example, and which of them are to be learned.

    `input_ids` is an array of int32. `mask` is an array of int8 of the same length, with 1 for a token that is to be
    learned and 0 for any other. `turn` is the number of the turn in its conversation, from 0; None where all turns are
    learned. `spans` has one RenderedSpan for each message that was rendered; their `index` is that of the message in
    the conversation.
    """

    input_ids: Integers
    mask: Integers
    turn: int | None
    spans: list[RenderedSpan]

    def labels(self, ignore: int = IGNORED) -> Integers:
        """A new array of int32: the token ids that are to be learned, and `ignore` in the place of the others."""
        labels = array("i", [ignore]) * len(self.input_ids)
        mask = self.mask.tobytes()
        stop = 0
        while (start := mask.find(_ONE, stop)) >= 0:
            stop = mask.find(_ZERO, start)
            if stop < 0:
                stop = len(mask)
            labels[start:stop] = self.input_ids[start:stop]
        return labels


class Packed(msgspec.Struct, frozen=True):
    """Several examples, one behind the other.

    `input_ids`, `labels` and `position_ids` are arrays of int32 of the same length. The positions begin anew with each
    example. `seq_lengths` are the lengths of the examples, whose sum is the length of the arrays. Attention that knows
    them, such as FlashAttention's, keeps the examples apart.
    """

    input_ids: Integers
    labels: Integers
    position_ids: Integers
    seq_lengths: list[int]


def examples(
    conversation: Conversation,
    *,
    turns: Turns = "each",
    learn: Iterable[str] = KNOWN_CHANNELS,
    config: RenderConversationConfig | None = None,
    max_tokens: int | None = None,
) -> Iterator[Example]:
    """The training examples of a conversation, in the order of its turns.

        >>> answer = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final")
        >>> [example] = training.examples(Conversation.from_messages([answer]))
        >>> encoding.decode(example.input_ids), example.mask.tolist()
        ('<|start|>assistant<|channel|>final<|message|>Hi<|return|>', [0, 0, 1, 1, 1, 1, 1])

    A turn begins behind a user's message or an answer on `final`. It ends with an answer, or with what the assistant
    wrote last, such as a call. A turn without a message of the assistant has no example.

    - "each": one example for each turn. It ends with the turn, and only the turn is learned. What stands before it is
      rendered as in a prompt: without the analysis of finished turns.
    - "last": only the example of the last turn.
    - "all": one example that ends with the last turn, and all turns are learned. A turn that is learned has all of its
      analysis, so later turns see analysis that a prompt would not have.

    An answer at the end of an example ends in `<|return|>`. `RenderResult.mask` says which tokens of a turn are
    learned, and `learn` on which channels. `config` is that of rendering; without `auto_drop_analysis`, the analysis of
    earlier turns stays. `max_tokens`, if given, stands in the place of the one in `config`.

    Each example is rendered when it is asked for. Then RenderError is raised for a conversation that cannot be
    rendered, for more tokens than `max_tokens` or the format allows (code `too-long`), and for a message of a learned
    turn whose channel is unknown or missing, because no channel of `learn` has it. Wrong arguments raise TypeError and
    ValueError at once.
    """
    if turns not in get_args(Turns):
        raise ValueError(f"Expected {in_turn([f'`{one}`' for one in get_args(Turns)])}, got {turns!r} - at `turns`")
    channels = channels_of(learn)
    given = RenderConversationConfig() if config is None else config
    if not isinstance(given, RenderConversationConfig):
        raise TypeError(f"Expected `RenderConversationConfig`, got `{type(given).__name__}` - at `config`")
    if max_tokens is not None:
        given = RenderConversationConfig(**{**msgspec.structs.asdict(given), "max_tokens": max_tokens})
    return examples_of(conversation, turns, channels, given, "auto" if given.auto_drop_analysis else "keep")


def examples_of(
    conversation: Conversation,
    turns: Turns,
    channels: frozenset[str],
    config: RenderConversationConfig,
    analysis: Analysis,
) -> Iterator[Example]:
    """The examples of a conversation with this analysis, whatever `config` says of it. Raises as `examples` does."""
    messages = checked_messages(conversation)
    found = list(enumerate(turns_of(messages)))
    if turns == "all" and found:
        yield _example(conversation, messages, range(found[-1][1].stop), None, channels, config, analysis)
    else:
        for number, turn in found[-1:] if turns == "last" else found:
            yield _example(conversation, messages, turn, number, channels, config, analysis)


def _example(
    conversation: Conversation,
    messages: list[Message],
    turn: range,
    number: int | None,
    channels: frozenset[str],
    config: RenderConversationConfig,
    analysis: Analysis,
) -> Example:
    for index in turn:
        _check_channel(messages[index], index)
    only = kept(messages, turn, analysis)
    rendering = render_only(load_harmony_encoding(vocabulary.ENCODING_NAME), conversation, config, "training", only)
    spans = rendering.spans()
    mask = array("b", bytes(rendering.size))
    for place in learned(spans[bisect_left(only, turn.start) :], channels):
        mask[place] = array("b", _ONE * (place.stop - place.start))
    return Example(array("i", rendering.tokens()), mask, number, spans)


def _check_channel(message: Message, index: int) -> None:
    """Raises RenderError for a message of the assistant that no channel of `learn` takes in."""
    channel = message.channel
    if message.author.role != Role.ASSISTANT or channel in KNOWN_CHANNELS:
        return
    expected = in_turn([f"`{one}`" for one in KNOWN_CHANNELS])
    key = "channel-required" if channel is None else "unknown-channel"
    raise Fault(key, field="channel", expected=expected, found=quote(str(channel))).render_error(index)


def pack(examples: Iterable[Example], length: int, *, split: bool = False) -> Iterator[Packed]:
    """Joins examples to packs of at most `length` tokens, in their order, each pack as long as that allows.

        >>> answer = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final")
        >>> [example] = training.examples(Conversation.from_messages([answer]))
        >>> [packed.seq_lengths for packed in training.pack([example] * 3, 20)]
        [[7, 7], [7]]

    The examples may come from many conversations; only one pack is in memory at a time. No example is cut: one that is
    longer than `length` raises ValueError, which names it. With `split`, examples are cut where a pack is full. Then
    each piece is a sequence of its own. The first token of a sequence is not learned, because nothing stands before it.

    Raises ValueError for a `length` below 1, and TypeError for one that is no integer.
    """
    if not isinstance(length, int):
        raise TypeError(f"Expected `int`, got `{type(length).__name__}` - at `length`")
    if length < 1:
        raise ValueError(f"Expected `int` >= 1, got {length!r} - at `length`")
    return _packs(examples, length, split)


def _packs(examples: Iterable[Example], length: int, split: bool) -> Iterator[Packed]:
    positions = array("i")  # of the longest example so far
    packed = _empty()
    for number, example in enumerate(examples):
        size = len(example.input_ids)
        if size > length and not split:
            turn = "" if example.turn is None else f", of turn {example.turn}"
            raise ValueError(f"expected at most {length:,} tokens, found {size:,} - in example {number}{turn}")
        labels = example.labels()
        start = 0
        while start < size:
            room = length - len(packed.input_ids)
            if room == 0 or (size > room and not split):
                yield packed
                packed, room = _empty(), length
            stop = min(size, start + room)
            packed.input_ids.extend(example.input_ids[start:stop])
            packed.labels.append(IGNORED)
            packed.labels.extend(labels[start + 1 : stop])
            positions.extend(range(len(positions), stop - start))
            packed.position_ids.extend(positions[: stop - start])
            packed.seq_lengths.append(stop - start)
            start = stop
    if packed.seq_lengths:
        yield packed


def _empty() -> Packed:
    return Packed(array("i"), array("i"), array("i"), [])
