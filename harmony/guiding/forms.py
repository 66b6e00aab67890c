"""The headers that a guided model may write, and the messages that they begin.

A guided model writes fewer forms than strict parsing takes. They are those that gpt-oss writes, without its mistakes:

    <|channel|>analysis<|message|>                                      also ` code` behind the channel
    <|channel|>commentary<|message|>                                    a preamble
    <|channel|>final<|message|>                                         also `<|constrain|>json`
    <|channel|>commentary to=functions.sky <|constrain|>json<|message|>
    ` to=functions.sky`<|channel|>commentary json<|message|>

A call stands on `commentary` or `analysis`, with its recipient before or behind the channel. A recipient with a dot may
stand without `to=`. The content type of a call is one of `TYPES`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple, TypeVar

from harmony.errors import Fault, in_turn, quote
from harmony.format import vocabulary
from harmony.format.header import CONSTRAINED, check_header, is_dotted, whole_header
from harmony.messages.contents import DeveloperContent, SystemContent, ToolNamespaceConfig
from harmony.messages.model import Conversation
from harmony.messages.roles import KNOWN_CHANNELS, Role
from harmony.parsing.tokens import as_id

T = TypeVar("T")

#: The channels of calls.
CALL_CHANNELS: Final = ("analysis", "commentary")

_JSON: Final = (f"{CONSTRAINED}json", f" {CONSTRAINED}json")
#: What may stand at the end of the header of a call: nothing, or a content type.
TYPES: Final = ("", " json", *_JSON, f" {CONSTRAINED} json", " code")
#: The same for messages without a recipient, by channel.
PLAIN_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "analysis": ("", " code"),
    "commentary": ("",),
    "final": ("", *_JSON),
}

_CHANNEL: Final = vocabulary.SPECIAL_TEXTS[vocabulary.CHANNEL]
_MESSAGE: Final = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE]
_WORDS: Final = ("auto", "required", "none")


class Wanted(NamedTuple):
    """What a completion may hold: the channels of messages without a recipient, and the calls that may come."""

    plain: tuple[str, ...]
    recipients: tuple[str, ...]


def headers_of(want: Wanted) -> Iterator[tuple[str, int]]:
    """The headers that may come, from behind `assistant` to `<|message|>`, each with the stop of its message."""
    for channel in want.plain:
        for header in plain_headers(channel):
            yield header, plain_stop(channel)
    channels = [channel for channel in CALL_CHANNELS if channel in want.plain]
    for recipient in want.recipients:
        for header in call_headers(recipient, channels):
            yield header, vocabulary.CALL


def plain_stop(channel: str) -> int:
    """The stop of a message without a recipient."""
    return vocabulary.RETURN if channel == "final" else vocabulary.END


def plain_headers(channel: str) -> Iterator[str]:
    """The headers of messages without a recipient."""
    for kind in PLAIN_TYPES[channel]:
        yield f"{_CHANNEL}{channel}{kind}{_MESSAGE}"


def call_headers(recipient: str, channels: Iterable[str] = CALL_CHANNELS) -> Iterator[str]:
    """The headers of calls."""
    for address, channel, kind in product(addresses(recipient), channels, TYPES):
        yield f"{address}{_CHANNEL}{channel}{kind}{_MESSAGE}"
        yield f"{_CHANNEL}{channel}{address}{kind}{_MESSAGE}"


def addresses(recipient: str) -> list[str]:
    """How a header names a recipient: behind `to=`, or by itself if it reads as a recipient then."""
    alone = is_dotted(recipient) and not recipient.startswith("to=")
    return [f" to={recipient}", f" {recipient}"] if alone else [f" to={recipient}"]


def wanted(recipients: Collection[str], tool_choice: str, channels: Iterable[str] = KNOWN_CHANNELS) -> Wanted:
    """What may come with this `tool_choice`. `recipients` are the declared ones.

    A call ends a completion. So where a call must come, no `final` may.
    Raises TypeError and ValueError for a wrong choice, and where no completion could end.
    """
    plain = _channels(channels)
    if not isinstance(tool_choice, str):
        raise TypeError(f"Expected `str`, got `{type(tool_choice).__name__}` - at `tool_choice`")
    if tool_choice in _WORDS:
        called = () if tool_choice == "none" else tuple(recipients)
    elif tool_choice in recipients:
        called = (tool_choice,)
    else:
        one = next(iter(recipients), None)
        known = "a declared recipient" + (" (there is none)" if one is None else f" such as {quote(one)}")
        choices = in_turn([*(f"`{word}`" for word in _WORDS), known])
        raise ValueError(f"Expected {choices}, got {tool_choice!r} - at `tool_choice`")
    if not set(plain) & set(CALL_CHANNELS):
        called = ()
    if tool_choice not in ("auto", "none"):
        plain = tuple(channel for channel in plain if channel != "final")
    if not called and "final" not in plain:
        missing = "`final` among the `channels`" if tool_choice in ("auto", "none") else "a recipient to call"
        raise ValueError(f"Expected {missing}, got none: no completion could end - at `tool_choice` {tool_choice!r}")
    return Wanted(plain, called)


def _channels(channels: Iterable[str]) -> tuple[str, ...]:
    given = several(channels, "channels")
    for channel in given:
        if channel not in KNOWN_CHANNELS:
            expected = in_turn([f"`{one}`" for one in KNOWN_CHANNELS])
            raise ValueError(f"Expected {expected}, got {channel!r} - at `channels`")
    return tuple(channel for channel in KNOWN_CHANNELS if channel in given)


def several(given: Iterable[T], place: str) -> tuple[T, ...]:
    """What was given. Raises TypeError for what is not iterable, and for a text or bytes, whose items nobody means."""
    if isinstance(given, str | bytes | bytearray) or not isinstance(given, Iterable):
        raise TypeError(f"Expected several values, got `{type(given).__name__}` - at `{place}`")
    return tuple(given)


def token_id(token: object, place: str) -> int:
    """The token as an int. Raises TypeError for what is no integer."""
    try:
        return as_id(token, 0)
    except TypeError:
        raise TypeError(f"Expected `int`, got `{type(token).__name__}` - at `{place}`") from None


def check_recipient(recipient: object, place: str) -> str:
    """The recipient. Raises TypeError for no string, and ValueError for one that no header can hold."""
    if not isinstance(recipient, str):
        raise TypeError(f"Expected `str`, got `{type(recipient).__name__}` - at `{place}`")
    try:
        header = whole_header(Role.ASSISTANT, None, recipient, CALL_CHANNELS[-1], None)
        check_header(header, "openai")
    except Fault as fault:
        raise ValueError(f"{fault.sentence} - at `{place}`") from None
    return header.recipient or ""


def declared(conversation: Conversation) -> dict[str, dict[str, Any] | None]:
    """The recipients that a conversation's system and developer messages declare, each with its JSON schema.

    A namespace without functions, such as `python`, is a recipient by itself. It has the schema None: its calls are
    text. A function without parameters takes any object.
    """
    found: dict[str, dict[str, Any] | None] = {}
    for message in conversation.messages:
        for part in message.content:
            if isinstance(part, SystemContent | DeveloperContent):
                for space in (part.tools or {}).values():
                    found.update(of_namespace(space))
    return {check_recipient(name, f"the tool {quote(name)}"): schema for name, schema in found.items()}


def of_namespace(space: ToolNamespaceConfig) -> dict[str, dict[str, Any] | None]:
    """The recipients of a namespace, each with its schema, as `declared` gives them."""
    if not space.tools:
        return {space.name: None}
    return {
        f"{space.name}.{tool.name}": {"type": "object"} if tool.parameters is None else tool.parameters
        for tool in space.tools
    }
