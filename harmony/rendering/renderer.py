"""Conversations become token ids.

Decides the order of a message's pieces, which messages are left out, how long a rendering may be, and what is
remembered of it. The pieces are encoded one by one and never joined first, for joining them would change the tokens.
Everything but the markers is encoded as ordinary text, so no text can put a special token into the result.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from types import NoneType
from typing import Annotated, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

import msgspec

from harmony.errors import Fault, HarmonyError, RenderError, RenderTypeError, sentence
from harmony.format import vocabulary
from harmony.format.header import Header, Style, write_header
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
from harmony.rendering.cache import Cache
from harmony.rendering.sections import developer_text, system_text
from harmony.rendering.typescript import TooLong, Writer
from harmony.results import ENDS, RenderedSpan
from harmony.runtime.locks import forks_wait

#: What a rendering is for: "completion" ends in an open `<|start|>` and the role whose turn is next, "training" ends a
#: last answer on `final` with `<|return|>`, and "conversation" is the messages as they are.
Purpose: TypeAlias = Literal["conversation", "completion", "training"]

#: How many tokens a rendering may have, and one message of the assistant in it, as openai-harmony 0.0.8 has them.
CONTEXT_LENGTH: Final = 1_048_576
LONGEST_ACTION: Final = 524_288

#: How much is remembered of what was encoded, unless another size is set.
CACHE_BYTES: Final = 64_000_000

# No token has more bytes, and no character less than one, so a text has at least a token for so many characters.
_LONGEST_TOKEN: Final = 128
# What is too long by no more than this is encoded to its end, so that the error can give the exact size.
_COUNTED_BEYOND: Final = 65_536
# Pieces of headers are kept for ever, so many of them, and none that is longer.
_KEPT_PIECES: Final = 4096
_KEPT_LENGTH: Final = 64

# A thread renders so many conversations at a time, and it is worth its while where a message has so many tokens.
_CHUNK: Final = 16
_LONG_MESSAGE: Final = 500
# How msgspec says that a field holds a wrong type.
_WRONG_TYPE: Final = re.compile("Expected `(.+)`, got `(.+)`")
# What the key of a header may hold: another class could say that it equals what it does not.
_IN_KEYS: Final = frozenset({str, NoneType})

_Tokens: TypeAlias = tuple[int, ...]


class _Limits(NamedTuple):
    """How many tokens there may be in all, and in one message of the assistant."""

    tokens: int
    action: int


_LIMITS: Final = _Limits(CONTEXT_LENGTH, LONGEST_ACTION)
_UNLIMITED: Final = _Limits(sys.maxsize, sys.maxsize)


class RenderConversationConfig(Record):
    """How a conversation is rendered.

    `auto_drop_analysis` leaves out the analysis before the first `final` message where the assistant's last message
    is on `final`, as openai-harmony does; `drop_analysis` knows a better rule. `style` "openai" writes the recipient
    before the channel; "oss", as oss-harmony does, writes it after the channel `commentary`, and every content type as
    `<|constrain|>word`. More tokens than `max_tokens`, or than the context length of 1,048,576 where
    it is None, are a RenderError.
    """

    auto_drop_analysis: bool = True
    style: Style = "openai"
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None


class RenderOptions(Record):
    """How one message is rendered; a system message tells of the function tools that the conversation has."""

    conversation_has_function_tools: bool = False
    style: Style = "openai"


class _Rendered(NamedTuple):
    """One message as token ids: its header, each part of its content, and its stop; `size` of them."""

    place: int | None
    role: Role
    channel: str | None
    header: _Tokens
    parts: list[_Tokens]
    stop: int
    size: int


class Rendering:
    """A conversation as token ids: its messages one after another, and what stands behind them."""

    def __init__(self, messages: list[_Rendered], rest: _Tokens, size: int) -> None:
        self.messages = messages
        self.size = size
        self._rest = rest

    def end_with(self, stop: int) -> None:
        """Gives the last message another stop."""
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
    """Renders messages and conversations over one vocabulary, and remembers what it encoded."""

    def __init__(self) -> None:
        self.cache = Cache(CACHE_BYTES)
        self._kept: dict[str, _Tokens] = {}

    def message(self, message: Message, options: RenderOptions) -> Rendering:
        """One message by itself. Raises RenderError."""
        _check(message, None)
        return self._render([(None, message)], options.style, options.conversation_has_function_tools, _LIMITS)

    def conversation(
        self,
        conversation: Conversation,
        config: RenderConversationConfig,
        purpose: Purpose,
        next_turn_role: Role,
        *,
        limited: bool = True,
    ) -> Rendering:
        """A whole conversation; however long it is, where it is not `limited`. Raises RenderError."""
        messages = _messages(conversation)
        function_tools = any(map(_has_function_tools, messages))
        limits = _LIMITS if config.max_tokens is None else _LIMITS._replace(tokens=config.max_tokens)
        rest = (vocabulary.START, *self._piece(next_turn_role.value)) if purpose == "completion" else ()

        placed: list[tuple[int | None, Message]] = list(enumerate(messages))
        if config.auto_drop_analysis:
            answer = _first_answer(messages)
            placed = [item for item in placed[:answer] if item[1].channel != "analysis"] + placed[answer:]
        rendering = self._render(placed, config.style, function_tools, limits if limited else _UNLIMITED, rest)
        if purpose == "training" and messages and _is_answer(messages[-1]):
            rendering.end_with(vocabulary.RETURN)
        return rendering

    def _render(
        self,
        placed: list[tuple[int | None, Message]],
        style: Style,
        function_tools: bool,
        limits: _Limits,
        rest: _Tokens = (),
    ) -> Rendering:
        """Renders message by message, and goes no further where there are certainly too many tokens."""
        sizes = [_characters(message) // _LONGEST_TOKEN for _, message in placed]  # at first, what they have at least
        size = len(rest) + sum(sizes)
        rendered: list[_Rendered] = []
        if size <= limits.tokens:
            for number, (place, message) in enumerate(placed):
                try:
                    found = self._message(place, message, style, function_tools, sizes[number], limits)
                except Fault as fault:
                    raise fault.render_error(place) from None
                rendered.append(found)
                size += found.size - sizes[number]
                sizes[number] = found.size
                if size > limits.tokens + _COUNTED_BEYOND:
                    break
        if size > limits.tokens:
            _refuse(placed, sizes, size, limits.tokens, exact=len(rendered) == len(placed))
        return Rendering(rendered, rest, size)

    def _message(
        self, place: int | None, message: Message, style: Style, function_tools: bool, least: int, limits: _Limits
    ) -> _Rendered:
        author = message.author
        role = author.role if type(author.role) is Role else _role(author.role)
        is_action = role is Role.ASSISTANT
        if is_action and least > limits.action:
            raise Fault("action-too-long", limit=limits.action, size=f"at least {least:,}")

        header = self._header(role, author.name, message.recipient, message.channel, message.content_type, style)
        parts = []
        for number, part in enumerate(message.content):
            if type(part) is TextContent:
                parts.append(self._text(part.text, number))
            else:
                parts.append(self._section(part, number, role, function_tools, limits.tokens))
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
        """From `<|start|>` to `<|message|>`."""
        key = None
        if _IN_KEYS.issuperset((type(name), type(recipient), type(channel), type(content_type))):
            key = (role, name, recipient, channel, content_type, style)
        known = None if key is None else self.cache.get(key)
        if known is None:
            pieces = write_header(Header(role, name, recipient, channel, content_type), style)
            encoded = ((piece,) if isinstance(piece, int) else self._piece(piece) for piece in pieces)
            known = tuple(chain.from_iterable(encoded))
            if key is not None:
                self.cache.put(key, known)
        return known

    def _piece(self, text: str) -> _Tokens:
        """A piece of a header."""
        tokens = self._kept.get(text)
        if tokens is None:
            tokens = self._encode(text)
            if len(text) <= _KEPT_LENGTH and len(self._kept) < _KEPT_PIECES:
                self._kept[text] = tokens
        return tokens

    def _text(self, text: str, number: int) -> _Tokens:
        """The part of this number of a message's content, which is text."""
        if type(text) is not str:
            if not isinstance(text, str):
                raise _wrong_type(f"content[{number}].text", "str", text)
            text = str.__str__(text)
        tokens = self.cache.get(text)
        if tokens is None:
            tokens = self._encode(text, f"content[{number}].text")
            self.cache.put(text, tokens)
        return tokens

    def _section(self, part: object, number: int, role: Role, function_tools: bool, most: int) -> _Tokens:
        """The part of this number of a message's content, which is a system's or a developer's."""
        field = f"content[{number}]"
        if not isinstance(part, SystemContent | DeveloperContent):
            raise _wrong_type(field, "TextContent | SystemContent | DeveloperContent", part)
        expected = Role.SYSTEM if isinstance(part, SystemContent) else Role.DEVELOPER
        if role is not expected:
            name = type(part).__name__
            raise Fault("misplaced-content", field=field, found=name, expected=expected.value, role=f"`{role.value}`")
        if part.tools and not is_small(part):
            with _unwritable(field):
                guarded(check_repeats, part)  # before anything is written
        try:
            key = written(msgspec.msgpack.encode, part) + (b"f" if function_tools else b"")
        except (TypeError, ValueError, OverflowError, RecursionError):
            key = None  # an integer beyond 64 bits, or a fault that is found below
        tokens = None if key is None else self.cache.get(key)
        if tokens is None:
            # With one character more, there are certainly too many tokens.
            types = Writer((most + 1) * _LONGEST_TOKEN - 1)
            try:
                text = _section_text(part, field, types, function_tools)
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


