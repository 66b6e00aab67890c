"""Tables with much in them: large columns beside the completions, and ids of 64 bits in many conversations."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from harmony.batch import parse_table
from harmony.format.vocabulary import END, MESSAGE, START
from helpers.rows import conversation, in_rows
from helpers.streams import ids

TWO = [START, *ids("assistant"), MESSAGE, 64, END]


@pytest.mark.parametrize("limit", [1, 300, 2000, 1 << 26])
def test_large_columns_are_repeated_some_rows_at_a_time(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(limit)
    counts = [chance.choice([1, 1, 2, 3, 40]) for _ in range(60)]
    prompts = ["p" * chance.choice([0, 10, 500]) for _ in counts]
    table = pa.table({"prompt": prompts, "tokens": [TWO * count for count in counts]})
    monkeypatch.setattr("harmony.columns.arrow._MOST_REPEATED", limit)
    result = parse_table(table, role=None)
    found = result.to_pylist()
    assert [row["conversation"] for row in found] == [place for place, one in enumerate(counts) for _ in range(one)]
    assert [row["prompt"] for row in found] == [prompts[row["conversation"]] for row in found]
    for batch in result.to_batches():
        repeated = batch.column("prompt").nbytes
        assert repeated <= limit or batch.num_rows == 1
    assert (result.column("prompt").num_chunks == 1) == (limit == 1 << 26)


def test_wide_ids_of_many_short_and_some_long_conversations() -> None:
    chance = random.Random(64)
    values = [TWO * chance.choice([0, 1, 1, 2]) for _ in range(8000)]
    values[4000] = [*TWO[:-1], *[64] * 40_000, END]
    fitting = parse_table(pa.table({"tokens": pa.array(values, pa.list_(pa.uint32()))}), role=None).to_pylist()
    odd = {100: [*TWO, -1], 7000: [1 << 40], 7999: [*TWO, 1 << 33]}
    for index, tokens in odd.items():
        values[index] = tokens
    table = pa.table({"tokens": pa.array(values, pa.list_(pa.int64()))})
    for threads in (1, 3):
        found = parse_table(table, role=None, threads=threads).to_pylist()
        assert [row for row in found if row["conversation"] not in odd] == [
            row for row in fitting if row["conversation"] not in odd
        ]
        for index, tokens in odd.items():
            expected = in_rows([conversation(tokens, None, strict=False)])
            assert [row | {"conversation": 0} for row in found if row["conversation"] == index] == expected
