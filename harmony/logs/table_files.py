"""Tables as files hold them, Parquet and Arrow, read and written batch by batch so that no file need fit in memory.

Each function loads pyarrow when it is called, because logs of lines do without it. Text is not checked to be UTF-8,
because that is an error of its record; everything else in a table is checked. Which suffix a table has is said in
`formats.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

#: The batches of a table, each with its number of rows. None stands for rows that were done before, and is not read.
Batches: TypeAlias = "Iterator[tuple[int, pa.RecordBatch | None]]"

_BUFFER: Final = 1 << 20
# A row group of Parquet ends with the batch that reaches either of them.
_GROUP_ROWS: Final = 1 << 17
_GROUP_BYTES: Final = 1 << 26
_ARROW_FILE: Final = b"ARROW1"
_BEFORE_STREAM: Final = 8  # bytes of an Arrow file, before what is as in an Arrow stream


class TableWriter(Protocol):
    """Writes the batches of a table into an open file."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends the rows of a batch, whose columns are those of the table."""

    def close(self) -> None:
        """Writes what is held back, and the end of the table; the file stays open."""


def read_parquet_schema(file: BufferedReader[Any]) -> pa.Schema:
    """The columns of a Parquet file."""
    from pyarrow import parquet

    return parquet.ParquetFile(file).schema_arrow


def read_parquet(file: BufferedReader[Any], done: int, most: int) -> Batches:
    """The batches of a Parquet file, of `most` rows at most; the first `done` rows were read before."""
    from pyarrow import parquet

    # Without the first two options it reads the whole of a row group, which may be the whole file.
    table = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)
    _check_names(table.schema_arrow)
    end = 0
    for index in range(table.num_row_groups):
        group = table.metadata.row_group(index)
        end += group.num_rows
        if end <= done:
            file.raw.taken += sum(group.column(column).total_compressed_size for column in range(group.num_columns))
            yield group.num_rows, None
            continue
        for batch in table.iter_batches(most, row_groups=[index]):
            if batch.num_rows:
                yield batch.num_rows, batch


class ParquetWriter:
    """Writes Parquet in row groups of many batches each."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
        self._group: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._group.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_batches(self._group), row_group_size=self._rows)
        self._group = []
        self._rows = self._bytes = 0


def read_arrow_schema(file: BufferedReader[Any]) -> pa.Schema:
    """The columns of an Arrow file or stream."""
    return _arrow_table(file).schema


def read_arrow(file: BufferedReader[Any], done: int, most: int) -> Batches:
    """The batches of an Arrow file or stream, of `most` rows at most; the first `done` rows were read before."""
    import pyarrow as pa

    batches = table = _arrow_table(file)
    if isinstance(table, pa.ipc.RecordBatchFileReader):
        batches = map(table.get_batch, range(table.num_record_batches))
    _check_names(table.schema)
    end = 0
    for batch in batches:
        end += batch.num_rows
        if end > done:
            _check_values(batch)
        for begin in range(0, batch.num_rows, most):
            rows = batch.slice(begin, most)
            yield rows.num_rows, rows


def _check_values(batch: pa.RecordBatch) -> None:
    """Raises ArrowInvalid if a column points to what is not there."""
    import pyarrow as pa

    from harmony.columns.arrow import changed

    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:  # it may only be text that is not UTF-8
        batch.validate()
        kinds = [changed(column.type, _as_bytes) for column in batch.columns]
        columns = [column.view(kind) for column, kind in zip(batch.columns, kinds, strict=True)]
        pa.RecordBatch.from_arrays(columns, names=batch.schema.names).validate(full=True)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type of bytes in place of a type of text; any other type as it is."""
    import pyarrow as pa

    from harmony.columns.arrow import changed

    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, changed(kind.value_type, _as_bytes), kind.ordered)
    texts = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    return texts.get(kind, kind)


class ArrowWriter:
    """Writes an Arrow file batch by batch."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        import pyarrow as pa

        self._writer = pa.ipc.new_file(file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


def _arrow_table(file: BufferedReader[Any]) -> Any:
    """What reads an Arrow file or an Arrow stream: both have the suffix `.arrow`."""
    import pyarrow as pa

    is_file = file.peek(len(_ARROW_FILE)).startswith(_ARROW_FILE)
    if is_file and not file.seekable():
        file.read(_BEFORE_STREAM)  # a stream follows, and then what a pipe cannot go back from
        is_file = False
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def _check_names(schema: pa.Schema) -> None:
    """Raises UnicodeDecodeError where the name of a column, or of a field inside one, is not UTF-8."""
    fields = list(schema)
    for field in fields:  # it grows
        str(field.name)  # decoded when it is asked for
        fields += [field.type.field(index) for index in range(field.type.num_fields)]
