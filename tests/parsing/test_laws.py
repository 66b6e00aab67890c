"""The four laws of lenient parsing, over anything at all, in both engines.

It never raises; on the strict language it is strict parsing; no text outside headers is lost; no marker ends up in a
header's fields or in content.
"""

from __future__ import annotations

import re
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import ParseResult, Role
from harmony.format import vocabulary
from harmony.format.header import NOT_IN_NAMES
from harmony.format.vocabulary import (
    CHANNEL,
    CONSTRAIN,
    LAST_TOKEN,
    MESSAGE,
    START,
    STOPS,
    special_tokens_in,
)
from harmony.parsing import parser_py as python_engine
from helpers.sizes import Scale, examples
from helpers.streams import ANYTHING, ENCODING, FRAGMENTS, MARKERS, ids, mutated, plain
from helpers.ways import all_of, every_way, in_order, outcome, strictly


def steps(engine: ModuleType, tokens: list[int], role: Role | None) -> list[tuple[Any, ...]]:
    """What each token, and at last the end, makes known."""
    parser = engine.StreamableParser(ENCODING, role, strict=False)
    known = []
    for token in [*tokens, None]:
        if token is None:
            parser.process_eos()
        else:
            parser.process(token)
        known.append(
            (
                parser.last_content_delta,
                parser.current_content,
                parser.current_channel,
                parser.current_recipient,
                parser.current_role,
                parser.current_content_type,
                parser.state,
                parser.state_data,
                parser.complete,
                parser.diagnostics,
                parser.messages,
            )
        )
    return known


def single(byte: int) -> list[int]:
    """The token of one byte."""
    return list(bytes([byte]).translate(vocabulary.load().byte_ranks))


def check_names(result: ParseResult) -> None:
    for message in result.messages:
        content_type = (message.content_type or "").removeprefix("<|constrain|>")
        for name in (message.author.name, message.recipient, message.channel, content_type):
            assert name is None or not NOT_IN_NAMES.search(name)


def check_that_none_is_lost(pieces: list[str], result: ParseResult) -> None:
    """All pieces of text that stand where no header can are in the contents, in order, each once."""
    contents = "\0".join(message.content[0].text for message in result.messages)  # type: ignore[attr-defined]
    place = 0
    for piece in pieces:
        found = contents.find(piece, place)
        assert found >= 0, (piece, contents)
        place = found + len(piece)


_NO_HEADER = re.compile(r"\s*(?:b(?![\w-]*\.[\w-])|[é🤷<{\x1c])")


def texts_outside(text: str) -> list[str]:
    """The pieces of a text right behind `<|message|>`, which are content; and behind a stop, if they are no header.

    They are none if they begin like this. A name with a dot may be a tool's, and so begin a header.
    """
    marks = [(0, 0, -1), *special_tokens_in(text), (len(text), len(text), -1)]
    return [
        text[stop:start]
        for (_, stop, token), (start, _, _) in pairwise(marks)
        if token == MESSAGE or (token in STOPS and _NO_HEADER.match(text[stop:start]))
    ]


@examples(1500)
@given(tokens=ANYTHING | mutated(), role=st.sampled_from([None, *Role]), seed=st.integers(0, 1 << 32))
def test_the_laws_for_any_ids(tokens: list[int], role: Role | None, seed: int, engines: list[ModuleType]) -> None:
    for engine in engines:
        found = every_way(engine, tokens, role, seed, strict=False)
        assert found[0] == "ok"
        strict = outcome(lambda: strictly(engine, tokens, role))  # noqa: B023
        if strict[0] == "ok":
            assert found == strict
        else:
            assert found[3], "what is refused is repaired, and that is told"
        assert not any("Role." in diagnostic.message for diagnostic in found[3])
    first, *others = [engine.parse(tokens, role, strict=False) for engine in engines]
    check_names(first)
    for engine, other in zip(engines[1:], others, strict=True):
        assert all_of(other) == all_of(first)
        assert steps(engine, tokens, role) == steps(engines[0], tokens, role)


