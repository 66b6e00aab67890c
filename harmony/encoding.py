"""The front door: HarmonyEncoding encodes, decodes, renders and parses; `load_harmony_encoding` gives the one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import accumulate
from typing import Final, Literal, TypeVar, get_args

import msgspec

from harmony.errors import Fault, HarmonyError, quote
from harmony.format import vocabulary
from harmony.messages.model import Conversation, Message
from harmony.messages.record import unchecked
from harmony.messages.roles import Role, as_role
from harmony.parsing import engine
from harmony.parsing.tokens import Tokens, as_id, as_sequence
from harmony.rendering.cache import CacheInfo
from harmony.rendering.renderer import (
    Purpose,
    RenderConversationConfig,
    Renderer,
    Rendering,
    RenderOptions,
    render_many,
)
from harmony.results import ParseResult, RenderResult
from harmony.runtime.locks import Once


class HarmonyEncodingName(str, Enum):
    """The names that `load_harmony_encoding` knows."""

    HARMONY_GPT_OSS = vocabulary.ENCODING_NAME

    def __str__(self) -> str:
        return self.value


class HarmonyEncoding:
    """The Harmony format over the vocabulary `o200k_harmony`: text to token ids, messages to token ids, and back.

    Made by `load_harmony_encoding`. Token ids are in 0..201088. Nothing is downloaded; the first `encode` or `render`
    builds tiktoken's encoder, which takes some tenths of a second.

    A process has one vocabulary, and reads it once: the one in the package, or the official file in the folder that
    the environment variable TIKTOKEN_ENCODINGS_BASE names. Setting the variable later changes nothing.
    """

    def __init__(self) -> None:
        vocabulary.load()  # an unusable file is told here
        self._renderer = Renderer()
        self._special_tokens_set = set(vocabulary.SPECIAL_TOKENS)

    @property
    def name(self) -> str:
        """The name that the encoding is loaded by."""
        return vocabulary.ENCODING_NAME

    def __repr__(self) -> str:
        return f"<HarmonyEncoding {self.name!r}>"

    def __reduce__(self) -> tuple[Callable[[str], HarmonyEncoding], tuple[str]]:
        return load_harmony_encoding, (self.name,)

    # --- text and token ids

    @property
    def special_tokens_set(self) -> set[str]:
        """All special tokens as they are written out, the reserved ones among them."""
        return self._special_tokens_set

    def encode(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | AbstractSet[str] = frozenset(),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        """The token ids of `text`.

        Special tokens written out in it become those tokens where `allowed_special` names them ("all": all of them).
        Any that `disallowed_special` names raises HarmonyError; "all" means all that are not allowed, so nothing is
        encoded as special unasked. With `disallowed_special=()` what is not allowed is encoded as ordinary text.

        Do not encode rendered or decoded text again with `allowed_special="all"`: markers that the content of a
        message spells become special tokens, and one message becomes several. Keep the ids that rendering gave.

        Single surrogates are encoded as U+FFFD. A run of a million spaces is more than the encoder can take, and a
        HarmonyError too.
        """
        text = _plain(text)
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
        """The text of token ids; `errors` as in `bytes.decode`, for tokens that end within a character.

        Special tokens are written out. Raises HarmonyError for an id of no token.
        """
        return engine.decode_bytes(tokens).decode(errors=errors)

    def decode_utf8(self, tokens: Tokens) -> str:
        """The text of token ids; HarmonyError where they do not decode to UTF-8."""
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
        """Whether this is the id of a special token; False for an integer that is no id at all."""
        return vocabulary.FIRST_SPECIAL <= as_id(token, 0) <= vocabulary.LAST_TOKEN

    def stop_tokens(self) -> list[int]:
        """The ids that end a message: `<|return|>`, `<|end|>` and `<|call|>`, ascending."""
        return sorted(vocabulary.STOPS)

    def stop_tokens_for_assistant_actions(self) -> list[int]:
        """The ids at which an engine stops generating: `<|return|>` and `<|call|>`, ascending."""
        return [vocabulary.RETURN, vocabulary.CALL]

    # --- messages to token ids

    def render(self, message: Message, render_options: RenderOptions | None = None) -> list[int]:
        """The token ids of one message by itself.

        Raises RenderError, a HarmonyError and a ValueError, for a message that cannot be rendered; see
        `render_conversation`.
        """
        options = _OPTIONS if render_options is None else _checked(render_options, RenderOptions, "render_options")
        return self._renderer.message(message, options).tokens()

    def render_conversation(
        self, conversation: Conversation, config: RenderConversationConfig | None = None
    ) -> list[int]:
        """The token ids of a conversation, whole messages only.

        Special tokens written out in any of its texts are encoded as ordinary text. Raises RenderError, a HarmonyError
        and a ValueError whose text names the field and the message, for what no header can hold and parsing would not
        give back, for content in the wrong message, and for more tokens than `config` or the format allows.
        """
        return self._rendered(conversation, config, "conversation").tokens()

    def render_conversation_for_completion(
        self,
        conversation: Conversation,
        next_turn_role: Role | str,
        config: RenderConversationConfig | None = None,
    ) -> list[int]:
        """The token ids of a conversation and then `<|start|>` and the role whose turn is next: a prompt.

        Raises as `render_conversation`.
        """
        return self._rendered(conversation, config, "completion", next_turn_role).tokens()

    def render_conversation_for_training(
        self, conversation: Conversation, config: RenderConversationConfig | None = None
    ) -> list[int]:
        """The token ids of a conversation whose last answer, if it ends in one, is ended by `<|return|>`.

        Raises as `render_conversation`.
        """
        return self._rendered(conversation, config, "training").tokens()

    def render_with_spans(
        self,
        conversation: Conversation,
        config: RenderConversationConfig | None = None,
        *,
        purpose: Purpose = "conversation",
        next_turn_role: Role | str = Role.ASSISTANT,
    ) -> RenderResult:
        """The token ids of a conversation, and where each message stands in them, such as for a loss mask.

        `purpose` is "conversation", "completion" or "training", for what the method of that name renders. Raises as
        `render_conversation`.
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
        """For each conversation its token ids, or the HarmonyError that rendering it raised, in order.

        Long messages are encoded on all cores. `purpose` and `next_turn_role` are those of `render_with_spans`.
        """
        config, role = self._arguments(config, purpose, next_turn_role)
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
        """How many token ids a rendering has, exactly, whether or not it is within the limits.

        `purpose` and `next_turn_role` are those of `render_with_spans`. Raises as `render_conversation`, but for
        length.
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
    ) -> Rendering:
        config, role = self._arguments(config, purpose, next_turn_role)
        return self._renderer.conversation(conversation, config, purpose, role, limited=limited)

    @staticmethod
    def _arguments(
        config: RenderConversationConfig | None, purpose: Purpose, next_turn_role: Role | str
    ) -> tuple[RenderConversationConfig, Role]:
        """What a caller gave, checked."""
        if purpose not in get_args(Purpose):
            raise ValueError(f"Expected `conversation`, `completion` or `training`, got {purpose!r} - at `purpose`")
        role = as_role(next_turn_role, "next_turn_role")
        if role is None:
            raise TypeError("Expected `Role`, got `NoneType` - at `next_turn_role`")
        return _CONFIG if config is None else _checked(config, RenderConversationConfig, "config"), role

    def cache_info(self) -> CacheInfo:
        """How the cache of rendered texts is doing: hits, misses, `max_bytes`, bytes taken, and entries."""
        return self._renderer.cache.info()

    def resize_cache(self, max_bytes: int) -> None:
        """Sets how many bytes the cache of rendered texts may take, 64 MB at first; 0 empties it."""
        if not isinstance(max_bytes, int):
            raise TypeError(f"Expected `int`, got `{type(max_bytes).__name__}` - at `max_bytes`")
        if max_bytes < 0:
            raise ValueError(f"Expected `int` >= 0, got {max_bytes} - at `max_bytes`")
        self._renderer.cache.resize(max_bytes)

    # --- token ids to messages

    def parse(self, tokens: Tokens, role: Role | str | None = None, *, strict: bool = True) -> ParseResult:
        """All that the tokens of one completion, prompt or conversation hold.

        `role` is the role of the first message where its `<|start|>role` is not among the tokens, as in a completion.
        Tokens may be a list, a tuple, another iterable of integers, or a buffer of integers such as a numpy array;
        `bytes` hold native uint32. Positions in the result are token indices. Raises HarmonyError for what the strict
        language does not hold, TypeError and ValueError for wrong arguments.

        With `strict=False` it raises no HarmonyError: what is wrong is repaired, as docs/diagnostics.md shows, each
        repair is one of the result's `diagnostics`, and what strict parsing takes is read alike.
        """
        return engine.parse(tokens, role, strict=strict)

    def parse_text(
        self, text: str, role: Role | str | None = None, *, strict: bool = True, stripped: bool = False
    ) -> ParseResult:
        """All that a rendered text holds, in which special tokens are written out; otherwise as `parse`.

        Positions in the result are character offsets. Needs no encoder.

        With `stripped=True`, a text without any marker is read as one that has lost them to a detokenizer, such as
        `analysisWe need the sky.assistantfinalBlue.` Where they stood is a guess, which docs/repairs.md explains, so it
        needs `strict=False`: ValueError without. Whether the last message was ended is not known; `complete` is False.
        """
        text = _plain(text)
        if stripped and strict:
            raise ValueError("Expected `strict=False` beside `stripped=True`: where lost markers stood is a guess")
        if stripped and role is None and next(vocabulary.special_tokens_in(text), None) is None:
            role = Role.ASSISTANT  # whose text it is that says no more
        return engine.parse_text(text, role, strict=strict, stripped=stripped)

    def parse_messages_from_completion_tokens(
        self, tokens: Tokens, role: Role | str | None = None, *, strict: bool = True
    ) -> list[Message]:
        """The messages of a completion, as `parse` reads them."""
        return engine.parse(tokens, role, strict=strict).messages


def load_harmony_encoding(name: str | HarmonyEncodingName) -> HarmonyEncoding:
    """The encoding of this name, "HarmonyGptOss"; one object a process. ValueError for any other name.

    Raises HarmonyError where the vocabulary file that TIKTOKEN_ENCODINGS_BASE names cannot be used.
    """
    if str(name) != vocabulary.ENCODING_NAME:
        raise ValueError(f"Invalid HarmonyEncodingName: expected `{vocabulary.ENCODING_NAME}`, got {quote(str(name))}")
    return _the_one()


_OPTIONS: Final[RenderOptions] = unchecked(RenderOptions)  # a check would cost all who only parse
_CONFIG: Final[RenderConversationConfig] = unchecked(RenderConversationConfig)
_AnyRecord = TypeVar("_AnyRecord", RenderOptions, RenderConversationConfig)


def _checked(record: _AnyRecord, kind: type[_AnyRecord], name: str) -> _AnyRecord:
    if not isinstance(record, kind):
        raise TypeError(f"Expected `{kind.__name__}`, got `{type(record).__name__}` - at `{name}`")
    return kind(*msgspec.structs.astuple(record))  # its fields can have been set to anything


_the_one: Final = Once(HarmonyEncoding)


def _plain(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"Expected `str`, got `{type(text).__name__}` - at `text`")
    return str.__str__(text)


def _disallowed(found: str, position: int) -> HarmonyError:
    return Fault("disallowed-special", position, found=quote(found)).error(unit="character")
