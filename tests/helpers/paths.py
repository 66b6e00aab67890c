"""Where the files are that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
EXAMPLES = ROOT / "examples"
#: A log of completions.
SAMPLE = EXAMPLES / "completions.jsonl"
CONVERSATIONS = EXAMPLES / "conversations.jsonl"
