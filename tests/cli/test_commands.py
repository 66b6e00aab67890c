"""The command line, run as a process: every record gives one record, and no input gives a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from harmony import Conversation, RenderConversationConfig, load_harmony_encoding
from harmony.format import vocabulary
from harmony.format.choices import Schemas, Style
from helpers.command import GOOD, PLAIN, flat, harmony, on_a_terminal, records
from helpers.paths import CONVERSATIONS, SAMPLE

BAD = [
    (b"nope", "invalid-json", "invalid character"),
    (b'{"tokens":[1,2', "invalid-json", "truncated"),
    (b"[1]", "invalid-json", "Expected `object`, got `array`"),
    (b'{"id":"\xff"}', "invalid-utf-8", "found the byte 0xff at byte 7 of line 8"),
    (b"[" * 100_000, "invalid-json", "Expected `object`, got `array`"),
    (b'{"tokens":' + b"[" * 100_000, "too-deep", "nested less deeply"),
    (b"{}", "invalid-record", "expected a completion at `tokens` or `text`, found none"),
    (b'{"tokens":null}', "invalid-record", "expected a completion at `tokens` or `text`, found none"),
    (b'{"tokens":"a"}', "invalid-record", "Expected `array`, got `str` - at `$.tokens`"),
    (b'{"tokens":[1,"x"]}', "invalid-record", "Expected `int`, got `str` - at `$.tokens[1]`"),
    (b'{"tokens":[1.5]}', "invalid-record", "Expected `int`, got `float` - at `$.tokens[0]`"),
    (b'{"tokens":[true]}', "invalid-record", "Expected `int`, got `bool` - at `$.tokens[0]`"),
    (b'{"text":5}', "invalid-record", "Expected `str`, got `int` - at `$.text`"),
    (b'{"tokens":[],"role":"boss"}', "invalid-record", "Unknown role: 'boss'"),
    (b'{"tokens":[],"role":5}', "invalid-record", "at `$.role`"),
]
#: What the format does not allow: the error's code and a part of its text, the messages meant, and the repairs.
BROKEN: list[tuple[bytes, str, str, list[str], list[tuple[str, int]]]] = [
    (
        b'{"tokens":[200008,64,-1,65,200007]}',
        "invalid-token",
        "Invalid token for decoding: -1",
        ["a\ufffdb"],
        [("replaced-token", 2)],
    ),
    (
        b'{"tokens":[200008,201089]}',
        "invalid-token",
        "Invalid token for decoding: 201089",
        ["\ufffd"],
        [("replaced-token", 1)],
    ),
    (
        b'{"tokens":[200008,340282366920938463463374607431768211456]}',
        "invalid-token",
        "an integer of 129 bits",
        ["\ufffd"],
        [("replaced-token", 1)],
    ),
    (
        b'{"tokens":[200008,64],"role":null}',
        "expected-start",
        'expected `<|start|>`, or `role="assistant"` for a completion, found `<|message|>`',
        ["a"],
        [("missing-start", 0)],
    ),
    (
        b'{"text":"<|message|>a<|end|>b"}',
        "expected-start",
        "found the text `b` at character 19",
        ["a", "b"],
        [("stray-text", 19)],
    ),
    (
        b'{"text":"<|channel|>final {\\"a\\":1}<|return|>"}',
        "unexpected-in-header",
        "found `<|return|>` at character 24",
        ['{"a":1}'],
        [("missing-message", 17)],
    ),
    (
        b'{"text":"<|message|>a<|end|><|return|>\\n"}',
        "expected-start",
        "at character 19",
        ["a"],
        [("extra-stop", 19), ("white-space-between", 29)],
    ),
    (b'{"text":"<|channel|>final"}', "truncated-header", "at character 16", [], [("interrupted-header", 16)]),
]


#: What a bad record gets beside its error.
NOTHING = {"messages": None, "complete": False, "diagnostics": None}


@pytest.mark.parametrize("options", [(), ("--strict",)])
@pytest.mark.parametrize("engine", ["no", ""])
def test_bad_records_are_reported_and_their_neighbours_kept(engine: str, options: tuple[str, ...]) -> None:
    lines = [GOOD]
    for bad, _, _ in BAD:
        lines += [bad, GOOD]
    done = harmony("parse", "-", *options, stdin=b"\n".join(lines), HARMONY_EXTENSION=engine)
    found = records(done.stdout)
    assert done.returncode == 1
    good = len(BAD) + 1
    codes = "invalid-record 9, invalid-json 4, invalid-utf-8 1, too-deep 1"
    assert done.stderr.decode().splitlines() == [
        f"harmony: {len(BAD) + good} records, {good} messages, {3 * good} tokens",
        f"harmony: {len(BAD)} bad records, each with its error: {codes}",
        "harmony: the first error: standard input: JSON is malformed: invalid character (byte 4) - in line 2",
    ]
    assert found[::2] == [found[0]] * (len(BAD) + 1)
    assert found[0]["error"] is None
    for (_, code, text), record in zip(BAD, found[1::2], strict=True):
        assert record["error"]["code"] == code
        assert text in record["error"]["message"]
        assert record["error"]["position"] is None
        assert (record["messages"], record["complete"], record["diagnostics"]) == (None, False, None)


@pytest.mark.parametrize("engine", ["no", ""])
def test_what_the_format_does_not_allow_is_repaired_or_refused(engine: str) -> None:
    log = b"\n".join(line for bad, *_ in BROKEN for line in (bad, GOOD))
    done = harmony("parse", "-", stdin=log, HARMONY_EXTENSION=engine)
    tokens = sum(len(json.loads(line).get("tokens", ())) for line in log.splitlines())
    assert (done.returncode, done.stderr.decode().splitlines()) == (
        0,
        [
            f"harmony: 16 records, 16 messages, {tokens} tokens",
            "harmony: 9 repairs: replaced-token 3, extra-stop 1, interrupted-header 1, missing-message 1, "
            "missing-start 1, stray-text 1, white-space-between 1",
        ],
    )
    repaired = records(done.stdout)
    done = harmony("parse", "-", "--strict", stdin=log, HARMONY_EXTENSION=engine)
    assert (done.returncode, done.stderr.decode().splitlines()) == (
        1,
        [
            f"harmony: 16 records, 10 messages, {tokens} tokens",
            "harmony: 8 bad records, each with its error: expected-start 3, invalid-token 3, truncated-header 1, "
            "unexpected-in-header 1",
            "harmony: the first error: standard input: Invalid token for decoding: -1, expected an id in 0..201088 at "
            "token 2 - in line 1",
        ],
    )
    refused = records(done.stdout)
    assert repaired[1::2] == refused[1::2] == [repaired[1]] * len(BROKEN)
    for case, kept, record in zip(BROKEN, repaired[::2], refused[::2], strict=True):
        bad, code, text, contents, repairs = case
        assert [flat(message)["content"] for message in kept["messages"]] == contents
        assert [(repair["code"], repair["position"]) for repair in kept["diagnostics"]] == repairs
        assert all(repair["message"] and len(repair) == 3 for repair in kept["diagnostics"])
        error = record.pop("error")
        assert error["code"] == code
        assert text in error["message"]
        assert record == {**json.loads(bad), **NOTHING}


@pytest.mark.parametrize("options", [(), ("--strict",)])
@pytest.mark.parametrize("name", ["messages", "complete", "diagnostics", "error"])
def test_fields_with_the_names_of_output_stop_a_run_or_stay_beside_it(name: str, options: tuple[str, ...]) -> None:
    lines = [
        b'{"id":1,"text":"<|message|>a%s","%s":"old"}' % (stop, name.encode()) for stop in (b"<|end|>", b"<|call|>")
    ]
    log = b"\n".join([GOOD, *lines])
    done = harmony("parse", "-", *options, stdin=log)
    assert (done.returncode, done.stderr.decode()) == (
        2,
        f"harmony: standard input: in line 2: the field `{name}` of the log would be replaced by that of the output: "
        "give a key for the output, such as --into harmony\n",
    )
    done = harmony("parse", "-", *options, "--into", "harmony", stdin=log)
    assert (done.returncode, done.stderr) == (0, b"harmony: 3 records, 3 messages, 3 tokens\n")
    plain = records(harmony("parse", "-", *options, stdin=log.replace(b"old", b"").replace(name.encode(), b"x")).stdout)
    for first, second in zip(records(done.stdout)[1:], plain[1:], strict=True):
        assert list(first) == ["id", name, "harmony"]
        assert (first["id"], first[name]) == (1, "old")
        assert first["harmony"] == {key: second[key] for key in ("messages", "complete", "diagnostics", "error")}


def test_rendering_passes_on_diagnostics() -> None:
    (rendered,) = records(harmony("render", "-", stdin=b'{"diagnostics":"old",%s' % PLAIN[1:]).stdout)
    assert rendered["diagnostics"] == "old"


def test_a_bad_record_keeps_what_it_came_with() -> None:
    line = b'{"id":5,"role":"user","tokens":[200008,64,200008],"text":null,"x":[]}'
    (record,) = records(harmony("parse", "-", "--strict", stdin=line).stdout)
    assert record.pop("error")["position"] == 2
    assert record == {**json.loads(line), **NOTHING}


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


@pytest.mark.parametrize("redirection", ["<&-", ">&-"])
def test_closed_standard_streams(redirection: str) -> None:
    command = f"{sys.executable} -m harmony parse - {redirection}"
    done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (
        2,
        b"harmony: standard input, standard output and standard error must be open\n",
    )


def test_other_fields_pass_through_byte_for_byte() -> None:
    fields = rb'"big":123456789012345678901234567890,"x":1.0e400,"y":1.50,"s":"\u00e9\/","n":null,"o":{"b":1, "a":[ ]}'
    done = harmony(
        "parse", "-", "--strict", stdin=b'{%s,"tokens":[200008]}\n\n \r\n{%s,"tokens":[9]}\n' % (fields, fields)
    )
    good, bad = done.stdout.splitlines()
    assert (
        good
        == b'{%s,"messages":[{"role":"assistant","name":null,"content":[{"type":"text","text":""}]}],"complete":false,'
        b'"diagnostics":null,"error":null}' % fields
    )
    added = b'"messages":null,"complete":false,"diagnostics":null,"error":{"code":"truncated-header",'
    assert bad.startswith(b'{%s,"tokens":[9],%s' % (fields, added))


@pytest.mark.parametrize("purpose", ["completion", "conversation"])
@pytest.mark.parametrize("style", get_args(Style))
@pytest.mark.parametrize("schemas", get_args(Schemas))
def test_render_writes_what_the_library_renders(purpose: Any, style: Any, schemas: Any) -> None:
    options = ("--style", style, "--schemas", schemas, "--for", purpose)
    done = harmony("render", str(CONVERSATIONS), *options)
    texts = harmony("render", str(CONVERSATIONS), *options, "--text")
    assert (done.returncode, done.stderr, texts.returncode, texts.stderr) == (0, b"", 0, b"")
    encoding = load_harmony_encoding("HarmonyGptOss")
    config = RenderConversationConfig(style=style, schemas=schemas)
    read, written, spelled = (records(data) for data in (CONVERSATIONS.read_bytes(), done.stdout, texts.stdout))
    for before, after, text in zip(read, written, spelled, strict=True):
        conversation = Conversation.from_dict({"messages": before.pop("messages")})
        tokens = encoding.render_with_spans(conversation, config, purpose=purpose).tokens
        assert after == {**before, "tokens": tokens, "role": None, "error": None}
        assert text == {**before, "text": encoding.decode(tokens), "role": None, "error": None}


def test_render_makes_prompts_unless_told_otherwise(tmp_path: Path) -> None:
    target = tmp_path / "prompts.jsonl"
    assert harmony("render", str(CONVERSATIONS), "-o", str(target)).stdout == b""
    prompts = target.read_bytes()
    options = ("--for", "completion", "--style", "openai", "--output", "-")
    assert harmony("render", "-", *options, stdin=CONVERSATIONS.read_bytes()).stdout == prompts
    assert all(record["tokens"][-2:] == [200006, 173781] for record in records(prompts))


def test_what_is_rendered_can_be_parsed_and_rendered_again() -> None:
    prompts = harmony("render", str(CONVERSATIONS)).stdout
    parsed = harmony("parse", "-", stdin=prompts)
    assert (parsed.returncode, len(records(parsed.stdout))) == (0, len(records(prompts)))
    again = harmony("render", "-", stdin=parsed.stdout).stdout
    assert [record["tokens"] for record in records(again)] == [record["tokens"] for record in records(prompts)]

    texts = harmony("render", str(CONVERSATIONS), "--text").stdout
    for by_tokens, by_text in zip(
        records(parsed.stdout), records(harmony("parse", "-", "--strict", stdin=texts).stdout), strict=True
    ):
        # Its messages spell a marker, which written out reads as one.
        code = by_text["error"] and by_text["error"]["code"]
        assert code == ("expected-start" if by_tokens["id"] == "spelled-markers" else None)
        assert code is not None or by_text == by_tokens


TOOLS = (
    b'{"messages":[{"role":"developer","content":[{"type":"developer_content","tools":'
    b'{"functions":{"name":"functions","tools":[{"name":"f","description":"","parameters":%s}]}}}]}]}'
)
NOT_RENDERED = [
    (b"nope", "invalid-json", None, "invalid character"),
    (b"[1]", "invalid-json", None, "Expected `object`, got `array` - in line 4"),
    (b'{"messages":[', "invalid-json", None, "truncated"),
    (b'\xef\xbb\xbf{"messages":[]}', "invalid-json", None, "invalid character (byte 0)"),
    (b'{"id":"\xff"}', "invalid-utf-8", None, "found the byte 0xff at byte 7"),
    (b'{"messages":' + b"[" * 100_000, "too-deep", None, "nested less deeply"),
    (b"{}", "invalid-record", None, "expected a conversation at `messages`, found none - in line 14"),
    (b'{"messages":null}', "invalid-record", None, "expected a conversation at `messages`, found none"),
    (b'{"messages":{}}', "invalid-record", None, "found an object with neither - at `messages`"),
    (b'{"messages":[1]}', "invalid-record", None, "Expected `object`, got `int` - at `$.messages[0]`"),
    (b'{"messages":[{}]}', "invalid-record", None, "missing required field `role` - at `$.messages[0]`"),
    (b'{"messages":[{"role":"boss","content":""}]}', "invalid-record", None, "'boss' - at `$.messages[0].role`"),
    (b'{"messages":[{"role":"user","content":5}]}', "invalid-record", None, "at `$.messages[0].content`"),
    (b'{"messages":[{"role":"user","content":[{"type":"x"}]}]}', "invalid-record", None, "content[0].type`"),
    (TOOLS % (b'{"default":%s}' % (b"9" * 5000)), "invalid-record", None, "Integer value out of range"),
    (TOOLS % b'{"default":1e400}', "invalid-record", None, "Number out of range"),
    (PLAIN[:-3] + rb'},{"role":"user","content":"\ud800"}]}', "lone-surrogate", 1, "at `messages[1].content[0].text`"),
    (rb'{"messages":[{"role":"\ud800","content":""}]}', "invalid-record", None, "surrogates not allowed"),
    (TOOLS.replace(b'"f"', rb'"\udfff"') % b"{}", "lone-surrogate", 0, "at `messages[0].content[0]"),
    (b'{"messages":[{"role":"tool","content":""}]}', "nameless-tool", 0, "at `messages[0].author.name`"),
    (PLAIN[:-3] + b'},{"role":"user","channel":"<","content":""}]}', "unwritable-name", 1, "`messages[1].channel`"),
    (
        b'{"messages":[{"role":"user","content":[{"type":"system_content"}]}]}',
        "misplaced-content",
        0,
        "at `messages[0].content[0]`",
    ),
    (PLAIN.replace(b'"a"', b'"%s"' % (b"a b " * 1_100_000)), "too-long", 0, "expected at most 1,048,576 tokens"),
    (PLAIN.replace(b'"a"', b'"%s"' % (b" " * 1_000_001)), "cannot-encode", 0, "at `messages[0].content[0].text`"),
]


@pytest.mark.parametrize("options", [(), ("--text",)])
def test_records_that_cannot_be_rendered_keep_their_fields(options: tuple[str, ...]) -> None:
    lines = [b'{"id":0,%s' % PLAIN[1:]] * 2
    for bad, *_ in NOT_RENDERED:
        lines += [bad, lines[0]]
    done = harmony("render", "-", "--from", "harmony", *options, stdin=b"\n".join(lines[1:]))
    assert done.returncode == 1
    assert done.stderr == f"harmony: {len(NOT_RENDERED)} bad records, each with its error\n".encode()
    written = done.stdout.splitlines()
    assert written[::2] == [written[0]] * (len(NOT_RENDERED) + 1)
    assert ("text" if options else "tokens") in json.loads(written[0])
    for (bad, code, position, text), line in zip(NOT_RENDERED, written[1::2], strict=True):
        fields, _, error = line.rpartition(b'"error":')
        found = json.loads(error[:-1])
        assert (found["code"], found["position"]) == (code, position), text
        assert text in found["message"]
        if code in ("invalid-json", "invalid-utf-8", "too-deep"):
            assert fields == b"{"
        elif b"\\u" not in bad:
            assert fields.removesuffix(b",") == bad.removesuffix(b"}")


@pytest.mark.parametrize("command", ["parse", "render"])
def test_an_old_error_of_null_is_replaced_and_another_is_not(command: str) -> None:
    rest = GOOD[1:] if command == "parse" else PLAIN[1:]
    done = harmony(command, "-", stdin=b'{"error":null,%s\n' % rest)
    assert (done.returncode, records(done.stdout)[0]["error"]) == (0, None)
    done = harmony(command, "-", stdin=b'{"error":"old",%s\n' % rest)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"in line 1: the field `error` of the log would be replaced" in done.stderr


@pytest.mark.parametrize("options", [(), ("--text",)])
@pytest.mark.parametrize("name", ["tokens", "text", "role", "error"])
def test_a_rendering_replaces_no_field(name: str, options: tuple[str, ...]) -> None:
    done = harmony("render", "-", *options, stdin=b'{"%s":"own",%s\n' % (name.encode(), PLAIN[1:]))
    if name in ("role", "error") or (name == "text") == bool(options):
        assert (done.returncode, done.stdout) == (2, b"")
        assert f"in line 1: the field `{name}` of the log would be replaced".encode() in done.stderr
    else:
        assert (done.returncode, records(done.stdout)[0][name]) == (0, "own")


def test_a_rendered_record_passes_its_other_fields_byte_for_byte() -> None:
    other = rb'"big":123456789012345678901234567890,"x":1.0e400,"s":"\u00e9\/","o":{"b":1, "a":[ ]},"complete":true'
    line = b'\xef\xbb\xbf{"role":null,"tokens":%s,"text":%s,%s,%s\r\n\n \r\n'
    ids = b"[200006,1428,200008,64,200007]"
    as_tokens = b'{"role":null,"tokens":%s,"text":"t",%s,"error":null}\n' % (ids, other)
    rendered = harmony("render", "-", "--for", "conversation", stdin=line % (b"null", b'"t"', other, PLAIN[1:]))
    assert rendered.stdout == as_tokens
    as_text = b'{"role":null,"tokens":[1],"text":"<|start|>user<|message|>a<|end|>",%s,"error":null}\n' % other
    options = ("--for", "conversation", "--text")
    assert harmony("render", "-", *options, stdin=line % (b"[1]", b"null", other, PLAIN[1:])).stdout == as_text


def test_single_surrogates_beside_messages_do_not_matter() -> None:
    (record,) = records(harmony("render", "-", stdin=rb'{"x":"\ud800","y":"\ud83e\udd37",' + PLAIN[1:]).stdout)
    assert (record["x"], record["y"], len(record["tokens"])) == ("\ufffd", "🤷", 7)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["parse", "/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
        (["render", "/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
        (["render", str(CONVERSATIONS), "-o", str(CONVERSATIONS)], "is also the input"),
        (["render", str(CONVERSATIONS), "-o", "/dev/full"], "No space left on device"),
        (["render", str(CONVERSATIONS), "--mask"], "--mask needs --for training"),
        (["render", str(CONVERSATIONS), "--for", "training", "--mask", "--text"], "cannot be used with --text"),
        (["render", str(CONVERSATIONS), "--for", "training", "--turns", "all"], "--turns needs --mask"),
        (["render", "conversations.arrow"], "conversations.arrow cannot be read: No such file or directory"),
        (["render", str(CONVERSATIONS), "--messages", "a..b"], "expected a path such as"),
        (["render", str(CONVERSATIONS), "--for", "fun"], "'fun' is not one of"),
        (["render", str(CONVERSATIONS), "--style", "new"], "'new' is not one of"),
        (["tokens", "--ids", "1", "x"], "expected token ids in 0..201088, found `x`"),
        (["tokens", "--ids", "201089"], "expected token ids in 0..201088, found `201089`"),
        (["vocab", "export", "/dev/null/x"], "cannot be written: Not a directory"),
        (["nothing"], "No such command"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    before = SAMPLE.read_bytes(), CONVERSATIONS.read_bytes()
    done = harmony(*arguments)
    assert done.returncode == 2
    assert text in done.stderr.decode()
    assert before == (SAMPLE.read_bytes(), CONVERSATIONS.read_bytes())


def test_a_vocabulary_that_cannot_be_used() -> None:
    done = harmony("parse", str(SAMPLE), TIKTOKEN_ENCODINGS_BASE="/no/such/folder")
    assert done.returncode == 2
    assert b"/no/such/folder/o200k_base.tiktoken cannot be used" in done.stderr


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
    lines, said, status = on_a_terminal("parse", "--strict", str(log))
    assert (said, status) == (b"harmony: 1 bad record, with its error\n", 1)
    assert lines[0].startswith("line 1 · first ──")
    assert lines[1:3] == ["assistant · commentary → functions.f <|constrain|>json", "<|call|>"]
    assert lines[3].startswith(r"{}\x1b[31m \u202e word word")
    assert "line 2 ─" in "\n".join(lines)
    assert "error unexpected-in-header" in "\n".join(lines)
    assert "(the input ends inside a message)" in lines
    assert "(ends in an open <|start|>assistant)" in lines


@pytest.mark.parametrize("options", [(), ("--text",)])
def test_a_terminal_shows_renderings_to_be_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    log = tmp_path / "log.jsonl"
    text = r"\u001b[31m\n\u202e <|end|> " + "word " * 40
    log.write_text(
        f'{{"id":"first","messages":[{{"role":"user","channel":null,"content":"{text}"}}]}}\n{{}}\n{{"messages":[]}}'
    )
    lines, said, status = on_a_terminal("render", str(log), *options)
    assert (said, status) == (b"harmony: 1 bad record, with its error\n", 1)
    assert lines[0].startswith("line 1 · first (58 tokens) ──")
    assert lines[1] == r"<|start|>user<|message|>\x1b[31m"
    assert lines[2].startswith(r"\u202e <|end|> word word")
    end = lines.index("<|start|>assistant")
    assert lines[end - 1].endswith("word <|end|>")
    assert lines[end + 1].startswith("line 2 ─")
    assert lines[end + 2].startswith("error invalid-record: expected a conversation at")
    assert lines[-3].startswith("line 3 (2 tokens) ─")
    assert lines[-2:] == ["<|start|>assistant", ""]


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
    for command in (
        ["parse"],
        ["stats"],
        ["grep"],
        ["render"],
        ["tokens"],
        ["vocab", "info"],
        ["vocab", "export"],
        ["explain"],
    ):
        done = harmony(*command, "--help")
        assert done.returncode == 0
        assert f"Example: harmony {' '.join(command)}" in done.stdout.decode()
    assert harmony("--version").stdout.startswith(b"harmony 0.")
