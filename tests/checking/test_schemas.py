"""Linting holds against hostile schemas, arguments and objects."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import signal
import socket
import sys
import urllib.request
from typing import Any

import pytest

from harmony import (
    Author,
    Conversation,
    Diagnostic,
    Message,
    ToolNamespaceConfig,
)
from harmony.checking import schemas
from harmony.checking.rules import RULES, lint
from helpers.calls import DIAMOND, FINAL, FUNCTIONS, TOOLS, USER, at, call, calling, channels, result
from helpers.talk import assigned, conversation, developer, message, system, talk


class Lie(str):
    """A string that equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 5

    def __str__(self) -> str:
        raise RuntimeError


class Disguise:
    """An object that claims to be of another class."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    @property
    def __class__(self) -> Any:
        return self.kind


WRONG = [
    5,
    None,
    [],
    {},
    object(),
    b"x",
    Lie("final"),
    Disguise(str),
    Disguise(list),
    Disguise(Message),
    Disguise(Author),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "path",
    [
        "author",
        "author.role",
        "author.name",
        "channel",
        "recipient",
        "content_type",
        "content",
        "content.0.text",
        "content.0.channel_config",
        "content.0.channel_config.valid_channels",
        "content.0.channel_config.channel_required",
        "content.0.tools",
    ],
)
def test_attributes_of_wrong_types_are_passed_over(path: str, wrong: Any) -> None:
    given = talk()
    given.messages.insert(1, copy.deepcopy(TOOLS))
    for one in given.messages:
        try:
            assigned(one, path, wrong)
        except AttributeError:
            continue
    lint(given)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: type(value).__name__)
def test_things_of_wrong_types_inside_are_passed_over(wrong: Any) -> None:
    given = talk()
    given.messages.append(wrong)
    given.messages.append(assigned(message("assistant", recipient="functions.f"), "content", [wrong]))
    given.messages[0].content[0].channel_config.valid_channels.append(wrong)
    part: Any = given.messages[1].content[0]
    part.tools["functions"].tools.append(wrong)
    part.tools["other"] = wrong
    part.tools["functions"].tools[0].parameters["properties"] = wrong
    lint(given)
    for name in ("name", "tools"):
        setattr(part.tools["functions"], name, wrong)
        lint(given)


def test_deleted_attributes_are_absent() -> None:
    given = talk()
    for one in given.messages:
        del one.channel, one.content
        del one.author.name
    assert {diagnostic.code for diagnostic in lint(given)} == {
        "undeclared-tool",
        "call-off-commentary",
        "result-without-call",
    }
    del given.messages[0].author
    lint(given)


def test_a_dict_in_the_place_of_a_record_declares_as_rendering_has_it() -> None:
    given = conversation(developer(), call("functions.f"), call("python"))
    part: Any = given.messages[0].content[0]
    part.tools = {"functions": {"name": "functions", "tools": [{"name": "f"}, 5]}, "x": ToolNamespaceConfig.python()}
    assert lint(given, select=["undeclared-tool"]) == []


def test_schemas_that_cannot_be_written() -> None:
    circle: dict[str, Any] = {"type": "object"}
    circle["properties"] = {"a": circle}
    deep: Any = True
    for _ in range(100_000):
        deep = {"not": deep}
    for schema in (circle, deep, {"enum": [object()]}, {(1, 2): 3}, {"minimum": 10**5000}):
        given = calling("{}", {})
        part: Any = given.messages[0].content[0]
        part.tools["functions"].tools[0].parameters = schema
        assert at("unusable-schema", given) == [0]


def nested(levels: int) -> tuple[str, dict[str, Any]]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return '{"a":' * levels + "1" + "}" * levels, schema


def test_schemas_may_be_nested_within_reason() -> None:
    for levels in (1, 10, 20):
        text, schema = nested(levels)
        assert lint(calling(text, schema)) == []
        assert at("arguments-break-schema", calling(text.replace("1", "null"), schema)) == [2]
    for levels in (100, 200, 300):
        text, schema = nested(levels)
        assert at("unusable-schema", calling(text, schema)) == [0]


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"not": {"$ref": "#"}}, nested(20)[1]])
def test_a_check_never_meets_the_limit_of_recursion(schema: Any, capfd: pytest.CaptureFixture[str]) -> None:
    # There the Rust code below jsonschema panics, which is no Exception.
    def at_depth(depth: int) -> list[Diagnostic]:
        return at_depth(depth - 1) if depth else lint(given)

    for kind in ("a", [], 1, None, {}):
        given = calling(json.dumps(kind), {**schema, "oneOf": [{"type": "object"}, {"enum": ["a", 1, [[]]]}]})
        free = sys.getrecursionlimit() - len(inspect.stack())
        for depth in range(0, free - 40, 7):
            with contextlib.suppress(RecursionError):  # lint itself takes some frames
                assert all(one.code in RULES for one in at_depth(depth))
    assert capfd.readouterr().err == ""


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for keyword in ("$ref", "$dynamicRef", "$schema"):
        for address in ("http://localhost:9/x", "file:///etc/passwd", "http://["):
            found = at("unusable-schema", calling("{}", {keyword: address}))
            assert len(found) == (keyword != "$schema" or address == "http://[")


def test_a_schema_that_takes_too_many_steps_is_tried_once() -> None:
    given = calling("{}", {"$ref": "#/$defs/d0", "$defs": DIAMOND})
    given.messages += [call("functions.f", "{}") for _ in range(1000)]
    found = lint(given, select=["unusable-schema", "arguments-break-schema"])
    assert [(one.position, one.message.rpartition(": ")[2]) for one in found] == [(2, "it takes too many steps")]


class OutOfTimeError(Exception):
    pass


@pytest.mark.parametrize("error", [TimeoutError, KeyboardInterrupt, OutOfTimeError])
def test_what_a_signal_raises_in_the_middle_comes_out(error: type[BaseException]) -> None:
    def interrupt(*_: object) -> None:
        raise error

    class Interrupting(dict[str, Any]):
        def items(self) -> Any:
            signal.raise_signal(signal.SIGUSR1)
            return super().items()

    given = calling('{"a": 1}', {"properties": {"a": {"type": "integer"}}})
    part: Any = given.messages[0].content[0]
    part.tools["functions"].tools[0].parameters = Interrupting(type="object")
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(error):
            lint(given)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_raised_while_arguments_are_checked_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(schemas, "_cost", interrupt)  # called at each step of a check
    with pytest.raises(TimeoutError):
        lint(calling('{"a": 1}', {"properties": {"a": {"type": "integer"}}}))


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"$dynamicRef": "#/x"}, "{}"),
        ({"$ref": "urn:x"}, "{}"),
        ({"$ref": "#"}, "{}"),
        ({"pattern": "a+("}, '"a"'),
        ({"type": ["#/x"], "$schema": "http://json-schema.org/draft-03/schema#"}, "{}"),
        ({"multipleOf": 1e308}, "1e999"),
        ({"divisibleBy": 0, "$schema": "http://json-schema.org/draft-03/schema#"}, "1"),
        ({"$schema": []}, "{}"),
        ({"$id": {"a": 1}}, "{}"),
        ({"minimum": float("nan")}, "{}"),
        ({"minimum": {1}}, "{}"),
    ],
    ids=str,
)
def test_what_a_schema_causes_is_told_of_the_schema(schema: Any, text: str) -> None:
    assert len(at("unusable-schema", calling(text, schema))) == 1


def test_a_large_schema_is_read_once_for_all_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"properties": {f"p{number}": {"type": "string"} for number in range(2_500)}}
    read = []
    validator = schemas._validator
    monkeypatch.setattr(schemas, "_validator", lambda text: read.append(len(text)) or validator(text))
    given = calling("{}", schema)
    given.messages += [call("functions.f", '{"p7": 7}') for _ in range(20)]
    assert len(at("arguments-break-schema", given)) == 20
    assert read == [len(json.dumps(schema))]


def test_finding_equal_items_costs_no_square() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    numbers, objects = list(range(10_000)), [{"a": number} for number in range(10_000)]
    assert lint(calling(json.dumps({"a": numbers}), schema)) == []
    assert lint(calling(json.dumps({"a": objects[:100]}), schema)) == []
    assert at("arguments-break-schema", calling(json.dumps({"a": objects[:100] * 2}), schema)) == [2]
    assert at("unusable-schema", calling(json.dumps({"a": objects}), schema)) == [2]


def test_errors_that_would_fill_memory_are_counted() -> None:
    text = json.dumps({"a": "x" * 100_000})
    assert at("arguments-break-schema", calling(text, {"anyOf": [{"type": "null"}] * 10})) == [2]
    assert at("unusable-schema", calling(text, {"anyOf": [{"type": "null"}] * 1000})) == [2]


def test_large_and_deep_arguments() -> None:
    large = '{"city": "' + "x" * 10_000_000 + '"}'
    assert lint(conversation(FUNCTIONS, USER, call(text=large, content_type="json"))) == []
    for text in (large.replace("city", "town"), large[:-1], large.replace('"x', "x")):
        for kind in ("json", None):
            (found,) = lint(conversation(FUNCTIONS, USER, call(text=text, content_type=kind)))
            assert len(found.message) < 400
    for depth in (100, 900, 990, 1000, 100_000):
        for text in ("[" * depth, "[" * depth + "]" * depth, '{"city":' * depth + "1" + "}" * depth):
            assert len(lint(conversation(FUNCTIONS, USER, call(text=text, content_type="json")))) == 1


def test_infinite_numbers_in_arguments_cannot_be_divided() -> None:
    given = calling('{"a": 1e999}', {"properties": {"a": {"multipleOf": 0.3}}})
    assert at("unusable-schema", given) == [2]


def test_names_as_long_as_they_come() -> None:
    name = "functions." + "x" * 1_000_000
    given = conversation(
        channels([name] * 100, required=True), call(name, channel=name), message("assistant"), result(name * 2)
    )
    found = lint(given)
    assert {1, 2, 3} <= {one.position for one in found}
    assert all(len(one.message) < 1000 for one in found)


def test_huge_conversations() -> None:
    turn = [USER, call(), result(), FINAL]
    given = Conversation.from_messages([system(), FUNCTIONS, *turn * 5_000])
    assert lint(given, ignore=["arguments-break-schema", "unusable-schema"]) == []


def test_lone_surrogates() -> None:
    lone = "\ud800"
    given = conversation(channels(["\ud801"]), call(lone, lone, channel=lone, content_type="json"), result(lone))
    assert all(one.message.isprintable() for one in lint(given))
