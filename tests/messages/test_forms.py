"""The written forms of messages - JSON, msgpack, dicts, pydantic's - against openai-harmony's wherever it has them."""

from __future__ import annotations

import copy
import json
import math
import pickle
from types import MappingProxyType
from typing import Any

import msgspec
import openai_harmony as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony.messages.model import (
    Author,
    Conversation,
    Message,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
    flat_messages,
)
from harmony.messages.roles import Role
from helpers.messages import FULL, SAMPLES, parameters_of, tool_message

# JSON has more integers than 64 bits hold, but no lone surrogates and no infinity.
TEXTS = st.text(max_size=20)
NAMES = st.none() | TEXTS
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=8,
)
TOOLS = st.fixed_dictionaries(
    {"name": TEXTS, "description": TEXTS}, optional={"parameters": st.none() | st.dictionaries(TEXTS, JSON_VALUES)}
)
NAMESPACES = st.dictionaries(
    TEXTS,
    st.fixed_dictionaries({"name": TEXTS, "tools": st.lists(TOOLS, max_size=3)}, optional={"description": NAMES}),
    max_size=2,
)
CHANNELS = st.fixed_dictionaries({"valid_channels": st.lists(TEXTS, max_size=3), "channel_required": st.booleans()})
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}),
    st.fixed_dictionaries(
        {"type": st.just("system_content")},
        optional={
            "model_identity": NAMES,
            "reasoning_effort": st.sampled_from([None, "Low", "Medium", "High"]),
            "conversation_start_date": NAMES,
            "knowledge_cutoff": NAMES,
            "channel_config": st.none() | CHANNELS,
            "tools": st.none() | NAMESPACES,
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("developer_content")}, optional={"instructions": NAMES, "tools": st.none() | NAMESPACES}
    ),
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from([role.value for role in Role]), "content": TEXTS | st.lists(PARTS, max_size=3)},
    optional={"name": NAMES, "channel": NAMES, "recipient": NAMES, "content_type": NAMES, "unknown": JSON_VALUES},
)
CONVERSATIONS = st.fixed_dictionaries({"messages": st.lists(MESSAGES, max_size=4)}, optional={"unknown": JSON_VALUES})


@given(CONVERSATIONS)
def test_any_conversation_is_read_and_written_as_the_reference_does(data: dict[str, Any]) -> None:
    text = json.dumps(data)
    mine, theirs = Conversation.from_json(text), reference.Conversation.from_json(text)
    assert mine == Conversation.from_json(text.encode()) == Conversation.from_dict(data)
    assert mine.to_dict() == theirs.to_dict()
    written = json.loads(theirs.to_json())
    # Equal texts, so that the order within parameters and the kinds of numbers are equal too.
    assert json.dumps(json.loads(mine.to_json()), sort_keys=True) == json.dumps(written, sort_keys=True)
    for message, of_mine, of_theirs in zip(data["messages"], mine, theirs, strict=True):
        assert Message.from_dict(message) == Message.from_json(json.dumps(message)) == of_mine
        assert json.loads(of_mine.to_json()) == json.loads(of_theirs.to_json())
    # And across: what one writes, the other reads, and it is the same message again.
    assert Conversation.from_json(theirs.to_json()).to_dict() == Conversation.from_dict(written).to_dict()
    assert reference.Conversation.from_json(mine.to_json()) == reference.Conversation.from_json(theirs.to_json())


@given(CONVERSATIONS)
def test_nested_forms_and_copies_of_any_conversation_lose_nothing(data: dict[str, Any]) -> None:
    conversation = Conversation.from_dict(data)
    text = repr(conversation)
    for again in (
        Conversation.model_validate(conversation.model_dump()),
        Conversation.model_validate(conversation.model_dump(mode="json")),
        Conversation.model_validate(json.loads(json.dumps(conversation.model_dump()))),
        Conversation.model_validate(conversation.model_dump(exclude_none=False)),
        msgspec.json.decode(msgspec.json.encode(conversation), type=Conversation),
        pickle.loads(pickle.dumps(conversation)),
        copy.deepcopy(conversation),
        copy.copy(conversation),
    ):
        assert again == conversation
        assert repr(again) == text  # in the order of keys as well


