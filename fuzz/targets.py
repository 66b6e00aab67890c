"""The targets for atheris: each makes an input of some bytes, and raises AssertionError if it is read wrongly.

Where the bytes come from, `guided.py` says. Each reading is compared with another way of reading the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, TypeVar

import msgspec
import pyarrow as pa

from fuzz.differential import ENGINES, Case, Check, difference, first_checks, rows_of, text_checks, whole
from fuzz.streams import AUTHORS, ENCODING, HEADERS, MARKERS, NO_IDS, SPACES, TEXTS, WORDS, encoded
from harmony import Role
from harmony.batch import NESTED_SCHEMA, SCHEMA, parse_table
from harmony.format.vocabulary import SPECIAL_TEXTS, START
from harmony.logs.reading import RecordReader
from harmony.logs.records import FieldTaken
from harmony.messages.model import flat_messages

T = TypeVar("T")

_GIVEN: Final = [Role.ASSISTANT, None, *Role]
#: Texts that a byte stands for, the markers among them.
_PIECES: Final = [*(SPECIAL_TEXTS[marker] for marker in MARKERS), *HEADERS, *AUTHORS, *WORDS, *SPACES, *TEXTS]
_JSON: Final = [
    *[
        b"\n",
        b"\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b" ",
        b"\r",
        b"\\",
        b"null",
        b"true",
        b"NaN",
        b"\xff",
        b"\0",
    ],
    *[
        b'{"tokens":[',
        b'{"text":"',
        b'"role":',
        b'"user"',
        b'"boss"',
        b'"error":1',
        b'"messages":[]',
        b'"id":"a"',
        b"]}\n",
    ],
    *[
        b"200008,",
        b"200005,17196,200008,",
        b"200007",
        b"201089",
        b"4294967296",
        b"-1",
        b"-0",
        b"1.0",
        b"1e3",
        b"0",
        b"9" * 25,
    ],
    *[
        b"\\ud83c",
        b"\\udf24",
        b"\\u0000",
        b"\xef\xbb\xbf",
        "é".encode(),
        b"<|message|>",
        b"<|end|>",
        b"[" * 2000,
        b'"}\n',
    ],
]
_INTEGERS: Final = [pa.int64(), pa.uint32(), pa.int32(), pa.uint64(), pa.int8(), pa.uint16()]
_STRINGS: Final = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
_ROLES: Final = [None, "user", "assistant", "tool", "boss", ""]
_ADDED: Final = frozenset(("messages", "complete", "diagnostics", "error"))
_KEY: Final = "what was read"  # for lines that have such fields of their own
_OF_MESSAGE: Final = NESTED_SCHEMA.field("messages").type.value_type.names


class Choices:
    """Bytes that are taken one after another; behind the last one there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self, size: int) -> int:
        """A signed integer, made of the next bytes."""
        self._place += size
        return int.from_bytes(self._data[self._place - size : self._place].ljust(size, b"\0"), "little", signed=True)

    def byte(self) -> int:
        return self.number(1) & 0xFF

    def one_of(self, options: Sequence[T]) -> T:
        return options[self.byte() % len(options)]

    def until_the_end(self) -> Iterator[None]:
        while self._place < len(self._data):
            yield

    def tokens(self) -> list[int]:
        """A piece of text with or without its markers taken for special tokens, a rank, or an integer that is no id."""
        kind = self.byte()
        if kind < 128:
            return encoded(_PIECES[kind % len(_PIECES)])
        if kind < 160:
            return ENCODING.encode(_PIECES[kind % len(_PIECES)], disallowed_special=())
        return [self.number(3)] if kind < 248 else [self.one_of(NO_IDS)]

    def text(self) -> str:
        """A piece, or a character, which can be a single surrogate."""
        kind = self.byte()
        return _PIECES[kind % len(_PIECES)] if kind < 192 else chr(self.number(3) % 0x110000)


def _insist(checks: Iterator[Check], source: object) -> None:
    if check := difference(checks):
        raise AssertionError(f"{check.what} - {source!r}\n  expected: {check.expected}\n  found:    {check.found}")


