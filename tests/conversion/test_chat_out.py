"""Messages and completions of the Chat Completions API out of Harmony, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from harmony import HarmonyEncoding, Message, chat
from helpers.apis import check_completion
from helpers.chats import TOOLS
from helpers.talk import message

USER = {"role": "user", "content": "Hi"}


def call(name: str = "sky") -> dict[str, Any]:
    return {"id": "call_7", "type": "function", "function": {"name": name, "arguments": "{}"}}


def reply(*messages: Message, **fields: Any) -> dict[str, Any]:
    (made,) = chat.from_harmony(messages, **fields)
    return made


def calling(recipient: str, text: str = "{}", channel: str | None = "commentary") -> Message:
    return message("assistant", text, channel=channel, recipient=recipient)


@pytest.mark.parametrize(
    ("recipient", "name"),
    [
        ("functions.sky", "sky"),
        ("sky", "sky"),
        ("functions.a.b", "a.b"),
        ("crm.find", "crm.find"),
        ("docs.look_up", "docs.look_up"),
        ("python", "python"),
        ("browser.search", "browser.search"),
    ],
)
def test_a_recipient_is_a_call(recipient: str, name: str) -> None:
    for channel in ("commentary", "analysis", "final", None):
        (made,) = reply(calling(recipient, channel=channel), tools=TOOLS)["tool_calls"]
        assert made == {"id": "call_0", "type": "function", "function": {"name": name, "arguments": "{}"}}


@pytest.mark.parametrize("recipient", ["assistant", "user", "all", "system", "tool", "analysis", "commentary", "final"])
def test_roles_and_channels_are_never_called(recipient: str) -> None:
    assert reply(calling(recipient, "A")) == {"role": "assistant", "content": "A"}


@pytest.mark.parametrize("channel", ["commentary", "final", None, "other"])
def test_all_but_analysis_is_content(channel: str | None) -> None:
    made = reply(message("assistant", "Hm.", channel="analysis"), message("assistant", "A", channel=channel))
    assert made == {"role": "assistant", "content": "A", "reasoning": "Hm."}


def test_texts_of_one_field_are_joined_by_a_line_end() -> None:
    texts = [("analysis", "A"), ("commentary", "B"), ("analysis", ""), ("analysis", "C"), ("final", "D")]
    made = reply(
        *(message("assistant", text, channel=channel) for channel, text in texts), reasoning_field="reasoning_content"
    )
    assert made == {"role": "assistant", "content": "B\nD", "reasoning_content": "A\nC"}


def test_only_the_assistants_messages_are_taken_turn_by_turn() -> None:
    talk = chat.to_harmony(
        [
            {"role": "system", "content": "S"},
            USER,
            {"role": "assistant", "content": "A", "tool_calls": [call()]},
            {"role": "tool", "tool_call_id": "call_7", "content": "T"},
            {"role": "assistant", "content": "B", "tool_calls": [call("z")]},
        ]
    )
    made = chat.from_harmony(talk, call_id=lambda number: f"id-{number}")
    assert [one["content"] for one in made] == ["A", "B"]
    assert [one["tool_calls"][0]["id"] for one in made] == ["id-0", "id-1"]
    assert [one["tool_calls"][0]["id"] for one in chat.from_harmony(talk)] == ["call_0", "call_1"]


@pytest.mark.parametrize(
    "name", ["sky?", "sky,", "sky:", "sky()", '"sky"', "'sky'", "skycommentary", "sky.commentary", "functions.sky?"]
)
def test_a_name_is_repaired_and_told(name: str) -> None:
    found: list[Any] = []
    made = reply(message("assistant", "A"), calling(name), tools=TOOLS, diagnostics=found)
    assert made["tool_calls"][0]["function"]["name"] == "sky"
    assert [(one.code, one.position) for one in found] == [("repaired-tool-name", 1)]


@pytest.mark.parametrize("name", ["skies", "sk", "my_sky", "sky2", "sky-", "sky_", "functions.other?"])
def test_any_other_name_stays(name: str) -> None:
    found: list[Any] = []
    made = reply(calling(name), tools=TOOLS, diagnostics=found)
    assert made["tool_calls"][0]["function"]["name"] == name.removeprefix("functions.")
    assert found == []
    made = reply(calling("sky?"))
    assert made["tool_calls"][0]["function"]["name"] == "sky?"


@pytest.mark.parametrize(
    "text", ['{"a": "é"}', '{"a":"\\u00e9"}', " {}\n", "no JSON", "", "[1.0, 1e5]", "日本 \U0001f324 \x00"]
)
def test_arguments_are_the_text_of_the_model(text: str) -> None:
    assert reply(calling("functions.sky", text))["tool_calls"][0]["function"]["arguments"] == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"input": "a\\nb"}', "a\nb"), ('{"input": 5}', '{"input": 5}'), ("ls", "ls"), ('{"a": ""}', '{"a": ""}')],
)
def test_a_custom_call_has_the_input_or_the_text(text: str, expected: str) -> None:
    (made,) = reply(calling("functions.run", text), tools=TOOLS)["tool_calls"]
    assert made == {"id": "call_0", "type": "custom", "custom": {"name": "run", "input": expected}}


# --- whole completions


def completed(encoding: HarmonyEncoding, text: str, **fields: Any) -> dict[str, Any]:
    tokens = encoding.encode(text, allowed_special="all")
    made = chat.completion(encoding.parse(tokens, "assistant", strict=False), model="m", **fields)
    check_completion(made)
    return made


def test_a_completion_counts_its_tokens(encoding: HarmonyEncoding) -> None:
    text = "<|channel|>analysis<|message|>One two three.<|end|><|start|>assistant<|channel|>final<|message|>A<|return|>"
    made = completed(encoding, text, prompt_tokens=5, id="x", created=7, system_fingerprint="f")
    size = len(encoding.encode(text, allowed_special="all"))
    assert made["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": size,
        "total_tokens": size + 5,
        "completion_tokens_details": {"reasoning_tokens": len(encoding.encode("One two three."))},
    }
    assert (made["id"], made["created"], made["model"], made["system_fingerprint"]) == ("x", 7, "m", "f")
    assert made["choices"][0]["finish_reason"] == "stop"
    assert chat.completion(encoding.parse_text(text, "assistant"), model="m")["usage"] is None


def test_reasoning_in_a_call_is_no_reasoning(encoding: HarmonyEncoding) -> None:
    made = completed(encoding, " to=python<|channel|>analysis code<|message|>1 + 1<|call|>")
    assert made["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}


@pytest.mark.parametrize(
    ("text", "reason", "calls"),
    [
        ("<|channel|>final<|message|>A<|return|>", "stop", 0),
        ("<|channel|>commentary to=functions.a<|message|>{}<|call|>", "tool_calls", 1),
        ("<|channel|>commentary to=functions.a<|message|>{}", "length", 0),
        ("<|channel|>commentary to=functions.a<|message|>{}<|call|><|start|>assistant<|channel|>fin", "length", 1),
        ("<|channel|>final<|message|>A", "length", 0),
        ("<|channel|>final", "length", 0),
        ("<|return|>", "stop", 0),
    ],
)
def test_the_reason_of_the_end(encoding: HarmonyEncoding, text: str, reason: str, calls: int) -> None:
    (choice,) = completed(encoding, text)["choices"]
    assert choice["finish_reason"] == reason
    assert len(choice["message"].get("tool_calls", ())) == calls


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"Expected `Message`, got `dict` - at `messages\[0\]`"):
        chat.from_harmony([USER])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="Expected `ParseResult`, got `list` - at `result`"):
        chat.completion([], model="m")  # type: ignore[arg-type]
