"""Locks that are safe under forks and signals, and values that are made once per process.

Forks: a forked child has one thread, the one that forked. A lock that another thread held at that moment would stay
locked in the child for ever. So each Locked object gets a new lock in the child, and may forget more in `begin_anew`.

Imports: Python locks a module while it is imported, and a forked child keeps these locks. So an import inside a
function stands in `with forks_wait:`, which makes a fork wait for the end of the import.

Signals: a signal's handler runs in the thread that it interrupts. If the handler needs a lock that this thread holds,
an ordinary lock would wait for ever. So all locks here are RLocks, which the same thread may take again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Final, Generic, TypeVar
from weakref import WeakSet

_Value = TypeVar("_Value")

_locked: Final[WeakSet[Locked]] = WeakSet()

#: While one thread holds this lock, a fork in another thread waits.
forks_wait: Final = RLock()


class Locked:
    """An object with a lock, `with self.lock:`."""

    def __init__(self) -> None:
        self.begin_anew()
        _locked.add(self)

    def begin_anew(self) -> None:
        """Takes a new lock. Called in a forked child, where the thread that holds the old lock may not exist."""
        self.lock: RLock = RLock()


class Once(Locked, Generic[_Value]):
    """A value that is made by the first call. All threads get the same object.

    If making it raises, the caller gets the exception, and the next call tries again.
    """

    def __init__(self, make: Callable[[], _Value]) -> None:
        super().__init__()
        self._make = make
        self._made: _Value | None = None

    def __call__(self) -> _Value:
        if self._made is None:
            with self.lock:
                if self._made is None:
                    value = self._make()
                    if self._made is None:  # a signal's handler may have made the value meanwhile
                        self._made = value
        return self._made


def _after_fork() -> None:
    forks_wait.release()
    for each in _locked:
        each.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=forks_wait.acquire, after_in_parent=forks_wait.release, after_in_child=_after_fork)
