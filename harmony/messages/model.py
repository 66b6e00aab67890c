"""Messages as Python objects, and their forms as data. This module knows no tokens, no parsing and no rendering.

Names, signatures, defaults and the flat form are the same as in openai-harmony 0.0.8. A message has two forms as data:

- `to_dict`, `to_json`, `to_msgpack` and their counterparts use the flat form. Role and name stand beside the content,
  the content is a list of parts with a `type`, and fields that are None are left out.
- `model_dump`, `msgspec.json.encode(message)` and fields of pydantic's models use the nested form. The author is a
  separate object, and every field is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from types import NoneType
from typing import Any, Self, TypeAlias, TypeVar

import msgspec

from harmony.messages.builtin_tools import BROWSER, PYTHON
from harmony.messages.record import (
    ArgumentError,
    Record,
    check_finite,
    check_repeats,
    checked,
    converted,
    guarded,
    is_small,
    unchecked,
    written,
)
from harmony.messages.roles import KNOWN_CHANNELS, Role
from harmony.messages.roles import ReasoningEffort as ReasoningEffort
from harmony.messages.words import of_flat_messages

# Authors, tools and content.


class Author(Record, gc=False):
    """Who speaks: a role and a name. A tool needs a name; the other roles may have one."""

    role: Role
    name: str | None = None

    @classmethod
    def new(cls, role: Role, name: str) -> Self:
        """An author with a name."""
        return cls(role=role, name=name)


class ToolDescription(Record, omit_defaults=True):
    """One function that the model may call. `parameters` is a JSON schema, rendered in the order of its keys."""

    name: str
    description: str
    parameters: dict[str, Any] | None = None

    @classmethod
    def new(cls, name: str, description: str, parameters: dict[str, Any] | None = None) -> Self:
        """A function with this name, a description for the model, and the JSON schema of its parameters."""
        return cls(name=name, description=description, parameters=parameters)


class ToolNamespaceConfig(Record, omit_defaults=True, kw_only=True):
    """A group of functions under one name. The recipient `functions.search` names `search` in the group `functions`."""

    name: str
    description: str | None = None
    tools: list[ToolDescription]

    @classmethod
    def browser(cls) -> Self:
        """The built-in group `browser`, for searching and reading the web."""
        return cls.model_validate(deepcopy(BROWSER))

    @classmethod
    def python(cls) -> Self:
        """The built-in tool `python`, for running Python code."""
        return cls.model_validate(deepcopy(PYTHON))


class ChannelConfig(Record):
    """Which channels the assistant may use, and whether each message must name one."""

    valid_channels: list[str]
    channel_required: bool

    @classmethod
    def require_channels(cls, channels: list[str]) -> Self:
        """A config with these channels, where each message must name one of them."""
        return cls(valid_channels=channels, channel_required=True)


def _with_namespace(
    tools: dict[str, ToolNamespaceConfig] | None, namespace: ToolNamespaceConfig
) -> dict[str, ToolNamespaceConfig]:
    if not isinstance(namespace, ToolNamespaceConfig):
        raise ArgumentError(f"Expected `ToolNamespaceConfig`, got `{type(namespace).__name__}`")
    return {**(tools or {}), namespace.name: namespace}


class Content(Record):
    """One part of a message's content: TextContent, SystemContent or DeveloperContent."""

    def to_dict(self) -> dict[str, Any]:
        """The part as a new dict, with its `type`. Fields that are None are left out."""
        if self.__struct_config__.tag is None:
            raise NotImplementedError(f"`{type(self).__name__}` has no written form")
        return self.model_dump(exclude_none=True)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Reads a part from a dict. `type` may be missing, unknown keys are ignored. Raises as `model_validate`."""
        return cls.model_validate(raw)

    def _data(self) -> list[Any] | None:
        tools = getattr(self, "tools", None)
        data: list[Any] = []
        for space in tools.values() if type(tools) is dict else [tools]:
            if type(space) is not ToolNamespaceConfig or type(space.tools) is not list:
                return None
            for tool in space.tools:
                if type(tool) is not ToolDescription:
                    return None
                data.append(tool.parameters)
        return data


class TextContent(Content, tag="text", gc=False):
    """A part that is text. Most messages have one such part, and no other."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """The part as a new dict: `{"type": "text", "text": …}`."""
        return {"type": "text", "text": self.text}


class SystemContent(Content, tag="system_content"):
    """The content of the system message: identity, dates, reasoning effort, channels, and built-in tools.

    A field that is None is left out of the rendered message. The flat form leaves it out too, as openai-harmony 0.0.8
    does, and reading the flat form fills in the default. So a `model_identity` of None is lost in the flat form.
    """

    model_identity: str | None = "You are ChatGPT, a large language model trained by OpenAI."
    reasoning_effort: ReasoningEffort | None = ReasoningEffort.MEDIUM
    conversation_start_date: str | None = None
    knowledge_cutoff: str | None = "2024-06"
    channel_config: ChannelConfig | None = msgspec.field(
        default_factory=lambda: ChannelConfig.require_channels(list(KNOWN_CHANNELS))
    )
    tools: dict[str, ToolNamespaceConfig] | None = None

    @classmethod
    def new(cls) -> Self:
        """System content with the defaults."""
        return cls()

    def with_model_identity(self, model_identity: str) -> Self:
        """Sets the first line, which says who the model is, and returns this content."""
        return self._with("model_identity", model_identity)

    def with_reasoning_effort(self, reasoning_effort: ReasoningEffort) -> Self:
        """Sets the effort, and returns this content."""
        return self._with("reasoning_effort", reasoning_effort)

    def with_conversation_start_date(self, conversation_start_date: str) -> Self:
        """Sets the text of the current date, such as `2025-06-28`, and returns this content."""
        return self._with("conversation_start_date", conversation_start_date)

    def with_knowledge_cutoff(self, knowledge_cutoff: str) -> Self:
        """Sets the text of the knowledge cutoff, such as `2024-06`, and returns this content."""
        return self._with("knowledge_cutoff", knowledge_cutoff)

    def with_channel_config(self, channel_config: ChannelConfig) -> Self:
        """Sets the channels, and returns this content."""
        return self._with("channel_config", channel_config)

    def with_required_channels(self, channels: list[str]) -> Self:
        """Sets the channels, one of which each message must name, and returns this content."""
        return self._with("channel_config", ChannelConfig.require_channels(channels))

    def with_tools(self, ns_config: ToolNamespaceConfig) -> Self:
        """Adds a namespace, or replaces the one of its name, and returns this content."""
        return self._with("tools", _with_namespace(self.tools, ns_config))

    def with_browser_tool(self) -> Self:
        """Adds the tool `browser`, and returns this content."""
        return self.with_tools(ToolNamespaceConfig.browser())

    def with_python_tool(self) -> Self:
        """Adds the tool `python`, and returns this content."""
        return self.with_tools(ToolNamespaceConfig.python())


class DeveloperContent(Content, tag="developer_content", omit_defaults=True):
    """The content of the developer message: instructions, and the functions that the model may call."""

    instructions: str | None = None
    tools: dict[str, ToolNamespaceConfig] | None = None

    @classmethod
    def new(cls) -> Self:
        """Developer content without instructions and tools."""
        return cls()

    def with_instructions(self, instructions: str) -> Self:
        """Sets the instructions, and returns this content."""
        return self._with("instructions", instructions)

    def with_tools(self, ns_config: ToolNamespaceConfig) -> Self:
        """Adds a namespace, or replaces the one of its name, and returns this content."""
        return self._with("tools", _with_namespace(self.tools, ns_config))

    def with_function_tools(self, tools: Sequence[ToolDescription]) -> Self:
        """Sets the functions of the namespace `functions`, replaces earlier ones, and returns this content."""
        return self.with_tools(ToolNamespaceConfig(name="functions", tools=list(tools)))


_Part: TypeAlias = TextContent | SystemContent | DeveloperContent
_AnyMessage = TypeVar("_AnyMessage", bound="Message")


# Messages, and their flat form.


class _FlatSystemContent(SystemContent, tag="system_content", omit_defaults=True):
    """System content for the flat form. Every default is None, so msgspec leaves out every None."""

    model_identity: str | None = None
    reasoning_effort: ReasoningEffort | None = None
    conversation_start_date: str | None = None
    knowledge_cutoff: str | None = None
    channel_config: ChannelConfig | None = None
    tools: dict[str, ToolNamespaceConfig] | None = None


class _FlatMessage(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A message as msgspec reads and writes it flat."""

    role: Role
    name: str | None = msgspec.field(default_factory=NoneType)  # a factory's default is written, a plain None is not
    content: str | list[_Part]
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None


