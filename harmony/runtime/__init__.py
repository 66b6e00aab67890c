"""The lowest room: the choice of engine, locks, and access to memory. It knows nothing of the format."""

from typing import Final

#: The version of this library; `pyproject.toml` has the same.
VERSION: Final = "0.1.0"
