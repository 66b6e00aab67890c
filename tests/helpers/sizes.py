"""How much a test takes in: a little, or all that it can, where pytest was given `--exhaustive`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")


class Scale(Protocol):
    """What the fixture `scale` gives: it takes what is enough for a quick run, and what an exhaustive one takes in."""

    def __call__(self, quick: T, exhaustive: T) -> T: ...


# Hypothesis draws a hundred examples where a test says nothing else.
for _name, _count in (("quick", 10), ("exhaustive", 100)):
    settings.register_profile(_name, max_examples=_count, deadline=None, suppress_health_check=list(HealthCheck))


def examples(exhaustive: int, quick: int | None = None) -> Callable[[Any], Any]:
    """How many examples a test of Hypothesis draws; in the quick run a tenth, if nothing is said of it."""
    if quick is None:
        quick = max(1, exhaustive // 10)
    return settings(max_examples=exhaustive if settings.get_current_profile_name() == "exhaustive" else quick)
