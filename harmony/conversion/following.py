"""Follows a reply token by token, and says when each of its messages begins, grows and ends.

Both streams are built on it. At the end of the tokens the reply is parsed as a whole, which takes a few nanoseconds a
token. What the whole has and the stream has not shown yet is added then. So a stream and a whole reply are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from harmony.conversion.given import Shape
from harmony.conversion.meaning import Json, Meaning, Reader, is_cut
from harmony.encoding import HarmonyEncoding
from harmony.errors import Diagnostic
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.parsing.engine import StreamableParser
from harmony.parsing.tokens import Tokens
from harmony.results import ParseResult, Segment


class Following:
    """One reply, whose tokens come in steps of any size."""

    def __init__(self, encoding: HarmonyEncoding, tools: Iterable[Shape], *, strict: bool) -> None:
        self._encoding = encoding
        self._strict = strict
        self._parser = StreamableParser(encoding, Role.ASSISTANT, strict=strict)
        self._reader = Reader(tools)
        self._open: Meaning | None = None
        self._shown = 0  # characters of the open message
        self._ended = 0  # messages
        self._out: list[Json] = []
        # Makes the dict for a further delta of the open message. None before its first one.
        self._make: Callable[[str], Json] | None = None
        self._has_begun = False
        self._result: ParseResult | None = None
        self._failure: Exception | None = None

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What was repaired so far: the parser's diagnostics, whose positions are indices of tokens, and the repaired
        names of tools, whose positions are indices of messages."""
        source = self._parser if self._result is None else self._result
        return [*source.diagnostics, *self._reader.diagnostics]

    def push(self, tokens: Tokens) -> list[Json]:
        """Takes the next tokens, any number of them, and returns the dicts that they give."""
        make, parser = self._make, self._parser
        if make is None:
            self._begin_once()
        elif type(tokens) is list and len(tokens) == 1:
            # Most servers push one token at a time, and most tokens only add to the open message.
            try:
                parser.process(tokens[0])
            except Exception as error:
                self._fail(error)
            if len(parser.messages) == self._ended:
                delta = parser.last_content_delta
                if not delta:
                    return []
                self._shown += len(delta)
                return [make(delta)]
            self._show(parser.messages, cut=False)
            if (text := parser.current_content) and parser.current_role is not None:
                meaning = self._begin(parser.current_role, parser.current_channel, parser.current_recipient)
                self._grow(meaning, text)
            return self._taken()
        if self._result is not None:
            raise ValueError("Expected no tokens after `finish`; begin a new Stream for another reply")
        for segment in self._taken_in(tokens):
            meaning = self._open or self._begin(segment.role, segment.channel, segment.recipient)
            if segment.delta:
                self._grow(meaning, segment.delta)
            if segment.message is not None:
                self._close(meaning, segment.message.text, cut=False)
        return self._taken()

    def _taken_in(self, tokens: Tokens) -> list[Segment]:
        """What the tokens add."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._parser.process_many(tokens)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        """Raises an error. The step may have taken some of its tokens, so all later steps raise the same error."""
        self._failure = error
        self._make = None
        raise error

    def _follow_to_end(self) -> ParseResult:
        """Takes the end of the tokens, and returns the whole reply."""
        if self._result is not None:
            raise ValueError("Expected `finish` once for each reply")
        if self._failure is not None:
            raise self._failure
        self._begin_once()
        result = self._encoding.parse(list(self._parser.tokens), Role.ASSISTANT, strict=self._strict)
        self._show(result.messages, cut=is_cut(result))
        self._result = result
        return result

    def _begin_once(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._greet()

    def _show(self, messages: Sequence[Message], *, cut: bool) -> None:
        """Shows what is not shown yet of these finished messages. `cut`: whether the last of them is cut off."""
        for index in range(self._ended, len(messages)):
            message = messages[index]
            meaning = self._open or self._begin(message.author.role, message.channel, message.recipient)
            text = message.text
            if self._shown < len(text):
                self._grow(meaning, text[self._shown :])
            self._close(meaning, text, cut=cut and index == len(messages) - 1)

    def _grow(self, meaning: Meaning, delta: str) -> None:
        self._add(meaning, delta, is_first=self._shown == 0)
        self._shown += len(delta)

    def _taken(self) -> list[Json]:
        """The dicts that were made since the last call."""
        out, self._out = self._out, []
        return out

    def _begin(self, role: Role, channel: str | None, recipient: str | None) -> Meaning:
        meaning = self._reader.of(role, channel, recipient, self._ended)
        self._open = meaning
        self._start(meaning)
        return meaning

    def _close(self, meaning: Meaning, text: str, *, cut: bool) -> None:
        self._end(meaning, text, cut=cut)
        self._open = self._make = None
        self._shown = 0
        self._ended += 1

    # --- what each stream makes of it

    def _greet(self) -> None:
        """Makes the dicts before all others."""
        raise NotImplementedError

    def _start(self, meaning: Meaning) -> None:
        raise NotImplementedError

    def _add(self, meaning: Meaning, delta: str, *, is_first: bool) -> None:
        raise NotImplementedError

    def _end(self, meaning: Meaning, text: str, *, cut: bool) -> None:
        raise NotImplementedError
