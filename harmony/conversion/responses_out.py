"""Replies as output items, responses and events of the Responses API.

Each message of a reply is one item. A stream tells of the beginning, the text and the end of each item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from harmony.conversion.following import Following
from harmony.conversion.given import Shape, listed, plain
from harmony.conversion.items import PHASES, default_item_id, item, reasoning_part, text_part
from harmony.conversion.meaning import Json, Kind, Meaning, Reader, default_call_id, is_cut, numbered, reasoning_tokens
from harmony.encoding import HarmonyEncoding
from harmony.errors import Diagnostic
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.results import ParseResult

#: The id of a response that the caller has not given another one. It is always the same, so equal replies are equal.
_ID: Final = "resp_0"
# For each kind of call whose text is streamed: how its events are named, and the field of the last one with the text.
_CALL_EVENTS: Final = {
    Kind.FUNCTION: ("function_call_arguments", "arguments"),
    Kind.MCP: ("mcp_call_arguments", "arguments"),
    Kind.PYTHON: ("code_interpreter_call_code", "code"),
}
# For each kind of item whose text is streamed: the type of the events with its text.
_DELTAS: Final = {
    Kind.REASONING: "response.reasoning_text.delta",
    **dict.fromkeys(PHASES, "response.output_text.delta"),
    **{kind: f"response.{name}.delta" for kind, (name, _) in _CALL_EVENTS.items()},
}


class Numbers:
    """Counts the items and the calls of a conversation, for their ids."""

    def __init__(
        self, item_id: Callable[[int], str] | None = None, call_id: Callable[[int], str] | None = None
    ) -> None:
        self._item_id = item_id
        self._call_id = call_id or default_call_id
        self._items = 0
        self._calls = 0

    def next(self, meaning: Meaning) -> tuple[str, str]:
        """The id of the next item, and the id of its call; "" where it is none."""
        number = self._items
        self._items += 1
        item_id = default_item_id(meaning, number) if self._item_id is None else self._item_id(number)
        if not meaning.is_call:
            return item_id, ""
        self._calls += 1
        return item_id, self._call_id(self._calls - 1)


def from_harmony(
    messages: Iterable[Message],
    *,
    item_id: Callable[[int], str] | None = None,
    call_id: Callable[[int], str] | None = None,
    tools: Iterable[Shape] = (),
    diagnostics: list[Diagnostic] | None = None,
) -> list[Json]:
    """The assistant's messages as output items of the Responses API, one item for each message.

        >>> items = responses.from_harmony(encoding.parse(tokens, "assistant").messages)
        >>> [(item["type"], item["id"]) for item in items]
        [('reasoning', 'rs_0'), ('message', 'msg_1')]

    `messages` are a Conversation or its messages; those of other authors are left out. Analysis is a reasoning item,
    commentary a message of the phase `commentary`, and other text a message of the phase `final_answer`. A call of a
    function is a `function_call`, with a `namespace` where `tools` declares it. A call of a custom tool in `tools` is a
    `custom_tool_call`, one of `python` a `code_interpreter_call`, one of `browser` a `web_search_call`, and one of
    another name with a dot an `mcp_call`. A call of the browser whose arguments the API has no place for is a
    `function_call`. A `web_search_call` has the arguments themselves too, in the field `arguments`.

    `item_id` makes the id of each item from its number in the conversation; by default they are `rs_0`, `msg_1` and so
    on. `call_id` makes the id of each call from its number; by default they are `call_0`, `call_1` and so on. With
    `tools`, as in a request, the name of a call that no
    tool has is repaired where it becomes one by leaving out what no function's name holds, as in `sky?`. Each such
    repair is appended to the list `diagnostics`, if there is one; its position is the index of the message.
    """
    reader, numbers = Reader(tools), Numbers(item_id, call_id)
    made = []
    for index, message in numbered(messages):
        if message.author.role is Role.ASSISTANT:
            meaning = reader.of_message(message, index)
            made.append(item(meaning, message.text, *numbers.next(meaning), "completed"))
    if diagnostics is not None:
        diagnostics += reader.diagnostics
    return made


def response(
    result: ParseResult,
    *,
    model: str,
    prompt_tokens: int = 0,
    tools: Iterable[Shape] = (),
    item_id: Callable[[int], str] | None = None,
    call_id: Callable[[int], str] | None = None,
    stopped: bool = True,
    diagnostics: list[Diagnostic] | None = None,
    **fields: Any,
) -> Json:
    """A parsed completion as a whole `response` of the API.

        >>> result = encoding.parse(tokens, "assistant", strict=False)
        >>> reply = responses.response(result, model="gpt-oss-20b")
        >>> reply["status"], reply["output"][1]["content"][0]["text"]
        ('completed', 'Blue.')

    The `status` is "incomplete" where the completion is not complete; then so is the item that is cut off. Pass
    `stopped=False` where it is "incomplete" all the same: the model was stopped from outside, right behind a message. A
    message that the model wrote for another author is a message of the phase `final_answer`, so nothing is lost.
    `usage` is None where the completion was parsed from text; `prompt_tokens` are its input tokens.

    `tools` are those of the request; the response repeats them. `fields` are other fields of the response, such as
    `id`, `created_at` or `metadata`. Without them, `id` is `resp_0` and `created_at` is 0. Give each reply of a
    conversation other ids, by `item_id` and `call_id`, which are those of `from_harmony`.
    """
    tools = _listed(tools)
    reader = Reader(tools)
    cut = is_cut(result)
    output = items_of(result.messages, reader, Numbers(item_id, call_id), cut=cut)
    if diagnostics is not None:
        diagnostics += reader.diagnostics
    return _ended(_begun({"model": model, **fields}, tools), result, output, prompt_tokens, stopped=stopped)


def _listed(tools: Iterable[Shape] | None) -> list[Shape]:
    """The tools, which are read twice."""
    return [] if tools is None else [tool for tool, _ in listed(tools, "tools")]


def items_of(messages: Sequence[Message], reader: Reader, numbers: Numbers | None = None, *, cut: bool) -> list[Json]:
    """The messages of a completion as output items of the API. `cut` says that the last of them is cut off."""
    numbers = numbers or Numbers()
    output = []
    for index, message in enumerate(messages):
        meaning = reader.of_message(message, index)
        status = "incomplete" if cut and index == len(messages) - 1 else "completed"
        output.append(item(meaning, message.text, *numbers.next(meaning), status))
    return output


def _begun(fields: Json, tools: list[Any]) -> Json:
    """A response that has just begun. It has all fields that the API asks for."""
    return {
        "id": _ID,
        "object": "response",
        "created_at": 0,
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        **deepcopy(fields),
        "tools": [_tool_of_response(plain(tool, path)) for tool, path in listed(tools, "tools")],
        "status": "in_progress",
        "output": [],
        "usage": None,
    }


def _tool_of_response(tool: Mapping[str, Any]) -> Json:
    """A tool in the shape of Responses: what Chat Completions puts into `function` stands beside the type."""
    made = {name: value for name, value in tool.items() if name != tool.get("type")}
    body = tool.get(tool.get("type", "function"))
    if isinstance(body, Mapping):
        made = {**made, **body}
    if made.get("type", "function") == "function":
        made = {"type": "function", "parameters": None, "strict": None, **made}
    elif made["type"] == "namespace":
        made = {"description": "", **made}
    return deepcopy(made)


def _ended(begun: Json, result: ParseResult, output: list[Json], prompt_tokens: int, *, stopped: bool) -> Json:
    complete = result.complete and stopped
    details = None if complete else {"reason": "max_output_tokens"}
    status = "completed" if complete else "incomplete"
    counts = _usage(result, prompt_tokens)
    return {**begun, "status": status, "incomplete_details": details, "output": output, "usage": counts}


def _usage(result: ParseResult, prompt_tokens: int) -> Json | None:
    if result.token_count is None:
        return None
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": result.token_count,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens(result)},
        "total_tokens": prompt_tokens + result.token_count,
    }


class Stream(Following):
    """A completion as events of the Responses API, while the model writes it.

        >>> stream = responses.Stream(encoding, {"id": "resp_7", "model": "gpt-oss-20b"})
        >>> events = stream.start() + stream.push(tokens) + stream.finish()
        >>> [event["type"] for event in events][:3]
        ['response.created', 'response.in_progress', 'response.output_item.added']

    Each event is a dict that a server writes as JSON. `response` has the fields of the response that are known before,
    such as `id`, `model`, `created_at` and `metadata`; `model` must be there. The last event has what `response` gives
    for the whole completion. The other arguments are those of `response`.

    A call of a custom tool or of the browser is sent at its end, for only the whole call tells what it is. The text of
    all other items is sent while the model writes it. `strict=True` raises HarmonyError for broken input; otherwise it
    is repaired, and `diagnostics` lists the repairs.
    """

    def __init__(
        self,
        encoding: HarmonyEncoding,
        response: Shape,
        *,
        tools: Iterable[Shape] = (),
        strict: bool = False,
        prompt_tokens: int = 0,
        item_id: Callable[[int], str] | None = None,
        call_id: Callable[[int], str] | None = None,
    ) -> None:
        fields = dict(plain(response, "response"))
        tools = _listed(tools) or _listed(fields.get("tools"))
        super().__init__(encoding, tools, strict=strict)
        if not isinstance(fields.get("model"), str):
            raise ValueError("Expected the name of the model in the field `model` of the response, found none")
        self._response = _begun(fields, tools)
        self._prompt_tokens = prompt_tokens
        self._numbers = Numbers(item_id, call_id)
        self._output: list[Json] = []
        self._ids = ("", "")  # of the open item and its call
        self._sent = 0
        self._delta: Json = {}  # the fields that all deltas of the open item share

    def start(self) -> list[Json]:
        """The first two events. `push` and `finish` give them too, where this was not called before."""
        self._begin_once()
        return self._taken()

    def finish(self, stopped: bool = True) -> list[Json]:
        """Takes the end of the tokens, and returns the last events.

        `stopped` is that of `response`. Raises ValueError if it was called before.
        """
        result = self._follow_to_end()
        ended = _ended(self._response, result, self._output, self._prompt_tokens, stopped=stopped)
        self._event(f"response.{ended['status']}", response=ended)
        return self._taken()

    def _greet(self) -> None:
        for kind in ("response.created", "response.in_progress"):
            self._event(kind, response=deepcopy(self._response))

    def _event(self, kind: str, **fields: Any) -> None:
        self._out.append({"type": kind, "sequence_number": self._sent, **fields})
        self._sent += 1

    def _item_event(self, kind: str, **fields: Any) -> None:
        self._event(kind, item_id=self._ids[0], output_index=len(self._output), **fields)

    def _start(self, meaning: Meaning) -> None:
        self._ids = self._numbers.next(meaning)
        if meaning.kind is Kind.BROWSER or meaning.kind is Kind.CUSTOM:
            return
        self._added(item(meaning, None, *self._ids, "in_progress"))
        if meaning.kind in PHASES:
            self._item_event("response.content_part.added", content_index=0, part=text_part(""))
        elif meaning.kind is Kind.REASONING:
            self._item_event("response.content_part.added", content_index=0, part=reasoning_part(""))
        elif meaning.kind is Kind.PYTHON:
            self._item_event("response.code_interpreter_call.in_progress")
        elif meaning.kind is Kind.MCP:
            self._item_event("response.mcp_call.in_progress")

    def _added(self, begun: Json) -> None:
        self._event("response.output_item.added", output_index=len(self._output), item=begun)

    def _add(self, meaning: Meaning, delta: str, *, is_first: bool) -> None:
        if meaning.kind not in _DELTAS:
            return
        if is_first:
            kind = _DELTAS[meaning.kind]
            self._delta = {"type": kind, "item_id": self._ids[0], "output_index": len(self._output)}
            if not meaning.is_call:
                self._delta["content_index"] = 0
        self._make = self._text_event if meaning.kind in PHASES else self._delta_event
        self._out.append(self._make(delta))

    def _delta_event(self, delta: str) -> Json:
        self._sent += 1
        return {**self._delta, "sequence_number": self._sent - 1, "delta": delta}

    def _text_event(self, delta: str) -> Json:
        self._sent += 1
        return {**self._delta, "sequence_number": self._sent - 1, "delta": delta, "logprobs": []}

    def _end(self, meaning: Meaning, text: str, *, cut: bool) -> None:
        done = item(meaning, text, *self._ids, "incomplete" if cut else "completed")
        if meaning.kind in PHASES:
            self._item_event("response.output_text.done", content_index=0, text=text, logprobs=[])
            self._item_event("response.content_part.done", content_index=0, part=text_part(text))
        elif meaning.kind is Kind.REASONING:
            self._item_event("response.reasoning_text.done", content_index=0, text=text)
            self._item_event("response.content_part.done", content_index=0, part=reasoning_part(text))
        elif meaning.kind in _CALL_EVENTS:
            self._call_done(meaning.kind, meaning.name, text)
        else:
            self._whole_call(done, text)
        self._event("response.output_item.done", output_index=len(self._output), item=deepcopy(done))
        self._output.append(done)

    def _call_done(self, kind: Kind, name: str, text: str) -> None:
        events, field = _CALL_EVENTS[kind]
        more = {"name": name} if kind is Kind.FUNCTION else {}
        self._item_event(f"response.{events}.done", **{field: text}, **more)

    def _whole_call(self, done: Json, text: str) -> None:
        """The events of a call that is sent at its end: of the browser, or of a custom tool."""
        if done["type"] == "web_search_call":
            self._added({**done, "status": "in_progress"})
            self._item_event("response.web_search_call.in_progress")
        elif done["type"] == "custom_tool_call":
            self._added({**done, "input": ""})
            if done["input"]:
                self._item_event("response.custom_tool_call_input.delta", delta=done["input"])
            self._item_event("response.custom_tool_call_input.done", input=done["input"])
        else:
            self._added({**done, "arguments": "", "status": "in_progress"})
            if text:
                self._item_event("response.function_call_arguments.delta", delta=text)
            self._call_done(Kind.FUNCTION, done["name"], text)
