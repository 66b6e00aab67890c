"""`harmony parse --structured`: prompts of logs become conversations with fields, and the same prompts again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony import Conversation, HarmonyEncoding, Message, RenderConversationConfig, Role, SystemContent
from helpers.command import harmony
from helpers.talk import talk

PROMPTS: Final = ("--prompt", "prompt", "--prompt-messages", "--structured")


def prompts(encoding: HarmonyEncoding, **config: Any) -> list[list[int]]:
    """The prompts of two conversations. The first one has defaults, and the second one has none of them."""
    _, developer, user, *_ = talk().messages
    bare = Message.from_role_and_content(Role.SYSTEM, SystemContent(None, None, None, "2024-06", None, None))
    found = [talk().messages[:3], [bare, developer, user]]
    settings = RenderConversationConfig(**config)
    return [
        encoding.render_conversation_for_completion(Conversation.from_messages(each), Role.ASSISTANT, settings)
        for each in found
    ]


def log(encoding: HarmonyEncoding, path: Path, rows: list[list[int]]) -> Path:
    completion = encoding.encode("<|channel|>final<|message|>4<|return|>", allowed_special="all")
    records = [{"prompt": each, "tokens": completion} for each in rows]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.parametrize("options", [(), ("--style", "hf"), ("--schemas", "full"), ("--style", "oss")])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_prompts_become_conversations_and_prompts_again(
    encoding: HarmonyEncoding, tmp_path: Path, suffix: str, options: tuple[str, ...]
) -> None:
    made = prompts(encoding, **{options[0].removeprefix("--"): options[1]} if options else {})
    parsed = harmony("parse", log(encoding, tmp_path / f"log.{suffix}", made), *PROMPTS, *options)
    assert parsed.returncode == 0, parsed.stderr
    for record in lines(parsed.stdout):
        system, developer, user = record["prompt_messages"]
        assert [part["type"] for part in system["content"] + developer["content"] + user["content"]] == [
            "system_content",
            "developer_content",
            "text",
        ]
        assert record["messages"][0]["content"] == [{"type": "text", "text": "4"}]
    rendered = harmony("render", "--messages", "prompt_messages", *options, stdin=parsed.stdout)
    assert [record["tokens"] for record in lines(rendered.stdout)] == made


def test_the_messages_of_a_whole_conversation_are_read_too(encoding: HarmonyEncoding, tmp_path: Path) -> None:
    tokens = encoding.render_conversation(talk(), RenderConversationConfig(auto_drop_analysis=False))
    path = tmp_path / "log.jsonl"
    path.write_text(f'{json.dumps({"tokens": tokens})}\n{{"tokens": [200006]}}\n{{"tokens": "x"}}\n')
    found = lines(harmony("parse", "--start", "conversation", "--structured", path).stdout)
    assert Conversation.from_dict(found[0]).messages == talk().messages
    assert found[1]["messages"] == []
    assert found[2]["messages"] is None
    table = tmp_path / "out.parquet"
    harmony("parse", "--start", "conversation", "--structured", "--nested", path, "-o", table)
    column = pq.read_table(table).column("messages").to_pylist()
    assert [None if each is None else json.loads(each) for each in column] == [each["messages"] for each in found]


def test_what_has_no_place_is_refused(encoding: HarmonyEncoding, tmp_path: Path) -> None:
    path = log(encoding, tmp_path / "log.jsonl", prompts(encoding))
    flat = harmony("parse", "--structured", path, "-o", tmp_path / "out.parquet")
    assert flat.returncode == 2
    assert b"--structured has no row for each message: use --nested" in b" ".join(flat.stderr.split())
    alone = harmony("parse", "--style", "hf", path)
    assert alone.returncode == 2
    assert b"--style needs --structured" in alone.stderr


def test_the_option_belongs_to_the_run(encoding: HarmonyEncoding, tmp_path: Path) -> None:
    path, output = log(encoding, tmp_path / "log.jsonl", prompts(encoding)), tmp_path / "out.jsonl"
    assert harmony("parse", path, *PROMPTS, "--style", "hf", "-o", output).returncode == 0
    again = harmony("parse", path, *PROMPTS, "--style", "hf", "-o", output, "--resume")
    assert b"already complete" in again.stderr
    assert harmony("parse", path, *PROMPTS, "-o", output, "--resume").returncode == 2
