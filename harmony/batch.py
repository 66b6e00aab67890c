"""Logs by columns: many completions in, their messages out as Arrow data, one row a message or one row a completion.

What the rows hold, SCHEMA and NESTED_SCHEMA say. Needs pyarrow, which the extra `cli` brings.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ModuleNotFoundError as error:
    raise ImportError("columns need pyarrow: pip install 'harmony-codec[cli]'") from error

from harmony.columns.arrow import NESTED_SCHEMA, SCHEMA, flat
from harmony.columns.engine import build
from harmony.columns.rows import ELSEWHERE, GIVEN, Source
from harmony.columns.tables import TableParser, buffer_of, checked_offsets
from harmony.format import vocabulary
from harmony.messages.roles import Role, as_role
from harmony.parsing.engine import as_buffer
from harmony.parsing.tokens import Tokens, as_sequence
from harmony.runtime.locks import Once, forks_wait

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["NESTED_SCHEMA", "SCHEMA", "parse_batch", "parse_table"]

_MOST_THREADS: Final = 256  # more have nothing to do, and each has a table of headers
_NO_ID: Final = (1 << 32) - 1  # what `as_buffer` has for integers that are no ids


def parse_batch(
    tokens: Tokens | pa.Array,
    offsets: Sequence[int] | Buffer | pa.Array,
    *,
    role: Role | str | None = Role.ASSISTANT,
    strict: bool = False,
    threads: int = 1,
) -> pa.RecordBatch:
    """The messages of many completions, as SCHEMA says: one row a message, and one for a completion without any.

    `tokens` are the ids of all completions, one behind the other; a buffer of uint32 is not copied. Completion `i` is
    `tokens[offsets[i]:offsets[i + 1]]`, so there is one offset more than completions. `role` is
    that of each one's first message, None where they begin with a `<|start|>`. Each is read as `HarmonyEncoding.parse`
    reads it: repaired, with `diagnostics`, or if `strict` refused, with an `error` and the messages before it.

    The GIL is not held but for what is not well-formed; `threads` share the completions. Raises TypeError and
    ValueError for wrong arguments, such as offsets that descend or end behind the tokens.
    """
    _set_up()
    ids, originals = _ids(tokens)
    bounds = _bounds(offsets, len(ids))
    given = GIVEN.index(as_role(role))
    roles = bytearray([given]) * (len(bounds) - 1)
    elsewhere: dict[int, Source] = {}
    if originals is not None:
        none = pc.equal(pa.Array.from_buffers(pa.uint32(), len(ids), [None, pa.py_buffer(ids)]), _NO_ID)
        for place in pc.indices_nonzero(none).to_pylist():
            index = bisect_right(bounds, place) - 1
            if 0 <= index < len(roles) and index not in elsewhere:
                elsewhere[index] = list(originals[bounds[index] : bounds[index + 1]])
                roles[index] = given | ELSEWHERE
    columns = build(ids, bounds, bytes(roles), strict=strict, threads=_checked_threads(threads), elsewhere=elsewhere)
    return flat(columns)


def parse_table(
    table: Any,
    *,
    tokens: str | None = None,
    text: str | None = None,
    role: Role | str | None = Role.ASSISTANT,
    roles: str | None = None,
    strict: bool = False,
    nested: bool = False,
    threads: int = 1,
) -> pa.Table | pa.RecordBatchReader:
    """The messages of a table that has a completion a row, as lists of ids or as text.

    `tokens` and `text` name their columns: "tokens" unless one is named, and if both are, the text counts where there
    are no tokens. The first message's role is `role`, or what the column `roles` says: where that is null, `role` too,
    but none where a completion begins with `<|start|>`. All other columns are kept, and repeated for each message; one
    that has the name of an added column gives way. `conversation` is the row in the table. Where `nested`, each row
    stays one, with a list `messages`.

    `table` is a Table, and so is what is returned; or a RecordBatchReader, which is then read batch by batch, as the
    returned one is, so that neither need fit in memory; or anything else that exports an Arrow stream, such as a
    DataFrame of polars or a relation of duckdb, which gives a Table.

    A row whose tokens are null, or have a null among them, has an `error`. Raises TypeError for columns of other types,
    ValueError for names that the table does not have.
    """
    _set_up()
    if tokens is None and text is None:
        tokens = "tokens"
    parser = TableParser(
        tokens, text, as_role(role), roles, strict=strict, nested=nested, threads=_checked_threads(threads)
    )
    if not isinstance(table, pa.Table | pa.RecordBatchReader):
        if not hasattr(table, "__arrow_c_stream__"):
            raise TypeError(f"Expected `Table` or `RecordBatchReader`, got `{type(table).__name__}` - at `table`")
        table = pa.table(table)
    schema = parser.schema(table.schema)
    if isinstance(table, pa.RecordBatchReader):
        return pa.RecordBatchReader.from_batches(schema, parser.parse(table))
    return pa.Table.from_batches(parser.parse(table.to_batches()), schema)


def _use_arrow() -> bool:
    """Has Arrow do once what it does when it is used first, such as to look for pandas.

    It locks some of that. If another thread forked the process meanwhile, the child would wait for ever.
    """
    ids, bounds = memoryview(array("I", [vocabulary.END])), array("q", [0, 1])
    columns = build(ids, memoryview(bounds), bytes([GIVEN.index(None)]), strict=False)
    with forks_wait:
        flat(columns)
        checked_offsets(pa.array(bounds, pa.int64()), len(ids))
    return True


_set_up: Final = Once(_use_arrow)


def _ids(tokens: Tokens | pa.Array) -> tuple[memoryview, Sequence[int] | None]:
    """The ids as uint32, and the integers as they were where some of them may not fit."""
    if isinstance(tokens, pa.Array):
        if not pa.types.is_integer(tokens.type) or tokens.null_count:
            raise TypeError(f"Expected integers without a null, got `{tokens.type}` - at `tokens`")
        if tokens.type != pa.uint32():
            tokens = tokens.to_pylist()
        else:
            return buffer_of(tokens, "I"), None
    sequence = as_sequence(tokens)
    return as_buffer(sequence), None if isinstance(sequence, memoryview) else sequence


def _bounds(offsets: Sequence[int] | Buffer | pa.Array, size: int) -> memoryview:
    """The offsets as int64, ours alone, in order and within the tokens."""
    bounds = offsets if isinstance(offsets, pa.Array) else _integers(offsets)
    if not pa.types.is_integer(bounds.type) or bounds.null_count:
        raise TypeError(f"Expected integers without a null, got `{bounds.type}` - at `offsets`")
    return buffer_of(checked_offsets(bounds, size), "q")


def _integers(offsets: Sequence[int] | Buffer) -> pa.Array:
    try:
        view = memoryview(offsets)  # type: ignore[arg-type]  # it is asked whether it is a buffer
    except TypeError:
        return _int64(offsets)  # type: ignore[arg-type]
    if view.ndim == 1 and view.contiguous and view.format in ("q", "l") and view.itemsize == 8:
        return pa.Array.from_buffers(pa.int64(), len(view), [None, pa.py_buffer(view)])
    return _int64(view.tolist())


def _int64(offsets: Iterable[int]) -> pa.Array:
    try:
        return pa.array(array("q", offsets), pa.int64())
    except OverflowError:
        raise ValueError("Expected offsets that fit into int64 - at `offsets`") from None


def _checked_threads(threads: int) -> int:
    if not isinstance(threads, int):
        raise TypeError(f"Expected `int`, got `{type(threads).__name__}` - at `threads`")
    if threads < 1:
        raise ValueError(f"Expected `int` >= 1, got {threads} - at `threads`")
    return min(threads, _MOST_THREADS)
