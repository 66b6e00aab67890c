"""What may be passed as token ids, to both engines, and what is said of the rest."""

from __future__ import annotations

import ctypes
import sys
from collections import UserDict
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy
import pandas
import pyarrow
import pytest

from harmony import batch, is_valid, load_harmony_encoding, validate
from harmony.format.vocabulary import END, MESSAGE, START
from harmony.parsing.tokens import as_sequence


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("abc", None), TypeError, "Expected a sequence of token ids, got `str`"),
        ((None, None), TypeError, "Expected a sequence of token ids, got `NoneType`"),
        ((5, None), TypeError, "Expected a sequence of token ids, got `int`"),
        (({1: 2}, None), TypeError, "Expected a sequence of token ids, got `dict`"),
        (({1, 2}, None), TypeError, "Expected a sequence of token ids, got `set`, which has no order"),
        ((frozenset(), None), TypeError, "Expected a sequence of token ids, got `frozenset`, which has no order"),
        ((UserDict({1: 2}), None), TypeError, "Expected a sequence of token ids, got `UserDict`"),
        (([True, False], None), TypeError, "Expected `int`, got `bool` - at token 0"),
        (([START, 1428, False], None), TypeError, "Expected `int`, got `bool` - at token 2"),
        (([START, numpy.True_], None), TypeError, "Expected `int`, got `bool` - at token 1"),
        ((pandas.Series([START, 1428.5]), None), TypeError, "Expected `int`, got `float` - at token 0"),
        ((pandas.Series([False]), None), TypeError, "Expected `int`, got `bool` - at token 0"),
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


@pytest.mark.parametrize("buffer", [b"", START.to_bytes(4, sys.byteorder)])
def test_single_bytes_are_uint32_or_refused(buffer: bytes, engine: ModuleType) -> None:
    expected = engine.decode_bytes(list(memoryview(buffer).cast("I")))
    unsigned = (buffer, bytearray(buffer), memoryview(buffer), numpy.frombuffer(buffer, "u1"))
    for given in (*unsigned, (ctypes.c_uint8 * len(buffer))(*buffer)):
        assert engine.decode_bytes(given) == expected
    signed = (pyarrow.py_buffer(buffer), memoryview(buffer).cast("b"), (ctypes.c_int8 * len(buffer))(*buffer))
    others = (numpy.frombuffer(buffer, "?"), numpy.frombuffer(buffer, "S1"), memoryview(buffer).cast("c"))
    for given in (*signed, *others):
        with pytest.raises(TypeError, match=r"Expected uint32 token ids, or unsigned bytes .* pass `memoryview\("):
            engine.decode_bytes(given)
        with pytest.raises(TypeError, match="Expected uint32 token ids"):
            batch.parse_batch(given, [0, 0])
    assert engine.decode_bytes(memoryview(signed[0]).cast("B")) == expected


def test_ids_at_any_address(engine: ModuleType) -> None:
    ids = numpy.array([START, 1428, MESSAGE, 64, END] * 20, "u4")
    moved = b"\0" + ids.tobytes()
    for given in (memoryview(moved)[1:].cast("I"), numpy.frombuffer(moved, "u4", offset=1)):
        assert engine.decode_bytes(given) == engine.decode_bytes(ids)
        assert engine.parse(given, None, strict=True) == engine.parse(ids, None, strict=True)
        parser = engine.StreamableParser(load_harmony_encoding("HarmonyGptOss"), None)
        parser.process_many(given)
        assert parser.tokens == ids.tolist()
        assert batch.parse_batch(given, [0, 50, 100], role=None) == batch.parse_batch(ids, [0, 50, 100], role=None)
        assert is_valid(given)
        assert not is_valid(given[:-1])


