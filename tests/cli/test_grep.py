"""`harmony grep`: what it finds is what a plain loop over the parsed messages finds, in every form of a log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from harmony.cli.grep import grep
from helpers.command import flat, harmony, measured, on_a_terminal, records
from helpers.paths import CONVERSATIONS, EXAMPLES

LOG = EXAMPLES / "completions.jsonl"
BROKEN = b"""{"id":"cut","text":"<|channel|>final<|message|>Half an ans"}
{"id":7,"text":"<|channel|>commentary to=functions.f<|channel|>analysis<|message|>odd\\u0000one<|end|>"}
{"id":"none","text":"<|channel|>final"}
"""


def searched(*arguments: str | Path) -> Result:
    """What the command gives in this process: there are many questions here, and a process takes long to begin."""
    return CliRunner().invoke(grep, list(map(str, arguments)), catch_exceptions=False)


def lines(name: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_bytes().splitlines()]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str]]]:
    """One log in all its forms, each with the options that read it."""
    folder = tmp_path_factory.mktemp("logs")
    source = folder / "source.jsonl"
    source.write_bytes(LOG.read_bytes() + BROKEN)
    made: dict[str, tuple[Path, list[str]]] = {"source": (source, [])}
    for form, options in {
        "lines.jsonl": [],
        "lines.jsonl.gz": [],
        "flat.parquet": [],
        "nested.arrow": ["--nested"],
        "into.jsonl": ["--into", "out"],
        "into.parquet": ["--into", "out"],
        "into-nested.parquet": ["--into", "out", "--nested"],
    }.items():
        done = harmony("parse", source, "-o", folder / form, *options)
        assert done.returncode == 0, done.stderr
        made[form] = folder / form, [option for option in options if option != "--nested"]
    table = [
        {
            "id": str(record["id"]),
            "tokens": record.get("tokens"),
            "text": record.get("text"),
            "role": record.get("role", "assistant"),
        }
        for record in lines(source)
    ]
    pq.write_table(pa.Table.from_pylist(table), folder / "table.parquet")
    made["table"] = folder / "table.parquet", []
    return made


FORMS = ["source", "lines.jsonl", "lines.jsonl.gz", "flat.parquet", "nested.arrow", "into.jsonl", "into.parquet"]
FORMS += ["into-nested.parquet", "table"]


def text_of(message: dict[str, Any]) -> str:
    return str(flat(message)["content"])


def codes(record: dict[str, Any]) -> set[str]:
    return {each["code"] for each in record["diagnostics"] or ()}


Fits = Callable[[dict[str, Any], dict[str, Any]], Any]
QUERIES: list[tuple[list[str], Fits]] = [
    ([], lambda record, message: True),
    (["boil"], lambda record, message: "boil" in text_of(message)),
    (["-F", "."], lambda record, message: "." in text_of(message)),
    (["-i", "THE"], lambda record, message: "the" in text_of(message).lower()),
    ([r"^At \d"], lambda record, message: re.search(r"^At \d", text_of(message), re.MULTILINE)),
    ([r"full boil.*\.$"], lambda record, message: re.search(r"full boil.*\.$", text_of(message), re.MULTILINE)),
    (["°C"], lambda record, message: "°C" in text_of(message)),
    ([r"\x00"], lambda record, message: "\x00" in text_of(message)),
    (["-e", ""], lambda record, message: True),
    (["--channel", "analysis"], lambda record, message: message.get("channel") == "analysis"),
    (["--role", "tool", "--role", "user"], lambda record, message: message["role"] in ("tool", "user")),
    (
        ["--recipient", "functions.*"],
        lambda record, message: fnmatchcase(message.get("recipient") or "", "functions.*"),
    ),
    (["--content-type", "json"], lambda record, message: message.get("content_type") in ("json", "<|constrain|>json")),
    (["--name", "functions.*"], lambda record, message: (message.get("name") or "").startswith("functions.")),
    (
        ["a", "--channel", "final", "--channel", "commentary", "--role", "assistant"],
        lambda record, message: (
            "a" in text_of(message)
            and message.get("channel") in ("final", "commentary")
            and message["role"] == "assistant"
        ),
    ),
    (["e", "--diagnostic", "other-channel"], lambda record, message: "other-channel" in codes(record)),
    (["a", "--incomplete"], lambda record, message: not record["complete"] and "a" in text_of(message)),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_log_gives_what_a_loop_finds(form: str, logs: dict[str, tuple[Path, list[str]]]) -> None:
    log, options = logs[form]
    parsed = lines(logs["lines.jsonl"][0])
    for query, fits in QUERIES:
        expected, others = [], []
        for number, record in enumerate(parsed, 1):
            for index, message in enumerate(record["messages"]):
                found = (number, str(record["id"]), index, message)
                (expected if fits(record, message) else others).append(found)
        for invert, wanted in (([], expected), (["-v"], others)):
            done = searched(*query, *options, *invert, log)
            found = [
                (hit["record"], str(hit["id"]), hit["index"], hit["message"]) for hit in records(done.stdout_bytes)
            ]
            assert found == wanted, (query, invert)
            assert (done.exit_code, done.stderr) == (0 if wanted else 1, ""), (query, invert)
            assert int(searched(*query, *options, *invert, "-c", log).stdout) == len(wanted)
        assert any(fits(record, message) for record in parsed for message in record["messages"]), query


@pytest.mark.parametrize("engine", ["no", "yes"])
def test_both_engines_find_the_same(engine: str, logs: dict[str, tuple[Path, list[str]]]) -> None:
    log, _ = logs["source"]
    for query in (["boil"], ["--incomplete"], ["--diagnostic", "other-channel"]):
        assert harmony("grep", *query, log, HARMONY_EXTENSION=engine).stdout == harmony("grep", *query, log).stdout


def test_records_without_a_message_are_found_where_records_are_asked_for(
    logs: dict[str, tuple[Path, list[str]]],
) -> None:
    for form in FORMS:
        log, options = logs[form]
        hits = records(searched("--diagnostic", "interrupted-header", *options, log).stdout_bytes)
        assert [(str(hit["id"]), hit["index"], hit["message"]) for hit in hits] == [("none", None, None)], form


def test_whole_records_are_those_of_the_log_byte_for_byte(tmp_path: Path) -> None:
    first = b'{"id": 1.0, "text":"<|channel|>final<|message|>a\\u0062c<|return|>" , "x":[ ] }\r\n'
    second = b'{"text":"<|channel|>final<|message|>other<|return|>"}\n'
    third = b'{"text":"<|channel|>final<|message|>abc<|return|>"}'
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\xef\xbb\xbf" + first + b"\n" + second + third)
    assert harmony("grep", "--records", "abc", log).stdout == first + third + b"\n"
    assert harmony("grep", "--records", "-v", "abc", log).stdout == second
    assert harmony("grep", "--records", "abc", "-m", "1", log).stdout == first
    assert harmony("grep", "--records", log).stdout == first + second + third + b"\n"


def test_records_and_the_others_are_the_whole_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'nope\n{"id":1}\n' + BROKEN)
    for query in (["a"], ["--incomplete"], ["--channel", "final"], ["--error", "invalid-json"]):
        found, others = (searched("--records", *query, *v, log).stdout_bytes.splitlines() for v in ([], ["-v"]))
        assert sorted(found + others) == sorted(log.read_bytes().splitlines())
        assert found
        assert others


@pytest.mark.parametrize("form", ["flat.parquet", "nested.arrow", "into.parquet", "into-nested.parquet", "table"])
def test_records_of_tables_are_a_log_again(form: str, logs: dict[str, tuple[Path, list[str]]], tmp_path: Path) -> None:
    log, options = logs[form]
    done = harmony("grep", "--records", "boil", *options, log)
    again = tmp_path / "again.jsonl"
    again.write_bytes(done.stdout)
    more = options if form != "into.parquet" else []  # rows become a record, as they would be without a key
    hits = records(harmony("grep", "boil", *options, log).stdout)
    found = records(harmony("grep", "boil", *more, again).stdout)
    assert [hit["message"] for hit in found] == [hit["message"] for hit in hits]
    assert hits


def test_one_record_is_found_by_its_number_or_its_id(logs: dict[str, tuple[Path, list[str]]]) -> None:
    last = len(lines(logs["source"][0]))
    for form in FORMS:
        log, options = logs[form]
        for place, number in ((["--record", "2"], 2), (["--id", "7"], last - 1), (["--id", "cut"], last - 2)):
            hits = records(searched(*place, *options, log).stdout_bytes)
            assert {hit["record"] for hit in hits} == {number}, (form, place)
        assert searched("--record", str(last + 1), *options, log).exit_code == 1
        assert searched("--id", "nobody", *options, log).exit_code == 1


def test_a_record_of_a_large_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    row = '{"id":"i%d","text":"<|channel|>final<|message|>number %d<|return|>","pad":"%s"}\n'
    log.write_text("".join(row % (number, number, "p" * 300) for number in range(1, 20_001)))
    for place in (["--record", "17000"], ["--id", "i17000"], ["number 17000"]):
        (hit,) = records(harmony("grep", *place, log).stdout)
        assert (hit["record"], hit["id"], text_of(hit["message"])) == (17_000, "i17000", "number 17000")


def test_a_conversation_over_two_pieces_of_a_flat_table_is_one(tmp_path: Path) -> None:
    log, table = tmp_path / "log.jsonl", tmp_path / "log.parquet"
    answer = "<|channel|>final<|message|>a<|end|><|start|>assistant"
    odd = '{"text":"%s<|channel|>final<|channel|>final<|message|>z<|end|>"}\n' % (answer * 9)
    log.write_text(odd * 2_000)
    assert harmony("parse", log, "-o", table).returncode == 0
    assert pq.ParquetFile(table).metadata.num_rows == 20_000
    assert harmony("grep", "-c", "z", "--diagnostic", "other-channel", table).stdout == b"2000\n"
    assert harmony("grep", "-c", "--records", "z", table).stdout == b"2000\n"


def test_the_counts_and_the_limit_are_those_of_each_file(tmp_path: Path) -> None:
    names = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for name in names:
        name.write_bytes(BROKEN)
    done = harmony("grep", "-c", "-m", "1", "n", *names)
    assert done.stdout.decode() == f"{names[0]}:1\n{names[1]}:1\n"
    assert [hit["file"] for hit in records(harmony("grep", "-m", "1", "n", tmp_path).stdout)] == list(map(str, names))


def test_conversations_are_searched_as_the_model_reads_them() -> None:
    done = harmony("grep", "Knowledge cutoff", CONVERSATIONS)
    hits = records(done.stdout)
    assert {hit["message"]["role"] for hit in hits} == {"system"}
    assert all(hit["message"]["content"][0]["type"] == "system_content" for hit in hits)


def test_messages_of_the_chat_api_are_told() -> None:
    line = b'{"messages":[{"role":"assistant","content":"a","tool_calls":[{"id":"c"}]}]}'
    done = harmony("grep", "a", "-", stdin=line)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"-: 1 record could not be read, the first: expected messages in the JSON form" in done.stderr
    assert b"`tool_calls`" in done.stderr
    done = harmony("grep", "a", "-", stdin=line + b"\n" + BROKEN)
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 1)  # the others are searched


def test_errors_of_records_are_found(tmp_path: Path) -> None:
    log, strict = tmp_path / "log.jsonl", tmp_path / "strict.jsonl"
    log.write_bytes(b'nope\n{"id":1}\n' + BROKEN)
    done = harmony("grep", "--error", "invalid-json", log)
    (hit,) = records(done.stdout)
    assert (hit["record"], hit["message"], hit["error"]["code"]) == (1, None, "invalid-json")
    assert done.returncode == 0
    assert harmony("parse", "--strict", log, "-o", strict).returncode == 1
    code = lines(strict)[4]["error"]["code"]
    hits = records(harmony("grep", "--error", code, strict).stdout)
    assert {hit["record"] for hit in hits} >= {5}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["[a", "{log}"], "expected a regular expression, found `[a`: unterminated character set at character 1"),
        (["--role", "asistant", "{log}"], "expected a role, found `asistant`: did you mean `assistant`?"),
        (["--diagnostic", "other-chanel", "{log}"], "expected the code of a repair, found `other-chanel`: did you"),
        (["--error", "invalid-jsn", "{log}"], "found `invalid-jsn`: did you mean `invalid-json`"),
        (["a", "/no/such/file", "{log}"], "/no/such/file cannot be read: No such file or directory"),
        (["a", ""], "found an empty name"),
        (["-F", "{log}"], "--fixed-strings needs a pattern"),
    ],
)
def test_errors_are_one_sentence_and_status_2(arguments: list[str], text: str) -> None:
    done = harmony("grep", *(argument.replace("{log}", str(LOG)) for argument in arguments))
    assert done.returncode == 2
    assert text in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_a_channel_that_nobody_has_may_be_meant_otherwise() -> None:
    done = harmony("grep", "--channel", "analisys", LOG)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"harmony: expected a channel, found `analisys`: did you mean `analysis`?\n"


def test_the_first_argument_is_a_file_if_there_is_one(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(BROKEN)
    assert harmony("grep", "-c", log, log).stdout.decode() == f"{log}:2\n{log}:2\n"
    assert harmony("grep", "-c", "-e", str(log), log).stdout == b"0\n"


def test_a_terminal_shows_the_match(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(BROKEN + b"nope\n")
    shown, said, status = on_a_terminal("grep", "one", str(log), columns=200)
    assert status == 0
    assert shown[0] == f"{log}:2 7 message 0 assistant · commentary → functions.f"
    assert shown[1] == r"odd\x00one"
    assert b"1 record could not be read, the first: " in said
    shown, _, status = on_a_terminal("grep", "--error", "invalid-json", str(log), columns=200)
    assert (status, shown[0]) == (0, f"{log}:4")
    assert shown[1].startswith("error invalid-json: ")


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    data = LOG.read_bytes()
    sizes = []
    for times in (20, 800):
        log = tmp_path / f"{times}.jsonl"
        with log.open("wb") as file:
            for _ in range(times):
                file.write(data)
        status, peak, _, _ = measured("grep", "-c", "no such text", str(log))
        assert status == 1
        sizes.append(peak)
    assert sizes[1] - sizes[0] < 30_000_000  # the larger log has 25 MB more, which must not all be held
