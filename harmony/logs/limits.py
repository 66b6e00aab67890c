"""The size limit of a record. The command line shows it in its help, so importing this takes no time."""

from typing import Final

#: The most bytes in a line, where nobody says otherwise.
MAX_LINE: Final = 256_000_000
