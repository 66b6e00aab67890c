"""`harmony validate`, run as a process: every problem is told at its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harmony.logs.formats import suffixes
from helpers.command import harmony as run_command
from helpers.command import measured
from helpers.paths import EXAMPLES

TEXT = "<|start|>user<|message|>Hi\nthere<|end|>"
IDS = [200006, 1428, 200008, 64, 200007]
MESSAGE = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "channel": "final", "content": "a"}

CUT_OFF = "Unexpected EOS while waiting for message header to complete: "


def run(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> tuple[int, list[str], str]:
    """Exit status, lines of the output, and what is said beside it."""
    done = run_command(*arguments, stdin=stdin, **environment)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


def validate(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> tuple[int, list[str], str]:
    return run("validate", *arguments, stdin=stdin, **environment)


def as_json(*arguments: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    status, lines, _ = validate(*arguments, "--format", "json", stdin=stdin)
    found: list[dict[str, Any]] = json.loads("\n".join(lines))
    assert status == (1 if found else 0)
    return found


def record(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


WELL = [
    ("ok.txt", TEXT.encode(), "conversation"),
    ("newline.txt", TEXT.encode() + b"\n", "conversation"),
    ("windows.txt", b"\xef\xbb\xbf" + TEXT.encode() + b"\r\n", "conversation"),
    ("empty.txt", b"", "conversation"),
    ("blank.txt", b"\n", "conversation"),
    ("no-suffix", TEXT.encode(), "conversation"),
    ("prompt.txt", f"{TEXT}<|start|>assistant\n".encode(), "prompt"),
    ("completion.txt", b"<|channel|>final<|message|>a<|return|>", "completion"),
    ("ok.ids", b"[200006, 1428,\r\n 200008, 64, 200007]\n", "conversation"),
    ("plain.ids", b"200006 1428 200008 64 200007", "conversation"),
    ("empty.json", b"[]\n", "conversation"),
    ("prompt.ids", b"200006 173781", "prompt"),
    ("empty.jsonl", b"", "conversation"),
    ("ok.jsonl", b"\xef\xbb\xbf" + record(tokens=IDS) + b"\n \r\n" + record(text=TEXT, tokens=None), "conversation"),
    ("messages.jsonl", record(messages=[]) + record(messages=[MESSAGE, ANSWER]), "conversation"),
    ("messages-prompt.jsonl", record(messages=[MESSAGE]) + record(tokens=[200006, 173781]), "prompt"),
    ("tokens-first.jsonl", record(tokens=IDS, text="no", messages=5), "conversation"),
    ("text-first.jsonl", record(text=TEXT, messages=5), "conversation"),
    ("roles.jsonl", record(tokens=IDS, role=None) + record(tokens=[200008, 200007], role="user"), "completion"),
    ("unused-role.jsonl", record(tokens=IDS, role=5), "conversation"),
]


@pytest.mark.parametrize("start", ["conversation", "prompt", "completion"])
def test_what_is_well_says_nothing(start: str, tmp_path: Path) -> None:
    files = []
    for name, data, needed in WELL:
        if needed == start:
            files.append(tmp_path / name)
            files[-1].write_bytes(data)
    options = () if start == "conversation" else ("--start", start)
    assert validate(*files, *options) == (0, [], "")
    assert validate(*files, *options, HARMONY_EXTENSION="no") == (0, [], "")
    assert as_json(*files, *options) == []


def test_the_examples() -> None:
    assert validate(EXAMPLES / "conversations.jsonl") == (0, [], "")
    log = EXAMPLES / "completions.jsonl"
    # The only ones that are not whole: the model's budget ended them.
    cut = [
        number
        for number, line in enumerate(log.read_text().splitlines(), 1)
        if json.loads(line)["finish_reason"] == "length"
    ]
    found = as_json(log, "--start", "completion")
    assert [problem["line"] for problem in found] == cut
    assert {problem["code"] for problem in found} == {"truncated-header", "truncated-content"}


def test_what_is_rendered_is_valid() -> None:
    for purpose, start in (("conversation", "conversation"), ("training", "conversation"), ("completion", "prompt")):
        rendered = run_command("render", EXAMPLES / "conversations.jsonl", "--for", purpose)
        assert (rendered.returncode, rendered.stderr) == (0, b"")
        assert validate("-", "--start", start, stdin=rendered.stdout) == (0, [], "")


def test_problems_of_a_text(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(f"{TEXT}\n\n<|start|>assistant<|channel|><|message|>日本\t<|return|>\x1b\n<|start|>\n", newline="")
    assert validate(file) == (
        1,
        [
            f"{file}:2:13: expected-start expected `<|start|>` or the end of the input, found white space",
            "    there<|end|>",
            "                ^",
            f"{file}:4:30: missing-channel expected a channel's name right after `<|channel|>`, found `<|message|>`",
            r"    <|start|>assistant<|channel|><|message|>日本\t<|return|>",
            "                                 ^",
            f"{file}:5:10: truncated-header {CUT_OFF}expected an author: a role, or the name of a tool, found "
            "the end of the input inside a message header",
            "    <|start|>",
            "             ^",
        ],
        "harmony: 3 problems in 1 file\n",
    )


def test_only_one_newline_is_an_editors(tmp_path: Path) -> None:
    file = tmp_path / "two.txt"
    file.write_text(f"{TEXT}\n\n")
    assert validate(file)[1][0].startswith(f"{file}:2:13: expected-start")
    file.write_text("<|start|>user<|message|>Hi\n")
    assert validate(file)[1][0].startswith(f"{file}:1:27: truncated-content")


def test_problems_of_token_ids(tmp_path: Path) -> None:
    file = tmp_path / "bad.ids"
    file.write_text("[200006, 1428,\n\t200008, 64, 200007,  5,\n200006,-3, 201089, 200006 ]\n")
    digits = tmp_path / "digits.ids"
    digits.write_text(f"200006 {10**98} {'9' * 5000}")
    status, lines, said = validate(file, digits)
    assert (status, said) == (1, "harmony: 4 problems in 2 files\n")
    assert lines[:3] == [
        f"{file}:2:23: expected-start expected `<|start|>` or the end of the input, found the text `&` at token 5",
        f"{file}:3:8: invalid-token Invalid token for decoding: -3, expected an id in 0..201088 at token 7",
        f"{file}:3:26: truncated-header {CUT_OFF}expected an author: a role, or the name of a tool, found "
        "the end of the input inside a message header at token 10",
    ]
    # No id is as long, so it is text.
    assert lines[3].startswith(f"{digits}:1:1: expected-start expected `<|start|>` or the end of the input, found `2")
    digits.write_text(f"200006 {10**98}")
    assert "an integer of 326 bits, expected an id in 0..201088 at token 1" in validate(digits)[1][0]


def test_problems_of_records(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    tool = {"role": "tool", "content": "a"}
    file.write_bytes(
        b"\n"
        + record(tokens=[*IDS, 64])
        + record(tokens=IDS)
        + record(text=f"{TEXT}x{TEXT}<|start|>")
        + record(messages=[MESSAGE, tool, MESSAGE])
        + record(messages=[MESSAGE, {"role": "assistant", "content": ""}])
    )
    assert validate(file) == (
        1,
        [
            f"{file}:2:47: expected-start expected `<|start|>` or the end of the input, found the text `a` at token 5",
            f"{file}:4:51: expected-start expected `<|start|>` or the end of the input, found `x` at 2:13 of `text`",
            "    there<|end|>x<|start|>user<|message|",
            "                ^",
            f"{file}:4:101: truncated-header {CUT_OFF}expected an author: a role, or the name of a tool, found "
            "the end of the input inside a message header at 3:22 of `text`",
            "    there<|end|><|start|>",
            "                         ^",
            f"{file}:5:49: nameless-tool expected the tool's name, found none - at `messages[1].author.name`",
        ],
        "harmony: 4 problems in 1 file\n",
    )


NO_INPUT = "expected a completion at `tokens` or `text`, or a conversation at `messages`, found none"
#: A bad record, the code, a part of the sentence, and the column.
BAD = [
    (b"nope", "invalid-json", "invalid character", 5),
    (b"[1]", "invalid-json", "Expected `object`, got `array`", 1),
    (b'{"tokens":[1,2', "invalid-json", "truncated", 15),
    (b'{"id":"\xff"}', "invalid-utf-8", "found the byte 0xff", 8),
    (b'{"tokens":' + b"[" * 100_000, "too-deep", "nested less deeply", 1),
    (b'{"messages":' + b"[" * 100_000, "too-deep", "nested less deeply", 1),
    (b"{}", "invalid-record", NO_INPUT, 1),
    (b'{"tokens":null,"text":null}', "invalid-record", NO_INPUT, 1),
    (b'{"tokens":"a"}', "invalid-record", "Expected `array`, got `str` - at `$.tokens`", 11),
    (b'{"tokens":[1,true]}', "invalid-record", "at `$.tokens[1]`", 14),
    (b'{"tokens":[%s]}' % (b"9" * 5000), "invalid-record", "Integer value out of range", 12),
    (b'{"tokens":[-1]}', "invalid-token", "Invalid token for decoding: -1, expected an id in 0..201088 at token 0", 12),
    (b'{"tokens":[340282366920938463463374607431768211456]}', "invalid-token", "an integer of 129 bits", 12),
    (b'{"text":5}', "invalid-record", "Expected `str`, got `int` - at `$.text`", 9),
    (rb'{"text":"\ud800"}', "expected-start", "found `\ufffd` at 1:1 of `text`", 10),
    (b'{"messages":null}', "invalid-record", NO_INPUT, 1),
    (b'{"messages":[{"role":"boss","content":""}]}', "invalid-record", "'boss' - at `$.messages[0].role`", 22),
    (rb'{"messages":[{"role":"b\u001b[31m\n","content":""}]}', "invalid-record", "at `$.messages[0].role`", 22),
    (rb'{"messages":[{"role":"user","content":"\ud800"}]}', "lone-surrogate", "at `messages[0].content[0].text`", 39),
    (b'{"messages":[{"role":"user","channel":"<","content":""}]}', "unwritable-name", "`messages[0].channel`", 39),
]


def test_bad_records_are_all_told(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b"".join(bad + b"\n" + record(tokens=IDS) for bad, _, _, _ in BAD))
    found = as_json(file, "--lint")
    assert [(problem["line"], problem["column"], problem["code"]) for problem in found] == [
        (1 + 2 * index, column, code) for index, (_, code, _, column) in enumerate(BAD)
    ]
    for (_, code, text, _), problem in zip(BAD, found, strict=True):
        assert text in problem["message"]
        assert " - in line " not in problem["message"]
        assert "byte " not in problem["message"].replace("the byte 0x", "")
        is_record = code in ("invalid-json", "invalid-utf-8", "invalid-record", "too-deep")
        assert (problem["position"] is None) == is_record == (problem["unit"] is None)
    status, lines, said = validate(file)
    assert (status, said) == (1, f"harmony: {len(BAD)} problems in 1 file\n")
    assert "\x1b" not in "".join(lines)
    # One line each, and two below that of a text.
    assert len(lines) == len(BAD) + 2


def test_the_role_of_a_completion() -> None:
    roles = [{"role": role} for role in ("assistant", "boss", 5, None)]
    lines = [record(tokens=IDS, **role) for role in ({}, *roles)]
    found = as_json("-", "--start", "completion", stdin=b"".join(lines))
    # Without a role, it begins with one of its own.
    assert [(problem["line"], problem["code"]) for problem in found] == [
        (2, "unexpected-in-header"),
        (3, "invalid-record"),
        (4, "invalid-record"),
    ]
    assert "Unknown role: 'boss'" in found[1]["message"]
    assert "at `$.role`" in found[2]["message"]


def test_json_has_all_that_is_known(tmp_path: Path) -> None:
    text, ids, log, bytes_ = (tmp_path / name for name in ("a.txt", "a.ids", "a.jsonl", "b.txt"))
    text.write_text("<|start|>user<|message|>Hi\né")
    ids.write_text("200006 64")
    log.write_bytes(record(messages=[{"role": "tool", "content": ""}]))
    bytes_.write_bytes("日本\né\xff".encode("latin-1", "replace"))
    stop = "expected `<|end|>`, `<|call|>` or `<|return|>`, found the end of the input inside content"
    assert as_json(text, ids, log, bytes_) == [
        {
            "file": str(text),
            "line": 2,
            "column": 2,
            "code": "truncated-content",
            "message": stop,
            "position": 28,
            "unit": "character",
            "excerpt": "é\n ^",
        },
        {
            "file": str(ids),
            "line": 1,
            "column": 10,
            "code": "truncated-header",
            "message": f"{CUT_OFF}expected `<|channel|>` or `to=assistant`, because the tool's name has no dot, "
            "found the end of the input inside a message header at token 2",
            "position": 2,
            "unit": "token",
        },
        {
            "file": str(log),
            "line": 1,
            "column": 15,
            "code": "nameless-tool",
            "message": "expected the tool's name, found none - at `messages[0].author.name`",
            "position": 0,
            "unit": "message",
        },
        {
            "file": str(bytes_),
            "line": 2,
            "column": 1,
            "code": "invalid-utf-8",
            "message": "expected UTF-8, found the byte 0xe9",
            "position": None,
            "unit": None,
        },
    ]


def test_columns_of_bytes_that_are_no_utf_8_count_characters(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes("\ufeffé\n日本".encode() + b"\xff")
    assert validate(file)[1] == [f"{file}:2:3: invalid-utf-8 expected UTF-8, found the byte 0xff"]


def test_commands_for_github(tmp_path: Path) -> None:
    file = tmp_path / "50%, a:b\r\n.jsonl"
    file.write_bytes(record(messages=[{"role": "50%\r\n::error::", "content": ""}]) + record(text="x\n%"))
    status, lines, _ = validate(file, "--format", "github")
    assert status == 1
    place = f"::error file={tmp_path}/50%25%2C a%3Ab%0D%0A.jsonl"
    assert lines == [
        f"{place},line=1,col=24,title=invalid-record::Invalid enum value '50%25\\r\\n::error::' - at "
        "`$.messages[0].role`",
        f"{place},line=2,col=11,title=expected-start::expected `<|start|>` or the end of the input, found `x` at 1:1 "
        "of `text`",
    ]


def test_standard_input() -> None:
    assert validate("-", stdin=TEXT.encode() + b"\n") == (0, [], "")
    assert validate("-", stdin=b"[200006,1428,200008,64,200007]") == (0, [], "")
    assert validate("-", stdin=b" \n\n\t" + record(tokens=[64]))[1][0].startswith("-:3:14: expected-start")
    assert validate("-", stdin=b" \n")[1][0].startswith("-:1:1: expected-start")
    assert validate("-", stdin=b"<|start|>{")[1][0].startswith("-:1:11: truncated-header")
    assert validate("-", "-", stdin=record(tokens=IDS)) == (0, [], "")


def test_a_name_that_is_not_unicode(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\x1b.txt"))
    file.write_text("x")
    status, lines, _ = validate(file)
    assert (status, lines[0].partition(": ")[0]) == (1, rf"{tmp_path}/\udcff\n\x1b.txt:1:1")
    assert [problem["file"] for problem in as_json(file)] == [str(file)]
    assert validate(file, "--format", "github")[0] == 1
    assert "cannot be read" in validate(f"{file}x")[2]


def test_files_that_cannot_be_read_hide_no_problems(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("x")
    status, lines, said = validate(tmp_path, file, tmp_path / "none.jsonl", file, "--format", "json")
    assert (status, [problem["file"] for problem in json.loads("".join(lines))]) == (2, [str(file)] * 2)
    assert said.splitlines() == [
        f"harmony: {tmp_path}: expected a file named {suffixes()}, found none",
        f"harmony: {tmp_path}/none.jsonl cannot be read: No such file or directory",
        "harmony: 2 problems in 2 files",
    ]
    assert validate(tmp_path, "--format", "json")[:2] == (2, ["[]"])


def test_input_that_does_not_wait_is_not_taken_for_its_end() -> None:
    for written in (b"", b"{}\n", b"x"):
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.write(writing, written)
        command = [sys.executable, "-m", "harmony", "validate", "-"]
        done = subprocess.run(command, stdin=reading, capture_output=True, timeout=120)
        os.close(reading)
        os.close(writing)
        assert done.returncode == 2
        after = b" after 1 line" if written == b"{}\n" else b""
        said = b"harmony: standard input cannot be read%b: Resource temporarily unavailable\n"
        assert done.stderr.startswith(said % after)


LINTED = [
    ("called.jsonl", record(messages=[MESSAGE, {**ANSWER, "recipient": "user"}]), "final-with-recipient", (1, 49)),
    ("log.jsonl", record(messages=[MESSAGE, ANSWER, {**ANSWER, "channel": "analysis"}]), "after-final", (1, 108)),
    ("order.txt", f"{TEXT}<|start|>system<|message|>a<|end|>".encode(), "wrong-order", (2, 13)),
    ("order.ids", b"200006 1428 200008 64 200007\n[200006, 17360, 200008, 200007]\n", "wrong-order", (2, 2)),
    ("order.jsonl", record(text="<|start|>assistant<|message|>a<|end|>"), "wrong-order", (1, 11)),
]


def test_lint(tmp_path: Path) -> None:
    files = []
    for name, data, _, _ in LINTED:
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    assert validate(*files) == (0, [], "")
    found = as_json(*files, "--lint")
    assert [(problem["file"], problem["code"], (problem["line"], problem["column"])) for problem in found] == [
        (str(file), code, place) for file, (_, _, code, place) in zip(files, LINTED, strict=True)
    ]
    assert [(problem["unit"], problem["position"]) for problem in found] == [("message", n) for n in (1, 2, 1, 1, 0)]
    assert all(problem["message"].endswith(f" at message {problem['position']}") for problem in found)

    selected = as_json(*files, "--lint", "--select", "after-final, final-with-recipient", "--select", "unknown-channel")
    assert selected == found[:2]
    assert as_json(*files, "--lint", "--ignore", "wrong-order", "--ignore", "after-final") == found[:1]
    assert as_json(*files, "--lint", "--select", "wrong-order", "--ignore", "wrong-order,after-final") == []


def test_lint_of_completions_and_prompts() -> None:
    text = "<|channel|>final<|message|>a<|end|><|start|>assistant<|channel|>final to=user<|message|>a<|call|>"
    options = ("--lint", "--ignore", "wrong-order", "--start")
    assert [p["column"] for p in as_json("-", *options, "completion", stdin=text.encode())] == [36]
    prompt = f"<|start|>assistant{text}<|start|>assistant".encode()
    assert [p["column"] for p in as_json("-", *options, "prompt", stdin=prompt)] == [54]
    user = record(tokens=[200008, 64, 200007], role="user")
    assert as_json("-", "--lint", "--start", "completion", stdin=user) == []


def test_what_the_grammar_refuses_is_not_linted() -> None:
    found = as_json("-", "--lint", stdin=b"<|start|>assistant<|message|>a")
    assert [problem["code"] for problem in found] == ["truncated-content"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("log.parquet",), "log.parquet cannot be read: No such file or directory"),
        (("-", "--start", "end"), "'end' is not one of"),
        (("-", "--format", "xml"), "'xml' is not one of"),
        (("-", "--select", "wrong-order"), "--select and --ignore need --lint"),
        (("-", "--ignore", "wrong-order"), "--select and --ignore need --lint"),
        (("-", "--lint", "--select", "wrong-order,nope"), "got `nope` - at `select`"),
        (("-", "--lint", "--ignore", "nope"), "got `nope` - at `ignore`"),
        (("-", "--lint", "--select", ""), "got `` - at `select`"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], text: str) -> None:
    status, lines, said = validate(*arguments, stdin=b"x")
    assert (status, lines) == (2, [])
    assert text in said


def test_a_rule_whose_library_is_missing(tmp_path: Path) -> None:
    (tmp_path / "jsonschema.py").write_text("raise ModuleNotFoundError(name='jsonschema')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    status, _, said = validate("-", "--lint", "--select", "unusable-schema", PYTHONPATH=path)
    assert (status, "pip install jsonschema, or the extra `lint` of harmony-codec" in said) == (2, True)
    assert validate("-", "--lint", PYTHONPATH=path) == (0, [], "")


def test_a_long_log_is_not_held_in_memory(tmp_path: Path) -> None:
    log = tmp_path / "long.jsonl"
    with log.open("wb") as file:
        for number in range(400):
            file.write(record(padding="p" * 250_000, tokens=IDS if number % 100 else [64]))
    _, peak, output, _ = measured("validate", str(log))
    lines = output.splitlines()
    assert [line.removeprefix(f"{log}:").partition(":")[0] for line in lines] == ["1", "101", "201", "301"]
    assert peak < 90_000_000 < log.stat().st_size


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes((EXAMPLES / "completions.jsonl").read_bytes() * 40)  # whose problems are more than a pipe holds
    command = f"{sys.executable} -m harmony validate {log} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, b"")


def test_a_terminal_that_knows_few_characters() -> None:
    text = "<|start|>user<|message|>日<|end|>日".encode()
    assert (
        validate("-", stdin=text, PYTHONIOENCODING="latin-1")[1][1]
        == r"    <|start|>user<|message|>\u65e5<|end|>\u65e5"
    )
    status, lines, _ = validate("-", "--format", "json", stdin=text, PYTHONIOENCODING="latin-1")
    assert (status, "日" in json.loads("".join(lines))[0]["excerpt"]) == (1, True)


def test_help_shows_an_example_each() -> None:
    for command in ("validate", "grammar"):
        status, lines, _ = run(command, "--help")
        assert status == 0
        assert f"Example: harmony {command}" in "\n".join(lines)
        assert max(map(len, lines)) <= 80
