"""Training examples: what is learned, against a slow reference; turns that are not finished; packs."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import (
    Conversation,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    RenderError,
    Role,
    drop_analysis,
    training,
)
from harmony.format import vocabulary
from harmony.format.choices import Turns
from harmony.training import Example
from helpers.talk import conversation, message, talk

KEEP = RenderConversationConfig(auto_drop_analysis=False)
CHANNELS = ("analysis", "commentary", "final")

KINDS = {
    "system": message("system", "Be kind."),
    "user": message("user", "Hi"),
    "analysis": message("assistant", "Hm.", channel="analysis"),
    "preamble": message("assistant", "I look.", channel="commentary"),
    "call": message("assistant", "{}", channel="commentary", recipient="functions.f", content_type="json"),
    "python": message("assistant", "1", channel="analysis", recipient="python", content_type="code"),
    "result": message("tool", "2", name="functions.f", channel="commentary", recipient="assistant"),
    "output": message("tool", "2", name="python", channel="analysis", recipient="assistant"),
    "final": message("assistant", "Ho <|end|>", channel="final"),
}
CONVERSATIONS = st.lists(st.sampled_from(sorted(KINDS)), max_size=9).map(lambda kinds: [KINDS[kind] for kind in kinds])


def learned_text(encoding: HarmonyEncoding, example: Example) -> str:
    return encoding.decode([token for token, counts in zip(example.input_ids, example.mask, strict=True) if counts])


def turns_of(messages: list[Message]) -> list[tuple[int, int]]:
    """Where each turn begins and stops: cut behind users and answers, then cut behind the assistant's last message."""
    cuts = [0, *(place + 1 for place, one in enumerate(messages) if ends_turn(one)), len(messages)]
    found = []
    for begin, stop in pairwise(cuts):
        own = [place for place in range(begin, stop) if messages[place].author.role == Role.ASSISTANT]
        if own:
            found.append((begin, own[-1] + 1))
    return found


def ends_turn(one: Message) -> bool:
    return one.author.role == Role.USER or (one.author.role == Role.ASSISTANT and one.channel == "final")


def sampled(encoding: HarmonyEncoding, messages: list[Message], begin: int, learn: tuple[str, ...]) -> list[bool]:
    """The slow reference: which tokens of an example a server gets from the model, message by message.

    Before each message that the model did not simply go on with, the server renders a prompt. What is behind that
    prompt in the same conversation with the answer is sampled, if the example has the same token there.
    """
    example = encoding.render_conversation_for_training(conversation(*messages), KEEP)
    mask = [False] * len(example)
    for place, one in enumerate(messages):
        if place < begin or one.author.role != Role.ASSISTANT or one.channel not in learn:
            continue
        before = messages[place - 1] if place > begin else None
        stopped = (
            before is None or before.author.role != Role.ASSISTANT or before.recipient or before.channel == "final"
        )
        prompt = encoding.render_conversation_for_completion(conversation(*messages[:place]), "assistant", KEEP)
        start = len(prompt) if stopped else len(encoding.render_conversation(conversation(*messages[:place]), KEEP))
        written = encoding.render_conversation_for_training(conversation(*messages[: place + 1]), KEEP)
        assert prompt == written[: len(prompt)]
        for position in range(start, len(written)):
            mask[position] = example[position] == written[position]
    return mask


@given(CONVERSATIONS, st.sets(st.sampled_from(CHANNELS)), st.booleans())
def test_each_turn_against_the_slow_reference(
    encoding: HarmonyEncoding, messages: list[Message], learn: set[str], drop: bool
) -> None:
    config = RenderConversationConfig(auto_drop_analysis=drop)
    found = list(training.examples(conversation(*messages), learn=learn, config=config))
    turns = turns_of(messages)
    assert [example.turn for example in found] == list(range(len(turns)))
    for example, (begin, stop) in zip(found, turns, strict=True):
        history = conversation(*messages[:begin])
        history = drop_analysis(history) if drop else history
        rendered = [*history.messages, *messages[begin:stop]]
        assert example.input_ids.tolist() == encoding.render_conversation_for_training(conversation(*rendered), KEEP)
        assert example.mask.tolist() == sampled(encoding, rendered, len(history.messages), tuple(learn))
        assert [messages[span.index] for span in example.spans] == rendered
    last = list(training.examples(conversation(*messages), turns="last", learn=learn, config=config))
    assert last == found[-1:]


