"""The front door: `load_harmony_encoding` gives a HarmonyEncoding, which encodes, decodes, renders and parses."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import accumulate
from typing import Final, Literal

import msgspec

from harmony.errors import Fault, HarmonyError, quote
from harmony.format import vocabulary
from harmony.format.choices import Close, Purpose, Reasoning
from harmony.messages.model import Conversation, Message
from harmony.messages.roles import Role
from harmony.messages.words import one_of
from harmony.parsing import engine
from harmony.parsing.shared import check_stripped
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.rendering import warming
from harmony.rendering.arguments import CONFIG, OPTIONS, checked, config_and_role
from harmony.rendering.cache import CacheInfo
from harmony.rendering.continuing import common_prefix, extended
from harmony.rendering.many import render_many
from harmony.rendering.renderer import RenderConversationConfig, Renderer, Rendering, RenderOptions
from harmony.results import ParseResult, RenderResult
from harmony.runtime.locks import Once


class HarmonyEncodingName(str, Enum):
    """The names of encodings that `load_harmony_encoding` knows; there is one."""

    HARMONY_GPT_OSS = vocabulary.ENCODING_NAME

    def __str__(self) -> str:
        return self.value


class HarmonyEncoding:
    """The Harmony format over the vocabulary `o200k_harmony`: text to token ids, messages to token ids, and back.

    Get it from `load_harmony_encoding`. Token ids are integers in 0..201088, as in openai-harmony 0.0.8. Nothing is
    downloaded. The first `encode` or `render` builds tiktoken's encoder, which takes some tenths of a second. Without
    tiktoken, which has no wheel for some platforms, these raise ImportError; parsing and decoding need no tiktoken.

    A process reads its vocabulary once, from the package. Where the environment variable TIKTOKEN_ENCODINGS_BASE names
    a folder, the file `o200k_base.tiktoken` in it must be the official one. Setting the variable later has no effect.
    All methods may be called from several threads.
    """

    def __init__(self) -> None:
        vocabulary.load()  # raises here for a file that cannot be used
        self._renderer = Renderer()
        self._special_tokens_set = set(vocabulary.SPECIAL_TOKENS)

    @property
    def name(self) -> str:
        """The name of the encoding, `HarmonyGptOss`: the argument of `load_harmony_encoding`."""
        return vocabulary.ENCODING_NAME

    def warm_up(self) -> None:
        """Does now what the first calls would do besides their work, so that they are as fast as all others.

        Call it once when a server starts, or before a process forks its workers. It builds tiktoken's encoder, loads
        the modules of rendering, parsing and repairs, and makes their tables. This takes about half a second and 80 MB
        of memory, nearly all of it for the encoder. A process that only parses needs no encoder. Calling this again
        takes about a millisecond.

        It does not load Lark, which `harmony.validate` needs, or pyarrow, which `harmony.batch` needs.
        """
        repaired = self.encode(warming.REPAIRED, allowed_special="all")
        self.parse(self.encode(warming.COMPLETION, allowed_special="all"), Role.ASSISTANT)
        self.parse(repaired, Role.ASSISTANT, strict=False)
        self.parse_text(warming.LOST_MARKERS, strict=False, stripped=True)
        engine.StreamableParser(self, Role.ASSISTANT, strict=False).process_many(repaired)
        self.decode_utf8(repaired)
        # The cache is that of another Renderer: nothing of this conversation stays in the one that users see.
        Renderer().conversation(warming.every_content(), CONFIG, "completion", Role.ASSISTANT).tokens()

    def __repr__(self) -> str:
        return f"<HarmonyEncoding {self.name!r}>"

    def __reduce__(self) -> tuple[Callable[[str], HarmonyEncoding], tuple[str]]:
        return load_harmony_encoding, (self.name,)

    # --- text and token ids

    @property
    def special_tokens_set(self) -> set[str]:
        """The written form of every special token, such as `<|start|>`, reserved ones too. Do not change the set."""
        return self._special_tokens_set

    def encode(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = frozenset(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        """The token ids of `text`.

            >>> encoding.encode("<|start|>user", allowed_special="all")
            [200006, 1428]
            >>> encoding.decode(encoding.encode("1 < 2"))
            '1 < 2'

        `allowed_special` names the special tokens that the text may contain in their written form, or is "all". They
        become special tokens. `disallowed_special` names those that raise HarmonyError; its default "all" means every
        special token that is not allowed. With `disallowed_special=()`, a special token that is not allowed is encoded
        as ordinary text.

        Do not encode rendered or decoded text again with `allowed_special="all"`. Where the content of a message spells
        a marker, the marker would become a special token, and one message would become several. Keep the token ids that
        rendering gave.

        A surrogate without its pair is encoded as U+FFFD. Raises TypeError for a `text` that is no string, and
        HarmonyError for a text that tiktoken cannot encode, such as a million spaces in a row. Raises ImportError where
        tiktoken is not installed.
        """
        text = _as_string(text)
        written = [(text[start:stop], start) for start, stop, _ in vocabulary.special_tokens_in(text)]
        names = vocabulary.SPECIAL_TOKENS.keys() if allowed_special == "all" else set(allowed_special)
        allowed = {name for name, _ in written if name in names}
        if disallowed_special == "all":
            for name, start in written:
                if name not in allowed:
                    raise _disallowed(name, start)
        elif disallowed_special:
            pattern = "|".join(map(re.escape, sorted(disallowed_special, reverse=True)))
            if match := re.search(pattern, text):
                raise _disallowed(match[0], match.start())
        try:
            return vocabulary.load().encoder.encode(text, allowed_special=allowed, disallowed_special=())
        except ValueError as error:  # tiktoken gives up on a run of a million spaces
            raise Fault("cannot-encode", None, reason=error).error() from None

    def decode(self, tokens: Tokens, errors: str = "replace") -> str:
        """The text of token ids, with special tokens in their written form.

            >>> encoding.decode([200006, 1428])
            '<|start|>user'

        `tokens` are a list, a tuple, another iterable of integers, or a buffer of integers such as a numpy array.
        `errors` is that of `bytes.decode`: by default, bytes that are not UTF-8 become U+FFFD. Raises HarmonyError for
        an integer that is no token id, and TypeError for anything but a sequence of integers.
        """
        return engine.decode_bytes(tokens).decode(errors=errors)

    def decode_utf8(self, tokens: Tokens) -> str:
        """The text of token ids, as `decode` gives it. Raises HarmonyError where the bytes are not UTF-8."""
        sequence = as_sequence(tokens)
        data = engine.decode_bytes(sequence)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            token_bytes = vocabulary.load().token_bytes
            ends = accumulate(len(token_bytes(as_id(token, index))) for index, token in enumerate(sequence))
            position = next(index for index, end in enumerate(ends) if end > error.start)
            raise Fault("invalid-utf-8", position, found=f"0x{data[error.start]:02x}").error() from None

    def is_special_token(self, token: int) -> bool:
        """Whether `token` is the id of a special token. False for an integer that is no token id.

        Raises TypeError where `token` is no integer.
        """
        return vocabulary.FIRST_SPECIAL <= as_id(token, 0) <= vocabulary.LAST_TOKEN

    def stop_tokens(self) -> list[int]:
        """The ids of the tokens that end a message, ascending: `<|return|>`, `<|end|>` and `<|call|>`."""
        return sorted(vocabulary.STOPS)

    def stop_tokens_for_assistant_actions(self) -> list[int]:
        """The ids at which an inference engine stops generating, ascending: `<|return|>` and `<|call|>`."""
        return [vocabulary.RETURN, vocabulary.CALL]

    # --- messages to token ids

    def render(self, message: Message, render_options: RenderOptions | None = None) -> list[int]:
        """The token ids of one message by itself.

            >>> encoding.decode(encoding.render(Message.from_role_and_content(Role.USER, "Hi")))
            '<|start|>user<|message|>Hi<|end|>'

        Raises RenderError for a message that cannot be rendered, as `render_conversation` does.
        """
        options = OPTIONS if render_options is None else checked(render_options, RenderOptions, "render_options")
        return self._renderer.message(message, options).tokens()

    def render_conversation(
        self, conversation: Conversation, config: RenderConversationConfig | None = None
    ) -> list[int]:
        """The token ids of a conversation: whole messages, each from `<|start|>` to its stop.

            >>> conversation = Conversation.from_messages([Message.from_role_and_content(Role.USER, "Hi")])
            >>> encoding.decode(encoding.render_conversation(conversation))
            '<|start|>user<|message|>Hi<|end|>'

        The tokens and their order are those of openai-harmony 0.0.8. Where a text spells a special token, it is encoded
        as ordinary text.

        Raises RenderError, which is a HarmonyError and a ValueError; its text names the message and the field. It is
        raised for a header field that parsing would not read back, for content in the wrong message, such as
        SystemContent in a user's message, and for more tokens than `config` or the format allows.
        """
        return self._rendered(conversation, config, "conversation").tokens()

    def render_conversation_for_completion(
        self,
        conversation: Conversation,
        next_turn_role: Role | str,
        config: RenderConversationConfig | None = None,
    ) -> list[int]:
        """The token ids of a prompt: the conversation, then `<|start|>` and the role whose turn is next.

            >>> conversation = Conversation.from_messages([Message.from_role_and_content(Role.USER, "Hi")])
            >>> encoding.decode(encoding.render_conversation_for_completion(conversation, Role.ASSISTANT))
            '<|start|>user<|message|>Hi<|end|><|start|>assistant'

        Raises RenderError as `render_conversation` does, TypeError for a role that is no string, and ValueError for an
        unknown role.
        """
        return self._rendered(conversation, config, "completion", next_turn_role).tokens()

    def render_conversation_for_training(
        self, conversation: Conversation, config: RenderConversationConfig | None = None
    ) -> list[int]:
        """The token ids of a conversation for training: an answer at its end is ended by `<|return|>`.

            >>> answer = Message.from_role_and_content(Role.ASSISTANT, "Hi").with_channel("final")
            >>> encoding.decode(encoding.render_conversation_for_training(Conversation.from_messages([answer])))
            '<|start|>assistant<|channel|>final<|message|>Hi<|return|>'

        An answer is a message of the assistant on the channel `final`. Where the last message is another one, the
        tokens are those of `render_conversation`. Raises RenderError as `render_conversation` does.
        """
        return self._rendered(conversation, config, "training").tokens()

    def extend(
        self,
        prompt: Tokens,
        completion: Tokens,
        messages: Iterable[Message],
        next_role: Role | str = Role.ASSISTANT,
        *,
        config: RenderConversationConfig | None = None,
        reasoning: Reasoning = "turn",
        close: Close = "end",
    ) -> list[int] | None:
        """The next prompt: `prompt` and what the model sampled behind it, verbatim, then new messages and an open turn.

            >>> completion = encoding.encode("<|channel|>final<|message|>4<|return|>", allowed_special="all")
            >>> asked = Message.from_role_and_content(Role.USER, "Why?")
            >>> encoding.decode(encoding.extend([200006, 173781], completion, [asked]))
            '<|start|>assistant<|channel|>final<|message|>4<|end|><|start|>user<|message|>Why?<|end|><|start|>assistant'

        `prompt` and `completion` are what `parse` takes. The result is a new list. A last `<|return|>` becomes
        `<|end|>`; with `close="keep"` it stays. A completion without a stop gets one: `<|call|>` for a call, else
        `<|end|>`. The `messages` are rendered as `render_conversation` does it, then `<|start|>` and `next_role`.

        The result is None where `prompt` does not end in an open header, and where `completion` ends inside a header.
        With `reasoning="turn"`, it is also None where the messages hold a user's, and `drop_analysis` would leave out
        analysis of the turn that this ends. Then render the conversation anew. docs/continuing.md has more.

        Raises ValueError for a message of the assistant, RenderError as `render_conversation` does, where all tokens
        together count for the limit, and TypeError and ValueError for other wrong arguments. The ids of `prompt` are
        copied unchecked, but for those of its last header: a check would take longer than the copy.
        """
        reasoning, close = one_of(reasoning, Reasoning, "reasoning"), one_of(close, Close, "close")
        config, role = config_and_role(config, "completion", next_role, "next_role")
        return extended(self, self._renderer, prompt, completion, messages, config, role, reasoning, close)

    def common_prefix(self, a: Tokens, b: Tokens) -> int:
        """How many tokens two inputs share from their beginning: what a cache of prefixes need not compute again.

            >>> encoding.common_prefix([200006, 1428, 200008], [200006, 1428])
            2

        `a` and `b` are what `parse` takes; their ids are only compared. Raises TypeError and ValueError as `parse`.
        """
        return common_prefix(a, b)

    def render_with_spans(
        self,
        conversation: Conversation,
        config: RenderConversationConfig | None = None,
        *,
        purpose: Purpose = "conversation",
        next_turn_role: Role | str = Role.ASSISTANT,
    ) -> RenderResult:
        """The token ids of a conversation, and one RenderedSpan for each message: for example to make a loss mask.

        `purpose` chooses what is rendered: "conversation" as `render_conversation`, "completion" as
        `render_conversation_for_completion`, "training" as `render_conversation_for_training`. `next_turn_role` is used
        for "completion" alone. Raises RenderError as `render_conversation` does, and ValueError for another `purpose`.
        """
        rendering = self._rendered(conversation, config, purpose, next_turn_role)
        return RenderResult(rendering.tokens(), rendering.spans())

    def render_many(
        self,
        conversations: Iterable[Conversation],
        config: RenderConversationConfig | None = None,
        *,
        purpose: Purpose = "conversation",
        next_turn_role: Role | str = Role.ASSISTANT,
    ) -> list[list[int] | HarmonyError]:
        """Renders many conversations: a list with the token ids of each, or the HarmonyError that it raised, in order.

        Where messages are long, they are encoded on all cores. `purpose` and `next_turn_role` are those of
        `render_with_spans`.
        """
        config, role = config_and_role(config, purpose, next_turn_role)
        vocabulary.load().encoder  # noqa: B018  built once, before threads ask for it
        return render_many(
            lambda conversation: self._renderer.conversation(conversation, config, purpose, role), conversations
        )

    def count_tokens(
        self,
        conversation: Conversation,
        config: RenderConversationConfig | None = None,
        *,
        purpose: Purpose = "conversation",
        next_turn_role: Role | str = Role.ASSISTANT,
    ) -> int:
        """The exact number of token ids of a rendering, also where they are more than the limits allow.

        `purpose` and `next_turn_role` are those of `render_with_spans`. Raises RenderError as `render_conversation`
        does, but never because there are too many tokens.
        """
        return self._rendered(conversation, config, purpose, next_turn_role, limited=False).size

    def _rendered(
        self,
        conversation: Conversation,
        config: RenderConversationConfig | None,
        purpose: Purpose,
        next_turn_role: Role | str = Role.ASSISTANT,
        *,
        limited: bool = True,
        only: Sequence[int] | None = None,
    ) -> Rendering:
        config, role = config_and_role(config, purpose, next_turn_role)
        return self._renderer.conversation(conversation, config, purpose, role, limited=limited, only=only)

    def cache_info(self) -> CacheInfo:
        """The state of the cache of rendered texts: hits, misses, the limit in bytes, the bytes in use, and entries."""
        return self._renderer.cache.info()

    def resize_cache(self, max_bytes: int) -> None:
        """Sets how many bytes the cache of rendered texts may use; the default is 64,000,000, and 0 empties the cache.

        Raises TypeError where it is no integer, and ValueError where it is negative.
        """
        if not isinstance(max_bytes, int):
            raise TypeError(f"Expected `int`, got `{type(max_bytes).__name__}` - at `max_bytes`")
        if max_bytes < 0:
            raise ValueError(f"Expected `int` >= 0, got {max_bytes} - at `max_bytes`")
        self._renderer.cache.resize(max_bytes)

    # --- token ids to messages

    def parse(
        self,
        tokens: Tokens,
        role: Role | str | None = None,
        *,
        strict: bool = True,
        default_channel: str | None = None,
        structured: bool | RenderConversationConfig = False,
    ) -> ParseResult:
        """Parses the tokens of one completion, prompt or conversation, and returns a ParseResult.

            >>> tokens = encoding.encode("<|channel|>final<|message|>Hi<|return|>", allowed_special="all")
            >>> message = encoding.parse(tokens, Role.ASSISTANT).messages[0]
            >>> message.channel, message.content[0].text
            ('final', 'Hi')

        `role` is the role of the first message. Pass it for a completion, whose `<|start|>assistant` is in the prompt.
        `tokens` are a list, a tuple, another iterable of integers, or a buffer of integers such as a numpy array;
        `bytes` are read as native uint32. Positions in the result are token indices.

        Strict parsing accepts the language of `harmony.lark`, and input that ends early inside content or behind
        `<|start|>role`. For anything else it raises HarmonyError. With `strict=False` no HarmonyError is raised: every
        fault is repaired, and each repair is one of the result's `diagnostics`. docs/diagnostics.md lists all repairs.
        Input that strict parsing accepts gives the same result in both modes.

        `default_channel`, such as "final", is the channel of the assistant's messages that have neither a channel nor a
        recipient. It is an option of `strict=False`, for programs that ignore messages without a channel.

        `structured=True` reads the texts of system and developer messages back, as SystemContent and DeveloperContent:
        identity, instructions, tools with their schemas. Where a text would not render to itself again, it stays
        TextContent. With a RenderConversationConfig, only its style and its schemas count, else those in which most
        texts read back; docs/reading_back.md has more.

        Raises TypeError and ValueError for wrong arguments.
        """
        result = engine.parse(tokens, role, strict=strict, default_channel=default_channel)
        return result if structured is False else _with_contents(result, structured)

    def parse_text(
        self,
        text: str,
        role: Role | str | None = None,
        *,
        strict: bool = True,
        stripped: bool = False,
        default_channel: str | None = None,
        structured: bool | RenderConversationConfig = False,
    ) -> ParseResult:
        """Parses a rendered text, in which special tokens are in their written form; otherwise the same as `parse`.

            >>> result = encoding.parse_text("<|start|>user<|message|>Hi<|end|>")
            >>> result.messages[0].content[0].text, result.complete
            ('Hi', True)

        Positions in the result are character offsets. No encoder is built.

        `stripped=True` is for text that has lost its markers, because a detokenizer left out special tokens:
        `analysisWe need the sky.assistantfinalBlue.` The parser guesses where the markers stood, by the rules in
        docs/repairs.md; markers that are left count. Because this is a guess, `stripped=True` raises ValueError without
        `strict=False`. `complete` is False unless the last stop is left: the text does not tell whether its last
        message was ended. Without a role, a text that names none is the assistant's.
        """
        text = _as_string(text)
        if stripped:
            check_stripped(strict=strict)
        result = engine.parse_text(text, role, strict=strict, stripped=stripped, default_channel=default_channel)
        return result if structured is False else _with_contents(result, structured)

    def parse_messages_from_completion_tokens(
        self,
        tokens: Tokens,
        role: Role | str | None = None,
        *,
        strict: bool = True,
        default_channel: str | None = None,
    ) -> list[Message]:
        """The messages of a completion: `parse(…).messages`, with the same arguments."""
        return engine.parse(tokens, role, strict=strict, default_channel=default_channel).messages


def load_harmony_encoding(name: str | HarmonyEncodingName) -> HarmonyEncoding:
    """The encoding of this name; the one name is "HarmonyGptOss". All calls in a process return the same object.

        >>> load_harmony_encoding("HarmonyGptOss")
        <HarmonyEncoding 'HarmonyGptOss'>

    Raises ValueError for any other name, and HarmonyError (code `bad-vocabulary`) where the vocabulary file cannot be
    used: the one in the package, or the one in the folder that TIKTOKEN_ENCODINGS_BASE names.
    """
    if str(name) != vocabulary.ENCODING_NAME:
        raise ValueError(f"Invalid HarmonyEncodingName: expected `{vocabulary.ENCODING_NAME}`, got {quote(str(name))}")
    return _the_one()


def render_only(
    encoding: HarmonyEncoding,
    conversation: Conversation,
    config: RenderConversationConfig,
    purpose: Purpose,
    only: Sequence[int],
) -> Rendering:
    """The messages of these indices, ascending, rendered. Spans and errors have the indices of the conversation."""
    return encoding._rendered(conversation, config, purpose, only=only)


def _with_contents(result: ParseResult, structured: bool | RenderConversationConfig) -> ParseResult:
    from harmony.rendering.read_back import with_contents  # loaded here, because few programs read contents back

    return msgspec.structs.replace(result, messages=with_contents(result.messages, structured))


_the_one: Final = Once(HarmonyEncoding)


def _as_string(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"Expected `str`, got `{type(text).__name__}` - at `text`")
    return str.__str__(text)


def _disallowed(found: str, position: int) -> HarmonyError:
    return Fault("disallowed-special", position, found=quote(found)).error(unit="character")
