"""Reasoning, calls and answers go to different readers: sort a log's messages by channel, and train on some of them."""

import json
from collections import defaultdict
from pathlib import Path

from harmony import Conversation, Message, RenderConversationConfig, Role, load_harmony_encoding

encoding = load_harmony_encoding("HarmonyGptOss")
log = Path(__file__).with_name("completions.jsonl")

texts = defaultdict(list)
answered: list[Message] = []
for line in log.read_bytes().splitlines():
    record = json.loads(line)
    role = record.get("role", "assistant")
    parse, source = (encoding.parse, "tokens") if "tokens" in record else (encoding.parse_text, "text")
    messages = parse(record[source], role).messages
    for message in messages:
        if message.author.role == "assistant":
            texts[message.channel].append(message.text)
    if not answered and [message.channel for message in messages] == ["analysis", "final"]:
        answered = messages

# Only `final` is for the user. `analysis` is the model's reasoning, `commentary` its calls and what it says on the way.
for channel, found in sorted(texts.items(), key=lambda item: -len(item[1])):
    words = sum(len(text.split()) for text in found)
    print(f"{channel or '(none)':12} {len(found):3} messages, {words:5} words")
print(texts["final"][0])

# For training: the tokens of a conversation, and beside each whether it is to be learned. Here the assistant's answers
# and calls count, and its reasoning does not.
example = Conversation.from_messages([Message.from_role_and_content(Role.USER, "What can you do?"), *answered])
everything = RenderConversationConfig(auto_drop_analysis=False)
rendered = encoding.render_with_spans(example, everything, purpose="training")
mask = rendered.mask(["commentary", "final"])
learned = [token for token, counts in zip(rendered.tokens, mask, strict=True) if counts]
print(f"{len(rendered.tokens)} tokens, {len(learned)} to be learned: {encoding.decode(learned)}")
