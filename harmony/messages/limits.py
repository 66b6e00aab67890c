"""How much data in a message is small, and how often it may be written again; both engines share these."""

from typing import Final

#: The most values of small data.
FEW: Final = 10_000
#: Characters of a text that count as one value: no token has more.
VALUE_LENGTH: Final = 128
#: Data that is nested more deeply gets a closer look, which can say that it contains itself.
DEEPEST: Final = 200
#: How many values may be written again, for what holds them stands in several places: as many as a model reads tokens.
MOST_REPEATED: Final = 1_048_576
