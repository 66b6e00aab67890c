"""harmony under the name `openai_harmony`. `harmony.compat` explains it, and docs/compat.md."""

from harmony.compat import Author as Author
from harmony.compat import ChannelConfig as ChannelConfig
from harmony.compat import Content as Content
from harmony.compat import Conversation as Conversation
from harmony.compat import DeveloperContent as DeveloperContent
from harmony.compat import HarmonyEncoding as HarmonyEncoding
from harmony.compat import HarmonyEncodingName as HarmonyEncodingName
from harmony.compat import HarmonyError as HarmonyError
from harmony.compat import Message as Message
from harmony.compat import ReasoningEffort as ReasoningEffort
from harmony.compat import RenderConversationConfig as RenderConversationConfig
from harmony.compat import RenderOptions as RenderOptions
from harmony.compat import Role as Role
from harmony.compat import StreamableParser as StreamableParser
from harmony.compat import StreamState as StreamState
from harmony.compat import SystemContent as SystemContent
from harmony.compat import TextContent as TextContent
from harmony.compat import ToolDescription as ToolDescription
from harmony.compat import ToolNamespaceConfig as ToolNamespaceConfig
from harmony.compat import load_harmony_encoding as load_harmony_encoding

#: The names of openai-harmony's own list.
__all__ = [
    "Author",
    "Content",
    "Conversation",
    "DeveloperContent",
    "HarmonyEncoding",
    "HarmonyEncodingName",
    "HarmonyError",
    "Message",
    "Role",
    "StreamState",
    "StreamableParser",
    "SystemContent",
    "TextContent",
    "ToolDescription",
    "load_harmony_encoding",
]
