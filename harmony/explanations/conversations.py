"""What is written about the codes of rendering, of `lint`, of records of logs, and of the vocabulary.

What a rule of `lint` means is its docstring, in `checking/rules.py`. Here stands what to do about it.
"""

from __future__ import annotations

from typing import Any, Final

from harmony.checking.rules import RULES
from harmony.explanations.entry import Entry, entry
from harmony.explanations.examples import Called, Example, Linted, Logged, Rendered

RENDERING: Final[dict[str, Entry]] = {
    "wrong-type": entry(
        "A field of a message, or an argument, is of a wrong type. The sentence names the field. Attributes can be set "
        "to anything; rendering is where their types are checked.",
        Called('message = Message.from_role_and_content("user", "Hi")\nmessage.channel = 5\nencoding.render(message)'),
        Called("encoding.render_conversation([])"),
    ),
    "unwritable-name": entry(
        "A name cannot be written into a header. A name is one or more characters, none of them white space, U+200B or "
        'one of `< > { } "`. A channel has letters, digits, `_`, `-` and dots alone. Otherwise the header would not '
        "read back as it was. Choose another name.",
        Rendered([{"role": "assistant", "channel": "final answer", "content": "Hi"}]),
        Rendered([{"role": "assistant", "channel": "final/answer", "content": "Hi"}]),
        Rendered([{"role": "assistant", "recipient": "functions.", "content": "Hi"}]),
    ),
    "reads-as-recipient": entry(
        "A name begins with `to=`, and would read as a recipient. Choose another name.",
        Rendered([{"role": "assistant", "channel": "to=final", "content": "Hi"}]),
    ),
    "reads-as-author": entry(
        "The name of a tool would read as another author, such as a role. Use the tool's full name, as in "
        "`functions.user`.",
        Rendered([{"role": "tool", "name": "user", "content": "Hi"}]),
    ),
    "nameless-tool": entry(
        "A tool's message does not say which tool it is of. Set the author's `name` to what was called, such as "
        "`functions.sky`.",
        Rendered([{"role": "tool", "content": "blue"}]),
    ),
    "unwritable-content-type": entry(
        "A content type cannot be written into a header. It is a name without a dot.",
        Rendered([{"role": "assistant", "content_type": "text/x.y", "content": "Hi"}]),
    ),
    "unknown-content-type": entry(
        "A content type would read as something else where no recipient stands before it. Use one that is known, or "
        "write it as `<|constrain|>sh`.",
        Rendered([{"role": "assistant", "content_type": "sh", "content": "ls"}]),
    ),
    "misplaced-content": entry(
        "System or developer content stands in a message of another role. Put it into a message of its own role.",
        Rendered([{"role": "user", "content": [{"type": "developer_content", "instructions": "Be brief."}]}]),
    ),
    "unwritable-content": entry(
        "Content holds what cannot be written, such as a number that is not finite, or data that is nested too deeply. "
        "The sentence says what and where. Mostly it is in the schema of a tool.",
        Called(
            'tool = ToolDescription.new("sky", "Looks up.", {"maximum": float("inf")})\n'
            "content = DeveloperContent.new().with_function_tools([tool])\n"
            'encoding.render(Message.from_role_and_content("developer", content))'
        ),
    ),
    "lone-surrogate": entry(
        "A text holds half of a surrogate pair, which no UTF-8 can. It comes from a text that was cut within a "
        'character, or from JSON such as `"\\ud800"`. Cut texts between characters.',
        Rendered([{"role": "user", "content": "\ud83d"}]),
    ),
    "too-long": entry(
        "A conversation has more tokens than `max_tokens`, or than the context length of 1,048,576. The sentence names "
        "the largest message. Leave out old turns, or their analysis (`drop_analysis`); `count_tokens` gives the size.",
        Called(
            'message = Message.from_role_and_content("user", "one two three four")\n'
            "config = RenderConversationConfig(max_tokens=5)\n"
            "encoding.render_conversation(Conversation.from_messages([message]), config)"
        ),
    ),
    "action-too-long": entry(
        "A message of the assistant has more than 524,288 tokens. The model was not made for more. Split the message.",
        Called('encoding.render(Message.from_role_and_content("assistant", "word " * 14_000_000))'),
    ),
    "cannot-render": entry(
        "An attribute was deleted from a message or from a part of it. `render_many` gives this as the value for that "
        "conversation. Set the attribute to None instead.",
        Called(
            'message = Message.from_role_and_content("user", "Hi")\n'
            "del message.channel\n"
            "encoding.render_many([Conversation.from_messages([message])])"
        ),
    ),
}

_USER: Final[dict[str, Any]] = {"role": "user", "content": "What colour is the sky?"}
_ANALYSIS: Final[dict[str, Any]] = {"role": "assistant", "channel": "analysis", "content": "Look it up."}
_ANSWER: Final[dict[str, Any]] = {"role": "assistant", "channel": "final", "content": "Blue."}
_SYSTEM: Final[dict[str, Any]] = {
    "role": "system",
    "content": "# Valid channels: analysis, commentary, final. Channel must be included for every message.",
}
_CALL: Final[dict[str, Any]] = {
    "role": "assistant",
    "channel": "commentary",
    "recipient": "functions.sky",
    "content_type": "json",
    "content": '{"city": "Oslo"}',
}


def _declared(parameters: dict[str, Any], name: str = "sky") -> dict[str, Any]:
    tool = {"name": name, "description": "Looks up.", "parameters": parameters}
    space = {"name": "functions", "description": None, "tools": [tool]}
    return {"role": "developer", "content": [{"type": "developer_content", "tools": {"functions": space}}]}


