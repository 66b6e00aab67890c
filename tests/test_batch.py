"""Columns of many completions: they hold what parsing each one by itself gives, whatever the completions hold."""

from __future__ import annotations

import gc
import pickle
import random
import re
import subprocess
import sys
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import Role
from harmony.batch import SCHEMA, parse_batch, parse_table
from harmony.format.vocabulary import CHANNEL, END, MESSAGE, RETURN, START
from helpers.rows import checked, conversation, in_rows
from helpers.sizes import Scale, examples
from helpers.streams import ANYTHING, AUTHORS, ENCODING, LONG_TOKENS, ids, joined, mutated, stream

CODED = ["role", "name", "recipient", "channel", "content_type"]


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with strings in place of dictionaries, whose order depends on which thread was first."""
    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in batch.schema.types]
    return batch.cast(pa.schema(list(zip(batch.schema.names, kinds, strict=True))))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("role", [None, Role.ASSISTANT])
def test_a_batch_is_what_parsing_gives(role: Role | None, strict: bool, scale: Scale) -> None:
    chance = random.Random(7)
    streams = [stream(chance, role) for _ in range(scale(500, 5000))]
    read = [conversation(tokens, role, strict=strict) for tokens in streams]
    expected = in_rows(read)
    # The streams are of all kinds.
    if strict:
        assert len({one["error"]["code"] for one in read if one["error"]}) > 10
    else:
        assert len({found["code"] for one in read for found in one["diagnostics"]}) > 10
    assert {row["stop"] for row in expected} == {None, "end", "call", "return"}
    assert {row["complete"] for row in expected} == {False, True}
    assert {row["message"] for row in expected} >= {None, 0, 4}
    tokens, offsets = joined(streams)
    for threads in (1, 4):
        assert checked(parse_batch(array("I", tokens), offsets, role=role, strict=strict, threads=threads)) == expected


STREAMS = st.lists(
    ANYTHING | mutated() | st.integers(0, 1 << 32).map(lambda n: stream(random.Random(n), None)), max_size=6
)


@examples(300)
@given(streams=STREAMS, role=st.sampled_from([None, *Role]), strict=st.booleans(), threads=st.integers(1, 4))
def test_any_integers(streams: list[list[int]], role: Role | None, strict: bool, threads: int) -> None:
    expected = in_rows([conversation(tokens, role, strict=strict) for tokens in streams])
    tokens, offsets = joined(streams)
    assert checked(parse_batch(tokens, offsets, role=role, strict=strict, threads=threads)) == expected


def test_dictionaries_are_those_of_one_thread() -> None:
    content = [64] * 90
    streams = [[CHANNEL, 64 + index % 83, 16 + index // 60, MESSAGE, *content, RETURN] for index in range(3000)]
    streams[10] = [CHANNEL, 500, MESSAGE, 64, CHANNEL]  # its channel has a row only where it is repaired
    tokens, offsets = joined(streams)
    for strict in (False, True):
        one = parse_batch(tokens, offsets, strict=strict)
        assert one["channel"].dictionary.to_pylist()[:2] == ["a1", "b1"]
        assert one["channel"].dictionary.to_pylist() == list(dict.fromkeys(filter(None, one["channel"].to_pylist())))
        for threads in (2, 3, 8):
            found = parse_batch(tokens, offsets, strict=strict, threads=threads)
            assert found == one
            assert [found[name].dictionary for name in CODED] == [one[name].dictionary for name in CODED]


@pytest.mark.parametrize("threads", [1, 3])
def test_more_headers_than_are_remembered(threads: int) -> None:
    names = [*range(5000), *range(5000), *[4999, 0] * 50]
    streams = [ids(f"<|channel|>kanal-{name}<|message|>{name}<|end|>") for name in names]
    batch = parse_batch(*joined(streams), threads=threads)
    rows = checked(batch)
    assert [row["channel"] for row in rows] == [f"kanal-{name}" for name in names]
    assert [row["content"] for row in rows] == [str(name) for name in names]
    assert not any(row["diagnostics"] for row in rows)
    assert len(batch.column("channel").dictionary) == 5000


@pytest.mark.parametrize("length", [63, 64, 65, 1000])
def test_headers_of_about_the_length_that_is_remembered(length: int) -> None:
    letters = ids("x")[0]
    tokens = [*[CHANNEL] + [letters] * (length - 1), MESSAGE, *ids("Hi"), END]
    rows = checked(parse_batch(tokens * 2, [0, len(tokens), 2 * len(tokens)]))
    assert [(row["channel"], row["content"], row["complete"]) for row in rows] == [("x" * (length - 1), "Hi", True)] * 2


# --- texts that have lost their markers


STRIPPED = [
    "analysisWe need the sky.assistantfinalBlue.",
    "commentary to=functions.sky json{}",
    "Just words 🌤",
    "<|start|>user<|message|>Hi<|end|>finalHo",
    "",
]


def stripped_rows(texts: list[str], role: Role | None) -> list[dict[str, Any]]:
    """What `parse_text` gives for the texts, as rows of SCHEMA."""
    return in_rows([conversation(text, role, strict=False, stripped=True) for text in texts])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("role", [None, *Role])
def test_stripped_tokens_are_read_as_their_text(role: Role | None, threads: int) -> None:
    expected = stripped_rows(STRIPPED, role)
    tokens, offsets = joined([ids(text) for text in STRIPPED])
    for given_tokens in (tokens, array("I", tokens)):
        found = checked(parse_batch(given_tokens, offsets, role=role, stripped=True, threads=threads))
        assert found == expected
    if role in (None, Role.ASSISTANT):
        assert [row["content"] for row in expected[:2]] == ["We need the sky.", "Blue."]
        assert [row["role"] for row in expected[:3]] == ["assistant"] * 3


@pytest.mark.parametrize("roles", [None, "who"])
def test_stripped_texts_of_a_table(roles: str | None) -> None:
    table = pa.table(
        {
            "tokens": pa.array([ids(text) if place % 2 else None for place, text in enumerate(STRIPPED)]),
            "text": [None if place % 2 else text for place, text in enumerate(STRIPPED)],
            "who": pa.nulls(len(STRIPPED), pa.string()),
        }
    )
    result = parse_table(table, tokens="tokens", text="text", roles=roles, role=None, stripped=True)
    assert result.select(SCHEMA.names).to_pylist() == stripped_rows(STRIPPED, None)
    nested = parse_table(table, tokens="tokens", text="text", role=None, stripped=True, nested=True)
    contents = [[message["content"] for message in row["messages"]] for row in nested.to_pylist()]
    assert contents[:3] == [["We need the sky.", "Blue."], ["{}"], ["Just words 🌤"]]


def test_stripped_tokens_that_are_none_and_bytes_that_are_no_text() -> None:
    tokens = [*ids("finalA"), -1, *ids("b🌤")[:-1], 1 << 70, 300_000, *ids("finalHi")]
    cut = len(tokens) - len(ids("finalHi"))
    rows = checked(parse_batch(tokens, [0, cut, len(tokens)], stripped=True))
    assert [row["content"] for row in rows] == ["A\ufffdb\ufffd\ufffd\ufffd", "Hi"]
    replaced = [found["position"] for found in rows[0]["diagnostics"] if found["code"] == "replaced-token"]
    assert replaced == [6, 9, 10]
    fitting = [token for token in tokens if 0 <= token < 1 << 32]
    buffered = checked(
        parse_batch(array("I", fitting), [0, len(fitting) - len(ids("finalHi")), len(fitting)], stripped=True)
    )
    assert [row["content"] for row in buffered] == ["Ab\ufffd\ufffd", "Hi"]


def test_stripped_is_a_guess() -> None:
    expected = "Expected `strict=False` beside `stripped=True`: where lost markers stood is a guess"
    for parse in (
        lambda: parse_batch([], [0], strict=True, stripped=True),
        lambda: parse_table(pa.table({"tokens": [[64]]}), strict=True, stripped=True),
        lambda: ENCODING.parse_text("", strict=True, stripped=True),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            parse()


# --- arguments


TALK = ids("<|channel|>final<|message|>Hei.<|return|>") + ids("<|channel|>analysis<|message|>Hm<|end|>")
CUT = TALK.index(RETURN) + 1


def contents(batch: pa.RecordBatch) -> list[str | None]:
    return [row["content"] for row in checked(batch)]


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        iter,
        lambda tokens: array("I", tokens),
        lambda tokens: array("q", tokens),
        lambda tokens: array("I", tokens).tobytes(),
        lambda tokens: bytearray(array("I", tokens)),
        lambda tokens: memoryview(array("I", tokens)),
        lambda tokens: numpy.array(tokens, "u4"),
        lambda tokens: numpy.array(tokens, "i4"),
        lambda tokens: numpy.array(tokens, ">u4"),
        lambda tokens: numpy.repeat(numpy.array(tokens, "u4"), 2)[::2],
        lambda tokens: pa.array(tokens, pa.uint32()),
        lambda tokens: pa.array(tokens, pa.int64()),
        lambda tokens: pa.array([1, *tokens, 1], pa.uint32())[1:-1],
        lambda tokens: pa.Array.from_buffers(
            pa.uint32(), len(tokens), [None, pa.py_buffer(array("I", tokens).tobytes() + b"end")]
        ),
    ],
)
def test_forms_of_tokens(make: Callable[[list[int]], Any]) -> None:
    assert contents(parse_batch(make(TALK), [0, CUT, len(TALK)])) == ["Hei.", "Hm"]


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        lambda offsets: array("q", offsets),
        lambda offsets: numpy.array(offsets, "i8"),
        lambda offsets: numpy.array(offsets, "i4"),
        lambda offsets: numpy.array(offsets, "u8"),
        lambda offsets: numpy.repeat(numpy.array(offsets, "i8"), 2)[::2],
        lambda offsets: pa.array(offsets, pa.int64()),
        lambda offsets: pa.array(offsets, pa.int32()),
        lambda offsets: pa.array([9, *offsets], pa.int64())[1:],
    ],
)
def test_forms_of_offsets(make: Callable[[list[int]], Any]) -> None:
    assert contents(parse_batch(TALK, make([0, CUT, CUT, len(TALK)]))) == ["Hei.", None, "Hm"]
    assert contents(parse_batch(TALK, make([CUT, len(TALK)]))) == ["Hm"]
    assert contents(parse_batch(TALK, make([CUT]))) == []
    assert contents(parse_batch([7, -1, *TALK, -1], make([2, 2 + CUT]), threads=2)) == ["Hei."]


@pytest.mark.parametrize("threads", [1, 2])
def test_no_completions_at_all(threads: int) -> None:
    assert contents(parse_batch([], [0], threads=threads)) == []
    assert contents(parse_batch(TALK, [3], threads=threads)) == []


def test_more_threads_than_work() -> None:
    for threads in (True, 3, 1 << 70):
        assert contents(parse_batch(TALK, [0, CUT, len(TALK)], threads=threads)) == ["Hei.", "Hm"]


@pytest.mark.parametrize("role", list(Role))
def test_the_given_role(role: Role) -> None:
    for given_role in (role, role.value):
        rows = checked(parse_batch(TALK, [0, CUT, len(TALK)], role=given_role))
        assert [row["role"] for row in rows] == [role.value] * 2


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"offsets": []}, ValueError, "Expected one offset more than completions, found none - at `offsets`"),
    ({"offsets": [0, 2, 1]}, ValueError, "Expected offsets that ascend, found 1 behind 2 - at `offsets[2]`"),
    ({"offsets": [-1, 2]}, ValueError, "Expected offsets in 0..3, found -1 to 2 - at `offsets`"),
    ({"offsets": [0, 4]}, ValueError, "Expected offsets in 0..3, found 0 to 4 - at `offsets`"),
    ({"offsets": [4, 4]}, ValueError, "Expected offsets in 0..3, found 4 to 4 - at `offsets`"),
    ({"offsets": [0, 1 << 70]}, ValueError, "offsets"),
    ({"offsets": numpy.array([0, (1 << 64) - 1], "u8")}, ValueError, "offsets"),
    ({"offsets": [0, 1.0]}, TypeError, "float"),
    ({"offsets": numpy.array([0.0, 1.0])}, TypeError, "float"),
    (
        {"offsets": None},
        TypeError,
        "Expected a list with the token ids of each completion, got `int` - at `tokens[0]`; ",
    ),
    ({"offsets": "02"}, TypeError, "str"),
    ({"offsets": pa.array([0, None])}, TypeError, "Expected integers without a null, got `int64` - at `offsets`"),
    ({"offsets": pa.array(["0"])}, TypeError, "Expected integers without a null, got `string` - at `offsets`"),
    ({"tokens": pa.array([1, None, 2])}, TypeError, "Expected integers without a null, got `int64` - at `tokens`"),
    ({"tokens": pa.array([1.5, 2.5, 3.5])}, TypeError, "Expected integers without a null, got `double` - at `tokens`"),
    ({"tokens": ["a", "b", "c"]}, TypeError, "Expected `int`, got `str` - at token 0"),
    ({"tokens": "abc"}, TypeError, "Expected a sequence of token ids, got `str`"),
    ({"tokens": b"abc"}, ValueError, "Expected bytes that hold uint32 token ids, got 3 bytes"),
    ({"role": "boss"}, ValueError, "Unknown role: 'boss'"),
    ({"role": 5}, TypeError, "Expected `Role`, got `int` - at `role`"),
    ({"threads": 0}, ValueError, "Expected `int` >= 1, got 0 - at `threads`"),
    ({"threads": -3}, ValueError, "Expected `int` >= 1, got -3 - at `threads`"),
    ({"threads": "2"}, TypeError, "Expected `int`, got `str` - at `threads`"),
]


@pytest.mark.parametrize(("arguments", "kind", "text"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as raised:
        parse_batch(**({"tokens": [MESSAGE, 64, END], "offsets": [0, 3]} | arguments))
    assert text in str(raised.value)


# --- memory


def test_columns_outlive_what_they_were_made_of() -> None:
    tokens = array("I", TALK * 1000)
    batch = parse_batch(tokens, array("q", range(0, len(tokens) + 1, len(TALK))), strict=True)
    column = batch.column("content")
    addresses = [buffer.address for buffer in column.buffers() if buffer]
    copied = pickle.loads(pickle.dumps(batch))
    del tokens, batch
    gc.collect()
    ballast = [bytearray(b"\xff" * column.nbytes) for _ in range(20)]  # takes memory that was given back
    assert [buffer.address for buffer in column.buffers() if buffer] == addresses
    assert set(column.to_pylist()) == {"Hei."}  # what follows the first `<|return|>` lacks a `<|start|>`
    assert len(ballast) == 20
    assert checked(copied) == checked(parse_batch(TALK * 1000, range(0, len(TALK) * 1000 + 1, len(TALK)), strict=True))


@pytest.mark.parametrize("threads", [1, 3])
def test_memory_that_is_used_again_is_nobodys_any_more(threads: int) -> None:
    chance = random.Random(29)
    kinds = [ids(f"<|channel|>final<|message|>{word * 60}<|return|>") for word in (" one", " two", " three", " four")]
    read = {id(kind): in_rows([conversation(kind, Role.ASSISTANT, strict=False)]) for kind in kinds}
    kept: list[tuple[pa.RecordBatch, list[dict[str, Any]]]] = []
    for _ in range(40):
        streams = [chance.choice(kinds) for _ in range(chance.choice([0, 5, 1300, 1400, 1500]))]
        rows = [row | {"conversation": index} for index, kind in enumerate(streams) for row in read[id(kind)]]
        kept.append((parse_batch(*joined(streams), threads=threads), rows))
        if chance.random() < 0.3:
            place = chance.randrange(len(kept))
            batch, rows = kept[place]
            first = chance.randint(0, len(rows))
            kept[place] = batch.slice(first), rows[first:]  # what is sliced is kept by its slice alone
        if len(kept) > 4:
            batch, rows = kept.pop(chance.randrange(4))
            assert checked(batch) == rows
    for batch, rows in kept:
        assert checked(batch) == rows


# A process of its own, for the memory of this one depends on all the tests that it has run.
GROWN = """
import os, sys
from array import array
from harmony.batch import SCHEMA, parse_batch, parse_table
from harmony.format.vocabulary import END, MESSAGE

