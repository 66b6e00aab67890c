"""What one command reads, all read: validate and a terminal read what parse reads, and tell the place of a record."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from harmony.logs.reading import RecordReader
from helpers.command import harmony as command
from helpers.command import measured, on_a_terminal
from helpers.paths import CONVERSATIONS, SAMPLE

IDS = [200006, 1428, 200008, 64, 200007]
TEXT = "<|start|>user<|message|>Hi\nthere<|end|>"
NAMELESS = [{"role": "tool", "content": "a"}]


def harmony(*arguments: str | Path) -> tuple[int, str, str]:
    done = command(*map(str, arguments))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def places(file: Path, *options: str) -> list[tuple[Any, ...]]:
    """The records that are wrong, each with its line or row, and its code."""
    status, lines, _ = harmony("validate", file, "--format", "json", *options)
    found = json.loads(lines)
    assert status == (1 if found else 0)
    return [(each.get("row", each["line"]), each["code"], each["position"], each["unit"]) for each in found]


def stored(folder: Path, data: bytes) -> dict[str, Path]:
    """Lines in every format of lines, by suffix."""
    made = {suffix: folder / f"log{suffix}" for suffix in (".jsonl", ".jsonl.gz", ".jsonl.zst", ".gz", ".zst")}
    for suffix, file in made.items():
        compress = {"gz": gzip.compress, "zst": zstandard.compress}.get(suffix.rpartition(".")[2], bytes)
        file.write_bytes(compress(data))
    return made


def record(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def test_validate_reads_compressed_lines(tmp_path: Path) -> None:
    data = b"\n" + record(tokens=[*IDS, 64]) + b"{\n" + record(text=TEXT) + record(messages=NAMELESS)
    expected = [(2, "token", 5), (3, None, None), (5, "message", 0)]
    for file in stored(tmp_path, data).values():
        found = places(file)
        assert [(place, unit, position) for place, _, position, unit in found] == expected
        assert [code for _, code, _, _ in found][1:] == ["invalid-json", "nameless-tool"]


def test_validate_reads_compressed_texts_and_tells_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "text.txt.gz"
    file.write_bytes(gzip.compress(TEXT.encode() + b"\n"))
    assert harmony("validate", file) == (0, "", "")
    file.write_bytes(gzip.compress(TEXT.encode())[:-9])
    status, lines, said = harmony("validate", file)
    assert (status, lines) == (2, "")
    assert said.startswith(f"harmony: {file} cannot be read: expected the rest of a gzip member")


def test_validate_reads_tables_by_the_row(tmp_path: Path) -> None:
    tokens = [IDS, [*IDS, 64], None, None, None, [5, None]]
    texts = [None, None, TEXT, f"{TEXT}x", None, None]
    messages = [None, None, None, None, NAMELESS, None]
    table = pa.table({"ids": pa.array(tokens, pa.list_(pa.int64())), "said": texts, "messages": messages})
    file = tmp_path / "log.parquet"
    pq.write_table(table, file)
    with pa.ipc.new_file(tmp_path / "log.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    names = ("--tokens", "ids", "--text", "said")
    for file in (tmp_path / "log.parquet", tmp_path / "log.arrow"):
        found = places(file, *names)
        assert [(place, unit, position) for place, _, position, unit in found] == [
            (2, "token", 5),
            (4, "character", len(TEXT)),
            (5, "message", 0),
            (6, None, None),
        ]
        assert [code for _, code, _, _ in found][2:] == ["nameless-tool", "invalid-record"]
        status, lines, said = harmony("validate", file, *names)
        assert (status, said) == (1, "harmony: 4 problems in 1 file\n")
        assert lines.startswith(f"{file}:row 2: ")
        assert " at 2:13 of `said`\n" in lines
        github = harmony("validate", file, *names, "--format", "github")[1].splitlines()
        assert github[2].startswith(f"::error file={file},title=nameless-tool::row 5: ")
        one = json.loads(harmony("validate", file, *names, "--format", "json")[1])[0]
        assert (one["row"], one["line"], one["column"]) == (2, None, None)


def test_validate_reads_what_render_and_parse_have_to_do_with(tmp_path: Path) -> None:
    conversations = [json.loads(line)["messages"] for line in CONVERSATIONS.read_text().splitlines()]
    plain = [
        [{"role": message["role"], "content": "a"} for message in messages if message["role"] == "user"]
        for messages in conversations
    ]
    file = tmp_path / "conversations.parquet"
    pq.write_table(pa.table({"messages": plain}), file)
    assert harmony("validate", file, "--lint", "--ignore", "wrong-order") == (0, "", "")
    nested = tmp_path / "nested.parquet"
    assert harmony("parse", SAMPLE, "-o", nested, "--nested")[0] == 0
    assert places(nested) == []


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (
            {"id": [1], "a": [2]},
            "expected a completion at `tokens` or `text`, or a conversation at `messages`, found none; "
            "the columns are `id`, `a`",
        ),
        ({"tokens": ["a"]}, "Expected a list of integers, found `string` - at column `tokens`"),
    ],
)
def test_a_table_without_the_columns_does_not_hide_other_files(
    tmp_path: Path, columns: dict[str, Any], reason: str
) -> None:
    bad, good = tmp_path / "bad.parquet", tmp_path / "good.parquet"
    pq.write_table(pa.table(columns), bad)
    pq.write_table(pa.table({"tokens": [[64]]}), good)
    status, lines, said = harmony("validate", bad, good)
    assert status == 2
    assert lines.startswith(f"{good}:row 1: ")
    assert said.startswith(f"harmony: {bad} cannot be read: {reason}\n")


def test_the_role_of_a_row(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    completion = [200008, 64, 200007]
    roles = ["assistant", "user", None, None, "boss"]
    pq.write_table(pa.table({"tokens": [completion, completion, completion, IDS, IDS], "role": roles}), file)
    assert [(row, code) for row, code, _, _ in places(file, "--start", "completion")] == [(5, "invalid-record")]
    # Where whole conversations are expected, nobody looks at the roles.
    assert [row for row, _, _, _ in places(file)] == [1, 2, 3]


def test_validate_reads_folders(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "b.jsonl.gz").write_bytes(gzip.compress(record(tokens=[64])))
    (tmp_path / "a.jsonl").write_bytes(record(tokens=IDS))
    (tmp_path / "notes.txt").write_text("no text of the format")
    status, lines, said = harmony("validate", tmp_path)
    assert (status, said) == (1, "harmony: 1 problem in 1 file\n")
    assert lines.startswith(f"{tmp_path}/day/b.jsonl.gz:1:13: ")


def test_what_validate_reads_is_not_written(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(record(tokens=[64]))
    command = f"{sys.executable} -m harmony validate {tmp_path} >> {log}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120)
    assert (done.returncode, b"is also the input" in done.stderr) == (2, True)
    assert log.read_bytes() == record(tokens=[64])


def test_a_long_compressed_log_is_not_held_in_memory(tmp_path: Path) -> None:
    log = tmp_path / "long.jsonl.gz"
    with gzip.open(log, "wb", 1) as file:
        for number in range(400):
            file.write(record(padding="p" * 250_000, tokens=IDS if number % 100 else [64]))
    _, peak, output, _ = measured("validate", str(log))
    lines = output.splitlines()
    assert [line.removeprefix(f"{log}:").partition(":")[0] for line in lines] == ["1", "101", "201", "301"]
    assert peak < 90_000_000


def test_a_terminal_shows_the_records_that_a_file_would_get(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    completion = [200008, 12194, 200002]
    tokens = [completion, [200006, 1428, *completion], None, [200006, 173781]]
    pq.write_table(pa.table({"tokens": tokens, "role": pa.array([None] * 4, pa.string())}), file)
    shown, _, status = on_a_terminal("parse", str(file))
    assert status == 1
    assert [line.strip(" ─") for line in shown if line] == [
        *("row 1 (3 tokens)", "assistant  3 tokens, <|return|>", "Hi"),
        *("row 2 (5 tokens)", "user  5 tokens, <|return|>", "Hi"),
        *("row 3", "error invalid-record: expected `tokens`, found null"),
        *("row 4 (2 tokens)", "(ends in an open <|start|>assistant)"),
    ]
    written = [json.loads(line) for line in harmony("parse", file, "-o", "-")[1].splitlines()]
    assert [record["complete"] for record in written] == [True, True, False, False]
    assert written[2]["error"]["message"] == "expected `tokens`, found null"
    pq.write_table(pa.table({"id": [1]}), file)
    shown, said, status = on_a_terminal("parse", str(file))
    assert (shown, status) == ([""], 2)
    assert (
        said.decode()
        == f"harmony: {file}: expected a completion at `tokens` or `text`, found none; the columns are `id`\n"
    )


def test_what_was_read_outlives_its_reader() -> None:
    read = RecordReader().lines(record(tokens=list(range(1000))) * 50, 1)
    other = [RecordReader().lines(record(tokens=[7] * 1000) * 50, 1) for _ in range(20)]
    assert all(list(read.sources.of(index)) == list(range(1000)) for index in range(50))
    assert len(other) == 20
