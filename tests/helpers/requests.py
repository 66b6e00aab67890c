"""Requests of the OpenAI APIs, drawn at random, with all that a request may hold, and some that it may not.

Each text is written once in a request, so that it can be found in what is made of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]

_ODD: Final = ["", "", "", "é 日本 🌤", "<|end|>", "<|start|>user<|message|>", "two\nlines\n", '"\\', "\x00", "\r\n"]
#: What may stand anywhere, though nothing expects it.
_HOSTILE: Final = [None, "", 5, True, [], {}, [None], {"a": 1}, float("nan"), b"x", "\ud800", [[]], {"type": "x"}]
_EFFORTS: Final = [None, None, "minimal", "low", "medium", "high", "xhigh", "max", "none", "hard"]


class Request:
    """A request that is drawn from `chance`. `texts` are all that it says."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.texts: list[str] = []
        self._calls: list[str] = []

    def text(self) -> str:
        """A new text, whose characters are carried as they are."""
        text = f"text-{len(self.texts)}." + self.chance.choice(_ODD)
        self.texts.append(text)
        return text

    def word(self) -> str:
        """A new word: a name, or a text that is written within JSON."""
        word = f"word_{len(self.texts)}_"
        self.texts.append(word)
        return word

    def seldom(self, times: int = 4) -> bool:
        return self.chance.randrange(times) == 0

    def some(self, draw: Callable[[], Any], most: int = 3) -> list[Any]:
        return [draw() for _ in range(self.chance.randint(0, most))]

    def spoilt(self, value: Any) -> Any:
        """The value, or seldom one that nothing expects in a place of it. The texts there are not looked for."""
        if not self.seldom(60):
            return value
        before = list(self.texts)
        places: list[tuple[Any, Any]] = []
        _find_places(value, places)
        if places:
            owner, key = self.chance.choice(places)
            owner[key] = self.chance.choice(_HOSTILE)
            self.texts = [text for text in before if _holds(value, text)]
        return value

    # --- what both APIs have

    def parts(self, *kinds: str) -> Any:
        """A content: a text, a list of parts, or nothing. Seldom a part is no text."""
        match self.chance.randrange(6):
            case 0:
                return self.chance.choice([None, "", []])
            case 1 | 2 | 3:
                return self.text()
        parts: list[Any] = [{"type": self.chance.choice(kinds), "text": self.text()} for _ in range(2)]
        if self.seldom(12):
            parts.append({"type": "image_url", "image_url": {"url": self.text()}})
        if self.seldom(12):
            parts[0]["annotations"] = [{"type": "url_citation", "url": self.text()}]
        return parts

    def arguments(self) -> Any:
        match self.chance.randrange(6):
            case 0:
                return {self.word(): {"b": [self.word(), 1.5, None]}}
            case 1:
                return self.chance.choice([None, "", {}])
        return self.text()

    def schema(self) -> Json:
        city = {"type": "string", "description": self.word(), "enum": [self.word(), self.word()]}
        return {"type": "object", "properties": {self.word(): city}, "required": []}

    def function(self) -> Json:
        body: Json = {"name": self.word(), "description": self.word(), "parameters": self.schema()}
        for key in ("description", "parameters"):
            if self.seldom():
                self.texts = [text for text in self.texts if text == body["name"] or not _holds(body[key], text)]
                body[key] = None
        return body

    def tool(self) -> Json:
        kind = self.chance.choice(["chat", "chat", "responses", "custom", "namespace", "web_search", "mcp", "python"])
        match kind:
            case "chat":
                return {"type": "function", "function": {**self.function(), "strict": True}}
            case "responses":
                return {"type": "function", **self.function(), "strict": None}
            case "custom":
                grammar = {"type": "grammar", "syntax": "lark", "definition": self.word()} if self.seldom() else None
                return {"type": "custom", "name": self.word(), "description": self.word(), "format": grammar}
            case "namespace":
                tools = [{"type": "function", **one} for one in self.some(self.function)]
                return {"type": "namespace", "name": self.word(), "description": self.word(), "tools": tools}
            case "mcp":
                if self.seldom():
                    return {"type": "mcp", "server_label": self.word(), "server_url": self.word()}
        return {"type": "web_search"} if kind == "web_search" else {"type": "code_interpreter", "container": "c"}

    def format(self, *, nested: bool) -> Json | None:
        match self.chance.randrange(4):
            case 0:
                body = {"name": self.word(), "schema": self.schema(), "description": self.word(), "strict": True}
                return {"type": "json_schema", "json_schema": body} if nested else {"type": "json_schema", **body}
            case 1:
                return {"type": self.chance.choice(["text", "json_object", "text", "grammar"])}
        return None

    def call_id(self) -> str:
        """The id of a call that is made now."""
        self._calls.append(f"call_{len(self._calls)}")
        return self._calls[-1]

    def answered(self) -> str | None:
        """The id of a call that was made, or seldom another."""
        return "call_none" if self.seldom(20) else self.chance.choice(self._calls)

    def unknown(self, message: Json) -> Json:
        """The message, sometimes with fields that no API has."""
        return {**message, "x-trace": {"a": [1]}, "timestamp": 5} if self.seldom() else message

    # --- Chat Completions

    def chat(self) -> Json:
        """The arguments of `chat.to_harmony`."""
        messages = self.spoilt([self.unknown(self.message()) for _ in range(self.chance.randint(0, 6))])
        return {
            "messages": messages,
            "tools": self.spoilt(self.some(self.tool)),
            "response_format": self.spoilt(self.format(nested=True)),
            "reasoning_effort": self.chance.choice(_EFFORTS) if self.seldom() else None,
            "builtin_tools": ["python", "browser"],
        }

    def message(self) -> Json:
        match self.chance.randrange(8):
            case 0 | 1:
                role = self.chance.choice(["system", "developer"])
                return {"role": role, "content": self.parts("text"), **self._named(20)}
            case 2 | 3:
                return {"role": "user", "content": self.parts("text", "input_text"), **self._named(4)}
            case 4 if self._calls:
                return {"role": "tool", "tool_call_id": self.answered(), "content": self.parts("text")}
            case 5:
                if self.seldom():
                    return {"role": "function", "name": self.word(), "content": self.parts("text")}
        return self.reply()

    def _named(self, times: int) -> Json:
        return {"name": self.word()} if self.seldom(times) else {}

    def reply(self) -> Json:
        message: Json = {"role": "assistant", "content": self.parts("text", "output_text"), **self._named(8)}
        if self.seldom(2):
            message[self.chance.choice(["reasoning", "reasoning_content", "thinking"])] = self.text()
        if self.seldom(2):
            message["tool_calls"] = self.some(self.call)
        if self.seldom(8):
            message["function_call"] = {"name": self.word(), "arguments": self.arguments()}
        if self.seldom(8):
            message["refusal"] = self.text()
        if self.seldom(30):
            message["annotations"] = [{"type": "url_citation", "url_citation": {"url": self.text()}}]
        return message

    def call(self) -> Json:
        if self.seldom(5):
            return {"id": self.call_id(), "type": "custom", "custom": {"name": self.word(), "input": self.word()}}
        body = {"name": self.word(), "arguments": self.arguments()}
        return {"id": self.call_id(), "type": "function", "function": body}

    # --- Responses

    def responses(self) -> Json:
        """The arguments of `responses.to_harmony`."""
        items = self.spoilt([self.unknown(self.item()) for _ in range(self.chance.randint(0, 7))])
        form = self.format(nested=False)
        return {
            "input": items if not self.seldom(8) else self._alone(),
            "instructions": self.text() if self.seldom(2) else None,
            "tools": self.spoilt(self.some(self.tool)),
            "text": self.spoilt({"format": form, "verbosity": self.chance.choice(["medium"] * 20 + ["low"])}),
            "reasoning": {"effort": self.chance.choice(_EFFORTS)} if self.seldom() else None,
            "builtin_tools": ["python", "browser"],
        }

    def _alone(self) -> str:
        self.texts.clear()
        return self.text()

    def item(self) -> Json:
        kinds = [self.said, self.said, self.said, self.reasoning, self.function_call, self.custom_call]
        kinds += [self.output] * 3 if self._calls else []
        return self.chance.choice([*kinds, self.mcp_call, self.python_call, self.search, self.more_tools])()

    def said(self) -> Json:
        role = self.chance.choice(["system", "developer", "user", "user", "assistant", "assistant", "assistant"])
        item: Json = {"role": role}
        if role != "assistant":
            item["content"] = self.parts("input_text")
        else:
            refusal = [{"type": "refusal", "refusal": self.text()}] if self.seldom(6) else None
            item.update(id="msg", status="completed", content=refusal or self.parts("output_text"))
            item["phase"] = self.chance.choice([None, "commentary", "final_answer"])
        if self.seldom(20):
            item["tool_calls"] = [self.call()]
        return {"type": "message", **item} if self.seldom(2) else item

    def reasoning(self) -> Json:
        if self.seldom(10):
            return {"type": "reasoning", "summary": [], "encrypted_content": self.text()}
        if self.seldom(2):
            return {"type": "reasoning", "summary": [{"type": "summary_text", "text": self.text()}]}
        return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": self.text()}]}

    def function_call(self) -> Json:
        call: Json = {"type": "function_call", "name": self.word(), "arguments": self.arguments()}
        if self.seldom():
            call["namespace"] = self.word()
        return {
            **call,
            "call_id": self.call_id(),
            "caller": {"type": self.chance.choice(["direct"] * 19 + ["program"])},
        }

    def custom_call(self) -> Json:
        return {"type": "custom_tool_call", "name": self.word(), "input": self.word(), "call_id": self.call_id()}

    def output(self) -> Json:
        kind = self.chance.choice(["function_call_output", "custom_tool_call_output"])
        return {"type": kind, "call_id": self.answered(), "output": self.parts("input_text")}

    def mcp_call(self) -> Json:
        call: Json = {"type": "mcp_call", "id": "mcp", "server_label": self.word(), "name": self.word()}
        call["arguments"] = self.arguments()
        call[self.chance.choice(["output"] * 4 + ["error"])] = self.text()
        return call

    def python_call(self) -> Json:
        outputs: list[Json] = [{"type": "logs", "logs": self.text()}]
        if self.seldom(6):
            outputs.append({"type": "image", "url": self.text()})
        return {"type": "code_interpreter_call", "id": "ci", "code": self.text(), "outputs": outputs}

    def search(self) -> Json:
        action: Json
        match self.chance.randrange(4):
            case 0:
                action = {"type": "open_page", "url": self.word()}
            case 1:
                action = {"type": "find_in_page", "pattern": self.word(), "url": self.word()}
            case 2:
                action = {"type": "search", "query": self.word()}
            case _:
                action = {"type": "search", "query": self.word(), "queries": [self.word(), self.word()]}
        if self.seldom():
            action["sources"] = [{"type": "url", "url": self.word()}]
        return {"type": "web_search_call", "id": "ws", "action": action, "status": "completed"}

    def more_tools(self) -> Json:
        return {"type": "additional_tools", "role": "developer", "tools": self.some(self.tool, 2)}


def _holds(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(key, text) or _holds(item, text) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_holds(item, text) for item in value)
    return isinstance(value, str) and text in value


def _find_places(value: Any, places: list[tuple[Any, Any]]) -> None:
    """The places in a value. Inside a schema there are none: rendering reads those as openai-harmony does."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        places.append((value, key))
        if key not in ("parameters", "schema"):
            _find_places(item, places)
