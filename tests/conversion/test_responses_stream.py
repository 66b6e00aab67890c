"""Events of the Responses API, while the model writes a reply."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from harmony import HarmonyEncoding, HarmonyError, responses
from harmony.conversion.given import ConversionError
from helpers.apis import accumulated_events, merged_events
from helpers.chats import TOOLS
from helpers.streams import ids

ANSWER = "<|channel|>final<|message|>Blue 🌤.<|return|>"
REPLY = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{ANSWER}"


def streamed(encoding: HarmonyEncoding, steps: Iterable[Any], **fields: Any) -> list[dict[str, Any]]:
    stream = responses.Stream(encoding, {"model": "m"}, **fields)
    events = [event for step in steps for event in stream.push(step)] + stream.finish()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    accumulated_events(events)
    return events


def one_by_one(text: str) -> list[list[int]]:
    return [[token] for token in ids(text)]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of the events of items, without what all of them begin with."""
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] in ("response.completed", "response.incomplete")
    return [event["type"].removeprefix("response.") for event in events[2:-1]]


TEXT = ["output_item.added", "content_part.added"]
TEXT_DONE = ["content_part.done", "output_item.done"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANSWER, [*TEXT, "output_text.delta", "output_text.done", *TEXT_DONE]),
        ("<|channel|>final<|message|><|return|>", [*TEXT, "output_text.done", *TEXT_DONE]),
        (
            "<|channel|>analysis<|message|>Hm.<|end|>",
            [*TEXT, "reasoning_text.delta", "reasoning_text.done", *TEXT_DONE],
        ),
        (
            "<|channel|>commentary to=functions.sky<|message|>{}<|call|>",
            [
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "output_item.done",
            ],
        ),
        (
            "<|channel|>commentary to=crm.find<|message|><|call|>",
            ["output_item.added", "function_call_arguments.done", "output_item.done"],
        ),
        (
            "<|channel|>commentary to=docs.b<|message|>{}<|call|>",
            [
                "output_item.added",
                "mcp_call.in_progress",
                "mcp_call_arguments.delta",
                "mcp_call_arguments.done",
                "output_item.done",
            ],
        ),
        (
            "<|channel|>analysis to=python code<|message|>1 + 1<|call|>",
            [
                "output_item.added",
                "code_interpreter_call.in_progress",
                "code_interpreter_call_code.delta",
                "code_interpreter_call_code.done",
                "output_item.done",
            ],
        ),
        (
            '<|channel|>analysis to=browser.search code<|message|>{"query": "a"}<|call|>',
            ["output_item.added", "web_search_call.in_progress", "output_item.done"],
        ),
        (
            "<|channel|>analysis to=browser.search code<|message|>sky<|call|>",
            ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"],
        ),
        (
            '<|channel|>commentary to=run<|message|>{"input": "ls"}<|call|>',
            [
                "output_item.added",
                "custom_tool_call_input.delta",
                "custom_tool_call_input.done",
                "output_item.done",
            ],
        ),
        ("", []),
        ("<|return|>", []),
        ("<|channel|>final", []),
    ],
)
def test_the_events_of_an_item(encoding: HarmonyEncoding, text: str, expected: list[str]) -> None:
    assert kinds(merged_events(streamed(encoding, one_by_one(text), tools=TOOLS))) == expected


def test_the_kind_of_an_item_is_the_same_whole_and_streamed(encoding: HarmonyEncoding) -> None:
    channels = ("analysis to=python code", "commentary to=python", "analysis to=browser.open", "final to=a.b")
    for header in (*(f"<|channel|>{channel}" for channel in channels), "<|channel|>commentary to=assistant", ""):
        text = f"{header}<|message|>print(1)<|call|>"
        whole = responses.response(encoding.parse(ids(text), "assistant"), model="m")
        events = streamed(encoding, one_by_one(text))
        assert events[-1]["response"] == whole
        assert [event["item"]["type"] for event in events if "item" in event] == 2 * [whole["output"][0]["type"]]


def test_the_response_is_in_the_first_events_and_in_the_last(encoding: HarmonyEncoding) -> None:
    fields = {"id": "resp_7", "model": "m", "created_at": 5, "metadata": {"a": "b"}, "tools": TOOLS}
    stream = responses.Stream(encoding, fields, prompt_tokens=3)
    first = stream.start()
    assert [event["type"] for event in first] == ["response.created", "response.in_progress"]
    begun = first[0]["response"]
    assert (begun["id"], begun["status"], begun["output"], begun["tools"]) == ("resp_7", "in_progress", [], TOOLS)
    assert stream.start() == []
    stream.push(ids(REPLY))
    ended = stream.finish()[-1]["response"]
    result = encoding.parse(ids(REPLY), "assistant")
    assert ended == responses.response(result, prompt_tokens=3, **fields)


