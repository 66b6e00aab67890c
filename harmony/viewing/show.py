"""`harmony.show`: a look at results, messages, token ids and texts, in a notebook or printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from msgspec.structs import replace

from harmony.encoding import load_harmony_encoding
from harmony.errors import HarmonyError, RecordError
from harmony.format import vocabulary
from harmony.messages.model import Conversation, Message
from harmony.messages.roles import KNOWN_CHANNELS, Role
from harmony.parsing.tokens import Tokens, as_sequence
from harmony.rendering.renderer import RenderConversationConfig
from harmony.results import ENDS, ParseResult, RenderResult
from harmony.viewing.lines import lines
from harmony.viewing.shown import Shown, Source, shown_result, shown_source, usual_role

#: What can be shown.
Showable: TypeAlias = "ParseResult | RenderResult | Conversation | Message | Sequence[Message] | Tokens | str"


class View:
    """What `harmony.show` returns: an object that a notebook draws, and that prints as plain text."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def _repr_html_(self) -> str:
        """The messages as HTML, for a notebook. Needs jinja2 (the extra `view`); raises ImportError without it."""
        from harmony.viewing.page import fragment

        return fragment([self._shown])

    def __repr__(self) -> str:
        return "\n".join(line.plain() for line in lines(self._shown, whole=True, with_learned=False)).rstrip()


def show(value: Showable, tokens: Tokens | str | None = None) -> View:
    """Shows a result of parsing or rendering, messages, token ids, or a text with markers.

        >>> harmony.show(encoding.encode("<|channel|>final<|message|>Hi<|return|>", allowed_special="all"))
        assistant · final  5 tokens, <|return|>
          Hi

    In a notebook, the returned object draws itself: each message with its header, the number of its tokens, its stop
    and its repairs. Switches show the tokens, their ids and the training mask. Elsewhere it prints as plain text.

    Token ids and texts are parsed leniently, as a completion of the assistant unless they begin with `<|start|>`.
    Messages are rendered first, so their tokens are shown. Messages that cannot be rendered are shown without tokens,
    with the reason. A ParseResult has no tokens; to see them, also pass the `tokens` or the text that were parsed.

    Raises TypeError for any other value, and ValueError for tokens beside a value that has its own.
    """
    if isinstance(value, ParseResult):
        source: Source | None = None
        if tokens is not None:
            source = tokens if isinstance(tokens, str) else list(as_sequence(tokens))
            _check_source(value, source)
        return View(shown_result("", value, source, channels=KNOWN_CHANNELS))
    if tokens is not None:
        raise ValueError(f"Expected `tokens` only beside a `ParseResult`, got them beside `{type(value).__name__}`")
    if isinstance(value, RenderResult):
        return _of_source(value.tokens, None)
    if isinstance(value, str):
        return _of_source(value, usual_role(value))
    if isinstance(value, Message):
        value = [value]
    if isinstance(value, Conversation):
        return _of_messages(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], Message):
        return _of_messages(Conversation(list(value)))
    source = list(as_sequence(cast("Tokens", value)))
    return _of_source(source, usual_role(source))


def _of_source(source: Source, role: Role | None) -> View:
    return View(shown_source("", source, role, channels=KNOWN_CHANNELS))


def _of_messages(conversation: Conversation) -> View:
    """All messages as they are rendered."""
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    whole = RenderConversationConfig(auto_drop_analysis=False)
    try:
        return _of_source(encoding.render_conversation(conversation, whole), None)
    except HarmonyError as error:
        result = ParseResult(conversation.messages, [], [], True, None)
        found = shown_result("", result, channels=())
        reason = RecordError(error.code, str(error), error.position)
        return View(replace(found, error=reason))


def _check_source(result: ParseResult, source: Source) -> None:
    """Raises ValueError for a source that is not the one that was parsed, as far as its length and its stops tell."""
    expected = "a text" if result.token_count is None else f"{result.token_count:,} token ids"
    found = "a text" if isinstance(source, str) else f"{len(source):,} token ids"
    if expected != found:
        raise ValueError(f"Expected the input of the result, {expected}, got {found} - at `tokens`")
    for span in result.spans:
        if not isinstance(source, str):
            is_there = span.end is None or ENDS.get(source[span.stop]) == span.end
        else:
            is_there = span.stop <= len(source)
        if not is_there:
            raise ValueError(
                f"Expected the input of the result, got another one: no `<|{span.end}|>` at {span.stop:,} - at `tokens`"
            )
