"""Guides the sampling of a completion with llguidance: headers, and the arguments of calls by their JSON schemas.

The model is a stand-in: its logits are random. Needs the extra `decoding`.
"""

import random
from math import exp

from llguidance import LLMatcher

from harmony import Role, load_harmony_encoding
from harmony.decoding import grammar, ll_tokenizer

LOGITS = 201_088

encoding = load_harmony_encoding("HarmonyGptOss")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"enum": ["Oslo", "Lima"]},
                    "days": {"type": "integer", "minimum": 1, "maximum": 14},
                },
                "required": ["city", "days"],
                "additionalProperties": False,
                "x-guidance": {"whitespace_flexible": False},  # else a stand-in would write much of it
            },
        },
    }
]
guide = LLMatcher(ll_tokenizer(), grammar(TOOLS, tool_choice="functions.get_weather"))
if guide.is_error():
    raise SystemExit(guide.get_error())


def weights(chance: random.Random) -> list[float]:
    """The exponentials of a model's logits, here the same at each step. Stops, `"` and `}` are likely."""
    values = [exp(chance.gauss(0, 1)) for _ in range(LOGITS)]
    for token in [*encoding.stop_tokens(), *encoding.encode('"'), *encoding.encode("}")]:
        values[token] = 60_000.0
    return values


def sampled(values: list[float], mask: bytes, chance: random.Random) -> int:
    allowed = [token for token in range(LOGITS) if mask[token >> 3] >> (token & 7) & 1]
    return chance.choices(allowed, [values[token] for token in allowed])[0]


for seed in range(3):
    chance = random.Random(seed)
    matcher = guide.deep_copy()  # one for each completion
    values = weights(chance)
    tokens = []
    while not matcher.is_stopped():
        tokens.append(sampled(values, matcher.compute_bitmask(), chance))
        matcher.consume_token(tokens[-1])
    for message in encoding.parse(tokens, Role.ASSISTANT).messages:
        print(message.channel, message.recipient, message.content_type, repr(message.text)[:60])
    print("---", len(tokens), "tokens")
