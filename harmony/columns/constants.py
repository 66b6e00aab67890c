"""Small Arrow arrays and scalars, made from buffers.

Where pandas is installed, pyarrow imports all of it before it turns the first Python value into an Arrow value. That
takes longer than to count a small log. So what every log needs is made here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

import pyarrow as pa


def integers(values: Iterable[int]) -> pa.Array:
    """An array of 64-bit integers. Raises TypeError and OverflowError for other values."""
    data = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(data), [None, pa.py_buffer(data)])


def integer(value: int) -> pa.Scalar:
    """A 64-bit integer."""
    return integers([value])[0]


def strings(values: Sequence[str], kind: pa.DataType, validity: pa.Buffer | None = None) -> pa.Array:
    """An array of strings; `kind` is `string` or `large_string`. `validity` has the bits of those that are not null."""
    encoded = [value.encode() for value in values]
    offsets = array("q" if pa.types.is_large_string(kind) else "i", accumulate(map(len, encoded), initial=0))
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind, len(encoded), buffers)


def string(value: str) -> pa.Scalar:
    """A `large_string`."""
    return strings([value], pa.large_string())[0]
