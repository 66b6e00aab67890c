"""What is given and what is made share nothing that changes: one request must not change another one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from harmony import HarmonyEncoding, chat, responses
from harmony.chat import ConversionError

SKY: Any = {"type": "function", "function": {"name": "sky", "parameters": {"type": "object", "properties": {}}}}
CUSTOM: Any = {"type": "custom", "custom": {"name": "run"}}
SPACE: Any = {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}]}
REPLY = "<|channel|>final<|message|>Blue.<|return|>"


def events(encoding: HarmonyEncoding, text: str = REPLY, tools: Any = ()) -> list[dict[str, Any]]:
    stream = responses.Stream(encoding, {"model": "m", "metadata": {}}, tools=tools)
    return stream.start() + stream.push(encoding.encode(text, allowed_special="all")) + stream.finish()


def changed(value: Any) -> None:
    """Changes every list and dict of an event."""
    for one in list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []:
        changed(one)
    if isinstance(value, dict):
        value["changed"] = True
    elif isinstance(value, list):
        value.append("changed")


def test_events_share_nothing(encoding: HarmonyEncoding) -> None:
    tools = [json.loads(json.dumps(SKY))]
    untouched = [json.dumps(event) for event in events(encoding, tools=tools)]
    found = events(encoding, tools=tools)
    for event, expected in zip(found, untouched, strict=True):
        assert json.dumps(event) == expected
        changed(event)
    assert [json.dumps(event) for event in events(encoding, tools=tools)] == untouched
    assert tools == [SKY]


def test_schemas_are_copied(encoding: HarmonyEncoding) -> None:
    tools = [json.loads(json.dumps(SKY)), CUSTOM]
    first = chat.to_harmony([], tools=tools, response_format={"type": "json_object"})
    rendered = encoding.render_conversation(first)
    tools[0]["function"]["parameters"]["properties"]["when"] = {"type": "string"}
    assert encoding.render_conversation(first) == rendered
    for tool in first.messages[1].content[0].tools["functions"].tools:  # type: ignore[union-attr,index]
        assert tool.parameters is not None
        tool.parameters["properties"]["more"] = {}
    second = chat.to_harmony([], tools=[SKY, CUSTOM], response_format={"type": "json_object"})
    assert encoding.render_conversation(second) == rendered


def test_tools_of_both_shapes_validate_in_a_response(encoding: HarmonyEncoding) -> None:
    for event in events(encoding, tools=[SKY, CUSTOM, SPACE]):
        TypeAdapter(ResponseStreamEvent).validate_python(event)


@pytest.mark.parametrize("name", ["channel", "recipient", "content_type"])
def test_messages_of_harmony_are_no_messages_of_an_api(name: str) -> None:
    message = {"role": "assistant", "content": "secret", name: "analysis"}
    for convert, path in ((chat.to_harmony, "messages[0]"), (responses.to_harmony, "input[0]")):
        with pytest.raises(ConversionError) as error:
            convert([message])
        assert (error.value.code, error.value.path) == ("unsupported-field", f"{path}.{name}")
        assert convert([{**message, name: None}]).messages[-1].channel == "final"


@pytest.mark.parametrize("name", ["f" + "final" * 20_000, "f" + "?" * 100_000 + "g"])
def test_a_long_recipient_is_no_broken_name(encoding: HarmonyEncoding, name: str) -> None:
    text = f"<|channel|>commentary to={name} json<|message|>{{}}<|call|>"
    reply = chat.completion(encoding.parse_text(text, "assistant", strict=False), model="m", tools=[SKY])
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == name


@pytest.mark.parametrize("name", ["'sky'", "functions.'sky'", "functions.sky()", "sky?commentary", "functions.sky,"])
def test_a_decorated_name_is_repaired(encoding: HarmonyEncoding, name: str) -> None:
    text = f"<|channel|>commentary to={name} json<|message|>{{}}<|call|>"
    found: list[Any] = []
    result = encoding.parse_text(text, "assistant", strict=False)
    (message,) = chat.from_harmony(result.messages, tools=[SKY], diagnostics=found)
    assert message["tool_calls"][0]["function"]["name"] == "sky"
    assert [one.code for one in found] == ["repaired-tool-name"]


def test_a_custom_call_that_is_cut_is_told(encoding: HarmonyEncoding) -> None:
    stream = chat.Stream(encoding, tools=[CUSTOM])
    text = '<|channel|>commentary to=functions.run<|message|>{"input": "x'
    chunks = stream.push(encoding.encode(text, allowed_special="all")) + stream.finish()
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [{"role": "assistant"}, {}]
    assert [found.code for found in stream.diagnostics] == ["cut-call"]


@pytest.mark.parametrize("field", ["content", "role", "tool_calls", "", None])
def test_the_reasoning_has_a_field_of_its_own(encoding: HarmonyEncoding, field: Any) -> None:
    with pytest.raises(ValueError, match="reasoning_field"):
        chat.Stream(encoding, reasoning_field=field)
    with pytest.raises(ValueError, match="reasoning_field"):
        chat.from_harmony([], reasoning_field=field)
