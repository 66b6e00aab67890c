"""Parses Arrow tables in which each row has a completion: finds the sources of the rows, and keeps other columns."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.arrow import NESTED_SCHEMA, SCHEMA, changed, flat_beside, nested
from harmony.columns.engine import ascending, build
from harmony.columns.rows import ELSEWHERE, GIVEN, IN_TEXTS, UNLESS_START, Columns, Source, Sources, Texts, text_error
from harmony.errors import Fault, RecordError
from harmony.messages.roles import Role, as_role

# The limits of one step. Kept columns are repeated for each message, and must fit into an Arrow array of 2 GiB.
_MOST_ROWS: Final = 16_384
_MOST_BYTES: Final = 1 << 26

#: The format of a number, as in `struct`.
Item: TypeAlias = Literal["B", "I", "i", "Q", "q"]

# Each code, with the flag IN_TEXTS.
_WITH_TEXTS: Final = bytes(code | IN_TEXTS for code in range(256))

_ADDED: Final = {False: list(SCHEMA), True: list(NESTED_SCHEMA)}
_OFFSETS: Final[dict[int, Item]] = {32: "i", 64: "q"}
# The types of token ids that the builder reads.
_ITEMS: Final[dict[pa.DataType, Item]] = {pa.uint32(): "I", pa.int32(): "i", pa.uint64(): "Q", pa.int64(): "q"}


def buffer_of(values: pa.Array, item: Item) -> memoryview:
    """The memory of an array of numbers, without a copy. Nulls are any number there."""
    if not len(values):
        return memoryview(b"").cast(item)
    width = values.type.bit_width // 8
    data = memoryview(values.buffers()[1]).cast("B")
    return data[values.offset * width : (values.offset + len(values)) * width].cast(item)


def buffer_of_ids(values: pa.Array) -> memoryview:
    """The memory of an array of integers, which the builder reads as token ids. It is copied if the type is smaller."""
    if values.type not in _ITEMS:
        values = values.cast(pa.int32())
    return buffer_of(values, _ITEMS[values.type])


def checked_offsets(offsets: memoryview, size: int) -> memoryview:
    """A copy of the offsets as int64, after a check that they ascend and stay within `size` tokens. Raises ValueError.

    The copy is made before the check, because others may change the memory of the offsets meanwhile.
    """
    if len(offsets) == 0:
        raise ValueError("Expected one offset more than completions, found none - at `offsets`")
    bounds, place = ascending(offsets)
    if place:
        raise ValueError(
            f"Expected offsets that ascend, found {bounds[place]} behind {bounds[place - 1]} - at `offsets[{place}]`"
        )
    if bounds[0] < 0 or bounds[-1] > size:
        raise ValueError(f"Expected offsets in 0..{size}, found {bounds[0]} to {bounds[-1]} - at `offsets`")
    return bounds


def as_arrow(table: Any) -> pa.Table | pa.RecordBatchReader:
    """What a user passes as a table, as one of Arrow. Raises TypeError for anything that gives none."""
    if isinstance(table, pa.Table | pa.RecordBatchReader):
        return table
    datasets = sys.modules.get("datasets")  # if there is a Dataset, its library is imported
    if datasets is not None and isinstance(table, datasets.Dataset):
        # Not `table.data`: this has all rows in their first order, and `[:]` those that were selected, sorted or mixed.
        return table.with_format("arrow")[:]
    if not hasattr(table, "__arrow_c_stream__"):
        raise TypeError(f"Expected `Table` or `RecordBatchReader`, got `{type(table).__name__}` - at `table`")
    return pa.table(table)


class _Plan(NamedTuple):
    """What a TableParser does with the columns of a schema."""

    kept: list[int]  # the indices of the columns that are kept
    kept_schema: pa.Schema
    is_cast: bool  # whether their types change
    output: pa.Schema
    has_views: bool


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
        hidden: Iterable[str] | None = None,
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
        self._hidden = hidden  # the names of columns that are not kept, if a caller chooses them
        self._read = [name for name in (tokens, text, roles) if name is not None]
        self._planned: tuple[pa.Schema, _Plan] | None = None

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
        return self._plan(given).output

    def _plan(self, given: pa.Schema) -> _Plan:
        """The plan for a schema. All batches of a table have the same one, so it is made once."""
        planned = self._planned
        if planned is not None and planned[0].equals(given, check_metadata=True):
            return planned[1]
        kept = self.kept(given)
        fields = [given.field(place) for place in kept]
        is_cast = any(_has_views(field.type) for field in fields)
        if is_cast:
            fields = [field.with_type(changed(field.type, _without_view)) for field in fields]
        has_views = is_cast or any(_has_views(given.field(name).type) for name in self._read)
        output = pa.schema([*fields, *_ADDED[self._nested]])
        plan = _Plan(kept, pa.schema(fields), is_cast, output, has_views)
        self._planned = given, plan
        return plan

    def parse(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yields the output rows of the batches, a limited number at a time."""
        before = 0
        for batch in batches:
            plan = self._plan(batch.schema)
            size = max(1, min(_MOST_ROWS, _MOST_BYTES * len(batch) // max(1, _bytes_of(batch, plan))))
            for start in range(0, len(batch), size):
                piece = batch if size >= len(batch) else batch.slice(start, size)
                kept, columns = self.kept_of(piece), self.columns(piece, bare=not self._nested)
                if self._nested:
                    arrays = [*kept.columns, *nested(columns).columns]
                    yield pa.RecordBatch.from_arrays(arrays, schema=plan.output)
                else:
                    yield from flat_beside(kept, columns, plan.output, before)
                before += len(piece)

    def kept(self, given: pa.Schema) -> list[int]:
        """The indices of the columns that are kept. (Two columns can have the same name.)"""
        hidden = {*self._read, *(field.name for field in _ADDED[self._nested])}
        if self._hidden is not None:
            hidden = {*self._hidden}
        return [place for place, name in enumerate(given.names) if name not in hidden]

    def kept_of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of a batch that are kept."""
        plan = self._plan(batch.schema)
        kept = batch.select(plan.kept)
        return kept.cast(plan.kept_schema) if plan.is_cast else kept

    def columns(self, batch: pa.RecordBatch, *, bare: bool) -> Columns:
        """Parses the completions of a batch. Conversation `i` is that of row `i`."""
        ids, bounds, codes, elsewhere, texts = self.read(batch)
        return build(
            ids,
            bounds,
            codes,
            strict=self._strict,
            stripped=self._stripped,
            bare=bare,
            threads=self._threads,
            elsewhere=elsewhere,
            texts=texts,
        )

    def read(self, batch: pa.RecordBatch) -> Sources:
        """The sources of the completions of a batch. Conversation `i` is that of row `i`."""
        codes, wrong = self._given_roles(batch)
        ids, bounds = memoryview(b"").cast("I"), memoryview(bytes(8 * len(batch) + 8)).cast("q")
        elsewhere: dict[int, Source] = {}
        texts = missing = None
        if self._tokens is not None:
            lists = batch.column(self._tokens)
            ids, bounds, elsewhere = _read_lists(lists, self._tokens)
            missing = lists.is_null() if lists.null_count else None
        if self._text is not None and (self._tokens is None or missing is not None):
            texts, nulls = _read_texts(batch.column(self._text), self._text)
            codes = _in_texts(codes, missing)
            missing = None if nulls is None else nulls if missing is None else pc.and_(missing, nulls)
        if missing is not None:
            names = " or ".join(f"`{name}`" for name in (self._tokens, self._text) if name is not None)
            error = Fault("invalid-record/null", expected=names).record_error()
            elsewhere |= dict.fromkeys(pc.indices_nonzero(missing).to_pylist(), error)
        elsewhere |= self._too_large(batch)
        elsewhere |= wrong
        if elsewhere:
            flagged = bytearray(codes)
            for index in elsewhere:
                flagged[index] |= ELSEWHERE
            codes = bytes(flagged)
        return Sources(ids, bounds, codes, elsewhere, texts)

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
        if self._most == sys.maxsize or _bytes_of(batch, self._plan(batch.schema)) <= self._most:
            return found
        for name in (self._tokens, self._text):
            if name is None:
                continue
            sizes = _sizes(batch.column(name))
            for index in pc.indices_nonzero(pc.greater(sizes, self._most)).to_pylist():
                fault = Fault("record-too-large", found=sizes[index].as_py())
                found[index] = fault.record_error(f"at `{name}`")
        return found

    def _given_roles(self, batch: pa.RecordBatch) -> tuple[bytes, dict[int, RecordError]]:
        """The code of each row's role, and the errors of rows whose role is unknown."""
        if self._roles is None:
            return bytes([self._given]) * len(batch), {}
        column = _in_dictionary(batch.column(self._roles))
        codes, wrong = bytearray(), {}
        for place, found in enumerate(_texts(column.dictionary, self._roles)):
            code = self._given
            try:
                if isinstance(found, RecordError):
                    wrong[place] = found
                else:
                    code = code | UNLESS_START if found is None else GIVEN.index(as_role(found))
            except ValueError as error:
                wrong[place] = Fault("invalid-record", reason=error).record_error(f"at `{self._roles}`")
            codes.append(code)
        if len(codes) == 1 and not column.null_count and not wrong:  # the usual case
            return bytes(codes) * len(column), {}
        places = column.indices
        if places.null_count:
            places = places.cast(pa.int64()).fill_null(len(codes))
        codes.append(self._given | UNLESS_START)
        values = pa.Array.from_buffers(pa.uint8(), len(codes), [None, pa.py_buffer(codes)])
        rows = pc.indices_nonzero(pc.is_in(places, pa.array(wrong, places.type))).to_pylist() if wrong else []
        return buffer_of(values.take(places), "B").tobytes(), {row: wrong[places[row].as_py()] for row in rows}


def _in_texts(codes: bytes, mask: pa.Array | None) -> bytes:
    """The codes with the flag IN_TEXTS for the rows where the mask is true; for all rows if it is None."""
    if mask is None:
        return codes.translate(_WITH_TEXTS)
    given = pa.Array.from_buffers(pa.uint8(), len(codes), [None, pa.py_buffer(codes)])
    flags = pc.multiply(mask.cast(pa.uint8()), pa.scalar(IN_TEXTS, pa.uint8()))
    return buffer_of(pc.bit_wise_or(given, flags), "B").tobytes()


def _bytes_of(batch: pa.RecordBatch, plan: _Plan) -> int:
    """The size of a batch in bytes. Of string views all buffers count, also what no row of the batch refers to.

    `nbytes` does the same, but raises an error for string views in pyarrow before 24.
    """
    if not plan.has_views:
        return int(batch.nbytes)
    return sum(column.get_total_buffer_size() if _has_views(column.type) else column.nbytes for column in batch.columns)


def _sizes(column: pa.Array) -> pa.Array:
    """The size in bytes of each list of integers, or of each text."""
    if _is_list(column.type):
        return pc.multiply(pc.list_value_length(column).cast(pa.int64()), column.type.value_type.bit_width // 8)
    if pa.types.is_dictionary(column.type):
        return _sizes(column.dictionary).take(column.indices)
    return pc.binary_length(column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _read_lists(column: pa.Array, name: str) -> tuple[memoryview, memoryview, dict[int, Source]]:
    """The ids of all lists, their offsets, and the errors of rows that hold a null."""
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.large_list(column.type.value_type))
    values = column.values
    bounds = checked_offsets(buffer_of(column.offsets, _OFFSETS[column.offsets.type.bit_width]), len(values))
    if values.type not in _ITEMS:
        first = bounds[0]
        values = values.slice(first, bounds[-1] - first)
        bounds = memoryview(array("q", [bound - first for bound in bounds]))
    elsewhere: dict[int, Source] = {}
    if values.null_count:
        first = bounds[0]
        places = pc.indices_nonzero(values.slice(first, bounds[-1] - first).is_null()).to_pylist()
        for row in dict.fromkeys(bisect_right(bounds, first + place) - 1 for place in places):
            if column[row].is_valid:
                place = column[row].as_py().index(None)
                elsewhere[row] = Fault("invalid-record/null-id").record_error(f"at `{name}[{place}]`")
    return buffer_of_ids(values), bounds, elsewhere


def _read_texts(column: pa.Array, name: str) -> tuple[Texts, pa.Array | None]:
    """The texts of a column, and a mask of those that are null, if any are. These are any other text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary.cast(pa.large_string()).take(column.indices)
    elif pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    _, offsets, data = column.buffers()
    view = memoryview(data or b"").cast("B")
    if not len(column):
        return Texts(view, memoryview(array("q", [0])), name), None
    kind = pa.int32() if pa.types.is_string(column.type) else pa.int64()
    bounds = pa.Array.from_buffers(kind, len(column) + 1, [None, offsets], offset=column.offset)
    texts = Texts(view, checked_offsets(buffer_of(bounds, _OFFSETS[kind.bit_width]), len(view)), name)
    return texts, column.is_null() if column.null_count else None


def _in_dictionary(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column
    return (column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column).dictionary_encode()


def _texts(column: pa.Array, name: str) -> list[str | RecordError | None]:
    try:
        found: list[str | RecordError | None] = column.to_pylist()
    except UnicodeDecodeError:
        return [_text(text, name) for text in column]
    return found


def _text(text: pa.Scalar, name: str) -> str | RecordError | None:
    try:
        found: str | None = text.as_py()
    except UnicodeDecodeError as error:
        return text_error(error, name)
    return found


def _has_views(kind: pa.DataType) -> bool:
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return True
    return any(_has_views(kind.field(place).type) for place in range(kind.num_fields))


def _without_view(kind: pa.DataType) -> pa.DataType:
    """The type without string views and binary views: pyarrow cannot take rows of these."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind
