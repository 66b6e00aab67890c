"""What the playground answers, in CPython: no message is lost without a word, and what has to be written out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docs.playground import playground
from harmony.viewing.characters import readable

CHAT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "thinking": "A greeting.", "content": "Yes."},
]
TEXT = (
    "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>analysis<|message|>A greeting.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Yes.<|end|>"
)


def asked(kind: str, given: str, start: str) -> dict[str, Any]:
    question = {"kind": kind, "input": given, "start": start, "strict": True}
    return dict(json.loads(playground.answer(json.dumps(question))))


def test_a_conversation_has_all_messages() -> None:
    first = asked("text", TEXT, "conversation")
    for kind, given in (("messages", first["json"]), ("chat", json.dumps(CHAT))):
        found = asked(kind, given, "conversation")
        assert found["text"].endswith(TEXT)  # a chat has a system message before it
        assert (found["messages"][-3:], found["note"]) == (first["messages"], "")


@pytest.mark.parametrize("model", [None, "gpt-oss-20b"])
def test_a_prompt_says_that_it_leaves_messages_out(model: str | None) -> None:
    request = {"messages": CHAT} if model is None else {"messages": CHAT, "model": model}
    found = asked("chat", json.dumps(request), "prompt")
    assert "A greeting." not in found["text"]
    assert found["note"].startswith("A prompt leaves out the messages on `analysis` before a final answer.")
    assert ("`model`" in found["note"]) == (model is not None)
    assert asked("chat", json.dumps(CHAT[:1]), "prompt")["note"] == ""


def test_an_answer_says_which_characters_are_written_out() -> None:
    text = "\0\r\x7f\u202e\U000e0041\t\né\u200d\u3000"
    found = asked("text", TEXT.replace("Hi", text), "conversation")
    assert found["messages"][0]["content"][0]["text"] == text
    assert "".join(found["unseen"].get(each, each) for each in text) == readable(text) != text


@pytest.mark.parametrize("kind", ["messages", "chat"])
def test_json_that_is_nested_too_deeply_is_refused(kind: str) -> None:
    text = json.dumps([{"role": "user", "content": "]" * 10}])
    assert "problem" not in asked(kind, text, "conversation")
    for deep in ("[" * 3000 + "]" * 3000, '{"messages":' * 600, '{"a":"\\"[","b":' * 501):
        assert "at most 500 lists and objects inside each other" in asked(kind, deep, "conversation")["problem"]


def test_a_request_without_messages_is_refused() -> None:
    for text in ('{"messages":null}', "{}", "7", "null"):
        assert "Expected a list of messages, or a request" in asked("chat", text, "conversation")["problem"]
