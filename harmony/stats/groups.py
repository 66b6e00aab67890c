"""Counts of a log as a whole, and for each value of one field of its records.

A value is known by its JSON. At most 100 values are counted separately: the shortest, then the first in the alphabet.
All others are counted together. So memory is limited, and the counts do not depend on how the log was cut.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from harmony.columns.constants import integer, integers
from harmony.stats.batches import COLUMNS, numbered
from harmony.stats.counts import Stats, Summary
from harmony.stats.tallies import OTHERS, bound, kept_names

_LONGEST: Final = 256

#: A value as JSON; None where a record does not have the field; OTHERS, which is no JSON, for values that are not kept.
Key = str | None


class Group(msgspec.Struct, frozen=True):
    """The counts of the records with one value. `kind` says whether they have it, do not have the field, or are others.

    A value of more than 256 characters of JSON is a string that ends in `…`.
    """

    kind: Literal["value", "missing", "others"]
    value: Any  # None if the kind is not "value"
    counts: Summary

    @property
    def label(self) -> str:
        """The value for people. A string stands without quotes, unless it could be taken for another value."""
        if self.kind == "missing":
            return "(missing)"
        if self.kind == "others":
            return OTHERS
        if not isinstance(self.value, str):
            return msgspec.json.encode(self.value).decode()
        try:
            json.loads(self.value)
        except ValueError:
            return self.value or '""'
        return json.dumps(self.value, ensure_ascii=False)


class Grouped(msgspec.Struct, frozen=True):
    """The counts of a log, and those for each value of the field at the path `by`."""

    by: str
    total: Summary
    groups: list[Group]


def key_of(value: Any) -> str:
    """The key of a value, which may be any that JSON can hold."""
    written = msgspec.json.encode(value).decode()
    if len(written) <= _LONGEST:
        return written
    return json.dumps((value if isinstance(value, str) else written)[: _LONGEST - 1] + "…", ensure_ascii=False)


class GroupedStats:
    """Stats of all batches, and Stats for each key. Add them like Stats.

    `fields` are those of the first record that was added. `conversations` and `parsed` are the numbers of records that
    held a conversation, or what `harmony parse` writes.
    """

    def __init__(self, *, grouped: bool = False) -> None:
        self.total: Stats = Stats()
        self.fields: list[str] = []
        self.conversations = self.parsed = 0
        self._grouped = grouped
        self._groups: defaultdict[Key, Stats] = defaultdict(Stats)

    def add(self, batch: pa.RecordBatch, tokens: Sequence[int | None] | None, keys: Sequence[Key] | None) -> None:
        """Counts a batch, as `Stats.add` does. `keys` has the key of each conversation, in the order of their rows."""
        self.total.add(batch, tokens)
        if not self._grouped or keys is None or not keys:
            return
        kept = kept_names({key for key in keys if key is not None})
        keys = [key if key is None or key in kept else OTHERS for key in keys]
        codes: dict[Key, int] = {}
        coded = [codes.setdefault(key, len(codes)) for key in keys]
        narrow = batch.select(list(COLUMNS))
        rows = integers(coded).take(numbered(batch.column("conversation")))
        for key, code in codes.items():
            part = narrow if len(codes) == 1 else narrow.filter(pc.equal(rows, integer(code)))
            own = tokens and [count for count, other in zip(tokens, coded, strict=True) if other == code]
            self._groups[key].add(part, own)
        bound(self._groups)

    def has_field(self) -> bool:
        """Whether a record has the field; True if there is no record."""
        return not self._groups or any(key is not None for key in self._groups)

    def __add__(self, other: GroupedStats) -> GroupedStats:
        """The sum of both counts, as a new object."""
        both = GroupedStats(grouped=self._grouped)
        both.total = self.total + other.total
        both.fields = self.fields or other.fields
        both.conversations = self.conversations + other.conversations
        both.parsed = self.parsed + other.parsed
        for each in (self, other):
            for key, stats in each._groups.items():
                both._groups[key] = both._groups[key] + stats
        bound(both._groups)
        return both

    def summary(self) -> Summary:
        """The counts of the whole log."""
        return self.total.summary()

    def by(self, path: str) -> Grouped:
        """All counts, with the groups of the field at this path, the largest first."""
        groups = []
        for key, stats in self._groups.items():
            kind: Literal["value", "missing", "others"] = "value"
            if key is None or key == OTHERS:
                kind = "missing" if key is None else "others"
            value = json.loads(key) if kind == "value" and key is not None else None
            groups.append(Group(kind, value, stats.summary()))
        groups.sort(key=lambda group: (-group.counts.conversations, group.label))
        return Grouped(path, self.summary(), groups)
