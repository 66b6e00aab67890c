"""`extend`: the next prompt keeps what was sampled, and is what rendering gives where nothing was sampled otherwise."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any, Final, NamedTuple, get_args

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import (
    Conversation,
    HarmonyEncoding,
    HarmonyError,
    Message,
    RenderConversationConfig,
    RenderError,
    Role,
    StreamState,
    drop_analysis,
)
from harmony.format.choices import Style
from harmony.format.vocabulary import CALL, CHANNEL, CONSTRAIN, END, END_OF_TEXT, MESSAGE, RETURN, START
from harmony.rendering import continuing
from helpers.calls import FUNCTIONS, call, result
from helpers.sizes import examples
from helpers.talk import conversation, message, talk

ASSISTANT: Final = [START, 173781]
USER: Final = message("user", "And then?")
STYLES: Final = get_args(Style)
TEXTS: Final = st.text(max_size=12) | st.sampled_from(["<|end|>", "<|start|>user<|message|>", "{}", "Grüße 👋"])


@pytest.fixture(autouse=True, scope="module")
def _each_engine(engine: ModuleType) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(continuing, "engine", engine)
        yield


def everything(style: Any = "openai") -> RenderConversationConfig:
    return RenderConversationConfig(auto_drop_analysis=False, style=style)


def written(encoding: HarmonyEncoding, text: str) -> list[int]:
    return encoding.encode(text, allowed_special="all")


# --- the laws, over conversations that are split wherever the model stops


class Step(NamedTuple):
    """What the model writes until it stops, and the messages that answer it."""

    sampled: list[Message]
    answers: list[Message]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    thoughts = [message("assistant", draw(TEXTS), channel="analysis")] * draw(st.integers(0, 2))
    if draw(st.booleans()):
        thoughts.append(message("assistant", draw(TEXTS), channel="commentary"))
    if draw(st.booleans()):
        channel = draw(st.sampled_from(["commentary", "commentary", "analysis"]))
        types = st.sampled_from([None, "json", "<|constrain|>json"])
        sampled = [*thoughts, call("functions.f", draw(TEXTS), channel=channel, content_type=draw(types))]
        answers = [result("functions.f", draw(TEXTS))] * draw(st.integers(1, 2))
        return Step(sampled, answers + [message("user", draw(TEXTS))] * draw(st.sampled_from([0, 0, 0, 1])))
    answers = [message("user", draw(TEXTS), name=draw(st.sampled_from([None, "Zoë"])))] * draw(st.integers(0, 2))
    answers += [message("developer", draw(TEXTS))] * draw(st.sampled_from([0, 0, 1]))
    return Step([*thoughts, message("assistant", draw(TEXTS), channel="final")], answers)


TALKS: Final = st.lists(steps(), min_size=1, max_size=6)


def sampled_tokens(encoding: HarmonyEncoding, sampled: list[Message], config: RenderConversationConfig) -> list[int]:
    """The messages as a model samples them behind a prompt, in our style."""
    tokens = encoding.render_conversation_for_training(Conversation.from_messages(sampled), config)
    assert tokens[:2] == ASSISTANT
    return tokens[2:]


@pytest.mark.parametrize("style", STYLES)
@examples(1000)
@given(talks=TALKS)
def test_it_is_what_rendering_gives(talks: list[Step], style: Any, encoding: HarmonyEncoding) -> None:
    config = everything(style)
    so_far = [*talk().messages[:2], FUNCTIONS, USER]
    prompt = encoding.render_conversation_for_completion(Conversation.from_messages(so_far), "assistant", config)
    for sampled, answers in talks:
        completion = sampled_tokens(encoding, sampled, config)
        found = encoding.extend(prompt, completion, answers, config=config, reasoning="all")
        assert found is not None
        so_far += [*sampled, *answers]
        whole = Conversation.from_messages(so_far)
        assert found == encoding.render_conversation_for_completion(whole, "assistant", config)
        kept = [*prompt, *completion]
        if kept[-1] == RETURN:
            assert found[len(kept) - 1] == END
        assert found[: len(kept) - 1] == kept[:-1]
        parts = [encoding.parse(prompt).messages, encoding.parse(completion, "assistant").messages]
        read = encoding.parse(found)
        assert read.messages == [
            *parts[0],
            *parts[1],
            *encoding.parse(encoding.render_conversation(Conversation.from_messages(answers), config)).messages,
        ]
        assert (read.next_role, read.complete) == (Role.ASSISTANT, encoding.parse(prompt).complete)
        prompt = found


@pytest.mark.parametrize("style", STYLES)
@examples(1000)
@given(talks=TALKS)
def test_it_is_none_where_the_format_drops_analysis(talks: list[Step], style: Any, encoding: HarmonyEncoding) -> None:
    config = everything(style)
    so_far = [USER]
    prompt = encoding.render_conversation_for_completion(Conversation.from_messages(so_far), "assistant", config)
    for sampled, answers in talks:
        found = encoding.extend(prompt, sampled_tokens(encoding, sampled, config), answers, config=config)
        so_far += [*sampled, *answers]
        whole = Conversation.from_messages(so_far)
        if any(one.author.role is Role.USER for one in answers):
            shorter = drop_analysis(whole)
            assert (found is None) == (shorter != whole)
            whole, so_far = shorter, shorter.messages
        prompt = encoding.render_conversation_for_completion(whole, "assistant", config)
        assert found in (None, prompt)


# --- what rendering would not give back

CALLS: Final = [
    "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
    "<|channel|>commentary to=functions.f json<|message|>{}<|call|>",
    " to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
    " to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
    "<|channel|>commentary to=functions.f<|message|>{}<|call|>",
    "<|channel|>commentary functions.f<|constrain|>json<|message|>{}<|call|>",
]


@pytest.mark.parametrize("text", CALLS)
@examples(200)
@given(style=st.sampled_from(STYLES), cuts=st.sets(st.integers(1, 80)))
def test_every_form_and_every_split_stays(text: str, style: Any, cuts: set[int], encoding: HarmonyEncoding) -> None:
    prompt = encoding.render_conversation_for_completion(conversation(USER), "assistant")
    text = text.replace("{}", '{"place": "San Francisco", "unit": "celsius"}')
    # Each piece by itself, as a model may sample it: other tokens for the same text.
    completion = []
    for piece in re.split(r"(<\|[a-z]+\|>)", text):
        places = [0, *sorted(cut for cut in cuts if cut < len(piece)), len(piece)]
        pieces = [piece] if piece.startswith("<|") else [piece[a:b] for a, b in pairwise(places)]
        completion += [token for each in pieces for token in written(encoding, each)]
    config = everything(style)
    found = encoding.extend(prompt, completion, [result("functions.f")], config=config)
    rendered = encoding.render_conversation_for_completion(conversation(result("functions.f")), "assistant", config)
    assert found == prompt + completion + rendered
    read = encoding.parse(found).messages
    assert read[:2] == [USER, *encoding.parse(completion, "assistant").messages]


@examples(300)
@given(step=steps())
def test_it_may_be_cut_anywhere(step: Step, encoding: HarmonyEncoding) -> None:
    prompt = encoding.render_conversation_for_completion(conversation(USER), "assistant")
    completion = sampled_tokens(encoding, step.sampled, everything())
    for size in range(len(completion) + 1):
        cut = completion[:size]
        found = encoding.extend(prompt, cut, step.answers, reasoning="all")
        try:
            read = encoding.parse(cut, "assistant")
        except HarmonyError:  # it ends inside a header
            read = None
        if read is None or read.next_role is not None:
            assert found is None
            continue
        assert found is not None
        if not read.complete:
            cut.append(CALL if read.messages[-1].recipient is not None else END)
        elif cut[-1] == RETURN:
            cut[-1] = END
        rest = encoding.render_conversation_for_completion(Conversation.from_messages(step.answers), "assistant")
        assert found == prompt + cut + rest
        again = encoding.parse(found)
        assert again.messages[: 1 + len(read.messages)] == [USER, *read.messages]


BROKEN: Final = st.lists(
    st.sampled_from([START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN, END_OF_TEXT, 200_013])
    | st.sampled_from([173781, 1428, 17196, 35644, 12606, 4108, 13225, 201_089, -1]),
    max_size=8,
)


@examples(3000)
@given(header=st.sampled_from([[], [173781], [173781, CHANNEL], [173781, CHANNEL, 17196], [1428]]), completion=BROKEN)
def test_what_is_broken_stays_too(
    header: list[int], completion: list[int], engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    prompt = [*encoding.render(message("developer")), START, *header]
    found = encoding.extend(prompt, completion, [USER], reasoning="all", close="keep")
    stream = engine.StreamableParser(encoding, None, strict=False)
    stream.process_many(prompt + completion)
    assert (found is None) == (stream.state is StreamState.HEADER)
    if found is not None:
        assert found[: len(prompt + completion)] == prompt + completion
        read = engine.parse(prompt + completion, None, strict=False).messages
        assert engine.parse(found, None, strict=False).messages == [*read, USER]


# --- single cases


def said(encoding: HarmonyEncoding, completion: str, answers: list[Message], **options: Any) -> str | None:
    """What stands behind the prompt."""
    found = encoding.extend(ASSISTANT, written(encoding, completion), answers, **options)
    return None if found is None else encoding.decode(found[len(ASSISTANT) :])


REST: Final = "<|start|>user<|message|>And then?<|end|><|start|>assistant"


def test_the_last_stop(encoding: HarmonyEncoding) -> None:
    final, hi = "<|channel|>final<|message|>", "<|channel|>final<|message|>Hi<|end|>"
    assert said(encoding, f"{final}Hi<|return|>", [USER]) == hi + REST
    assert said(encoding, f"{final}Hi", [USER]) == hi + REST
    assert said(encoding, f"{final}Hi<|end|>", [USER], close="keep") == hi + REST
    assert said(encoding, f"{final}Hi<|return|>", [USER], close="keep") == f"{final}Hi<|return|>{REST}"
    # Only the last token: padding has to be cut off first.
    padded = f"{final}Hi<|return|><|endoftext|>"
    assert said(encoding, padded, [USER]) == padded + REST
    to = "<|channel|>commentary to=functions.f<|message|>{"
    assert said(encoding, to, [], next_role="tool") == f"{to}<|call|><|start|>tool"
    # The prompt may be another role's, whose messages are no calls.
    asks = encoding.extend([START, 1428], written(encoding, " to=functions.f<|message|>Hi"), [])
    assert asks is not None
    assert encoding.decode(asks).endswith("Hi<|end|><|start|>assistant")


@pytest.mark.parametrize(
    "completion",
    ["", "<|channel|>final", "<|message|>Hi<|end|><|start|>assistant", "<|message|>Hi<|end|>commentary", "Sure"],
)
def test_inside_a_header(completion: str, encoding: HarmonyEncoding) -> None:
    assert said(encoding, completion, [USER]) is None


@pytest.mark.parametrize("text", ["", "user", "<|start|>user<|message|>Hi", "<|start|>user<|message|>Hi<|end|>"])
def test_no_open_header(text: str, encoding: HarmonyEncoding) -> None:
    assert encoding.extend(written(encoding, text), written(encoding, "<|message|>Hi<|end|>"), []) is None


def test_a_header_that_the_prompt_has_begun(encoding: HarmonyEncoding) -> None:
    for text, rest in (
        ("<|start|>", "assistant<|channel|>final<|message|>Hi"),
        ("<|start|>assistant<|channel|>", "final<|message|>Hi"),
        ("<|start|>assistant<|channel|>final", "<|message|>Hi"),
        ("<|start|>assistant to=functions.f<|channel|>commentary <|constrain|>", "json<|message|>{"),
    ):
        found = encoding.extend(written(encoding, text), written(encoding, rest), [USER])
        stop = "<|call|>" if "to=" in text else "<|end|>"
        assert found is not None
        assert encoding.decode(found) == f"{text}{rest}{stop}{REST}"


def test_analysis_of_this_turn_alone(encoding: HarmonyEncoding) -> None:
    thought, answer = "<|channel|>analysis<|message|>Hm.<|end|>", "<|channel|>final<|message|>Hi<|return|>"
    assistant, user = "<|start|>assistant", "<|start|>user<|message|>Hi<|end|>"
    for prompt, completion, is_none in (
        (f"{user}{assistant}", f"{thought}{assistant}{answer}", True),
        (f"{user}{assistant}{thought}{assistant}", answer, True),
        # The beginning of a message is missing.
        (f"{user}<|start|>tool<|message|>1<|end|>{thought}{assistant}", answer, True),
        (f"{user}{assistant}{answer}{assistant}", thought, False),
        (f"{user}{assistant}{thought}{assistant}{answer}{assistant}", thought, True),
        (f"{assistant}{thought}{user}{assistant}", answer, False),
        (f"{assistant}{thought}<|start|>user:Zoë<|message|>Hi<|end|>{assistant}", answer, False),
        (f"{user}{assistant}", thought, False),
    ):
        tokens = written(encoding, prompt), written(encoding, completion)
        assert (encoding.extend(*tokens, [USER]) is None) == is_none, (prompt, completion)
        assert encoding.extend(*tokens, [USER], reasoning="all") is not None
        assert encoding.extend(*tokens, [message("developer")]) is not None


def test_any_kind_of_tokens(encoding: HarmonyEncoding) -> None:
    prompt = encoding.render_conversation_for_completion(talk(), "assistant")
    completion = written(encoding, "<|channel|>final<|message|>Hi<|return|>")
    kept = prompt.copy(), completion.copy()
    expected = encoding.extend(prompt, completion, [USER], reasoning="all")
    assert (prompt, completion) == kept
    for kind in (
        tuple,
        iter,
        lambda ids: array("I", ids),
        lambda ids: array("q", ids),
        lambda ids: array("I", ids).tobytes(),
        lambda ids: numpy.array(ids, numpy.int64),
        lambda ids: numpy.array(ids, numpy.uint32)[::1],
        lambda ids: numpy.repeat(numpy.array(ids, numpy.uint32), 2)[::2],
    ):
        found = encoding.extend(kind(prompt), kind(completion), iter([USER]), reasoning="all")
        assert found == expected is not None
        assert {type(token) for token in found} == {int}
    assert encoding.extend(prompt, completion, conversation(USER), reasoning="all") == expected


def test_wrong_arguments(encoding: HarmonyEncoding) -> None:
    fine: Any = {"prompt": ASSISTANT, "completion": [MESSAGE, END], "messages": []}
    for given_, error, sentence in (
        ({"messages": [USER, message("assistant")]}, ValueError, "got one of the assistant, .* - at `messages[1]`"),
        ({"messages": None}, TypeError, "Expected a sequence of `Message`, got `NoneType` - at `messages`"),
        ({"messages": [5]}, TypeError, "Expected `Message`, got `int`"),
        ({"messages": [message("tool")]}, RenderError, "messages[0].author.name"),
        ({"next_role": "wizard"}, ValueError, "Unknown role: 'wizard'"),
        ({"next_role": None}, TypeError, "Expected `Role`, got `NoneType` - at `next_role`"),
        ({"config": 5}, TypeError, "Expected `RenderConversationConfig`, got `int` - at `config`"),
        ({"reasoning": "none"}, ValueError, "Expected `turn` or `all`, got 'none' - at `reasoning`"),
        ({"reasoning": None}, TypeError, "Expected `str`, got `NoneType` - at `reasoning`"),
        ({"close": "no"}, ValueError, "Expected `end` or `keep`, got 'no' - at `close`"),
        ({"prompt": "<|start|>"}, TypeError, "Expected a sequence of token ids, got `str`"),
        ({"prompt": [START, "a"]}, TypeError, "Expected `int`, got `str` - at token 1"),
        ({"completion": None}, TypeError, "Expected a sequence of token ids, got `NoneType`"),
        ({"completion": [MESSAGE, True]}, TypeError, "Expected `int`, got `bool` - at token 1"),
    ):
        pattern = re.escape(sentence).replace(r"\.\*", ".*")
        with pytest.raises(error, match=pattern):
            encoding.extend(**(fine | given_))


def test_all_tokens_count_for_the_limit(encoding: HarmonyEncoding) -> None:
    completion = written(encoding, "<|channel|>final<|message|>Hi")
    size = len(encoding.extend(ASSISTANT, completion, [USER]) or [])
    assert size == len([*ASSISTANT, *completion, END, *encoding.render(USER), *ASSISTANT])
    for limit in (size, size - 1, len(ASSISTANT)):
        config = RenderConversationConfig(max_tokens=limit)
        if limit == size:
            assert len(encoding.extend(ASSISTANT, completion, [USER], config=config) or []) == size
            continue
        with pytest.raises(RenderError) as error:
            encoding.extend(ASSISTANT, completion, [USER], config=config)
        assert str(error.value) == (
            f"expected at most {limit} tokens, found {size if limit > 2 else 'at least 9'}; the prompt and its "
            f"completion have {len(ASSISTANT + completion) + 1} - at `messages[0]`"
        )
        assert (error.value.code, error.value.position) == ("too-long", 0)


def test_a_message_that_was_rendered_is_not_encoded_again(encoding: HarmonyEncoding) -> None:
    encoding.render(USER)
    misses = encoding.cache_info().misses
    assert encoding.extend(ASSISTANT, [MESSAGE, END], [USER]) is not None
    assert encoding.cache_info().misses == misses


# --- common_prefix


@examples(500)
@given(both=st.lists(st.integers(0, 3)), one=st.lists(st.integers(0, 3)), other=st.lists(st.integers(0, 3)))
def test_a_common_prefix(both: list[int], one: list[int], other: list[int], encoding: HarmonyEncoding) -> None:
    first, second = both + one, both + other
    found = encoding.common_prefix(first, second)
    assert found >= len(both)
    assert first[:found] == second[:found]
    assert first[found : found + 1] != second[found : found + 1] or found == len(first) == len(second)
    assert found == encoding.common_prefix(numpy.array(first, numpy.uint32), iter(second))


def test_no_prefix_of_what_is_no_tokens(encoding: HarmonyEncoding) -> None:
    with pytest.raises(TypeError, match="Expected a sequence of token ids, got `str`"):
        encoding.common_prefix([], "Hi")