WAYS: list[Callable[[ModuleType, Any], object]] = [
    lambda engine, tokens: engine.parse(tokens, None, strict=True),
    lambda engine, tokens: engine.decode_bytes(tokens),
    lambda engine, tokens: parser_of(engine).process_many(tokens),
    lambda engine, tokens: is_valid(tokens),
    lambda engine, tokens: validate(tokens),
    lambda engine, tokens: batch.parse_batch(tokens, [0, 5], role=None),
    lambda engine, tokens: load_harmony_encoding("HarmonyGptOss").decode_utf8(tokens),
]


def parser_of(engine: ModuleType) -> Any:
    return engine.StreamableParser(load_harmony_encoding("HarmonyGptOss"), None)


@pytest.mark.parametrize("take", WAYS)
def test_booleans_and_sets_are_no_ids_anywhere(take: Callable[[ModuleType, Any], object], engine: ModuleType) -> None:
    with pytest.raises(TypeError, match="Expected `int`, got `bool` - at token 1"):
        take(engine, [START, True, MESSAGE, 64, END])
    with pytest.raises(TypeError, match="got `set`, which has no order"):
        take(engine, {START, 1428, MESSAGE, 64, END})
    with pytest.raises(TypeError, match="Expected uint32 token ids"):
        take(engine, numpy.array([True] * 5))


def test_one_boolean_is_no_id(engine: ModuleType) -> None:
    with pytest.raises(TypeError, match="Expected `int`, got `bool` - at token 0"):
        parser_of(engine).process(True)
    with pytest.raises(TypeError, match="Expected `int`, got `bool` - at token 0"):
        load_harmony_encoding("HarmonyGptOss").is_special_token(False)


@pytest.mark.parametrize("take", WAYS)
def test_tensors(take: Callable[[ModuleType, Any], object], engine: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    ids = [START, 1428, MESSAGE, 64, END]
    for kind in (torch.int32, torch.int64, torch.uint32):
        tensor = torch.tensor(ids, dtype=kind)
        assert take(engine, tensor) == take(engine, torch.tensor(ids * 2, dtype=kind)[:5]) == take(engine, ids)
        assert take(engine, torch.stack([tensor, tensor], dim=1)[:, 0]) == take(engine, ids)  # not contiguous
    assert take(engine, list(torch.tensor(ids))) == take(engine, ids)


def test_tensors_that_hold_no_ids(engine: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    assert engine.decode_bytes(torch.tensor([64, 65], dtype=torch.uint8)) == engine.decode_bytes([64, 65])
    for tensor, error, text in (
        (torch.zeros(2), TypeError, "Expected `int`, got `float` - at token 0"),
        (torch.tensor([True]), TypeError, "Expected `int`, got `bool` - at token 0"),
        (torch.zeros((1, 5), dtype=torch.int64), ValueError, "Expected token ids in one dimension, got 2"),
        (torch.tensor(5), ValueError, "Expected token ids in one dimension, got 0"),
        ([START, torch.tensor(True)], TypeError, "Expected `int`, got `Tensor` - at token 1"),
    ):
        with pytest.raises(error) as caught:
            engine.parse(tensor, None, strict=True)
        assert str(caught.value) == text


class OnAnotherDevice:
    """A tensor whose memory only its own methods can read, as one of a graphics card: not even an item at a time."""

    ndim = 1

    def __init__(self, ids: list[int]) -> None:
        self._ids = ids

    def __array__(self) -> None:
        raise TypeError("can't convert a tensor of another device to numpy")

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("each item would be fetched by itself")

    def tolist(self) -> list[int]:
        return list(self._ids)


@pytest.mark.parametrize("take", WAYS)
def test_a_tensor_is_fetched_at_once(take: Callable[[ModuleType, Any], object], engine: ModuleType) -> None:
    ids = [START, 1428, MESSAGE, 64, END]
    assert take(engine, OnAnotherDevice(ids)) == take(engine, ids)


def test_what_an_iterable_raises_comes_out() -> None:
    def unfinished() -> Iterator[int]:
        yield 1
        raise NotImplementedError("mine")

    with pytest.raises(NotImplementedError, match="mine"):
        as_sequence(unfinished())
