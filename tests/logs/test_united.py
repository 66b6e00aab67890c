"""Inputs with other columns become one table: united by name, or refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony.logs.completions import Tally
from harmony.logs.convert import Task, convert
from helpers.command import harmony

IDS = pa.array([[200008, 12194, 200002]] * 2, pa.list_(pa.int32()))


def made(folder: Path, name: str, **columns: Any) -> str:
    """A log with these columns, two records long."""
    file = folder / name
    if file.suffix == ".parquet":
        pq.write_table(pa.table({**columns, "tokens": IDS}), file)
    else:
        rows = [{name: values[index] for name, values in columns.items()} for index in range(2)]
        file.write_text("".join(json.dumps({**row, "tokens": [200008, 12194, 200002]}) + "\n" for row in rows))
    return str(file)


def parsed(inputs: list[str], output: Path, *, resume: bool = False, nested: bool = False, stop: int = 0) -> pa.Table:
    left = stop

    def watch(taken: int, size: int | None, tally: Tally) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise InterruptedError

    task = Task(to="rows", nested=nested)
    convert(task, inputs, str(output), workers=1, resume=resume, watch=watch)
    return pq.read_table(output)


@pytest.mark.parametrize("nested", [False, True])
def test_columns_are_united_by_name(tmp_path: Path, nested: bool) -> None:
    inputs = [
        made(tmp_path, "a.parquet", id=[1, 2], n=pa.array([1, 2], pa.int32()), big=pa.array(["a", "b"])),
        made(tmp_path, "b.parquet", n=[0.5, 1.5], big=pa.array(["c", "d"], pa.large_string()), extra=["x", None]),
        made(tmp_path, "c.jsonl", n=[7, 8], late=[True, False]),
        made(tmp_path, "d.jsonl", other=["kept", {"as": "json"}]),
    ]
    table = parsed(inputs, tmp_path / "out.parquet", nested=nested)
    assert table["id"].to_pylist() == [1, 2] + [None] * 6
    assert table["n"].to_pylist() == [1.0, 2.0, 0.5, 1.5, 7.0, 8.0, None, None]
    assert table["big"].to_pylist() == ["a", "b", "c", "d"] + [None] * 4
    assert table["extra"].to_pylist() == [None, None, "x"] + [None] * 5
    assert table["late"].to_pylist() == [None] * 4 + [True, False] + [None] * 2
    assert table["other"].to_pylist() == [None] * 6 + ['{"other":"kept"}', '{"other":{"as": "json"}}']
    backwards = parsed(inputs[::-1], tmp_path / "back.parquet", nested=nested)
    # The first file of lines gives the columns of lines: here it has none but `other`.
    assert sorted(backwards.schema.names) == sorted({*table.schema.names} - {"late"})
    assert backwards["n"].to_pylist() == [None] * 4 + [0.5, 1.5, 1.0, 2.0]
    assert backwards["other"].to_pylist()[2:4] == ['{"n":7,"late":true}', '{"n":8,"late":false}']


def test_tables_of_the_same_columns_stay_as_they_are(tmp_path: Path) -> None:
    inputs = [made(tmp_path, f"{name}.parquet", n=pa.array([1, 2], pa.int16())) for name in "ab"]
    assert parsed(inputs, tmp_path / "out.parquet").schema.field("n").type == pa.int16()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_goes_on_with_the_united_columns(tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmony.logs.convert._SECONDS_KEPT", -1.0)
    inputs = [
        made(tmp_path, "a.parquet", n=[1, 2]),
        made(tmp_path, "b.jsonl", late=[1.5, None], n=[3, 4]),
        made(tmp_path, "c.parquet", extra=["x", "y"], n=[0.5, 0.25]),
    ]
    parsed(inputs, tmp_path / "whole.parquet")
    output = tmp_path / "out.parquet"
    with pytest.raises(InterruptedError):
        parsed(inputs, output, stop=stop)
    assert not output.exists()
    parsed(inputs, output, resume=True)
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_column_that_comes_after_the_run_began_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmony.logs.convert._SECONDS_KEPT", -1.0)
    inputs = [made(tmp_path, "a.parquet", n=[1, 2]), made(tmp_path, "b.parquet", m=[1, 2])]
    with pytest.raises(InterruptedError):
        parsed(inputs, tmp_path / "out.parquet", stop=1)
    made(tmp_path, "b.parquet", m=[1, 2], new=[1, 2])
    with pytest.raises(ValueError, match=r"b\.parquet: expected the columns that the inputs had .*, found also `new`"):
        parsed(inputs, tmp_path / "out.parquet", resume=True)


def test_what_cannot_be_united_is_refused_at_the_start(tmp_path: Path) -> None:
    one = made(tmp_path, "a.parquet", n=[1, 2])
    lists = made(tmp_path, "list.parquet", n=pa.array([[1], [2]]))
    text, lines = made(tmp_path, "b.parquet", n=["x", "y"]), made(tmp_path, "c.jsonl", n=["x", "y"])
    for other, kind in ((text, "string"), (lines, "string"), (lists, "list<element: int64>")):
        done = harmony("parse", one, other, "-o", tmp_path / "out.parquet")
        said = (
            f"harmony: {one} and {other} cannot be united: the column `n` is int64 in the one and {kind} in the other; "
        )
        assert (done.returncode, done.stderr.decode().startswith(said)) == (2, True)
        assert not list(tmp_path.glob("out.parquet*"))
    done = harmony("parse", one, text, lines, "-o", f"{tmp_path}/out/")
    assert done.returncode == 0
    pq.write_table(pa.table({"n": [1]}), tmp_path / "none.parquet")
    done = harmony("parse", one, tmp_path / "none.parquet", "-o", tmp_path / "out.parquet")
    told = "expected a completion at `tokens` or `text`, found none; the columns are `n`"
    assert done.stderr.decode().startswith(f"harmony: {tmp_path}/none.parquet: {told}")
    done = harmony("parse", "-", one, "-o", tmp_path / "out.parquet", stdin=b"{}")
    assert (done.returncode, b"standard input cannot be united with tables" in done.stderr) == (2, True)


def test_an_integer_that_a_floating_point_number_does_not_hold_is_told(tmp_path: Path) -> None:
    inputs = [made(tmp_path, "a.parquet", n=[0.5, 1.0]), made(tmp_path, "b.parquet", n=[1, (1 << 53) + 1])]
    with pytest.raises(
        ValueError, match=r"b\.parquet: column `n` cannot become double: Integer value 9007199254740993"
    ):
        parsed(inputs, tmp_path / "out.parquet")
