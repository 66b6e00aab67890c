"""Columns of completions that are passed as a list of token ids each, in every form that token ids have."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import numpy
import pandas
import pyarrow as pa
import pytest

from harmony import Role
from harmony.batch import parse_batch
from harmony.format.vocabulary import END, MESSAGE, RETURN
from helpers.rows import checked
from helpers.streams import ids, joined, stream

TALK = ids("<|channel|>final<|message|>Hei.<|return|>") + ids("<|channel|>analysis<|message|>Hm<|end|>")
CUT = TALK.index(RETURN) + 1


def contents(batch: pa.RecordBatch) -> list[str | None]:
    return [row["content"] for row in checked(batch)]


FORMS: list[Callable[[list[int]], Any]] = [
    list,
    tuple,
    iter,
    lambda tokens: array("I", tokens),
    lambda tokens: array("q", tokens),
    lambda tokens: array("H", [token % 50_000 for token in tokens]),
    lambda tokens: array("I", tokens).tobytes(),
    lambda tokens: numpy.array(tokens, "u4"),
    lambda tokens: numpy.array(tokens, "i8"),
    lambda tokens: numpy.array(tokens, ">i8"),
    lambda tokens: pandas.Series(tokens),
]


def taken(make: Callable[[list[int]], Any], tokens: list[int]) -> list[int]:
    """The ids that a form holds, which `array("H")` shortens."""
    made = make(tokens)
    return made.tolist() if isinstance(made, array) and made.typecode == "H" else tokens


@pytest.mark.parametrize("strict", [True, False])
def test_a_list_for_each_completion(strict: bool) -> None:
    chance = random.Random(5)
    streams = [stream(chance, Role.ASSISTANT) for _ in range(300)] + [[], [MESSAGE, 64], []]
    fitting = [[token for token in tokens if 0 <= token < 1 << 32] for tokens in streams]
    for make in FORMS:
        tokens, offsets = joined([taken(make, one) for one in fitting])
        expected = checked(parse_batch(tokens, offsets, strict=strict))
        assert checked(parse_batch(map(make, fitting), strict=strict, threads=2)) == expected
    made = [chance.choice(FORMS) for _ in fitting]
    tokens, offsets = joined([taken(make, one) for make, one in zip(made, fitting, strict=True)])
    expected = checked(parse_batch(tokens, offsets, strict=strict))
    found = parse_batch([make(one) for make, one in zip(made, fitting, strict=True)], strict=strict)
    assert checked(found) == expected


def test_a_list_for_each_completion_may_hold_any_integer() -> None:
    odd = [[MESSAGE, -1, 1 << 70, END], array("q", [MESSAGE, -5, 64, END]), [MESSAGE, 64, END]]
    tokens, offsets = joined([list(one) for one in odd])
    for strict in (True, False):
        expected = checked(parse_batch(tokens, offsets, strict=strict))
        assert checked(parse_batch(odd, strict=strict)) == expected
        assert checked(parse_batch(iter(odd), strict=strict)) == expected
        assert checked(parse_batch(numpy.array(odd, object), strict=strict)) == expected
        assert checked(parse_batch(pandas.Series(odd), strict=strict)) == expected
    assert contents(parse_batch([])) == contents(parse_batch(())) == []
    assert contents(parse_batch([[], []])) == [None, None]


def test_a_tensor_for_each_completion() -> None:
    torch = pytest.importorskip("torch")
    streams = [TALK[:CUT], [], TALK[CUT:]]
    for kind in (torch.int32, torch.int64, torch.uint32):
        tensors = [torch.tensor(one, dtype=kind) for one in streams]
        assert contents(parse_batch(tensors)) == ["Hei.", None, "Hm"]
        assert contents(parse_batch([*tensors, TALK[CUT:]])) == ["Hei.", None, "Hm", "Hm"]
        offsets = torch.tensor([0, CUT, len(TALK)])
        assert contents(parse_batch(torch.tensor(TALK, dtype=kind), offsets)) == [
            "Hei.",
            "Hm",
        ]
    with pytest.raises(ValueError, match=r"got 2 dimensions - at `tokens`; rows of one length hold padding"):
        parse_batch(torch.tensor([TALK[:3], TALK[:3]]))
    with pytest.raises(TypeError, match=r"got `Tensor` - at `tokens\[0\]`; .* pass `offsets` too"):
        parse_batch(torch.tensor(TALK))


WRONG_LISTS: list[tuple[Any, type[Exception], str]] = [
    (TALK, TypeError, "got `int` - at `tokens[0]`; if it holds the ids of all completions, pass `offsets` too"),
    (array("I", TALK), TypeError, "got `array` - at `tokens`; if it holds the ids of all completions, pass `offsets`"),
    (numpy.array(TALK), TypeError, "got `ndarray` - at `tokens`; if it holds the ids of all completions, pass"),
    (numpy.array([TALK, TALK]), ValueError, "got 2 dimensions - at `tokens`; rows of one length hold padding: leave"),
    (bytes(8), TypeError, "Expected a list with the token ids of each completion, got `bytes` - at `tokens`; "),
    ("abc", TypeError, "Expected a list with the token ids of each completion, got `str` - at `tokens`; "),
    (None, TypeError, "Expected a list with the token ids of each completion, got `NoneType` - at `tokens`; "),
    ({1: TALK}, TypeError, "Expected a list with the token ids of each completion, got `dict` - at `tokens`; "),
    ({(1, 2)}, TypeError, "Expected a list with the token ids of each completion, got `set` - at `tokens`; "),
    (pa.array([TALK]), TypeError, "got `ListArray` - at `tokens`; see `parse_table`"),
    ([TALK, None], TypeError, "Expected a sequence of token ids, got `NoneType` - at `tokens[1]`"),
    ([TALK, {1, 2}], TypeError, "Expected a sequence of token ids, got `set`, which has no order - at `tokens[1]`"),
    ([TALK, b"abc"], ValueError, "Expected bytes that hold uint32 token ids, got 3 bytes - at `tokens[1]`"),
    ([TALK, [64, "a"]], TypeError, "Expected `int`, got `str` - at token 1 of `tokens[1]`"),
    ([TALK, [64, True]], TypeError, "Expected `int`, got `bool` - at token 1 of `tokens[1]`"),
    ([numpy.zeros((2, 2), "u4")], ValueError, "Expected token ids in one dimension, got 2 - at `tokens[0]`"),
]


@pytest.mark.parametrize(("tokens", "kind", "text"), WRONG_LISTS)
def test_wrong_lists(tokens: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as raised:
        parse_batch(tokens)
    assert text in str(raised.value)
