"""Reasoning, preambles and answers go to different readers: sort a log's messages by channel."""

import json
from collections import defaultdict
from pathlib import Path

from harmony import load_harmony_encoding

encoding = load_harmony_encoding("HarmonyGptOss")
log = Path(__file__).with_name("completions.jsonl")

texts = defaultdict(list)
for line in log.read_bytes().splitlines():
    record = json.loads(line)
    role = record.get("role", "assistant")
    parse, source = (encoding.parse, "tokens") if "tokens" in record else (encoding.parse_text, "text")
    for message in parse(record[source], role).messages:
        if message.author.role == "assistant":
            texts[message.channel].append("".join(part.text for part in message.content))

# Only `final` is for the user. `analysis` is the model's reasoning, `commentary` its calls and what it says on the way.
for channel, found in sorted(texts.items(), key=lambda item: -len(item[1])):
    words = sum(len(text.split()) for text in found)
    print(f"{channel or '(none)':12} {len(found):3} messages, {words:5} words")
print(texts["final"][0])
