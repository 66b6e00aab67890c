"""Items of the Responses API to Harmony and back, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response, ResponseFormatTextJSONSchemaConfig, Tool
from pydantic import TypeAdapter

from harmony import DeveloperContent, HarmonyEncoding, Message, ReasoningEffort, Role, SystemContent, responses
from harmony.conversion.given import ConversionError
from helpers.apis import check_item, check_response
from helpers.chats import TOOLS, function
from helpers.talk import message

USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "call_id": "call_7", "name": "sky", "arguments": "{}"}


def said(*items: Any, **fields: Any) -> list[Message]:
    """What is made of the items, without the system message."""
    return responses.to_harmony(items, **fields).messages[1:]


def shown(messages: list[Message]) -> list[tuple[str | None, ...]]:
    """Each message's author, channel, recipient and text."""
    return [(one.author.name or one.author.role.value, one.channel, one.recipient, one.text) for one in messages]


def refused(code: str, path: str, *items: Any, **fields: Any) -> str:
    """The text of the ConversionError that is raised, with this code and path."""
    with pytest.raises(ConversionError) as caught:
        responses.to_harmony(items, **fields)
    assert (caught.value.code, caught.value.path) == (code, path)
    return str(caught.value)


# --- into Harmony: what the fields of a request say


def test_the_instructions_come_first() -> None:
    made = said({"role": "developer", "content": "B"}, USER, {"role": "system", "content": "C"}, instructions="A")
    assert made[0].content == [DeveloperContent(instructions="A\n\nB")]
    assert made[2].content == [DeveloperContent(instructions="C")]


def test_a_text_is_a_users_message() -> None:
    assert responses.to_harmony("Hi").messages[1:] == [message("user", "Hi")]
    assert responses.to_harmony("").messages[1:] == [message("user", "")]


@pytest.mark.parametrize(("effort", "expected"), [("minimal", "Low"), ("medium", "Medium"), ("xhigh", "High")])
def test_the_effort(effort: str, expected: str) -> None:
    content = responses.to_harmony("Hi", reasoning={"effort": effort, "summary": "auto"}).messages[0].content[0]
    assert isinstance(content, SystemContent)
    assert content.reasoning_effort == ReasoningEffort(expected)
    refused("unknown-effort", "reasoning.effort", reasoning={"effort": "none"})


def test_the_format_of_the_text() -> None:
    schema = {"type": "object", "properties": {}}
    form = {"type": "json_schema", "name": "answer", "description": "Says.", "schema": schema, "strict": True}
    expected = DeveloperContent().with_response_format("answer", schema, "Says.")
    assert said(text={"format": form, "verbosity": "medium"})[0].content == [expected]
    assert said(text={"format": ResponseFormatTextJSONSchemaConfig.model_validate(form)})[0].content == [expected]
    assert said(text={"format": {"type": "text"}}) == []
    refused("unsupported-format", "text.format", text={"format": {"type": "grammar"}})
    refused("invalid-field", "text.format.type", text={"format": {"name": "answer", "schema": schema}})
    refused("unsupported-field", "text.verbosity", text={"verbosity": "low"})


# --- 8, items


def test_a_message_has_the_channel_of_its_phase() -> None:
    parts = [{"type": "output_text", "text": "A", "annotations": []}, {"type": "refusal", "refusal": "B"}]
    for phase, channel in (("commentary", "commentary"), ("final_answer", "final"), (None, "final")):
        item = {"type": "message", "role": "assistant", "phase": phase, "content": parts}
        (made,) = said(item)
        assert (made.channel, [part.to_dict()["text"] for part in made.content]) == (channel, ["A", "B"])
    refused("unsupported-field", "input[0].phase", {"role": "assistant", "phase": "other", "content": "A"})
    refused("unsupported-field", "input[0].phase", {"role": "user", "phase": "commentary", "content": "A"})


