"""Rendered text: it is read as its tokens are, by both engines, in whatever width Python holds its characters."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import Role, Span
from harmony.format.vocabulary import SPECIAL_TEXTS, STOPS, special_tokens_in
from helpers.sizes import examples
from helpers.streams import ENCODING, WELL_FORMED, ids
from helpers.texts import TEXTS, messages
from helpers.ways import all_of, outcome

# Python holds a text in one, two or four bytes for each character. Half a character may stand anywhere.
CONTENTS = st.text(max_size=8) | st.sampled_from(
    [
        "",
        "plain " * 20,
        "<|",
        "a <| b",
        "<|end",
        "<|foo|>",
        "été",
        "晴れ<|",
        "🌤<",
        "\ud83c",
        "\udf24 x",
        "\ud83c\udf24",
        "\0",
    ]
)
MARKERS = st.sampled_from(["<|end|>", "<|call|>", "<|return|>", "<|end|>", "<|message|>", "<|reserved_200000|>", ""])
ROLES = st.sampled_from([None, Role.ASSISTANT, *Role])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Messages that are often whole, with contents of every width."""
    pieces = []
    for index in range(draw(st.integers(0, 4))):
        message = draw(messages())
        if draw(st.integers(0, 3)):
            start = draw(st.sampled_from(["", "<|start|>assistant"])) if index == 0 else "<|start|>assistant"
            header = draw(st.sampled_from(["", "<|channel|>final", "<|channel|>commentary to=f.g <|constrain|>json"]))
            message = start + header + "<|message|>" + draw(CONTENTS) + draw(MARKERS)
        pieces.append(message)
    return "".join(pieces)


def read(engine: ModuleType, text: str, role: Role | None, options: dict[str, Any]) -> tuple[Any, ...]:
    return outcome(lambda: all_of(engine.parse_text(text, role, **options)))


@examples(1500)
@given(text=texts() | TEXTS, role=ROLES)
def test_both_engines_read_a_text_alike(text: str, role: Role | None, engines: list[ModuleType]) -> None:
    channel = {"strict": False, "default_channel": "final"}
    for options in ({"strict": True}, {"strict": False}, channel, {"strict": False, "stripped": True}):
        first, *others = [read(engine, text, role, options) for engine in engines for _ in range(2)]
        assert others == [first] * len(others)


@examples(1000)
@given(text=texts() | TEXTS, role=ROLES, strict=st.booleans())
def test_a_text_is_read_as_its_tokens(text: str, role: Role | None, strict: bool, engine: ModuleType) -> None:
    tokens = ids(text)
    if ENCODING.decode(tokens) != text:
        return
    expected = outcome(lambda: all_of(engine.parse(tokens, role, strict=strict)))
    found = read(engine, text, role, {"strict": strict})
    assert found[0] == expected[0]
    if found[0] == "error":
        assert (found[2], found[4]) == (expected[2], expected[4])
    else:
        assert (found[1], found[2], found[5]) == (expected[1], expected[2], expected[5])
        assert sorted(one.code for one in found[3]) == sorted(one.code for one in expected[3])


@examples(500)
@given(tokens=WELL_FORMED, data=st.data())
def test_positions_in_a_text_are_those_of_its_characters(
    tokens: list[int], data: st.DataObject, engine: ModuleType
) -> None:
    text = ENCODING.decode(tokens)
    tokens = ids(text)
    whole = engine.parse(tokens, Role.ASSISTANT, strict=True)
    places = [len(engine.decode_bytes(tokens[:index]).decode(errors="ignore")) for index in range(len(tokens) + 1)]
    moved = [Span(places[s.start], places[s.content_start], places[s.stop], s.end) for s in whole.spans]
    assert engine.parse_text(text, Role.ASSISTANT, strict=data.draw(st.booleans())).spans == moved


@pytest.mark.parametrize("width", ["a", "é", "晴", "🌤"])
def test_every_special_token_is_a_marker_in_every_width(width: str, engines: list[ModuleType]) -> None:
    for token, written in SPECIAL_TEXTS.items():
        content = f"<|message|>{width} <|x|> {written}{width}"
        header = f"<|channel|>final{written}<|message|>{width}"
        for text in (content, header, content + "<|end|><|start|>user" + header):
            for strict in (True, False):
                first, *others = [read(engine, text, Role.ASSISTANT, {"strict": strict}) for engine in engines]
                assert others == [first] * len(others)
        ended = read(engines[-1], f"<|message|>{width}{written}", Role.ASSISTANT, {"strict": True})
        assert ended[0] == ("ok" if token in STOPS else "error")


@pytest.mark.parametrize(
    "almost", ["<|END|>", "<|end_|>", "<|end_1|>", "<|reserved_0|>", "<|reserved_0200000|>", "<|_1|>"]
)
@pytest.mark.parametrize(
    "also", ["<|end |>", "<| end|>", "<|end|", "<|reserved_٢٠٠٠٠٠|>", "<||>", "<|" + "a" * 100 + "|>"]
)
def test_what_spells_no_marker_is_content(almost: str, also: str, engine: ModuleType) -> None:
    assert not [*special_tokens_in(almost + also)]
    content = f"{almost}a{also}<|"
    result = engine.parse_text(f"<|message|>{content}<|end|>", Role.USER, strict=True)
    assert result.messages[0].content[0].text == content
    assert result.spans == [Span(0, len("<|message|>"), len("<|message|>") + len(content), "end")]


def test_a_header_of_any_length_is_read(engine: ModuleType) -> None:
    for length in [*range(180, 260), 5000]:
        name = "x" * length
        for _ in range(2):
            result = engine.parse_text(f"<|start|>user:{name}<|channel|>final<|message|>Hi", None, strict=True)
            assert result.messages[0].author.name == name
            assert not result.complete


def test_more_headers_than_are_remembered(engine: ModuleType) -> None:
    for number in range(5000):
        text = f"<|start|>user:n{number}<|message|>{number}<|end|>"
        (message,) = engine.parse_text(text, None, strict=True).messages
        assert (message.author.name, message.content[0].text) == (f"n{number}", str(number))
