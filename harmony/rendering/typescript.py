"""Writes the JSON schema of a tool's parameters as the TypeScript type that the model reads.

The types and their comments are, character for character, the same as in openai-harmony 0.0.8. A schema is JSON data:
dicts with strings as keys, lists, strings, numbers, booleans and None. A value that is no schema, or that has no
TypeScript type, becomes `any`; it is never an error. This module knows no tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

_SIMPLE: Final = {"number": "number", "integer": "number", "boolean": "boolean"}
_LARGEST: Final = (1 << 64) - 1
_SMALLEST: Final = -(1 << 63)


class TooLong(Exception):  # noqa: N818  the renderer makes a RenderError of it
    """Raised where the types together have more characters than allowed."""


class Pieces:
    """Gathers the pieces of types, which together may have at most `most` characters.

    The limit is needed because a type can be much longer than its schema: nested objects indent each of their lines.
    """

    def __init__(self, most: int = sys.maxsize) -> None:
        self._left = most
        self._pieces: list[str] = []

    def _write(self, piece: str) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise TooLong
        self._pieces.append(piece)

    def _taken(self) -> str:
        """All pieces since the last call, as one text."""
        text = "".join(self._pieces)
        self._pieces = []
        return text


class Writer(Pieces):
    """Writes types as the reference does. `most` is the limit for all of them together."""

    @staticmethod
    def lines(text: str) -> list[str]:
        """The lines of a text. Only `\\n` and `\\r\\n` end a line. What follows the last end is a line too, if any."""
        *lines, rest = text.split("\n")
        return [line.removesuffix("\r") for line in lines] + ([rest] if rest else [])

    def parameters(self, schema: Any) -> str:
        """What stands in the parentheses of a function; None is a function without a schema. Raises TooLong."""
        return "" if schema is None else f"_: {self.text(schema)}"

    def text(self, schema: Any, indent: str = "") -> str:
        """The type of a schema. `indent` stands before each of its lines except the first. Raises TooLong."""
        self._pieces = []
        self._type(schema, indent)
        return self._taken()

    def _type(self, schema: Any, indent: str) -> None:
        if not isinstance(schema, dict):
            return self._write("any")
        variants = schema.get("oneOf")
        if isinstance(variants, list):
            for variant in variants:
                self._variant(variant, indent)
            return None
        type_name = schema.get("type")
        if isinstance(type_name, list):
            names = ["number" if item == "integer" else item for item in type_name if isinstance(item, str)]
            return self._write(" | ".join(names) if names else "any")
        if type_name == "object":
            return self._object(schema, indent)
        if type_name == "string":
            values = schema.get("enum")
            literals = [f'"{value}"' for value in values if isinstance(value, str)] if isinstance(values, list) else []
            return self._write(" | ".join(literals) or "string")
        if type_name == "array":
            if "items" not in schema:
                return self._write("Array<any>")
            self._type(schema["items"], indent)
            return self._write("[]")
        simple = _SIMPLE.get(type_name, "any") if isinstance(type_name, str) else "any"
        return self._write(simple)

    def _object(self, schema: dict[str, Any], indent: str) -> None:
        self._comment(_string(schema, "description"), indent)
        self._write("{\n")
        properties = schema.get("properties")
        if isinstance(properties, dict):
            required = schema.get("required")
            names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
            for name, value in properties.items():
                written = name if name in names else f"{name}?"
                self._property(written, value if isinstance(value, dict) else {}, indent)
        self._write(f"{indent}}}")

    def _property(self, name: str, schema: dict[str, Any], indent: str) -> None:
        """Writes one property: its comments, then its type."""
        title = _string(schema, "title")
        if title is not None:
            self._write(f"{indent}// {title}\n{indent}//\n")
        if "oneOf" not in schema:
            self._comment(_string(schema, "description"), indent)
        examples = schema.get("examples")
        if isinstance(examples, list) and examples:
            self._comment("Examples:", indent)
            for example in examples:
                if isinstance(example, str):
                    self._comment(f'- "{example}"', indent)

        variants = schema.get("oneOf")
        if isinstance(variants, list):
            return self._variants(name, schema, variants, indent)
        self._write(f"{indent}{name}: ")
        self._nullable(schema, indent + "    ")
        default = "" if "oneOf" in schema else "".join(f" // {default}" for default in _default(schema))
        return self._write(f",{default}\n")

    def _variants(self, name: str, schema: dict[str, Any], variants: list[Any], indent: str) -> None:
        """Writes a property that may be one of several types, each on its own line."""
        description = _string(schema, "description")
        # The property's description stands above. If it is also that of the first type, neither is written.
        above = description if not variants or description != _string(variants[0], "description") else None
        self._comment(above, indent)
        for default in _default(schema):
            self._comment(default, indent)
        self._write(f"{indent}{name}:\n")
        for number, variant in enumerate(variants):
            remark = _string(variant, "description")
            if remark == description or (number == 0 and above is not None):
                remark = None
            self._write(f"{indent} | ")
            self._nullable(variant, indent + "   ")
            self._write(f"{_remarks(remark, _default(variant))}\n")
        self._write(f"{indent},\n")

    def _variant(self, schema: Any, indent: str) -> None:
        """Writes one of several types that belong to no property, with its comments."""
        description = _string(schema, "description")
        default: Iterable[str] = _default(schema)
        if _is_enum(schema) and "default" in schema:
            default = [f"default: {_json(schema['default'])}"]  # has quotes here, but not at a property
        self._write(f"\n{indent} | ")
        self._nullable(schema, indent + "   ")
        self._write(_remarks(description, default))

    def _nullable(self, schema: Any, indent: str) -> None:
        start = len(self._pieces)
        self._type(schema, indent)
        nullable = isinstance(schema, dict) and schema.get("nullable") is True
        if nullable and "null" not in "".join(self._pieces[start:]):
            self._write(" | null")

    def _comment(self, text: str | None, indent: str) -> None:
        if text is not None:
            self._write(f"{indent}// {text}\n")


def _remarks(description: str | None, default: Iterable[str]) -> str:
    """The comment behind a type, on the same line."""
    remarks = [*([] if description is None else [description]), *default]
    return f" // {' '.join(remarks)}" if remarks else ""


def _default(schema: Any) -> Iterator[str]:
    """The comment about the default, if there is one. A string has quotes, unless the type is an enum."""
    if isinstance(schema, dict) and "default" in schema:
        value = schema["default"]
        if not isinstance(value, str):
            yield f"default: {_json(value)}"
        else:
            yield f"default: {value}" if _is_enum(schema) else f'default: "{value}"'


def _is_enum(schema: Any) -> bool:
    values = schema.get("enum") if isinstance(schema, dict) else None
    return isinstance(values, list) and bool(values)


def _string(schema: Any, key: str) -> str | None:
    value = schema.get(key) if isinstance(schema, dict) else None
    return value if isinstance(value, str) else None


def _json(value: Any) -> str:
    """Compact JSON, non-ASCII characters unescaped. Integers beyond 64 bits become floats, as in openai-harmony."""
    return msgspec.json.encode(_small(value)).decode()


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _small(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_small(item) for item in value]
    return float(value) if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST else value
