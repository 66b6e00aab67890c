"""The mistakes that people make in Python: each error says in Python's words what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from harmony import (
    Author,
    Conversation,
    DeveloperContent,
    HarmonyError,
    Message,
    ReasoningEffort,
    RenderConversationConfig,
    Role,
    SystemContent,
    TextContent,
    ToolDescription,
    load_harmony_encoding,
)
from harmony.format.vocabulary import CHANNEL, CONSTRAIN, END, MESSAGE, START

ENCODING = load_harmony_encoding("HarmonyGptOss")
CHAT: Any = {"role": "user", "content": "Hi"}
PARTS = "TextContent | SystemContent | DeveloperContent"
EFFORTS = "expected `Low`, `Medium` or `High`"
NO_TEXT: Any = None


def of_effort(effort: Any) -> list[int]:
    content = SystemContent.new()
    content.reasoning_effort = effort
    return ENCODING.render(Message.from_role_and_content(Role.SYSTEM, content))


def of_system(field: str, value: Any) -> list[int]:
    content = SystemContent.new()
    setattr(content, field, value)
    return ENCODING.render(Message.from_role_and_content(Role.SYSTEM, content))


MISTAKES: list[tuple[Callable[[], object], str]] = [
    # dicts where messages are due
    (
        lambda: Conversation.from_messages([Message(Author(Role.USER)), CHAT]),
        "Expected `Message`, got `dict` - at `Conversation.messages[1]`; `Message.from_dict` reads a dict with `role` "
        "and `content`",
    ),
    (lambda: ENCODING.render(CHAT), "expected `Message`, found `dict`, which `Message.from_dict` reads - at `message`"),
    (
        lambda: ENCODING.render_conversation([CHAT]),  # type: ignore[arg-type]
        "Expected `Conversation`, got `list` - at `conversation`; `Conversation.from_messages` makes one",
    ),
    (
        lambda: ENCODING.render_conversation({"messages": [CHAT]}),  # type: ignore[arg-type]
        "Expected `Conversation`, got `dict` - at `conversation`; `Conversation.from_dict` makes one",
    ),
    # efforts and roles
    (
        lambda: SystemContent(reasoning_effort="high"),  # type: ignore[arg-type]
        f"Invalid enum value 'high' - at `SystemContent.reasoning_effort`; {EFFORTS}",
    ),
    (
        lambda: SystemContent.new().with_reasoning_effort("high"),  # type: ignore[arg-type]
        f"Invalid enum value 'high' - at `SystemContent.reasoning_effort`; {EFFORTS}",
    ),
    (lambda: ReasoningEffort("high"), f"Unknown reasoning effort: 'high', {EFFORTS}"),
    (
        lambda: of_effort("high"),
        f"Invalid enum value 'high'; {EFFORTS} - at `message.content[0].reasoning_effort`",
    ),
    (
        lambda: Message.from_dict({"role": "boss", "content": ""}),
        "Invalid enum value 'boss' - at `$.role`; expected `user`, `assistant`, `system`, `developer` or `tool`",
    ),
    # None for a text, and other types, in Python's words
    (
        lambda: Message.from_role_and_content(Role.USER, NO_TEXT),
        "Expected `str` or `Content`, got `None` - at `Message.content[0]`",
    ),
    (lambda: TextContent(NO_TEXT), "Expected `str`, got `None` - at `TextContent.text`"),
    (
        lambda: Message.from_role_and_contents(Role.USER, [NO_TEXT]),
        f"Expected `{PARTS}`, got `None` - at `Message.content[0]`",
    ),
    (
        lambda: Message.from_author_and_content("user", "Hi"),  # type: ignore[arg-type]
        "Expected `Author`, got `str` - at `Message.author`",
    ),
    (lambda: Conversation(NO_TEXT), "Expected `list`, got `None` - at `Conversation.messages`"),
    (
        lambda: Conversation(["Hi"]),  # type: ignore[list-item]
        "Expected `Message`, got `str` - at `Conversation.messages[0]`",
    ),
    (
        lambda: Message(Author(Role.USER)).with_channel(True),  # type: ignore[arg-type]
        "Expected `str | None`, got `bool` - at `Message.channel`",
    ),
    (
        lambda: RenderConversationConfig(auto_drop_analysis=NO_TEXT),
        "Expected `bool`, got `None` - at `RenderConversationConfig.auto_drop_analysis`",
    ),
    (
        lambda: ToolDescription("a", "b", [1]),  # type: ignore[arg-type]
        "Expected `dict | None`, got `list` - at `ToolDescription.parameters`",
    ),
    (
        lambda: DeveloperContent.new().with_function_tools([NO_TEXT]),
        "Expected `ToolDescription`, got `None` - at `ToolNamespaceConfig.tools[0]`",
    ),
    (
        lambda: Message.from_dict({"role": "user", "content": None}),
        "Expected `str | list`, got `None` - at `$.content`",
    ),
    (
        lambda: Conversation.from_dict({"messages": {}}),
        "Expected `list`, got `dict` - at `$.messages`",
    ),
    (
        lambda: of_system("model_identity", []),
        "expected `str | None`, found `list` - at `message.content[0].model_identity`",
    ),
    # JSON's own words stay where JSON was read
    (
        lambda: Message.from_json('{"role": "user", "content": null}'),
        "Expected `str | array`, got `null` - at `$.content`",
    ),
    (lambda: Conversation.from_json("[]"), "Expected `object`, got `array`"),
]


@pytest.mark.parametrize(("mistake", "text"), MISTAKES)
def test_a_mistake_is_told_in_words_that_help(mistake: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the whole text is compared
        mistake()
    assert str(raised.value) == text


def test_a_dict_with_an_author_is_a_message() -> None:
    read = Conversation([{"author": {"role": "user"}, "content": [{"type": "text", "text": "Hi"}]}])  # type: ignore[list-item]
    assert read.messages == [Message.from_role_and_content(Role.USER, "Hi")]


@pytest.mark.parametrize("first", [CHANNEL, MESSAGE, CONSTRAIN, 64])
def test_a_completion_without_its_role(first: int, engine: ModuleType) -> None:
    for parse in (
        lambda: engine.parse([first, 64], None, strict=True),
        lambda: engine.parse_text(ENCODING.decode([first, 64]), None, strict=True),
        lambda: engine.StreamableParser(ENCODING, None).process_many([first, 64]),
    ):
        with pytest.raises(HarmonyError) as raised:
            parse()
        assert raised.value.code == "expected-start"
        assert str(raised.value).startswith('expected `<|start|>`, or `role="assistant"` for a completion, found ')


def test_only_the_beginning_of_a_completion_asks_for_its_role(engine: ModuleType) -> None:
    whole = [START, 1428, MESSAGE, 64, END]
    for tokens in ([END], [*whole, CHANNEL], [*whole, 64]):
        with pytest.raises(HarmonyError, match=r"^expected `<\|start\|>`, found "):
            engine.parse(tokens, None, strict=True)


def test_the_text_of_a_message() -> None:
    message = Message(Author(Role.USER))
    assert message.text == ""
    message.adding_content("Hi").adding_content(SystemContent.new()).adding_content(DeveloperContent.new())
    message.adding_content(" there")
    assert message.text == "Hi there"
    two = Message.from_role_and_contents(Role.USER, [TextContent("a"), TextContent("b")])
    assert two.text in ENCODING.decode(ENCODING.render(two))
    with pytest.raises(AttributeError):
        two.text = "c"  # type: ignore[misc]
