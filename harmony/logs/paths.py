"""Paths to the fields of records, such as `choices[].token_ids`, and what they lead to in JSON.

The syntax is a part of JMESPath, because it says shortly what logs need: a name, `a.b` for a field inside a field,
`a[0]` for one item of a list, and `a[]` (or `a[*]`) for each item. A name with other signs stands in double quotes:
`"a.b"`. `$.` at the beginning, as in JSONPath, is ignored. The functions and filters of JMESPath are left out, because
a path also says which field to take out of a record.

With `[]`, one record holds several completions. All paths of a plan run over the same lists, so that the finish reason
of a choice is that of its own completion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from harmony.errors import quote

#: A step of a path: the name of a field, the index of an item, or None for each item.
Step: TypeAlias = str | int | None

#: The field that says which completion of its record a completion is, from 0.
INDEX: Final = "completion_index"

_STEP: Final = re.compile(
    r"""(?P<dot>\.?) (?: (?P<name>[^."\[\]]+) | "(?P<quoted>(?:[^"\\]|\\.)+)" )  |  \[ (?P<index>-?[0-9]+|\*|) \]""",
    re.VERBOSE,
)
_KINDS: Final = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NULL: Final = msgspec.Raw(b"null")


@lru_cache(1 << 10)
def steps_of(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises ValueError for a text that is no path.

    >>> steps_of('response.choices[]."token.ids"[0]')
    ('response', 'choices', None, 'token.ids', 0)
    """
    written = path.removeprefix("$.")
    steps: list[Step] = []
    place = 0
    while place < len(written):
        found = _STEP.match(written, place)
        if found is None or (found["index"] is None and bool(steps) is not bool(found["dot"])):
            break
        if found["index"] is not None:
            steps.append(None if found["index"] in ("", "*") else int(found["index"]))
        else:
            steps.append(found["name"] or re.sub(r"\\(.)", r"\1", found["quoted"]))
        place = found.end()
    if place < len(written) or not steps or not isinstance(steps[0], str):
        raise ValueError(
            f"expected a path such as `tokens`, `choices[].token_ids` or `outputs[0].text`, found {quote(path)}"
        )
    return tuple(steps)


def lists_of(path: str) -> tuple[Step, ...]:
    """The steps of a path up to its last `[]`; none if it has no `[]`."""
    steps = steps_of(path)
    return steps[: max((place + 1 for place, step in enumerate(steps) if step is None), default=0)]


class Node:
    """The paths of a plan that begin alike: the next steps, and the path that ends here."""

    __slots__ = ("children", "path")

    def __init__(self) -> None:
        self.children: dict[Step, Node] = {}
        self.path: str | None = None


class Variant(NamedTuple):
    """One completion of a record: what the paths lead to, and the record as far as it belongs to this completion.

    `indices` are those of the items that `[]` stands for. In `whole`, objects and lists on the way to a path are
    decoded, and of each list that `[]` stands for, only the own item is left.
    """

    indices: tuple[int, ...]
    found: dict[str, msgspec.Raw]
    whole: Any


class Plan:
    """Some paths, and how records are taken apart along them. `is_flat` says that each path is only a name.

    Raises ValueError if a text is no path, or if two paths run over different lists.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.is_flat = all(len(steps_of(path)) == 1 for path in paths)
        self.root = Node()
        #: The number of `[]`.
        self.depth = 0
        longest: tuple[Step, ...] = ()
        first = ""
        for path in paths:
            lists = lists_of(path)
            if lists[: len(longest)] != longest[: len(lists)]:
                raise ValueError(f"expected paths over the same lists, found {quote(first)} and {quote(path)}")
            if len(lists) > len(longest):
                longest, first = lists, path
            node = self.root
            for step in steps_of(path):
                node = node.children.setdefault(step, Node())
            node.path = path
        self.depth = longest.count(None)
        _check(self.root, "")

    def variants(self, fields: Mapping[str, msgspec.Raw]) -> list[Variant]:
        """The completions of a record. Raises ValueError, with the place, where a value is no list or no object."""
        return _members(self.root, dict(fields), "")


def _check(node: Node, at: str) -> None:
    kinds = {type(step) if isinstance(step, str) else list for step in node.children}
    indices = {step for step in node.children if not isinstance(step, str)}
    if len(kinds) > 1 or (None in indices and len(indices) > 1):
        raise ValueError(f"{quote(at)} is taken in two ways by the paths: as an object, as one item, or as each item")
    for step, child in node.children.items():
        _check(child, joined(at, step))


def joined(at: str, step: Step) -> str:
    """A path with one more step."""
    if isinstance(step, str):
        return f"{at}.{step}" if at else step
    return f"{at}[{'' if step is None else step}]"


def without(whole: Any, steps: Sequence[Step]) -> Any:
    """The part of a record without what the steps lead to. `whole` is that of a Variant, and is not changed."""
    step, rest = steps[0], steps[1:]
    if isinstance(whole, dict) and isinstance(step, str) and step in whole:
        if rest:
            return {**whole, step: without(whole[step], rest)}
        return {name: value for name, value in whole.items() if name != step}
    if isinstance(whole, list) and not isinstance(step, str):
        place = 0 if step is None else step
        if -len(whole) <= place < len(whole):
            kept = list(whole)
            kept[place : place + 1 or None] = [without(whole[place], rest)] if rest else []
            return kept
    return whole


def kind_of(value: msgspec.Raw) -> str:
    """What a value of JSON is, in words."""
    return _KINDS.get(bytes(value).lstrip()[:1].decode(), "a number")


def _members(node: Node, fields: dict[str, Any], at: str) -> list[Variant]:
    variants = [Variant((), {}, fields)]
    for step, child in node.children.items():
        assert isinstance(step, str)
        if step not in fields:
            continue
        inside = _value(child, fields[step], joined(at, step))
        variants = [
            Variant(one.indices + other.indices, one.found | other.found, {**one.whole, step: other.whole})
            for one in variants
            for other in inside
        ]
    return variants


def _value(node: Node, value: msgspec.Raw, at: str) -> list[Variant]:
    found = {} if node.path is None else {node.path: value}
    if not node.children or value == _NULL:
        if None in node.children:
            raise ValueError(f"expected a list, found null - at `{at}`")
        return [Variant((), found, value)]
    try:
        if isinstance(next(iter(node.children)), str):
            variants = _members(node, _OBJECT.decode(value), at)
        else:
            variants = _items(node, _LIST.decode(value), at)
    except msgspec.ValidationError:
        is_list = not isinstance(next(iter(node.children)), str)
        hint = f": write `{at}[]` for each item" if kind_of(value) == "a list" else ""
        raise ValueError(
            f"expected {'a list' if is_list else 'an object'}, found {kind_of(value)} - at `{at}`{hint}"
        ) from None
    return [one._replace(found=one.found | found) for one in variants] if found else variants


def _items(node: Node, items: list[Any], at: str) -> list[Variant]:
    if None in node.children:
        if not items:
            raise ValueError(f"expected at least one item, found an empty list - at `{at}`")
        child = node.children[None]
        return [
            Variant((index, *one.indices), one.found, [one.whole])
            for index, item in enumerate(items)
            for one in _value(child, item, f"{at}[{index}]")
        ]
    variants = [Variant((), {}, items)]
    for step, child in node.children.items():
        assert isinstance(step, int)
        if not -len(items) <= step < len(items):
            continue
        inside = _value(child, items[step], joined(at, step))
        variants = [
            Variant(one.indices + other.indices, one.found | other.found, _replaced(one.whole, step, other.whole))
            for one in variants
            for other in inside
        ]
    return variants


def _replaced(items: list[Any], place: int, item: Any) -> list[Any]:
    found = list(items)
    found[place] = item
    return found
