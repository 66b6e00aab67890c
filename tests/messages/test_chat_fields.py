"""Messages of the chat API in the place of the flat form: no field that says something is lost in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from harmony import Conversation, Message, Role
from harmony.logs import chat_shape
from harmony.messages.chat_fields import FIELDS

PLAIN = {"role": "assistant", "content": "Hi"}
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def conversations(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*messages], "tools": [], "reasoning": {"effort": "low"}}


READERS: dict[str, tuple[Callable[[dict[str, Any]], Message], str]] = {
    "from_dict": (Message.from_dict, "$"),
    "mapping": (lambda data: Message.from_dict(MappingProxyType(data)), "$"),  # type: ignore[arg-type]
    "from_json": (lambda data: Message.from_json(json.dumps(data)), "$"),
    "from_json, indented": (lambda data: Message.from_json(json.dumps(data, indent=1).encode()), "$"),
    "from_msgpack": (lambda data: Message.from_msgpack(msgspec.msgpack.encode(data)), "$"),
    "model_validate": (Message.model_validate, "$"),
    "dict of a conversation": (
        lambda data: Conversation.from_dict(conversations(PLAIN, data)).messages[1],
        "$.messages[1]",
    ),
    "JSON of a conversation": (
        lambda data: Conversation.from_json(json.dumps(conversations(PLAIN, PLAIN, data))).messages[2],
        "$.messages[2]",
    ),
    "msgpack of a conversation": (
        lambda data: Conversation.from_msgpack(msgspec.msgpack.encode(conversations(data))).messages[0],
        "$.messages[0]",
    ),
    "validated conversation": (
        lambda data: Conversation.model_validate(conversations(data, PLAIN)).messages[0],
        "$.messages[0]",
    ),
}


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> tuple[Callable[[dict[str, Any]], Message], str]:
    return READERS[request.param]


def told(name: str, path: str) -> str:
    return (
        f"Expected a message of Harmony, got `{name}` of the chat API, which would be lost; "
        f"`harmony.chat.to_harmony` reads such messages - at `{path}.{name}`"
    )


@pytest.mark.parametrize("value", [CALLS, "Hm.", {"name": "f"}, [None], 0, 0.5, False, True, " "], ids=repr)
def test_a_field_that_says_something_is_an_error(
    value: object, reader: tuple[Callable[[dict[str, Any]], Message], str]
) -> None:
    read, path = reader
    for name in FIELDS:
        for message in ({**PLAIN, name: value}, {name: value, **PLAIN}, {**PLAIN, "content": None, name: value}):
            with pytest.raises(ValueError, match=f"^{re.escape(told(name, path))}$") as error:
                read(message)
            assert not isinstance(error.value, TypeError)
            assert error.value.__suppress_context__


@pytest.mark.parametrize("nothing", [None, [], {}, ""], ids=repr)
def test_a_field_that_says_nothing_is_accepted(
    nothing: object, reader: tuple[Callable[[dict[str, Any]], Message], str]
) -> None:
    read, _ = reader
    message = Message.from_role_and_content(Role.ASSISTANT, "Hi")
    for name in FIELDS:
        assert read({**PLAIN, name: nothing}) == read({name: nothing, **PLAIN}) == message
    assert read({**PLAIN, **dict.fromkeys(FIELDS, nothing), "id": "m", "reasons": CALLS}) == message


def test_empty_values_of_python_say_nothing() -> None:
    assert Message.from_dict({**PLAIN, "tool_calls": (), "images": frozenset()}) == Message.from_dict(PLAIN)
    with pytest.raises(ValueError, match="`tool_calls` of the chat API"):
        Message.from_dict({**PLAIN, "tool_calls": (5,)})
    with pytest.raises(ValueError, match="`audio` of the chat API"):
        Message.from_dict({**PLAIN, "audio": object()})


def test_the_fields_around_the_messages_of_a_conversation_are_not_theirs() -> None:
    given = {**conversations(PLAIN), "tool_calls": CALLS, "thinking": "Hm."}
    assert Conversation.from_dict(given) == Conversation.from_json(json.dumps(given))
    with pytest.raises(ValueError, match=r"^Invalid enum value 'boss' - at `\$\.messages\[0\]\.role`"):
        Conversation.from_dict({**given, "messages": [{**PLAIN, "role": "boss"}]})
    for messages in (5, None, [5], [None]):
        with pytest.raises(ValueError, match=r"at `\$\.messages"):
            Conversation.from_dict({**given, "messages": messages})


def test_other_faults_are_told_as_before() -> None:
    for read, sentence in (
        (lambda: Message.from_json("[]"), "Expected `object`, got `array`"),
        (lambda: Message.from_json('{"role":"user","tool_calls":[]'), "Input data was truncated"),
        (lambda: Message.from_dict({"role": "user", "tool_calls": []}), "missing required field `content`"),
        (lambda: Message.from_msgpack(b""), "Input data was truncated"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read()


def test_what_is_written_has_none_of_the_fields() -> None:
    message = Message.from_json('{"role":"assistant","content":"Hi","tool_calls":[],"reasoning":null}')
    assert message.to_json() == Message.from_role_and_content(Role.ASSISTANT, "Hi").to_json()
    assert set(message.to_dict()) == {"role", "name", "content"}


def test_logs_refuse_the_same_fields() -> None:
    for name in FIELDS:
        with pytest.raises(ValueError, match=f"`{name}`"):
            chat_shape.check_fields(json.dumps({"messages": [{**PLAIN, name: "a"}]}).encode())
