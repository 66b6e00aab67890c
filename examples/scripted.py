"""A model that replays a log. It stands for an engine in server.py, and prints here what it can write."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harmony import Conversation, DeveloperContent, Role, load_harmony_encoding

encoding = load_harmony_encoding("HarmonyGptOss")
STOPS = encoding.stop_tokens_for_assistant_actions()


class Reply(NamedTuple):
    tokens: list[int]
    after: str | None  # the tool whose result it answers
    call: str | None  # the tool that it calls
    text: str  # of its last message: the answer, or the arguments of the call
    words: set[str]


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def read_replies(name: str) -> Iterator[Reply]:
    for line in Path(__file__).with_name(name).read_bytes().splitlines():
        record = json.loads(line)
        if "role" in record or record["finish_reason"] == "length":
            continue
        # Only text that we wrote ourselves may be encoded with its markers; never what a user typed.
        tokens = record.get("tokens") or encoding.encode(record["text"], allowed_special="all")
        # Some records go on behind a call, with its result. An engine stops at the call.
        stop = next(index for index, token in enumerate(tokens) if token in STOPS)
        tokens = tokens[: stop + 1]
        messages = encoding.parse(tokens, Role.ASSISTANT, strict=False).messages
        said = words(" ".join(message.text for message in messages))
        yield Reply(tokens, record.get("after"), messages[-1].recipient, messages[-1].text, said)


REPLIES = [*read_replies("replies.jsonl"), *read_replies("completions.jsonl")]


def choose(conversation: Conversation) -> Reply:
    """The reply that fits. Calls go first, then replies that share the most words with the last message."""
    last = conversation.messages[-1]
    after = last.author.name if last.author.role is Role.TOOL else None
    developer = [part for message in conversation for part in message.content if isinstance(part, DeveloperContent)]
    spaces = [space for content in developer for space in (content.tools or {}).values()]
    tools = {f"{space.name}.{tool.name}" for space in spaces for tool in space.tools}
    schemas = [form.schema for content in developer for form in content.response_formats or ()]
    fitting = [
        reply
        for reply in REPLIES
        if reply.after == after and (reply.call in tools if reply.call else has_form(reply.text, schemas))
    ]
    asked = words(last.text)

    def likeness(reply: Reply) -> tuple[bool, int]:
        return bool(reply.call), len(asked & reply.words) // 2  # a single word is chance

    return max(fitting, key=likeness, default=REPLIES[0])


def has_form(text: str, schemas: list[dict[str, Any]]) -> bool:
    """Whether a text is an object with the fields of the schema, or where there is no schema, no object."""
    try:
        fields = json.loads(text).keys()
    except (ValueError, AttributeError):
        return not schemas
    return bool(schemas) and fields == schemas[0].get("properties", fields).keys()


async def generate(conversation: Conversation, prompt: list[int], limit: int | None) -> AsyncIterator[int]:
    """The token ids that continue the prompt, up to one of STOPS or to the limit."""
    for token in choose(conversation).tokens[:limit]:
        await asyncio.sleep(0.002)
        yield token


if __name__ == "__main__":
    for reply in REPLIES:
        told = f"answers {reply.after}" if reply.after else f"calls {reply.call}" if reply.call else "answers"
        print(f"{told}: {reply.text!r}")
