"""Style "hf" against the chat template of gpt-oss itself, over drawn chats, and what it writes that no chat holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    RenderError,
    RenderOptions,
    Role,
    SystemContent,
    TextContent,
    ToolDescription,
    chat,
    drop_analysis,
    is_valid,
)
from helpers.calls import call, result
from helpers.sizes import examples
from helpers.talk import assigned, conversation, developer, message, talk
from helpers.template import DATE, TemplateError, renderer, text_of_template

HF: Final = RenderConversationConfig(style="hf")
Template: TypeAlias = Callable[..., str]


@pytest.fixture(scope="module")
def template() -> Template:
    text = text_of_template()
    if text is None:
        pytest.skip("neither the package trl nor its wheel can be had")
    return renderer(text)


# --- the chats

# Markup stays text where we render, so no text may spell a special token.
TEXTS: Final = st.text(max_size=16).filter(lambda text: "<|" not in text) | st.sampled_from(
    ["", "Grüße 👋", '"Hi"\r\n\n', "a <b> & 'c'", "{}", "\u2028\\", " x ", "## functions\n\ntype f = () => any;"]
)
SAID: Final = TEXTS.filter(bool)
JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS: Final = st.dictionaries(TEXTS, JSON, max_size=3)
NAMES: Final = st.sampled_from(["f", "get_weather", "a1", "look-up", "_x", "Größe", "search_2"])
KEYS: Final = st.sampled_from(["city", "items", "type", "default", "größe", "a b", "x-y", "keys"])


@st.composite
def schemas(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A schema for which the template does not fail. `inside` draws those that it holds."""
    names = ["string", "number", "integer", "boolean", "object", "array", "null", "file"]
    found: dict[str, Any] = {}
    if draw(st.integers(0, 9)):
        found["type"] = draw(st.sampled_from(names) | st.lists(st.sampled_from(names), max_size=3))
    for key, value in (
        ("enum", st.lists(TEXTS, max_size=3) | st.lists(JSON, max_size=2)),
        ("items", inside | st.just({})),
        ("properties", st.dictionaries(KEYS, inside, max_size=3)),
        ("required", st.lists(KEYS, max_size=3)),
        ("oneOf", st.lists(inside, max_size=3)),
        ("nullable", st.booleans()),
        ("description", TEXTS),
        ("title", TEXTS),
        ("anyOf", st.lists(inside, max_size=2)),
    ):
        if draw(st.integers(0, 2)) == 0:
            found[key] = draw(value)
    if draw(st.booleans()):
        found["default"] = draw(TEXTS if found.get("enum") or found.get("oneOf") else JSON)
    return found


SCHEMAS: Final = st.recursive(schemas(st.just({"type": "string"})) | st.booleans(), schemas, max_leaves=4)


