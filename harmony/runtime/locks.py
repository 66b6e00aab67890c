"""Locks that neither a fork nor a signal can turn into a deadlock, and values that are made once a process.

A forked child has one thread, the one that forked. A lock that another thread held at that moment would stay locked in
the child for ever. So the child gets new locks, and whoever has a lock says in `begin_anew` what else it must forget.

Python locks each module while it is imported, and a child gets no new locks of these. So what is imported late, by a
call rather than by a module, is imported `with forks_wait:`.

The handler of a signal runs in the thread that it interrupts. If it asked for a lock that this thread holds, it would
wait for itself. So the thread that has a lock may take it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Final, Generic, TypeVar
from weakref import WeakSet

_Value = TypeVar("_Value")

_locked: Final[WeakSet[Locked]] = WeakSet()

#: While a thread holds it, another one that forks the process waits.
forks_wait: Final = RLock()


class Locked:
    """An object with a lock, `with self.lock:`."""

    def __init__(self) -> None:
        self.begin_anew()
        _locked.add(self)

    def begin_anew(self) -> None:
        """Takes a new lock, which nobody holds. A forked child calls it; the old lock's threads are not there."""
        self.lock = RLock()


class Once(Locked, Generic[_Value]):
    """A value that is made when it is first asked for. All threads get the same object.

    What making raises is raised to the caller, and the next one tries again.
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
                    if self._made is None:  # a signal's handler may have made one in the meantime
                        self._made = value
        return self._made


def _after_fork() -> None:
    forks_wait.release()
    for each in _locked:
        each.begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=forks_wait.acquire, after_in_parent=forks_wait.release, after_in_child=_after_fork)
