"""Rendered text that a detokenizer left without its markers."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import (
    Author,
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    Role,
    SystemContent,
    ToolDescription,
    load_harmony_encoding,
)
from harmony.format import vocabulary
from helpers.cases import STRIPPED, flat
from helpers.sizes import examples

Read = tuple[str | None, str | None, str | None, str]


def read(engine: ModuleType, text: str, role: str | None = "assistant") -> list[Read]:
    return [one(message) for message in engine.parse_text(text, role, strict=False, stripped=True).messages]


def one(message: Message) -> Read:
    return message.channel, message.recipient, message.content_type, message.content[0].text  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "analysisWe need the sky.assistantfinalBlue.",
            [("analysis", None, None, "We need the sky."), ("final", None, None, "Blue.")],
        ),
        (
            'analysisLook.assistantcommentary to=functions.sky json{"city": "Oslo"}',
            [("analysis", None, None, "Look."), ("commentary", "functions.sky", "json", '{"city": "Oslo"}')],
        ),
        # Of `<|constrain|>` between a name and its type nothing is left, not even a space.
        (
            'commentary to=functions.skyjson{"city": "Oslo"}',
            [("commentary", "functions.sky", "<|constrain|>json", '{"city": "Oslo"}')],
        ),
        ('commentary to=functions.to_json{"a": 1}', [("commentary", "functions.to_json", None, '{"a": 1}')]),
        (
            'assistant to=functions.exec commentary json\n{"cmd": "ls"}',
            [("commentary", "functions.exec", "json", '\n{"cmd": "ls"}')],
        ),
        (' to=functions.f{"a": 1}', [(None, "functions.f", None, '{"a": 1}')]),
        ("analysis to=python code\nprint(1)", [("analysis", "python", "code", "\nprint(1)")]),
        ("assistantfinalHi", [("final", None, None, "Hi")]),
        ('commentary to=functions.skyjson["a"]', [("commentary", "functions.sky", "<|constrain|>json", '["a"]')]),
        ("final", []),  # nothing tells that a message was begun
        ("Sunny all day.", [(None, None, None, "Sunny all day.")]),
        (
            "So.assistantfinalBlue.",
            [(None, None, None, "So."), ("final", None, None, "Blue.")],
        ),
        # A guess is a guess.
        ("finalWrite `assistantfinal` there.", [("final", None, None, "Write `"), ("final", None, None, "` there.")]),
        ("analysis of the sky", [("analysis", None, None, " of the sky")]),
        # A name does not reach into the message behind it.
        ("commentary to=fassistantfinalHi", [("final", None, None, "Hi")]),
        # Other forms of a recipient, a channel and a content type.
        (
            'commentary to=functions.sky json"Oslo"assistantfinalHi',
            [("commentary", "functions.sky", "json", '"Oslo"'), ("final", None, None, "Hi")],
        ),
        ("commentary to=functions.sky json42", [("commentary", "functions.sky", "json", "42")]),
        ('to=functions.skycommentary{"a": 1}', [("commentary", "functions.sky", None, '{"a": 1}')]),
        ('to=functions.skycommentary json{"a": 1}', [("commentary", "functions.sky", "json", '{"a": 1}')]),
        (
            'assistantcommentaryto=functions.skyjson{"a": 1}',
            [("commentary", "functions.sky", "<|constrain|>json", '{"a": 1}')],
        ),
        ("assistantassistantanalysis to=python code1 + 1", [("analysis", "python", "code", "1 + 1")]),
        ("commentary to=assistantanalysisHm.", [("analysis", None, None, "Hm.")]),
        # Some markers are left: each part between them is read in the same way.
        (
            "<|channel|>analysisHm.assistantfinalHi<|end|>",
            [("analysis", None, None, "Hm."), ("final", None, None, "Hi")],
        ),
        (
            "analysis<|message|>Hm.assistantfinal<|message|>Hi",
            [("analysis", None, None, "Hm."), ("final", None, None, "Hi")],
        ),
        (
            "analysisHm.<|end|><|start|>assistantfinalHi<|return|>",
            [("analysis", None, None, "Hm."), ("final", None, None, "Hi")],
        ),
        (
            "analysisHm.<|end|>assistantfinalHi<|return|>",
            [("analysis", None, None, "Hm."), ("final", None, None, "Hi")],
        ),
        (
            "analysisHm.assistant<|channel|>final<|message|>Hi<|return|>",
            [("analysis", None, None, "Hm."), ("final", None, None, "Hi")],
        ),
        (
            'commentary to=functions.sky{"a": 1}functions.sky to=assistant<|channel|>commentary<|message|>{}',
            [("commentary", "functions.sky", None, '{"a": 1}'), ("commentary", "assistant", None, "{}")],
        ),
        ("analysisHm.<|end|>finalHi<|return|>", [("analysis", None, None, "Hm."), ("final", None, None, "Hi")]),
        (
            'commentary to=functions.sky <|constrain|>json{"a": 1}<|call|>commentary',
            [("commentary", "functions.sky", "<|constrain|>json", '{"a": 1}')],
        ),
    ],
)
def test_what_is_read(text: str, messages: list[Read], engine: ModuleType) -> None:
    assert read(engine, text) == messages
    nameless = load_harmony_encoding("HarmonyGptOss").parse_text(text, strict=False, stripped=True)
    assert [one(message) for message in nameless.messages] == messages


def test_a_word_that_may_be_prose_is_told(engine: ModuleType) -> None:
    for text, told in [
        ("analysis of the sky", True),
        ("final answers follow.assistantfinalHi", True),
        ("Hm.assistantanalysis of the sky", False),  # `assistant` before it makes it sure
        ("analysisOf the sky", False),
        ("analysis to=python code\n1", False),
    ]:
        found = engine.parse_text(text, "assistant", strict=False, stripped=True).diagnostics
        assert ([each.position for each in found if each.code == "doubtful-channel"] == [0]) == told


def authors(text: str, role: str | None, engine: ModuleType) -> list[tuple[str, str | None, str | None, str]]:
    """The role, the tool's name, the channel and the text of each message."""
    messages = engine.parse_text(text, role, strict=False, stripped=True).messages
    return [(each.author.role.value, each.author.name, each.channel, each.content[0].text) for each in messages]


