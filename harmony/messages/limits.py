"""Limits for the data in a message, shared by both engines: what counts as small, and how much may be repeated."""

from typing import Final

#: Small data has at most this many values.
FEW: Final = 10_000
#: A text counts as one more value for every 128 characters, because no token has more bytes.
VALUE_LENGTH: Final = 128
#: Data that is nested more deeply is not small. The full check then finds out whether the data contains itself.
DEEPEST: Final = 200
#: An object that stands in several places is written several times. This is the limit for the values that are written
#: again: the context length of the model in tokens.
MOST_REPEATED: Final = 1_048_576
