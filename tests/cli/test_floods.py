"""Records that are too long, and memory that runs out: both are told, and neither takes memory without a bound."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from harmony.logs import inputs
from harmony.logs.inputs import Reader
from harmony.logs.places import Place
from helpers.command import harmony, measured, on_a_terminal, records
from helpers.sizes import examples

GOOD = b'{"id":%d,"text":"<|channel|>final<|message|>Hi.<|return|>"}\n'
LINES = st.lists(st.integers(0, 70).map(lambda size: b"x" * size), max_size=20)
MEGABYTE = 1_000_000


def lines_in(pieces: list[inputs.Piece]) -> list[tuple[int, bytes | int]]:
    """The lines of pieces by their numbers; of one that was too long, its size."""
    found: list[tuple[int, bytes | int]] = []
    for piece in pieces:
        for number, line in enumerate(io.BytesIO(bytes(piece.data)), piece.first):
            is_cut = piece.too_long and number == piece.first
            found.append((number, piece.too_long if is_cut else line.removesuffix(b"\n")))
    return found


@examples(100)
@given(lines=LINES, most=st.integers(1, 60), block=st.integers(1, 60), ends=st.booleans(), full=st.booleans())
def test_cutting_leaves_out_what_is_too_long(lines: list[bytes], most: int, block: int, ends: bool, full: bool) -> None:
    text = b"\n".join(lines) + b"\n" * ends
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(inputs, "BLOCK", block)
        name = f"{folder}/log.jsonl.gz"
        Path(name).write_bytes(gzip.compress(text))
        pieces = list(Reader([name], full=full, most=most))
        expected = enumerate(text.removesuffix(b"\n").split(b"\n") if text else [], 1)
        assert lines_in(pieces) == [(number, line if len(line) <= most else len(line)) for number, line in expected]
        for done, piece in enumerate(pieces, 1):
            assert piece.after.digest == xxh3_64_intdigest(text[: piece.after.offset])
            assert list(Reader([name], piece.after, full=full, most=most)) == pieces[done:]
        assert (pieces[-1].after.offset if pieces else 0) == len(text)


def bomb(path: Path, megabytes: int) -> str:
    """A file of a few kilobytes, with a line of so many megabytes between two good ones."""
    compress = zstandard.ZstdCompressor().compressobj() if path.suffix == ".zst" else None
    with path.open("wb") as file:
        if compress is None:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as made:
                write = made.write
                write(GOOD % 1)
                for _ in range(megabytes):
                    write(bytes(MEGABYTE))
                write(b"\n" + GOOD % 3)
        else:
            parts = [GOOD % 1, *[bytes(MEGABYTE)] * megabytes, b"\n" + GOOD % 3]
            file.writelines(map(compress.compress, parts))
            file.write(compress.flush())
    return str(path)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_line_that_is_too_long_is_never_held(tmp_path: Path, suffix: str) -> None:
    name = bomb(tmp_path / f"log.jsonl.{suffix}", 300)
    status, peak, written, said = measured("parse", name, "--max-record-size", "8MB", "--workers", "1")
    assert status == 1, said
    first, bad, last = records(written.encode())
    assert (first["id"], last["id"]) == (1, 3)
    message = "expected no more bytes than `--max-record-size` allows, found 300,000,000 - in line 2"
    error = {"code": "record-too-large", "message": message, "position": None}
    assert bad == {"messages": None, "complete": False, "diagnostics": None, "error": error}
    assert peak < 150 * MEGABYTE


def test_every_command_tells_a_record_that_is_too_long(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    conversation = b'{"messages":[{"role":"user","content":"%s"}]}\n'
    log.write_bytes(conversation % b"Hi." + conversation % (b"x" * 2_000) + conversation % b"Ho.")
    first, bad, last = records(harmony("render", str(log), "--max-record-size", "1KiB").stdout)
    assert ("tokens" in first, bad["error"]["code"], "tokens" in last) == (True, "record-too-large", True)

    done = harmony("validate", str(log), "--max-record-size", "1k")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        f"{log}:2:1: record-too-large expected no more bytes than `--max-record-size` allows, found 2,043"
    ]
    log.write_bytes(GOOD % 1 + GOOD.replace(b"Hi.", b"x" * 2_000) % 2 + GOOD % 3)
    counted = json.loads(harmony("stats", str(log), "--json", "--max-record-size", "1KB").stdout)
    assert counted["errors"] == {"record-too-large": 1}
    lines, _, status = on_a_terminal("parse", str(log), "--max-record-size", "1KB", columns=120)
    assert status == 1
    assert [line.split(":")[0] for line in lines if line.startswith("error")] == ["error record-too-large"]


def test_the_columns_of_a_table_do_not_depend_on_a_record_that_is_too_long(tmp_path: Path) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "out.arrow"
    log.write_bytes(GOOD.replace(b"Hi.", b"x" * 2_000) % 1 + GOOD % 2)
    assert harmony("parse", str(log), "-o", str(out), "--max-record-size", "1KB").returncode == 1
    found = pa.ipc.open_file(out.read_bytes()).read_all()
    assert found["id"].to_pylist() == [None, 2]


def test_a_run_goes_on_with_the_same_limit_only(tmp_path: Path) -> None:
    log, out = tmp_path / "log.jsonl.gz", tmp_path / "out.jsonl"
    whole = gzip.compress(
        b"".join((GOOD.replace(b"Hi.", random.Random(n).randbytes(n % 3_000).hex().encode()) % n) for n in range(1_000))
    )
    log.write_bytes(whole[:-100])
    arguments = ("parse", str(log), "-o", str(out), "--max-record-size", "2KB")
    assert harmony(*arguments).returncode == 2
    log.write_bytes(whole)
    other = harmony(*arguments[:-1], "3KB", "--resume")
    assert other.returncode == 2
    assert b"max_record_size" in other.stderr
    assert harmony(*arguments, "--resume").returncode == 1
    gone_on = out.read_bytes()
    assert harmony(*arguments).returncode == 1
    assert out.read_bytes() == gone_on


@pytest.mark.parametrize("size", ["10XB", "", "0", "-1MB", "1.5GB"])
def test_a_size_that_is_none(size: str) -> None:
    done = harmony("parse", "-", "--max-record-size", size)
    assert done.returncode == 2
    assert b"expected a size such as 64MB or 1GiB" in b" ".join(done.stderr.replace("│".encode(), b" ").split())


def test_a_text_that_is_too_long_to_be_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "text.txt"
    log.write_bytes(b"x" * 2_000)
    done = harmony("validate", str(log), "--max-record-size", "1KB")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"harmony: {log} cannot be read: expected no more bytes than `--max-record-size` allows, "
        "found 2,000 or more in one text\n"
    )
    done = harmony("tokens", "-", stdin=b"x" * 16_000_001)
    assert done.returncode == 2
    assert done.stderr == b"harmony: expected no more than 16,000,000 bytes on standard input, found more\n"


# With so much memory a command begins, and cannot hold what it is to read.
SHORT_OF_MEMORY = """
import resource, subprocess, sys
def limit():
    resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000,) * 2)
