"""A conversation becomes a prompt, what the model answers becomes messages, and these begin the next turn."""

from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyError,
    Message,
    Role,
    SystemContent,
    drop_analysis,
    load_harmony_encoding,
)

encoding = load_harmony_encoding("HarmonyGptOss")
conversation = Conversation.from_messages(
    [
        Message.from_role_and_content(Role.SYSTEM, SystemContent.new().with_conversation_start_date("2025-06-28")),
        Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_instructions("Answer in one line.")),
        Message.from_role_and_content(Role.USER, "Guten Tag! Was ist ein Haiku?"),
    ]
)

# What the model reads: the conversation, and an open `<|start|>assistant`.
prompt = encoding.render_conversation_for_completion(conversation, Role.ASSISTANT)
print(encoding.decode(prompt))
print(f"--- {len(prompt)} tokens")

# What it wrote. A server has these ids already; here they are encoded.
completion = encoding.encode(
    "<|channel|>analysis<|message|>The user asks in German; answer in German, in one line.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Ein Gedicht aus drei Zeilen mit 5, 7 und 5 Silben.<|return|>",
    allowed_special="all",
)
result = encoding.parse(completion, role=Role.ASSISTANT)
for message, span in zip(result.messages, result.spans, strict=True):
    print(f"{message.channel}: {message.text!r}, tokens {span.content_start} to {span.stop}")

# The next turn: the messages are added as they are, and the thinking behind the answer is left out.
conversation.messages += result.messages
conversation.messages.append(Message.from_role_and_content(Role.USER, "Schreib eins über Regen."))
longer = encoding.render_conversation_for_completion(drop_analysis(conversation), Role.ASSISTANT)
print("...", encoding.decode(longer[len(prompt) :]))

# A completion that was cut off gives what is there.
cut = encoding.parse(completion[:-5], role=Role.ASSISTANT)
print("complete:", cut.complete, "- last:", cut.messages[-1].text)

# One that is wrong says what and where, and keeps the messages before it.
try:
    encoding.parse([*completion, *completion], role=Role.ASSISTANT)
except HarmonyError as error:
    print(f"{error.code}: {error} ({len(error.messages)} messages before it)")
