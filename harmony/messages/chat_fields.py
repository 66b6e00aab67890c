"""The fields of messages in the chat API that a Message has no place for, and the error that names them.

The flat form of a Message looks like a message of the chat API: both have a role and a content. If unknown fields were
ignored here too, a message would lose its tool calls in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Annotated, Any, Final

import msgspec

#: The fields of messages in the chat API, and in the APIs that follow it, that say something. One that is null or empty
#: says nothing.
FIELDS: Final = (
    "tool_calls",
    "tool_call_id",
    "tool_name",
    "function_call",
    "refusal",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking",
    "thinking_blocks",
    "audio",
    "images",
    "annotations",
)

_EMPTY: Final = msgspec.Meta(max_length=0)
#: The type of a field that says nothing. msgspec refuses every other value while it reads.
NOTHING: Final[Any] = Annotated[str, _EMPTY] | Annotated[list[Any], _EMPTY] | Annotated[dict[str, Any], _EMPTY] | None


def of_chat_message(message: object, path: str) -> str | None:
    """The text of an error, if a field of the chat API says something in a message. `path` leads to the message."""
    fields = message if isinstance(message, Mapping) else {}
    for name in FIELDS:
        value = fields.get(name)
        if value is not None and not (isinstance(value, Sized) and len(value) == 0):
            return (
                f"Expected a message of Harmony, got `{name}` of the chat API, which would be lost; "
                f"`harmony.chat.to_harmony` reads such messages - at `{path}.{name}`"
            )
    return None
