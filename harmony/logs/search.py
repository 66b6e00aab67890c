"""Searches the messages of logs: which messages of a piece fit a query, as masks over columns.

Only messages that fit become Python objects. `searched.py` makes the columns of pieces of any log.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from harmony.errors import RecordError

#: The columns of messages by which they can be searched, beside their text.
HEADER: Final = ("role", "name", "recipient", "channel", "content_type")
_GLOBS: Final = frozenset(("name", "recipient"))
_CONSTRAIN: Final = "<|constrain|>"
_SPECIAL: Final = frozenset(".^$*+?{}[]\\|()")


class Query(msgspec.Struct, frozen=True):
    """What to search. Several values of one field are alternatives, and all fields must fit.

    `header` has the values by column. `pattern` is searched in the text; `literal` is the same as plain text, if it is.
    With `records`, whole records are selected: those of which a message fits. `invert` selects all others.
    """

    header: Mapping[str, tuple[str, ...]] = {}
    pattern: re.Pattern[str] | None = None
    literal: bytes | None = None
    diagnostics: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    incomplete: bool = False
    invert: bool = False
    records: bool = False
    located: bool = False  # only one record is searched

    def takes_bare(self) -> bool:
        """Whether records without a message are selected too: if nothing about messages was asked."""
        about_records = self.diagnostics or self.errors or self.incomplete or self.records or self.located
        return self.pattern is None and not self.header and bool(about_records)


def text_query(pattern: str, *, fixed: bool, ignore_case: bool) -> tuple[re.Pattern[str], bytes | None]:
    """The pattern of a query, and the same as plain text. Raises ValueError for what is no regular expression."""
    is_plain = fixed or _SPECIAL.isdisjoint(pattern)
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    try:
        found = re.compile(re.escape(pattern) if fixed else pattern, flags)
    except re.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(
            f"expected a regular expression, found `{pattern}`: {error.msg}{place}; --fixed-strings takes it as text"
        ) from None
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression, found one that cannot be read: {error}") from None
    return found, pattern.encode(errors="surrogatepass") if is_plain and not ignore_case else None


class Part(NamedTuple):
    """The messages of some records as columns.

    `rows` has a row for each message: `conversation` (an index into the other fields), `message` (its number), those of
    HEADER, and `content`. A record without a message has one row, with nulls.
    """

    rows: pa.RecordBatch
    numbers: Sequence[int]  # of the records
    complete: pa.Array  # null where the log does not say it
    repairs: tuple[Sequence[int], Sequence[str]]  # the records, and the codes of what was repaired in them
    errors: Mapping[int, Mapping[str, Any]]  # what the records are told
    unread: Mapping[int, RecordError]  # those of them that were found now
    id_of: Callable[[int], Any]
    index_of: Callable[[int], Any]  # which completion of its record it is
    message_of: Callable[[int], Mapping[str, Any] | None]  # the message of a row, if the columns do not have all of it
    record_of: Callable[[int], bytes]  # the record of a conversation, as it stands in the log


class Hit(NamedTuple):
    """A message that fits, or a record; `message` is None for a record without one."""

    record: int
    id: Any
    completion_index: Any
    number: int | None
    message: Mapping[str, Any] | None
    text: str
    error: Mapping[str, Any] | None

    def to_json(self, file: str) -> bytes:
        """The hit as a line of JSON."""
        line: dict[str, Any] = {"file": file, "record": self.record}
        if self.id is not None:
            line["id"] = self.id
        if self.completion_index is not None:
            line["completion_index"] = self.completion_index
        line |= {"index": self.number, "message": self.message}
        if self.error is not None:
            line["error"] = self.error
        return msgspec.json.encode(line) + b"\n"


def select(part: Part, query: Query) -> list[int]:
    """The rows that fit, in order; for whole records, the first row of each record."""
    rows = part.rows
    is_message = rows.column("message").is_valid()
    within = pc.is_valid(rows.column("conversation")) if query.takes_bare() else is_message
    mask = pc.and_(within, _of_records(part, query))
    for name, values in query.header.items():
        mask = pc.and_(mask, _in_column(rows.column(name), name, values))
    found: list[int] = pc.indices_nonzero(mask).to_pylist()
    if query.pattern is not None and found:
        found = _with_text(rows.column("content"), found, query.pattern, query.literal)
    if query.records:
        return _first_rows(part, found, invert=query.invert)
    if query.invert:
        chosen = set(found)
        return [row for row in pc.indices_nonzero(within).to_pylist() if row not in chosen]
    return found


def _of_records(part: Part, query: Query) -> pa.Array:
    """The mask of the rows whose records fit."""
    conversation = part.rows.column("conversation")
    mask = pc.is_valid(conversation)
    if query.diagnostics:
        fitting = {index for index, code in zip(*part.repairs, strict=True) if code in query.diagnostics}
        mask = pc.and_(mask, pc.is_in(conversation, pa.array(fitting, pa.int64())))
    if query.errors:
        fitting = {index for index, error in part.errors.items() if error.get("code") in query.errors}
        mask = pc.and_(mask, pc.is_in(conversation, pa.array(fitting, pa.int64())))
    if query.incomplete:
        mask = pc.and_(mask, pc.invert(part.complete).fill_null(False).take(conversation))
    return mask


def _in_column(column: pa.Array, name: str, values: tuple[str, ...]) -> pa.Array:
    """The mask of the rows with one of these values. The column is compared value by value, not row by row."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    found = enumerate(column.dictionary.to_pylist())
    fits = [place for place, value in found if value is not None and _fits(name, value, values)]
    return pc.is_in(column.indices, pa.array(fits, column.indices.type)).fill_null(False)


