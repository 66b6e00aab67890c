"""Whatever stands wherever in a request: it is read, or a ConversionError leads to it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from pydantic import BaseModel

from harmony import SystemContent, chat, responses
from harmony.conversion.given import ConversionError
from harmony.errors import TABLE, code_of


class _Dumped:
    """An object whose `model_dump` gives no dict."""

    def model_dump(self) -> int:
        return 5


class _Answer(BaseModel):
    """A class where an object is expected: users pass such a class to other functions."""

    text: str


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    return nested


_DEEP: Final = _deep()


def _endless() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["a"] = data
    return data


_TEXT: Final = {"type": "text", "text": "A"}
HOSTILE: Final[list[Callable[[], Any]]] = [
    *[lambda value=value: value for value in (None, True, 5, 0, float("nan"), b"x", "", "x", "\ud800", object())],
    *[lambda value=value: value for value in (int, list, dict, _Dumped, _Answer, _Dumped(), _Answer(text="A"))],
    *[lambda value=value: value for value in ([], {}, [None], [1], ["x"], [[]], ({},), {"x"}, range(3))],
    *[lambda value=value: value for value in ({"a": 1}, {1: 2}, {"a": float("nan")}, {"a": object()}, {"a": {1: {2}}})],
    *[lambda value=value: value for value in (_TEXT, {"type": 5}, {"type": []}, {"type": "x"}, {"role": None})],
    *[lambda value=value: value for value in ({"type": "function", "function": {"name": "f", "parameters": "x"}},)],
    lambda: iter([1]),
    lambda: _DEEP,
    lambda: {"a": _DEEP},
    _endless,
    lambda: {"type": "function", "name": "f", "parameters": {1: 2}, "arguments": _endless()},
]

_PARTS: Final = [_TEXT]
_CALLS: Final = [
    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "d", "type": "custom", "custom": {"name": "g", "input": "A"}},
]
_SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "string"}}}
_CHAT: Final[dict[str, Any]] = {
    "messages": [
        {"role": "system", "content": _PARTS},
        {"role": "user", "name": "bob", "content": _PARTS},
        {"role": "assistant", "name": "al", "reasoning": "A", "content": "B", "tool_calls": _CALLS},
        {"role": "assistant", "function_call": {"name": "f", "arguments": {"a": 1}}, "refusal": "A"},
        {"role": "assistant", "thinking": "A", "content": [{"type": "refusal", "refusal": "B"}]},
        {"role": "tool", "tool_call_id": "c", "content": _PARTS},
        {"role": "function", "name": "f", "content": "A"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "A", "parameters": _SCHEMA}},
        {"type": "custom", "custom": {"name": "g", "description": "A", "format": {"type": "text"}}},
        {"type": "namespace", "name": "crm", "description": "A", "tools": [{"type": "function", "name": "h"}]},
        {"type": "web_search"},
    ],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA, "description": "A"}},
    "reasoning_effort": "low",
    "builtin_tools": ["browser"],
}
_INPUT: Final[list[Any]] = [
    {"type": "message", "role": "system", "content": "A"},
    {"role": "user", "content": [{"type": "input_text", "text": "A"}]},
    {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "A"}]},
    {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "A"}]},
    {"role": "assistant", "phase": "commentary", "content": [{"type": "output_text", "text": "A", "annotations": []}]},
    {"type": "function_call", "call_id": "c", "name": "f", "namespace": "crm", "arguments": "{}"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": {}, "caller": {"type": "direct"}},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "A"}]},
    {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "A"},
    {"type": "custom_tool_call_output", "call_id": "d", "output": "A"},
    {"type": "mcp_call", "id": "m", "server_label": "l", "name": "n", "arguments": "{}", "output": "A"},
    {"type": "code_interpreter_call", "id": "ci", "code": "1", "outputs": [{"type": "logs", "logs": "2"}]},
    {"type": "web_search_call", "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}]}},
    {"type": "web_search_call", "action": {"type": "search", "queries": ["q"]}},
    {"type": "web_search_call", "action": {"type": "find_in_page", "pattern": "q", "url": "u"}},
    {"type": "web_search_call", "action": {"type": "open_page", "url": "u"}},
    {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "z"}]},
]
_RESPONSES: Final[dict[str, Any]] = {
    "input": _INPUT,
    "instructions": "A",
    "tools": [
        {"type": "function", "name": "f", "parameters": _SCHEMA},
        {"type": "namespace", "name": "crm", "description": "A", "tools": [{"type": "function", "name": "h"}]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ],
    "text": {"format": {"type": "json_schema", "name": "n", "schema": _SCHEMA}, "verbosity": "medium"},
    "reasoning": {"effort": "low"},
    "builtin_tools": ["python"],
}


def of_chat(fields: dict[str, Any]) -> None:
    chat.to_harmony(**fields)


def of_responses(fields: dict[str, Any]) -> None:
    responses.to_harmony(**fields)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value inside."""
    if path:
        yield path
    for key, inside in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inside, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy with another value at a place."""
    if not path:
        return by
    changed = copy.copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], by)
    return changed


@pytest.mark.parametrize(
    ("convert", "request_"),
    [pytest.param(of_chat, _CHAT, id="chat"), pytest.param(of_responses, _RESPONSES, id="responses")],
)
def test_no_value_raises_anything_else(convert: Callable[[dict[str, Any]], None], request_: dict[str, Any]) -> None:
    convert(request_)
    codes = {code_of(key) for key in TABLE["conversion"]}
    refused = 0
    for place in places(request_):
        for make in HOSTILE:
            try:
                convert(replaced(request_, place, make()))
            except ConversionError as error:
                refused += 1
                told = error
            else:
                continue
            assert told.code in codes
            assert told.path
            assert told.path.split(".")[0].split("[")[0] in request_
            assert f"at `{told.path}`" in str(told)
    assert refused > 2000


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"messages": None}, "invalid-field", "messages"),
        ({"messages": "Hi"}, "invalid-field", "messages"),
        ({"messages": {"role": "user"}}, "invalid-field", "messages"),
        ({"messages": [None]}, "invalid-field", "messages[0]"),
        ({"messages": [[]]}, "invalid-field", "messages[0]"),
        ({"messages": [{}]}, "invalid-field", "messages[0].role"),
        ({"messages": [{"role": 5}]}, "invalid-field", "messages[0].role"),
        ({"messages": [{"role": "critic"}]}, "invalid-field", "messages[0].role"),
        ({"messages": [{"role": "user", "content": {}}]}, "invalid-field", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid-field", "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"A"}}]}, "invalid-field", "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "invalid-field", "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "unsupported-content", "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "invalid-field",
            "messages[0].content[0].text",
        ),
        ({"messages": [{"role": "user", "content": "A", "name": 5}]}, "invalid-field", "messages[0].name"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "invalid-field", "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "invalid-field", "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [None]}]}, "invalid-field", "messages[0].tool_calls[0]"),
        ({"messages": [], "tools": "x"}, "invalid-field", "tools"),
        ({"messages": [], "tools": [None]}, "invalid-field", "tools[0]"),
        ({"messages": [], "tools": [_Answer]}, "invalid-field", "tools[0]"),
        ({"messages": [], "tools": [{"type": "function"}]}, "invalid-field", "tools[0].name"),
        (
            {"messages": [], "tools": [{"type": "function", "name": "f", "parameters": "x"}]},
            "invalid-field",
            "tools[0].parameters",
        ),
        (
            {"messages": [], "tools": [{"type": "function", "name": "f", "parameters": {1: 2}}]},
            "invalid-field",
            "tools[0].parameters",
        ),
        ({"messages": [], "response_format": "json"}, "invalid-field", "response_format"),
        ({"messages": [], "response_format": _Answer}, "invalid-field", "response_format"),
        ({"messages": [], "response_format": {}}, "invalid-field", "response_format.type"),
        ({"messages": [], "builtin_tools": 5}, "invalid-field", "builtin_tools"),
        ({"messages": [], "builtin_tools": ["browser", []]}, "invalid-field", "builtin_tools[1]"),
    ],
)
def test_the_path_leads_to_the_fault(fields: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(ConversionError) as caught:
        chat.to_harmony(**fields)
    assert (caught.value.code, caught.value.path) == (code, path)


@pytest.mark.parametrize("arguments", [[1], 5, True, {"a": float("nan")}, {"a": object()}, {"a": b"x"}, _endless()])
def test_arguments_that_are_no_json(arguments: Any) -> None:
    calls = [_CALLS[0], {"id": "d", "function": {"name": "f", "arguments": arguments}}]
    with pytest.raises(ConversionError) as caught:
        chat.to_harmony([{"role": "assistant", "tool_calls": calls}])
    assert (caught.value.code, caught.value.path) == (
        "invalid-field",
        "messages[0].tool_calls[1].function.arguments",
    )


def test_an_error_is_copied_with_its_code_and_path() -> None:
    with pytest.raises(ConversionError) as caught:
        chat.to_harmony([None])
    for again in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert type(again) is ConversionError
        assert (str(again), again.code, again.path) == (str(caught.value), "invalid-field", "messages[0]")
    assert issubclass(ConversionError, ValueError)
    assert chat.ConversionError is responses.ConversionError is ConversionError


def test_no_tools_and_no_messages() -> None:
    assert chat.to_harmony([], tools=None, builtin_tools=None) == chat.to_harmony(())  # type: ignore[arg-type]
    assert chat.from_harmony([], tools=None) == []  # type: ignore[arg-type]
    assert responses.from_harmony([], tools=None) == []  # type: ignore[arg-type]
    assert [content for message in chat.to_harmony([]) for content in message.content] == [SystemContent.new()]


def test_what_is_given_stays_as_it_is() -> None:
    """Nothing that a caller gives is changed, and nothing that is made shares its texts' lists with it."""
    for convert, request in ((of_chat, _CHAT), (of_responses, _RESPONSES)):
        before = copy.deepcopy(request)
        convert(request)
        assert request == before