def render_many(
    render: Callable[[Conversation], Rendering], conversations: Iterable[Conversation]
) -> list[list[int] | HarmonyError]:
    """For each conversation its tokens, or the HarmonyError that rendering it raised, in order.

    Where messages are long, threads render them on all cores, for tiktoken encodes without the interpreter's lock.
    """

    def outcomes_of(chunk: list[Conversation]) -> list[Rendering | HarmonyError]:
        return [_outcome(render, conversation) for conversation in chunk]

    everything = list(conversations)
    outcomes = outcomes_of(everything[:_CHUNK])
    chunks = [everything[start : start + _CHUNK] for start in range(_CHUNK, len(everything), _CHUNK)]
    done = [outcome for outcome in outcomes if isinstance(outcome, Rendering)]
    are_long = sum(one.size for one in done) > _LONG_MESSAGE * sum(len(one.messages) for one in done)
    if are_long and (os.cpu_count() or 1) > 1:
        with forks_wait:
            from concurrent.futures import ThreadPoolExecutor  # parsing and single conversations never need it

        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            outcomes += chain.from_iterable(pool.map(outcomes_of, chunks))
        finally:
            pool.shutdown(cancel_futures=True)  # which an exception leaves, such as KeyboardInterrupt
    else:
        outcomes += chain.from_iterable(map(outcomes_of, chunks))
    return [outcome.tokens() if isinstance(outcome, Rendering) else outcome for outcome in outcomes]