def test_a_whole_conversation(engine: ModuleType) -> None:
    text = (
        "systemYou are ChatGPT, a large language model trained by OpenAI.\n\n"
        "# Valid channels: analysis, commentary, final. Channel must be included for every message."
        "developer# Instructions\n\nNever write user.id in prose."
        "userwhat is the weather in Oslo?"
        'assistantanalysisI look.assistantcommentary to=functions.sky json{"city":"Oslo"}'
        'functions.sky to=assistantcommentary{"sky":"blue"}assistantfinalIt is blue. I asked obj.userName.'
        "userThanks!assistantfinalYou are welcome."
    )
    expected = [
        ("system", None, None, text[len("system") : text.index("developer")]),
        ("developer", None, None, "# Instructions\n\nNever write user.id in prose."),
        ("user", None, None, "what is the weather in Oslo?"),
        ("assistant", None, "analysis", "I look."),
        ("assistant", None, "commentary", '{"city":"Oslo"}'),
        ("tool", "functions.sky", "commentary", '{"sky":"blue"}'),
        ("assistant", None, "final", "It is blue. I asked obj.userName."),
        ("user", None, None, "Thanks!"),
        ("assistant", None, "final", "You are welcome."),
    ]
    assert authors(text, None, engine) == expected
    assert authors(text, "assistant", engine) == expected
    prompt = engine.parse_text("developerBe brief.userHi there!assistant", None, strict=False, stripped=True)
    assert [message.content[0].text for message in prompt.messages] == ["Be brief.", "Hi there!"]
    assert prompt.next_role == Role.ASSISTANT
    assert authors("userHi there", None, engine) == [("user", None, None, "Hi there")]
    assert authors("userHi there", "assistant", engine) == [("assistant", None, None, "userHi there")]


def test_a_conversation_with_tools_as_it_is_rendered(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    sky = ToolDescription.new(
        "sky", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
    )
    tool = Message.from_author_and_content(Author.new(Role.TOOL, "functions.sky"), '{"sky": "blue"}')
    call = Message.from_role_and_content(Role.ASSISTANT, '{"city": "Oslo"}')
    conversation = Conversation.from_messages(
        [
            Message.from_role_and_content(Role.SYSTEM, SystemContent.new()),
            Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_function_tools([sky])),
            Message.from_role_and_content(Role.USER, "do I need a hat in Oslo?"),
            Message.from_role_and_content(Role.ASSISTANT, "I look.").with_channel("analysis"),
            call.with_channel("commentary").with_recipient("functions.sky").with_content_type("json"),
            tool.with_channel("commentary").with_recipient("assistant"),
            Message.from_role_and_content(Role.ASSISTANT, "No.").with_channel("final"),
        ]
    )
    rendered = encoding.decode(
        encoding.render_conversation(conversation, RenderConversationConfig(auto_drop_analysis=False))
    )
    expected = encoding.parse_text(rendered).messages
    stripped = re.sub(r"<\|\w+\|>", "", rendered)
    assert engine.parse_text(stripped, None, strict=False, stripped=True).messages == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("functions.sky to=assistantcommentaryIt is blue.", "functions.sky"),
        ('functions.sky to=assistant{"sky":"blue"}', "functions.sky"),
        ('functions.skycommentary to=assistant{"sky":"blue"}', "functions.sky"),
        ("python to=assistantanalysis42", "python"),
    ],
)
def test_the_results_of_tools(text: str, name: str, engine: ModuleType) -> None:
    before = 'commentary to=functions.sky json{"city":"Oslo"}'
    found = authors(f"{before}{text}assistantfinalHi", "assistant", engine)
    assert [each[:2] for each in found] == [("assistant", None), ("tool", name), ("assistant", None)]
    assert all(text.endswith(each[3]) for each in found[1:2])


