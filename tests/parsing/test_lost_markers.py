"""Rendered text that a detokenizer left without its markers."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import HarmonyEncoding, Message, Role, load_harmony_encoding
from harmony.format import vocabulary
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
        ("final", [("final", None, None, "")]),
        ("Sunny all day.", [(None, None, None, "Sunny all day.")]),
        (
            "So.assistantfinalBlue.",
            [(None, None, None, "So."), ("final", None, None, "Blue.")],
        ),
        # A guess is a guess.
        ("finalWrite `assistantfinal` there.", [("final", None, None, "Write `"), ("final", None, None, "` there.")]),
        ("analysis of the sky", [("analysis", None, None, " of the sky")]),
        # A name does not reach into the message behind it.
        ("commentary to=fassistantfinalHi", [("commentary", "f", None, ""), ("final", None, None, "Hi")]),
        # Text that has markers has not lost them.
        ("<|channel|>final<|message|>analysisassistantfinal<|end|>", [("final", None, None, "analysisassistantfinal")]),
    ],
)
def test_what_is_read(text: str, messages: list[Read], engine: ModuleType) -> None:
    assert read(engine, text) == messages
    nameless = load_harmony_encoding("HarmonyGptOss").parse_text(text, strict=False, stripped=True)
    if not text.startswith("<|"):
        assert [one(message) for message in nameless.messages] == messages
        assert {found.code for found in nameless.diagnostics} <= {"missing-message"}


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
    if list(vocabulary.special_tokens_in(text)):
        assert result == engine.parse_text(text, role, strict=False)


@pytest.mark.parametrize(
    ("piece", "messages"),
    [("assistantfinal", 1000), ("assistant to=f", 1000), ("final", 1), ("json{", 1), ("assistant ", 1), ("to=", 1)],
)
def test_long_texts(piece: str, messages: int, engine: ModuleType) -> None:
    assert len(read(engine, piece * 1000)) == messages
