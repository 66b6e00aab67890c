"""`harmony render --for training`: which analysis is kept, `input_ids` and `labels`, and tables."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony import Conversation, HarmonyEncoding, RenderConversationConfig, drop_analysis, training
from harmony.format.choices import Turns
from helpers.command import harmony, records
from helpers.talk import conversation, message, talk

KEEP = RenderConversationConfig(auto_drop_analysis=False)
OPEN = conversation(
    message("user", "Look."),
    message("assistant", "Hm.", channel="analysis"),
    message("assistant", "{}", channel="commentary", recipient="functions.f", content_type="json"),
    message("tool", "2", name="functions.f", channel="commentary", recipient="assistant"),
)


def line(*conversations: Conversation, **fields: Any) -> bytes:
    found = [{"id": number, **fields, **each.to_dict()} for number, each in enumerate(conversations)]
    return b"".join(json.dumps(each).encode() + b"\n" for each in found)


def rendered(*options: str, given: bytes) -> list[dict[str, Any]]:
    done = harmony("render", "-", "--for", "training", *options, stdin=given)
    assert (done.returncode, done.stderr) == (0, b"")
    return records(done.stdout)


def expected(one: Conversation, turns: Turns = "each", config: RenderConversationConfig | None = None) -> list[Any]:
    found = training.examples(one, turns=turns, config=config)
    return [(each.input_ids.tolist(), each.labels().tolist()) for each in found]


def test_the_reasoning_of_the_last_turn_is_kept(encoding: HarmonyEncoding) -> None:
    (last,) = training.examples(talk(), turns="last")
    (record,) = rendered(given=line(talk()))
    assert record["tokens"] == last.input_ids.tolist()
    assert record == {"id": 0, "tokens": record["tokens"], "role": None, "error": None}
    (record,) = rendered(given=line(OPEN))
    assert record["tokens"] == encoding.render_conversation(OPEN)  # what stands behind the turn too
    user = conversation(*talk(), message("user", "And now?"))
    (record,) = rendered(given=line(user))
    assert "Thanks are due." in encoding.decode(record["tokens"])
    assert "Tell it." not in encoding.decode(record["tokens"])


@pytest.mark.parametrize("one", [talk(), OPEN])
def test_the_template_has_its_own_rule(encoding: HarmonyEncoding, one: Conversation) -> None:
    (record,) = rendered("--style", "hf", given=line(one))
    assert record["tokens"] == encoding.render_conversation_for_training(one, RenderConversationConfig(style="hf"))


@pytest.mark.parametrize("one", [talk(), OPEN])
def test_analysis_is_kept_or_dropped_for_any_purpose(encoding: HarmonyEncoding, one: Conversation) -> None:
    for purpose in ("training", "conversation", "completion"):
        options = ("--for", purpose, "--analysis")
        kept, dropped = (rendered(*options, which, given=line(one))[0]["tokens"] for which in ("keep", "drop"))
        assert kept == encoding.render_with_spans(one, KEEP, purpose=purpose).tokens
        assert dropped == encoding.render_with_spans(drop_analysis(one), KEEP, purpose=purpose).tokens


@pytest.mark.parametrize("turns", ["each", "last", "all"])
def test_each_turn_becomes_a_record_with_labels(turns: Turns) -> None:
    options = () if turns == "each" else ("--turns", turns)
    found = rendered("--mask", *options, given=line(talk(), OPEN, kind="chat"))
    one, other = expected(talk(), turns), expected(OPEN, turns)
    assert [(each["input_ids"], each["labels"]) for each in found] == one + other
    assert [each["id"] for each in found] == [0] * len(one) + [1] * len(other)
    assert all(each.keys() == {"id", "kind", "input_ids", "labels", "error"} for each in found)


def test_analysis_of_examples() -> None:
    kept = rendered("--mask", "--analysis", "keep", given=line(talk()))
    assert [(each["input_ids"], each["labels"]) for each in kept] == expected(talk(), config=KEEP)
    dropped = rendered("--mask", "--analysis", "drop", given=line(talk()))
    assert [(each["input_ids"], each["labels"]) for each in dropped] == expected(drop_analysis(talk()))


def test_a_faulty_turn_is_an_error_behind_the_turns_before_it() -> None:
    odd = conversation(*talk(), message("user", "And?"), message("assistant", "What?"))
    silent = conversation(message("user"))
    done = harmony("render", "-", "--for", "training", "--mask", stdin=line(odd, silent, OPEN))
    assert (done.returncode, done.stderr) == (1, b"harmony: 2 bad records, each with its error\n")
    found = records(done.stdout)
    assert [each["id"] for each in found] == [0, 0, 0, 1, 2]
    assert [each.get("input_ids") for each in found[:2]] == [ids for ids, _ in expected(talk())]
    assert (found[2]["error"]["code"], found[2]["error"]["position"]) == ("channel-required", 12)
    told = "expected a message of the assistant, from which to learn, found none - in line 2"
    assert found[3]["error"]["message"] == told
    assert "messages" in found[2]


def test_a_table_of_examples(tmp_path: Path) -> None:
    log, table = tmp_path / "log.jsonl.gz", tmp_path / "examples.parquet"
    silent = conversation(message("user"))
    log.write_bytes(gzip.compress(line(talk(), silent, OPEN, kind="chat")))
    done = harmony("render", log, "--for", "training", "--mask", "-o", table)
    assert (done.returncode, done.stdout) == (1, b"")
    found = pq.read_table(table)
    assert found.schema.field("input_ids").type == found.schema.field("labels").type == pa.list_(pa.int32())
    assert found.column_names == ["id", "kind", "other", "input_ids", "labels", "error"]
    rows = found.to_pylist()
    good = [row for row in rows if row["error"] is None]
    assert [(row["input_ids"], row["labels"]) for row in good] == [*expected(talk()), *expected(OPEN)]
    assert [row["id"] for row in rows] == [0, 0, 1, 2]
    assert (rows[2]["input_ids"], rows[2]["error"]["code"]) == (None, "invalid-record")
    assert "messages" in json.loads(rows[2]["other"])


def test_a_table_of_conversations_keeps_its_columns(tmp_path: Path) -> None:
    source, table = tmp_path / "log.parquet", tmp_path / "examples.arrow"
    days = pa.array([3, 4], pa.date32())
    columns = {"day": days, "tags": [["a"], []], "messages": [each.to_dict()["messages"] for each in (OPEN, OPEN)]}
    pq.write_table(pa.table(columns), source)
    done = harmony("render", source, "--for", "training", "--mask", "-o", table)
    assert (done.returncode, done.stderr) == (0, b"")
    found = pa.ipc.open_file(table).read_all()
    assert found.column_names == ["day", "tags", "input_ids", "labels", "error"]
    assert found.column("day").combine_chunks() == days
    assert found.column("tags").to_pylist() == [["a"], []]
    assert found.column("input_ids").to_pylist() == [expected(OPEN)[0][0]] * 2


def test_prompts_become_a_table_that_can_be_parsed(tmp_path: Path) -> None:
    log, table = tmp_path / "log.jsonl", tmp_path / "prompts.parquet"
    log.write_bytes(line(OPEN))
    assert harmony("render", log, "-o", table).returncode == 0
    parsed = harmony("parse", table)
    (record,) = records(parsed.stdout)
    assert [each["role"] for each in record["messages"]] == ["user", "assistant", "assistant", "tool"]
    texts = tmp_path / "texts.parquet"
    assert harmony("render", log, "--text", "--into", "harmony", "-o", texts).returncode == 0
    (row,) = pq.read_table(texts).to_pylist()
    assert row["harmony"]["text"].endswith("<|start|>assistant")


def test_a_nested_conversation_leaves_the_rest_of_its_column(tmp_path: Path) -> None:
    source, table = tmp_path / "log.parquet", tmp_path / "examples.parquet"
    pq.write_table(pa.table({"request": [{"model": "m", **OPEN.to_dict()}]}), source)
    options = ("--messages", "request.messages", "--for", "training", "--mask", "-o", table)
    assert harmony("render", source, *options).returncode == 0
    (row,) = pq.read_table(table).to_pylist()
    assert json.loads(row["request"]) == {"model": "m"}
    assert row["input_ids"] == expected(OPEN)[0][0]


def test_an_empty_log_becomes_a_table_without_rows(tmp_path: Path) -> None:
    log, table = tmp_path / "log.jsonl", tmp_path / "examples.parquet"
    log.write_bytes(b"")
    assert harmony("render", log, "--for", "training", "--mask", "-o", table).returncode == 0
    found = pq.read_table(table)
    assert (len(found), found.column_names) == (0, ["other", "input_ids", "labels", "error"])


def test_a_column_that_would_be_replaced_is_named(tmp_path: Path) -> None:
    log, table = tmp_path / "log.jsonl", tmp_path / "examples.parquet"
    log.write_bytes(line(OPEN, labels=[1]))
    done = harmony("render", log, "--for", "training", "--mask", "-o", table)
    assert done.returncode == 2
    assert b"the field `labels` of the log would be replaced" in done.stderr
    assert not table.exists()


def test_records_are_counted_once_by_their_shape(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "reasoning": "Hm"}]
    (tmp_path / "a.jsonl").write_bytes(line(talk()))
    (tmp_path / "b.jsonl").write_text(json.dumps({"messages": chat * 3}))
    done = harmony("render", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--for", "training", "--mask")
    assert len(records(done.stdout)) == 2 + 3
    assert b"records of several shapes were read: 1 as harmony and 1 as chat;" in done.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_what_parse_writes_becomes_a_table_of_prompts(tmp_path: Path, suffix: str) -> None:
    parsed, table = tmp_path / f"parsed.{suffix}", tmp_path / "prompts.parquet"
    nested = ("--nested",) if suffix == "parquet" else ()
    log = Path(__file__).parents[1] / "data" / "shapes" / "flat.jsonl"
    assert harmony("parse", "--to", "chat", *nested, log, "-o", parsed).returncode == 0
    done = harmony("render", parsed, "-o", table)  # the field `error` of the log is null
    assert (done.returncode, done.stderr) == (0, b"")
    assert pq.read_table(table).column("tokens").null_count == 0