def _fits(name: str, value: str, values: Iterable[str]) -> bool:
    if name in _GLOBS:
        return any(fnmatchcase(value, each) for each in values)
    return any(value == each or (name == "content_type" and value == _CONSTRAIN + each) for each in values)


def _with_text(content: pa.Array, rows: list[int], pattern: re.Pattern[str], literal: bytes | None) -> list[int]:
    """Those of the rows whose text has the pattern."""
    if content.type != pa.large_string():
        content = content.cast(pa.large_string())
    _, offsets_buffer, data_buffer = content.buffers()
    data = data_buffer.to_pybytes() if data_buffer is not None else b""
    offsets = memoryview(offsets_buffer).cast("B").cast("q")[content.offset : content.offset + len(content) + 1]
    if literal is not None:
        fitting = _with_literal(data, offsets, literal)
        return [row for row in rows if row in fitting]
    search = pattern.search
    return [row for row in rows if search(data[offsets[row] : offsets[row + 1]].decode(errors="replace"))]


def _with_literal(data: bytes, offsets: memoryview, literal: bytes) -> range | set[int]:
    """The rows that have a plain text. All texts stand in one buffer, which is searched at once."""
    if not literal:
        return range(len(offsets))
    found = set()
    place, end = data.find(literal, offsets[0], offsets[-1]), offsets[-1]
    while place >= 0:
        row = bisect_right(offsets, place) - 1
        begin = offsets[row + 1]
        if place + len(literal) <= begin:
            found.add(row)
            place = data.find(literal, begin, end)
        else:  # it stands in two texts
            place = data.find(literal, place + 1, end)
    return found


def _first_rows(part: Part, rows: list[int], *, invert: bool) -> list[int]:
    """The first row of each record that has one of the rows, or none of them."""
    conversation = part.rows.column("conversation").to_pylist()
    chosen = {part.numbers[conversation[row]] for row in rows}
    first: dict[int, int] = {}
    for row, index in enumerate(conversation):
        first.setdefault(part.numbers[index], row)
    return [row for number, row in first.items() if (number in chosen) is not invert]


def hit(part: Part, row: int) -> Hit:
    """What is told of a row."""
    values = {name: part.rows.column(name)[row].as_py() for name in ("conversation", "message", *HEADER)}
    text = _text(part.rows.column("content"), row)
    index = values["conversation"]
    message: Mapping[str, Any] | None = None
    if values["message"] is not None:
        message = part.message_of(row)
    if values["message"] is not None and message is None:
        kept = {name: values[name] for name in ("channel", "recipient", "content_type") if values[name] is not None}
        content = [{"type": "text", "text": text}]
        message = {"role": values["role"], "name": values["name"], "content": content, **kept}
    place, identity = part.numbers[index], part.id_of(index)
    return Hit(place, identity, part.index_of(index), values["message"], message, text, part.errors.get(index))


def _text(content: pa.Array, row: int) -> str:
    value = content[row]
    return value.as_buffer().to_pybytes().decode(errors="replace") if value.is_valid else ""
