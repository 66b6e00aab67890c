"""Replies as messages and chunks of the Chat Completions API.

One message of the API has fields: the reasoning, the content, and the calls. Several texts of one field are joined by a
line end. A stream does the same: the line end opens the first delta of the later text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from harmony.conversion.following import Following
from harmony.conversion.given import Shape
from harmony.conversion.meaning import Json, Kind, Meaning, Reader, default_call_id, is_cut, reasoning_tokens, turns
from harmony.conversion.tools import custom_input
from harmony.encoding import HarmonyEncoding
from harmony.errors import Diagnostic
from harmony.messages.model import Message
from harmony.results import ParseResult

#: The id of a reply that the caller has not given another one. It is always the same, so equal replies are equal.
_ID: Final = "chatcmpl-0"
_JOINT: Final = "\n"
_OTHER_FIELDS: Final = frozenset({"", "role", "content", "tool_calls"})


class _Reply:
    """The fields of one message of the API."""

    def __init__(self) -> None:
        self.content: list[str] | None = None
        self.reasoning: list[str] = []
        self.calls: list[Json] = []

    def add(self, meaning: Meaning, text: str, call_id: str) -> None:
        if meaning.is_call:
            self.calls.append(_call(meaning, text, call_id))
        elif meaning.kind is Kind.REASONING:
            self.reasoning += [text] if text else []
        else:
            self.content = [*(self.content or ()), *([text] if text else [])]

    def to_dict(self, reasoning_field: str) -> Json:
        message: Json = {
            "role": "assistant",
            "content": None if self.content is None else _JOINT.join(self.content),
        }
        if self.reasoning:
            message[reasoning_field] = _JOINT.join(self.reasoning)
        if self.calls:
            message["tool_calls"] = self.calls
        return message


def _call(meaning: Meaning, text: str, call_id: str) -> Json:
    if meaning.kind is Kind.CUSTOM:
        body = {"name": meaning.full_name, "input": custom_input(text)}
        return {"id": call_id, "type": "custom", "custom": body}
    return {"id": call_id, "type": "function", "function": {"name": meaning.full_name, "arguments": text}}


def from_harmony(
    messages: Iterable[Message],
    *,
    reasoning_field: str = "reasoning",
    call_id: Callable[[int], str] | None = None,
    tools: Iterable[Shape] = (),
    diagnostics: list[Diagnostic] | None = None,
) -> list[Json]:
    """The assistant's turns as messages of the Chat Completions API, one message for each turn.

        >>> tokens = encoding.encode("<|channel|>analysis<|message|>Easy.<|end|>"
        ...     "<|start|>assistant<|channel|>final<|message|>Blue.<|return|>", allowed_special="all")
        >>> chat.from_harmony(encoding.parse(tokens, "assistant").messages)
        [{'role': 'assistant', 'content': 'Blue.', 'reasoning': 'Easy.'}]

    `messages` are a Conversation or its messages. Those of other authors are left out; they end a turn. `content` is
    None where a turn has neither a preamble nor an answer. The arguments of calls are the text that the model wrote.
    `functions.sky` and `sky` are the function `sky`; a name with another namespace stays whole, as in `crm.find`.

    `reasoning_field` is the field for the analysis. `call_id` makes the id of each call from its number in the
    conversation; by default the ids are `call_0`, `call_1` and so on. With `tools`, as in a request, the name of a call
    that no tool has is repaired where it becomes one by leaving out what no function's name holds, as in `sky?`. Each
    such repair is appended to the list `diagnostics`, if there is one; its position is the index of the message.
    """
    reader, field = Reader(tools), _checked_field(reasoning_field)
    make_id = call_id or default_call_id
    calls = 0
    made = []
    for turn in turns(messages):
        reply = _Reply()
        for index, message in turn:
            meaning = reader.of_message(message, index)
            reply.add(meaning, message.text, make_id(calls) if meaning.is_call else "")
            calls += meaning.is_call
        made.append(reply.to_dict(field))
    if diagnostics is not None:
        diagnostics += reader.diagnostics
    return made


def completion(
    result: ParseResult,
    *,
    model: str,
    prompt_tokens: int = 0,
    id: str | None = None,
    created: int | None = None,
    tools: Iterable[Shape] = (),
    reasoning_field: str = "reasoning",
    call_id: Callable[[int], str] | None = None,
    stopped: bool = True,
    diagnostics: list[Diagnostic] | None = None,
    **fields: Any,
) -> Json:
    """A parsed completion as a whole `chat.completion` of the API, with one choice and with usage.

        >>> result = encoding.parse(tokens, "assistant", strict=False)
        >>> reply = chat.completion(result, model="gpt-oss-20b", prompt_tokens=120)
        >>> reply["choices"][0]["finish_reason"], reply["usage"]["completion_tokens"]
        ('stop', 14)

    `finish_reason` is "length" where the completion is not complete, "tool_calls" where it has a call, else "stop".
    Pass `stopped=False` where it is "length" all the same: the model was stopped from outside, right behind a message.
    A call that is cut off is left out, which a diagnostic tells. A message that the model wrote for another author is
    content, so nothing is lost. `usage` is None where the completion was parsed from text. `id` and `created` are
    `chatcmpl-0` and 0 where none are given. The other arguments are those of `from_harmony`; `fields` are added to the
    result, such as `system_fingerprint`. Give each reply of a conversation other ids of calls, by `call_id`.
    """
    reader = Reader(tools)
    cut = is_cut(result)
    message = message_of(result.messages, reader, cut, reasoning_field, call_id or default_call_id)
    if diagnostics is not None:
        diagnostics += reader.diagnostics
    reason = finish_reason(complete=result.complete and stopped, calls="tool_calls" in message)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    head = _head("chat.completion", model, id, created)
    return {**head, "choices": [choice], "usage": usage(result, prompt_tokens), **fields}


def message_of(
    messages: Sequence[Message],
    reader: Reader,
    cut: bool,
    reasoning_field: str = "reasoning",
    call_id: Callable[[int], str] = default_call_id,
) -> Json:
    """The messages of a completion as one message of the API. `cut` says that the last of them is cut off.

    A call that is cut off is left out, which a diagnostic of the reader tells.
    """
    reply = _Reply()
    for index, message in enumerate(messages):
        meaning = reader.of_message(message, index)
        if cut and meaning.is_call and index == len(messages) - 1:
            reader.note_cut(meaning, index)
        else:
            reply.add(meaning, message.text, call_id(len(reply.calls)) if meaning.is_call else "")
    return reply.to_dict(_checked_field(reasoning_field))


def _checked_field(name: str) -> str:
    """A field for the reasoning, which is none that a message has already. Raises ValueError."""
    if not isinstance(name, str) or name in _OTHER_FIELDS:
        raise ValueError(f"Expected a field that messages do not have already, got {name!r} - at `reasoning_field`")
    return name


def _head(kind: str, model: str, id: str | None, created: int | None) -> Json:
    return {"id": id or _ID, "object": kind, "created": created or 0, "model": model}


def finish_reason(*, complete: bool, calls: bool) -> str:
    """Why a reply ended, in the words of the API."""
    return "length" if not complete else "tool_calls" if calls else "stop"


def usage(result: ParseResult, prompt_tokens: int) -> Json | None:
    """The counts of tokens. None where they are not known, because the completion was parsed from text."""
    if result.token_count is None:
        return None
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": result.token_count,
        "total_tokens": prompt_tokens + result.token_count,
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens(result)},
    }


class Stream(Following):
    """A completion as chunks of the Chat Completions API, while the model writes it.

        >>> stream = chat.Stream(encoding, model="gpt-oss-20b")
        >>> chunks = [chunk for token in tokens for chunk in stream.push([token])] + stream.finish()
        >>> [chunk["choices"][0]["delta"] for chunk in chunks][1:3]
        [{'reasoning': 'Easy'}, {'reasoning': '.'}]

    Each chunk is a dict that a server writes as JSON. The first has the role, the last the `finish_reason` and `usage`.
    Put together they are what `completion` gives, with one difference: the arguments of a call are sent while the model
    writes them, so a call that is cut off is in the stream, and not in the whole.

    `model`, `id` and `created` are the same fields of each chunk; the other arguments are those of `completion`.
    `strict=True` raises HarmonyError for broken input; otherwise it is repaired, and `diagnostics` lists the repairs.
    """

    def __init__(
        self,
        encoding: HarmonyEncoding,
        *,
        tools: Iterable[Shape] = (),
        reasoning_field: str = "reasoning",
        call_id: Callable[[int], str] | None = None,
        strict: bool = False,
        model: str = "gpt-oss",
        prompt_tokens: int = 0,
        id: str | None = None,
        created: int | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(encoding, tools, strict=strict)
        self._head = {**_head("chat.completion.chunk", model, id, created), **fields}
        self._prompt_tokens = prompt_tokens
        self._reasoning_field = _checked_field(reasoning_field)
        self._call_id = call_id or default_call_id
        self._field = ""  # of the last text
        self._filled: set[str] = set()  # the fields that have text
        self._calls = 0

    def finish(self, stopped: bool = True) -> list[Json]:
        """Takes the end of the tokens, and returns the last chunks.

        `stopped` is that of `completion`. Raises ValueError if it was called before.
        """
        result = self._follow_to_end()
        reason = finish_reason(complete=result.complete and stopped, calls=bool(self._calls))
        self._chunk({}, reason)
        self._out[-1]["usage"] = usage(result, self._prompt_tokens)
        return self._taken()

    def _greet(self) -> None:
        self._chunk({"role": "assistant"})

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> None:
        self._out.append(self._made(delta, finish_reason))

    def _made(self, delta: Json, finish_reason: str | None = None) -> Json:
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    def _text_chunk(self, delta: str) -> Json:
        return {**self._head, "choices": [{"index": 0, "delta": {self._field: delta}, "finish_reason": None}]}

    def _call_chunk(self, call: Json) -> Json:
        return self._made({"tool_calls": [{"index": self._calls - 1, **call}]})

    def _arguments_chunk(self, delta: str) -> Json:
        return self._call_chunk({"function": {"arguments": delta}})

    def _start(self, meaning: Meaning) -> None:
        if meaning.is_call:
            self._calls += 1
            if meaning.kind is not Kind.CUSTOM:
                self._out.append(self._call_chunk(_call(meaning, "", self._call_id(self._calls - 1))))
        else:
            self._field = self._reasoning_field if meaning.kind is Kind.REASONING else "content"

    def _add(self, meaning: Meaning, delta: str, *, is_first: bool) -> None:
        if meaning.kind is Kind.CUSTOM:
            return
        self._make = self._arguments_chunk if meaning.is_call else self._text_chunk
        if is_first and not meaning.is_call:
            if self._field in self._filled:
                delta = _JOINT + delta
            self._filled.add(self._field)
        self._out.append(self._make(delta))

    def _end(self, meaning: Meaning, text: str, *, cut: bool) -> None:
        if meaning.kind is Kind.CUSTOM and cut:  # nothing of it was sent
            self._reader.note_cut(meaning, self._ended)
        elif meaning.kind is Kind.CUSTOM:
            self._out.append(self._call_chunk(_call(meaning, text, self._call_id(self._calls - 1))))
        elif not (text or meaning.is_call or "content" in self._filled) and self._field == "content":
            self._chunk({"content": ""})
