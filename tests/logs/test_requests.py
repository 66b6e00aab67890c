"""Conversations in the shapes of the OpenAI APIs at the command line: `harmony render --from`, `harmony parse --to`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony import Conversation, chat, load_harmony_encoding, responses
from helpers.command import harmony, records
from helpers.paths import DATA
from logs.test_shapes import RENDERED

SHAPES = DATA / "shapes"
FINE_TUNING, BATCH, REQUESTS = (
    SHAPES / f"{name}.jsonl" for name in ("fine-tuning", "batch-input", "responses-requests")
)
FLAT = SHAPES / "flat.jsonl"
ENCODING = load_harmony_encoding("HarmonyGptOss")
USER = {"role": "user", "content": "Hi"}
BRIEF = {"role": "system", "content": "Be brief."}
CALL = {"id": "c", "type": "function", "function": {"name": "sky", "arguments": "{}"}}


def prompt(conversation: Conversation) -> list[int]:
    return ENCODING.render_conversation_for_completion(conversation, "assistant")


def rendered(*arguments: str | Path, status: int = 0, given: Any = None) -> list[dict[str, Any]]:
    stdin = b"" if given is None else json.dumps(given).encode()
    done = harmony("render", *arguments, *(() if given is None else ("-",)), stdin=stdin)
    assert done.returncode == status, done.stderr.decode()
    return records(done.stdout)


def parsed(*arguments: str | Path, status: int = 0, stdin: bytes = b"") -> list[dict[str, Any]]:
    done = harmony("parse", *arguments, stdin=stdin)
    assert done.returncode == status, done.stderr.decode()
    return records(done.stdout)


def of_chat(request: dict[str, Any]) -> list[int]:
    functions = [{"type": "function", "function": each} for each in request.get("functions", ())]
    given = {name: request[name] for name in ("response_format", "reasoning_effort") if name in request}
    return prompt(chat.to_harmony(request["messages"], tools=[*request.get("tools", ()), *functions], **given))


# --- from chats to prompts


@pytest.mark.parametrize("options", [(), ("--from", "chat")])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_data_set_of_chats_becomes_prompts(options: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    log, chats = FINE_TUNING, records(FINE_TUNING.read_bytes())
    if suffix == "parquet":
        log = tmp_path / "chats.parquet"
        polars.from_dicts(chats, infer_schema_length=None).write_parquet(log)
    found = rendered(*options, log)
    assert [record["tokens"] for record in found] == [of_chat(each) for each in chats]
    assert "messages" not in found[0]
    assert found[0]["tools"][0]["function"]["name"] == "get_forecast"
    assert all(record["role"] is None for record in found)


def test_a_batch_has_requests_of_both_apis() -> None:
    first, _, last = (record["body"] for record in records(BATCH.read_bytes()))
    for path in ("body", "body.messages"):
        found = rendered("--messages", path, BATCH, status=1)
        assert found[0]["tokens"] == of_chat(first)
        assert found[0]["body"] == {name: value for name, value in first.items() if name != "messages"}
        assert found[1]["error"] == {
            "code": "unsupported-content",
            "message": "expected a part of type `text` or `input_text`, found `image_url`, which Harmony has no place "
            "for - at `body.messages[0].content[1]` - in line 2",
            "position": None,
        }
        assert found[1]["body"]["messages"][0]["content"][1]["type"] == "image_url"
        assert found[2]["tokens"] == prompt(responses.to_harmony(last["input"], instructions=last["instructions"]))
        assert found[2]["body"] == {"model": "gpt-oss-20b", "instructions": "Answer with one word."}


def test_the_guide_renders_each_file() -> None:
    assert {name for name, _ in RENDERED} == {FINE_TUNING.name, BATCH.name, REQUESTS.name}
    for name, options in RENDERED:
        found = rendered(*options, SHAPES / name, status=int(name != FINE_TUNING.name))  # the others have a bad record
        assert found[0]["tokens"]


def test_a_log_of_requests_becomes_prompts() -> None:
    for options in ((), ("--from", "responses")):
        first, second, third = rendered(*options, REQUESTS, status=1)
        given, text, _ = records(REQUESTS.read_bytes())
        fields = {name: given[name] for name in ("instructions", "tools", "text", "reasoning")}
        assert first["tokens"] == prompt(responses.to_harmony(given["input"], **fields))
        assert second["tokens"] == prompt(responses.to_harmony(text["input"]))
        assert third["error"]["code"] == "unsupported-field"  # the rest of its conversation is stored elsewhere
        assert "`previous_response_id`" in third["error"]["message"]


def test_each_request_of_a_list_has_its_own_tools() -> None:
    requests = records(FINE_TUNING.read_bytes())[:2]
    found = rendered("--messages", "requests[].messages", given={"requests": requests})
    assert [record["tokens"] for record in found] == [of_chat(each) for each in requests]
    assert found == [
        {**record, "requests": [{key: value for key, value in each.items() if key != "messages"}]}
        for record, each in zip(found, requests, strict=True)
    ]
    assert found == rendered("--messages", "requests[]", given={"requests": requests})
    [only] = rendered("--messages", "chats[0]", given={"chats": [[BRIEF, USER], [USER]]})
    assert (only["tokens"], only["chats"]) == (prompt(chat.to_harmony([BRIEF, USER])), [[USER]])


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        ({"messages": [USER]}, "harmony"),
        ({"messages": [USER], "model": "gpt-oss-20b"}, "chat"),
        ({"messages": [BRIEF, USER]}, "chat"),
        ({"messages": [USER, {"role": "assistant", "content": "Hi."}]}, "chat"),
        ({"messages": [USER], "tools": json.dumps([{"type": "function", "function": {"name": "sky"}}])}, "chat"),
        ({"messages": json.dumps([USER])}, "chat"),
        ({"messages": [{**USER, "channel": None}]}, "harmony"),
        ({"messages": [{"role": "user", "name": None, "content": [{"type": "text", "text": "Hi"}]}]}, "harmony"),
        ({"messages": [{"role": "system", "content": [{"type": "system_content"}]}]}, "harmony"),
        ({"messages": [{"role": "user", "name": "Mia", "content": [{"type": "text", "text": "Hi"}]}]}, "harmony"),
        ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]}, "chat"),
        ({"messages": [{"type": "message", **USER}]}, "responses"),
        ({"input": [USER]}, "responses"),
        ({"input": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}]}, "chat"),
        ({"input": "Hi", "model": "gpt-oss-20b"}, "responses"),
    ],
)
def test_the_shape_is_found_out(record: dict[str, Any], shape: str) -> None:
    [found] = rendered(given=record)
    assert found["error"] is None
    assert [found] == rendered("--from", shape, given=record)
    others = [rendered("--from", other, given=record, status=status) for other, status in _others(record, shape)]
    assert all(other.get("tokens") != found["tokens"] for [other] in others)


def _others(record: dict[str, Any], shape: str) -> list[tuple[str, int]]:
    """The other shape that each record might be taken for, with the status that it gives."""
    if shape == "harmony":
        return [("chat", int("system_content" in str(record)))]
    [given, *_] = record.values()
    return [("harmony", int(isinstance(given, str) or "tool_calls" in str(record)))]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            {"instruction": "Translate.", "input": "Hello", "output": "Bonjour"},
            "expected `model` or `instructions` beside an input that is only a text, as in a request of the Responses "
            "API, found neither; say what it is with `--from`, or where the messages are with `--messages` - at ",
        ),
        (
            {"messages": [{**USER, "channel": "final"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}]},
            "expected messages of one shape, found `channel` of harmony and `tool_calls` of chat; say which it is with "
            "`--from`: harmony, chat or responses - at `messages`",
        ),
        ({"messages": {"a": 1}}, "expected a list of messages, or a request with `messages` or `input`, found an "),
        ({"messages": [USER, 7]}, "Expected `object`, got `int` - at `$.messages[1]`"),
        ({"messages": 7}, "Expected `array`, got `int` - at `$.messages`"),
        ({"messages": "Hi"}, "expected a list of messages, found a text - at `messages`"),
        ({"messages": [USER], "tools": ["search"]}, "expected an object, found `search` - at `tools[0]`"),
    ],
)
def test_what_is_no_conversation_is_told(record: dict[str, Any], told: str) -> None:
    done = harmony(
        "render", "-", stdin=b"\n".join(json.dumps(each).encode() for each in ({"messages": [BRIEF, USER]}, record))
    )
    good, bad = records(done.stdout)
    assert (good["tokens"], good["error"]) == (prompt(chat.to_harmony([BRIEF, USER])), None)
    assert bad["error"]["message"].startswith(told)
    assert bad["error"]["message"].endswith(" - in line 2")
    assert {name: bad[name] for name in record} == record


def test_a_run_says_where_it_read_two_shapes() -> None:
    lines = [{"messages": [BRIEF, USER]}, {"messages": [USER]}, {"messages": [BRIEF, USER]}]
    given = b"\n".join(json.dumps(each).encode() for each in lines)
    told = b"harmony: records of several shapes were read: 2 as chat and 1 as harmony; --from says the shape of all\n"
    assert harmony("render", "-", stdin=given).stderr == told
    assert harmony("render", "-", "--from", "harmony", stdin=given).stderr == b""


def test_single_surrogates_in_a_chat_are_told() -> None:
    done = harmony("render", "-", stdin=rb'{"messages":[{"role":"user","content":"\ud800"}]}')
    [record] = records(done.stdout)
    assert record["error"]["code"] == "lone-surrogate"


# --- from completions to chats


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_of_completions_becomes_chats(workers: str) -> None:
    flat = records(FLAT.read_bytes())
    results = [
        ENCODING.parse_text(each["text"], "assistant", strict=False)
        if "text" in each
        else ENCODING.parse(each["tokens"], "assistant", strict=False)
        for each in flat
    ]
    found = parsed("--to", "chat", "--workers", workers, FLAT)
    replies = [chat.completion(result, model="gpt-oss")["choices"][0]["message"] for result in results]
    assert [record["messages"] for record in found] == [[reply] for reply in replies]
    assert [record["messages"] for record in found] == [chat.from_harmony(result.messages) for result in results]
    found = parsed("--to", "responses", "--workers", workers, FLAT)
    outputs = [responses.response(result, model="gpt-oss")["output"] for result in results]
    assert [record["messages"] for record in found] == outputs
    assert outputs[-1][-1]["status"] == "incomplete"


def test_chats_become_prompts_again() -> None:
    chats = harmony("parse", "--to", "chat", FLAT).stdout
    for record, each in zip(records(harmony("render", "-", stdin=chats).stdout), records(chats), strict=True):
        assert record["tokens"] == prompt(chat.to_harmony(each["messages"]))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("shape", ["chat", "responses"])
def test_a_table_holds_messages_as_json(shape: str, suffix: str, tmp_path: Path) -> None:
    log, table = FLAT, tmp_path / "out.parquet"
    if suffix == "parquet":
        log = tmp_path / "log.parquet"
        polars.read_ndjson(FLAT).write_parquet(log)
    done = harmony("parse", "--to", shape, log, "-o", table)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"harmony: --to {shape} has no row for each message: use --nested")
    lines = parsed("--to", shape, log)
    parsed("--to", shape, "--nested", log, "-o", table)
    column = pq.read_table(table).column("messages")
    assert [json.loads(text) for text in column.to_pylist()] == [record["messages"] for record in lines]
    prompts = rendered(table)
    assert [record["tokens"] for record in prompts] == [
        record["tokens"] for record in records(harmony("render", "-", stdin=_written(lines)).stdout)
    ]
    parsed("--to", shape, "--nested", "--into", "harmony", log, "-o", table)
    assert pq.read_table(table).column("harmony").combine_chunks().field("messages").to_pylist() == column.to_pylist()


def _written(lines: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


def test_a_call_that_is_cut_off_is_told() -> None:
    line = json.dumps({"text": '<|channel|>commentary to=functions.sky<|message|>{"at": '}).encode()
    [record] = parsed("--to", "chat", "-", stdin=line)
    assert record["messages"] == [{"role": "assistant", "content": None}]
    assert record["complete"] is False
    assert [found["code"] for found in record["diagnostics"]] == ["cut-call"]
    [record] = parsed("--to", "responses", "-", stdin=line)
    assert [(item["arguments"], item["status"]) for item in record["messages"]] == [('{"at": ', "incomplete")]
    assert record["diagnostics"] is None
    reasoned = json.dumps({**json.loads(line), "reason": "stop"}).encode()
    [record] = parsed("--to", "chat", "--finish-reason", "reason", "-", stdin=reasoned)
    assert record["messages"][0]["tool_calls"][0]["function"]["arguments"] == '{"at": '


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_conversation_is_no_reply(suffix: str, tmp_path: Path) -> None:
    lines = [{"text": "<|channel|>final<|message|>Hi<|return|>"}, {"text": "<|start|>user<|message|>Hi<|end|>"}]
    log = tmp_path / f"log.{suffix}"
    if suffix == "jsonl":
        log.write_bytes(_written(lines))
    else:
        pq.write_table(pa.Table.from_pylist(lines), log)
    good, bad = parsed("--to", "chat", log, status=1)
    assert good["messages"] == [{"role": "assistant", "content": "Hi"}]
    assert bad["text"] == lines[1]["text"]
    assert bad["error"]["message"].startswith(
        "expected messages of the assistant alone for `--to chat`, found one of role `user`; `--to harmony` writes all"
    )
    table = tmp_path / "out.parquet"
    parsed("--to", "chat", "--nested", log, "-o", table, status=1)
    assert pq.read_table(table).column("messages").to_pylist() == ['[{"role":"assistant","content":"Hi"}]', None]


def test_the_messages_of_a_prompt_stay_those_of_harmony() -> None:
    log = SHAPES / "prefilled.jsonl"
    options = ("--tokens", "completion", "--prompt", "prompt", "--prompt-messages", log)
    for as_chat, plain in zip(parsed("--to", "chat", *options), parsed(*options), strict=True):
        assert as_chat["prompt_messages"] == plain["prompt_messages"]
        assert [message["role"] for message in as_chat["prompt_messages"]] == ["system", "user"]
        assert as_chat["messages"][0]["content"] == plain["messages"][-1]["content"][0]["text"]


def test_the_shape_belongs_to_the_run(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    parsed("--to", "chat", FLAT, "-o", output, "--resume")
    assert b"already complete" in harmony("parse", "--to", "chat", FLAT, "-o", output, "--resume").stderr
    assert harmony("parse", FLAT, "-o", output, "--resume").returncode == 2
