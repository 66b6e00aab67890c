"""The words of the format that a message's header names: the roles of authors, and the channels."""

from __future__ import annotations

from enum import Enum
from typing import Final, NoReturn

#: The channels that the models are trained to use.
KNOWN_CHANNELS: Final = ("analysis", "commentary", "final")


class Role(str, Enum):
    """The role of a message's author; equal to its plain string. An unknown one is a ValueError."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    DEVELOPER = "developer"
    TOOL = "tool"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"Unknown role: {value!r}")


#: The roles as plain strings.
ROLES: Final = frozenset(role.value for role in Role)


def as_role(role: Role | str | None, name: str = "role") -> Role | None:
    """The role that a caller gave, as a Role; ValueError for an unknown one, TypeError for what is no string.

    `name` is that of the argument.
    """
    if role is None or type(role) is Role:
        return role
    if not isinstance(role, str):
        raise TypeError(f"Expected `Role`, got `{type(role).__name__}` - at `{name}`")
    return Role(role)
