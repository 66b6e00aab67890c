"""Chooses the builder of columns: the compiled one if the compiled engine is in use, otherwise the one in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from harmony.columns.build_py import ascending, bits_of_rows, build, validity
else:
    from harmony.columns.build_c import build
    from harmony.columns.memory import ascending, bits_of_rows, validity

__all__ = ["ascending", "bits_of_rows", "build", "validity"]
