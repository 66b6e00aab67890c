"""`lint`: checks rules that a grammar cannot express, because they depend on more than one message.

Each rule is one function with a docstring; RULES has them by code, with the input that each needs. Rules look at
messages and at what these declare, never at tokens. Faults of a single message are found by rendering and by
`harmony.validate`. So a message of a wrong type is skipped here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from inspect import getdoc
from itertools import islice
from typing import Final, Literal, NamedTuple, TypeAlias

from harmony.checking.declared import becomes_any, unknown_types, unwritable
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
from harmony.checking.view import View, is_a, text_of, view_of
from harmony.errors import Diagnostic, Fault, quote
from harmony.format.header import CONSTRAINED
from harmony.messages.model import Conversation
from harmony.messages.roles import Role

#: The index of a message, and the fault in it.
PlacedFault: TypeAlias = tuple[int, Fault]
#: The least that a rule needs to be right: a completion by itself, or the whole conversation with the messages of the
#: prompt, or a whole conversation that holds the schemas of its tools, as objects; and for some, jsonschema as well.
Input: TypeAlias = Literal["completion", "conversation", "tools", "schemas"]

#: What stands for each input in tables of the rules.
INPUTS: Final[dict[Input, str]] = {
    "completion": "a completion",
    "conversation": "the conversation",
    "tools": "the conversation with the schemas of tools",
    "schemas": "the conversation with the schemas of tools, and jsonschema",
}
_JSON: Final = frozenset({"json", f"{CONSTRAINED}json"})
_SHOWN_NAMES: Final = 8
_TRIPS: Final = "Trips: "


class Rule(NamedTuple):
    """A rule: the function that finds its faults, the input that it needs, and the function that repairs them, if any.

    What is written about a rule is the docstring of `check`.
    """

    check: Callable[[View], Iterator[PlacedFault]]
    needs: Input
    fixed_by: str | None = None

    @property
    def code(self) -> str:
        """The code of the rule: the name of its function, with `-` for `_`."""
        return self.check.__name__.replace("_", "-")

    @property
    def sentence(self) -> str:
        """The rule in one sentence."""
        return (getdoc(self.check) or "").partition("\n")[0]

    @property
    def meaning(self) -> str:
        """All that the rule says of itself, except what trips it."""
        return " ".join((getdoc(self.check) or "").split()).partition(_TRIPS)[0].rstrip()

    @property
    def trips(self) -> str:
        """What trips the rule, as a clause that ends in a dot."""
        return " ".join((getdoc(self.check) or "").split()).partition(_TRIPS)[2]


def lint(
    conversation: Conversation, *, select: Iterable[str] | None = None, ignore: Iterable[str] | None = None
) -> list[Diagnostic]:
    """Checks a conversation by rules about several messages, such as calls of undeclared tools.

    Returns a list of Diagnostics in the order of the messages; it is empty if nothing is wrong. `position` is the index
    of a message. `select` names the codes of the rules to use (None for all), and `ignore` names rules to skip:

        for found in lint(conversation, ignore=["leftover-analysis"]):
            print(found.position, found.code, found.message)

    The rules about schemas need jsonschema, which the extra `lint` has. Without it they are skipped, but if
    `select` names one of them, ImportError is raised. Raises TypeError if the argument is not a Conversation, and
    ValueError for an unknown code.

    The schema of a tool can contain a regular expression, and a malicious one can take Python's `re` almost for ever.
    If you do not trust the schemas, ignore `arguments-break-schema` and `unusable-schema`.
    """
    selected = _codes(select, "select")
    ignored = _codes(ignore, "ignore") or frozenset()
    if not isinstance(conversation, Conversation):
        raise TypeError(f"Expected `Conversation`, got `{type(conversation).__name__}` - at `conversation`")
    messages: object = conversation.messages
    if not is_a(messages, list):
        raise TypeError(f"Expected `list`, got `{type(messages).__name__}` - at `conversation.messages`")

    codes = [code for code in RULES if (selected is None or code in selected) and code not in ignored]
    if selected is not None and any(RULES[code].needs == "schemas" for code in codes):
        load_jsonschema()
    view = view_of(conversation.messages)
    found = [fault.diagnostic(position) for code in codes for position, fault in RULES[code].check(view)]
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


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(quote, islice(names, _SHOWN_NAMES))) + (", …" if len(names) > _SHOWN_NAMES else "")


# The rules.


def unknown_channel(view: View) -> Iterator[PlacedFault]:
    """A message is on a channel that the system message names as valid.

    Trips: a message on `thoughts`, if the valid channels are `analysis`, `commentary` and `final`.
    """
    for facts in view.messages:
        if view.channels and facts.channel is not None and facts.channel not in view.channels:
            fault = Fault("unknown-channel", expected=_listed(view.channels), found=quote(facts.channel))
            yield facts.position, fault


def channel_required(view: View) -> Iterator[PlacedFault]:
    """Each message of the assistant has a channel, if the system message requires one.

    Trips: an answer without a channel, after the default system message.
    """
    for facts in view.messages:
        if view.channel_required and facts.role == Role.ASSISTANT and facts.channel is None:
            yield facts.position, Fault("channel-required", expected=_listed(view.channels))


def call_off_commentary(view: View) -> Iterator[PlacedFault]:
    """Calls to `functions` are on the channel `commentary`.

    The built-in tools of the format may be called on `analysis` too. Trips: a message to `functions.search` on
    `analysis`.
    """
    for facts in view.messages:
        if facts.call is not None and facts.call.startswith("functions.") and facts.channel != "commentary":
            found = "no channel" if facts.channel is None else quote(facts.channel)
            yield facts.position, Fault("call-off-commentary", call=quote(facts.call), found=found)


def undeclared_tool(view: View) -> Iterator[PlacedFault]:
    """The assistant calls only tools that a system or developer message declares.

    The declaration may stand anywhere in the conversation. A namespace without functions is called by its own name,
    such as `python`. In a parsed message, tools are found in its text, as rendering writes them. Trips: a call to
    `functions.search`, if no message declares it.
    """
    for facts in view.messages:
        if facts.call is not None and facts.call not in view.tools:
            yield facts.position, Fault("undeclared-tool", call=quote(facts.call))


def arguments_not_json(view: View) -> Iterator[PlacedFault]:
    """The arguments of a call are JSON, if their content type is `json` or `<|constrain|>json`.

    NaN and Infinity are not JSON. Data that is nested too deeply, or has a number of thousands of digits, is refused
    too. If a key occurs twice, the last one counts. Trips: `{"city": Oslo}` with the type `json`.
    """
    for facts in view.messages:
        if facts.call is None or facts.content_type not in _JSON or (text := text_of(facts)) is None:
            continue
        try:
            read_json(text)
        except ValueError as error:
            content_type = quote(facts.content_type)
            fault = Fault("arguments-not-json", content_type=content_type, found=quote(text), reason=error)
            yield facts.position, fault


def arguments_break_schema(view: View) -> Iterator[PlacedFault]:
    """The arguments of a call fit the JSON schema of the tool, whatever their content type is.

    Arguments that are not JSON fit no schema; if the content type says JSON, the fault is `arguments-not-json` instead.
    Only the first fault of each call is reported. `format`, `unevaluatedItems` and `unevaluatedProperties` are not
    checked. Needs jsonschema. Trips: `{"city": 5}` for a tool whose `city` is a string.
    """
    return (found for found in _schema_faults(view) if found[1].code == "arguments-break-schema")


def unusable_schema(view: View) -> Iterator[PlacedFault]:
    """The schema of a declared tool is a valid JSON schema, and arguments can be checked with it.

    If the schema is invalid, or repeats its objects too often, the fault is at the message that declares it, whether
    the tool is called or not. If a
    reference leads nowhere or in a circle, or a check takes too many steps, the fault is at the call. References are
    never fetched. A schema is read as draft 2020-12, unless its `$schema` says otherwise. Needs jsonschema. Trips: a
    parameter of the type `any`.
    """
    return (found for found in _schema_faults(view) if found[1].code == "unusable-schema")


def unknown_type(view: View) -> Iterator[PlacedFault]:
    """Each `type` in the schema of a declared tool is one of the seven types of JSON schema.

    These are `string`, `number`, `integer`, `boolean`, `object`, `array` and `null`. Another one is rendered as `any`.
    Trips: a parameter of the type `float`.
    """
    for name, tool in view.tools.items():
        for place, found in unknown_types(tool.parameters):
            yield tool.position, Fault("unknown-type", call=quote(name), place=place, found=quote(found))


def schema_becomes_any(view: View) -> Iterator[PlacedFault]:
    """The reference style has a type for each parameter of a declared tool that its schema says something of.

    It writes `any` for a schema without `type` or `oneOf`, as with `anyOf`, `$ref` or `const`. Then the model does not
    see what the schema says. Types that are none are faults of `unknown-type` instead. Trips: a parameter that is a
    string or null by `anyOf`.
    """
    for name, tool in view.tools.items():
        lost = [f"{place} ({quote(keyword)})" for place, keyword in becomes_any(tool.parameters)]
        if lost:
            shown = ", ".join(lost[:_SHOWN_NAMES]) + (", …" if len(lost) > _SHOWN_NAMES else "")
            yield tool.position, Fault("schema-becomes-any", call=quote(name), found=shown)


def unwritable_tool(view: View) -> Iterator[PlacedFault]:
    """The full name of a declared tool can stand in a header, as its calls and results need it.

    Trips: a function with the name `get weather`.
    """
    for name, tool in view.tools.items():
        if why := unwritable(name):
            yield tool.position, Fault("unwritable-tool", found=quote(name), reason=why)


def result_without_call(view: View) -> Iterator[PlacedFault]:
    """A message of a tool answers an earlier call of that tool in the same turn, which has no result yet.

    Several calls may be answered in any order. Trips: a result of `python`, if `browser.search` was called.
    """
    waiting: dict[str, int] = {}
    for facts in view.messages:
        if facts.role == Role.USER:
            waiting = {}
        elif facts.call is not None:
            waiting[facts.call] = waiting.pop(facts.call, 0) + 1  # moves the latest call to the end
        elif facts.role == Role.TOOL:
            if facts.name is not None and facts.name in waiting:
                waiting[facts.name] -= 1
                if not waiting[facts.name]:
                    del waiting[facts.name]
                continue
            found = "one of a tool without a name" if facts.name is None else f"one of {quote(facts.name)}"
            if waiting:
                latest = quote(next(reversed(waiting)))
                yield facts.position, Fault("result-without-call/other", call=latest, found=found)
            else:
                yield facts.position, Fault("result-without-call", found=found)


def final_with_recipient(view: View) -> Iterator[PlacedFault]:
    """A message of the assistant on `final` has no recipient: it is for the user, and it ends the turn.

    With any recipient, the message is rendered with `<|call|>` at its end, so it reads as a call. That includes `user`
    and `all`, although a header does not show `all`. Trips: an answer on `final` to `user`.
    """
    for facts in view.messages:
        if facts.role == Role.ASSISTANT and facts.channel == "final" and facts.recipient is not None:
            yield facts.position, Fault("final-with-recipient", found=quote(facts.recipient))


def wrong_order(view: View) -> Iterator[PlacedFault]:
    """The order is: at most one system message, then developer messages, then turns; a user begins the first.

    Trips: a second system message; a developer message after a user message; an answer before any user message.
    """
    begun = False
    for place, facts in enumerate(view.messages):
        if facts.role == Role.SYSTEM:
            if place > 0:
                yield facts.position, Fault("wrong-order/system")
        elif facts.role == Role.DEVELOPER:
            if begun:
                yield facts.position, Fault("wrong-order/developer")
        else:
            if not begun and facts.role != Role.USER:
                yield facts.position, Fault("wrong-order/user", found=quote(facts.role))
            begun = True


def after_final(view: View) -> Iterator[PlacedFault]:
    """After the last `final` of a turn, no message of the assistant or of a tool follows in that turn.

    A turn begins with a user message. A turn without a `final` is still open, and may go on. In training, the model
    would learn the messages after the answer as if they belonged there, and `<|return|>` would be missing. Trips: an
    analysis after the answer.
    """
    for facts in view.messages:
        answer = view.answers.get(facts.turn)
        if answer is not None and facts.position > answer and facts.role in (Role.ASSISTANT, Role.TOOL):
            yield facts.position, Fault("after-final", answer=answer)


def leftover_analysis(view: View) -> Iterator[PlacedFault]:
    """The analysis of a finished turn is removed when the next turn begins: the model must not see it again.

    The rule finds messages on `analysis`, also calls and their results, before the last `final` of a turn, if a user
    message follows that turn. This is what `drop_analysis` removes, except for the last turn: a training example needs
    its analysis. Trips: analysis, an answer, and then the next question.
    """
    for facts in view.messages:
        is_finished = facts.turn < view.turns and facts.position < view.answers.get(facts.turn, -1)
        if is_finished and facts.channel == "analysis" and facts.role != Role.USER:
            yield facts.position, Fault("leftover-analysis")


#: Every rule, by its code.
RULES: Final[dict[str, Rule]] = {
    rule.code: rule
    for rule in (
        Rule(unknown_channel, needs="conversation"),
        Rule(channel_required, needs="conversation"),
        Rule(call_off_commentary, needs="completion"),
        Rule(undeclared_tool, needs="conversation"),
        Rule(arguments_not_json, needs="completion"),
        Rule(arguments_break_schema, needs="schemas"),
        Rule(unusable_schema, needs="schemas"),
        Rule(unknown_type, needs="tools"),
        Rule(schema_becomes_any, needs="tools"),
        Rule(unwritable_tool, needs="conversation"),
        Rule(result_without_call, needs="conversation"),
        Rule(final_with_recipient, needs="completion"),
        Rule(wrong_order, needs="conversation"),
        Rule(after_final, needs="completion"),
        Rule(leftover_analysis, needs="conversation", fixed_by="drop_analysis"),
    )
}


def _schema_faults(view: View) -> list[PlacedFault]:
    """The faults of both rules about schemas. They are found together, by the first rule that asks."""
    if view.schema_faults is None:
        view.schema_faults = list(_found_in_schemas(view))
    return view.schema_faults


def _found_in_schemas(view: View) -> Iterator[PlacedFault]:
    declared = {name: tool for name, tool in view.tools.items() if tool.parameters is not None}
    try:
        if declared:
            load_jsonschema()
    except ImportError:
        return
    schemas: dict[str, Schema] = {}  # without those that must not be used again
    for name, tool in declared.items():
        try:
            schema, fault = read_schema(tool.parameters)
        except of_schema() as error:
            yield tool.position, Fault("unusable-schema/unfit", call=quote(name), reason=reason(error))
            continue
        if fault is not None:
            place, expected, found = fault
            said = Fault("unusable-schema", call=quote(name), place=place, expected=expected, found=found)
            yield tool.position, said
        if schema is not None:
            schemas[name] = schema
    for facts in view.messages:
        schema = None if facts.call is None else schemas.get(facts.call)
        text = None if schema is None else text_of(facts)
        if facts.call is None or schema is None or text is None:
            continue
        call = quote(facts.call)
        try:
            problem = misfit(schema, call, text, is_json=facts.content_type in _JSON)
        except of_schema() as error:
            if isinstance(error, TooManySteps):
                del schemas[facts.call]  # otherwise each call could cost that much again
            yield facts.position, Fault("unusable-schema/unfit", call=call, reason=reason(error))
        else:
            if problem is not None:
                yield facts.position, problem
