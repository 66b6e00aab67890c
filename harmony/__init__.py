"""OpenAI's Harmony response format, the chat format of gpt-oss: messages to token ids and back."""

import typing as _typing

from harmony.runtime import VERSION
from harmony.runtime import compiled as _compiled  # noqa: F401  an engine that is not there is an error now

__version__ = VERSION
__all__ = [
    "Author",
    "ChannelConfig",
    "Content",
    "Conversation",
    "DeveloperContent",
    "Diagnostic",
    "Finding",
    "HarmonyEncoding",
    "HarmonyEncodingName",
    "HarmonyError",
    "Message",
    "ParseResult",
    "ReasoningEffort",
    "RenderConversationConfig",
    "RenderError",
    "RenderOptions",
    "RenderResult",
    "RenderedSpan",
    "ResponseFormat",
    "Role",
    "Segment",
    "Span",
    "StreamState",
    "StreamableParser",
    "SystemContent",
    "TextContent",
    "ToolDescription",
    "ToolNamespaceConfig",
    "drop_analysis",
    "is_valid",
    "lint",
    "load_harmony_encoding",
    "show",
    "validate",
]


if _typing.TYPE_CHECKING:
    from harmony import batch as batch
    from harmony import encoding as encoding
    from harmony import errors as errors
    from harmony import results as results
    from harmony.checking.rules import lint as lint
    from harmony.checking.validation import Finding as Finding
    from harmony.checking.validation import is_valid as is_valid
    from harmony.checking.validation import validate as validate
    from harmony.encoding import HarmonyEncoding as HarmonyEncoding
    from harmony.encoding import HarmonyEncodingName as HarmonyEncodingName
    from harmony.encoding import load_harmony_encoding as load_harmony_encoding
    from harmony.errors import Diagnostic as Diagnostic
    from harmony.errors import HarmonyError as HarmonyError
    from harmony.errors import RenderError as RenderError
    from harmony.messages.model import Author as Author
    from harmony.messages.model import ChannelConfig as ChannelConfig
    from harmony.messages.model import Content as Content
    from harmony.messages.model import Conversation as Conversation
    from harmony.messages.model import DeveloperContent as DeveloperContent
    from harmony.messages.model import Message as Message
    from harmony.messages.model import ReasoningEffort as ReasoningEffort
    from harmony.messages.model import ResponseFormat as ResponseFormat
    from harmony.messages.model import SystemContent as SystemContent
    from harmony.messages.model import TextContent as TextContent
    from harmony.messages.model import ToolDescription as ToolDescription
    from harmony.messages.model import ToolNamespaceConfig as ToolNamespaceConfig
    from harmony.messages.roles import Role as Role
    from harmony.parsing.engine import StreamableParser as StreamableParser
    from harmony.rendering.renderer import RenderConversationConfig as RenderConversationConfig
    from harmony.rendering.renderer import RenderOptions as RenderOptions
    from harmony.rendering.renderer import drop_analysis as drop_analysis
    from harmony.results import ParseResult as ParseResult
    from harmony.results import RenderedSpan as RenderedSpan
    from harmony.results import RenderResult as RenderResult
    from harmony.results import Segment as Segment
    from harmony.results import Span as Span
    from harmony.results import StreamState as StreamState
    from harmony.viewing.show import show as show
else:
    # Each name is imported when it is first asked for, so that a program pays only for what it uses.
    _NAMES = {
        "harmony.checking.rules": ("lint",),
        "harmony.checking.validation": ("Finding", "is_valid", "validate"),
        "harmony.encoding": ("HarmonyEncoding", "HarmonyEncodingName", "load_harmony_encoding"),
        "harmony.errors": ("Diagnostic", "HarmonyError", "RenderError"),
        "harmony.messages.model": (
            "Author",
            "ChannelConfig",
            "Content",
            "Conversation",
            "DeveloperContent",
            "Message",
            "ReasoningEffort",
            "ResponseFormat",
            "SystemContent",
            "TextContent",
            "ToolDescription",
            "ToolNamespaceConfig",
        ),
        "harmony.messages.roles": ("Role",),
        "harmony.parsing.engine": ("StreamableParser",),
        "harmony.rendering.renderer": ("RenderConversationConfig", "RenderOptions", "drop_analysis"),
        "harmony.results": ("ParseResult", "RenderResult", "RenderedSpan", "Segment", "Span", "StreamState"),
        "harmony.viewing.show": ("show",),
    }
    _LATE = {
        **{name: f"harmony.{name}" for name in ("batch", "encoding", "errors", "results")},
        **{name: module for module, names in _NAMES.items() for name in names},
    }

    def __getattr__(name: str) -> object:
        if name not in _LATE:
            raise AttributeError(f"module 'harmony' has no attribute {name!r}")
        from importlib import import_module

        from harmony.runtime.locks import forks_wait

        with forks_wait:
            module = import_module(_LATE[name])
        found = module if module.__name__ == f"harmony.{name}" else getattr(module, name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATE})