sys.exit(subprocess.run([sys.executable, "-m", "harmony", *sys.argv[1:]], preexec_fn=limit).returncode)
"""


@pytest.mark.parametrize(
    "arguments",
    [("parse", "--workers", "1"), ("parse", "--workers", "2"), ("stats",), ("render",), ("validate",)],
    ids=" ".join,
)
def test_memory_that_runs_out_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    log = tmp_path / "log.jsonl"
    with log.open("wb") as file:
        file.truncate(3_000 * MEGABYTE)  # zeros that take no room on the disk
    command = [sys.executable, "-c", SHORT_OF_MEMORY, *arguments, str(log), "--max-record-size", "9GB"]
    done = subprocess.run(command, capture_output=True)
    assert (done.returncode, done.stdout) == (2, b""), done.stderr
    assert done.stderr == b"harmony: there is not enough memory: use fewer --workers or a smaller --max-record-size\n"


def test_json_that_is_too_deep_is_not_called_invalid(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    deep = b"[" * 100_000 + b"]" * 100_000
    log.write_bytes(GOOD % 1 + b'{"deep":%s}\n' % deep + b'{"tokens":%s}\n' % deep + GOOD % 4)
    for command in ("parse", "render"):
        codes = [row["error"]["code"] for row in records(harmony(command, str(log)).stdout) if row["error"]]
        assert codes.count("too-deep") == 2
    said = harmony("validate", str(log)).stdout.decode()
    assert [line.split()[1] for line in said.splitlines() if line.startswith(str(log))].count("too-deep") == 2


def test_a_line_of_output_holds_no_carriage_return() -> None:
    log = b'{"id":[1,\r2,\r\n'.replace(b"\n", b"") + b'{"a":\r"x\\ry"}],"text":\r"Hi.<|return|>"}\r\n'
    done = harmony("parse", "-", stdin=log)
    assert b"\r" not in done.stdout
    assert records(done.stdout)[0]["id"] == [1, 2, {"a": "x\ry"}]
    done = harmony("render", "-", stdin=b'{"id":[1,\r2],"messages":[]}\n{"id":[1,\r2]}\n')
    assert b"\r" not in done.stdout
    assert [row["id"] for row in records(done.stdout)] == [[1, 2], [1, 2]]


def test_reading_begins_at_a_place_behind_a_line_that_was_too_long(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"x" * 5_000 + b"\n{}\n")
    [piece] = Reader([str(log)], most=100)
    assert (piece.data, piece.too_long) == (b"\n{}\n", 5_000)
    digest = xxh3_64_intdigest(log.read_bytes())
    assert msgspec.structs.replace(piece.after, stamp=None) == Place(0, 5_004, 3, digest)
    assert list(Reader([str(log)], piece.after, most=100)) == []


# The most memory that getrusage tells of a process begins with that of the process that began it. That of a process of
# tests is so large that no record could add to it.
FROM_A_SMALL_PROCESS = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
# What a record takes beside the program and its own line, as a multiple of that line.
SHARE = """
import resource, sys
from harmony.logs.reading import RecordReader
from harmony.logs.records import Names

def parse(data):
    return RecordReader().lines(data, 1).parse(strict=False, bare=False).to_json()

kind, size = sys.argv[1], 3_000_000
parse(b'{"text":"Hi there."}\\n{"tokens":[1,2,3]}\\n')
if kind == "tokens":
    data = b'{"tokens":[%s13225]}\\n' % (b"13225,1354," * (size // 11))
else:
    data = b'{"text":"%s"}\\n' % (kind.encode() * (size // len(kind)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
parse(data)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / len(data))
"""


@pytest.mark.parametrize("kind", ["What is up today? ", " ", "a", "tokens"])
@pytest.mark.parametrize("compiled", ["yes", "no"])
def test_a_record_without_markers_takes_ten_times_its_size_at_most(kind: str, compiled: str) -> None:
    environment = {**os.environ, "HARMONY_EXTENSION": compiled}
    command = [sys.executable, "-c", FROM_A_SMALL_PROCESS, sys.executable, "-c", SHARE, kind]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert float(done.stdout) < 12  # ten, and what the allocator rounds up in three megabytes
