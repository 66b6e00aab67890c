"""Tokens come one at a time, or some at a time; text is shown as soon as its characters are whole."""

from harmony import Conversation, Message, Role, StreamableParser, load_harmony_encoding

encoding = load_harmony_encoding("HarmonyGptOss")
question = Message.from_role_and_content(Role.USER, "Wohin am Wochenende? One line, please.")
prompt = encoding.render_conversation_for_completion(Conversation.from_messages([question]), Role.ASSISTANT)
print(f"{len(prompt)} tokens go to the model, which is to stop at {encoding.stop_tokens_for_assistant_actions()}")

# What comes back from it.
tokens = encoding.encode(
    "<|channel|>analysis<|message|>Asked for a plan, in one line.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>🧭 North by the river, then 東京 by train.<|return|>",
    allowed_special="all",
)

# One at a time. A token that ends within a character, as those of an emoji may, has no delta.
parser = StreamableParser(encoding, role=Role.ASSISTANT)
for token in tokens:
    parser.process(token)
    if parser.current_channel == "final" and parser.last_content_delta is not None:
        print(parser.last_content_delta, end="|", flush=True)
print()
parser.process_eos()
print([message.channel for message in parser.messages])

# Several at a time, as from speculative decoding: each step says what it added, message by message.
parser = StreamableParser(encoding, role=Role.ASSISTANT)
for start in range(0, len(tokens), 8):
    for segment in parser.process_many(tokens[start : start + 8]):
        finished = "" if segment.message is None else "  (finished)"
        print(f"{segment.channel:10} {segment.delta!r}{finished}")
