"""Reads the tools of a namespace back from the whole types that `full.py` wrote, as `back_reference.py` does.

Conditions, and other remarks that hold a type, are not read. What has one stays a text.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import Any, Final, TypeAlias

from harmony.messages.contents import ToolDescription
from harmony.rendering.back_reference import END, object_of, opening
from harmony.rendering.cursor import DEEPEST, Cursor, Unread, joined, json_value
from harmony.rendering.saying import commented, remarked, remarked_or_described
from harmony.rendering.trees import literal

_TYPE: Final = re.compile(r"type ([^\n]+?) =(?: (\()(?=_: |\) => any;\n))?")
_KEY: Final = re.compile(r'("(?:[^"\\\n]|\\.)*"|[A-Za-z_$][A-Za-z0-9_$]*|\[key: string\])(\??):')
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_TYPES: Final = frozenset({"string", "number", "boolean", "null"})
_JSON: Final = JSONDecoder()

Schema: TypeAlias = dict[str, Any] | bool


class FullReader:
    """Reads tools, one after another, at the place of a cursor."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def description(self, name: str) -> str | None:
        """The description of a namespace, up to and with its opening line. Raises Unread where this line is not."""
        return opening(self._cursor, name)

    def tool(self) -> ToolDescription:
        """The next tool, with the types that are declared for it. Raises Unread."""
        cursor = self._cursor
        declared: dict[str, Schema] = {}
        while True:
            comments = self._comments("")
            name, parameters = cursor.match(_TYPE).groups()
            if parameters:
                break
            schema = self._after("", "")
            cursor.need(";")
            if name in declared:
                raise Unread
            declared[name] = commented(remarked(schema, self._said()), comments)
            cursor.need("\n\n")
        found = self._parameters(declared) if cursor.take("_: ") else None
        cursor.need(END)
        return ToolDescription(name, joined(comments), found)

    def _parameters(self, declared: dict[str, Schema]) -> dict[str, Any]:
        comments = self._comments("")
        found = self._type("", 0)
        if said := self._said():
            self._cursor.need("\n")
        found = commented(remarked(found, said), comments)
        if not isinstance(found, dict):
            raise Unread
        if found == {"type": "object"}:
            found = {**found, "additionalProperties": True}  # without this, it would be a function without parameters
        return {**found, "$defs": declared} if declared else found

    def _comments(self, indent: str) -> list[str]:
        """The lines of comments that stand next."""
        found = []
        while self._cursor.take(f"{indent}//"):
            found.append(self._cursor.until("\n").removeprefix(" "))
        return found

    def _said(self) -> str:
        """The remarks behind a type, up to the end of the line."""
        if not self._cursor.take(" // "):
            return ""
        found = self._cursor.until("\n")
        self._cursor.at -= 1
        return found

    def _after(self, indent: str, deeper: str, depth: int = 0) -> Schema:
        """The type behind `=` or `:`: on lines of its own, or behind a space."""
        if not self._cursor.take(" "):
            return self._type(indent, depth)
        return self._type(deeper, depth)

    def _type(self, indent: str, depth: int) -> Schema:
        if depth > DEEPEST:
            raise Unread
        cursor = self._cursor
        if cursor.peek(f"\n{indent} "):
            return {"anyOf": self._lines(indent, depth)}
        members = [self._member(indent, depth)]
        sign = " & " if cursor.peek(" & ") else " | "
        while cursor.take(sign):
            members.append(self._member(indent, depth))
        if len(members) == 1:
            return members[0]
        return _union(members) if sign == " | " else {"allOf": members}

    def _lines(self, indent: str, depth: int) -> list[Schema]:
        """The members of a union that has a line for each."""
        cursor = self._cursor
        members: list[Schema] = []
        while cursor.peek(f"\n{indent} | ") or cursor.peek(f"\n{indent} //"):
            cursor.need("\n")
            comments = self._comments(f"{indent} ")
            cursor.need(f"{indent} | ")
            member = self._member(f"{indent}   ", depth + 1)
            members.append(commented(remarked_or_described(member, self._said()), comments))
        cursor.need(f"\n{indent}")
        return members

    def _member(self, indent: str, depth: int) -> Schema:
        if depth > DEEPEST:
            raise Unread
        if self._cursor.take("("):
            found = self._type(indent, depth + 1)
            self._cursor.need(")")
        else:
            found = self._single(indent, depth)
        for _ in range(DEEPEST):
            if not self._cursor.take("[]"):
                break
            found = {"type": "array"} if found == {} else {"type": "array", "items": found}
        return found

    def _single(self, indent: str, depth: int) -> Schema:
        cursor = self._cursor
        if cursor.take("{\n"):
            return self._object(indent, depth)
        for begin, end in (("Record<string, ", ">"), ("{ [key: string]: ", " }")):
            if cursor.take(begin):
                value = self._type(indent, depth + 1)
                cursor.need(end)
                return {"type": "object"} if value == {} else {"type": "object", "additionalProperties": value}
        name = _NAME.match(cursor.text, cursor.at)
        if name is None or name[0] in ("null", "true", "false"):
            return self._value(indent, depth)
        cursor.at = name.end()
        if name[0] == "never":
            return False
        if name[0][:1].isupper():
            return {"$ref": f"#/$defs/{name[0]}"}
        if name[0] not in ("any", *_TYPES):
            raise Unread
        return {} if name[0] == "any" else {"type": name[0]}

    def _value(self, indent: str, depth: int) -> Schema:
        """A value that is a type, or a tuple."""
        cursor = self._cursor
        try:
            value, end = _JSON.raw_decode(cursor.text, cursor.at)
            is_value = literal(value) == cursor.text[cursor.at : end]
        except (ValueError, RecursionError, OverflowError):
            is_value = False
        if is_value and value != []:
            cursor.at = end
            return {"type": "null"} if value is None else _enum([value])
        cursor.need("[")
        return self._tuple(indent, depth)

    def _tuple(self, indent: str, depth: int) -> Schema:
        cursor = self._cursor
        items: list[Schema] = []
        least, others = 0, None
        while not cursor.take("]"):
            if others is not None:
                raise Unread
            if items:
                cursor.need(", ")
            if cursor.take("..."):
                others = self._rest(indent, depth)
                continue
            items.append(self._member(indent, depth + 1))
            least += not cursor.take("?")
        if not items:
            return {"type": "array", "items": False}
        found: dict[str, Any] = {"type": "array", "prefixItems": items}
        if least:
            found["minItems"] = least
        return found if others == {} else {**found, "items": False if others is None else others}

    def _rest(self, indent: str, depth: int) -> Schema:
        found = self._member(indent, depth + 1)
        if not isinstance(found, dict) or found.get("type") != "array":
            raise Unread
        items: Schema = found.get("items", {})
        return items

    def _object(self, indent: str, depth: int) -> dict[str, Any]:
        cursor = self._cursor
        others: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        required = []
        while True:
            comments = self._comments(indent)
            if cursor.take(f"{indent}}}"):
                break
            cursor.need(indent)
            key, optional = cursor.match(_KEY).groups()
            schema = self._after(indent, f"{indent}    ", depth + 1)
            cursor.need(",")
            said = self._said()
            cursor.need("\n")
            if key == "[key: string]":
                others["additionalProperties"] = _others(schema, said)
                continue
            name = json_value(key) if key[0] == '"' else key
            if name in properties:
                raise Unread
            properties[name] = commented(remarked(schema, said), comments)
            if not optional:
                required.append(name)
        found = {**object_of(properties, required), **others}
        for comment in comments:
            found |= {"additionalProperties": False} if comment == "no other keys" else _counted(comment)
        return found


def _others(schema: Schema, said: str) -> Schema:
    """The schema of the keys that an object does not name."""
    if schema != {}:
        raise Unread
    if not said:
        return True
    cursor = Cursor(said.removeprefix("each: "))
    found = FullReader(cursor)._type("", 0)
    if not cursor.is_at_end():
        raise Unread
    return found


def _counted(comment: str) -> dict[str, Any]:
    found = remarked({"type": "object"}, comment)
    assert isinstance(found, dict)
    return found


def _union(members: list[Schema]) -> Schema:
    """The plainest schema for what fits any of the members."""
    if all(isinstance(one, dict) and ("enum" in one or one == {"type": "null"}) for one in members):
        return _enum([value for one in members if isinstance(one, dict) for value in one.get("enum", [None])])
    if all(isinstance(one, dict) and one.keys() == {"type"} and one["type"] in _TYPES for one in members):
        return {"type": [one["type"] for one in members if isinstance(one, dict)]}
    return {"anyOf": members}


def _enum(values: list[Any]) -> dict[str, Any]:
    return {"type": "string", "enum": values} if all(isinstance(one, str) for one in values) else {"enum": values}
