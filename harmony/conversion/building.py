"""Builds a Harmony conversation from what both APIs have: instructions, tools, texts, calls and their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from harmony.conversion.given import Given, Shape, as_json, fault, holds, listed, unfit
from harmony.conversion.tools import BUILTIN, FUNCTIONS, Tools
from harmony.errors import quote
from harmony.messages.model import (
    Author,
    Content,
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    ResponseFormat,
    SystemContent,
    TextContent,
)
from harmony.messages.roles import KNOWN_CHANNELS, Role

ANALYSIS, COMMENTARY, FINAL = KNOWN_CHANNELS

#: The effort in Harmony for each effort of the APIs.
EFFORTS: Final = {
    "minimal": ReasoningEffort.LOW,
    "low": ReasoningEffort.LOW,
    "medium": ReasoningEffort.MEDIUM,
    "high": ReasoningEffort.HIGH,
    "xhigh": ReasoningEffort.HIGH,
    "max": ReasoningEffort.HIGH,
}

#: The fields that only messages of Harmony have, which `Conversation.from_dict` reads.
OF_HARMONY: Final = ("channel", "recipient", "content_type")

#: The content type of calls of built-in tools, as the models write them.
_CODE: Final = "code"


class Builder:
    """A conversation that grows message by message.

    The texts of the system and of the developer before all other messages become one developer message, which also
    declares the tools and the response format.
    """

    def __init__(self, tools: Tools, builtin_tools: Iterable[str], call_type: str | None) -> None:
        self._messages: list[Message] = []
        self._instructions: list[str] = []
        self._tools = tools
        self._recipients = set(tools.recipients)
        self._builtin = frozenset(builtin_tools)
        self._call_type = call_type
        self._calls: dict[str, Message] = {}

    def conversation(
        self, system: SystemContent | None, effort: ReasoningEffort | None, response_format: ResponseFormat | None
    ) -> Conversation:
        """The whole conversation, with the system and the developer message at its beginning."""
        content = SystemContent.new() if system is None else deepcopy(system)
        if effort is not None:
            content.reasoning_effort = effort
        for name in self._tools.builtin:
            content = content.with_browser_tool() if name == "browser" else content.with_python_tool()
        first = [Message(author=Author(Role.SYSTEM), content=[content])]
        developer = self._developer(response_format)
        if developer is not None:
            first.append(Message(author=Author(Role.DEVELOPER), content=[developer]))
        return Conversation(messages=[*first, *self._messages])

    def _developer(self, response_format: ResponseFormat | None) -> DeveloperContent | None:
        if not (self._instructions or self._tools.namespaces or response_format):
            return None
        content = DeveloperContent(instructions="\n\n".join(self._instructions) or None)
        for space in self._tools.namespaces.values():
            content = content.with_tools(space)
        if response_format is not None:
            content.response_formats = [response_format]
        return content

    def instruct(self, texts: list[TextContent]) -> None:
        """Adds a text of the system or of the developer."""
        text = "".join(part.text for part in texts)
        if not self._messages:
            self._instructions += [text] if text else []
        elif text:
            self._say(Author(Role.DEVELOPER), [DeveloperContent(instructions=text)])

    def declare(self, tools: Tools) -> None:
        """Adds a developer message that declares more tools. The system message declares those that are built in."""
        self._tools.builtin.extend(tools.builtin)
        if not tools.namespaces:
            return
        content = DeveloperContent()
        for space in tools.namespaces.values():
            content = content.with_tools(space)
        self._recipients |= tools.recipients
        self._say(Author(Role.DEVELOPER), [content])

    def ask(self, name: str | None, texts: list[TextContent]) -> None:
        """Adds a user's message."""
        self._say(Author(Role.USER, name or None), texts or [TextContent("")])

    def think(self, texts: list[TextContent]) -> None:
        """Adds reasoning of the assistant."""
        self.answer(None, texts, ANALYSIS)

    def answer(self, name: str | None, texts: list[TextContent], channel: str) -> None:
        """Adds a text of the assistant."""
        self._say(Author(Role.ASSISTANT, name or None), texts, channel)

    def _say(
        self,
        author: Author,
        content: Iterable[Content],
        channel: str | None = None,
        recipient: str | None = None,
        content_type: str | None = None,
    ) -> Message:
        parts: list[Any] = list(content)
        message = Message(author, parts, channel, recipient, content_type)
        self._messages.append(message)
        return message

    def call(self, recipient: str, arguments: str, call_id: str | None) -> None:
        """Adds a call. Built-in tools have the channel and the content type that the models write."""
        builtin = self._is_builtin(recipient)
        channel, kind = (ANALYSIS, _CODE) if builtin else (COMMENTARY, self._call_type)
        message = self._say(Author(Role.ASSISTANT), [TextContent(arguments)], channel, recipient, kind)
        if call_id:
            self._calls[call_id] = message

    def result(self, call: Message | None, recipient: str, texts: list[TextContent]) -> None:
        """Adds the result of a call. `recipient` is the called tool, where the call is not known."""
        if call is not None:
            recipient = call.recipient or recipient
        channel = ANALYSIS if self._is_builtin(recipient) else COMMENTARY
        author = Author(Role.TOOL, recipient)
        self._say(author, texts or [TextContent("")], channel, Role.ASSISTANT.value)

    def call_of(self, call_id: str | None) -> Message | None:
        """The nearest earlier call of an id."""
        return self._calls.get(call_id) if call_id else None

    def recipient(self, name: str) -> str:
        """The recipient for the name of a tool.

        A name stands for a function. Only a name that no function has may be that of a built-in tool, or begin with the
        name of a declared namespace.
        """
        function = f"{FUNCTIONS}.{name}"
        if function in self._recipients:
            return function
        can_run = self._is_builtin(name) and name.partition(".")[0] in self._builtin
        return name if can_run or name in self._recipients else function

    def _is_builtin(self, recipient: str) -> bool:
        is_name = recipient == "python" or recipient.startswith("browser.")
        return is_name and recipient not in self._recipients


def read_effort(given: object, path: str) -> ReasoningEffort | None:
    """The effort in Harmony for one of the APIs. Raises ConversionError for an effort that the models do not have."""
    if given is None or isinstance(given, ReasoningEffort):
        return given
    if not isinstance(given, str) or given not in EFFORTS:
        found = quote(given) if isinstance(given, str) else f"`{type(given).__name__}`"
        raise fault("unknown-effort", path, expected=" ".join(EFFORTS), found=found)
    return EFFORTS[given]


def read_arguments(owner: Given, name: str) -> str:
    """The arguments of a call: a string as it is, an object as JSON, and `{}` for none."""
    value = owner.fields.get(name)
    if isinstance(value, str):
        return str.__str__(value) or "{}"
    if isinstance(value, Mapping):
        return as_json(dict(value), owner.place(name))
    if not holds(value):
        return "{}"
    raise unfit(owner.place(name), "a string or an object", value)


def objects(items: Iterable[Shape], path: str) -> Iterator[Given]:
    """The messages or items of a conversation, each with its path."""
    for value, place in listed(items, path):
        yield Given(value, place)


def all_builtin(can_run: frozenset[str], system: SystemContent | None) -> frozenset[str]:
    """The built-in tools that a conversation may call: those that the caller can run or has declared."""
    if system is None:
        return can_run
    if not isinstance(system, SystemContent):
        raise TypeError(f"Expected `SystemContent`, got `{type(system).__name__}` - at `system`")
    return can_run | ((system.tools or {}).keys() & BUILTIN.keys())
