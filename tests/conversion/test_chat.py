"""Messages of the Chat Completions API to Harmony, rule by rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage

from harmony import (
    Author,
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    Role,
    SystemContent,
    TextContent,
    chat,
)
from harmony.conversion.given import ConversionError
from helpers.chats import TOOLS
from helpers.talk import message

USER = {"role": "user", "content": "Hi"}


def call(name: str = "sky", arguments: Any = "{}", call_id: str | None = "call_7") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def said(*messages: Any, **fields: Any) -> list[Message]:
    """What is made of the messages, without the system message."""
    return chat.to_harmony(messages, **fields).messages[1:]


def shown(messages: list[Message]) -> list[tuple[str | None, ...]]:
    """Each message's author, channel, recipient and text."""
    return [(one.author.name or one.author.role.value, one.channel, one.recipient, one.text) for one in messages]


def refused(code: str, path: str, *messages: Any, **fields: Any) -> str:
    """The text of the ConversionError that is raised, with this code and path."""
    with pytest.raises(ConversionError) as caught:
        chat.to_harmony(messages, **fields)
    assert (caught.value.code, caught.value.path) == (code, path)
    return str(caught.value)


def developer(conversation: Conversation, position: int = 1) -> DeveloperContent:
    content = conversation.messages[position].content[0]
    assert isinstance(content, DeveloperContent)
    return content


# --- into Harmony: 1, the system message


def test_the_system_message_is_new_or_the_callers() -> None:
    assert chat.to_harmony([]).messages[0].content == [SystemContent.new()]
    own = SystemContent.new().with_model_identity("You are Bob.")
    conversation = chat.to_harmony([], system=own, reasoning_effort="high")
    content = conversation.messages[0].content[0]
    assert isinstance(content, SystemContent)
    assert (content.model_identity, content.reasoning_effort) == ("You are Bob.", ReasoningEffort.HIGH)
    assert own.reasoning_effort is ReasoningEffort.MEDIUM


@pytest.mark.parametrize(
    ("effort", "expected"),
    [("minimal", "Low"), ("low", "Low"), ("medium", "Medium"), ("high", "High"), ("xhigh", "High"), ("max", "High")],
)
def test_each_effort_has_one_in_harmony(effort: str, expected: str) -> None:
    content = chat.to_harmony([], reasoning_effort=effort).messages[0].content[0]
    assert isinstance(content, SystemContent)
    assert content.reasoning_effort == expected


@pytest.mark.parametrize("effort", ["none", "Low", "", 5, True, ["low"]])
def test_any_other_effort_is_refused(effort: Any) -> None:
    text = refused("unknown-effort", "reasoning_effort", reasoning_effort=effort)
    assert "minimal low medium high xhigh max" in text


# --- 2, instructions


def test_the_texts_at_the_beginning_are_the_instructions_of_one_message() -> None:
    parts = [{"type": "text", "text": "B"}, {"type": "text", "text": "C"}]
    texts = [{"role": "system", "content": "A"}, {"role": "developer", "content": parts}]
    later = {"role": "system", "content": "D"}
    conversation = chat.to_harmony([*texts, USER, later], tools=TOOLS[:1], response_format={"type": "json_object"})
    first = developer(conversation)
    assert first.instructions == "A\n\nBC"
    assert first.tools is not None
    assert first.response_formats is not None
    assert [one.author.role for one in conversation] == [Role.SYSTEM, Role.DEVELOPER, Role.USER, Role.DEVELOPER]
    assert developer(conversation, 3) == DeveloperContent(instructions="D")


def test_nothing_said_is_no_developer_message() -> None:
    assert len(chat.to_harmony([{"role": "system", "content": ""}]).messages) == 1


# --- 3, users


def test_each_text_part_of_a_user_is_one_content() -> None:
    parts = [{"type": "text", "text": "A"}, {"type": "input_text", "text": "B"}]
    (made,) = said({"role": "user", "name": "bob", "content": parts})
    assert made == Message(Author.new(Role.USER, "bob"), [TextContent("A"), TextContent("B")])