@st.composite
def tools(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        function: dict[str, Any] = {"name": name, "description": draw(TEXTS)}
        if draw(st.integers(0, 4)):
            function["parameters"] = {
                "type": "object",
                "properties": draw(st.dictionaries(KEYS, SCHEMAS, max_size=4)),
                "required": draw(st.lists(KEYS, max_size=2)),
            }
        found.append({"type": "function", "function": function})
    return found


class Chat(NamedTuple):
    """The messages for the template, the same for `to_harmony`, and the other arguments of the template."""

    messages: list[dict[str, Any]]
    ours: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    options: dict[str, Any]
    content_type: str


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    kind = draw(st.sampled_from(["json", "code", "<|constrain|>json"]))
    messages: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []

    def say(fields: dict[str, Any], **instead: Any) -> None:
        messages.append(fields)
        ours.append({**fields, **instead})

    if draw(st.booleans()):
        say({"role": draw(st.sampled_from(["system", "developer"])), "content": draw(TEXTS)})
    for _ in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(0, 2))):
            say({"role": "user", "content": draw(TEXTS)})
        for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
            thought = {"thinking": draw(SAID)} if draw(st.booleans()) else {}
            name = draw(NAMES)
            theirs, arguments = draw(calls())
            function = {"name": name, "arguments": theirs, "content_type": kind}
            one = {"role": "assistant", **thought, "tool_calls": [{"type": "function", "function": function}]}
            call_id = f"call_{len(messages)}"
            our_call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            say(one, tool_calls=[our_call])
            for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
                say({"role": "tool", "tool_call_id": call_id, "content": draw(TEXTS)})
        if draw(st.booleans()):
            if draw(st.booleans()):
                say({"role": "assistant", "thinking": draw(SAID), "content": draw(SAID)})
            else:
                say({"role": "assistant", "content": draw(TEXTS)})
    if not messages:
        say({"role": "user", "content": draw(TEXTS)})
    options = {"add_generation_prompt": draw(st.booleans())}
    if draw(st.booleans()):
        options["reasoning_effort"] = draw(st.sampled_from(["low", "medium", "high"]))
    if draw(st.booleans()):
        options["model_identity"] = draw(TEXTS)
    if draw(st.booleans()):
        options["builtin_tools"] = draw(st.lists(st.sampled_from(["browser", "python"]), min_size=1))
    return Chat(messages, ours, draw(tools()), options, kind)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Any, Any]:
    """The arguments of a call for the template, and for `to_harmony`.

    They are an object, or the JSON of one, which has to be read before the template gets it. The template takes a text
    too and writes it as a JSON string; for us, that string is the JSON.
    """
    value = draw(OBJECTS)
    way = draw(st.sampled_from(["object", "json", "text"]))
    if way == "object":
        return value, value
    if way == "json":
        separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
        return value, json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)
    text = draw(SAID)
    return text, json.dumps(text)


def ours(one: Chat) -> Conversation:
    system = SystemContent.new().with_conversation_start_date(DATE)
    if "model_identity" in one.options:
        system = system.with_model_identity(one.options["model_identity"])
    for name in one.options.get("builtin_tools", ()):
        system = system.with_browser_tool() if name == "browser" else system.with_python_tool()
    return chat.to_harmony(
        one.ours,
        tools=one.tools,
        system=system,
        reasoning_effort=one.options.get("reasoning_effort"),
        call_type=one.content_type,
    )


@examples(2000, 250)
@given(one=chats())
def test_it_is_what_the_template_writes(one: Chat, template: Template, encoding: HarmonyEncoding) -> None:
    text = template(messages=one.messages, tools=one.tools or None, **one.options)
    if one.options["add_generation_prompt"]:
        tokens = encoding.render_conversation_for_completion(ours(one), "assistant", HF)
    else:
        tokens = encoding.render_conversation_for_training(ours(one), HF)
    assert encoding.decode(tokens) == text
    assert tokens == encoding.encode(text, allowed_special="all")
    assert is_valid(tokens, "prompt" if one.options["add_generation_prompt"] else "conversation")


# --- what it writes, without the template


def hf(encoding: HarmonyEncoding, one: Message) -> str:
    return encoding.decode(encoding.render(one, RenderOptions(style="hf")))


