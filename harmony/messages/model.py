"""Messages as Python objects: who speaks, to whom, on which channel, and what; and how that is written as data.

Decides the fields with their defaults, and the flat form of messages in dicts, JSON and msgpack: role and name
beside the content, content as a list of parts tagged by `type`. Names, signatures, defaults and flat form are
those of openai-harmony 0.0.8. Knows no tokens, no parsing and no rendering.

There are two forms. The flat one, of `to_dict`, `to_json`, `to_msgpack` and their counterparts, leaves out what
is None. The nested one, of `model_dump` and `msgspec.json.encode(message)`, has the author as an object of its
own and loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import msgspec

from harmony.messages.builtin_tools import BROWSER, PYTHON
from harmony.messages.record import (
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

if TYPE_CHECKING:
    from pydantic_core.core_schema import SerializationInfo


class ReasoningEffort(str, Enum):
    """How long the model is to think before it answers."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"


# Authors, tools and content.


class Author(Record, gc=False):
    """Who speaks: a role and, above all for a tool, a name."""

    role: Role
    name: str | None = None

    @classmethod
    def new(cls, role: Role, name: str) -> Self:
        """An author with a name."""
        return cls(role=role, name=name)


class ToolDescription(Record, omit_defaults=True):
    """One function that the model may call; `parameters` is a JSON schema, its key order kept."""

    name: str
    description: str
    parameters: dict[str, Any] | None = None

    @classmethod
    def new(cls, name: str, description: str, parameters: dict[str, Any] | None = None) -> Self:
        """A function by name, what it does, and the JSON schema of its parameters."""
        return cls(name=name, description=description, parameters=parameters)


class ToolNamespaceConfig(Record, omit_defaults=True, kw_only=True):
    """Functions under one name, as in `functions.search`, which is also how a recipient names them."""

    name: str
    description: str | None = None
    tools: list[ToolDescription]

    @classmethod
    def browser(cls) -> Self:
        """The format's own tool for searching and reading the web."""
        return cls.model_validate(deepcopy(BROWSER))

    @classmethod
    def python(cls) -> Self:
        """The format's own tool for running Python."""
        return cls.model_validate(deepcopy(PYTHON))


class ChannelConfig(Record):
    """Which channels an answer may use, and whether it must name one."""

    valid_channels: list[str]
    channel_required: bool

    @classmethod
    def require_channels(cls, channels: list[str]) -> Self:
        """These channels, one of them required for every message."""
        return cls(valid_channels=channels, channel_required=True)


def _with_namespace(
    tools: dict[str, ToolNamespaceConfig] | None, namespace: ToolNamespaceConfig
) -> dict[str, ToolNamespaceConfig]:
    if not isinstance(namespace, ToolNamespaceConfig):
        raise TypeError(f"Expected `ToolNamespaceConfig`, got `{type(namespace).__name__}`")
    return {**(tools or {}), namespace.name: namespace}


class Content(Record):
    """One part of a message's content; its `type` in data is the tag of its class."""

    def to_dict(self) -> dict[str, Any]:
        """The part as data, with its `type` and without what is None."""
        if self.__struct_config__.tag is None:
            raise NotImplementedError(f"`{type(self).__name__}` has no written form")
        return self.model_dump(exclude_none=True)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """A part from its data, `type` optional and unknown keys ignored. Raises what `model_validate` raises."""
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
    """Text, which is all that most messages have."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """The part as data: `{"type": "text", "text": …}`."""
        return {"type": "text", "text": self.text}


class SystemContent(Content, tag="system_content"):
    """What the system message says: identity, dates, effort, channels, and the format's own tools.

    None leaves a block out of the rendered message. The flat form leaves the field out too, as in openai-harmony,
    and what is not there reads as the default: None survives there only where it is the default.
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
        """The defaults."""
        return cls()

    def with_model_identity(self, model_identity: str) -> Self:
        """Sets who the model is, and returns this content."""
        return self._with("model_identity", model_identity)

    def with_reasoning_effort(self, reasoning_effort: ReasoningEffort) -> Self:
        """Sets the effort, and returns this content."""
        return self._with("reasoning_effort", reasoning_effort)

    def with_conversation_start_date(self, conversation_start_date: str) -> Self:
        """Sets the current date, written as it is, and returns this content."""
        return self._with("conversation_start_date", conversation_start_date)

    def with_knowledge_cutoff(self, knowledge_cutoff: str) -> Self:
        """Sets the date up to which the model knows, and returns this content."""
        return self._with("knowledge_cutoff", knowledge_cutoff)

    def with_channel_config(self, channel_config: ChannelConfig) -> Self:
        """Sets the channels, and returns this content."""
        return self._with("channel_config", channel_config)

    def with_required_channels(self, channels: list[str]) -> Self:
        """Sets the channels and requires one of them, and returns this content."""
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
    """What the developer message says: instructions, and the functions that the model may call."""

    instructions: str | None = None
    tools: dict[str, ToolNamespaceConfig] | None = None

    @classmethod
    def new(cls) -> Self:
        """No instructions and no tools."""
        return cls()

    def with_instructions(self, instructions: str) -> Self:
        """Sets the instructions, and returns this content."""
        return self._with("instructions", instructions)

    def with_tools(self, ns_config: ToolNamespaceConfig) -> Self:
        """Adds a namespace, or replaces the one of its name, and returns this content."""
        return self._with("tools", _with_namespace(self.tools, ns_config))

    def with_function_tools(self, tools: Sequence[ToolDescription]) -> Self:
        """Makes these functions the namespace `functions`, in place of an earlier one, and returns this content."""
        return self.with_tools(ToolNamespaceConfig(name="functions", tools=list(tools)))


