"""A server for the Chat Completions and the Responses API. Its model is a script: put your engine in its place.

    python examples/server.py
    curl http://127.0.0.1:8000/v1/responses --json '{"input": "How long must a soft-boiled egg be in the water?"}'

Each request takes the same way. Its messages become a conversation (`to_harmony`), the conversation becomes a prompt,
and the model continues the prompt with token ids. These become a whole reply, or a stream while the model writes.
"""

import argparse
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from scripted import generate  # your engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from harmony import (
    Conversation,
    Diagnostic,
    HarmonyError,
    ParseResult,
    Role,
    chat,
    drop_analysis,
    load_harmony_encoding,
    responses,
)
from harmony.chat import ConversionError

MODEL = "gpt-oss-script"
encoding = load_harmony_encoding("HarmonyGptOss")
encoding.warm_up()  # else the first request waits for it
STOPS = encoding.stop_tokens_for_assistant_actions()
log = logging.getLogger("uvicorn.error")

Json = dict[str, Any]

#: Fields that would change the reply, each with the one value that this server knows. It refuses any other, for nothing
#: may be lost in silence. Sampling, such as `temperature`, is for your engine.
FIXED = {
    "n": 1,
    "stop": None,
    "logprobs": False,
    "functions": None,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "conversation": None,
    "prompt": None,
    "background": False,
    "max_tool_calls": None,
    "audio": None,
}
#: The types of fields that the server itself reads.
TYPES = {"model": str, "stream": bool, "stream_options": dict}
#: The fields of a request that its response repeats.
REPEATED = ("instructions", "max_output_tokens", "metadata", "reasoning", "temperature", "text", "top_p", "user")


async def read(request: Request) -> Json:
    try:
        body = await request.json()
        json.dumps(body, allow_nan=False)  # Python reads NaN, which is no JSON
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"Expected JSON as the body: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, f"Expected an object as the body, found `{type(body).__name__}`")
    for name, value in FIXED.items():
        if body.get(name) is not None and (body[name] != value or type(body[name]) is not type(value)):
            raise refused(name, f"no value but {json.dumps(value)}", body[name])
    for name, kind in TYPES.items():
        if body.get(name) is not None and not isinstance(body[name], kind):
            raise refused(name, f"a value of type `{kind.__name__}`", body[name])
    return body


def refused(name: str, expected: str, found: object) -> ConversionError:
    message = f"Expected {expected} in the field `{name}`, found {json.dumps(found)}"
    return ConversionError(message, code="invalid-field", path=name)


def limit_of(body: Json, *names: str) -> int | None:
    """How many tokens the model may write: the first of these fields that is given."""
    for name in names:
        number = body.get(name)
        if number is not None:
            if type(number) is not int or number < 1:
                raise refused(name, "a whole number from 1", number)
            return number
    return None


def prompt_of(conversation: Conversation) -> list[int]:
    """What the model reads. The reasoning of finished turns is left out, as in the model's training."""
    return encoding.render_conversation_for_completion(drop_analysis(conversation), Role.ASSISTANT)


async def whole(tokens: AsyncIterator[int]) -> tuple[ParseResult, bool]:
    """The whole reply, and whether the model stopped by itself."""
    ids = [token async for token in tokens]
    return encoding.parse(ids, Role.ASSISTANT, strict=False), bool(ids) and ids[-1] in STOPS


def new_ids(prefix: str) -> Callable[[int], str]:
    """Makes the ids of one reply, which no other reply has."""
    reply = uuid.uuid4().hex
    return lambda number: f"{prefix}_{reply}_{number}"


def tell(id: str, repairs: list[Diagnostic]) -> None:
    for repair in repairs:
        log.warning("%s repaired: %s at %d: %s", id, repair.code, repair.position, repair.message)


