"""Worker processes for pieces of a log. The caller gives the function that does the work.

On Linux, bytes go to the processes and come back through shared memory, because sending them through a pipe takes as
long as parsing them. What does not fit into that memory goes through the pipe, and so does everything elsewhere.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from ctypes import CDLL
from mmap import mmap
from multiprocessing import get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

#: The work on some bytes, with other arguments. It returns a result, and something small about the result.
Work: TypeAlias = Callable[..., tuple[Any, Any]]

_FORKS: Final = sys.platform == "linux"
_KEPT: Final = 1 << 25  # bytes, the highest value of M_MMAP_THRESHOLD
_SLOT: Final = 1 << 21  # bytes: enough for a piece of lines, or for its result


class Pending(Protocol):
    """Work that has begun."""

    def done(self) -> bool:
        """Whether it is finished."""

    def result(self) -> tuple[Any, Any]:
        """Waits for the result and returns it. Call it only once."""


class Workers:
    """Worker processes. They end when the context ends.

    Start them before you open a file with a lock, because they would inherit the lock, and before you start a thread.
    """

    def __init__(self, work: Work, count: int) -> None:
        #: How many pieces of work may be under way at a time.
        self.most: Final = 2 * count + 1
        self._slots = [mmap(-1, _SLOT) for _ in range(self.most if _FORKS else 0)]
        self._free = list(self._slots)
        context = get_context("fork" if _FORKS else "spawn")
        self._pool = ProcessPoolExecutor(count, context, _begin, (work, self._slots))
        with _without_broken_pipes():
            self._pool.submit(_ready).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, data: bytes, *rest: Any) -> Pending:
        """Begins the work on some bytes."""
        if not self._free or len(data) > _SLOT:
            return self._pool.submit(_work, data, rest)
        slot = self._free.pop()
        slot[: len(data)] = data
        return _InSlot(self._pool.submit(_work_in_slot, self._slots.index(slot), len(data), rest), slot, self._free)


class _InSlot:
    """Work whose bytes are in shared memory."""

    def __init__(self, future: Future[tuple[Any, Any]], slot: mmap, free: list[mmap]) -> None:
        self._future = future
        self._slot = slot
        self._free = free

    def done(self) -> bool:
        return self._future.done()

    def result(self) -> tuple[Any, Any]:
        made, more = self._future.result()
        if isinstance(made, _Length):
            made = self._slot[:made]
        self._free.append(self._slot)
        return made, more


class _Length(int):
    """The length of a result that stands in shared memory."""


_own: tuple[Work, list[mmap]]


def _begin(work: Work, slots: list[mmap]) -> None:
    global _own
    _own = work, slots
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends this process
    _keep_memory()
    Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def _without_broken_pipes() -> Iterator[None]:
    """Blocks SIGPIPE in the threads started here.

    A write to a dead worker's pipe then raises instead of killing the command.
    A thread inherits the blocked signals of the thread that starts it. The command itself leaves SIGPIPE to the system.
    """
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _keep_memory() -> None:
    """Keeps memory that a piece took for the next one: giving it back and taking it again is a sixth of all time."""
    with suppress(AttributeError, OSError, TypeError):  # only GNU's C library has them; their names are numbers
        mallopt = CDLL(None).mallopt
        mallopt(-1, _KEPT)  # M_TRIM_THRESHOLD
        mallopt(-3, _KEPT)  # M_MMAP_THRESHOLD


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the parent was killed, and nobody reads the results


def _ready() -> None:
    """Does nothing. Once it has run, the processes are there."""


def _work(data: bytes, rest: tuple[Any, ...]) -> tuple[Any, Any]:
    return _own[0](data, *rest)


def _work_in_slot(number: int, length: int, rest: tuple[Any, ...]) -> tuple[Any, Any]:
    slot = _own[1][number]
    made, more = _work(slot[:length], rest)
    if isinstance(made, bytes) and len(made) <= _SLOT:
        slot[: len(made)] = made
        made = _Length(len(made))
    return made, more
