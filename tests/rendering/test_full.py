"""Whole types: each rule alone, limits, and TypeScript's own compiler as the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fuzz.typescript import compiler, drawn, faults, program
from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    RenderOptions,
    Role,
    ToolDescription,
)
from harmony.checking.rules import lint
from harmony.rendering.full import FullWriter
from harmony.rendering.typescript import TooLong
from helpers.calls import DIAMOND
from helpers.talk import conversation, developer, message

#: The schema of a property, and what is written of it.
PROPERTIES: dict[str, tuple[Any, str]] = {
    "range": ({"type": "number", "minimum": 1, "maximum": 14}, "p?: number, // 1 to 14\n"),
    "limits": (
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 9},
        "p?: number, // more than 0; at most 9; integer\n",
    ),
    "limits of draft 4": ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, "p?: number, // more than 0\n"),
    "length": ({"type": "string", "minLength": 1, "maxLength": 20}, "p?: string, // 1 to 20 characters\n"),
    "pattern and format": (
        {"type": "string", "pattern": "^a\n", "format": "date", "default": "a"},
        'p?: string, // pattern: ^a\\n; format: date; default: "a"\n',
    ),
    "enum of any scalar": ({"enum": ["a\u2028", 1.5, None, True]}, 'p?: "a\\u2028" | 1.5 | null | true,\n'),
    "enum within a type": ({"type": ["string", "null"], "enum": ["a", 1, None]}, 'p?: "a" | null,\n'),
    "const": ({"const": {"a": [1]}}, 'p?: {"a":[1]},\n'),
    "nullable": ({"type": "string", "enum": ["a"], "nullable": True}, 'p?: "a" | null,\n'),
    "boolean schemas": (False, "p?: never,\n"),
    "any of, with null": (
        {"anyOf": [{"type": "string", "description": "A day", "format": "date"}, {"type": "null"}], "default": None},
        "// A day\np?: string | null, // format: date; default: null\n",
    ),
    "one of, with remarks": (
        {"oneOf": [{"type": "string", "description": "A name"}, {"type": "number", "minimum": 0}]},
        "p?:\n | string // A name\n | number // at least 0\n,\n",
    ),
    "array of a union": ({"type": "array", "items": {"type": ["string", "null"]}}, "p?: (string | null)[],\n"),
    "items with remarks": (
        {"type": "array", "items": {"type": "string", "description": "A tag", "maxLength": 9}, "minItems": 1},
        "// each: A tag\np?: string[], // each: at most 9 characters; at least 1 item\n",
    ),
    "map": ({"type": "object", "additionalProperties": {"type": "number"}}, "p?: Record<string, number>,\n"),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 1, "items": False},
        "p?: [string, number?],\n",
    ),
    "tuple of draft 7": ({"type": "array", "items": [{"type": "string"}]}, "p?: [string?, ...any[]],\n"),
    "all of, merged": (
        {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"required": ["a", "b"]}]},
        "p?: {\n    a: string,\n    b: any,\n    },\n",
    ),
    "all of, not merged": ({"allOf": [{"type": "string"}, {"type": "null"}]}, "p?: string & null,\n"),
    "limits of merged schemas": (
        {"allOf": [{"type": "number", "minimum": 1}, {"type": "integer", "minimum": 3}]},
        "p?: number, // at least 3; integer\n",
    ),
    "closed, with keys that are no identifiers": (
        {"type": "object", "properties": {"a-b": {}, "größe": {}}, "additionalProperties": False},
        'p?: {\n    "a-b"?: any,\n    "größe"?: any,\n    // no other keys\n    },\n',
    ),
    "other keys": (
        {"type": "object", "required": ["a"], "additionalProperties": {"type": "number"}},
        "p?: {\n    a: any,\n    [key: string]: any, // each: number\n    },\n",
    ),
    "not": ({"type": "string", "not": {"enum": ["a", "b"]}}, 'p?: string, // not: "a" | "b"\n'),
    "if": (
        {"type": "string", "if": {"const": "a"}, "then": {"minLength": 1}, "else": False},
        'p?: string, // if "a" then any (at least 1 character) else never\n',
    ),
    "a description of any lines": (
        {"type": "string", "description": "one */\r\ntwo\r\u2028four", "title": ""},
        "//\n// one */\n// two\n//\n// four\np?: string,\n",
    ),
    "no reference": ({"$ref": "https://example.com/x"}, "p?: any, // unresolved: https://example.com/x\n"),
    "a reference to nothing": ({"$ref": "#/$defs/none"}, "p?: any, // unresolved: #/$defs/none\n"),
    "a reference to itself": ({"$ref": "#/properties/p"}, "p?: any, // refers to itself: #/properties/p\n"),
    "no type": ({"type": "float"}, "p?: any, // unknown type: float\n"),
    "no schema": (5, "p?: any, // no schema: 5\n"),
}


def written(schema: Any) -> str:
    types, comments, text = FullWriter().parameters(schema, [])
    return "\n".join([*types, *comments, f"({text})"])


@pytest.mark.parametrize(("schema", "expected"), PROPERTIES.values(), ids=PROPERTIES)
def test_properties(schema: Any, expected: str) -> None:
    before = json.dumps(schema)
    assert written({"type": "object", "properties": {"p": schema}}) == f"(_: {{\n{expected}}})"
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}]
)
def test_without_properties_there_is_no_parameter(schema: Any) -> None:
    assert written(schema) == "()"
    assert written({"type": "object", "additionalProperties": True}) == "(_: Record<string, any>)"
    assert written({"description": "Nothing\nat all.", "type": "object"}) == "Nothing\nat all.\n()"


def test_references_are_followed_through_escapes_and_anchors() -> None:
    definitions = {"a/b": {"type": "string"}, "x~y": {"type": "number"}, "é%": {"$anchor": "here", "type": "boolean"}}
    references = ["#/$defs/a~1b", "#/$defs/x~0y", "#/$defs/%C3%A9%25", "#here", "s#here", "#/properties/p0"]
    properties = {f"p{number}": {"$ref": reference} for number, reference in enumerate(references)}
    found = written({"$id": "s", "type": "object", "properties": properties, "$defs": definitions})
    types = ["string", "number", "boolean", "boolean", "boolean", "string"]
    assert found == "(_: {\n" + "".join(f"p{number}?: {one},\n" for number, one in enumerate(types)) + "})"


def test_keywords_beside_a_reference_count_since_2019() -> None:
    schema = {
        "type": "object",
        "properties": {"p": {"$ref": "#/definitions/d", "description": "Mine.", "minLength": 2}},
        "definitions": {"d": {"type": "string", "description": "Its own."}},
    }
    assert written(schema) == "(_: {\n// Mine.\n// Its own.\np?: string, // at least 2 characters\n})"
    old = {**schema, "$schema": "http://json-schema.org/draft-07/schema#"}
    assert written(old) == "(_: {\n// Mine.\n// Its own.\np?: string,\n})"


def test_what_contains_itself_gets_a_name_that_nothing_else_has(encoding: HarmonyEncoding) -> None:
    node = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}
    schema = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}
    tools = [ToolDescription.new("Node", "d", schema), ToolDescription.new("find", "d", schema)]
    rendered = encoding.render(developer(*tools), RenderOptions(schemas="full"))
    text = encoding.decode(rendered)
    assert (
        "type Node2 = {\nkids?: Node2[],\n};\n\n// d\ntype Node = (_: {\nroot?: Node2,\n}) => any;\n\n"
        "type Node3 = {\nkids?: Node3[],\n};\n\n// d\ntype find = (_: {\nroot?: Node3,\n}) => any;\n"
    ) in text
    parsed = Conversation.from_messages([*encoding.parse(rendered).messages, message("user")])
    call = message("assistant", channel="commentary", recipient="functions.Node2")
    assert [one.code for one in lint(parsed)] == []
    assert [one.code for one in lint(conversation(*parsed.messages, call))] == ["undeclared-tool"]


def nested(levels: int, around: Any) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = around(schema)
    return schema


def diamond(around: Any) -> dict[str, Any]:
    level = {f"d{n}": around({"$ref": f"#/$defs/d{n + 1}"}) for n in range(60)}
    return {"$ref": "#/$defs/d0", "$defs": {**level, "d60": {"type": "object"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/d0", "$defs": DIAMOND},
        diamond(lambda one: {"anyOf": [one, one, {"type": "null"}]}),
        diamond(lambda one: {"type": "object", "properties": {"a": one, "b": one}}),
        diamond(lambda one: {"not": one, "if": one}),
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        nested(300, lambda one: {"type": "object", "properties": {"a": one}}),
        nested(300, lambda one: {"anyOf": [one, {"type": "null"}]}),
        nested(300, lambda one: {"allOf": [one, {"minLength": 1}]}),
        {"allOf": [{"type": "object", "properties": {f"p{n}": {"minLength": n}, "p": {}}} for n in range(5000)]},
    ],
    ids=lambda schema: json.dumps(schema)[:40],
)
def test_hostile_schemas_become_types_of_bounded_size(schema: Any) -> None:
    assert len(written(schema)) < 1_000_000


def test_the_limit_counts_all_types_of_a_message() -> None:
    schema = {"enum": [f"value {number}" for number in range(1000)]}
    length = len(written(schema)) - len("()")
    assert FullWriter(length).parameters(schema, []).text
    writer = FullWriter(2 * length - 1)
    writer.parameters(schema, [])
    with pytest.raises(TooLong):
        writer.parameters(schema, [])


def test_both_ways_of_one_message_are_remembered_apart(encoding: HarmonyEncoding) -> None:
    content = DeveloperContent.new().with_function_tools([ToolDescription.new("f", "d", {"anyOf": [{"type": "null"}]})])
    one = Message.from_role_and_content(Role.DEVELOPER, content)
    for _ in range(2):
        for schemas, expected in (("reference", "(_: any) => any;"), ("full", "(_: null) => any;")):
            options: Any = {"schemas": schemas}
            tokens = encoding.render_conversation(conversation(one), RenderConversationConfig(**options))
            assert expected in encoding.decode(tokens)
            assert encoding.render(one, RenderOptions(**options)) == tokens
    with pytest.raises(ValueError, match="schemas"):
        RenderConversationConfig(schemas="whole")  # type: ignore[arg-type]


# --- TypeScript's own compiler

TSC = compiler()
needs_typescript = pytest.mark.skipif(TSC is None, reason="tsc is not there; `npm install typescript` brings it")


@needs_typescript
def test_the_compiler_accepts_drawn_types_and_the_values_that_fit() -> None:
    assert TSC is not None
    programs = [drawn(5, number) for number in range(60)]
    assert sum(len(fitting) for one in programs for fitting in one.values) > 200
    assert faults(programs, TSC) == {}


@needs_typescript
def test_the_compiler_refuses_values_that_do_not_fit() -> None:
    assert TSC is not None
    schemas = [{"type": "object", "properties": {"p": schema}, "required": ["p"]} for schema, _ in PROPERTIES.values()]
    wrong: list[tuple[Any, Any]] = [
        ({"type": "string"}, 5),
        ({"enum": ["a", 1]}, "b"),
        ({"const": {"a": [1]}}, {"a": [2]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, ["a", "b"]),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"a": "b"}),
        ({"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"b": {"type": "null"}}}]}, {"b": None}),
        ({"$ref": "#/$defs/d", "$defs": {"d": {"type": "array", "items": {"$ref": "#/$defs/d"}}}}, [[], 5]),
    ]
    programs = [program([schema], [[value]]) for schema, value in wrong]
    assert faults(programs, TSC).keys() == set(range(len(wrong)))
    assert faults([program([schema], []) for schema in schemas], TSC) == {}
