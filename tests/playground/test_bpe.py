"""The playground's encoder, which stands in for tiktoken in the browser, gives the ids of tiktoken."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.playground import bpe
from harmony.format import vocabulary
from helpers.plain import TEXTS


@pytest.fixture(scope="module")
def encoders() -> tuple[Any, Any]:
    """tiktoken's encoder, and the playground's over the same ranks."""
    real = vocabulary.load().encoder
    names = {name: getattr(real, f"_{name}") for name in ("pat_str", "mergeable_ranks", "special_tokens")}
    return real, bpe.Encoding(real.name, **names)


def test_ids_are_those_of_tiktoken(encoders: tuple[Any, Any]) -> None:
    real, ours = encoders
    for text in TEXTS:
        assert ours.encode(text) == real.encode(text, disallowed_special=()), text


@given(st.text() | st.text(alphabet="ab '\n/1sST<|>é日\u0301", min_size=1))
def test_ids_of_any_text(encoders: tuple[Any, Any], text: str) -> None:
    real, ours = encoders
    assert ours.encode(text) == real.encode(text, disallowed_special=())


def test_pieces_of_any_bytes_are_merged_as_by_tiktoken(encoders: tuple[Any, Any]) -> None:
    real, _ = encoders
    chance = random.Random(1)
    for size in (1, 2, 3, 5, 20, 99, 100, 101, 500):
        for alphabet in (b"a", b"ab", b" \n", b"the and", bytes(range(256))):
            piece = bytes(chance.choices(alphabet, k=size))
            # tiktoken looks up a piece that is one token, and merges others; merging gives the same for both.
            assert bpe.merge(piece, real._mergeable_ranks) == real._encode_single_piece(piece), piece


def test_special_tokens(encoders: tuple[Any, Any]) -> None:
    real, ours = encoders
    text = "<|start|>user<|message|>a <|end|> b<|reserved_200014|><|start|>"
    for allowed in (set(), {"<|end|>"}, {"<|start|>", "<|message|>", "<|reserved_200014|>"}):
        expected = real.encode(text, allowed_special=allowed, disallowed_special=())
        assert ours.encode(text, allowed_special=allowed) == expected
