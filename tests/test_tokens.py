"""What may be passed as token ids, to both engines, and what is said of the rest."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy
import pytest

from harmony.vocabulary import MESSAGE, START


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("abc", None), TypeError, "Expected a sequence of token ids, got `str`"),
        ((None, None), TypeError, "Expected a sequence of token ids, got `NoneType`"),
        ((5, None), TypeError, "Expected a sequence of token ids, got `int`"),
        (({1: 2}, None), TypeError, "Expected a sequence of token ids, got `dict`"),
        (([START, "a"], None), TypeError, "Expected `int`, got `str` - at token 1"),
        (([START, 1428, 1.0], None), TypeError, "Expected `int`, got `float` - at token 2"),
        (([None], None), TypeError, "Expected `int`, got `NoneType` - at token 0"),
        ((numpy.zeros(3), None), TypeError, "Expected `int`, got `float64` - at token 0"),
        ((numpy.zeros((2, 2), "u4"), None), ValueError, "Expected token ids in one dimension, got 2"),
        ((numpy.array([START, "a"], object), None), TypeError, "Expected `int`, got `str` - at token 1"),
        ((numpy.array([1 + 2j]), None), TypeError, "Expected `int`, got `complex128` - at token 0"),
        ((numpy.array(["a"]), None), TypeError, "Expected `int`, got `str_` - at token 0"),
        (
            (memoryview(numpy.array([START], object)), None),
            TypeError,
            "Expected a sequence of token ids, got `memoryview`",
        ),
        ((b"abc", None), ValueError, "Expected bytes that hold uint32 token ids, got 3 bytes"),
        (([], "boss"), ValueError, "Unknown role: 'boss'"),
        (([], 5), TypeError, "Expected `Role`, got `int` - at `role`"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, Any], error: type[Exception], text: str, engine: ModuleType) -> None:
    with pytest.raises(error) as caught:
        engine.parse(*arguments, strict=True)
    assert str(caught.value) == text


def test_an_error_of_the_callers_own_iterable_is_not_hidden(engine: ModuleType) -> None:
    def broken() -> Any:
        yield MESSAGE
        raise TypeError("of the caller's own")

    with pytest.raises(TypeError, match="of the caller's own"):
        engine.parse(broken(), "user", strict=True)


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "u4", "i8", "u8", ">u4", "<i8", ">i8"])
def test_buffers_of_every_integer(kind: str, engine: ModuleType) -> None:
    tokens = [1428, 316, 28]
    assert engine.decode_bytes(numpy.array(tokens, kind)) == engine.decode_bytes(tokens) == b"user to="
    assert engine.decode_bytes(numpy.array(tokens * 2, kind)[::2]) == engine.decode_bytes((tokens * 2)[::2])
    assert engine.decode_bytes(numpy.array(tokens, object)) == b"user to="
    assert engine.decode_bytes(iter(map(numpy.dtype(kind).type, tokens))) == b"user to="
