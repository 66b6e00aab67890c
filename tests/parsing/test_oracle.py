"""Tests against openai-harmony: what both libraries accept, both read alike; where they differ, a row explains it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harmony
from fuzz import oracle
from fuzz.marked import from_shown, from_tokens, shown, to_tokens
from fuzz.oracle_inputs import Input, inputs
from harmony import HarmonyEncoding, HarmonyError, Message, Role, TextContent
from harmony.format import vocabulary
from harmony.format.vocabulary import CALL, CHANNEL, CONSTRAIN, END, FIRST_SPECIAL, MESSAGE, RETURN, START
from helpers.paths import ROOT
from helpers.sizes import examples
from helpers.ways import every_way

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
        recipient = recipient if "." in author else "assistant"  # a tool answers, it does not call
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


@examples(5000, quick=150)
@given(data=st.data())
def test_well_formed_streams(
    data: st.DataObject, engines: list[ModuleType], encoding: HarmonyEncoding, openai_harmony: Any
) -> None:
    tokens, role = data.draw(stream(encoding))
    theirs = openai_harmony.encoding.parse_messages_from_completion_tokens(
        tokens, role and openai_harmony.Role(role.value)
    )
    for engine in engines:
        found = every_way(engine, tokens, role, seed=len(tokens))
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


@examples(10_000, quick=500)
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


@examples(2000)
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


def page() -> list[list[str]]:
    """The rows of the page of differences, each as its cells: name, input, role, what each library reads, the rule."""
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    return [[cell.replace("\\|", "|") for cell in line.split(" | ")] for line in lines]


def cell(readings: list[Any] | None) -> str:
    """What a library reads as the page has it: messages without null fields, or a list of deltas."""
    if readings is None:
        return "refused"
    return "<br>".join(f"`{json.dumps(one)}`" for one in readings) or "no message"


@pytest.mark.parametrize(
    ("name", "written", "role", "theirs", "ours", "rule"),
    page(),
    ids=[f"{name} {written}" for name, written, *_ in page()],
)
def test_the_page_of_differences(
    name: str, written: str, role: str, theirs: str, ours: str, rule: str, engine: ModuleType, openai_harmony: Any
) -> None:
    assert rule
    row = name.strip("`")
    marked = "" if written == "nothing" else from_shown(written.strip("`"))
    one = Input(marked, to_tokens(marked), None if role == "none" else role)
    assert (row,) in [found.rows for found in oracle.Judge(engine, openai_harmony).differences(one)]

    their_role = one.role and openai_harmony.Role(one.role)
    if row == oracle.INVALID_UTF_8:
        encoding = harmony.load_harmony_encoding("HarmonyGptOss")
        assert cell([deltas(engine.StreamableParser(encoding, one.role), one)]) == ours
        assert cell([deltas(openai_harmony.StreamableParser(openai_harmony.encoding, their_role), one)]) == theirs
        return
    strict = row != oracle.LENIENT
    parse = openai_harmony.encoding.parse_messages_from_completion_tokens
    assert cell(readings(lambda: engine.parse(one.tokens, one.role, strict=strict).messages)) == ours
    assert cell(readings(lambda: parse(one.tokens, their_role, strict=strict))) == theirs


def readings(parse: Callable[[], list[Any]]) -> list[dict[str, str]] | None:
    try:
        found = oracle.flat(parse())
    except RuntimeError:  # the HarmonyError of either library
        return None
    names = ("role", "name", "channel", "recipient", "content_type", "content")
    return [{name: field for name, field in zip(names, one, strict=True) if field is not None} for one in found]


def deltas(stream: Any, one: Input) -> list[str | None]:
    steps = [lambda token=token: stream.process(token) for token in one.tokens]
    return [step().last_content_delta for step in [*steps, stream.process_eos]]


def test_every_row_is_on_the_page() -> None:
    assert {name.strip("`") for name, *_ in page()} == set(oracle.ROWS)


def test_every_difference_is_explained(engine: ModuleType, openai_harmony: Any) -> None:
    judge = oracle.Judge(engine, openai_harmony)
    found = {row for one in inputs(0, 400) for difference in judge.differences(one) for row in difference.rows}
    assert len(found) > 10


@pytest.mark.parametrize(
    ("header", "role", "rows"),
    [
        ("<|channel|>final<|constrain|> json", "assistant", {"spaced-constrain", "type-as-recipient"}),
        ("user:alice json", None, {"named-role", "type-as-recipient"}),
        ("lookup<|end|>", "user", {"misplaced-marker", "unknown-word"}),
        (
            "assistant<|channel|>final<|channel|>final tool to=assistant",
            None,
            {"misplaced-marker", "tool-behind-a-tool"},
        ),
        ("to=\\u00a0 <|constrain|>", "tool", {"other-white-space", "empty-recipient", "empty-type"}),
    ],
)
def test_a_header_may_differ_in_several_ways(
    header: str, role: str | None, rows: set[str], engine: ModuleType, openai_harmony: Any
) -> None:
    assert set(oracle.Judge(engine, openai_harmony).explain_header(from_shown(header), role)) == rows


def changed(message: Message, **fields: Any) -> Message:
    """A copy of the message with other fields."""
    copy = Message.from_dict(message.to_dict())
    for name, field in fields.items():
        setattr(copy, name, field)
    return copy


def faulty(engine: ModuleType, fault: Callable[[Message, bool], Message | None]) -> SimpleNamespace:
    """The engine with a fault: what becomes of each message, in strict mode or not."""

    def parse(tokens: list[int], role: str | None, *, strict: bool) -> Any:
        result = engine.parse(tokens, role, strict=strict)
        messages = [fault(message, strict) for message in result.messages]
        return SimpleNamespace(messages=list(filter(None, messages)), diagnostics=result.diagnostics)

    return SimpleNamespace(parse=parse, StreamableParser=engine.StreamableParser)


@pytest.mark.parametrize(
    "fault",
    [
        lambda message, strict: None,
        lambda message, strict: changed(message, channel=None),
        lambda message, strict: changed(message, recipient=message.recipient and message.recipient.removesuffix("f")),
        lambda message, strict: changed(message, recipient=None) if message.content_type else message,
        lambda message, strict: changed(message, content_type=message.content_type and "json"),
        lambda message, strict: changed(message, content=[TextContent(message.content[0].text.strip())]),
    ],
    ids=["message lost", "channel", "end of recipient", "recipient beside type", "type", "white space"],
)
def test_no_row_explains_a_fault_of_ours(
    fault: Callable[[Message, bool], Message | None], engine: ModuleType, openai_harmony: Any
) -> None:
    judge = oracle.Judge(faulty(engine, fault), openai_harmony)
    with pytest.raises(oracle.Unexplained):
        list(map(judge.differences, inputs(0, 400)))


def test_no_row_explains_a_refusal_that_the_grammar_does_not_know(engine: ModuleType, openai_harmony: Any) -> None:
    def fault(message: Message, strict: bool) -> Message:
        if strict and message.recipient and message.content_type:
            raise HarmonyError("refused")
        return message

    marked = from_shown("functions.f json<|message|>{}<|call|>")
    judge = oracle.Judge(faulty(engine, fault), openai_harmony)
    with pytest.raises(oracle.Unexplained, match="the grammar finds"):
        judge.differences(Input(marked, to_tokens(marked), "assistant"))


def test_the_fuzzer_prints_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["oracle", "--count", "50", "--seed", "3"])
    assert oracle.main() == 0
    assert capsys.readouterr().out.endswith("50 inputs; differences not explained: 0\n")

    refuses_all = SimpleNamespace(parse=harmony.parsing.engine.parse, StreamableParser=harmony.StreamableParser)
    refuses_all.parse = lambda tokens, role, *, strict: harmony.parsing.engine.parse([START, END], None, strict=strict)
    monkeypatch.setattr(oracle, "engine", refuses_all)
    assert oracle.main() == 1
    assert "not explained: " in capsys.readouterr().out


def test_inputs_can_be_written_down() -> None:
    for one in inputs(1, 300):
        assert from_shown(shown(one.marked)) == one.marked
        assert from_tokens(to_tokens(one.marked)) == one.marked
    assert list(inputs(1, 50)) == list(inputs(1, 50))
