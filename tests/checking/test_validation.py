"""validate and is_valid: one verdict from the grammar and the machine, of text and of token ids, and words for it."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from types import ModuleType
from typing import Any, get_args

import harmony.grammar as grammar
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lark import Lark, UnexpectedInput

from harmony import (
    Conversation,
    Finding,
    HarmonyEncoding,
    HarmonyError,
    RenderOptions,
    is_valid,
    validate,
)
from harmony.checking import validation
from harmony.format import vocabulary
from harmony.format.choices import Style
from harmony.format.vocabulary import CHANNEL, CONSTRAIN, END, END_OF_TEXT, MESSAGE, START, STOPS
from harmony.parsing import engine as chosen_engine
from helpers.cases import CASES
from helpers.messages import fine_messages
from helpers.paths import CONVERSATIONS, DATA
from helpers.sizes import Scale, examples
from helpers.texts import STARTS, TEXTS

STOCK = Lark(grammar.read(), start=list(STARTS), parser="lalr")
ASSISTANT = 173781
PAGE = DATA / "diagnostics.txt"


class Scanner:
    """`is_valid` by one engine: what it scans with, and what it asks about headers."""

    def __init__(self, engine: ModuleType) -> None:
        scan = import_module(engine.__name__.replace("parser_", "scan_"))
        names = ("as_buffer", "next_special", "skip_text", "skip_tokens")
        self.engine, self.as_buffer = engine, scan.as_buffer
        self._replaced: list[tuple[Any, str, Any]] = [
            *((chosen_engine, name, getattr(scan, name)) for name in names),
            *((chosen_engine, name, getattr(engine, name)) for name in ("parse", "parse_text")),
            (validation, "_FIRST", validation._Verdicts(validation.Role.ASSISTANT)),
            (validation, "_OTHERS", validation._Verdicts(None)),
        ]

    def __enter__(self) -> None:
        self._before = [(owner, name, getattr(owner, name)) for owner, name, _ in self._replaced]
        for owner, name, value in self._replaced:
            setattr(owner, name, value)

    def __exit__(self, *_: object) -> None:
        for owner, name, value in self._before:
            setattr(owner, name, value)

    def verdict(self, given: Any, start: str) -> bool:
        with self:
            return is_valid(given, start)


@pytest.fixture(scope="module")
def scanners(engines: list[ModuleType]) -> list[Scanner]:
    return list(map(Scanner, engines))


@pytest.fixture
def scanner(engine: ModuleType) -> Iterator[None]:
    """Each engine in turn is the one by which `is_valid` scans."""
    with Scanner(engine):
        yield


def strictly(engine: ModuleType, tokens: list[int] | str, start: str) -> bool:
    """Whether strict parsing succeeds, with whole messages only, and an open turn where one is wanted."""
    parse = engine.parse_text if isinstance(tokens, str) else engine.parse
    try:
        result = parse(tokens, "assistant" if start == "completion" else None, strict=True)
    except HarmonyError:
        return False
    whole = all(span.end is not None for span in result.spans)
    if start == "prompt":
        return whole and result.next_role is not None
    return whole and result.complete and result.next_role is None and (start == "conversation" or bool(result.messages))


def agreed(scanners: list[Scanner], tokens: list[int], encoding: HarmonyEncoding) -> None:
    """Parsing and `is_valid` by each engine and `validate` have one verdict, and stock Lark has it of the text."""
    first, *others = [scanner.as_buffer(tokens).tolist() for scanner in scanners]  # all that `validate` asks them for
    assert others == [first] * len(others), tokens
    verdicts = []
    for start in STARTS:
        verdict = validate(tokens, start) == []
        for scanner in scanners:
            assert strictly(scanner.engine, tokens, start) == scanner.verdict(tokens, start) == verdict, (tokens, start)
        verdicts.append(verdict)
    if all(0 <= token <= vocabulary.LAST_TOKEN for token in tokens):
        text = encoding.decode(tokens)
        if encoding.encode(text, allowed_special="all") == tokens:
            for start, verdict in zip(STARTS, verdicts, strict=True):
                assert (validate(text, start) == []) == by_stock_lark(text, start) == verdict, (text, start)
                for scanner in scanners:
                    assert scanner.verdict(text, start) == verdict, (text, start)


def by_stock_lark(text: str, start: str) -> bool:
    try:
        STOCK.parse(text, start=start)
    except UnexpectedInput:
        return False
    return True


KINDS = [ASSISTANT, START, CHANNEL, CONSTRAIN, MESSAGE, END, END_OF_TEXT]


def test_every_sequence_of_kinds(scale: Scale, scanners: list[Scanner]) -> None:
    valid = 0
    for length in range(scale(4, 6) + 1):
        for tokens in product(KINDS, repeat=length):
            sequence = list(tokens)
            laid_out = grammar.LaidOut(chosen_engine.as_buffer(sequence)).text
            for start in STARTS:
                # What `validate` asks first; the rest puts its answer into words.
                expected = next(grammar.misfits(laid_out, start), None) is None
                for scanner in scanners:
                    assert strictly(scanner.engine, sequence, start) == expected, (sequence, start)
                    assert scanner.verdict(sequence, start) == expected, (sequence, start)
                valid += expected
    assert valid == scale(10, 37)


@st.composite
def sequences(draw: st.DrawFn, encoding: HarmonyEncoding) -> list[int]:
    """Real tokens: of texts that are often whole, whole ones that were changed, and ids of any kind."""
    ids = st.integers(0, vocabulary.LAST_TOKEN) | st.sampled_from([START, CHANNEL, CONSTRAIN, MESSAGE, *STOPS])
    if draw(st.integers(0, 4)) == 0:
        return draw(st.lists(ids | st.integers(-5, 1 << 40), max_size=12))
    text = draw(TEXTS) + draw(st.sampled_from(["", "", "<|start|>user", "<|start|>"]))
    tokens = encoding.encode(text, allowed_special="all")
    if draw(st.booleans()):  # the same text in other tokens
        pieces = [[t] if t >= vocabulary.FIRST_SPECIAL else spelled(t) for t in tokens]
        tokens = [token for piece in pieces for token in piece]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(tokens)))
        tokens[place : place + draw(st.integers(0, 1))] = draw(st.lists(ids, max_size=1))
    return tokens


def spelled(token: int) -> list[int]:
    return list(vocabulary.load().token_bytes(token).translate(vocabulary.load().byte_ranks))


@examples(20_000, quick=200)
@given(data=st.data())
def test_one_verdict_on_random_and_changed_sequences(
    data: st.DataObject, scanners: list[Scanner], encoding: HarmonyEncoding
) -> None:
    agreed(scanners, data.draw(sequences(encoding)), encoding)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case_of_a_real_completion(case: dict[str, Any], scanner: None, encoding: HarmonyEncoding) -> None:
    expected = case["strict"] == "ok" and case["complete"]
    for form in (case["text"], encoding.encode(case["text"], allowed_special="all")):
        assert is_valid(form, "completion") == (validate(form, "completion") == []) == expected


# --- the rules


TEXT = [""]  # the one that is read


def reductions() -> tuple[dict[Any, list[tuple[str, int, int]]], Lark]:
    """By alternative of a rule: where it was used in a text, as places are added to the lists that this returns."""
    stock = Lark(grammar.read(), start=list(STARTS), parser="lalr")
    callbacks = stock.parser.parser.parser.callbacks
    used: dict[Any, list[tuple[str, int, int]]] = {rule: [] for rule in callbacks}

    def callback(rule: Any) -> Any:
        def reduce(children: list[Any]) -> tuple[int, int] | None:
            places = [
                child if isinstance(child, tuple) else (child.start_pos, child.end_pos)
                for child in children
                if child is not None
            ]
            place = (places[0][0], places[-1][1]) if places else None
            used[rule].append((TEXT[0], *(place or (-1, -1))))
            return place

        return reduce

    callbacks.update({rule: callback(rule) for rule in list(callbacks)})
    return used, stock


def whole_texts() -> Iterator[tuple[str, str]]:
    """Texts, and what they are, that use every alternative of every rule."""
    spaces = ["", " "]
    authors = ["assistant", "tool", "user:al", "f.g", "lookup"]
    recipients = ["", " to=x", " to=x\t", " to=assistant", " to=assistant ", " f.g", " f.g\n"]
    channels = ["", "<|channel|>final", "<|channel|>final ", "<|channel|>a.b", "<|channel|>a.b "]
    types = ["", " json", " json ", " sh", " sh ", *(f"<|constrain|>{a}json{b}" for a in spaces for b in spaces)]
    for author, before, channel, after, kind in product(authors, recipients, channels, recipients, types):
        header = f"{author}{before}{channel}{after}{kind}"
        yield f"<|start|>{header}<|message|>x<|end|>", "conversation"
        if author == "assistant":
            yield f"{header}<|message|><|end|>", "completion"
            yield f" {header}<|message|><|end|>", "completion"
            yield f"{header.removeprefix('assistant')}<|message|>x<|call|>", "completion"
    for role, space in product(["user", "tool"], spaces):
        yield f"<|start|> {role}{space}<|message|><|end|><|start|>{space}{role}{space}", "prompt"
        yield f"<|start|>{space}{role}{space}", "prompt"
    yield "", "conversation"
    yield "<|message|>x<|end|><|start|>user<|message|><|end|>", "completion"
    yield "<|start|>user<|message|><|end|>" * 3, "conversation"


def test_every_alternative_of_every_rule_is_used_and_can_be_broken() -> None:
    used, stock = reductions()
    for text, start in whole_texts():
        TEXT[0] = text
        found = {rule: len(places) for rule, places in used.items()}
        try:
            stock.parse(text, start=start)
        except UnexpectedInput:
            for rule, count in found.items():
                del used[rule][count:]
            assert not is_valid(text, start)
        else:
            assert is_valid(text, start)
    assert [str(rule) for rule, places in used.items() if not places] == []

    unbroken = []
    for rule, places in used.items():
        if not rule.expansion:
            continue
        text, begin, end = places[len(places) // 2]
        middle = (begin + end) // 2
        changed = [
            text[:begin] + text[end:],
            text[:end] + text[begin:end] + text[end:],
            text[:middle] + "<|endoftext|>" + text[middle:],
        ]
        if all(is_valid(one, start) for one in changed for start in STARTS):
            unbroken.append(str(rule))
    assert unbroken == []


def test_what_may_be_empty_is_broken_by_what_may_not_stand_there() -> None:
    empty = {rule.origin.name for rule in STOCK.rules if not rule.expansion}
    broken = {
        "conversation": ("", "x"),
        "content": ("<|start|>user<|message|><|end|>", "<|start|>user<|message|><|channel|><|end|>"),
        "_not_addressed": ("<|start|>user<|message|>a<|end|>", "<|start|>user x<|message|>a<|end|>"),
    }
    assert empty == broken.keys()
    for good, bad in broken.values():
        assert validate(good) == []
        assert validate(bad) != []


# --- what is said


BROKEN = {
    "a channel's name after white space": ("conversation", "<|start|>assistant<|channel|> final<|message|>Hi<|end|>"),
    "an unknown word": ("conversation", "<|start|>assistant<|channel|>final thoughts<|message|>Hi<|end|>"),
    "two channels": ("completion", "<|channel|>analysis<|channel|>final<|message|>Hi<|return|>"),
    "no stop": ("conversation", "<|start|>user<|message|>Grüße aus 東京<|start|>assistant<|message|>Hi<|end|>"),
    "no role": ("prompt", "<|start|>user<|message|>Hi<|end|><|start|>"),
    "text between messages": ("prompt", "<|start|>user<|message|>Hi<|end|>\n\n<|start|>assistant"),
    "two recipients": ("conversation", "<|start|>assistant to=f.a to=f.b<|message|>{}<|call|>"),
    "a word behind the type": ("conversation", "<|start|>f.a to=assistant json now<|message|>{}<|end|>"),
    "two faults": (
        "conversation",
        "<|start|>nobody<|message|>1<|end|><|start|>user<|message|>\n2<|endoftext|>\n<|end|>",
    ),
    "cut off": ("completion", "<|channel|>final<|message|>" + "A long answer. " * 9 + "And"),
}


def test_a_page_of_diagnostics(encoding: HarmonyEncoding) -> None:
    page = []
    for title, (start, text) in BROKEN.items():
        page += [f"== {title} ({start})", *map(str, validate(text, start))]
        tokens = encoding.encode(text, allowed_special="all")
        said = validate(tokens, start)
        page += [f"token {found.position}: {found.code} {found.message}" for found in said]
        assert [found.code for found in said] == [found.code for found in validate(text, start)]
        page.append("")
    assert "\n".join(page) == PAGE.read_text(encoding="utf-8")


def test_places_in_text() -> None:
    text = "<|start|>user<|message|>a\nb<|end|>\n<|start|>user<|message|>\n\nc<|call|>x"
    found = validate(text)
    assert all(isinstance(one, Finding) for one in found)
    assert [(one.position, one.line, one.column) for one in found] == [(34, 2, 9), (text.rindex("x"), 5, 10)]
    assert found[1].excerpt == "c<|call|>x\n         ^"
    assert str(found[1]).startswith("5:10: expected-start expected `<|start|>` or the end of the input, found `x`\n")
    controls = validate("<|start|>user\x1b[31m\t<|message|>x<|end|>")
    assert controls[0].excerpt.splitlines()[0].startswith("<|start|>user\\x1b[31m\\t")


def test_places_in_tokens(encoding: HarmonyEncoding, engine: ModuleType) -> None:
    bad_byte = vocabulary.load().byte_ranks[0xFF]
    for header in (
        [ASSISTANT, *spelled(encoding.encode(" thoughts")[0])],
        [ASSISTANT, 220, *spelled(encoding.encode("json")[0]), 220, bad_byte],
        [ASSISTANT, CHANNEL, *encoding.encode("final"), *encoding.encode(" to=a to=b")],
    ):
        tokens = [START, *header, MESSAGE, END]
        with pytest.raises(HarmonyError) as error:
            engine.parse(tokens, None, strict=True)
        (found,) = validate(tokens)
        assert (found.code, found.position) == (error.value.code, error.value.position)
    for wrong in (300_000, -1, 10**30):
        (found,) = validate([START, 1428, MESSAGE, wrong, END])
        assert (found.code, found.position) == ("invalid-token", 3)
        assert found.message.startswith("Invalid token for decoding: ")
    assert [found.position for found in validate([START, 1428, MESSAGE, 5])] == [4]
    assert validate([]) == [] != validate([], "completion")


def test_faults_behind_faults() -> None:
    whole = "<|start|>user<|message|>y<|end|>"
    bad = "<|start|>nobody<|message|>x<|end|>"
    for text, start, places in (
        (bad + whole + bad, "conversation", [9, 75]),
        (bad + whole, "completion", [0, 9]),
        (bad + whole + "<|start|>user", "prompt", [9]),
        (bad + whole, "prompt", [9, 66]),
        (whole[:-7] * 3, "conversation", [25, 50, 75]),
        ("x" + whole + "y" + whole, "conversation", [0, 33]),
        (whole + "<|start|>user" + whole, "conversation", [45]),
    ):
        assert [found.position for found in validate(text, start)] == places, text


def test_characters_that_no_name_holds() -> None:
    for character, shown in (("{", "{"), ("\u00a0", "\\xa0"), ("\u200b", "\\u200b"), ("\v", "\\x0b")):
        (found,) = validate(f"<|start|>user{character}<|message|>x<|end|>")
        assert (found.code, found.position) == ("invalid-name", 13)
        assert found.message.endswith(f"found `user{shown}`")
    assert validate("<|start|>user<|channel|> c<|message|>x<|end|>")[0].message.endswith("found white space")


class Index:
    """An integer, but no int; looking at it may change the list that holds it."""

    def __init__(self, value: int, held: list[Any] | None = None) -> None:
        self.value = value
        self.held = held

    def __index__(self) -> int:
        if self.held is not None:
            self.held.clear()
        return self.value


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash((START, 1428))


def test_integers_that_are_no_ints(scanner: None) -> None:
    tokens = [START, 1428, MESSAGE, 12194, END]
    assert is_valid(list(map(Index, tokens)))
    assert validate(list(map(Index, tokens))) == []
    assert not is_valid([Liar(5), Liar(6), MESSAGE, END])
    assert is_valid(tokens)
    for check in (is_valid, validate):
        held: list[Any] = [*tokens]
        held[1] = Index(1428, held)
        assert check(held) in (True, [])


def test_text_that_spells_a_marker_is_text(encoding: HarmonyEncoding) -> None:
    spelling = encoding.encode("<|end|><|start|>", disallowed_special=())
    assert validate([START, 1428, MESSAGE, *spelling, END]) == []
    (found,) = validate([START, 1428, *spelling, MESSAGE, END])
    assert found.position == 2
    assert found.code == "invalid-name"


def test_what_may_be_given(encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode("<|start|>user<|message|>Hi<|end|>", allowed_special="all")
    for form in (tokens, tuple(tokens), array("I", tokens), numpy.array(tokens), array("I", tokens).tobytes()):
        assert validate(form) == []
        assert is_valid(form)
    for check in (validate, is_valid):
        for wrong in (5, None, {"tokens": tokens}, ["x"], [1.5], [MESSAGE, "x"], [[]], [float(START), *tokens[1:]]):
            with pytest.raises(TypeError, match=r"^Expected"):
                check(wrong)
        with pytest.raises(
            ValueError, match="Expected one of `conversation`, `prompt`, `completion`, got `message` - at"
        ):
            check(tokens, "message")
        for wrong in (5, None, b"prompt", ["prompt"], numpy.array(["prompt", "x"])):
            with pytest.raises(TypeError, match=r"^Expected `str`, got `\w+` - at `start`"):
                check(tokens, wrong)


def test_what_rendering_makes_is_valid(encoding: HarmonyEncoding) -> None:
    for line in CONVERSATIONS.read_bytes().splitlines():
        conversation = Conversation.from_dict({"messages": json.loads(line)["messages"]})
        for purpose, start in (
            ("conversation", "conversation"),
            ("completion", "prompt"),
            ("training", "conversation"),
        ):
            tokens = encoding.render_with_spans(conversation, purpose=purpose).tokens
            assert validate(tokens, start) == []
            assert is_valid(tokens, start)


@examples(300)
@given(one=fine_messages(), style=st.sampled_from(get_args(Style)))
def test_every_message_that_rendering_makes_is_valid(one: Any, style: Any, encoding: HarmonyEncoding) -> None:
    tokens = encoding.render(one, RenderOptions(style=style))
    assert validate(tokens) == []
    assert is_valid(tokens)


def test_large_inputs(scale: Scale, scanners: list[Scanner]) -> None:
    count = scale(500, 5000)
    message = "<|start|>user<|message|>" + "word <b> <| " * 40 + "<|end|>"
    order = random.Random(3)
    tokens = [order.choice([*KINDS, 5, 6]) for _ in range(4 * count)]
    wrong: list[tuple[str | list[int], int]] = [
        ("<|start|>" * count, 0),
        ("<|start|>user" * count, 0),
        ("<|" * 10 * count, 0),
        ("<|channel|>" * count, 0),
        (message[:-7] * (count // 10), 0),
        (tokens, count // 5),
    ]
    assert validate(message * (count // 10)) == []
    for bad, faults in wrong:
        assert len(validate(bad)) > faults
    for scanner in scanners:
        assert scanner.verdict(message * (4 * count), "conversation")
        assert not any(scanner.verdict(bad, "conversation") for bad, _ in wrong)
