"""Property tests against openai-harmony: what both libraries accept, both read alike."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from conftest import ENGINES
from hypothesis import given, settings
from hypothesis import strategies as st
from ways import every_way

from harmony import HarmonyEncoding, HarmonyError, Role, vocabulary
from harmony.vocabulary import CALL, CHANNEL, CONSTRAIN, END, FIRST_SPECIAL, MESSAGE, RETURN, START

SPACE = st.sampled_from([" ", " ", "  ", "\t", "\n", " \r\n", "\f"])
NAME = st.sampled_from(
    ["functions.get_weather", "browser.search", "python", "assistant", "übersetzer.日本", "a-b_c", "x" * 70]
)
CHANNELS = st.sampled_from(["analysis", "commentary", "final", "other", "Kanal-7", "分析"])
TYPES = st.sampled_from(["json", "code", "text", "bash", "日本"])
RANKS = st.integers(0, FIRST_SPECIAL - 1)


@st.composite
def spelled(draw: st.DrawFn, encoding: HarmonyEncoding, text: str) -> list[int]:
    """Ordinary text as token ids, cut into them in one of the many ways there are."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    if draw(st.booleans()):
        pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return [token for piece in pieces for token in encoding.encode(piece, disallowed_special=())]
    return list(text.encode().translate(vocabulary.load().byte_ranks))


@st.composite
def header(draw: st.DrawFn, encoding: HarmonyEncoding, first: bool) -> list[int]:
    """All between `<|start|>` and `<|message|>`, in a form that both libraries accept."""
    tokens: list[int] = []

    def add(text: str) -> None:
        tokens.extend(draw(spelled(encoding, text)))

    recipient = draw(st.none() | NAME)
    author = draw(st.sampled_from(["", "assistant"] if first else [role.value for role in Role]))
    if recipient is not None and not first and draw(st.booleans()):
        author = draw(NAME)
    channel = draw(st.none() | CHANNELS)
    content_type = None if recipient is None else draw(st.none() | TYPES)
    before = recipient is not None and (channel is None or draw(st.booleans()))
    bare = recipient is not None and "." in recipient and draw(st.booleans())
    written = None if recipient is None else recipient if bare else f"to={recipient}"

    leading = draw(st.sampled_from(["", "", "", " "]))
    add(leading + author)
    if before:
        add(draw(SPACE) + str(written))
    if channel is not None:
        if draw(st.booleans()):
            add(draw(SPACE))
        tokens.append(CHANNEL)
        add(channel)
    if recipient is not None and not before:
        add(draw(SPACE) + str(written))
    if content_type is not None:
        if draw(st.booleans()):
            add(draw(SPACE) + content_type)
        else:
            if draw(st.booleans()):
                add(draw(SPACE))
            tokens.append(CONSTRAIN)
            add(content_type)
    if draw(st.booleans()):
        add(draw(SPACE))
    return tokens


@st.composite
def content(draw: st.DrawFn, encoding: HarmonyEncoding) -> list[int]:
    if draw(st.booleans()):
        return draw(st.lists(RANKS, max_size=12))
    return encoding.encode(draw(st.text(max_size=30)), disallowed_special=())


@st.composite
def stream(draw: st.DrawFn, encoding: HarmonyEncoding) -> tuple[list[int], Role | None]:
    """A well-formed completion, of a few messages, and the role it is parsed with."""
    role = draw(st.sampled_from([None, Role.ASSISTANT]))
    tokens: list[int] = []
    for number in range(draw(st.integers(1, 4))):
        first = number == 0 and role is not None
        tokens += [] if first else [START]
        tokens += draw(header(encoding, first))
        tokens.append(MESSAGE)
        tokens += draw(content(encoding))
        tokens.append(draw(st.sampled_from([END, CALL, RETURN])))
    return (tokens[:-1] if draw(st.booleans()) else tokens), role


@settings(max_examples=5000)
@given(data=st.data())
def test_well_formed_streams(data: st.DataObject, encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    tokens, role = data.draw(stream(encoding))
    theirs = openai_harmony.encoding.parse_messages_from_completion_tokens(
        tokens, role and openai_harmony.Role(role.value)
    )
    for name in ENGINES:
        found = every_way(import_module(name), tokens, role, seed=len(tokens))
        assert found[0] == "ok"
        assert [message.to_dict() for message in found[1]] == [message.to_dict() for message in theirs]


TEXT = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.text(st.characters(categories=["Cs", "Lo", "So", "Zs", "Cc"]), max_size=5),
        st.sampled_from(["<|start|>", "<|end|>", "<|reserved_200013|>", "<|reserved_201088|>", "<|reserved_201089|>"]),
        st.sampled_from(["<|", "|>", "<|endofprompt|>", "<|Start|>", " \r\n", "don't", "12345", "🏳️‍🌈", "\t\t  x"]),
    ),
    max_size=6,
).map("".join)


@settings(max_examples=10_000)
@given(text=TEXT, seed=st.integers(0, 5))
def test_encode_and_decode(text: str, seed: int, encoding: HarmonyEncoding, openai_harmony: Any) -> None:
    theirs = openai_harmony.encoding
    some = {"<|end|>", "<|reserved_200013|>", "no token"}
    options: list[dict[str, Any]] = [
        {"allowed_special": "all"},
        {"disallowed_special": ()},
        {"allowed_special": some, "disallowed_special": ()},
        {"allowed_special": some},
        {"disallowed_special": {"<|start|>", "x"}},
        {},
    ]
    chosen = options[seed]
    try:
        expected = theirs.encode(text, **chosen)
    except openai_harmony.HarmonyError as error:
        _both_say("Encountered text corresponding to disallowed special token", error, encoding.encode, text, **chosen)
        return
    tokens = encoding.encode(text, **chosen)
    assert tokens == expected
    assert encoding.decode(tokens) == theirs.decode(tokens)
    assert encoding.decode_utf8(tokens) == theirs.decode_utf8(tokens)


@settings(max_examples=2000)
@given(tokens=st.lists(st.integers(0, 201_088), max_size=12))
def test_decode_of_any_ids(
    tokens: list[int], engine: ModuleType, encoding: HarmonyEncoding, openai_harmony: Any
) -> None:
    theirs = openai_harmony.encoding
    assert engine.decode_bytes(tokens).decode(errors="replace") == theirs.decode(tokens)
    assert encoding.decode(tokens, errors="ignore") == theirs.decode(tokens, errors="ignore")
    try:
        expected = theirs.decode_utf8(tokens)
    except openai_harmony.HarmonyError as error:
        _both_say("Invalid utf-8", error, encoding.decode_utf8, tokens)
    else:
        assert encoding.decode_utf8(tokens) == expected
    assert all(encoding.is_special_token(token) == theirs.is_special_token(token) for token in tokens)


def _both_say(words: str, theirs: Exception, ours: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """What programmes match on stands in their error, and in the one that our call raises."""
    assert words in str(theirs)
    with pytest.raises(HarmonyError, match=words):
        ours(*arguments, **options)
