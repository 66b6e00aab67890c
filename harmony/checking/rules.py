"""Whether a conversation holds together: what no grammar can state, for it depends on more than one message.

Decides the rules: each is one function with a docstring, and RULES has them by code. They look at the messages and
at what these declare, never at tokens. What can be wrong with a single message is known to rendering and to
`harmony.validate`; a message that is not even of the right type is theirs to report, and here it is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias, TypeGuard, TypeVar

from harmony.checking.schemas import (
    Schema,
    TooManySteps,
    load_jsonschema,
    misfit,
    of_schema,
    read_json,
    read_schema,
    reason,
)
from harmony.errors import Diagnostic, Fault, quote
from harmony.format.header import CONSTRAINED
from harmony.messages.model import (
    Author,
    ChannelConfig,
    Conversation,
    DeveloperContent,
    Message,
    SystemContent,
    TextContent,
)
from harmony.messages.record import Record
from harmony.messages.roles import ROLES, Role

#: The index of a message, and what is wrong with it.
Problem: TypeAlias = tuple[int, Fault]

_Kind = TypeVar("_Kind")

_JSON: Final = frozenset({"json", f"{CONSTRAINED}json"})
_SHOWN_NAMES: Final = 8

# What a system or developer message declares that was parsed, and so is plain text. Functions are indented by nothing,
# and their descriptions by `// `, so that a description declares nothing.
_CHANNELS_IN_TEXT: Final = re.compile(
    r"^# Valid channels: (.+?)\.( Channel must be included for every message\.)?$", re.MULTILINE
)
_TOOLS_IN_TEXT: Final = re.compile(r"^# Tools$", re.MULTILINE)
_TOOL_IN_TEXT: Final = re.compile(r"^(?:## (\S+)$|type (\S+) = \()", re.MULTILINE)


def lint(
    conversation: Conversation, *, select: Iterable[str] | None = None, ignore: Iterable[str] | None = None
) -> list[Diagnostic]:
    """What is wrong with a conversation by the rules of RULES, in the order of its messages; [] where nothing is.

    `position` is the index of a message. `select` are the codes of the rules to go by, all where it is None, and
    `ignore` those to leave out. The rules about schemas need jsonschema, which `pip install 'harmony-codec[lint]'`
    brings: without it they are left out, or an ImportError where `select` names them. Raises TypeError for what is no
    Conversation and ValueError for an unknown code.

    A tool's schema can hold a regular expression, and Python's `re` can take for ever over one that was made for that:
    where schemas come from strangers, ignore `arguments-break-schema` and `unusable-schema`.
    """
    selected = _codes(select, "select")
    ignored = _codes(ignore, "ignore") or frozenset()
    if not isinstance(conversation, Conversation):
        raise TypeError(f"Expected `Conversation`, got `{type(conversation).__name__}` - at `conversation`")
    messages: object = conversation.messages
    if not _is(messages, list):
        raise TypeError(f"Expected `list`, got `{type(messages).__name__}` - at `conversation.messages`")

    codes = [code for code in RULES if (selected is None or code in selected) and code not in ignored]
    if selected is not None and not _NEED_JSONSCHEMA.isdisjoint(codes):
        load_jsonschema()
    view = _view(conversation.messages)
    found = [fault.diagnostic(position) for code in codes for position, fault in RULES[code](view)]
    return sorted(found, key=lambda diagnostic: (diagnostic.position, diagnostic.code))


def _codes(codes: Iterable[str] | None, name: str) -> frozenset[str] | None:
    if codes is None:
        return None
    if isinstance(codes, str) or not isinstance(codes, Iterable):
        raise TypeError(f"Expected a collection of codes, got `{type(codes).__name__}` - at `{name}`")
    found: list[object] = list(codes)
    for code in found:
        if not isinstance(code, str):
            raise TypeError(f"Expected `str`, got `{type(code).__name__}` - at `{name}`")
        if code not in RULES:
            raise ValueError(f"Expected codes out of {', '.join(RULES)}, got {quote(code)} - at `{name}`")
    return frozenset(map(str, found))


# What the rules look at.


class Line(NamedTuple):
    """A message as the rules see it: plain strings, and None for what is absent or of a wrong type.

    `position` is its index in the conversation. `turn` is how many messages of users there are up to it, itself
    included. `call` is the tool that it calls: a recipient of the assistant's that is neither a role nor `all`.
    """

    position: int
    role: str
    name: str | None
    channel: str | None
    recipient: str | None
    content_type: str | None
    turn: int
    call: str | None
    message: Message


class Tool(NamedTuple):
    """A tool: the index of the message that declares it, and its JSON schema, None where it is not known."""

    position: int
    parameters: dict[str, Any] | None


class View:
    """A conversation, prepared for the rules.

    `channels` are the names that the system message allows, none where it says nothing of them; `tools` are by full
    name, `functions.search` or `python`; `answers` is by turn the index of its last message on `final`.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.channels: dict[str, None] = {}
        self.channel_required = False
        self.tools: dict[str, Tool] = {}
        self.answers: dict[int, int] = {}
        self.turns = 0
        self._schema_findings: list[Problem] | None = None

    @property
    def schema_findings(self) -> list[Problem]:
        """What two rules find in one go."""
        if self._schema_findings is None:  # cached_property of Python 3.11 has a lock, which a forked child would keep
            self._schema_findings = list(_schema_findings(self))
        return self._schema_findings


