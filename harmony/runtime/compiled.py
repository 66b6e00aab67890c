"""Whether this process uses the compiled modules. Each of them has a twin in Python that does the same.

The environment variable HARMONY_EXTENSION decides: `no` takes the twins in Python, `yes` takes the compiled modules and
fails if they are missing. Without the variable, the compiled modules are taken if they are there.
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
