"""Reads the dicts that users give in the shapes of the OpenAI APIs, and keeps the path to each value for errors.

Objects with a method `model_dump`, such as those of the package `openai`, are read like the dicts that it returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

from harmony.errors import code_of, in_turn, quote, sentence
from harmony.format.header import LOOSE_DOT, NOT_IN_NAMES
from harmony.messages.model import TextContent

#: The names that errors use for types.
_TYPES: Final = {str: "a string", list: "a list", dict: "an object"}

_A_NAME: Final = (
    'a name without white space, U+200B or any of `< > { } "`, and with a part of it on both sides of each dot'
)

#: A value of a conversation or of a tool: a dict, or an object with `model_dump`.
Shape: TypeAlias = Any


class ConversionError(ValueError):
    """Raised for what cannot become a Harmony conversation.

    `code` is a kebab-case word for programs; docs/diagnostics.md explains each. `path` leads to the value, as in
    `messages[3].content[1]`. The text says what was expected and what was found there.
    """

    def __init__(self, *arguments: object, code: str = "conversion-error", path: str = "") -> None:
        super().__init__(*arguments)
        self.code = code
        self.path: str = path

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


def fault(key: str, path: str, **facts: object) -> ConversionError:
    """The ConversionError for a key of the table of codes, at a path."""
    return ConversionError(f"{sentence(key, **facts)} - at `{path}`", code=code_of(key), path=path)


def unfit(path: str, expected: str, value: object) -> ConversionError:
    """The ConversionError for a value of a wrong type."""
    found = "nothing" if value is None else quote(value) if isinstance(value, str) else f"`{type(value).__name__}`"
    return fault("invalid-field", path, expected=expected, found=found)


def holds(value: object) -> bool:
    """Whether a field says anything. None, False, and empty strings, lists and objects do not; 0 does."""
    empty = isinstance(value, str | list | tuple | Mapping) and not value
    return not (value is None or value is False or empty)


def plain(value: Shape, path: str) -> Mapping[str, Any]:
    """An object as a dict. Raises ConversionError for anything else."""
    if isinstance(value, Mapping):
        return value
    dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
    found = _dumped(dump) if callable(dump) else None
    if not isinstance(found, Mapping):
        raise unfit(path, "an object", value)
    return found


def _dumped(dump: Callable[..., Any]) -> object:
    try:
        return dump(by_alias=True)  # pydantic: the field `schema` has the name `schema_` in Python
    except TypeError:
        return dump()


def schema(value: Shape, path: str) -> dict[str, Any]:
    """A copy of a JSON schema. Raises ConversionError if the value is no object, or if JSON cannot hold it."""
    found = dict(plain(value, path))
    for key in found:
        if not isinstance(key, str):
            raise unfit(path, "an object whose keys are strings", key)
    copied: dict[str, Any] = json.loads(as_json(found, path))
    return copied


def as_json(value: object, path: str) -> str:
    """The value as JSON, with all characters as they are. Raises ConversionError for what JSON cannot hold."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise fault(
            "invalid-field", path, expected="data that JSON can hold", found=f"what it cannot: {error}"
        ) from None


class Given:
    """An object that a user gave, and the path to it."""

    __slots__ = ("fields", "path")

    def __init__(self, value: Shape, path: str) -> None:
        self.fields: Mapping[str, Any] = plain(value, path)
        self.path: str = path

    def place(self, name: str) -> str:
        """The path to a field."""
        return f"{self.path}.{name}"

    def kind(self, default: str = "") -> str:
        """The field `type`, which has a default in some objects."""
        return self.text("type") or default

    def text(self, name: str) -> str | None:
        """A field that is a string or missing."""
        value = self.fields.get(name)
        if value is None or isinstance(value, str):
            return None if value is None else str.__str__(value)
        raise unfit(self.place(name), _TYPES[str], value)

    def word(self, name: str) -> str:
        """A field that is a string, and not empty."""
        value = self.text(name)
        if not value:
            raise unfit(self.place(name), "a string that is not empty", value)
        return value

    def name(self, name: str) -> str:
        """A field that is a name, as the header of a message can hold it."""
        return self.optional_name(name) or self.word(name)

    def optional_name(self, name: str) -> str | None:
        """A field that is such a name, or says nothing."""
        value = self.text(name)
        if value and (NOT_IN_NAMES.search(value) or LOOSE_DOT.search(value)):
            raise unfit(self.place(name), _A_NAME, value)
        return value

    def object(self, name: str) -> Given:
        """A field that is an object."""
        return Given(self.fields.get(name), self.place(name))

    def values(self, name: str) -> Iterator[tuple[Any, str]]:
        """The items of a field that is a list or missing, each with its path."""
        value = self.fields.get(name)
        yield from () if value is None else listed(value, self.place(name))

    def objects(self, name: str) -> Iterator[Given]:
        """The items of a field that is a list of objects or missing."""
        for value, path in self.values(name):
            yield Given(value, path)

    def refuse(self, *names: str) -> None:
        """Raises ConversionError for each of these fields that says anything: it would be lost."""
        for name in names:
            if holds(self.fields.get(name)):
                raise fault("unsupported-field", self.place(name), found=f"`{name}`")

    def texts(self, name: str, *kinds: str) -> list[TextContent]:
        """The texts of a field: a string, or a list of parts of these types. A refusal's text is its `refusal`."""
        value = self.fields.get(name)
        if value is None or isinstance(value, str):
            return [] if not value else [TextContent(str.__str__(value))]
        return [part_text(item, path, kinds) for item, path in listed(value, self.place(name), "a string or a list")]


def listed(value: object, path: str, expected: str = _TYPES[list]) -> Iterator[tuple[Any, str]]:
    """The items of a list, each with its path. Raises ConversionError if the value is no list."""
    if isinstance(value, str | bytes | Mapping | AbstractSet | type) or not hasattr(value, "__iter__"):
        raise unfit(path, expected, value)
    for index, item in enumerate(value):
        yield item, f"{path}[{index}]"


def part_text(value: Shape, path: str, kinds: tuple[str, ...]) -> TextContent:
    """The text of one part of a content. Raises ConversionError for a part that is none of these types."""
    if isinstance(value, str):  # some programs write a list of strings
        return TextContent(str.__str__(value))
    part = Given(value, path)
    kind = part.kind()
    if kind not in kinds:
        found = quote(kind) if kind else "none"
        raise fault("unsupported-content", path, expected=in_turn([f"`{one}`" for one in kinds]), found=found)
    part.refuse("annotations")
    name = "refusal" if kind == "refusal" else "text"
    text = part.text(name)
    if text is None:
        raise unfit(part.place(name), _TYPES[str], None)
    return TextContent(text)
