"""`harmony stats` on logs of all shapes: by the values of a field, of some records, and of what is not parsed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony.logs import choosing
from harmony.logs.inputs import Reader
from helpers.command import harmony, records
from helpers.paths import DATA, SAMPLE

GOOD: dict[str, Any] = {"text": "<|channel|>final<|message|>Hi<|return|>"}
CUT: dict[str, Any] = {"text": "<|channel|>final<|message|>Hi"}
SHAPES = DATA / "shapes"


def counted(*arguments: str | Path, status: int = 0) -> dict[str, Any]:
    done = harmony("stats", "--json", *arguments)
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def written(path: Path, made: list[dict[str, Any]]) -> Path:
    """The records as lines, or as a table if the suffix says so."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(made), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in made))
    return path


def groups(found: dict[str, Any]) -> list[tuple[Any, str, int, int]]:
    return [
        (group["value"], group["kind"], group["counts"]["conversations"], group["counts"]["complete"])
        for group in found["groups"]
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_by_a_field(tmp_path: Path, suffix: str) -> None:
    made = [{**GOOD, "meta": {"model": "b"}}] * 3 + [{**CUT, "meta": {"model": "a"}}] * 2
    made += [{**GOOD, "meta": {"model": None}}]
    log = written(tmp_path / f"log.{suffix}", made)
    found = counted(log, "--by", "meta.model")
    assert found["by"] == "meta.model"
    assert groups(found) == [("b", "value", 3, 3), ("a", "value", 2, 0), (None, "value", 1, 1)]
    assert found["total"] == counted(log)
    assert found["groups"][0]["counts"] == counted(written(tmp_path / f"b.{suffix}", made[:3]))
    tables = harmony("stats", log, "--by", "meta.model").stdout.decode()
    assert "meta.model: b" in tables
    assert tables.count("Content tokens") == tables.count("Tool calls") == 0
    assert tables.count("Conversations: ") == 3


def test_by_values_of_any_kind(tmp_path: Path) -> None:
    values: list[Any] = ["5", 5, 5.5, True, None, {"a": [1]}, "x" * 300, "", "(all others)", "[b]"]
    log = written(tmp_path / "log.jsonl", [*({**GOOD, "v": value} for value in values), GOOD])
    with log.open("ab") as file:
        file.write(b"nope\n")
    found = counted(log, "--by", "v", status=1)
    kept = {(json.dumps(group["value"]), group["kind"]): group["counts"]["conversations"] for group in found["groups"]}
    values[6] = "x" * 255 + "…"
    assert kept == {**{(json.dumps(value), "value"): 1 for value in values}, ("null", "missing"): 2}
    tables = harmony("stats", log, "--by", "v", COLUMNS="400").stdout.decode()
    for label in ('"5"', "5", "5.5", "true", "null", '{"a":[1]}', '""', "[b]", "(missing)"):
        assert f"\n  {label} " in tables


def test_by_too_many_values(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [{**GOOD, "id": f"id{number}"} for number in range(250)] * 2)
    found = counted(log, "--by", "id")
    assert len(found["groups"]) == 101
    assert groups(found)[0] == (None, "others", 300, 300)
    assert {group["counts"]["conversations"] for group in found["groups"][1:]} == {2}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_by_a_field_of_each_completion(tmp_path: Path, suffix: str) -> None:
    record = {"model": "m", "choices": [{**GOOD, "kind": "a"}, {**CUT, "kind": "b"}, {**GOOD, "kind": "a"}]}
    log = written(tmp_path / f"log.{suffix}", [record, {"model": "n", "choices": [{**GOOD, "kind": "b"}]}])
    arguments = (log, "--text", "choices[].text")
    assert groups(counted(*arguments, "--by", "choices[].kind")) == [("a", "value", 2, 2), ("b", "value", 2, 1)]
    assert groups(counted(*arguments, "--by", "model")) == [("m", "value", 3, 2), ("n", "value", 1, 1)]


def test_by_a_field_that_does_not_exist(tmp_path: Path) -> None:
    for suffix in ("jsonl", "parquet"):
        log = written(tmp_path / f"log.{suffix}", [{**GOOD, "model": "a"}])
        done = harmony("stats", log, "--by", "modle")
        assert (done.returncode, done.stdout) == (2, b"")
        fields = "the fields of the first record are `text`, `model`"
        assert done.stderr.decode() == f"harmony: no record has the field `modle`; {fields}\n"
    for path, words in (("a[]", "leads to one value for each completion"), ("a..b", "expected a path")):
        done = harmony("stats", log, "--by", path)
        assert done.returncode == 2
        assert words in done.stderr.decode()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_first_records(tmp_path: Path, suffix: str) -> None:
    log = written(tmp_path / f"log.{suffix}", [{**GOOD, "id": number} for number in range(50)])
    assert counted(log, log, "--limit", "70")["conversations"] == 70
    assert counted(log, "--limit", "70")["conversations"] == 50
    for workers in ("1", "2"):
        done = harmony("parse", log, "--limit", "7", "--workers", workers)
        assert [record["id"] for record in records(done.stdout)] == list(range(7))
    target = tmp_path / "out.parquet"
    assert harmony("parse", log, "--limit", "7", "-o", target).returncode == 0
    assert pq.read_table(target).column("id").to_pylist() == list(range(7))


def test_blank_lines_are_no_records(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [json.dumps({**GOOD, "id": number}) for number in range(30)]
    log.write_text("\n\n" + "\n \r\n".join(lines))
    for options, count in ((["--limit", "7"], 7), (["--sample", "9"], 9), (["--sample", "99"], 30)):
        assert len(records(harmony("parse", log, *options).stdout)) == count


def test_what_is_behind_the_limit_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes((json.dumps(GOOD).encode() + b"\n") * 40_000 + b"nope\n")
    assert counted(log, "--limit", "100")["bad"] == 0
    assert counted(log, "--limit", "40001", status=1)["bad"] == 1


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_sample(tmp_path: Path, suffix: str) -> None:
    made = [{**GOOD, "id": number} for number in range(3_000)]
    logs = [written(tmp_path / f"{name}.{suffix}", some) for name, some in (("a", made[:1000]), ("b", made[1000:]))]
    first, second = (harmony("parse", *logs, "--sample", "60", "--workers", workers) for workers in ("1", "2"))
    assert first.stdout == second.stdout
    drawn = [record["id"] for record in records(first.stdout)]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 60
    assert 8 <= sum(number < 1_000 for number in drawn) <= 32
    assert counted(*logs, "--sample", "60")["conversations"] == 60
    within = records(harmony("parse", *logs, "--sample", "60", "--limit", "100").stdout)
    assert len(within) == 60
    assert max(record["id"] for record in within) < 100


def test_every_record_has_the_same_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Counter[int] = Counter()
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(b"%d\n" % number for number in range(120)))
    for seed in range(400):
        monkeypatch.setattr(choosing, "_SEED", seed)
        for piece in choosing.chosen(Reader([str(log)]), choosing.Choice(sample=3)):
            assert isinstance(piece.data, bytes)
            for place, line in enumerate(piece.data.split(b"\n")):
                if line:
                    assert int(line) == piece.first + place - 1
                    drawn[int(line) // 10] += 1
    assert drawn.total() == 1_200
    assert 60 < min(drawn.values()) <= max(drawn.values()) < 140  # 100 is expected, with a deviation of 9.6


def test_errors_of_a_sample_name_their_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(b"nope%d\n" % number for number in range(1, 5_001)))
    found = records(harmony("parse", log, "--sample", "40", "--keep-going").stdout)
    numbers = [record["error"]["message"].rsplit("line ")[1].replace(",", "") for record in found]
    assert len(set(numbers)) == 40
    assert all("nope" not in number and 1 <= int(number.split()[0]) <= 5_000 for number in numbers)
    assert max(map(int, numbers)) > 4_000


def test_some_records_cannot_be_resumed(tmp_path: Path) -> None:
    for option in ("--limit", "--sample"):
        done = harmony("parse", SAMPLE, option, "3", "-o", tmp_path / "x.jsonl", "--resume")
        assert done.stderr.decode() == f"harmony: {option} cannot be used with --resume\n"


def broken_log(tmp_path: Path) -> Path:
    """The sample log, with records that are repaired, cut, and bad."""
    made = [json.loads(line) for line in SAMPLE.read_bytes().splitlines()]
    made += [CUT, {"text": "<|channel|>fin"}, {"text": "I can't."}, {"text": 5}, {"tokens": [200_005, 17_196]}]
    for number, record in enumerate(made):
        record["model"] = f"m{number % 3}"
    return written(tmp_path / "log.jsonl", made)


def without_tokens(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts that lines of parsed output have."""
    names = ("conversations", "complete", "truncated", "repaired", "bad", "tool_calls", "repairs", "errors")
    kept = {name: counts[name] for name in (*names, "conversation_messages")}
    return {**kept, "channels": {item["channel"]: item["roles"] for item in counts["channels"]}}


@pytest.mark.parametrize("into", [[], ["--into", "harmony"]])
@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "arrow", "nested.parquet"])
def test_what_parse_wrote_is_counted(tmp_path: Path, kind: str, into: list[str]) -> None:
    log, output = broken_log(tmp_path), tmp_path / f"out.{kind}"
    nested = ["--nested"] if "nested" in kind else []
    assert harmony("parse", log, "-o", output, *nested, *into).returncode == 1
    if kind == "parquet":  # conversations that are cut by the reader
        pq.write_table(pq.read_table(output), output, row_group_size=2)
    direct = counted(log, "--by", "model", status=1)
    done = harmony("stats", "--json", output, "--by", "model", *into)
    assert done.returncode == 1
    said = done.stderr.decode().splitlines()
    assert said[0] == "harmony: 45 records hold the output of harmony parse, and nothing was parsed there"
    assert said[1].startswith("harmony: 45 records, 109 messages, ")
    found = json.loads(done.stdout)
    for one, other in zip(
        [found["total"], *(group["counts"] for group in found["groups"])],
        [direct["total"], *(group["counts"] for group in direct["groups"])],
        strict=True,
    ):
        assert without_tokens(one) == without_tokens(other)
        if kind.startswith("jsonl"):
            assert one["no_stop"] == one["cut_in_header"] == 0
            assert not any(item["content_tokens"]["count"] for item in one["channels"])
        else:
            for name in ("channels", "other_content_tokens", "no_stop", "cut_in_header"):
                assert one[name] == other[name]
    assert direct["total"]["no_stop"] > 0 < direct["total"]["cut_in_header"]
    few = counted(output, "--limit", "7", *into)
    assert without_tokens(few) == without_tokens(counted(log, "--limit", "7"))
    some = counted(output, "--sample", "20", *into, status=0)
    assert without_tokens(some) == without_tokens(counted(log, "--sample", "20", status=0))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_conversations_are_counted(tmp_path: Path, suffix: str) -> None:
    made = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "channel": "final", "content": "Ho"}]},
        {"messages": [{"role": "wizard", "content": "Hi"}]},
    ]
    log = written(tmp_path / f"log.{suffix}", [{"chat": record, "model": "m"} for record in made])
    found = counted(log, "--messages", "chat.messages", "--by", "model", status=1)["total"]
    assert (found["conversations"], found["complete"], found["bad"]) == (2, 1, 1)
    assert {item["channel"]: item["roles"] for item in found["channels"]} == {
        None: {"user": 1},
        "final": {"assistant": 1},
    }
    flat = written(tmp_path / f"flat.{suffix}", made[:1])
    done = harmony("stats", flat)
    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[:2] == [
        "harmony: 1 record holds a conversation, and nothing was parsed there",
        "harmony: 1 record, 2 messages, 0 tokens",
    ]


def test_a_log_of_everything(tmp_path: Path) -> None:
    log, output, mixed = broken_log(tmp_path), tmp_path / "out.jsonl", tmp_path / "mixed.jsonl"
    harmony("parse", log, "-o", output)
    conversation = b'{"messages":[{"role":"user","content":"a"}]}\n'
    mixed.write_bytes(conversation + output.read_bytes() + conversation + log.read_bytes() + conversation)
    both, once = counted(mixed, status=1), counted(log, status=1)
    assert both["conversations"] == 2 * once["conversations"] + 3
    assert both["complete"] == 2 * once["complete"] + 3
    assert both["errors"] == {code: 2 * count for code, count in once["errors"].items()}
    assert both["repairs"] == {code: 2 * count for code, count in once["repairs"].items()}
    assert both["conversation_tokens"] == once["conversation_tokens"]


def test_against_another_log(tmp_path: Path) -> None:
    one = written(tmp_path / "one.jsonl", [GOOD] * 50 + [CUT] * 50)
    other = written(tmp_path / "other.jsonl", [GOOD] * 80)
    done = harmony("stats", one, "--against", other)
    assert done.returncode == 0
    for line in ("here: 100 records, 100 messages, 0 tokens", "against: 80 records, 80 messages, 0 tokens"):
        assert f"harmony: {line}\n" in done.stderr.decode()
    assert "Shares that moved, in %: 100 conversations against 80" in done.stdout.decode()
    found = counted(one, "--against", other)
    first = found["shares"][0]
    assert (first["of"], first["name"], first["difference"]) == ("conversations", "no stop", 0.5)
    other.write_bytes(b"nope\n")
    assert harmony("stats", one, "--against", other).returncode == 1
    for option in (["--by", "model"], ["--plot", str(tmp_path / "x.svg")]):
        done = harmony("stats", one, "--against", other, *option)
        assert done.stderr.decode() == f"harmony: --against cannot be used with {option[0]}\n"


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("command", [["parse", "-o", "out.jsonl"], ["parse", "-o", "out.parquet"], ["stats"]])
def test_texts_without_markers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bare = {"text": "analysisHm.assistantfinalHi"}
    hint = "texts without any marker such as <|end|>: --stripped guesses where they stood"
    for count, is_told in ((3, True), (2, False)):
        log = written(tmp_path / f"log.{suffix}", [bare] * count + [GOOD, CUT])
        said = harmony(*command, log).stderr.decode()
        assert (f"harmony: {count} {hint}\n" in said) is is_told
    assert "--stripped" not in harmony(*command, log, "--stripped").stderr.decode()
    # A text that is broken in another way, ids, and a lead that has the markers.
    broken = written(tmp_path / f"log.{suffix}", [{"text": "<|channel|>fin"}] * 3)
    assert "--stripped" not in harmony(*command, broken).stderr.decode()
    log = written(tmp_path / f"log.{suffix}", [{"text": "Hm.assistantfinalHi"}] * 3)
    said = harmony(*command, log, "--prefix", "<|channel|>analysis<|message|>").stderr.decode()
    assert "--stripped" not in said
