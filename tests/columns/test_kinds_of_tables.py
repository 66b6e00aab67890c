"""Tables of other libraries, which `parse_table` takes as they are."""

from __future__ import annotations

from typing import Any

import datasets
import duckdb
import pandas
import polars
import pyarrow as pa
import pytest

from harmony.batch import parse_table
from helpers.streams import ids

ROWS: list[dict[str, Any]] = [
    {"id": number, "tokens": ids(f"<|channel|>final<|message|>Answer {number}.<|return|>")} for number in range(9)
]


def read(table: Any, **options: Any) -> list[tuple[int, str]]:
    result = parse_table(table, **options)
    return [(row["id"], row["content"]) for row in result.select(["id", "content"]).to_pylist()]


def told(*numbers: int) -> list[tuple[int, str]]:
    return [(number, f"Answer {number}.") for number in numbers]


class OfAnotherLibrary:
    """A table of which nothing is known but that it exports an Arrow stream."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_everything_with_an_arrow_stream() -> None:
    table = pa.Table.from_pylist(ROWS)
    for each in (
        table,
        table.to_batches()[0],
        OfAnotherLibrary(table),
        polars.DataFrame(ROWS),
        pandas.DataFrame(ROWS),
        duckdb.from_arrow(table),
    ):
        assert read(each) == told(*range(9))
    reader = parse_table(table.to_reader(2))
    assert reader.read_all().column("content").to_pylist() == [text for _, text in told(*range(9))]


def test_a_dataset_has_its_own_rows_in_its_own_order() -> None:
    whole = datasets.Dataset.from_list(ROWS)
    assert read(whole) == told(*range(9))
    assert read(whole.select([7, 2, 2])) == told(7, 2, 2)
    assert read(whole.select(range(3, 6))) == told(3, 4, 5)
    assert read(whole.sort("id", reverse=True)) == told(*range(8, -1, -1))
    assert read(whole.shuffle(seed=1)) == told(*whole.shuffle(seed=1)["id"])
    assert read(whole.filter(lambda row: row["id"] % 4 == 1)) == told(1, 5)
    assert read(whole.select([])) == []
    assert read(datasets.concatenate_datasets([whole.select([4]), whole.select([1])])) == told(4, 1)


def test_the_format_of_a_dataset_does_not_matter() -> None:
    for kind in ("numpy", "polars", "arrow", "pandas"):
        assert read(datasets.Dataset.from_list(ROWS).with_format(kind, columns=["tokens"]).select([3])) == told(3)


def test_what_is_no_table_of_a_dataset_is_refused() -> None:
    whole = datasets.Dataset.from_list(ROWS)
    for other in (datasets.DatasetDict({"train": whole}), whole.to_iterable_dataset()):
        with pytest.raises(TypeError, match=f"Expected `Table` or `RecordBatchReader`, got `{type(other).__name__}`"):
            parse_table(other)