def _view(messages: list[Message]) -> View:
    view = View()
    for position, message in enumerate(list.copy(messages)):
        author = getattr(message, "author", None) if _is(message, Message) else None
        role = _string(getattr(author, "role", None)) if _is(author, Author) else None
        if role is None or role not in ROLES:
            continue
        view.turns += role == Role.USER
        channel = _string(getattr(message, "channel", None))
        recipient = _string(getattr(message, "recipient", None))
        line = Line(
            position,
            role,
            _string(getattr(author, "name", None)),
            channel,
            recipient,
            _string(getattr(message, "content_type", None)),
            view.turns,
            recipient if role == Role.ASSISTANT and _is_tool(recipient) else None,
            message,
        )
        view.lines.append(line)
        if role == Role.ASSISTANT and channel == "final":
            view.answers[view.turns] = position
        elif role in (Role.SYSTEM, Role.DEVELOPER):
            _add_declared(view, line)
    return view


def _is_tool(recipient: str | None) -> bool:
    # A role may have a name behind it, as in `user:alice`.
    return recipient is not None and recipient != "all" and recipient.partition(":")[0] not in ROLES


def _add_declared(view: View, line: Line) -> None:
    """Adds the channels and the tools that a system or developer message declares, in objects or in text."""
    kind = SystemContent if line.role == Role.SYSTEM else DeveloperContent
    for part in _items(getattr(line.message, "content", None)):
        if _is(part, TextContent):
            text = _string(getattr(part, "text", None)) or ""
            if line.role == Role.SYSTEM and (match := _CHANNELS_IN_TEXT.search(text)):
                _add_channels(view, match[1].split(", "), match[2] is not None)
            view.tools |= dict.fromkeys(_tools_in_text(text), Tool(line.position, None))
        elif _is(part, kind):
            config = getattr(part, "channel_config", None)
            if _is(config, ChannelConfig):
                names = map(_string, _items(getattr(config, "valid_channels", None)))
                required = getattr(config, "channel_required", None) is True
                _add_channels(view, [name for name in names if name is not None], required)
            for name, parameters in _declared(getattr(part, "tools", None)):
                view.tools[name] = Tool(line.position, parameters)


def _add_channels(view: View, names: list[str], required: bool) -> None:
    if names and not view.channels:  # an empty list is not rendered, so it says nothing; and the first one holds
        view.channels = dict.fromkeys(names)
        view.channel_required = required


