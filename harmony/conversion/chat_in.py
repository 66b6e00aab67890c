"""Messages of the Chat Completions API as a Harmony conversation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harmony.conversion.building import (
    COMMENTARY,
    FINAL,
    OF_HARMONY,
    Builder,
    all_builtin,
    objects,
    read_arguments,
    read_effort,
)
from harmony.conversion.given import Given, Shape, as_json, fault, holds, unfit
from harmony.conversion.tools import builtin_names, read_format, read_tools
from harmony.errors import quote
from harmony.messages.model import Conversation, SystemContent, TextContent

#: The fields that hold the reasoning of a message, in this order.
REASONING_FIELDS: Final = ("reasoning", "reasoning_content", "thinking")

_ROLES: Final = "one of the roles `system`, `developer`, `user`, `assistant`, `tool` and `function`"
# The fields of messages that have no place in Harmony. `audio`, `images` and `logprobs` say nothing that a model reads.
_LOST: Final = ("annotations", "reasoning_details", "thinking_blocks", "weight", "prefix", "partial")
_OF_ASSISTANT: Final = ("tool_calls", "function_call", "refusal", *REASONING_FIELDS)
_OF_RESULT: Final = ("tool_call_id", "tool_name")


def to_harmony(
    messages: Iterable[Shape],
    *,
    tools: Iterable[Shape] = (),
    response_format: Shape | None = None,
    reasoning_effort: str | None = None,
    system: SystemContent | None = None,
    builtin_tools: Iterable[str] = (),
    call_type: str | None = "json",
) -> Conversation:
    """Messages of the Chat Completions API as a Harmony conversation, ready to be rendered.

        >>> conversation = chat.to_harmony(
        ...     [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
        ... )
        >>> [message.author.role.value for message in conversation]
        ['system', 'developer', 'user']

    Messages and tools are dicts, or objects with a method `model_dump`, such as those of the package `openai`.

    - The conversation begins with a system message: `system`, or `SystemContent.new()`. `reasoning_effort` sets its
      effort: low, medium or high; minimal is low, and xhigh and max are high.
    - The messages of the system and the developer before all others are the instructions of one developer message,
      with the `tools` and the `response_format`. Later ones are developer messages where they stand.
    - A message of the assistant becomes up to three kinds of messages, in this order: `reasoning`, `reasoning_content`
      or `thinking` on `analysis`; the content, on `commentary` if calls follow, else on `final`; each call on
      `commentary` to `functions.NAME`, with the content type `call_type`. Arguments are carried as they are.
    - A tool's result has the author `functions.NAME`, found by `tool_call_id` or else by `name`.
    - `builtin_tools` are the names of Harmony's built-in tools that you can run, `browser` and `python`. Tools of the
      types `web_search` and `code_interpreter` declare them in the system message. Calls to them are on `analysis`.

    Raises ConversionError for what has no place in Harmony, such as an image, with its path.
    """
    builtin = builtin_names(builtin_tools)
    read = read_tools(tools, builtin)
    builder = Builder(read, all_builtin(builtin, system), call_type)
    for message in objects(messages, "messages"):
        _add(builder, message)
    effort = read_effort(reasoning_effort, "reasoning_effort")
    return builder.conversation(system, effort, read_format(response_format, "response_format"))


def _add(builder: Builder, message: Given) -> None:
    role = message.word("role")
    message.refuse(*_LOST, *OF_HARMONY)
    if role == "assistant":
        message.refuse(*_OF_RESULT)
        _add_reply(builder, message)
        return
    message.refuse(*_OF_ASSISTANT)
    if role in ("tool", "function"):
        _add_result(builder, message)
        return
    message.refuse(*_OF_RESULT)
    if role == "user":
        builder.ask(message.optional_name("name"), message.texts("content", "text", "input_text"))
    elif role in ("system", "developer"):
        message.refuse("name")
        builder.instruct(message.texts("content", "text", "input_text"))
    else:
        raise unfit(message.place("role"), _ROLES, role)


def _add_reply(builder: Builder, message: Given) -> None:
    name = message.optional_name("name")
    calls = list(message.objects("tool_calls"))
    legacy = message.object("function_call") if holds(message.fields.get("function_call")) else None
    reasoning = _reasoning(message)
    if reasoning:
        builder.think([TextContent(reasoning)])
    texts = message.texts("content", "text", "output_text", "refusal")
    refusal = message.text("refusal")
    channel = COMMENTARY if calls or legacy else FINAL
    says_nothing = not (reasoning or refusal or calls or legacy)
    if not (texts or refusal or says_nothing):
        message.refuse("name")  # no text has it
    if texts or says_nothing:
        builder.answer(name, texts or [TextContent("")], channel)
    if refusal:
        builder.answer(name, [TextContent(refusal)], channel)
    for call in calls:
        _add_call(builder, call)
    if legacy is not None:
        builder.call(builder.recipient(legacy.name("name")), read_arguments(legacy, "arguments"), None)


def _reasoning(message: Given) -> str | None:
    """The first field of the reasoning that is a string and not empty."""
    for name in REASONING_FIELDS:
        value = message.fields.get(name)
        if isinstance(value, str) and value:
            return str.__str__(value)
    for name in REASONING_FIELDS:
        if holds(value := message.fields.get(name)):
            raise unfit(message.place(name), "a string", value)
    return None


def _add_call(builder: Builder, call: Given) -> None:
    kind = call.kind("function")
    if kind not in ("function", "custom"):
        raise fault("unsupported-item", call.path, found=quote(kind))
    body = call.object(kind)
    name = body.name("name")
    if kind == "custom":
        arguments = as_json({"input": body.text("input") or ""}, body.path)
    else:
        arguments = read_arguments(body, "arguments")
    builder.call(builder.recipient(name), arguments, call.text("id"))


def _add_result(builder: Builder, message: Given) -> None:
    call_id = message.text("tool_call_id")
    call = builder.call_of(call_id)
    name = message.optional_name("name") or message.optional_name("tool_name")
    if call is None and not name:
        found = quote(call_id) if call_id else "none"
        raise fault("unknown-call", message.place("tool_call_id"), found=found)
    builder.result(call, builder.recipient(name or ""), message.texts("content", "text", "input_text", "output_text"))
