"""The arguments of rendering that users give: configs and roles, checked."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from harmony.format.choices import Purpose
from harmony.messages.record import unchecked
from harmony.messages.roles import Role, as_role
from harmony.messages.words import one_of
from harmony.rendering.renderer import RenderConversationConfig, RenderOptions

#: The defaults. They are unchecked, which keeps the import fast.
OPTIONS: Final[RenderOptions] = unchecked(RenderOptions)
CONFIG: Final[RenderConversationConfig] = unchecked(RenderConversationConfig)

_AnyRecord = TypeVar("_AnyRecord", RenderOptions, RenderConversationConfig)


def checked(record: _AnyRecord, record_type: type[_AnyRecord], name: str) -> _AnyRecord:
    """A config whose fields are checked again: the caller may have set them. `name` is that of the argument."""
    if not isinstance(record, record_type):
        raise TypeError(f"Expected `{record_type.__name__}`, got `{type(record).__name__}` - at `{name}`")
    return record_type(*msgspec.structs.astuple(record))


def config_and_role(
    config: RenderConversationConfig | None, purpose: Purpose, next_role: Role | str, name: str = "next_turn_role"
) -> tuple[RenderConversationConfig, Role]:
    """The config and the role that the caller gave, checked; a config of None becomes the default.

    `name` is that of the role's argument.
    """
    one_of(purpose, Purpose, "purpose")
    role = as_role(next_role, name)
    if role is None:
        raise TypeError(f"Expected `Role`, got `NoneType` - at `{name}`")
    return CONFIG if config is None else checked(config, RenderConversationConfig, "config"), role
