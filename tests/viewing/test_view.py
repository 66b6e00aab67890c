"""`harmony view` and `harmony.show`: which records are shown, and how."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harmony as library
from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    Role,
    SystemContent,
)
from harmony.format.vocabulary import START
from harmony.viewing.lines import lines
from harmony.viewing.shown import shown_source
from harmony.viewing.terminal import all_lines
from helpers.command import harmony, on_a_terminal
from helpers.paths import ROOT
from helpers.texts import HOSTILE

SAMPLE = ROOT / "examples" / "completions.jsonl"
REPLY = '<|channel|>commentary to=functions.sky json<|message|>{"place":"Zürich"}<|call|>'


def shown(*arguments: str | Path, **options: Any) -> str:
    done = harmony("view", *arguments, **options)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout.decode()


@pytest.fixture
def log(tmp_path: Path, encoding: HarmonyEncoding) -> Path:
    """Completions as ids and as text, conversations in three shapes, a broken reply, and two bad records."""
    records: list[Any] = [
        {"id": "call", "tokens": encoding.encode(REPLY, allowed_special="all")},
        {"id": 7, "text": "<|channel|>final<|message|>Hi<|return|>"},
        {"id": "broken", "tokens": encoding.encode("<|channel|>final Blue.<|return|>", allowed_special="all")},
        {"id": "harmony", "messages": [{"role": "user", "content": "Hm?", "channel": None}]},
        {"id": "chat", "messages": [{"role": "system", "content": "x\n" * 400}, {"role": "user", "content": "Why?"}]},
        {"id": "request", "model": "gpt-oss-20b", "input": [{"type": "message", "role": "user", "content": "How?"}]},
        {"id": "none"},
        {"id": "image", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_log_of_all_shapes(log: Path) -> None:
    done = harmony("view", log)
    assert (done.returncode, done.stderr) == (1, b"harmony: 2 bad records, each with its error\n")
    text = done.stdout.decode()
    titles = [line for line in text.splitlines() if line.startswith("── ")]
    names = ["call", "7", "broken", "harmony", "chat", "request", "none", "image"]
    assert [title.split(" · ")[1].split(" (")[0] for title in titles] == names
    assert (
        'json  17 tokens, <|call|>\n  {"place":"Zürich"}\n  set out:\n    {\n      "place": "Zürich"\n    }\n' in text
    )
    assert "assistant · final  <|return|>\n  Hi\n" in text
    assert "! missing-message at token 2: " in text
    assert all(f"  {word}?\n" in text for word in ("Hm", "Why", "How"))
    assert "error invalid-record: expected a completion at `tokens` or `text`, found none" in text
    assert "error unsupported-content: " in text


def test_a_record_is_chosen_by_its_number_or_its_id(log: Path) -> None:
    assert shown(log, "--record", "4") == shown(log, "--id", "harmony")
    assert shown(log, "--id", "7").startswith("── line 2 · 7\n")
    assert "more characters: --record 5 shows them" in harmony("view", log).stdout.decode()
    assert shown(log, "--id", "chat").count("x\n") == 400
    for options, wanted in (
        (["--record", "99"], "the number 99"),
        (["--id", "\x1b"], r"the id `\x1b`"),
        (["--record", "1", "--id", "chat"], "the number 1 and the id `chat`"),
    ):
        done = harmony("view", log, *options)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.decode() == f"harmony: expected a record with {wanted}, found none\n"


def test_only_the_first_records(log: Path) -> None:
    assert shown(log, "--limit", "2").count("── ") == 2


def test_ids_stand_below_their_tokens(log: Path, encoding: HarmonyEncoding) -> None:
    text = shown(log, "--record", "1", "--ids")
    rows = [line.split() for line in text.splitlines() if line.strip() and set(line) <= set("0123456789 ")]
    assert [int(word) for row in rows for word in row] == encoding.encode(REPLY, allowed_special="all")
    assert "│<|channel|>│" in text
    assert max(map(len, text.splitlines())) <= 80
    broken = shown(log, "--record", "3", "--ids")
    assert broken.index("│ Blue") > broken.index("! missing-message") > broken.index("│final│")


def test_raw_is_what_was_written(log: Path) -> None:
    assert shown(log, "--record", "1", "--raw").split("\n", 1)[1] == REPLY + "\n"
    assert shown(log, "--record", "3", "--raw").split("\n", 1)[1] == "<|channel|>final Blue.<|return|>\n"


def test_the_mask_counts_what_is_learned(log: Path) -> None:
    assert "17 tokens, <|call|>, 17 learned" in shown(log, "--record", "1", "--mask", "commentary")
    assert "learned" not in shown(log, "--record", "1", "--mask", "final")
    done = harmony("view", log, "--mask", "thoughts")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Expected channels of analysis, commentary, final, got 'thoughts' - at `--mask`" in done.stderr


@pytest.mark.parametrize("columns", [80, 160])
def test_a_terminal(log: Path, columns: int) -> None:
    for options in ([], ["--ids"], ["--raw"], ["--mask", "final,commentary"]):
        lines, _, status = on_a_terminal("view", str(log), *options, columns=columns)
        assert status == 1
        assert lines[0].startswith("line 1 · call (17 tokens) ───")
        assert len(lines[0]) == columns


def test_files_with_one_text_or_with_ids(tmp_path: Path, encoding: HarmonyEncoding) -> None:
    text, ids = tmp_path / "reply.txt", tmp_path / "reply.ids"
    text.write_text(REPLY + "\n")
    ids.write_text(str(encoding.encode(REPLY, allowed_special="all")))
    assert shown(text, "--raw").split("\n", 1)[1] == shown(ids, "--raw").split("\n", 1)[1] == REPLY + "\n"
    assert shown("-", "--raw", stdin=REPLY.encode()).split("\n", 1) == ["── standard input", REPLY + "\n"]
    text.write_bytes(b"a\xff")
    done = harmony("view", text)
    assert (done.returncode, done.stderr) == (1, b"harmony: 1 bad record, with its error\n")
    assert b"error invalid-utf-8" in done.stdout
    done = harmony("view", tmp_path / "missing.jsonl")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"missing.jsonl cannot be read: No such file or directory" in done.stderr


def test_a_choice_of_records_holds_for_files_with_one_text_too(log: Path, tmp_path: Path) -> None:
    text = tmp_path / "reply.txt"
    text.write_text("<|start|>system<|message|>" + "Be brief. " * 100 + "<|end|>")
    assert "more characters: --record 1 shows them" in shown(text)
    assert shown(text, "--record", "1").count("Be brief.") == 100
    for options in (["--record", "2"], ["--id", "x"]):
        assert harmony("view", text, *options).returncode == 2
    assert shown(text, log, "--id", "harmony").count("── ") == 1


def test_an_empty_list_of_ids_and_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / "none.ids").write_text("[]")
    assert shown(tmp_path / "none.ids").split("\n", 1)[1] == "(no messages)\n\n"
    (tmp_path / "none.jsonl").write_text("")
    done = harmony("view", tmp_path / "none.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"harmony: there are no records\n")


def test_the_record_says_that_the_model_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"tokens":[200005,17196,200008,12194],"finish_reason":"stop"}\n')
    assert "the input ends inside a message" in shown(log)
    assert "the input ends" not in shown(log, "--finish-reason", "finish_reason")
    lines, _, _ = on_a_terminal("parse", str(log), "--finish-reason", "finish_reason")
    assert not any("the input ends" in line for line in lines)


def test_what_a_prompt_gives_is_not_counted(tmp_path: Path, encoding: HarmonyEncoding) -> None:
    prompt = "<|start|>user<|message|>hi<|end|><|start|>assistant<|channel|>analysis<|message|>"
    reply = "Hm.<|end|><|start|>assistant<|channel|>commentary<|channel|>final<|message|>Hi<|return|>"
    log = tmp_path / "log.jsonl"
    tokens = encoding.encode(reply, allowed_special="all")
    log.write_text(json.dumps({"prompt": prompt, "tokens": tokens}) + "\n")
    text = shown(log, "--prompt", "prompt", "--mask", "analysis,final")
    assert text.startswith(f"── line 1 ({len(tokens)} tokens)\nassistant · analysis  3 tokens, <|end|>, 3 learned\n")
    place = tokens.index(encoding.encode("commentary")[0])
    assert f"! other-channel at token {place}: " in text


def test_text_that_lost_its_markers_is_read_as_parse_reads_it(tmp_path: Path, encoding: HarmonyEncoding) -> None:
    text = "analysisWe need the sky.assistantfinalIt is blue."
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"tokens": encoding.encode(text)}) + "\n" + json.dumps({"text": text}) + "\n")
    for record in ("1", "2"):
        found = shown(log, "--stripped", "--record", record)
        assert "assistant · analysis" in found
        assert "assistant · final" in found
        assert shown(log, "--stripped", "--record", record, "--raw").split("\n", 1)[1] == text + "\n"


def test_what_parse_wrote_is_shown_with_the_messages(tmp_path: Path) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "messages.jsonl"
    texts = ["<|channel|>final<|channel|>analysis<|message|>Hm", "<|channel|>final<|message|>Hi<|return|>"]
    log.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert harmony("parse", log, "--output", output).returncode == 0
    text = shown(output, "--record", "1")
    assert "! other-channel at token " in text
    assert "(these messages were parsed before, and rendered again: positions count in the completion" in text
    assert "(the input ends inside a message)" in text
    assert "the input ends" not in shown(output, "--record", "2")
    error = {"code": "unexpected-in-header", "message": "a sentence", "position": 3}
    for messages in ([], None):
        output.write_text(json.dumps({"messages": messages, "complete": False, "error": error}) + "\n")
        done = harmony("view", output)
        assert done.returncode == 1
        assert b"error unexpected-in-header: a sentence" in done.stdout


def test_choices_of_a_record_are_told_apart(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"id":"a","custom_id":"b","choices":[{"text":"<|message|>x"},{"text":"<|message|>y"}]}\n')
    text = shown(log, "--text", "choices[].text")
    assert [line for line in text.splitlines() if line.startswith("── ")] == [
        "── line 1 · a · completion 0",
        "── line 1 · a · completion 1",
    ]
    assert shown(log, "--text", "choices[].text", "--id", "b") == shown(log, "--text", "choices[].text", "--id", "a")


def test_hostile_contents_and_names_command_no_terminal(tmp_path: Path, encoding: HarmonyEncoding) -> None:
    reply = f"<|channel|>final<|message|>{HOSTILE}<|return|>"
    names = dict.fromkeys(("name", "channel", "recipient", "content_type"), HOSTILE)
    records = [
        {"id": HOSTILE, "text": reply},
        {"id": HOSTILE, "tokens": [*encoding.encode(reply, allowed_special="all"), -(10**40)]},
        {"id": HOSTILE, "messages": [{"role": "tool", "content": HOSTILE, **names}]},
        {"id": HOSTILE, "messages": [{"role": "user", "content": HOSTILE, "channel": None}]},
        {"id": HOSTILE, "tokens": HOSTILE},
    ]
    log = tmp_path / "log\x1b[31m.jsonl"
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    for options in ([], ["--ids"], ["--raw"], ["--mask", "final"], ["--record", "1"], ["--html", "-"]):
        for files in ([log], [log, log]):
            done = harmony("view", *files, *options)
            assert not set(done.stdout.decode()) & set("\x00\x1b\x07\r\u202e\u202c\u200b"), options
            assert not set(done.stderr.decode()) & set("\x00\x1b\x07\u202e\u200b"), options
    assert HOSTILE[:60] in harmony("view", log).stdout.decode()


def test_what_the_model_did_not_write_is_folded_and_long_analysis_too(tmp_path: Path) -> None:
    long = "word " * 200
    texts = [
        f"<|start|>{role}<|message|>{long}<|end|>"
        for role in ("system", "developer", "user", "functions.f to=assistant")
    ]
    texts += [f"<|start|>assistant<|channel|>{channel}<|message|>{long}<|end|>" for channel in ("analysis", "final")]
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"text": "".join(texts)}) + "\n")
    headings = [part.split("\n")[0].split("  ")[0] for part in shown(path).split("\n\n") if "more characters" in part]
    assert [heading.split(" ")[0] for heading in headings] == ["──", "developer", "tool", "assistant"]
    assert headings[-1] == "assistant · analysis"
    assert "more characters" not in shown(path, "--record", "1")


def test_the_styles_of_a_terminal(encoding: HarmonyEncoding) -> None:
    text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>"
    tokens = encoding.encode(text, allowed_special="all")
    record = shown_source("", tokens, Role.ASSISTANT, channels=["final"])
    for options in ({"ids": False, "raw": False}, {"ids": True, "raw": False}, {"ids": False, "raw": True}):
        runs = [run for line in all_lines(record, 80, whole=True, **options) for run in line.runs]
        underlined = "".join(text for text, style in runs if "underline" in style)
        assert underlined in ("Hi", "<|start|>assistant<|channel|>final<|message|>Hi<|return|>"), options
        assert any(text == "<|return|>" and "magenta" in style for text, style in runs) is (
            options != {"ids": False, "raw": False}
        )
    headings = [line.runs for line in lines(record, whole=True) if line.runs and line.runs[0][0] == "assistant"]
    assert [style for runs in headings for text, style in runs if text.startswith(" · ")] == ["dim", "bold green"]


def test_the_pager_may_be_left_early(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"text":"<|message|>word"}\n' * 20_000 + "{}\n")
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "harmony", "view", str(log)]
    environment = {**os.environ, "PAGER": "true", "TERM": "xterm"}
    done = subprocess.Popen(command, stdin=child, stdout=child, stderr=subprocess.DEVNULL, env=environment)
    os.close(child)
    assert done.wait(60) == 0  # nothing bad was read before the pager ended
    os.close(parent)


def test_tables(tmp_path: Path, encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode(REPLY, allowed_special="all")
    pq.write_table(pa.table({"id": ["a", "b"], "tokens": [tokens, tokens[:4]]}), tmp_path / "tokens.parquet")
    assert shown(tmp_path / "tokens.parquet", "--id", "a", "--raw") == f"── row 1 · a (17 tokens)\n{REPLY}\n"
    messages = [[{"role": "user", "content": "Why?"}], [{"role": "user", "content": "How?"}]]
    pq.write_table(pa.table({"messages": messages}), tmp_path / "chats.parquet")
    text = shown(tmp_path / "chats.parquet")
    assert text.index("Why?") < text.index("How?")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "none.parquet")
    done = harmony("view", tmp_path / "none.parquet")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"expected a completion at `tokens` or `text`, found none; the columns are `other`" in done.stderr


def test_several_files_name_their_records(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"id":"x","text":"<|message|>Hi"}\n')
    done = harmony("view", log, other, "--record", "1")
    titles = [line for line in done.stdout.decode().splitlines() if line.startswith("── ")]
    assert titles == [f"── line 1 · call · {log} (17 tokens)", f"── line 1 · x · {other}"]


def test_records_of_servers_with_their_preset(tmp_path: Path) -> None:
    path = ROOT / "tests" / "data" / "shapes" / "vllm.jsonl"
    assert "assistant" in shown(path, "--preset", "vllm", "--limit", "1")


def test_a_page(log: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = harmony("view", log, "--html", page, "--limit", "3", "--mask", "final")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.splitlines() == [
        b"harmony: the page has the first 3 records; --limit takes more",
        b"harmony: --ids and --mask show nothing of 1 record that is a text",
    ]
    text = page.read_text("utf-8")
    assert text.count('<section class="record">') == 3
    assert "The log has more records" in text
    assert harmony("view", log, "--html", "-", "--limit", "3", "--mask", "final").stdout.decode() == text
    done = harmony("view", log, "--html", page)
    assert done.returncode == 1
    assert page.read_text("utf-8").count('<section class="record">') == 8
    for options in (["--html", str(log)], ["--html", str(page), "--raw"]):
        before = log.read_bytes()
        done = harmony("view", log, *options)
        assert (done.returncode, done.stdout, log.read_bytes()) == (2, b"", before)


def test_show_takes_all_that_the_library_gives(encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode(REPLY, allowed_special="all")
    result = encoding.parse(tokens, Role.ASSISTANT)
    expected = repr(library.show(tokens))
    assert expected.startswith('assistant · commentary → functions.sky json  17 tokens, <|call|>\n  {"place"')
    for value in (tuple(tokens), array("I", tokens), array("I", tokens).tobytes()):
        assert repr(library.show(value)) == expected
    assert repr(library.show(result)) == repr(library.show(result, tokens)) == expected
    assert "title=" not in library.show(result)._repr_html_()
    assert f'title="{tokens[0]}"' in library.show(result, tokens)._repr_html_()
    message = Message.from_role_and_content(Role.USER, "Hi")
    conversation = Conversation.from_messages([message])
    for other in (message, [message], conversation, encoding.render_with_spans(conversation)):
        assert repr(library.show(other)) == "user  5 tokens, <|end|>\n  Hi"
    assert repr(library.show("<|message|>Hi")) == "assistant\n  Hi\n\n(the input ends inside a message)"
    assert repr(library.show([START, 1428])) == "(ends in an open <|start|>user)"


def test_contents_of_system_and_developer_messages_are_shown(encoding: HarmonyEncoding) -> None:
    system = SystemContent.new().with_model_identity("You are a tester.")
    developer = DeveloperContent.new().with_instructions("Be brief.")
    messages = [
        Message.from_role_and_content(Role.SYSTEM, system),
        Message.from_role_and_content(Role.DEVELOPER, developer),
        Message.from_role_and_content(Role.ASSISTANT, "Hm.").with_channel("analysis"),
        Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final"),
    ]
    tokens = encoding.render_conversation(Conversation(messages), RenderConversationConfig(auto_drop_analysis=False))
    expected = repr(library.show(tokens))
    assert all(text in expected for text in ("You are a tester.", "Be brief.", "Hm.", "Hi"))
    result = encoding.parse(tokens, structured=True)
    assert isinstance(result.messages[1].content[0], DeveloperContent)
    for view in (library.show(messages), library.show(result), library.show(result, tokens)):
        assert repr(view) == expected
    broken = Message.from_role_and_content(Role.ASSISTANT, "").with_channel("two words")
    text = repr(library.show([*messages, broken]))
    assert all(part in text for part in ("error unwritable-name", "You are a tester.", "Be brief.", "Hm."))


def test_nothing_to_show() -> None:
    for value in ([], "", Conversation([]), (), b""):
        assert repr(library.show(value)) == "(no messages)"


def test_messages_that_cannot_be_rendered_are_shown(encoding: HarmonyEncoding) -> None:
    message = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("two words")
    text = repr(library.show([message]))
    assert text.startswith("error unwritable-name: ")
    assert text.endswith("assistant · two words\n  Hi")


def test_show_refuses_what_it_cannot_show(encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode(REPLY, allowed_special="all")
    result = encoding.parse(tokens, Role.ASSISTANT)
    with pytest.raises(TypeError, match="Expected a sequence of token ids, got `dict`"):
        library.show({"role": "user"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Expected the input of the result, 17 token ids, got 3 token ids"):
        library.show(result, tokens[:3])
    with pytest.raises(ValueError, match="Expected the input of the result, 17 token ids, got a text - at `tokens`"):
        library.show(result, REPLY)
    with pytest.raises(ValueError, match=r"got another one: no `<\|call\|>` at 16 - at `tokens`"):
        library.show(result, tokens[::-1])
    with pytest.raises(ValueError, match="Expected `tokens` only beside a `ParseResult`, got them beside `list`"):
        library.show(tokens, tokens)
