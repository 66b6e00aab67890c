"""Reads the functions of a namespace back from what `template.py` wrote of them, as `back_reference.py` does."""

from __future__ import annotations

import re
from typing import Any, Final

from harmony.messages.contents import ToolDescription
from harmony.rendering.back_reference import END, WORDS, enum, object_of, of_words
from harmony.rendering.cursor import DEEPEST, Cursor, Unread, json_value

_TOOL: Final = re.compile(r"^type ([^\n]+?) = \((?=_: \{\n|\) => any;\n)", re.MULTILINE)
#: The beginning of a parameter, up to its type: a name, and then what only a type begins with.
_PARAMETER: Final = re.compile(
    r'([^\n]*?)(\??): (?=\w+(?: \| \w+)*(?:\[\]){0,9}(?: \| null)?(?:,(?:\n| // )|//| \| \n)|"|\{\n)'
)
_KEY: Final = re.compile(r"([^\n]*?)(\??): \n {16}")
_BETWEEN: Final = " | \n"
#: The remarks of one of several types, behind `//`. They end where the next type comes, or the next parameter.
_SAID: Final = re.compile(r"(.*?)(?= \| \n|,\n|, // default: )", re.DOTALL)
_DEFAULT: Final = re.compile(r", // default: (.*?)(?=,\n(?:\}|// |[^\n]*?: ))", re.DOTALL)


class TemplateReader:
    """Reads tools, one after another, at the place of a cursor."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def description(self, name: str) -> str | None:
        """The description of a namespace, up to and with its opening line. Raises Unread where this line is not."""
        cursor, opening = self._cursor, f"namespace {name} {{\n\n"
        if cursor.take(opening):
            return None
        cursor.need("// ")
        next_one = cursor.text.find("\n\n## ", cursor.at)
        if cursor.text.find(f"\n{opening}", cursor.at, len(cursor.text) if next_one < 0 else next_one) < 0:
            raise Unread
        return cursor.until(f"\n{opening}")

    def tool(self) -> ToolDescription:
        """The next tool. Raises Unread."""
        cursor = self._cursor
        found = _TOOL.search(cursor.text, cursor.at)
        if found is None or not cursor.peek("// "):
            raise Unread
        description = cursor.text[cursor.at + len("// ") : found.start() - 1]
        cursor.at = found.end()
        parameters = self._parameters() if cursor.take("_: {\n") else None
        cursor.need(END)
        return ToolDescription(found[1], description, parameters)

    def _parameters(self) -> dict[str, Any]:
        cursor = self._cursor
        properties: dict[str, Any] = {}
        required = []
        while not cursor.take("}"):
            start = cursor.at
            while cursor.peek("//") or (begin := _PARAMETER.match(cursor.text, cursor.at)) is None:
                cursor.until("\n")
            above = cursor.text[start : cursor.at]
            cursor.at = begin.end()
            schema = self._variants()
            if cursor.peek(", // default: "):
                default = cursor.match(_DEFAULT)[1]
                schema["default"] = default if "enum" in schema else json_value(default)
            cursor.need(",\n")
            if above:
                if not above.startswith("// "):
                    raise Unread
                schema["description"] = above[len("// ") : -1]
            if begin[1] in properties:
                raise Unread
            properties[begin[1]] = schema
            if not begin[2]:
                required.append(begin[1])
        return object_of(properties, required)

    def _variants(self) -> dict[str, Any]:
        """A type, or several with their remarks."""
        variants = [self._variant()]
        while self._cursor.take(_BETWEEN):
            variants.append(self._variant())
        only, has_remarks = variants[0]
        if len(variants) == 1 and not has_remarks:
            return only
        return {"oneOf": [variant for variant, _ in variants]}

    def _variant(self) -> tuple[dict[str, Any], bool]:
        found = self._type(0)
        if not self._cursor.peek("//"):
            return found, False
        self._cursor.need("//")
        text = self._cursor.match(_SAID)[0]
        description, mark, default = text.rpartition(f"{20 * ' '}// default: ")
        if mark:
            found["default"], text = json_value(default), description
        if text.startswith(" "):
            found["description"] = text[1:]
        return found, True

    def _type(self, depth: int) -> dict[str, Any]:
        if depth > DEEPEST:
            raise Unread
        cursor = self._cursor
        if cursor.take("{\n"):
            found = self._inside(depth)
        elif cursor.peek('"'):
            found = enum(cursor)
        else:
            words = cursor.match(WORDS)[0]
            found = {"type": "object"} if words == "object" else of_words(words)
        for _ in range(DEEPEST):
            if not cursor.take("[]"):
                break
            found = {"type": "array", "items": found} if found else {"type": "array"}
        return {**found, "nullable": True} if cursor.take(" | null") else found

    def _inside(self, depth: int) -> dict[str, Any]:
        """The properties of an object inside a parameter. The template writes no more of them than their types."""
        properties: dict[str, Any] = {}
        required = []
        while True:
            name, optional = self._cursor.match(_KEY).groups()
            if name in properties:
                raise Unread
            properties[name] = self._type(depth + 1)
            if not optional:
                required.append(name)
            if self._cursor.take("}"):
                return object_of(properties, required)
            self._cursor.need(", ")