def test_reasoning_is_its_content_or_else_its_summary() -> None:
    summary = [{"type": "summary_text", "text": "A"}, {"type": "summary_text", "text": "B"}]
    content = [{"type": "reasoning_text", "text": "C"}]
    both = {"type": "reasoning", "id": "rs", "summary": summary, "content": content, "encrypted_content": "x"}
    alone = {"type": "reasoning", "id": "rs", "summary": summary, "content": None}
    made = said(both, alone, {"type": "reasoning", "summary": []})
    assert shown(made) == [("assistant", "analysis", None, "C"), ("assistant", "analysis", None, "A\nB")]
    refused(
        "unsupported-field",
        "input[0].encrypted_content",
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a":"é"}', '{"a":"é"}'),
        (' "\\u00e9" ', ' "\\u00e9" '),
        ("ls", "ls"),
        (None, "{}"),
        ({"a": "é"}, '{"a": "é"}'),
    ],
)
def test_a_call_and_its_output(arguments: Any, expected: str) -> None:
    call = {**CALL, "arguments": arguments}
    inside = {**call, "call_id": "call_8", "namespace": "crm", "name": "find"}
    parts = [{"type": "input_text", "text": "B"}, {"type": "input_text", "text": "C"}]
    outputs = [
        {"type": "function_call_output", "call_id": "call_7", "output": "A"},
        {"type": "function_call_output", "call_id": "call_8", "output": parts},
    ]
    made = said(call, inside, *outputs)
    assert shown(made) == [
        ("assistant", "commentary", "functions.sky", expected),
        ("assistant", "commentary", "crm.find", expected),
        ("functions.sky", "commentary", "assistant", "A"),
        ("crm.find", "commentary", "assistant", "BC"),
    ]
    assert [one.content_type for one in made] == ["json", "json", None, None]


@pytest.mark.parametrize("kind", ["function_call_output", "custom_tool_call_output"])
def test_an_output_of_no_call_is_refused(kind: str) -> None:
    refused("unknown-call", "input[1].call_id", USER, {"type": kind, "call_id": "call_9", "output": "A"})
    image = {"type": "input_image", "image_url": "data:,"}
    output = {"type": kind, "call_id": "call_7", "output": [image]}
    refused("unsupported-content", "input[1].output[0]", CALL, output)


def test_a_custom_call_and_its_output() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": 'ls "é"'}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": "A"}
    assert shown(said(call, output)) == [
        ("assistant", "commentary", "functions.run", '{"input": "ls \\"é\\""}'),
        ("functions.run", "commentary", "assistant", "A"),
    ]


def test_an_mcp_call_has_its_output() -> None:
    call = {"type": "mcp_call", "id": "m", "server_label": "docs", "name": "look_up", "arguments": "{}"}
    assert shown(said({**call, "output": "A"})) == [
        ("assistant", "commentary", "docs.look_up", "{}"),
        ("docs.look_up", "commentary", "assistant", "A"),
    ]
    assert len(said({**call, "output": None})) == 1
    assert len(said({**call, "output": ""})) == 2
    refused("unsupported-field", "input[0].error", {**call, "error": "No."})


@pytest.mark.parametrize("can_run", [[], ["python"]])
def test_code_is_a_call_of_python_with_what_it_gave(can_run: list[str]) -> None:
    outputs = [{"type": "logs", "logs": "A"}, {"type": "logs", "logs": "B"}]
    call = {"type": "code_interpreter_call", "id": "ci", "code": "1 + 1", "container_id": "c", "outputs": outputs}
    made = said(call, {**call, "outputs": None}, builtin_tools=can_run)
    assert shown(made) == [
        ("assistant", "analysis", "python", "1 + 1"),
        ("python", "analysis", "assistant", "A\nB"),
        ("assistant", "analysis", "python", "1 + 1"),
    ]
    assert made[0].content_type == "code"
    image = {**call, "outputs": [{"type": "image", "url": "data:,"}]}
    refused("unsupported-content", "input[0].outputs[0]", image)


