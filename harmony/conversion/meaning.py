"""What a message of a reply is in the OpenAI APIs: reasoning, text, or a call. Its header decides.

A call has a recipient. `functions.sky` and `sky` are the function `sky`; `crm.find` is the function `find` of a
declared namespace `crm`; `python` and `browser.search` are built-in tools; any other name with a dot is a tool of an
MCP server. The models sometimes write a role or a channel as the recipient. Such a message is no call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from harmony.conversion.given import Shape
from harmony.conversion.tools import FUNCTIONS, Declared
from harmony.errors import Diagnostic, Fault, quote
from harmony.messages.model import Message
from harmony.messages.roles import KNOWN_CHANNELS, Role
from harmony.results import ParseResult

#: Recipients that are no tools.
_NO_TOOLS: Final = frozenset({*(role.value for role in Role), *KNOWN_CHANNELS, "all"})

#: The dicts that this package writes.
Json: TypeAlias = dict[str, Any]


class Kind(Enum):
    """What a message is. All members behind FINAL are calls."""

    REASONING = "reasoning"
    COMMENTARY = "commentary"
    FINAL = "final"
    FUNCTION = "function"
    CUSTOM = "custom"
    MCP = "mcp"
    PYTHON = "python"
    BROWSER = "browser"


_TEXTS: Final = (Kind.REASONING, Kind.COMMENTARY, Kind.FINAL)


class Meaning(NamedTuple):
    """What a message is, and for a call, the tool: its name, with the namespace or the server's label beside it."""

    kind: Kind
    name: str = ""
    space: str | None = None

    @property
    def is_call(self) -> bool:
        return self.kind not in _TEXTS

    @property
    def full_name(self) -> str:
        """The name of the tool with its namespace. A function's has none."""
        return self.name if self.space is None else f"{self.space}.{self.name}"


class Reader:
    """Reads the headers of replies. `diagnostics` collects the names of tools that were repaired."""

    def __init__(self, tools: Iterable[Shape]) -> None:
        self._declared = Declared(tools)
        self.diagnostics: list[Diagnostic] = []

    def of(self, role: Role, channel: str | None, recipient: str | None, position: int) -> Meaning:
        """The meaning of a message with this header. `position` is the index of the message, for a diagnostic."""
        if role is Role.ASSISTANT and recipient is not None and recipient not in _NO_TOOLS:
            repaired = self._declared.repaired(recipient)
            if repaired is not None:
                word = repaired.removeprefix(f"{FUNCTIONS}.")
                found = Fault("repaired-tool-name", found=quote(recipient), word=quote(word))
                self.diagnostics.append(found.diagnostic(position))
            return self._call(repaired or recipient)
        if role is Role.ASSISTANT and channel in KNOWN_CHANNELS[:2]:
            return Meaning(Kind.REASONING if channel == KNOWN_CHANNELS[0] else Kind.COMMENTARY)
        return Meaning(Kind.FINAL)

    def note_cut(self, meaning: Meaning, position: int) -> None:
        """Adds the diagnostic of a call that is left out, because it is cut off."""
        self.diagnostics.append(Fault("cut-call", found=quote(meaning.full_name)).diagnostic(position))

    def of_message(self, message: Message, position: int) -> Meaning:
        """The same for a whole message."""
        return self.of(message.author.role, message.channel, message.recipient, position)

    def _call(self, recipient: str) -> Meaning:
        space, dot, name = recipient.partition(".")
        kind = Kind.CUSTOM if self._declared.is_custom(recipient) else Kind.FUNCTION
        if dot and self._declared.is_space(space):
            return Meaning(kind, name, space)
        if space == FUNCTIONS and dot:
            return Meaning(kind, name)
        if self._declared.is_function(recipient):
            return Meaning(kind, recipient)
        if recipient == "python":
            return Meaning(Kind.PYTHON, recipient)
        if not dot:
            return Meaning(kind, recipient)
        return Meaning(Kind.BROWSER if space == "browser" else Kind.MCP, name, space)


def numbered(messages: Iterable[Message]) -> Iterator[tuple[int, Message]]:
    """The messages of a conversation, each with its index. Raises TypeError for what is no Message."""
    for index, message in enumerate(messages):
        if not isinstance(message, Message):
            raise TypeError(f"Expected `Message`, got `{type(message).__name__}` - at `messages[{index}]`")
        yield index, message


def turns(messages: Iterable[Message]) -> Iterator[list[tuple[int, Message]]]:
    """The assistant's messages of a conversation, each with its index, turn by turn: what others say ends a turn."""
    turn: list[tuple[int, Message]] = []
    for index, message in numbered(messages):
        if message.author.role is Role.ASSISTANT:
            turn.append((index, message))
        elif turn:
            yield turn
            turn = []
    if turn:
        yield turn


def default_call_id(number: int) -> str:
    """The id of a call, by its number in the conversation: `call_0`, `call_1`, …"""
    return f"call_{number}"


def is_cut(result: ParseResult) -> bool:
    """Whether the last message of a completion is cut off: the input ends inside it.

    Raises TypeError where there is no completion.
    """
    if not isinstance(result, ParseResult):
        raise TypeError(f"Expected `ParseResult`, got `{type(result).__name__}` - at `result`")
    if result.complete or not result.spans:
        return False
    last = result.spans[-1]
    return last.end is None and result.token_count in (None, last.stop)


def reasoning_tokens(result: ParseResult) -> int:
    """The number of tokens in the contents of a completion that are reasoning."""
    return sum(
        span.stop - span.content_start
        for span, message in zip(result.spans, result.messages, strict=True)
        if message.channel == KNOWN_CHANNELS[0] and message.recipient is None
    )