@pytest.mark.parametrize("case", STRIPPED, ids=[case["id"] for case in STRIPPED])
def test_case_of_a_real_text(case: dict[str, Any], engine: ModuleType) -> None:
    found = engine.parse_text(case["text"], case["role"], strict=False, stripped=True)
    assert [flat(message) for message in found.messages] == case["messages"]
    assert found.complete == case["complete"]


def test_it_is_a_guess_and_so_has_to_be_asked_for(encoding: HarmonyEncoding) -> None:
    with pytest.raises(ValueError, match="strict=False"):
        encoding.parse_text("finalHi", "assistant", stripped=True)
    plain = encoding.parse_text("finalHi", "assistant", strict=False)
    assert [one(message) for message in plain.messages] == [(None, None, None, "finalHi")]


def test_where_messages_stand_and_how_they_end(engine: ModuleType) -> None:
    text = 'analysisHm.assistantcommentary to=functions.f{"a": 1}assistantfinalHi'
    result = engine.parse_text(text, "assistant", strict=False, stripped=True)
    assert [text[span.content_start : span.stop] for span in result.spans] == ["Hm.", '{"a": 1}', "Hi"]
    assert [span.end for span in result.spans] == ["end", "call", None]
    assert (result.complete, result.diagnostics, result.next_role) == (False, [], None)


CONTENT = st.text(st.sampled_from('abc {}"\n,.é🤷'), min_size=1, max_size=12).map(lambda text: "W" + text)


@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(["analysis", "commentary", "final"]),
            st.sampled_from([None, "functions.sky", "browser.search"]),
            CONTENT,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_was_rendered_and_stripped_is_read_back(
    messages: list[tuple[str, str | None, str]], engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    rendered = "<|start|>assistant".join(
        f"<|channel|>{channel}{f' to={recipient} json' if recipient else ''}<|message|>"
        f"{'{' if recipient else ''}{content}<|{'call' if recipient else 'end'}|>"
        for channel, recipient, content in messages
    )
    expected = engine.parse_text(rendered, "assistant", strict=True).messages
    stripped = re.sub(r"<\|\w+\|>", "", rendered)
    assert engine.parse_text(stripped, "assistant", strict=False, stripped=True).messages == expected


WORDS = [
    "assistant",
    "analysis",
    "commentary",
    "final",
    " to=",
    "functions.f",
    "json",
    "{",
    " ",
    "\n",
    "x",
    "é",
    "<|",
    "<|end|>",
]


@examples(1000)
@given(text=st.lists(st.sampled_from(WORDS), max_size=12).map("".join) | st.text(), role=st.sampled_from([None, *Role]))
def test_any_text_is_read(text: str, role: Role | None, engine: ModuleType) -> None:
    result = engine.parse_text(text, role, strict=False, stripped=True)
    for message, span in zip(result.messages, result.spans, strict=True):
        assert not list(vocabulary.special_tokens_in(message.content[0].text))
        assert 0 <= span.start <= span.content_start <= span.stop <= len(text)
    starts = [span.start for span in result.spans]
    assert starts == sorted(starts)


HEADERS = [
    "assistantfinal",
    "assistantanalysis",
    "assistantcommentary to=functions.f",
    "assistantcommentaryto=functions.f json",
    "assistant to=functions.fcommentary",
    'functions.f to=assistantcommentary{"',
    "<|end|>",
    "<|return|>",
    "<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>analysis",
    " to=functions.f<|constrain|>json",
]
# Prose that is no part of a header, wherever it stands.
PROSE = [
    " \u00e9t\u00e9 \u00e0 Oslo.",
    "{bien s\u00fbr}",
    '{"ciel": "bleu"}',
    "\n\U0001f937 oui\n\nnon",
    "<b>tr\u00e8s</b>",
]


@examples(1000)
@given(
    pieces=st.lists(st.sampled_from(HEADERS) | st.sampled_from(PROSE), max_size=12),
    role=st.sampled_from([None, *Role]),
)
def test_no_text_is_lost(pieces: list[str], role: Role | None, engine: ModuleType) -> None:
    result = engine.parse_text("".join(pieces), role, strict=False, stripped=True)
    contents = "\0".join(message.content[0].text for message in result.messages)
    place = 0
    for piece in pieces:
        if piece in PROSE:
            place = contents.index(piece, place) + len(piece)


@pytest.mark.parametrize(
    ("piece", "messages"),
    [
        ("assistantfinalHi", 1000),
        ("assistant to=f{", 1000),
        (" functions.f to=assistantfinalHi", 1000),
        (".userHi", 1),
        ("final", 1),
        ("json{", 1),
        ("assistant ", 1),
        ("to=", 0),
    ],
)
def test_long_texts(piece: str, messages: int, engine: ModuleType) -> None:
    assert len(read(engine, piece * 1000)) == messages
