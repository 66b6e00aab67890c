"""Batches of messages for counting, and the counts of them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import pyarrow as pa

from harmony import HarmonyError, load_harmony_encoding
from harmony.stats.counts import Stats
from helpers.paths import SAMPLE

NAME = pa.dictionary(pa.int32(), pa.string())
FAULT = pa.struct([("code", pa.string()), ("message", pa.string()), ("position", pa.int64())])
SCHEMA = pa.schema(
    [
        ("conversation", pa.int64()),
        ("message", pa.int32()),
        ("role", NAME),
        ("name", NAME),
        ("recipient", NAME),
        ("channel", NAME),
        ("content_type", NAME),
        ("content", pa.large_string()),
        ("content_tokens", pa.int32()),
        ("stop", NAME),
        ("complete", pa.bool_()),
        ("diagnostics", pa.list_(FAULT)),
        ("error", FAULT),
    ]
)

#: The rows of a conversation, without its index, and the number of its tokens.
Log = list[tuple[list[dict[str, Any]], int | None]]


def parsed(record: dict[str, Any], *, strict: bool = False) -> tuple[list[dict[str, Any]], int | None]:
    encoding = load_harmony_encoding("HarmonyGptOss")
    tokens, role = record.get("tokens"), record.get("role", "assistant")
    count = None if tokens is None else len(tokens)
    whole: dict[str, Any] = {"message": None, "role": "assistant", "complete": False, "diagnostics": [], "error": None}
    try:
        result = (
            encoding.parse_text(record["text"], role, strict=strict)
            if tokens is None
            else encoding.parse(tokens, role, strict=strict)
        )
    except HarmonyError as error:
        return [{**whole, "error": {"code": error.code, "message": str(error), "position": error.position}}], count
    whole |= {"complete": result.complete, "diagnostics": [msgspec.to_builtins(found) for found in result.diagnostics]}
    rows = [
        {
            **whole,
            "message": index,
            "role": message.author.role.value,
            "name": message.author.name,
            "recipient": message.recipient,
            "channel": message.channel,
            "content_type": message.content_type,
            "content": "".join(part.text for part in message.content),
            "content_tokens": None if tokens is None else span.stop - span.content_start,
            "stop": span.end,
        }
        for index, (message, span) in enumerate(zip(result.messages, result.spans, strict=True))
    ]
    return rows or [whole], count


def message(role: str = "assistant", tokens: int | None = 1, **fields: Any) -> dict[str, Any]:
    return {"message": 0, "role": role, "content_tokens": tokens, "complete": True, "diagnostics": [], **fields}


def to_batch(log: Log, *, plain: bool = False) -> pa.RecordBatch:
    rows = [{"conversation": index, **row} for index, (rows, _) in enumerate(log) for row in rows]
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    if not plain:
        return batch
    columns = [column.cast(pa.string()) if column.type == NAME else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, SCHEMA.names)


def count(*logs: Log, plain: bool = False) -> Stats:
    stats = Stats()
    for log in logs:
        stats.add(to_batch(log, plain=plain), [tokens for _, tokens in log])
    return stats


@cache
def sample_log() -> Log:
    """The sample log, and what models break: repaired, refused, and cut."""
    records = [json.loads(line) for line in SAMPLE.read_bytes().splitlines()]
    broken = [
        {"text": "I can't help with that."},
        {"text": '<|channel|>final {"sky": "blue"}'},
        {"text": "<|channel|>final<|message|>Hi<|return|><|return|><|return|>"},
        {"tokens": [200005, 17196]},
    ]
    refused = [{"text": "<|channel|>final thoughts<|message|>Hi<|end|>"}, {"tokens": [9]}]
    return [*map(parsed, records + broken), *(parsed(record, strict=True) for record in refused)]