def used():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

conversations, batches = map(int, sys.argv[1:])
tokens = array("I", [MESSAGE, 64, END] * conversations)
bounds = array("q", range(0, len(tokens) + 1, 3))
for _ in range(20):
    parse_batch(tokens, bounds)
before = used()
for _ in range(batches):
    parse_batch(tokens, bounds)
print(used() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory is used")
@pytest.mark.parametrize(("conversations", "batches"), [(1, 3000), (100, 600), (10_000, 60)])
def test_memory_that_nobody_can_use_again_is_given_back(conversations: int, batches: int, scale: Scale) -> None:
    """Few tokens, of which no memory is kept, and short messages, which take more than is expected of their tokens."""
    asked = [str(conversations), str(scale(batches // 4, batches))]
    done = subprocess.run([sys.executable, "-c", GROWN, *asked], capture_output=True, check=True)
    assert int(done.stdout) < 5_000_000


def test_what_conversations_share_is_not_multiplied() -> None:
    """The size of what comes out is in proportion to the input, also where one conversation has many repairs."""
    sizes = [parse_batch([MESSAGE, 64] * count, [0, 2 * count]).nbytes for count in (100, 800)]
    assert sizes[1] < 10 * sizes[0]


# --- hostile input


@pytest.mark.parametrize("threads", [1, 4])
def test_a_million_starts(threads: int, scale: Scale) -> None:
    tokens = array("I", [START]) * scale(50_000, 1_000_000)
    strict = checked(parse_batch(tokens, [0, len(tokens)], role=None, strict=True, threads=threads))
    assert [(row["message"], row["error"]["position"], row["complete"]) for row in strict] == [(None, 1, False)]
    if threads == 1:
        batch = parse_batch(tokens, [0, len(tokens)], role=None)
        batch.validate(full=True)
        assert batch.column("message").to_pylist() == [None]
        found = pa.RecordBatch.from_struct_array(batch.column("diagnostics").flatten())
        assert found.column("position").equals(pa.array(range(1, len(tokens) + 1)))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("role", [None, Role.ASSISTANT])
def test_conversations_without_a_token(role: Role | None, threads: int, scale: Scale) -> None:
    count = scale(20_000, 200_000)
    for tokens in ([], TALK[:CUT]):  # in the second, all but the last are without
        batch = parse_batch(tokens, [0] * count + [len(tokens)], role=role, strict=role is not None, threads=threads)
        batch.validate(full=True)
        assert batch.column("conversation").to_pylist() == list(range(count))
        assert batch.column("message").null_count == count - bool(tokens)
        told = conversation([], role, strict=True)
        assert set(batch.column("complete")[:-1].to_pylist()) == {told["complete"]}
        assert batch.column("error").null_count == count


@pytest.mark.parametrize("threads", [1, 4])
def test_one_message_of_three_million_tokens(threads: int, scale: Scale) -> None:
    words = ids("Blå himmel 🌤 i Oslo. ")
    tokens = array("I", [MESSAGE, *words * (scale(300_000, 3_000_000) // len(words)), RETURN])
    for given_offsets in ([0, len(tokens)], [0, 0, len(tokens), len(tokens)]):
        batch = parse_batch(tokens, given_offsets, threads=threads, strict=True)
        batch.validate(full=True)
        row = batch.slice(len(given_offsets) // 2 - 1, 1).to_pylist()[0]
        assert (row["content_tokens"], row["stop"]) == (len(tokens) - 2, "return")
        assert row["content"] == "Blå himmel 🌤 i Oslo. " * ((len(tokens) - 2) // len(words))


def test_a_great_many_ids_that_are_none(scale: Scale) -> None:
    count = scale(20_000, 200_000)
    tokens = [MESSAGE, *[-1] * count, END, MESSAGE, 1 << 70]
    rows = checked(parse_batch(tokens, [0, count + 2, count + 4]))
    assert [row["content"] for row in rows] == ["\ufffd" * count, "\ufffd"]
    assert [len(row["diagnostics"]) for row in rows] == [count, 1]


def test_more_than_memory_was_asked_for() -> None:
    """Short messages, long tokens and odd conversations, in more parts than threads."""
    short = [START, *AUTHORS[0], MESSAGE, 64, END]
    kinds = [
        short * 40,
        [START, *AUTHORS[0], MESSAGE, *LONG_TOKENS[:200], END],
        [MESSAGE, 64, END],
        [START, 64, MESSAGE],
    ]
    chance = random.Random(3)
    streams = [chance.choice(kinds) for _ in range(9000)]
    tokens, offsets = joined(streams)
    assert len(tokens) > 6 << 17
    one = parse_batch(array("I", tokens), array("q", offsets), role=None)
    four = parse_batch(array("I", tokens), array("q", offsets), role=None, threads=4)
    four.validate(full=True)
    assert plain(four).equals(plain(one))
    read = {id(kind): in_rows([conversation(kind, None, strict=False)]) for kind in kinds}
    expected = [row | {"conversation": index} for index, tokens in enumerate(streams) for row in read[id(tokens)]]
    assert checked(one) == expected


def test_calls_at_the_same_time(scale: Scale) -> None:
    chance = random.Random(11)
    batches = [joined([stream(chance, None) for _ in range(scale(100, 300))]) for _ in range(8)]

    def parsed(number: int) -> list[dict[str, Any]]:
        tokens, offsets = batches[number % 8]
        return checked(parse_batch(array("I", tokens), offsets, role=None, threads=1 + number % 3))

    alone = [parsed(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(parsed, range(48)))
    assert together == alone * 6