def flat_messages(messages: Iterable[Message], *, finite: bool = False) -> list[_FlatMessage]:
    """The messages in the flat form, as objects that msgspec writes.

    `finite=True` is for JSON: it raises ValueError for NaN or infinity in the parameters of a tool.
    """
    flat = []
    for message in messages:
        content = message.content
        if len(content) != 1 or type(content[0]) is not TextContent:  # rare
            content = _flat_content(content, finite)
        flat.append(
            _FlatMessage(
                role=message.author.role,
                name=message.author.name,
                content=content,
                channel=message.channel,
                recipient=message.recipient,
                content_type=message.content_type,
            )
        )
    return flat


def _flat_content(content: list[_Part], finite: bool) -> Any:
    flat: list[_Part] = []
    large = False
    for part in content:
        if not isinstance(part, TextContent) and part.tools and not is_small(part):
            check_repeats(part)
            large = True
        system = isinstance(part, SystemContent)
        flat.append(unchecked(_FlatSystemContent, *msgspec.structs.astuple(part)) if system else part)
    if not finite or not large:
        return flat
    as_json = written(msgspec.json.encode, flat)
    check_finite(flat, as_json)
    return msgspec.Raw(as_json)  # it is written already


def _read(messages: Iterable[_FlatMessage], message_class: type[_AnyMessage]) -> list[_AnyMessage]:
    """Makes messages from the flat form, which msgspec has checked."""
    return [
        unchecked(
            message_class,
            unchecked(Author, flat.role, flat.name),
            [unchecked(TextContent, flat.content)] if isinstance(flat.content, str) else flat.content,
            flat.channel,
            flat.recipient,
            flat.content_type,
        )
        for flat in messages
    ]


