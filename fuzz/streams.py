"""Token streams for tests of parsers: random pieces, and well-formed streams with faults. A seed decides them all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from harmony import HarmonyEncoding, Role, load_harmony_encoding
from harmony.format import vocabulary
from harmony.format.vocabulary import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    FIRST_SPECIAL,
    LAST_TOKEN,
    MESSAGE,
    RETURN,
    START,
    STOPS,
)

T = TypeVar("T")

ENCODING: Final[HarmonyEncoding] = load_harmony_encoding("HarmonyGptOss")
SAMPLES: Final = Path(__file__).parent.parent / "examples" / "completions.jsonl"

#: Integers that are no ids; those that fit into uint32 are among those that buffers can hold.
NO_IDS: Final = [LAST_TOKEN + 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, 1 << 70, -1, -(1 << 63), -(1 << 70)]
MARKERS: Final = [START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN]
_OTHER_SPECIALS: Final = [vocabulary.START_OF_TEXT, vocabulary.END_OF_TEXT, 200_000, 200_013, LAST_TOKEN]
WORDS: Final = [
    *[
        "assistant",
        "user",
        "developer",
        "system",
        "tool",
        "final",
        "analysis",
        "commentary",
        "to=",
        "to",
        "functions.f",
    ],
    *[
        "to=functions.f",
        "to=browser.search",
        "json",
        "code",
        "text",
        "<|constrain|>",
        "<|start|>",
        "<|message|>",
        "<|en",
    ],
    *[
        "d|>",
        "assistantfinal",
        "assistantanalysis",
        "commentaryto=",
        "assistant.",
        "user:alice",
        ":",
        ".",
        "..",
        "=",
        "?",
    ],
    *["{", "}", '"a"', "[1]", '{"a":1}', "Hello", "world", "Sure.", "x", "é", "日本", "🌤", "\u200b", "\u00a0", "\x00"],
]
SPACES: Final = ["", "", "", " ", " ", "  ", "\n", "\t\r\n\f", "\u2003"]
TEXTS: Final = [
    "",
    " ",
    "Hm, the sky.",
    '{"city": "Oslo", "days": [1, 2]}',
    "Blå himmel 🌤 i Oslo, 日本の空。",
    "a<|end|>b <|start|>assistant<|channel|>final<|message|>",
    "final words of the commentary to=functions.f are no header",
    "\n\n\x00\n",
]
#: What may stand between `<|start|>assistant` and `<|message|>`.
HEADERS: Final = [
    "<|channel|>analysis",
    "<|channel|>final",
    "<|channel|>final <|constrain|>json",
    "<|channel|>commentary to=functions.get_weather <|constrain|>json",
    "<|channel|>commentary to=functions.get_weather<|constrain|> json",
    " to=functions.get_weather<|channel|>commentary code",
    " to=browser.search<|channel|>analysis code",
    "<|channel|>commentary functions.get_weather json",
    "",
]
#: One that columns do not remember.
LONG_HEADER: Final = f" to=functions.{'a_long_' * 40}name<|channel|>commentary"
#: What may stand there in place of `assistant`, with what follows it up to the channel.
AUTHORS: Final = ["user", "user:alice", "developer", "system", "functions.get_weather to=assistant"]


def stream(seed: int, number: int, role: Role | None) -> list[int]:
    """One of the streams of a seed: every other one is of pieces, the rest are well formed but for their faults."""
    chance = random.Random(f"{seed} {number}")
    if number % 2:
        return [token for _ in range(chance.randrange(20)) for token in _piece(chance)]
    return with_faults(chance, well_formed(chance, role))


def smallest(items: list[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """Removes items as long as the rest still fails: first many at a time, then few."""
    size = len(items)
    while size:
        place = 0
        while place < len(items):
            shorter = items[:place] + items[place + size :]
            if fails(shorter):
                items = shorter
            else:
                place += size
        size //= 2
    return items


@cache
def encoded(text: str) -> list[int]:
    """The tokens of a text, with its markers as special tokens. Do not change the list."""
    return ENCODING.encode(text, allowed_special="all")


@cache
def partial_tokens() -> list[int]:
    """The tokens that are not valid UTF-8 alone."""
    token_bytes = vocabulary.load().token_bytes
    return [token for token in range(FIRST_SPECIAL) if "\ufffd" in token_bytes(token).decode(errors="replace")]


@cache
def _samples() -> list[list[int]]:
    records = map(json.loads, SAMPLES.read_bytes().splitlines())
    return [record["tokens"] for record in records if "tokens" in record and "role" not in record]


def _piece(chance: random.Random) -> list[int]:
    match chance.randrange(12):
        case 0 | 1 | 2 | 3:
            return [chance.choice(MARKERS)]
        case 4 | 5 | 6 | 7:
            return ENCODING.encode(chance.choice(SPACES) + chance.choice(WORDS), disallowed_special=())
        case 8:
            return encoded(chance.choice(HEADERS))
        case 9:
            return chance.choices(partial_tokens(), k=chance.randint(1, 3))
        case 10:
            return [chance.choice(_OTHER_SPECIALS) if chance.random() < 0.7 else chance.choice(NO_IDS)]
    return [chance.randrange(FIRST_SPECIAL)]


def _content(chance: random.Random) -> list[int]:
    match chance.randrange(4):
        case 0:
            return [chance.randrange(FIRST_SPECIAL) for _ in range(chance.randrange(12))]
        case 1:
            return chance.choices(partial_tokens(), k=chance.randrange(4))
    return ENCODING.encode(chance.choice(TEXTS), disallowed_special=())


def well_formed(chance: random.Random, role: Role | None) -> list[int]:
    """Whole messages, of which the first one lacks the author that is given; some end in an open `<|start|>role`."""
    if role is Role.ASSISTANT and chance.random() < 0.2:
        return list(chance.choice(_samples()))
    tokens: list[int] = []
    for number in range(chance.choice([1, 1, 2, 2, 3, 5])):
        given = number == 0 and role is not None
        author = "" if given else chance.choice(["assistant", "assistant", *AUTHORS])
        calls = author == "assistant" or (given and role is Role.ASSISTANT)
        header = chance.choice([*HEADERS, LONG_HEADER] if calls else ["", "<|channel|>final"])
        tokens += [] if given else [START]
        tokens += [*encoded(author), *encoded(header), MESSAGE, *_content(chance), chance.choice(STOPS)]
    if chance.random() < 0.1:
        tokens += [START, *encoded("assistant")]
    return tokens


def with_faults(chance: random.Random, tokens: list[int]) -> list[int]:
    """The tokens with up to six faults: something put in, left out, doubled, moved, replaced, or cut off."""
    for _ in range(chance.choice([0, 1, 1, 2, 3, 6])):
        start = chance.randint(0, len(tokens))
        stop = start + chance.choice([1, 1, 1, 2, 4])
        run = tokens[start:stop]
        match chance.randrange(7):
            case 0 | 1:
                tokens[start:start] = _piece(chance)
            case 2:
                del tokens[start:stop]
            case 3:
                tokens[start:start] = run
            case 4:
                del tokens[start:stop]
                place = chance.randint(0, len(tokens))
                tokens[place:place] = run
            case 5:
                tokens[start:stop] = _piece(chance)
            case 6:
                tokens = tokens[:start] if chance.random() < 0.7 else tokens[start:]
    return tokens