def parameters(encoding: HarmonyEncoding, schema: Any) -> str:
    """What stands in the parentheses of a function."""
    text = hf(encoding, developer(ToolDescription.new("f", "Does.", schema)))
    return text.partition("type f = (")[2].partition(") => any;\n\n} // namespace functions<|end|>")[0]


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}, {"oneOf": [{}]}]
)
def test_a_function_without_parameters(schema: Any, encoding: HarmonyEncoding) -> None:
    assert parameters(encoding, schema) == ""


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "string"}, "p?: string,"),
        ({"type": "string", "nullable": True, "default": "é"}, 'p?: string | null, // default: "é",'),
        ({"type": "number", "nullable": True, "default": 3}, "p?: number, // default: 3,"),
        ({"type": "number", "default": 1e16}, "p?: number, // default: 1e+16,"),
        ({"type": ["string", "integer"], "default": {"a": [1]}}, 'p?: string | integer, // default: {"a": [1]},'),
        ({"type": "string", "enum": ["a", 1, None], "default": "a"}, 'p?: "a" | "1" | "None", // default: a,'),
        ({"description": "One\ntwo.", "type": "null"}, "// One\ntwo.\np?: any,"),
        ({"type": "array"}, "p?: any[],"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "p?: number[][],"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}, "nullable": True}, "p?: string[] | null,"),
        (
            {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "array"}}}},
            "p?: {\na?: \n" + 16 * " " + "any[]}[],",
        ),
        ({"type": "array", "items": {"type": "string", "oneOf": [{}]}}, "p?: string[],"),
        ({"type": "array", "items": {"type": "object", "properties": {"a" * 40: {}}}}, "p?: any[],"),
        ({"type": "object", "nullable": True}, "p?: object,"),
        (
            {"type": "object", "required": ["b"], "properties": {"a": {"type": "boolean"}, "b": True}},
            "p?: {\na?: \n" + 16 * " " + "boolean, b: \n" + 16 * " " + "any},",
        ),
        (
            {"oneOf": [{"type": "string", "description": "s", "default": 1}, {"type": "object"}], "default": "d"},
            "p?: string// s" + 20 * " " + "// default: 1 | \nobject// default: d,",
        ),
        ({"anyOf": [{"type": "string"}], "$ref": "#/$defs/a"}, "p?: any,"),
        ("no schema", "p?: any,"),
        # The template fails for these.
        ({"type": "string", "enum": ["a"], "default": 1}, 'p?: "a", // default: 1,'),
        ({"oneOf": [{}], "default": None}, "p?: any// default: null,"),
        ({"type": "string", "enum": 7, "oneOf": 7, "description": 7}, "p?: string,"),
        ({"type": "object", "properties": ["a"], "required": 7}, "p?: object,"),
    ],
)
def test_types(schema: Any, written: str, encoding: HarmonyEncoding) -> None:
    assert parameters(encoding, {"properties": {"p": schema}}) == f"_: {{\n{written}\n}}"
    required = parameters(encoding, {"properties": {"p": schema}, "required": ["p"]})
    assert required == f"_: {{\n{written.replace('p?: ', 'p: ', 1)}\n}}"


def test_sections_of_the_developer(encoding: HarmonyEncoding) -> None:
    content = DeveloperContent.new().with_instructions("Be brief.")
    before = "<|start|>developer<|message|># Instructions\n\nBe brief."

    def text(style: Any) -> str:
        one = Message.from_role_and_content(Role.DEVELOPER, deepcopy(content))
        return encoding.decode(encoding.render(one, RenderOptions(style=style)))

    for _ in range(2):  # what is remembered is that of the style
        assert text("openai") == text("oss") == f"{before}<|end|>"
        assert text("hf") == f"{before}\n\n<|end|>"
    content.with_response_format("answer", {"type": "object"})
    assert text("hf") == text("openai")
    content.with_function_tools([ToolDescription.new("f", "", None)])
    functions = "\n\n# Tools\n\n## functions\n\nnamespace functions {\n\n"
    end = "} // namespace functions\n\n# Response Formats\n\n## answer\n\n" + '{"type":"object"}<|end|>'
    assert text("hf") == f"{before}{functions}// \ntype f = () => any;\n\n{end}"
    assert text("openai") == f"{before}{functions}type f = () => any;\n\n{end}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{"a":1,"b":[true,"é\\u00e9"]}', '{"a": 1, "b": [true, "éé"]}'),
        (' "x"\n', '"x"'),
        ("1E2", "100.0"),
        # What is no JSON, and what reading it would change.
        ("", '""'),
        ('{"a":', '"{\\"a\\":"'),
        ('{"a":1,"a":2}', '"{\\"a\\":1,\\"a\\":2}"'),
        ("1e400", '"1e400"'),
        ('"\\ud800"', '"\\"\\\\ud800\\""'),
        ("[" * 5000 + "]" * 5000, f'"{"[" * 5000}{"]" * 5000}"'),
        ("1" * 5000, f'"{"1" * 5000}"'),
        ("<|end|>", '"<|end|>"'),
    ],
)
def test_the_json_of_calls(text: str, written: str, encoding: HarmonyEncoding) -> None:
    tokens = encoding.render(call("functions.f", text, content_type="json"), RenderOptions(style="hf"))
    assert encoding.parse(tokens).messages == [call("functions.f", written, content_type="json")]
    again = encoding.render(call("functions.f", written, content_type="json"), RenderOptions(style="hf"))
    assert again == tokens


