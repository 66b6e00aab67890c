"""Inputs for `oracle.py`: enumerated sequences of pieces, mutated streams, and pieces at random.

All are strings of `marked.py`. A seed gives the same inputs each time, and the next seed goes on with the enumerations.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.marked import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MARKS,
    MESSAGE,
    NO_TOKEN,
    RETURN,
    START,
    from_text,
    from_tokens,
    mark,
    to_tokens,
)
from harmony.format import vocabulary

ROLES: Final = (None, "assistant", "user", "tool")

#: Whole items of headers. All sequences of up to four of them are headers of the enumeration.
ITEMS: Final = (
    " ",
    "assistant",
    " assistant",
    " tool",
    " lookup",
    " functions.f",
    " to=functions.f",
    " to=assistant",
    " to=",
    " json",
    f"{CHANNEL}final",
    CHANNEL,
    f"{CONSTRAIN}json",
    CONSTRAIN,
    f"{CONSTRAIN} code",
)
#: And of whole inputs, up to five of them.
STEPS: Final = (
    START,
    "assistant",
    " to=functions.f",
    "final",
    CHANNEL,
    CONSTRAIN,
    MESSAGE,
    END,
    CALL,
    RETURN,
    mark(200_013),
)

#: What else stands in headers: names, and characters that no name holds.
ODD: Final = (
    *("user", "developer:x", "user:alice", "user:", "assistant:", "system:a.b", "tool:x", "assistantassistant"),
    *("to=a.b", "to=all", "to=to=x", "to=x:y", "to=f.", "to=.f", "to", "=", "to=日本", "functions.", ".f", "..."),
    *("Sure.", "assistant.", "commentaryto=functions.f", "commentary?", "Kanal-7", "分析", "a.b.c", "a..b", "x" * 70),
    *("code", "text", "markdown", "csv", "jsonl", "JSON", "sh", "42", "-", "analysis", "commentary"),
    *("\u00a0", "\u200b", "\v", "\u0085", "\u2028", "\u3000", "\u001c", "\ufeff", "\t", "\n", "\r\n", "\f", "  "),
    *("{", "}", "<", ">", '"', '{"a": 1}', "a<b", "|", "<|", "\udcff", "\udce2\udc82", "\udcac", "é", "👋", "\0"),
    *("<|channel|>final", "<|constrain|>json", "<|end|>", "<|start|>", "<|message|>", "<|foo|>"),
)
#: Every special token that has a place in the format, two that have none, and an id that is no token.
MARKERS: Final = (
    *(START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN, mark(200_013), NO_TOKEN),
    *map(mark, (vocabulary.START_OF_TEXT, vocabulary.END_OF_TEXT, vocabulary.LAST_TOKEN)),
)
CONTENTS: Final = (
    *("", "Hi", " ", '{"a": 1}', "日本 👋", "<|end|>", "\n\n", "\ufffd"),
    *("\udce2\udc82", "a\udcff\udcffb", "\udcf0\udc9f"),
)

_ATOMS: Final = re.compile(rf"[{MARKS}]|[ \t\n\f\r]+|to=|[\w.:-]+|[^{MARKS}]")
_CASES: Final = Path(__file__).parent.parent / "tests" / "data" / "completions.jsonl"


class Input(NamedTuple):
    """What is parsed: as a string of `marked.py`, as token ids, and with which role."""

    marked: str
    tokens: list[int]
    role: str | None


def inputs(seed: int, count: int) -> Iterator[Input]:
    """As many inputs as `count` says."""
    rng = random.Random(seed)
    cases = [from_text(json.loads(line)["text"]) for line in _CASES.read_bytes().splitlines()]
    for number in range(count):
        role = rng.choice(ROLES)
        at = (seed * count + number) // 5
        match number % 5:
            case 0:
                tokens = to_tokens(message("".join(numbered(ITEMS, at)), rng), rng)
            case 1:
                tokens = to_tokens("".join(numbered(STEPS, at)), rng)
            case 2:
                tokens = to_tokens(mutated(rng.choice(cases) if rng.random() < 0.5 else stream(rng), rng), rng)
            case 3:
                pieces = (rng.choice(rng.choice((ITEMS, ODD, MARKERS))) for _ in range(rng.randint(0, 12)))
                tokens = to_tokens("".join(pieces), rng)
            case _:
                opening = f"{START}user{MESSAGE}" if role is None else MESSAGE
                tokens = [*to_tokens(opening), *ranks(rng), vocabulary.END]
        yield Input(from_tokens(tokens), tokens, role)  # by way of the ids, for bytes may have become a character


def numbered(pieces: Sequence[str], number: int) -> list[str]:
    """The sequence of pieces with this number: the shorter ones come first, and each sequence has one number."""
    chosen = []
    while number > 0:
        number, which = divmod(number - 1, len(pieces))
        chosen.append(pieces[which])
    return chosen


def message(header: str, rng: random.Random) -> str:
    """A header as that of a message: with a `<|start|>` or without, behind another message or not."""
    before = rng.choice(("", "", START, START, f"{MESSAGE}Hi{END}{START}", f"{START}user{MESSAGE}Hi{END}{START}"))
    return f"{before}{header}{MESSAGE}{rng.choice(CONTENTS)}{rng.choice((END, CALL, RETURN, ''))}"


def stream(rng: random.Random) -> str:
    """A few messages, most of them well-formed; their names may be odd."""
    return "".join(message(header(rng), rng) for _ in range(rng.randint(1, 3)))


def header(rng: random.Random) -> str:
    def word(*usual: str) -> str:
        return rng.choice(usual) if rng.random() < 0.8 else rng.choice(ODD)

    recipient = f" to={word('functions.f', 'assistant', 'python')}"
    items = [
        word("assistant", "user", "functions.f", "lookup", "tool", ""),
        rng.choice(("", recipient)),
        rng.choice(("", CHANNEL + word("final", "analysis", "commentary"))),
        rng.choice(("", "", recipient)),
        rng.choice(("", " " + word("json", "code"), CONSTRAIN + word("json"), f" {CONSTRAIN} {word('json')}")),
    ]
    return "".join(items)


def mutated(marked: str, rng: random.Random) -> str:
    """The string with a few of its words, markers or characters left out, doubled, swapped or replaced."""
    atoms = _ATOMS.findall(marked)
    for _ in range(rng.randint(0, 3)):
        at = rng.randint(0, len(atoms))
        match rng.randrange(6):
            case 0:
                del atoms[at : at + rng.randint(1, 3)]
            case 1:
                atoms[at:at] = atoms[at : at + rng.randint(1, 3)]
            case 2:
                atoms[at : at + 2] = atoms[at : at + 2][::-1]
            case 3:
                atoms[at:at] = [rng.choice(rng.choice((ITEMS, ODD, MARKERS)))]
            case 4:
                atoms[at : at + 1] = [rng.choice(rng.choice((ITEMS, ODD, MARKERS)))]
            case 5:
                del atoms[max(at, 1) :]
    return "".join(atoms)


def ranks(rng: random.Random) -> Iterator[int]:
    """Token ids of text, at random; half of them with bytes that are not UTF-8."""
    bytes_alone = vocabulary.load().byte_ranks
    for _ in range(rng.randint(0, 8)):
        yield rng.randrange(vocabulary.FIRST_SPECIAL) if rng.random() < 0.5 else bytes_alone[rng.randrange(128, 256)]
