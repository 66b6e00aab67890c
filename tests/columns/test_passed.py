"""Columns of a table that pass through, with values that JSON or a file cannot hold: each spoils its own record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.command import harmony, records

TEXT = "<|channel|>final<|message|>Hi.<|return|>"
OUTPUTS = ["out.jsonl", "out.parquet", "out.arrow"]


def strings(*values: bytes) -> pa.Array:
    """A column of text that nobody has checked."""
    return pa.array(values, pa.binary()).cast(pa.binary()).view(pa.string())


def as_kind(kind: pa.DataType, *numbers: int) -> pa.Array:
    return pa.array(numbers, pa.int64()).view(kind)


def doubled(*numbers: int) -> pa.Array:
    column = pa.array(numbers)
    return pa.StructArray.from_arrays([column, column], names=["a", "a"])


def table(path: Path, columns: Sequence[tuple[str, pa.Array]]) -> str:
    given = [("text", pa.array([TEXT] * len(columns[0][1]), pa.string())), *columns]
    return written(path, pa.Table.from_arrays([column for _, column in given], names=[name for name, _ in given]))


def written(path: Path, made: pa.Table) -> str:
    if path.suffix == ".parquet":
        pq.write_table(made, path)
    else:
        with pa.ipc.new_file(path, made.schema) as writer:
            writer.write_table(made)
    return str(path)


def rows(path: Path) -> pa.Table:
    found = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path.read_bytes()).read_all()
    found.validate(full=True)
    return found


def parsed(source: str, output: Path, *options: str, status: int = 0) -> Any:
    done = harmony("parse", source, "-o", str(output), *options)
    assert done.returncode == status, done.stderr
    return records(output.read_bytes()) if output.suffix == ".jsonl" else rows(output)


@pytest.mark.parametrize(
    "bad", [strings(b"a", b"\xff", b"c"), pa.ListArray.from_arrays([0, 1, 2, 3], strings(b"a", b"\xff", b"c"))]
)
@pytest.mark.parametrize("source", ["in.parquet", "in.arrow"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_text_that_is_not_utf_8_is_the_error_of_its_record(
    tmp_path: Path, output: str, source: str, bad: pa.Array
) -> None:
    source = table(tmp_path / source, [("note", bad), ("id", pa.array([1, 2, 3]))])
    found = parsed(source, tmp_path / output, status=1)
    found = found if output.endswith("jsonl") else found.to_pylist()
    assert [row["id"] for row in found] == [1, 2, 3]
    assert [row.get("note") for row in found] == [bad[0].as_py(), None, bad[2].as_py()]
    assert [row["error"] and row["error"]["code"] for row in found] == [None, "invalid-utf-8", None]
    assert "`note`" in found[1]["error"]["message"]


@pytest.mark.parametrize("source", ["in.parquet", "in.arrow"])
def test_a_role_or_a_text_that_is_not_utf_8_is_the_error_of_its_record(tmp_path: Path, source: str) -> None:
    texts, roles = strings(*[TEXT.encode()] * 2, b"\xff"), strings(b"assistant", b"\xff", b"user")
    source = written(tmp_path / source, pa.table({"text": texts, "role": roles}))
    found = parsed(source, tmp_path / "out.jsonl", status=1)
    assert [row["error"] and row["error"]["code"] for row in found] == [None, "invalid-utf-8", "invalid-utf-8"]
    assert found[1]["text"] == TEXT
    assert found[2]["role"] == "user"
    assert "text" not in found[2]


ODD = {
    "far": (as_kind(pa.timestamp("us"), 1 << 58, 0), ["11103-08-29T17:22:31.711744", "1970-01-01T00:00:00"]),
    "nowhere": (
        as_kind(pa.timestamp("us", "Mars/Olympus"), 0, 1),
        ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000001Z"],
    ),
    "infinite": (pa.array([float("nan"), float("-inf")]), ["NaN", "-Infinity"]),
    "inside": (pa.array([[float("inf"), 1.5], []]), [["Infinity", 1.5], []]),
    "nanoseconds": (pa.array([[7], None], pa.list_(pa.timestamp("ns"))), [["1970-01-01 00:00:00.000000007"], None]),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("output", OUTPUTS)
def test_odd_values_pass_through(tmp_path: Path, output: str, name: str) -> None:
    column, written = ODD[name]
    source = table(tmp_path / "in.arrow", [(name, column)])
    found = parsed(source, tmp_path / output)
    if output.endswith("jsonl"):
        assert [row[name] for row in found] == written
    else:
        assert str(found[name].to_pylist() if name == "inside" else found[name].combine_chunks()) == str(
            column.to_pylist() if name == "inside" else column
        )


UNFIT = {
    "later": as_kind(pa.timestamp("s"), 0, 1 << 62),
    "long": as_kind(pa.duration("s"), 0, 1 << 62),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_json_cannot_hold_is_the_error_of_its_record(tmp_path: Path, name: str) -> None:
    source = table(tmp_path / "in.arrow", [(name, UNFIT[name]), ("id", pa.array([1, 2]))])
    good, bad = parsed(source, tmp_path / "out.jsonl", status=1)
    assert name in good
    assert {"id", "text", "messages", "complete", "diagnostics", "error"} == bad.keys()
    assert (bad["messages"], bad["complete"], bad["diagnostics"]) == (None, False, None)
    assert bad["error"]["code"] == "invalid-record"
    assert f"`{name}`" in bad["error"]["message"]
    assert parsed(source, tmp_path / "out.arrow")[name].combine_chunks().equals(UNFIT[name])


def test_fields_with_one_name_inside_a_value(tmp_path: Path) -> None:
    source = table(tmp_path / "in.arrow", [("pair", doubled(1, 2))])
    for row in parsed(source, tmp_path / "out.jsonl", status=1):
        assert "`pair`" in row["error"]["message"]
    assert parsed(source, tmp_path / "out.arrow")["pair"].combine_chunks().equals(doubled(1, 2))


@pytest.mark.parametrize("source", ["in.parquet", "in.arrow"])
def test_columns_with_one_name_are_all_kept(tmp_path: Path, source: str) -> None:
    columns = [("a", pa.array([1])), ("a", pa.array([2])), ("a_2", pa.array([3])), ("a", pa.array([4]))]
    name = table(tmp_path / source, columns)
    [row] = parsed(name, tmp_path / "out.jsonl")
    assert {key: row[key] for key in row if key[0] == "a"} == {"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}
    found = parsed(name, tmp_path / "out.arrow")
    assert found.schema.names[:4] == ["a", "a", "a_2", "a"]


@pytest.mark.parametrize("source", ["in.parquet", "in.arrow"])
@pytest.mark.parametrize("output", OUTPUTS[1:])
def test_a_table_without_rows_keeps_its_columns(tmp_path: Path, source: str, output: str) -> None:
    name = table(tmp_path / source, [("id", pa.array([], pa.int16())), ("at", pa.array([], pa.date32()))])
    found = parsed(name, tmp_path / output)
    assert found.num_rows == 0
    assert found.schema.names[:3] == ["id", "at", "conversation"]
    assert found.schema.field("id").type == pa.int16()


def test_the_size_of_a_row_has_a_limit(tmp_path: Path) -> None:
    texts = [TEXT, TEXT.replace("Hi.", "x" * 5_000), None, None]
    made = pa.table({"text": texts, "tokens": pa.array([None, None, [13225] * 5_000, [200008, 13225]]), "id": range(4)})
    pq.write_table(made, tmp_path / "in.parquet")
    for dictionary in (False, True):
        if dictionary:
            pq.write_table(made.set_column(0, "text", made["text"].dictionary_encode()), tmp_path / "in.parquet")
        found = parsed(str(tmp_path / "in.parquet"), tmp_path / "out.jsonl", "--max-record-size", "4KB", status=1)
        codes = [row["error"] and row["error"]["code"] for row in found]
        assert codes == [None, "record-too-large", "record-too-large", None]
        assert [row["id"] for row in found] == [0, 1, 2, 3]
        assert len(json.dumps(found[1])) > 5_000  # of a bad record all fields pass through
