"""A place in a text that is read back, for `read_back.py` and the readers of parameters."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

#: How deep types and JSON may be nested. What is nested deeper stays a text.
DEEPEST: Final = 60


class Unread(Exception):  # noqa: N818  the text stays a text, which is no error
    """Raised where a text is not what rendering writes."""


class Cursor:
    """A text, and how far it was read. Nothing is read twice, so reading takes time that is linear in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at: int = 0

    def peek(self, literal: str) -> bool:
        """Whether this stands next."""
        return self.text.startswith(literal, self.at)

    def take(self, literal: str) -> bool:
        """Reads this, if it stands next."""
        found = self.text.startswith(literal, self.at)
        if found:
            self.at += len(literal)
        return found

    def need(self, literal: str) -> None:
        """Reads this. Raises Unread where something else stands next."""
        if not self.take(literal):
            raise Unread

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Reads what a pattern matches. Raises Unread where it matches nothing here."""
        found = pattern.match(self.text, self.at)
        if found is None:
            raise Unread
        self.at = found.end()
        return found

    def until(self, literal: str) -> str:
        """Reads up to this and over it, and returns what stands before it. Raises Unread where it does not come."""
        end = self.text.find(literal, self.at)
        if end < 0:
            raise Unread
        found = self.text[self.at : end]
        self.at = end + len(literal)
        return found

    def comments(self) -> list[str]:
        """Reads lines that begin with `// `, and returns them without it."""
        found = []
        while self.take("// "):
            found.append(self.until("\n"))
        return found

    def is_at_end(self) -> bool:
        return self.at == len(self.text)


def joined(lines: list[str]) -> str:
    """A text that has these lines. What ends in an empty line needs one end more."""
    return "\n".join(lines) + ("\n" if lines and not lines[-1] else "")


def json_value(text: str) -> Any:
    """The value of a JSON text. Raises Unread for no JSON, and for JSON that is nested too deeply."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Unread from None
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > DEEPEST:
            raise Unread
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting += [(part, depth + 1) for part in inside]
    return value
