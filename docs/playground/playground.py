"""What the page asks, answered by harmony. It runs in the page's worker, and in the tests also in CPython.

A question and its answer are JSON. A question has these fields:

- `kind`: what the input is: "text", "tokens", "messages" (in harmony's JSON) or "chat" (of the Chat Completions API).
- `input`: the input as it was typed.
- `start`: "completion", "conversation" or "prompt". Text and ids are read as this. Messages are rendered as this.
- `strict`: whether a fault is an error. If not, it is repaired.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

if sys.platform == "emscripten":
    import bpe

    sys.modules["tiktoken"] = bpe

import harmony
from harmony import Conversation, Diagnostic, Finding, HarmonyError, Message, Span, chat, show
from harmony.viewing.characters import readable

#: How many tokens the page shows one by one. The list of ids has all of them.
MOST_SHOWN = 2000
_DEEPEST = 500
#: The fields of a request that `chat.to_harmony` reads.
_READ = ("messages", "tools", "response_format", "reasoning_effort")
#: Renders all messages. Otherwise a final answer drops the messages on `analysis` before it.
_WHOLE = harmony.RenderConversationConfig(auto_drop_analysis=False)

encoding = harmony.load_harmony_encoding("HarmonyGptOss")


class Given(NamedTuple):
    """The input of a question: as a text or not, as token ids, and what the reader has to know about it."""

    text: str | None
    tokens: list[int]
    note: str = ""


def answer(question: str) -> str:
    """The answer to a question. Where the input cannot be read at all, it has only `problem` and `unseen`."""
    asked = json.loads(question)
    try:
        given = READERS[asked["kind"]](asked["input"], asked["start"])
    except (HarmonyError, ValueError, TypeError, RecursionError) as error:
        found: dict[str, Any] = {"problem": str(error)}
    else:
        found = _about(given, asked["start"], strict=asked["strict"])
    return json.dumps({**found, "unseen": _unseen(found)})


def _about(given: Given, start: Any, *, strict: bool) -> dict[str, Any]:
    role = "assistant" if start == "completion" else None
    began = time.perf_counter()
    error = result = None
    try:
        if given.text is None:
            result = encoding.parse(given.tokens, role, strict=strict)
        else:
            result = encoding.parse_text(given.text, role, strict=strict)
    except HarmonyError as fault:
        error = fault
    seconds = time.perf_counter() - began
    messages = list(error.messages if error else result.messages if result else [])
    source = given.tokens if given.text is None else given.text
    return {
        "unit": "token" if given.text is None else "character",
        "note": given.note,
        "text": _decoded(given.tokens) if given.text is None else given.text,
        "tokens": given.tokens,
        "shown": [_decoded([token]) for token in given.tokens[:MOST_SHOWN]],
        "messages": [message.to_dict() for message in messages],
        "json": Conversation(messages).to_json(),
        "spans": list(map(_span, result.spans)) if result else [],
        "complete": bool(result and result.complete),
        "next_role": result.next_role if result else None,
        "error": {"code": error.code, "message": error.args[0], "position": error.position} if error else None,
        "diagnostics": list(map(_diagnostic, result.diagnostics)) if result else [],
        "findings": list(map(_diagnostic, harmony.validate(source, start))),
        "page": _page(result, messages, source),
        "seconds": seconds,
    }


# --- the four kinds of input


def _read_text(text: str, _: str) -> Given:
    return Given(text, encoding.encode(text, allowed_special="all"))


def _read_tokens(text: str, _: str) -> Given:
    words = re.sub(r"[\[\],]", " ", text).split()
    for number, word in enumerate(words):
        if not re.fullmatch("-?[0-9]+", word):
            raise ValueError(f"Expected token ids, such as `200006, 1428`; found {word!r} as number {number}")
    return Given(None, list(map(int, words)))


def _read_messages(text: str, start: str) -> Given:
    data = _loaded(text)
    return _rendered(Conversation.from_dict({"messages": data} if isinstance(data, list) else data), start)


def _read_chat(text: str, start: str) -> Given:
    data = _loaded(text)
    request = {"messages": data} if isinstance(data, list) else data
    if not isinstance(request, dict) or request.get("messages") is None:
        raise ValueError("Expected a list of messages, or a request with the field `messages`")
    fields = {name: value for name, value in request.items() if name in _READ and value is not None}
    others = ", ".join(f"`{name}`" for name in request if name not in _READ)
    note = f"These fields of the request have no place in the prompt: {others}." if others else ""
    return _rendered(chat.to_harmony(**fields), start, note)


def _loaded(text: str) -> Any:
    """The value of JSON. JSON that is nested too deeply would end Python in a browser, whose stack is small."""
    depth = 0
    for sign in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        depth += (sign in "[{") - (sign in "]}")
        if depth > _DEEPEST:
            raise ValueError(f"Expected JSON with at most {_DEEPEST} lists and objects inside each other, found more")
    return json.loads(text)


READERS: dict[str, Callable[[str, str], Given]] = {
    "text": _read_text,
    "tokens": _read_tokens,
    "messages": _read_messages,
    "chat": _read_chat,
}


def _rendered(conversation: Conversation, start: str, note: str = "") -> Given:
    if start != "prompt":
        return Given(None, encoding.render_conversation(conversation, _WHOLE), note)
    tokens = encoding.render_conversation_for_completion(conversation, "assistant")
    if tokens != encoding.render_conversation_for_completion(conversation, "assistant", _WHOLE):
        note = f"A prompt leaves out the messages on `analysis` before a final answer. {note}"
    return Given(None, tokens, note)


# --- the parts of an answer


def _decoded(tokens: list[int]) -> str | None:
    """The text of token ids. Bytes that are not UTF-8 are written out. None if one is no id of a token."""
    try:
        return encoding.decode(tokens, errors="backslashreplace" if len(tokens) == 1 else "replace")
    except HarmonyError:
        return None


def _unseen(found: dict[str, Any]) -> dict[str, str]:
    """Each character of an answer that the page has to write out, and how. JSON has escapes for those below a space."""
    characters = {*json.dumps(found, ensure_ascii=False), *map(chr, range(0x20))}
    return {each: written for each in sorted(characters) if (written := readable(each)) != each}


def _span(span: Span) -> dict[str, Any]:
    return {"start": span.start, "content_start": span.content_start, "stop": span.stop, "end": span.end}


def _diagnostic(found: Diagnostic) -> dict[str, Any]:
    place = {"line": found.line, "column": found.column, "excerpt": found.excerpt} if isinstance(found, Finding) else {}
    return {"code": found.code, "message": found.message, "position": found.position, **place}


def _page(result: harmony.ParseResult | None, messages: list[Message], source: str | list[int]) -> str | None:
    """The viewer's HTML of a result, or of the messages before an error. None if there are none."""
    if result is not None:
        return show(result, source)._repr_html_()
    return show(messages)._repr_html_() if messages else None
