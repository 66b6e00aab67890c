"""The completions of the cases that a guided model can write, and those that it does not."""

from __future__ import annotations

from typing import Any, Final

from helpers.cases import CASES

#: The cases that strict parsing takes, and that a model can write.
COMPLETIONS: Final = [
    case
    for case in CASES
    if case["strict"] == "ok" and {each["role"] for each in case["messages"]} | {case["role"]} == {"assistant"}
]
#: Those of them that a guided model does not write, each with the reason.
NOT_GUIDED: Final = {
    "M11": "a preamble ends in `<|end|>`, not in `<|return|>`; and no preamble has a content type",
    "M13": "`assistant` is no declared recipient; and a call ends in `<|call|>`",
    "M38": "it has no header",
    "M39": "a misspelt channel",
    "M44": "a misspelt channel",
}


def is_odd(case: dict[str, Any]) -> bool:
    """Whether a guided model does not write the completion."""
    return case["id"] in NOT_GUIDED
