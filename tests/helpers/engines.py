"""The engines that are tested."""

from __future__ import annotations

import os

# A missing extension is an error, not a reason to test less; only HARMONY_EXTENSION=no leaves it out.
ENGINES = ["harmony.parsing.parser_py"] + (
    ["harmony.parsing.parser_c"] if os.environ.get("HARMONY_EXTENSION") != "no" else []
)