@given(CONVERSATIONS, st.sets(st.sampled_from(CHANNELS)))
def test_all_turns_against_the_slow_reference(
    encoding: HarmonyEncoding, messages: list[Message], learn: set[str]
) -> None:
    found = list(training.examples(conversation(*messages), turns="all", learn=learn))
    turns = turns_of(messages)
    assert len(found) == bool(turns)
    for example in found:
        whole = messages[: turns[-1][1]]
        assert example.turn is None
        assert example.input_ids.tolist() == encoding.render_conversation_for_training(conversation(*whole), KEEP)
        assert example.mask.tolist() == sampled(encoding, whole, 0, tuple(learn))


@given(CONVERSATIONS)
def test_a_mask_of_a_rendering(encoding: HarmonyEncoding, messages: list[Message]) -> None:
    found = encoding.render_with_spans(conversation(*messages), KEEP, purpose="training")
    assert found.mask() == sampled(encoding, messages, 0, CHANNELS)
    whole = [
        span.role == "assistant" and span.channel == "final"
        for span in found.spans
        for _ in range(span.start, span.stop + 1)
    ]
    assert found.mask(["final"], sampled=False) == whole


def test_what_is_learned_of_a_talk(encoding: HarmonyEncoding) -> None:
    first, second = training.examples(talk())
    assert learned_text(encoding, first) == (
        "<|channel|>analysis<|message|>Call the function.<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>"
        '{"city": "Oslo"}<|call|>'
        "<|channel|>analysis<|message|>Tell it.<|end|><|start|>assistant<|channel|>final<|message|>Regen.<|return|>"
    )
    assert learned_text(encoding, second) == (
        "<|channel|>analysis<|message|>Thanks are due.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Gern.<|return|>"
    )
    assert [span.index for span in second.spans] == [0, 1, 2, 4, 5, 7, 8, 9, 10]
    answers = list(training.examples(talk(), learn=["final"]))
    assert learned_text(encoding, answers[0]) == "<|start|>assistant<|channel|>final<|message|>Regen.<|return|>"


@pytest.mark.parametrize(
    ("kinds", "end"),
    [
        (["user", "analysis", "call"], "{}<|call|>"),
        (["user", "analysis", "call", "result"], "{}<|call|>"),
        (["user", "final", "user", "preamble", "user"], "I look.<|end|>"),
        (["user", "final", "user"], "Ho <|end|><|return|>"),
    ],
)
@pytest.mark.parametrize("turns", ["each", "last", "all"])
def test_an_unfinished_turn_ends_with_what_the_assistant_wrote_last(
    encoding: HarmonyEncoding, kinds: list[str], end: str, turns: Turns
) -> None:
    *_, example = training.examples(conversation(*(KINDS[kind] for kind in kinds)), turns=turns)
    assert encoding.decode(example.input_ids).endswith(end)
    assert example.mask[-1] == 1


@pytest.mark.parametrize("turns", ["each", "last", "all"])
def test_without_the_assistant_there_is_no_example(turns: Turns) -> None:
    assert list(training.examples(conversation(KINDS["system"], KINDS["user"]), turns=turns)) == []


# --- what is refused


@pytest.mark.parametrize(("channel", "code"), [(None, "channel-required"), ("thoughts", "unknown-channel")])
def test_a_channel_that_cannot_be_learned(channel: str | None, code: str) -> None:
    odd = message("assistant", "Hi", channel=channel)
    found = training.examples(conversation(KINDS["user"], odd, KINDS["user"], KINDS["final"]))
    with pytest.raises(
        RenderError, match=r"`analysis`, `commentary` or `final`.* - at `messages\[1\].channel`"
    ) as error:
        next(found)
    assert (error.value.code, error.value.position) == (code, 1)
    [last] = training.examples(conversation(odd, KINDS["user"], KINDS["final"]), turns="last")  # history may have it
    assert last.turn == 1


def test_an_example_that_is_too_long_is_an_error_behind_those_before_it() -> None:
    sizes = [len(example.input_ids) for example in training.examples(talk())]
    found = training.examples(talk(), max_tokens=sizes[0], config=RenderConversationConfig(max_tokens=1))
    assert len(next(found).input_ids) == sizes[0]
    with pytest.raises(RenderError, match=f"expected at most {sizes[0]} tokens, found {sizes[1]}") as error:
        next(found)
    assert error.value.code == "too-long"


