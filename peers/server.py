"""gpt-oss's own Responses server, given malformed replies: does it answer, and with all of the text?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from harmony import Message, Role, TextContent
from peers.programs import Program
from peers.replays import Case
from peers.ways import WAYS, Setting

_BUILT_IN: Final = ("python", "assistant")
_DELTAS: Final = ("response.output_text.delta", "response.reasoning_text.delta")


class Answer(NamedTuple):
    """What became of one reply in one way: what is wrong with it, or nothing.

    `error` is the exception that ended the request, as HTTP 500 or within the stream. `is_completed` tells whether the
    stream ended in `response.completed`. `lost` are texts that are in no item of the output, `unsent` those that the
    stream has only in its last event, and not in a delta.
    """

    error: str
    is_completed: bool
    lost: list[str]
    unsent: list[str]

    def fails(self) -> bool:
        """Whether the client gets no answer, or not all of it."""
        return bool(self.error or self.lost or not self.is_completed)


class Reply(NamedTuple):
    """A reply of a model, and the answers of the server by way; `hidden` are texts that this server never shows."""

    name: str
    text: str
    is_malformed: bool
    hidden: list[str]
    answers: dict[str, Answer]


def run_server(program: Program, setting: Setting, cases: Iterable[Case]) -> list[Reply]:
    """Gives each case to the server, in each way."""
    cases = list(cases)
    given = setting.files / "replays.jsonl"
    lines = [{"id": case.name, "tokens": case.tokens} for case in cases]
    given.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    found = {way.name: setting.run(program, way, "peers_responses", str(given)) for way in WAYS}
    replies = []
    for index, case in enumerate(cases):
        messages = [message for message in case.messages() if _text(message).strip()]
        shown = [_text(message) for message in messages if is_shown(message)]
        hidden = [_text(message) for message in messages if not is_shown(message)]
        spoken = [_text(message) for message in messages if is_shown(message) and message.recipient is None]
        answers = {name: _judged(answers[index], shown, spoken) for name, answers in found.items()}
        replies.append(Reply(case.name, case.text(), case.is_malformed(), hidden, answers))
    return replies


def is_shown(message: Message) -> bool:
    """Whether the server has a place for a message in its answer.

    It has one for the calls of functions, the answer and the assistant's reasoning. It leaves out preambles on the
    channel commentary and what stands on any other channel, whatever library parsed them.
    """
    if message.recipient is not None:
        if message.recipient not in _BUILT_IN and not message.recipient.startswith("browser."):
            return True
        return message.channel == "final"
    if message.channel is None:
        return message.author.role == Role.ASSISTANT
    return message.channel == "final" or (message.channel == "analysis" and message.author.role == Role.ASSISTANT)


def _judged(answer: dict[str, Any], shown: list[str], spoken: list[str]) -> Answer:
    whole, stream = answer["whole"], answer["stream"]
    events = stream["events"]
    is_completed = bool(events) and events[-1]["type"] == "response.completed"
    completed = events[-1]["response"]["output"] if is_completed else []
    deltas = "".join(event["delta"] for event in events if event["type"] in _DELTAS)
    in_both = [_texts(whole["output"]), _texts(completed)]
    error = whole["error"] or stream["error"] or ("" if whole["status"] == 200 else f"HTTP {whole['status']}")
    return Answer(
        error,
        is_completed,
        [] if error else [text for text in shown if not all(_holds(texts, text) for texts in in_both)],
        [] if error else [text for text in spoken if text not in deltas],
    )


def _holds(texts: list[str], text: str) -> bool:
    return any(text in one for one in texts)


def _texts(output: list[dict[str, Any]]) -> list[str]:
    """All texts of the items of an answer."""
    found = []
    for item in output:
        found += [part["text"] for part in item.get("content") or []]
        found += [item[name] for name in ("arguments", "code") if item.get(name)]
    return found


def _text(message: Message) -> str:
    return "".join(content.text for content in message.content if isinstance(content, TextContent))
