"""Takes records apart along the paths of a plan, in Python: the reference and the type stub of `walk_c.pyx`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from harmony.errors import quote
from harmony.logs.chat_shape import kind_of

#: A step of a path: the name of a field, the index of an item, or None for each item.
Step: TypeAlias = str | int | None
#: One completion of a record: the indices of the items that `[]` stands for, what the paths lead to, and the record as
#: far as it belongs to this completion. In the record, objects and lists on the way to a path are taken apart, and of
#: each list that `[]` stands for, only the own item is left. It belongs to the caller, who may change it.
Variant: TypeAlias = tuple[tuple[int, ...], dict[str, msgspec.Raw], Any]

_NULL: Final = msgspec.Raw(b"null")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Node:
    """The paths of a plan that begin alike: the next steps, and the path that ends here."""

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.children: dict[Step, Node] = {}
        self.path: str | None = None
        #: Whether a `[]` follows.
        self.has_list = False
        #: Whether the next steps are indices or `[]`.
        self.takes_list = False


def variants(root: Node, fields: Mapping[str, msgspec.Raw]) -> list[Variant]:
    """The completions of a record. Raises ValueError, with the place, where a value is no list or no object."""
    try:
        return _members(root, dict(fields), {})
    except _Unexpected as error:
        raise ValueError(error.sentence()) from None


def take_out(whole: Any, steps: Sequence[Step]) -> None:
    """Removes what the steps lead to from the record of a Variant."""
    for step in steps[:-1]:
        if isinstance(step, str):
            whole = whole.get(step) if isinstance(whole, dict) else None
        else:
            place = step or 0  # of a list that `[]` stands for, only the own item is left
            whole = whole[place] if isinstance(whole, list) and -len(whole) <= place < len(whole) else None
    last = steps[-1]
    if isinstance(whole, dict):
        whole.pop(last, None)
    elif isinstance(whole, list) and not isinstance(last, str) and -len(whole) <= (last or 0) < len(whole):
        del whole[last or 0]


class _Unexpected(Exception):  # noqa: N818  it becomes a ValueError
    """Raised where a value is not what the next step of a path takes."""

    def __init__(self, expected: str, found: str, at: str, hint: str = "") -> None:
        super().__init__(expected)
        self._expected, self._found, self._at, self._hint = expected, found, at, hint
        self.indices: list[int] = []  # of the items on the way, the last first

    def sentence(self) -> str:
        """What was expected, what was found, and where."""
        at = self._at
        for index in reversed(self.indices):
            at = at.replace("[]", f"[{index}]", 1)
        return f"expected {self._expected}, found {self._found} - at `{at}`{self._hint.format(at=at)}"


def _members(node: Node, whole: dict[str, Any], found: dict[str, msgspec.Raw]) -> list[Variant]:
    """The variants of an object, which is changed. `found` gets what all variants share."""
    inside = None
    for step, child in node.children.items():
        value = whole.get(step)  # type: ignore[arg-type]
        if value is None:
            continue
        if not child.children:
            found[child.path] = value  # type: ignore[index]
        elif child.has_list:
            inside = step, _value(child, value, found)
        else:
            [(_, _, whole[step])] = _value(child, value, found)  # type: ignore[index]
    if inside is None:
        return [((), found, whole)]
    step, made = inside
    if len(made) == 1:
        [(indices, own, part)] = made
        found.update(own)
        whole[step] = part  # type: ignore[index]
        return [(indices, found, whole)]
    return [(indices, {**found, **own}, {**whole, step: part}) for indices, own, part in made]


def _value(node: Node, value: msgspec.Raw, found: dict[str, msgspec.Raw]) -> list[Variant]:
    if node.path is not None:
        found[node.path] = value
    if not node.children or value == _NULL:
        if None in node.children:
            raise _Unexpected("a list", "null", node.at)
        return [((), found, value)]
    try:
        inside: Any = (_ARRAY if node.takes_list else _OBJECT).decode(value)
    except msgspec.ValidationError:
        kind = kind_of(value)
        hint = ": write `{at}[]` for each item" if kind == "a list" else ""
        raise _Unexpected("a list" if node.takes_list else "an object", kind, node.at, hint) from None
    return _items(node, inside, found) if node.takes_list else _members(node, inside, found)


def _items(node: Node, given: list[msgspec.Raw], found: dict[str, msgspec.Raw]) -> list[Variant]:
    child = node.children.get(None)
    if child is not None:
        if not given:
            raise _Unexpected("at least one item", "an empty list", node.at)
        made = []
        for index, item in enumerate(given):
            try:
                inside = _value(child, item, {})
            except _Unexpected as error:
                error.indices.append(index)
                raise
            made += [((index, *indices), found, [part]) for indices, found, part in inside]
        return made
    whole: list[Any] = list(given)
    several = None
    taken: dict[int, Node] = {}  # the items that were taken apart
    for step, child in node.children.items():
        assert isinstance(step, int)
        if not -len(whole) <= step < len(whole):
            continue
        place = step % len(whole)
        other = taken.get(place)
        if child.children and other is not None:
            raise _Unexpected("items that differ", f"one item for {quote(other.at)} and {quote(child.at)}", node.at)
        inside = _value(child, given[place], found)
        if child.has_list:
            several = place, inside
        if child.children and inside[0][2] is not given[place]:
            taken[place] = child
            whole[place] = inside[0][2]
    if several is None:
        return [((), found, whole)]
    place, inside = several
    return [(indices, own, [*whole[:place], part, *whole[place + 1 :]]) for indices, own, part in inside]
