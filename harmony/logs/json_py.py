"""Token ids out of JSON, and messages into it, in Python: the reference and the type stub of `json_c.pyx`."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import msgspec

from harmony.columns.rows import Columns, read_messages
from harmony.messages.model import flat_messages

if TYPE_CHECKING:
    from typing_extensions import Buffer

_INTEGERS = msgspec.json.Decoder(list[int])
_MOST: int = (1 << 32) - 1


class Ids:
    """Token ids, one completion behind the other: a buffer of uint32 that grows."""

    def __init__(self) -> None:
        self._ids = array("I")

    def __len__(self) -> int:
        return len(self._ids)

    def scan(self, written: Buffer) -> bool:
        """Appends the integers of an array in JSON; False, and nothing appended, where it is not all uint32."""
        try:
            integers = _INTEGERS.decode(written)
        except (msgspec.DecodeError, RecursionError):
            return False
        if integers and not (min(integers) >= 0 and max(integers) <= _MOST):
            return False
        self._ids.extend(integers)
        return True

    def view(self) -> memoryview:
        """All ids, which must not grow any more."""
        return memoryview(self._ids)


class Writer:
    """Writes the messages of a conversation as JSON, in their flat form."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def messages(self, index: int, before: bytes = b"", behind: bytes = b"") -> bytes:
        """The array of the messages of conversation `index`, with some bytes before it and behind it."""
        written = msgspec.json.encode(flat_messages(read_messages(self._columns, index)))
        return b"%b%b%b" % (before, written, behind)
