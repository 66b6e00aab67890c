"""Conversations in records, in any shape: where one is, which shape it has, and how it becomes a Harmony conversation.

A record holds the messages at a path, with `tools` and the like beside them, as a request of an API does. The path may
also lead to the request itself. Its fields are JSON, or values out of a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any, Final, NamedTuple

import msgspec

from harmony.conversion.given import ConversionError, fault
from harmony.errors import in_turn, sentence
from harmony.format.choices import Shape
from harmony.logs.chat_shape import says
from harmony.logs.paths import Step, joined, kind_of, parent_of, steps_of
from harmony.logs.records import read_conversation, with_place
from harmony.messages.chat_fields import FIELDS
from harmony.messages.model import Conversation

#: The conversation in a request of the Chat Completions API, and in one of the Responses API.
_MESSAGES, INPUT = "messages", "input"
#: The fields beside the messages that become part of the conversation, in each API.
_OF_CHAT: Final = ("tools", "functions", "response_format", "reasoning_effort")
_OF_RESPONSES: Final = ("instructions", "tools", "text", "reasoning")
#: The fields beside an input that name more of the conversation, which stands elsewhere.
_ELSEWHERE: Final = (("previous_response_id", str), ("conversation", (str, dict)), ("prompt", dict))
#: The fields beside an input that is a text, of which a request of the Responses API has at least one.
_OF_REQUEST: Final = ("model", "instructions")
_OF_HARMONY: Final = ("channel", "recipient", "content_type")
_HARMONY_PARTS: Final = frozenset(("system_content", "developer_content"))

_ABSENT: Final = msgspec.Raw(b"")
_NULL: Final = msgspec.Raw(b"null")
_SIGNS: Final[Any] = msgspec.defstruct(
    "_Signs",
    [(name, msgspec.Raw, _ABSENT) for name in (*FIELDS, *_OF_HARMONY, "name", "content", "type")],
)
_MESSAGE_SIGNS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(list[_SIGNS])
_PARTS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    list[msgspec.defstruct("_Part", [("type", str | None, None)])]  # type: ignore[misc]
)
_NOTHING: Final = (_ABSENT,) * len(FIELDS)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAME: Final = re.compile(r"\w+")


class Request(NamedTuple):
    """A conversation in a record, and the object that it stands in."""

    fields: Mapping[str, Any]  # of the object; only the conversation where it stands in a list
    key: str  # of the conversation in the object
    steps: tuple[Step, ...]  # to the conversation
    is_at_path: bool  # and not inside what is at the path, whose fields are JSON

    def raw(self, name: str) -> msgspec.Raw | None:
        """A field as JSON; None where it is missing or null."""
        value = self.fields.get(name)
        if isinstance(value, msgspec.Raw):
            return None if value == _NULL else value
        try:
            return None if value is None else msgspec.Raw(msgspec.json.encode(value))
        except UnicodeEncodeError:  # a single surrogate, which rendering reports
            return msgspec.Raw(json.dumps(value).encode())

    def value(self, name: str) -> Any:
        """A field as a value; None where it is missing. A struct of a table has no field that is null.

        There, null stands for each field that other rows have.
        """
        value = self.fields.get(name)
        return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else _without_nulls(value)

    def place(self, path: str) -> str:
        """Where something is in the record, by its path in the arguments of a conversion."""
        name = _NAME.match(path)
        assert name is not None
        steps = self.steps if name[0] in (_MESSAGES, INPUT) else (*self.steps[:-1], name[0])
        return reduce(joined, steps, "") + path[name.end() :]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def find(whole: Any, path: str, shape: Shape | None) -> Request | None:
    """The conversation of a record, by the path to its messages or to its request; None if there is none.

    `whole` is that of a Variant. If nothing is at the path, the conversation may be the `input` beside it. Raises
    ValueError for a request without a conversation.
    """
    steps = steps_of(path)
    parent, last = parent_of(whole, steps), steps[-1]
    beside = parent if isinstance(parent, dict) else {}
    value = _at(parent, last)
    inside = _members(value)
    if inside is not None:
        beside, steps, last, value = inside, (*steps, _MESSAGES), _MESSAGES, inside.get(_MESSAGES)
    is_input = not _is_there(value) or (shape == "responses" and last == _MESSAGES)
    if is_input and _is_there(beside.get(INPUT)):
        return Request(beside, INPUT, (*steps[:-1], INPUT), inside is None)
    if inside is not None and not _is_there(value):
        raise ValueError(sentence("invalid-record/no-request") + f" - at `{path}`")
    if not _is_there(value):
        return None
    if not isinstance(last, str):
        beside, last = {_MESSAGES: value}, _MESSAGES
    return Request(beside, last, steps, inside is None)


def _at(parent: Any, step: Step) -> Any:
    if isinstance(parent, dict):
        return parent.get(step)
    place = step or 0
    is_inside = isinstance(parent, list) and isinstance(place, int) and -len(parent) <= place < len(parent)
    return parent[place] if is_inside else None


def _is_there(value: Any) -> bool:
    return value is not None and value != _NULL


def _members(value: Any) -> dict[str, Any] | None:
    if isinstance(value, msgspec.Raw):
        return _OBJECT.decode(value) if kind_of(value) == "an object" else None
    return value if isinstance(value, dict) else None


def without(whole: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """The record without its conversation. `whole` is changed, except for its own fields."""
    kept = dict(whole)
    steps = request.steps
    if not request.is_at_path:
        inside = {name: value for name, value in request.fields.items() if name != request.key}
        parent = parent_of(kept, steps[:-1])
        parent[steps[-2] if isinstance(parent, dict) else steps[-2] or 0] = inside
        return kept
    parent = parent_of(kept, steps)
    if isinstance(parent, dict):
        parent.pop(steps[-1])
    else:
        del parent[steps[-1] or 0]
    return kept


def shape_of(request: Request) -> Shape:
    """The shape of a conversation, by what only one shape has. Raises ValueError where none or several shapes fit.

    Messages with nothing but roles and contents are those of a chat, and an input of such items is one of Responses.
    """
    written = bytes(request.raw(request.key) or _NULL)
    place = reduce(joined, request.steps, "")
    if kind_of(written) == "a string":
        if request.key == INPUT:
            if any(_is_there(request.fields.get(name)) for name in _OF_REQUEST):
                return "responses"
            expected = in_turn([f"`{name}`" for name in _OF_REQUEST])
            raise ValueError(f"{sentence('invalid-record/unclear', expected=expected)} - at `{place}`")
        written = json.loads(written).encode()  # some data sets hold JSON as text
    try:
        messages = _MESSAGE_SIGNS.decode(written)
    except msgspec.ValidationError as error:
        raise ValueError(with_place(str(error), place)) from None
    except msgspec.DecodeError:
        raise ValueError(f"expected a list of messages, found a text - at `{place}`") from None
    signs: dict[Shape, str] = {}
    for message in messages:
        for shape, name in _signs(message):
            signs.setdefault(shape, name)
    if len(signs) > 1:
        found = " and ".join(f"{name} of {shape}" for shape, name in signs.items())
        raise ValueError(sentence("invalid-record/mixed", found=found) + f" - at `{place}`")
    if signs:
        return next(iter(signs))
    if not messages or (_is_written(messages) and not any(_is_there(request.fields.get(name)) for name in _OF_CHAT)):
        return "harmony"
    return "responses" if request.key == INPUT else "chat"


def _signs(message: Any) -> Iterator[tuple[Shape, str]]:
    """The shapes that a message can only have, each with what says so."""
    values = msgspec.structs.astuple(message)
    if values[: len(FIELDS)] != _NOTHING:
        for name, value in zip(FIELDS, values, strict=False):
            if says(value):
                yield "chat", f"`{name}`"
    for name, value in zip(_OF_HARMONY, values[len(FIELDS) :], strict=False):
        if value != _ABSENT:
            yield "harmony", f"`{name}`"
    for kind in _part_types(message.content):
        if kind in _HARMONY_PARTS:
            yield "harmony", f"content of type `{kind}`"
    if message.type != _ABSENT and says(message.type):
        yield "responses", "`type`"


def _part_types(content: msgspec.Raw) -> list[str | None]:
    """The types of the parts of a content; none where it is no list of objects."""
    try:
        return [part.type for part in _PARTS.decode(content)] if kind_of(content) == "a list" else []
    except (ValueError, RecursionError):
        return []


def _is_written(messages: list[Any]) -> bool:
    """Whether the messages are written as the JSON form of Harmony is: each has a name of null and a list of texts."""
    return all(message.name == _NULL and set(_part_types(message.content)) == {"text"} for message in messages)


def conversation_of(request: Request, shape: Shape) -> Conversation:
    """The Harmony conversation of a request. Raises ValueError for what is none; ConversionError with its code.

    The path in a ConversionError leads to the place in the record.
    """
    if shape == "harmony":
        return read_conversation(b'{"messages":%b}' % bytes(request.raw(request.key) or _NULL))
    try:
        return _from_chat(request) if shape == "chat" else _from_responses(request)
    except ConversionError as error:
        place = request.place(error.path)
        text = str(error).removesuffix(f"`{error.path}`") + f"`{place}`"
        raise ConversionError(text, code=error.code, path=place) from None


def _from_chat(request: Request) -> Conversation:
    from harmony import chat  # other shapes need no conversion

    functions = _read(request, "functions") or []
    tools = _read(request, "tools") or []
    if isinstance(functions, list) and isinstance(tools, list):  # the old name of tools, without their type
        tools = [*tools, *({"type": "function", "function": function} for function in functions)]
    return chat.to_harmony(
        _read(request, request.key),
        tools=tools,
        response_format=_read(request, "response_format"),
        reasoning_effort=request.value("reasoning_effort"),
    )


def _from_responses(request: Request) -> Conversation:
    from harmony import responses

    for name, types in _ELSEWHERE:
        if request.key == INPUT and isinstance(value := request.value(name), types) and value:
            raise fault("unsupported-field", name, found=f"`{name}`")
    given = request.value(request.key) if request.key == INPUT else _read(request, request.key)
    return responses.to_harmony(
        given,
        instructions=request.value("instructions"),
        tools=_read(request, "tools") or (),
        text=_read(request, "text"),
        reasoning=_read(request, "reasoning"),
    )


def _read(request: Request, name: str) -> Any:
    """A field that is no text. Some data sets, and columns of tables, hold it as the text of its JSON."""
    value = request.value(name)
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