@pytest.mark.parametrize("content", [None, [], ""])
def test_no_content_is_the_empty_text(content: Any) -> None:
    assert said({"role": "user", "content": content}) == [message("user", "")]
    assert said({"role": "user"}) == [message("user", "")]


@pytest.mark.parametrize("kind", ["image_url", "input_image", "input_audio", "file", "refusal", "", None, "Text"])
def test_any_other_part_is_refused(kind: str | None) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": kind, "image_url": {"url": "data:,"}}]
    refused("unsupported-content", "messages[1].content[1]", USER, {"role": "user", "content": parts})


# --- 4, the assistant


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_content_and_calls_come_in_this_order(field: str) -> None:
    reply = {"role": "assistant", "content": "First …", field: "Hm.", "tool_calls": [call(), call("b", "[]", "call_8")]}
    made = said(reply)
    assert shown(made) == [
        ("assistant", "analysis", None, "Hm."),
        ("assistant", "commentary", None, "First …"),
        ("assistant", "commentary", "functions.sky", "{}"),
        ("assistant", "commentary", "functions.b", "[]"),
    ]
    assert [one.content_type for one in made] == [None, None, "json", "json"]


def test_content_without_calls_is_the_answer() -> None:
    parts = [{"type": "text", "text": "A"}, {"type": "refusal", "refusal": "B"}, {"type": "output_text", "text": "C"}]
    (made,) = said({"role": "assistant", "content": parts})
    assert made == Message(Author(Role.ASSISTANT), [TextContent(text) for text in "ABC"], "final")
    assert shown(said({"role": "assistant", "content": None})) == [("assistant", "final", None, "")]


def test_a_refusal_is_content() -> None:
    made = said({"role": "assistant", "content": "A", "refusal": "No."})
    assert shown(made) == [("assistant", "final", None, "A"), ("assistant", "final", None, "No.")]
    made = said({"role": "assistant", "content": None, "refusal": "No.", "tool_calls": [call()]})
    assert shown(made)[0] == ("assistant", "commentary", None, "No.")


def test_the_first_field_of_reasoning_that_is_a_text_counts() -> None:
    fields = {"reasoning": "", "reasoning_content": "A", "thinking": "B"}
    assert shown(said({"role": "assistant", "content": "", **fields})) == [("assistant", "analysis", None, "A")]
    refused("invalid-field", "messages[0].thinking", {"role": "assistant", "content": "", "thinking": ["A"]})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": "é"}', '{"a": "é"}'),
        (' { "a" :\t1.0,\n"a":2 } ', ' { "a" :\t1.0,\n"a":2 } '),
        ("no JSON <|call|>", "no JSON <|call|>"),
        ('"\\u00e9\\/"', '"\\u00e9\\/"'),
        ({"b": "é", "a": [1, None, 0.5]}, '{"b": "é", "a": [1, null, 0.5]}'),
        (None, "{}"),
        ("", "{}"),
        ({}, "{}"),
    ],
)
def test_arguments_are_carried_as_they_are(arguments: Any, expected: str) -> None:
    assert said({"role": "assistant", "tool_calls": [call(arguments=arguments)]})[0].text == expected
    legacy = {"name": "sky", "arguments": arguments}
    assert shown(said({"role": "assistant", "function_call": legacy})) == [
        ("assistant", "commentary", "functions.sky", expected)
    ]


def test_the_content_type_of_calls_is_the_callers() -> None:
    (made,) = said({"role": "assistant", "tool_calls": [call()]}, call_type="<|constrain|>json")
    assert made.content_type == "<|constrain|>json"
    assert said({"role": "assistant", "tool_calls": [call()]}, call_type=None)[0].content_type is None


