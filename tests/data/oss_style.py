"""Writes oss_style.jsonl.gz: conversations, and what oss-harmony makes of them.

    python tests/data/oss_style.py PYTHON

PYTHON is an interpreter whose environment holds oss-harmony. It has a script of its own, for oss-harmony and
openai-harmony are modules of the same name. Each line is a case: conversation, drop, purpose, the role whose turn is
next, and the tokens, or null where oss-harmony refuses. The same cases are drawn each time, as long as the strategies
and Hypothesis stay the same. None has a float with a large exponent, for which oss-harmony writes 1e+16 and
openai-harmony 1e16, whatever the style.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from harmony import Role
from harmony.format import vocabulary

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.conversations import conversations

DRAWN = 2000
RENDER = """
import json, sys
import openai_harmony

encoding = openai_harmony.load_harmony_encoding("HarmonyGptOss")
for line in sys.stdin:
    case = json.loads(line)
    config = openai_harmony.RenderConversationConfig(auto_drop_analysis=case["drop"])
    try:
        conversation = openai_harmony.Conversation.from_json(json.dumps(case["conversation"]))
        if case["purpose"] == "completion":
            role = openai_harmony.Role(case["next_role"])
            tokens = encoding.render_conversation_for_completion(conversation, role, config)
        elif case["purpose"] == "training":
            tokens = encoding.render_conversation_for_training(conversation, config)
        else:
            tokens = encoding.render_conversation(conversation, config)
    except Exception:
        tokens = None
    print(json.dumps(tokens))
"""


def drawn() -> list[dict[str, Any]]:
    """Cases from the strategies of the tests."""
    cases: list[dict[str, Any]] = []

    @settings(
        max_examples=DRAWN,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        conversation=conversations(most=3),
        drop=st.booleans(),
        purpose=st.sampled_from(["conversation", "completion", "training"]),
        next_role=st.sampled_from([role.value for role in Role]),
    )
    def collect(**case: Any) -> None:
        assume(not has_large_float(case["conversation"]))
        cases.append(case)

    collect()
    return cases


def has_large_float(data: Any) -> bool:
    """Whether there is a float that is written with a positive exponent, or an integer that becomes one."""
    if isinstance(data, dict):
        return any(map(has_large_float, data.values()))
    if isinstance(data, list):
        return any(map(has_large_float, data))
    if isinstance(data, float):
        return abs(data) >= 1e16
    return isinstance(data, int) and not -(2**63) <= data < 2**64


def headers() -> list[dict[str, Any]]:
    """One message by each role, with each combination of what else a header has."""
    cases = []
    for role, channel, recipient, content_type in product(
        [role.value for role in Role],
        [None, "analysis", "commentary", "final", "other"],
        [None, "all", "assistant", "user", "functions.f", "browser.search", "python"],
        [None, "json", "code", "<|constrain|>json", "<|constrain|>bash"],
    ):
        fields = {"channel": channel, "recipient": recipient, "content_type": content_type}
        for name in ["functions.f", "python"] if role == "tool" else [None, "alice"]:
            message = {"role": role, "name": name, "content": "x", **fields}
            conversation = {"messages": [message]}
            cases.append({"conversation": conversation, "drop": False, "purpose": "training", "next_role": "assistant"})
    return cases


def rendered(python: str, cases: list[dict[str, Any]]) -> list[list[int] | None]:
    """What oss-harmony makes of each case."""
    with TemporaryDirectory() as folder:
        Path(folder, vocabulary.FILE_NAME).write_bytes(vocabulary.load().official_file())
        found = subprocess.run(
            [python, "-c", RENDER],
            input="".join(json.dumps(case) + "\n" for case in cases),
            env={**os.environ, vocabulary.FOLDER_VARIABLE: folder},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return [json.loads(line) for line in found.stdout.splitlines()]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    cases = drawn() + headers()
    lines = [
        json.dumps({**case, "tokens": tokens}, separators=(",", ":")) + "\n"
        for case, tokens in zip(cases, rendered(sys.argv[1], cases), strict=True)
    ]
    path = Path(__file__).with_suffix(".jsonl.gz")
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    refused = sum('"tokens":null' in line for line in lines)
    print(f"{len(lines)} cases, {refused} of them refused, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
