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
#: The headers of those that strict parsing takes, and that a guided model does not write.
NOT_GUIDED: Final = {
    "": "no channel",
    "<|channel|>commentary<|constrain|>response": "the content type",
    "<|channel|>commentary to=assistant <|constrain|>1": "the recipient",
    "<|channel|>comment to=functions.get_weather json": "the channel",
    "<|channel|>mardown": "the channel",
    "<|channel|>commentary functions.get_weather json": "no `to=`",
    "<|channel|>commentary to=functions.get_weather <|constrain|> json": "white space",
    "assistant<|channel|>commentary to=functions.f<|constrain|>json": "`assistant` once more",
}


def is_odd(case: dict[str, Any]) -> bool:
    """Whether a guided model does not write the completion."""
    return case["text"].partition("<|message|>")[0] in NOT_GUIDED
