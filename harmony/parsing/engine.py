"""The engine of this process, the compiled one or the one in Python, under the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmony.parsing import shared
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from harmony.parsing.parser_py import StreamableParser, decode_bytes, parse, parse_text
    from harmony.parsing.scan_py import as_buffer, next_special, skip_text, skip_tokens
else:
    from harmony.parsing.parser_c import StreamableParser, decode_bytes, parse, parse_text
    from harmony.parsing.scan_c import as_buffer, next_special, skip_text, skip_tokens

shared.parser_class = StreamableParser

__all__ = [
    "StreamableParser",
    "as_buffer",
    "decode_bytes",
    "next_special",
    "parse",
    "parse_text",
    "skip_text",
    "skip_tokens",
]