def test_the_tools_of_the_response_are_those_of_the_reply(encoding: HarmonyEncoding) -> None:
    stream = responses.Stream(encoding, {"model": "m", "tools": TOOLS})
    stream.push(ids("<|channel|>commentary to=crm.find<|message|>{}<|call|>"))
    assert stream.finish()[-1]["response"]["output"][0]["namespace"] == "crm"


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda tokens: [tuple(tokens)], id="tuple"),
        pytest.param(lambda tokens: [np.array(tokens)], id="array"),
        pytest.param(lambda tokens: [np.array(tokens, dtype=np.uint32).tobytes()], id="bytes"),
        pytest.param(lambda tokens: [iter(tokens)], id="iterator"),
        pytest.param(lambda tokens: [[], *([token] for token in tokens), []], id="one by one"),
    ],
)
def test_tokens_of_every_kind(encoding: HarmonyEncoding, form: Any) -> None:
    expected = merged_events(streamed(encoding, [ids(REPLY)]))
    assert merged_events(streamed(encoding, form(ids(REPLY)))) == expected


def test_a_reply_that_ends_in_a_character(encoding: HarmonyEncoding) -> None:
    tokens = ids("<|channel|>final<|message|>a🏳")
    events = streamed(encoding, [[token] for token in tokens[:-1]])
    assert events[-1]["type"] == "response.incomplete"
    (item,) = events[-1]["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "a\ufffd")
    assert "".join(event["delta"] for event in events if event["type"].endswith(".delta")) == "a\ufffd"


def test_arguments_are_the_text_of_the_model(encoding: HarmonyEncoding) -> None:
    text = ' {"a" :\t"\\u00e9é", "a":1.0}\n'
    events = streamed(encoding, one_by_one(f"<|channel|>commentary to=functions.sky<|message|>{text}<|call|>"))
    assert "".join(event["delta"] for event in events if "delta" in event) == text
    (done,) = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert (done["arguments"], done["name"]) == (text, "sky")
    assert events[-1]["response"]["output"][0]["arguments"] == text


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda stream: pickle.loads(pickle.dumps(stream))])
def test_a_stream_can_be_copied_anywhere(encoding: HarmonyEncoding, copied: Any) -> None:
    tokens = ids(REPLY)
    expected = streamed(encoding, [[token] for token in tokens], tools=TOOLS)
    stream, events = responses.Stream(encoding, {"model": "m"}, tools=TOOLS), []
    for token in tokens:
        stream = copied(stream)
        events += stream.push([token])
    assert events + copied(stream).finish() == expected


def test_nothing_follows_the_end(encoding: HarmonyEncoding) -> None:
    stream = responses.Stream(encoding, {"model": "m"})
    assert [event["type"] for event in stream.finish()][-1] == "response.incomplete"
    with pytest.raises(ValueError, match="Expected no tokens after `finish`"):
        stream.push([200002])
    with pytest.raises(ValueError, match="Expected `finish` once for each reply"):
        stream.finish()


def test_broken_tokens_raise_where_they_shall(encoding: HarmonyEncoding) -> None:
    stream = responses.Stream(encoding, {"model": "m"}, strict=True)
    stream.push(ids("<|channel|>final<|message|>Blue"))
    with pytest.raises(HarmonyError):
        stream.push(ids("<|channel|>"))
    with pytest.raises(HarmonyError):
        stream.finish()


@pytest.mark.parametrize("strict", [True, False])
def test_a_step_that_raised_loses_nothing_in_silence(encoding: HarmonyEncoding, strict: bool) -> None:
    stream = responses.Stream(encoding, {"model": "m"}, strict=strict)
    stream.push(ids("<|channel|>final<|message|>Blue"))
    with pytest.raises((HarmonyError, TypeError)) as first:
        stream.push([*ids(" and"), 200005 if strict else None])  # type: ignore[list-item]
    for again in (lambda: stream.push(ids(" green")), stream.finish):
        with pytest.raises((HarmonyError, TypeError)) as caught:
            again()
        assert caught.value is first.value


def test_the_response_names_its_model(encoding: HarmonyEncoding) -> None:
    with pytest.raises(ValueError, match="Expected the name of the model"):
        responses.Stream(encoding, {"id": "x"})
    for wrong in (None, "m", [], 5):
        with pytest.raises(ConversionError) as caught:
            responses.Stream(encoding, wrong)
        assert (caught.value.code, caught.value.path) == ("invalid-field", "response")
