"""Checks that `validate` and strict parsing give every fault the same code at the same place.

    python -m fuzz.codes 7 5

goes through all sequences of up to 7 kinds of tokens, and through all headers of up to 5 items, as text and as token
ids. What is expected is found by strict parsing alone: of the input, and after each fault of what follows from the next
`<|start|>` on. The tests do the same with shorter inputs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any, Final, TypeAlias

from harmony import HarmonyEncoding, HarmonyError, StreamableParser, load_harmony_encoding, validate
from harmony.format import vocabulary
from harmony.format.choices import Start
from harmony.format.vocabulary import CHANNEL, CONSTRAIN, END, END_OF_TEXT, MESSAGE, START
from harmony.messages.roles import Role

#: The code of a fault and its place.
Named: TypeAlias = tuple[str, int]

STARTS: Final[tuple[Start, ...]] = ("conversation", "prompt", "completion")
ASSISTANT: Final = 173781
#: A token of each kind that matters: text, each marker, and a special token without a place.
KINDS: Final = (ASSISTANT, START, CHANNEL, CONSTRAIN, MESSAGE, END, END_OF_TEXT)
#: What a header is put together from. Items of one word may touch each other, which makes other words.
ITEMS: Final = (
    "assistant",
    "wizard",
    "f.g",
    " ",
    " to=",
    " to=x",
    " json",
    " foo",
    "{",
    "\u00a0",
    "<|channel|>",
    "<|constrain|>",
)
_START_TEXT: Final = vocabulary.SPECIAL_TEXTS[START]


def by_strict_parsing(encoding: HarmonyEncoding, given: str | list[int], start: Start) -> list[Named]:
    """The faults of an input, by strict parsing alone."""
    named: list[Named] = []
    at = 0
    role = Role.ASSISTANT if start == "completion" else None
    while True:
        rest = given[at:]
        try:
            result = encoding.parse_text(rest, role) if isinstance(rest, str) else encoding.parse(rest, role)
        except HarmonyError as error:
            place = at + (error.position or 0)
            named.append((error.code, place))
            at = _next_start(given, place)
            if at < 0:
                return named
            role = None
            continue
        if result.next_role is not None:
            wrong = "" if start == "prompt" and role is None else "truncated-header"
        elif not result.complete:
            wrong = "truncated-content"
        else:
            wrong = "missing-turn" if start == "prompt" else ""
        return [*named, (wrong, len(given))] if wrong else named


def _next_start(given: str | list[int], place: int) -> int:
    if isinstance(given, str):
        return given.find(_START_TEXT, place)
    return next((index for index in range(place, len(given)) if given[index] == START), -1)


def in_a_stream(encoding: Any, tokens: list[int], start: Start) -> Named | None:
    """The first fault, token by token; None where there is none before the input's end, and none at it."""
    parser = StreamableParser(encoding, Role.ASSISTANT if start == "completion" else None)
    try:
        for token in tokens:
            parser.process(token)
        parser.process_eos()
    except HarmonyError as error:
        return error.code, error.position or 0
    return None


def check(encoding: HarmonyEncoding, given: str | list[int], start: Start) -> list[Named]:
    """The faults that `validate` finds. They must be those of strict parsing."""
    named = [(found.code, found.position) for found in validate(given, start)]
    expected = by_strict_parsing(encoding, given, start)
    assert named == expected, f"{given!r} as a {start}: expected {expected}, found {named}"
    if not isinstance(given, str) and (first := in_a_stream(encoding, given, start)) is not None:
        assert named[0] == first, f"{given!r} as a {start}: expected {first} in a stream, found {named[0]}"
    return named


def sequences(length: int) -> Iterator[list[int]]:
    """All sequences of kinds of tokens up to a length."""
    for size in range(length + 1):
        yield from map(list, product(KINDS, repeat=size))


def headers(length: int) -> Iterator[str]:
    """Messages with all headers of up to this many items, complete and cut off, followed by another message."""
    for size in range(length + 1):
        for items in product(ITEMS, repeat=size):
            yield f"<|start|>{''.join(items)}<|message|>x<|end|><|start|>nobody<|message|>y<|end|>"
            yield f"<|start|>{''.join(items)}"


def check_all(encoding: HarmonyEncoding, kinds: int, items: int) -> Counter[str]:
    """Checks all inputs of these sizes. Returns how often each code occurred."""
    codes: Counter[str] = Counter()
    for tokens in sequences(kinds):
        for start in STARTS:
            codes.update(code for code, _ in check(encoding, tokens, start))
    for text in headers(items):
        for start, written in (
            ("conversation", text),
            ("prompt", text),
            ("completion", text.removeprefix("<|start|>")),
        ):
            codes.update(code for code, _ in check(encoding, written, start))
            codes.update(code for code, _ in check(encoding, encoding.encode(written, allowed_special="all"), start))
    return codes


if __name__ == "__main__":
    sizes = [*map(int, sys.argv[1:]), 7, 5]
    for code, number in check_all(load_harmony_encoding("HarmonyGptOss"), *sizes[:2]).most_common():
        print(f"{number:>12,}  {code}")