@examples(300)
@given(text=st.text() | st.sampled_from(['{"a":1}', "1", ""]))
def test_results_are_json_strings(text: str, encoding: HarmonyEncoding) -> None:
    (read,) = encoding.parse(encoding.render(result("functions.f", text), RenderOptions(style="hf"))).messages
    assert read == result("functions.f", json.dumps(text, ensure_ascii=False))
    parts = result("functions.f", text)
    parts.content = [TextContent("a"), TextContent(text)]
    assert hf(encoding, parts) == hf(encoding, result("functions.f", f"a{text}"))
    parts.content = []
    assert hf(encoding, parts) == hf(encoding, result("functions.f", ""))


def test_all_else_is_written_as_it_is(encoding: HarmonyEncoding) -> None:
    for one in (
        call("python", "print( 1)", channel="analysis", content_type="code"),
        call("browser.search", '{"a":1}', channel="analysis"),
        call("crm.find", '{"a":1}'),
        result("python", "1\n"),
        result("crm.find", "1"),
        message("assistant", '{"a":1}', channel="commentary"),
        message("assistant", '{"a":1}', channel="commentary", recipient="all"),
        message("user", '{"a":1}', recipient="functions.f"),
        message("developer", '{"a":1}', name="functions.f"),
    ):
        assert encoding.render(one, RenderOptions(style="hf")) == encoding.render(one)


def test_what_is_refused(encoding: HarmonyEncoding) -> None:
    for one in (
        assigned(call("functions.f"), "content.0.text", 7),
        assigned(call("functions.f"), "content", [SystemContent.new()]),
        assigned(result("functions.f"), "content", ["x"]),
        assigned(result("functions.f"), "author.role", "boss"),
        result("functions.f", "\ud800"),
        call("functions.f", "\ud800"),
    ):
        with pytest.raises(RenderError) as error:
            encoding.render(one, RenderOptions(style="hf"))
        with pytest.raises(RenderError) as expected:
            encoding.render(one)
        assert str(error.value) == str(expected.value)


def test_limits(encoding: HarmonyEncoding) -> None:
    spaced = conversation(call("functions.f", f'{{{" " * 100_000}"a":1}}'))
    tokens = encoding.render_conversation(spaced, HF)
    assert encoding.decode(tokens).endswith('<|message|>{"a": 1}<|call|>')
    limited = RenderConversationConfig(style="hf", max_tokens=len(tokens))
    assert encoding.render_conversation(spaced, limited) == tokens
    many = {"properties": {f"p{number}": {"type": "string"} for number in range(1000)}}
    with pytest.raises(RenderError, match="expected at most 20 tokens, found at least"):
        encoding.render_conversation(
            conversation(developer(ToolDescription.new("f", "Does.", many))),
            RenderConversationConfig(style="hf", max_tokens=20),
        )


# Each message in one letter: an answer, a thought, a comment, a call and its result; a call of python and its result.
LETTERS: Final = {
    "U": message("user"),
    "F": message("assistant", channel="final"),
    "t": message("assistant", channel="analysis"),
    "m": message("assistant", channel="commentary"),
    "c": call("functions.f"),
    "r": result("functions.f"),
    "p": call("python", "1", channel="analysis"),
    "q": message("tool", "1", name="python", channel="analysis", recipient="assistant"),
}


