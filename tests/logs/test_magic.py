"""The format of a file is told by its first bytes before its suffix: read as what it is, or refused with a sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from harmony.logs.convert import Task, convert
from harmony.logs.inputs import Reader
from helpers.command import GOOD, harmony, records
from helpers.files import read, table, write_table

LINE = GOOD + b"\n"
ARRAY = b'[{"id":1,"tokens":[1]},\n {"id":2}]\n'
PRETTY = b'{\n  "id": 1,\n  "tokens": [200008]\n}\n'


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(3), sink)
    return sink.getvalue()


def arrow(*, stream: bool) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table(3).schema) as writer:
        writer.write_table(table(3))
    return sink.getvalue()


def archive() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as made:
        made.writestr("log.jsonl", LINE)
    return sink.getvalue()


LINES_ANYWHERE = [
    ("log.jsonl.gz", LINE),
    ("log.jsonl.zst", b"\n " + LINE),
    ("log.parquet", LINE),
    ("log.arrow", LINE),
    ("log.jsonl", gzip.compress(LINE)),
    ("log.jsonl", zstandard.compress(LINE)),
    ("log.jsonl", b"\x50\x2a\x4d\x18\x01\0\0\0-" + zstandard.compress(LINE)),
    ("log.gz", zstandard.compress(LINE)),
    ("log.parquet", gzip.compress(LINE)),
    ("log.csv", LINE),
]
TABLES_ANYWHERE = [
    ("log.jsonl", parquet()),
    ("log.gz", parquet()),
    ("log", arrow(stream=False)),
    ("log.jsonl.zst", arrow(stream=True)),
    ("log.parquet", arrow(stream=True)),
    ("log.arrow", parquet()),
]


@pytest.mark.parametrize(("name", "data"), LINES_ANYWHERE, ids=range(len(LINES_ANYWHERE)))
def test_lines_are_read_under_any_suffix(tmp_path: Path, name: str, data: bytes) -> None:
    file, output = tmp_path / name, tmp_path / "out.jsonl"
    file.write_bytes(data)
    tally = convert(Task(), [str(file)], str(output), workers=1, resume=False, watch=lambda *_: None)
    assert (tally.records, tally.errors) == (1, {})
    checked = harmony("validate", file, "--start", "completion")
    assert (checked.returncode, checked.stdout) == (0, b"") or name == "log.csv"


@pytest.mark.parametrize(("name", "data"), TABLES_ANYWHERE, ids=range(len(TABLES_ANYWHERE)))
def test_tables_are_read_under_any_suffix(tmp_path: Path, name: str, data: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    (piece,) = Reader([str(file)])
    assert pa.Table.from_batches([piece.data]) == table(3)
    done = harmony("parse", file, "-o", tmp_path / "out.parquet")
    assert (done.returncode, done.stderr[:19]) == (0, b"harmony: 3 records,")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == table(3)["id"].to_pylist()
    rendered = harmony("render", file)
    assert (rendered.returncode, b"expected a conversation at `messages`, found none" in rendered.stderr) == (2, True)


@pytest.mark.parametrize("name", ["log.jsonl", "log.gz", "log.jsonl.zst", "log.parquet", "log.arrow", "log"])
def test_an_empty_file_is_a_log_without_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert list(Reader([str(tmp_path / name)])) == []


FOREIGN = [
    (lzma.compress(LINE), "xz data: decompress it with `xz -d`"),
    (bz2.compress(LINE), "bzip2 data: decompress it with `bzip2 -d`"),
    (archive(), "a zip archive: unpack it with `unzip`"),
    (LINE.decode().encode("utf-16"), "text in UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"),
    (b"SQLite format 3\0" + bytes(84), "an SQLite database: export its table"),
    (b"Obj\x01" + bytes(20), "an Avro file: convert it to Parquet"),
    (ARRAY, "one JSON array: use `jq -c '.[]'` to make lines of it"),
    (b"\xef\xbb\xbf [\n" + LINE + b"]", "one JSON array: use `jq -c '.[]'`"),
    (PRETTY, "JSON over several lines: use `jq -c .`"),
    (b"id,tokens,text\n1,,Hi\n", "CSV: convert it to Parquet, for example with `duckdb"),
    (b'"id"\t"text"\r\n1\tHi\r\n', "CSV: convert it"),
]


@pytest.mark.parametrize(("data", "said"), FOREIGN, ids=range(len(FOREIGN)))
@pytest.mark.parametrize("name", ["log.jsonl", "log.gz", "-"])
def test_what_is_not_read_is_refused_with_a_sentence(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    if name == "log.gz":
        said = "data" if data[:1] in b'i"' else said  # a text without a brace under that suffix is a broken gzip file
    file = name if name == "-" else str(tmp_path / name)
    if name != "-":
        Path(file).write_bytes(data)
    for command in ("parse", "stats"):
        done = harmony(command, file, stdin=data)
        (line,) = done.stderr.decode().splitlines()
        shown = "standard input" if name == "-" else file
        assert (done.returncode, done.stdout) == (2, b"")
        assert line.startswith(f"harmony: {shown} cannot be read: expected ")
        assert said in line


@pytest.mark.parametrize("inside", [data for data, _ in FOREIGN[6:10]], ids=range(4))
def test_what_is_compressed_is_looked_at_too(tmp_path: Path, inside: bytes) -> None:
    file = tmp_path / "log.jsonl.gz"
    file.write_bytes(gzip.compress(inside))
    assert read(Reader([str(file)]))[0] == []
    file.write_bytes(gzip.compress(gzip.compress(LINE)))
    assert read(Reader([str(file)]))[1].endswith(
        "expected lines of JSON in it, found gzip data: unpack it once, and read that"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"[1]\n" + LINE,
        b'[{"role":"user"}]\n' * 2,
        b"nope\n" + LINE,
        b"{\n" + LINE,
        b"one, two\n" + LINE,
        b"one, two\nthree\n",
        b"[]\n",
        b'{"id":1\n',
    ],
)
def test_bad_lines_are_bad_records_and_their_neighbours_are_read(tmp_path: Path, data: bytes) -> None:
    done = harmony("parse", "-", stdin=data)
    assert len(records(done.stdout)) == data.count(b"\n")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(LINE), "1 record"),
        (zstandard.compress(LINE), "1 record"),
        (arrow(stream=True), "3 records"),
        (arrow(stream=False), "3 records"),
        (b"", "0 records"),
        (parquet(), "standard input cannot be read: parquet data is read from its end, which a stream cannot give"),
    ],
    ids=["gzip", "zstd", "stream", "arrow", "nothing", "parquet"],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_standard_input_is_looked_at_and_nothing_of_it_is_lost(data: bytes, said: str, step: int) -> None:
    head = data[:32]
    parts = [head[begin : begin + step] for begin in range(0, len(head), step)]  # bytes one by one tell it too
    told = harmony("parse", stdin=[*parts, data[32:]]).stderr.decode()
    assert told.startswith(f"harmony: {said}")


def test_a_table_on_standard_input_is_read_if_it_is_a_file(tmp_path: Path) -> None:
    write_table(tmp_path / "log.parquet", table(4), 2)
    with (tmp_path / "log.parquet").open("rb") as file:
        done = subprocess.run([sys.executable, "-m", "harmony", "parse"], stdin=file, capture_output=True, check=False)
    assert len(records(done.stdout)) == 4
