"""Reads token ids as users pass them: lists, tuples, other iterables of integers, buffers, and tensors.

Sets and dicts are refused, because the ids would be read in the order that Python happens to give. True and False are
refused too, though Python takes them for integers: they are a mask, and no ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from struct import iter_unpack
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The formats of integers in `struct`. Other buffers are iterated, and each item is converted to an integer.
_INTEGERS: Final = frozenset("bBhHiIlLqQ")
_BYTE_ORDERS: Final = "@=<>!"


class Tensor(Protocol):
    """What tensors of torch and other libraries have in common, wherever their memory is."""

    def tolist(self) -> Any:
        """The integers as a list."""


#: What may be passed as token ids.
Tokens: TypeAlias = "Sequence[int] | Iterable[int] | Buffer | Tensor"


def as_sequence(tokens: Tokens) -> list[int] | tuple[int, ...] | memoryview:
    """The ids as a list, a tuple, or a contiguous memoryview of native uint32. The values are not checked.

    A buffer of unsigned 32-bit integers is not copied. A buffer of unsigned bytes (`bytes`, `bytearray`) is read as
    native uint32. A tensor that is no buffer gives all its integers at once, by its method `tolist`. Raises TypeError
    for other types, and for a buffer of signed bytes or characters. Raises ValueError for a buffer or a tensor that is
    not one-dimensional, and for bytes whose number is not a multiple of four.
    """
    if type(tokens) is list or type(tokens) is tuple:
        return tokens
    try:
        view = memoryview(tokens)  # type: ignore[arg-type]  # may be no buffer
    except TypeError:
        return _without_buffer(tokens)
    if view.itemsize == 1 or view.format in _INTEGERS or view.format[1:] in _INTEGERS:
        return _from_buffer(view)
    return _from_items(tokens)


def _without_buffer(tokens: Any) -> list[int]:
    if isinstance(tokens, set | frozenset):
        raise TypeError(f"Expected a sequence of token ids, got `{type(tokens).__name__}`, which has no order")
    if isinstance(tokens, str | Mapping):
        raise _no_sequence(tokens)
    return _from_tensor(tokens) if callable(getattr(tokens, "tolist", None)) else _from_items(tokens)


def _from_items(tokens: Any) -> list[int]:
    try:
        integers = iter(tokens)
    except TypeError:
        raise _no_sequence(tokens) from None
    try:
        return list(integers)
    except NotImplementedError:
        if not isinstance(tokens, memoryview):
            raise
        raise _no_sequence(tokens) from None  # a format whose items Python cannot read


def _no_sequence(tokens: object) -> TypeError:
    return TypeError(f"Expected a sequence of token ids, got `{type(tokens).__name__}`")


def as_id(token: object, position: int) -> int:
    """`token` as an int of any size. `position` is its index among the tokens, for the TypeError."""
    try:
        integer = index(token)  # type: ignore[arg-type]  # may be no integer
    except TypeError:
        raise _no_integer(token, position) from None
    if 0 <= integer <= 1 and (isinstance(token, bool) or str(getattr(token, "dtype", "")).endswith("bool")):
        raise _no_integer(token, position)  # a tensor of one boolean has an index too
    return integer


def _no_integer(token: object, position: int) -> TypeError:
    return TypeError(f"Expected `int`, got `{type(token).__name__}` - at token {position}")


def _from_tensor(tensor: Tensor) -> list[int]:
    dimensions = getattr(tensor, "ndim", 1)
    if dimensions != 1:
        raise ValueError(f"Expected token ids in one dimension, got {dimensions}")
    integers = tensor.tolist()
    return integers if type(integers) is list else list(integers)


def _from_buffer(view: memoryview) -> list[int] | memoryview:
    if view.ndim != 1:
        raise ValueError(f"Expected token ids in one dimension, got {view.ndim}")
    if view.itemsize == 1 and view.format.lstrip(_BYTE_ORDERS) != "B":
        raise TypeError(
            f"Expected uint32 token ids, or unsigned bytes that hold them, got a buffer of the format `{view.format}`; "
            "if it holds native uint32, pass `memoryview(buffer).cast('B')`"
        )
    if view.itemsize == 1 or (view.format in ("I", "L") and view.itemsize == 4):
        if view.nbytes % 4:
            raise ValueError(f"Expected bytes that hold uint32 token ids, got {view.nbytes} bytes")
        return (view if view.contiguous else memoryview(view.tobytes())).cast("B").cast("I")
    if view.format in _INTEGERS:
        return view.tolist()
    # The format begins with a byte order, as in `>I`.
    return [integer for (integer,) in iter_unpack(view.format, view.tobytes())]
