"""Token ids as one string, in which each special token is a single character: what inputs are written and changed in.

The characters are private ones, in the order of the ids, so `<|channel|>` spelled out in a string is ordinary text.
The one past the last special token stands for an id that is no token. A byte that is not UTF-8 is a lone surrogate, as
`errors="surrogateescape"` has it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from harmony import load_harmony_encoding
from harmony.format import vocabulary

FIRST: Final = 0xF0000


def mark(token: int) -> str:
    """The character of a special token, or of the id past the last one."""
    return chr(FIRST + token - vocabulary.FIRST_SPECIAL)


def _token(mark: str) -> int:
    return ord(mark) - FIRST + vocabulary.FIRST_SPECIAL


START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN = map(
    mark,
    (
        vocabulary.START,
        vocabulary.CHANNEL,
        vocabulary.CONSTRAIN,
        vocabulary.MESSAGE,
        vocabulary.END,
        vocabulary.CALL,
        vocabulary.RETURN,
    ),
)
STOPS: Final = END + CALL + RETURN
NO_TOKEN: Final = mark(vocabulary.LAST_TOKEN + 1)
#: All marks, as a set in a pattern; and a string cut at each of them.
MARKS: Final = f"{chr(FIRST)}-{NO_TOKEN}"
_IS_MARK: Final = re.compile(f"[{MARKS}]")
_PIECES: Final = re.compile(f"[{MARKS}]|[^{MARKS}]+")
_NO_TOKEN_SHOWN: Final = "<|no token|>"
_SHOWN: Final = re.compile(
    r"\\(?:[\\<]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})|"
    + "|".join(map(re.escape, (*vocabulary.SPECIAL_TOKENS, _NO_TOKEN_SHOWN)))
)


def from_text(text: str) -> str:
    """A text whose markers are written out, with marks for them."""
    marked, at = [], 0
    for start, stop, token in vocabulary.special_tokens_in(text):
        marked += [text[at:start], mark(token)]
        at = stop
    return "".join(marked) + text[at:]


def spelled_out(marked: str) -> str:
    """The string with its marks written out: ordinary text alone."""
    texts = vocabulary.SPECIAL_TEXTS
    return _IS_MARK.sub(lambda found: texts.get(_token(found[0]), _NO_TOKEN_SHOWN), marked)


def content(text: str) -> str:
    """Ordinary text as content holds it: bytes that are not UTF-8 are U+FFFD."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def shown(marked: str) -> str:
    """The string on one line, as people read and write it; `from_shown` reads it back.

    Marks are written out. In ordinary text `<|` is `\\<|`, a byte that is not UTF-8 `\\xff`, and any other character
    that cannot be seen `\\u00a0`.
    """

    def escaped(text: str) -> str:
        text = text.replace("\\", "\\\\").replace("<|", "\\<|")
        return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)

    pieces = _PIECES.findall(marked)
    return "".join(spelled_out(piece) if _IS_MARK.match(piece) else escaped(piece) for piece in pieces)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def from_shown(text: str) -> str:
    """The string that `shown` gave."""

    def unescaped(match: re.Match[str]) -> str:
        found = match[0]
        if found[0] != "\\":
            return mark(vocabulary.SPECIAL_TOKENS.get(found, vocabulary.LAST_TOKEN + 1))
        return found[1:] if found[1] in "\\<" else chr(int(found[2:], 16) + (0xDC00 if found[1] == "x" else 0))

    return _SHOWN.sub(unescaped, text)


def to_tokens(marked: str, rng: random.Random | None = None) -> list[int]:
    """The token ids; with `rng`, text is cut into them in one of the many ways there are, chosen by it."""
    tokens: list[int] = []
    for piece in _PIECES.findall(marked):
        if _IS_MARK.match(piece):
            tokens.append(_token(piece))
        else:
            tokens += _spelled(piece, rng)
    return tokens


def _spelled(text: str, rng: random.Random | None) -> Sequence[int]:
    data = text.encode(errors="surrogateescape")
    if data.decode(errors="replace") != text or (rng is not None and rng.random() < 0.3):
        return data.translate(vocabulary.load().byte_ranks)
    cuts = [] if rng is None else sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 2)))
    pieces = (text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True))
    encoding = load_harmony_encoding("HarmonyGptOss")
    return [token for piece in pieces for token in encoding.encode(piece, disallowed_special=())]


def from_tokens(tokens: Sequence[int]) -> str:
    """The string of token ids: the inverse of `to_tokens`."""
    known = vocabulary.load()
    pieces = [
        known.token_bytes(token) if token < vocabulary.FIRST_SPECIAL else mark(token).encode() for token in tokens
    ]
    return b"".join(pieces).decode(errors="surrogateescape")
