"""JSON schemas of tools, and whether arguments fit them.

Schemas and arguments can be hostile. So the cost of a check is counted and limited (except for regular expressions),
and references are never fetched. This module does not know the rules of `lint`, or messages. It loads jsonschema, which
is an extra, on first use.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from threading import local
from typing import Any, Final, NamedTuple

from harmony.checking.declared import place
from harmony.errors import Fault, quote
from harmony.messages.record import check_repeats
from harmony.runtime.extras import how_to_install
from harmony.runtime.locks import forks_wait

# The limit of a check: a fixed cost, and an additional cost for each character that is checked.
_COST_OF_ARGUMENTS: Final = 100_000, 50
_COST_OF_SCHEMA: Final = 200_000, 200
_COST_OF_STEP: Final = 10

# How many values may be read repeatedly because their objects stand in several places of the schema.
_MOST_REPEATED: Final = 10_000

# How deep a check may go, how many frames of the interpreter one level takes, and how many frames its calls take. The
# recursion limit of the interpreter must never be reached: jsonschema uses code in Rust, which would panic there.
_DEEPEST: Final = 150
_FRAMES_OF_LEVEL: Final = 5
_FRAMES_BELOW: Final = 100

# Many conversations have the same tools. This many schemas are remembered, each up to this length in characters.
_REMEMBERED_SCHEMAS: Final = 256
_REMEMBERED_LENGTH: Final = 65_536

_NESTED: Final = frozenset({"const", "enum", "dependencies", "dependentRequired"})  # compared as a whole
_SORTED: Final = (frozenset({str}), frozenset({int, float}))  # items that jsonschema can sort to find equal ones


class TooManySteps(Exception):  # noqa: N818  it never leaves this module
    """Raised if a check costs more than its limit."""


class _Meter(local):
    """What the check in this thread may still cost, how deep it may go, and what one search for an anchor costs."""

    left: int = 0
    levels: int = 0
    anchor: int = 0

    def start(self, cost: int, anchor: int) -> None:
        """Begins a check. Raises RecursionError if too few frames are left for it."""
        self.left = cost
        self.levels = _levels()
        self.anchor = anchor

    def spend(self, cost: int) -> None:
        """Subtracts a cost. Raises TooManySteps if the limit is exceeded."""
        self.left -= cost
        if self.left < 0:
            raise TooManySteps


def _levels() -> int:
    """How many levels deep a check may go. Raises RecursionError if it is none."""
    frame = sys._getframe()
    frames = 0
    while frame.f_back is not None:
        frame = frame.f_back
        frames += 1
    levels = min((sys.getrecursionlimit() - frames - _FRAMES_BELOW) // _FRAMES_OF_LEVEL, _DEEPEST)
    if levels <= 0:
        raise RecursionError
    return levels


_meter: Final = _Meter()


def load_jsonschema() -> Any:
    """Loads the library jsonschema. If it is not installed, the ImportError says what to do."""
    try:
        with forks_wait:
            return import_module("jsonschema")
    except ImportError as error:
        raise ImportError(f"jsonschema is needed: {how_to_install('lint', 'jsonschema')}") from error


class Schema(NamedTuple):
    """The validator of a schema, and the length of the schema in characters."""

    validator: Any
    length: int


class Flaw(NamedTuple):
    """What is wrong with a schema: the place, what was expected there, and what was found."""

    place: str
    expected: str
    found: str


def read_schema(parameters: object) -> tuple[Schema | None, Flaw | None]:
    """A schema, or what is wrong with it. Raises whatever can go wrong with hostile ones."""
    _levels()
    try:
        check_repeats(parameters, _MOST_REPEATED)
    except ValueError:
        raise TooManySteps from None
    text = json.dumps(parameters, allow_nan=False)
    validator, fault = (_remembered if len(text) <= _REMEMBERED_LENGTH else _validator)(text)
    return (None if fault else Schema(validator, len(text))), fault


def misfit(schema: Schema, tool: str, text: str, *, is_json: bool) -> Fault | None:
    """The fault of arguments that do not fit the schema; None too for those that only claim that they are JSON.

    Raises whatever can go wrong with hostile schemas.
    """
    try:
        arguments = read_json(text)
    except ValueError:
        return None if is_json else Fault("arguments-break-schema/not-json", call=tool, found=quote(text))
    error = _problem(schema.validator, arguments, _COST_OF_ARGUMENTS, len(text), anchor=schema.length)
    if error is None:
        return None
    expected = f"{_rule(error)} at {quote(error.json_path)}, found {quote(_as_json(error.instance))}"
    return Fault("arguments-break-schema", call=tool, expected=expected)


@cache
def of_schema() -> tuple[type[Exception], ...]:
    """What checking raises because of a schema or of arguments.

    Those of Python are for a schema that has other types than jsonschema expects. What else is raised, such as the
    TimeoutError of a signal's handler, says nothing of the schema.
    """
    found = load_jsonschema().exceptions.UnknownType, import_module("referencing.exceptions").Unresolvable
    built_in = ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError
    return TooManySteps, re.error, *found, *built_in


def reason(error: Exception) -> str:
    if isinstance(error, TooManySteps):
        return "it takes too many steps"
    return "it goes too deep" if isinstance(error, RecursionError) else quote(str(error))


def _validator(schema: str) -> tuple[Any, Flaw | None]:
    """A validator for a schema in JSON, and what is wrong with the schema."""
    found = json.loads(schema)
    jsonschema = load_jsonschema()
    kind = jsonschema.validators.validator_for(found, default=jsonschema.Draft202012Validator)
    counted = _counted(kind)
    # A registry of one's own knows the drafts of JSON schema, and fetches nothing.
    registry = import_module("referencing").Registry()
    error = _problem(counted(kind.META_SCHEMA, registry=registry), found, _COST_OF_SCHEMA, len(schema))
    flaw = error and Flaw(place(error.absolute_path), _rule(error), quote(_as_json(error.instance)))
    return counted(found, registry=registry), flaw


_remembered = lru_cache(_REMEMBERED_SCHEMAS)(_validator)


def _problem(validator: Any, value: object, cost: tuple[int, int], length: int, *, anchor: int = 0) -> Any:
    """The first error that a validator finds in a value; None if there is none. `length` is in characters."""
    _meter.start(cost[0] + cost[1] * length, anchor)
    return next(validator.iter_errors(value), None)


def _rule(error: Any) -> str:
    return quote("false" if error.validator is None else f'"{error.validator}": {_as_json(error.validator_value)}')


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


@cache
def _counted(kind: Any) -> Any:
    """A subclass of a validator's class that counts the cost of its checks."""
    keywords = {keyword: _metered(keyword, function) for keyword, function in kind.VALIDATORS.items()}
    # These keywords follow references in their own way, which cannot be counted, so they are not checked.
    keywords |= dict.fromkeys({"unevaluatedItems", "unevaluatedProperties"} & keywords.keys(), _unchecked)
    counted = load_jsonschema().validators.extend(kind, keywords)
    # Keeps the class. Otherwise a `$schema` inside the schema would choose a class that does not count.
    counted.evolve = import_module("attrs").evolve
    return counted


