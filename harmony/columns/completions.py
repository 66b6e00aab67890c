"""The token ids of many completions, as users pass them: in one sequence beside offsets, or one sequence for each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from harmony.columns.tables import buffer_of, buffer_of_ids, checked_offsets
from harmony.parsing.engine import as_buffer
from harmony.parsing.tokens import Tokens, as_sequence

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: What may be passed as offsets.
Offsets: TypeAlias = "Sequence[int] | Buffer | pa.Array"

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


class Completions(NamedTuple):
    """Completion `i` is `ids[bounds[i]:bounds[i + 1]]`. The ids are integers of 32 or 64 bits."""

    ids: memoryview
    bounds: memoryview
    original: Callable[[int], list[int] | None] | None
    """The integers of completion `i` as they were passed; None where `ids` has them all, also those that are no ids."""

    def unfit(self) -> dict[int, list[int]]:
        """The integers of each completion that has one which is no id, and which `ids` may therefore not have."""
        found: dict[int, list[int]] = {}
        if self.original is None:
            return found
        ids = pa.Array.from_buffers(pa.uint32(), len(self.ids), [None, pa.py_buffer(self.ids)])
        last = -1
        for place in pc.indices_nonzero(pc.equal(ids, _NO_ID)).to_pylist():
            index = bisect_right(self.bounds, place) - 1
            if index != last and 0 <= index < len(self.bounds) - 1:
                integers = self.original(index)
                if integers is not None:
                    found[index] = integers
            last = index
        return found


def divided(tokens: Tokens | pa.Array, offsets: Offsets) -> Completions:
    """The completions in one sequence of ids, which the offsets divide. Raises TypeError and ValueError for others."""
    ids, integers = _ids(tokens)
    bounds = _bounds(offsets, len(ids))
    if integers is None:
        return Completions(ids, bounds, None)
    return Completions(ids, bounds, lambda index: list(integers[bounds[index] : bounds[index + 1]]))


def joined(completions: Any) -> Completions:
    """The completions, each a sequence of ids of its own. Raises TypeError and ValueError for others."""
    sequences = [_sequence(each, index) for index, each in enumerate(_checked(completions))]
    kinds = {each.format if isinstance(each, memoryview) else "" for each in sequences}
    lists: dict[int, list[int]] = {}
    if len(kinds) > 1 or kinds == {""}:  # all become uint32
        for index, each in enumerate(sequences):
            if not isinstance(each, memoryview) or each.format != "I":
                lists[index] = each.tolist() if isinstance(each, memoryview) else list(each)
    parts = [_uint32(lists[index], index) if index in lists else each for index, each in enumerate(sequences)]
    bounds = memoryview(array("q", accumulate(map(len, parts), initial=0)))
    kind = kinds.pop() if len(kinds) == 1 else ""
    ids = memoryview(b"".join(parts)).cast(kind or "I")  # type: ignore[call-overload,arg-type]  # no list is left
    return Completions(ids, bounds, lists.get if lists else None)


def _ids(tokens: Tokens | pa.Array) -> tuple[memoryview, Sequence[int] | None]:
    """The ids as integers of 32 or 64 bits. If some integers may not fit, also the integers as they were passed."""
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
    view: memoryview | None
    try:
        view = memoryview(tokens)  # type: ignore[arg-type]  # TypeError says that it is no buffer
    except TypeError:
        view = _memory_of(tokens)
    kind = None if view is None else _KINDS.get((view.format, view.itemsize))
    return None if view is None or kind is None or view.ndim != 1 or not view.contiguous else view.cast("B").cast(kind)


def _memory_of(tensor: Any) -> memoryview | None:
    """The memory of a tensor in the processor's memory, by numpy's protocol: no integer is touched by itself."""
    if not hasattr(tensor, "tolist") or not hasattr(tensor, "__array__"):
        return None
    try:
        return memoryview(tensor.__array__())
    except (TypeError, ValueError, RuntimeError):  # it is on another device, or numpy is missing
        return None


def _checked(completions: Any) -> Iterable[Tokens]:
    """The completions, if they are an ordered collection and hold no padding."""
    dimensions = getattr(completions, "ndim", 1)
    if dimensions != 1:
        raise ValueError(
            f"Expected the token ids of each completion, got {dimensions} dimensions - at `tokens`; rows of one length "
            "hold padding: leave it out, and pass a list with the ids of each completion"
        )
    found = f"`{type(completions).__name__}` - at `tokens`"
    if isinstance(completions, pa.Array | pa.ChunkedArray):
        raise TypeError(f"Expected a list with the token ids of each completion, got {found}; see `parse_table`")
    if not isinstance(completions, str | set | frozenset | Mapping) and isinstance(completions, Iterable):
        try:
            if memoryview(completions).format == "O":  # type: ignore[arg-type]  # TypeError says that it is no buffer
                return completions
        except TypeError:
            return completions
    raise TypeError(f"Expected a list with the token ids of each completion, got {found}; {_ALL_IN_ONE}")


_ALL_IN_ONE: Final = "if it holds the ids of all completions, pass `offsets` too"


def _sequence(tokens: Any, index: int) -> list[int] | tuple[int, ...] | memoryview:
    if isinstance(tokens, int) or getattr(tokens, "ndim", 1) == 0:
        found = f"`{type(tokens).__name__}` - at `tokens[{index}]`"
        raise TypeError(f"Expected a list with the token ids of each completion, got {found}; {_ALL_IN_ONE}")
    view = _integers_of(tokens)
    try:
        return as_sequence(tokens) if view is None else view
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} - at `tokens[{index}]`") from error


def _uint32(integers: list[int], index: int) -> memoryview:
    try:
        return as_buffer(integers)
    except TypeError as error:  # which names the token
        raise TypeError(f"{error} of `tokens[{index}]`") from error


def _bounds(offsets: Offsets, size: int) -> memoryview:
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
