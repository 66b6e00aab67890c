"""Writes the JSON schema of a tool's parameters as a whole TypeScript type: what fits the schema fits the type.

`typescript.py` writes types as openai-harmony does, which has no types for much of JSON schema. Here `reading.py` makes
a tree of the schema, and this module lays it out: as the reference where that has a form, and always as TypeScript.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Final

from harmony.rendering.merging import ANNOTATIONS
from harmony.rendering.reading import Names, Reader
from harmony.rendering.remarks import comments
from harmony.rendering.trees import AROUND, OPEN, Type, lines, uses_names
from harmony.rendering.typescript import Parameters, Pieces

# What the schema of a function without parameters may have.
_NO_PARAMETERS: Final = ANNOTATIONS | {"type", "properties", "required", "additionalProperties"}


class FullWriter(Pieces):
    """Writes whole types. `most` is the limit for the characters of all of them together."""

    @staticmethod
    def lines(text: str) -> list[str]:
        """The lines of a description: what ends a line in TypeScript ends one."""
        return lines(text)

    def __init__(self, most: int = sys.maxsize) -> None:
        super().__init__(most)
        self._names = Names()

    def parameters(self, schema: Any, taken: Collection[str]) -> Parameters:
        """The parameters of a tool; None for a tool without a schema. `taken` are names that declared types must avoid.

        Raises TooLong.
        """
        if _is_without(schema):
            return Parameters([], comments(schema) if schema and "description" in schema else [], "")
        self._names.take(taken)
        reader = Reader(schema, self._names)
        whole = reader.whole()
        declared = [self._declaration(one.name, one.type) for one in reader.declared]
        self._write("_: ")
        for comment in whole.comments:
            self._comment(comment, "")
        self._type(whole, "", "")
        self._said(whole.remarks)
        if whole.remarks:
            self._write("\n")
        return Parameters(declared, [], self._taken())

    def _declaration(self, name: str, found: Type) -> str:
        for comment in found.comments:
            self._comment(comment, "")
        self._write(f"type {name} =")
        self._type(found, "", " ")
        self._write(";")
        self._said(found.remarks)
        self._write("\n")
        return self._taken()

    def _type(self, found: Type, indent: str, before: str) -> None:
        """Writes a type. `indent` stands before its further lines, and `before` stands before it on the first one."""
        if _has_lines(found):
            return self._members(found, indent)
        self._write(before)
        parts = found.parts
        if found.kind == "name":
            self._write(found.text)
        elif found.kind == "object":
            self._object(found, indent)
        elif found.kind == "array":
            self._grouped(parts[0], indent)
            self._write("[]")
        elif found.kind == "map":
            is_named = uses_names(parts[0])  # TypeScript allows no `Record` that contains itself
            self._write("{ [key: string]: " if is_named else "Record<string, ")
            self._type(parts[0], indent, "")
            self._write(" }" if is_named else ">")
        elif found.kind == "tuple":
            self._tuple(found, indent)
        else:
            for number, part in enumerate(parts):
                if number:
                    self._write(" & " if found.kind == "both" else " | ")
                self._grouped(part, indent)
        return None

    def _grouped(self, part: Type, indent: str) -> None:
        is_open = part.kind in OPEN
        self._write("(" if is_open else "")
        self._type(part, indent, "")
        self._write(")" if is_open else "")

    def _tuple(self, found: Type, indent: str) -> None:
        self._write("[")
        for number, (key, part) in enumerate(zip(found.keys, found.parts, strict=True)):
            ahead, behind = AROUND[key]
            self._write(f", {ahead}" if number else ahead)
            self._grouped(part, indent)
            self._write(behind)
        self._write("]")

    def _object(self, found: Type, indent: str) -> None:
        self._write("{\n")
        for key, part in zip(found.keys, found.parts, strict=True):
            for comment in part.comments:
                self._comment(comment, indent)
            self._write(f"{indent}{key}:")
            self._type(part, indent if _has_lines(part) else f"{indent}    ", " ")
            self._write(",")
            self._said(part.remarks)
            self._write("\n")
        for said in found.inside:
            self._comment(said, indent)
        self._write(f"{indent}}}")

    def _members(self, found: Type, indent: str) -> None:
        """Writes a union with a line for each member, and what is said of it."""
        for part in found.parts:
            is_short = part.kind == "name" and len(part.comments) == 1 and part.comments != [""]
            self._write("\n")
            for comment in [] if is_short else part.comments:
                self._comment(comment, f"{indent} ")
            self._write(f"{indent} | ")
            self._grouped(part, f"{indent}   ")
            self._said([*part.comments, *part.remarks] if is_short else part.remarks)
        self._write(f"\n{indent}")

    def _comment(self, text: str, indent: str) -> None:
        self._write(f"{indent}// {text}\n" if text else f"{indent}//\n")

    def _said(self, remarks: list[str]) -> None:
        if remarks:
            self._write(f" // {'; '.join(dict.fromkeys(remarks))}")


def _is_without(schema: Any) -> bool:
    """Whether a schema has no place for an argument."""
    if not isinstance(schema, dict):
        return schema is None
    is_closed = schema.get("additionalProperties") in (None, False)
    is_object = schema.get("type", "object") == "object"
    return (
        is_object
        and is_closed
        and not schema.keys() - _NO_PARAMETERS
        and not schema.get("properties")
        and not schema.get("required")
    )


def _has_lines(found: Type) -> bool:
    """Whether a type is a union with a line for each member."""
    return found.kind == "union" and not all(part.is_bare for part in found.parts)
