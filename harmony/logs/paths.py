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
from typing import TYPE_CHECKING, Any, Final

import msgspec

from harmony.errors import quote
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING:
    from harmony.logs.walk_py import Step, Variant

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.walk_py import Node as Node
    from harmony.logs.walk_py import take_out as take_out
    from harmony.logs.walk_py import variants
else:
    from harmony.logs.walk_c import Node as Node
    from harmony.logs.walk_c import take_out as take_out
    from harmony.logs.walk_c import variants

#: The field that says which completion of its record a completion is, from 0.
INDEX: Final = "completion_index"

_STEP: Final = re.compile(
    r"""(?P<dot>\.?) (?: (?P<name>[^."\[\]]+) | "(?P<quoted>(?:[^"\\]|\\.)+)" )  |  \[ (?P<index>-?[0-9]+|\*|) \]""",
    re.VERBOSE,
)


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


class Plan:
    """Some paths, and how records are taken apart along them. `is_flat` says that each path is only a name.

    Raises ValueError if a text is no path, or if two paths run over different lists.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.is_flat: bool = all(len(steps_of(path)) == 1 for path in paths)
        self.root: Node = Node()
        #: The number of `[]`.
        self.depth: int = 0
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
        return variants(self.root, fields)


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
    """The object or the list in the record of a Variant that the last of the steps leads out of; None without one."""
    for step in steps[:-1]:
        if isinstance(step, str):
            whole = whole.get(step) if isinstance(whole, dict) else None
        else:
            place = step or 0  # of a list that `[]` stands for, only the own item is left
            whole = whole[place] if isinstance(whole, list) and -len(whole) <= place < len(whole) else None
    return whole
