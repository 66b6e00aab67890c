"""Stands for `quick_c.pyx`, and is its type stub: in Python, no record is read more quickly than along its plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from harmony.logs.json_py import Ids
    from harmony.logs.paths import Plan

#: Stands for ids that were read already.
SCANNED: Final = msgspec.Raw(b"[0]")


class Quick:
    """Reads a record in one pass where that is certainly the same as reading it along the plan.

    `tokens` is the path to the ids of completions. `taken` are names that no such record has at its top.
    """

    def __init__(self, plan: Plan, tokens: str | None, taken: Sequence[str]) -> None:
        pass

    def take(self, line: bytes) -> int:
        """Reads a line, and returns how many completions it has; 0 if it must be read in another way."""
        return 0

    def found(self, number: int) -> dict[str, msgspec.Raw]:
        """What the paths lead to for a completion of the record; SCANNED in the place of ids that were kept."""
        raise NotImplementedError

    def move(self, number: int, ids: Ids) -> None:
        """Appends the ids of a completion that were kept."""
        raise NotImplementedError

    def rest(self, number: int, path: str | None) -> bytes:
        """The record of a completion as JSON, without what stands at the path."""
        raise NotImplementedError