_Part: TypeAlias = TextContent | SystemContent | DeveloperContent
_AnyMessage = TypeVar("_AnyMessage", bound="Message")


# Messages, and their flat form.


class _FlatSystemContent(SystemContent, tag="system_content", omit_defaults=True):
    """System content as it is written flat: with None as every default, every None is left out."""

    model_identity: str | None = None
    reasoning_effort: ReasoningEffort | None = None
    conversation_start_date: str | None = None
    knowledge_cutoff: str | None = None
    channel_config: ChannelConfig | None = None
    tools: dict[str, ToolNamespaceConfig] | None = None


class _FlatMessage(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A message as msgspec reads and writes it flat."""

    role: Role
    name: str | None = msgspec.field(default_factory=NoneType)  # what a factory makes is written, even None
    content: str | list[_Part]
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None


def flat_messages(messages: Iterable[Message], *, finite: bool = False) -> list[_FlatMessage]:
    """Messages in the flat form, as objects that msgspec writes.

    Where `finite`, for JSON alone, raises ValueError for NaN or infinity in the parameters of a tool.
    """
    flat = []
    for message in messages:
        content = message.content
        if len(content) != 1 or type(content[0]) is not TextContent:  # few messages are more than one text
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
    return msgspec.Raw(as_json)  # so that it is not written twice


def _read(messages: Iterable[_FlatMessage], kind: type[_AnyMessage]) -> list[_AnyMessage]:
    """Messages from the flat form, which msgspec has checked."""
    return [
        unchecked(
            kind,
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
    """What a message and a conversation share: the flat form as dict, JSON and msgpack."""

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
        """Reads the flat form; content may be a plain string, unknown keys are ignored.

        Raises TypeError where `data` is no dict, else ValueError with the path to the fault.
        """
        return cls._from_flat(converted(data, cls._written_type()))

    def to_json(self) -> str:
        """The flat form as JSON. Raises ValueError for what JSON cannot hold: NaN, infinity, lone surrogates."""
        encoded: bytes = guarded(written, msgspec.json.encode, guarded(self._to_flat, finite=True))
        return encoded.decode()

    @classmethod
    def from_json(cls, payload: str | bytes) -> Self:
        """Reads the flat form from JSON (see `from_dict`). Raises ValueError, for sound JSON with the path."""
        return cls._from_flat(guarded(msgspec.json.decode, payload, type=cls._written_type()))

    def to_msgpack(self) -> bytes:
        """The flat form as msgpack. Raises ValueError for integers beyond 64 bits and for lone surrogates."""
        encoded: bytes = guarded(written, msgspec.msgpack.encode, guarded(self._to_flat, finite=False))
        return encoded

    @classmethod
    def from_msgpack(cls, payload: bytes) -> Self:
        """Reads the flat form from msgpack (see `from_dict`). Raises ValueError, as `from_json` does."""
        return cls._from_flat(guarded(msgspec.msgpack.decode, payload, type=cls._written_type()))

    def _pydantic_dump(self, info: SerializationInfo) -> dict[str, Any]:
        return self.to_dict()


def _part(content: str | Content) -> Any:
    return TextContent(content) if isinstance(content, str) else content


def _is_nested(message: object) -> bool:
    return isinstance(message, Message) or (isinstance(message, Mapping) and "author" in message)


class Message(_Exchanged, gc=False):  # a log has millions, none of which refers to itself
    """One message: its author, its content in parts, and what its header says beside the author."""

    author: Author
    content: list[_Part] = msgspec.field(default_factory=list)
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None

    @classmethod
    def from_author_and_content(cls, author: Author, content: str | Content) -> Self:
        """A message of one part; a string becomes text."""
        return cls(author=author, content=[_part(content)])

    @classmethod
    def from_role_and_content(cls, role: Role, content: str | Content) -> Self:
        """A message of one part by an author without a name; a string becomes text."""
        return cls.from_author_and_content(Author(role=role), content)

    @classmethod
    def from_role_and_contents(cls, role: Role, contents: Sequence[Content]) -> Self:
        """A message of several parts by an author without a name."""
        parts: list[Any] = list(contents)
        return cls(author=Author(role=role), content=parts)

    def adding_content(self, content: str | Content) -> Self:
        """Adds a part, a string as text, and returns this message."""
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
        """The flat form as a new dict: role, name and content always, the rest where it is not None."""
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
    """Messages in order; iterating over it gives them."""

    messages: list[Message] = msgspec.field(default_factory=list)

    @classmethod
    def from_messages(cls, messages: Sequence[Message]) -> Self:
        """A conversation of these messages."""
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