def test_a_custom_call_has_its_input_as_arguments() -> None:
    made = said({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "run"}}]})
    assert shown(made) == [("assistant", "commentary", "functions.run", '{"input": ""}')]
    custom = {"name": "run", "input": 'é "x"\n'}
    made = said({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": custom}]})
    assert json.loads(made[0].text) == {"input": 'é "x"\n'}
    assert "é" in made[0].text


# --- 5, results of tools


def test_a_result_has_the_tool_as_author() -> None:
    calls = {"role": "assistant", "tool_calls": [call("a", call_id="c"), call("b", call_id="d")]}
    again = {"role": "assistant", "tool_calls": [call("z", call_id="c")]}
    result = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]}
    by_name = {"role": "tool", "tool_call_id": "lost", "name": "b", "content": "43"}
    legacy = {"role": "function", "name": "b", "content": "44"}
    made = said(calls, result, again, result, by_name, legacy)
    assert [one for one in shown(made) if one[2] == "assistant"] == [
        ("functions.a", "commentary", "assistant", "42"),
        ("functions.z", "commentary", "assistant", "42"),
        ("functions.b", "commentary", "assistant", "43"),
        ("functions.b", "commentary", "assistant", "44"),
    ]
    assert made[2].author.role is Role.TOOL


@pytest.mark.parametrize("fields", [{}, {"tool_call_id": "call_9"}, {"tool_call_id": "call_9", "name": ""}])
def test_a_result_of_no_call_is_refused(fields: dict[str, Any]) -> None:
    refused("unknown-call", "messages[0].tool_call_id", {"role": "tool", "content": "42", **fields})


def test_a_call_that_comes_later_is_unknown() -> None:
    result = {"role": "tool", "tool_call_id": "call_7", "content": "42"}
    refused("unknown-call", "messages[0].tool_call_id", result, {"role": "assistant", "tool_calls": [call()]})


def test_a_result_of_a_built_in_tool_has_the_channel_of_its_call() -> None:
    reply = {"role": "assistant", "tool_calls": [call("python", "1 + 1"), call("browser.search", "{}", "call_8")]}
    results = [{"role": "tool", "tool_call_id": f"call_{number}", "content": "2"} for number in (7, 8)]
    made = said(reply, *results, builtin_tools=["python", "browser"])
    assert shown(made) == [
        ("assistant", "analysis", "python", "1 + 1"),
        ("assistant", "analysis", "browser.search", "{}"),
        ("python", "analysis", "assistant", "2"),
        ("browser.search", "analysis", "assistant", "2"),
    ]
    assert [one.content_type for one in made] == ["code", "code", None, None]
    assert said(reply)[0].recipient == "functions.python"


# --- 6, tools


