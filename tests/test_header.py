"""The words of a header: what each means, what is wrong with it and where, however it is cut into tokens."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony import HarmonyEncoding, HarmonyError, Role, load_harmony_encoding
from harmony.errors import TABLE, Fault
from harmony.format import vocabulary
from harmony.format.header import Header, read_header

GOOD = [
    # author
    ("<|start|>user", ("user", None, None, None, None)),
    ("<|start|>system", ("system", None, None, None, None)),
    ("<|start|>user:alice", ("user", "alice", None, None, None)),
    ("<|start|>assistant:a:b.c", ("assistant", "a:b.c", None, None, None)),
    ("<|start|>functions.f", ("tool", "functions.f", None, None, None)),
    ("<|start|>lookup to=assistant", ("tool", "lookup", "assistant", None, None)),
    ("<|start|>lookup<|channel|>commentary to=assistant", ("tool", "lookup", "assistant", "commentary", None)),
    ("<|start|>lookup functions.f", ("tool", "lookup", "functions.f", None, None)),
    ("<|start|>tool", ("tool", "tool", None, None, None)),
    ("<|start|>user: to=x", ("tool", "user:", "x", None, None)),
    ("<|start|> \t\n\f\r assistant \t<|channel|>final \n", ("assistant", None, None, "final", None)),
    # recipient, before the channel and after it
    ("<|start|>assistant to=f<|channel|>c", ("assistant", None, "f", "c", None)),
    ("<|start|>assistant<|channel|>c to=f", ("assistant", None, "f", "c", None)),
    ("<|start|>assistant<|channel|>c functions.f", ("assistant", None, "functions.f", "c", None)),
    ("<|start|>assistant functions.f<|channel|>c", ("assistant", None, "functions.f", "c", None)),
    # content type
    ("<|start|>assistant json", ("assistant", None, None, None, "json")),
    ("<|start|>assistant<|channel|>analysis code", ("assistant", None, None, "analysis", "code")),
    ("<|start|>assistant<|channel|>c to=f bash", ("assistant", None, "f", "c", "bash")),
    ("<|start|>assistant to=f<|channel|>c bash", ("assistant", None, "f", "c", "bash")),
    ("<|start|>assistant<|channel|>c functions.f bash", ("assistant", None, "functions.f", "c", "bash")),
    ("<|start|>assistant<|channel|>c<|constrain|>x", ("assistant", None, None, "c", "<|constrain|>x")),
    ("<|start|>assistant<|channel|>c <|constrain|>\r\n x \t", ("assistant", None, None, "c", "<|constrain|>x")),
    ("<|start|>assistant<|constrain|>json", ("assistant", None, None, None, "<|constrain|>json")),
    # names
    ("<|start|>assistant to=日本.x/-_=:<|channel|>übung\x1c", ("assistant", None, "日本.x/-_=:", "übung\x1c", None)),
    ("<|start|>assistant<|channel|>finalto=f", ("assistant", None, None, "finalto=f", None)),
    # the caller gave the role
    ("", ("assistant", None, None, None, None)),
    (" ", ("assistant", None, None, None, None)),
    ("assistant", ("assistant", None, None, None, None)),
    (" assistant to=f", ("assistant", None, "f", None, None)),
    (" to=f<|channel|>c", ("assistant", None, "f", "c", None)),
    ("to=f", ("assistant", None, "f", None, None)),
    ("functions.f", ("assistant", None, "functions.f", None, None)),
    ("json", ("assistant", None, None, None, "json")),
]
# The offset is that of the character where the fault is.
BAD = [
    ("<|start|>", "missing-author", 9),
    ("<|start|>  ", "missing-author", 11),
    ("<|start|><|channel|>final", "missing-author", 9),
    ("<|start|> to=f", "missing-author", 10),
    ("<|start|>lookup", "unknown-role", 9),
    ("<|start|> lookup<|channel|>commentary <|constrain|>json", "unknown-role", 10),
    ("<|start|>user:", "unknown-role", 9),
    ("<|start|>tool:x", "unknown-role", 9),
    ("<|start|>Assistant", "unknown-role", 9),
    ("<|start|>assistant assistant", "unexpected-word", 19),
    ("<|start|>assistant<|channel|>", "missing-channel", 29),
    ("<|start|>assistant<|channel|> final", "missing-channel", 29),
    ("<|start|>assistant<|channel|>to=f", "missing-channel", 29),
    ("<|start|>assistant<|channel|><|constrain|>json", "missing-channel", 29),
    ("<|start|>assistant to=", "missing-recipient", 19),
    ("<|start|>assistant to= f", "missing-recipient", 19),
    ("<|start|>assistant to=f to=g", "second-recipient", 24),
    ("<|start|>assistant to=f<|channel|>c to=g", "second-recipient", 36),
    ("<|start|>assistant to=f functions.g", "dotted-content-type", 24),
    ("<|start|>assistant<|channel|>final analysis", "unexpected-word", 35),
    ("<|start|>assistant<|channel|>final {x", "unexpected-word", 35),
    ("<|start|>assistant json<|channel|>final", "after-content-type", 23),
    ("<|start|>assistant json to=f", "after-content-type", 24),
    ("<|start|>assistant json<|constrain|>json", "after-content-type", 23),
    ("<|start|>assistant to=f<|constrain|>json x", "after-content-type", 41),
    ("<|start|>assistant<|constrain|>", "missing-content-type", 31),
    ("<|start|>assistant<|constrain|>to=f", "missing-content-type", 31),
    ("<|start|>assistant<|constrain|>a.b", "dotted-content-type", 31),
    ("<|start|>assistant to=f\u00a0g", "invalid-name", 23),
    ("<|start|>assistant to=日本\u200b", "invalid-name", 24),
    ("<|start|>assistant to=f a<b", "invalid-name", 25),
    ("<|start|>us\x0ber", "invalid-name", 11),
    ('<|start|>assistant<|channel|>fi"nal', "invalid-name", 31),
    ("assistant assistant", "unexpected-word", 10),
    ("user", "unexpected-word", 0),
    ("<|channel|>final assistant", "unexpected-word", 17),
]


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
    assert set(TABLE["text"] | TABLE["strict"]) == {code for _, code, _ in BAD} | markers | elsewhere


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


@settings(max_examples=3000)
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
