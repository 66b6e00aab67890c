"""Draws JSON schemas of tools, with everything that they can say, and values that fit them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import jsonschema

from harmony.rendering.merging import TYPES

_KEYS: Final = (
    "a",
    "b",
    "kind",
    "next",
    "a-b",
    "größe",
    "",
    "1",
    "class",
    'say "so"',
    "x y",
    "a\u2028b",
    "back\\slash",
)
_NAMES: Final = ("node", "Node", "a/b", "x~y", "Record", "größe", "1st", "f", "100%")
_TEXTS: Final = (
    "Plain.",
    "Two\nlines",
    "a */ b /* c",
    "one\r\ntwo\rthree\u2028four\u2029five",
    "\n",
    "",
    "} // {",
    "`${x}` 'y' \"z\" \\",
)
_STRINGS: Final = ("", "a", "Oslo", 'say "so"', "back\\slash", "two\nlines", "x\u2028y", "größe", "*/", "abc123")
#: Patterns, each with strings that it finds.
_PATTERNS: Final = {"^a": ("a", "abc123", "a\n"), "[0-9]+$": ("1", "abc123"), "\\n": ("two\nlines", "\n")}
_NUMBERS: Final = (0, 1, -1, 3, 2.5, -0.25, 1e21, 12345678901234567890, 14)
#: What an object or an array is meant by, if a schema has no `type`.
_MEANT: Final = {"object": {"properties", "required", "additionalProperties"}, "array": {"items", "prefixItems"}}
_KINDS: Final = {"type", "$ref", "const", "enum", "allOf", "anyOf", "oneOf"}
# Keywords whose values hold no schemas, or schemas that say what does not fit.
_DATA: Final = {"const", "enum", "default", "examples", "not", "if"}
_ENDS: Final = 3  # how deep schemas are nested


class Drawer:
    """Draws one schema of a seed: `root`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._names = chance.sample(_NAMES, chance.randint(0, 3))
        self._definitions = chance.choice(("$defs", "definitions"))
        self.root = self._root()

    def _root(self) -> dict[str, Any]:
        root = self._object(0)
        if self._chance.random() < 0.1:
            root |= self._mixed(1)
        if self._names:
            root[self._definitions] = {name: self._schema(1) for name in self._names}
        return root

    def _schema(self, depth: int) -> Any:
        kinds: list[Callable[[int], Any]] = [self._scalar, self._scalar, self._values, self._odd]
        if self._names:
            kinds += [self._reference, self._reference]
        if depth < _ENDS:
            kinds += [self._object, self._object, self._array, self._tuple, self._map, self._variants, self._all]
            kinds += [self._variants, self._mixed, self._types]
        found = self._chance.choice(kinds)(depth)
        return self._with_words(found) if isinstance(found, dict) else found

    def _with_words(self, schema: dict[str, Any]) -> dict[str, Any]:
        chance = self._chance
        for keyword in ("title", "description"):
            if chance.random() < 0.2:
                schema[keyword] = chance.choice(_TEXTS)
        if chance.random() < 0.1:
            schema["default"] = chance.choice([None, 5, "two\nlines", {"a": ["\u2028"]}])
        if chance.random() < 0.05:
            schema["examples"] = [chance.choice(_STRINGS), 5]
        if chance.random() < 0.07 and "$ref" not in schema:
            schema["nullable"] = True
        if chance.random() < 0.03:
            schema["not"] = self._chance.choice([{"const": "a"}, {"required": ["never"]}, {"type": "null"}])
        return schema

    def _scalar(self, depth: int) -> dict[str, Any]:
        chance = self._chance
        kind = chance.choice(["string", "number", "integer", "boolean", "null"])
        schema: dict[str, Any] = {"type": kind}
        if kind == "string" and chance.random() < 0.5:
            schema |= chance.choice(
                [{"minLength": 1}, {"maxLength": 4}, {"pattern": chance.choice([*_PATTERNS])}, {"format": "date"}]
            )
        if kind in ("number", "integer") and chance.random() < 0.5:
            schema |= chance.choice([{"minimum": 1, "maximum": 14}, {"exclusiveMinimum": 0}, {"multipleOf": 2}])
        return schema

    def _values(self, depth: int) -> dict[str, Any]:
        values: list[Any] = [*_STRINGS, *_NUMBERS, None, True, False, {"a": [1, {}]}, [], ["a", None]]
        if self._chance.random() < 0.3:
            return {"const": self._chance.choice(values)}
        schema: dict[str, Any] = {"enum": self._chance.sample(values, self._chance.randint(1, 5))}
        if self._chance.random() < 0.3:
            schema["type"] = self._chance.choice(["string", ["string", "null"], "number", "integer"])
        return schema

    def _odd(self, depth: int) -> Any:
        return self._chance.choice([True, False, {}, {"minimum": 3}, {"pattern": "^a"}, {"description": "Anything."}])

    def _types(self, depth: int) -> dict[str, Any]:
        kinds = self._chance.sample(["string", "integer", "null", "object", "array", "boolean"], 2)
        whole: dict[str, Any] = {}
        if "object" in kinds:
            whole |= self._object(depth)
        if "array" in kinds:
            whole |= self._array(depth)
        return {**whole, "type": kinds}

    def _reference(self, depth: int) -> dict[str, Any]:
        name = self._chance.choice(self._names)
        pointer = name.replace("~", "~0").replace("/", "~1").replace("%", "%25")
        schema: dict[str, Any] = {"$ref": f"#/{self._definitions}/{pointer}" if self._chance.random() < 0.9 else "#"}
        if self._chance.random() < 0.15:
            schema |= self._chance.choice(
                [{"minLength": 1}, {"required": ["a"]}, {"properties": {"b": {"type": "string"}}}]
            )
        return schema

    def _object(self, depth: int) -> dict[str, Any]:
        chance = self._chance
        keys = chance.sample(_KEYS, chance.randint(0, 4))
        schema: dict[str, Any] = {"properties": {key: self._schema(depth + 1) for key in keys}}
        if chance.random() < 0.85:
            schema["type"] = "object"
        if chance.random() < 0.6:
            schema["required"] = [
                *chance.sample(keys, chance.randint(0, len(keys))),
                *chance.choice([[], [], ["gone"]]),
            ]
        if chance.random() < 0.4:
            schema["additionalProperties"] = chance.choice([False, False, True, {}, self._schema(depth + 1)])
        if chance.random() < 0.1:
            schema["patternProperties"] = {"^a": self._schema(depth + 1)}
        if chance.random() < 0.1:
            schema["dependentRequired"] = {"a": ["b"]}
        return schema

    def _array(self, depth: int) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array"}
        if self._chance.random() < 0.9:
            schema["items"] = self._schema(depth + 1)
        if self._chance.random() < 0.3:
            schema |= self._chance.choice([{"minItems": 1}, {"maxItems": 3}, {"uniqueItems": True}, {"contains": True}])
        return schema

    def _tuple(self, depth: int) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "prefixItems": [self._schema(depth + 1) for _ in range(2)]}
        if self._chance.random() < 0.5:
            schema["items"] = self._chance.choice([False, self._schema(depth + 1)])
        return schema | self._chance.choice([{}, {"minItems": 2, "maxItems": 2}, {"minItems": 1}, {"maxItems": 1}])

    def _map(self, depth: int) -> dict[str, Any]:
        schema = {"type": "object", "additionalProperties": self._schema(depth + 1)}
        return schema | self._chance.choice([{}, {}, {"propertyNames": {"pattern": "^a"}}, {"minProperties": 1}])

    def _variants(self, depth: int) -> dict[str, Any]:
        members = [self._schema(depth + 1) for _ in range(self._chance.randint(1, 3))]
        return {self._chance.choice(["anyOf", "oneOf"]): [*members, *self._chance.choice([[], [{"type": "null"}]])]}

    def _all(self, depth: int) -> dict[str, Any]:
        parts = [self._chance.choice([self._object, self._object, self._schema])(depth + 1) for _ in range(2)]
        return {"allOf": parts}

    def _mixed(self, depth: int) -> dict[str, Any]:
        """A schema with variants, or with a condition."""
        schema = self._chance.choice([self._object(depth), self._scalar(depth), {}])
        if self._chance.random() < 0.3:
            return {**schema, "if": {"required": ["a"]}, "then": self._object(depth + 1), "else": {"required": ["b"]}}
        members = [{"required": [key]} for key in self._chance.sample(_KEYS, 2)]
        if self._chance.random() < 0.5:
            members = [self._object(depth + 1) for _ in range(2)]
        return {**schema, self._chance.choice(["anyOf", "oneOf"]): members}


