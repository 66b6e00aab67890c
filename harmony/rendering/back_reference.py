"""Reads the tools of a namespace back from what `typescript.py` wrote of them.

Where several schemas have the same text, the reader takes the plainest. It does not check what it finds: `read_back.py`
renders it again and compares. Texts of several lines have no mark at their further lines, so a comment ends where a
line can only be a property.
"""

from __future__ import annotations

import re
from typing import Any, Final

from harmony.messages.contents import ToolDescription
from harmony.rendering.cursor import DEEPEST, Cursor, Unread, joined, json_value

#: The end of a function.
END: Final = ") => any;\n\n"

_TOOL: Final = re.compile(r"type ([^\n]+?) = \(")
_WORD: Final = "(?:string|number|integer|boolean|null|object|array|any)"
#: One name of a type, or several.
WORDS: Final = re.compile(rf"{_WORD}(?: \| {_WORD})*\b")
#: One text of an enum. It is not escaped, so it ends at the first quote behind which a type can go on or end.
_LITERAL: Final = re.compile(r'"(.*?)"(?= \| ["n]| \| \n|\[\]|,\n|, // |\)|\n| // )', re.DOTALL)
#: The beginning of a property, up to its type: a name, and then what only a type begins with.
_PROPERTY: Final = re.compile(
    r"([^\n]*?)(\??):(?:(?=\n)"
    r'| (?=\w+(?: \| \w+)*(?:\[\]){0,9}(?: \| null)?,(?:\n| // )|"|\{\n| *// |Array<any>|\n *\| ))'
)
#: A remark behind one of several types that belong to no property. Behind it, the type of the whole goes on.
_REMARK: Final = re.compile(r" // ([^\n]*?)(?=\n|(?:\[\]){0,9}(?:,\n|, // default: |\) => any;\n))")
_DEFAULT: Final = re.compile(r'"(.*?)"(?=\n)|([^\n]*)', re.DOTALL)
_WITH_DEFAULT: Final = re.compile(r"(?:(.*) )?default: (.*)", re.DOTALL)
_SIMPLE: Final = frozenset({"string", "number", "boolean"})
_EXAMPLE: Final = re.compile(r'- "(.*)"')


def opening(cursor: Cursor, name: str) -> str | None:
    """The description of a namespace, up to and with its opening line. Raises Unread where this line is not."""
    lines = cursor.comments()
    cursor.need(f"namespace {name} {{\n\n")
    return joined(lines) or None


def enum(cursor: Cursor) -> dict[str, Any]:
    """An enum of texts, which stand in quotes but are not escaped."""
    values = [cursor.match(_LITERAL)[1]]
    while cursor.peek(' | "'):
        cursor.need(" | ")
        values.append(cursor.match(_LITERAL)[1])
    return {"type": "string", "enum": values}


def of_words(words: str) -> dict[str, Any]:
    """The schema for a name of a type, or for several."""
    if words == "any":
        return {}
    return {"type": words} if words in _SIMPLE else {"type": words.split(" | ")}


def object_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """An object with these properties."""
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


