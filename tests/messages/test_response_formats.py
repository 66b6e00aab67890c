"""Response formats in developer content: how they are set, and what becomes of them in each form as data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import openai_harmony as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import Conversation, DeveloperContent, Message, ResponseFormat, Role, ToolDescription
from harmony.messages.record import is_small

SCHEMA = {"type": "object", "properties": {"b": {"type": "string", "default": None}, "a": {"const": 0.5}}, "x": None}
TEXTS = st.text(max_size=8)
SCHEMAS = st.dictionaries(
    TEXTS, st.none() | st.integers() | TEXTS | st.lists(st.floats(allow_nan=False, allow_infinity=False)), max_size=3
)
FORMATS = st.lists(st.builds(ResponseFormat, TEXTS, SCHEMAS, st.none() | TEXTS), max_size=3)


def message_of(content: DeveloperContent) -> Message:
    return Message.from_role_and_content(Role.DEVELOPER, content)


def with_schema(schema: dict[str, Any]) -> Message:
    return message_of(DeveloperContent.new().with_response_format("answer", schema))


def test_a_format_is_added_or_replaces_the_one_of_its_name() -> None:
    content = DeveloperContent.new()
    assert content.with_response_format("a", SCHEMA) is content
    content.with_response_format("b", {}, "For short answers.").with_response_format("a", {"type": "array"})
    assert content.response_formats == [
        ResponseFormat("a", {"type": "array"}),
        ResponseFormat(name="b", schema={}, description="For short answers."),
    ]


@pytest.mark.parametrize("formats", [None, [], ()])
def test_without_a_format_every_form_is_that_of_the_reference(formats: Any) -> None:
    for content in (
        DeveloperContent(instructions="Hi", response_formats=formats),
        DeveloperContent.model_validate({"instructions": "Hi", "response_formats": formats}),
    ):
        assert content.response_formats is None
        theirs = reference.DeveloperContent(instructions="Hi")
        assert content.model_dump() == {"type": "developer_content", **theirs.model_dump()}
        assert content.to_dict() == theirs.to_dict()
        message = message_of(content)
        of_theirs = reference.Message.from_role_and_content(reference.Role.DEVELOPER, theirs)
        assert message.to_dict() == of_theirs.to_dict()
        assert json.loads(message.to_json()) == json.loads(of_theirs.to_json())
        assert b"response_formats" not in message.to_msgpack() + msgspec.json.encode(message)
        assert "response_formats" not in message.model_dump(mode="json")["content"][0]


@given(FORMATS, st.none() | TEXTS)
def test_no_form_loses_anything(formats: list[ResponseFormat], instructions: str | None) -> None:
    message = message_of(DeveloperContent(instructions=instructions, response_formats=formats))
    try:
        packed = [Message.from_msgpack(message.to_msgpack())]
    except ValueError:  # an integer beyond 64 bits
        packed = []
    for again in (
        *packed,
        Message.from_json(message.to_json()),
        Message.from_dict(message.to_dict()),
        Message.model_validate(message.model_dump()),
        Message.model_validate(json.loads(json.dumps(message.model_dump(mode="json")))),
        msgspec.json.decode(msgspec.json.encode(message), type=Message),
    ):
        assert again == message
        assert repr(again) == repr(message)  # in the order of keys as well


def test_the_flat_form_leaves_out_only_the_fields_of_records() -> None:
    message = with_schema(SCHEMA)
    written = {"type": "developer_content", "response_formats": [{"name": "answer", "schema": SCHEMA}]}
    assert message.to_dict()["content"] == json.loads(message.to_json())["content"] == [written]
    assert message.to_json() == Message.from_json(message.to_json()).to_json()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda content: content.with_response_format("a", [1]),
            "Expected `dict`, got `list` - at `ResponseFormat.sch",
        ),
        (lambda content: content.with_response_format("a", {1: 2}), "Expected `str`, got `int`"),
        (lambda content: content.with_response_format(5, {}), "Expected `str`, got `int` - at `ResponseFormat.name`"),
        (lambda content: content.with_response_format("a", {}, 5), "Expected `str | None`, got `int` - at `Response"),
        (lambda _: DeveloperContent(response_formats=""), "got `str` - at `DeveloperContent.response_formats`"),
        (lambda _: DeveloperContent(response_formats=[5]), "Expected `ResponseFormat`, got `int` - at `Dev"),
        (lambda _: ResponseFormat("a"), "Missing required argument 'schema' - at `ResponseFormat`"),
    ],
)
def test_wrong_values(change: Callable[[Any], object], sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        change(DeveloperContent.new())


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    for message in (with_schema({"default": number}), with_schema({"enum": [None, {"a": number}]})):
        with pytest.raises(ValueError, match="Expected finite numbers in schemas"):
            message.to_json()
        with pytest.raises(ValueError, match="Expected finite numbers in schemas"):
            Conversation([message]).to_json()


def test_what_is_written_too_often_or_contains_itself_is_refused() -> None:
    often: dict[str, Any] = {}
    for _ in range(60):
        often = {"oneOf": [often, often]}
    endless: dict[str, Any] = {}
    endless["items"] = {"items": endless}
    for schema, sentence in ((often, "values that are written again"), (endless, "nested too deeply, or contains")):
        message = with_schema(schema)
        for write in (Message.to_json, Message.to_msgpack, Message.to_dict, Message.model_dump):
            with pytest.raises(ValueError, match=sentence):
                write(message)


def test_small_schemas_need_no_further_look() -> None:
    tools = [ToolDescription.new("f", "d", SCHEMA)]
    for content in (DeveloperContent.new(), DeveloperContent.new().with_function_tools(tools)):
        content.with_response_format("a", SCHEMA)
        assert is_small(content)
        assert not is_small(content.with_response_format("b", {"enum": [0] * 20_000}))
        content.response_formats = [{"name": "a", "schema": SCHEMA}]  # type: ignore[list-item]  # set by a user
        assert not is_small(content)
