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

_missing = [name for name in _NEEDED if _choice != "no" and find_spec(name) is None]
if _choice == "yes" and _missing:
    raise ModuleNotFoundError(
        f"HARMONY_EXTENSION is `yes`: expected the compiled module {_missing[0]}, found none: install "
        "harmony-codec with a C compiler, or unset HARMONY_EXTENSION",
        name=_missing[0],
    )

#: Whether the compiled modules are used.
COMPILED: Final = _choice != "no" and not _missing
