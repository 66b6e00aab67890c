"""Guides the sampling of a completion with `Headers`. The model is a stand-in: its logits are random."""

import random
from array import array
from collections.abc import Sequence
from math import exp

from harmony import Role, load_harmony_encoding
from harmony.decoding import MASK_WORDS, Headers

encoding = load_harmony_encoding("HarmonyGptOss")
guide = Headers(encoding, ["functions.get_weather", "python"])


def weights(chance: random.Random) -> list[float]:
    """The exponentials of a model's logits, here the same at each step. Stops are likely."""
    values = [exp(chance.gauss(0, 1)) for _ in range(32 * MASK_WORDS)]
    for token in encoding.stop_tokens():
        values[token] = 60_000.0
    return values


def sampled(values: list[float], mask: Sequence[int], chance: random.Random) -> int:
    allowed = [token for token in range(32 * MASK_WORDS) if mask[token >> 5] >> (token & 31) & 1]
    return chance.choices(allowed, [values[token] for token in allowed])[0]


for seed in range(3):
    chance = random.Random(seed)
    headers = guide.copy()  # one for each completion
    mask = array("i", bytes(4 * MASK_WORDS))
    values = weights(chance)
    tokens = []
    while not headers.done:
        headers.fill(mask)
        tokens.append(sampled(values, mask, chance))
        headers.accept(tokens[-1])
    for message in encoding.parse(tokens, Role.ASSISTANT).messages:
        print(message.channel, message.recipient, message.content_type, len(message.text), "characters")
    print("---", len(tokens), "tokens")
