"""Whether this process uses the compiled modules: each of them has a twin in Python.

HARMONY_EXTENSION=no takes the twins in Python, HARMONY_EXTENSION=yes fails where the compiled modules are missing.
Whoever has a pair of twins asks here which one to import.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Final

_choice = os.environ.get("HARMONY_EXTENSION", "")
if _choice not in ("", "yes", "no"):
    raise ImportError(f"HARMONY_EXTENSION: expected `yes`, `no` or nothing, got `{_choice}`")

_NEEDED: Final = tuple(
    f"harmony.{name}" for name in ("messages.repeats_c", "parsing.moves_c", "parsing.parser_c", "parsing.scan_c")
)

#: Whether the compiled modules are used.
COMPILED: Final = _choice == "yes" or (_choice == "" and all(map(find_spec, _NEEDED)))
