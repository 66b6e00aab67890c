"""A tool's parameters, from JSON schema to the TypeScript that the model reads: a pure function, which knows no tokens.

Decides every character of a type and of the comments around it, which are those of openai-harmony 0.0.8. A schema is
plain JSON data: dicts with strings as keys, lists, strings, numbers, booleans and None. What is no schema, or says
nothing that TypeScript has a word for, is `any`; nothing in it is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

_SIMPLE: Final = {"number": "number", "integer": "number", "boolean": "boolean"}
_LARGEST: Final = (1 << 64) - 1
_SMALLEST: Final = -(1 << 63)


def typescript(schema: Any, indent: str = "") -> str:
    """The type that a schema describes; `indent` stands before each of its lines but the first."""
    if not isinstance(schema, dict):
        return "any"
    variants = schema.get("oneOf")
    if isinstance(variants, list):
        return "".join(f"\n{indent} | {_variant(variant, indent)}" for variant in variants)
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = ["number" if item == "integer" else item for item in kind if isinstance(item, str)]
        return " | ".join(kinds) if kinds else "any"
    if kind == "object":
        return _object(schema, indent)
    if kind == "string":
        values = schema.get("enum")
        literals = [f'"{value}"' for value in values if isinstance(value, str)] if isinstance(values, list) else []
        return " | ".join(literals) or "string"
    if kind == "array":
        return f"{typescript(schema['items'], indent)}[]" if "items" in schema else "Array<any>"
    return _SIMPLE.get(kind, "any") if isinstance(kind, str) else "any"


def _object(schema: dict[str, Any], indent: str) -> str:
    text = "".join(_comments(_string(schema, "description"), indent)) + "{\n"
    properties = schema.get("properties")
    if isinstance(properties, dict):
        required = schema.get("required")
        names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        for name, value in properties.items():
            written = name if name in names else f"{name}?"
            text += "".join(_property(written, value if isinstance(value, dict) else {}, indent))
    return f"{text}{indent}}}"


def _property(name: str, schema: dict[str, Any], indent: str) -> Iterator[str]:
    """The lines of one property, its comments first."""
    title = _string(schema, "title")
    if title is not None:
        yield f"{indent}// {title}\n{indent}//\n"
    if "oneOf" not in schema:
        yield from _comments(_string(schema, "description"), indent)
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        yield from _comments("Examples:", indent)
        for example in examples:
            if isinstance(example, str):
                yield from _comments(f'- "{example}"', indent)

    variants = schema.get("oneOf")
    if isinstance(variants, list):
        yield from _variants(name, schema, variants, indent)
        return
    default = "" if "oneOf" in schema else "".join(f" // {default}" for default in _default(schema))
    yield f"{indent}{name}: {_nullable(schema, indent + '    ')},{default}\n"


def _variants(name: str, schema: dict[str, Any], variants: list[Any], indent: str) -> Iterator[str]:
    """The lines of a property that may be one of several types, each on a line of its own."""
    description = _string(schema, "description")
    # What the property and its first type both say is said once: above, or where they say the same, nowhere.
    above = description if not variants or description != _string(variants[0], "description") else None
    yield from _comments(above, indent)
    for default in _default(schema):
        yield from _comments(default, indent)
    yield f"{indent}{name}:\n"
    for number, variant in enumerate(variants):
        remark = _string(variant, "description")
        if remark == description or (number == 0 and above is not None):
            remark = None
        yield f"{indent} | {_nullable(variant, indent + '   ')}{_remarks(remark, _default(variant))}\n"
    yield f"{indent},\n"


def _variant(schema: Any, indent: str) -> str:
    """One of several types where they stand in no property, with what is said of it."""
    description = _string(schema, "description")
    default: Iterable[str] = _default(schema)
    if _is_enum(schema) and "default" in schema:
        default = [f"default: {_json(schema['default'])}"]  # in quotes here, unlike that of a property
    return _nullable(schema, indent + "   ") + _remarks(description, default)


def _remarks(description: str | None, default: Iterable[str]) -> str:
    """What is said of a type behind it, on its line."""
    remarks = [*([] if description is None else [description]), *default]
    return f" // {' '.join(remarks)}" if remarks else ""


def _nullable(schema: Any, indent: str) -> str:
    text = typescript(schema, indent)
    nullable = isinstance(schema, dict) and schema.get("nullable") is True
    return f"{text} | null" if nullable and "null" not in text else text


def _default(schema: Any) -> Iterator[str]:
    """What a comment says of the default, if there is one: a string in quotes, but one of an enum without."""
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


def _comments(text: str | None, indent: str) -> Iterator[str]:
    if text is not None:
        yield f"{indent}// {text}\n"


def _json(value: Any) -> str:
    """Compact JSON, non-ASCII as it is; integers beyond 64 bits as floats, which is how openai-harmony reads them."""
    return msgspec.json.encode(_small(value)).decode()


def _small(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _small(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_small(item) for item in value]
    return float(value) if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST else value
