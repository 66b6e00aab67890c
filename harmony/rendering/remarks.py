"""What TypeScript has no type for, as short remarks: ranges, lengths, patterns, formats, defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from harmony.rendering.trees import lines, literal, on_one_line

#: What stands before a default.
DEFAULT: Final = "default: "
#: The keywords with a text, and what stands before it.
_TEXTS: Final = {
    "pattern": "pattern: ",
    "format": "format: ",
    "contentEncoding": "encoding: ",
    "contentMediaType": "media type: ",
}
#: The keywords that are true or absent, and what stands for them.
_FLAGS: Final = {"deprecated": "deprecated", "readOnly": "read only", "writeOnly": "write only"}


def comments(schema: dict[str, Any]) -> list[str]:
    """The lines ahead of a type: title, description and examples."""
    title, description, examples = (schema.get(keyword) for keyword in ("title", "description", "examples"))
    found = [*lines(title), ""] if isinstance(title, str) else []
    if isinstance(description, str):
        found += lines(description) or [""]
    if isinstance(examples, list) and examples:
        found += ["Examples:", *(f"- {literal(example)}" for example in examples)]
    return found


def asides(schema: dict[str, Any]) -> Iterator[str]:
    """The remarks that are only for people: about use, and the default."""
    yield from (said for keyword, said in _FLAGS.items() if schema.get(keyword) is True)
    if "default" in schema:
        yield DEFAULT + literal(schema["default"])


def of_scalars(schema: dict[str, Any], is_integer: bool) -> Iterator[str]:
    """The remarks about numbers and strings."""
    yield from _of_range(schema)
    if is_integer:
        yield "integer"
    if is_number(schema.get("multipleOf")):
        yield f"multiple of {literal(schema['multipleOf'])}"
    yield from counted(schema, "minLength", "maxLength", "character")
    for keyword, said in _TEXTS.items():
        if isinstance(schema.get(keyword), str):
            yield said + on_one_line(schema[keyword])


def _of_range(schema: dict[str, Any]) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is True:  # as in draft 4, where the limit stands in `minimum`
        low, above = None, low
    if below is True:
        high, below = None, high
    if is_number(low) and is_number(high):
        yield f"{literal(low)} to {literal(high)}"
        low = high = None
    for limit, said in ((low, "at least"), (above, "more than"), (high, "at most"), (below, "less than")):
        if is_number(limit):
            yield f"{said} {literal(limit)}"


def counted(schema: dict[str, Any], least: str, most: str, unit: str) -> Iterator[str]:
    """How many of a unit there may be."""
    low, high = number(schema, least), number(schema, most)
    if low is not None and high is not None:
        said = f"exactly {literal(low)}" if low == high else f"{literal(low)} to {literal(high)}"
        yield f"{said} {_plural(unit, high)}"
    elif low is not None:
        yield f"at least {literal(low)} {_plural(unit, low)}"
    elif high is not None:
        yield f"at most {literal(high)} {_plural(unit, high)}"


def _plural(unit: str, count: float) -> str:
    return unit if count == 1 else f"{unit}s"


def number(schema: dict[str, Any], keyword: str) -> float | None:
    """The number that a keyword has, if it is one."""
    value = schema.get(keyword)
    return value if is_number(value) else None


def is_number(value: Any) -> bool:
    """Whether a value is a number in JSON, where true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