@pytest.mark.parametrize(
    ("whole", "as_prompt", "as_example"),
    [
        ("UtF", "UF", "UtF"),
        ("UttF", "UF", "UttF"),
        ("UtcrtF", "UcrF", "UcrtF"),
        ("UtmcrtF", "UmcrF", "UmcrtF"),
        ("UtpqtF", "UF", "UtF"),
        ("UtpqF", "UF", "UF"),
        ("UtFUtcr", "UFUtcr", "UFUtcr"),
        ("UtcrUtFU", "UcrUFU", "UcrUFU"),
        ("UtFUtF", "UFUF", "UFUtF"),
        ("Utcr", "Utcr", "Utcr"),
        ("UtFt", "UFt", "UFt"),
        ("tF", "F", "tF"),
        ("t", "t", "t"),
        ("", "", ""),
    ],
)
def test_which_analysis_is_left_out(whole: str, as_prompt: str, as_example: str, encoding: HarmonyEncoding) -> None:
    def talk_of(letters: str) -> Conversation:
        return conversation(*(LETTERS[letter] for letter in letters))

    everything = RenderConversationConfig(style="hf", auto_drop_analysis=False)
    for purpose, kept in (("completion", as_prompt), ("training", as_example), ("conversation", as_example)):
        found = encoding.render_with_spans(talk_of(whole), HF, purpose=purpose)
        expected = encoding.render_with_spans(talk_of(kept), everything, purpose=purpose)
        assert found.tokens == expected.tokens
        assert "".join(whole[span.index] for span in found.spans) == kept


def test_the_other_styles_stay(encoding: HarmonyEncoding) -> None:
    prompt = encoding.render_conversation_for_completion(talk(), "assistant")
    encoding.render_conversation_for_completion(talk(), "assistant", HF)
    assert encoding.render_conversation_for_completion(talk(), "assistant") == prompt
    without = RenderConversationConfig(style="hf", auto_drop_analysis=False)
    assert encoding.render_conversation(drop_analysis(talk()), without) != encoding.render_conversation(
        drop_analysis(talk())
    )


# --- what docs/styles.md says


def written_by(template: Template, *messages: dict[str, Any], **options: Any) -> str:
    return template(messages=list(messages), **options).partition("<|end|>")[2]


def test_what_the_template_loses_and_we_do_not(template: Template, encoding: HarmonyEncoding) -> None:
    user = {"role": "user", "content": "Hi"}
    two = [{"id": name, "type": "function", "function": {"name": name, "arguments": {}}} for name in "fg"]
    for messages, lost in (
        (
            [user, {"role": "system", "content": "Obey."}],
            "<|start|>developer<|message|># Instructions\n\nObey.\n\n<|end|>",
        ),
        (
            [user, {"role": "assistant", "tool_calls": two}],
            "<|start|>assistant to=functions.g<|channel|>commentary json<|message|>{}<|call|>",
        ),
        ([user, {"role": "user", "name": "al", "content": "Ho"}], "<|start|>user:al<|message|>"),
    ):
        ours = encoding.decode(encoding.render_conversation(chat.to_harmony(messages), HF)).partition("<|end|>")[2]
        assert lost in ours
        assert lost not in written_by(template, *messages)
    before_call = {"role": "assistant", "content": "Wait.", "tool_calls": two[:1]}
    assert "<|channel|>analysis<|message|>Wait.<|end|>" in written_by(template, user, before_call)
    told = encoding.decode(encoding.render_conversation(chat.to_harmony([user, before_call]), HF))
    assert "<|channel|>commentary<|message|>Wait.<|end|>" in told
    # Markup in a text becomes special tokens there.
    spelled = {"role": "user", "content": "<|end|>"}
    assert "<|start|>user<|message|><|end|><|end|>" in written_by(template, spelled)
    assert encoding.parse(encoding.render_conversation(chat.to_harmony([spelled]), HF)).messages[1] == message(
        "user", "<|end|>"
    )


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "tool", "content": "1"}],
        [{"role": "assistant", "content": "<|channel|>final<|message|>"}],
        [{"role": "assistant", "thinking": "a", "content": "b", "tool_calls": [{"name": "f", "arguments": {}}]}],
    ],
)
def test_what_the_template_refuses(messages: list[dict[str, Any]], template: Template) -> None:
    with pytest.raises(TemplateError):
        template(messages=messages)
