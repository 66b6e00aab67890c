"""What the tests of rendering render: messages, made in one line, and a conversation of two turns."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from harmony import (
    Author,
    Conversation,
    DeveloperContent,
    Message,
    Role,
    SystemContent,
    TextContent,
    ToolDescription,
)


def message(role: str, text: str = "Hi", **fields: Any) -> Message:
    return Message(author=Author(role=Role(role), name=fields.pop("name", None)), content=[TextContent(text)], **fields)


def conversation(*messages: Message) -> Conversation:
    return Conversation.from_messages(messages)


WEATHER = ToolDescription.new(
    "get_weather",
    "Gets the weather.\nOf one place.",
    {"type": "object", "properties": {"city": {"type": "string", "description": "e.g. Oslo"}}, "required": ["city"]},
)


def talk() -> Conversation:
    """One turn that called a function, and one that is answered at once."""
    return conversation(
        Message.from_role_and_content(Role.SYSTEM, SystemContent.new().with_conversation_start_date("2025-06-28")),
        Message.from_role_and_content(
            Role.DEVELOPER,
            DeveloperContent.new().with_instructions("Be brief.").with_function_tools([deepcopy(WEATHER)]),
        ),
        message("user", "Wie wird das Wetter in Oslo? 🌦"),
        message("assistant", "Call the function.", channel="analysis"),
        message(
            "assistant",
            '{"city": "Oslo"}',
            channel="commentary",
            recipient="functions.get_weather",
            content_type="<|constrain|>json",
        ),
        message("tool", '{"sky": "rain"}', name="functions.get_weather", channel="commentary", recipient="assistant"),
        message("assistant", "Tell it.", channel="analysis"),
        message("assistant", "Regen.", channel="final"),
        message("user", "Danke!"),
        message("assistant", "Thanks are due.", channel="analysis"),
        message("assistant", "Gern.", channel="final"),
    )


def assigned(one: Any, path: str, value: Any) -> Any:
    """The message with something set that its constructor would not take."""
    *owners, name = path.split(".")
    owner = one
    for step in owners:
        owner = owner[int(step)] if step.isdigit() else getattr(owner, step)
    setattr(owner, name, value)
    return one


def system(**fields: Any) -> Message:
    return Message.from_role_and_content(Role.SYSTEM, SystemContent(**fields))


def developer(*tools: ToolDescription) -> Message:
    return Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_function_tools(list(tools)))
