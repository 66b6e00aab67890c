"""Lenient parsing: the real cases, the page of repairs, and what a stream gives while it comes in."""

from __future__ import annotations

import json
import pickle
import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import HarmonyError, Role, StreamState
from harmony.errors import TABLE, code_of
from harmony.format.vocabulary import (
    CALL,
    CHANNEL,
    END,
    MESSAGE,
    START,
)
from harmony.parsing import parser_py as python_engine
from helpers.cases import CASES, flat
from helpers.paths import ROOT
from helpers.streams import ENCODING, ids, plain
from helpers.ways import every_way, in_order, outcome, strictly

A_NAME = 'a name without white space, U+200B or any of `< > { } "`'


# --- the real cases, and the page of repairs


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case_of_a_real_completion(case: dict[str, Any], engine: ModuleType) -> None:
    read = every_way(engine, ids(case["text"]), Role(case["role"]), strict=False)
    written = engine.parse_text(case["text"], case["role"], strict=False)
    for messages, complete, diagnostics in [
        read[1:],
        (written.messages, written.complete, written.diagnostics),
    ]:
        assert [flat(message) for message in messages] == case["messages"]
        assert complete == case["complete"]
        assert bool(diagnostics) == (case["strict"] == "error")


def page() -> list[tuple[str, list[str], list[str]]]:
    """The rows of the tables: what the model wrote, the codes of what is repaired, and what is read, as rendered."""
    text = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.*)` \| (`.*`) \| (.*) \|$", text, re.MULTILINE)
    return [
        (wrote.replace("\\|", "|"), re.findall(r"`([^`]*)`", codes), re.findall(r"`([^`]*)`", read.replace("\\|", "|")))
        for wrote, codes, read in rows
    ]


@pytest.mark.parametrize(("wrote", "codes", "read"), page())
def test_the_page_of_repairs(wrote: str, codes: list[str], read: list[str], engine: ModuleType) -> None:
    if wrote.startswith("["):  # token ids
        result = engine.parse(json.loads(wrote), "assistant", strict=False)
    else:
        result = engine.parse_text(wrote, "assistant", strict=False, stripped=codes == ["doubtful-channel"])
    assert [ENCODING.decode(ENCODING.render(message)) for message in result.messages] == read
    assert [found.code for found in result.diagnostics] == codes


def test_every_repair_is_on_the_page() -> None:
    assert {code for _, codes, _ in page() for code in codes} == set(map(code_of, TABLE["repair"]))


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        # reported by users of other parsers
        (
            "<|channel|>final <|constrain|>functions.mark<|constrain|>json<|message|>{}<|return|>",
            [("final", "functions.mark", "<|constrain|>json", "{}")],
        ),
        (
            "<|channel|>final <|constrain|>commentary to=f.done<|constrain|><|constrain|>json<|message|>{}<|call|>",
            [("final", "f.done", "<|constrain|>json", "{}")],
        ),
        (
            "<|channel|>commentary to=functions.f \u00a0\u200b\u200b\u00a0\n\n\n<|call|>",
            [],  # a call without arguments is never invented
        ),
        (
            '<|start|>assistantcommentary to=functions.f {"path":" src"}<|call|>',
            [("commentary", "functions.f", None, '{"path":" src"}')],
        ),
        ("<|channel|>bash<|channel|>commentary<|message|>ls<|end|>", [("commentary", None, None, "ls")]),
        (
            "<|channel|>analysis to=functions.f code<|channel|>commentary<|message|>{}<|call|>",
            [("analysis", "functions.f", "code", "{}")],
        ),
        (
            "<|channel|>commentary to=functions.f<|constrain|>json{}<|call|>",
            [("commentary", "functions.f", "<|constrain|>json", "{}")],
        ),
        (
            '<|channel|>commentary to="functions.f" json<|message|>{}<|call|>',
            [("commentary", "functions.f", "json", "{}")],
        ),
        ("<|channel|>\u200bfinal\u00a0<|message|>Hi<|return|>", [("final", None, None, "Hi")]),
        (
            "<|channel|>final<|message|>a<|end|> 364 <|start|>assistant<|message|>b",
            [("final", None, None, "a"), (None, None, None, " 364 "), (None, None, None, "b")],
        ),
        ("<|channel|>commentary to=functions.sky js", []),
        ("<|channel|>final <|return|>", []),
        ("<|start|>assistant<|end|>", []),
        ("<|return|>", []),
        ('{"answer": 1}', [(None, None, None, '{"answer": 1}')]),
        (
            "<|end|><assistant<|channel|>final<|message|>Hi",
            [(None, None, None, "<assistant"), ("final", None, None, "Hi")],
        ),
        ("<|channel|>final Hel", [("final", None, None, "Hel")]),
        # authors that are the assistant all the same
        (
            "<|start|>assistant. to=functions.f<|channel|>commentary json<|message|>{}<|call|>",
            [("commentary", "functions.f", "json", "{}")],
        ),
        ("<|message|>x<|end|><|start|>assistant:<|message|>Hi", [(None, None, None, "x"), (None, None, None, "Hi")]),
        # a channel before its recipient, with something between
        (
            "<|channel|>commentary:to=functions.f json<|message|>{}<|call|>",
            [("commentary", "functions.f", "json", "{}")],
        ),
        ("<|channel|>commentary,to=functions.f {}<|call|>", [("commentary", "functions.f", None, "{}")]),
        ("<|channel|>commentto=functions.f<|message|>{}<|call|>", [("comment", "functions.f", None, "{}")]),
        # `to=` counts before other names with a dot
        (
            "<|channel|>main.py<|channel|>final to=functions.f<|message|>x<|call|>",
            [("final", "functions.f", None, "x")],
        ),
        ("<|channel|>final functions.f to=assistant<|message|>x<|call|>", [("final", "functions.f", None, "x")]),
        (
            "<|channel|>commentary to functions.f json<|message|>{}<|call|>",
            [("commentary", "functions.f", "json", "{}")],
        ),
        # no type is made of two
        ("<|channel|>final json<|constrain|>response<|message|>x", [("final", None, "<|constrain|>response", "x")]),
        ("<|channel|>final code<|constrain|><|message|>x", [("final", None, "code", "x")]),
        ("<|channel|>final to=functions.f please call it<|message|>x", [("final", "functions.f", None, "x")]),
        # the rest of a header behind a stop
        ("<|message|>x<|call|>assistantcommentary", [(None, None, None, "x")]),
        ("<|message|>x<|call|> final \n<|return|>", [(None, None, None, "x")]),
        ("<|message|>x<|end|>final<|message|>Hi", [(None, None, None, "x"), ("final", None, None, "Hi")]),
        ("<|message|>x<|end|>finally", [(None, None, None, "x"), (None, None, None, "finally")]),
        # no message, and no call, is invented
        ("<|channel|>commentary to=functions.f <|constrain|>json<|return|>", []),
        ("<|channel|>commentary to=functions.f<|start|>assistant<|message|>x", [(None, None, None, "x")]),
        (
            "<|channel|>commentary to=functions.f<|message|><|channel|>commentary json<|message|>{}<|call|>",
            [("commentary", "functions.f", "json", "{}")],
        ),
        ("<|message|><|channel|>final<|return|>", []),
        ("<|message|><|start|>user<|message|>x", [(None, None, None, "x")]),
        # prose of more than two words
        (
            "<|channel|>analysis We need data<|message|>x",
            [("analysis", None, None, "We need data"), ("analysis", None, None, "x")],
        ),
        # another chat format
        ("<|im_start|>assistant\nHi<|im_end|>", [(None, None, None, "<|im_start|>assistant\nHi<|im_end|>")]),
        # a token without a place in content is left out
        ("<|message|>a <|reserved_200001|><|constrain|> b<|end|>", [(None, None, None, "a  b")]),
        # what is left out does not join two halves to a marker
        ("<|message|><|en<|constrain|>d|><|end|>", [(None, None, None, "<|en\ufffdd|>")]),
        ("x<|en<|reserved_200001|>d|><|end|>", [(None, None, None, "x<|en\ufffdd|>")]),
    ],
)
def test_more_of_the_same_families(text: str, messages: list[tuple[str | None, ...]], engine: ModuleType) -> None:
    for result in (
        engine.parse_text(text, "assistant", strict=False),
        engine.parse(ids(text), Role.ASSISTANT, strict=False),
    ):
        found = [(one.channel, one.recipient, one.content_type, one.content[0].text) for one in result.messages]
        assert found == messages
        assert result.diagnostics


@pytest.mark.parametrize(
    "text",
    [
        "final<|start|><|call|>to  =\n?\u200b<|end|>",  # `to =` is one item, as in a whole input
        "<|end|>developeruser:alice.\nassistant<|channel|>commentary to=functions.f json'\")\nHello",
    ],
)
def test_a_stream_waits_for_what_may_be_a_header(text: str, engine: ModuleType) -> None:
    assert every_way(engine, ids(text), Role.ASSISTANT, strict=False)[0] == "ok"


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("<|channel|>commentary to=functions.f <|constrain|>json<|return|>", False),
        ("<|channel|>commentary to=functions.f<|start|>assistant<|message|>x<|end|>", False),
        ("<|channel|>commentary to=functions.f<|message|><|channel|>final<|return|>", False),
        ("<|channel|>final <|constrain|>json<|return|>", True),
        ("<|message|>x<|call|>commentary", True),
        ("<|message|>x<|call|>commentary of mine", False),
    ],
)
def test_a_call_that_was_given_up_is_not_complete(text: str, complete: bool, engine: ModuleType) -> None:
    assert every_way(engine, ids(text), Role.ASSISTANT, strict=False)[2] == complete
    assert engine.parse_text(text, "assistant", strict=False).complete == complete


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<|im_start|>assistant\nHi<|im_end|>", "<|im_start|>"),
        ("Hi<|eot|><|eot|><|end|>x<|eom|><|end|>", "<|eot|>"),
        ("<|channel|>final to=self to=self<|message|>Hm.", "to=self"),
        ("<|channel|>final<|message|>Hi<|eot|>", None),  # correct, so it is a text about markers
        ("Hi<|end|>", None),
    ],
)
def test_another_format_is_told_once(text: str, found: str | None, engine: ModuleType) -> None:
    diagnostics = every_way(engine, ids(text), Role.ASSISTANT, strict=False)[3]
    told = [each for each in diagnostics if each.code == "other-format"]
    assert [f"`{found}`" in each.message for each in told] == [True] * (found is not None)
    assert all(each.position == min(each.position for each in diagnostics) for each in told)


def test_a_marker_spelled_in_ordinary_text_cuts_a_name(engine: ModuleType) -> None:
    tokens = [CHANNEL, *plain("commentary to=functions.f<|channel|>x json"), MESSAGE, *plain("{}<|end|>"), CALL]
    (message,) = engine.parse(tokens, Role.ASSISTANT, strict=False).messages
    assert (message.recipient, message.channel) == ("functions.f", "commentary")
    assert message.content[0].text == "{}<|end|>"  # and in content it is text, as in strict parsing


def test_ids_of_no_token_and_bytes_of_no_text(engine: ModuleType) -> None:
    half = plain("🤷")[0]
    tokens = [CHANNEL, *plain("fi"), -5, MESSAGE, *plain("a"), 1 << 70, *plain("b"), END, START, half, MESSAGE, END]
    messages, complete, diagnostics = every_way(engine, tokens, Role.ASSISTANT, strict=False)[1:]
    assert [(one.author.name, one.channel, one.content[0].text) for one in messages] == [
        (None, "fi", "a\ufffdb"),
        ("\ufffd", None, ""),
    ]
    codes = ["cut-name", "replaced-token", "replaced-token", "replaced-bytes", "unknown-author"]
    assert [found.code for found in diagnostics] == codes
    assert complete
    assert diagnostics[2].message == "expected an id in 0..201088, found an integer of 71 bits; it becomes U+FFFD"


# --- streaming


@pytest.mark.parametrize(
    ("pieces", "deltas"),
    [
        # JSON begins no word of a header: it is content at once.
        (["<|channel|>", "final", ' {"', "answer", '":', ' "', "hi"], [None, None, '{"', "answer", '":', ' "', "hi"]),
        # Two words too many may be an accident; three are none, once the last has ended.
        (["<|channel|>", "final", " Sunny", " all", " day", "."], [None] * 6),
        (["<|channel|>", "final", " Sunny", " all", " day", " long"], [None] * 5 + ["Sunny all day long"]),
        # The name of a known channel may go on, until it has ended.
        (["<|channel|>", "final", "Sunny", " all", " day", " long"], [None] * 6),
        # Where there is no header, the first word tells, or a letter that none begins with.
        (["S", "unny", " all"], [None, None, "Sunny all"]),
        (["<|message|>", "a", "<|end|>", "S", "unny", " all"], [None, "a", None, None, None, "Sunny all"]),
        (["<|message|>", "a", "<|end|>", "comm", "unity", " is"], [None, "a", None, None, None, "community is"]),
        (["<|message|>", "a", "<|end|>", "好", "的"], [None, "a", None, "好", "的"]),
        (
            ["<|message|>", "a", "<|end|>", "final", " words", " of", " mine", " to"],
            [None, "a"] + [None] * 5 + ["final words of mine to"],
        ),
        # Content that has begun goes on as it comes.
        (["Sunny", " all", " day", "<|end|>"], [None, "Sunny all", " day", None]),
    ],
)
def test_text_is_held_back_no_longer_than_it_must(
    pieces: list[str], deltas: list[str | None], engine: ModuleType
) -> None:
    parser = engine.StreamableParser(ENCODING, Role.ASSISTANT, strict=False)
    for piece, delta in zip(pieces, deltas, strict=True):
        (token,) = ids(piece)
        assert parser.process(token).last_content_delta == delta, piece


def test_languages_without_spaces_are_not_held_back_to_the_end(engine: ModuleType) -> None:
    text = "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53ef\u4ee5\u53bb\u516c\u56ed\u6563\u6b65\u3002" * 10
    tokens = [CHANNEL, *plain("final" + text)]
    parser = engine.StreamableParser(ENCODING, Role.ASSISTANT, strict=False)
    deltas = [parser.process(token).last_content_delta for token in tokens]
    first = next(place for place, delta in enumerate(deltas) if delta)
    assert first <= 65
    assert all(deltas[first:])
    assert "".join(filter(None, deltas)) == text
    # The same letters may be a channel, however long it is.
    legal = [CHANNEL, *plain("final" + text.replace("\uff0c", "").replace("\u3002", "")), MESSAGE, *plain("x"), END]
    assert every_way(engine, legal, Role.ASSISTANT, strict=False)[3] == []


PROSE = st.sampled_from(["Sunny all day, I think.", '{"city": "Oslo"}', "Hm.", "héé 🤷 ja", "\n\n", "x"])


@given(text=PROSE, seed=st.integers(0, 9))
def test_a_parser_moves_between_the_engines_in_mid_stream(text: str, seed: int, engine: ModuleType) -> None:
    tokens = ids(
        f"<|channel|>commentary to=functions.f{text}<|message|>{text}<|end|>{text}<|channel|> final<|message|>{text}"
    )
    whole = engine.parse(tokens, Role.ASSISTANT, strict=False)
    cut = seed * len(tokens) // 10
    parser = engine.StreamableParser(ENCODING, Role.ASSISTANT, strict=False)
    for token in tokens[:cut]:
        parser.process(token)
    other = python_engine.StreamableParser(ENCODING, None)
    other.__setstate__(parser.__reduce__()[2])
    for copied in (pickle.loads(pickle.dumps(parser)), other):
        copied.process_many(tokens[cut:])
        copied.process_eos()
        assert copied.messages == whole.messages
        assert in_order(copied.diagnostics) == in_order(whole.diagnostics)


def test_diagnostics_that_were_read_stay_as_they_were(engine: ModuleType) -> None:
    parser = engine.StreamableParser(ENCODING, Role.ASSISTANT, strict=False)
    first = parser.process(END).diagnostics
    second = parser.process(END).diagnostics
    assert (len(first), len(second)) == (1, 2)


def test_complete_while_a_stream_comes_in(engine: ModuleType) -> None:
    parser = engine.StreamableParser(ENCODING, Role.ASSISTANT, strict=False)
    told = [parser.complete]
    for token in ids("<|channel|>final<|message|>Hi<|end|>\n"):
        told.append(parser.process(token).complete)
    assert told == [False, False, False, False, False, True, False]  # the white space may yet begin a message
    assert parser.process_eos().complete
    assert not parser.process(ids("Hi")[0]).complete
    assert not parser.process_eos().complete
    assert parser.state is StreamState.EXPECT_START


def test_a_user_of_openai_harmony_finds_it_by_the_same_name() -> None:
    messages = ENCODING.parse_messages_from_completion_tokens(ids("Sorry.<|return|>"), Role.ASSISTANT, strict=False)
    assert [one.content[0].text for one in messages] == ["Sorry."]  # type: ignore[attr-defined]


def test_how_each_span_ends(engine: ModuleType) -> None:
    text = "<|message|>a<|call|><|start|>user<|message|>b<|start|>user<|message|>c<|endoftext|>d<|return|>e"
    ends = [span.end for span in engine.parse_text(text, "user", strict=False).spans]
    assert ends == ["call", None, None, "return", None]


def test_after_an_error_a_strict_parser_is_pickled(engine: ModuleType) -> None:
    parser = engine.StreamableParser(ENCODING, None)
    with pytest.raises(HarmonyError):
        parser.process_many(ids("<|start|>assistant<|channel|>final<|constrain|>json<|start|>"))
    copied = pickle.loads(pickle.dumps(parser))
    assert copied.process_many(ids("<|start|>user<|message|>Hi<|end|>"))[0].delta == "Hi"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("user<|message|>Hi", "expected no role but `assistant` here, found `user`; it is taken for the author"),
        ("<|channel|>fi{nal<|message|>Hi", f"expected {A_NAME}, found `fi{{nal`; it is cut to `fi`"),
        (
            "<|channel|>final {}<|end|>",
            "expected a header that ends in `<|message|>`, found text; it is taken for content",
        ),
        ("<|channel|>final<|end|>", "expected `<|message|>`, found a stop; the header is given up"),
        ("<|message|><|channel|>final<|message|>Hi", "expected content, found `<|channel|>`; the header goes on"),
        (
            "<|message|><|start|>assistant<|message|>Hi",
            "expected content, found `<|start|>`; the empty message is left out",
        ),
        (
            "<|message|>Hi<|end|>final\n",
            "expected `<|start|>`, found `final` after the end of a message; it is left out",
        ),
        (" to=f\x1b[1m{<|message|>Hi", f"expected {A_NAME}, found `to=f\\x1b[1m{{`; it is cut to `to=f\\x1b[1m`"),
        (
            "<|channel|>final?<|message|>Hi",
            "expected a channel's name of letters, digits, `_`, `-` and dots, found `final?`; it is cut to `final`",
        ),
        ("<|message|>Hi<|constrain|><|end|>", "expected no `<|constrain|>` here; it is left out"),
    ],
)
def test_sentences(text: str, sentence: str, engine: ModuleType) -> None:
    (found,) = engine.parse_text(text, "assistant", strict=False).diagnostics
    assert found.message == sentence


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>commentary toassistant=functions.a_name_longer_than_any <|constrain|>json<|message|>x<|end|>",
        " to=f<|channel|>commentary a_content_type_that_is_longer_than_any_other <|message|>x<|end|>",
        "<|channel|>a_channel_of_which_nobody_has_ever_heard_so_long_is_it to=f<|message|>x<|end|>",
    ],
)
def test_long_names_that_are_legal(text: str, engine: ModuleType) -> None:
    found = every_way(engine, ids(text), Role.ASSISTANT, strict=False)
    assert found == outcome(lambda: strictly(engine, ids(text), Role.ASSISTANT))
    assert found[3] == []
