"""Messages as objects, against those of openai-harmony wherever it has them."""

from __future__ import annotations

import gc
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import openai_harmony as reference
import pytest

import harmony as ours
from harmony.messages.model import (
    Author,
    ChannelConfig,
    Content,
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
)
from harmony.messages.roles import Role
from harmony.rendering.renderer import RenderConversationConfig, RenderOptions
from helpers.messages import FULL, PARAMETERS, tool_message


def both(build: Callable[[Any], Any]) -> tuple[Any, Any]:
    """What the same call makes of each library."""
    return build(ours), build(reference)


# Names, signatures and defaults.


@pytest.mark.parametrize("name", ["Role", "ReasoningEffort"])
def test_enums_have_the_members_and_the_manner_of_the_reference(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(reference, name)
    assert [(member.name, member.value, str(member)) for member in mine] == [
        (member.name, member.value, str(member)) for member in theirs
    ]
    assert all(member == member.value and hash(member) == hash(member.value) for member in mine)


@pytest.mark.parametrize("value", ["x", "User", "", 5, None])
def test_an_unknown_role_is_refused_in_the_words_of_the_reference(value: Any) -> None:
    with pytest.raises(ValueError, match="Unknown role") as theirs:
        reference.Role(value)
    with pytest.raises(ValueError, match="Unknown role") as mine:
        Role(value)
    assert str(mine.value) == str(theirs.value)


RECORDS = [
    "Author",
    "Content",
    "TextContent",
    "SystemContent",
    "DeveloperContent",
    "ToolDescription",
    "ToolNamespaceConfig",
    "ChannelConfig",
    "Message",
    "Conversation",
]


@pytest.mark.parametrize("name", RECORDS)
def test_records_have_the_fields_of_the_reference_in_its_order(name: str) -> None:
    added = ("response_formats",) if name == "DeveloperContent" else ()
    assert getattr(ours, name).__struct_fields__ == (*getattr(reference, name).model_fields, *added)


@pytest.mark.parametrize("name", RECORDS)
def test_records_have_the_methods_of_the_reference_with_its_parameters(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(reference, name)
    for method in vars(theirs):
        if method.startswith(("_", "model_")) or not callable(getattr(theirs, method)):
            continue
        of_mine = inspect.signature(getattr(mine, method)).parameters.values()
        of_theirs = inspect.signature(getattr(theirs, method)).parameters.values()
        assert [(p.name, p.default, p.kind) for p in of_mine] == [(p.name, p.default, p.kind) for p in of_theirs], (
            method
        )


@pytest.mark.parametrize("name", ["RenderConversationConfig", "RenderOptions"])
def test_how_to_render_begins_as_in_the_reference(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(reference, name)
    fields = theirs.model_fields
    assert mine.__struct_fields__[: len(fields)] == tuple(fields)
    assert theirs().model_dump().items() <= mine().model_dump().items()


BUILDS: dict[str, Callable[[Any], Any]] = {
    "text": lambda m: m.TextContent(text="a"),
    "system": lambda m: m.SystemContent.new(),
    "system without anything": lambda m: m.SystemContent(
        model_identity=None, reasoning_effort=None, knowledge_cutoff=None, channel_config=None
    ),
    "system identity": lambda m: m.SystemContent.new().with_model_identity("I"),
    "system effort": lambda m: m.SystemContent.new().with_reasoning_effort(m.ReasoningEffort.HIGH),
    "system effort by value": lambda m: m.SystemContent(reasoning_effort="Low"),
    "system date": lambda m: m.SystemContent.new().with_conversation_start_date("2025-06-28"),
    "system cutoff": lambda m: m.SystemContent.new().with_knowledge_cutoff("2025-01"),
    "system channels": lambda m: m.SystemContent.new().with_required_channels(["final"]),
    "system channel config": lambda m: m.SystemContent.new().with_channel_config(
        m.ChannelConfig(valid_channels=[], channel_required=False)
    ),
    "system tools": lambda m: m.SystemContent.new().with_browser_tool().with_python_tool().with_browser_tool(),
    "system namespace": lambda m: m.SystemContent.new().with_tools(m.ToolNamespaceConfig(name="n", tools=())),
    "system from dict": lambda m: m.SystemContent.from_dict(
        {"type": "system_content", "knowledge_cutoff": "x", "y": 1}
    ),
    "developer": lambda m: m.DeveloperContent.new(),
    "developer instructions": lambda m: m.DeveloperContent.new().with_instructions("Do."),
    "developer tools": lambda m: m.DeveloperContent.new().with_tools(m.ToolNamespaceConfig.python()),
    "developer functions": lambda m: m.DeveloperContent.new().with_function_tools(
        (m.ToolDescription.new("f", "Does.", parameters=PARAMETERS), m.ToolDescription.new("g", "Nothing."))
    ),
    "developer functions twice": lambda m: (
        m.DeveloperContent.new()
        .with_function_tools([m.ToolDescription.new("f", "Does.")])
        .with_function_tools([m.ToolDescription.new("g", "Does not.")])
    ),
    "developer from dict": lambda m: m.DeveloperContent.from_dict(
        {"tools": {"n": {"name": "n", "tools": [{"name": "f", "description": ""}]}}}
    ),
    "message": lambda m: m.Message(
        author=m.Author(role="tool", name="f"),
        content=(m.TextContent(text="a"), m.TextContent(text="b")),
        channel="final",
        recipient=m.Role.ASSISTANT,
        content_type="json",
    ),
    "message with nothing": lambda m: m.Message(author=m.Author(role=m.Role.USER)),
    "message with an author as a dict": lambda m: m.Message(author={"role": "user", "name": "n"}),
    "from_role_and_content": lambda m: m.Message.from_role_and_content("user", "a"),
    "from_role_and_content, a part": lambda m: m.Message.from_role_and_content(m.Role.SYSTEM, m.SystemContent.new()),
    "from_role_and_contents": lambda m: m.Message.from_role_and_contents(
        m.Role.USER, (m.TextContent(text=letter) for letter in "ab")
    ),
    "from_author_and_content": lambda m: m.Message.from_author_and_content(m.Author.new(m.Role.USER, "n"), "a"),
    "adding_content": lambda m: (
        m.Message.from_role_and_content(m.Role.USER, "a").adding_content("b").adding_content(m.DeveloperContent.new())
    ),
    "message fluently": lambda m: (
        m.Message.from_role_and_content(m.Role.ASSISTANT, "a")
        .with_channel("c")
        .with_recipient("r")
        .with_content_type("t")
    ),
    "conversation": lambda m: m.Conversation.from_messages(
        m.Message.from_role_and_content(role, "a") for role in m.Role
    ),
    "empty conversation": lambda m: m.Conversation(),
    "conversation from JSON": lambda m: m.Conversation.from_json('{"messages": [{"role": "user", "content": "a"}]}'),
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_what_is_built_is_written_as_the_reference_writes_it(build: Callable[[Any], Any]) -> None:
    mine, theirs = both(build)
    assert mine.to_dict() == theirs.to_dict()
    if hasattr(theirs, "to_json"):
        assert json.loads(mine.to_json()) == json.loads(theirs.to_json())


@pytest.mark.parametrize(
    "build",
    [
        lambda m: m.Author.new(m.Role.TOOL, "f"),
        lambda m: m.Author(role="user"),
        lambda m: m.ToolDescription(name="f", description="Does."),
        lambda m: m.ToolDescription.new("f", "Does.", PARAMETERS),
        lambda m: m.ToolNamespaceConfig(name="n", description="d", tools=[m.ToolDescription.new("f", "")]),
        lambda m: m.ToolNamespaceConfig.browser(),
        lambda m: m.ToolNamespaceConfig.python(),
        lambda m: m.ChannelConfig.require_channels(("a", "b")),
        lambda m: m.SystemContent.new().with_browser_tool().channel_config,
    ],
)
@pytest.mark.parametrize("exclude_none", [False, True])
def test_what_is_built_is_dumped_as_the_reference_dumps_it(build: Callable[[Any], Any], exclude_none: bool) -> None:
    mine, theirs = both(build)
    assert mine.model_dump(exclude_none=exclude_none) == theirs.model_dump(exclude_none=exclude_none)
    assert json.dumps(mine.model_dump(mode="json")) == json.dumps(theirs.model_dump(mode="json"))
    assert repr(mine) == repr(theirs)


def test_dicts_hold_the_members_of_enums_as_those_of_the_reference_do() -> None:
    assert Message.from_role_and_content("user", "a").to_dict()["role"] is Role.USER
    assert SystemContent.new().to_dict()["reasoning_effort"] is ReasoningEffort.MEDIUM
    assert type(Message.from_role_and_content(Role.USER, "a").model_dump(mode="json")["author"]["role"]) is str


def test_a_string_field_given_a_role_holds_a_plain_string() -> None:
    message = Message(author=Author(role=Role.TOOL, name=Role.USER), recipient=Role.ASSISTANT)
    assert type(message.recipient) is type(message.author.name) is str
    assert type(message.with_recipient(Role.USER).recipient) is str


def test_fluent_methods_change_the_object_and_return_it() -> None:
    message, system, developer = Message(Author(Role.USER)), SystemContent(), DeveloperContent()
    assert message.with_channel("c").with_recipient("r").with_content_type("t").adding_content("a") is message
    assert (message.channel, message.recipient, message.content_type) == ("c", "r", "t")
    assert system.with_model_identity("i").with_knowledge_cutoff("k").with_browser_tool() is system
    assert developer.with_instructions("i").with_function_tools([]) is developer
    assert message.with_channel(None).channel is None


def test_attributes_can_be_assigned() -> None:
    message = Message.from_role_and_content(Role.ASSISTANT, "a")
    message.recipient = Role.ASSISTANT
    message.author.role = Role.TOOL
    message.author.name = "f"
    message.content[0].text = "b"
    expected = {"role": "tool", "name": "f", "content": [{"type": "text", "text": "b"}], "recipient": "assistant"}
    assert message.to_dict() == json.loads(message.to_json()) == expected


def test_records_share_no_container_with_their_maker_nor_with_each_other() -> None:
    parts, channels, parameters, listed = [TextContent("a")], ["final"], {"type": "object"}, [FULL.messages[0]]
    message, config = Message(Author(Role.USER), parts), ChannelConfig.require_channels(channels)
    tool, conversation = ToolDescription.new("f", "", parameters), Conversation(listed)
    parts.clear(), channels.clear(), parameters.clear(), listed.clear()
    assert (message.content, config.valid_channels) == ([TextContent("a")], ["final"])
    assert (tool.parameters, conversation.messages) == ({"type": "object"}, [FULL.messages[0]])
    assert Message(Author(Role.USER)).content is not Message(Author(Role.USER)).content
    assert SystemContent().channel_config is not SystemContent().channel_config
    browser = ToolNamespaceConfig.browser()
    assert browser.tools[0].parameters is not None
    browser.tools[0].parameters["properties"]["query"]["type"] = "number"
    assert browser != ToolNamespaceConfig.browser()


def test_a_conversation_gives_its_messages_in_order() -> None:
    assert list(FULL) == FULL.messages
    assert len(list(FULL)) == 6


def test_a_part_as_it_is_written_makes_the_part() -> None:
    assert TextContent(**TextContent("a").to_dict()) == TextContent("a")
    assert SystemContent(**SystemContent().to_dict()) == SystemContent()
    with pytest.raises(TypeError, match="type"):
        TextContent(**{**TextContent("a").to_dict(), "type": "image"})


def test_content_itself_has_no_written_form() -> None:
    with pytest.raises(NotImplementedError):
        Content().to_dict()


# Wrong arguments.


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: TextContent(text=5), "Expected `str`, got `int` - at `TextContent.text`"),
        (lambda: TextContent(), "text"),
        (lambda: TextContent(txt="a"), "txt"),
        (lambda: Author(role=5), "Expected `str`, got `int` - at `Author.role`"),
        (lambda: Author(role=Role.USER, name=b"n"), "`Author.name`"),
        (lambda: Message(author=None), "`Message.author`"),
        (lambda: Message(author=Author(Role.USER), content="a"), "Expected `list`, got `str` - at `Message.content`"),
        (
            lambda: Message(author=Author(Role.USER), content=[TextContent("a"), 5]),
            "got `int` - at `Message.content[1]`",
        ),
        (lambda: Message(author=Author(Role.USER), channel=1), "`Message.channel`"),
        (lambda: Message.from_role_and_content(Role.USER, 5), "got `int` - at `Message.content[0]`"),
        (lambda: Message.from_role_and_contents(Role.USER, ["a"]), "got `str` - at `Message.content[0]`"),
        (
            lambda: Message(Author(Role.USER)).adding_content(None),
            "Expected `str` or `Content`, got `None` - at `Message.content[0]`",
        ),
        (lambda: Message(Author(Role.USER)).with_channel(5), "`Message.channel`"),
        (lambda: Conversation.from_messages([TextContent("a")]), "got `TextContent` - at `Conversation.messages[0]`"),
        (lambda: ChannelConfig.require_channels("ab"), "Expected `list`, got `str`"),
        (lambda: ChannelConfig(valid_channels=["a"], channel_required="yes"), "Expected `bool`"),
        (lambda: ToolDescription.new("f", "d", [1]), "`ToolDescription.parameters`"),
        (lambda: ToolNamespaceConfig(name="n", tools=[5]), "`ToolNamespaceConfig.tools[0]`"),
        (lambda: SystemContent().with_tools("browser"), "Expected `ToolNamespaceConfig`, got `str`"),
        (lambda: DeveloperContent().with_function_tools([5]), "got `int` - at `ToolNamespaceConfig.tools[0]`"),
        (lambda: SystemContent().with_channel_config(["final"]), "`SystemContent.channel_config`"),
        (lambda: RenderConversationConfig(auto_drop_analysis=1), "`RenderConversationConfig.auto_drop_analysis`"),
        (lambda: RenderOptions(conversation_has_function_tools=None), "Expected `bool`"),
        (lambda: Message.from_dict(5), "Expected `dict`, got `int`"),
        (lambda: Message.from_dict([]), "Expected `dict`, got `list`"),
        (lambda: Conversation.from_dict("{}"), "Expected `dict`, got `str`"),
        (lambda: SystemContent.from_dict(None), "Expected `dict`, got `NoneType`"),
        (lambda: Message.model_validate(5), "Expected `dict`, got `int`"),
        (lambda: Conversation.model_validate(None), "Expected `dict`, got `NoneType`"),
        (lambda: Message.from_json(5), "int"),
        (lambda: tool_message({"a": object()}).to_json(), "`object`"),
    ],
)
def test_a_wrong_type_is_a_type_error_that_says_where(call: Callable[[], object], text: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Author(role="x"), "'x' - at `Author.role`"),
        (lambda: Message(author={"role": "x"}), "'x' - at `Message.author.role`"),
        (lambda: SystemContent(reasoning_effort="low"), "'low' - at `SystemContent.reasoning_effort`"),
        (lambda: SystemContent().with_reasoning_effort("huge"), "'huge' - at `SystemContent.reasoning_effort`"),
        (lambda: FULL.model_dump(mode="yaml"), "yaml"),
        (lambda: Message.from_dict({"content": "a"}), "`role`"),
        (lambda: Message.from_dict({"role": "user"}), "`content`"),
        (lambda: Message.from_dict({"role": "user", "content": None}), "`$.content`"),
        (lambda: Message.from_dict({"role": "x", "content": "a"}), "'x' - at `$.role`"),
        (
            lambda: Message.from_dict({"role": "user", "content": [{"type": "image"}]}),
            "'image' - at `$.content[0].type`",
        ),
        (lambda: Message.from_dict({"role": "user", "content": [{"text": "a"}]}), "`$.content[0]`"),
        (lambda: Message.from_dict({"role": "user", "content": ["a"]}), "`$.content[0]`"),
        (lambda: Message.from_dict({"role": "user", "content": "a", "channel": 1}), "`$.channel`"),
        (lambda: Message.from_json('{"role": "user", "content": [{"type": "text"}]}'), "`$.content[0]`"),
        (lambda: Conversation.from_json("{}"), "`messages`"),
        (lambda: Conversation.from_json("[]"), "Expected `object`, got `array`"),
        (lambda: Conversation.from_json('{"messages": [{"role": "user", "content": 5}]}'), "`$.messages[0].content`"),
        (lambda: Conversation.from_dict({"messages": [{"role": "x", "content": ""}]}), "`$.messages[0].role`"),
        (lambda: Conversation.model_validate({"messages": [FULL.messages[0], 5]}), "`$.messages[1]`"),
        (lambda: SystemContent.from_dict({"channel_config": {"valid_channels": []}}), "`channel_required`"),
        (lambda: DeveloperContent.from_dict({"tools": {"n": {"name": "n", "tools": [5]}}}), "`$.tools[...].tools[0]`"),
        (lambda: DeveloperContent.from_dict({"type": "text"}), "`$.type`"),
    ],
)
def test_a_wrong_value_is_a_value_error_that_says_where(call: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  what it says is looked at below
        call()
    assert text in str(error.value)


DEEP = 200_000


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        '{"role": "user", "content": "a"',
        '{"role": "user", "content": "a"} x',
        '{"role": "user", "content": "\\ud800"}',
        '{"role": "user", "content": "\ud800"}',
        b'{"role": "user", "content": "\xff"}',
        b"\xff\xfe",
        "[" * DEEP,
        '{"role": "user", "content": ' + "[" * DEEP,
        '{"role": "user", "content": "a", "x": ' + "[" * DEEP + "]" * DEEP + "}",
        '{"role": "developer", "content": [{"type": "developer_content", "tools": {"n": {"name": "n", "tools": '
        '[{"name": "f", "description": "", "parameters": ' + '{"a":' * DEEP + "1" + "}" * DEEP + "}]}}}]}",
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_json_that_is_cut_malformed_or_deep_is_a_value_error(payload: str | bytes) -> None:
    for record in (Message, Conversation):
        with pytest.raises(ValueError, match=r"."):
            record.from_json(payload)


def test_every_cut_of_json_and_msgpack_is_a_value_error() -> None:
    text, packed = FULL.messages[2].to_json(), FULL.messages[2].to_msgpack()
    for length in range(len(text)):
        with pytest.raises(ValueError, match=r"."):
            Message.from_json(text[:length])
    for length in range(len(packed)):
        with pytest.raises(ValueError, match=r"."):
            Message.from_msgpack(packed[:length])


def test_data_that_contains_itself_is_a_value_error() -> None:
    parameters: dict[str, Any] = {}
    parameters["self"] = parameters
    message = tool_message(parameters)
    for write in (message.to_json, message.to_msgpack, message.to_dict, message.model_dump):
        with pytest.raises(ValueError, match="contains itself"):
            write()
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Message.from_role_and_content(Role.USER, "a\ud800").to_json()


# What they stand on.


def test_messages_and_spans_are_no_work_for_the_garbage_collector() -> None:
    result = ours.load_harmony_encoding("HarmonyGptOss").parse([200008, 12194, 200002], Role.ASSISTANT)
    (message,), (span,) = result.messages, result.spans
    read, built = Message.from_json(message.to_json()), Message.from_role_and_content(Role.USER, "")
    made = [message, message.author, message.content[0], span, read, read.author, built]
    assert not any(map(gc.is_tracked, made))


def test_importing_messages_loads_no_library_that_messages_do_not_need() -> None:
    program = (
        "import sys, harmony.messages.model as messages\n"
        "messages.Message.from_json(messages.Message.from_role_and_content('user', 'a').to_json())\n"
        "print(sorted({'pydantic', 'pydantic_core', 'tiktoken', 'lark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Message(),
        lambda: Message(5, []),
        lambda: Message(author=Author(role=Role.USER), words="Hi"),
        lambda: Message.from_role_and_content(Role.USER, 5),
        lambda: Message.from_role_and_content(Role.USER, "Hi").with_channel(5),
        lambda: Author(role=5),
        lambda: Conversation.from_messages(["Hi"]),
        lambda: DeveloperContent.new().with_function_tools([{"name": 5}]),
        lambda: SystemContent.new().with_tools("browser"),
        lambda: ToolDescription("f"),
        lambda: Message.from_dict("Hi"),
        lambda: Message.model_validate("Hi"),
    ],
)
def test_wrong_arguments_are_a_type_error_and_a_value_error(make: Any) -> None:
    """openai-harmony raises a pydantic.ValidationError, which is a ValueError."""
    with pytest.raises(TypeError) as error:
        make()
    assert isinstance(error.value, ValueError)
