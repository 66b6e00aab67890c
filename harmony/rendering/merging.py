"""Finds what a `$ref` names inside a schema, and merges schemas that hold together, as those of `allOf` do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import msgspec

Schema: TypeAlias = dict[str, Any]

#: Keywords that say something to people, and nothing about which values fit.
ANNOTATIONS: Final = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$schema",
        "$id",
        "id",
        "$anchor",
        "$defs",
        "definitions",
        "$dynamicAnchor",
        "$recursiveAnchor",
        "$vocabulary",
    }
)
VARIANTS: Final = ("anyOf", "oneOf")
#: The name in `type` for a value of each class of Python.
TYPES: Final[dict[type, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    dict: "object",
    list: "array",
}
# Before 2019, all that stands beside a `$ref` was ignored.
_REF_ALONE: Final = re.compile(r"https?://json-schema\.org/draft-0[3-7]/schema#?")
#: Keywords that depend on one another. Those of two schemas cannot be mixed.
_GROUPS: Final = (
    frozenset({"items", "prefixItems", "additionalItems", "unevaluatedItems"}),
    frozenset({"contains", "minContains", "maxContains"}),
    frozenset({"if", "then", "else"}),
)
#: Keywords about the keys that `properties` does not name.
_OTHER_KEYS: Final = frozenset({"additionalProperties", "unevaluatedProperties", "patternProperties"})
_LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


class References:
    """What the references inside one schema name."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._anchors: dict[str, Any] | None = None
        self._types: dict[str, list[str]] = {}
        kind = root.get("$schema") if isinstance(root, dict) else None
        #: Whether the keywords beside a `$ref` count.
        self.count_siblings: bool = not (isinstance(kind, str) and _REF_ALONE.fullmatch(kind))

    def find(self, reference: Any) -> Any:
        """What a reference names. Raises LookupError where that is not in the schema."""
        if not isinstance(reference, str):
            raise LookupError(reference)
        own = self._root.get("$id", "") if isinstance(self._root, dict) else ""
        if isinstance(own, str) and own:
            reference = reference.removeprefix(own.removesuffix("#")) or "#"
        if not reference.startswith("#"):
            raise LookupError(reference)
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            if self._anchors is None:
                self._anchors = dict(_anchors(self._root))
            return self._anchors[fragment]
        found = self._root
        for step in fragment.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and step.isascii() and step.isdigit():
                found = found[int(step)]
            elif isinstance(found, dict):
                found = found[step]
            else:
                raise LookupError(reference)
        return found

    def types(self, schema: Any) -> list[str]:
        """The types of all values that may fit a schema; none where that is not sure."""
        if not isinstance(schema, dict):
            return []
        found = [types_of(schema.get("type"))]
        if "const" in schema:
            found.append([type_of(schema["const"])])
        elif "enum" in schema:
            found.append(list(map(type_of, listed(schema, "enum"))))
        found += map(self.types, listed(schema, "allOf"))
        for keyword in VARIANTS:
            members = [self.types(one) for one in listed(schema, keyword) if one is not False]
            found.append([one for each in members for one in each] if all(members) else [])
        if "$ref" in schema:
            found.append(self._types_of(schema["$ref"]))
        known = list(filter(None, found))
        fewest = min(known, key=lambda names: len(names)) if known else []
        if fewest and schema.get("nullable") is True:
            fewest = [*fewest, "null"]
        return list(dict.fromkeys(fewest))

    def _types_of(self, reference: Any) -> list[str]:
        try:
            target = self.find(reference)
        except LookupError:
            return []
        if reference not in self._types:
            self._types[reference] = []  # until it is known, and so for itself
            self._types[reference] = self.types(target)
        return self._types[reference]


def _anchors(root: Any) -> Iterator[tuple[str, Any]]:
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            anchor = value.get("$anchor")
            if isinstance(anchor, str):
                yield anchor, value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def merged(first: Schema, second: Schema) -> Schema | None:
    """One schema that says what both say; None where no schema without `allOf` says so. The first goes ahead."""
    for group in _GROUPS:
        if group & first.keys() and group & second.keys() and _part(first, group) != _part(second, group):
            return None
    if _shuts_out(first, second) or _shuts_out(second, first):
        return None
    whole = dict(first)
    for keyword, value in second.items():
        if keyword in whole and (keyword == "properties" or canonical(whole[keyword]) != canonical(value)):
            try:
                value = _joined(keyword, whole[keyword], value)
            except ValueError:
                return None
        whole[keyword] = value
    return whole


def canonical(value: Any) -> bytes:
    """The same bytes for equal JSON values: for 1 and 1.0, but not for 1 and true, and for any order of keys."""
    return msgspec.json.encode(_plain(value), order="sorted")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(map(_plain, value)) if isinstance(value, list) else value


def _part(schema: Schema, group: frozenset[str]) -> bytes:
    return canonical({keyword: schema[keyword] for keyword in group & schema.keys()})


def _shuts_out(first: Schema, second: Schema) -> bool:
    """Whether the first schema says something about keys that only the second one names."""
    if all(first.get(keyword) in (None, True, {}) for keyword in _OTHER_KEYS):
        return False
    named = [schema.get("properties") for schema in (first, second)]
    own, others = (found if isinstance(found, dict) else {} for found in named)
    return not others.keys() <= own.keys()


def _joined(keyword: str, first: Any, second: Any) -> Any:
    """One value of a keyword for two. Raises ValueError where there is none."""
    if keyword == "description" and isinstance(first, str) and isinstance(second, str):
        return f"{first}\n{second}"
    if keyword in ANNOTATIONS:
        return first
    if keyword == "type":
        return _common_types(first, second)
    if keyword == "enum" and isinstance(first, list) and isinstance(second, list):
        known = set(map(canonical, second))
        return [value for value in first if canonical(value) in known]
    if keyword == "required" and isinstance(first, list) and isinstance(second, list):
        return list(dict.fromkeys(value for value in first + second if isinstance(value, str)))
    if keyword == "properties" and isinstance(first, dict) and isinstance(second, dict):
        return {**first, **second, **{key: _joint(first[key], second[key]) for key in second if key in first}}
    if keyword in _LOWER | _UPPER and {type(first), type(second)} <= {int, float}:
        return max(first, second) if keyword in _LOWER else min(first, second)
    if keyword in ("uniqueItems", "deprecated"):
        return bool(first or second)
    raise ValueError


def _joint(first: Any, second: Any) -> Any:
    """A schema that holds where both do."""
    if isinstance(first, dict) and first.keys() == {"allOf"}:
        return {"allOf": [*listed(first, "allOf"), second]}
    return {"allOf": [first, second]}


def listed(schema: Schema, keyword: str) -> list[Any]:
    """The list that a keyword has; an empty one if it has none."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def type_of(value: Any) -> str:
    """The type of a JSON value. A float may be an integer."""
    return "integer" if isinstance(value, float) and value.is_integer() else TYPES[type(value)]


def types_of(value: Any) -> list[str]:
    """The names in the keyword `type`."""
    found = value if isinstance(value, list) else [value]
    return [item for item in found if isinstance(item, str)]


def _common_types(first: Any, second: Any) -> list[str]:
    mine, others = types_of(first), types_of(second)
    common = [one for one in mine if one in others or (one == "integer" and "number" in others)]
    common += ["integer"] if "integer" in others and "number" in mine and "integer" not in mine else []
    if not common:
        raise ValueError
    return common
