"""Chunks of Chat Completions, while the model writes a reply."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from openai.types.chat import ChatCompletionChunk

from harmony import HarmonyEncoding, HarmonyError, chat
from helpers.apis import merged_chunks
from helpers.chats import TOOLS
from helpers.streams import ids

REPLY = (
    "<|channel|>analysis<|message|>Grün 🌤?<|end|>"
    "<|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
    '<|start|>assistant<|channel|>commentary to=functions.sky <|constrain|>json<|message|>{"a":"é"}<|call|>'
    "<|start|>assistant<|channel|>analysis<|message|>Done.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Blue.<|return|>"
)


def streamed(encoding: HarmonyEncoding, steps: Iterable[Any], **fields: Any) -> list[dict[str, Any]]:
    stream = chat.Stream(encoding, **fields)
    chunks = [chunk for step in steps for chunk in stream.push(step)] + stream.finish()
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return chunks


def deltas(chunks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks]


def one_by_one(text: str) -> list[list[int]]:
    return [[token] for token in ids(text)]


def test_a_reply(encoding: HarmonyEncoding) -> None:
    chunks = merged_chunks(streamed(encoding, one_by_one(REPLY), model="m", prompt_tokens=5, id="x", created=7))
    call = {"index": 0, "id": "call_0", "type": "function", "function": {"name": "sky", "arguments": ""}}
    assert deltas(chunks) == [
        {"role": "assistant"},
        {"reasoning": "Grün 🌤?"},
        {"content": "I look."},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":"é"}'}}]},
        {"reasoning": "\nDone."},
        {"content": "\nBlue."},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 7 + ["tool_calls"]
    assert {(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks} == {
        ("x", 7, "m", "chat.completion.chunk")
    }
    whole = chat.completion(encoding.parse(ids(REPLY), "assistant"), model="m", prompt_tokens=5)
    assert chunks[-1]["usage"] == whole["usage"]
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_the_line_end_opens_the_first_delta_of_the_later_text(encoding: HarmonyEncoding) -> None:
    texts = [delta["content"] for delta in deltas(streamed(encoding, one_by_one(REPLY))) if "content" in delta]
    assert texts[0] == "I"
    assert "\nBlue" in texts
    assert "\n" not in texts


def test_the_field_of_the_reasoning_is_the_callers(encoding: HarmonyEncoding) -> None:
    chunks = streamed(encoding, [ids(REPLY)], reasoning_field="reasoning_content")
    assert deltas(chunks)[1] == {"reasoning_content": "Grün 🌤?"}


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda tokens: [tokens], id="list"),
        pytest.param(lambda tokens: [tuple(tokens)], id="tuple"),
        pytest.param(lambda tokens: [np.array(tokens)], id="array"),
        pytest.param(lambda tokens: [np.array(tokens, dtype=np.uint32)], id="uint32"),
        pytest.param(lambda tokens: [np.array(tokens, dtype=np.uint32).tobytes()], id="bytes"),
        pytest.param(lambda tokens: [iter(tokens)], id="iterator"),
        pytest.param(lambda tokens: [[], *([token] for token in tokens), []], id="one by one"),
    ],
)
def test_tokens_of_every_kind(encoding: HarmonyEncoding, form: Any) -> None:
    expected = merged_chunks(streamed(encoding, [ids(REPLY)]))
    assert merged_chunks(streamed(encoding, form(ids(REPLY)))) == expected


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("", [], "length"),
        ("<|return|>", [], "stop"),
        ("<|channel|>final", [], "length"),
        ("<|channel|>final<|message|>", [{"content": ""}], "length"),
        ("<|channel|>final<|message|><|return|>", [{"content": ""}], "stop"),
        ("<|channel|>final<|message|>Blue", [{"content": "Blue"}], "length"),
        ("<|channel|>analysis<|message|><|end|>", [], "stop"),
    ],
)
def test_short_replies(encoding: HarmonyEncoding, text: str, expected: list[Any], reason: str) -> None:
    chunks = streamed(encoding, one_by_one(text))
    assert deltas(chunks) == [{"role": "assistant"}, *expected, {}]
    assert chunks[-1]["choices"][0]["finish_reason"] == reason


def test_a_reply_that_ends_in_a_character(encoding: HarmonyEncoding) -> None:
    tokens = ids("<|channel|>final<|message|>a🏳")
    assert len(encoding.encode("🏳")) > 1
    chunks = streamed(encoding, [[token] for token in tokens[:-1]])
    assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "a\ufffd"


def test_a_call_that_is_cut_off_is_in_the_stream_alone(encoding: HarmonyEncoding) -> None:
    text = '<|channel|>commentary to=functions.sky<|message|>{"a'
    chunks = streamed(encoding, one_by_one(text))
    assert deltas(merged_chunks(chunks))[2] == {"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    whole = chat.completion(encoding.parse(ids(text), "assistant"), model="m")
    assert "tool_calls" not in whole["choices"][0]["message"]


def test_a_custom_call_is_sent_at_its_end(encoding: HarmonyEncoding) -> None:
    text = '<|channel|>commentary to=functions.run<|message|>{"input": "ls"}'
    stream = chat.Stream(encoding, tools=TOOLS)
    assert deltas(stream.push(ids(text))) == [{"role": "assistant"}]
    call = {"index": 0, "id": "call_0", "type": "custom", "custom": {"name": "run", "input": "ls"}}
    assert deltas(stream.push(ids("<|call|>"))) == [{"tool_calls": [call]}]
    assert stream.finish()[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_that_is_stopped_from_outside(encoding: HarmonyEncoding) -> None:
    stream = chat.Stream(encoding)
    stream.push(ids("<|channel|>final<|message|>Blue.<|return|>"))
    assert stream.finish(stopped=False)[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_a_stream_can_be_copied_anywhere(encoding: HarmonyEncoding, copied: Any) -> None:
    tokens = ids(REPLY)
    expected = streamed(encoding, [[token] for token in tokens], tools=TOOLS)
    stream, chunks = chat.Stream(encoding, tools=TOOLS), []
    for token in tokens:
        stream = copied(stream)
        chunks += stream.push([token])
    assert chunks + copied(stream).finish() == expected


def test_nothing_follows_the_end(encoding: HarmonyEncoding) -> None:
    stream = chat.Stream(encoding)
    stream.finish()
    with pytest.raises(ValueError, match="Expected no tokens after `finish`"):
        stream.push([200002])
    with pytest.raises(ValueError, match="Expected `finish` once for each reply"):
        stream.finish()


def test_broken_tokens_raise_where_they_shall(encoding: HarmonyEncoding) -> None:
    stream = chat.Stream(encoding, strict=True)
    stream.push(ids("<|channel|>final<|message|>Blue"))
    with pytest.raises(HarmonyError):
        stream.push(ids("<|channel|>"))
    with pytest.raises(HarmonyError):
        stream.finish()
    cut = chat.Stream(encoding, strict=True)
    cut.push(ids("<|channel|>final"))
    with pytest.raises(HarmonyError):
        cut.finish()


@pytest.mark.parametrize("strict", [True, False])
def test_a_step_that_raised_loses_nothing_in_silence(encoding: HarmonyEncoding, strict: bool) -> None:
    stream = chat.Stream(encoding, strict=strict)
    stream.push(ids("<|channel|>final<|message|>Blue"))
    with pytest.raises((HarmonyError, TypeError)) as first:
        stream.push([*ids(" and"), 200005 if strict else None])  # type: ignore[list-item]
    for again in (lambda: stream.push(ids(" green")), stream.finish):
        with pytest.raises((HarmonyError, TypeError)) as caught:
            again()
        assert caught.value is first.value


def test_repairs_are_told(encoding: HarmonyEncoding) -> None:
    tokens = ids("<|channel|>commentary to=functions.sky?<|message|>{}<|channel|><|call|><|start|>assistant<|channel|>")
    stream = chat.Stream(encoding, tools=TOOLS)
    stream.push(tokens)
    stream.finish()
    repaired = encoding.parse(tokens, "assistant", strict=False).diagnostics
    assert stream.diagnostics[: len(repaired)] == repaired
    assert [one.code for one in stream.diagnostics[len(repaired) :]] == ["repaired-tool-name"]


@pytest.mark.parametrize("tokens", [None, "text", 5, [1.5], [True], {1}])
def test_what_is_no_tokens_is_refused(encoding: HarmonyEncoding, tokens: Any) -> None:
    with pytest.raises(TypeError):
        chat.Stream(encoding).push(tokens)


def test_what_is_no_encoding_is_refused() -> None:
    with pytest.raises(TypeError, match="HarmonyEncoding"):
        chat.Stream(None)  # type: ignore[arg-type]
