"""Plain texts that are hard to split into tokens."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from collections.abc import Iterator

from helpers.paths import ROOT

_SPACES = " \t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u2000\u2007\u200b\u2028\u2029\u202f\u205f\u3000\ufeff\u180e"
_MIXED = [
    "a",
    "B",
    "ß",
    "ǅ",
    "ʰ",
    "日",
    "\u0301",
    "1",
    "½",
    "٣",
    "'s",
    "'T",
    "'\u017f",
    "\u2019s",
    "'ll",
    ".",
    "/",
    "_",
    "👩‍🚀",
    "\0",
]


def _each_character() -> Iterator[str]:
    """Texts with every character that has a category, before and behind others; of the many of `Lo`, every 29th."""
    characters = [
        one
        for one in map(chr, range(sys.maxunicode + 1))
        if (kind := unicodedata.category(one)) not in ("Cn", "Co", "Cs") and (kind != "Lo" or ord(one) % 29 == 0)
    ]
    for start in range(0, len(characters), 1000):
        yield "".join(f"x{one}A{one}{one} 1{one}'s" for one in characters[start : start + 1000])


def _random() -> Iterator[str]:
    chance = random.Random(20)
    for size in range(1, 120):
        yield "".join(chance.choices(_MIXED + list(_SPACES), k=size))


TEXTS = [
    "",
    "Grüße 👋",
    "I'm sure they'll say it's HER'S, we'Ve'd'T're",
    _SPACES,
    *(f"a{one}{one}b {one}\n{one}1" for one in _SPACES),
    "a" * 3000,
    "ab" * 1501,
    " " * 2999,
    " \n" * 700 + "x",
    "1234567 89/*\r\n//\r\n 1,5\t\t\tend",
    "one half of a pair: \ud800, \udc00\ud800, and a pair: \ud83d\udc4b",
    "\ufdd0\uffff\U0010ffff\ue000",
    *("\n".join(lines) for lines in json.loads((ROOT / "bench" / "prose.json").read_text(encoding="utf-8")).values()),
    *_random(),
    *_each_character(),
]
