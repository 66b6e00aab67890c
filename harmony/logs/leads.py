"""What stands before a completion: the open header at the end of its prompt, or a prefix that the server wrote.

A prompt ends in an open header, such as `<|start|>assistant` or `<|start|>assistant<|channel|>analysis<|message|>`. The
completion goes on there. So the header is read together with the completion, and positions count from the completion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from harmony.encoding import load_harmony_encoding
from harmony.errors import Diagnostic, RecordError, quote
from harmony.format import vocabulary
from harmony.format.header import open_role
from harmony.messages.roles import Role

_START_TEXT: Final = vocabulary.SPECIAL_TEXTS[vocabulary.START]
_PLACE: Final = re.compile(r" at (token|character) [0-9,]+\Z")
_SHOWN: Final = 60  # characters at the end of a prompt that an error shows


class Lead(NamedTuple):
    """The beginning of a completion that its record does not hold, as tokens and as text.

    Where the role says it all, both are empty. `names_role` is true if it begins with `<|start|>` and a role.
    """

    tokens: tuple[int, ...]
    text: str
    role: Role | None
    names_role: bool


NOTHING: Final = Lead((), "", None, False)


def lead_of_prompt(prompt: Sequence[int] | str) -> Lead:
    """The open header at the end of a prompt. Raises ValueError where it does not end in one."""
    if isinstance(prompt, str):
        place = prompt.rfind(_START_TEXT)
        return _of_text(prompt[place:] if place >= 0 else prompt[-_SHOWN:])
    place = len(prompt) - 1
    while place >= 0 and prompt[place] != vocabulary.START:
        place -= 1
    return _of_tokens(tuple(prompt[max(place, 0) if place >= 0 else -_SHOWN :]))


@lru_cache(1 << 8)
def lead_of_prefix(prefix: str) -> Lead:
    """The lead for a text that stands before each completion. Raises ValueError for one that ends a message."""
    tokens = _encoded(prefix)
    if any(token in vocabulary.STOPS for token in tokens):
        raise ValueError(f"expected a prefix without a stop such as `<|end|>`, found {quote(prefix)}")
    return Lead(tokens, prefix, None, tokens[:1] == (vocabulary.START,))


@lru_cache(1 << 8)
def _of_text(text: str) -> Lead:
    return _of_tokens(_encoded(text), text)


@lru_cache(1 << 8)
def _of_tokens(tokens: tuple[int, ...], written: str | None = None) -> Lead:
    text = written if written is not None else load_harmony_encoding(vocabulary.ENCODING_NAME).decode(tokens)
    is_open = tokens[:1] == (vocabulary.START,) and not any(token in vocabulary.STOPS for token in tokens)
    if not is_open or vocabulary.MESSAGE in tokens[:-1]:
        raise ValueError(
            "expected a prompt that ends in an open header, such as `<|start|>assistant`, "
            f"found one that ends in {quote(text[-_SHOWN:])}"
        )
    role = open_role(tokens[1:], None)
    return Lead(tokens, text, None, True) if role is None else Lead((), "", role, True)


def _encoded(text: str) -> tuple[int, ...]:
    return tuple(load_harmony_encoding(vocabulary.ENCODING_NAME).encode(text, allowed_special="all"))


def moved_diagnostic(found: Diagnostic, shift: int) -> Diagnostic:
    """A diagnostic with its position in the completion. A position in the lead becomes 0."""
    return Diagnostic(found.code, found.message, max(0, found.position - shift))


def moved_error(error: RecordError, shift: int) -> RecordError:
    """The same for an error, whose text also has the position."""
    if error.position is None:
        return error
    position = max(0, error.position - shift)
    message = _PLACE.sub(lambda match: f" at {match[1]} {position}", error.message)
    return RecordError(error.code, message, position)
