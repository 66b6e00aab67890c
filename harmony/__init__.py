"""OpenAI's Harmony response format, the chat format of gpt-oss: messages to token ids and back."""

import typing as _typing

from harmony.encoding import HarmonyEncoding as HarmonyEncoding
from harmony.encoding import HarmonyEncodingName as HarmonyEncodingName
from harmony.encoding import load_harmony_encoding as load_harmony_encoding
from harmony.errors import Diagnostic as Diagnostic
from harmony.errors import HarmonyError as HarmonyError
from harmony.errors import RenderError as RenderError
from harmony.lint import lint as lint
from harmony.messages import Author as Author
from harmony.messages import ChannelConfig as ChannelConfig
from harmony.messages import Content as Content
from harmony.messages import Conversation as Conversation
from harmony.messages import DeveloperContent as DeveloperContent
from harmony.messages import Message as Message
from harmony.messages import ReasoningEffort as ReasoningEffort
from harmony.messages import Role as Role
from harmony.messages import SystemContent as SystemContent
from harmony.messages import TextContent as TextContent
from harmony.messages import ToolDescription as ToolDescription
from harmony.messages import ToolNamespaceConfig as ToolNamespaceConfig
from harmony.parser import StreamableParser as StreamableParser
from harmony.rendering import RenderConversationConfig as RenderConversationConfig
from harmony.rendering import RenderOptions as RenderOptions
from harmony.rendering import drop_analysis as drop_analysis
from harmony.results import ParseResult as ParseResult
from harmony.results import RenderedSpan as RenderedSpan
from harmony.results import RenderResult as RenderResult
from harmony.results import Segment as Segment
from harmony.results import Span as Span
from harmony.results import StreamState as StreamState
from harmony.validation import Finding as Finding
from harmony.validation import is_valid as is_valid
from harmony.validation import validate as validate

__version__ = "0.1.0"
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
    "validate",
]


if _typing.TYPE_CHECKING:
    from harmony import batch as batch
else:

    def __getattr__(name: str) -> object:
        if name == "batch":  # needs pyarrow, which takes longer to load than all else here
            from importlib import import_module

            from harmony._locks import forks_wait

            with forks_wait:
                return import_module("harmony.batch")
        raise AttributeError(f"module 'harmony' has no attribute {name!r}")
