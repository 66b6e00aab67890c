"""The words of a header: what each means, what is wrong with it and where, however it is cut into tokens."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import HarmonyEncoding, HarmonyError, Role, load_harmony_encoding
from harmony.errors import TABLE, Fault, code_of
from harmony.format import vocabulary
from harmony.format.header import Header, read_header
from helpers.headers import BAD, GOOD
from helpers.sizes import examples


def read(text: str, encoding: HarmonyEncoding, spelling: int) -> Header:
    """Reads a header by the real tokens of its text, by one token a byte, or by tokens cut elsewhere."""
    given = None if text.startswith("<|start|>") else Role.ASSISTANT
    tokens: list[int] = []
    at = 0
    for start, stop, token in [*vocabulary.special_tokens_in(text), (len(text), len(text), -1)]:
        for piece in (text[at:start][:spelling], text[at:start][spelling:]):
            tokens += (
                piece.encode().translate(vocabulary.load().byte_ranks) if spelling == 0 else encoding.encode(piece)
            )
        tokens.append(token)
        at = stop
    return read_header(tokens[1 if given is None else 0 : -1], given)


@pytest.mark.parametrize("spelling", [0, 1, 3, 99])
@pytest.mark.parametrize(("text", "expected"), GOOD, ids=[text for text, _ in GOOD])
def test_good_headers(text: str, expected: tuple[str | None, ...], spelling: int, encoding: HarmonyEncoding) -> None:
    header = read(text, encoding, spelling)
    assert (header.role, header.name, header.recipient, header.channel, header.content_type) == expected
    message = header.message("text")
    assert (message.author.role, message.author.name, message.channel) == (header.role, header.name, header.channel)
    assert header.message("text") == message
    assert header.message("text").author is not message.author


@pytest.mark.parametrize(("text", "code", "offset"), BAD, ids=[text for text, _, _ in BAD])
def test_bad_headers(text: str, code: str, offset: int, encoding: HarmonyEncoding) -> None:
    role = None if text.startswith("<|start|>") else "assistant"
    with pytest.raises(HarmonyError) as caught:
        encoding.parse_text(text + "<|message|>x<|end|>", role)
    assert (caught.value.code, caught.value.position) == (code, offset)
    with pytest.raises(HarmonyError) as as_tokens:
        encoding.parse(encoding.encode(text + "<|message|>x<|end|>", allowed_special="all"), role)
    assert (as_tokens.value.code, as_tokens.value.args) == (code, caught.value.args)


def test_every_code_of_a_header_is_tried() -> None:
    markers = {
        "invalid-token",
        "invalid-utf-8",
        "disallowed-special",
        "cannot-encode",
        "expected-start",
        "truncated-header",
    }
    elsewhere = {"unexpected-in-header", "unexpected-in-content", "header-not-utf-8"}
    assert set(map(code_of, TABLE["text"] | TABLE["strict"])) == {code for _, code, _ in BAD} | markers | elsewhere


def test_programmes_find_the_words_that_they_match_on(encoding: HarmonyEncoding) -> None:
    for text, code, _ in BAD:
        if not code.startswith("missing") and code != "unknown-role":
            with pytest.raises(HarmonyError, match="unexpected tokens remaining in message header"):
                encoding.parse_text(text + "<|message|>", None if text.startswith("<|start|>") else "assistant")
    with pytest.raises(HarmonyError, match="Unknown role: `lookup`"):
        encoding.parse_text("<|start|>lookup<|message|>")


def test_which_characters_a_name_may_hold(encoding: HarmonyEncoding) -> None:
    space = {chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()} - set("\x1c\x1d\x1e\x1f")
    assert len(space) == 25  # Unicode's White_Space
    separators = set(" \t\n\f\r")
    for character in space | set('<>{}"\u200b\x1c\x1fé') | {"\u200c", "\u2060", "\ufeff"}:
        text = f"<|start|>assistant to=f{character}g json<|message|>"
        if character in separators or character in space | set('<>{}"\u200b'):
            with pytest.raises(HarmonyError):
                encoding.parse_text(text)
        else:
            assert encoding.parse_text(text).messages[0].recipient == f"f{character}g"


def test_bytes_that_are_not_utf_8_in_a_header(encoding: HarmonyEncoding) -> None:
    half = encoding.encode("🤷")[0]
    with pytest.raises(HarmonyError, match="found the byte 0xf0 at token 3") as caught:
        encoding.parse([200006, 173781, 316, half, 200008])
    assert caught.value.code == "header-not-utf-8"
    with pytest.raises(HarmonyError, match="found the end of the input"):
        encoding.parse([200006, half])


WORDS = st.lists(
    st.sampled_from(
        [
            "assistant",
            "user",
            ":bob",
            " ",
            "\n",
            "to=",
            "functions.f",
            "json",
            "code",
            "final",
            "x",
            ".",
            "日",
            "<",
            "\u00a0",
        ]
    ),
    max_size=6,
).map("".join)


@examples(3000)
@given(
    start=st.sampled_from(["", "<|start|>"]),
    author=WORDS,
    channel=st.none() | WORDS,
    content_type=st.none() | WORDS,
    spelling=st.integers(1, 9),
)
def test_what_is_read_does_not_depend_on_how_text_is_cut(
    start: str, author: str, channel: str | None, content_type: str | None, spelling: int
) -> None:
    text = start + author
    text += "" if channel is None else "<|channel|>" + channel
    text += "" if content_type is None else "<|constrain|>" + content_type
    outcomes = []
    for way in (0, spelling, 99):
        try:
            header = read(text, load_harmony_encoding("HarmonyGptOss"), way)
            outcomes.append((header.role, header.name, header.recipient, header.channel, header.content_type))
        except Fault as fault:
            outcomes.append((fault.code, fault.sentence))
    assert outcomes[0] == outcomes[1] == outcomes[2]
