"""Parses Arrow tables in which each row has a completion: finds the sources of the rows, and keeps other columns."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.arrow import NESTED_SCHEMA, SCHEMA, changed, flat, nested, repeated
from harmony.columns.engine import build
from harmony.columns.passed import text_error
from harmony.columns.rows import ELSEWHERE, GIVEN, Columns, Source, Sources
from harmony.errors import Fault, RecordError
from harmony.format import vocabulary
from harmony.messages.roles import Role, as_role

# The limits of one step. Kept columns are repeated for each message, and must fit into an Arrow array of 2 GiB.
_MOST_ROWS: Final = 16_384
_MOST_BYTES: Final = 1 << 26
_MOST_ID: Final = (1 << 32) - 1


def buffer_of(values: pa.Array, item: Literal["I", "q"]) -> memoryview:
    """The memory of an array of integers without nulls."""
    data = values.buffers()[1]
    if not len(values):
        return memoryview(b"").cast(item)
    width = values.type.bit_width // 8
    return memoryview(data).cast("B")[values.offset * width : (values.offset + len(values)) * width].cast(item)


def checked_offsets(offsets: pa.Array, size: int) -> pa.Array:
    """A copy of the offsets as int64, after a check that they ascend and stay within `size` tokens. Raises ValueError.

    The copy is made before the check, because others may change the memory of the array meanwhile.
    """
    if len(offsets) == 0:
        raise ValueError("Expected one offset more than completions, found none - at `offsets`")
    copied = buffer_of(offsets.cast(pa.int64()), "q").tobytes()
    bounds = pa.Array.from_buffers(pa.int64(), len(offsets), [None, pa.py_buffer(copied)])
    descending = pc.less(bounds[1:], bounds[:-1])
    if pc.any(descending).as_py():
        place = pc.index(descending, True).as_py() + 1
        raise ValueError(
            f"Expected offsets that ascend, found {bounds[place]} behind {bounds[place - 1]} - at `offsets[{place}]`"
        )
    if bounds[0].as_py() < 0 or bounds[-1].as_py() > size:
        raise ValueError(f"Expected offsets in 0..{size}, found {bounds[0]} to {bounds[-1]} - at `offsets`")
    return bounds


class TableParser:
    """Parses the batches of a table, with the arguments of `parse_table`."""

    def __init__(
        self,
        tokens: str | None,
        text: str | None,
        role: Role | None,
        roles: str | None,
        *,
        strict: bool,
        stripped: bool = False,
        nested: bool,
        threads: int,
        most: int = sys.maxsize,
    ) -> None:
        self._tokens = tokens
        self._text = text
        self._given = GIVEN.index(role)
        self._roles = roles
        self._strict = strict
        self._stripped = stripped
        self._nested = nested
        self._threads = threads
        self._most = most  # bytes of one completion
        self._read = [name for name in (tokens, text, roles) if name is not None]

    def schema(self, given: pa.Schema) -> pa.Schema:
        """The output schema for an input schema. Raises ValueError for a missing column, TypeError for a wrong type."""
        for name in self._read:
            if given.get_field_index(name) < 0:
                found = ", ".join(f"`{other}`" for other in given.names) or "none"
                raise ValueError(f"Expected one column `{name}`, found {found}")
            kind = given.field(name).type
            if name == self._tokens:
                fits = _is_list(kind) and pa.types.is_integer(kind.value_type)
                expected = "a list of integers"
            else:
                fits, expected = _is_text(kind), "strings"
            if not fits:
                raise TypeError(f"Expected {expected}, found `{kind}` - at column `{name}`")
        return pa.schema([*self._kept_schema(given), *self._added()])

    def parse(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yields the output rows of the batches, a limited number at a time."""
        before = 0
        for batch in batches:
            size = max(1, min(_MOST_ROWS, _MOST_BYTES * len(batch) // max(1, _bytes_of(batch))))
            for start in range(0, len(batch), size):
                piece = batch.slice(start, size)
                kept, columns = self.kept_of(piece), self.columns(piece, bare=not self._nested)
                yield from repeated(kept, nested(columns) if self._nested else flat(columns), before)
                before += len(piece)

    def _added(self) -> pa.Schema:
        return NESTED_SCHEMA if self._nested else SCHEMA

    def kept(self, given: pa.Schema) -> list[int]:
        """The indices of the columns that are kept. (Two columns can have the same name.)"""
        replaced = {*self._read, *self._added().names}
        return [place for place, name in enumerate(given.names) if name not in replaced]

    def _kept_schema(self, given: pa.Schema) -> pa.Schema:
        fields = [given.field(place) for place in self.kept(given)]
        return pa.schema([field.with_type(changed(field.type, _without_view)) for field in fields])

    def kept_of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of a batch that are kept."""
        return batch.select(self.kept(batch.schema)).cast(self._kept_schema(batch.schema))

    def columns(self, batch: pa.RecordBatch, *, bare: bool) -> Columns:
        """Parses the completions of a batch. Conversation `i` is that of row `i`."""
        ids, bounds, codes, elsewhere = self.read(batch)
        return build(
            ids,
            bounds,
            codes,
            strict=self._strict,
            stripped=self._stripped,
            bare=bare,
            threads=self._threads,
            elsewhere=elsewhere,
        )

    def read(self, batch: pa.RecordBatch) -> Sources:
        """The sources of the completions of a batch. Conversation `i` is that of row `i`."""
        roles = self._given_roles(batch)
        large = self._too_large(batch)
        elsewhere: dict[int, Source] = {}
        ids, bounds = memoryview(b"").cast("I"), memoryview(bytes(8 * len(batch) + 8)).cast("q")
        if self._tokens is not None:
            ids, bounds, elsewhere = _read_lists(batch.column(self._tokens), self._tokens)
        if self._text is not None:
            elsewhere |= self._read_texts(batch, large)
        elsewhere |= large
        for index, code in enumerate(roles):
            if isinstance(code, RecordError):
                elsewhere[index] = code
        codes = bytearray(
            self._given
            if isinstance(code, RecordError) or (code is None and not _begins(index, ids, bounds, elsewhere))
            else GIVEN.index(code)
            for index, code in enumerate(roles)
        )
        for index in elsewhere:
            codes[index] |= ELSEWHERE
        return Sources(ids, bounds, bytes(codes), elsewhere)

    def rows_without_completion(self, batch: pa.RecordBatch) -> list[int]:
        """The rows that have neither tokens nor a text."""
        columns = [batch.column(name) for name in (self._tokens, self._text) if name is not None]
        found: list[int] = pc.indices_nonzero(reduce(pc.and_, (column.is_null() for column in columns))).to_pylist()
        return found

    def lengths(self, batch: pa.RecordBatch) -> list[int | None]:
        """The number of tokens of each row; None for a text."""
        if self._tokens is None:
            return [None] * len(batch)
        found: list[int | None] = pc.list_value_length(batch.column(self._tokens)).to_pylist()
        return found

    def _too_large(self, batch: pa.RecordBatch) -> dict[int, RecordError]:
        """The errors of rows whose completion has too many bytes."""
        found: dict[int, RecordError] = {}
        for name in (self._tokens, self._text):
            if name is None or _bytes_of(batch) <= self._most:
                continue
            sizes = _sizes(batch.column(name))
            for index in pc.indices_nonzero(pc.greater(sizes, self._most)).to_pylist():
                fault = Fault("record-too-large", found=sizes[index].as_py())
                found[index] = fault.record_error(f"at `{name}`")
        return found

    def _given_roles(self, batch: pa.RecordBatch) -> list[Role | RecordError | None]:
        if self._roles is None:
            return [GIVEN[self._given]] * len(batch)
        codes: dict[str | RecordError | None, Role | RecordError | None] = {}
        column = _texts(batch.column(self._roles), self._roles)
        for name in dict.fromkeys(column):
            try:
                codes[name] = name if isinstance(name, RecordError) else as_role(name)
            except ValueError as error:
                codes[name] = Fault("invalid-record", reason=error).record_error(f"at `{self._roles}`")
        return [codes[name] for name in column]

    def _read_texts(self, batch: pa.RecordBatch, large: Mapping[int, Source]) -> dict[int, Source]:
        """The texts of rows that have no tokens, without those that are too large."""
        empty = range(len(batch))
        expected = f"`{self._text}`"
        if self._tokens is not None:
            empty = pc.indices_nonzero(batch.column(self._tokens).is_null()).to_pylist()
            expected = f"`{self._tokens}` or `{self._text}`"
        texts = batch.column(self._text)
        return {index: _read_text(texts[index], expected, str(self._text)) for index in empty if index not in large}


def _bytes_of(batch: pa.RecordBatch) -> int:
    """The size of a batch in bytes. Of string views all buffers count, also what no row of the batch refers to.

    `nbytes` does the same, but raises an error for string views in pyarrow before 24.
    """
    return sum(
        column.nbytes if changed(column.type, _without_view) == column.type else column.get_total_buffer_size()
        for column in batch.columns
    )


def _sizes(column: pa.Array) -> pa.Array:
    """The size in bytes of each list of integers, or of each text."""
    if _is_list(column.type):
        return pc.multiply(pc.list_value_length(column).cast(pa.int64()), column.type.value_type.bit_width // 8)
    if pa.types.is_dictionary(column.type):
        return _sizes(column.dictionary).take(column.indices)
    return pc.binary_length(column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column)


def _begins(index: int, ids: memoryview, bounds: memoryview, elsewhere: Mapping[int, Source]) -> bool:
    """Whether a completion begins with `<|start|>`, and so names its role itself."""
    source = elsewhere.get(index, ids[bounds[index] : bounds[index] + 1] if bounds[index] < bounds[index + 1] else [])
    if isinstance(source, str):
        return source.startswith(vocabulary.SPECIAL_TEXTS[vocabulary.START])
    return not isinstance(source, RecordError) and len(source) > 0 and source[0] == vocabulary.START


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _read_lists(column: pa.Array, name: str) -> tuple[memoryview, memoryview, dict[int, Source]]:
    """The ids of all lists as uint32, their offsets, and the sources of rows whose integers do not fit."""
    kind = column.type.value_type
    lists = column.cast(pa.large_list(kind))
    bounds = checked_offsets(lists.offsets, len(lists.values))
    first = bounds[0].as_py()
    offsets = buffer_of(pc.subtract(bounds, first), "q")
    values = lists.values.slice(first, offsets[-1])
    elsewhere: dict[int, Source] = {}
    for row in _rows_where(_outside(values), offsets):
        elsewhere[row] = column[row].as_py()
    for row in _rows_where(values.is_null(), offsets):
        if not column[row].is_valid:
            continue
        place = column[row].as_py().index(None)
        elsewhere[row] = Fault("invalid-record/null-id").record_error(f"at `{name}[{place}]`")
    for row in pc.indices_nonzero(column.is_null()).to_pylist():
        elsewhere[row] = _null(f"`{name}`")
    return buffer_of(_as_uint32(values), "I"), offsets, elsewhere


def _outside(values: pa.Array) -> pa.Array:
    """A mask of the values that are not uint32; empty if all are."""
    least, most = (limit.as_py() for limit in pc.min_max(values).values())
    if least is None or (least >= 0 and most <= _MOST_ID):
        return pa.array([], pa.bool_())
    negative = pc.less(values, pa.scalar(0, values.type))
    return pc.or_(negative, pc.greater(values, pa.scalar(_MOST_ID, values.type))) if most > _MOST_ID else negative


def _as_uint32(values: pa.Array) -> pa.Array:
    """The values as uint32 without nulls. Values that do not fit become any number."""
    if values.null_count:
        values = values.fill_null(0)
    if values.type.bit_width == 32:
        return values.view(pa.uint32())
    return values.cast(pa.uint32(), safe=False)


def _rows_where(mask: pa.Array, offsets: memoryview) -> list[int]:
    """The rows that have a value for which the mask is true."""
    places = pc.indices_nonzero(mask).to_pylist()
    return list(dict.fromkeys(bisect_right(offsets, place) - 1 for place in places))


def _read_text(text: pa.Scalar, expected: str, name: str) -> str | RecordError:
    found = _text(text, name)
    return _null(expected) if found is None else found


def _null(expected: str) -> RecordError:
    return Fault("invalid-record/null", expected=expected).record_error()


def _text(text: pa.Scalar, name: str) -> str | RecordError | None:
    try:
        found: str | None = text.as_py()
    except UnicodeDecodeError as error:
        return text_error(error, name)
    return found


def _texts(column: pa.Array, name: str) -> list[str | RecordError | None]:
    try:
        found: list[str | RecordError | None] = column.to_pylist()
    except UnicodeDecodeError:
        return [_text(text, name) for text in column]
    return found


def _without_view(kind: pa.DataType) -> pa.DataType:
    """The type without string views and binary views: pyarrow cannot take rows of these."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind
