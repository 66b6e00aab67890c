"""Columns of conversations in which any message may be faulty: the builder and the engine take turns."""

from __future__ import annotations

from array import array
from itertools import product

import pytest

from harmony import Role
from harmony.batch import parse_batch
from helpers.rows import checked, conversation, in_rows
from helpers.streams import ENCODING, joined

#: Messages and parts of messages. Every order of three of them is a conversation.
PIECES = [
    "<|start|>assistant<|channel|>final<|message|>Oslo is 7 °C.<|end|>",
    "<|start|>assistant<|channel|>commentary to=functions.sky<|message|>{}<|call|>",
    "<|start|>assistant<|channel|>commentary to=self<|message|>A thought<|end|>",
    "<|start|>assistant<|channel|>final<|message|><|im_end|><|end|>",
    "<|start|>assistant<|channel|>final<|message|>No stop",
    "<|start|>assistant<|channel|>final<|message|>",
    "<|start|>assistant<|start|>assistant<|channel|>final<|message|>Twice<|end|>",
    "<|start|>assistant to=functions.f<|channel|>",
    "<|start|>assistant<|channel|>final thoughts<|message|>A word<|return|>",
    "<|channel|>analysis<|message|>No start<|end|>",
    "<|message|>Again<|end|>",
    "<|start|>assistant<|channel|>final Hats are not needed today, for it is dry.<|end|>",
    "<|start|>assistantcommentary to=browser.open json<|message|>{}<|call|>",
    "<|start|>assistant",
    "<|return|>",
    "assistant",
    " \n",
    "\ufffd",
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("role", [None, Role.ASSISTANT])
def test_faults_in_any_message(role: Role | None, strict: bool) -> None:
    encoded = [ENCODING.encode(piece, allowed_special="all") for piece in PIECES]
    encoded[-1] = [1 << 31]  # an id that no token has
    conversations = [[token for piece in pieces for token in piece] for pieces in product(encoded, repeat=3)]
    tokens, offsets = joined(conversations)
    expected = in_rows([conversation(each, role, strict=strict) for each in conversations])
    assert checked(parse_batch(array("I", tokens), offsets, role=role, strict=strict)) == expected
    codes = {found["code"] for row in expected for found in row["diagnostics"] or ()}
    assert ("other-format" in codes) is not strict
