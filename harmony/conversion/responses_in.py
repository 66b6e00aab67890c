"""Items of the Responses API as a Harmony conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
from harmony.conversion.chat_in import REASONING_FIELDS
from harmony.conversion.given import Given, Shape, as_json, fault, holds, unfit
from harmony.conversion.tools import builtin_names, read_format, read_tools
from harmony.errors import quote
from harmony.messages.model import Conversation, ResponseFormat, SystemContent, TextContent

#: The content type of calls, as the models are trained to write it.
_CALL_TYPE: Final = "json"
_ROLES: Final = "one of the roles `system`, `developer`, `user` and `assistant`"
# The fields of messages in Chat Completions, whose messages look like those here.
_OF_CHAT: Final = ("name", "tool_calls", "function_call", "tool_call_id", "refusal", *REASONING_FIELDS)
_TEXTS: Final = ("text", "input_text", "output_text")
# The actions of a web search, with the tool of the browser and its argument for each.
_ACTIONS: Final = {"search": ("search", "query"), "open_page": ("open", "url"), "find_in_page": ("find", "pattern")}


def to_harmony(
    input: str | Iterable[Shape],
    *,
    instructions: str | None = None,
    tools: Iterable[Shape] = (),
    text: Shape | None = None,
    reasoning: Shape | None = None,
    system: SystemContent | None = None,
    builtin_tools: Iterable[str] = (),
) -> Conversation:
    """The input of a request of the Responses API as a Harmony conversation, ready to be rendered.

        >>> conversation = responses.to_harmony("Why is the sky blue?", instructions="Be brief.")
        >>> [message.author.role.value for message in conversation]
        ['system', 'developer', 'user']

    `input` is a text or a list of items; items and tools are dicts, or objects with a method `model_dump`. So the
    output of an earlier response can be passed as it is. The arguments have the names and the meaning of the request's
    fields. `system`, `builtin_tools` and the messages at the beginning are those of `chat.to_harmony`.

    - A message of the assistant is on `final`, or on `commentary` where its phase is `commentary`. Reasoning is on
      `analysis`: its content, or else its summary.
    - A `function_call` goes to `functions.NAME`, or to `NAMESPACE.NAME`; a `custom_tool_call` to `functions.NAME` with
      the arguments `{"input": …}`; an `mcp_call` to `LABEL.NAME`. Results have the tool as author.
    - A `code_interpreter_call` is a call of `python`, a `web_search_call` one of `browser`, with what they gave.
    - `additional_tools` become a developer message where they stand.

    Raises ConversionError for other items, such as `item_reference`, and for what has no place in Harmony, with its
    path.
    """
    builtin = builtin_names(builtin_tools)
    builder = Builder(read_tools(tools, builtin), all_builtin(builtin, system), _CALL_TYPE)
    if instructions is not None:
        if not isinstance(instructions, str):
            raise unfit("instructions", "a string", instructions)
        builder.instruct([TextContent(str.__str__(instructions))])
    if isinstance(input, str):
        builder.ask(None, [TextContent(input)])
    else:
        for item in objects(input, "input"):
            _add(builder, item, builtin)
    effort = None if reasoning is None else Given(reasoning, "reasoning").fields.get("effort")
    return builder.conversation(system, read_effort(effort, "reasoning.effort"), _format(text))


def _format(text: Shape | None) -> ResponseFormat | None:
    if text is None:
        return None
    given = Given(text, "text")
    if given.text("verbosity") not in (None, "medium"):
        given.refuse("verbosity")
    return read_format(given.fields.get("format"), "text.format")


def _add(builder: Builder, item: Given, can_run: frozenset[str]) -> None:
    kind = item.kind("message")
    if kind == "additional_tools":
        builder.declare(read_tools(item.fields.get("tools"), can_run, item.place("tools")))
    elif kind in _ADD:
        _ADD[kind](builder, item)
    else:
        raise fault("unsupported-item", item.path, found=quote(kind))


def _add_message(builder: Builder, item: Given) -> None:
    role = item.word("role")
    item.refuse(*_OF_CHAT, *OF_HARMONY)
    if role == "assistant":
        phase = item.text("phase")
        if phase not in (None, "commentary", "final_answer"):
            item.refuse("phase")
        texts = item.texts("content", *_TEXTS, "refusal")
        builder.answer(None, texts or [TextContent("")], COMMENTARY if phase == "commentary" else FINAL)
        return
    item.refuse("phase")
    texts = item.texts("content", *_TEXTS[:2])
    if role == "user":
        builder.ask(None, texts)
    elif role in ("system", "developer"):
        builder.instruct(texts)
    else:
        raise unfit(item.place("role"), _ROLES, role)


def _add_reasoning(builder: Builder, item: Given) -> None:
    texts = item.texts("content", "reasoning_text", "text") or item.texts("summary", "summary_text", "text")
    if texts:
        builder.think([_lines(texts)])
    else:
        item.refuse("encrypted_content")


def _lines(texts: list[TextContent]) -> TextContent:
    """Texts that belong to one message, each on lines of its own."""
    return TextContent("\n".join(part.text for part in texts))


def _add_function_call(builder: Builder, item: Given) -> None:
    item.refuse("async")
    _check_caller(item)
    builder.call(_recipient(builder, item), read_arguments(item, "arguments"), item.word("call_id"))


def _add_custom_call(builder: Builder, item: Given) -> None:
    item.refuse("async")
    _check_caller(item)
    arguments = as_json({"input": item.text("input") or ""}, item.place("input"))
    builder.call(_recipient(builder, item), arguments, item.word("call_id"))


def _recipient(builder: Builder, item: Given) -> str:
    name, space = item.name("name"), item.optional_name("namespace")
    return f"{space}.{name}" if space else builder.recipient(name)


def _check_caller(item: Given) -> None:
    """Raises ConversionError for a call that a program made: Harmony has only calls of the model."""
    if holds(item.fields.get("caller")) and item.object("caller").kind() != "direct":
        item.refuse("caller")


def _add_result(builder: Builder, item: Given) -> None:
    _check_caller(item)
    call_id, name = item.text("call_id"), item.optional_name("name")
    call = builder.call_of(call_id)
    if call is None and not name:
        raise fault("unknown-call", item.place("call_id"), found=quote(call_id) if call_id else "none")
    recipient = "" if call is not None else _recipient(builder, item)
    builder.result(call, recipient, item.texts("output", *_TEXTS))


def _add_mcp_call(builder: Builder, item: Given) -> None:
    recipient = f"{item.name('server_label')}.{item.name('name')}"
    item.refuse("error")
    builder.call(recipient, read_arguments(item, "arguments"), item.text("id"))
    if item.fields.get("output") is not None:
        builder.result(None, recipient, item.texts("output", *_TEXTS))


def _add_python_call(builder: Builder, item: Given) -> None:
    builder.call("python", item.text("code") or "", item.text("id"))
    logs = [_log(output) for output in item.objects("outputs")]
    if logs:
        builder.result(None, "python", [_lines(logs)])


def _log(output: Given) -> TextContent:
    kind = output.kind()
    if kind != "logs":
        raise fault("unsupported-content", output.path, expected="`logs`", found=quote(kind) if kind else "none")
    return TextContent(output.text("logs") or "")


def _add_search(builder: Builder, item: Given) -> None:
    action = item.object("action")
    kind = action.kind()
    if kind not in _ACTIONS:
        raise fault(
            "unsupported-content", action.path, expected=" ".join(_ACTIONS), found=quote(kind) if kind else "none"
        )
    tool, field = _ACTIONS[kind]
    recipient = f"browser.{tool}"
    given = item.text("arguments")  # the model's own, which `from_harmony` keeps
    if given:
        builder.call(recipient, given, item.text("id"))
    else:
        for arguments in _searches(action, kind, field):
            builder.call(recipient, as_json(arguments, action.path), item.text("id"))
    sources = [source.word("url") for source in action.objects("sources")]
    if sources:
        builder.result(None, recipient, [TextContent("\n".join(sources))])


def _searches(action: Given, kind: str, field: str) -> list[dict[str, str]]:
    """The arguments of each call that an action stands for: a search may have several queries."""
    if kind == "search":
        queries = [query for query, _ in action.values("queries")]
        first = action.text(field) if queries else action.word(field)
        return [{field: query} for query in ([first] if first and first not in queries else []) + queries]
    if kind == "open_page":
        return [{"id": action.text("url") or ""}]
    found = {field: action.word(field)}
    return [{**found, "id": url} if (url := action.text("url")) else found]


_ADD: Final[dict[str, Callable[[Builder, Given], None]]] = {
    "message": _add_message,
    "reasoning": _add_reasoning,
    "function_call": _add_function_call,
    "function_call_output": _add_result,
    "custom_tool_call": _add_custom_call,
    "custom_tool_call_output": _add_result,
    "mcp_call": _add_mcp_call,
    "code_interpreter_call": _add_python_call,
    "web_search_call": _add_search,
}