def _declared(tools: object) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The full names of tools and their schemas; a namespace without functions is itself what is called."""
    for namespace in list(dict.values(tools)) if _is(tools, dict) else []:
        space = _string(_attribute(namespace, "name"))
        functions = _items(_attribute(namespace, "tools"))
        if space is None:
            continue
        if not functions:
            yield space, None
        for function in functions:
            name = _string(_attribute(function, "name"))
            parameters = _attribute(function, "parameters")
            if name is not None:
                yield f"{space}.{name}", parameters if _is(parameters, dict) else None


def _tools_in_text(text: str) -> Iterator[str]:
    heading = _TOOLS_IN_TEXT.search(text)
    space = None
    is_empty = False
    for match in _TOOL_IN_TEXT.finditer(text, heading.end()) if heading else ():
        if match[1]:
            if space and is_empty:
                yield space
            space, is_empty = match[1], True
        elif space:
            is_empty = False
            yield f"{space}.{match[2]}"
    if space and is_empty:
        yield space


def _text(line: Line) -> str | None:
    """The text of a message; None where its content is not a list of texts."""
    parts = getattr(line.message, "content", None)
    texts = [_string(getattr(part, "text", None)) if _is(part, TextContent) else None for part in _items(parts)]
    found = [text for text in texts if text is not None]
    return "".join(found) if _is(parts, list) and len(found) == len(texts) else None


# An object can claim any `__class__`, which `isinstance` believes; and an attribute can have been deleted.


def _is(value: object, kind: type[_Kind]) -> TypeGuard[_Kind]:
    return issubclass(type(value), kind)


def _string(value: object) -> str | None:
    return str.__str__(value) if _is(value, str) else None


def _items(value: object) -> list[Any]:
    if _is(value, list):
        return list.copy(value)
    return list(value) if type(value) is tuple else []


def _attribute(owner: object, name: str) -> object:
    # A dict in the place of a record is rendered like the record.
    if _is(owner, dict):
        return dict.get(owner, name)
    return getattr(owner, name, None) if _is(owner, Record) else None


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(quote, islice(names, _SHOWN_NAMES))) + (", …" if len(names) > _SHOWN_NAMES else "")


# The rules.


def unknown_channel(view: View) -> Iterator[Problem]:
    """A message is on one of the channels that the system message names as valid.

    Trips: a message on `thoughts`, where the valid channels are `analysis`, `commentary` and `final`.
    """
    for line in view.lines:
        if view.channels and line.channel is not None and line.channel not in view.channels:
            fault = Fault("unknown-channel", expected=_listed(view.channels), found=quote(line.channel))
            yield line.position, fault


def channel_required(view: View) -> Iterator[Problem]:
    """Each message of the assistant names a channel, where the system message requires it.

    Trips: an answer without a channel, below a system message as it is by default.
    """
    for line in view.lines:
        if view.channel_required and line.role == Role.ASSISTANT and line.channel is None:
            yield line.position, Fault("channel-required", expected=_listed(view.channels))


def call_off_commentary(view: View) -> Iterator[Problem]:
    """Calls to `functions` go to the channel `commentary`.

    The format's own tools may be called on `analysis` too. Trips: a message to `functions.search` on `analysis`.
    """
    for line in view.lines:
        if line.call is not None and line.call.startswith("functions.") and line.channel != "commentary":
            found = "no channel" if line.channel is None else quote(line.channel)
            yield line.position, Fault("call-off-commentary", call=quote(line.call), found=found)


def undeclared_tool(view: View) -> Iterator[Problem]:
    """The assistant calls only what a system or developer message declares, wherever that stands.

    A namespace without functions is called by its own name, as `python` is. Tools in the text of a parsed message
    count, as rendering writes them. Trips: a call to `functions.search`, where nobody declares it.
    """
    for line in view.lines:
        if line.call is not None and line.call not in view.tools:
            yield line.position, Fault("undeclared-tool", call=quote(line.call))


def arguments_not_json(view: View) -> Iterator[Problem]:
    """Arguments of a call are JSON, where their content type says so: `json`, or `<|constrain|>json`.

    NaN and Infinity are no JSON. What is nested too deeply to be read, or has a number of thousands of digits, counts
    as no JSON too; of a key that is there twice, the last counts. Trips: `{"city": Oslo}` with the type `json`.
    """
    for line in view.lines:
        if line.call is None or line.content_type not in _JSON or (text := _text(line)) is None:
            continue
        try:
            read_json(text)
        except ValueError as error:
            content_type = quote(line.content_type)
            fault = Fault("arguments-not-json", content_type=content_type, found=quote(text), reason=error)
            yield line.position, fault


def arguments_break_schema(view: View) -> Iterator[Problem]:
    """Arguments of a call fit the JSON schema of the tool, whatever their content type says.

    Arguments that are no JSON fit no schema; where the content type promises JSON, that is `arguments-not-json`. Of
    each call the first problem is told. `format`, `unevaluatedItems` and `unevaluatedProperties` are not looked at.
    Needs jsonschema. Trips: `{"city": 5}` for a tool whose `city` is a string.
    """
    return (problem for problem in view.schema_findings if problem[1].code == "arguments-break-schema")


def unusable_schema(view: View) -> Iterator[Problem]:
    """The schema of a tool that is called is a JSON schema that arguments can be checked by.

    What is no JSON schema, or has objects in too many places, is found at the message that declares it. A reference
    that leads nowhere or round in circles, and a schema that takes too many steps, are found at the call; references
    are never fetched. A schema is of draft 2020-12, unless its `$schema` says otherwise. Needs jsonschema. Trips: a
    parameter of the type `any`.
    """
    return (problem for problem in view.schema_findings if problem[1].code == "unusable-schema")


def result_without_call(view: View) -> Iterator[Problem]:
    """A tool's message answers a call to that very tool, earlier in the same turn, that has no result yet.

    Several calls may be answered in any order. Trips: a result of `python`, where `browser.search` was called.
    """
    waiting: dict[str, int] = {}
    for line in view.lines:
        if line.role == Role.USER:
            waiting = {}
        elif line.call is not None:
            waiting[line.call] = waiting.pop(line.call, 0) + 1  # so that the latest call stands last
        elif line.role == Role.TOOL:
            if line.name is not None and line.name in waiting:
                waiting[line.name] -= 1
                if not waiting[line.name]:
                    del waiting[line.name]
                continue
            found = "one of a tool without a name" if line.name is None else f"one of {quote(line.name)}"
            if waiting:
                latest = quote(next(reversed(waiting)))
                yield line.position, Fault("result-without-call/other", call=latest, found=found)
            else:
                yield line.position, Fault("result-without-call", found=found)


def final_with_recipient(view: View) -> Iterator[Problem]:
    """A message of the assistant's on `final` has no recipient: it is for the user, and it ends the turn.

    `user` and `all` are recipients too, though a header does not show `all`: with any recipient the message is
    rendered with `<|call|>` behind it, so that it reads as a call. Trips: an answer on `final` to `user`.
    """
    for line in view.lines:
        if line.role == Role.ASSISTANT and line.channel == "final" and line.recipient is not None:
            yield line.position, Fault("final-with-recipient", found=quote(line.recipient))


def wrong_order(view: View) -> Iterator[Problem]:
    """First at most one system message, next those of the developer, then turns, the first begun by a user.

    Trips: a second system message; a developer's message after a user's; an assistant's before any user's.
    """
    begun = False
    for place, line in enumerate(view.lines):
        if line.role == Role.SYSTEM:
            if place > 0:
                yield line.position, Fault("wrong-order/system")
        elif line.role == Role.DEVELOPER:
            if begun:
                yield line.position, Fault("wrong-order/developer")
        else:
            if not begun and line.role != Role.USER:
                yield line.position, Fault("wrong-order/user", found=quote(line.role))
            begun = True


def after_final(view: View) -> Iterator[Problem]:
    """Nothing of the assistant's or of a tool's comes after the last `final` of a turn, which ends it.

    A turn begins with a user's message, so a turn without a `final` is one that is still open, and may go on. In
    training, what comes after the answer is learned as if it belonged there, and `<|return|>` is missing. Trips: an
    analysis behind the answer.
    """
    for line in view.lines:
        answer = view.answers.get(line.turn)
        if answer is not None and line.position > answer and line.role in (Role.ASSISTANT, Role.TOOL):
            yield line.position, Fault("after-final", answer=answer)


def leftover_analysis(view: View) -> Iterator[Problem]:
    """Analysis that led to an answer is gone once the next turn has begun, for the model is not to see it again.

    It is exactly what `drop_analysis` leaves out, but for that of the last turn, whose analysis a training example
    needs: messages on `analysis`, calls and their results too, before the last `final` of a turn that a user's
    message follows. Trips: analysis, an answer, and then the next question.
    """
    for line in view.lines:
        is_finished = line.turn < view.turns and line.position < view.answers.get(line.turn, -1)
        if is_finished and line.channel == "analysis" and line.role != Role.USER:
            yield line.position, Fault("leftover-analysis")


#: Every rule, by its code.
RULES: Final[dict[str, Callable[[View], Iterator[Problem]]]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        unknown_channel,
        channel_required,
        call_off_commentary,
        undeclared_tool,
        arguments_not_json,
        arguments_break_schema,
        unusable_schema,
        result_without_call,
        final_with_recipient,
        wrong_order,
        after_final,
        leftover_analysis,
    )
}
_NEED_JSONSCHEMA: Final = frozenset({"arguments-break-schema", "unusable-schema"})


def _schema_findings(view: View) -> Iterator[Problem]:
    schemas: dict[str, Schema | None] = {}  # by tool; None for one that is not to be used any more
    for line in view.lines:
        tool = None if line.call is None else view.tools.get(line.call)
        text = None if tool is None or tool.parameters is None else _text(line)
        if line.call is None or tool is None or text is None:
            continue
        try:
            load_jsonschema()
        except ImportError:
            return
        call = quote(line.call)
        if line.call not in schemas:
            schemas[line.call] = None
            try:
                schemas[line.call], fault = read_schema(tool.parameters)
            except of_schema() as error:
                yield tool.position, Fault("unusable-schema/unfit", call=call, reason=reason(error))
            else:
                if fault:
                    yield tool.position, Fault("unusable-schema", call=call, expected=fault)
        schema = schemas[line.call]
        if schema is None:
            continue
        try:
            problem = misfit(schema, call, text, is_json=line.content_type in _JSON)
        except of_schema() as error:
            if isinstance(error, TooManySteps):
                schemas[line.call] = None  # else many calls could make it many times too many
            yield line.position, Fault("unusable-schema/unfit", call=call, reason=reason(error))
        else:
            if problem is not None:
                yield line.position, problem
