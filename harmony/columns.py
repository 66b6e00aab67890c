"""Picks the builder of columns: the compiled one where the compiled engine is in use, else the one in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmony.parser import COMPILED

if TYPE_CHECKING or not COMPILED:
    from harmony._columns_py import build, validity
else:
    from harmony._column_rows import validity
    from harmony._columns import build

__all__ = ["build", "validity"]