def test_a_search_is_a_call_of_the_browser_with_its_sources() -> None:
    search = {"type": "search", "query": "a", "queries": ["a", "é"], "sources": [{"type": "url", "url": "https://b/"}]}
    actions = [
        search,
        {"type": "search", "query": "a"},
        {"type": "search", "query": "a", "queries": ["b"]},
        {"type": "open_page", "url": "https://a/"},
        {"type": "find_in_page", "url": "https://a/", "pattern": "b"},
    ]
    made = said(*({"type": "web_search_call", "id": "ws", "action": action} for action in actions))
    assert {one.channel for one in made} == {"analysis"}
    assert [(one.recipient, one.text) for one in made] == [
        ("browser.search", '{"query": "a"}'),
        ("browser.search", '{"query": "é"}'),
        ("assistant", "https://b/"),
        ("browser.search", '{"query": "a"}'),
        ("browser.search", '{"query": "a"}'),
        ("browser.search", '{"query": "b"}'),
        ("browser.open", '{"id": "https://a/"}'),
        ("browser.find", '{"pattern": "b", "id": "https://a/"}'),
    ]
    refused("unsupported-content", "input[0].action", {"type": "web_search_call", "action": {"type": "click"}})


def test_more_tools_are_declared_where_they_stand() -> None:
    more = {"type": "additional_tools", "role": "developer", "tools": [function("b"), {"type": "web_search"}]}
    call = {**CALL, "name": "b"}
    conversation = responses.to_harmony([USER, more, call], tools=TOOLS, builtin_tools=["browser"])
    assert [one.author.role for one in conversation][1:4] == [Role.DEVELOPER, Role.USER, Role.DEVELOPER]
    declared = conversation.messages[3].content[0]
    assert isinstance(declared, DeveloperContent)
    assert declared.tools is not None
    assert [tool.name for tool in declared.tools["functions"].tools] == ["b"]
    assert conversation.messages[0].content == [SystemContent.new().with_browser_tool()]
    refused("unsupported-tool", "input[1].tools[1]", USER, more)


@pytest.mark.parametrize(
    "kind", ["item_reference", "file_search_call", "image_generation_call", "computer_call", "mcp_list_tools", "other"]
)
def test_any_other_item_is_refused(kind: str) -> None:
    refused("unsupported-item", "input[1]", USER, {"type": kind, "id": "x"})


# --- 9, fields that would be lost


@pytest.mark.parametrize("name", ["name", "tool_calls", "function_call", "tool_call_id", "refusal", "reasoning"])
def test_a_field_of_chat_completions_is_refused(name: str) -> None:
    refused("unsupported-field", f"input[0].{name}", {"role": "assistant", "content": "A", name: "x"})


def test_a_field_that_would_be_lost_is_refused() -> None:
    cited = {"type": "output_text", "text": "A", "annotations": [{"type": "url_citation", "url": "https://a/"}]}
    refused("unsupported-field", "input[0].content[0].annotations", {"role": "assistant", "content": [cited]})
    refused("unsupported-field", "input[0].async", {**CALL, "async": True})
    program = {"type": "program", "caller_id": "p"}
    refused("unsupported-field", "input[0].caller", {**CALL, "caller": program})
    assert len(said({**CALL, "caller": {"type": "direct"}, "status": "completed", "id": "fc"})) == 1
    assert "`tool`" not in refused("invalid-field", "input[0].role", {"role": "critic", "content": "A"})


# --- out of Harmony


def calling(recipient: str, text: str = "{}", channel: str | None = "commentary") -> Message:
    return message("assistant", text, channel=channel, recipient=recipient)


def made_of(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    """The items, which openai takes for both ways, without their ids and statuses."""
    made = responses.from_harmony(messages, **fields)
    for item in made:
        check_item(item)
        assert item["status"] == "completed"
    return [{key: value for key, value in item.items() if key not in ("id", "call_id", "status")} for item in made]


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("functions.sky", {"type": "function_call", "name": "sky", "arguments": "{}"}),
        ("sky", {"type": "function_call", "name": "sky", "arguments": "{}"}),
        ("functions.a.b", {"type": "function_call", "name": "a.b", "arguments": "{}"}),
        ("crm.find", {"type": "function_call", "name": "find", "namespace": "crm", "arguments": "{}"}),
        ("crm.new", {"type": "function_call", "name": "new", "namespace": "crm", "arguments": "{}"}),
        ("functions.run", {"type": "custom_tool_call", "name": "run", "input": "{}"}),
        ("docs.a.b", {"type": "mcp_call", "server_label": "docs", "name": "a.b", "arguments": "{}"}),
        ("python", {"type": "code_interpreter_call", "code": "{}", "container_id": "auto", "outputs": None}),
        ("browser.new", {"type": "function_call", "name": "browser.new", "arguments": "{}"}),
    ],
)
def test_a_recipient_is_a_call(recipient: str, expected: dict[str, Any]) -> None:
    for channel in ("commentary", "analysis", "final", None):
        assert made_of(calling(recipient, channel=channel), tools=TOOLS) == [expected]


