"""How content is shown: characters that command, turn or hide other text are written out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from harmony.errors import UNSEEN, printable

# Characters that are shown as they are in content, but written out in names: line breaks, spaces, characters that are
# newer than this Python, characters that join or vary letters and emoji, and the visible Arabic signs around numbers.
_KEPT: Final = UNSEEN | set("\t\n\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u0890\u0891\u08e2")
_KEPT_CATEGORIES: Final = frozenset({"Zs", "Co", "Cn"})
# Unassigned characters that Unicode reserves for invisible ones. They are written out in content too.
_FREE: Final = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]")
_UNUSUAL: Final = re.compile("[^\t\n -~]")


def readable(text: str) -> str:
    """The text, with characters written out that would command a terminal, or turn or hide text. Lines are kept.

    Use it for content. `printable` writes out more characters: it is for names and sentences.
    """
    return _UNUSUAL.sub(lambda found: found[0] if _is_kept(found[0]) else printable(found[0]), text)


def readable_runs(text: str) -> Iterator[tuple[str, bool]]:
    """The same text in runs, each with whether it is a character that was written out."""
    done = 0
    for found in _UNUSUAL.finditer(text):
        if not _is_kept(found[0]) and (written := printable(found[0])) != found[0]:
            yield text[done : found.start()], False
            yield written, True
            done = found.end()
    yield text[done:], False


def _is_kept(character: str) -> bool:
    kind = unicodedata.category(character)
    return character in _KEPT or (kind in _KEPT_CATEGORIES and not _FREE.match(character))
