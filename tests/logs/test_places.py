"""Whether files are still those that were read: what may change of them, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from xxhash import xxh3_64_intdigest

from harmony.logs.inputs import Reader
from harmony.logs.places import Place
from helpers.files import SUFFIXES, changed, joined, stored, table, write_table


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_file_is_not_gone_on_with(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"log{suffix}"
    text = b"".join(b'{"id":%d}\n' % number for number in range(100))
    file.write_bytes(stored(text, suffix))
    place = Place(0, 190, 20, xxh3_64_intdigest(text[:190]))
    # What comes after the place may be anything, and so may the way in which all of it is stored.
    for more in (text[190:], b"", text[190:] * 2, b"{}\n"):
        for parts in (1, 3):
            file.write_bytes(stored(text[:190] + more, suffix, parts))
            assert joined(list(Reader([str(file)], place))) == more
    # A change anywhere before it is found, however long ago that was read.
    for other in (text.replace(b'"id":0', b'"id":1'), text.replace(b"17", b"71"), text[10:], text[:180] + text[200:]):
        file.write_bytes(stored(other, suffix))
        assert changed([file], place) == f"{file}: expected the 190 bytes that were read, found others"
    for other in (b"", text[:40], text[:189]):
        file.write_bytes(stored(other, suffix))
        assert changed([file], place) == f"{file}: expected at least 190 bytes, found {len(other)}"


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".parquet", ".arrow"])
def test_a_file_that_was_read_to_its_end_must_be_as_it_was(tmp_path: Path, suffix: str) -> None:
    one, two = (tmp_path / f"{name}{suffix}" for name in ("one", "two"))
    is_table = suffix in (".parquet", ".arrow")

    def fill(file: Path, name: bytes) -> None:
        if is_table:
            write_table(file, pa.table({"id": [name.decode()] * 30}), 10)
        else:
            file.write_bytes(stored(b'{"id":"%b"}\n' % name * 30, suffix))

    for file in (one, two):
        fill(file, b"a")
    places = [piece.after for piece in Reader([str(one), str(two)])]
    before, place = next(place for place in reversed(places) if place.file == 0), places[-1]
    again = [piece.data for piece in Reader([str(one), str(two)], Place(1))]

    def rest() -> list[Any]:
        return [piece.data for piece in Reader([str(one), str(two)], Place(1), [before])]

    assert rest() == again
    assert list(Reader([str(one), str(two)], place, [before])) == []
    shutil.copy2(one, tmp_path / "copy")
    one.unlink()
    (tmp_path / "copy").rename(one)  # another file of the same size and time
    assert rest() == again
    kept = one.read_bytes()
    os.utime(one, ns=(1, 1))
    if is_table:
        assert re.fullmatch(
            rf"{one}: expected {len(kept):,} bytes last changed at 20[0-9 :.-]+ UTC, "
            rf"found {len(kept):,} bytes last changed at 1970-01-01 00:00:00.000000001 UTC",
            changed([one, two], Place(1), [before]),
        )
    else:
        assert rest() == again
        one.write_bytes(stored(b'{"id":"a"}\n' * 31, suffix))
        said = changed([one, two], Place(1), [before])
        assert said == f"{one}: expected nothing behind what was read, found more"
    fill(one, b"b")
    os.utime(one, ns=(1, 1))
    assert str(one) in changed([one, two], Place(1), [before])
    fill(one, b"a")
    fill(two, b"b")  # which nothing was read of
    assert is_table or rest() != again


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".parquet", ".arrow"])
def test_a_file_without_records_must_still_have_none(tmp_path: Path, suffix: str) -> None:
    empty, other = tmp_path / f"empty{suffix}", tmp_path / "other.jsonl"
    other.write_bytes(b"{}\n")
    for rows in (0, 2):
        if suffix in (".parquet", ".arrow"):
            write_table(empty, table(rows), 10)
        else:
            empty.write_bytes(stored(b"{}\n" * rows, suffix))
        if not rows:
            assert [piece.data for piece in Reader([str(empty), str(other)], Place(1), [Place(0)])] == [b"{}\n"]
    said = changed([empty, other], Place(1), [Place(0)])
    assert said == f"{empty}: expected nothing behind what was read, found more"
