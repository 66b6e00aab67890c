"""Where in a line of JSON a value is written: the column of a field, of a token id, of a character of a text.

Columns count characters from 1. A byte order mark at the beginning of a file is no character of its first line.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

#: The keys and indices that lead to a value.
Path: TypeAlias = Sequence[str | int]

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_ITEM: Final = re.compile(r"[^ \t\r\n,\[\]]+")
# A pair of surrogates, or any other escape: each stands for one character.
_ESCAPE: Final = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")
_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[([0-9]{1,18})\]")
# Numbers are not needed, and Python reads no integer of thousands of digits.
_DECODER: Final = json.JSONDecoder(strict=False, parse_int=len, parse_float=len, parse_constant=len)


class _Value(NamedTuple):
    """Where a value begins, and where it ends."""

    begin: int
    end: int


class WrittenLine:
    """A line that holds a record, as it is written. `first` says that it is the first line of a file.

    A line that is not UTF-8 ends before the first byte that is not.
    """

    def __init__(self, data: bytes, *, first: bool) -> None:
        self._data = data.removeprefix(BOM_UTF8) if first else data
        self.is_cut: bool = False
        try:
            self._text = self._data.decode()
        except UnicodeDecodeError as error:
            self._text = self._data[: error.start].decode()
            self.is_cut = True
        self._read: dict[int, dict[str | int, _Value]] = {}
        self._items: tuple[int, list[int]] | None = None
        self._escapes: tuple[int, list[int], list[int]] | None = None

    def end(self) -> int:
        """The column after all characters that can be read, without the white space at the end."""
        return len(self._text if self.is_cut else self._text.rstrip(" \t\r\n")) + 1

    def of_byte(self, offset: int) -> int:
        """The column of the character that has the byte at this offset."""
        return len(self._data[:offset].decode(errors="ignore")) + 1

    def of_value(self, path: Path) -> int:
        """The column where a value begins. If the value is missing, it is that of the object or list around it."""
        return self._find(path)[0].begin + 1

    def of_item(self, path: Path, count: int, index: int) -> int:
        """The column of an item in an array of so many numbers; for the index `count`, of the end of the array.

        Without such an array, it is the column of the value at the path.
        """
        value, is_found = self._find(path)
        if not is_found or self._text[value.begin] != "[":
            return value.begin + 1
        if self._items is None or self._items[0] != value.begin:
            begins = [match.start() for match in _ITEM.finditer(self._text, value.begin, value.end)]
            self._items = value.begin, [*begins, value.end - 1]
        begins = self._items[1]
        return (begins[index] if len(begins) == count + 1 else value.begin) + 1

    def of_character(self, path: Path, length: int, offset: int) -> int:
        """The column of a character in a string of so many characters; for the offset `length`, of its end.

        Without such a string, it is the column of the value at the path.
        """
        value, is_found = self._find(path)
        if not is_found or self._text[value.begin] != '"':
            return value.begin + 1
        if self._escapes is None or self._escapes[0] != value.begin:
            self._escapes = value.begin, *self._escapes_in(value)
        _, characters, ends = self._escapes
        # From the last escape before the character on, each character is written as itself.
        base, place = characters[-1], ends[-1]
        if value.end - 1 - place + base != length:
            return value.begin + 1
        last = bisect_right(characters, offset) - 1
        base, place = characters[last], ends[last]
        return place + offset - base + 1

    def _escapes_in(self, value: _Value) -> tuple[list[int], list[int]]:
        """How many characters of a string are read after each of its escapes, and where in the line each ends.

        The beginning of the string counts as an escape that stands for nothing.
        """
        characters, ends = [0], [value.begin + 1]
        for match in _ESCAPE.finditer(self._text, value.begin + 1, value.end - 1):
            characters.append(characters[-1] + match.start() - ends[-1] + 1)
            ends.append(match.end())
        return characters, ends

    def _find(self, path: Path) -> tuple[_Value, bool]:
        """The value at a path; if there is none, the innermost one on the way to it, and False."""
        begin = _after_space(self._text, 0)
        begin = begin if begin < len(self._text) else 0  # a line that was too long is empty
        value = _Value(begin, begin)
        for step in path:
            inside = self._inside(value.begin)
            if step not in inside:
                return value, False
            value = inside[step]
        return value, True

    def _inside(self, begin: int) -> dict[str | int, _Value]:
        """The values in an object or in an array. It is read once, for a line can have many problems."""
        if begin not in self._read:
            try:
                self._read[begin] = dict(_members(self._text, begin))  # the last one counts if a key occurs twice
            except (ValueError, IndexError, RecursionError):
                self._read[begin] = {}
        return self._read[begin]


def path_of(text: str) -> list[str | int]:
    """The keys and indices of a path as errors write it, such as `$.messages[0].role` without the `$`."""
    return [match[1] or int(match[2]) for match in _STEP.finditer(text)]


def _members(text: str, begin: int) -> Iterator[tuple[str | int, _Value]]:
    """The values in an object with their keys, or in an array with their indices. Raises ValueError for broken JSON."""
    opening = text[begin : begin + 1]
    if opening not in ("{", "["):
        return
    place, index = _after_space(text, begin + 1), 0
    while text[place] not in "]}":
        key: str | int = index
        if opening == "{":
            key, place = _DECODER.raw_decode(text, place)
            place = _after_space(text, _after_space(text, place) + 1)  # over the colon
        _, end = _DECODER.raw_decode(text, place)
        yield key, _Value(place, end)
        place = _after_space(text, end)
        if text[place] == ",":
            place = _after_space(text, place + 1)
        index += 1


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()
