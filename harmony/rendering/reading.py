"""Reads a JSON schema as a whole TypeScript type, in the form of a tree: what fits the schema fits the type.

What TypeScript has no type for becomes a remark. A `$ref` is replaced by what it names. Where this would never end, the
type gets a name and is declared. Where it would end too late, or too deep, it is `any` with a remark.

There is one exception. A schema without `type` that speaks of keys or of items also allows every value that has none.
Nobody means that, so its type is an object or an array.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from harmony.rendering import remarks
from harmony.rendering.merging import (
    ANNOTATIONS,
    TYPES,
    VARIANTS,
    References,
    Schema,
    canonical,
    listed,
    merged,
    type_of,
    types_of,
)
from harmony.rendering.trees import (
    Type,
    both,
    compact,
    holder,
    key_of,
    literal,
    name,
    on_one_line,
    take_over,
    union,
    uses_names,
)

#: How many schemas may be read again because a reference names them, and how deep schemas may be nested.
MOST_REPEATED: Final = 10_000
DEEPEST: Final = 40
# How many parts of each `allOf` are merged, for each copies all that was merged before.
_MOST_MERGED: Final = 100
# A type in a remark is declared under a name of its own if it has more characters than this.
_LONGEST_REMARK: Final = 100

_SCALARS: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}
_OF_OBJECTS: Final = frozenset(
    {
        "properties",
        "required",
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
    }
)
_OF_ARRAYS: Final = frozenset(
    {"items", "prefixItems", "additionalItems", "unevaluatedItems", "minItems", "maxItems", "uniqueItems", "contains"}
)
# What a schema that has variants cannot say again in each of them.
_LARGE: Final = _OF_OBJECTS | _OF_ARRAYS | {"not", "if", "then", "else"}
# What is read apart from the other keywords of a schema.
_APART: Final = ANNOTATIONS | {"$ref", "allOf", "nullable"}
_DYNAMIC: Final = ("$dynamicRef", "$recursiveRef")
_VALUES: Final = frozenset({"type", "const", "enum"})
# A variant that has one of these says of itself which kind of values it means.
_KINDS: Final = frozenset({"type", "$ref", "const", "enum", "allOf", "anyOf", "oneOf"})
_NO_LETTERS: Final = re.compile("[^A-Za-z0-9_]+")
_ROOT: Final = "#"


class Declared(NamedTuple):
    """A type with a name, which other types use."""

    name: str
    type: Type


class Names:
    """The names of types that are taken in a message."""

    def __init__(self) -> None:
        self._taken = {"Array", "Record"}

    def take(self, names: Iterable[str]) -> None:
        self._taken.update(names)

    def new(self, wish: str) -> str:
        """A name like the one that is wished for. It begins with a capital letter, as no word of TypeScript does."""
        plain = _NO_LETTERS.sub("_", wish).strip("_")
        plain = plain[0].upper() + plain[1:] if plain[:1].isalpha() else f"Type{plain}"
        found, number = plain, 1
        while found in self._taken:
            number += 1
            found = f"{plain}{number}"
        self._taken.add(found)
        return found


class Reader:
    """Reads one schema. `declared` has the types that others use by name, once `whole` was called."""

    def __init__(self, root: Any, names: Names) -> None:
        self.declared: list[Declared] = []
        self._references = References(root)
        self._names = names
        self._named: dict[str, str] = {}  # the names of references that contain themselves
        self._open: dict[str, int] = {}  # the references that are being read, and how many holders are around each
        self._merging: set[str] = set()  # the references that are being read as a part of `allOf`
        self._beside: dict[str, set[str]] = {}  # which named types a named type has outside of any holder
        self._holders = 0
        self._depth = 0
        self._left = MOST_REPEATED

    def whole(self) -> Type:
        """The type of the schema."""
        return self._reference(_ROOT)

    def _type(self, schema: Any) -> Type:
        """The type of a schema inside the whole one."""
        if schema is True or schema == {}:
            return name("any")
        if schema is False:
            return name("never")
        if not isinstance(schema, dict):
            return name("any", f"no schema: {literal(schema)}")
        if not self._goes_on():
            return name("any", "more than can be shown")
        self._depth += 1
        found = self._meaning(schema)
        self._depth -= 1
        if schema.get("nullable") is True and not found.is_any:
            found = union([found, name("null")])
        _say(schema, found)
        return found

    def _held(self, schema: Any) -> Type:
        """The type of a schema that something holds: an object, an array, or a remark. There it may be named."""
        self._holders += 1
        found = self._type(schema)
        self._holders -= 1
        return found

    def _goes_on(self) -> bool:
        """Whether one more schema may be read."""
        if len(self._open) > 1 or self._merging:
            self._left -= 1
        return self._left >= 0 and self._depth < DEEPEST

    def _reference(self, reference: Any) -> Type:
        """The type that a `$ref` names."""
        try:
            target = self._references.find(reference)
        except LookupError:
            return name("any", f"unresolved: {on_one_line(str(reference))}")
        if self._comes_back(reference):
            return name("any", f"refers to itself: {on_one_line(reference)}")
        if reference in self._open and reference not in self._named:
            self._named[reference] = self._names.new(_wish(reference, target))
        if reference in self._named:
            for around, holders in self._open.items():
                if holders == self._holders:
                    self._beside.setdefault(around, set()).add(reference)
            return name(self._named[reference])
        self._open[reference] = self._holders
        found = self._type(target)
        del self._open[reference]
        if reference not in self._named:
            return found
        self.declared.append(Declared(self._named[reference], found))
        return name(self._named[reference])

    def _comes_back(self, reference: str) -> bool:
        """Whether a reference leads back to itself without a holder between, so that it says nothing."""
        waiting, seen = [reference], {reference}
        while waiting:
            one = waiting.pop()
            if self._open.get(one) == self._holders:
                return True
            self._left -= 1
            fresh = self._beside.get(one, set()) - seen if one not in self._open else set()
            seen |= fresh
            waiting += fresh
        return False

    def _meaning(self, schema: Schema) -> Type:
        """The type of a schema, but for what only this schema itself says to people."""
        parts = listed(schema, "allOf")
        own = {keyword: value for keyword, value in schema.items() if keyword not in _APART}
        if "$ref" in schema:
            if not self._references.count_siblings:
                return self._reference(schema["$ref"])
            parts = [{"$ref": schema["$ref"]}, *parts]
        if not own and len(parts) == 1:
            one = parts[0]
            is_bare = isinstance(one, dict) and one.keys() == {"$ref"}
            return self._reference(one["$ref"]) if is_bare else self._type(one)
        started: list[str] = []
        merged_schema, rest = self._merged(own, parts, started)
        says_more = not rest or merged_schema.keys() - ANNOTATIONS
        found = [self._plain_or_variants(merged_schema, rest)] if says_more else []
        joined = both([*found, *map(self._type, rest)])
        _say(merged_schema, joined)
        self._merging.difference_update(started)
        return joined

    def _merged(self, own: Schema, parts: list[Any], started: list[str]) -> tuple[Schema, list[Any]]:
        """A schema with what could be merged of the parts, and the others. `started` gets the references in them."""
        rest: list[Any] = []
        for number, part in enumerate(parts):
            is_plain = isinstance(part, dict) and part.get("nullable") is not True and number < _MOST_MERGED
            if not is_plain or not self._goes_on():
                rest += [] if part is True else [part]
                continue
            inner = listed(part, "allOf")
            if "$ref" in part:
                reference = part["$ref"]
                try:
                    target = self._references.find(reference)
                except LookupError:
                    target = None
                is_busy = target is None or reference in self._open or reference in self._merging
                if is_busy or reference in self._named or not self._references.count_siblings:
                    rest.append(part)
                    continue
                self._merging.add(reference)
                started.append(reference)
                inner = [target, *inner]
            self._depth += 1
            body = {keyword: value for keyword, value in part.items() if keyword not in ("$ref", "allOf")}
            flat, more = self._merged(body, inner, started)
            self._depth -= 1
            joined = merged(own, flat)
            if joined is None:
                rest.append(part)
            else:
                own = joined
                rest += more
        return own, rest

    def _plain_or_variants(self, schema: Schema, beside: list[Any]) -> Type:
        """The type of a schema without `$ref` and `allOf`. `beside` are the schemas that hold together with it."""
        plain = {key: value for key, value in schema.items() if key not in VARIANTS and key not in ANNOTATIONS}
        variants = [listed(schema, keyword) for keyword in VARIANTS if isinstance(schema.get(keyword), list)]
        if plain and not plain.keys() & _VALUES:  # it speaks of the same kinds of values as the others
            others = [{keyword: schema[keyword]} for keyword in VARIANTS if keyword in schema]
            types = self._references.types({"allOf": [*beside, *others]})
            plain |= {"type": types} if types else {}
        if not variants:
            return self._plain(plain)
        if plain.keys() & _LARGE:  # too much to be said again in each variant
            typed = [[_typed(one, plain) for one in members] for members in variants]
            return both([self._plain(plain), *(union(map(self._type, members)) for members in typed)])
        first, *further = variants
        narrowed = [self._narrowed(one, plain) for one in first]
        return both(union(map(self._type, members)) for members in (narrowed, *further))

    def _narrowed(self, variant: Any, plain: Schema) -> Any:
        """A variant of a schema, together with what the schema says of all variants."""
        if not plain or not isinstance(variant, dict):
            return plain if variant is True else variant
        allowed, own = types_of(plain.get("type")), self._references.types(variant)
        if plain.keys() == {"type"} and own and all(_is_among(one, allowed) for one in own):
            return variant
        mixed = None if variant.keys() & {"$ref", "allOf", "nullable"} else merged(variant, plain)
        return {"allOf": [variant, plain]} if mixed is None else mixed

    def _plain(self, schema: Schema) -> Type:
        """The type of a schema without variants."""
        given = schema.get("type")
        names = types_of(given)
        values = _values(schema, names)
        if values is not None:
            found = union(name(literal(value)) for value in values)
        elif "type" in schema and not names:
            found = name("any", f"no type: {literal(given)}")
        else:
            kinds = names or _implied(schema)
            found = union(self._of_name(one, schema) for one in kinds) if kinds else name("any")
        found.remarks += remarks.of_scalars(schema, "integer" in names and "number" not in names)
        found.remarks += self._conditions(schema)
        return found

    def _of_name(self, type_name: str, schema: Schema) -> Type:
        if type_name == "object":
            return self._object(schema)
        if type_name == "array":
            return self._array(schema)
        known = _SCALARS.get(type_name)
        return name("any", f"unknown type: {on_one_line(type_name)}") if known is None else name(known)

    def _array(self, schema: Schema) -> Type:
        prefix = listed(schema, "prefixItems")
        others = schema.get("items", schema.get("unevaluatedItems", True))
        if isinstance(others, list):  # as before 2020
            prefix, others = others, schema.get("additionalItems", schema.get("unevaluatedItems", True))
        if prefix:
            found = self._tuple(prefix, others, schema)
        else:
            found = Type(kind="tuple") if others is False else holder("array", self._held(others))
            found.remarks += remarks.counted(schema, "minItems", "maxItems", "item")
        if schema.get("uniqueItems") is True:
            found.remarks.append("unique")
        if "contains" in schema:
            found.remarks += remarks.counted(schema, "minContains", "maxContains", "such item")
            found.remarks.append(f"contains: {self._said(schema['contains'])}")
        return found

    def _tuple(self, prefix: list[Any], others: Any, schema: Schema) -> Type:
        low, high = remarks.number(schema, "minItems") or 0, remarks.number(schema, "maxItems")
        if high is not None and high <= len(prefix):
            prefix, others = prefix[: max(0, int(high))], False
        found = Type(kind="tuple")
        for number, item in enumerate(prefix):
            self._add_item(found, item, f"item {number + 1}: ", "" if number < low else "?")
        if others is not False:
            self._add_item(found, others, "others: ", "...")
            found.remarks += remarks.counted(schema, "minItems", "maxItems", "item")
        return found

    def _add_item(self, found: Type, item: Any, said_of: str, key: str) -> None:
        part = self._held(item)
        take_over(found, part, said_of)
        if part.kind != "name" and uses_names(part):  # TypeScript looks later only at a name in a tuple
            part = self._declare("Item", part)
        found.parts.append(part)
        found.keys.append(key)

    def _object(self, schema: Schema) -> Type:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = dict.fromkeys(item for item in listed(schema, "required") if isinstance(item, str))
        others = schema.get("additionalProperties", schema.get("unevaluatedProperties"))
        patterns = schema.get("patternProperties")
        patterns = patterns if isinstance(patterns, dict) else {}
        keys = {**properties, **{key: True for key in required if key not in properties}}
        if not keys:
            return self._map(patterns, others, schema)
        found = Type(kind="object")
        for key, value in keys.items():
            found.keys.append(key_of(key, required=key in required))
            found.parts.append(self._held(value))
        found.inside += self._of_patterns(patterns)
        if others is False:
            found.inside.append("no other keys")
        elif others is not None:
            found.keys.append("[key: string]")
            found.parts.append(name("any") if others in (True, {}) else name("any", f"each: {self._said(others)}"))
        found.inside += self._of_keys(schema)
        return found

    def _map(self, patterns: dict[str, Any], others: Any, schema: Schema) -> Type:
        if others is False and len(patterns) == 1:
            ((pattern, value),) = patterns.items()
            found = holder("map", self._held(value))
            found.remarks.append(f"keys that match: {on_one_line(pattern)}")
        else:
            found = holder("map", self._held(True if others is None or patterns else others))
            found.remarks += self._of_patterns(patterns)
            if patterns and others is False:
                found.remarks.append("no other keys")
            elif patterns and others not in (None, True, {}):
                found.remarks.append(f"other keys: {self._said(others)}")
        found.remarks += self._of_keys(schema)
        return found

    def _of_patterns(self, patterns: dict[str, Any]) -> Iterator[str]:
        for pattern, value in patterns.items():
            yield f"keys that match {on_one_line(pattern)}: {self._said(value)}"

    def _of_keys(self, schema: Schema) -> Iterator[str]:
        """What a schema says of an object as a whole."""
        yield from remarks.counted(schema, "minProperties", "maxProperties", "key")
        if "propertyNames" in schema:
            yield f"keys: {self._said(schema['propertyNames'])}"
        for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
            needs = schema.get(keyword)
            for key, value in needs.items() if isinstance(needs, dict) else ():
                said = ", ".join(map(literal, value)) if isinstance(value, list) else self._said(value)
                yield f"{literal(key)} needs {said}"

    def _conditions(self, schema: Schema) -> Iterator[str]:
        if "not" in schema:
            yield f"not: {self._said(schema['not'])}"
        if "if" in schema:
            said = [f"{word} {self._said(schema[word])}" for word in ("if", "then", "else") if word in schema]
            yield " ".join(said)
        yield from (f"{keyword}: {literal(schema[keyword])}" for keyword in _DYNAMIC if keyword in schema)

    def _said(self, schema: Any) -> str:
        """A type for a remark: on one line, or a name under which it is declared."""
        found = self._held(schema)
        text = compact(found)
        if len(text) <= _LONGEST_REMARK and not _has_comments(found):
            return text
        return self._declare("Condition", found).text

    def _declare(self, wish: str, found: Type) -> Type:
        declared = Declared(self._names.new(wish), found)
        self.declared.append(declared)
        return name(declared.name)


def _say(schema: Schema, found: Type) -> None:
    """Adds what a schema says to people to its type."""
    found.comments[:0] = remarks.comments(schema)
    if "default" in schema:  # that of what a `$ref` names does not count
        found.remarks = [said for said in found.remarks if not said.startswith(remarks.DEFAULT)]
    found.remarks += remarks.asides(schema)


def _has_comments(found: Type) -> bool:
    return bool(found.comments) or any(map(_has_comments, found.parts))


def _wish(reference: str, target: Any) -> str:
    last = reference.rpartition("/")[2].lstrip("#")
    title = target.get("title") if isinstance(target, dict) else None
    return last or (title if isinstance(title, str) else "Arguments")


def _typed(variant: Any, plain: Schema) -> Any:
    """A variant with the type of the schema that it is a variant of, if it does not say its own."""
    if not isinstance(variant, dict) or "type" not in plain or variant.keys() & _KINDS:
        return variant
    return {"type": plain["type"], **variant}


def _implied(schema: Schema) -> list[str]:
    """The types that a schema without `type` speaks of."""
    kinds = (("object", _OF_OBJECTS), ("array", _OF_ARRAYS))
    return [kind for kind, keywords in kinds if schema.keys() & keywords]


def _values(schema: Schema, names: list[str]) -> list[Any] | None:
    """The only values that fit a schema; None if it does not list them."""
    values = schema.get("enum")
    found = values if isinstance(values, list) else None
    if "const" in schema:
        only = canonical(schema["const"])
        if found is not None and only not in map(canonical, found):
            return []
        found = [schema["const"]]
    return found if found is None or not names else [value for value in found if _fits(value, names)]


def _is_among(type_name: str, names: list[str]) -> bool:
    return type_name in names or (type_name == "integer" and "number" in names)


def _fits(value: Any, names: list[str]) -> bool:
    return _is_among(type_of(value), names) or not all(one in TYPES.values() for one in names)
