"""Columns of rendered texts: each row is what `parse_text` gives, whatever the texts hold and however they are kept."""

from __future__ import annotations

import random
from array import array
from importlib import import_module
from itertools import product
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import Role
from harmony.batch import SCHEMA, parse_table
from harmony.columns.rows import text_error
from harmony.errors import RecordError
from harmony.format.vocabulary import LAST_TOKEN, SPECIAL_TEXTS
from harmony.runtime.compiled import COMPILED
from helpers.rows import conversation, in_rows
from helpers.sizes import Scale, examples
from helpers.streams import ENCODING, stream
from helpers.texts import TEXTS

KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
START = "<|start|>assistant"
WHOLE = [
    "<|channel|>analysis<|message|>Hm, a < b <| c |> d.<|end|>",
    '<|channel|>commentary to=functions.sky <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
    "<|channel|>final<|message|>Grün 🌤 今天<|return|>",
    "<|message|><|end|>",
    "<|channel|>final<|message|><|foo|> <|reserved_1|> <|reserved_0200050|> <|END|> <|end |><|end|>",
]


def rows_of(table: pa.Table, **options: Any) -> list[dict[str, Any]]:
    result = parse_table(table, text="text", **options)
    result.validate(full=True)
    rows: list[dict[str, Any]] = result.select(SCHEMA.names).to_pylist()
    return rows


def told(texts: list[str | None], role: Role | str | None, *, strict: bool) -> list[dict[str, Any]]:
    """The rows, by parsing each text by itself."""
    null = RecordError("invalid-record", "expected `text`, found null", None)
    return in_rows([conversation(null if text is None else text, role, strict=strict) for text in texts])


def random_text(chance: random.Random) -> str:
    """A text that is well-formed, or nearly, or not, and may be cut anywhere."""
    if chance.random() < 0.5:
        text = START.join(chance.choices(WHOLE, k=chance.randint(1, 4)))
    else:
        text = ENCODING.decode([token for token in stream(chance, None) if 0 <= token <= LAST_TOKEN])
    if chance.random() < 0.3:
        place = chance.randint(0, len(text))
        inserted = chance.choice(
            [*SPECIAL_TEXTS.values(), "<|", "<", "|>", "é", "\0", "<|reserved_199997|>", "x" * 300]
        )
        text = text[:place] + inserted + text[place + chance.randrange(3) :]
    if chance.random() < 0.3:
        text = text[: chance.randint(0, len(text))]
    return START + text if chance.random() < 0.3 else text


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("role", [None, Role.ASSISTANT, Role.TOOL])
def test_columns_of_texts_are_what_parsing_gives(role: Role | None, strict: bool, scale: Scale) -> None:
    chance = random.Random(15)
    texts = [None if chance.random() < 0.05 else random_text(chance) for _ in range(scale(400, 4000))]
    expected = told(texts, role, strict=strict)
    assert {row["content_tokens"] for row in expected} == {None}
    assert {row["stop"] for row in expected} >= {None, "end", "call", "return"}
    assert {row["complete"] for row in expected} == {False, True}
    whole = pa.array(texts, pa.string())
    kinds = [kind if not pa.types.is_dictionary(kind) else pa.dictionary(pa.int16(), pa.string()) for kind in KINDS]
    for number, kind in enumerate(kinds):
        table = pa.table({"text": whole.cast(kind)})
        for threads in (1, 3):
            assert rows_of(table, role=role, strict=strict, threads=threads) == expected
        first, stop = 7 + number, len(texts) - 5
        part = [row | {"conversation": row["conversation"] - first} for row in expected]
        cut = [row for row in part if 0 <= row["conversation"] < stop - first]
        assert rows_of(table.slice(first, stop - first), role=role, strict=strict, threads=1 + number) == cut


