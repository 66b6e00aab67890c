"""The modules of the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pkgutil import iter_modules

import harmony


def modules() -> list[str]:
    """The names of all modules, the compiled ones too; none of them is imported for it."""
    (folder,) = harmony.__path__
    # An installation for development has the grammar elsewhere.
    return sorted({"harmony.grammar", *_inside(Path(folder), "harmony.")})


def _inside(folder: Path, prefix: str) -> Iterator[str]:
    for found in iter_modules([str(folder)]):
        yield prefix + found.name
        if found.ispkg:
            yield from _inside(folder / found.name, f"{prefix}{found.name}.")
