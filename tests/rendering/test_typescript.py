"""JSON schema to TypeScript, each rule alone; whole tools are compared with the reference elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harmony.rendering.typescript import Writer

CASES: dict[str, tuple[Any, str]] = {
    "string": ({"type": "string"}, "string"),
    "integer is number": ({"type": "integer"}, "number"),
    "boolean": ({"type": "boolean"}, "boolean"),
    "unknown type": ({"type": "date"}, "any"),
    "no type": ({"description": "whatever"}, "any"),
    "no schema": (True, "any"),
    "several types": ({"type": ["integer", "null", 7]}, "number | null"),
    "several types, one of them empty": ({"type": [""]}, ""),
    "several types, none of them a string": ({"type": [7]}, "any"),
    "enum": ({"type": "string", "enum": ["a", "ü", 7]}, '"a" | "ü"'),
    "enum without a string": ({"type": "string", "enum": [7]}, "string"),
    "enum of numbers": ({"type": "number", "enum": [1, 2]}, "number"),
    "array": ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, "string[][]"),
    "array of anything": ({"type": "array"}, "Array<any>"),
    "array of any schema": ({"type": "array", "items": True}, "any[]"),
    "empty object": ({"type": "object"}, "{\n}"),
    "object with a description": ({"type": "object", "description": "A point."}, "// A point.\n{\n}"),
    "object that lists nothing": ({"type": "object", "properties": [], "required": "x"}, "{\n}"),
    "one of": (
        {"oneOf": [{"type": "string", "description": "A name"}, {"type": "number", "nullable": True, "default": 1.5}]},
        "\n | string // A name\n | number | null // default: 1.5",
    ),
    "one of none": ({"oneOf": []}, ""),
    "one of what is no list": ({"oneOf": 7, "type": "string"}, "string"),
    "one of, with defaults of strings": (
        {"oneOf": [{"type": "string", "default": 'a"b'}, {"type": "string", "enum": ["x"], "default": "x"}]},
        '\n | string // default: "a"b"\n | "x" // default: "x"',
    ),
}

PROPERTIES: dict[str, tuple[Any, str]] = {
    "plain": ({"type": "string"}, "p?: string,\n"),
    "any schema": (True, "p?: any,\n"),
    "title and description": (
        {"type": "string", "title": "Place", "description": "Where"},
        "// Place\n//\n// Where\np?: string,\n",
    ),
    "a description of two lines": ({"type": "string", "description": "Where\nto"}, "// Where\nto\np?: string,\n"),
    "examples": (
        {"type": "string", "examples": ["Oslo", 7, "東京"]},
        '// Examples:\n// - "Oslo"\n// - "東京"\np?: string,\n',
    ),
    "no examples": ({"type": "string", "examples": []}, "p?: string,\n"),
    "default of a string": ({"type": "string", "default": "a"}, 'p?: string, // default: "a"\n'),
    "default of an enum": ({"type": "string", "enum": ["a"], "default": "a"}, 'p?: "a", // default: a\n'),
    "default of null": ({"type": "string", "default": None}, "p?: string, // default: null\n"),
    "default of JSON": (
        {"type": "object", "default": {"ü": [1, True, "\n"]}},
        'p?: {\n    }, // default: {"ü":[1,true,"\\n"]}\n',
    ),
    "nullable": ({"type": "string", "nullable": True}, "p?: string | null,\n"),
    "nullable twice": ({"type": ["string", "null"], "nullable": True}, "p?: string | null,\n"),
    "not quite nullable": ({"type": "string", "nullable": "yes"}, "p?: string,\n"),
    "nested": (
        {"type": "object", "properties": {"q": {"type": "object", "properties": {"r": {"type": "number"}}}}},
        "p?: {\n    q?: {\n        r?: number,\n        },\n    },\n",
    ),
    "one of": (
        {
            "description": "Either",
            "default": "d",
            "oneOf": [{"type": "string", "description": "Not shown"}, {"type": "number", "description": "A number"}],
        },
        '// Either\n// default: "d"\np?:\n | string\n | number // A number\n,\n',
    ),
    "one of, described once": (
        {"description": "Same", "oneOf": [{"type": "string", "description": "Same"}, {"type": "boolean"}]},
        "p?:\n | string\n | boolean\n,\n",
    ),
    "one of, with the default of an enum": (
        {"oneOf": [{"type": "string", "enum": ["a"], "default": "a", "description": "Only"}]},
        'p?:\n | "a" // Only default: a\n,\n',
    ),
    "one of, with an empty description": (
        {"oneOf": [{"type": "string", "description": ""}]},
        "p?:\n | string // \n,\n",
    ),
    "one of what is no list": ({"oneOf": 7, "type": "string", "description": "d", "default": 1}, "p?: string,\n"),
}


@pytest.mark.parametrize(("schema", "expected"), CASES.values(), ids=CASES)
def test_types(schema: Any, expected: str) -> None:
    assert Writer().text(schema) == expected


@pytest.mark.parametrize(("schema", "expected"), PROPERTIES.values(), ids=PROPERTIES)
def test_properties(schema: Any, expected: str) -> None:
    before = json.dumps(schema)
    assert Writer().text({"type": "object", "properties": {"p": schema}}) == f"{{\n{expected}}}"
    required = Writer().text({"type": "object", "properties": {"p": schema}, "required": ["p", 7]})
    assert required == f"{{\n{expected.replace('p?:', 'p:', 1)}}}"
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1.234e-5, "0.00001234"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        ((1 << 64) - 1, "18446744073709551615"),
        (1 << 64, "1.8446744073709552e19"),
        (-(1 << 63), "-9223372036854775808"),
        (-(1 << 63) - 1, "-9.223372036854776e18"),
        ([{"n": 10**30}], '[{"n":1e30}]'),
    ],
)
def test_numbers_are_written_as_the_reference_writes_them(value: Any, expected: str) -> None:
    schema = {"type": "object", "properties": {"p": {"type": "number", "default": value}}}
    assert Writer().text(schema) == f"{{\np?: number, // default: {expected}\n}}"


def test_lines_stand_under_the_indent() -> None:
    schema = {"type": "object", "properties": {"a": {"oneOf": [{"type": "object"}, {"type": "string"}]}}}
    assert Writer().text(schema, "  ") == "{\n  a?:\n   | {\n     }\n   | string\n  ,\n  }"


def test_key_order_is_kept() -> None:
    properties = {name: {"type": "string"} for name in ("b", "a", "c")}
    assert Writer().text({"type": "object", "properties": properties}) == "{\nb?: string,\na?: string,\nc?: string,\n}"
