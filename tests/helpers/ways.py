"""Feeds one input to a parser in every way there is, and insists that all give the same."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy

import harmony
from harmony import Diagnostic, HarmonyError, Message, Role, StreamState
from harmony.errors import TABLE
from harmony.format import vocabulary
from harmony.format.vocabulary import STOPS

#: ("ok", messages, complete, diagnostics) or ("error", text, code, position, messages before it)
Outcome = tuple[Any, ...]


#: What parsing gives: messages, complete, diagnostics.
Read = tuple[list[Message], bool, list[Diagnostic]]


def outcome(read: Callable[[], tuple[Any, ...]]) -> Outcome:
    try:
        return ("ok", *read())
    except HarmonyError as error:
        return "error", str(error), error.code, error.position, error.messages


def all_of(result: harmony.ParseResult) -> tuple[Any, ...]:
    return result.messages, result.complete, result.diagnostics, result.spans, result.next_role, result.token_count


def strictly(engine: ModuleType, tokens: Sequence[int], role: Role | None) -> Read:
    result = engine.parse(tokens, role, strict=True)
    return result.messages, result.complete, result.diagnostics


def every_way(
    engine: ModuleType, tokens: Sequence[int], role: Role | None = None, seed: int = 0, *, strict: bool = True
) -> Outcome:
    """What the tokens give: as a whole from every kind of sequence, one by one, and in steps cut at random."""
    encoding = harmony.load_harmony_encoding("HarmonyGptOss")

    def whole(given: Any) -> Read:
        result = engine.parse(given, role, strict=strict)
        check_spans(result, tokens, strict=strict)
        assert result.token_count == len(tokens)
        assert result.diagnostics == sorted(result.diagnostics, key=lambda found: found.position)
        return result.messages, result.complete, in_order(result.diagnostics)

    def finish(parser: Any) -> Read:
        complete = parser.complete
        lost = any(found.code == "interrupted-header" for found in parser.diagnostics)  # perhaps a call
        assert complete == (parser.state is StreamState.EXPECT_START) or (lost and not complete)
        parser.process_eos()
        if parser.complete != complete:  # text was held back that was only white space
            assert not strict
            assert parser.complete
        assert parser.tokens == list(tokens)
        return parser.messages, parser.complete, in_order(parser.diagnostics)

    def one_by_one() -> Read:
        parser = engine.StreamableParser(encoding, role, strict=strict)
        text, headers = "", set()
        for token in tokens:
            finished = len(parser.messages)
            assert parser.process(token) is parser
            if parser.last_content_delta is not None:
                text += parser.last_content_delta
                headers.add(current_header(parser))
            if len(parser.messages) > finished:
                assert text == parser.messages[-1].content[0].text
                assert headers <= {header_of(parser.messages[-1])}
                text, headers = "", set()
            else:
                assert text == parser.current_content
        result = finish(parser)
        if parser.last_content_delta is not None:
            text += parser.last_content_delta
            headers.add(current_header(parser))
        assert text == (result[0][-1].content[0].text if text else "")
        assert headers <= {header_of(message) for message in result[0][-1:]}
        return result

    def in_steps() -> Read:
        parser = engine.StreamableParser(encoding, role, strict=strict)
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
    ways: list[Callable[[], Read]] = [lambda: whole(tuple(tokens)), one_by_one, in_steps]
    if all(0 <= token < 1 << 32 for token in tokens):
        buffer = array("I", tokens)
        forms = [buffer, memoryview(buffer), buffer.tobytes(), numpy.array(tokens, "u4"), numpy.array(tokens, "i8")]
        ways += [lambda form=form: whole(form) for form in forms]  # type: ignore[misc]
    for way in ways:
        found = outcome(way)
        expected = of_stream(first, tokens) if way in (one_by_one, in_steps) else first
        assert found == expected, f"{way}\n{found}\n{expected}"
    return first


def current_header(parser: Any) -> tuple[Any, ...]:
    return parser.current_role, parser.current_channel, parser.current_recipient, parser.current_content_type


def header_of(message: Message) -> tuple[Any, ...]:
    return message.author.role, message.channel, message.recipient, message.content_type


def of_stream(whole: Outcome, tokens: Sequence[int]) -> Outcome:
    """What a stream of the tokens gives. Of a last stop, inside a header, its end tells in other words."""
    if whole[0] == "error" and whole[2:4] == ("unexpected-in-header", len(tokens) - 1) and tokens[-1] in STOPS:
        before, after = (TABLE["strict"][key].split("{")[0] for key in (whole[2], f"{whole[2]}/at-end"))
        return "error", whole[1].replace(before, after), *whole[2:]
    return whole


def in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Those of a stream stand in the order in which they were found, which depends on how the stream was cut."""
    return sorted(diagnostics, key=lambda found: (found.position, found.code, found.message))


def check_spans(result: harmony.ParseResult, tokens: Sequence[int], *, strict: bool) -> None:
    """The spans are in order, and the tokens that they name decode to the content; where they were legal, exactly."""
    before = 0
    assert len(result.spans) == len(result.messages)
    for message, span in zip(result.messages, result.spans, strict=True):
        assert before <= span.start <= span.content_start <= span.stop <= len(tokens)
        before = span.stop
        if not strict and result.diagnostics:
            content = b"".join(
                vocabulary.load().token_bytes(token) if 0 <= token < vocabulary.FIRST_SPECIAL else b"\xef\xbf\xbd"
                for token in tokens[span.content_start : span.stop]
                if not vocabulary.FIRST_SPECIAL <= token <= vocabulary.LAST_TOKEN
            )
            text = content.decode(errors="replace")
            read = message.content[0].text.replace("\ufffd", "")  # type: ignore[attr-defined]
            spanned = text.replace("\ufffd", "")
            assert spanned.endswith(read)
            if len(spanned) > len(read) > 0:  # a token holds the end of the header too, for `<|message|>` is missing
                assert tokens[span.content_start - 1] != vocabulary.MESSAGE
            continue
        assert tokens[span.content_start - 1] == vocabulary.MESSAGE
        content = b"".join(map(vocabulary.load().token_bytes, tokens[span.content_start : span.stop]))
        assert message.content[0].text == content.decode(errors="replace")  # type: ignore[attr-defined]
        if span.end is None:
            assert span.stop == len(tokens)
        else:
            assert vocabulary.SPECIAL_TEXTS[tokens[span.stop]] == f"<|{span.end}|>"
