"""Records as fields of pydantic's models: read and dumped as openai-harmony's models are, in unions too."""

from __future__ import annotations

import json
from typing import Any, Union

import openai_harmony
import pydantic
import pytest
from typing_extensions import TypedDict

import harmony
from harmony import Conversation, Message, Role, ToolDescription
from helpers.messages import SAMPLES


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_every_record_is_a_field_of_a_pydantic_model(sample: Any) -> None:
    record = type(sample)
    model = pydantic.create_model("Model", field=(record, ...), several=(list[record], []))
    made = model(field=sample, several=[sample, sample.model_dump()])
    assert made.field is sample
    assert made.several == [sample, sample]
    assert made.model_dump()["field"] == sample.model_dump()
    assert made.model_dump(mode="json")["field"] == sample.model_dump(mode="json")
    assert made.model_dump(exclude_none=True)["field"] == sample.model_dump(exclude_none=True)
    assert type(made)(**made.model_dump()) == made
    assert model.model_validate_json(made.model_dump_json()) == made
    for mode in ("validation", "serialization"):
        schema = model.model_json_schema(mode=mode)
        assert schema["properties"]["field"]["title"] == record.__name__
        assert schema["properties"]["field"]["type"] == "object"
        assert "$ref" not in json.dumps(schema)


def test_the_schema_of_a_message_tells_its_nested_form() -> None:
    schema = pydantic.TypeAdapter(Message).json_schema()
    assert set(schema["properties"]) == {"author", "content", "channel", "recipient", "content_type"}
    assert schema["required"] == ["author"]
    assert set(schema["properties"]["author"]["properties"]["role"]["enum"]) == {role.value for role in Role}
    tools = pydantic.TypeAdapter(ToolDescription).json_schema()
    assert set(tools["properties"]) == {"name", "description", "parameters"}


@pytest.mark.parametrize(
    "value", [5, None, [], {}, {"role": "x", "content": "a"}, {"author": {"role": "user"}, "content": 5}]
)
def test_pydantic_reports_what_is_no_message(value: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        pydantic.TypeAdapter(Message).validate_python(value)


class Chat(TypedDict, total=False):
    """A message of a chat, as servers declare it beside `Message`."""

    role: str
    content: Any


FLAT = {"role": "user", "content": "Hi"}
NESTED = {"author": {"role": "user", "name": None}, "content": [], "channel": "final"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}], "reasoning": "?"}
INPUTS = [
    FLAT,
    NESTED,
    CALL,
    {**NESTED, **FLAT, "content": []},
    {**NESTED, "tool_calls": []},
    {"author": 5},
    {},
    5,
    "a",
]
UNIONS = [
    lambda message: Union[dict, message],  # noqa: UP007  written at run time
    lambda message: Union[message, dict],  # noqa: UP007
    lambda message: Union[Chat, message],  # noqa: UP007
    lambda message: Union[message, Chat],  # noqa: UP007
    lambda message: Union[message, str, None],  # noqa: UP007
    lambda message: message,
]


def read(library: Any, union: Any, value: Any, strict: bool | None) -> Any:
    """What a list in a model holds after it was validated: the name of its class, or that there was an error."""
    model = pydantic.create_model("Model", items=(list[union(library.Message)], ...))
    try:
        return type(model.model_validate({"items": [value]}, strict=strict).items[0]).__name__
    except pydantic.ValidationError:
        return "error"


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("union", UNIONS)
@pytest.mark.parametrize("value", INPUTS, ids=repr)
def test_unions_choose_as_with_openai_harmony(union: Any, value: Any, strict: bool | None) -> None:
    assert read(harmony, union, value, strict) == read(openai_harmony, union, value, strict)


@pytest.mark.parametrize("union", UNIONS)
def test_an_instance_in_a_union_is_itself_and_is_dumped_nested(union: Any) -> None:
    message = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final")
    model = pydantic.create_model("Model", items=(list[union(Message)], ...))
    made = model(items=[message, message.model_dump(mode="json")])
    assert made.items[0] is message
    for dumped in (made.model_dump(), json.loads(made.model_dump_json())):
        assert dumped["items"][0] == message.model_dump()
        again = model.model_validate(dumped)
        assert [Message.model_validate(item) for item in again.items] == [message, message]


def test_a_conversation_as_a_field_holds_nested_messages_only() -> None:
    fields = pydantic.TypeAdapter(Conversation)
    message = Message.from_role_and_content(Role.USER, "Hi")
    conversation = Conversation.from_messages([message])
    assert fields.validate_python(conversation) is conversation
    for given in (
        {"messages": [message]},
        fields.dump_python(conversation),
        fields.dump_python(conversation, mode="json"),
    ):
        assert fields.validate_python(given) == conversation
    assert fields.validate_python({}) == Conversation()
    with pytest.raises(pydantic.ValidationError, match="author"):
        fields.validate_python({"messages": [{**FLAT, "content": []}]})
    assert (
        Conversation.model_validate({"messages": [FLAT]})
        == Conversation.from_dict({"messages": [FLAT]})
        == conversation
    )


def test_a_strict_field_takes_a_dict_from_json_only() -> None:
    fields = pydantic.TypeAdapter(Message)
    assert fields.validate_json(json.dumps(NESTED), strict=True).channel == "final"
    with pytest.raises(pydantic.ValidationError):
        fields.validate_python(NESTED, strict=True)


def test_a_missing_author_is_named_as_pydantic_names_it() -> None:
    with pytest.raises(pydantic.ValidationError) as error:
        pydantic.TypeAdapter(Message).validate_python(FLAT)
    assert [(found["type"], found["loc"]) for found in error.value.errors()] == [("missing", ("author",))]
