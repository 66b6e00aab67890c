"""Messages that call tools and answer, as lint reads them."""

from __future__ import annotations

from typing import Any

from harmony import (
    ChannelConfig,
    Conversation,
    Message,
    Role,
    SystemContent,
    ToolDescription,
)
from harmony.checking.rules import lint
from helpers.talk import WEATHER, conversation, developer, message, system

USER = message("user")
FINAL = message("assistant", channel="final")
TOOLS = Message.from_role_and_content(Role.SYSTEM, SystemContent.new().with_browser_tool().with_python_tool())
WITHOUT_SCHEMA = ToolDescription.new("now", "Tells the time.")
FUNCTIONS = developer(WEATHER, WITHOUT_SCHEMA)


def call(recipient: str = "functions.get_weather", text: str = '{"city": "Oslo"}', **fields: Any) -> Message:
    return message("assistant", text, **{"channel": "commentary", "recipient": recipient, **fields})


def result(name: str | None = "functions.get_weather", text: str = "{}") -> Message:
    return message("tool", text, name=name, channel="commentary", recipient="assistant")


def calling(text: str, schema: Any, **fields: Any) -> Conversation:
    """A call with arguments to a tool of this schema, at message 2."""
    return conversation(
        developer(ToolDescription.new("f", "Does it.", schema)), USER, call("functions.f", text, **fields)
    )


def declaring(schema: Any) -> Conversation:
    """A tool of this schema, which nobody calls."""
    return conversation(developer(ToolDescription.new("f", "Does it.", schema)), USER)


def channels(names: list[str], required: bool = False) -> Message:
    return system(channel_config=ChannelConfig(valid_channels=names, channel_required=required))


def at(codes: str, given: Conversation) -> list[int]:
    return [diagnostic.position for diagnostic in lint(given, select=[codes])]


# Twice as many steps at each of sixty levels.
DIAMOND: dict[str, Any] = {"d60": {"type": "object"}}
DIAMOND |= {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(60)}
