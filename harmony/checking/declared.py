"""What can be wrong with the tools that a message declares: their names, and what their schemas say of each property.

Schemas can be hostile. So each object is looked at once, wherever it stands, and no reference is followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from harmony.errors import Fault, quote
from harmony.format.header import Header, check_header
from harmony.messages.roles import ROLES, Role
from harmony.rendering.merging import ANNOTATIONS, TYPES, listed, types_of

#: Keywords that hold a schema for each name, for each number, and one schema.
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_NUMBERED: Final = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SINGLE: Final = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_OF_ITEMS: Final = frozenset({"items", "prefixItems", "contains", "additionalProperties"})
#: The types that the reference has a type for.
_WRITTEN: Final = frozenset({"string", "number", "integer", "boolean", "array", "object"})


def unwritable(tool: str) -> str | None:
    """Why no header can hold the name of a tool; None if one can."""
    if tool == "all" or tool.partition(":")[0] in ROLES:
        return "it reads as a role"
    try:
        for header in (
            Header(Role.ASSISTANT, None, tool, "commentary", None),
            Header(Role.TOOL, tool, Role.ASSISTANT.value, "commentary", None),
        ):
            check_header(header, "openai")
    except Fault as fault:
        return fault.sentence
    return None


def unknown_types(schema: Any) -> Iterator[tuple[str, str]]:
    """The names in `type` that are no types, each with its place."""
    for path, one in _schemas(schema):
        for name in types_of(one.get("type")):
            if name not in TYPES.values():
                yield place([*path, "type"]), name


def becomes_any(schema: Any) -> Iterator[tuple[str, str]]:
    """The schemas that say something, but are `any` in the reference style: the place of each, and a keyword in it."""
    waiting: list[tuple[list[str], Any]] = [([], schema)]
    seen: set[int] = set()
    while waiting:
        path, one = waiting.pop()
        if one is False:
            yield place(path), "false"
        if not isinstance(one, dict) or id(one) in seen:
            continue
        seen.add(id(one))
        inner: Iterable[tuple[list[str], Any]] = ()
        if isinstance(one.get("oneOf"), list):
            inner = ((path, variant) for variant in one["oneOf"])
        elif one.get("type") == "object":
            inner = _named(one, "properties", path)
        elif one.get("type") == "array":
            inner = [([*path, "items"], one.get("items"))]
        elif lost := _lost(one):
            yield place(path), lost
        waiting += reversed(list(inner))


def _lost(schema: dict[str, Any]) -> str | None:
    """The first keyword of a schema that is lost because the reference writes `any`; None if it does not."""
    names = types_of(schema.get("type"))
    if isinstance(schema.get("type"), list):
        return next((f"type: {name}" for name in names if name in ("object", "array")), None)
    if names:
        return None if names[0] in _WRITTEN or names[0] not in TYPES.values() else f"type: {names[0]}"
    return next((keyword for keyword in schema if keyword not in ANNOTATIONS and keyword != "nullable"), None)


def _schemas(root: Any) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Every schema in a schema with its path, each object once."""
    waiting: list[tuple[list[str], Any]] = [([], root)]
    seen: set[int] = set()
    while waiting:
        path, schema = waiting.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield path, schema
        inner = [found for keyword in _NAMED for found in _named(schema, keyword, path)]
        inner += [([*path, keyword], one) for keyword in _NUMBERED for one in listed(schema, keyword)]
        inner += [([*path, keyword], schema.get(keyword)) for keyword in _SINGLE]
        waiting += reversed(inner)


def _named(schema: dict[str, Any], keyword: str, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    value = schema.get(keyword)
    for name, one in value.items() if isinstance(value, dict) else ():
        yield [*path, keyword, str(name)], one


def place(path: Iterable[str | int]) -> str:
    """A path in a schema, in words: the property, with `[]` for its items, and the keyword where it ends in one."""
    steps, words = iter(path), ""
    last = None
    for step in steps:
        last = step
        if step in _NAMED:
            name = next(steps, None)
            words += "" if name is None else f".{name}"
            last = step if name is None else None
        elif step in _OF_ITEMS:
            words += "[]"
            last = None
    words = words.removeprefix(".")
    whole = f"the property {quote(words)}" if words else "the whole schema"
    return f"{quote(last)} of {whole}" if isinstance(last, str) and last not in _NUMBERED else whole
