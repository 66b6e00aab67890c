"""Messages as Python objects, and their forms as data. This module knows no tokens, no parsing and no rendering.

Names, signatures, defaults and the flat form are the same as in openai-harmony 0.0.8. A message has two forms as data:

- `to_dict`, `to_json`, `to_msgpack` and their counterparts use the flat form. Role and name stand beside the content,
  the content is a list of parts with a `type`, and fields that are None are left out.
- `model_dump`, `msgspec.json.encode(message)` and fields of pydantic's models use the nested form. The author is a
  separate object, and every field is there. Only response formats are left out where there are none, as in
  openai-harmony, which does not know them.

The parts of the content are in `harmony.messages.contents`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeAlias, TypeVar

import msgspec

from harmony.messages.chat_fields import FIELDS, NOTHING, of_chat_message
from harmony.messages.contents import ChannelConfig as ChannelConfig
from harmony.messages.contents import Content as Content
from harmony.messages.contents import DeveloperContent as DeveloperContent
from harmony.messages.contents import ResponseFormat as ResponseFormat
from harmony.messages.contents import SystemContent as SystemContent
from harmony.messages.contents import TextContent as TextContent
from harmony.messages.contents import ToolDescription as ToolDescription
from harmony.messages.contents import ToolNamespaceConfig as ToolNamespaceConfig
from harmony.messages.contents import holds_schemas
from harmony.messages.record import (
    ArgumentError,
    Record,
    as_mapping,
    check_finite,
    check_repeats,
    checked,
    guarded,
    is_small,
    unchecked,
    written,
)
from harmony.messages.roles import ReasoningEffort as ReasoningEffort
from harmony.messages.roles import Role
from harmony.messages.words import of_flat_messages


class Author(Record, gc=False):
    """Who speaks: a role and a name. A tool needs a name; the other roles may have one."""

    role: Role
    name: str | None = None

    @classmethod
    def new(cls, role: Role, name: str) -> Self:
        """An author with a name."""
        return cls(role=role, name=name)


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


class _FlatMessage(msgspec.Struct, omit_defaults=True, gc=False):
    """A message as msgspec writes it flat."""

    role: Role
    name: str | None  # without a default, so that None is written too
    content: str | list[_Part]
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None


def flat_messages(messages: Iterable[Message], *, finite: bool = False) -> list[_FlatMessage]:
    """The messages in the flat form, as objects that msgspec writes.

    `finite=True` is for JSON: it raises ValueError for NaN or infinity in the schema of a tool or a response format.
    """
    flat = []
    for message in messages:
        author, content = message.author, message.content
        if len(content) != 1 or type(content[0]) is not TextContent:  # rare
            content = _flat_content(content, finite)
        flat.append(
            _FlatMessage(author.role, author.name, content, message.channel, message.recipient, message.content_type)
        )
    return flat


def _flat_content(content: list[_Part], finite: bool) -> Any:
    flat: list[_Part] = []
    large = False
    for part in content:
        if holds_schemas(part) and not is_small(part):
            check_repeats(part)
            large = True
        system = isinstance(part, SystemContent)
        flat.append(unchecked(_FlatSystemContent, *msgspec.structs.astuple(part)) if system else part)
    if not finite or not large:
        return flat
    as_json = written(msgspec.json.encode, flat)
    check_finite(flat, as_json)
    return msgspec.Raw(as_json)  # it is written already


def _read(messages: Iterable[Any], message_class: type[_AnyMessage]) -> list[_AnyMessage]:
    """Makes messages from the flat form, which msgspec has checked."""
    return [
        unchecked(
            message_class,
            unchecked(Author, flat.role, flat.name),
            [unchecked(TextContent, content)] if isinstance(content := flat.content, str) else content,
            flat.channel,
            flat.recipient,
            flat.content_type,
        )
        for flat in messages
    ]


class _FlatConversation(msgspec.Struct):
    """A conversation as msgspec writes it flat."""

    messages: list[_FlatMessage]


# The same as msgspec reads them. The name may be missing. A field of the chat API may be there if it says nothing.
_ReadMessage: Final = msgspec.defstruct(
    "_ReadMessage",
    [
        ("role", Role),
        ("name", str | None, None),
        ("content", str | list[_Part]),
        *((name, str | None, None) for name in ("channel", "recipient", "content_type")),
        *((name, NOTHING, None) for name in FIELDS),
    ],
    kw_only=True,
    gc=False,
)
_ReadConversation: Final = msgspec.defstruct(
    "_ReadConversation",
    [("messages", list[_ReadMessage])],  # type: ignore[valid-type]
)


class _Exchanged(Record):
    """The base of Message and Conversation: the flat form as dict, JSON and msgpack."""

    @classmethod
    def _read_type(cls) -> type[msgspec.Struct]:
        raise NotImplementedError

    def _to_flat(self, *, finite: bool) -> msgspec.Struct:
        raise NotImplementedError

    @classmethod
    def _from_flat(cls, flat: Any) -> Self:
        raise NotImplementedError

    @classmethod
    def _of_chat(cls, data: object) -> str | None:
        """The text of an error, if the data are messages of the chat API, with fields that would be lost."""
        raise NotImplementedError

    @classmethod
    def _read_flat(cls, read: Callable[..., Any], payload: Any) -> Self:
        """Reads the flat form by a function of msgspec."""
        try:
            return cls._from_flat(guarded(read, payload, type=cls._read_type()))
        except ValueError:
            # Of several faults, msgspec tells the first. In a message of the chat API, that is often a null content.
            said = None
            with suppress(ValueError):  # what cannot be read as any data
                said = cls._of_chat(guarded(read, payload, type=Any))
            if said is not None:
                raise ValueError(said) from None
            raise

    def to_dict(self) -> dict[str, Any]:
        """The flat form as a new dict."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Reads the flat form from a dict. Content may be a string, and unknown keys are ignored.

        Raises TypeError where `data` is no dict, and ValueError with the path to any other fault. A field of the chat
        API that says something, such as `tool_calls` or `reasoning`, is a fault, because a Message has no place for it.
        `harmony.chat.to_harmony` reads messages with such fields.
        """
        return cls._read_flat(msgspec.convert, as_mapping(data))

    def to_json(self) -> str:
        """The flat form as JSON. Raises ValueError for NaN, infinity and single surrogates, which JSON cannot hold."""
        encoded: bytes = guarded(written, msgspec.json.encode, guarded(self._to_flat, finite=True))
        return encoded.decode()

    @classmethod
    def from_json(cls, payload: str | bytes) -> Self:
        """Reads the flat form from JSON, as `from_dict` does. Raises ValueError for bad JSON and for bad fields."""
        return cls._read_flat(msgspec.json.decode, payload)

    def to_msgpack(self) -> bytes:
        """The flat form as msgpack. Raises ValueError for integers beyond 64 bits and for single surrogates."""
        encoded: bytes = guarded(written, msgspec.msgpack.encode, guarded(self._to_flat, finite=False))
        return encoded

    @classmethod
    def from_msgpack(cls, payload: bytes) -> Self:
        """Reads the flat form from msgpack, as `from_dict` does. Raises ValueError for bad data and for bad fields."""
        return cls._read_flat(msgspec.msgpack.decode, payload)


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
    def _read_type(cls) -> type[msgspec.Struct]:
        return _ReadMessage

    @classmethod
    def _of_chat(cls, data: object) -> str | None:
        return of_chat_message(data, "$")

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
    def _read_type(cls) -> type[msgspec.Struct]:
        return _ReadConversation

    @classmethod
    def _of_chat(cls, data: object) -> str | None:
        messages = data.get("messages") if isinstance(data, Mapping) else None
        placed = enumerate(messages if isinstance(messages, list | tuple) else ())
        return next(filter(None, (of_chat_message(one, f"$.messages[{index}]") for index, one in placed)), None)

    def _to_flat(self, *, finite: bool) -> _FlatConversation:
        return _FlatConversation(flat_messages(self.messages, finite=finite))

    @classmethod
    def _from_flat(cls, flat: Any) -> Self:
        conversation: Self = unchecked(cls, _read(flat.messages, Message))
        return conversation
