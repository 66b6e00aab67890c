"""What is written about the codes of conversions from and to the APIs of OpenAI."""

from __future__ import annotations

from typing import Final

from harmony.explanations.entry import Entry, entry
from harmony.explanations.examples import Called

CONVERSION: Final[dict[str, Entry]] = {
    "invalid-field": entry(
        "A field is missing, or holds what it cannot hold. Correct the field that the path names.",
        Called('chat.to_harmony([{"role": "user", "content": 5}])'),
        Called('chat.to_harmony([{"role": "critic", "content": "Hi"}])'),
        Called('chat.to_harmony("Hi")'),
    ),
    "unsupported-content": entry(
        "A message has a part that is no text, such as an image. Harmony has text alone. Leave the part out, or put a "
        "text in its place.",
        Called(
            'image = {"type": "image_url", "image_url": {"url": "https://example.com/sky.png"}}\n'
            'chat.to_harmony([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}])'
        ),
    ),
    "unsupported-field": entry(
        "A field says something that Harmony has no place for. It would be lost, so it is refused. Leave it out if you "
        "do not need it.",
        Called('chat.to_harmony([{"role": "user", "content": "Hi", "tool_calls": [{"id": "call_1"}]}])'),
        Called('responses.to_harmony([{"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}])'),
    ),
    "unsupported-item": entry(
        "An item of the Responses API has a type that Harmony has no place for, such as a reference to an item that is "
        "stored elsewhere. Put the item itself in its place, or leave it out.",
        Called('responses.to_harmony([{"type": "item_reference", "id": "msg_7"}])'),
    ),
    "unsupported-tool": entry(
        "A tool is no function that a model of the family gpt-oss can call, or it is a built-in tool that "
        "`builtin_tools` does not name. Name it there if you can run it.",
        Called('chat.to_harmony([], tools=[{"type": "image_generation"}])'),
        Called('responses.to_harmony("Hi", tools=[{"type": "web_search"}])'),
    ),
    "unsupported-format": entry(
        "The response format is none that Harmony can tell the model.",
        Called('chat.to_harmony([], response_format={"type": "grammar"})'),
    ),
    "duplicate-tool": entry(
        "Two tools, or two namespaces, have the same name. A call could not tell which is meant. Rename one.",
        Called('chat.to_harmony([], tools=2 * [{"type": "function", "function": {"name": "sky"}}])'),
    ),
    "unknown-effort": entry(
        "The effort of reasoning is none that the models have. They always reason, so `none` is refused too.",
        Called('chat.to_harmony([], reasoning_effort="none")'),
    ),
    "unknown-call": entry(
        "The result of a tool does not say which tool it is of: no earlier call has its id, and it has no name. Keep "
        "the message with the call, or give the result a `name`.",
        Called('chat.to_harmony([{"role": "tool", "tool_call_id": "call_9", "content": "blue"}])'),
    ),
    "cut-call": entry(
        "The completion ends inside a call, whose arguments cannot be used. The message of Chat Completions leaves the "
        "call out. Let the model go on, or take the messages of Harmony or the items of Responses, which have all that "
        "it wrote. The position is the index of the message.",
        Called(
            "text = '<|channel|>commentary to=functions.sky<|message|>{\"at\": '\n"
            "found = []\n"
            'result = encoding.parse_text(text, "assistant", strict=False)\n'
            'chat.completion(result, model="gpt-oss", diagnostics=found)\n'
            "found"
        ),
    ),
    "repaired-tool-name": entry(
        "The model called a tool that is not declared, and leaving out characters that no function's name has makes "
        "the name a declared one. The call is taken for one of that tool. The position is the index of the message.",
        Called(
            'tools = [{"type": "function", "function": {"name": "sky"}}]\n'
            'text = "<|channel|>commentary to=functions.sky?<|message|>{}<|call|>"\n'
            "found = []\n"
            'chat.from_harmony(encoding.parse_text(text, "assistant").messages, tools=tools, diagnostics=found)\n'
            "found"
        ),
    ),
}