class ReferenceReader:
    """Reads tools, one after another, at the place of a cursor."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def description(self, name: str) -> str | None:
        """The description of a namespace, up to and with its opening line. Raises Unread where this line is not."""
        return opening(self._cursor, name)

    def tool(self) -> ToolDescription:
        """The next tool. Raises Unread."""
        description = joined(self._cursor.comments())
        name = self._cursor.match(_TOOL)[1]
        parameters = self._type("", 0) if self._cursor.take("_: ") else None
        self._cursor.need(END)
        return ToolDescription(name, description, parameters)

    def _type(self, indent: str, depth: int) -> dict[str, Any]:
        if depth > DEEPEST:
            raise Unread
        cursor = self._cursor
        if cursor.take("Array<any>"):
            found: dict[str, Any] = {"type": "array"}
        elif cursor.peek("{\n") or cursor.peek(f"{indent}// "):
            found = self._object(indent, depth)
        elif cursor.peek(f"\n{indent} | "):
            found = self._variants(indent, depth)
        elif cursor.peek('"'):
            found = enum(cursor)
        else:
            found = of_words(cursor.match(WORDS)[0])
        for _ in range(DEEPEST):
            if not cursor.take("[]"):
                break
            found = {"type": "array", "items": found}
        return found

    def _nullable(self, indent: str, depth: int) -> dict[str, Any]:
        found = self._type(indent, depth + 1)
        return {**found, "nullable": True} if self._cursor.take(" | null") else found

    def _variants(self, indent: str, depth: int) -> dict[str, Any]:
        """Several types that belong to no property."""
        variants = []
        while self._cursor.take(f"\n{indent} | "):
            found = self._nullable(f"{indent}   ", depth)
            if self._cursor.peek(" // "):
                found |= _remarks(self._cursor.match(_REMARK)[1], is_enum=False)
            variants.append(found)
        return {"oneOf": variants}

    def _object(self, indent: str, depth: int) -> dict[str, Any]:
        said = {"description": self._cursor.until("\n{\n")} if self._cursor.take(f"{indent}// ") else {}
        if not said:
            self._cursor.need("{\n")
        properties: dict[str, Any] = {}
        required = []
        while not self._cursor.take(f"{indent}}}"):
            name, is_required, schema = self._property(indent, depth)
            if name in properties:
                raise Unread
            properties[name] = schema
            if is_required:
                required.append(name)
        return {**said, **object_of(properties, required)}

    def _property(self, indent: str, depth: int) -> tuple[str, bool, dict[str, Any]]:
        cursor = self._cursor
        start = cursor.at
        while (begin := self._begin(indent)) is None:
            cursor.until("\n")
        above = cursor.text[start : cursor.at]
        cursor.at = begin.end()
        has_variants = cursor.text[cursor.at - 1] == ":" and cursor.take("\n")
        if has_variants:
            schema: dict[str, Any] = {"oneOf": self._lines_of_variants(indent, depth)}
        else:
            schema = _as_items(self._nullable(f"{indent}    ", depth))
            cursor.need(",")
            if cursor.take(" // default: "):
                schema["default"] = _default_in(cursor, "enum" in schema)
            cursor.need("\n")
        return begin[1], not begin[2], {**schema, **_annotations(above, f"{indent}// ", has_variants)}

    def _begin(self, indent: str) -> re.Match[str] | None:
        """The beginning of a property, if a line of one stands next."""
        text, at = self._cursor.text, self._cursor.at
        if not text.startswith(indent, at) or text.startswith("//", at + len(indent)):
            return None
        found = _PROPERTY.match(text, at + len(indent))
        if found is None or not text.startswith("\n", found.end()) or text[found.end() - 1] == " ":
            return found
        return found if text.startswith((f"{indent} | ", f"{indent},\n"), found.end() + 1) else None

    def _lines_of_variants(self, indent: str, depth: int) -> list[dict[str, Any]]:
        cursor = self._cursor
        variants = []
        while cursor.take(f"{indent} | "):
            found = self._nullable(f"{indent}   ", depth)
            if cursor.take(" // "):
                lines = [cursor.until("\n")]
                while not (cursor.peek(f"{indent} | ") or cursor.peek(f"{indent},\n")):
                    lines.append(cursor.until("\n"))
                found |= _remarks("\n".join(lines), is_enum="enum" in found)
            else:
                cursor.need("\n")
            variants.append(found)
        cursor.need(f"{indent},\n")
        return variants


def _as_items(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a property. Several types can here only be those of items, and the last `[]` is of the whole."""
    if "oneOf" not in schema:
        return schema
    *others, last = schema["oneOf"]
    if last.keys() != {"type", "items"}:
        raise Unread
    return {"type": "array", "items": {"oneOf": [*others, last["items"]]}}


def _default_in(cursor: Cursor, is_enum: bool) -> Any:
    found = cursor.match(_DEFAULT)
    if is_enum:
        return found[0]
    return json_value(found[2]) if found[1] is None else found[1]


def _remarks(text: str, *, is_enum: bool) -> dict[str, Any]:
    """The description and the default of one of several types."""
    found = _WITH_DEFAULT.fullmatch(text)
    if found is not None:
        description = {} if found[1] is None else {"description": found[1]}
        written = found[2]
        if is_enum:
            return {**description, "default": written}
        if len(written) > 1 and written[0] == written[-1] == '"':
            return {**description, "default": written[1:-1]}
        try:
            return {**description, "default": json_value(written)}
        except Unread:
            pass  # the description has this word
    return {"description": text}


def _annotations(above: str, mark: str, has_variants: bool) -> dict[str, Any]:
    """What is said of a property above it. `mark` begins each comment."""
    found: dict[str, Any] = {}
    title, end, rest = above.partition(f"\n{mark[:-1]}\n")
    if end and title.startswith(mark):
        found["title"], above = title.removeprefix(mark), rest
    default = None
    if has_variants:
        before, begin, last = above.rpartition(f"{mark}default: ")
        if begin and last.endswith("\n") and (not before or before.endswith("\n")):
            above, default = before, last[:-1]
    before, begin, listed = above.partition(f"{mark}Examples:\n")
    if begin and (not before or before.endswith("\n")):
        lines = listed.split("\n")
        count = next(number for number, line in enumerate(lines) if _example(line, mark) is None)
        rest = "\n".join(lines[count:])
        if not (before and rest):
            found["examples"] = [_example(line, mark) for line in lines[:count]] or [None]
            above = before or rest
    if above:
        if not (above.startswith(mark) and above.endswith("\n")):
            raise Unread
        found["description"] = above[len(mark) : -1]
    if default is not None:
        is_text = len(default) > 1 and default[0] == default[-1] == '"'
        found["default"] = default[1:-1] if is_text else json_value(default)
    return found


def _example(line: str, mark: str) -> str | None:
    found = _EXAMPLE.fullmatch(line.removeprefix(mark)) if line.startswith(mark) else None
    return None if found is None else found[1]