@given(st.dictionaries(TEXTS, JSON_VALUES))
def test_parameters_keep_everything_none_included_and_their_order(parameters: dict[str, Any]) -> None:
    message = tool_message(parameters)
    text = json.dumps(parameters)
    for again in (
        message,
        Message.from_dict(message.to_dict()),
        Message.from_json(message.to_json()),
        Message.model_validate(message.model_dump(exclude_none=True)),
    ):
        assert json.dumps(parameters_of(again)) == text
    assert json.dumps(message.to_dict()["content"][0]["tools"]["functions"]["tools"][0]["parameters"]) == text


def test_both_written_forms_of_content_are_read() -> None:
    plain = Message.from_dict({"role": "user", "content": "a"})
    parts = Message.from_dict(
        {"role": "user", "name": None, "content": ({"type": "text", "text": "a"},)}
    )  # a tuple too
    assert plain == parts == Message.from_role_and_content(Role.USER, "a")
    assert Message.from_dict(MappingProxyType({"role": Role.USER, "content": "a"})) == plain


def test_the_flat_form_has_name_always_and_the_rest_where_it_is_not_none() -> None:
    assert Message.from_role_and_content(Role.USER, "a").to_json() == (
        '{"role":"user","name":null,"content":[{"type":"text","text":"a"}]}'
    )
    assert FULL.messages[3].to_json() == (
        '{"role":"assistant","name":null,"content":[{"type":"text","text":"{}"}],"channel":"commentary",'
        '"recipient":"functions.f","content_type":"<|constrain|>json"}'
    )
    assert json.loads(msgspec.json.encode({"messages": flat_messages(FULL)})) == json.loads(FULL.to_json())


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused_by_json_and_kept_by_msgpack(number: float) -> None:
    for parameters in ({"a": number}, {"a": [{"b": [0.5, number]}]}, {"a": 10**30, "b": (number,)}):
        with pytest.raises(ValueError, match="finite"):
            tool_message(parameters).to_json()
        with pytest.raises(ValueError, match="finite"):
            Conversation([FULL.messages[0], tool_message(parameters)]).to_json()
    kept = parameters_of(Message.from_msgpack(tool_message({"a": number}).to_msgpack()))
    assert repr(kept) == repr({"a": number})


def test_numbers_that_json_has_are_written_whatever_their_bytes() -> None:
    parameters = {
        "a": 0xCB7FF0,
        "b": 0xCBFFF8,
        "c": 10**30,
        "d": -(2**63),
        "e": 1.7e308,
        "f": "\u02ff\x7f\u00f0",
        "g": None,
    }
    message = tool_message(parameters)
    assert Message.from_json(message.to_json()) == message


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_told_from_what_is_null_and_from_the_word(number: float) -> None:
    sound = {"null": "null", "a": {"type": ["string", "null"], "default": None}, "b": [None, 0.5], "c": ":null,[null"}
    message = tool_message(sound).adding_content("null, :null and [null")
    assert Message.from_json(message.to_json()) == message
    for parameters in (
        {**sound, "d": number},
        {"d": number, **sound},
        {"d": number},
        {"d": [number]},
        {"d": [1, number]},
    ):
        for content in (tool_message(parameters).content, [*message.content, *tool_message(parameters).content]):
            with pytest.raises(ValueError, match="finite"):
                Message(Author(Role.USER, "null"), content).to_json()
    tools = ToolNamespaceConfig(name="n", tools=[ToolDescription.new("f", "null", {"d": number})])
    with pytest.raises(ValueError, match="finite"):
        Message.from_role_and_content(Role.SYSTEM, SystemContent().with_tools(tools)).to_json()


def test_content_of_many_kinds_is_written_alike_in_json_and_msgpack() -> None:
    message = Message(Author(Role.USER), [*FULL.messages[0].content, TextContent("null"), *FULL.messages[1].content])
    assert Message.from_json(message.to_json()) == Message.from_msgpack(message.to_msgpack()) == message


