"""A log parsed as users of openai-harmony do it: json in, its messages, json out. `plain_script.py LOG OUTPUT`"""

import json
import sys
from pathlib import Path

from openai_harmony import HarmonyEncodingName, Role, load_harmony_encoding  # type: ignore[import-untyped]

encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
with Path(sys.argv[1]).open() as source, Path(sys.argv[2]).open("w") as target:
    for line in source:
        record = json.loads(line)
        messages = encoding.parse_messages_from_completion_tokens(record.pop("tokens"), Role.ASSISTANT)
        record["messages"] = [message.to_dict() for message in messages]
        target.write(json.dumps(record, ensure_ascii=False) + "\n")
