"""Threads that share the building of columns: an error in any of them is raised, and they share what they learn."""

from __future__ import annotations

from array import array
from typing import Any

import pyarrow as pa
import pytest

from harmony import Role
from harmony.batch import parse_batch, parse_table
from harmony.columns.engine import build
from harmony.columns.rows import ELSEWHERE, GIVEN
from harmony.format.vocabulary import END, MESSAGE
from helpers.sizes import Scale
from helpers.streams import ENCODING


class _Refusing(dict[int, Any]):
    """Sources that cannot be read."""

    def __getitem__(self, index: int) -> Any:
        raise RuntimeError(f"source {index}")


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("index", [0, 500, 999])
def test_an_error_in_any_thread_is_raised(threads: int, index: int) -> None:
    count = 1000
    tokens, offsets = array("I", [MESSAGE, END] * count), array("q", range(0, 2 * count + 1, 2))
    roles = bytearray([GIVEN.index(Role.ASSISTANT)]) * count
    roles[index] |= ELSEWHERE
    with pytest.raises(RuntimeError, match=f"source {index}$"):
        build(
            memoryview(tokens),
            memoryview(offsets),
            bytes(roles),
            strict=False,
            threads=threads,
            elsewhere=_Refusing({index: None}),
        )


@pytest.mark.parametrize("names", [3, 4096, 6000])
def test_threads_learn_the_same_headers(names: int, scale: Scale) -> None:
    numbers = [number * 7 % names for number in range(scale(8000, 100_000))]
    expected = [f"kanal-{number}" for number in numbers]
    texts = [f"<|channel|>{channel}<|message|>a<|end|>" for channel in expected]
    tokens, offsets = array("I"), array("q", [0])
    for text in texts:
        tokens.extend(ENCODING.encode(text, allowed_special="all"))
        offsets.append(len(tokens))
    for threads in (2, 5):
        for found in (
            parse_table(pa.table({"text": texts}), text="text", threads=threads),
            parse_batch(tokens, offsets, threads=threads),
        ):
            assert found.column("channel").to_pylist() == expected
