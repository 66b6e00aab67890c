"""How to install what a part of the library needs, and the library itself does not."""

from __future__ import annotations

from typing import Literal


def how_to_install(extra: Literal["cli", "decoding", "lint", "plot", "view"], *packages: str) -> str:
    """What errors say about missing packages. It is right for a clone as well as for an installed release.

    `extra` is the extra in pyproject.toml that has all the packages.
    """
    return f"pip install {' '.join(packages)}, or the extra `{extra}` of harmony-codec"
