"""The model calls a function: declare it, run it, put its result after the call, and ask the model to go on."""

import json

from harmony import (
    Author,
    Conversation,
    DeveloperContent,
    Message,
    Role,
    SystemContent,
    ToolDescription,
    load_harmony_encoding,
)

encoding = load_harmony_encoding("HarmonyGptOss")


def get_weather(city: str, days: int = 1) -> dict[str, object]:
    return {"city": city, "forecast": ["rain", "sun"][:days]}


FUNCTIONS = {"functions.get_weather": get_weather}
DECLARED = ToolDescription.new(
    "get_weather",
    "Gets the forecast for a city.",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city's name, e.g. Oslo"},
            "days": {"type": "integer", "default": 1},
        },
        "required": ["city"],
    },
)

conversation = Conversation.from_messages(
    [
        Message.from_role_and_content(Role.SYSTEM, SystemContent.new()),
        Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_function_tools([DECLARED])),
        Message.from_role_and_content(Role.USER, "Do I need an umbrella in Oslo?"),
    ]
)
prompt = encoding.render_conversation_for_completion(conversation, Role.ASSISTANT)
print(encoding.decode(prompt))
print(f"--- {len(prompt)} tokens")

# What the model wrote: it thinks, then it calls, and `<|call|>` makes the server stop.
completion = encoding.encode(
    "<|channel|>analysis<|message|>Need the weather in Oslo; call the function.<|end|>"
    "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
    '<|message|>{"city": "Oslo", "days": 2}<|call|>',
    allowed_special="all",
)
for message in encoding.parse(completion, role=Role.ASSISTANT).messages:
    conversation.messages.append(message)
    if message.recipient in FUNCTIONS:
        arguments = json.loads(message.text)
        answer = json.dumps(FUNCTIONS[message.recipient](**arguments))
        tool = Author(role=Role.TOOL, name=message.recipient)
        conversation.messages.append(
            Message.from_author_and_content(tool, answer).with_channel("commentary").with_recipient("assistant")
        )

# The model goes on from its thinking and the result. What was rendered before is remembered, and not encoded again.
longer = encoding.render_conversation_for_completion(conversation, Role.ASSISTANT)
print("...", encoding.decode(longer[len(prompt) :]))
