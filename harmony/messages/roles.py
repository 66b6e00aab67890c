"""The words that the format itself has: the roles of authors, the channels of gpt-oss, and the efforts of reasoning."""

from __future__ import annotations

from enum import Enum
from typing import Final, NoReturn

#: The channels that the models are trained to use.
KNOWN_CHANNELS: Final = ("analysis", "commentary", "final")


class Role(str, Enum):
    """The role of a message's author. Each member equals its string: `Role.USER == "user"`.

    `Role(word)` raises ValueError for an unknown word.
    """

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    DEVELOPER = "developer"
    TOOL = "tool"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"Unknown role: {value!r}")


class ReasoningEffort(str, Enum):
    """How long the model is to think before it answers."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"Unknown reasoning effort: {value!r}, expected `Low`, `Medium` or `High`")


#: The words of the roles.
ROLES: Final = frozenset(role.value for role in Role)


def as_role(role: Role | str | None, name: str = "role") -> Role | None:
    """The role that a caller gave, as a Role; None stays None. `name` is the argument's name, for the error.

    Raises TypeError where it is no string, and ValueError for an unknown role.
    """
    if role is None or type(role) is Role:
        return role
    if not isinstance(role, str):
        raise TypeError(f"Expected `Role`, got `{type(role).__name__}` - at `{name}`")
    return Role(role)
