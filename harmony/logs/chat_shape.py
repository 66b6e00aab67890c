"""Conversations in the shape of the chat API: the fields that a Message has no place for, and how they are found.

`Conversation.from_json` refuses such messages, but names only what it finds first. For a record of a log, all of the
fields are named, and so are the parts of the content that only these APIs have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from harmony.errors import quote, sentence
from harmony.format.choices import Shape
from harmony.messages.chat_fields import FIELDS

_EMPTY: Final = frozenset((b"", b"null", b"[]", b"{}", b'""'))
#: The types of parts of the content in these APIs.
_PARTS: Final = frozenset(
    (
        "input_text",
        "output_text",
        "refusal",
        "summary_text",
        "reasoning_text",
        "reasoning",
        "thinking",
        "image",
        "image_url",
        "input_image",
        "audio",
        "input_audio",
        "video",
        "video_url",
        "file",
        "input_file",
        "document",
        "tool_use",
        "tool_result",
    )
)

_NULL: Final = msgspec.Raw(b"null")
_ChatMessage: Final = msgspec.defstruct("_ChatMessage", [(name, msgspec.Raw, _NULL) for name in FIELDS])
_NOTHING: Final = msgspec.structs.astuple(_ChatMessage())
_MESSAGES: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    msgspec.defstruct("_Chat", [("messages", list[_ChatMessage])])  # type: ignore[valid-type]
)
_ANY: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_CONTENT: Final = msgspec.json.Decoder(list[dict[str, Any]])


def says(value: msgspec.Raw) -> bool:
    """Whether the value of a field says anything: it is there, and neither null nor empty."""
    return bytes(value) not in _EMPTY


def check_fields(written: bytes) -> None:
    """Raises ValueError for a record whose `messages` have fields of the chat API, and names them.

    Does nothing for what cannot be read: reading it as a conversation says what is wrong.
    """
    try:
        messages = _MESSAGES.decode(written).messages
    except (ValueError, msgspec.DecodeError, RecursionError):
        return
    found: dict[str, int] = {}
    for index, message in enumerate(messages):
        values = msgspec.structs.astuple(message)
        if values != _NOTHING:
            for name, value in zip(FIELDS, values, strict=True):
                if says(value):
                    found.setdefault(f"`{name}`", index)
    _refuse(found)


def check_parts(written: bytes) -> None:
    """The same for items of the Responses API, and for parts of the content, such as images.

    Reading a conversation fails for these too, but says less.
    """
    try:
        messages = _OBJECTS.decode(_ANY.decode(written)["messages"])
    except (ValueError, KeyError, msgspec.DecodeError, RecursionError):
        return
    found: dict[str, int] = {}
    items: dict[str, int] = {}
    for index, message in enumerate(messages):
        if says(kind := message.get("type", _NULL)):
            items.setdefault(quote(bytes(kind).decode().strip('"')), index)
        for part in _part_types(message.get("content", _NULL)):
            if part in _PARTS:
                found.setdefault(f"content of type {quote(part)}", index)
    _refuse(items, "types of items", "responses")
    _refuse(found)


def _part_types(content: msgspec.Raw) -> Iterator[str]:
    try:
        parts = _CONTENT.decode(content)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return
    for part in parts:
        if isinstance(kind := part.get("type"), str):
            yield kind


def _refuse(found: dict[str, int], what: str = "fields", shape: Shape = "chat") -> None:
    if found:
        told = sentence("invalid-record/chat", what=what, found=", ".join(found), shape=shape)
        raise ValueError(f"{told} - at `$.messages[{min(found.values())}]`")


def is_input(value: msgspec.Raw | None) -> bool:
    """Whether a field holds the input of a request of the Responses API: a list of messages and other items."""
    try:
        items = _OBJECTS.decode(value or _NULL)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return False
    return bool(items) and all("role" in item or "type" in item for item in items)


def kind_of_conversation(messages: msgspec.Raw | None) -> str | None:
    """What a field holds, in words, if it holds messages: each is an object with a role."""
    try:
        objects = _OBJECTS.decode(messages or _NULL)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    if not objects or not all("role" in message for message in objects):
        return None
    try:
        written = b'{"messages":%b}' % bytes(messages or _NULL)
        check_fields(written)
        check_parts(written)
    except ValueError:
        return "a conversation of the chat API"
    return "a conversation"
