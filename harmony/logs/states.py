"""Files that say what an output is of: of a run that is under way, and of one that has finished.

Each has a checksum of itself in its first line, so a state that was changed or cut off is never believed. The state of
a finished run stays beside its output as `.NAME.harmony`. It says from which files, with which options and by which
version the output was made, and which bytes it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from xxhash import xxh3_64, xxh3_64_hexdigest

from harmony.errors import quote
from harmony.logs.places import Stamp, describe

_LAYOUT: Final = 2  # of the state file
_HEADER: Final = re.compile(rb"harmony state ([0-9]+) ([0-9a-f]{16})")
_MISSING: Final = object()
_BLOCK: Final = 1 << 20


class Kept(msgspec.Struct):
    """The state of a run that is under way.

    `size` is the number of valid bytes of the partial file, `digest` their XXH3 hash.
    """

    run: dict[str, Any]
    size: int
    digest: int
    state: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads a state file. Raises ValueError if it is not as it was written."""
        return msgspec.convert(_read(file.read_bytes()), cls)


class Finished(msgspec.Struct):
    """The state of a run that has finished: what was read, what came of it, and the size and hash of the output.

    `stamps` are those of the inputs in `run`. `tally` is the caller's own.
    """

    run: dict[str, Any]
    stamps: list[Stamp | None]
    tally: dict[str, Any]
    size: int
    digest: int | str

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Reads what `encoded` has made. Raises ValueError if it was changed."""
        return msgspec.convert(_read(data), cls)

    def encoded(self) -> bytes:
        """The content of the file. The names of files in it need not be Unicode."""
        return framed(json.dumps(msgspec.to_builtins(self, str_keys=True)).encode("ascii"))

    def other_run(self, run: dict[str, Any], stamps: Sequence[Stamp | None]) -> str | None:
        """What differs between this run and another one, as the end of a sentence; None if nothing does."""
        before, now = dict(self.run), json.loads(json.dumps(run))
        versions = before.pop("version", None), now.pop("version", None)
        if versions[0] != versions[1]:
            return f"version {versions[0]} made it, and this is version {versions[1]}"
        inputs = {"inputs": before.pop("inputs", [])}, {"inputs": now.pop("inputs", [])}
        if inputs[0] != inputs[1]:
            path, was, found = difference(*inputs)
            return f"it was made of other inputs: {path} was {was}, and is {found}"
        if before != now:
            path, was, found = difference(before, now)
            return f"it was made with other options: {path} was {was}, and is {found}"
        for name, stamp, other in zip(inputs[0]["inputs"], self.stamps, stamps, strict=True):
            shown = "standard input" if name == "-" else name
            if stamp is None:
                return f"nobody can tell whether {shown} is the same: it is no file with a size and a time"
            if stamp != other:
                return f"{shown} has changed since: it had {describe(stamp)}, and has {describe(other)}"
        return None


def framed(body: bytes) -> bytes:
    """The content of a state file: a line with the checksum, and the body."""
    return f"harmony state {_LAYOUT} {xxh3_64_hexdigest(body)}\n".encode() + body


def _read(data: bytes) -> Any:
    header, _, body = data.partition(b"\n")
    found = _HEADER.fullmatch(header)
    expected = f"expected `harmony state {_LAYOUT}` and a checksum in its first line"
    if found is None or int(found[1]) != _LAYOUT:
        what = quote(header.decode(errors="backslashreplace")) if header else "nothing"
        raise ValueError(f"{expected}, found {what}: another version wrote it, or it was changed")
    if found[2].decode() != xxh3_64_hexdigest(body):
        raise ValueError("its content is not that of its checksum: it was changed, or cut off")
    return json.loads(body)


def digest_of(file: Path) -> int:
    """The XXH3 hash of the bytes of a file."""
    digest = xxh3_64()
    with file.open("rb") as opened:
        while data := opened.read(_BLOCK):
            digest.update(data)
    return digest.intdigest()


def replace(file: Path, new: Path, data: bytes) -> None:
    """Writes a file by way of a new one, so it is never half-written."""
    try:
        new.write_bytes(data)
        new.replace(file)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def difference(before: Any, now: Any, path: str = "") -> tuple[str, str, str]:
    """The first place where two values differ, as `key[index]`, and both values there."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = {key: (before.get(key, _MISSING), now.get(key, _MISSING)) for key in before | now}
        inside = {f"{path}.{key}".removeprefix("."): pair for key, pair in pairs.items()}
    elif isinstance(before, list) and isinstance(now, list):
        longest = range(max(len(before), len(now)))
        inside = {f"{path}[{i}]": (_item(before, i), _item(now, i)) for i in longest}
    else:
        return quote(path), _shown(before), _shown(now)
    name, (one, other) = next((name, pair) for name, pair in inside.items() if pair[0] != pair[1])
    return difference(one, other, name)


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _MISSING


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else quote(json.dumps(value))
