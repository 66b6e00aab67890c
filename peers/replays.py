"""Completions of a model, as cases for a server: well-formed ones, and those that models got wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.streams import stream
from harmony import HarmonyEncoding, HarmonyError, Message, Role, load_harmony_encoding
from harmony.explanations.examples import Repaired, RepairedIds
from harmony.explanations.page import ENTRIES
from harmony.format.vocabulary import CALL, LAST_TOKEN, RETURN

_ENCODING: Final[HarmonyEncoding] = load_harmony_encoding("HarmonyGptOss")
_ENDS: Final = (CALL, RETURN)  # where a server stops
_SEED: Final = 1


class Case(NamedTuple):
    """A completion of the assistant: what the model gives, up to its first `<|call|>` or `<|return|>`.

    `expected` are the messages that are right, where a file says so; None where lenient parsing says so.
    """

    name: str
    tokens: list[int]
    expected: list[Message] | None = None

    def is_malformed(self) -> bool:
        """Whether strict parsing refuses it."""
        try:
            _ENCODING.parse(self.tokens, Role.ASSISTANT)
        except HarmonyError:
            return True
        return False

    def messages(self) -> list[Message]:
        """The messages that are right: a server must show their text."""
        if self.expected is not None:
            return self.expected
        return _ENCODING.parse(self.tokens, Role.ASSISTANT, strict=False).messages

    def text(self) -> str:
        """As it is printed."""
        return _ENCODING.decode(self.tokens)


def of_corpus(path: Path) -> Iterator[Case]:
    """The completions of a file such as `tests/data/completions.jsonl`; leaves out those without markers."""
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("mode") != "stripped":
            case = _case(record["id"], _encoded(record["text"]))
            whole = case.tokens == _encoded(record["text"])  # a server reads nothing behind its stop
            yield case._replace(expected=list(map(Message.from_dict, record["messages"]))) if whole else case


def of_explanations() -> Iterator[Case]:
    """The examples of repairs, from the explanations of their codes."""
    for code, entry in ENTRIES.items():
        for number, example in enumerate(entry.examples):
            if isinstance(example, Repaired):
                yield _case(f"{code} {number}", _encoded(example.text))
            elif isinstance(example, RepairedIds) and max(example.tokens) <= LAST_TOKEN:
                yield _case(f"{code} {number}", example.tokens)


def of_chance(count: int) -> Iterator[Case]:
    """Random completions, of the ids that a model can give."""
    for number in range(count):
        tokens = [token for token in stream(_SEED, number, Role.ASSISTANT) if 0 <= token <= LAST_TOKEN]
        yield _case(f"random {number}", tokens)


def _case(name: str, tokens: list[int]) -> Case:
    stop = next((place + 1 for place, token in enumerate(tokens) if token in _ENDS), len(tokens))
    return Case(name, tokens[:stop])


def _encoded(text: str) -> list[int]:
    return _ENCODING.encode(text, allowed_special="all")
