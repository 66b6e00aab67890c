"""Tables of completions: what the builders build, what of a table is read and kept, and who can read what comes out."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import Role
from harmony.batch import NESTED_SCHEMA, SCHEMA, parse_table
from harmony.columns.arrow import OF_MESSAGE, flat, nested
from harmony.columns.rows import ELSEWHERE, END_VALUES, GIVEN
from harmony.errors import RecordError
from harmony.format.vocabulary import END, MESSAGE, RETURN, START
from helpers.rows import checked, conversation, in_rows
from helpers.sizes import examples
from helpers.streams import ANYTHING, ids, joined, mutated, stream

#: The builder in Python, and the compiled one.
BUILDERS = ["harmony.columns.build_py"] + (
    ["harmony.columns.build_c"] if os.environ.get("HARMONY_EXTENSION") != "no" else []
)


# --- the two builders


def decoded(columns: Any) -> dict[str, Any]:
    """Columns as lists, the values in place of their codes."""
    read: dict[str, Any] = {}
    for name, column in columns._asdict().items():
        if name == "content":
            read[name] = bytes(column)
        elif name in ("rows", "conversation", "offsets"):
            read[name] = memoryview(column).cast("B").cast("q").tolist()
        elif name == "complete":
            read[name] = list(memoryview(column).cast("B"))
        elif name in ("values", "diagnostics", "errors"):
            read[name] = column
        else:
            read[name] = memoryview(column).cast("B").cast("i").tolist()
    fields = ("role", "name", "recipient", "channel", "content_type")
    for name, values in [*zip(fields, read.pop("values"), strict=True), ("end", END_VALUES)]:
        assert len(set(values)) == len(values)
        read[name] = [None if code == -1 else values[code] for code in read[name]]
    return read


SOURCES = st.one_of(
    ANYTHING.map(lambda tokens: [token & 0xFFFFFFFF for token in tokens]).map(lambda tokens: array("I", tokens)),
    ANYTHING | mutated(),
    st.sampled_from(
        ["<|channel|>final<|message|>Grün<|return|><|start|>assistant", "<|message|>a<|end|>b", "", "\ud800<|end|>"]
    ),
    st.text(max_size=20),
    st.just(RecordError("invalid-record", "expected `tokens`, found null", None)),
)


@examples(400)
@given(
    sources=st.lists(st.tuples(SOURCES, st.sampled_from(GIVEN)), max_size=6),
    strict=st.booleans(),
    bare=st.booleans(),
    threads=st.integers(1, 3),
)
def test_both_builders(sources: list[tuple[Any, Role | None]], strict: bool, bare: bool, threads: int) -> None:
    buffered = [source if isinstance(source, array) else [] for source, _ in sources]
    tokens, offsets = joined(buffered)
    elsewhere = {index: source for index, (source, _) in enumerate(sources) if not isinstance(source, array)}
    roles = [GIVEN.index(role) | (ELSEWHERE if index in elsewhere else 0) for index, (_, role) in enumerate(sources)]
    ahead = array("I", [MESSAGE, 64])  # tokens that no conversation has
    found = [
        import_module(name).build(
            memoryview(ahead + array("I", tokens)),
            memoryview(array("q", [len(ahead) + offset for offset in offsets])),
            bytes(roles),
            strict=strict,
            bare=bare,
            threads=threads,
            elsewhere=elsewhere,
        )
        for name in BUILDERS
    ]
    assert [decoded(columns) for columns in found] == [decoded(found[0])] * len(found)
    assert [columns.values for columns in found] == [found[0].values] * len(found)
    expected = [conversation(source, role, strict=strict) for source, role in sources]
    for columns in found:
        if bare:
            assert checked(flat(columns)) == in_rows(expected)
        else:
            read = nested(columns)
            read.validate(full=True)
            assert read.schema == NESTED_SCHEMA
            assert read.to_pylist() == expected


# --- tokens and texts in tables


@pytest.mark.parametrize("module", ["harmony.columns.build_py", "harmony.columns.memory"][: len(BUILDERS)])
@given(numbers=st.lists(st.integers(-1, 1) | st.integers(-(1 << 31), (1 << 31) - 1), max_size=100))
def test_which_numbers_are_valid(module: str, numbers: list[int]) -> None:
    bits = import_module(module).validity(array("i", numbers))
    expected = "".join(str(int(number >= 0)) for number in reversed(numbers))
    assert bits == (int(expected, 2).to_bytes((len(numbers) + 7) // 8, "little") if "0" in expected else None)


def wrong(message: str) -> RecordError:
    return RecordError("invalid-record", message, None)


def rows_of(table: pa.Table, *kept: str) -> list[dict[str, Any]]:
    """The rows of a sound table that has these columns and then those of SCHEMA."""
    table.validate(full=True)
    assert table.schema.names == [*kept, *SCHEMA.names]
    assert pa.schema(list(table.schema)[len(kept) :]) == SCHEMA
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def streams(least: int, most: int, count: int = 60) -> list[list[int]]:
    """Completions of ids within limits; those that a type cannot hold are left out, and its limits put in."""
    chance = random.Random(most)
    found = []
    for _ in range(count):
        tokens = [*stream(chance, Role.ASSISTANT), *chance.choices([least, most, 64, 65], k=chance.randrange(3))]
        found.append([token for token in tokens if least <= token <= most])
    return found


LIMITS = {
    pa.int8(): (-128, 127),
    pa.int32(): (-(1 << 31), (1 << 31) - 1),
    pa.int64(): (-(1 << 63), (1 << 63) - 1),
    pa.uint32(): (0, (1 << 32) - 1),
    pa.uint64(): (0, (1 << 64) - 1),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("make", [pa.list_, pa.large_list])
@pytest.mark.parametrize("kind", LIMITS, ids=str)
def test_lists_of_integers(kind: pa.DataType, make: Any, strict: bool) -> None:
    values = streams(*LIMITS[kind])
    table = pa.table({"tokens": pa.array(values, make(kind))})
    expected = in_rows([conversation(tokens, Role.ASSISTANT, strict=strict) for tokens in values])
    for threads in (1, 3):
        assert rows_of(parse_table(table, strict=strict, threads=threads)) == expected


NULLS: list[list[int | None] | None] = [
    [MESSAGE, 64, END],
    None,
    [MESSAGE, 64, None],
    [None, -1, None],
    [MESSAGE, 65, RETURN],
    [MESSAGE, -5, 1 << 40],
    None,
    [MESSAGE, 201_089, 1 << 32],
]


def told(values: list[list[int | None] | None]) -> list[dict[str, Any]]:
    sources: list[Any] = []
    for tokens in values:
        if tokens is None:
            sources.append(wrong("expected `tokens`, found null"))
        elif None in tokens:
            sources.append(wrong(f"Expected `int`, got `null` - at `tokens[{tokens.index(None)}]`"))
        else:
            sources.append(tokens)
    return in_rows([conversation(source, Role.ASSISTANT, strict=False) for source in sources])


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 3)], ids=str)
def test_nulls_and_slices(kind: pa.DataType) -> None:
    whole = pa.table({"tokens": pa.array(NULLS, kind)})
    assert rows_of(parse_table(whole)) == told(NULLS)
    for start in range(len(NULLS)):
        for stop in range(start, len(NULLS) + 1):
            assert rows_of(parse_table(whole.slice(start, stop - start))) == told(NULLS[start:stop])
    chunked = pa.concat_tables([whole.slice(5), whole.slice(0, 0), whole.slice(2, 4), whole.slice(1, 1)])
    assert rows_of(parse_table(chunked)) == told([*NULLS[5:], *NULLS[2:6], NULLS[1]])


@pytest.mark.parametrize("hidden", [[64, 64], [None, None], [-1, 1 << 40]])
def test_what_stands_behind_a_null_row_is_not_read(hidden: list[int | None]) -> None:
    values = pa.array([MESSAGE, 64, *hidden, MESSAGE, 65], pa.int64())
    column = pa.ListArray.from_arrays([0, 2, 4, 6], values, mask=pa.array([False, True, False]))
    table = pa.table({"tokens": column, "text": [None, "<|message|>b", None]})
    assert rows_of(parse_table(table), "text")[1]["error"]["message"] == "expected `tokens`, found null"
    assert [row["content"] for row in rows_of(parse_table(table, tokens="tokens", text="text"))] == ["a", "b", "b"]


TEXTS = [
    "<|channel|>final<|message|>Grün 🌤<|return|>",
    "",
    None,
    "<|message|>a<|end|>b",
    "\0<|end|>",
    "<|channel|>final<|message|>Grün 🌤<|return|>",
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_texts(kind: pa.DataType, strict: bool) -> None:
    column = pa.array(TEXTS, pa.string()).cast(kind)
    sources = [wrong("expected `answer`, found null") if text is None else text for text in TEXTS]
    expected = in_rows([conversation(source, Role.USER, strict=strict) for source in sources])
    table = pa.table({"answer": column})
    assert rows_of(parse_table(table, text="answer", role="user", strict=strict)) == expected
    tail = rows_of(parse_table(table.slice(3), text="answer", role="user", strict=strict))
    assert [row["content"] for row in tail] == [row["content"] for row in expected if row["conversation"] > 2]


def test_a_text_that_is_no_utf_8_is_an_error_of_its_row() -> None:
    data = b"<|message|>Hi\xff<|message|>Hi"
    bounds = array("i", [0, 14, len(data)])
    column = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(bounds), pa.py_buffer(data)])
    first, second = rows_of(parse_table(pa.table({"text": column}), text="text"))
    assert "UTF-8" in first["error"]["message"]
    assert (second["content"], second["error"]) == ("Hi", None)


def test_tokens_and_texts_together() -> None:
    tokens = [ids("<|message|>ids<|end|>"), None, None, [], [None]]
    table = pa.table(
        {"ids": pa.array(tokens, pa.list_(pa.int32())), "text": ["<|message|>no", "<|message|>text", None, "x", "x"]}
    )
    sources = [tokens[0], "<|message|>text", wrong("expected `ids` or `text`, found null"), []]
    sources.append(wrong("Expected `int`, got `null` - at `ids[0]`"))
    expected = in_rows([conversation(source, Role.ASSISTANT, strict=False) for source in sources])
    assert rows_of(parse_table(table, tokens="ids", text="text")) == expected
    assert [row["content_tokens"] for row in expected] == [1, None, None, None, None]


def test_roles_by_row() -> None:
    names = ["user", None, "boss", "tool", "", "assistant", "boss", None, None]
    whole = [START, 1428, MESSAGE, 64, END]  # says its role itself
    tokens = [*[[MESSAGE, 64, END]] * 7, whole, []]
    sources: list[tuple[Any, Any]] = [
        (wrong(f"Unknown role: {name!r} - at `who`"), None) if name in ("boss", "") else (ids, name or "developer")
        for name, ids in zip(names, tokens, strict=True)
    ]
    sources[7] = whole, None
    for kind in (pa.string(), pa.dictionary(pa.int8(), pa.string())):
        table = pa.table({"tokens": tokens, "who": pa.array(names).cast(kind)})
        for strict in (True, False):
            expected = in_rows([conversation(source, role, strict=strict) for source, role in sources])
            assert rows_of(parse_table(table, roles="who", role="developer", strict=strict)) == expected
    # Which row is wrong does not hang on where else its source is.
    table = pa.table({"tokens": pa.array([[-1], None]), "who": ["boss", "boss"]})
    found = rows_of(parse_table(table, roles="who"))
    assert [row["error"]["message"] for row in found] == ["Unknown role: 'boss' - at `who`"] * 2


# --- the other columns


TWO = [START, *ids("assistant"), MESSAGE, 64, END]


def test_other_columns_are_kept_and_repeated() -> None:
    table = pa.table(
        {
            "id": pa.array(["a", "b", None, "d"]),
            "views": pa.array([["x"], ["y"], None, ["z", None]], pa.list_(pa.string_view())),
            "tokens": [TWO * 2, [], TWO, TWO * 3],
            "tags": pa.array([["x"], [], None, ["y", None]]),
            "at": pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")),
            "model": pa.array(["m", "n", "m", "m"]).dictionary_encode(),
        },
    )
    result = parse_table(table.slice(0, 4), role=None)
    kept = ["id", "views", "tags", "at", "model"]
    found = rows_of(result, *kept)
    assert [row["conversation"] for row in found] == [0, 0, 1, 2, 3, 3, 3]
    before = table.to_pylist()
    for row in found:
        assert [row[name] for name in kept] == [before[row["conversation"]][name] for name in kept]
    for name in ("id", "tags", "at", "model"):
        assert result.schema.field(name) == table.schema.field(name)


def test_columns_of_the_same_names() -> None:
    table = pa.table({name: ["old"] for name in (*SCHEMA.names, "messages")}).append_column("tokens", [[TWO * 2]])
    found = rows_of(parse_table(table, role=None), "messages")
    assert [(row["message"], row["content"], row["messages"]) for row in found] == [(0, "a", "old"), (1, "a", "old")]
    one = parse_table(table, role=None, nested=True)
    outside = ["conversation", "message", *(column.name for column in OF_MESSAGE)]
    assert one.schema.names == [*outside, *NESTED_SCHEMA.names]
    # A column that is read may have such a name too.
    renamed = pa.table({"content": ["<|message|>new"], "role": ["user"]})
    (row,) = rows_of(parse_table(renamed, text="content", roles="role"))
    assert (row["content"], row["role"]) == ("new", "user")


def test_two_columns_of_one_name() -> None:
    table = pa.table([pa.array([1]), pa.array(["x"]), pa.array([TWO * 2])], names=["id", "id", "tokens"])
    for result in (parse_table(table, role=None), parse_table(table, role=None, nested=True)):
        result.validate(full=True)
        assert result.schema.names[:3].count("id") == 2
        assert [set(column.to_pylist()) for column in result.columns[:2]] == [{1}, {"x"}]
    with pytest.raises(ValueError, match="Expected one column `id`, found `id`, `id`, `tokens`"):
        parse_table(table, tokens="id")


def test_nested() -> None:
    values = streams(*LIMITS[pa.int64()])
    table = pa.table({"id": range(len(values)), "tokens": pa.array(values, pa.list_(pa.int64()))})
    for strict in (True, False):
        result = parse_table(table, nested=True, strict=strict, threads=2)
        result.validate(full=True)
        assert result.schema == pa.schema([("id", pa.int64()), *NESTED_SCHEMA])
        expected = [conversation(tokens, Role.ASSISTANT, strict=strict) for tokens in values]
        assert result.to_pylist() == [{"id": index} | one for index, one in enumerate(expected)]


@pytest.mark.parametrize("nest", [True, False])
@pytest.mark.parametrize(
    "table",
    [
        pa.table({"tokens": pa.array([], pa.list_(pa.int64())), "id": pa.array([], pa.string())}),
        pa.table({"tokens": pa.chunked_array([], pa.large_list(pa.uint32())), "id": pa.chunked_array([], pa.string())}),
    ],
)
def test_no_rows(table: pa.Table, nest: bool) -> None:
    result = parse_table(table, nested=nest)
    result.validate(full=True)
    assert result.num_rows == 0
    assert result.schema == pa.schema([("id", pa.string()), *(NESTED_SCHEMA if nest else SCHEMA)])


WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ({"ids": [[1]]}, {}, ValueError, "Expected one column `tokens`, found `ids`"),
    ({}, {}, ValueError, "Expected one column `tokens`, found none"),
    ({"tokens": [[1]]}, {"text": "t"}, ValueError, "Expected one column `t`, found `tokens`"),
    ({"tokens": [[1]]}, {"roles": "r"}, ValueError, "Expected one column `r`, found `tokens`"),
    ({"tokens": [1]}, {}, TypeError, "Expected a list of integers, found `int64` - at column `tokens`"),
    (
        {"tokens": [[1.5]]},
        {},
        TypeError,
        "Expected a list of integers, found `list<item: double>` - at column `tokens`",
    ),
    (
        {"tokens": [["1"]]},
        {},
        TypeError,
        "Expected a list of integers, found `list<item: string>` - at column `tokens`",
    ),
    ({"tokens": ["1"]}, {}, TypeError, "Expected a list of integers, found `string` - at column `tokens`"),
    ({"text": [b"1"]}, {"text": "text"}, TypeError, "Expected strings, found `binary` - at column `text`"),
    ({"tokens": [[1]], "r": [1]}, {"roles": "r"}, TypeError, "Expected strings, found `int64` - at column `r`"),
    ({"tokens": [[1]]}, {"role": "boss"}, ValueError, "Unknown role: 'boss'"),
    ({"tokens": [[1]]}, {"threads": 0}, ValueError, "Expected `int` >= 1, got 0 - at `threads`"),
]


@pytest.mark.parametrize(("columns", "arguments", "kind", "text"), WRONG)
def test_wrong_columns(columns: dict[str, Any], arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    table = pa.table(columns)
    for given_table in (table, table.to_reader()):
        with pytest.raises(kind) as raised:
            parse_table(given_table, **arguments)
        assert text in str(raised.value)


@pytest.mark.parametrize("table", [None, [{"tokens": [1]}], {"tokens": [[1]]}, "tokens", 5])
def test_what_is_no_table(table: Any) -> None:
    expected = f"Expected `Table` or `RecordBatchReader`, got `{type(table).__name__}` - at `table`"
    with pytest.raises(TypeError) as raised:
        parse_table(table)
    assert str(raised.value) == expected


# --- readers


def test_a_reader_is_read_as_its_result_is() -> None:
    taken = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(4):
            if number == 3:
                raise OSError("the disk is gone")
            taken.append(number)
            yield pa.record_batch({"id": [number, -number], "tokens": [TWO, TWO * 2]})

    schema = pa.schema([("id", pa.int64()), ("tokens", pa.list_(pa.int64()))])
    result = parse_table(pa.RecordBatchReader.from_batches(schema, batches()), role=None)
    assert isinstance(result, pa.RecordBatchReader)
    assert (result.schema.names, taken) == (["id", *SCHEMA.names], [])
    for number in range(3):
        batch = result.read_next_batch()
        batch.validate(full=True)
        assert taken == list(range(number + 1))
        assert batch.column("id").to_pylist() == [number, -number, -number]
        assert batch.column("conversation").to_pylist() == [2 * number, 2 * number + 1, 2 * number + 1]
    with pytest.raises(OSError, match="the disk is gone"):
        result.read_next_batch()


def test_a_reader_gives_what_its_table_does() -> None:
    values = streams(*LIMITS[pa.int64()])
    table = pa.table({"id": range(len(values)), "tokens": pa.array(values, pa.list_(pa.int64()))})
    for nest in (True, False):
        whole = parse_table(table, nested=nest)
        assert parse_table(table.to_reader(7), nested=nest).read_all().to_pylist() == whole.to_pylist()
        assert parse_table(table.to_batches()[0], nested=nest).to_pylist() == whole.to_pylist()


# --- polars and duckdb


CALLS = [
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Ja.<|return|>",
    "<|channel|>commentary to=functions.sky <|constrain|>json<|message|>{}<|call|>",
    "<|channel|>commentary to=python code<|message|>1+1<|call|>",
]


def log(count: int) -> pa.Table:
    """Completions whose dictionaries differ from batch to batch, for each has a channel and a recipient of its own."""
    spelled = [ids(text) for text in CALLS]
    tokens = [spelled[number % 3] for number in range(count)]
    for number in range(0, count, 5000):
        tokens[number] = ids(f"<|channel|>kanal-{number} to=functions.f{number}<|message|>{number}<|call|>")
    return pa.table({"id": [f"r{number}" for number in range(count)], "tokens": pa.array(tokens, pa.list_(pa.int32()))})


def count(word: str) -> int:
    """How many of the first 40,000 of these completions have a word in a header."""
    (kind,) = (kind for kind, text in enumerate(CALLS) if word in text)
    return sum(number % 3 == kind and number % 5000 > 0 for number in range(40_000))


def test_polars_reads_what_it_gave() -> None:
    frame = polars.DataFrame(log(40_000))
    result = parse_table(frame)
    assert isinstance(result, pa.Table)
    assert result.column("channel").num_chunks > 2
    result.validate(full=True)
    messages = polars.DataFrame(result)
    assert messages.height == result.num_rows
    for name in ("channel", "recipient", "stop", "content", "id"):
        assert messages[name].cast(polars.String).to_list() == result.column(name).to_pylist()
    final = messages.filter(polars.col("channel").cast(polars.String) == "final")
    assert final["content"].unique().to_list() == ["Ja."]
    calls = messages.filter(polars.col("recipient").is_not_null()).group_by(polars.col("recipient").cast(polars.String))
    counted = dict(calls.len().iter_rows())
    assert counted["python"] == count("python")
    assert counted["functions.f35000"] == 1
    back = frame.join(final.select("id", "content"), on="id")
    assert back.height == final.height == count("final")
    plain = parse_table(frame.with_columns(text=polars.lit("<|message|>Hei")).drop("tokens"), text="text")
    assert set(plain.column("content").to_pylist()) == {"Hei"}


def test_duckdb_reads_what_it_gave() -> None:
    with duckdb.connect() as database:
        database.register("log", log(40_000))
        result = parse_table(database.sql("SELECT * FROM log WHERE id <> 'r1'"))
        assert isinstance(result, pa.Table)
        result.validate(full=True)
        database.register("messages", result)
        found = database.sql("SELECT content, count(*) FROM messages WHERE channel = 'final' GROUP BY ALL").fetchall()
        assert found == [("Ja.", count("final"))]
        counted = database.sql("SELECT recipient, count(*) FROM messages WHERE stop = 'call' GROUP BY ALL").fetchall()
        assert dict(counted)["functions.sky"] == count("functions.sky") - 1  # but for `r1`
        assert dict(counted)["functions.f20000"] == 1
        database.register("reader", parse_table(log(20_000).to_reader(3000)))
        joined_back = "SELECT count(*) FROM reader JOIN log USING (id) WHERE reader.channel LIKE 'kanal-%'"
        assert database.sql(joined_back).fetchall() == [(4,)]
        database.register("nest", parse_table(log(4), nested=True))
        unnested = "SELECT id, m.channel FROM (SELECT id, unnest(messages) AS m FROM nest) ORDER BY ALL"
        assert database.sql(unnested).fetchall()[0] == ("r0", "kanal-0")
