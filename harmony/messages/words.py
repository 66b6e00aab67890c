"""The errors of msgspec, in the words of the one who reads them.

msgspec speaks of `null`, `array` and `object`, also for values that came from Python, where they are None, list and
dict. For a word that is none of an enum, it does not say which words there are. An argument that is one of a few words
is checked here too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar, get_args

from harmony.errors import in_turn, quote
from harmony.messages.roles import ReasoningEffort, Role

_Word = TypeVar("_Word", bound=str)

#: The fields whose value is one of a few words.
_CHOICES: Final[dict[str, type[Enum]]] = {"role": Role, "reasoning_effort": ReasoningEffort}
_TYPES: Final = re.compile(r"(?<=Expected `)[^`]*|(?<=, got `)[^`]*")
_IN_PYTHON: Final = {"null": "None", "array": "list", "object": "dict"}


def choices(text: str, path: str) -> str:
    """What to add to the text of an error: the words of an enum, if the value at the path is none of them."""
    field = path.rpartition(".")[2]
    if not text.startswith("Invalid enum value ") or field not in _CHOICES:
        return ""
    return "; expected " + in_turn([f"`{member.value}`" for member in _CHOICES[field]])


def in_python(text: str, record: str = "") -> str:
    """The text of an error about a value that came from Python. `record` is the class that stands for `object`."""
    words = {**_IN_PYTHON, "object": record or "dict"}

    def types(found: re.Match[str]) -> str:
        wanted = found.start() == len("Expected `")
        names = words if wanted else _IN_PYTHON
        return " | ".join(names.get(name, name) for name in found[0].split(" | "))

    if text.startswith("Expected `"):
        return _TYPES.sub(types, text)
    return text + choices(text, text.rpartition(" - at `")[2].removesuffix("`"))


def of_flat_messages(messages: object) -> str | None:
    """The text of an error, if there is a dict in the flat form where a Message is due."""
    for index, message in enumerate(messages if isinstance(messages, list | tuple) else ()):
        if isinstance(message, Mapping) and "author" not in message:
            found = f"`{type(message).__name__}` - at `Conversation.messages[{index}]`"
            return f"Expected `Message`, got {found}; `Message.from_dict` reads a dict with `role` and `content`"
    return None


def one_of(word: _Word, words: object, name: str) -> _Word:
    """The word, which a caller gave as the argument `name`, and which is to be one of the Literal `words`.

    Raises TypeError where it is no string, and ValueError for another word.
    """
    if not isinstance(word, str):
        raise TypeError(f"Expected `str`, got `{type(word).__name__}` - at `{name}`")
    if word not in get_args(words):
        expected = in_turn([quote(each) for each in get_args(words)])
        raise ValueError(f"Expected {expected}, got {word!r} - at `{name}`")
    return word
