"""Feeds one input to a parser in every way there is, and insists that all give the same."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy

import harmony
from harmony import HarmonyError, Message, Role, StreamState, vocabulary

#: ("ok", messages, complete) or ("error", text, code, position, messages before it)
Outcome = tuple[Any, ...]


def outcome(read: Callable[[], tuple[list[Message], bool]]) -> Outcome:
    try:
        return ("ok", *read())
    except HarmonyError as error:
        return "error", str(error), error.code, error.position, error.messages


def every_way(engine: ModuleType, tokens: Sequence[int], role: Role | None = None, seed: int = 0) -> Outcome:
    """What the tokens give: as a whole from every kind of sequence, one by one, and in steps cut at random."""
    encoding = harmony.load_harmony_encoding("HarmonyGptOss")

    def whole(given: Any) -> tuple[list[Message], bool]:
        result = engine.parse(given, role, strict=True)
        check_spans(result, tokens)
        return result.messages, result.complete

    def finish(parser: Any) -> tuple[list[Message], bool]:
        complete = parser.state is StreamState.EXPECT_START
        parser.process_eos()
        assert parser.tokens == list(tokens)
        assert parser.diagnostics == []
        return parser.messages, complete

    def one_by_one() -> tuple[list[Message], bool]:
        parser = engine.StreamableParser(encoding, role)
        text = ""
        for token in tokens:
            finished = len(parser.messages)
            assert parser.process(token) is parser
            text += parser.last_content_delta or ""
            if len(parser.messages) > finished:
                assert text == parser.messages[-1].content[0].text
                text = ""
            else:
                assert text == parser.current_content
        result = finish(parser)
        text += parser.last_content_delta or ""
        assert text == (result[0][-1].content[0].text if text else "")
        return result

    def in_steps() -> tuple[list[Message], bool]:
        parser = engine.StreamableParser(encoding, role)
        cuts = random.Random(seed)
        text, at, finished = "", 0, []
        while at < len(tokens):
            step = cuts.randint(1, 7)
            for segment in parser.process_many(tokens[at : at + step]):
                text += segment.delta
                if segment.message is not None:
                    assert text == segment.message.content[0].text
                    assert segment.channel == segment.message.channel
                    assert segment.recipient == segment.message.recipient
                    assert segment.role == segment.message.author.role
                    finished.append(segment.message)
                    text = ""
                else:
                    assert text == parser.current_content
            at += step
        assert finished == parser.messages
        return finish(parser)

    first = outcome(lambda: whole(list(tokens)))
    ways: list[Callable[[], tuple[list[Message], bool]]] = [lambda: whole(tuple(tokens)), one_by_one, in_steps]
    if all(0 <= token < 1 << 32 for token in tokens):
        buffer = array("I", tokens)
        forms = [buffer, memoryview(buffer), buffer.tobytes(), numpy.array(tokens, "u4"), numpy.array(tokens, "i8")]
        ways += [lambda form=form: whole(form) for form in forms]  # type: ignore[misc]
    for way in ways:
        assert outcome(way) == first
    return first


def check_spans(result: harmony.ParseResult, tokens: Sequence[int]) -> None:
    """The spans are in order, and the tokens that they name decode to the content."""
    before = 0
    assert len(result.spans) == len(result.messages)
    for message, span in zip(result.messages, result.spans, strict=True):
        assert before <= span.start < span.content_start <= span.stop <= len(tokens)
        assert tokens[span.content_start - 1] == vocabulary.MESSAGE
        content = b"".join(map(vocabulary.load().token_bytes, tokens[span.content_start : span.stop]))
        assert message.content[0].text == content.decode(errors="replace")  # type: ignore[attr-defined]
        if span.end is None:
            assert span.stop == len(tokens)
        else:
            assert vocabulary.SPECIAL_TEXTS[tokens[span.stop]] == f"<|{span.end}|>"
        before = span.stop
