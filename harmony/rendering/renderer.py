"""Renders conversations to token ids.

This module decides the order of a message's pieces, which messages are left out, how long a rendering may be, and which
results are cached. Each piece is encoded by itself: encoding joined pieces would give other tokens. All text is encoded
as ordinary text, so no text can put a special token into the result.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, NoReturn, TypeAlias, get_args

import msgspec

from harmony.errors import Fault, RenderTypeError, sentence
from harmony.format import vocabulary
from harmony.format.choices import Purpose, Schemas, Style
from harmony.format.header import Header, check_header, whole_header, write_header
from harmony.messages.contents import holds_schemas
from harmony.messages.model import (
    Author,
    Content,
    Conversation,
    DeveloperContent,
    Message,
    SystemContent,
    TextContent,
)
from harmony.messages.record import Record, check_finite, check_repeats, guarded, is_small, plain, written
from harmony.messages.roles import Role
from harmony.messages.words import choices, in_python
from harmony.rendering.cache import Cache
from harmony.rendering.sections import Types, developer_text, system_text, writer_of
from harmony.rendering.template import written as written_by_template
from harmony.rendering.turns import is_answer, kept_by_reference, kept_by_template, without_old_analysis
from harmony.rendering.typescript import TooLong
from harmony.results import ENDS, RenderedSpan

#: The most tokens of a rendering, and of one message of the assistant in it. The numbers are openai-harmony 0.0.8's.
CONTEXT_LENGTH: Final = 1_048_576
LONGEST_ACTION: Final = 524_288

#: The limit of the cache of encoded texts, in bytes, unless another one is set.
CACHE_BYTES: Final = 64_000_000

# No token has more bytes than this. So a text has at least one token for every 128 characters.
_LONGEST_TOKEN: Final = 128
# Where a rendering is too long by at most this many tokens, it is finished, and the error gives the exact size.
_COUNTED_BEYOND: Final = 65_536
# Encoded pieces of headers are kept for ever: at most this many, each of at most this many characters.
_KEPT_PIECES: Final = 4096
_KEPT_LENGTH: Final = 64

# The sentence of msgspec for a wrong type in a field.
_WRONG_TYPE: Final = re.compile("Expected `(.+)`, got `(.+)`")
# The only types in the cache key of a header. Another class could define `==` so that different headers look equal.
_IN_KEYS: Final = frozenset({str, NoneType})

# What stands behind the data of a part in the cache key, for how its text is made: the schemas, whether the style is
# "hf", and whether there are functions.
_MARKS: Final = {
    (schemas, is_hf, functions): f"{schemas[0]}{'h' * is_hf}{'f' * functions}".encode()
    for schemas in get_args(Schemas)
    for is_hf in (False, True)
    for functions in (False, True)
}

_Tokens: TypeAlias = tuple[int, ...]


class _Limits(NamedTuple):
    """The most tokens in all, and in one message of the assistant."""

    tokens: int
    action: int


_LIMITS: Final = _Limits(CONTEXT_LENGTH, LONGEST_ACTION)
_UNLIMITED: Final = _Limits(sys.maxsize, sys.maxsize)


class RenderConversationConfig(Record):
    """Options for rendering a conversation.

    `auto_drop_analysis`: where the assistant's last message is on `final`, leave out the messages on `analysis` before
    the first message on `final`. That is the rule of openai-harmony; the function `drop_analysis` has a better one. The
    style "hf" has a rule of its own: all analysis before the last answer is left out, but the thoughts right before an
    answer that ends the conversation stay, unless a prompt is made.

    `style`: "openai" writes the recipient before the channel. "oss" writes it after the channel `commentary`, and each
    content type as `<|constrain|>word`, as oss-harmony 0.0.11 does. "hf" writes what the chat template of gpt-oss on
    Hugging Face writes, which has other types of tools, and JSON for calls and results; docs/styles.md has the rules.

    `schemas`: "reference" writes the parameters of tools as openai-harmony does. "full" says all that the JSON schemas
    say, with unions, references, tuples and maps, and with what TypeScript has no type for as a remark.

    `max_tokens`: the most tokens of a rendering; a longer one raises RenderError. None stands for the context length,
    1,048,576.
    """

    auto_drop_analysis: bool = True
    style: Style = "openai"
    schemas: Schemas = "reference"
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None


class RenderOptions(Record):
    """Options for rendering one message.

    `conversation_has_function_tools`: whether a system message tells the model how to call function tools. `style` and
    `schemas` are those of RenderConversationConfig.
    """

    conversation_has_function_tools: bool = False
    style: Style = "openai"
    schemas: Schemas = "reference"


class _Manner(NamedTuple):
    """How messages are written. `function_tools`: whether the conversation declares tools in `functions`."""

    style: Style
    schemas: Schemas
    function_tools: bool


class _Rendered(NamedTuple):
    """One message as token ids: its header, each part of its content, and its stop. `size` is their number."""

    place: int | None
    role: Role
    channel: str | None
    header: _Tokens
    parts: list[_Tokens]
    stop: int
    size: int


class Rendering:
    """A conversation as token ids: its messages in order, and the open turn behind them, if any."""

    def __init__(self, messages: list[_Rendered], rest: _Tokens, size: int) -> None:
        self.messages = messages
        self.size = size
        self._rest = rest

    def end_with(self, stop: int) -> None:
        """Replaces the stop of the last message."""
        self.messages[-1] = self.messages[-1]._replace(stop=stop)

    def tokens(self) -> list[int]:
        """The token ids, `size` of them."""
        tokens: list[int] = []
        for message in self.messages:
            tokens += message.header
            for part in message.parts:
                tokens += part
            tokens.append(message.stop)
        tokens += self._rest
        return tokens

    def spans(self) -> list[RenderedSpan]:
        """One span for each message, in order."""
        spans, start = [], 0
        for message in self.messages:
            after = start + message.size
            spans.append(
                RenderedSpan(
                    start,
                    start + len(message.header),
                    after - 1,
                    ENDS[message.stop],
                    message.place or 0,
                    message.role,
                    message.channel,
                )
            )
            start = after
        return spans


class Renderer:
    """Renders messages and conversations, and caches what it encodes."""

    def __init__(self, check_header: Callable[[Header, Style], None] = check_header) -> None:
        self._check_header = check_header  # raises Fault for a header that is not to be written
        self.cache: Cache = Cache(CACHE_BYTES)
        self._kept: dict[str, _Tokens] = {}

    def message(self, message: Message, options: RenderOptions) -> Rendering:
        """One message by itself. Raises RenderError."""
        _check(message, None)
        manner = _Manner(options.style, options.schemas, options.conversation_has_function_tools)
        return self._render([(None, message)], manner, _LIMITS)

    def conversation(
        self,
        conversation: Conversation,
        config: RenderConversationConfig,
        purpose: Purpose,
        next_turn_role: Role,
        *,
        limited: bool = True,
        before: int = 0,
        only: Sequence[int] | None = None,
    ) -> Rendering:
        """A whole conversation, of any length if not `limited`. Raises RenderError.

        `before` is the number of tokens that stand before it, which count for the limit. `only` are the indices of the
        messages to render, ascending; None for those that `config` keeps.
        """
        messages = checked_messages(conversation)
        placed: list[tuple[int | None, Message]] = list(enumerate(messages))
        if only is not None:
            placed = [placed[index] for index in only]
            messages = [message for _, message in placed]
        elif config.auto_drop_analysis:
            kept = kept_by_template(messages, purpose) if config.style == "hf" else kept_by_reference(messages)
            placed = [placed[index] for index in kept]
        manner = _Manner(config.style, config.schemas, any(map(has_function_tools, messages)))
        limits = _LIMITS if config.max_tokens is None else _LIMITS._replace(tokens=config.max_tokens)
        rest = (vocabulary.START, *self._piece(next_turn_role.value)) if purpose == "completion" else ()

        rendering = self._render(placed, manner, limits if limited else _UNLIMITED, rest, before)
        if purpose == "training" and messages and is_answer(messages[-1]):
            rendering.end_with(vocabulary.RETURN)
        return rendering

    def _render(
        self,
        placed: list[tuple[int | None, Message]],
        manner: _Manner,
        limits: _Limits,
        rest: _Tokens = (),
        before: int = 0,
    ) -> Rendering:
        """Renders message by message, and stops early where there are certainly too many tokens."""
        if manner.style == "hf":
            placed = [(place, written_by_template(message)) for place, message in placed]
        sizes = [_characters(message) // _LONGEST_TOKEN for _, message in placed]  # lower bounds
        size = before + len(rest) + sum(sizes)
        rendered: list[_Rendered] = []
        if size <= limits.tokens:
            for number, (place, message) in enumerate(placed):
                try:
                    found = self._message(place, message, manner, sizes[number], limits)
                except Fault as fault:
                    raise fault.render_error(place) from None
                rendered.append(found)
                size += found.size - sizes[number]
                sizes[number] = found.size
                if size > limits.tokens + _COUNTED_BEYOND:
                    break
        if size > limits.tokens:
            _refuse(placed, sizes, size, limits.tokens, before, exact=len(rendered) == len(placed))
        return Rendering(rendered, rest, size - before)

    def _message(self, place: int | None, message: Message, manner: _Manner, least: int, limits: _Limits) -> _Rendered:
        author = message.author
        role = author.role if type(author.role) is Role else _role(author.role)
        is_action = role is Role.ASSISTANT
        if is_action and least > limits.action:
            raise Fault("action-too-long", limit=limits.action, size=f"at least {least:,}")

        header = self._header(role, author.name, message.recipient, message.channel, message.content_type, manner.style)
        parts = []
        for number, part in enumerate(message.content):
            if type(part) is TextContent:
                parts.append(self._text(part.text, number))
            else:
                parts.append(self._section(part, number, role, manner, limits.tokens))
        stop = vocabulary.CALL if is_action and message.recipient is not None else vocabulary.END

        size = len(header) + sum(map(len, parts)) + 1
        if is_action and size > limits.action:
            raise Fault("action-too-long", limit=limits.action, size=f"{size:,}")
        return _Rendered(place, role, message.channel, header, parts, stop, size)

    def _header(
        self,
        role: Role,
        name: str | None,
        recipient: str | None,
        channel: str | None,
        content_type: str | None,
        style: Style,
    ) -> _Tokens:
        """The tokens from `<|start|>` to `<|message|>`."""
        key = None
        if _IN_KEYS.issuperset((type(name), type(recipient), type(channel), type(content_type))):
            key = (role, name, recipient, channel, content_type, style)
        known = None if key is None else self.cache.get(key)
        if known is None:
            header = whole_header(role, name, recipient, channel, content_type)
            self._check_header(header, style)
            pieces = write_header(header, style)
            encoded = ((piece,) if isinstance(piece, int) else self._piece(piece) for piece in pieces)
            known = tuple(chain.from_iterable(encoded))
            if key is not None:
                self.cache.put(key, known)
        return known

    def _piece(self, text: str) -> _Tokens:
        """The tokens of a piece of a header."""
        tokens = self._kept.get(text)
        if tokens is None:
            tokens = self._encode(text)
            if len(text) <= _KEPT_LENGTH and len(self._kept) < _KEPT_PIECES:
                self._kept[text] = tokens
        return tokens

    def _text(self, text: str, number: int) -> _Tokens:
        """The tokens of a part that is text; `number` is its index in the content."""
        if type(text) is not str:
            if not isinstance(text, str):
                raise _wrong_type(f"content[{number}].text", "str", text)
            text = str.__str__(text)
        tokens = self.cache.get(text)
        if tokens is None:
            tokens = self._encode(text, f"content[{number}].text")
            self.cache.put(text, tokens)
        return tokens

    def _section(self, part: object, number: int, role: Role, manner: _Manner, most: int) -> _Tokens:
        """The tokens of a part that is system or developer content; `number` is its index in the content."""
        field = f"content[{number}]"
        if not isinstance(part, SystemContent | DeveloperContent):
            raise _wrong_type(field, "TextContent | SystemContent | DeveloperContent", part)
        expected = Role.SYSTEM if isinstance(part, SystemContent) else Role.DEVELOPER
        if role is not expected:
            name = type(part).__name__
            raise Fault("misplaced-content", field=field, found=name, expected=expected.value, role=f"`{role.value}`")
        if holds_schemas(part) and not is_small(part):
            with _unwritable(field):
                guarded(check_repeats, part)  # before it is written, which could take very long
        try:
            mark = _MARKS[manner.schemas, manner.style == "hf", manner.function_tools]
            key = written(msgspec.msgpack.encode, part) + mark
        except (TypeError, ValueError, OverflowError, RecursionError):
            key = None  # an integer beyond 64 bits, or a fault that `_section_text` raises
        tokens = None if key is None else self.cache.get(key)
        if tokens is None:
            # A text with one character more has certainly too many tokens.
            types = writer_of(manner.style, manner.schemas, role)((most + 1) * _LONGEST_TOKEN - 1)
            try:
                text = _section_text(part, field, types, manner)
                least = len(text) // _LONGEST_TOKEN
            except TooLong:
                least = most + 1
            if least > most:
                found = f"at least {least:,}"
                raise Fault("too-long", field=field, limit=most, size=found, largest=f"{found} tokens")
            tokens = self._encode(text, field)
            if key is not None:
                self.cache.put(key, tokens)
        return tokens

    def _encode(self, text: str, field: str = "") -> _Tokens:
        text = vocabulary.whole(text, field)
        try:
            # `encode_ordinary` panics where this raises: tiktoken gives up on a run of a million spaces.
            return tuple(vocabulary.load().encoder.encode(text, disallowed_special=()))
        except ValueError as error:
            raise Fault("cannot-encode", field=field, reason=error) from None


def drop_analysis(conversation: Conversation) -> Conversation:
    """A new conversation without the analysis of finished turns.

    A turn begins with a user's message, and is finished by the assistant's message on `final`. In a finished turn, all
    messages on `analysis` before that message are left out, also calls and their results on that channel. In an open
    turn they stay, because the assistant continues from them. Raises TypeError for an argument that is no Conversation.

        >>> thought = Message.from_role_and_content(Role.ASSISTANT, "Easy.").with_channel("analysis")
        >>> answer = Message.from_role_and_content(Role.ASSISTANT, "4").with_channel("final")
        >>> [message.channel for message in drop_analysis(Conversation.from_messages([thought, answer]))]
        ['final']
    """
    messages = checked_messages(conversation)
    return Conversation.from_messages([messages[index] for index in without_old_analysis(messages)])


def has_function_tools(message: Message) -> bool:
    """Whether a message declares tools in `functions`."""
    for part in message.content:
        if type(part) is DeveloperContent and type(part.tools) is dict:
            functions: Any = part.tools.get("functions")
            # A user may have put a dict in the place of a record; it is rendered like the record.
            tools = functions.get("tools") if type(functions) is dict else getattr(functions, "tools", None)
            if isinstance(tools, list | tuple) and tools:
                return True
    return False


def _characters(message: Message) -> int:
    """The number of characters in the texts of a message, without those of its tools."""
    characters = 0
    for part in message.content:
        if type(part) is TextContent:
            characters += len(part.text) if type(part.text) is str else 0
        elif isinstance(part, Content):
            characters += sum(len(value) for value in msgspec.structs.astuple(part) if type(value) is str)
    return characters


def _refuse(
    placed: list[tuple[int | None, Message]], sizes: list[int], size: int, limit: int, before: int, *, exact: bool
) -> NoReturn:
    """Raises RenderError for too many tokens. `sizes` are exact numbers or, if not `exact`, lower bounds."""
    largest = max(sizes, default=0)
    place = placed[sizes.index(largest)][0] if placed else None
    at_least = "" if exact else "at least "
    found, largest_size = f"{at_least}{size:,}", f"{at_least}{largest:,} tokens"
    key = "too-long/continued" if before else "too-long"
    raise Fault(key, limit=limit, size=found, largest=largest_size, before=before).render_error(place)


def _section_text(part: SystemContent | DeveloperContent, field: str, types: Types, manner: _Manner) -> str:
    """The text of a part. The part is checked first, because users can set its fields and schemas to anything."""
    with _unwritable(field):
        try:
            data = guarded(written, msgspec.json.encode, part)
        except UnicodeEncodeError:
            part = guarded(plain, part, lambda text: vocabulary.whole(text, field))
            data = guarded(msgspec.json.encode, part)
        check_finite(part, data)
        checked = guarded(msgspec.json.decode, data, type=type(part))
        if isinstance(checked, DeveloperContent):
            return str(guarded(developer_text, checked, types, manner.style))
        return str(guarded(system_text, checked, types, manner.function_tools))


@contextmanager
def _unwritable(field: str) -> Iterator[None]:
    """Raises a Fault in this field for anything wrong with the data of a part."""
    try:
        yield
    except (TypeError, ValueError) as error:
        reason, _, path = str(error).partition(" - at `$")
        field += path.removesuffix("`")
        if wrong := _WRONG_TYPE.fullmatch(in_python(reason)):
            raise Fault("wrong-type", field=field, expected=wrong[1], found=wrong[2]) from None
        raise Fault("unwritable-content", field=field, reason=reason + choices(reason, field)) from None


#: What makes a conversation of a value that is often passed in its place.
_MAKERS: Final[dict[type, str]] = {list: "from_messages", tuple: "from_messages", dict: "from_dict"}


def checked_messages(conversation: Conversation) -> list[Message]:
    """The messages of a conversation, each checked to have an author and a list of parts."""
    found: object = conversation
    for expected, path in ((Conversation, "conversation"), (list, "conversation.messages")):
        if not isinstance(found, expected):
            said = sentence("wrong-type/argument", expected=expected.__name__, found=type(found).__name__)
            maker = _MAKERS.get(type(found)) if path == "conversation" else None
            advice = f"; `Conversation.{maker}` makes one" if maker else ""
            raise RenderTypeError(f"{said} - at `{path}`{advice}", code="wrong-type")
        found = conversation.messages
    messages = conversation.messages.copy()
    for index, message in enumerate(messages):
        _check(message, index)
    return messages


def _check(message: Message, index: int | None) -> None:
    if isinstance(message, Mapping):
        raise Fault("wrong-type/flat", found=type(message).__name__).render_error(index)
    if not isinstance(message, Message):
        raise _wrong_type("", "Message", message).render_error(index)
    if not isinstance(message.author, Author):
        raise _wrong_type("author", "Author", message.author).render_error(index)
    if not isinstance(message.content, list):
        raise _wrong_type("content", "list", message.content).render_error(index)


def _role(role: object) -> Role:
    """The Role of an author, which may have been set to a string. Raises Fault for anything else."""
    try:
        return Role(role)
    except ValueError:
        raise _wrong_type("author.role", "Role", role) from None


def _wrong_type(field: str, expected: str, found: object) -> Fault:
    shown = found if isinstance(found, str) and expected == "Role" else type(found).__name__
    return Fault("wrong-type", field=field, expected=expected, found=shown)
