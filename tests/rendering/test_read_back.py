"""Prompts read back: what was read renders to the same text, in the same way of writing, or the text stays a text."""

from __future__ import annotations

import random
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.schemas import Drawer
from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    HarmonyError,
    Message,
    RenderConversationConfig,
    Role,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
)
from harmony.format.choices import Schemas, Style
from harmony.rendering.read_back import read_developer, read_schema, read_system
from harmony.rendering.typescript import Writer
from helpers import conversations as drawn
from helpers.sizes import examples
from helpers.talk import WEATHER, conversation, message, talk

CONFIGS: Final = [
    RenderConversationConfig(style=style, schemas=schemas, auto_drop_analysis=False)
    for style in get_args(Style)
    for schemas in get_args(Schemas)
]
every_config: Final = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.style}-{config.schemas}")
OPENAI: Final = CONFIGS[0]


def text_of(
    encoding: HarmonyEncoding, content: SystemContent | DeveloperContent, config: RenderConversationConfig = OPENAI
) -> str:
    """The text of a content, as the only message of a conversation."""
    role = Role.SYSTEM if isinstance(content, SystemContent) else Role.DEVELOPER
    tokens = encoding.render_conversation(conversation(Message.from_role_and_content(role, content)), config)
    return encoding.decode(tokens).split("<|message|>", 1)[1].removesuffix("<|end|>")


def tokens_of(encoding: HarmonyEncoding, messages: list[Message], config: RenderConversationConfig) -> list[int] | str:
    """The tokens of messages, or the code of the error."""
    try:
        return encoding.render_conversation(Conversation.from_messages(messages), config)
    except HarmonyError as error:
        return error.code


def with_schema(schema: dict[str, Any]) -> DeveloperContent:
    tool = ToolDescription.new("f", "Does it.", schema)
    return DeveloperContent.new().with_instructions("Be brief.").with_function_tools([tool])


def parameters(content: DeveloperContent) -> Any:
    assert content.tools is not None
    return content.tools["functions"].tools[0].parameters


@every_config
def test_a_whole_prompt_reads_back_as_it_was_written(
    encoding: HarmonyEncoding, config: RenderConversationConfig
) -> None:
    conversation = talk()
    tokens = encoding.render_conversation_for_completion(conversation, Role.ASSISTANT, config)
    result = encoding.parse(tokens, structured=config)
    assert [message.content for message in result.messages[:2]] == [
        message.content for message in conversation.messages[:2]
    ]
    assert encoding.parse(tokens, structured=True).messages[:2] == result.messages[:2]
    again = Conversation.from_messages(result.messages)
    if config.style != "hf":  # it writes the arguments of functions as JSON strings once more
        assert encoding.render_conversation_for_completion(again, Role.ASSISTANT, config) == tokens


@given(data=drawn.conversations(), config=st.sampled_from(CONFIGS))
@examples(1500, 80)
def test_what_was_read_renders_to_the_same_tokens(
    encoding: HarmonyEncoding, data: Any, config: RenderConversationConfig
) -> None:
    """The law, over conversations with all that can be written, and with much that hardly anybody writes."""
    try:
        tokens = encoding.render_conversation(Conversation.from_dict(data), config)
    except ValueError:
        return
    plain = encoding.parse(tokens, strict=False)
    read = encoding.parse(tokens, strict=False, structured=config)
    for one, other in zip(read.messages, plain.messages, strict=True):
        assert (one.author, one.channel, one.recipient) == (other.author, other.channel, other.recipient)
    assert (read.spans, read.complete, read.diagnostics) == (plain.spans, plain.complete, plain.diagnostics)
    assert tokens_of(encoding, read.messages, config) == tokens_of(encoding, plain.messages, config)


@given(seed=st.integers(0, 10**6), config=st.sampled_from(CONFIGS))
@examples(1500, 80)
def test_schemas_that_say_everything(encoding: HarmonyEncoding, seed: int, config: RenderConversationConfig) -> None:
    content = with_schema(Drawer(random.Random(seed)).root)
    tokens = encoding.render_conversation(conversation(Message.from_role_and_content(Role.DEVELOPER, content)), config)
    assert tokens_of(encoding, encoding.parse(tokens, structured=config).messages, config) == tokens


