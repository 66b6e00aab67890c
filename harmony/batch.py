"""Parses many completions at once. The messages come out as Arrow data, without a Python object for each token.

SCHEMA has the columns if each message is a row, and NESTED_SCHEMA if each completion is a row. This module needs
pyarrow, which comes with the extra `cli`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Final

from harmony.runtime.extras import how_to_install

try:
    import pyarrow as pa
except ModuleNotFoundError as _error:
    raise ImportError(f"columns need pyarrow: {how_to_install('cli', 'pyarrow')}") from _error

from harmony.columns.arrow import NESTED_SCHEMA, SCHEMA, flat
from harmony.columns.completions import Offsets, divided, joined
from harmony.columns.engine import build
from harmony.columns.rows import ELSEWHERE, GIVEN, Source
from harmony.columns.tables import TableParser, as_arrow
from harmony.format import vocabulary
from harmony.messages.roles import Role, as_role
from harmony.parsing.shared import check_stripped
from harmony.parsing.tokens import Tokens
from harmony.runtime.locks import Once, forks_wait

__all__ = ["NESTED_SCHEMA", "SCHEMA", "parse_batch", "parse_table"]

_MOST_THREADS: Final = 256  # more threads find no work, and each has its own table of headers


def parse_batch(
    tokens: Iterable[Tokens] | Tokens | pa.Array,
    offsets: Offsets | None = None,
    *,
    role: Role | str | None = Role.ASSISTANT,
    strict: bool = False,
    stripped: bool = False,
    threads: int = 1,
) -> pa.RecordBatch:
    """Parses many completions, and returns their messages with the columns of SCHEMA.

    Each message is a row. A completion without a message has one row, in which the columns of messages are null.

    `tokens` are a list with the token ids of each completion: lists, arrays, tensors, or anything else that
    `HarmonyEncoding.parse` takes. An array of two dimensions is refused, because rows of one length hold padding.

        rows = parse_batch([[200008, 12194, 200002], [200008, 12194, 200007]])
        rows.column("content").to_pylist()  # ["Hi", "Hi"]

    With `offsets`, `tokens` are the token ids of all completions, one completion after another. Completion `i` is
    `tokens[offsets[i]:offsets[i + 1]]`, so there is one offset more than completions. This is the fastest form if the
    tokens are a buffer of integers of 32 or 64 bits, such as a numpy array: it is not copied.

        parse_batch([200008, 12194, 200002, 200008, 12194, 200007], [0, 3, 6])  # the same

    `role` is the role of the first message of each completion. It is None if the completions begin with `<|start|>` and
    a role.

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
    completions = joined(tokens) if offsets is None else divided(tokens, offsets)
    given = GIVEN.index(as_role(role))
    roles = bytearray([given]) * (len(completions.bounds) - 1)
    elsewhere: dict[int, Source] = {**completions.unfit()}
    for index in elsewhere:
        roles[index] = given | ELSEWHERE
    columns = build(
        completions.ids,
        completions.bounds,
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

    `table` can be a Table, a Dataset of `datasets` with its selection and order of rows, or anything else that exports
    an Arrow stream, such as a DataFrame of polars or pandas, or a relation of duckdb. Then the result is a Table. If
    `table` is a RecordBatchReader, the result is one too. It reads batch by batch, so neither has to fit in memory.

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
    table = as_arrow(table)
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


def _checked_threads(threads: int) -> int:
    if not isinstance(threads, int):
        raise TypeError(f"Expected `int`, got `{type(threads).__name__}` - at `threads`")
    if threads < 1:
        raise ValueError(f"Expected `int` >= 1, got {threads} - at `threads`")
    return min(threads, _MOST_THREADS)
