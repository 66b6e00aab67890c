"""What the chat template of gpt-oss on Hugging Face writes otherwise than openai-harmony, for the style "hf".

The template writes the arguments and the results of functions as JSON, and has its own TypeScript for their parameters:
one line for each parameter, and everything inside it in no more. A keyword of a schema that has a value of a wrong type
makes the template fail; here it is left out. This module knows no tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any, Final

from harmony.messages.model import Message, TextContent
from harmony.messages.record import unchecked
from harmony.messages.roles import Role
from harmony.rendering.typescript import Parameters, Pieces

_FUNCTIONS: Final = "functions."
_SIMPLE: Final = {"number": "number", "integer": "number", "boolean": "boolean"}
_OF_ITEMS: Final = {"string": "string", **_SIMPLE}
# The type of the items of an array becomes `any` where it is longer than this.
_LONGEST_ITEMS: Final = 50
# Objects and remarks inside a parameter have line ends and indents that are those of the template's own source.
_NESTED: Final = "\n" + 16 * " "
_REMARK: Final = 20 * " "


def written(message: Message) -> Message:
    """The message as the template writes it: with JSON as its text, if it is the call or the result of a function.

    A call that is JSON is written anew, with spaces behind `,` and `:`. Another one, and any result, becomes a string.
    What rendering refuses anyway is given back as it is.
    """
    role = message.author.role
    function = message.recipient if role == Role.ASSISTANT else message.author.name if role == Role.TOOL else None
    if not isinstance(function, str) or not function.startswith(_FUNCTIONS):
        return message
    texts = [part.text for part in message.content if type(part) is TextContent and isinstance(part.text, str)]
    if len(texts) != len(message.content):
        return message
    text = "".join(texts)
    content = [unchecked(TextContent, _call(text) if role == Role.ASSISTANT else _json(text))]
    found: Message = unchecked(
        Message, message.author, content, message.channel, message.recipient, message.content_type
    )
    return found


def _call(text: str) -> str:
    """The JSON of a call: its value written anew, or a string where it is no JSON or something of it would be lost."""
    try:
        found = _json(json.loads(text, object_pairs_hook=_whole_object, parse_float=_finite))
        found.encode()  # a single surrogate is JSON only as an escape
    except (ValueError, RecursionError):
        return _json(text)
    return found


def _whole_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("the number is too large")
    return number


def _json(value: Any) -> str:
    """JSON as the filter `tojson` of Hugging Face writes it."""
    return json.dumps(value, ensure_ascii=False)


class TemplateWriter(Pieces):
    """Writes types as the template does. `most` is the limit for all of them together."""

    @staticmethod
    def lines(text: str) -> list[str]:
        """A description as one line, even where it has line ends, and even where it is empty."""
        return [text]

    def parameters(self, schema: Any, taken: Collection[str]) -> Parameters:
        """The parameters of a tool. `taken` counts only for whole types. Raises TooLong."""
        properties = _properties(schema)
        if not properties:
            return Parameters([], [], "")
        required = _listed(schema, "required")
        self._write("_: {\n")
        for name, value in properties.items():
            description = _string(value, "description")
            comment = f"// {description}\n" if description else ""
            self._write(f"{comment}{name}{'' if name in required else '?'}: {_type(value)}{_default(value)},\n")
        self._write("}")
        return Parameters([], [], self._taken())


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    type_name = schema.get("type")
    variants = _listed(schema, "oneOf")
    null = " | null" if schema.get("nullable") else ""
    if type_name == "array":
        return f"{_items(schema.get('items'))}[]{null}"
    if isinstance(type_name, list) and type_name:
        return " | ".join(map(str, type_name))
    if variants:
        return " | \n".join(map(_variant, variants))
    if type_name == "string":
        values = _listed(schema, "enum")
        return " | ".join(f'"{value}"' for value in values) if values else f"string{null}"
    if type_name == "object":
        return _object(schema)
    return _SIMPLE.get(type_name, "any") if isinstance(type_name, str) else "any"


def _items(schema: Any) -> str:
    if not schema:
        return "any"
    type_name = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(type_name, str) and type_name in _OF_ITEMS:
        return _OF_ITEMS[type_name]
    found = _type(schema)
    return "any" if len(found) > _LONGEST_ITEMS or found == "object | object" else found


def _variant(schema: Any) -> str:
    """One of several types, with its remarks; the template puts nothing between the type and these."""
    description = _string(schema, "description")
    remarks = f"// {description}" if description else ""
    if isinstance(schema, dict) and "default" in schema:
        remarks += f"{_REMARK}// default: {_json(schema['default'])}"
    return _type(schema) + remarks


def _object(schema: dict[str, Any]) -> str:
    properties = _properties(schema)
    required = _listed(schema, "required")
    inside = [f"{name}{'' if name in required else '?'}: {_NESTED}{_type(value)}" for name, value in properties.items()]
    return "{\n" + ", ".join(inside) + "}" if inside else "object"


def _default(schema: Any) -> str:
    """The remark about the default of a parameter. Before it stands a comma, but not behind variants."""
    if not isinstance(schema, dict) or "default" not in schema:
        return ""
    value = schema["default"]
    is_enum, has_variants = bool(_listed(schema, "enum")), bool(_listed(schema, "oneOf"))
    said = value if isinstance(value, str) and (is_enum or has_variants) else _json(value)
    return f"{'' if has_variants and not is_enum else ', '}// default: {said}"


def _properties(schema: Any) -> dict[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _listed(schema: Any, keyword: str) -> list[Any]:
    found = schema.get(keyword) if isinstance(schema, dict) else None
    return found if isinstance(found, list) else []


def _string(schema: Any, keyword: str) -> str:
    found = schema.get(keyword) if isinstance(schema, dict) else None
    return found if isinstance(found, str) else ""
