"""Token streams, drawn by Hypothesis or at random: well-formed ones, broken ones, and anything."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from harmony import Role, load_harmony_encoding
from harmony.format import vocabulary
from harmony.format.vocabulary import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    END_OF_TEXT,
    FIRST_SPECIAL,
    LAST_TOKEN,
    MESSAGE,
    RETURN,
    START,
)

ENCODING = load_harmony_encoding("HarmonyGptOss")


def ids(text: str) -> list[int]:
    return ENCODING.encode(text, allowed_special="all")


def plain(text: str) -> list[int]:
    return ENCODING.encode(text, disallowed_special=())


FRAGMENTS = [
    *["assistant", "user", "tool", "system", "final", "analysis", "commentary", "assistantfinal", "commentaryto="],
    *[
        " to=",
        "to=",
        " to=functions.f",
        "functions.f",
        " json",
        "json",
        " code",
        " Hello",
        " world",
        "b",
        "=",
        ".",
        ":x",
    ],
    *[
        "{",
        '{"a": 1}',
        '"',
        " ",
        "\n",
        "\x0b",
        "\x1c",
        "\u00a0",
        "\u200b",
        "é",
        "🤷",
        "<",
        "<|",
        "en",
        "json.",
        "a" * 40,
        "d|>",
    ],
]
MARKERS = [START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN, END_OF_TEXT, 200_000, 199_998]
PIECES = st.one_of(
    st.sampled_from(MARKERS).map(lambda token: [token]),
    st.sampled_from(FRAGMENTS).map(plain),
    st.integers(0, FIRST_SPECIAL - 1).map(lambda token: [token]),
    st.sampled_from([-1, LAST_TOKEN + 1, 1 << 40, -(1 << 70)]).map(lambda token: [token]),
)
ANYTHING = st.lists(PIECES, max_size=16).map(lambda pieces: [token for piece in pieces for token in piece])
WELL_FORMED = st.lists(
    st.sampled_from(
        [
            "<|channel|>analysis<|message|>Hm, the sky.<|end|>",
            '<|channel|>commentary to=functions.sky <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
            ' to=functions.sky<|channel|>commentary json<|message|>{"city": "Oslo"}<|call|>',
            "<|channel|>final<|message|>Blue 🌤 all day.<|return|>",
            "<|message|><|end|>",
        ]
    ),
    min_size=1,
    max_size=4,
).map(lambda messages: ids("<|start|>assistant".join(messages)))


@st.composite
def mutated(draw: st.DrawFn) -> list[int]:
    """A well-formed completion in which some tokens are doubled, dropped, swapped or replaced."""
    tokens = list(draw(WELL_FORMED))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(tokens)))
        match draw(st.sampled_from(["insert", "drop", "double", "swap"])):
            case "insert":
                tokens[place:place] = draw(PIECES)
            case "drop":
                del tokens[place : place + 1]
            case "double":
                tokens[place:place] = tokens[place : place + 1]
            case "swap":
                tokens[place : place + 2] = tokens[place : place + 2][::-1]
    return tokens


def joined(streams: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """The tokens of all streams, and the offsets."""
    offsets = [0]
    for tokens in streams:
        offsets.append(offsets[-1] + len(tokens))
    return [token for tokens in streams for token in tokens], offsets


TOKEN_BYTES = [vocabulary.load().token_bytes(token) for token in range(FIRST_SPECIAL)]
LONG_TOKENS = [token for token, text in enumerate(TOKEN_BYTES) if len(text) > 15]
PARTS = [
    token
    for token, text in enumerate(TOKEN_BYTES)
    if not text.isascii() and "\ufffd" in text.decode("utf-8", "replace")
]
HEADERS = [
    ids(text)
    for text in (
        "<|channel|>analysis",
        "<|channel|>final",
        "<|channel|>commentary to=functions.get_weather <|constrain|>json",
        " to=functions.get_weather<|channel|>commentary code",
        " to=browser.search<|channel|>analysis code",
        "<|channel|>final <|constrain|>json",
        "",
        f" to=functions.{'an_uncommonly_' * 30}long_name<|channel|>commentary",
    )
]
AUTHORS = [ids(text) for text in ("assistant", "user", "developer", "system", "functions.get_weather to=assistant")]
ODD = [0xFFFFFFFF, 1 << 31, LAST_TOKEN, LAST_TOKEN + 1, vocabulary.END_OF_TEXT, 200_000, START, CHANNEL, CONSTRAIN]


def content(chance: random.Random) -> list[int]:
    match chance.randrange(5):
        case 0:
            return []
        case 1:
            return chance.choices(PARTS, k=chance.randrange(6))
        case 2:
            return chance.choices(LONG_TOKENS, k=chance.randrange(40))
        case 3:
            return ids(
                chance.choice(['{"city": "Oslo", "days": 2}', "Hm, the sky.", "Grün 🌤 日本", "a<|en", "\n\n\0\n"])
            )
    return [chance.randrange(FIRST_SPECIAL) for _ in range(chance.randrange(30))]


def stream(chance: random.Random, role: Role | None) -> list[int]:
    """A completion of a few messages, well-formed; half of them with a few tokens wrong, a quarter cut off."""
    tokens: list[int] = []
    for number in range(chance.choice([0, 1, 1, 2, 2, 3, 5])):
        if number or role is None:
            tokens += [START, *chance.choice(AUTHORS[:1] if number == 0 else AUTHORS)]
        tokens += [*chance.choice(HEADERS), MESSAGE, *content(chance), chance.choice([END, CALL, RETURN])]
    if chance.random() < 0.2:
        tokens += [START, *chance.choice([*AUTHORS, [], HEADERS[-1]])]
    if chance.random() < 0.25:
        del tokens[chance.randint(0, len(tokens)) :]
    for _ in range(chance.choice([0, 0, 0, 1, 2, 4])):
        place = chance.randint(0, len(tokens))
        match chance.randrange(4):
            case 0:
                tokens.insert(place, chance.choice([*ODD, MESSAGE, END, RETURN, chance.randrange(1 << 32)]))
            case 1:
                del tokens[place : place + 1]
            case 2:
                tokens[place:place] = tokens[place : place + 1]
            case 3:
                tokens[place : place + 2] = tokens[place : place + 2][::-1]
    return tokens