@pytest.mark.parametrize(
    ("tool", "arguments", "action"),
    [
        ("search", '{"query": "a", "topn": 5}', {"type": "search", "query": "a", "queries": ["a"]}),
        ("open", '{"id": 3}', {"type": "open_page", "url": None}),
        ("open", '{"id":"https://a/"}', {"type": "open_page", "url": "https://a/"}),
        ("find", '{"pattern": "a"}', {"type": "find_in_page", "url": "", "pattern": "a"}),
    ],
)
def test_the_browser_searches(tool: str, arguments: str, action: dict[str, Any]) -> None:
    (made,) = made_of(calling(f"browser.{tool}", arguments))
    assert made == {"type": "web_search_call", "action": action, "arguments": arguments}
    (back,) = said(made)
    assert (back.recipient, back.text) == (f"browser.{tool}", arguments)


@pytest.mark.parametrize("arguments", ["", "sky", "[]", '{"query": 5}', '{"query": "a"', "\ufffd", "[" * 5000])
def test_a_search_without_json_is_verbatim(arguments: str) -> None:
    call = {"type": "function_call", "name": "browser.search", "arguments": arguments}
    assert made_of(calling("browser.search", arguments)) == [call]


@pytest.mark.parametrize("recipient", ["assistant", "user", "all", "system", "tool", "analysis", "commentary", "final"])
def test_roles_and_channels_are_never_called(recipient: str) -> None:
    (made,) = made_of(calling(recipient, "A", channel=None))
    assert (made["type"], made["phase"], made["content"][0]["text"]) == ("message", "final_answer", "A")


@pytest.mark.parametrize(
    ("channel", "phase"),
    [("commentary", "commentary"), ("final", "final_answer"), (None, "final_answer"), ("other", "final_answer")],
)
def test_a_text_has_the_phase_of_its_channel(channel: str | None, phase: str) -> None:
    reasoning, made = made_of(
        message("assistant", "Hm.", channel="analysis"), message("assistant", "A", channel=channel)
    )
    assert (reasoning["type"], reasoning["content"]) == ("reasoning", [{"type": "reasoning_text", "text": "Hm."}])
    assert (made["type"], made["phase"], made["content"][0]["text"]) == ("message", phase, "A")


def test_only_the_assistants_messages_are_taken() -> None:
    talk = [message("user"), message("assistant", "A"), message("tool", name="f"), calling("a"), calling("docs.b")]
    made = responses.from_harmony(talk)
    assert [item["id"] for item in made] == ["msg_0", "fc_1", "mcp_2"]
    assert made[1]["call_id"] == "call_0"
    assert [item["id"] for item in responses.from_harmony(talk, item_id="x{}".format)] == ["x0", "x1", "x2"]


def test_a_name_is_repaired_and_told() -> None:
    found: list[Any] = []
    made = made_of(message("assistant", "A"), calling("crm.find()"), calling("sky?"), tools=TOOLS, diagnostics=found)
    assert [(item["name"], item.get("namespace")) for item in made[1:]] == [("find", "crm"), ("sky", None)]
    assert [(one.code, one.position) for one in found] == [("repaired-tool-name", 1), ("repaired-tool-name", 2)]


