"""A completion's token ids become messages, with where each stood and how it ended."""

from harmony import HarmonyError, Role, load_harmony_encoding

encoding = load_harmony_encoding("HarmonyGptOss")

# What a model wrote after the prompt's `<|start|>assistant`. A server has these ids already; here they are encoded.
tokens = encoding.encode(
    "<|channel|>analysis<|message|>The user greets in German; answer in German.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Guten Tag! Wobei kann ich helfen?<|return|>",
    allowed_special="all",
)

result = encoding.parse(tokens, role=Role.ASSISTANT)
for message, span in zip(result.messages, result.spans, strict=True):
    text = "".join(part.text for part in message.content)
    print(f"{message.channel}: {text!r}, tokens {span.content_start} to {span.stop}, ended by {span.end}")
print("complete:", result.complete)
print(result.messages[-1].to_json())

# A completion that was cut off gives what is there.
cut = encoding.parse(tokens[:-5], role=Role.ASSISTANT)
print("complete:", cut.complete, "- last:", cut.messages[-1].content[0].text)

# One that is wrong says what and where, and keeps the messages before it.
try:
    encoding.parse([*tokens, *tokens], role=Role.ASSISTANT)
except HarmonyError as error:
    print(f"{error.code}: {error} ({len(error.messages)} messages before it)")
