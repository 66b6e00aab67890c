"""What `HarmonyEncoding.warm_up` parses and renders, so that later calls find everything made."""

from __future__ import annotations

from typing import Final

from harmony.messages.model import (
    Content,
    Conversation,
    DeveloperContent,
    Message,
    SystemContent,
    ToolDescription,
)
from harmony.messages.roles import Role

#: A well-formed completion, one whose header needs a repair, and one without markers.
COMPLETION: Final = "<|channel|>final<|message|>Hi<|return|>"
REPAIRED: Final = (
    "<|channel|>commentary to=functions.f <|constrain|>json code<|message|>{}<|call|>analysis Hi<|return|>"
)
LOST_MARKERS: Final = "analysisHi.assistantfinalHo."


def every_content() -> Conversation:
    """A conversation with content of each kind, and with a tool."""
    any_json = {"type": "object", "properties": {"place": {"type": "string", "description": "Where?"}}}
    tools = [ToolDescription("search", "Searches.", any_json)]
    contents: dict[Role, Content | str] = {
        Role.SYSTEM: SystemContent.new().with_browser_tool(),
        Role.DEVELOPER: DeveloperContent.new().with_function_tools(tools),
        Role.USER: "Hi",
    }
    return Conversation.from_messages([Message.from_role_and_content(*each) for each in contents.items()])
