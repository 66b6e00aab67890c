"""Follows a reply token by token, and says when each of its messages begins, grows and ends.

Both streams are built on it. At the end of the tokens the reply is parsed as a whole, which takes a few nanoseconds a
token. What the whole has and the stream has not shown yet is added then. So a stream and a whole reply are the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from harmony.conversion.given import Shape
from harmony.conversion.meaning import Json, Meaning, Reader, is_cut
from harmony.encoding import HarmonyEncoding
from harmony.errors import Diagnostic
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
        self._result: ParseResult | None = None
        self._failure: Exception | None = None

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What was repaired so far: the parser's diagnostics, whose positions are indices of tokens, and the repaired
        names of tools, whose positions are indices of messages."""
        source = self._parser if self._result is None else self._result
        return [*source.diagnostics, *self._reader.diagnostics]

    def _follow(self, tokens: Tokens) -> None:
        if self._result is not None:
            raise ValueError("Expected no tokens after `finish`; begin a new Stream for another reply")
        for segment in self._taken_in(tokens):
            meaning = self._open
            if meaning is None:
                meaning = self._begin(segment.role, segment.channel, segment.recipient)
            if segment.delta:
                self._add(meaning, segment.delta, is_first=self._shown == 0)
                self._shown += len(segment.delta)
            if segment.message is not None:
                self._close(meaning, segment.message.text, cut=False)

    def _taken_in(self, tokens: Tokens) -> list[Segment]:
        """What the tokens add. A step that raises may have taken some of them, so all later steps raise the same."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._parser.process_many(tokens)
        except Exception as error:
            self._failure = error
            raise

    def _follow_to_end(self) -> ParseResult:
        """Takes the end of the tokens, and returns the whole reply."""
        if self._result is not None:
            raise ValueError("Expected `finish` once for each reply")
        if self._failure is not None:
            raise self._failure
        result = self._encoding.parse(list(self._parser.tokens), Role.ASSISTANT, strict=self._strict)
        cut = is_cut(result)
        for index in range(self._ended, len(result.messages)):
            message = result.messages[index]
            meaning = self._open or self._begin(message.author.role, message.channel, message.recipient)
            text = message.text
            if self._shown < len(text):
                self._add(meaning, text[self._shown :], is_first=self._shown == 0)
            self._close(meaning, text, cut=cut and index == len(result.messages) - 1)
        self._result = result
        return result

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
        self._open = None
        self._shown = 0
        self._ended += 1

    # --- what each stream makes of it

    def _start(self, meaning: Meaning) -> None:
        raise NotImplementedError

    def _add(self, meaning: Meaning, delta: str, *, is_first: bool) -> None:
        raise NotImplementedError

    def _end(self, meaning: Meaning, text: str, *, cut: bool) -> None:
        raise NotImplementedError
