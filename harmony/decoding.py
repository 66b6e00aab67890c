"""Guides a model while it writes: which tokens may come next, so that every completion is in the format.

    >>> from harmony import decoding
    >>> headers = decoding.Headers(encoding, ["functions.sky"])
    >>> encoding.decode(sorted(headers.allowed().tokens))
    ' to functions<|channel|>'

`Headers` needs no other library. It guides headers and stops, and leaves the content to the model. `grammar` makes a
grammar for llguidance, which also guides the arguments of calls, and `ll_tokenizer` the tokenizer for it; they need the
extra `decoding`. docs/decoding.md says how to put each into an engine.
"""

from __future__ import annotations

from harmony.guiding.derived import grammar, ll_tokenizer
from harmony.guiding.headers import MASK_WORDS, Allowed, Headers

__all__ = ["MASK_WORDS", "Allowed", "Headers", "grammar", "ll_tokenizer"]
