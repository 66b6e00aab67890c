"""The package `openai` as the oracle: its types of all that the APIs give, and its accumulators of streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseInputItemParam, ResponseOutputItem, ResponseStreamEvent
from pydantic import TypeAdapter

Json: TypeAlias = dict[str, Any]

_EVENT: Final = TypeAdapter[Any](ResponseStreamEvent)
_OUTPUT_ITEM: Final = TypeAdapter[Any](ResponseOutputItem)
_INPUT_ITEM: Final = TypeAdapter[Any](ResponseInputItemParam)


def check_completion(completion: Json) -> None:
    ChatCompletion.model_validate(completion)


def check_response(response: Json) -> None:
    """Each item is one of the output, and may be given back as input."""
    Response.model_validate(response)
    for item in response["output"]:
        check_item(item)


def check_item(item: Json) -> None:
    _OUTPUT_ITEM.validate_python(item)
    _INPUT_ITEM.validate_python(item)


def _has_custom(chunk: Json) -> bool:
    return any("custom" in call for call in chunk["choices"][0]["delta"].get("tool_calls", ()))


def accumulated_chunks(chunks: Iterable[Json]) -> Json:
    """The completion that openai makes of chunks. It has no type for chunks of custom calls, but it takes them."""
    state = ChatCompletionStreamState[Any]()
    for chunk in chunks:
        read = (
            ChatCompletionChunk.construct(**chunk) if _has_custom(chunk) else ChatCompletionChunk.model_validate(chunk)
        )
        state.handle_chunk(read)
    return state.current_completion_snapshot.to_dict()


def accumulated_events(events: Iterable[Json]) -> list[Json]:
    """The items that openai makes of events. The texts that it puts together of deltas are those of the items."""
    state = ResponseStreamState[Any](input_tools=omit, text_format=omit)
    texts: dict[int, str] = {}
    items: list[Json] = []
    for event in events:
        for told in state.handle_event(_EVENT.validate_python(event)):
            if told.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
                texts[told.output_index] = told.snapshot
            elif told.type == "response.output_item.done":
                items.append(told.item.to_dict())
            elif told.type == "response.completed":
                assert without_nothing([one.to_dict() for one in told.response.output]) == without_nothing(items)
    for index, item in enumerate(items):
        if item["type"] == "message":
            assert texts.get(index, "") == item["content"][0]["text"]
        elif item["type"] == "function_call":
            assert texts.get(index, "") == item["arguments"]
    return items


def without_nothing(value: Any) -> Any:
    """The data without fields that are None: openai fills in such fields."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def merged_events(events: Iterable[Json]) -> list[Json]:
    """The events with adjacent deltas of one item as one, and without their numbers."""
    merged: list[Json] = []
    for event in events:
        kept = {key: value for key, value in event.items() if key != "sequence_number"}
        before = merged[-1] if merged else {}
        if "delta" in kept and before.keys() == kept.keys() and {**kept, "delta": before["delta"]} == before:
            before["delta"] += kept["delta"]
        else:
            merged.append(kept)
    return merged


def merged_chunks(chunks: Iterable[Json]) -> list[Json]:
    """The chunks with adjacent deltas of one field, or of the arguments of one call, as one."""
    merged: list[Json] = []
    for chunk in chunks:
        delta, before = chunk["choices"][0]["delta"], merged[-1]["choices"][0]["delta"] if merged else {}
        place = _place(delta)
        if place is not None and _place(before) == place:
            grown = _grown(before, delta)
            merged[-1] = {**chunk, "choices": [{**chunk["choices"][0], "delta": grown}]}
        else:
            merged.append(chunk)
    return merged


def _place(delta: Json) -> object:
    """What a delta adds to; None for one that adds no text."""
    match delta:
        case {"tool_calls": [{"index": index, "function": {"arguments": _}} as call]} if "id" not in call:
            return index
        case {"content": str()} | {"reasoning": str()}:
            return next(iter(delta))
    return None


def _grown(before: Json, delta: Json) -> Json:
    if "tool_calls" not in delta:
        return {key: before[key] + text for key, text in delta.items()}
    call, more = before["tool_calls"][0], delta["tool_calls"][0]
    arguments = call["function"]["arguments"] + more["function"]["arguments"]
    return {"tool_calls": [{**call, "function": {"arguments": arguments}}]}
