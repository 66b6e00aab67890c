"""Tables read in batches: how they are cut, where reading goes on, and what comes before a fault."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from harmony.logs.inputs import ROWS, Reader
from harmony.logs.places import Place, stamp_of
from helpers.files import changed, read, table, write_table

TABLES = [("log.parquet", False), ("log.arrow", False), ("log.ARROW", True)]


@pytest.mark.parametrize(("name", "stream"), TABLES)
@pytest.mark.parametrize("size", [7_000, 20_000, 40_000])
def test_tables_are_cut_into_batches(tmp_path: Path, name: str, stream: bool, size: int) -> None:
    whole = table(40_000)
    file, other = tmp_path / name, tmp_path / "other.parquet"
    write_table(file, whole, size, stream=stream)
    write_table(other, whole.slice(0, 10), size)
    names = [str(file), str(other), str(file)]
    reader = Reader(names)
    pieces = list(reader)
    assert pa.Table.from_batches([piece.data for piece in pieces if piece.after.file == 0]) == whole
    assert pa.Table.from_batches([piece.data for piece in pieces if piece.after.file == 1]) == whole.slice(0, 10)
    number = dict.fromkeys(range(3), 1)
    offset = dict.fromkeys(range(3), 0)
    for piece in pieces:
        index = piece.after.file
        assert piece.first == number[index]
        assert 0 < piece.data.num_rows <= ROWS
        number[index] += piece.data.num_rows
        offset[index] += 1
        assert piece.after == Place(index, offset[index], number[index], stamp=stamp_of(names[index]))
    assert reader.taken == reader.size
    for done, piece in enumerate(pieces, 1):
        again = Reader(names, piece.after)
        assert list(again) == pieces[done:]
        assert again.taken == reader.taken


@pytest.mark.parametrize(("name", "stream"), TABLES)
def test_another_table_is_not_gone_on_with(tmp_path: Path, name: str, stream: bool) -> None:
    file = tmp_path / name
    whole = table(1_000)
    write_table(file, whole, 300, stream=stream)
    place = list(Reader([str(file)]))[1].after
    assert place == Place(0, 2, 601, stamp=stamp_of(str(file)))
    for size, rows, said in (
        (250, 1_000, "expected rows up to 600 in the batches read before, found 750"),
        (300, 500, "expected at least 600 rows, found 500"),
    ):
        write_table(file, whole.slice(0, rows), size, stream=stream)
        assert "last changed at" in changed([file], place)
        same = msgspec.structs.replace(place, stamp=stamp_of(str(file)))
        assert changed([file], same) == f"{file}: {said}"


@pytest.mark.parametrize(("name", "stream"), TABLES)
def test_a_table_without_rows_has_no_pieces(tmp_path: Path, name: str, stream: bool) -> None:
    write_table(tmp_path / name, table(0), 10, stream=stream)
    assert list(Reader([str(tmp_path / name)])) == []


@pytest.mark.parametrize(("name", "stream"), TABLES)
def test_what_comes_before_a_fault_in_a_table(tmp_path: Path, name: str, stream: bool) -> None:
    whole = table(1_000)
    file = tmp_path / name
    # What is compressed has a checksum in Arrow only, what is not in Parquet only.
    write_table(file, whole, 100, stream=stream, compression=None if name == "log.parquet" else "zstd")
    data = file.read_bytes()
    for quarter in (1, 2, 3):
        at = len(data) * quarter // 4
        file.write_bytes(data[:at])
        pieces, said = read(Reader([str(file)]))
        assert bool(pieces) == stream
        assert said.startswith(f"{file} cannot be read")
    for eighth in (2, 3, 4):
        at = len(data) * eighth // 8
        file.write_bytes(data[:at] + b"\xff" * 600 + data[at + 600 :])
        pieces, said = read(Reader([str(file)]))
        assert 0 < len(pieces) < 10
        assert pa.Table.from_batches([piece.data for piece in pieces]) == whole.slice(0, 100 * len(pieces))
        assert said.startswith(f"{file} cannot be read after {100 * len(pieces)} rows: ")
        assert read(Reader([str(file)], pieces[-1].after)) == ([], said)


def test_a_page_of_parquet_that_breaks_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    write_table(file, table(1_000), 100)
    file.write_bytes(file.read_bytes().replace(b"completion-777", b"completion-778"))
    pieces, said = read(Reader([str(file)]))
    assert len(pieces) == 7
    assert "cannot be read after 700 rows: could not verify page integrity" in said


@pytest.mark.parametrize("stream", [True, False])
def test_a_table_that_points_to_what_is_not_there(tmp_path: Path, stream: bool) -> None:
    file = tmp_path / "log.arrow"
    write_table(file, pa.table({"role": ["user", "assistant", "tool"]}), 10, stream=stream)
    data = file.read_bytes()
    ends = b"".join(end.to_bytes(4, "little") for end in (0, 4, 13, 17))
    assert data.count(ends) == 1
    file.write_bytes(data.replace(ends, ends[:8] + b"\xff\xff\xff\x7f" + ends[12:]))
    pieces, said = read(Reader([str(file)]))
    assert pieces == []
    assert "out of bounds" in said


def test_a_name_of_a_column_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "log.arrow"
    write_table(file, pa.table({"record": [{"question": 1}]}), 10)
    for name in (b"record", b"question"):
        write_table(file, pa.table({"record": [{"question": 1}]}), 10, stream=True)
        file.write_bytes(file.read_bytes().replace(name, b"\xff" + name[1:]))
        pieces, said = read(Reader([str(file)]))
        assert pieces == []
        assert "'utf-8' codec can't decode byte 0xff" in said
