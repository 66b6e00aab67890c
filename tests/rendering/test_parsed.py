"""Rendering and parsing: what is rendered can be parsed, and what is refused could not be."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from types import ModuleType
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harmony import (
    HarmonyEncoding,
    HarmonyError,
    Message,
    RenderConversationConfig,
    RenderError,
    RenderOptions,
    Role,
    TextContent,
)
from harmony.format.choices import Style
from harmony.format.vocabulary import CHANNEL, CONSTRAIN, MESSAGE, START
from harmony.rendering import renderer
from helpers.messages import fine_messages
from helpers.sizes import Scale, examples
from helpers.talk import conversation, message, talk

NASTY = st.text(st.sampled_from('ab.:=tousrl \t\u00a0\u200b<|>{}"é日\U0001f600'), max_size=6)
NAMES = st.one_of(
    NASTY,
    st.sampled_from(
        ["functions.f", "user", "assistant", "tool", "all", "json", "code", "bash", "user:al", "to=x", "to="]
    ),
    st.sampled_from(["analysis", "final", "<|constrain|>json", "<|constrain|>", "<|constrain|>a.b", "<|channel|>x"]),
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    return message(
        draw(st.sampled_from([role.value for role in Role])),
        draw(st.text(max_size=20) | st.sampled_from(["<|end|>", "<|start|>user", "a\u200bb"])),
        name=draw(st.none() | NAMES),
        channel=draw(st.none() | NAMES),
        recipient=draw(st.none() | NAMES),
        content_type=draw(st.none() | NAMES),
    )


def unchecked_header(one: Message, style: str, encoding: HarmonyEncoding) -> list[int]:
    """A header as `format.md` section 5 lays it out, whatever its fields hold."""

    def plain(text: str) -> list[int]:
        return encoding.encode(text, disallowed_special=())

    role, name = one.author.role, one.author.name
    author = [] if role is Role.TOOL else plain(role.value)
    if name is not None:
        author += plain(name if role is Role.TOOL else f":{name}")
    to = plain(f" to={one.recipient}") if one.recipient is not None and one.recipient != "all" else []
    channel = [CHANNEL, *plain(one.channel)] if one.channel is not None else []
    behind = style == "oss" and one.channel == "commentary"
    tokens = [START, *author, *(channel + to if behind else to + channel)]
    if one.content_type is not None:
        word = one.content_type.removeprefix("<|constrain|>")
        constrained = style == "oss" or word != one.content_type
        tokens += [*plain(" "), CONSTRAIN, *plain(word)] if constrained else plain(f" {word}")
    return [*tokens, MESSAGE]


def expected(one: Message, style: str) -> Message:
    """What parsing gives for a message that was rendered."""
    read = copy.deepcopy(one)
    read.recipient = None if one.recipient == "all" else one.recipient
    if style == "oss" and one.content_type is not None:
        read.content_type = "<|constrain|>" + one.content_type.removeprefix("<|constrain|>")
    function = {Role.ASSISTANT: one.recipient, Role.TOOL: one.author.name}.get(one.author.role) or ""
    if style == "hf" and function.startswith("functions."):
        value: Any = one.content[0].to_dict()["text"]
        if one.author.role is Role.ASSISTANT:
            with suppress(ValueError):
                value = json.loads(value)
        read.content = [TextContent(json.dumps(value, ensure_ascii=False))]
    return read


@examples(3000)
@given(one=messages(), style=st.sampled_from(get_args(Style)))
@example(one=message("tool", name="tool"), style="openai")
@example(one=message("tool", name="calculator"), style="openai")
@example(one=message("user", recipient="all"), style="openai")
@example(one=message("assistant", channel="final", content_type="bash"), style="oss")
@example(one=message("tool", "a\n", name="functions.f", recipient="assistant"), style="hf")
def test_what_is_rendered_can_be_parsed_and_what_is_refused_cannot(
    one: Message, style: Any, engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    nameless = one.author.role is Role.TOOL and "." not in (one.author.name or "")
    unknown = nameless and one.author.name != "tool" and one.recipient != "assistant"
    try:
        tokens = encoding.render(one, RenderOptions(style=style))
    except RenderError:
        try:
            read = engine.parse(unchecked_header(one, style, encoding), None, strict=True).messages
        except HarmonyError:
            return
        one.content = [TextContent("")]
        assert read != [expected(one, style)]
        return
    header = unchecked_header(one, style, encoding)
    assert tokens[: len(header)] == header
    if unknown:
        with pytest.raises(HarmonyError, match="Unknown role"):
            engine.parse(tokens, None, strict=True)
        return
    result = engine.parse(tokens, None, strict=True)
    assert result.messages == [expected(one, style)]
    assert result.complete


@examples(500)
@given(parts=st.lists(st.text(max_size=30), max_size=4), more=st.lists(fine_messages(), max_size=4))
def test_conversations_can_be_parsed(
    parts: list[str], more: list[Message], engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    whole = talk()
    whole.messages += more
    whole.messages.append(Message.from_role_and_contents(Role.USER, [TextContent(part) for part in parts]))
    everything = RenderConversationConfig(auto_drop_analysis=False)
    rendered = encoding.render_with_spans(whole, everything, purpose="completion")
    result = engine.parse(rendered.tokens, None, strict=True)
    assert result.next_role is Role.ASSISTANT
    assert [read.content[0].text for read in result.messages[2:-1]] == [
        one.content[0].text for one in whole.messages[2:-1]
    ]
    assert result.messages[2:-1] == [expected(one, "openai") for one in whole.messages[2:-1]]
    assert result.messages[-1].content == [TextContent("".join(parts))]
    for span, read, one in zip(rendered.spans, result.spans, whole, strict=True):
        assert (span.start, span.content_start, span.stop, span.end) == (
            read.start,
            read.content_start,
            read.stop,
            read.end,
        )
        assert (span.role, span.channel) == (one.author.role, one.channel)


def test_a_million_tokens(engine: ModuleType, encoding: HarmonyEncoding, scale: Scale) -> None:
    length = scale(25_000, 250_000)
    texts = [" a" * length, " b" * length, " c" * (length - 4), " d" * (length - 12)]
    whole = conversation(*(message("user", text) for text in texts))
    tokens = encoding.render_conversation(whole)
    assert len(tokens) == 4 * length
    assert engine.parse(tokens, None, strict=True).messages == whole.messages


def test_the_context_length(encoding: HarmonyEncoding) -> None:
    whole = conversation(*(message("user", letter * 262_140) for letter in (" a", " b", " c", " d")))
    assert len(encoding.render_conversation(whole)) == renderer.CONTEXT_LENGTH
    whole.messages[-1].content[0].text += " e"
    with pytest.raises(
        RenderError, match="expected at most 1,048,576 tokens, found 1,048,577; the largest message has"
    ):
        encoding.render_conversation(whole)
    assert encoding.count_tokens(whole) == renderer.CONTEXT_LENGTH + 1


def test_a_thousand_messages(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    whole = conversation(*(message("user" if n % 2 else "assistant", f"Message {n}.") for n in range(1000)))
    result = engine.parse(encoding.render_conversation(whole), None, strict=True)
    assert result.messages == whole.messages