def ids(data: bytes) -> None:
    """Token ids: whole and in steps by both engines, and what any input is promised."""
    choices = Choices(data)
    role = choices.one_of(_GIVEN)
    tokens = [token for _ in choices.until_the_end() for token in choices.tokens()]
    case = Case(len(tokens), tokens, role)
    for strict in (False, True):
        expected = whole(ENGINES[0], tokens, role, strict=strict)
        _insist(first_checks(case, expected, strict=strict), case)


def text(data: bytes) -> None:
    """Texts: by both engines, as their tokens, and as ones that have lost their markers."""
    choices = Choices(data)
    role = choices.one_of(_GIVEN)
    written = "".join(choices.text() for _ in choices.until_the_end())
    for strict in (False, True):
        _insist(text_checks(written, role, strict=strict), (written, role))
    expected = whole(ENGINES[0], written, role, strict=False, stripped=True)
    found = whole(ENGINES[-1], written, role, strict=False, stripped=True)
    checks = Check("any text is read", "read", expected[0]), Check("a text without its markers", expected, found)
    _insist(iter(checks), (written, role))


# --- lines of JSON


def lines(data: bytes) -> None:
    """Lines of JSON: each that is not blank becomes one line, with its messages or its error."""
    choices = Choices(data)
    pieces = []
    for _ in choices.until_the_end():
        kind = choices.byte()
        pieces.append(_JSON[kind] if kind < len(_JSON) else bytes([kind]))
    written = b"".join(pieces)
    given = [line for line in written.split(b"\n") if line.strip()]
    for strict in (False, True):
        into = None
        try:
            read = parse_lines(written, strict=strict)
        except FieldTaken:
            into = _KEY
            read = parse_lines(written, strict=strict, into=into)
        found = [json.loads(line) for line in read.splitlines()]
        _insist(iter([Check("one line for each", len(given), len(found))]), written)
        owned = [_fields(line, first=index == 0) for index, line in enumerate(given)]
        is_taken = any(fields.get(name) is not None for fields in owned for name in _ADDED)
        _insist(iter([Check("a field is taken", True, is_taken or into is None)]), written)
        for fields, line, record in zip(owned, given, found, strict=True):
            _insist(_checks_of_line(fields, record if into is None else record[into], strict=strict), line)


def _fields(line: bytes, *, first: bool) -> dict[str, Any]:
    """The fields of a record; none if it is no object."""
    with suppress(ValueError, RecursionError):
        fields = json.loads(line.decode("utf-8-sig" if first else "utf-8"), parse_constant=_refused)
        if isinstance(fields, dict):
            return fields
    return {}


def _checks_of_line(fields: dict[str, Any], record: dict[str, Any], *, strict: bool) -> Iterator[Check]:
    yield Check("what is added", set(), _ADDED - record.keys())
    if record["error"] is None:
        yield Check("messages without an error", True, isinstance(record["messages"], list))
    else:
        yield Check("messages beside an error", True, record["messages"] in (None, fields.get("messages")))
    if not _is_completion(fields):
        return
    role = fields.get("role", None if fields["tokens"][:1] == [START] else "assistant")
    kind, found = whole(ENGINES[0], fields["tokens"], role and Role(role), strict=strict)
    if kind == "read":
        messages = json.loads(msgspec.json.encode(flat_messages(found[0])))
        yield Check("messages of a line", (messages, found[1]), (record.get("messages"), record.get("complete")))
    else:
        error = record.get("error") or {}
        yield Check("error of a line", found[:2], (error.get("code"), error.get("position")))


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_completion(fields: dict[str, Any]) -> bool:
    tokens = fields.get("tokens")
    return (
        isinstance(tokens, list)
        and (tokens != [] or fields.get("text") is None)  # no tokens beside a text are not the completion
        and all(type(token) is int and math.log2(abs(token) + 1) < 63 for token in tokens)
        and fields.get("role", "assistant") in (None, *(role.value for role in Role))
    )


def parse_lines(data: bytes, *, strict: bool, into: str | None = None) -> bytes:
    """The lines of output for lines of a log."""
    return RecordReader().lines(data, 1).parse(strict=strict, bare=False).to_json(into)


# --- tables


