"""Laws of all replies and conversations: a stream is its whole, nothing is lost, both ways undo each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import given

from harmony import Author, Conversation, Message, ParseResult, Role, chat, responses
from harmony.conversion.meaning import is_cut
from helpers.apis import (
    Json,
    accumulated_chunks,
    accumulated_events,
    check_completion,
    check_item,
    check_response,
    merged_chunks,
    merged_events,
    without_nothing,
)
from helpers.chats import REPLIES, SIZES, TOOL_LISTS, TOOLS, chats, chopped, conversations, items, spoken
from helpers.sizes import examples
from helpers.streams import ENCODING


def parsed(tokens: Sequence[int]) -> ParseResult:
    return ENCODING.parse(tokens, "assistant", strict=False)


def chunks_of(steps: Sequence[Sequence[int]], tools: Sequence[Json] = ()) -> list[Json]:
    stream = chat.Stream(ENCODING, model="m", tools=tools)
    return [chunk for step in steps for chunk in stream.push(step)] + stream.finish()


def events_of(steps: Sequence[Sequence[int]], tools: Sequence[Json] = ()) -> list[Json]:
    stream = responses.Stream(ENCODING, {"model": "m"}, tools=tools)
    return stream.start() + [event for step in steps for event in stream.push(step)] + stream.finish()


# --- a stream is its whole


@examples(1000, 120)
@given(REPLIES, SIZES, TOOL_LISTS)
def test_any_chopping_gives_the_same_chunks(tokens: list[int], sizes: list[int], tools: list[Json]) -> None:
    whole = merged_chunks(chunks_of([tokens], tools))
    assert merged_chunks(chunks_of(chopped(tokens, sizes), tools)) == whole
    assert merged_chunks(chunks_of(chopped(tokens, [1]), tools)) == whole


@examples(1000, 120)
@given(REPLIES, SIZES, TOOL_LISTS)
def test_any_chopping_gives_the_same_events(tokens: list[int], sizes: list[int], tools: list[Json]) -> None:
    whole = merged_events(events_of([tokens], tools))
    assert merged_events(events_of(chopped(tokens, sizes), tools)) == whole
    assert merged_events(events_of(chopped(tokens, [1]), tools)) == whole


@examples(1000, 120)
@given(REPLIES, SIZES, TOOL_LISTS)
def test_openai_makes_of_the_chunks_what_completion_gives(
    tokens: list[int], sizes: list[int], tools: list[Json]
) -> None:
    result = parsed(tokens)
    whole = chat.completion(result, model="m", tools=tools)
    check_completion(whole)
    made = accumulated_chunks(chunks_of(chopped(tokens, sizes), tools))
    choice = whole["choices"][0]
    message = made["choices"][0]["message"]
    streamed = message.pop("tool_calls", None) or []
    called = choice["message"].pop("tool_calls", [])
    assert without_nothing(message) == without_nothing(choice["message"])
    assert made["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert made["usage"] == whole["usage"]
    kept = [{key: value for key, value in call.items() if key != "index"} for call in without_nothing(streamed)]
    if is_cut(result) and len(kept) == len(called) + 1:
        kept.pop()  # a call that is cut off is in the stream alone
    assert kept == called


@examples(1000, 120)
@given(REPLIES, SIZES, TOOL_LISTS)
def test_openai_makes_of_the_events_what_response_gives(tokens: list[int], sizes: list[int], tools: list[Json]) -> None:
    whole = responses.response(parsed(tokens), model="m", tools=tools)
    check_response(whole)
    events = events_of(chopped(tokens, sizes), tools)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"] == whole
    assert without_nothing(accumulated_events(events)) == without_nothing(whole["output"])


@examples(1000, 100)
@given(REPLIES)
def test_every_item_is_added_and_done_once(tokens: list[int]) -> None:
    events = events_of([tokens])
    output = events[-1]["response"]["output"]
    for kind in ("added", "done"):
        found = [event["output_index"] for event in events if event["type"] == f"response.output_item.{kind}"]
        assert found == list(range(len(output)))
    for event in events:
        if "item_id" in event:
            assert output[event["output_index"]]["id"] == event["item_id"]


# --- nothing is lost


def strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from strings(item)


def check_kept(texts: Sequence[str], data: Any) -> None:
    """Each text stands in a string of the data, or was the JSON of an input that does."""
    found = list(strings(data))
    for text in texts:
        if any(text in one for one in found):
            continue
        assert json.loads(text).keys() == {"input"}
        assert json.loads(text)["input"] in found


@examples(1000, 120)
@given(REPLIES, TOOL_LISTS)
def test_each_text_of_a_reply_comes_out(tokens: list[int], tools: list[Json]) -> None:
    result = parsed(tokens)
    texts = [message.text for message in result.messages]
    check_kept(texts, responses.response(result, model="m", tools=tools)["output"])
    check_kept(texts, responses.from_harmony([by_assistant(message) for message in result.messages], tools=tools))
    check_kept(texts, chat.from_harmony([by_assistant(message) for message in result.messages], tools=tools))
    events = events_of(chopped(tokens, [1]), tools)
    check_kept(texts, events[-1])
    check_kept(texts, [event for event in merged_events(events)[:-1] if event["type"].endswith((".delta", ".done"))])
    if is_cut(result):
        last = len(result.messages) - 1
        texts = texts[:last] + ([] if result.messages[last].recipient else texts[last:])
    check_kept(texts, chat.completion(result, model="m", tools=tools))
    check_kept(texts, accumulated(chunks_of(chopped(tokens, [1]), tools)))


def by_assistant(message: Message) -> Message:
    """The same by the assistant: `from_harmony` leaves others out."""
    return Message(Author(Role.ASSISTANT), message.content, message.channel, message.recipient, message.content_type)


def accumulated(chunks: Sequence[Json]) -> list[str]:
    """The texts of chunks: of each field, and of each call."""
    texts: dict[object, str] = {}
    for chunk in chunks:
        delta = chunk["choices"][0]["delta"]
        for name in ("content", "reasoning"):
            texts[name] = texts.get(name, "") + (delta.get(name) or "")
        for call in delta.get("tool_calls", ()):
            text = call["custom"]["input"] if "custom" in call else call["function"]["arguments"]
            texts[call["index"]] = texts.get(call["index"], "") + text
    return list(texts.values())


@examples(1000, 150)
@given(REPLIES)
def test_what_the_model_wrote_can_be_passed_back(tokens: list[int]) -> None:
    output = responses.response(parsed(tokens), model="m", tools=TOOLS)["output"]
    for item in output:
        check_item(item)
    conversation = responses.to_harmony(output, tools=TOOLS)
    kept = [message.text for message in conversation.messages[2:]]
    assert len(kept) == len(output)
    again = responses.from_harmony(conversation, tools=TOOLS)
    assert [strings_of(item) for item in again] == [strings_of(item) for item in output]


def strings_of(item: Json) -> Json:
    """An item without its ids and its status, which are made anew. Empty arguments become those of no argument."""
    kept = {key: value for key, value in item.items() if key not in ("id", "call_id", "status")}
    return {**kept, "arguments": kept["arguments"] or "{}"} if "arguments" in kept else kept


# --- both ways undo each other


@examples(1000, 150)
@given(chats())
def test_messages_of_chat_come_back(messages: list[Json]) -> None:
    conversation = chat.to_harmony(messages, tools=TOOLS)
    assert chat.from_harmony(conversation, tools=TOOLS) == [one for one in messages if one["role"] == "assistant"]


@examples(1000, 150)
@given(items())
def test_items_come_back(given_items: list[Json]) -> None:
    for item in given_items:
        check_item(item)
    conversation = responses.to_harmony(given_items, tools=TOOLS)
    assert responses.from_harmony(conversation, tools=TOOLS) == given_items


@examples(1000, 150)
@given(conversations())
def test_conversations_come_back_from_chat(conversation: Conversation) -> None:
    replies = [message for message in conversation if message.author.role is Role.ASSISTANT]
    back = chat.to_harmony(chat.from_harmony(conversation, tools=TOOLS), tools=TOOLS)
    assert back.messages[2:] == replies


@examples(1000, 150)
@given(spoken())
def test_conversations_come_back_from_responses(messages: list[Message]) -> None:
    made = responses.from_harmony(messages, tools=TOOLS)
    conversation = responses.to_harmony(made, tools=TOOLS, builtin_tools=["browser", "python"])
    assert conversation.messages[2:] == messages
