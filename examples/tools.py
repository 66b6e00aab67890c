"""A completion calls a function: run it, and put the tool's message after the call."""

import json

from harmony import Author, Conversation, Message, Role, load_harmony_encoding

encoding = load_harmony_encoding("HarmonyGptOss")
tokens = encoding.encode(
    "<|channel|>analysis<|message|>Need the weather in Oslo; call the function.<|end|>"
    "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
    '<|message|>{"city": "Oslo", "days": 2}<|call|>',
    allowed_special="all",
)


def get_weather(city: str, days: int) -> dict[str, object]:
    return {"city": city, "forecast": ["rain", "sun"][:days]}


FUNCTIONS = {"functions.get_weather": get_weather}

conversation = Conversation.from_messages([Message.from_role_and_content(Role.USER, "Do I need an umbrella in Oslo?")])
for message in encoding.parse(tokens, role=Role.ASSISTANT).messages:
    conversation.messages.append(message)
    if message.recipient in FUNCTIONS:
        arguments = json.loads(message.content[0].text)
        answer = json.dumps(FUNCTIONS[message.recipient](**arguments))
        tool = Author(role=Role.TOOL, name=message.recipient)
        conversation.messages.append(
            Message.from_author_and_content(tool, answer).with_channel("commentary").with_recipient("assistant")
        )

for message in conversation:
    print(message.to_json())
