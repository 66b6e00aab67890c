"""A conversation as the rules of `lint` see it: the checked fields of its messages, and what they declare.

A conversation can hold anything, because attributes can be set to anything. Here every value is checked once, so the
rules do not have to: a field of a wrong type counts as absent, and a message without a known role is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeGuard, TypeVar

from harmony.errors import Fault
from harmony.messages.model import (
    Author,
    ChannelConfig,
    DeveloperContent,
    Message,
    SystemContent,
    TextContent,
)
from harmony.messages.record import Record
from harmony.messages.roles import ROLES, Role

_Type = TypeVar("_Type")

# A system or developer message that was parsed is one text. These find the declarations in it. A function begins at the
# beginning of a line, and a description behind `// `, so a description cannot declare a function. In the style
# "hf", this holds for the first line of a description alone. Other types that are declared there have no `_: `
# behind their parenthesis.
_CHANNELS_IN_TEXT: Final = re.compile(
    r"^# Valid channels: (.+?)\.( Channel must be included for every message\.)?$", re.MULTILINE
)
_TOOLS_IN_TEXT: Final = re.compile(r"^# Tools$", re.MULTILINE)
_FORMATS_IN_TEXT: Final = re.compile(r"^# Response Formats$", re.MULTILINE)
_TOOL_IN_TEXT: Final = re.compile(r"^(?:## (\S+)$|type (\S+) = \((?:_: |\) => any;))", re.MULTILINE)


class MessageFacts(NamedTuple):
    """The fields of a message for the rules. A field that is absent or of a wrong type is None.

    `position` is the index in the conversation. `turn` is the number of user messages up to and including this one.
    `call` is the tool that the message calls: the recipient, if the author is the assistant and the recipient is
    neither a role nor `all`.
    """

    position: int
    role: str
    name: str | None
    channel: str | None
    recipient: str | None
    content_type: str | None
    turn: int
    call: str | None
    message: Message


class Tool(NamedTuple):
    """A tool: the index of the message that declares it, and its JSON schema (None if it is unknown)."""

    position: int
    parameters: dict[str, Any] | None


class View:
    """A conversation, prepared for the rules.

    `channels` are the names that the system message allows; it is empty if the message does not say. `tools` has the
    declared tools by full name, such as `functions.search` or `python`. `answers` maps each turn to the index of its
    last message on `final`.
    """

    def __init__(self) -> None:
        self.messages: list[MessageFacts] = []
        self.channels: dict[str, None] = {}
        self.channel_required = False
        self.tools: dict[str, Tool] = {}
        self.answers: dict[int, int] = {}
        self.turns = 0
        #: What the rules about schemas found, once one of them has run.
        self.schema_faults: list[tuple[int, Fault]] | None = None


def view_of(messages: list[Message]) -> View:
    view = View()
    for position, message in enumerate(list.copy(messages)):
        author = getattr(message, "author", None) if is_a(message, Message) else None
        role = _string(getattr(author, "role", None)) if is_a(author, Author) else None
        if role is None or role not in ROLES:
            continue
        view.turns += role == Role.USER
        channel = _string(getattr(message, "channel", None))
        recipient = _string(getattr(message, "recipient", None))
        facts = MessageFacts(
            position,
            role,
            _string(getattr(author, "name", None)),
            channel,
            recipient,
            _string(getattr(message, "content_type", None)),
            view.turns,
            recipient if role == Role.ASSISTANT and _is_tool(recipient) else None,
            message,
        )
        view.messages.append(facts)
        if role == Role.ASSISTANT and channel == "final":
            view.answers[view.turns] = position
        elif role in (Role.SYSTEM, Role.DEVELOPER):
            _add_declared(view, facts)
    return view


def _is_tool(recipient: str | None) -> bool:
    # A role can be followed by a name, as in `user:alice`.
    return recipient is not None and recipient != "all" and recipient.partition(":")[0] not in ROLES


def _add_declared(view: View, facts: MessageFacts) -> None:
    """Adds the channels and tools that a system or developer message declares, as objects or as text."""
    kind = SystemContent if facts.role == Role.SYSTEM else DeveloperContent
    for part in _items(getattr(facts.message, "content", None)):
        if is_a(part, TextContent):
            text = _string(getattr(part, "text", None)) or ""
            if facts.role == Role.SYSTEM and (match := _CHANNELS_IN_TEXT.search(text)):
                _add_channels(view, match[1].split(", "), match[2] is not None)
            view.tools |= dict.fromkeys(_tools_in_text(text), Tool(facts.position, None))
        elif is_a(part, kind):
            config = getattr(part, "channel_config", None)
            if is_a(config, ChannelConfig):
                names = map(_string, _items(getattr(config, "valid_channels", None)))
                required = getattr(config, "channel_required", None) is True
                _add_channels(view, [name for name in names if name is not None], required)
            for name, parameters in _declared(getattr(part, "tools", None)):
                view.tools[name] = Tool(facts.position, parameters)


def _add_channels(view: View, names: list[str], required: bool) -> None:
    if names and not view.channels:  # an empty list is not rendered, so it declares nothing; the first list counts
        view.channels = dict.fromkeys(names)
        view.channel_required = required


def _declared(tools: object) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The full names of tools with their schemas. A namespace without functions is itself a tool, such as `python`."""
    for namespace in list(dict.values(tools)) if is_a(tools, dict) else []:
        space = _string(_attribute(namespace, "name"))
        functions = _items(_attribute(namespace, "tools"))
        if space is None:
            continue
        if not functions:
            yield space, None
        for function in functions:
            name = _string(_attribute(function, "name"))
            parameters = _attribute(function, "parameters")
            if name is not None:
                yield f"{space}.{name}", parameters if is_a(parameters, dict) else None


def _tools_in_text(text: str) -> Iterator[str]:
    heading = _TOOLS_IN_TEXT.search(text)
    if heading is None:
        return
    end = _FORMATS_IN_TEXT.search(text, heading.end())  # behind it, `## name` is no namespace
    space = None
    is_empty = False
    for match in _TOOL_IN_TEXT.finditer(text, heading.end(), end.start() if end else len(text)):
        if match[1]:
            if space and is_empty:
                yield space
            space, is_empty = match[1], True
        elif space:
            is_empty = False
            yield f"{space}.{match[2]}"
    if space and is_empty:
        yield space


def text_of(facts: MessageFacts) -> str | None:
    """The text of a message, or None if its content is not a list of texts."""
    parts = getattr(facts.message, "content", None)
    texts = [_string(getattr(part, "text", None)) if is_a(part, TextContent) else None for part in _items(parts)]
    found = [text for text in texts if text is not None]
    return "".join(found) if is_a(parts, list) and len(found) == len(texts) else None


# These functions trust nothing: an object can lie to `isinstance` by its `__class__`, and attributes can be deleted.


def is_a(value: object, kind: type[_Type]) -> TypeGuard[_Type]:
    return issubclass(type(value), kind)


def _string(value: object) -> str | None:
    return str.__str__(value) if is_a(value, str) else None


def _items(value: object) -> list[Any]:
    if is_a(value, list):
        return list.copy(value)
    return list(value) if type(value) is tuple else []


def _attribute(owner: object, name: str) -> object:
    # A dict can stand in place of a record. Rendering treats it like the record.
    if is_a(owner, dict):
        return dict.get(owner, name)
    return getattr(owner, name, None) if is_a(owner, Record) else None