def test_errors_name_the_message_of_the_whole_conversation() -> None:
    spoilt = talk()
    spoilt.messages[-1].content_type = "a b"
    first, *_ = training.examples(talk())
    found = training.examples(spoilt)
    assert next(found) == first
    with pytest.raises(RenderError, match=r"messages\[10\].content_type"):
        next(found)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"turns": "first"}, ValueError),
        ({"learn": "final"}, TypeError),
        ({"learn": ["Final"]}, ValueError),
        ({"config": {}}, TypeError),
        ({"max_tokens": -1}, ValueError),
    ],
)
def test_wrong_arguments_raise_at_once(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        training.examples(talk(), **arguments)


def test_no_conversation() -> None:
    with pytest.raises(TypeError, match="from_messages"):
        next(training.examples([KINDS["user"]]))  # type: ignore[arg-type]


def test_channels_from_an_iterator_are_read_once() -> None:
    assert list(training.examples(talk(), learn=iter(CHANNELS))) == list(training.examples(talk()))


# --- arrays


def slow_labels(example: Example, ignore: int) -> list[int]:
    return [token if counts else ignore for token, counts in zip(example.input_ids, example.mask, strict=True)]


@given(st.lists(st.booleans()))
def test_labels_of_any_mask(mask: list[bool]) -> None:
    example = Example(array("i", range(len(mask))), array("b", mask), 0, [])
    assert example.labels(-1).tolist() == slow_labels(example, -1)


def test_arrays_are_buffers_of_numpy_and_arrow() -> None:
    example = next(training.examples(talk()))
    ids, labels, mask = np.asarray(example.input_ids), np.asarray(example.labels()), np.asarray(example.mask)
    assert (ids.dtype, labels.dtype, mask.dtype) == (np.int32, np.int32, np.int8)
    assert np.array_equal(labels, np.where(mask == 1, ids, -100))
    assert np.shares_memory(ids, np.asarray(example.input_ids))
    assert (
        pa.Array.from_buffers(pa.int32(), len(ids), [None, pa.py_buffer(example.input_ids)]).to_pylist() == ids.tolist()
    )
    assert pickle.loads(pickle.dumps(example)) == example


# --- packs

SIZES = st.lists(st.integers(1, 12), max_size=12)


def of_size(size: int, number: int) -> Example:
    """An example whose first token is not learned, as in all examples that begin with a whole message."""
    ids = range(100 * number, 100 * number + size)
    return Example(array("i", ids), array("b", [0] + [1] * (size - 1)), number, [])


def packs_in_order(sizes: list[int], length: int) -> Iterator[list[int]]:
    """The slow reference for the lengths of packs."""
    pack: list[int] = []
    for size in sizes:
        if sum(pack) + size > length:
            yield pack
            pack = []
        pack.append(size)
    if pack:
        yield pack


@given(SIZES)
def test_packing_keeps_examples_whole_and_in_order(sizes: list[int]) -> None:
    examples = [of_size(size, number) for number, size in enumerate(sizes)]
    packs = list(training.pack(iter(examples), 12))
    assert [packed.seq_lengths for packed in packs] == list(packs_in_order(sizes, 12))
    assert [id for packed in packs for id in packed.input_ids] == [id for one in examples for id in one.input_ids]
    assert [id for packed in packs for id in packed.labels] == [id for one in examples for id in one.labels()]
    assert [p for packed in packs for p in packed.position_ids] == [p for size in sizes for p in range(size)]


@given(SIZES, st.integers(1, 8))
def test_packing_with_split_fills_each_pack(sizes: list[int], length: int) -> None:
    examples = [of_size(size, number) for number, size in enumerate(sizes)]
    packs = list(training.pack(examples, length, split=True))
    assert all(len(packed.input_ids) == length for packed in packs[:-1])
    assert [id for packed in packs for id in packed.input_ids] == [id for one in examples for id in one.input_ids]
    for packed in packs:
        assert sum(packed.seq_lengths) == len(packed.input_ids) == len(packed.labels) == len(packed.position_ids)
        assert packed.position_ids.tolist() == [place for size in packed.seq_lengths for place in range(size)]
        expected = [-100 if place == 0 else id for id, place in zip(packed.input_ids, packed.position_ids, strict=True)]
        assert packed.labels.tolist() == expected


def test_an_example_longer_than_a_pack_is_named() -> None:
    packs = training.pack([of_size(3, 0), of_size(9, 1)], 8)
    with pytest.raises(ValueError, match="expected at most 8 tokens, found 9 - in example 1, of turn 1"):
        list(packs)


def test_packs_have_a_length() -> None:
    with pytest.raises(ValueError, match="`length`"):
        training.pack([], 0)


def test_examples_of_many_conversations_are_packed_as_they_come() -> None:
    """Only the examples of one pack are asked for before that pack is given."""
    asked = []

    def stream() -> Iterator[Example]:
        for number in range(1000):
            asked.append(number)
            yield of_size(5, number)

    assert next(training.pack(stream(), 12)).seq_lengths == [5, 5]
    assert asked == [0, 1, 2]


def test_a_prompt_opens_with_two_tokens(encoding: HarmonyEncoding) -> None:
    prompt = encoding.render_conversation_for_completion(Conversation.from_messages([]), "assistant")
    assert len(prompt) == 2
    assert prompt[0] == vocabulary.START