def _outcome(render: Callable[[Conversation], Rendering], conversation: Conversation) -> Rendering | HarmonyError:
    # Nothing else is caught: a signal's handler can raise anything, such as TimeoutError, and means the caller.
    try:
        return render(conversation)
    except HarmonyError as error:
        outcome = error
    except AttributeError as error:  # a field was deleted
        said = sentence("cannot-render", reason=f"{type(error).__name__}: {error}")
        outcome = RenderError(said, code="cannot-render", unit="message")
    # Else they would keep the frames, and with them all that was rendered.
    outcome.__traceback__ = outcome.__context__ = outcome.__cause__ = None
    return outcome


def drop_analysis(conversation: Conversation) -> Conversation:
    """A conversation of the same messages, but for the analysis that led to an answer.

    A turn is finished by the assistant's message on `final`. In every finished turn the messages on `analysis` before
    that message go, calls and their results on that channel too; in a turn that is still open they stay, for the
    assistant goes on from them. A turn begins with a user's message. TypeError for what is no Conversation.
    """
    kept = []
    answered = False
    for message in reversed(_messages(conversation)):
        if message.author.role == Role.USER:
            answered = False
        elif _is_answer(message):
            answered = True
        if not (answered and message.channel == "analysis"):
            kept.append(message)
    return Conversation.from_messages(kept[::-1])


def _is_answer(message: Message) -> bool:
    return message.author.role == Role.ASSISTANT and message.channel == "final"


