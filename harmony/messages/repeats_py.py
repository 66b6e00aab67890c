"""Whether data is small, in Python. The compiled twin is `repeats_c.pyx`.

An object counts once for each place in which it stands, so the written form of small data is small too. Small data has
no NaN and no infinity, which JSON cannot write. So small data needs no further check before it is written.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from harmony.messages.limits import DEEPEST, FEW, VALUE_LENGTH


def is_small(data: list[Any]) -> bool:
    """Whether data has at most 10,000 values, all of JSON's types, and no NaN or infinity.

    A text counts as one value, and as one more for every 128 characters. False may also mean that it was not checked.
    """
    return _left_of(FEW, data, DEEPEST) >= 0


def _left(most: int, value: Any, levels: int) -> int:
    """How many values may still follow: `most`, less this value and the values in it.

    Negative where these are more than `most`, or where one of them is not of JSON's types.
    """
    value_type = type(value)
    if value_type is str:
        return most - 1 - len(value) // VALUE_LENGTH
    if value_type is dict or value_type is list:
        return _left_of(most - 1, value, levels - 1)
    if value_type is float:
        return most - 1 if isfinite(value) else -1
    return most - 1 if value is None or value_type is bool or value_type is int else -1


def _left_of(most: int, value: dict[Any, Any] | list[Any], levels: int) -> int:
    """The same as `_left` for a dict or a list that is counted already."""
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
