"""Completions as lines of JSON: both engines give what the library gives for each record, and each fault is its own."""

from __future__ import annotations

import datetime
import json
import os
import random
import subprocess
import sys
from array import array
from collections import Counter
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harmony import HarmonyEncoding, HarmonyError, Role, load_harmony_encoding
from harmony.columns.rows import Columns, read_messages
from harmony.logs.completions import Completions, Tally
from harmony.logs.json_py import Ids, Writer
from harmony.logs.reading import RecordReader
from harmony.logs.records import FieldTaken, Layout, Names
from harmony.messages.model import flat_messages
from helpers.cases import CASES, LOG
from helpers.paths import DATA, SAMPLE

COMPILED = [] if os.environ.get("HARMONY_EXTENSION") == "no" else [import_module("harmony.logs.json_c")]
GOOD = b'{"tokens":[200008,12194,200002]}\n'


#: The fields of the output that a bad record gets before its error.
BAD = b'"messages":null,"complete":false,"diagnostics":null,'


def parsed(data: bytes, *, strict: bool = False, names: Names = Names()) -> Completions:  # noqa: B008
    return RecordReader(Layout(names)).lines(data, 1).parse(strict=strict, bare=False)


def records(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


space = st.sampled_from(["", "", "", " ", "\t", "\n", "\r", "  \r\n", "\v", "\f", "\0", "\xa0"])
integer = st.one_of(
    st.integers(0, 201_088),
    st.integers(0, (1 << 32) - 1),
    st.sampled_from([0, 9, 10, 9_999_999, 10_000_000, 99_999_999, (1 << 32) - 1]),
).map(str)
odd = st.one_of(
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.sampled_from(
        [
            *(str(1 << 32), "9" * 10, "9" * 11, "9" * 30, "-1", "-0", "00", "01", "007", "+1", "1.0", "1.5", "1e3"),
            *(
                "1E-2",
                "0x10",
                "null",
                "true",
                '"1"',
                "[]",
                "[1]",
                "{}",
                "NaN",
                "",
                "1 2",
                "1,",
                ",1",
                "]",
                "[",
                "\u0661",
            ),
        ]
    ),
)


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """An array of integers as JSON has it; some with something else in it, and some cut short."""
    items = draw(st.lists(integer, max_size=12))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), draw(odd))
    spaced = draw(st.booleans())
    around = [draw(space) if spaced else "" for _ in range(2 * len(items) + 4)]
    inner = ",".join(around.pop() + item + around.pop() for item in items)
    written = f"{around.pop()}[{around.pop() if not items else ''}{inner}]{around.pop()}".encode()
    return written[: draw(st.integers(0, len(written)))] if draw(st.integers(0, 3)) == 0 else written


def ids_in(written: bytes) -> list[int] | None:
    """What Python's json says that the integers are; None where they are not all uint32."""
    try:
        found = json.loads(written.decode())  # of bytes, it would also read UTF-16
    except (ValueError, RecursionError):
        return None
    fits = isinstance(found, list) and all(type(item) is int and 0 <= item < 1 << 32 for item in found)
    return found if fits else None


@given(written=arrays(), before=st.booleans())
@example(written=b"", before=False)
@example(written=b"[]", before=False)
@example(written=b"\0[\0]", before=False)
@example(written=b"[" * 100_000, before=True)
@example(written=b"[4294967295,4294967296]", before=True)
@example(written=b"[" + b"200008, " * 10_000 + b"1]", before=True)
def test_ids_out_of_an_array(written: bytes, before: bool) -> None:
    expected = ids_in(written)
    for module in [import_module("harmony.logs.json_py"), *COMPILED]:
        ids: Ids = module.Ids()
        assert not before or ids.scan(b"[7]")
        fits = ids.scan(written)
        # The compiled one leaves a negative zero to the other way of reading, which takes it.
        assert fits == (expected is not None) or (not fits and b"-0" in written)
        found = [*([7] if before else []), *(expected if fits and expected else [])]
        assert (list(ids.view()), len(ids)) == (found, len(found))


