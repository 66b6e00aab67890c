"""Replies of the model, and messages and items of the OpenAI APIs, to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from harmony import Author, Conversation, Message, Role, TextContent
from helpers.streams import ANYTHING, PIECES, ids, mutated, plain

Json: TypeAlias = dict[str, Any]


def function(name: str, **fields: Any) -> Json:
    """A function tool in the shape of Responses."""
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, **fields}


#: A function, a namespace, and a custom tool.
TOOLS: Final[list[Json]] = [
    function("sky", strict=False),
    {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [function("find")]},
    {"type": "custom", "name": "run", "description": "Runs a script."},
]

#: Texts of contents and arguments: not all of the arguments are JSON, and some of it is written in an odd way.
TEXTS: Final = st.one_of(
    st.sampled_from(
        [
            "Blue.",
            "two\nlines\n",
            "\n",
            " ",
            '{"a": "é"}',
            '{"a":"\\u00e9","b":1.0}',
            '{ "city" :\t"Oslo" }',
            '{"query": "sky"}',
            '{"id": 3}',
            '{"id": "https://example.com/"}',
            '{"pattern": "x"}',
            '{"input": "ls \\"-l\\""}',
            '{"input": 5}',
            '{"a": 1',
            "[]",
            "null",
            "print('🌤')",
            "日本 🏳️‍🌈 e\u0301",
            "\x00\x7f",
            "<|end|>",
        ]
    ),
    st.text(min_size=1, max_size=8),
)
MAYBE_EMPTY: Final = st.just("") | TEXTS

_CALLED: Final = st.sampled_from(
    [
        *["functions.sky", "sky", "functions.sky?", "functions.other", "crm.find", "crm.", "functions.run", "run"],
        *["python", "functions.python", "browser.search", "browser.open", "browser.find", "browser.new", "browser"],
        *["docs.look_up", "a.b.c", "assistant", "user", "all", "final", "commentary"],
    ]
)
_CHANNELS: Final = st.sampled_from(["analysis", "commentary", "final", "final", "other", None])


@st.composite
def written(draw: st.DrawFn) -> list[int]:
    """The tokens of one message, which are well-formed: a header of any kind, a text, a stop."""
    channel = draw(_CHANNELS)
    header = "" if channel is None else f"<|channel|>{channel}"
    if draw(st.booleans()):
        recipient, kind = draw(_CALLED), draw(st.sampled_from(["", " json", " <|constrain|>json", " code"]))
        header = f"{header} to={recipient}{kind}" if draw(st.booleans()) else f" to={recipient}{header}{kind}"
    stop = draw(st.sampled_from(["<|end|>", "<|call|>", "<|return|>"]))
    return [*ids(f"{header}<|message|>"), *plain(draw(MAYBE_EMPTY)), *ids(stop)]


@st.composite
def well_formed(draw: st.DrawFn) -> list[int]:
    """A whole reply of any messages."""
    tokens: list[int] = []
    for number, message in enumerate(draw(st.lists(written(), max_size=5))):
        tokens += [*(ids("<|start|>assistant") if number else ()), *message]
    return tokens


@st.composite
def cut(draw: st.DrawFn) -> list[int]:
    """A reply that ends anywhere: in a header, in a content, in a character."""
    tokens = draw(well_formed())
    return tokens[: draw(st.integers(0, len(tokens)))]


@st.composite
def broken(draw: st.DrawFn) -> list[int]:
    """A reply of any messages with some tokens dropped, doubled, or put in."""
    tokens = draw(well_formed())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(tokens)))
        if draw(st.booleans()):
            tokens[place:place] = draw(PIECES)
        else:
            del tokens[place : place + draw(st.integers(1, 3))]
    return tokens


REPLIES: Final = st.one_of(well_formed(), cut(), broken(), mutated(), ANYTHING)
TOOL_LISTS: Final = st.sampled_from([TOOLS, TOOLS, []])


def chopped(tokens: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
    """The tokens in steps of these sizes, over and over. A size may be 0."""
    steps, begin, number = [], 0, 0
    while begin < len(tokens):
        size = sizes[number % len(sizes)] if sizes else 1
        steps.append(tokens[begin : begin + size])
        begin, number = begin + size, number + 1
    return steps


#: Sizes for `chopped`. At least one is not 0.
SIZES: Final = st.tuples(st.integers(1, 9), st.lists(st.integers(0, 9), max_size=4)).map(
    lambda some: [some[0], *some[1]]
)

# --- messages of Chat Completions, as `chat.from_harmony` writes them

NAMES: Final = st.sampled_from(["sky", "get_weather", "python", "a.b", "functions.f", "日本", "assistant"])


@st.composite
def chats(draw: st.DrawFn) -> list[Json]:
    """Turns of an assistant, with what others say between them."""
    messages: list[Json] = []
    calls = 0
    for _ in range(draw(st.integers(1, 4))):
        reply: Json = {"role": "assistant", "content": draw(st.none() | TEXTS)}
        if draw(st.booleans()):
            reply["reasoning"] = draw(TEXTS)
        made = []
        for call in draw(st.lists(_calls_of_chat(), max_size=3)):
            made.append({"id": f"call_{calls}", **call})
            calls += 1
        if made:
            reply["tool_calls"] = made
        if reply.keys() == {"role", "content"} and reply["content"] is None:
            reply["content"] = ""
        messages += [reply, *({"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in made)]
        messages.append({"role": "user", "content": "On."})
    return messages


@st.composite
def _calls_of_chat(draw: st.DrawFn) -> Json:
    if draw(st.integers(0, 3)) == 0:
        return {"type": "custom", "custom": {"name": "run", "input": draw(MAYBE_EMPTY)}}
    name = draw(NAMES | st.just("crm.find"))
    return {"type": "function", "function": {"name": name, "arguments": draw(TEXTS)}}


# --- items of Responses, as `responses.from_harmony` writes them


@st.composite
def items(draw: st.DrawFn) -> list[Json]:
    made: list[Json] = []
    calls = 0
    for number in range(draw(st.integers(0, 5))):
        item = draw(_ITEM)
        if "call_id" in item:
            item["call_id"] = f"call_{calls}"
        calls += item["type"] not in ("reasoning", "message")
        made.append({"id": f"{_PREFIXES[item['type']]}_{number}", **item, "status": "completed"})
    return made


_PREFIXES: Final = {
    "reasoning": "rs",
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "mcp_call": "mcp",
    "code_interpreter_call": "ci",
    "web_search_call": "ws",
}


def _fixed(**fields: Any) -> st.SearchStrategy[Json]:
    made = {name: one if isinstance(one, st.SearchStrategy) else st.just(one) for name, one in fields.items()}
    return st.fixed_dictionaries(made)


def _message(text: str, phase: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "role": "assistant", "content": [part], "phase": phase}


def _search(query: str) -> Json:
    action = {"type": "search", "query": query, "queries": [query]}
    return {"type": "web_search_call", "action": action, "arguments": f'{{"query": "{query}" }}'}


_ITEM: Final = st.one_of(
    _fixed(
        type="reasoning",
        summary=st.builds(list),
        content=MAYBE_EMPTY.map(lambda text: [{"type": "reasoning_text", "text": text}]),
    ),
    st.builds(_message, MAYBE_EMPTY, st.sampled_from(["commentary", "final_answer"])),
    _fixed(type="function_call", call_id="", name=NAMES, arguments=TEXTS),
    _fixed(type="function_call", call_id="", name="find", namespace="crm", arguments=TEXTS),
    _fixed(type="custom_tool_call", call_id="", name="run", input=MAYBE_EMPTY),
    _fixed(
        type="mcp_call",
        server_label=st.sampled_from(["docs", "日本"]),
        name=st.sampled_from(["f", "a.b"]),
        arguments=TEXTS,
    ),
    _fixed(type="code_interpreter_call", code=MAYBE_EMPTY, container_id="auto", outputs=None),
    st.sampled_from(["sky", "日本 é"]).map(_search),
)

# --- conversations of the form that chats have


def _said(text: str, channel: str, recipient: str | None = None, content_type: str | None = None) -> Message:
    return Message(Author(Role.ASSISTANT), [TextContent(text)], channel, recipient, content_type)


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    """What an assistant says in one turn: reasoning, then an answer, or a preamble and calls."""
    messages = [_said(draw(TEXTS), "analysis")] if draw(st.booleans()) else []
    recipients = draw(st.lists(st.sampled_from(["functions.sky", "functions.other", "crm.find"]), max_size=3))
    if not recipients:
        return [*messages, _said(draw(TEXTS), "final")]
    if draw(st.booleans()):
        messages.append(_said(draw(TEXTS), "commentary"))
    return messages + [_said(draw(TEXTS), "commentary", recipient, "json") for recipient in recipients]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Turns, each behind a user's message."""
    messages = []
    for turn in draw(st.lists(turns(), max_size=4)):
        messages += [Message.from_role_and_content(Role.USER, "On."), *turn]
    return Conversation.from_messages(messages)


@st.composite
def spoken(draw: st.DrawFn) -> list[Message]:
    """Messages of an assistant, each of which is one item of Responses. Those of built-in tools are among them."""
    made = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["text", "call", "built-in"]))
        if kind == "text":
            made.append(_said(draw(MAYBE_EMPTY), draw(st.sampled_from(["analysis", "commentary", "final"]))))
        elif kind == "call":
            recipient = draw(st.sampled_from(["functions.sky", "functions.other", "crm.find", "docs.look_up"]))
            made.append(_said(draw(TEXTS), "commentary", recipient, "json"))
        else:
            recipient = draw(st.sampled_from(["python", "browser.search", "browser.open", "browser.new"]))
            made.append(_said(draw(TEXTS), "analysis", recipient, "code"))
    return made
