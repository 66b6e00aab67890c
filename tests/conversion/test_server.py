"""The example server, as its command starts it, with the client of OpenAI: both APIs, whole and streamed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

import harmony
from harmony import chat, responses
from helpers.paths import EXAMPLES

QUESTION = "How long must a soft-boiled egg be in the water?"
EGG = "At 2,000\u202fm water boils"
WEATHER = {
    "name": "get_weather",
    "description": "Gets the weather.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
}
TIME = {"name": "get_time", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
RESULT = '{"rain": true}'


class Event(BaseModel):
    name: str
    day: str
    people: list[str]


EVENT = Event(name="Choir rehearsal", day="Thursday", people=["Ana", "Björn"])


class Server(NamedTuple):
    client: openai.OpenAI
    log: list[str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    command = [sys.executable, "-u", str(EXAMPLES / "server.py"), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        log: list[str] = []
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"running on (http://[\d.:]+)", line):
                break
        else:
            pytest.fail("".join(log))
        reader = threading.Thread(target=log.extend, args=(process.stderr,))
        reader.start()
        with openai.OpenAI(base_url=f"{found[1]}/v1", api_key="none", max_retries=0) as client:
            yield Server(client, log)
        process.terminate()
        reader.join()
    assert "Traceback" not in "".join(log)


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client


def asked(text: str = QUESTION) -> list[Any]:
    return [{"role": "user", "content": text}]


def prompt_tokens(conversation: harmony.Conversation, encoding: harmony.HarmonyEncoding) -> int:
    return len(encoding.render_conversation_for_completion(conversation, harmony.Role.ASSISTANT))


def test_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["gpt-oss-script"]


# --- Chat Completions


def test_a_chat_whole_and_streamed(client: openai.OpenAI, encoding: harmony.HarmonyEncoding) -> None:
    whole = client.chat.completions.create(model="any", messages=asked())
    assert whole.model == "any"
    assert whole.choices[0].finish_reason == "stop"
    assert (whole.choices[0].message.content or "").startswith(EGG)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == prompt_tokens(chat.to_harmony(asked()), encoding)
    chunks = list(
        client.chat.completions.create(
            model="any", messages=asked(), stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 50
    assert [chunk.usage for chunk in chunks] == [None] * (len(chunks) - 1) + [whole.usage]
    assert not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


def test_no_usage_where_none_is_asked_for(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="any", messages=asked(), stream=True))
    assert {chunk.usage for chunk in chunks} == {None}
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_is_called_over_chat(client: openai.OpenAI, is_streamed: bool) -> None:
    tools: Any = [{"type": "function", "function": WEATHER}]
    messages = asked("Do I need an umbrella in Bergen?")

    def turn() -> Any:
        if not is_streamed:
            return client.chat.completions.create(model="any", messages=messages, tools=tools).choices[0]
        with client.chat.completions.stream(model="any", messages=messages, tools=tools) as stream:
            return stream.get_final_completion().choices[0]

    first = turn()
    assert first.finish_reason == "tool_calls"
    assert first.message.content == "I'll check tomorrow's forecast for Bergen."
    [call] = first.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["location"] == "Bergen, Norway"
    messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    second = turn()
    assert second.finish_reason == "stop"
    assert second.message.content == "Yes, take an umbrella: it will rain in Bergen tomorrow."
    assert second.message.reasoning == "The forecast says rain. Answer in one sentence."


def test_a_chat_answers_in_the_form_of_a_class(client: openai.OpenAI) -> None:
    question = asked("Which event, on which day, with which people?")
    parsed = client.chat.completions.parse(model="any", messages=question, response_format=Event)
    assert parsed.choices[0].message.parsed == EVENT
    with client.chat.completions.stream(model="any", messages=question, response_format=Event) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == EVENT


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_chat_that_is_cut(client: openai.OpenAI, field: str) -> None:
    limit: Any = {field: 12}
    whole = client.chat.completions.create(model="any", messages=asked(), **limit)
    chunks = list(client.chat.completions.create(model="any", messages=asked(), stream=True, **limit))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert whole.choices[0].message.content == text
    assert text == EGG
    assert [whole.choices[0].finish_reason, chunks[-1].choices[0].finish_reason] == ["length", "length"]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12


def test_a_chat_that_is_cut_right_behind_its_reasoning(
    client: openai.OpenAI, encoding: harmony.HarmonyEncoding
) -> None:
    question = asked("Hello!")
    whole = client.chat.completions.create(model="any", messages=question)
    reasoning = whole.choices[0].message.model_dump()["reasoning"]
    limit = 4 + len(encoding.encode(reasoning))  # with a header of three tokens and the end
    for is_streamed in (False, True):
        cut: Any = client.chat.completions.create(model="any", messages=question, max_tokens=limit, stream=is_streamed)
        last = list(cut)[-1] if is_streamed else cut
        assert last.choices[0].finish_reason == "length"


# --- Responses


def unnamed(items: list[Any]) -> list[dict[str, Any]]:
    """Items without their ids, which no two replies share."""
    return [item.model_dump(exclude={"id", "call_id"}) for item in items]


def test_a_response_whole_and_streamed(client: openai.OpenAI, encoding: harmony.HarmonyEncoding) -> None:
    whole = client.responses.create(model="any", input=QUESTION, instructions="Be brief.", metadata={"a": "b"})
    assert (whole.model, whole.status) == ("any", "completed")
    assert (whole.instructions, whole.metadata) == ("Be brief.", {"a": "b"})
    assert whole.output_text.startswith(EGG)
    assert whole.usage is not None
    conversation = responses.to_harmony(QUESTION, instructions="Be brief.")
    assert whole.usage.input_tokens == prompt_tokens(conversation, encoding)
    events = list(client.responses.create(model="any", input=QUESTION, instructions="Be brief.", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        TypeAdapter(ResponseStreamEvent).validate_python(event.model_dump(exclude_unset=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text
    assert events[-1].type == "response.completed"
    assert unnamed(events[-1].response.output) == unnamed(whole.output)
    assert events[-1].response.usage == whole.usage


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_is_called_over_responses(client: openai.OpenAI, is_streamed: bool) -> None:
    tools: Any = [{"type": "function", "strict": False, **WEATHER}]
    items = asked("Do I need an umbrella in Bergen?")

    def turn() -> Any:
        if not is_streamed:
            return client.responses.create(model="any", input=items, tools=tools)
        with client.responses.stream(model="any", input=items, tools=tools) as stream:
            return stream.get_final_response()

    first = turn()
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
    call = first.output[-1]
    assert call.name == "get_weather"
    items += [*first.output, {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}]
    assert turn().output_text == "Yes, take an umbrella: it will rain in Bergen tomorrow."


def test_a_response_answers_in_the_form_of_a_class(client: openai.OpenAI) -> None:
    question = "Which event, on which day, with which people?"
    assert client.responses.parse(model="any", input=question, text_format=Event).output_parsed == EVENT
    with client.responses.stream(model="any", input=question, text_format=Event) as stream:
        assert stream.get_final_response().output_parsed == EVENT


def test_a_response_that_is_cut(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="any", input=QUESTION, max_output_tokens=12)
    events = list(client.responses.create(model="any", input=QUESTION, max_output_tokens=12, stream=True))
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 12
    assert events[-1].type == "response.incomplete"
    assert unnamed(events[-1].response.output) == unnamed(whole.output)


# --- what is wrong


def test_a_broken_call_is_repaired_and_logged(server: Server) -> None:
    chat_tools: Any = [{"type": "function", "function": TIME}]
    tools: Any = [{"type": "function", "strict": False, **TIME}]
    ids = []
    completion = server.client.chat.completions.create(model="any", messages=asked(), tools=chat_tools)
    [call] = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments == '{"city": "Oslo"}'
    ids.append(completion.id)
    with server.client.responses.stream(model="any", input=QUESTION, tools=tools) as stream:
        response = stream.get_final_response()
    assert response.output[-1].type == "function_call"
    assert response.output[-1].arguments == '{"city": "Oslo"}'
    ids.append(response.id)
    server.client.models.list()  # which is logged behind the repairs
    for id in ids:
        assert any(f"{id} repaired: missing-message" in line for line in server.log)


def chat_image(client: openai.OpenAI) -> object:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    messages: Any = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="any", messages=messages, stream=True)


def response_image(client: openai.OpenAI) -> object:
    items: Any = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]
    return client.responses.create(model="any", input=items)


def two_choices(client: openai.OpenAI) -> object:
    return client.chat.completions.create(model="any", messages=asked(), n=2)


def no_tokens(client: openai.OpenAI) -> object:
    return client.responses.create(model="any", input=QUESTION, max_output_tokens=0)


def earlier(client: openai.OpenAI) -> object:
    return client.responses.create(model="any", input=QUESTION, previous_response_id="resp_1")


@pytest.mark.parametrize(
    ("ask", "code", "path"),
    [
        (chat_image, "unsupported-content", "messages[0].content[1]"),
        (response_image, "unsupported-content", "input[0].content[0]"),
        (two_choices, "invalid-field", "n"),
        (no_tokens, "invalid-field", "max_output_tokens"),
        (earlier, "invalid-field", "previous_response_id"),
    ],
)
def test_a_request_is_refused(
    client: openai.OpenAI, ask: Callable[[openai.OpenAI], object], code: str, path: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client)
    error = caught.value
    assert (error.type, error.code, error.param) == ("invalid_request_error", code, path)
    assert f"`{path}`" in error.message


def test_a_name_that_no_header_holds_is_refused(client: openai.OpenAI) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get weather", "arguments": "{}"}}
    messages: Any = [{"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(openai.BadRequestError, match="get weather") as caught:
        client.chat.completions.create(model="any", messages=messages)
    assert (caught.value.code, caught.value.param) == ("invalid-field", "messages[0].tool_calls[0].function.name")


@pytest.mark.parametrize("body", [b'{"input": ', b"[]", b"{}", b"\xff", b'{"input": "x", "tools": 3}'])
def test_a_body_is_refused(client: openai.OpenAI, body: bytes) -> None:
    request = urllib.request.Request(f"{client.base_url}responses", body)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 400
    assert json.load(caught.value)["error"]["type"] == "invalid_request_error"