def tables(data: bytes) -> None:
    """Tables: lists of any integers, texts of any type, nulls, slices and pieces; each row as if it were read alone."""
    choices = Choices(data)
    kind, make = choices.one_of(_INTEGERS), choices.one_of([pa.list_, pa.large_list])
    given, strict, threads = choices.one_of(_GIVEN), choices.one_of([False, True]), choices.one_of([1, 2])
    nested, cut, read_roles = (choices.one_of([False, True]) for _ in range(3))
    rows = [_row(choices, kind) for _ in choices.until_the_end()][:40]
    columns = {
        "tokens": pa.array([tokens for tokens, _, _ in rows], make(kind)),
        "text": pa.array([text for _, text, _ in rows], pa.string()).cast(choices.one_of(_STRINGS)),
        "who": pa.array([role for _, _, role in rows], pa.string()),
        "content": pa.array(range(len(rows))),
        "kept": pa.array([str(place) for place in range(len(rows))]),
    }
    table = pa.table(columns)
    if cut:  # arrays that begin behind their memory's beginning, and in pieces
        place = choices.byte() % (len(rows) + 1)
        table, rows = pa.concat_tables([table.slice(place), table.slice(0, place)]), [*rows[place:], *rows[:place]]
    source = table.to_reader() if choices.one_of([False, True]) else table
    result = parse_table(
        source,
        tokens="tokens",
        text="text",
        role=given,
        roles="who" if read_roles else None,
        strict=strict,
        nested=nested,
        threads=threads,
    )
    result = result.read_all() if isinstance(result, pa.RecordBatchReader) else result
    result.validate(full=True)
    expected = [
        _read_row(index, row if read_roles else (*row[:2], "given"), given, strict=strict)
        for index, row in enumerate(rows)
    ]
    found = result.select((NESTED_SCHEMA if nested else SCHEMA).names).to_pylist()
    for row in found:
        row["error"] = row["error"] and row["error"]["code"]
    right = [_nested(some) for some in expected] if nested else list(chain.from_iterable(expected))
    _insist(iter([Check("rows of a table", right, found)]), table.to_pylist())


def _row(choices: Choices, kind: pa.DataType) -> tuple[list[int | None] | None, str | None, str | None]:
    """The tokens, the text and the role of one row, of which the type can hold the tokens."""
    bits = kind.bit_width - pa.types.is_signed_integer(kind)
    least, most = -(1 << bits) if pa.types.is_signed_integer(kind) else 0, (1 << bits) - 1
    shape = choices.byte()
    tokens: list[int | None] = [token for _ in range(shape & 7) for token in choices.tokens() if least <= token <= most]
    if shape & 0x70 == 0x70:
        tokens.insert(len(tokens) // 2, None)
    text = "".join(choices.text() for _ in range(shape & 3)) if shape & 0x18 == 0x18 else None
    text = None if text is None else text.encode(errors="replace").decode()
    return None if shape & 0x80 else tokens, text, choices.one_of(_ROLES)


def _read_row(index: int, row: tuple[Any, Any, Any], given: Role | None, *, strict: bool) -> list[dict[str, Any]]:
    """What one row becomes; of an error, its code."""
    tokens, text, name = row
    source = text if tokens is None else tokens
    begins = source is not None and len(source) > 0
    begins = begins and (source.startswith(SPECIAL_TEXTS[START]) if tokens is None else source[0] == START)
    role = given if name == "given" or (name is None and not begins) else None if name is None else name
    if source is None or (tokens is not None and None in tokens) or name in ("boss", ""):
        of_row = {"conversation": index, "complete": False, "diagnostics": [], "error": "invalid-record"}
        return [{**dict.fromkeys(SCHEMA.names), **of_row}]
    found = rows_of(ENGINES[0], index, Case(index, source, role and Role(role)), strict=strict)
    for one in found:
        one["error"] = one["error"] and one["error"]["code"]
        one["content_tokens"] = None if tokens is None else one["content_tokens"]
    return found


def _nested(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of one conversation as one."""
    messages = [{name: row[name] for name in _OF_MESSAGE} for row in rows if row["message"] is not None]
    return {"messages": messages, **{name: rows[0][name] for name in ("complete", "diagnostics", "error")}}


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"ids": ids, "text": text, "lines": lines, "tables": tables}
