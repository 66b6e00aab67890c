"""What every room stands on: the choice of engine, locks, and memory that others may write to. It knows no format."""

from typing import Final

#: The version of this library; `pyproject.toml` has the same.
VERSION: Final = "0.1.0"