def _first_answer(messages: list[Message]) -> int:
    """Where the first message on `final` is, if the assistant's last message is on `final`; else 0."""
    last = next((message for message in reversed(messages) if message.author.role == Role.ASSISTANT), None)
    if last is None or last.channel != "final":
        return 0
    return next(index for index, message in enumerate(messages) if message.channel == "final")


def _has_function_tools(message: Message) -> bool:
    for part in message.content:
        if type(part) is DeveloperContent and type(part.tools) is dict:
            functions: Any = part.tools.get("functions")
            # A dict in the place of a record is rendered like the record.
            tools = functions.get("tools") if type(functions) is dict else getattr(functions, "tools", None)
            if isinstance(tools, list | tuple) and tools:
                return True
    return False


def _characters(message: Message) -> int:
    """How many characters the texts of a message have; those of its tools are not counted."""
    characters = 0
    for part in message.content:
        if type(part) is TextContent:
            characters += len(part.text) if type(part.text) is str else 0
        elif isinstance(part, Content):
            characters += sum(len(value) for value in msgspec.structs.astuple(part) if type(value) is str)
    return characters


def _refuse(
    placed: list[tuple[int | None, Message]], sizes: list[int], size: int, limit: int, *, exact: bool
) -> NoReturn:
    """Says that there are too many tokens: as many as `sizes` say, or where that is not `exact`, at least as many."""
    largest = max(sizes, default=0)
    place = placed[sizes.index(largest)][0] if placed else None
    at_least = "" if exact else "at least "
    found = Fault("too-long", limit=limit, size=f"{at_least}{size:,}", largest=f"{at_least}{largest:,} tokens")
    raise found.render_error(place)


def _section_text(part: SystemContent | DeveloperContent, field: str, types: Writer, function_tools: bool) -> str:
    """The text of a part. It is checked first: a field can be set to anything, and a schema can hold anything."""
    with _unwritable(field):
        try:
            data = guarded(written, msgspec.json.encode, part)
        except UnicodeEncodeError:
            part = guarded(plain, part, lambda text: vocabulary.whole(text, field))
            data = guarded(msgspec.json.encode, part)
        check_finite(part.tools, data)
        checked = guarded(msgspec.json.decode, data, type=type(part))
        is_developer = isinstance(checked, DeveloperContent)
        arguments = (developer_text, checked, types) if is_developer else (system_text, checked, types, function_tools)
        return str(guarded(*arguments))


@contextmanager
def _unwritable(field: str) -> Iterator[None]:
    """What is wrong with the data of a part, as a Fault in this field."""
    try:
        yield
    except (TypeError, ValueError) as error:
        reason, _, path = str(error).partition(" - at `$")
        field += path.removesuffix("`")
        if wrong := _WRONG_TYPE.fullmatch(reason):
            raise Fault("wrong-type", field=field, expected=wrong[1], found=wrong[2]) from None
        raise Fault("unwritable-content", field=field, reason=reason) from None


def _messages(conversation: Conversation) -> list[Message]:
    """The messages of a conversation, each of which has an author and a list of parts."""
    found: object = conversation
    for expected, path in ((Conversation, "conversation"), (list, "conversation.messages")):
        if not isinstance(found, expected):
            said = sentence("wrong-type/argument", expected=expected.__name__, found=type(found).__name__)
            raise RenderTypeError(f"{said} - at `{path}`", code="wrong-type")
        found = conversation.messages
    messages = conversation.messages.copy()
    for index, message in enumerate(messages):
        _check(message, index)
    return messages


def _check(message: Message, index: int | None) -> None:
    if not isinstance(message, Message):
        raise _wrong_type("", "Message", message).render_error(index)
    if not isinstance(message.author, Author):
        raise _wrong_type("author", "Author", message.author).render_error(index)
    if not isinstance(message.content, list):
        raise _wrong_type("content", "list", message.content).render_error(index)


def _role(role: object) -> Role:
    """A role that was set to its plain string."""
    try:
        return Role(role)
    except ValueError:
        raise _wrong_type("author.role", "Role", role) from None


def _wrong_type(field: str, expected: str, found: object) -> Fault:
    shown = found if isinstance(found, str) and expected == "Role" else type(found).__name__
    return Fault("wrong-type", field=field, expected=expected, found=shown)