def some_contents() -> list[SystemContent | DeveloperContent]:
    return [
        SystemContent.new().with_conversation_start_date("2025-06-28").with_browser_tool().with_python_tool(),
        SystemContent(None, None, "today", None, None, None),
        with_schema(EVERYTHING),
        DeveloperContent.new()
        .with_instructions("# Tools\n\nBe brief.")
        .with_response_format("r", EVERYTHING, "Two\nlines"),
    ]


@given(
    number=st.integers(0, 3),
    config=st.sampled_from(CONFIGS),
    place=st.floats(0, 1, exclude_max=True),
    removed=st.integers(0, 2),
    added=st.sampled_from(["", "x", "\n", " ", "}", "{", '"', "//", "|", ",", "\n\n## ", "?", "[]", "<|end|>"]),
    own=st.booleans(),
)
@examples(3000, 300)
def test_a_changed_text_reads_as_itself_or_not_at_all(
    encoding: HarmonyEncoding,
    number: int,
    config: RenderConversationConfig,
    place: float,
    removed: int,
    added: str,
    own: bool,
) -> None:
    content = some_contents()[number]
    text = text_of(encoding, content, config)
    at = int(place * len(text))
    changed = text[:at] + added + text[at + removed :]
    role = "system" if isinstance(content, SystemContent) else "developer"
    plain = [message(role, changed)]
    tokens = encoding.render_conversation(Conversation.from_messages(plain), config)
    read = encoding.parse(tokens, structured=config if own else True).messages
    if own or type(read[0].content[0]) is TextContent:
        assert tokens_of(encoding, read, config) == tokens
    else:
        assert tokens in [tokens_of(encoding, read, each) for each in CONFIGS]


#: A schema as people write them, and as pydantic does.
EVERYTHING: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What to look for.\nA few words: no more.", "title": "Query"},
        "limit": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "tags": {"type": "array", "items": {"type": "string", "description": "A tag", "maxLength": 9}, "minItems": 1},
        "mode": {"type": "string", "enum": ["fast", "good"], "default": "fast"},
        "place": {
            "type": "object",
            "description": "Where",
            "properties": {"x": {"type": "number", "default": 1.5}, "y": {"type": "number", "description": "North"}},
            "required": ["y"],
            "additionalProperties": False,
        },
        "who": {
            "oneOf": [
                {"type": "string", "description": "A name"},
                {"type": "object", "description": "An id", "properties": {"id": {"type": "integer"}}},
            ]
        },
        "counts": {"type": "object", "additionalProperties": {"type": "number"}},
        "pairs": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}},
        "word": {"type": "string", "examples": ["x", "y"], "description": "A word", "pattern": "^a; b$"},
        "fixed": {"const": 5},
        "maybe": {"type": "string", "nullable": True},
        "any-thing": {},
        "point": {
            "type": "array",
            "prefixItems": [{"type": "number"}, {"type": "string"}],
            "minItems": 1,
            "items": False,
        },
        "next": {"$ref": "#/$defs/Node"},
    },
    "required": ["query", "place"],
    "$defs": {
        "Node": {"type": "object", "properties": {"value": {"type": "string"}, "next": {"$ref": "#/$defs/Node"}}}
    },
}


