"""One log made into another, in this process, and tables read back."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import zstandard

from harmony.logs.completions import Tally
from harmony.logs.convert import Task, convert
from harmony.logs.records import Layout

SUFFIXES = ["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "arrow"]
TABLES = ("parquet", "arrow")


def converted(
    inputs: Sequence[Path],
    output: Path,
    *,
    nested: bool = False,
    strict: bool = False,
    stripped: bool = False,
    resume: bool = False,
    into: str | None = None,
) -> Tally:
    """What one process makes of logs."""
    to: Any = "rows" if output.suffix in (".parquet", ".arrow") else "lines"
    task = Task(layout=Layout(stripped=stripped, into=into), strict=strict, to=to, nested=nested)
    names = [str(name) for name in inputs]
    return convert(task, names, str(output), workers=1, resume=resume, watch=lambda taken, size, tally: None)


def read_table(file: Path) -> pa.Table:
    return pq.read_table(file) if file.suffix == ".parquet" else pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def write(file: Path, data: bytes) -> Path:
    """Writes lines into a file of its suffix."""
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    file.write_bytes(pack.get(file.suffix, bytes)(data))
    return file