def sent(data: Json | str, event: str | None = None) -> str:
    """A server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n" if event is None else f"event: {event}\ndata: {text}\n\n"


async def create_completion(request: Request) -> Response:
    body = await read(request)
    tools = body.get("tools") or []
    messages: Any = body.get("messages")  # `to_harmony` says what is wrong with it
    conversation = chat.to_harmony(
        messages,
        tools=tools,
        response_format=body.get("response_format"),
        reasoning_effort=body.get("reasoning_effort"),
    )
    prompt = prompt_of(conversation)
    tokens = generate(conversation, prompt, limit_of(body, "max_completion_tokens", "max_tokens"))
    fields: Json = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": body.get("model") or MODEL,
        "prompt_tokens": len(prompt),
        "tools": tools,
        "call_id": new_ids("call"),
    }
    if body.get("stream"):
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = completion_events(chat.Stream(encoding, **fields), tokens, with_usage)
        return StreamingResponse(events, media_type="text/event-stream")
    result, stopped = await whole(tokens)
    repairs = list(result.diagnostics)
    completion = chat.completion(result, stopped=stopped, diagnostics=repairs, **fields)
    tell(completion["id"], repairs)
    return JSONResponse(completion)


async def completion_events(stream: chat.Stream, tokens: AsyncIterator[int], with_usage: bool) -> AsyncIterator[str]:
    token = None
    async for token in tokens:
        for chunk in stream.push([token]):
            yield sent(chunk)
    *chunks, last = stream.finish(stopped=token in STOPS)
    usage = last.pop("usage")
    for chunk in [*chunks, last]:
        yield sent(chunk)
    if with_usage:  # in a chunk of its own
        yield sent({**last, "choices": [], "usage": usage})
    yield sent("[DONE]")
    tell(last["id"], stream.diagnostics)


async def create_response(request: Request) -> Response:
    body = await read(request)
    tools = body.get("tools") or []
    given: Any = body.get("input")  # `to_harmony` says what is wrong with it
    conversation = responses.to_harmony(
        given,
        instructions=body.get("instructions"),
        tools=tools,
        text=body.get("text"),
        reasoning=body.get("reasoning"),
    )
    prompt = prompt_of(conversation)
    tokens = generate(conversation, prompt, limit_of(body, "max_output_tokens"))
    fields = {
        **{name: body[name] for name in REPEATED if name in body},
        "id": f"resp_{uuid.uuid4().hex}",
        "created_at": int(time.time()),
        "model": body.get("model") or MODEL,
    }
    options: Json = {
        "tools": tools,
        "prompt_tokens": len(prompt),
        "item_id": new_ids("item"),
        "call_id": new_ids("call"),
    }
    if body.get("stream"):
        stream = responses.Stream(encoding, fields, **options)
        return StreamingResponse(response_events(stream, tokens, fields["id"]), media_type="text/event-stream")
    result, stopped = await whole(tokens)
    repairs = list(result.diagnostics)
    response = responses.response(result, stopped=stopped, diagnostics=repairs, **options, **fields)
    tell(response["id"], repairs)
    return JSONResponse(response)


async def response_events(stream: responses.Stream, tokens: AsyncIterator[int], id: str) -> AsyncIterator[str]:
    for event in stream.start():
        yield sent(event, event["type"])
    token = None
    async for token in tokens:
        for event in stream.push([token]):
            yield sent(event, event["type"])
    for event in stream.finish(stopped=token in STOPS):
        yield sent(event, event["type"])
    tell(id, stream.diagnostics)


async def list_models(request: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "harmony"}
    return JSONResponse({"object": "list", "data": [model]})


async def refuse(request: Request, error: Exception) -> Response:
    """An error in the form of the API."""
    details = {
        "message": getattr(error, "detail", None) or str(error),
        "type": "invalid_request_error",
        "param": getattr(error, "path", None),
        "code": getattr(error, "code", None),
    }
    return JSONResponse({"error": details}, getattr(error, "status_code", 400))


app = Starlette(
    routes=[
        Route("/v1/chat/completions", create_completion, methods=["POST"]),
        Route("/v1/responses", create_response, methods=["POST"]),
        Route("/v1/models", list_models),
    ],
    # ConversionError: what has no place in Harmony. HarmonyError: what cannot be rendered, such as a prompt that is too
    # long for the model.
    exception_handlers=dict.fromkeys((ConversionError, HarmonyError, HTTPException), refuse),
)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serves a scripted model.")
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, port=parser.parse_args().port)
