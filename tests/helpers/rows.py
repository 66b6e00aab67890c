"""What columns are to hold, told by parsing each completion by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from harmony import HarmonyError, Role
from harmony.batch import NESTED_SCHEMA, SCHEMA
from harmony.errors import RecordError
from helpers.streams import ENCODING

FINDING = {"code", "message", "position"}


def conversation(
    source: Sequence[int] | str | RecordError, role: Role | str | None, *, strict: bool, stripped: bool = False
) -> dict[str, Any]:
    """One conversation as NESTED_SCHEMA has it, by the parser that makes messages. `stripped` is an option of texts."""
    if isinstance(source, RecordError):
        return {"messages": [], "complete": False, "diagnostics": [], "error": finding(source)}
    parse: Callable[..., Any] = ENCODING.parse
    if isinstance(source, str):
        parse = partial(ENCODING.parse_text, stripped=stripped)
    complete, error, diagnostics = False, None, []
    try:
        result = parse(source, role, strict=strict)
        messages, spans, complete = result.messages, result.spans, result.complete
        diagnostics = [finding(found) for found in result.diagnostics]
    except HarmonyError as raised:
        # What stands before the fault is legal, so lenient parsing reads it alike, and knows where it stands.
        messages, spans = raised.messages, parse(source, role, strict=False).spans
        error = {"code": raised.code, "message": str(raised), "position": raised.position}
    rows = [
        {
            "role": message.author.role.value,
            "name": message.author.name,
            "recipient": message.recipient,
            "channel": message.channel,
            "content_type": message.content_type,
            "content": "".join(part.text for part in message.content),
            "content_tokens": None if isinstance(source, str) else span.stop - span.content_start,
            "stop": span.end,
        }
        for message, span in zip(messages, spans, strict=error is None)
    ]
    return {"messages": rows, "complete": complete, "diagnostics": diagnostics, "error": error}


def finding(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in FINDING}


def in_rows(conversations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Conversations as SCHEMA has them."""
    none = dict.fromkeys(NESTED_SCHEMA.field("messages").type.value_type.names)
    rows = []
    for index, one in enumerate(conversations):
        owned = {name: one[name] for name in ("complete", "diagnostics", "error")}
        for number, message in enumerate(one["messages"]):
            rows.append({"conversation": index, "message": number} | message | owned)
            owned["diagnostics"] = []  # the first row has them
        if not one["messages"]:
            rows.append({"conversation": index, "message": None} | none | owned)
    return rows


def checked(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch that is sound."""
    batch.validate(full=True)
    assert batch.schema == SCHEMA
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows
