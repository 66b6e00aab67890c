"""`--stripped`: logs whose completions have lost their markers, as texts, as tokens and in tables."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony import ParseResult
from harmony.format.vocabulary import FIRST_SPECIAL
from harmony.messages.model import flat_messages
from helpers.command import harmony, on_a_terminal, records
from helpers.paths import SAMPLE
from helpers.streams import ENCODING

GUESS = b"--strict cannot be used with --stripped: where lost markers stood is a guess"


def sample() -> list[dict[str, Any]]:
    """The completions of the sample without special tokens, as a detokenizer leaves them, and one with its markers."""
    read = [json.loads(line) for line in SAMPLE.read_bytes().splitlines()]
    made = [
        {"id": record["id"], "role": role, "tokens": [token for token in record["tokens"] if token < FIRST_SPECIAL]}
        for record in read
        if (role := record.get("role", "assistant")) == "assistant" and record.get("tokens")
    ]
    whole = ENCODING.encode("<|channel|>final<|message|>Hi<|end|><|start|>assistant", allowed_special="all")
    return [*made, {"id": "whole", "role": "assistant", "tokens": whole}]


TOKENS = sample()
TEXTS = [{"id": record["id"], "role": record["role"], "text": ENCODING.decode(record["tokens"])} for record in TOKENS]
RESULTS: dict[str, ParseResult] = {
    record["id"]: ENCODING.parse_text(record["text"], record["role"], strict=False, stripped=True) for record in TEXTS
}


@pytest.fixture(params=["tokens.jsonl", "texts.jsonl", "tokens.parquet", "texts.parquet"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same completions as a log of another kind."""
    file, given = tmp_path / str(request.param), TOKENS if "tokens" in request.param else TEXTS
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(given), file)
    else:
        file.write_text("".join(json.dumps(record) + "\n" for record in given))
    return file


def expected_line(name: str) -> dict[str, Any]:
    result = RESULTS[name]
    line: dict[str, Any] = {
        "id": name,
        "role": "assistant",
        "messages": flat_messages(result.messages),
        "complete": result.complete,
        "diagnostics": result.diagnostics or None,
        "error": None,
    }
    read: dict[str, Any] = json.loads(msgspec.json.encode(line))
    return read


def contents(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    return [(row["id"], row["channel"], row["content"]) for row in rows]


EXPECTED = [
    (name, message.channel, "".join(part.text for part in message.content))
    for name, result in RESULTS.items()
    for message in result.messages
]


@pytest.mark.parametrize("engine", ["no", ""])
def test_each_completion_is_read_as_its_text(log: Path, engine: str) -> None:
    done = harmony("parse", log, "--output", "-", "--stripped", HARMONY_EXTENSION=engine)
    assert done.returncode == 0
    assert records(done.stdout) == [expected_line(record["id"]) for record in TEXTS]
    guessed = [result for result in RESULTS.values() if len(result.messages) > 1]
    assert len(guessed) > len(TEXTS) / 2  # the sample has completions of several messages
    assert records(harmony("parse", log, "--output", "-").stdout) != records(done.stdout)


@pytest.mark.parametrize("nested", [False, True])
def test_a_table_has_the_same_messages(log: Path, tmp_path: Path, nested: bool) -> None:
    output = tmp_path / "out.parquet"
    done = harmony("parse", log, "-o", output, "--stripped", *["--nested"] * nested)
    assert done.returncode == 0
    rows = pq.read_table(output).to_pylist()
    if nested:
        rows = [{"id": row["id"], **message} for row in rows for message in row["messages"]]
    assert contents(rows) == EXPECTED
    assert all(row["content_tokens"] is None for row in rows)


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = "".join(json.dumps(record) + "\n" for record in TEXTS)
    log.write_text(lines * (8_000_000 // len(lines)))
    one, three = (
        harmony("parse", log, "--output", "-", "--stripped", "--workers", workers).stdout for workers in ("1", "3")
    )
    assert one == three
    assert records(one)[: len(TEXTS)] == [expected_line(record["id"]) for record in TEXTS]


def test_statistics_count_the_same_messages(log: Path) -> None:
    done = harmony("stats", log, "--json", "--stripped")
    assert done.returncode == 0
    counted = json.loads(done.stdout)
    channels = {channel["channel"]: channel["messages"] for channel in counted["channels"]}
    assert channels == Counter(channel for _, channel, _ in EXPECTED)
    assert counted["complete"] == sum(result.complete for result in RESULTS.values())


@pytest.mark.parametrize("given", [TOKENS, TEXTS], ids=["tokens", "texts"])
def test_a_terminal_shows_the_same_messages(given: list[dict[str, Any]], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    some = given[:6]
    odd = {"id": "odd", "tokens": [17196, 12194, -1, 201_089]}
    log.write_text("".join(json.dumps(record) + "\n" for record in [*some, odd]))
    lines, said, status = on_a_terminal("parse", "--stripped", str(log), columns=200)
    assert (said, status) == (b"", 0)
    headings = [line.split(" · ")[1].split()[0] for line in lines if line.startswith(("assistant · ", "tool"))]
    ids = {record["id"] for record in some}
    assert headings == [*(channel for name, channel, _ in EXPECTED if name in ids), "final"]
    replaced = [line for line in lines if line.startswith("! replaced-token")]
    assert [line.split(": ")[0] for line in replaced] == [f"! replaced-token at token {place}" for place in (7, 8)]
    assert "Hi\ufffd\ufffd" in lines


@pytest.mark.parametrize("command", ["parse", "stats"])
def test_a_guess_is_not_strict(command: str) -> None:
    done = harmony(command, str(SAMPLE), "--strict", "--stripped")
    assert (done.returncode, done.stdout) == (2, b"")
    assert GUESS in done.stderr