@every_config
def test_tools_as_people_write_them_read_back(encoding: HarmonyEncoding, config: RenderConversationConfig) -> None:
    text = text_of(encoding, with_schema(EVERYTHING), config)
    tokens = encoding.render_conversation(conversation(message("developer", text)))
    (read,) = encoding.parse(tokens, structured=config).messages
    assert isinstance(read.content[0], DeveloperContent)
    assert text_of(encoding, read.content[0], config) == text
    found = parameters(read.content[0])
    assert list(found["properties"]) == list(EVERYTHING["properties"])
    assert found["required"] == EVERYTHING["required"]
    assert found["properties"]["query"]["description"] == EVERYTHING["properties"]["query"]["description"]
    assert found["properties"]["mode"] == EVERYTHING["properties"]["mode"]
    if config.schemas == "full":
        assert found["properties"]["limit"]["default"] is None
        assert found["properties"]["tags"]["minItems"] == 1
        assert found["properties"]["word"]["pattern"] == "^a; b$"
        assert found["properties"]["counts"] == EVERYTHING["properties"]["counts"]
        assert found["properties"]["point"] == EVERYTHING["properties"]["point"]
        assert found["$defs"] == EVERYTHING["$defs"]


@pytest.mark.parametrize(
    "content",
    [
        SystemContent.new(),
        SystemContent.new().with_browser_tool().with_python_tool().with_conversation_start_date("2025-06-28"),
        SystemContent(None, None, None, "2024-06", None, None),
        SystemContent("", None, "today", "", None, None),
        SystemContent("A\n\n# Tools\nB").with_required_channels(["a"]),
    ],
)
def test_system_content(encoding: HarmonyEncoding, content: SystemContent) -> None:
    assert read_system(text_of(encoding, content)) == content


@pytest.mark.parametrize(
    "content",
    [
        DeveloperContent.new().with_instructions("Be brief.\n\n# Tools\n\nThere are none."),
        DeveloperContent.new().with_instructions(""),
        DeveloperContent.new().with_function_tools([WEATHER]),
        DeveloperContent.new().with_tools(ToolNamespaceConfig(name="a", description="Plain\n\ntext", tools=[])),
        DeveloperContent.new()
        .with_tools(ToolNamespaceConfig(name="a", description="One\n\nTwo", tools=[WEATHER]))
        .with_tools(ToolNamespaceConfig(name="b", tools=[]))
        .with_function_tools([WEATHER, ToolDescription.new("g", "")])
        .with_response_format("r", {"type": "object", "x": [1.5, "\n"]}, "Two\nlines")
        .with_response_format("s", {}),
    ],
)
def test_developer_content(encoding: HarmonyEncoding, content: DeveloperContent) -> None:
    assert read_developer(text_of(encoding, content)) == content


@pytest.mark.parametrize("text", ["", "You are a pirate.", "Be brief.", "# Tools", "# Tools\n\n", "# Instructions"])
def test_a_text_without_the_form_stays_a_text(text: str) -> None:
    assert read_system(text) is None
    assert read_developer(text) is None


def test_a_tool_that_does_not_read_is_not_taken_for_instructions(encoding: HarmonyEncoding) -> None:
    text = text_of(encoding, DeveloperContent.new().with_instructions("Be brief.").with_function_tools([WEATHER]))
    assert read_developer(text.replace("=> any", "=> all")) is None


def test_the_line_about_functions_counts_only_where_functions_are_declared(encoding: HarmonyEncoding) -> None:
    """Where the tools stay a text, the system message has to stay one, too: it would be rendered without its line."""
    messages = encoding.parse(encoding.render_conversation(talk()), structured=True).messages
    assert [type(each.content[0]) for each in messages[:2]] == [SystemContent, DeveloperContent]
    text = text_of(encoding, SystemContent.new())
    line = "\nCalls to these tools must go to the commentary channel: 'functions'."
    for developers in ([], [message("developer", "# Tools\n\n## functions\n\nnamespace functions {")]):
        alone = conversation(message("system", text + line), *developers)
        tokens = encoding.render_conversation(alone)
        read = encoding.parse(tokens, structured=True).messages
        assert read == alone.messages
        assert isinstance(read_system(text + line), SystemContent)


def test_the_text_of_an_input_is_read_as_its_tokens_are(encoding: HarmonyEncoding) -> None:
    tokens = encoding.render_conversation(talk())
    text = encoding.decode(tokens)
    assert encoding.parse_text(text, structured=True).messages == encoding.parse(tokens, structured=True).messages


