"""Records as servers and tools write them: each file of `tests/data/shapes/`, with the command that reads it."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet
import pytest

from harmony.logs.presets import PRESETS
from helpers.command import harmony
from helpers.pages import blocks
from helpers.paths import DATA, ROOT

SHAPES = DATA / "shapes"


def _commands(name: str) -> list[tuple[str, list[str]]]:
    """The file that each command in the guide reads, and the options of the command."""
    page = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    lines = [line for block in blocks(page) for line in block.text.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith(f"harmony {name} ")]
    return [(Path(file).name, options) for _, _, *options, file in commands if file.startswith("tests/data/shapes/")]


COMMANDS = _commands("parse")
#: Those for conversations, which `tests/logs/test_requests.py` runs.
RENDERED = _commands("render")


def run(*arguments: str | Path, status: int = 0) -> str:
    """What `harmony parse` prints to standard error."""
    done = harmony("parse", *arguments)
    assert done.returncode == status, done.stderr.decode()
    return done.stderr.decode()


def parsed(*arguments: str | Path, status: int = 0) -> list[dict[str, Any]]:
    """The records that `harmony parse` prints."""
    done = harmony("parse", *arguments)
    assert done.returncode == status, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_by_the_guide(name: str, *options: str, status: int = 0) -> list[dict[str, Any]]:
    return parsed(*dict(COMMANDS)[name], *options, SHAPES / name, status=status)


@cache
def flat() -> list[dict[str, Any]]:
    return parsed(SHAPES / "flat.jsonl")


def messages(records: list[dict[str, Any]]) -> list[Any]:
    return [record["messages"] for record in records]


def test_the_guide_reads_each_file() -> None:
    assert {name for name, _ in COMMANDS + RENDERED} == {path.name for path in SHAPES.iterdir()}
    for name, options in COMMANDS:
        status = 1 if name == "openai-batch.jsonl" else 0  # one of its requests has failed
        records = [record.get("harmony", record) for record in parsed(*options, SHAPES / name, status=status)]
        assert all(record["messages"] for record in records if record["error"] is None)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_the_messages_of_the_flat_log(preset: str, tmp_path: Path) -> None:
    log = SHAPES / f"{preset}.jsonl"
    status = 1 if preset == "openai-batch" else 0  # one of its requests has failed
    records = parsed("--preset", preset, log, status=status)
    found = [record.get("harmony", record) for record in records]
    assert messages(found)[: len(flat())] == messages(flat())
    # The last completion was cut off by the limit, and the others ended by themselves, with or without their stop.
    assert [record["complete"] for record in found][: len(flat())] == [True, True, True, False]
    # The same records as a table, through structs and lists of structs.
    table = tmp_path / "log.parquet"
    polars.read_ndjson(log).write_parquet(table)
    of_table = [record.get("harmony", record) for record in parsed("--preset", preset, table, status=status)]
    assert messages(of_table) == messages(found)
    assert [record["complete"] for record in of_table] == [record["complete"] for record in found]
    rows = tmp_path / "rows.parquet"
    for source in (log, table):
        run("--preset", preset, source, "--output", rows, status=status)
        read = pa.parquet.read_table(rows)
        if "harmony" in read.column_names:
            read = pa.Table.from_struct_array(read["harmony"].combine_chunks())
        contents = [part["text"] for record in flat() for message in record["messages"] for part in message["content"]]
        assert read["content"].to_pylist()[: len(contents)] == contents


def test_each_completion_of_a_record_keeps_what_is_its_own() -> None:
    first, second, *_ = parsed("--preset", "vllm", SHAPES / "vllm.jsonl")
    written = json.loads((SHAPES / "vllm.jsonl").read_text().splitlines()[0])
    for index, record in enumerate((first, second)):
        own = {name: value for name, value in written["outputs"][index].items() if name != "token_ids"}
        assert record["outputs"] == [own]
        assert record["completion_index"] == index
        assert record["prompt_token_ids"] == written["prompt_token_ids"]
        assert list(record)[: len(written)] == list(written)


def test_a_failed_request_keeps_its_error() -> None:
    records = parsed("--preset", "openai-batch", SHAPES / "openai-batch.jsonl", status=1)
    assert [record["error"] and record["error"]["code"] for record in records] == [None] * 4 + ["batch_expired"]
    assert records[-1]["harmony"]["error"]["code"] == "invalid-record"
    assert records[-1]["harmony"]["messages"] is None


def test_a_prefilled_header_is_that_of_the_completion() -> None:
    assert messages(read_by_the_guide("prefilled.jsonl")) == messages(flat()[:2])
    with_prompts = read_by_the_guide("prefilled.jsonl", "--prompt-messages")
    assert [message["role"] for message in with_prompts[0]["prompt_messages"]] == ["system", "user"]
    assert messages(read_by_the_guide("prefixed.jsonl")) == [flat()[1]["messages"], flat()[3]["messages"]]


def test_positions_count_from_the_completion(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    prompt = "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>analysis<|message|>"
    log.write_text(json.dumps({"prompt": prompt, "text": "Wait.<|end|><|message|>Hi<|return|>"}) + "\n")
    [record] = parsed("--prompt", "prompt", log)
    assert [(found["code"], found["position"]) for found in record["diagnostics"]] == [("missing-start", 12)]
    [record] = parsed("--prompt", "prompt", "--strict", log, status=1)
    assert record["error"]["position"] == 12
    assert record["error"]["message"].endswith(" at character 12")


def test_a_completion_that_begins_with_a_start_is_a_conversation(tmp_path: Path) -> None:
    as_lines = parsed(SHAPES / "conversations.jsonl")
    table = tmp_path / "log.parquet"
    polars.read_ndjson(SHAPES / "conversations.jsonl").write_parquet(table)
    for records in (as_lines, parsed(table)):
        assert [[message["role"] for message in record["messages"]] for record in records] == [
            ["system", "user", "assistant"],
            ["system", "user", "assistant", "assistant"],
        ]
        assert [record["diagnostics"] for record in records] == [None, None]


def test_with_a_start_option_nothing_is_guessed(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    texts = ["<|start|>user<|message|>Hi<|end|><|start|>assistant", "<|start|>user<|message|>Hi<|end|>"]
    log.write_text("".join(json.dumps({"text": text, "role": "assistant"}) + "\n" for text in texts))
    prompts = parsed("--start", "prompt", log)
    assert [record["complete"] for record in prompts] == [True, False]
    conversations = parsed("--start", "conversation", log)
    assert [record["complete"] for record in conversations] == [False, True]
    assert messages(prompts) == messages(conversations)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"outputs": []}, "expected at least one item, found an empty list - at `outputs`"),
        ({"outputs": None}, "expected a list, found null - at `outputs`"),
        ({"outputs": {"0": {}}}, "expected a list, found an object - at `outputs`"),
        ({"outputs": [7]}, "expected an object, found a number - at `outputs[0]`"),
        ({"outputs": [{"token_ids": ["200008"]}]}, "Expected `int`, got `str` - at `$.outputs[].token_ids[0]`"),
        ({"outputs": [{}]}, "expected a completion at `outputs[].token_ids` or `outputs[].text`, found none"),
        (
            {"outputs": [{"token_ids": [200008], "finish_reason": "banana"}]},
            "expected a finish reason such as `stop`, `tool_calls` or `length`, found `banana` - at "
            "`outputs[].finish_reason`: without --finish-reason the record is read",
        ),
        (
            {"outputs": [{"token_ids": [200008]}], "prompt_token_ids": [200006, 1428, 200008, 12194, 200007]},
            "expected a prompt that ends in an open header, such as `<|start|>assistant`, found one that ends in "
            "`<|start|>user<|message|>Hi<|end|>`",
        ),
    ],
)
def test_a_bad_record_is_told_and_its_neighbours_are_kept(record: Any, found: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    good = (SHAPES / "vllm.jsonl").read_text().splitlines()
    log.write_text("\n".join([good[0], json.dumps({"id": "bad", **record}), good[1]]) + "\n")
    records = parsed("--preset", "vllm", log, status=1)
    assert messages(records[:2] + records[3:]) == messages(flat())
    assert records[2]["error"]["message"] == f"{found} - in line 2"
    assert {name: records[2][name] for name in ("id", *record)} == {"id": "bad", **record}


def test_what_is_given_wins_over_a_default(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"tokens": [], "content": "<|channel|>final<|message|>Hi<|return|>"}) + "\n")
    assert messages(parsed("--text", "content", log)) == [
        [{"role": "assistant", "name": None, "content": [{"type": "text", "text": "Hi"}], "channel": "final"}]
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", ["error", "diagnostics", "complete", "messages"])
def test_a_field_of_the_log_is_never_replaced(name: str, suffix: str, tmp_path: Path) -> None:
    log = tmp_path / f"log.{suffix}"
    records = [{"id": 1, "text": "<|channel|>final<|message|>Hi<|return|>", name: "mine"}]
    if suffix == "jsonl":
        log.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        pa.parquet.write_table(pa.Table.from_pylist(records), log)
    for output in ("out.jsonl", "out.parquet"):
        if name == "messages" and output == "out.parquet":
            continue  # a table of messages has no such column
        told = run(log, "--output", tmp_path / output, status=2)
        assert f"the field `{name}` of the log would be replaced by that of the output: give a key" in told
        assert not (tmp_path / output).exists()
        run(log, "--output", tmp_path / output, "--into", "harmony")
    [record] = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert record[name] == "mine"
    assert record["harmony"]["messages"][0]["content"][0]["text"] == "Hi"
    if name != "messages":
        [row] = pa.parquet.read_table(tmp_path / "out.parquet").to_pylist()
        assert row[name] == "mine"
        assert row["harmony"]["content"] == "Hi"


def test_a_run_stops_if_its_first_records_all_fail_alike(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    wrong = [json.dumps({"id": number, "answer": "Hi"}) + "\n" for number in range(120)]
    log.write_text("".join(wrong))
    assert run(log, "--output", tmp_path / "out.jsonl", status=2) == (
        f"harmony: {log}: the first 100 records all fail, the first with: expected a completion at `tokens` or `text`, "
        "found none - in line 1; its fields are `id`, `answer`; say where the completions are with --tokens, --text or "
        "--preset, or use --keep-going\n"
    )
    assert len(parsed(log, "--keep-going", status=1)) == 120
    right = json.dumps({"text": "<|channel|>final<|message|>Hi<|return|>"}) + "\n"
    log.write_text("".join([*wrong[:99], right, *wrong[99:]]))
    assert len(parsed(log, status=1)) == 121


def test_ids_of_two_kinds_stay_what_they_are(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    text = "<|channel|>final<|message|>Hi<|return|>"
    log.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name in (7, "7b", 8)))
    run(log, "--output", tmp_path / "out.parquet")
    assert pa.parquet.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["7", "7b", "8"]
    assert [record["id"] for record in parsed(log)] == [7, "7b", 8]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--tokens", "a..b"),
            "expected a path such as `tokens`, `choices[].token_ids` or `outputs[0].text`, found `a..b`",
        ),
        (("--prompt", "prompts[].ids"), "expected a path to one value for each completion, found `prompts[].ids`"),
        (("--tokens", "a[].b", "--text", "c[].d"), "expected paths over the same lists, found `a[].b` and `c[].d`"),
        (("--prefix", "<|end|>"), "expected a prefix without a stop such as `<|end|>`, found `<|end|>`"),
        (
            ("--prefix", "x", "--prompt", "p"),
            "a prefix and a prompt cannot be used together: the prompt has the whole ",
        ),
        (
            ("--start", "prompt", "--prompt", "p"),
            "a prefix and a prompt stand before a completion, not before a prompt",
        ),
        (("--preset", "vlm"), "expected a preset among vllm, vllm-chat, sglang, openai-batch, llama.cpp, lm-eval, "),
        (("--prompt-messages",), "--prompt-messages needs --prompt, or a preset that knows where prompts are"),
    ],
)
def test_options_that_cannot_be_used(options: tuple[str, ...], told: str) -> None:
    assert run(*options, SHAPES / "flat.jsonl", status=2).startswith(f"harmony: {told}")


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    for options in (("--prompt", "p.q"), ("--finish-reason", "p.q"), ("--prompt", "p"), ("--finish-reason", "p")):
        told = run(*options, SHAPES / "flat.jsonl", "--output", tmp_path / "out.jsonl")
        assert f"harmony: no record has anything at `{options[1]}`\n" in told
    assert "no record" not in run("--preset", "vllm", SHAPES / "vllm.jsonl", "--output", tmp_path / "out.jsonl")
