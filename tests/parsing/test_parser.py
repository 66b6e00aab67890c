"""Both engines: the strict language, streaming, and what a parser tells in mid-stream."""

from __future__ import annotations

import copy
import inspect
import operator
import pickle
import tracemalloc
import weakref
from array import array
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harmony
from harmony import (
    Author,
    Diagnostic,
    HarmonyEncoding,
    HarmonyError,
    Message,
    Role,
    Segment,
    Span,
    StreamState,
    TextContent,
)
from harmony.format.vocabulary import CALL, CHANNEL, CONSTRAIN, END, END_OF_TEXT, LAST_TOKEN, MESSAGE, RETURN, START
from harmony.parsing import parser_py as python_engine
from helpers.cases import CASES, flat
from helpers.sizes import examples
from helpers.ways import all_of, every_way, outcome


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case_of_a_real_completion(case: dict[str, Any], engine: ModuleType, encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode(case["text"], allowed_special="all")
    found = every_way(engine, tokens, Role(case["role"]))
    written = outcome(lambda: read_text(engine, case["text"], case["role"]))
    assert found[0] == written[0] == case["strict"]
    if case["strict"] == "ok":
        assert [flat(message) for message in found[1]] == case["messages"]
        assert found[2] == case["complete"]
        assert written == found
    else:
        assert found == every_way(python_engine, tokens, Role(case["role"]))
        assert written == outcome(lambda: read_text(python_engine, case["text"], case["role"]))
        assert written[2] == found[2]
        prefix = encoding.decode(tokens[: found[3]])
        assert len(prefix) <= written[3] <= len(encoding.decode(tokens[: found[3] + 1]))


def read_text(engine: ModuleType, text: str, role: str | None) -> tuple[list[Message], bool, list[Diagnostic]]:
    result = engine.parse_text(text, role, strict=True)
    for message, span in zip(result.messages, result.spans, strict=True):
        assert text[span.content_start : span.stop] == message.content[0].text
        assert text[: span.content_start].endswith("<|message|>")
        assert span.end is None or text[span.stop :].startswith(f"<|{span.end}|>")
    return result.messages, result.complete, result.diagnostics


TOKENS = st.lists(
    st.one_of(
        st.sampled_from([START, CHANNEL, CONSTRAIN, MESSAGE, END, CALL, RETURN, END_OF_TEXT, 200_000]),
        st.sampled_from([173781, 316, 28, 35644, 44580, 12606, 815, 5701, 13, 220, 198, 27, 9366, 44405]),
        st.integers(0, 199_997),
        st.sampled_from([-1, LAST_TOKEN + 1, 1 << 31, 1 << 32, 1 << 63, -(1 << 63), 1 << 200]),
    ),
    max_size=30,
)


@examples(2000)
@given(tokens=TOKENS, role=st.sampled_from([None, *Role]), seed=st.integers(0, 1 << 32))
def test_any_ids_are_read_alike_in_every_way(
    tokens: list[int], role: Role | None, seed: int, engines: list[ModuleType]
) -> None:
    first, *others = [every_way(engine, tokens, role, seed) for engine in engines]
    assert others == [first] * len(others)


def test_spans_and_segments(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant to=functions.f<|message|>{}<|call|>"
        "<|start|>assistant"
    )
    tokens = encoding.encode(text, allowed_special="all")
    result = engine.parse(tokens, Role.ASSISTANT, strict=True)
    assert result.spans == [Span(0, 3, 5, "end"), Span(6, 13, 14, "call")]
    assert (result.complete, result.next_role) == (False, Role.ASSISTANT)
    written = engine.parse_text(text, "assistant", strict=True)
    assert written.messages == result.messages
    assert written.spans == [Span(0, 30, 33, "end"), Span(40, 84, 86, "call")]

    parser = engine.StreamableParser(encoding, Role.ASSISTANT)
    assert parser.process_many(tokens[:3]) == []
    assert parser.process_many(tokens[3:4]) == [Segment("analysis", None, Role.ASSISTANT, "Hm", None)]
    first, second = result.messages
    assert parser.process_many(tokens[4:14]) == [
        Segment("analysis", None, Role.ASSISTANT, ".", first),
        Segment(None, "functions.f", Role.ASSISTANT, "{}", None),
    ]
    assert parser.process_many(tokens[14:]) == [Segment(None, "functions.f", Role.ASSISTANT, "", second)]


def test_what_a_parser_tells_in_mid_stream_equals_openai_harmony(
    engine: ModuleType, encoding: HarmonyEncoding, openai_harmony: Any
) -> None:
    text = (
        "<|channel|>analysis<|message|>Größe?🤷🏽 任务鼗<|end|>"
        "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>"
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Yes"
    )
    ours = engine.StreamableParser(encoding, Role.ASSISTANT)
    theirs = openai_harmony.StreamableParser(openai_harmony.encoding, openai_harmony.Role.ASSISTANT)
    for token in [*encoding.encode(text, allowed_special="all"), None]:
        for parser in (ours, theirs):
            if token is None:
                parser.process_eos()
            else:
                parser.process(token)
        for name in [
            "tokens",
            "state_data",
            "current_content",
            "current_role",
            "current_channel",
            "current_recipient",
            "current_content_type",
            "last_content_delta",
        ]:
            assert getattr(ours, name) == getattr(theirs, name), (name, token)
        assert ours.state.value == theirs.state.value
        assert [message.to_dict() for message in ours.messages] == [message.to_dict() for message in theirs.messages]


def test_a_character_cut_by_the_stop_is_in_the_last_delta(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    half = encoding.encode("🤷")[:1]
    parser = engine.StreamableParser(encoding, Role.USER)
    for token in (MESSAGE, *encoding.encode("so "), *half):
        parser.process(token)
    assert (parser.last_content_delta, parser.current_content) == (None, "so ")
    parser.process(END)
    assert (parser.last_content_delta, parser.messages[0].content) == ("\ufffd", [TextContent("so \ufffd")])


def test_a_token_that_may_not_stand_changes_nothing_but_tokens(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.ASSISTANT)
    parser.process_many([CHANNEL, 17196, MESSAGE, 12194])
    for bad in (CHANNEL, LAST_TOKEN + 1, -5, 1 << 80):
        with pytest.raises(HarmonyError):
            parser.process(bad)
    assert (parser.current_content, parser.state, parser.current_channel) == ("Hi", StreamState.CONTENT, "final")
    assert parser.tokens[-4:] == [CHANNEL, LAST_TOKEN + 1, -5, 1 << 80]
    with pytest.raises(HarmonyError, match="at token 8") as caught:
        parser.process(START)
    assert (caught.value.code, caught.value.position, caught.value.messages) == ("unexpected-in-content", 8, [])
    assert parser.process(RETURN).messages == [Message(Author(Role.ASSISTANT), [TextContent("Hi")], "final")]


def test_state_data_after_refused_tokens(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.USER)
    half = encoding.encode("🤷")[0]
    parser.process_many([MESSAGE, 64])
    for bad in (START, 1 << 40, -1, LAST_TOKEN + 1):
        with pytest.raises(HarmonyError):
            parser.process(bad)
        assert parser.state_data["content_tokens"] == [64]
    parser.process(half)
    with pytest.raises(HarmonyError):
        parser.process(1 << 40)
    assert parser.state_data["content_tokens"] == [64]
    parser.process(65)
    assert (parser.current_content, parser.state_data["content_tokens"]) == ("a\ufffdb", [64, half, 65])


def test_after_a_bad_header_a_stream_goes_on_as_in_openai_harmony(
    engine: ModuleType, encoding: HarmonyEncoding, openai_harmony: Any
) -> None:
    text = "<|start|>nobody<|message|>x<|end|><|start|>user<|message|>hello<|end|>"
    ours = engine.StreamableParser(encoding, None)
    theirs = openai_harmony.StreamableParser(openai_harmony.encoding, None)
    errors: list[tuple[str, int]] = []
    for index, token in enumerate(encoding.encode(text, allowed_special="all")):
        for name, parser in (("ours", ours), ("theirs", theirs)):
            try:
                parser.process(token)
            except RuntimeError:
                errors.append((name, index))
        assert ours.state.value == theirs.state.value
    assert errors == [(name, index) for index in (3, 4, 5) for name in ("ours", "theirs")]
    assert [message.content[0].text for message in ours.messages] == ["hello"]


@pytest.mark.parametrize(
    ("header", "bad"),
    [([], START), ([173781], START), ([173781, CHANNEL], CHANNEL), ([173781], -1), ([1 << 16], MESSAGE)],
)
def test_a_header_with_a_refused_token_is_given_up(
    header: list[int], bad: int, engine: ModuleType, encoding: HarmonyEncoding
) -> None:
    parser = engine.StreamableParser(encoding, Role.ASSISTANT)
    parser.process_many([MESSAGE, 64, END, START, *header])
    with pytest.raises(HarmonyError):
        parser.process(bad)
    assert parser.state is StreamState.EXPECT_START
    parser.process_many([START, 1428, MESSAGE, 65, END])
    assert [message.author.role for message in parser.messages] == [Role.ASSISTANT, Role.USER]


def test_what_was_never_saved_is_not_restored(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.USER)
    parser.process_many([MESSAGE, 64])
    _, _, (saved, attributes) = parser.__reduce__()
    wrong: list[dict[str, Any]] = [
        {"state": 5},
        {"state": 10**8},
        {"state": -1},
        {"state": 0},
        {"settled": 10**12},
        {"settled": -1},
        {"header": None},
        {"tokens": None},
        {"messages": [5]},
        {"content_tokens": [199_998]},
    ]
    for change in wrong:
        with pytest.raises(ValueError, match="Expected"):
            parser.__setstate__((msgspec.structs.replace(saved, **change), attributes))
    for junk in (None, 5, (1, 2), ((), {})):
        with pytest.raises((TypeError, ValueError)):
            parser.__setstate__(junk)
    assert parser.process(END).messages[0].content == [TextContent("a")]


def test_parsers_that_are_restored_from_one_state_share_nothing(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    original = engine.StreamableParser(encoding, None)
    original.process_many([START, 1428])
    _, _, state = original.__reduce__()
    one, other = engine.StreamableParser(encoding, None), engine.StreamableParser(encoding, None)
    one.__setstate__(state)
    other.__setstate__(state)
    one.process_many([MESSAGE, 64])
    state[0].content_tokens.append(10**12)
    state[0].header_tokens.append(10**12)
    assert other.state_data == original.state_data == {"state": "Header", "header_tokens": [1428]}
    assert one.state_data["content_tokens"] == [64]


def test_an_integer_that_uses_the_parser_that_reads_it(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.USER)

    class Strange:
        def __index__(self) -> int:
            parser.process(END)
            return START

    parser.process_many([MESSAGE, 64, Strange(), 1428, MESSAGE, 65])
    assert parser.messages == [Message(Author(Role.USER), [TextContent("a")])]
    assert (parser.current_content, parser.tokens) == ("b", [MESSAGE, 64, END, START, 1428, MESSAGE, 65])


def test_a_parser_may_be_weakly_referred_to(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, None)
    assert weakref.ref(parser)() is parser


@pytest.mark.parametrize("strict", [False, 0, None, []])
def test_what_is_not_strict_is_lenient(strict: Any, engine: ModuleType, encoding: HarmonyEncoding) -> None:
    assert [found.code for found in engine.parse([END], None, strict=strict).diagnostics] == ["extra-stop"]
    assert [found.code for found in engine.parse_text("<|end|>", None, strict=strict).diagnostics] == ["extra-stop"]
    parser = engine.StreamableParser(encoding, None, strict=strict).process(END)
    assert [found.code for found in parser.diagnostics] == ["extra-stop"]


def test_an_error_carries_the_messages_before_it(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode("<|message|>one<|end|><|start|>user<|message|>two<|end|>three", allowed_special="all")
    with pytest.raises(HarmonyError) as caught:
        engine.parse(tokens, Role.USER, strict=True)
    assert [message.content[0].text for message in caught.value.messages] == ["one", "two"]
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.code, copied.position, copied.messages) == (
        "expected `<|start|>`, found the text `three` at token 8",
        "expected-start",
        8,
        caught.value.messages,
    )


@pytest.mark.parametrize("cut", range(16))
def test_a_parser_is_copied_in_mid_stream(
    cut: int, engine: ModuleType, encoding: HarmonyEncoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harmony.parsing.shared, "parser_class", engine.StreamableParser)
    tokens = encoding.encode(
        "<|channel|>final<|message|>🤷🏽 a<|end|><|start|>user<|message|>b<|end|>", allowed_special="all"
    )
    original = engine.StreamableParser(encoding, Role.ASSISTANT)
    original.process_many(tokens[:cut])
    copies = [copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original)), original]
    for parser in copies:
        for token in tokens[cut:]:
            parser.process(token)
        assert parser.process_eos().tokens == tokens
        assert parser.messages == engine.parse(tokens, Role.ASSISTANT, strict=True).messages
    deep = copies[1].messages
    assert all(message is not other for message, other in zip(deep, original.messages, strict=True))


def test_engines_read_each_others_pickles(
    engine: ModuleType, encoding: HarmonyEncoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source, target in ((python_engine, engine), (engine, python_engine)):
        parser = source.StreamableParser(encoding, None)
        parser.process_many([START, 1428, MESSAGE, 12194, 50378])
        pickled = pickle.dumps(parser)
        monkeypatch.setattr(harmony.parsing.shared, "parser_class", target.StreamableParser)
        read = pickle.loads(pickled)
        assert type(read) is target.StreamableParser
        assert pickle.dumps(read) == pickled
        assert read.process(END).messages == parser.process(END).messages


def test_a_subclass_keeps_its_own_state(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    class Counting(engine.StreamableParser):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(encoding, Role.ASSISTANT)
            self.count = 0

        def process(self, token: int) -> Any:
            self.count += 1
            return super().process(token)

    parser = Counting()
    assert parser.process(CHANNEL).process(17196).count == 2
    copied = copy.deepcopy(parser)
    assert (type(copied), copied.count, copied.tokens) == (Counting, 2, [CHANNEL, 17196])


def test_lists_that_were_given_away_stay_as_they_were(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.USER, strict=False)
    parser.process_many([MESSAGE, 64, END, 64])
    messages, tokens, diagnostics = parser.messages, parser.tokens, parser.diagnostics
    parser.process_many([START, 1428, MESSAGE, 65, END, END, END])
    assert (len(messages), len(tokens), len(diagnostics)) == (1, 4, 0)
    assert (len(parser.messages), len(parser.tokens), len(parser.diagnostics)) == (3, 11, 4)


def test_what_is_read_and_kept_at_each_token_is_not_copied(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.USER, strict=False)
    kept: list[Any] = []

    def read_at_each_token(tokens: list[int]) -> int:
        tracemalloc.start()
        for token in tokens:
            parser.process(token)
            assert parser.messages is parser.messages
            kept.append((parser.tokens, parser.state_data, parser.diagnostics))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    # A list a token would take 40 MB for the first 3,000 alone.
    assert read_at_each_token([64] * 3000) < 10_000_000  # all of it a header
    assert read_at_each_token([MESSAGE] + [64] * 3000) < 10_000_000  # and content
    assert read_at_each_token([END] * 3000) < 10_000_000  # and a fault at each token
    assert [len(tokens) for tokens, _, _ in kept] == list(range(1, len(kept) + 1))
    assert len(kept[2999][1]["header_tokens"]) == 3000
    assert len(kept[6000][1]["content_tokens"]) == 3000
    assert len(kept[-1][2]) - len(kept[-3000][2]) == 2999


def test_a_snapshot_is_a_sequence_like_a_list(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    parser = engine.StreamableParser(encoding, Role.USER)
    parser.process_many([MESSAGE, 64, 65])
    tokens = parser.tokens
    parser.process(66)
    listed = [MESSAGE, 64, 65]
    assert tokens == listed == tokens == tuple(listed)
    assert tokens not in (listed[:2], [MESSAGE, 64, 66], {})
    assert (list(tokens), tokens[:], tokens[::-1], tokens[1:9]) == (listed, listed, listed[::-1], listed[1:])
    assert (tokens[0], tokens[-1], 64 in tokens, 66 in tokens, tokens.index(65)) == (MESSAGE, 65, True, False, 2)
    assert (operator.add([1], tokens), operator.add(tokens, [1])) == ([1, *listed], [*listed, 1])
    assert (repr(tokens), copy.deepcopy(tokens), pickle.loads(pickle.dumps(tokens))) == (str(listed), listed, listed)
    assert encoding.decode(tokens) == encoding.decode(listed)
    for index in (3, -4):
        with pytest.raises(IndexError):
            tokens[index]
    with pytest.raises(TypeError):
        tokens[0] = 1
    with pytest.raises(TypeError):
        hash(tokens)


def test_wrong_arguments_of_a_stream(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    with pytest.raises(TypeError, match="Expected `HarmonyEncoding`, got `str` - at `encoding`"):
        engine.StreamableParser("HarmonyGptOss", None)
    with pytest.raises(ValueError, match="Unknown role: 'boss'"):
        engine.StreamableParser(encoding, "boss")
    parser = engine.StreamableParser(encoding, None)
    parser.process_many([START, 1428, MESSAGE])
    with pytest.raises(TypeError, match="Expected `int`, got `str` - at token 3"):
        parser.process("a")
    with pytest.raises(TypeError, match="Expected `int`, got `str` - at token 4"):
        parser.process_many([64, "a"])
    assert (parser.tokens, parser.current_content) == ([START, 1428, MESSAGE, 64], "a")


def test_text_with_surrogates_is_read_as_it_is_encoded(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    text = "<|message|>a\ud83e\udd37 \ud800b<|end|>"
    assert engine.parse_text(text, "user", strict=True).messages[0].content == [TextContent("a🤷 \ufffdb")]
    tokens = encoding.encode(text, allowed_special="all")
    assert engine.parse(tokens, "user", strict=True).messages[0].content == [TextContent("a🤷 \ufffdb")]
    for length in range(4090, 4100):  # a long text without a marker is looked at in pieces
        found = engine.parse_text("a" * length + "\ud83e\udd37 b", "user", strict=False)
        assert found.messages[0].content == [TextContent("a" * length + "🤷 b")]
    with pytest.raises(HarmonyError) as caught:
        engine.parse_text(text + "\ud83e\udd37<|end|>", "user", strict=True)
    assert caught.value.position == len(text)


def test_empty_input(engine: ModuleType) -> None:
    for read in (engine.parse, engine.parse_text):
        count = None if read is engine.parse_text else 0
        nothing = read("" if read is engine.parse_text else [], None, strict=True)
        assert all_of(nothing) == ([], True, [], [], None, count)
        opened = read("" if read is engine.parse_text else [], "user", strict=True)
        assert all_of(opened) == ([], False, [], [], Role.USER, count)


def test_the_tokens_of_an_input_are_counted(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    text = "<|channel|>final<|message|>Bore da! 🌤<|return|>"
    tokens = encoding.encode(text, allowed_special="all")
    for cut in range(len(tokens) + 1):
        result = engine.parse(tokens[:cut], "assistant", strict=False)
        assert result.token_count == cut
        assert pickle.loads(pickle.dumps(result)) == result
    for form in (tuple(tokens), iter(tokens), array("I", tokens), array("I", tokens).tobytes()):
        assert engine.parse(form, "assistant", strict=True).token_count == len(tokens)
    assert engine.parse([*tokens, -1, *tokens, 1 << 200], None, strict=False).token_count == 2 * len(tokens) + 2
    for stripped in (False, True):
        assert engine.parse_text(text, "assistant", strict=False, stripped=stripped).token_count is None


def test_long_input_of_every_shape(engine: ModuleType, encoding: HarmonyEncoding) -> None:
    word = encoding.encode(" word")
    long = engine.parse([MESSAGE, *word * 200_000, END], "user", strict=True)
    assert long.messages[0].content[0].text == " word" * 200_000
    many = engine.parse([START, 1428, MESSAGE, *word, END] * 20_000, None, strict=True)
    assert len(many.messages) == 20_000
    with pytest.raises(HarmonyError, match="found `word` at token 2"):
        engine.parse([START, *word * 100_000, MESSAGE], None, strict=True)
    header = engine.parse([START, 1428, *encoding.encode(" ") * 100_000, MESSAGE, END], None, strict=True)
    assert header.messages == [Message(Author(Role.USER), [TextContent("")])]


def test_what_a_name_says_of_itself_holds_for_both_engines(engine: ModuleType) -> None:
    names = [name for name in vars(python_engine.StreamableParser) if not name.startswith("_")]
    assert len(names) == 15
    for ours, twin in [(engine.StreamableParser, python_engine.StreamableParser)] + [
        (getattr(engine.StreamableParser, name), getattr(python_engine.StreamableParser, name)) for name in names
    ]:
        sentence = " ".join(twin.__doc__.split()).partition(". ")[0].rstrip(".")
        assert " ".join(ours.__doc__.split()).rstrip(".").startswith(sentence)
        if inspect.isfunction(twin):
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(twin).parameters)
