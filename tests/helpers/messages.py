"""Messages to draw or to write: one with all that a conversation may hold, and those that parsing gives back."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from harmony.format.header import is_channel
from harmony.messages.model import (
    Author,
    ChannelConfig,
    Conversation,
    DeveloperContent,
    Message,
    ResponseFormat,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
)
from harmony.messages.roles import Role
from harmony.rendering.renderer import RenderConversationConfig, RenderOptions
from helpers.talk import message

PARAMETERS = {
    "type": "object",
    "properties": {"zone": {"type": ["string", "null"], "default": None}, "a": {"type": "number", "default": 0.5}},
    "required": [],
    "nothing": None,
}


def tool_message(parameters: dict[str, Any]) -> Message:
    tools = [ToolDescription.new("f", "Does.", parameters)]
    return Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_function_tools(tools))


def parameters_of(message: Message) -> Any:
    part = message.content[0]
    assert isinstance(part, DeveloperContent)
    assert part.tools is not None
    return part.tools["functions"].tools[0].parameters


FULL = Conversation.from_messages(
    [
        Message.from_role_and_content(
            Role.SYSTEM,
            SystemContent.new().with_browser_tool().with_python_tool().with_conversation_start_date("2025-06-28"),
        ),
        tool_message(PARAMETERS),
        Message.from_author_and_content(Author.new(Role.USER, "Zoë"), "Hello").adding_content("again"),
        Message.from_role_and_content(Role.ASSISTANT, "{}")
        .with_channel("commentary")
        .with_recipient("functions.f")
        .with_content_type("<|constrain|>json"),
        Message(Author(Role.TOOL, "functions.f"), [TextContent("1")], "commentary", "assistant"),
        Message(author=Author(role=Role.USER), content=[]),
    ]
)
FINE = st.sampled_from(["functions.f", "assistant", "日本", "to", "a:b", "commentary", "x" * 80, "all-"])


@st.composite
def fine_messages(draw: st.DrawFn) -> Message:
    """A message that parsing gives back."""
    role = draw(st.sampled_from([role.value for role in Role]))
    recipient = draw(st.none() | FINE)
    types = ["json", "<|constrain|>json", "<|constrain|>日本", *(["bash"] if recipient else [])]
    return message(
        role,
        draw(st.text(max_size=20)),
        name=draw(st.sampled_from(["functions.f", "tool", "日.本"]) if role == "tool" else st.none() | FINE),
        channel=draw(st.none() | FINE.filter(is_channel)),
        recipient=recipient,
        content_type=draw(st.none() | st.sampled_from(types)),
    )


#: A record of each kind.
SAMPLES: list[Any] = [
    FULL,
    *FULL.messages,
    FULL.messages[2].author,
    TextContent("a"),
    SystemContent(model_identity=None).with_browser_tool(),
    DeveloperContent().with_tools(ToolNamespaceConfig.python()),
    DeveloperContent().with_response_format("answer", PARAMETERS, "Says."),
    ResponseFormat("answer", PARAMETERS),
    ToolDescription.new("f", "Does.", PARAMETERS),
    ToolNamespaceConfig.browser(),
    ChannelConfig.require_channels(["final"]),
    RenderConversationConfig(auto_drop_analysis=False),
    RenderOptions(),
]