def test_what_says_how_to_read_is_checked(encoding: HarmonyEncoding) -> None:
    with pytest.raises(TypeError, match="Expected `RenderConversationConfig`, got `str` - at `structured`"):
        encoding.parse([], structured="openai")  # type: ignore[arg-type]


def test_the_blank_line_of_the_template_needs_the_style(encoding: HarmonyEncoding) -> None:
    config = RenderConversationConfig(style="hf")
    tokens = encoding.render_conversation(
        conversation(Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_instructions("Hi."))),
        config,
    )
    (read,) = encoding.parse(tokens, structured=config).messages
    assert read.content == [DeveloperContent.new().with_instructions("Hi.")]


TOOL: Final = "# Tools\n\n## functions\n\nnamespace functions {\n\n// d\ntype f = (_: "


@pytest.mark.parametrize(
    "piece",
    [
        "{\na: ", "{\na: {\n", "[", "(", "[]", '"', '"a" | ', "\n | ", "{\n// x\n", "a: ", "a:    ", "Record<string, ",
        "string & ", '{"a":', "[[1,", "a: string // x | \n", "type A = B;\n\n", "1 to 2; ", "// default: ", "a: \n",
        "\n\n# Tools\n\n## a\n\n", "## a\n\n{}\n\n", "# Valid channels: ", "\n\nReasoning: low", "pattern: a; ",
    ],
)  # fmt: skip
def test_hostile_texts_end_soon(piece: str) -> None:
    """Each would take minutes, or no end of memory, if anything were read twice or to any depth."""
    for begin in ("", TOOL, f"{TOOL}{{\n", f"{TOOL}{{\na: string, // ", "# Response Formats\n\n## x\n\n"):
        text = begin + piece * (200_000 // len(piece))
        assert read_developer(text) is None
        found = read_system(text)
        assert found is None or piece == "\n\nReasoning: low"


@pytest.mark.parametrize("depth", [50, 100])
@every_config
def test_deep_types_read_back_or_stay_a_text(
    encoding: HarmonyEncoding, config: RenderConversationConfig, depth: int
) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    text = text_of(encoding, with_schema(schema), config)
    tokens = encoding.render_conversation(conversation(message("developer", text)), config)
    assert tokens_of(encoding, encoding.parse(tokens, structured=config).messages, config) == tokens


def test_a_single_surrogate_reads_as_what_parsing_makes_of_it(encoding: HarmonyEncoding) -> None:
    text = text_of(encoding, with_schema(EVERYTHING)).replace("Be brief.", "\ud800").replace("A name", "\ud801")
    whole = f"<|start|>developer<|message|>{text}<|end|>"
    read, plain = (encoding.parse_text(whole, structured=structured).messages for structured in (True, False))
    assert isinstance(read[0].content[0], DeveloperContent)
    assert read[0].content[0].instructions == "\ufffd"
    assert tokens_of(encoding, read, OPENAI) == tokens_of(encoding, plain, OPENAI)


def test_types_that_grow_without_end_stay_a_text() -> None:
    chain = "".join(f"type A{number} = [A{number + 1}, A{number + 1}];\n\n" for number in range(500))
    namespace = TOOL.partition("// d")
    text = f"{namespace[0]}{chain}type A500 = string;\n\n// d\ntype f = (_: A0) => any;\n\n}} // namespace functions"
    assert read_developer(text) is None


@examples(100)
@given(st.integers(0, 1 << 32))
def test_a_type_by_itself_reads_back(encoding: HarmonyEncoding, seed: int) -> None:
    text = Writer().text(Drawer(random.Random(seed)).root)
    found = read_schema(text)
    if found is not None:
        made = [text_of(encoding, with_schema(found), config) for config in CONFIGS]
        assert any(f"(_: {text}) => any;" in one for one in made)


def test_a_type_that_a_person_would_write_reads_back() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "number"}}}
    assert read_schema(Writer().text({**schema, "required": ["city"]})) == {**schema, "required": ["city"]}
    for text in ("", "string) => any;\n\ntype more = (_: string", "{", "any; // nothing", "x" * 100_000):
        assert read_schema(text) is None
