"""Both engines as streams: what programs written for openai-harmony rely on, and the default channel."""

from __future__ import annotations

import copy
import pickle
import re
from types import ModuleType
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest

from harmony import HarmonyEncoding, HarmonyError, Role, StreamState
from harmony.format.vocabulary import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START

HEADERS_BEFORE_A_STOP = [[], [173781], [173781, CHANNEL], [173781, CHANNEL, 17196], [1 << 16], [173781, CONSTRAIN]]


@pytest.mark.parametrize("stop", [END, RETURN, CALL])
@pytest.mark.parametrize("header", HEADERS_BEFORE_A_STOP)
@pytest.mark.parametrize("token", [START, END, MESSAGE, CHANNEL, 1428, -1, None])
def test_a_stop_inside_a_header_is_told_one_step_later(
    header: list[int], stop: int, token: int | None, engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    parser = engine.StreamableParser(encoding, Role.ASSISTANT)
    parser.process_many([MESSAGE, 64, END, START, *header])
    parser.process(stop)
    assert parser.state is StreamState.HEADER
    assert not parser.complete
    assert parser.state_data["header_tokens"] == [*header, stop]
    parser = pickle.loads(pickle.dumps(parser))
    with pytest.raises(HarmonyError) as whole:
        engine.parse([MESSAGE, 64, END, START, *header, stop], Role.ASSISTANT, strict=True)
    with pytest.raises(HarmonyError) as error:
        parser.process_eos() if token is None else parser.process(token)
    assert (error.value.code, error.value.position) == (whole.value.code, whole.value.position)
    assert len(error.value.messages) == 1
    if token is None:
        assert "Unexpected EOS while waiting for message header to complete" in str(error.value)
        return
    assert str(error.value) == str(whole.value)
    # The header of the next message is not lost.
    parser.process_many([1428, MESSAGE, 65, END] if token == START else [START, 1428, MESSAGE, 65, END])
    assert [message.author.role for message in parser.messages] == [Role.ASSISTANT, Role.USER]


@pytest.mark.parametrize("role", [None, Role.ASSISTANT])
def test_an_input_that_ends_inside_a_header_is_told_in_the_words_of_openai_harmony(
    role: Role | None, engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    parser = engine.StreamableParser(encoding, role)
    parser.process_many([CHANNEL, 17196] if role else [START, 173781, CHANNEL, 17196])
    with pytest.raises(HarmonyError, match="Unexpected EOS while waiting for message header to complete") as error:
        parser.process_eos()
    assert error.value.code == "truncated-header"


def test_text_that_was_held_back_comes_with_the_header_of_its_message(
    engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    parser = engine.StreamableParser(encoding, Role.ASSISTANT, strict=False)
    parser.process_many(encoding.encode("<|channel|>commentary to=functions.f {", allowed_special="all"))
    parser.process(CALL)
    assert (parser.last_content_delta, parser.state) == ("{", StreamState.EXPECT_START)
    assert (parser.current_role, parser.current_channel) == (Role.ASSISTANT, "commentary")
    assert (parser.current_recipient, parser.current_content_type) == ("functions.f", None)
    assert parser.current_content == ""  # the message is among `messages` already
    again = pickle.loads(pickle.dumps(parser))
    assert (again.current_channel, again.current_recipient) == ("commentary", "functions.f")
    parser.process(START)
    assert (parser.last_content_delta, parser.current_role, parser.current_channel) == (None, None, None)


def test_half_a_character_before_the_stop_comes_with_the_header_of_its_message(
    engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    parser = engine.StreamableParser(encoding, Role.ASSISTANT)
    parser.process_many([CHANNEL, 17196, MESSAGE, *encoding.encode("🦥")[:-1]])
    parser.process(RETURN)
    assert (parser.last_content_delta, parser.current_channel) == ("\ufffd", "final")
    assert parser.process_eos().current_channel is None


def test_attributes_and_patches_work_as_on_any_class(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, None)
    parser.note = "kept"
    parser.process = lambda token: f"patched {token}"
    assert (parser.note, parser.process(5)) == ("kept", "patched 5")
    del parser.process
    with patch.object(parser, "process_eos") as mock:
        parser.process_eos()
    mock.assert_called_once_with()
    assert parser.process_eos() is parser
    with patch.object(engine.StreamableParser, "process", lambda *arguments: arguments):
        assert parser.process(5) == (parser, 5)
    with patch.object(engine.StreamableParser, "messages", new_callable=PropertyMock, return_value=["one"]):
        assert parser.messages == ["one"]
    assert parser.messages == []
    assert pickle.loads(pickle.dumps(parser)).note == copy.copy(parser).note == "kept"
    with pytest.raises(AttributeError):
        parser.messages = []


def test_the_default_channel(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    given = "<|message|>a<|end|><|start|>user<|message|>b<|end|><|start|>assistant to=functions.f<|message|>c<|call|>"
    tokens = encoding.encode(given + "<|start|>assistant<|channel|>analysis<|message|>d<|end|>e", allowed_special="all")
    expected = ["final", None, None, "analysis", "final"]
    parser = engine.StreamableParser(encoding, "assistant", strict=False, default_channel="final")
    for token in tokens:
        parser = pickle.loads(pickle.dumps(parser.process(token)))
    assert [message.channel for message in parser.process_eos().messages] == expected
    result = engine.parse(tokens, "assistant", strict=False, default_channel="final")
    assert [message.channel for message in result.messages] == expected
    assert [found.code for found in result.diagnostics] == ["stray-text"]
    text = encoding.decode(tokens)
    assert engine.parse_text(text, "assistant", strict=False, default_channel="final").messages == result.messages
    # A second `<|message|>` with nothing behind it is no message, and an empty message is one.
    empty = "<|message|>a<|message|><|end|><|start|>assistant<|message|><|end|>"
    result = engine.parse_text(empty, "assistant", strict=False, default_channel="final")
    found = [(message.channel, message.content[0].text) for message in result.messages]
    assert found == [("final", "a"), ("final", "")]


@pytest.mark.parametrize(
    ("channel", "strict", "raised"),
    [
        (5, False, "Expected `str | None`, got `int` - at `default_channel`"),
        ("", False, "Expected a channel's name, such as `final`, got `` - at `default_channel`"),
        ("to=x", False, "Expected a channel's name, such as `final`, got `to=x` - at `default_channel`"),
        ("two words", False, "Expected a channel's name, such as `final`, got `two words` - at `default_channel`"),
        ("final", True, "Expected `strict=False` beside `default_channel`: strict parsing repairs nothing"),
    ],
)
def test_a_wrong_default_channel(
    channel: Any, strict: bool, raised: str, engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    error = TypeError if isinstance(channel, int) else ValueError
    with pytest.raises(error, match=f"^{re.escape(raised)}$"):
        engine.StreamableParser(encoding, None, strict=strict, default_channel=channel)
    with pytest.raises(error, match=f"^{re.escape(raised)}$"):
        engine.parse([], None, strict=strict, default_channel=channel)
