"""Prompts read back: what was read renders to the same text, in the same way of writing, or the text stays a text."""

from __future__ import annotations

from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    RenderError,
    Role,
    SystemContent,
)
from harmony.format.choices import Schemas, Style
from helpers import conversations as drawn
from helpers.talk import talk

CONFIGS: Final = [
    RenderConversationConfig(style=style, schemas=schemas, auto_drop_analysis=False)
    for style in get_args(Style)
    for schemas in get_args(Schemas)
]
NAMES: Final = [f"{config.style}-{config.schemas}" for config in CONFIGS]
every_config: Final = pytest.mark.parametrize("config", CONFIGS, ids=NAMES)


def text_of(encoding: HarmonyEncoding, content: SystemContent | DeveloperContent, **config: Any) -> str:
    role = Role.SYSTEM if isinstance(content, SystemContent) else Role.DEVELOPER
    conversation = Conversation.from_messages([Message.from_role_and_content(role, content)])
    text = encoding.decode(encoding.render_conversation(conversation, RenderConversationConfig(**config)))
    return text.split("<|message|>", 1)[1].removesuffix("<|end|>")


@every_config
def test_a_whole_prompt_reads_back_as_it_was_written(
    encoding: HarmonyEncoding, config: RenderConversationConfig
) -> None:
    conversation = talk()
    tokens = encoding.render_conversation_for_completion(conversation, Role.ASSISTANT, config)
    result = encoding.parse(tokens, structured=config)
    assert [message.content for message in result.messages[:2]] == [
        message.content for message in conversation.messages[:2]
    ]
    assert encoding.parse(tokens, structured=True).messages[:2] == result.messages[:2]
    again = Conversation.from_messages(result.messages)
    if config.style != "hf":  # it writes the arguments of functions as JSON strings once more
        assert encoding.render_conversation_for_completion(again, Role.ASSISTANT, config) == tokens


@given(data=drawn.conversations(), config=st.sampled_from(CONFIGS), own=st.booleans())
def test_what_was_read_renders_to_the_same_tokens(
    encoding: HarmonyEncoding, data: Any, config: RenderConversationConfig, own: bool
) -> None:
    """The law, over conversations with all that can be written and with much that hardly can."""
    try:
        tokens = encoding.render_conversation(Conversation.from_dict(data), config)
    except (ValueError, RenderError):
        return
    plain = encoding.parse(tokens, strict=False)
    read = encoding.parse(tokens, strict=False, structured=config if own else True)
    for one, other in zip(read.messages, plain.messages, strict=True):
        assert (one.author, one.channel, one.recipient) == (other.author, other.channel, other.recipient)
    assert (read.spans, read.complete, read.diagnostics) == (plain.spans, plain.complete, plain.diagnostics)
    if own:
        expected = encoding.render_conversation(Conversation.from_messages(plain.messages), config)
        assert encoding.render_conversation(Conversation.from_messages(read.messages), config) == expected
