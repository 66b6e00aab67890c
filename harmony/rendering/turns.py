"""The turns of a conversation: which messages the assistant wrote without a break, and which analysis is old.

Messages are given as lists that `renderer.messages_of` has checked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from harmony.format.choices import Analysis
from harmony.messages.model import Message
from harmony.messages.roles import Role


def is_answer(message: Message) -> bool:
    """Whether a message is the assistant's on `final`, which finishes a turn."""
    return message.author.role == Role.ASSISTANT and message.channel == "final"


def without_old_analysis(messages: Sequence[Message]) -> list[int]:
    """The indices of all messages but the analysis of finished turns, ascending. `drop_analysis` says more."""
    kept = []
    answered = False
    for index in reversed(range(len(messages))):
        message = messages[index]
        if message.author.role == Role.USER:
            answered = False
        elif is_answer(message):
            answered = True
        if not (answered and message.channel == "analysis"):
            kept.append(index)
    return kept[::-1]


def turns_of(messages: Sequence[Message]) -> Iterator[range]:
    """The indices of each turn in which the assistant wrote something, in order.

    A turn begins behind a user's message or an answer. It ends with an answer or, if a user's message or the end of the
    conversation comes first, with what the assistant wrote last.
    """
    begin = end = 0
    for index, message in enumerate(messages):
        is_users = message.author.role == Role.USER
        if message.author.role == Role.ASSISTANT:
            end = index + 1
        if is_answer(message) or (is_users and end > begin):
            yield range(begin, end)
        if is_answer(message) or is_users:
            begin = end = index + 1
    if end > begin:
        yield range(begin, end)


def kept(messages: Sequence[Message], turn: range, analysis: Analysis) -> list[int]:
    """The indices of the messages to render where a turn is to be learned, ascending: up to the end of the turn.

    "auto" leaves out the analysis of finished turns before it, "drop" that of the turn too, and "keep" nothing.
    """
    whole = range(turn.stop)
    if analysis == "keep":
        return list(whole)
    recent = without_old_analysis(messages)
    if analysis == "drop":
        return recent[: bisect_left(recent, turn.stop)]
    return [*recent[: bisect_left(recent, turn.start)], *turn]
