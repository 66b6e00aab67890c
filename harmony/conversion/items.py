"""The output items of the Responses API that stand for the messages of a reply."""

from __future__ import annotations

from typing import Final

import msgspec

from harmony.conversion.meaning import Json, Kind, Meaning
from harmony.conversion.tools import custom_input

#: The `phase` of a message of text.
PHASES: Final = {Kind.COMMENTARY: "commentary", Kind.FINAL: "final_answer"}

# The beginning of each item's id by default.
_PREFIXES: Final = {
    Kind.REASONING: "rs",
    Kind.COMMENTARY: "msg",
    Kind.FINAL: "msg",
    Kind.FUNCTION: "fc",
    Kind.CUSTOM: "ctc",
    Kind.MCP: "mcp",
    Kind.PYTHON: "ci",
    Kind.BROWSER: "ws",
}
# The API asks for the container in which code runs. A reply does not name one.
_CONTAINER: Final = "auto"


def default_item_id(meaning: Meaning, number: int) -> str:
    """The id of an item, by its number in the conversation: `rs_0`, `msg_1`, `fc_2`, …"""
    return f"{_PREFIXES[meaning.kind]}_{number}"


def item(meaning: Meaning, text: str | None, item_id: str, call_id: str, status: str) -> Json:
    """The item for a message. `text` is None for an item that has just begun: its content is an empty list."""
    kind = meaning.kind
    if kind is Kind.REASONING:
        content = [] if text is None else [reasoning_part(text)]
        return {"id": item_id, "type": "reasoning", "summary": [], "content": content, "status": status}
    if kind in PHASES:
        content = [] if text is None else [text_part(text)]
        message = {"id": item_id, "type": "message", "role": "assistant", "content": content, "status": status}
        return {**message, "phase": PHASES[kind]}
    written = text or ""
    if kind is Kind.PYTHON:
        call = {"id": item_id, "type": "code_interpreter_call", "code": written, "container_id": _CONTAINER}
        return {**call, "outputs": None, "status": status}
    if kind is Kind.MCP:
        tool = {"server_label": meaning.space, "name": meaning.name}
        return {"id": item_id, "type": "mcp_call", **tool, "arguments": written, "status": status}
    if kind is Kind.BROWSER:
        action = browser_action(meaning.name, written)
        if action is not None and status == "completed":
            return {"id": item_id, "type": "web_search_call", "action": action, "arguments": written, "status": status}
        meaning = Meaning(Kind.FUNCTION, meaning.full_name)
    call = {"id": item_id, "call_id": call_id, "name": meaning.name}
    if meaning.space is not None:
        call["namespace"] = meaning.space
    if kind is Kind.CUSTOM:
        return {**call, "type": "custom_tool_call", "input": custom_input(written), "status": status}
    return {**call, "type": "function_call", "arguments": written, "status": status}


def text_part(text: str) -> Json:
    """The part of a message that holds a text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning_part(text: str) -> Json:
    """The part of a reasoning item that holds a text."""
    return {"type": "reasoning_text", "text": text}


def browser_action(name: str, arguments: str) -> Json | None:
    """The action of a web search that a call of the browser stands for; None where the API has no such action."""
    try:
        found = msgspec.json.decode(arguments)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if name == "search" and isinstance(query := found.get("query"), str):
        return {"type": "search", "query": query, "queries": [query]}
    url = found.get("id")
    if name == "open":
        return {"type": "open_page", "url": url if isinstance(url, str) else None}
    if name == "find" and isinstance(pattern := found.get("pattern"), str):
        return {"type": "find_in_page", "url": url if isinstance(url, str) else "", "pattern": pattern}
    return None
