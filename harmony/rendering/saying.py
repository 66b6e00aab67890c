"""Reads back what `remarks.py` says of a schema: the lines ahead of its type, and the remarks behind it."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

from harmony.rendering.cursor import Unread, joined, json_value

_Schema: TypeAlias = dict[str, Any] | bool

_NUMBER: Final = r"(-?\d[\d.eE+-]*)"
_UNITS: Final = {"character": "Length", "item": "Items", "key": "Properties", "such item": "Contains"}
_UNIT: Final = rf"({'|'.join(_UNITS)})s?"
_COUNTED: Final = re.compile(rf"(?:{_NUMBER} to {_NUMBER}|(exactly|at least|at most) {_NUMBER}) {_UNIT}")
_RANGE: Final = re.compile(rf"{_NUMBER} to {_NUMBER}")
_LIMIT: Final = re.compile(rf"(at least|more than|at most|less than|multiple of) {_NUMBER}")
_LIMITS: Final = {
    "at least": "minimum",
    "more than": "exclusiveMinimum",
    "at most": "maximum",
    "less than": "exclusiveMaximum",
    "multiple of": "multipleOf",
}
_TEXT: Final = re.compile(r"(pattern|format|encoding|media type): (.*)", re.DOTALL)
_TEXTS: Final = {
    "pattern": "pattern",
    "format": "format",
    "encoding": "contentEncoding",
    "media type": "contentMediaType",
}
_FLAGS: Final = {
    "deprecated": "deprecated",
    "read only": "readOnly",
    "write only": "writeOnly",
    "unique": "uniqueItems",
}
_DEFAULT: Final = re.compile(r"(?:^|; )default: ")
_ITEMS: Final = {"each: ": "items", "each value: ": "additionalProperties"}
_OF_WHOLE: Final = frozenset({"minItems", "maxItems", "minProperties", "maxProperties", *_FLAGS.values()})


def commented(schema: _Schema, lines: list[str]) -> _Schema:
    """The schema with a title, a description and examples of the lines ahead of its type. Raises Unread."""
    if not lines:
        return schema
    if not isinstance(schema, dict):
        raise Unread
    found: dict[str, Any] = {}
    if len(lines) > 1 and lines[0] and not lines[1]:
        found["title"], lines = lines[0], lines[2:]
    if "Examples:" in lines:
        place = lines.index("Examples:")
        try:
            found["examples"] = [json_value(_example(line)) for line in lines[place + 1 :]]
            lines = lines[:place]
        except Unread:
            pass  # it is a line of the description
    if lines:
        found["description"] = joined(lines) if lines != [""] else ""
    return {**schema, **found}


def _example(line: str) -> str:
    if not line.startswith("- "):
        raise Unread
    return line[2:]


def remarked(schema: _Schema, said: str) -> _Schema:
    """The schema with what the remarks behind its type say. Raises Unread for a remark that is not known."""
    if not said:
        return schema
    if not isinstance(schema, dict):
        raise Unread
    found = dict(schema)
    default = _DEFAULT.search(said)
    if default is not None:
        found["default"] = json_value(said[default.end() :])
        said = said[: default.start()]
    if said:
        one = _spoken_of(found)
        if one is not None:
            of_one = remarked(found["anyOf"][one], said)
            return {**found, "anyOf": [*found["anyOf"][:one], of_one, *found["anyOf"][one + 1 :]]}
    inner: str | None = None  # the keyword of the items that are spoken of
    of_items: dict[str, Any] = {}
    for piece in _pieces(said):
        for begin, keyword in _ITEMS.items():
            if piece.startswith(begin):
                inner, piece = keyword, piece.removeprefix(begin)
        read = _read(piece)
        if inner is not None and not read.keys() & _OF_WHOLE:
            of_items |= read
        else:
            inner = None
            found = _with(found, read)
    for keyword in _ITEMS.values() if of_items else ():
        if isinstance(found.get(keyword), dict):
            return {**found, keyword: _with(found[keyword], of_items)}
    if of_items:
        raise Unread
    return found


def _pieces(said: str) -> list[str]:
    """The single remarks. A pattern may hold what stands between them, and then goes on with what is no remark."""
    found: list[list[str]] = []
    is_open = False  # the last remark is a text
    for piece in said.split("; ") if said else ():
        if is_open and not _begins(piece):
            found[-1].append(piece)
        else:
            found.append([piece])
            is_open = _TEXT.match(piece) is not None
    return list(map("; ".join, found))


def _begins(piece: str) -> bool:
    """Whether a piece is a remark by itself."""
    try:
        return bool(_read(piece))
    except Unread:
        return piece.startswith(tuple(_ITEMS))


def _spoken_of(schema: dict[str, Any]) -> int | None:
    """The place of the one variant that is not null, if there is one: what is said of the whole is said of it."""
    others = [place for place, one in enumerate(schema.get("anyOf", ())) if one != {"type": "null"}]
    return others[0] if len(others) == 1 else None


def remarked_or_described(schema: _Schema, said: str) -> _Schema:
    """The same for a member of a union, before whose remarks a description may stand."""
    try:
        return remarked(schema, said)
    except Unread:
        if not isinstance(schema, dict):
            raise
    first, _, rest = said.partition("; ")
    try:
        found = remarked(schema, rest)
    except Unread:
        return {**schema, "description": said}
    return {**found, "description": first} if isinstance(found, dict) else found


def _with(schema: dict[str, Any], read: dict[str, Any]) -> dict[str, Any]:
    found = {**schema, **read}
    if not found.pop("integer", False):
        return found
    given = schema.get("type")
    if given == "number":
        return {**found, "type": "integer"}
    if not isinstance(given, list) or "number" not in given:
        raise Unread
    return {**found, "type": ["integer" if one == "number" else one for one in given]}


def _read(piece: str) -> dict[str, Any]:
    """The keywords for one remark. The keyword `integer` stands for this type."""
    if piece == "integer":
        return {"integer": True}
    if piece in _FLAGS:
        return {_FLAGS[piece]: True}
    if counted := _COUNTED.fullmatch(piece):
        low, high, word, number, unit = counted.groups()
        if word is not None:
            low, high = (None if word == "at most" else number), (None if word == "at least" else number)
        ends = {f"min{_UNITS[unit]}": low, f"max{_UNITS[unit]}": high}
        return {keyword: json_value(end) for keyword, end in ends.items() if end is not None}
    if between := _RANGE.fullmatch(piece):
        return {"minimum": json_value(between[1]), "maximum": json_value(between[2])}
    if limit := _LIMIT.fullmatch(piece):
        return {_LIMITS[limit[1]]: json_value(limit[2])}
    if text := _TEXT.fullmatch(piece):
        return {_TEXTS[text[1]]: text[2]}
    raise Unread
