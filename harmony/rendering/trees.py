"""TypeScript types as trees, with the comments and remarks that belong to each. `full.py` writes them.

Comments are lines that stand ahead of a type. Remarks are pieces of text that stand behind it, on its last line. What
is said of a part that has no line of its own, such as the items of an array, moves up to the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

import msgspec

#: A name is any type that is one piece of text: `string`, a literal, or a declared name. The parts of an object are the
#: types of its keys. Those of an array and of a map are the type of each item.
Kind: TypeAlias = Literal["name", "union", "both", "array", "map", "tuple", "object"]

#: The kinds that need parentheses beside an operator.
OPEN: Final = frozenset({"union", "both"})
#: What stands around the item of a tuple, by its key: one that is there, one that may be missing, and any further ones.
AROUND: Final = {"": ("", ""), "?": ("", "?"), "...": ("...", "[]")}

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
#: Everything that ends a line in TypeScript.
_LINE_END: Final = re.compile("\r\n|[\n\r\u2028\u2029]")
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED: Final = re.compile("[\n\r\u2028\u2029]")


class Type(msgspec.Struct, kw_only=True):
    """A type. `keys` are those of an object as they are written, and `inside` are remarks about the object itself."""

    kind: Kind = "name"
    text: str = ""
    parts: list[Type] = []
    keys: list[str] = []
    inside: list[str] = []
    comments: list[str] = []
    remarks: list[str] = []

    @property
    def is_bare(self) -> bool:
        """Whether nothing is said of the type as a whole."""
        return not self.comments and not self.remarks

    @property
    def is_any(self) -> bool:
        return self.kind == "name" and self.text == "any"


def name(text: str, *remarks: str) -> Type:
    """A type that is one piece of text."""
    return Type(text=text, remarks=list(remarks))


def union(members: Iterable[Type]) -> Type:
    """A type for what fits any of the members. Where all but one are null, what is said of that one is said of all."""
    found: dict[object, Type] = {}
    for member in members:
        for one in member.parts if member.kind == "union" and member.is_bare else [member]:
            found[one.text if one.kind == "name" and one.is_bare else id(one)] = one
    if len(found) > 1:
        found.pop("never", None)
    if len(found) < 2:
        return next(iter(found.values()), name("never"))
    whole = Type(kind="union", parts=list(found.values()))
    if sum(one.text != "null" for one in whole.parts) == 1:
        for one in whole.parts:
            take_over(whole, one)
        whole.parts = [inner for one in whole.parts for inner in (one.parts if one.kind == "union" else [one])]
    return whole


def both(parts: Iterable[Type]) -> Type:
    """A type for what fits all of the parts."""
    whole = Type(kind="both")
    for part in parts:
        take_over(whole, part)
        if not part.is_any:
            whole.parts += part.parts if part.kind == "both" else [part]
    if len(whole.parts) > 1:
        return whole
    only = whole.parts[0] if whole.parts else name("any")
    take_over(only, whole)
    return only


def holder(kind: Literal["array", "map"], item: Type) -> Type:
    """An array or a map of items."""
    whole = Type(kind=kind, parts=[item])
    take_over(whole, item, "each value: " if kind == "map" else "each: ")
    return whole


def take_over(whole: Type, part: Type, said_of: str = "") -> None:
    """Moves what is said of a part to the whole. `said_of` tells there what it is said of."""
    for said, more in ((whole.comments, part.comments), (whole.remarks, part.remarks)):
        if more:
            said += [said_of + more[0], *more[1:]]
    part.comments, part.remarks = [], []


def key_of(text: str, *, required: bool) -> str:
    """The key of a property as it is written."""
    written = text if _PLAIN_KEY.fullmatch(text) else literal(text)
    return written if required else f"{written}?"


def literal(value: Any) -> str:
    """A JSON value on one line. It is the type of this value alone, too."""
    return on_one_line(msgspec.json.encode(value).decode())


def on_one_line(text: str) -> str:
    """A text with an escape for each character that would end the line."""
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


def lines(text: str) -> list[str]:
    """The lines of a text. Whatever ends a line in TypeScript ends one, and the last end begins no further line."""
    *found, rest = _LINE_END.split(text)
    return found + ([rest] if rest else [])


def uses_names(found: Type) -> bool:
    """Whether a declared type is anywhere in a type."""
    if found.kind == "name":
        return found.text[:1].isupper()  # as no other type begins
    return any(map(uses_names, found.parts))


def compact(found: Type) -> str:
    """A type on one line, for a remark. Remarks stand in parentheses, and comments are left out."""
    parts = [compact(part) for part in found.parts]
    if found.kind == "name":
        text = found.text
    elif found.kind == "object":
        text = "; ".join([*(f"{key}: {part}" for key, part in zip(found.keys, parts, strict=True)), *found.inside])
        text = f"{{ {text} }}"
    elif found.kind == "tuple":
        items = map(_grouped, found.parts, parts)
        text = ", ".join(item.join(AROUND[key]) for key, item in zip(found.keys, items, strict=True))
        text = f"[{text}]"
    elif found.kind == "map":
        text = f"Record<string, {parts[0]}>"
    elif found.kind == "array":
        text = f"{_grouped(found.parts[0], parts[0])}[]"
    elif found.kind == "both":
        text = " & ".join(map(_grouped, found.parts, parts))
    else:
        text = " | ".join(parts)
    return f"{text} ({'; '.join(found.remarks)})" if found.remarks else text


def _grouped(part: Type, text: str) -> str:
    return f"({text})" if part.kind in OPEN else text
