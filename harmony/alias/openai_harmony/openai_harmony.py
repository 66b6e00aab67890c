"""The names of openai-harmony's compiled module that programs import from it."""

from typing import Any

from harmony.compat import HarmonyError as HarmonyError
from harmony.compat import ToolNamespaceConfig
from harmony.compat import load_harmony_encoding as load_harmony_encoding


def get_tool_namespace_config(tool: str) -> dict[str, Any]:
    """The built-in tool of this name, `browser` or `python`, as a dict. Raises ValueError for another name."""
    made = {"browser": ToolNamespaceConfig.browser, "python": ToolNamespaceConfig.python}
    if tool not in made:
        raise ValueError(f"Unknown tool namespace: expected `browser` or `python`, got {tool!r}")
    return made[tool]().model_dump(exclude_none=True)


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"harmony has no {name!r} of openai-harmony's compiled module; use the classes of `openai_harmony` itself"
    )
