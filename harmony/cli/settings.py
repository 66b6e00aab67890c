"""The settings of `harmony lint` in `pyproject.toml`, in the table `[tool.harmony.lint]`.

The file is the nearest one that has the table: in the current directory, or in a directory above it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from harmony.checking.rules import RULES
from harmony.cli.arguments import OutputFormat
from harmony.errors import quote
from harmony.format.choices import Start

_NAME: Final = "pyproject.toml"
_TABLE: Final = "tool.harmony.lint"


class Settings(NamedTuple):
    """What `harmony lint` is to do; None for what is not set."""

    select: list[str] | None = None
    ignore: list[str] | None = None
    start: Start | None = None
    format: OutputFormat | None = None

    def but(self, given: Settings) -> Settings:
        """These settings, except what is given by the command line. A rule that it selects is not ignored."""
        ignore = given.ignore
        if ignore is None and self.ignore is not None:
            ignore = [code for code in self.ignore if code not in (given.select or [])]
        select = self.select if given.select is None else given.select
        return Settings(select, ignore, given.start or self.start, given.format or self.format)


def read_settings(folder: Path) -> Settings:
    """The settings for a directory. Raises ValueError with a sentence that names the file and the key."""
    for above in (folder, *folder.parents):
        file = above / _NAME
        try:
            written = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror}") from None
        table = _table(file, written) if b"harmony" in written else None
        if table is not None:
            return _checked(file, table)
    return Settings()


def _table(file: Path, written: bytes) -> Mapping[str, Any] | None:
    """The table with the settings; None if the file has none."""
    try:
        found: Any = tomllib.loads(written.decode())
    except UnicodeDecodeError as error:
        line = written.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file} cannot be read: expected UTF-8, found other bytes in line {line:,}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} cannot be read: expected TOML, found a fault: {error}") from None
    path = ""
    for key in _TABLE.split("."):
        if path == "tool.harmony" and (unknown := next((name for name in found if name != key), None)) is not None:
            raise _unknown(file, f"{path}.{unknown}", [_TABLE])
        if key not in found:
            return None
        found = found[key]
        path = f"{path}.{key}".removeprefix(".")
        if not isinstance(found, dict):
            raise _wrong(file, path, "a table", found)
    settings: Mapping[str, Any] = found
    return settings


def _checked(file: Path, table: Mapping[str, Any]) -> Settings:
    for key, value in table.items():
        if key not in _KEYS:
            raise _unknown(file, f"{_TABLE}.{key}", [f"{_TABLE}.{known}" for known in _KEYS])
        is_right, expected = _KEYS[key]
        if not is_right(value):
            raise _wrong(file, f"{_TABLE}.{key}", expected, value)
        unknown = next((code for code in value if code not in RULES), None) if isinstance(value, list) else None
        if unknown is not None:
            nearest = get_close_matches(unknown, RULES, 1, 0.0)
            raise _wrong(file, f"{_TABLE}.{key}", f"codes of rules, such as `{nearest[0]}`", unknown)
    return Settings(**table)


def _is_list_of_codes(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(code, str) for code in value)


def _one_of(choices: tuple[str, ...]) -> tuple[Callable[[object], bool], str]:
    return lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(map(quote, choices))}"


#: What each key can hold: a check, and what is expected in words.
_KEYS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "select": (lambda value: _is_list_of_codes(value) and value != [], "a list of one or more codes"),
    "ignore": (_is_list_of_codes, "a list of codes"),
    "start": _one_of(get_args(Start)),
    "format": _one_of(get_args(OutputFormat)),
}


def _unknown(file: Path, key: str, known: list[str]) -> ValueError:
    nearest = get_close_matches(key, known, 1, 0.0)
    return ValueError(f"{file}: expected a key such as `{nearest[0]}`, found the unknown key {quote(key)}")


def _wrong(file: Path, key: str, expected: str, found: object) -> ValueError:
    shown = quote(found if isinstance(found, str) else str(found))
    return ValueError(f"{file}: expected {expected} in {quote(key)}, found {shown}")
