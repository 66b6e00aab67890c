"""Requests of every shape: what they say is rendered and read again, or an error tells why not."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from harmony import Conversation, HarmonyEncoding, RenderConversationConfig, RenderError, chat, responses
from harmony.conversion.given import ConversionError
from helpers.requests import Request
from helpers.sizes import Scale

_WHOLE: Final = RenderConversationConfig(auto_drop_analysis=False)


def read_again(encoding: HarmonyEncoding, conversation: Conversation) -> str:
    """All that a model reads of a conversation."""
    messages = encoding.parse(encoding.render_conversation(conversation, _WHOLE), None).messages
    assert len(messages) == len(conversation.messages)
    return "\n".join(f"{one.author.name} {one.recipient} {one.text}" for one in messages)


def converted(kind: str, fields: dict[str, Any]) -> Conversation:
    if kind == "chat":
        return chat.to_harmony(fields.pop("messages"), **fields)
    return responses.to_harmony(fields.pop("input"), **fields)


@pytest.mark.parametrize("kind", ["chat", "responses"])
def test_each_text_is_found_or_an_error_tells(kind: str, encoding: HarmonyEncoding, scale: Scale) -> None:
    found = refused = 0
    for seed in range(scale(2000, 30_000)):
        request = Request(random.Random(f"{kind} {seed}"))
        fields = getattr(request, kind)()
        try:
            read = read_again(encoding, converted(kind, fields))
        except (ConversionError, RenderError):
            refused += 1
        else:
            missing = [text for text in request.texts if text not in read]
            assert missing == [], f"seed {seed}"
            found += 1
    assert found > refused / 4
    assert refused
