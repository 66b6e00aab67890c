"""The turns of a conversation: which messages the assistant wrote without a break, and which analysis is old.

Messages are given as lists that `renderer.checked_messages` has checked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from harmony.format.choices import Analysis, Purpose
from harmony.messages.model import Message
from harmony.messages.roles import Role


def is_answer(message: Message) -> bool:
    """Whether a message is the assistant's on `final`, which finishes a turn."""
    return message.author.role == Role.ASSISTANT and message.channel == "final"


def with_dropped(backwards: Iterable[Message]) -> Iterator[tuple[Message, bool]]:
    """Each message, from the last to the first, and whether `drop_analysis` leaves it out."""
    answered = False
    for message in backwards:
        if message.author.role == Role.USER:
            answered = False
        elif is_answer(message):
            answered = True
        yield message, answered and message.channel == "analysis"


def without_old_analysis(messages: Sequence[Message]) -> list[int]:
    """The indices of all messages but the analysis of finished turns, ascending. `drop_analysis` says more."""
    backwards = zip(reversed(range(len(messages))), with_dropped(reversed(messages)), strict=True)
    return [index for index, (_, dropped) in backwards if not dropped][::-1]


def kept_by_reference(messages: Sequence[Message]) -> list[int]:
    """The indices of the messages that openai-harmony writes, ascending.

    Where the assistant's last message is on `final`, it leaves out the analysis before the first message on `final`.
    """
    last = next((message for message in reversed(messages) if message.author.role == Role.ASSISTANT), None)
    begin = 0
    if last is not None and last.channel == "final":
        begin = next(index for index, message in enumerate(messages) if message.channel == "final")
    return _without_analysis(messages, begin)


def kept_by_template(messages: Sequence[Message], purpose: Purpose) -> list[int]:
    """The indices of the messages that the template of Hugging Face writes, ascending.

    It leaves out all analysis before the last answer. Where that answer ends the conversation and no prompt is made,
    the model learns it, and the thoughts right before it stay.
    """
    answer = max((index for index, message in enumerate(messages) if is_answer(message)), default=0)
    begin = answer
    if purpose != "completion" and answer == len(messages) - 1:
        while begin and _is_thought(messages[begin - 1]):
            begin -= 1
    return _without_analysis(messages, begin)


def _without_analysis(messages: Sequence[Message], begin: int) -> list[int]:
    return [index for index, message in enumerate(messages) if index >= begin or message.channel != "analysis"]


def _is_thought(message: Message) -> bool:
    return message.author.role == Role.ASSISTANT and message.channel == "analysis" and message.recipient is None


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
