"""Logs on a Ray cluster: files to files, as `harmony parse` does it, and datasets to datasets, amid what else Ray does.

With RAY_ADDRESS it works on that cluster, and else on one that it begins here. Names may be URIs, as s3://bucket/logs.
"""

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import ray
from ray.data.expressions import col

import harmony.ray
from harmony.logs.convert import Task

log = Path(__file__).parent / "completions.jsonl"
ray.init(log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False

with tempfile.TemporaryDirectory() as folder:
    # Files to files: a folder of parts, in the order of the log, with _SUCCESS when it is whole.
    tally = harmony.ray.run(Task(to="rows"), [str(log)], f"{folder}/messages/")
    print(f"{tally.records} records, {tally.messages} messages, {tally.tokens} tokens, repairs: {tally.diagnostics}")
    print(*sorted(path.name for path in Path(folder, "messages").iterdir()))

# Datasets to datasets: one row a message. What is asked for is computed when it is asked for.
records = [json.loads(line) for line in log.read_bytes().splitlines()]
columns = {name: [record.get(name) for record in records] for name in ("id", "tokens", "text")}
completions = ray.data.from_arrow(pa.table(columns))
messages = harmony.ray.parse(completions, tokens="tokens", text="text")
answers = messages.filter(expr=col("channel") == "final").select_columns(["id", "content"])
print(f"{answers.count()} answers, such as {answers.take(1)[0]}")
calls = messages.filter(expr=col("stop") == "call")
for row in calls.groupby("recipient").count().sort("recipient").take(5):
    print(f"{row['count()']:4} {row['recipient']}")
ray.shutdown()
