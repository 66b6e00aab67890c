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
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from harmony.errors import quote
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.json_py import items, members
else:
    from harmony.logs.json_c import items, members

#: A step of a path: the name of a field, the index of an item, or None for each item.
Step: TypeAlias = str | int | None

#: The field that says which completion of its record a completion is, from 0.
INDEX: Final = "completion_index"

_STEP: Final = re.compile(
    r"""(?P<dot>\.?) (?: (?P<name>[^."\[\]]+) | "(?P<quoted>(?:[^"\\]|\\.)+)" )  |  \[ (?P<index>-?[0-9]+|\*|) \]""",
    re.VERBOSE,
)
_KINDS: Final = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}
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

    __slots__ = ("at", "children", "has_list", "path", "takes_list")

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.children: dict[Step, Node] = {}
        self.path: str | None = None
        #: Whether a `[]` follows.
        self.has_list = False
        #: Whether the next steps are indices or `[]`.
        self.takes_list = False


class Variant(NamedTuple):
    """One completion of a record: what the paths lead to, and the record as far as it belongs to this completion.

    `indices` are those of the items that `[]` stands for. In `whole`, objects and lists on the way to a path are taken
    apart, and of each list that `[]` stands for, only the own item is left. It belongs to the caller, who may change
    it.
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
            for place, step in enumerate(steps_of(path)):
                node.has_list = node.has_list or place < len(lists)
                node.takes_list = not isinstance(step, str)
                node = node.children.setdefault(step, Node(joined(node.at, step)))
            node.path = path
        self.depth = longest.count(None)
        _check(self.root)

    def variants(self, fields: Mapping[str, msgspec.Raw]) -> list[Variant]:
        """The completions of a record. Raises ValueError, with the place, where a value is no list or no object."""
        try:
            return _members(self.root, dict(fields), {})
        except _Unexpected as error:
            raise ValueError(error.sentence()) from None


def _check(node: Node) -> None:
    kinds = {type(step) if isinstance(step, str) else list for step in node.children}
    indices = {step for step in node.children if not isinstance(step, str)}
    if len(kinds) > 1 or (None in indices and len(indices) > 1):
        raise ValueError(f"{quote(node.at)} is read in two ways: as an object, as one item, or as each item")
    for child in node.children.values():
        _check(child)


def joined(at: str, step: Step) -> str:
    """A path with one more step."""
    if isinstance(step, str):
        return f"{at}.{step}" if at else step
    return f"{at}[{'' if step is None else step}]"


def parent_of(whole: Any, steps: Sequence[Step]) -> Any:
    """The object or the list in the `whole` of a Variant that the last of the steps leads out of; None without one."""
    for step in steps[:-1]:
        if isinstance(step, str):
            whole = whole.get(step) if isinstance(whole, dict) else None
        else:
            place = step or 0  # of a list that `[]` stands for, only the own item is left
            whole = whole[place] if isinstance(whole, list) and -len(whole) <= place < len(whole) else None
    return whole


def take_out(whole: Any, steps: Sequence[Step]) -> None:
    """Removes what the steps lead to from the `whole` of a Variant."""
    whole, last = parent_of(whole, steps), steps[-1]
    if isinstance(whole, dict):
        whole.pop(last, None)
    elif isinstance(whole, list) and not isinstance(last, str) and -len(whole) <= (last or 0) < len(whole):
        del whole[last or 0]


def kind_of(value: msgspec.Raw | bytes) -> str:
    """What a value of JSON is, in words."""
    return _KINDS.get(bytes(value).lstrip()[:1].decode(), "a number")


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
            [variant] = _value(child, value, found)
            whole[step] = variant.whole  # type: ignore[index]
    if inside is None:
        return [Variant((), found, whole)]
    step, variants = inside
    if len(variants) == 1:
        [one] = variants
        found.update(one.found)
        whole[step] = one.whole  # type: ignore[index]
        return [Variant(one.indices, found, whole)]
    return [Variant(one.indices, {**found, **one.found}, {**whole, step: one.whole}) for one in variants]


def _value(node: Node, value: msgspec.Raw, found: dict[str, msgspec.Raw]) -> list[Variant]:
    if node.path is not None:
        found[node.path] = value
    if not node.children or value == _NULL:
        if None in node.children:
            raise _Unexpected("a list", "null", node.at)
        return [Variant((), found, value)]
    try:
        inside: Any = items(value) if node.takes_list else members(value)
    except TypeError:
        kind = kind_of(value)
        hint = ": write `{at}[]` for each item" if kind == "a list" else ""
        raise _Unexpected("a list" if node.takes_list else "an object", kind, node.at, hint) from None
    return _items(node, inside, found) if node.takes_list else _members(node, inside, found)


def _items(node: Node, whole: list[Any], found: dict[str, msgspec.Raw]) -> list[Variant]:
    child = node.children.get(None)
    if child is not None:
        if not whole:
            raise _Unexpected("at least one item", "an empty list", node.at)
        made = []
        for index, item in enumerate(whole):
            try:
                variants = _value(child, item, {})
            except _Unexpected as error:
                error.indices.append(index)
                raise
            made += [Variant((index, *one.indices), one.found, [one.whole]) for one in variants]
        return made
    several = None
    for step, child in node.children.items():
        assert isinstance(step, int)
        if not -len(whole) <= step < len(whole):
            continue
        variants = _value(child, whole[step], found)
        if child.has_list:
            several = [one._replace(whole=[*whole[:step], one.whole, *whole[step:][1:]]) for one in variants]
        else:
            whole[step] = variants[0].whole
    return several or [Variant((), found, whole)]
