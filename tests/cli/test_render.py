"""`harmony render` on several files, folders and tables, and conversations of the chat API in any command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.command import PLAIN, harmony, records
from helpers.paths import CONVERSATIONS

IDS = [200006, 1428, 200008, 64, 200007, 200006, 173781]
CHAT = (
    b'{"id":1,"messages":[{"role":"user","content":"Hi"},'
    b'{"role":"assistant","content":%s,"tool_calls":[{"id":"c","function":{"name":"f"}}]},'
    b'{"role":"tool","tool_call_id":"c","content":"5"}]}'
)


def error_of(line: bytes, command: str = "render", *options: str) -> str:
    """What the command tells the only record of a log."""
    done = harmony(command, "-", *options, stdin=line)
    assert done.returncode == 1
    (record,) = records(done.stdout)
    return str(record["error"]["message"])


def test_several_files_and_folders_are_rendered(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.jsonl").write_bytes(PLAIN + b"\n")
    table = pa.table({"id": [7], "messages": [[{"role": "user", "channel": None, "content": "a"}]]})
    pq.write_table(table, tmp_path / "in" / "deep" / "b.parquet")
    done = harmony("render", tmp_path / "in", CONVERSATIONS)
    assert done.returncode == 0
    found = records(done.stdout)
    assert [record["tokens"] for record in found[:2]] == [IDS, IDS]
    assert found[1] == {"id": 7, "tokens": IDS, "role": None, "error": None}
    assert len(found) == 2 + len(CONVERSATIONS.read_bytes().splitlines())
    done = harmony("render", tmp_path / "in", "-o", f"{tmp_path}/out/")
    assert (done.returncode, done.stdout) == (0, b"")
    assert records((tmp_path / "out" / "deep" / "b.jsonl").read_bytes()) == found[1:2]
    assert records((tmp_path / "out" / "a.jsonl").read_bytes()) == found[:1]


def test_two_inputs_are_not_written_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(PLAIN)
    pq.write_table(pa.table({"messages": [[{"role": "user", "content": "a"}]]}), tmp_path / "a.parquet")
    done = harmony("render", tmp_path / "a.jsonl", tmp_path / "a.parquet", "-o", f"{tmp_path}/out/")
    assert done.returncode == 2
    assert b"would be written twice" in done.stderr


def test_messages_are_found_by_their_path() -> None:
    line = b'{"id":1,"request":{"model":"m",%s}' % PLAIN[1:]
    done = harmony("render", "-", "--messages", "request.messages", stdin=line)
    assert records(done.stdout) == [{"id": 1, "request": {"model": "m"}, "tokens": IDS, "role": None, "error": None}]
    assert error_of(line) == "expected a conversation at `messages`, found none - in line 1"


def test_a_table_names_its_columns_where_it_has_no_messages(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "log.parquet")
    done = harmony("render", tmp_path / "log.parquet")
    assert done.returncode == 2
    expected = "expected a conversation at `messages`, found none; the columns are `id`"
    assert done.stderr.decode() == f"harmony: {tmp_path}/log.parquet: {expected}\n"


def test_bad_rows_keep_their_neighbours(tmp_path: Path) -> None:
    kind = pa.list_(pa.struct([("role", pa.string()), ("channel", pa.string()), ("content", pa.string())]))
    good = [{"role": "user", "content": "a"}]
    table = pa.table({"messages": pa.array([good, None, [{"role": "boss", "content": "a"}], good], kind)})
    pq.write_table(table, tmp_path / "log.parquet")
    done = harmony("render", tmp_path / "log.parquet")
    assert done.returncode == 1
    found = records(done.stdout)
    assert [record.get("tokens") for record in found] == [IDS, None, None, IDS]
    assert "boss" in found[2]["error"]["message"]


def test_the_output_stands_where_it_is_put() -> None:
    line = b'{"tokens":5,%s' % PLAIN[1:]
    done = harmony("render", "-", stdin=line)
    assert done.returncode == 2
    assert b"the field `tokens` of the log would be replaced" in done.stderr
    done = harmony("render", "-", "--into", "harmony", stdin=line)
    assert records(done.stdout) == [{"tokens": 5, "harmony": {"tokens": IDS, "role": None, "error": None}}]


def test_single_surrogates_in_messages_are_told() -> None:
    assert "surrogate" in error_of(PLAIN.replace(b'"a"', rb'"\ud800"'))


@pytest.mark.parametrize("content", [b"null", b'""', b'"a"', b'[{"type":"text","text":"a"}]'])
def test_no_command_takes_a_call_of_the_chat_api_for_a_message(content: bytes, tmp_path: Path) -> None:
    line = CHAT % content
    told = (
        "expected messages in the JSON form of openai-harmony, found fields of the OpenAI APIs, which would be lost: "
        "`tool_calls`, `tool_call_id`; `harmony render --from chat` converts them - at `$.messages[1]`"
    )
    assert error_of(line, "render", "--from", "harmony") == f"{told} - in line 1"
    log = tmp_path / "log.jsonl"
    log.write_bytes(line)
    for options in ([], ["--lint"]):
        done = harmony("validate", log, *options, "--format", "json")
        assert [problem["message"] for problem in json.loads(done.stdout)] == [told]
    expected = (
        "expected a completion at `tokens` or `text`, found none, but a conversation of the chat API at `messages`, of "
        "which `harmony render` makes a prompt"
    )
    assert error_of(line, "parse") == f"{expected} - in line 1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("function_call", {"name": "f"}),
        ("refusal", "No."),
        ("reasoning_content", "Hm."),
        ("reasoning", "Hm."),
        ("thinking", "Hm."),
        ("audio", {"id": "a"}),
        ("tool\\u005fcalls", [1]),
    ],
)
def test_each_field_of_the_chat_api_is_named(field: str, value: Any) -> None:
    message = b'{"messages":[{"role":"assistant","content":"a","%s":%s}]}'
    named = json.loads(f'"{field}"')
    line = message % (field.encode(), json.dumps(value).encode())
    assert f"lost: `{named}`; `harmony render" in error_of(line, "render", "--from", "harmony")
    for empty in (b"null", b"[]", b'""', b"{}"):
        line = message % (field.encode(), empty)
        assert harmony("render", "-", "--from", "harmony", stdin=line).returncode == 0


@pytest.mark.parametrize("kind", ["image_url", "input_text", "input_image", "output_text", "refusal", "file"])
def test_parts_of_the_chat_api_are_named(kind: str) -> None:
    content = [{"type": "text", "text": "a"}, {"type": kind, "text": "a"}]
    line = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    assert f"lost: content of type `{kind}`; `harmony" in error_of(line, "render", "--from", "harmony")


def test_other_fields_of_messages_are_ignored() -> None:
    line = b'{"messages":[{"role":"user","content":"a","weight":1,"content_tokens":1,"stop":"end"}]}'
    assert records(harmony("render", "-", "--from", "harmony", stdin=line).stdout)[0]["tokens"] == IDS