def _rule(code: str, advice: str, *messages: list[dict[str, Any]]) -> Entry:
    """What is written about a rule: what it says of itself, and what to do."""
    examples: list[Example] = [Linted(code, each) for each in messages]
    return entry(f"{RULES[code].meaning} {advice}", *examples)


_CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
_OPTIONAL: Final = {"type": "object", "properties": {"city": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}

LINT: Final[dict[str, Entry]] = {
    "unknown-channel": _rule(
        "unknown-channel",
        "Correct the channel, or add it to the valid ones.",
        [_SYSTEM, _USER, {**_ANSWER, "channel": "thoughts"}],
    ),
    "channel-required": _rule(
        "channel-required", "Give the message a channel.", [_SYSTEM, _USER, {"role": "assistant", "content": "Blue."}]
    ),
    "call-off-commentary": _rule(
        "call-off-commentary", "Set the channel of the call.", [_USER, {**_CALL, "channel": "analysis"}]
    ),
    "undeclared-tool": _rule(
        "undeclared-tool", "Declare the tool, or correct the name that is called.", [_USER, _CALL]
    ),
    "arguments-not-json": _rule(
        "arguments-not-json",
        "Correct the arguments, or leave the content type out.",
        [_USER, {**_CALL, "content": '{"city": Oslo}'}],
    ),
    "arguments-break-schema": _rule(
        "arguments-break-schema",
        "Correct the arguments or the schema.",
        [_declared(_CITY), _USER, {**_CALL, "content": '{"city": 5}'}],
    ),
    "unusable-schema": _rule("unusable-schema", "Correct the schema.", [_declared({"type": "any"}), _USER, _CALL]),
    "unknown-type": _rule(
        "unknown-type",
        "Use a type of JSON schema, such as `number` for `float`.",
        [_declared({"type": "object", "properties": {"height": {"type": "float"}}}), _USER],
    ),
    "schema-becomes-any": _rule(
        "schema-becomes-any",
        'Render with `RenderConversationConfig(schemas="full")`, or `harmony render --schemas full`, which writes all '
        "that schemas say. Or give the parameter a `type`.",
        [_declared(_OPTIONAL), _USER],
    ),
    "unwritable-tool": _rule(
        "unwritable-tool",
        'Choose a name without white space, U+200B and any of `< > { } "`, and with a name on both sides of each dot.',
        [_declared(_CITY, "the sky"), _USER],
    ),
    "result-without-call": _rule(
        "result-without-call",
        "Put the result after its call, or correct the tool's name.",
        [_USER, {"role": "tool", "name": "functions.sky", "recipient": "assistant", "content": "blue"}],
        [_USER, _CALL, {"role": "tool", "name": "functions.sea", "recipient": "assistant", "content": "blue"}],
    ),
    "final-with-recipient": _rule(
        "final-with-recipient", "Remove the recipient.", [_USER, {**_ANSWER, "recipient": "user"}]
    ),
    "wrong-order": _rule(
        "wrong-order",
        "Move the message.",
        [_SYSTEM, _SYSTEM, _USER],
        [_USER, {"role": "developer", "content": "# Instructions\n\nBe brief."}],
        [_SYSTEM, _ANSWER],
    ),
    "after-final": _rule(
        "after-final", "Leave out what follows the answer, or begin a new turn.", [_USER, _ANSWER, _ANALYSIS]
    ),
    "leftover-analysis": _rule(
        "leftover-analysis", "Use `drop_analysis`.", [_USER, _ANALYSIS, _ANSWER, {"role": "user", "content": "Why?"}]
    ),
}

RECORDS: Final[dict[str, Entry]] = {
    "record-too-large": entry(
        "A record of a log has more bytes than `--max-record-size` allows. It is never held in memory. Raise the "
        "limit where the record is meant to be as large.",
        Logged(b'{"id": 1, "text": "<|channel|>final<|message|>Hi<|return|>"}', ("--max-record-size", "20")),
    ),
    "invalid-json": entry(
        "A line of a log is no JSON object. Each line that is not blank is one object. Look for a file that is not "
        "JSON Lines, for an object over several lines, or for a line that was cut.",
        Logged(b'{"text": "<|channel|>final'),
    ),
    "too-deep": entry(
        "Arrays or objects of a record are nested more deeply than can be read. No honest record is: look at where it "
        "comes from.",
        Logged(b'{"tokens": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ),
    "invalid-record": entry(
        "A record lacks a field that is needed, or a field holds a wrong type. A completion has `tokens` or `text`; "
        "name others by `--tokens`, `--text` and `--role-field`. The sentence gives the path of the field. Messages of "
        "the OpenAI APIs, with fields such as `tool_calls`, are read by `harmony render` and `harmony view`, which "
        "convert them; other commands would lose these fields. Where `harmony render` cannot find out the shape of "
        "messages, say it with `--from`.",
        Logged(b'{"completion": "Hi"}'),
        Logged(b'{"text": 5}'),
        Logged(b'{"messages": [{"role": "user", "content": "Hi"}]}'),
    ),
}

VOCABULARY: Final[dict[str, Entry]] = {
    "bad-vocabulary": entry(
        "A file of the vocabulary is missing, or is not the official one. Where `TIKTOKEN_ENCODINGS_BASE` names a "
        "folder, the file `o200k_base.tiktoken` in it is checked, and must be the official one. Correct the variable, "
        "unset it, or write the file with `harmony vocab export DIR`.",
        Called('from harmony.format.vocabulary import pack\n\npack(b"<html>", origin="o200k_base.tiktoken")'),
    ),
}