class Sampler:
    """Draws values that fit a schema, and asks jsonschema whether they do.

    Where a schema without `type` speaks of keys or of items, only objects or arrays are drawn. By a rule of its own,
    TypeScript refuses an object that has keys, but none of a type whose keys may all be missing. None such is drawn.
    """

    def __init__(self, root: Any, chance: random.Random) -> None:
        self._chance = chance
        self._root = root
        self._validators = [jsonschema.Draft202012Validator(_spelled(root, narrow=narrow)) for narrow in (False, True)]

    def values(self, most: int, tries: int) -> list[Any]:
        """Up to `most` values that fit the schema."""
        found: list[Any] = []
        for _ in range(tries):
            try:
                value = self._value([self._root], 0)
                if all(validator.is_valid(value) for validator in self._validators):
                    found.append(value)
            except (LookupError, RecursionError):  # nothing fits, or a reference names itself
                continue
            if len(found) == most:
                break
        return found

    def _parts(self, schemas: list[Any]) -> list[dict[str, Any]]:
        """The schemas with all that holds with them; of variants, one. Raises LookupError where nothing fits."""
        waiting: list[Any] = list(schemas)
        found: list[dict[str, Any]] = []
        while waiting:
            one = waiting.pop()
            if one is False or len(found) > 100:
                raise LookupError
            if one is True:
                continue
            found.append(one)
            waiting += one.get("allOf", [])
            waiting += [self._chance.choice(one[keyword]) for keyword in ("anyOf", "oneOf") if keyword in one]
            if "$ref" in one:
                target = self._root
                for step in one["$ref"].split("/")[1:]:
                    target = target[step.replace("%25", "%").replace("~1", "/").replace("~0", "~")]
                waiting.append(target)
            if "if" in one:
                waiting += self._chance.choice([[one["if"], one.get("then", True)], [one.get("else", True)]])
        return found

    def _value(self, schemas: list[Any], depth: int) -> Any:
        chance = self._chance
        if depth > 6:
            raise LookupError
        if any(isinstance(one, dict) and one.get("nullable") for one in schemas) and chance.random() < 0.3:
            return None
        parts = self._parts(schemas)
        for part in parts:
            if "const" in part or "enum" in part:
                return chance.choice(part.get("enum", [part.get("const")]))
        kinds = [[part["type"]] if isinstance(part["type"], str) else part["type"] for part in parts if "type" in part]
        if not kinds:
            speaks = [
                kind for kind, word in (("object", "properties"), ("array", "items")) if any(word in p for p in parts)
            ]
            speaks += ["object"] if any("required" in p or "additionalProperties" in p for p in parts) else []
            kinds = [speaks] if speaks else [["string", "number", "null", "boolean", "any"]]
        kind = chance.choice([one for one in kinds[0] if all(one in more or one == "integer" for more in kinds)])
        if kind == "object":
            return self._object(parts, depth)
        if kind == "array":
            return self._array(parts, depth)
        if kind == "string":
            patterns = [part["pattern"] for part in parts if "pattern" in part]
            return chance.choice(_PATTERNS[patterns[0]] if patterns else _STRINGS)
        if kind == "boolean":
            return chance.random() < 0.5
        if kind in ("number", "integer"):
            return chance.choice([*_NUMBERS, 2, 4.0, 7])
        return None if kind == "null" else chance.choice([[1, "a"], {"a": None}, "a"])

    def _object(self, parts: list[dict[str, Any]], depth: int) -> dict[str, Any]:
        named: dict[str, list[Any]] = {}
        for part in parts:
            for key, schema in part.get("properties", {}).items():
                named.setdefault(key, []).append(schema)
        required = {key for part in parts for key in part.get("required", ())}
        others = [part["additionalProperties"] for part in parts if "additionalProperties" in part]
        made: dict[str, Any] = {}
        for key in [*named, *(key for key in sorted(required) if key not in named)]:
            if key in required or self._chance.random() < 0.6:
                made[key] = self._value(named.get(key, [True]), depth + 1)
        if made and False not in others and self._chance.random() < 0.4:
            made[self._chance.choice(["more", "a more"])] = self._value(others or [True], depth + 1)
        return made

    def _array(self, parts: list[dict[str, Any]], depth: int) -> list[Any]:
        prefix: list[Any] = next((part["prefixItems"] for part in parts if "prefixItems" in part), [])
        others = [part["items"] for part in parts if "items" in part]
        length = self._chance.randint(0, 3)
        items = [[one] for one in prefix[:length]]
        if False not in others:
            items += [others or [True]] * (length - len(items))
        return [self._value(schemas, depth + 1) for schemas in items]


def _spelled(schema: Any, *, narrow: bool) -> Any:
    """The schema for a library that does not know `nullable`. `narrow`: only with the values that are drawn."""
    if isinstance(schema, list):
        return [_spelled(one, narrow=narrow) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: value if key in _DATA else _spelled(value, narrow=narrow) for key, value in schema.items()}
    if narrow and not schema.keys() & _KINDS:
        made["type"] = [kind for kind, words in _MEANT.items() if schema.keys() & words] or [*TYPES.values()]
    if narrow and isinstance(schema.get("properties"), dict) and schema["properties"] and not schema.get("required"):
        shared: list[Any] = [{"required": [key]} for key in schema["properties"]]
        made["allOf"] = [*made.get("allOf", ()), {"anyOf": [{"maxProperties": 0}, *shared]}]
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") is True else made