def _unchecked(*_: object) -> Iterator[Any]:
    return iter(())


def _metered(keyword: str, function: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def metered(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _meter.spend(_COST_OF_STEP + _cost(keyword, value, instance, schema))
        if instance is None and schema.get("nullable") is True:
            return  # as rendering reads it: null fits, whatever else is said
        if _meter.levels <= 0:
            raise RecursionError
        _meter.levels -= 1
        try:
            for error in function(validator, value, instance, schema) or ():
                if not error.relative_schema_path:  # a new error; its message contains the whole instance
                    _meter.spend(_COST_OF_STEP + 2 * len(error.message))
                yield error
        finally:
            _meter.levels += 1

    return metered


def _cost(keyword: str, value: Any, instance: Any, schema: Any) -> int:
    """The highest cost of checking a keyword, without the schemas inside it."""
    items = len(instance) if isinstance(instance, list | dict) else 0
    if keyword in _NESTED:
        return items + _size(value)
    if keyword == "uniqueItems" and isinstance(instance, list):
        kinds = set(map(type, instance))
        return items if any(kinds <= alike for alike in _SORTED) else items * items
    if keyword in ("patternProperties", "additionalProperties"):
        patterns = schema.get("patternProperties")
        return items * (1 + (len(patterns) if isinstance(patterns, dict) else 0))
    if keyword in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
        return len(value) + (0 if value == "#" or value.startswith("#/") else _meter.anchor)
    if keyword == "pattern" and isinstance(instance, str):
        items = len(instance)
    return items + (len(value) if isinstance(value, str | list | dict) else 0)


def _size(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_size, value.values()))
    return len(value) + sum(map(_size, value)) if isinstance(value, list) else 0


def read_json(text: str) -> Any:
    """Reads JSON. Raises ValueError, whose text contains no part of the input."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