class _FlatConversation(msgspec.Struct):
    """A conversation as msgspec reads and writes it flat."""

    messages: list[_FlatMessage]


class _Exchanged(Record):
    """The base of Message and Conversation: the flat form as dict, JSON and msgpack."""

    @classmethod
    def _written_type(cls) -> type[msgspec.Struct]:
        raise NotImplementedError

    def _to_flat(self, *, finite: bool) -> msgspec.Struct:
        raise NotImplementedError

    @classmethod
    def _from_flat(cls, flat: Any) -> Self:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The flat form as a new dict."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Reads the flat form from a dict. Content may be a string, and unknown keys are ignored.

        Raises TypeError where `data` is no dict, and ValueError with the path to any other fault.
        """
        return cls._from_flat(converted(data, cls._written_type()))

    def to_json(self) -> str:
        """The flat form as JSON. Raises ValueError for NaN, infinity and single surrogates, which JSON cannot hold."""
        encoded: bytes = guarded(written, msgspec.json.encode, guarded(self._to_flat, finite=True))
        return encoded.decode()

    @classmethod
    def from_json(cls, payload: str | bytes) -> Self:
        """Reads the flat form from JSON, as `from_dict` does. Raises ValueError for bad JSON and for bad fields."""
        return cls._from_flat(guarded(msgspec.json.decode, payload, type=cls._written_type()))

    def to_msgpack(self) -> bytes:
        """The flat form as msgpack. Raises ValueError for integers beyond 64 bits and for single surrogates."""
        encoded: bytes = guarded(written, msgspec.msgpack.encode, guarded(self._to_flat, finite=False))
        return encoded

    @classmethod
    def from_msgpack(cls, payload: bytes) -> Self:
        """Reads the flat form from msgpack, as `from_dict` does. Raises ValueError for bad data and for bad fields."""
        return cls._from_flat(guarded(msgspec.msgpack.decode, payload, type=cls._written_type()))


def _part(content: str | Content) -> Any:
    if content is None:  # what a response of the chat API has beside tool calls
        raise ArgumentError("Expected `str` or `Content`, got `None` - at `Message.content[0]`")
    return TextContent(content) if isinstance(content, str) else content


def _is_nested(message: object) -> bool:
    return isinstance(message, Message) or (isinstance(message, Mapping) and "author" in message)


class Message(_Exchanged, gc=False):  # a log has millions of messages, and a message never contains itself
    """One message: an author, a list of content parts, and the other fields of its header, each None if missing."""

    author: Author
    content: list[_Part] = msgspec.field(default_factory=list)
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None

    @classmethod
    def from_author_and_content(cls, author: Author, content: str | Content) -> Self:
        """A message with one part. A string becomes a TextContent. Raises TypeError for a value of a wrong type."""
        return cls(author=author, content=[_part(content)])

    @classmethod
    def from_role_and_content(cls, role: Role, content: str | Content) -> Self:
        """A message with one part, by an author without a name. A string becomes a TextContent.

            >>> Message.from_role_and_content(Role.USER, "Hi").to_dict()["content"]
            [{'type': 'text', 'text': 'Hi'}]

        Raises TypeError for a value of a wrong type, ValueError for an unknown role.
        """
        return cls.from_author_and_content(Author(role=role), content)

    @classmethod
    def from_role_and_contents(cls, role: Role, contents: Sequence[Content]) -> Self:
        """A message with several parts, by an author without a name. Raises as `from_role_and_content`."""
        parts: list[Any] = list(contents)
        return cls(author=Author(role=role), content=parts)

    @property
    def text(self) -> str:
        """The texts of all its TextContents, joined without a separator, as rendering joins them.

        SystemContent and DeveloperContent add nothing: they become text when they are rendered.
        """
        return "".join([part.text for part in self.content if isinstance(part, TextContent)])

    def adding_content(self, content: str | Content) -> Self:
        """Adds a part, and returns this message. A string becomes a TextContent."""
        self.content += checked(Message, "content", [_part(content)])
        return self

    def with_channel(self, channel: str) -> Self:
        """Sets the channel, and returns this message."""
        return self._with("channel", channel)

    def with_recipient(self, recipient: str) -> Self:
        """Sets the recipient, and returns this message."""
        return self._with("recipient", recipient)

    def with_content_type(self, content_type: str) -> Self:
        """Sets the content type, and returns this message."""
        return self._with("content_type", content_type)

    def to_dict(self) -> dict[str, Any]:
        """The flat form as a new dict: role, name and content always, other fields where they are not None."""
        rest = {"channel": self.channel, "recipient": self.recipient, "content_type": self.content_type}
        return {
            "role": self.author.role,
            "name": self.author.name,
            "content": [part.to_dict() for part in self.content],
            **{name: value for name, value in rest.items() if value is not None},
        }

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        return super().model_validate(obj) if _is_nested(obj) else cls.from_dict(obj)

    @classmethod
    def _written_type(cls) -> type[msgspec.Struct]:
        return _FlatMessage

    def _to_flat(self, *, finite: bool) -> _FlatMessage:
        return flat_messages((self,), finite=finite)[0]

    @classmethod
    def _from_flat(cls, flat: Any) -> Self:
        return _read((flat,), cls)[0]


class Conversation(_Exchanged):
    """Messages in order. Iterating over a conversation gives its messages."""

    messages: list[Message] = msgspec.field(default_factory=list)

    @classmethod
    def _told(cls, name: str, value: object, text: str) -> str:
        return of_flat_messages(value) or super()._told(name, value, text)

    @classmethod
    def from_messages(cls, messages: Sequence[Message]) -> Self:
        """A conversation of these messages, in a new list. Raises TypeError for an item that is no Message.

        >>> len(Conversation.from_messages([Message.from_role_and_content(Role.USER, "Hi")]).messages)
        1
        """
        return cls(messages=list(messages))

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def to_dict(self) -> dict[str, Any]:
        """The flat form as a new dict."""
        return {"messages": [message.to_dict() for message in self.messages]}

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        messages = obj.get("messages") if isinstance(obj, Mapping) else None
        if isinstance(messages, list | tuple) and any(map(_is_nested, messages)):
            read = [
                Message.model_validate(message) if isinstance(message, Mapping) else message for message in messages
            ]
            return super().model_validate({"messages": read})
        return obj if isinstance(obj, cls) else cls.from_dict(obj)

    @classmethod
    def _written_type(cls) -> type[msgspec.Struct]:
        return _FlatConversation

    def _to_flat(self, *, finite: bool) -> _FlatConversation:
        return _FlatConversation(flat_messages(self.messages, finite=finite))

    @classmethod
    def _from_flat(cls, flat: Any) -> Self:
        conversation: Self = unchecked(cls, _read(flat.messages, Message))
        return conversation
