"""Tools and response formats in the shapes of the OpenAI APIs, and the recipients that stand for them in Harmony.

{"type": "function", "function": {"name": "sky"}}      functions.sky     a tool of Chat Completions
{"type": "function", "name": "sky"}                    functions.sky     the same in Responses
{"type": "namespace", "name": "crm", "tools": […]}     crm.find
{"type": "web_search"}                                 browser.search    if `builtin_tools` names `browser`
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from copy import deepcopy
from typing import Any, Final, NamedTuple

import msgspec

from harmony.conversion.given import Given, Shape, fault, holds, listed, schema, unfit
from harmony.errors import quote
from harmony.messages.model import ResponseFormat, ToolDescription, ToolNamespaceConfig
from harmony.messages.roles import KNOWN_CHANNELS

#: The namespace of functions that have no other one.
FUNCTIONS: Final = "functions"
#: The built-in tools of Harmony, and how the types of tools in Responses begin that stand for them.
BUILTIN: Final = {"browser": "web_search", "python": "code_interpreter"}

#: The parameters of a custom tool, whose input is text without a form.
_INPUT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}

# What the name of a function cannot hold, at its end or around it. The name may hold anything inside.
_AROUND: Final = re.compile(r"\A[^\w-]+|(?<=[\w-])[^\w-]+\Z")
_CHANNEL: Final = re.compile(rf"(?:{'|'.join(KNOWN_CHANNELS)})\Z")
# A broken name is at most this many characters longer than the name that it stands for.
_MOST_AROUND: Final = 64


class Tools(NamedTuple):
    """The tools of a request."""

    namespaces: dict[str, ToolNamespaceConfig]
    builtin: list[str]  # names of BUILTIN
    recipients: set[str]  # of all functions and custom tools
    custom: set[str]  # of custom tools alone


def read_tools(tools: Iterable[Shape] | None, can_run: Collection[str], path: str = "tools") -> Tools:
    """Reads a list of tools. `can_run` has the names of the built-in tools that the caller can run.

    Raises ConversionError.
    """
    read = Tools({}, [], set(), set())
    for value, place in () if tools is None else listed(tools, path):
        tool = Given(value, place)
        kind = tool.kind("function")
        if kind == "namespace":
            space = _namespace(read, tool.name("name"), tool.text("description"), tool.place("name"))
            for inner in tool.objects("tools"):
                _add(read, space, inner)
        elif kind in ("function", "custom"):
            _add(read, _namespace(read, FUNCTIONS, None, place), tool)
        else:
            read.builtin.append(_builtin(kind, can_run, tool))
    return read


def builtin_names(names: Iterable[str] | None) -> frozenset[str]:
    """The names of built-in tools that a caller gave: one, or several. Raises ConversionError for any other."""
    path, expected = "builtin_tools", "the names `browser` and `python`"
    given = [(names, path)] if isinstance(names, str) else () if names is None else listed(names, path, expected)
    found = set()
    for name, place in given:
        if not isinstance(name, str) or name not in BUILTIN:
            raise unfit(place, expected, name)
        found.add(str.__str__(name))
    return frozenset(found)


def _namespace(read: Tools, name: str, description: str | None, path: str) -> ToolNamespaceConfig:
    space = read.namespaces.get(name)
    if space is None:
        space = read.namespaces[name] = ToolNamespaceConfig(name=name, description=description or None, tools=[])
    elif name != FUNCTIONS:
        raise fault("duplicate-tool", path, found=quote(name))
    elif description:
        space.description = description
    return space


def _add(read: Tools, space: ToolNamespaceConfig, tool: Given) -> None:
    """Adds a function or a custom tool to a namespace."""
    kind = tool.kind("function")
    if kind not in ("function", "custom"):
        raise fault("unsupported-tool", tool.path, found=quote(kind))
    tool.refuse("defer_loading", "output_schema", "allowed_callers", "async")
    body = tool.object(kind) if kind in tool.fields else tool
    name = body.name("name")
    recipient = f"{space.name}.{name}"
    if recipient in read.recipients:
        raise fault("duplicate-tool", body.place("name"), found=quote(name))
    if kind == "custom":
        _check_input(body)
        parameters: dict[str, Any] | None = deepcopy(_INPUT)
        read.custom.add(recipient)
    else:
        given = body.fields.get("parameters")
        parameters = None if given is None else schema(given, body.place("parameters"))
    read.recipients.add(recipient)
    space.tools.append(ToolDescription(name, body.text("description") or "", parameters))


def _check_input(tool: Given) -> None:
    """Raises ConversionError for a custom tool whose input has a grammar."""
    if holds(tool.fields.get("format")) and tool.object("format").kind() != "text":
        raise fault("unsupported-field", tool.place("format"), found="`format`")


def _builtin(kind: str, can_run: Collection[str], tool: Given) -> str:
    for name, beginning in BUILTIN.items():
        if kind.startswith(beginning):
            if name not in can_run:
                raise fault("unsupported-tool/builtin", tool.path, expected=f"`{name}`", found=quote(kind))
            return name
    raise fault("unsupported-tool", tool.path, found=quote(kind))


def read_format(given: Shape | None, path: str) -> ResponseFormat | None:
    """Reads `response_format` of Chat Completions, or `text.format` of Responses. Raises ConversionError."""
    if given is None:
        return None
    found = Given(given, path)
    kind = found.word("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat(name=kind, schema={"type": "object"})
    if kind != "json_schema":
        raise fault("unsupported-format", path, found=quote(kind))
    body = found.object(kind) if kind in found.fields else found
    form = schema(body.fields.get("schema"), body.place("schema"))
    return ResponseFormat(name=body.name("name"), schema=form, description=body.text("description") or None)


class Declared:
    """The tools that a reply may call, for the way out of Harmony."""

    def __init__(self, tools: Iterable[Shape]) -> None:
        read = read_tools(tools, BUILTIN)
        self._recipients = read.recipients
        self._spaces = frozenset(read.namespaces) - {FUNCTIONS}
        self._custom = read.custom
        self._longest = max(map(len, self._recipients), default=0) + _MOST_AROUND

    def repaired(self, recipient: str) -> str | None:
        """The recipient of a declared function that a recipient stands for; None where it is no broken one."""
        if not self._recipients or len(recipient) > self._longest or self._known(recipient):
            return None
        for name in _without(recipient):
            if self._known(name):
                return name
        return None

    def _known(self, recipient: str) -> bool:
        return recipient in self._recipients or f"{FUNCTIONS}.{recipient}" in self._recipients

    def is_space(self, name: str) -> bool:
        """Whether it is a declared namespace other than `functions`."""
        return name in self._spaces

    def is_function(self, recipient: str) -> bool:
        """Whether a recipient without `functions.` is a declared function."""
        return f"{FUNCTIONS}.{recipient}" in self._recipients

    def is_custom(self, recipient: str) -> bool:
        """Whether a recipient is a declared custom tool."""
        return recipient in self._custom or f"{FUNCTIONS}.{recipient}" in self._custom


def _without(recipient: str) -> Iterator[str]:
    """A recipient without what no function's name holds around it, then also without a channel's name at its end."""
    cut = _AROUND.sub("", recipient)
    yield cut
    if cut.startswith(f"{FUNCTIONS}."):  # the quotes may stand around the name alone
        cut = FUNCTIONS + "." + _AROUND.sub("", cut[len(FUNCTIONS) + 1 :])
        yield cut
    while (shorter := _AROUND.sub("", _CHANNEL.sub("", cut))) != cut:
        cut = shorter
        yield cut


def custom_input(arguments: str) -> str:
    """The input of a call to a custom tool. It is the text itself where that is not the JSON of `{"input": …}`."""
    try:
        found = msgspec.json.decode(arguments)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return arguments
    if isinstance(found, dict) and found.keys() == {"input"} and isinstance(found["input"], str):
        return found["input"]
    return arguments
