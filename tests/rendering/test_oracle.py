"""Rendering against openai-harmony, and style "oss" against what oss-harmony made of the same conversations."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harmony
from harmony import HarmonyEncoding, RenderError
from harmony.format.header import is_channel
from helpers.conversations import PARAMETERS, conversations
from helpers.paths import DATA
from helpers.sizes import examples

OSS_STYLE = DATA / "oss_style.jsonl.gz"
ROLES = ["assistant", "user", "system", "developer", "tool"]


def result(render: Callable[..., list[int]], *arguments: Any, refusal: type[Exception]) -> list[int] | None:
    """What a call gives, or None where it refuses."""
    try:
        return render(*arguments)
    except refusal:
        return None


def rendered(
    library: Any, encoding: Any, conversation: Any, drop: bool, next_role: str, refusal: type[Exception]
) -> list[list[int] | None]:
    """What every call of a library gives: for the conversation whole, and for each message of it by itself."""
    config = library.RenderConversationConfig(auto_drop_analysis=drop)
    options = [library.RenderOptions(conversation_has_function_tools=tools) for tools in (False, True)]
    role = library.Role(next_role)
    return [
        result(encoding.render_conversation, conversation, config, refusal=refusal),
        result(encoding.render_conversation_for_completion, conversation, role, config, refusal=refusal),
        result(encoding.render_conversation_for_training, conversation, config, refusal=refusal),
        *(
            result(encoding.render, message, option, refusal=refusal)
            for message in conversation.messages
            for option in options
        ),
    ]


def assert_alike(
    data: dict[str, Any], encoding: HarmonyEncoding, reference: Any, *, drop: bool = True, next_role: str = "assistant"
) -> None:
    """Both libraries give the same tokens, or both refuse."""
    payload = json.dumps(data)
    conversation = harmony.Conversation.from_json(payload)
    ours = rendered(harmony, encoding, conversation, drop, next_role, RenderError)
    # It refuses in Rust, in pydantic, or on the way from one to the other.
    conversation = reference.Conversation.from_json(payload)
    assert ours == rendered(reference, reference.encoding, conversation, drop, next_role, Exception)


def developer(parameters: Any) -> dict[str, Any]:
    """A conversation that declares one tool with these parameters."""
    tools = [{"name": "f", "description": "", "parameters": parameters}]
    namespaces = {"functions": {"name": "functions", "tools": tools}}
    return {"messages": [{"role": "developer", "content": [{"type": "developer_content", "tools": namespaces}]}]}


def test_what_refuses_is_a_value_error_too() -> None:
    assert issubclass(RenderError, harmony.HarmonyError)
    assert issubclass(RenderError, ValueError)


@examples(2000, quick=100)
@given(data=conversations(), drop=st.booleans(), next_role=st.sampled_from(ROLES))
def test_conversations(
    data: dict[str, Any], drop: bool, next_role: str, encoding: HarmonyEncoding, openai_harmony: Any
) -> None:
    assert_alike(data, encoding, openai_harmony, drop=drop, next_role=next_role)


@examples(3000, quick=150)
@given(parameters=PARAMETERS)
def test_parameters_of_tools(parameters: dict[str, Any], encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    assert_alike(developer(parameters), encoding, openai_harmony)


# What JSON cannot hold, and so only objects can.


def with_parameters(library: Any, parameters: dict[str, Any]) -> Any:
    tool = library.ToolDescription.new("f", "", parameters)
    content = library.DeveloperContent.new().with_function_tools([tool])
    return library.Message.from_role_and_content(library.Role.DEVELOPER, content)


def both_render(
    build: Callable[[Any], Any], encoding: HarmonyEncoding, reference: Any
) -> tuple[list[int] | None, list[int] | None]:
    """What each library makes of the message that `build` makes of its classes."""
    return (
        result(encoding.render, build(harmony), refusal=RenderError),
        result(reference.encoding.render, build(reference), refusal=Exception),
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["default", "enum", "unknown"])
def test_numbers_that_are_none(key: str, number: float, encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number", key: [{"b": number}]}}}
    mine, theirs = both_render(lambda library: with_parameters(library, schema), encoding, openai_harmony)
    assert mine is None
    assert theirs is None


def by_assistant(library: Any, text: str = "", name: str | None = None, **fields: str) -> Any:
    author = library.Author(role=library.Role.ASSISTANT, name=name)
    return library.Message(author=author, content=[library.TextContent(text=text)], **fields)


def by_system(library: Any, **fields: Any) -> Any:
    return library.Message.from_role_and_content(library.Role.SYSTEM, library.SystemContent(**fields))


def by_developer(library: Any, key: str = "k", instructions: str | None = None, **fields: str) -> Any:
    tool = library.ToolDescription.new(fields.get("tool", "f"), fields.get("tool_description", ""))
    namespace = library.ToolNamespaceConfig(
        name=fields.get("namespace", "functions"), description=fields.get("description"), tools=[tool]
    )
    content = library.DeveloperContent(instructions=instructions, tools={key: namespace})
    return library.Message.from_role_and_content(library.Role.DEVELOPER, content)


#: Every place for a string: what makes a message that has this one there.
PLACES: dict[str, Callable[[Any, str], Any]] = {
    "text": lambda library, text: by_assistant(library, text=text),
    "name": lambda library, text: by_assistant(library, name=text),
    "recipient": lambda library, text: by_assistant(library, recipient=text),
    "channel": lambda library, text: by_assistant(library, channel=text),
    "content type": lambda library, text: by_assistant(library, recipient="f", content_type=text),
    "identity": lambda library, text: by_system(library, model_identity=text),
    "date": lambda library, text: by_system(library, conversation_start_date=text),
    "channels": lambda library, text: by_system(library, channel_config=library.ChannelConfig.require_channels([text])),
    "instructions": lambda library, text: by_developer(library, instructions=text),
    "key": lambda library, text: by_developer(library, key=text),
    "namespace": lambda library, text: by_developer(library, namespace=text),
    "description": lambda library, text: by_developer(library, description=text),
    "tool": lambda library, text: by_developer(library, tool=text),
    "tool description": lambda library, text: by_developer(library, tool_description=text),
    "property": lambda library, text: with_parameters(library, {"type": "object", "properties": {text: {}}}),
    "default": lambda library, text: with_parameters(library, {"oneOf": [{"default": {"a": [text]}}]}),
    "unused": lambda library, text: with_parameters(library, {"unknown": text}),
}


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "\udc00\ud800"])
@pytest.mark.parametrize("place", PLACES)
def test_lone_surrogates(place: str, text: str, encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    mine, theirs = both_render(lambda library: PLACES[place](library, text), encoding, openai_harmony)
    assert mine is None
    assert theirs is None


@pytest.mark.parametrize("place", PLACES)
def test_a_pair_of_surrogates_is_a_character(place: str, encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    mine, theirs = both_render(lambda library: PLACES[place](library, "\ud835\udc00"), encoding, openai_harmony)
    assert theirs is not None
    assert mine == theirs


# Where we differ on purpose.


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "John Smith"},
        {"name": "no\u00a0break"},
        {"name": "zero\u200bwidth"},
        {"name": "<|start|>"},
        {"name": ""},
        {"role": "tool", "name": "two tools"},
        {"role": "tool", "name": ""},
        {"role": "tool", "name": "user"},
        {"role": "tool", "name": "user:functions.f"},
        {"role": "tool", "name": "to=functions.f"},
        {"recipient": "functions.f functions.g"},
        {"recipient": 'functions.f{"a":1}'},
        {"recipient": "line\nend"},
        {"recipient": ""},
        {"channel": "final "},
        {"channel": "to=functions.f"},
        {"channel": "<|channel|>"},
        {"channel": ""},
        {"content_type": "python"},
        {"content_type": "application.json", "recipient": "f"},
        {"content_type": "json json", "recipient": "f"},
        {"content_type": "to=f", "recipient": "f"},
        {"content_type": "<|constrain|>a.b"},
        {"content_type": "<|constrain|>"},
        {"content_type": ""},
    ],
    ids=lambda fields: ascii(list(fields.values())),
)
def test_what_no_header_can_hold_is_refused_by_us_alone(
    fields: dict[str, str], encoding: HarmonyEncoding, openai_harmony: Any
) -> None:
    payload = json.dumps({"messages": [{"role": "assistant", "content": "", **fields}]})
    assert openai_harmony.encoding.render_conversation(openai_harmony.Conversation.from_json(payload))
    field = next(field for field in ["content_type", "channel", "recipient", "name"] if field in fields)
    with pytest.raises(RenderError, match=rf"at `messages\[0\]\..*{field}`"):
        encoding.render_conversation(harmony.Conversation.from_json(payload))


@pytest.mark.parametrize("number", [0.36773175641096845, 2.7715077941825975e-163, 1.8315072400472746e55])
def test_numbers_are_exact_with_us_alone(number: float, encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    """openai-harmony reads one float in ten between 0 and 1 as its neighbour."""
    schema = {"type": "object", "properties": {"a": {"type": "number", "default": number}}}
    written = re.compile(r"// default: (.*)\n")
    mine, theirs = both_render(lambda library: with_parameters(library, schema), encoding, openai_harmony)
    assert mine is not None
    assert theirs is not None
    (exact,) = written.findall(encoding.decode(mine))
    (near,) = written.findall(encoding.decode(theirs))
    assert float(exact) == number
    assert float(near) in (math.nextafter(number, 0), math.nextafter(number, math.inf))


# Style "oss".


def test_style_oss(encoding: HarmonyEncoding) -> None:
    """The file was written by data/oss_style.py: drawn conversations, then every kind of header."""
    cases = [json.loads(line) for line in gzip.decompress(OSS_STYLE.read_bytes()).splitlines()]
    different = []
    for case in cases:
        conversation = harmony.Conversation.from_dict(case["conversation"])
        config = harmony.RenderConversationConfig(auto_drop_analysis=case["drop"], style="oss")
        calls: dict[str, Callable[[], list[int]]] = {
            "conversation": partial(encoding.render_conversation, conversation, config),
            "completion": partial(encoding.render_conversation_for_completion, conversation, case["next_role"], config),
            "training": partial(encoding.render_conversation_for_training, conversation, config),
        }
        odd = any(not is_channel(message.channel or "final") for message in conversation)  # only oss-harmony takes it
        if result(calls[case["purpose"]], refusal=RenderError) != (None if odd else case["tokens"]):
            different.append(case["conversation"])
    assert not different, f"{len(different)} of {len(cases)} differ, the shortest: {min(different, key=_length)}"


def _length(data: Any) -> int:
    return len(json.dumps(data))
