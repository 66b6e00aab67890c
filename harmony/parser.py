"""Picks the engine: the compiled one where it is installed, else the one in Python.

HARMONY_EXTENSION=no takes the one in Python, HARMONY_EXTENSION=yes fails where the compiled one is missing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

_choice = os.environ.get("HARMONY_EXTENSION", "")
if _choice not in ("", "yes", "no"):
    raise ImportError(f"HARMONY_EXTENSION: expected `yes`, `no` or nothing, got `{_choice}`")

if TYPE_CHECKING or _choice == "no":
    from harmony._parser_py import StreamableParser, decode_bytes, parse, parse_text
    from harmony._repeats_py import is_small
    from harmony._scan_py import as_buffer, next_special, skip_text, skip_tokens
else:
    try:
        from harmony._parser import StreamableParser, decode_bytes, parse, parse_text
        from harmony._repeats import is_small
        from harmony._scan import as_buffer, next_special, skip_text, skip_tokens
    except ModuleNotFoundError as error:
        # One that is there and cannot be loaded has to be heard of.
        compiled = ("harmony._moves", "harmony._parser", "harmony._repeats", "harmony._scan")
        if _choice == "yes" or error.name not in compiled:
            raise
        from harmony._parser_py import StreamableParser, decode_bytes, parse, parse_text
        from harmony._repeats_py import is_small
        from harmony._scan_py import as_buffer, next_special, skip_text, skip_tokens

#: Whether it is the compiled engine.
COMPILED: Final = StreamableParser.__module__ == "harmony._parser"

__all__ = [
    "COMPILED",
    "StreamableParser",
    "as_buffer",
    "decode_bytes",
    "is_small",
    "new_parser",
    "next_special",
    "parse",
    "parse_text",
    "skip_text",
    "skip_tokens",
]


def new_parser(subclass: type[StreamableParser] | None) -> StreamableParser:
    """An empty parser of this process's engine, or of a subclass, for `pickle` and `copy` to fill."""
    chosen = subclass or StreamableParser
    return chosen.__new__(chosen)
