"""Every short sequence of kinds of tokens, strictly and leniently, by both engines and in every way of feeding them."""

from __future__ import annotations

import re
from itertools import chain, product
from types import ModuleType

import pytest

from harmony import HarmonyEncoding, Role
from harmony.format.vocabulary import CALL, LAST_TOKEN
from helpers.cases import KINDS
from helpers.sizes import Scale
from helpers.streams import plain
from helpers.ways import all_of, every_way, outcome

# The strict language over kinds of tokens, written once more, as a regular expression. T is the text `assistant`,
# which is an author only by itself, and a name however often it is repeated; X is no token of the format.
HEADER = "(CT+)?(KT+)?M"
MESSAGES = f"(ST{HEADER}T*E)*(ST{HEADER}T*|ST)?"
LANGUAGE = {
    None: re.compile(MESSAGES),
    Role.ASSISTANT: re.compile(f"T?({HEADER}T*(E{MESSAGES})?)?"),
}


@pytest.mark.parametrize("role", LANGUAGE)
def test_every_sequence_of_kinds(
    role: Role | None, scale: Scale, engines: list[ModuleType], encoding: HarmonyEncoding
) -> None:
    """Strict parsing reads the language; lenient parsing reads it alike, and all else with a repair."""
    assert encoding.encode("assistant") == [KINDS["T"]]
    for length in range(scale(4, 6) + 1):
        for letters in product(KINDS, repeat=length):
            tokens = [KINDS[letter] for letter in letters]
            strict, *others = [outcome(lambda: all_of(engine.parse(tokens, role, strict=True))) for engine in engines]  # noqa: B023
            assert others == [strict] * len(others), letters
            lenient, *others = [all_of(engine.parse(tokens, role, strict=False)) for engine in engines]
            assert others == [lenient] * len(others), letters
            if LANGUAGE[role].fullmatch("".join(letters)):
                assert strict == ("ok", *lenient), letters
                assert lenient[2] == [], letters
            else:
                assert strict[0] == "error", letters
                assert lenient[2] != [], letters


@pytest.mark.parametrize("role", LANGUAGE)
def test_every_way_of_feeding_every_sequence_up_to_three(role: Role | None, engine: ModuleType) -> None:
    kinds = [*KINDS.values(), CALL, LAST_TOKEN + 1]
    for tokens in chain.from_iterable(product(kinds, repeat=length) for length in range(4)):
        every_way(engine, tokens, role)


def test_every_way_of_feeding_every_sequence_leniently(engine: ModuleType) -> None:
    kinds = [*KINDS.values(), CALL, 200_000, LAST_TOKEN + 1, plain(" to")[0], plain("{")[0]]
    for tokens in chain.from_iterable(product(kinds, repeat=length) for length in range(4)):
        every_way(engine, tokens, Role.ASSISTANT, strict=False)
