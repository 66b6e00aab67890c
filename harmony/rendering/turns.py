"""The turns of a conversation: which messages finish them, and which analysis is old.

Messages are given as lists that `renderer.checked_messages` has checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harmony.format.choices import Purpose
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