@examples(1500)
@given(
    text=st.one_of(
        st.text(),
        st.lists(st.sampled_from([*FRAGMENTS, *(ENCODING.decode([token]) for token in MARKERS)]), max_size=16).map(
            "".join
        ),
        mutated().map(lambda tokens: ENCODING.decode([token for token in tokens if 0 <= token <= LAST_TOKEN])),
    ),
    role=st.sampled_from([None, *Role]),
)
def test_the_laws_for_any_text(text: str, role: Role | None, engines: list[ModuleType]) -> None:
    result, *others = [engine.parse_text(text, role, strict=False) for engine in engines]
    assert [all_of(other) for other in others] == [all_of(result)] * len(others)
    check_names(result)
    assert not any([*special_tokens_in(message.content[0].text)] for message in result.messages)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    check_that_none_is_lost(texts_outside(whole), result)
    tokens = ids(text)
    if ENCODING.decode(tokens) == text:
        codes = sorted(found.code for found in result.diagnostics)
        for engine in engines:
            read = engine.parse(tokens, role, strict=False)
            assert (read.messages, read.complete, read.next_role) == (
                result.messages,
                result.complete,
                result.next_role,
            )
            assert sorted(found.code for found in read.diagnostics) == codes


@given(text=st.text().map(lambda text: "Well: " + text), role=st.sampled_from([None, *Role]))
def test_a_text_without_markers_is_a_message(text: str, role: Role | None, engine: ModuleType) -> None:
    result = engine.parse_text(text, role, strict=False)
    if not [*special_tokens_in(text)]:
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert [message.content[0].text for message in result.messages] == [whole]
        assert [message.author.role for message in result.messages] == [role or Role.ASSISTANT]


@pytest.mark.parametrize("text", ["今日はとても", "วันนี้เราจะ", "Это слово", "a few words", "\U0001f324" * 3])
def test_a_stream_takes_each_character_as_python_does(text: str, engines: list[ModuleType]) -> None:
    """A character that no name holds may show that a header text is content, also where its bytes are in two tokens."""
    outside = NOT_IN_NAMES.findall("".join(map(chr, range(0x3100))))
    assert len(outside) > 25
    for character in [*outside, "\x1c", "\x7f", "\u3001", "\u2010"]:
        whole = plain(text + character) + plain(text)
        bytewise = [*plain(text), *(token for byte in character.encode() for token in single(byte)), *plain(text)]
        for tokens in (whole, bytewise):
            for prefix in ([], [CHANNEL, *plain("final")], [START]):
                for role in (None, Role.ASSISTANT):
                    first, *others = [steps(engine, [*prefix, *tokens], role) for engine in engines]
                    assert others == [first] * len(others)


PREFIXES = [
    "",
    "<|start|>",
    "<|start|>assistant",
    "<|start|>assistant to=",
    "<|channel|>",
    "<|channel|>final",
    "<|constrain|>",
    "<|message|>",
]
REPEATED = [
    *([token] for token in MARKERS),
    *(plain(text) for text in FRAGMENTS),
    plain("🤷")[:1],
    [-1],
    [CHANNEL, *plain("a")],
    [CHANNEL, *plain("a b c d")],
    [*plain(" to=assistant"), CHANNEL, *plain("final")],
    [200_000, *plain(" ")],
    [MESSAGE, *plain("a")],
    [CONSTRAIN, *plain("json")],
    plain("<|end|"),
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_long_input_of_every_shape(prefix: str, scale: Scale, engine: ModuleType) -> None:
    count = scale(200, 1000 if engine is python_engine else 5000)
    for repeated in REPEATED:
        tokens = ids(prefix) + repeated * (count // len(repeated)) + [MESSAGE]
        parser = engine.StreamableParser(ENCODING, None, strict=False)
        for token in tokens:
            parser.process(token)
        parser.process_eos()
        whole = engine.parse(tokens, None, strict=False)
        assert parser.messages == whole.messages
        assert in_order(parser.diagnostics) == in_order(whole.diagnostics)
        written = engine.parse_text(ENCODING.decode([token for token in tokens if token >= 0]), None, strict=False)
        assert written.complete == whole.complete
