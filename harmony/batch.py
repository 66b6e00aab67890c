"""Parses many completions at once. The messages come out as Arrow data, without a Python object for each token.

SCHEMA has the columns if each message is a row, and NESTED_SCHEMA if each completion is a row. This module needs
pyarrow, which comes with the extra `cli`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ModuleNotFoundError as error:
    raise ImportError("columns need pyarrow: pip install 'harmony-codec[cli]'") from error

from harmony.columns.arrow import NESTED_SCHEMA, SCHEMA, flat
from harmony.columns.engine import build
from harmony.columns.rows import ELSEWHERE, GIVEN, Source
from harmony.columns.tables import TableParser, buffer_of, buffer_of_ids, checked_offsets
from harmony.encoding import check_stripped
from harmony.format import vocabulary
from harmony.messages.roles import Role, as_role
from harmony.parsing.engine import as_buffer
from harmony.parsing.tokens import Tokens, as_sequence
from harmony.runtime.locks import Once, forks_wait

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["NESTED_SCHEMA", "SCHEMA", "parse_batch", "parse_table"]

_MOST_THREADS: Final = 256  # more threads find no work, and each has its own table of headers
# The formats of integers of 32 and 64 bits, and the ones that do not depend on the system. uint32 is not here.
_KINDS: Final[dict[tuple[str, int], Literal["i", "q", "Q"]]] = {
    ("i", 4): "i",
    ("l", 4): "i",
    ("l", 8): "q",
    ("q", 8): "q",
    ("L", 8): "Q",
    ("Q", 8): "Q",
}
_NO_ID: Final = (1 << 32) - 1  # `as_buffer` writes this for integers that are not ids


def parse_batch(
    tokens: Tokens | pa.Array,
    offsets: Sequence[int] | Buffer | pa.Array,
    *,
    role: Role | str | None = Role.ASSISTANT,
    strict: bool = False,
    stripped: bool = False,
    threads: int = 1,
) -> pa.RecordBatch:
    """Parses many completions, and returns their messages with the columns of SCHEMA.

    Each message is a row. A completion without a message has one row, in which the columns of messages are null.

    `tokens` are the token ids of all completions, one completion after another; a buffer of integers of 32 or 64 bits
    is not copied. Completion `i` is `tokens[offsets[i]:offsets[i + 1]]`, so there is one offset more than completions.
    `role` is the role of the first message of each completion. It is None if the completions begin with `<|start|>` and
    a role.

        rows = parse_batch([200008, 12194, 200002, 200008, 12194, 200002], [0, 3, 6])
        rows.column("content").to_pylist()  # ["Hi", "Hi"]

    Each completion is read as in `HarmonyEncoding.parse`. Faults are repaired, and listed in `diagnostics`. With
    `strict`, a fault gives an `error`, and only the messages before it.

    `stripped` is for completions that have lost their markers, because a detokenizer left out special tokens. They are
    decoded, and read as in `HarmonyEncoding.parse_text` with `stripped`. Then `content_tokens` is null, and positions
    count characters. Lost markers are guessed, so it needs `strict=False`.

    `threads` threads share the completions. The GIL is released, except while a fault is handled. Raises TypeError and
    ValueError for wrong arguments, such as offsets that descend or end behind the tokens.
    """
    if stripped:
        check_stripped(strict=strict)
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
    columns = build(
        ids,
        bounds,
        bytes(roles),
        strict=strict,
        stripped=stripped,
        threads=_checked_threads(threads),
        elsewhere=elsewhere,
    )
    return flat(columns)


def parse_table(
    table: Any,
    *,
    tokens: str | None = None,
    text: str | None = None,
    role: Role | str | None = Role.ASSISTANT,
    roles: str | None = None,
    strict: bool = False,
    stripped: bool = False,
    nested: bool = False,
    threads: int = 1,
) -> pa.Table | pa.RecordBatchReader:
    """Parses a table in which each row has a completion, and returns a table of messages.

    `tokens` is the name of the column with the token ids (lists of integers), and `text` that of the column with texts.
    If neither is given, the column is "tokens". If both are given, `text` is used in rows without tokens.

    `role` is the role of the first message, as in `parse_batch`. If `roles` names a column, the role is read from
    there; if that is null, the role is `role`, unless the completion begins with `<|start|>`. `strict` and `stripped`
    are those of `parse_batch`.

    By default each message is a row, with the columns of SCHEMA. `conversation` is the number of its row in `table`.
    With `nested`, each completion is a row, with the columns of NESTED_SCHEMA. The other columns of `table` are kept,
    and repeated for each message. A column with the same name as a new one is replaced.

        table = pyarrow.table({"id": ["a"], "tokens": [[200008, 12194, 200002]]})
        parse_table(table).select(["id", "content"]).to_pylist()  # [{"id": "a", "content": "Hi"}]

    `table` can be a Table, or anything else that exports an Arrow stream, such as a DataFrame of polars or a relation
    of duckdb. Then the result is a Table. If it is a RecordBatchReader, the result is one too. It reads batch by batch,
    so neither has to fit in memory.

    If the tokens of a row are null, or contain a null, the row gets an `error`. Raises TypeError for columns of a wrong
    type, and ValueError for names that the table does not have.
    """
    if stripped:
        check_stripped(strict=strict)
    _set_up()
    if tokens is None and text is None:
        tokens = "tokens"
    parser = TableParser(
        tokens,
        text,
        as_role(role),
        roles,
        strict=strict,
        stripped=stripped,
        nested=nested,
        threads=_checked_threads(threads),
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
    """Makes Arrow do the work of its first use, such as looking for pandas.

    Arrow holds locks for some of it. If another thread forked the process meanwhile, the child would wait for ever.
    """
    ids, bounds = memoryview(array("I", [vocabulary.END])), array("q", [0, 1])
    columns = build(ids, memoryview(bounds), bytes([GIVEN.index(None)]), strict=False)
    with forks_wait:
        pa.scalar(0)
        flat(columns)
    return True


_set_up: Final = Once(_use_arrow)


def _ids(tokens: Tokens | pa.Array) -> tuple[memoryview, Sequence[int] | None]:
    """The ids as integers of 32 or 64 bits. If some integers may not fit, also the original integers."""
    if isinstance(tokens, pa.Array):
        if not pa.types.is_integer(tokens.type) or tokens.null_count:
            raise TypeError(f"Expected integers without a null, got `{tokens.type}` - at `tokens`")
        return buffer_of_ids(tokens), None
    view = _integers_of(tokens)
    if view is not None:
        return view, None
    sequence = as_sequence(tokens)
    return as_buffer(sequence), None if isinstance(sequence, memoryview) else sequence


def _integers_of(tokens: Tokens) -> memoryview | None:
    """A buffer of native integers, such as a numpy array of int64, as the builder reads it; None for anything else."""
    try:
        view = memoryview(tokens)  # type: ignore[arg-type]  # TypeError says that it is no buffer
    except TypeError:
        return None
    kind = _KINDS.get((view.format, view.itemsize))
    return None if kind is None or view.ndim != 1 or not view.contiguous else view.cast("B").cast(kind)


def _bounds(offsets: Sequence[int] | Buffer | pa.Array, size: int) -> memoryview:
    """A copy of the offsets as int64, after a check that they ascend and stay within the tokens."""
    if not isinstance(offsets, pa.Array):
        return checked_offsets(_integers(offsets), size)
    if not pa.types.is_integer(offsets.type) or offsets.null_count:
        raise TypeError(f"Expected integers without a null, got `{offsets.type}` - at `offsets`")
    return checked_offsets(buffer_of(offsets.cast(pa.int64()), "q"), size)


def _integers(offsets: Sequence[int] | Buffer) -> memoryview:
    try:
        view = memoryview(offsets)  # type: ignore[arg-type]  # TypeError says that it is no buffer
    except TypeError:
        return _int64(offsets)  # type: ignore[arg-type]
    if view.ndim == 1 and view.contiguous and view.format in ("q", "l") and view.itemsize == 8:
        return view.cast("B").cast("q")
    return _int64(view.tolist())


def _int64(offsets: Iterable[int]) -> memoryview:
    try:
        return memoryview(array("q", offsets))
    except OverflowError:
        raise ValueError("Expected offsets that fit into int64 - at `offsets`") from None


def _checked_threads(threads: int) -> int:
    if not isinstance(threads, int):
        raise TypeError(f"Expected `int`, got `{type(threads).__name__}` - at `threads`")
    if threads < 1:
        raise ValueError(f"Expected `int` >= 1, got {threads} - at `threads`")
    return min(threads, _MOST_THREADS)
