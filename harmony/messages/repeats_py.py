"""Whether data is small and plain, in Python; the reference and the type stub of `repeats_c.pyx`.

Objects count in each place in which they stand. So what is written of small data is small too, and no part of it is NaN
or infinity, which JSON has no number for: nothing more has to be looked for.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from harmony.messages.limits import DEEPEST, FEW, VALUE_LENGTH


def is_small(data: list[Any]) -> bool:
    """Whether data is certainly few finite values of JSON's types. Text counts by its length."""
    return _left_of(FEW, data, DEEPEST) >= 0


def _left(most: int, value: Any, levels: int) -> int:
    """What is left of a number of values without a value and those in it; negative where it has more, or others."""
    kind = type(value)
    if kind is str:
        return most - 1 - len(value) // VALUE_LENGTH
    if kind is dict or kind is list:
        return _left_of(most - 1, value, levels - 1)
    if kind is float:
        return most - 1 if isfinite(value) else -1
    return most - 1 if value is None or kind is bool or kind is int else -1


def _left_of(most: int, value: dict[Any, Any] | list[Any], levels: int) -> int:
    """The same without the values in a dict or a list."""
    if levels == 0:
        return -1
    if type(value) is list:
        for item in value:
            most = _left(most, item, levels)
            if most < 0:
                break
        return most
    assert isinstance(value, dict)
    for key, item in value.items():
        if type(key) is not str:
            return -1
        most = _left(most - len(key) // VALUE_LENGTH, item, levels)
        if most < 0:
            break
    return most