@pytest.mark.parametrize(
    "text", ['{"a": "é"}', '{"a":"\\u00e9"}', " {}\n", "no JSON", "", "[1.0, 1e5]", "日本 \U0001f324 \x00"]
)
@pytest.mark.parametrize(("recipient", "field"), [("sky", "arguments"), ("docs.b", "arguments"), ("python", "code")])
def test_arguments_are_the_text_of_the_model(text: str, recipient: str, field: str) -> None:
    assert made_of(calling(recipient, text))[0][field] == text


# --- whole responses


def whole(encoding: HarmonyEncoding, text: str, **fields: Any) -> dict[str, Any]:
    tokens = encoding.encode(text, allowed_special="all")
    made = responses.response(encoding.parse(tokens, "assistant", strict=False), model="m", **fields)
    check_response(made)
    return made


def test_a_response_has_all_fields(encoding: HarmonyEncoding) -> None:
    text = "<|channel|>analysis<|message|>One two three.<|end|><|start|>assistant<|channel|>final<|message|>A<|return|>"
    made = whole(encoding, text, prompt_tokens=5, tools=TOOLS, id="x", created_at=7, metadata={"a": "b"})
    size = len(encoding.encode(text, allowed_special="all"))
    read = Response.model_validate(made)
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens, read.usage.total_tokens) == (5, size, size + 5)
    assert read.usage.output_tokens_details.reasoning_tokens == len(encoding.encode("One two three."))
    assert (read.id, read.created_at, read.metadata, read.status) == ("x", 7, {"a": "b"}, "completed")
    assert read.output_text == "A"
    assert made["tools"] == TOOLS
    assert responses.response(encoding.parse_text(text, "assistant"), model="m")["usage"] is None


@pytest.mark.parametrize(
    ("text", "status", "of_items"),
    [
        ("<|channel|>final<|message|>A<|return|>", "completed", ["completed"]),
        ("<|channel|>final<|message|>A", "incomplete", ["incomplete"]),
        ("<|channel|>commentary to=functions.a<|message|>{}", "incomplete", ["incomplete"]),
        ("<|channel|>commentary to=a.b<|message|>{}", "incomplete", ["incomplete"]),
        ("<|channel|>analysis to=python<|message|>{}", "incomplete", ["incomplete"]),
        ('<|channel|>analysis to=browser.search<|message|>{"query": "a"}', "incomplete", ["incomplete"]),
        ("<|channel|>final<|message|>A<|end|><|start|>assistant<|channel|>fin", "incomplete", ["completed"]),
        ("<|channel|>final", "incomplete", []),
        ("<|return|>", "completed", []),
    ],
)
def test_what_is_cut_off_is_incomplete(encoding: HarmonyEncoding, text: str, status: str, of_items: list[str]) -> None:
    made = whole(encoding, text)
    assert made["status"] == status
    assert made["incomplete_details"] == (None if status == "completed" else {"reason": "max_output_tokens"})
    assert [item["status"] for item in made["output"]] == of_items


def test_the_output_of_openai_is_read(encoding: HarmonyEncoding) -> None:
    call = "<|start|>assistant to=functions.sky<|channel|>commentary<|message|>{}<|call|>"
    text = f"<|channel|>analysis<|message|>Hm.<|end|>{call}"
    made = whole(encoding, text)
    output = Response.model_validate(made).output
    assert said(*output) == said(*made["output"])
    assert shown(said(*output)) == [
        ("assistant", "analysis", None, "Hm."),
        ("assistant", "commentary", "functions.sky", "{}"),
    ]


def test_the_tools_of_openai_are_read() -> None:
    given = [TypeAdapter[Any](Tool).validate_python(tool) for tool in TOOLS]
    assert said(tools=given) == said(tools=TOOLS)
    slow = TypeAdapter[Any](Tool).validate_python(function("slow", **{"async": True}))
    refused("unsupported-field", "tools[0].async", tools=[slow])


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"Expected `Message`, got `dict` - at `messages\[0\]`"):
        responses.from_harmony([USER])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="Expected `ParseResult`, got `NoneType` - at `result`"):
        responses.response(None, model="m")  # type: ignore[arg-type]
    refused("invalid-field", "instructions", instructions=["A"])