def test_instances_of_built_in_subclasses_are_written_as_what_they_are() -> None:
    class Text(str):
        pass

    class Number(float):
        pass

    message = tool_message({"a": Text("x"), "b": Number(0.5), "c": (1, 2), "d": Role.USER})
    expected = {"a": "x", "b": 0.5, "c": [1, 2], "d": "user"}
    assert parameters_of(Message.from_json(message.to_json())) == expected
    assert parameters_of(Message.from_msgpack(message.to_msgpack())) == expected
    assert message.model_dump(mode="json")["content"][0]["tools"]["functions"]["tools"][0]["parameters"] == expected
    with pytest.raises(ValueError, match="finite"):
        tool_message({"a": Number("nan")}).to_json()


def test_msgpack_is_the_flat_form() -> None:
    assert msgspec.msgpack.decode(FULL.to_msgpack()) == json.loads(FULL.to_json())
    assert Conversation.from_msgpack(FULL.to_msgpack()) == FULL
    for message in FULL:
        assert Message.from_msgpack(message.to_msgpack()) == message
    assert Message.from_msgpack(msgspec.msgpack.encode({"role": "user", "content": "a"})) == (
        Message.from_role_and_content(Role.USER, "a")
    )
    with pytest.raises(ValueError, match="serialize ints"):
        tool_message({"a": 2**64}).to_msgpack()
    with pytest.raises(ValueError, match="role"):
        Message.from_msgpack(msgspec.msgpack.encode({"role": "x", "content": "a"}))


def test_the_flat_form_loses_none_where_it_is_not_the_default_as_the_reference_does() -> None:
    part = SystemContent(model_identity=None)
    assert part.to_dict() == reference.SystemContent(model_identity=None).to_dict()
    assert SystemContent.from_dict(part.to_dict()).model_identity == SystemContent().model_identity
    assert SystemContent.model_validate(part.model_dump()) == part
    assert SystemContent.from_dict({"model_identity": None}) == part


def test_reading_gives_the_class_that_was_asked() -> None:
    class Special(Message):
        pass

    message = Special.from_json('{"role": "user", "content": "a"}')
    assert type(message) is type(Special.from_role_and_content(Role.USER, "a")) is Special
    assert message == Special.from_role_and_content(Role.USER, "a")


@pytest.mark.parametrize("message", FULL.messages)
def test_model_dump_is_nested_and_complete(message: Message) -> None:
    dumped = message.model_dump()
    assert list(dumped) == ["author", "content", "channel", "recipient", "content_type"]
    assert dumped["author"] == {"role": message.author.role, "name": message.author.name}
    for part, of_message in zip(dumped["content"], message.content, strict=True):
        assert part.pop("type") == of_message.to_dict()["type"]
        assert set(part) == set(of_message.__struct_fields__) - {"response_formats"}
    assert Message.model_validate(message) is message
    assert Message.model_validate(message.model_dump()) == message
    assert Message.model_validate(message.to_dict()) == message
    assert Message.model_validate(message.model_dump(exclude_none=True)) == message


def test_a_conversation_is_validated_from_messages_in_any_form() -> None:
    assert Conversation.model_validate(FULL) is FULL
    first = FULL.messages[0]
    mixed = {"messages": [first, first.to_dict(), first.model_dump(mode="json")]}
    assert Conversation.model_validate(mixed) == Conversation([first] * 3)
    assert Conversation.model_validate(FULL.to_dict()) == Conversation.model_validate(FULL.model_dump()) == FULL


def test_records_are_compared_by_value_copied_and_pickled() -> None:
    for sample in SAMPLES:
        for again in (copy.copy(sample), copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
            assert again == sample
            assert type(again) is type(sample)
            assert again is not sample
        with pytest.raises(TypeError, match="unhashable"):
            hash(sample)
    message = copy.deepcopy(FULL.messages[2])
    assert message.adding_content("more") != FULL.messages[2]
    assert Author(Role.USER) != Author(Role.USER, "n")
