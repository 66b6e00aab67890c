"""Rendering: how much may be rendered, and what the errors say of it."""

from __future__ import annotations

import pytest

from harmony import (
    HarmonyEncoding,
    RenderConversationConfig,
    RenderError,
    RenderOptions,
    Role,
    ToolDescription,
)
from harmony.rendering import renderer
from helpers.talk import conversation, developer, message, talk


def test_the_limit_is_exact(encoding: HarmonyEncoding) -> None:
    whole = talk()
    size = encoding.count_tokens(whole)
    assert size == len(encoding.render_conversation(whole, RenderConversationConfig(max_tokens=size)))
    assert encoding.count_tokens(whole, purpose="completion") == size + 2
    assert encoding.count_tokens(whole, RenderConversationConfig(auto_drop_analysis=False)) > size
    largest = len(encoding.render(whole.messages[0], RenderOptions(conversation_has_function_tools=True)))
    with pytest.raises(RenderError) as error:
        encoding.render_conversation(whole, RenderConversationConfig(max_tokens=size - 1))
    assert str(error.value) == (
        f"expected at most {size - 1} tokens, found {size}; the largest message has {largest} tokens - at `messages[0]`"
    )
    assert (error.value.code, error.value.position) == ("too-long", 0)
    with pytest.raises(RenderError, match=f"expected at most {size} tokens, found {size + 2};"):
        encoding.render_conversation_for_completion(whole, Role.ASSISTANT, RenderConversationConfig(max_tokens=size))
    assert encoding.count_tokens(whole, RenderConversationConfig(max_tokens=0)) == size


def test_what_cannot_fit_is_not_encoded(encoding: HarmonyEncoding) -> None:
    huge = conversation(message("user"), message("user", "x" * 1_000_000), message("user", "y" * 2_000))
    misses = encoding.cache_info().misses
    with pytest.raises(RenderError) as error:
        encoding.render_conversation(huge, RenderConversationConfig(max_tokens=7_000))
    assert encoding.cache_info().misses == misses
    assert str(error.value) == (
        "expected at most 7,000 tokens, found at least 7,827; the largest message has at least 7,812 tokens"
        " - at `messages[1]`"
    )


def test_tools_that_cannot_fit_are_not_encoded(encoding: HarmonyEncoding) -> None:
    huge = conversation(message("user"), developer(ToolDescription.new("f", " word" * 1_000_000)))
    with pytest.raises(RenderError) as error:
        encoding.render_conversation(huge, RenderConversationConfig(max_tokens=10))
    assert str(error.value) == (
        "expected at most 10 tokens, found at least 39,063; the largest message has at least 39,063 tokens"
        " - at `messages[1].content[0]`"
    )
    assert error.value.position == 1


def test_far_beyond_the_limit_the_rest_is_not_encoded(encoding: HarmonyEncoding) -> None:
    text = " one two three four" * 20_000
    huge = conversation(*(message("user", f"{number}{text}") for number in range(5)))
    misses = encoding.cache_info().misses
    with pytest.raises(RenderError, match="found at least"):
        encoding.render_conversation(huge, RenderConversationConfig(max_tokens=15_000))
    assert encoding.cache_info().misses <= misses + 3  # one text, and headers


def test_one_action_has_a_limit_of_its_own(encoding: HarmonyEncoding) -> None:
    text = " a" * renderer.LONGEST_ACTION
    asked = message("user", text)
    assert len(encoding.render(asked)) == renderer.LONGEST_ACTION + 4
    at_most = message("assistant", text[: 2 * (renderer.LONGEST_ACTION - 4)])
    assert len(encoding.render(at_most)) == renderer.LONGEST_ACTION
    for one, found in (
        (message("assistant", text), "524,292"),
        (message("assistant", "x" * 68_000_000), "at least 531,250"),
    ):
        with pytest.raises(RenderError) as error:
            encoding.render_conversation(conversation(asked, one))
        assert str(error.value) == (
            f"expected at most 524,288 tokens in one message of the assistant, found {found} - at `messages[1]`"
        )
        assert (error.value.code, error.value.position) == ("action-too-long", 1)
    assert encoding.count_tokens(conversation(message("assistant", text))) == renderer.LONGEST_ACTION + 4


def test_one_letter_without_end(encoding: HarmonyEncoding) -> None:
    tokens = encoding.render(message("user", "a" * 100_000))
    assert encoding.decode(tokens[3:-1]) == "a" * 100_000


def test_a_text_that_cannot_be_encoded(encoding: HarmonyEncoding) -> None:
    with pytest.raises(RenderError, match=r"Could not encode text: .* - at `messages\[1\]\.content\[0\]\.text`"):
        encoding.render_conversation(conversation(message("user"), message("user", " " * 1_200_000)))
