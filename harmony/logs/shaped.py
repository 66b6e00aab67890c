"""Messages of completions in the shapes of the OpenAI APIs, as `harmony parse --to` writes them.

A completion becomes one message of the Chat Completions API, or the output items of the Responses API. A record that
holds more than a reply, such as a whole conversation, becomes an error: these shapes have no place for the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harmony.columns.rows import Columns, Sources, read_messages
from harmony.conversion.chat_out import message_of
from harmony.conversion.meaning import Json, Reader
from harmony.conversion.responses_out import items_of
from harmony.errors import Diagnostic, Fault, RecordError, quote
from harmony.format.choices import Shape
from harmony.messages.roles import Role


def shaped(
    columns: Columns, sources: Sources, shape: Shape, is_cut: Callable[[int], bool]
) -> tuple[Columns, list[bytes]]:
    """The messages of each completion as JSON in a shape, and the columns with what is to be told of them.

    `is_cut` says whether a completion ends inside its last message. A bad completion has no JSON.
    """
    made: list[bytes] = []
    errors: dict[int, RecordError] = {}
    diagnostics: dict[int, list[Diagnostic]] = dict(columns.diagnostics)
    for index in range(len(memoryview(columns.complete).cast("B"))):
        written = b""
        if index not in columns.errors:
            messages = read_messages(columns, index)
            other = next((message for message in messages if message.author.role is not Role.ASSISTANT), None)
            if other is not None and sources.role_of(index) is not Role.ASSISTANT:
                role = quote(other.author.role.value)
                errors[index] = Fault("invalid-record/not-a-reply", shape=shape, found=role).record_error()
            else:
                reader = Reader(())
                found: list[Json] = (
                    [message_of(messages, reader, cut=is_cut(index))]
                    if shape == "chat"
                    else items_of(messages, reader, cut=is_cut(index))
                )
                written = msgspec.json.encode(found)
                if reader.diagnostics:
                    diagnostics[index] = [*diagnostics.get(index, ()), *reader.diagnostics]
        made.append(written)
    return columns._replace(diagnostics=diagnostics).with_errors(errors), made
