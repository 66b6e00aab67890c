"""A log becomes a table, one row a message, and polars and duckdb answer questions about it."""

import json
from pathlib import Path

import duckdb
import polars
import pyarrow

from harmony import load_harmony_encoding
from harmony.batch import parse_batch, parse_table

log = Path(__file__).with_name("completions.jsonl")
records = [json.loads(line) for line in log.read_bytes().splitlines()]
columns = ("id", "model", "finish_reason", "tokens", "text", "role")
completions = pyarrow.table({name: [record.get(name) for record in records] for name in columns})

# Where a record names no role, the prompt ended in `<|start|>assistant`.
roles = pyarrow.array([record.get("role", "assistant") for record in records])
completions = completions.set_column(columns.index("role"), "role", roles)

# Some records hold ids, others text. `id`, `model` and `finish_reason` stand beside each message.
table = parse_table(completions, tokens="tokens", text="text", roles="role")
print(f"{completions.num_rows} completions, {table.num_rows} messages")

messages = polars.DataFrame(table).with_columns(polars.col("channel", "recipient").cast(polars.String))
calls = messages.filter(polars.col("stop") == "call")
print("--- polars: which tools are called, and how often")
for tool, count in calls.group_by("recipient").len().sort(["len", "recipient"], descending=[True, False]).iter_rows():
    print(f"{count:4} {tool}")
print("--- polars: messages and tokens by channel; what was read from text has no count of tokens")
by_channel = messages.group_by("channel").agg(polars.len(), polars.col("content_tokens").sum())
for channel, count, tokens in by_channel.sort("content_tokens", descending=True).iter_rows():
    print(f"{channel or '(none)':12} {count:3} messages, {tokens:5} tokens")
print("--- polars: completions that are cut off")
print(messages.filter(~polars.col("complete"))["id"].unique(maintain_order=True).to_list())

with duckdb.connect() as database:
    database.register("messages", table)
    print("--- duckdb: calls whose arguments are JSON, and what is named in them")
    for recipient, names in database.sql(
        "SELECT recipient, json_keys(content) FROM messages "
        "WHERE stop = 'call' AND json_valid(content) ORDER BY ALL LIMIT 8"
    ).fetchall():
        print(f"{recipient}: {', '.join(names)}")
    print("--- duckdb: how much each model thinks before it answers")
    for model, thoughts, answers in database.sql(
        "SELECT model, sum(content_tokens) FILTER (channel = 'analysis'), "
        "sum(content_tokens) FILTER (channel = 'final') FROM messages GROUP BY model ORDER BY model"
    ).fetchall():
        print(f"{model}: {thoughts} tokens of analysis, {answers} of answers")

    # The log is clean. What a model gets wrong is repaired, and each row tells what was; here, in ids alone.
    encoding = load_harmony_encoding("HarmonyGptOss")
    written = [
        "<|channel|>final<|message|>Bring a hat.<|return|>",
        '<|channel|>commentary to=functions.get_weather json{"city": "Oslo"}<|call|>',
        "assistant<|channel|>analysis<|channel|>final<|message|>It rains.<|return|>",
    ]
    ids = [encoding.encode(text, allowed_special="all") for text in written]
    offsets = [sum(map(len, ids[:index])) for index in range(len(ids) + 1)]
    database.register("repaired", parse_batch([token for tokens in ids for token in tokens], offsets))
    print("--- duckdb: repairs by their code")
    for code, count in database.sql(
        "SELECT repair.code, count(*) FROM (SELECT unnest(diagnostics) AS repair FROM repaired WHERE message = 0) "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        print(f"{count:4} {code}")