@examples(400)
@given(
    texts=st.lists(TEXTS | st.none(), max_size=5),
    role=st.sampled_from([None, *Role]),
    strict=st.booleans(),
    threads=st.integers(1, 3),
    kind=st.sampled_from(KINDS),
)
def test_any_texts(texts: list[str | None], role: Role | None, strict: bool, threads: int, kind: pa.DataType) -> None:
    table = pa.table({"text": pa.array(texts, pa.string()).cast(kind)})
    assert rows_of(table, role=role, strict=strict, threads=threads) == told(texts, role, strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_each_special_token_counts_in_content(strict: bool) -> None:
    texts = [f"<|message|>a{written}b<|end|>" for written in SPECIAL_TEXTS.values()]
    assert rows_of(pa.table({"text": texts}), strict=strict) == told(texts, Role.ASSISTANT, strict=strict)


@pytest.mark.parametrize("length", [*range(215, 260), 5000])
def test_headers_of_about_the_length_that_is_remembered(length: int) -> None:
    texts = [f"<|channel|>{'x' * length}{end}" for end in ("<|message|>Hi<|end|>", "<|message|>", "")] * 2
    texts.append(f"<|start|>tool:{'y' * length}")
    for role in (Role.ASSISTANT, None):
        assert rows_of(pa.table({"text": texts}), role=role) == told(texts, role, strict=False)


def test_more_headers_than_are_remembered(scale: Scale) -> None:
    names = [*range(5000), *range(scale(100, 5000)), *[4999, 0] * 50]
    texts = [f"<|channel|>kanal-{name}<|message|>{name}<|end|>" for name in names]
    rows = rows_of(pa.table({"text": texts}), threads=2)
    assert [row["channel"] for row in rows] == [f"kanal-{name}" for name in names]
    assert [row["content"] for row in rows] == [str(name) for name in names]
    assert not any(row["diagnostics"] for row in rows)


BROKEN = [
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xe4\xbb",
    b"\xf0\x9f\x8c",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\xc3<|end|>",
]


@pytest.mark.parametrize("broken", BROKEN, ids=bytes.hex)
@pytest.mark.parametrize("before", [0, 1, 7, 8, 31, 32, 33, 70])
def test_bytes_that_are_no_utf_8_are_an_error_of_their_row(broken: bytes, before: int) -> None:
    pieces = [
        b"<|message|>one<|end|>",
        b"<|message|>" + b"a" * before + broken,
        "<|message|>drei 🌤".encode(),
        broken,
        b"",
    ]
    bounds = array("i", [0])
    for piece in pieces:
        bounds.append(bounds[-1] + len(piece))
    data = pa.py_buffer(b"".join(pieces))
    column = pa.Array.from_buffers(pa.string(), len(pieces), [None, pa.py_buffer(bounds), data])
    expected = []
    for piece in pieces:
        try:
            expected.append(conversation(piece.decode(), Role.ASSISTANT, strict=False))
        except UnicodeDecodeError as error:
            expected.append(conversation(text_error(error, "text"), Role.ASSISTANT, strict=False))
    for threads in (1, 2):
        assert rows_of(pa.table({"text": column}), threads=threads) == in_rows(expected)
    assert [row["error"] is None for row in in_rows(expected)] == [True, False, True, False, True]


def test_the_limits_of_utf_8_at_any_place() -> None:
    leads = b"\x41\x80\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"
    found = product(leads, b"\x41\x80\x8f\x90\x9f\xa0\xbf\xc2", b"\x41\x80\xbf\xe1", b"\x41\x80\xbf")
    contents = [b"a" * (40 + number % 67) + bytes(some) for number, some in enumerate(found)]
    column = pa.array([b"<|message|>" + content for content in contents]).view(pa.string())
    rows = parse_table(pa.table({"text": column}), text="text").select(["content", "error"]).to_pylist()
    for content, row in zip(contents, rows, strict=True):
        kept = content.decode(errors="ignore")
        if kept.encode() == content:
            assert row == {"content": kept, "error": None}
        else:
            assert row["content"] is None
            assert row["error"]["code"] == "invalid-utf-8"
    assert 100 < sum(row["error"] is None for row in rows) < len(rows) - 100


def test_nulls_of_a_dictionary() -> None:
    for values in (["<|message|>a", None], [None, "<|message|>a"]):
        indices = pa.array([0, 1, None, 0, 1], pa.int8())
        texts = [None if place is None else values[place] for place in indices.to_pylist()]
        column = pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))
        assert rows_of(pa.table({"text": column})) == told(texts, Role.ASSISTANT, strict=False)


def test_roles_by_row() -> None:
    texts = [
        "<|message|>a<|end|>",
        "<|start|>user<|message|>b<|end|>",
        "<|message|>c",
        "",
        "<|start|>",
        "<|end|>",
        None,
    ]
    for names in (["tool"] * 7, [None] * 7, ["user", None, None, None, None, "system", None]):
        table = pa.table({"text": texts, "who": pa.array(names, pa.string())})
        for strict in (True, False):
            expected = [
                told([text], name or (None if (text or "").startswith("<|start|>") else "developer"), strict=strict)
                for text, name in zip(texts, names, strict=True)
            ]
            rows = [row | {"conversation": index} for index, found in enumerate(expected) for row in found]
            assert rows_of(table, roles="who", role="developer", strict=strict) == rows


@pytest.mark.skipif(not COMPILED, reason="the compiled modules are not there")
def test_well_formed_texts_need_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*WHOLE, START.join(WHOLE), START.join(WHOLE)[:-9], "", "<|channel|>final<|message|>", WHOLE[0] + START]
    expected = told(list(texts), Role.ASSISTANT, strict=True)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("expected no call of the engine")

    monkeypatch.setattr(import_module("harmony.columns.build_c"), "parse_source", refuse)
    assert rows_of(pa.table({"text": texts})) == expected