@pytest.mark.parametrize("module", [import_module("harmony.logs.json_py"), *COMPILED])
def test_an_array_cut_short_gives_no_ids(module: ModuleType) -> None:
    written = b" [ 200008,\t12194 , 4294967295,0\r\n, 200002 ] "
    whole = written.rindex(b"]") + 1
    for stop in range(len(written) + 1):
        ids: Ids = module.Ids()
        assert ids.scan(written[:stop]) == (stop >= whole)
        assert len(ids) == (5 if stop >= whole else 0)


text = st.text(
    st.one_of(
        st.sampled_from(
            [*map(chr, range(0x20)), '"', "\\", "/", "\x7f", "\x80", "\u2028", "\ufeff", "\ufffd", "🤷", "a"]
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)
name = st.none() | text.filter(bool) | st.sampled_from(['"text":"', "functions.f", "a\\", "\x00", "名"])
message = st.tuples(st.sampled_from([role.value for role in Role]), name, name, name, name, text)


def columns_of(conversations: list[list[tuple[str | None, ...]]]) -> Columns:
    """Columns of messages, each with role, name, recipient, channel, content type and content."""
    values: list[list[str]] = [[] for _ in range(5)]
    codes = [array("i") for _ in range(5)]
    rows, offsets, content = array("q", [0]), array("q", [0]), bytearray()
    for conversation in conversations:
        for *header, written in conversation:
            for value, found, column in zip(header, values, codes, strict=True):
                if value is not None and value not in found:
                    found.append(value)
                column.append(-1 if value is None else found.index(value))
            content += (written or "").encode()
            offsets.append(len(content))
        rows.append(len(offsets) - 1)
    none = array("i")
    role, author, recipient, channel, content_type = codes
    return Columns(
        rows=rows, complete=bytearray(len(conversations)), conversation=none, offsets=offsets, message=none, role=role,
        name=author, recipient=recipient, channel=channel, content_type=content_type, content_tokens=none, end=none,
        content=content, values=values, diagnostics={}, errors={},
    )  # fmt: skip


@given(st.lists(st.lists(message, max_size=4), min_size=1, max_size=3))
@example([[]])
@example([[("assistant", None, None, None, None, "")], []])
@example([[("assistant", None, None, None, None, "".join(map(chr, range(0x180))))]])
@example([[("tool", '"text":"', None, None, None, "1234567\n"), ("tool", '"text":"', None, None, None, '12345678"')]])
def test_messages_into_json(conversations: list[list[tuple[str | None, ...]]]) -> None:
    columns = columns_of(conversations)
    writers: list[Writer] = [module.Writer(columns) for module in [import_module("harmony.logs.json_py"), *COMPILED]]
    for index, conversation in enumerate(conversations):
        expected = msgspec.json.encode(flat_messages(read_messages(columns, index)))
        assert [writer.messages(index) for writer in writers] == [expected] * len(writers)
        for given_message, found in zip(conversation, json.loads(expected), strict=True):
            role, author, recipient, channel, content_type, written = given_message
            assert (found["role"], found["name"], found.get("recipient")) == (role, author, recipient)
            assert (found.get("channel"), found.get("content_type")) == (channel, content_type)
            assert [part["text"] for part in found["content"]] == [written]


def expected_of(record: dict[str, Any], encoding: HarmonyEncoding, *, strict: bool) -> dict[str, Any]:
    """What becomes of a record, as the library's own methods say."""
    source, role = record.get("tokens"), role_of(record)
    completion = "text" if source is None else "tokens"
    passed = {name: value for name, value in record.items() if name != completion}
    try:
        if source is None:
            result = encoding.parse_text(record["text"], role, strict=strict)
        else:
            result = encoding.parse(source, role, strict=strict)
    except HarmonyError as error:
        told = {"code": error.code, "message": str(error), "position": error.position}
        added = {"messages": None} if "messages" not in record else {}
        return {**record, **added, "complete": False, "diagnostics": None, "error": told}
    added = {"messages": json.loads(msgspec.json.encode(flat_messages(result.messages))), "complete": result.complete}
    added["diagnostics"] = msgspec.to_builtins(result.diagnostics) or None
    return {**passed, **added, "error": None}


def role_of(record: dict[str, Any]) -> Any:
    """The role of a record's first message. If its field is left out, the completion may be a conversation."""
    source = record.get("tokens")
    begins = record["text"].startswith("<|start|>") if source is None else source[:1] == [200006]
    return record.get("role", None if begins else "assistant")


def mutated(rounds: int) -> list[dict[str, Any]]:
    """Records of the sample with tokens changed, cut, doubled, swapped and lost, and with roles."""
    chance = random.Random(5)
    sources = [record["tokens"] for record in records(SAMPLE.read_bytes()) if "tokens" in record]
    specials = [200002, 200003, 200005, 200006, 200007, 200008, 200012, 199_998, 201_088, 201_089, (1 << 32) - 1]
    made = []
    for number in range(rounds):
        tokens = list(chance.choice(sources))[: chance.choice([20, 60, 400])]
        for _ in range(chance.randint(0, 4)):
            at = chance.randrange(len(tokens) + 1)
            others = chance.choice(sources)
            step = chance.randint(1, 8)
            change: list[list[int]] = [[chance.choice(specials)], [], others[:step], [chance.randrange(200_000)]]
            tokens[at : at + chance.randint(0, 2)] = chance.choice(change)
        if number % 20 == 0:
            tokens.insert(chance.randrange(len(tokens) + 1), chance.choice([-1, 1 << 32, 1 << 70]))
        record: dict[str, Any] = {"id": number, "tokens": tokens}
        if chance.random() < 0.5:
            record["role"] = chance.choice([None, *(role.value for role in Role)])
        made.append(record)
    return made


def many_records() -> list[dict[str, Any]]:
    return [*records(SAMPLE.read_bytes()), *LOG, *mutated(600)]


@pytest.mark.parametrize("strict", [False, True])
def test_records_give_what_the_library_gives(encoding: HarmonyEncoding, strict: bool) -> None:
    read = many_records()
    data = b"".join(json.dumps(record).encode() + b"\n" for record in read)
    completions = parsed(data, strict=strict)
    found = records(completions.to_json())
    expected = [expected_of(record, encoding, strict=strict) for record in read]
    for one, other in zip(found, expected, strict=True):
        assert one == other
    assert completions.tally() == tally_of(read, found)
    code = (
        "import sys; from harmony.logs.reading import *;"
        "from harmony.runtime.compiled import COMPILED;"
        f"assert not COMPILED; read = RecordReader().lines(sys.stdin.buffer.read(), 1);"
        f"done = read.parse(strict={strict}, bare=False);"
        "sys.stdout.buffer.write(done.to_json())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=data,
        capture_output=True,
        check=True,
        env={**os.environ, "HARMONY_EXTENSION": "no"},
    )
    assert done.stdout == completions.to_json()


def before_error(record: dict[str, Any]) -> int:
    """How many messages a bad record has before its error, which its line does not show."""
    encoding = load_harmony_encoding("HarmonyGptOss")
    role = role_of(record)
    by_tokens, by_text = partial(encoding.parse, role=role), partial(encoding.parse_text, role=role)
    with pytest.raises(HarmonyError) as raised:
        by_tokens(record["tokens"]) if "tokens" in record else by_text(record["text"])
    return len(raised.value.messages)


def tally_of(read: list[dict[str, Any]], found: list[dict[str, Any]]) -> Tally:
    """What there is in records, counted from the lines that they gave."""
    tally = Tally(len(read), 0, sum(len(record.get("tokens", ())) for record in read))
    for number, record in enumerate(found, 1):
        error = record["error"]
        tally.messages += len(record["messages"]) if error is None else before_error(record)
        if error is not None and tally.first_error is None:
            place = "" if " in line " in error["message"] else f" - in line {number}"
            tally.first_error = error["message"] + place
        for codes, faults in (
            (tally.errors, [] if error is None else [error]),
            (tally.diagnostics, record["diagnostics"] or []),
        ):
            for fault in faults:
                codes[fault["code"]] = codes.get(fault["code"], 0) + 1
    return tally


def test_completions_as_models_break_them() -> None:
    data = (DATA / "completions.jsonl").read_bytes()
    with pytest.raises(FieldTaken, match=r"^in line 1: the field `messages` of the log would be replaced by that of "):
        parsed(data).to_json()
    repaired, refused = (records(parsed(data, strict=strict).to_json("parsed")) for strict in (False, True))
    for case, outer, outer_strictly in zip(CASES, repaired, refused, strict=True):
        after, strictly = outer.pop("parsed"), outer_strictly.pop("parsed")
        kept = {name: value for name, value in case.items() if name != "text"}
        assert (outer, outer_strictly) == (kept, kept if strictly["error"] is None else case)
        found = [
            {name: value for name, value in message.items() if value is not None}
            | {"content": "".join(part["text"] for part in message["content"])}
            for message in after["messages"]
        ]
        assert found == case["messages"]
        assert after["complete"] == case["complete"]
        assert (after["diagnostics"] is not None, strictly["error"] is not None) == (case["strict"] == "error",) * 2
        assert strictly["error"] is not None or strictly == after


#: What is wrong with a line: its code, and a part of its message.
FAULTS = [
    (b"nope", "invalid-json", "invalid character"),
    (b'{"tokens":[200008,64', "invalid-json", "truncated"),
    (b'{"tokens":[200008]} {}', "invalid-json", "trailing characters"),
    (b'{"tokens":[01]}', "invalid-json", "invalid number"),
    (b'{"tokens":[1,]}', "invalid-json", "trailing comma"),
    (b'{"tokens":[+1]}', "invalid-json", "invalid character"),
    (b'{"tokens":[NaN]}', "invalid-json", "invalid character"),
    (b'{"tokens":[1],"x":"\x01"}', "invalid-json", "invalid"),
    (b"[1]", "invalid-json", "Expected `object`, got `array`"),
    (b'"a"', "invalid-json", "Expected `object`, got `str`"),
    (b"null", "invalid-json", "Expected `object`, got `null`"),
    (b'{"id":"\xc3"}', "invalid-utf-8", "found the byte 0xc3 at byte 7 of line"),
    (b'{"tokens":' + b"[" * 1_000 + b"]" * 1_000 + b"}", "too-deep", "nested less deeply"),
    (b'{"x":' + b'{"y":' * 1_000 + b"0" + b"}" * 1_000 + b"}", "too-deep", "nested less deeply"),
    (b"{}", "invalid-record", "expected a completion at `tokens` or `text`, found none"),
    (b'{"tokens":null,"text":null}', "invalid-record", "expected a completion at `tokens` or `text`, found none"),
    (b'{"Tokens":[1]}', "invalid-record", "expected a completion at `tokens` or `text`, found none"),
    (b'{"tokens":{}}', "invalid-record", "Expected `array`, got `object` - at `$.tokens`"),
    (b'{"tokens":"1"}', "invalid-record", "Expected `array`, got `str` - at `$.tokens`"),
    (b'{"tokens":7}', "invalid-record", "Expected `array`, got `int` - at `$.tokens`"),
    (b'{"tokens":[1,null]}', "invalid-record", "Expected `int`, got `null` - at `$.tokens[1]`"),
    (b'{"tokens":[1.0]}', "invalid-record", "Expected `int`, got `float` - at `$.tokens[0]`"),
    (b'{"tokens":[1e3]}', "invalid-record", "Expected `int`, got `float` - at `$.tokens[0]`"),
    (b'{"tokens":[[1]]}', "invalid-record", "Expected `int`, got `array` - at `$.tokens[0]`"),
    (b'{"tokens":[%s]}' % (b"9" * 5_000), "invalid-record", "out of range"),
    (b'{"text":["a"]}', "invalid-record", "Expected `str`, got `array` - at `$.text`"),
    (b'{"tokens":[],"role":"Boss"}', "invalid-record", "Boss"),
    (b'{"tokens":[],"role":["user"]}', "invalid-record", "Expected `str | null`, got `array` - at `$.role`"),
]


@pytest.mark.parametrize("strict", [False, True])
def test_each_fault_is_the_error_of_its_record(strict: bool) -> None:
    data = GOOD + b"".join(line + b"\n" + GOOD for line, _, _ in FAULTS)
    completions = parsed(data, strict=strict)
    found = completions.to_json().splitlines()
    assert found[::2] == [parsed(GOOD).to_json().rstrip()] * (len(FAULTS) + 1)
    for number, ((line, code, part), written) in enumerate(zip(FAULTS, found[1::2], strict=True)):
        fields, _, told = written.rpartition(b'"error":')
        error = json.loads(told.removesuffix(b"}"))
        assert (error["code"], error["position"]) == (code, None), line[:40]
        assert part in error["message"]
        assert error["message"].endswith(f"line {2 * number + 2}")
        # What has fields keeps them as they were written.
        own = line.removesuffix(b"}") + b"," * (line != b"{}") if code == "invalid-record" else b"{"
        assert fields == own + BAD
    assert completions.tally().errors == dict(Counter(code for _, code, _ in FAULTS))


@pytest.mark.parametrize(
    ("token", "found"), [(b"-1", "-1"), (b"4294967296", "4294967296"), (b"9" * 30, "9" * 30), (b"201089", "201089")]
)
def test_a_token_that_is_none_is_a_fault_of_the_completion(token: bytes, found: str) -> None:
    data = GOOD + b'{"id":1,"tokens":[200008,64,%s,200002]}\n' % token + GOOD
    good, kept, after = records(parsed(data).to_json())
    assert good == after
    assert kept["messages"][0]["content"][0]["text"] == "a\ufffd"
    assert [(repair["code"], repair["position"]) for repair in kept["diagnostics"]] == [("replaced-token", 2)]
    assert found in kept["diagnostics"][0]["message"] or len(found) == 30
    _, refused, _ = records(parsed(data, strict=True).to_json())
    assert (refused["error"]["code"], refused["error"]["position"]) == ("invalid-token", 2)
    assert refused["tokens"] == [200008, 64, int(token), 200002]


def test_a_line_of_a_hundred_megabytes_harms_no_other() -> None:
    size = 100_000_000
    long = b'{"prompt":"%s","tokens":[200008,12194,200002]}\n' % (b"p" * size)
    found = parsed(GOOD + long + long[:-40] + b"\n" + GOOD).to_json().splitlines()
    assert [len(line) > size for line in found] == [False, True, False, False]
    assert found[0] == found[3]
    assert found[1] == b'{"prompt":"%s",%s' % (b"p" * size, found[0].removeprefix(b"{"))
    assert json.loads(found[2])["error"]["code"] == "invalid-json"


def test_blank_lines_a_mark_of_byte_order_and_the_end() -> None:
    data = (
        b"\xef\xbb\xbf"
        + GOOD
        + b"\n \t\r\n"
        + GOOD.replace(b"\n", b"\r\n")
        + b"\xef\xbb\xbf"
        + GOOD
        + b"{\n"
        + GOOD[:-1]
    )
    first, second, marked, broken, last = records(parsed(data).to_json())
    assert first == second == last
    assert "(byte 0)" in marked["error"]["message"]
    assert broken["error"]["message"].endswith("in line 6")
    assert parsed(b"").to_json() == parsed(b"\n \n").to_json() == b""
    assert parsed(b"\n").tally() == Tally()


OWN = {"messages": b"1", "complete": b'"c"', "diagnostics": b'{"b":1.50}', "error": b"[]"}


@pytest.mark.parametrize("name", OWN)
def test_fields_that_have_the_names_of_what_is_added(name: str) -> None:
    own = b'"%s":%s,' % (name.encode(), OWN[name])
    told = f"^in line 3: the field `{name}` of the log would be replaced by that of the output: give a key for the "
    for completion in (b'"tokens":[200008,12194,200002]', b'"tokens":[9,9],"role":"user"'):
        lines = parsed(GOOD + b"\n{%s%s}\n" % (own, completion))
        with pytest.raises(FieldTaken, match=told + "output, such as --into harmony$"):
            lines.to_json()
        kept = lines.to_json("harmony").splitlines()[1]
        role = b'"role":"user",' if b"role" in completion else b""
        assert kept.startswith(b'{%s%s"harmony":{"messages":[{"role":"' % (own, role))
        assert [*json.loads(kept)["harmony"]] == ["messages", "complete", "diagnostics", "error"]
    # What is null says nothing, and may be replaced.
    (alone,) = records(parsed(GOOD).to_json())
    assert records(parsed(b'{"%s":null,%s' % (name.encode(), GOOD[1:])).to_json()) == [alone]


def test_the_messages_of_a_bad_record_stay() -> None:
    bad = parsed(b'{"messages":[1],"tokens":7}\n').to_json()
    assert bad.startswith(b'{"messages":[1],"tokens":7,"complete":false,"diagnostics":null,"error":{"code"')
    for name in ("complete", "diagnostics", "error"):
        with pytest.raises(FieldTaken, match=f"^in line 1: the field `{name}` of the log would be replaced"):
            parsed(b'{"%s":%s,"tokens":7}\n' % (name.encode(), OWN[name])).to_json()


def test_everything_may_stand_under_one_key() -> None:
    for line in (GOOD, b'{"tokens":7}\n', b'{"id":1,"messages":[1],"error":"e"}\n'):
        completions = parsed(line)
        (kept,) = records(completions.to_json("out"))
        added = kept.pop("out")
        assert [*added] == ["messages", "complete", "diagnostics", "error"]
        assert kept == ({} if line == GOOD else json.loads(line))
    with pytest.raises(FieldTaken, match=r"^in line 1: the field `id` of the log would be replaced"):
        completions.to_json("id")


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    data = b'{"tokens":7,"id":1,"id":2,"tokens":[200008,12194,200002]}\n{"tokens":[200008],"tokens":7}\n'
    good, bad = records(parsed(data).to_json())
    assert (good["id"], good["complete"]) == (2, True)
    assert bad["error"]["message"].startswith("Expected `array`, got `int` - at `$.tokens`")


def test_other_names_for_the_fields() -> None:
    names = Names("output_ids", "completion", "speaker")
    line = b'{"tokens":"t","role":"r","output_ids":[200008,12194,200002],"speaker":"user"}\n'
    good, empty = records(parsed(line + GOOD, names=names).to_json())
    assert (good.pop("tokens"), good.pop("role")) == ("t", "r")
    assert [message["role"] for message in good["messages"]] == ["user"]
    assert empty["error"]["message"] == "expected a completion at `output_ids` or `completion`, found none - in line 2"


def test_values_of_a_table_as_json() -> None:
    tokens = pa.array([[200008, 12194, 200002], None], pa.list_(pa.uint32()))
    at = datetime.datetime(2025, 9, 8, 8, 28, 18, 123456)
    batch = pa.RecordBatch.from_pydict(
        {
            "id": pa.array([1 << 63, 2], pa.uint64()),
            "at": pa.array([at, None], pa.timestamp("us")),
            "exact": pa.array([1757320098123456789, None], pa.timestamp("ns")),
            "there": pa.array([1757320098123456789, 0], pa.timestamp("ns", "Europe/Berlin")),
            "score": pa.array([0.5, float("nan")]),
            "digest": pa.array([b"\xff", b""]),
            "tags": pa.array([["a", None], []]),
            "tokens": tokens,
        }
    )
    good, bad = records(RecordReader().rows(batch, 1).parse(strict=False, bare=False).to_json())
    assert [message["content"][0]["text"] for message in good.pop("messages")] == ["Hi"]
    assert good == {
        "id": 1 << 63,
        "at": "2025-09-08T08:28:18.123456",
        "exact": "2025-09-08T08:28:18.123456789",
        "there": "2025-09-08T08:28:18.123456789Z",
        "score": 0.5,
        "digest": "/w==",
        "tags": ["a", None],
        "complete": True,
        "diagnostics": None,
        "error": None,
    }
    assert bad.pop("error")["message"] == "expected `tokens`, found null"
    assert (bad["tokens"], bad["messages"], bad["complete"], bad["diagnostics"]) == (None, None, False, None)
    assert (bad["id"], bad["score"], bad["there"]) == (2, "NaN", "1970-01-01T00:00:00.000000000Z")
