"""Real completions, what is to be read in them, and a token of each kind."""

from __future__ import annotations

import json
from typing import Any

from harmony import (
    Message,
)
from harmony.format.vocabulary import CHANNEL, CONSTRAIN, END, END_OF_TEXT, MESSAGE, START
from helpers.paths import DATA

CASES = list(map(json.loads, DATA.joinpath("completions.jsonl").read_bytes().splitlines()))
#: The same as a log. It has no field with the name of a field of the output.
LOG = [{name: case[name] for name in ("id", "role", "text", "note")} for case in CASES]
LOG_LINES = b"".join(json.dumps(record).encode() + b"\n" for record in LOG)
#: Texts that have lost their markers.
STRIPPED = list(map(json.loads, DATA.joinpath("stripped.jsonl").read_bytes().splitlines()))


def flat(message: Message) -> dict[str, Any]:
    """A message as the cases write it: no field that is None, the content as one string."""
    data = {key: value for key, value in message.to_dict().items() if value is not None}
    return {**data, "role": data["role"].value, "content": "".join(part["text"] for part in data["content"])}


KINDS = {"S": START, "C": CHANNEL, "K": CONSTRAIN, "M": MESSAGE, "E": END, "X": END_OF_TEXT, "T": 173781}
