"""Where in a line of JSON a value is written: columns count characters from 1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony.cli.written import WrittenLine, path_of

PARTS = st.sampled_from(["a", "é", "日", "👋", "\n", '"', "\\", "\x01", "\u2028", "{", "]", "\ud800", "<|start|>"])
TEXTS = st.lists(PARTS, max_size=30).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXTS, inside, max_size=4),
    max_leaves=12,
)


def paths(value: Any) -> list[list[str | int]]:
    """The paths to all values in a value, and to itself."""
    found: list[list[str | int]] = [[]]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found += [[key, *path] for path in paths(inside)]
    return found


def at(value: Any, path: list[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value


def written(value: object, *, ascii_only: bool = True, indent: bool = False) -> tuple[WrittenLine, str]:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(" ,  ", " : ") if indent else None)
    text = text.encode(errors="replace").decode()  # what UTF-8 cannot hold
    return WrittenLine(text.encode() + b"\r\n", first=False), text


@given(VALUES, st.booleans(), st.booleans())
def test_the_column_of_a_value_is_where_it_begins(value: Any, ascii_only: bool, indent: bool) -> None:
    line, text = written(value, ascii_only=ascii_only, indent=indent)
    value = json.loads(text)
    for path in paths(value):
        rest = text[line.of_value(path) - 1 :]
        assert json.JSONDecoder().raw_decode(rest)[0] == at(value, path)


@given(TEXTS, st.booleans(), st.data())
def test_the_column_of_a_character_is_where_it_is_written(text: str, ascii_only: bool, data: st.DataObject) -> None:
    value = {"text": "no", "id": text[::-1], "\ntext": [text]}
    line, shown = written({**value, "text": text}, ascii_only=ascii_only)
    text = json.loads(shown)["text"]
    offset = data.draw(st.integers(0, len(text)))
    column = line.of_character(["text"], len(text), offset)
    before = shown[line.of_value(["text"]) : column - 1]
    assert json.loads(f'"{before}"') == text[:offset]
    assert json.JSONDecoder().raw_decode(f'"{shown[column - 1 :]}')[0] == text[offset:]


@given(st.lists(st.integers(-(10**30), 10**30), max_size=30), st.booleans())
def test_the_column_of_an_item_is_where_it_is_written(ids: list[int], indent: bool) -> None:
    line, text = written({"id": {"tokens": [1, 2]}, "tokens": ids, "more": 1}, indent=indent)
    for index, token in enumerate(ids):
        column = line.of_item(["tokens"], len(ids), index)
        assert text[column - 1 :].startswith(str(token))
        assert text[column - 2] in "[ "
    assert text[line.of_item(["tokens"], len(ids), len(ids)) - 1] == "]"


def test_the_last_of_two_keys_counts() -> None:
    line = WrittenLine(b'{"text": "a", "text": "b"}', first=False)
    assert line.of_value(["text"]) == 23


@pytest.mark.parametrize(
    ("data", "path", "column"),
    [
        (b'{"a": [1, {"b": 5}]}', ["a", 1, "b"], 17),
        (b'{"a": [1, {"b": 5}]}', ["a", 1, "c"], 11),
        (b'{"a": [1, {"b": 5}]}', ["a", 2], 7),
        (b'{"a": [1, {"b": 5}]}', ["a", "b"], 7),
        (b'  {"a": 1}', ["x", 0], 3),
        (b'  {"a": 1}', [], 3),
        (b'{"a": %s, "b": 1}' % (b"9" * 5000), ["b"], 5014),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ["a"], 1),
        (b'{"a": nope, "b": 1}', ["b"], 1),
        (b'{"a": 1', ["a"], 1),
        (b"", ["a"], 1),
        (b" \r\n", ["a"], 1),
        (b"5", ["a"], 1),
    ],
)
def test_without_a_value_it_is_the_column_of_what_holds_it(data: bytes, path: list[str | int], column: int) -> None:
    assert WrittenLine(data, first=False).of_value(path) == column


def test_other_values_than_were_read_have_the_column_of_the_field() -> None:
    line = WrittenLine(b'{"text": "abc", "tokens": [1, 2]}', first=False)
    assert line.of_character(["text"], 4, 2) == 10
    assert line.of_character(["tokens"], 2, 1) == 27
    assert line.of_character(["none"], 2, 1) == 1
    assert line.of_item(["tokens"], 3, 1) == 27
    assert line.of_item(["text"], 3, 1) == 10
    assert (line.of_character(["text"], 3, 2), line.of_item(["tokens"], 2, 1)) == (13, 31)


def test_bytes_and_ends_count_characters() -> None:
    data = "\ufeff日本é \r\n".encode()
    assert WrittenLine(data, first=True).end() == 4
    assert WrittenLine(data, first=False).end() == 5
    assert [WrittenLine(data, first=True).of_byte(byte) for byte in (0, 3, 6, 8)] == [1, 2, 3, 4]
    assert WrittenLine(b"\xc3\xa9  \xff", first=True).end() == 4


def test_paths_as_errors_write_them() -> None:
    assert path_of("messages[0].role") == ["messages", 0, "role"]
    assert path_of("tokens[12]") == ["tokens", 12]
    assert path_of("") == []
