"""The command line, run as a process: every record gives one record, and no input gives a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harmony import vocabulary

SAMPLE = Path(__file__).parent.parent / "examples" / "completions.jsonl"
EXPECTED = Path(__file__).parent / "data" / "sample_messages.jsonl"


def harmony(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "harmony", *arguments],
        input=stdin,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr
    return done


def records(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_the_sample_log(tmp_path: Path) -> None:
    done = harmony("parse", str(SAMPLE))
    assert (done.returncode, done.stderr) == (0, b"")
    read, written, expected = (records(data) for data in (SAMPLE.read_bytes(), done.stdout, EXPECTED.read_bytes()))
    assert len(read) == len(written) == len(expected)
    for before, after, messages in zip(read, written, expected, strict=True):
        passed = {name: value for name, value in before.items() if name not in ("tokens", "text", "role")}
        found = {name: after.pop(name) for name in ("messages", "complete")}
        assert after == passed
        assert found["complete"] == messages["complete"]
        assert [flat(message) for message in found["messages"]] == messages["messages"]

    target = tmp_path / "messages.jsonl"
    assert harmony("parse", "-", "-o", str(target), stdin=SAMPLE.read_bytes()).stdout == b""
    assert target.read_bytes() == done.stdout
    assert harmony("parse", str(SAMPLE), "--output", "-", HARMONY_EXTENSION="no").stdout == done.stdout


def flat(message: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if value is not None}
    return {**kept, "content": "".join(part["text"] for part in message["content"])}


GOOD = b'{"tokens":[200008,12194,200002]}'
BAD = [
    (b"nope", "invalid-json", "invalid character"),
    (b'{"tokens":[1,2', "invalid-json", "truncated"),
    (b"[1]", "invalid-json", "Expected `object`, got `array`"),
    (b'{"id":"\xff"}', "invalid-utf-8", "found the byte 0xff at byte 7 of line 8"),
    (b"[" * 100_000, "invalid-json", "Expected `object`, got `array`"),
    (b'{"tokens":' + b"[" * 100_000, "invalid-json", "recursion"),
    (b"{}", "invalid-record", "expected a field `tokens` or `text`, found neither"),
    (b'{"tokens":null}', "invalid-record", "expected a field `tokens` or `text`, found neither"),
    (b'{"tokens":"a"}', "invalid-record", "Expected `array`, got `str` - at `$.tokens`"),
    (b'{"tokens":[1,"x"]}', "invalid-record", "Expected `int`, got `str` - at `$.tokens[1]`"),
    (b'{"tokens":[1.5]}', "invalid-record", "Expected `int`, got `float` - at `$.tokens[0]`"),
    (b'{"tokens":[true]}', "invalid-record", "Expected `int`, got `bool` - at `$.tokens[0]`"),
    (b'{"text":5}', "invalid-record", "Expected `str`, got `int` - at `$.text`"),
    (b'{"tokens":[],"role":"boss"}', "invalid-record", "Unknown role: 'boss'"),
    (b'{"tokens":[],"role":5}', "invalid-record", "at `$.role`"),
    (b'{"tokens":[-1]}', "invalid-token", "Invalid token for decoding: -1"),
    (b'{"tokens":[201089]}', "invalid-token", "Invalid token for decoding: 201089"),
    (b'{"tokens":[340282366920938463463374607431768211456]}', "invalid-token", "an integer of 129 bits"),
    (b'{"tokens":[200008,64],"role":null}', "expected-start", "expected `<|start|>`, found `<|message|>`"),
    (b'{"text":"<|message|>a<|end|>b"}', "expected-start", "found the text `b` at character 19"),
]


@pytest.mark.parametrize("engine", ["no", ""])
def test_bad_records_are_reported_and_their_neighbours_kept(engine: str) -> None:
    lines = [GOOD]
    for bad, _, _ in BAD:
        lines += [bad, GOOD]
    done = harmony("parse", "-", stdin=b"\n".join(lines), HARMONY_EXTENSION=engine)
    found = records(done.stdout)
    assert done.returncode == 1
    assert done.stderr == f"harmony: {len(BAD)} bad records, each with its error\n".encode()
    assert [record for record in found[::2] if "messages" in record] == [found[0]] * (len(BAD) + 1)
    for (_, code, text), record in zip(BAD, found[1::2], strict=True):
        assert record["error"]["code"] == code
        assert text in record["error"]["message"]
        assert record["error"]["position"] is None or record["error"]["position"] >= 0


def test_a_bad_record_keeps_what_it_came_with() -> None:
    line = b'{"id":5,"role":"user","tokens":[200008,64,200008],"text":null}'
    (record,) = records(harmony("parse", "-", stdin=line).stdout)
    assert record.pop("error")["position"] == 2
    assert record == json.loads(line)


def test_single_surrogates_and_a_mark_of_byte_order() -> None:
    lines = [
        b'\xef\xbb\xbf{"text":"<|message|>\\ud800 \\ud83e\\udd37 \\\\ud800","x":"\\uDFFF"}',
        b'{"x":"\\ud83e\\udd37","text":"<|message|>a"}',
    ]
    first, second = harmony("parse", "-", stdin=b"\n".join(lines)).stdout.splitlines()
    assert json.loads(first)["messages"][0]["content"][0]["text"] == "\ufffd 🤷 \\ud800"
    assert json.loads(first)["x"] == "\ufffd"
    assert b'"x":"\\ud83e\\udd37"' in second


def test_colours_that_are_forced_do_not_reach_a_file() -> None:
    assert harmony("parse", str(SAMPLE), FORCE_COLOR="1").stdout == harmony("parse", str(SAMPLE)).stdout
    assert b"\x1b" not in harmony("tokens", "a", FORCE_COLOR="1").stdout


def test_the_file_that_is_read_is_not_written(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(GOOD)
    command = f"{sys.executable} -m harmony parse - -o {log} < {log}"
    assert subprocess.run(["bash", "-c", command], capture_output=True, timeout=120).returncode == 2
    assert log.read_bytes() == GOOD


@pytest.mark.parametrize("redirection", ["<&-", ">&-"])
def test_closed_standard_streams(redirection: str) -> None:
    command = f"{sys.executable} -m harmony parse - {redirection}"
    done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, b"harmony: standard input, output and error have to be open\n")


def test_other_fields_pass_through_byte_for_byte() -> None:
    fields = rb'"big":123456789012345678901234567890,"x":1.0e400,"y":1.50,"s":"\u00e9\/","n":null,"o":{"b":1, "a":[ ]}'
    done = harmony("parse", "-", stdin=b'{%s,"tokens":[200008]}\n\n \r\n{%s,"tokens":[9]}\n' % (fields, fields))
    good, bad = done.stdout.splitlines()
    assert (
        good
        == b'{%s,"messages":[{"role":"assistant","name":null,"content":[{"type":"text","text":""}]}],"complete":false}'
        % fields
    )
    assert bad.startswith(b'{%s,"tokens":[9],"error":{"code":"truncated-header",' % fields)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["parse", "/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
        (["parse", "."], ". cannot be read: Is a directory"),
        (["parse", "log.parquet"], "log.parquet: expected JSON Lines, uncompressed"),
        (["parse"], "Missing argument"),
        (["parse", str(SAMPLE), "-o", "/no/such/folder/x"], "/no/such/folder/x cannot be written"),
        (["parse", str(SAMPLE), "-o", str(SAMPLE)], "is the file that is read"),
        (["parse", str(SAMPLE), "-o", "/dev/full"], "No space left on device"),
        (["tokens", "--ids", "1", "x"], "expected token ids in 0..201088, found `x`"),
        (["tokens", "--ids", "201089"], "expected token ids in 0..201088, found `201089`"),
        (["vocab", "export", "/dev/null/x"], "cannot be written: Not a directory"),
        (["nothing"], "No such command"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    before = SAMPLE.read_bytes()
    done = harmony(*arguments)
    assert done.returncode == 2
    assert text in done.stderr.decode()
    assert before == SAMPLE.read_bytes()


def test_a_vocabulary_that_cannot_be_used() -> None:
    done = harmony("parse", str(SAMPLE), TIKTOKEN_ENCODINGS_BASE="/no/such/folder")
    assert done.returncode == 2
    assert b"/no/such/folder/o200k_base.tiktoken cannot be used" in done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m harmony parse {SAMPLE} -o - | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, b"")


def test_a_terminal_shows_messages_to_be_read(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    text = (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}\x1b[31m \u202e "
        + "word " * 40
        + "<|call|>"
    )
    log.write_text(
        json.dumps({"id": "first", "text": text})
        + '\n{"text":"a<|end|>"}\n{"text":"<|message|>x"}\n{"id":7,"text":"<|message|>x<|end|><|start|>assistant"}'
    )
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "harmony", "parse", str(log)],
        stdout=child,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(child)
    shown = b""
    try:
        while block := os.read(parent, 65536):
            shown += block
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    assert process.communicate()[1] == b"harmony: 1 bad record, with its error\n"
    assert process.returncode == 1
    lines = [line.strip() for line in strip_styles(shown.decode()).split("\r\n")]
    assert lines[0].startswith("first ──")
    assert lines[1] == "assistant · commentary → functions.f <|constrain|>json"
    assert lines[2].startswith(r"{}\x1b[31m \u202e word word")
    assert max(map(len, lines)) <= 60
    assert "line 2 ─" in "\n".join(lines)
    assert "error unexpected-in-header" in "\n".join(lines)
    assert "(ends before the message does)" in lines
    assert "(ends in an open <|start|>assistant)" in lines


def strip_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_tokens() -> None:
    shown = (
        b"0\t200006\t<|start|>\tspecial\n1\t1428\tuser\n2\t200008\t<|message|>\tspecial\n"
        b"3\t61138\t \\xf0\\x9f\\x91\n4\t233\t\\x8b\n"
    )
    assert harmony("tokens", "<|start|>user<|message|> 👋").stdout == shown
    assert harmony("tokens", "-", stdin="<|start|>user<|message|> 👋".encode()).stdout == shown
    assert harmony("tokens", "--ids", "200006", "1428", "200008", "61138", "233").stdout == shown
    assert harmony("tokens", "--ids", "-", stdin=b"[200006, 1428,200008\n61138 233]").stdout == shown
    assert harmony("tokens", "a\nb").stdout == b"0\t64\ta\n1\t198\t\\n\n2\t65\tb\n"
    assert harmony("tokens", "-", stdin=b"\xff").returncode == 0


def test_vocab(tmp_path: Path) -> None:
    info = harmony("vocab", "info").stdout.decode()
    for fact in ("199,998", "1,091", vocabulary.FILE_SHA256, "the package"):
        assert fact in info
    folder = tmp_path / "new" / "folder"
    assert harmony("vocab", "export", str(folder)).returncode == 0
    assert (folder / vocabulary.FILE_NAME).read_bytes() == vocabulary.load().official_file()
    assert [path.name for path in folder.iterdir()] == [vocabulary.FILE_NAME]
    there = str(tmp_path / "there")
    assert harmony("vocab", "export", there, TIKTOKEN_ENCODINGS_BASE=there).returncode == 0
    assert str(folder) in harmony("vocab", "info", TIKTOKEN_ENCODINGS_BASE=str(folder)).stdout.decode()


def test_help_shows_an_example_each() -> None:
    for command in (["parse"], ["tokens"], ["vocab", "info"], ["vocab", "export"]):
        done = harmony(*command, "--help")
        assert done.returncode == 0
        assert f"Example: harmony {' '.join(command)}" in done.stdout.decode()
    assert harmony("--version").stdout.startswith(b"harmony 0.")