def test_tools_of_both_shapes_are_functions() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "number"}}}
    tools = [
        {"type": "function", "function": {"name": "a", "description": "Does.", "parameters": schema, "strict": True}},
        {"type": "function", "name": "b", "description": None, "parameters": None},
        {"type": "custom", "custom": {"name": "c", "description": "Runs."}},
        {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [{"type": "function", "name": "a"}]},
    ]
    namespaces = developer(chat.to_harmony([], tools=tools)).tools
    assert namespaces is not None
    assert list(namespaces) == ["functions", "crm"]
    a, b, c = namespaces["functions"].tools
    assert (a.name, a.description, a.parameters) == ("a", "Does.", schema)
    assert (b.name, b.description, b.parameters) == ("b", "", None)
    assert c.parameters == {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert namespaces["functions"].description is None
    assert namespaces["crm"].description == "Customers."


def test_a_name_may_stand_once() -> None:
    twice = 2 * [{"type": "function", "function": {"name": "a"}}]
    refused("duplicate-tool", "tools[1].function.name", tools=twice)
    refused("duplicate-tool", "tools[1].name", tools=2 * [TOOLS[1]])
    custom = {"type": "custom", "name": "a"}
    refused("duplicate-tool", "tools[1].name", tools=[twice[0], custom])
    inside = {"type": "namespace", "name": "n", "tools": 2 * [{"type": "function", "name": "a"}]}
    refused("duplicate-tool", "tools[0].tools[1].name", tools=[inside])


def test_built_in_tools_are_declared_where_the_caller_can_run_them() -> None:
    tools = [{"type": "web_search_preview"}, {"type": "code_interpreter", "container": {"type": "auto"}}]
    content = chat.to_harmony([], tools=tools, builtin_tools=["python", "browser"]).messages[0].content[0]
    assert content == SystemContent.new().with_browser_tool().with_python_tool()
    assert chat.to_harmony([], builtin_tools="python") == chat.to_harmony([])
    refused("unsupported-tool", "tools[1]", tools=tools, builtin_tools=["browser"])
    refused("invalid-field", "builtin_tools[0]", builtin_tools=["search"])


@pytest.mark.parametrize("kind", ["mcp", "file_search", "image_generation", "local_shell", "Function"])
def test_any_other_tool_is_refused(kind: str) -> None:
    refused("unsupported-tool", "tools[0]", tools=[{"type": kind, "name": "a"}])
    inside = {"type": "namespace", "name": "n", "tools": [{"type": kind, "name": "a"}]}
    refused("unsupported-tool", "tools[0].tools[0]", tools=[inside])


# --- 7, response formats


def test_response_formats() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    given = {"type": "json_schema", "json_schema": {"name": "answer", "description": "Says.", "schema": schema}}
    assert developer(chat.to_harmony([], response_format=given)) == DeveloperContent().with_response_format(
        "answer", schema, "Says."
    )
    (form,) = developer(chat.to_harmony([], response_format={"type": "json_object"})).response_formats or ()
    assert form.schema == {"type": "object"}
    assert len(chat.to_harmony([], response_format={"type": "text"}).messages) == 1
    refused("unsupported-format", "response_format", response_format={"type": "grammar"})
    nameless = {"type": "json_schema", "json_schema": {"schema": schema}}
    refused("invalid-field", "response_format.json_schema.name", response_format=nameless)


# --- 9, fields that would be lost


@pytest.mark.parametrize("name", ["annotations", "reasoning_details", "thinking_blocks", "prefix", "tool_call_id"])
def test_a_field_that_would_be_lost_is_refused(name: str) -> None:
    reply = {"role": "assistant", "content": "A", name: ["x"]}
    refused("unsupported-field", f"messages[0].{name}", reply)


@pytest.mark.parametrize("name", ["tool_calls", "function_call", "refusal", "reasoning", "thinking", "tool_call_id"])
def test_a_field_of_another_role_is_refused(name: str) -> None:
    refused("unsupported-field", f"messages[1].{name}", USER, {"role": "user", "content": "A", name: "x"})


def test_a_name_stands_beside_a_text_of_its_author() -> None:
    reply = {"role": "assistant", "name": "al", "reasoning": "Hm.", "tool_calls": [call()]}
    assert said({**reply, "content": "A"})[1].author == Author.new(Role.ASSISTANT, "al")
    assert said({"role": "assistant", "name": "al"})[0].author == Author.new(Role.ASSISTANT, "al")
    refused("unsupported-field", "messages[0].name", reply)


def test_a_name_of_the_system_would_be_lost() -> None:
    refused("unsupported-field", "messages[0].name", {"role": "system", "name": "example_user", "content": "A"})


def test_empty_and_unknown_fields_are_left_out() -> None:
    fields = {"annotations": [], "audio": {"id": "a"}, "images": [1], "logprobs": {}, "refusal": None, "x-trace": "y"}
    assert shown(said({"role": "assistant", "content": "A", **fields})) == [("assistant", "final", None, "A")]


def test_objects_of_openai_are_read() -> None:
    given = {"role": "assistant", "content": None, "tool_calls": [call(arguments='{"a": "é"}')]}
    assert said(ChatCompletionMessage.model_validate(given)) == said(given)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="Expected `SystemContent`, got `bool` - at `system`"):
        chat.to_harmony([], system=True)  # type: ignore[arg-type]
