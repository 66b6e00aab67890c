"""One fault, one code and one place: `validate` names every fault as strict parsing does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.codes import STARTS, by_strict_parsing, check, check_all
from harmony import HarmonyEncoding, HarmonyError, validate
from harmony.errors import TABLE, code_of
from harmony.format import vocabulary
from harmony.format.vocabulary import CHANNEL, CONSTRAIN, MESSAGE, START, STOPS
from helpers.sizes import Scale, examples


def test_every_short_sequence_and_header(encoding: HarmonyEncoding, scale: Scale) -> None:
    codes = check_all(encoding, *scale((3, 2), (5, 3)))
    # Of the others the inputs show nothing: an id of no token, and bytes that are no UTF-8.
    assert set(codes) == set(map(code_of, TABLE["strict"] | TABLE["validate"])) - {"header-not-utf-8"}


PIECES = st.sampled_from(
    [
        *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"),
        *("<|endoftext|>", "<|reserved_200000|>", "<|start|>user<|message|>Hi<|end|>", "<|start|>assistant"),
        *("assistant", "user", "tool", "user:al", "wizard", "f.g", "to=", "to=f.g", "to=x", "json", "final", "foo."),
        *(
            " ",
            "\n",
            "\v",
            "\u00a0",
            "\u200b",
            "{",
            '"',
            "<",
            "<|",
            "é",
            "日本",
            "😀",
            "\ud83d\ude00",
            "\ud800",
            ".",
            ":",
        ),
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)
IDS = st.integers(0, vocabulary.LAST_TOKEN) | st.sampled_from([START, CHANNEL, CONSTRAIN, MESSAGE, *STOPS])
ANY_IDS = IDS | st.integers(-5, 1 << 40)


@examples(5000, quick=300)
@given(text=TEXTS, start=st.sampled_from(STARTS))
def test_any_text(text: str, start: Any, encoding: HarmonyEncoding) -> None:
    check(encoding, text, start)


@examples(5000, quick=300)
@given(data=st.data(), start=st.sampled_from(STARTS))
def test_any_tokens(data: st.DataObject, start: Any, encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode(data.draw(TEXTS), allowed_special="all")
    if data.draw(st.booleans()):  # the same text in other tokens
        ranks = vocabulary.load().byte_ranks
        token_bytes = vocabulary.load().token_bytes
        spelled = [[t] if t >= vocabulary.FIRST_SPECIAL else list(token_bytes(t).translate(ranks)) for t in tokens]
        tokens = [token for piece in spelled for token in piece]
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(tokens)))
        tokens[place : place + data.draw(st.integers(0, 1))] = data.draw(st.lists(ANY_IDS, max_size=1))
    check(encoding, tokens, start)


@pytest.mark.parametrize(
    ("text", "start", "named"),
    [
        ("<|start|>wizard<|message|>Hi<|end|>", "conversation", [("unknown-role", 9)]),
        ("<|start|>user<|message|>Hi", "conversation", [("truncated-content", 26)]),
        ("<|start|>user<|message|>Hi<|end|>", "prompt", [("missing-turn", 33)]),
        ("<|start|>user", "conversation", [("truncated-header", 13)]),
        ("", "completion", [("truncated-header", 0)]),
        ("<|start|>user<|channel|>", "prompt", [("truncated-header", 24)]),
        (
            "<|start|>a b<|message|><|end|>x<|start|>user<|message|>1<|start|>b<|message|>",
            "conversation",
            [("unexpected-word", 11), ("unexpected-in-content", 56), ("unknown-role", 65)],
        ),
    ],
)
def test_examples(text: str, start: Any, named: list[tuple[str, int]], encoding: HarmonyEncoding) -> None:
    assert check(encoding, text, start) == by_strict_parsing(encoding, text, start) == named


def test_what_the_grammar_adds(encoding: HarmonyEncoding) -> None:
    """Strict parsing says what is wrong; `validate` says beside it all that could stand there."""
    text = "<|start|>assistant to=f.a to=f.b<|message|>{}<|call|>"
    with pytest.raises(HarmonyError) as error:
        encoding.parse_text(text)
    for form in (text, encoding.encode(text, allowed_special="all")):
        (found,) = validate(form)
        assert found.message == (
            f"{error.value.args[0]}; here the grammar accepts a content type, `<|channel|>`, `<|constrain|>` or "
            "`<|message|>`"
        )
    # Strict parsing knows which kinds of tokens may stand at a place, and the grammar which words.
    text = "<|start|>assistant to=f.a<|channel|>final<|channel|>final<|message|>{}<|call|>"
    for form in (text, encoding.encode(text, allowed_special="all")):
        (found,) = validate(form)
        assert found.message == (
            "unexpected tokens remaining in message header: expected a content type, `<|constrain|>` or `<|message|>`, "
            "found `<|channel|>`"
        )


def test_a_place_that_the_grammar_does_not_come_to() -> None:
    """An earlier word is wrong too, but strict parsing reads the words of a header only when it is whole."""
    (found,) = validate("<|start|>user x<|end|>")
    assert found.position == 15
    assert found.message.startswith("unexpected tokens remaining in message header: expected text, `<|channel|>`")


def test_large_headers_and_many_faults(encoding: HarmonyEncoding) -> None:
    size = 250_000
    for text, code in (
        ("<|start|>" + "x" * 4 * size, "truncated-header"),
        ("<|start|>" + "x " * 2 * size + "<|message|>", "unexpected-word"),
        ("<|start|>" + "x.x" * size + "<|message|><|end|>" + "{", "expected-start"),
        ("<|start|>user " + " " * 4 * size + "{<|message|>", "unexpected-word"),
        ("<|start|>user to=" + "x" * 4 * size + "{<|message|>", "invalid-name"),
        ("<|start|>nobody<|message|>1<|end|>" * (size // 100), "unknown-role"),
        ("<|start|>user<|message|>" + "x" * 4 * size + "<|start|>", "unexpected-in-content"),
    ):
        assert validate(text)[0].code == code
        assert validate(encoding.encode(text[: size // 10], allowed_special="all")) != []
