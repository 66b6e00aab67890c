"""The grammar, read by stock Lark: it holds the whole messages and the prompts that strict parsing accepts, no more."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from harmony import HarmonyError, grammar, load_harmony_encoding
from harmony.format.header import KNOWN_CONTENT_TYPES
from harmony.format.vocabulary import FIRST_SPECIAL, LAST_TOKEN, SPECIAL_TOKENS
from helpers.cases import CASES
from helpers.headers import BAD, GOOD
from helpers.sizes import Scale, examples
from helpers.texts import STARTS, TEXTS

# Unicode's property White_Space; Python's `isspace` holds for four control characters more.
WHITE_SPACE = {chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()} - set("\x1c\x1d\x1e\x1f")
LARK = Lark(grammar.read(), start=STARTS, parser="lalr")

#: What was read: each message as (role, name, recipient, channel, content type, content), and the role whose turn is
#: next; or None for a text that is not in the language.
Outcome = tuple[list[tuple[str | None, ...]], str | None] | None


def by_grammar(text: str, start: str) -> Outcome:
    try:
        tree = LARK.parse(text, start=start)
    except UnexpectedInput:
        return None
    messages = [message_of(child) for child in tree.children if isinstance(child, Tree)]
    return messages, next((str(child) for child in tree.children if isinstance(child, Token)), None)


def message_of(tree: Tree[Token]) -> tuple[str | None, ...]:
    parts = {part.data: "".join(map(str, part.children)) for part in tree.children if isinstance(part, Tree)}
    role, name = "assistant", None
    for author in tree.find_data("author"):
        (word,) = author.children
        assert isinstance(word, Token)
        match word.type:
            case "ROLE":
                role, name = str(word), "tool" if word == "tool" else None
            case "NAMED_ROLE":
                role, _, name = word.partition(":")
            case _:
                role, name = "tool", str(word)
    return role, name, parts.get("recipient"), parts.get("channel"), parts.get("content_type"), parts["content"]


def by_parser(text: str, start: str) -> Outcome:
    try:
        result = load_harmony_encoding("HarmonyGptOss").parse_text(text, "assistant" if start == "completion" else None)
    except HarmonyError:
        return None
    if result.next_role is None if start == "prompt" else not result.complete:
        return None
    messages = [
        (m.author.role.value, m.author.name, m.recipient, m.channel, m.content_type, m.content[0].text)
        for m in result.messages
    ]
    return messages, None if result.next_role is None else result.next_role.value


def agreed(text: str, start: str) -> Outcome:
    found = by_grammar(text, start)
    assert found == by_parser(text, start), (text, start)
    return found


# --- the file


def test_stock_lark_finds_no_conflict_in_it(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lark settles a conflict between shift and reduce by itself, and says so only to its log.
    monkeypatch.setattr(logging.getLogger("lark"), "level", logging.DEBUG)
    Lark("start: x*\nx: X+\nX: /x/", parser="lalr", debug=True)
    assert "Shift/Reduce conflict" in caplog.text
    caplog.clear()
    Lark(grammar.read(), start=STARTS, parser="lalr", debug=True)
    assert "onflict" not in caplog.text


def definitions() -> Iterator[tuple[str, list[str], list[str]]]:
    """Each rule and terminal: its name, and of the comment above it the lines of prose and the examples."""
    comment: list[str] = []
    for line in grammar.read().splitlines():
        if line.startswith("//"):
            comment.append(line)
        elif match := re.match(r"\??(\w+)(?:\.1)?:", line):
            examples = [line[7:].partition("  ")[0] for line in comment if line.startswith("//     ")]
            yield match[1], [line for line in comment if not line.startswith("//     ")], examples
        elif not line:
            comment = []


DEFINITIONS = list(definitions())


def test_every_definition_has_its_comment() -> None:
    rules = {rule.origin.name for rule in LARK.rules}
    terminals = {terminal.name for terminal in LARK.terminals}
    names = [name for name, _, _ in DEFINITIONS]
    assert len(set(names)) == len(names)
    assert {name for name in rules if not name.startswith("__")} | terminals <= set(names)
    assert all(prose and examples for _, prose, examples in DEFINITIONS)


@pytest.mark.parametrize(("name", "examples"), [(name, examples) for name, _, examples in DEFINITIONS])
def test_examples_are_what_they_are_given_for(name: str, examples: list[str]) -> None:
    for written in examples:
        text = written.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t")
        if name.islower():
            Lark(grammar.read(), start=name, parser="lalr").parse(text)
        else:
            after = Lark(f'{grammar.read()}\nexample: AFTER\nAFTER: "@" {name}', start="example", parser="lalr")
            match = re.match(after.get_terminal("AFTER").pattern.to_regexp(), "@" + text)
            assert match is not None
            assert match[0] in ("@" + text, "@")  # all of it, or nothing where it only looks ahead


# --- headers, and messages with them


@pytest.mark.parametrize(("header", "expected"), GOOD, ids=[header for header, _ in GOOD])
def test_good_headers(header: str, expected: tuple[str | None, ...]) -> None:
    start = "conversation" if header.startswith("<|start|>") else "completion"
    for stop in ("<|end|>", "<|call|>", "<|return|>"):
        assert agreed(f"{header}<|message|>x{stop}", start) == ([(*expected, "x")], None)


@pytest.mark.parametrize("header", [header for header, _, _ in BAD])
def test_bad_headers(header: str) -> None:
    start = "conversation" if header.startswith("<|start|>") else "completion"
    assert agreed(f"{header}<|message|>x<|end|>", start) is None


@pytest.mark.parametrize("word", [*sorted(KNOWN_CONTENT_TYPES), "JSON", "jsonl", "jso", "yml", "bash", "to", "text:x"])
def test_which_content_types_are_known(word: str) -> None:
    assert (agreed(f"<|start|>user {word}<|message|><|end|>", "conversation") is None) != (word in KNOWN_CONTENT_TYPES)
    for before in (
        "<|start|>x.y to=y ",
        "<|start|>x.y y.z ",
        "<|start|>x to=assistant ",
        "<|start|>user<|constrain|>",
        "<|start|>user <|constrain|>\n",
    ):
        assert agreed(f"{before}{word}<|message|><|end|>", "conversation") is not None


def test_words_that_touch_are_one() -> None:
    words = ["assistant", "to=f", "to=", "f.g", "json", "x"]
    for first, second, third in product(words, ["", *words], ["", " to=x", " x.y sh"]):
        for text in (first + second + third, f"to=f {first}{second}", f"<|channel|>x {first}{second}"):
            agreed(f"{text}<|message|><|end|>", "completion")
            agreed(f"<|start|>assistant {text}<|message|><|end|>", "conversation")
            agreed(f"<|start|>{text}<|message|><|end|>", "conversation")
    assert agreed("assistantjson<|message|><|end|>", "completion") is None
    assert agreed("jsonto=f<|message|><|end|>", "completion") is None


def test_which_white_space_may_stand_where() -> None:
    places = {
        "conversation": "{0}<|start|>{1}user{1}to=x{1}<|channel|>{0}c{1}<|constrain|>{1}x{1}<|message|><|end|>{0}",
        "prompt": "{0}<|start|>user<|message|><|end|>{0}<|start|>{1}user{1}",
        "completion": "{1}assistant{1}f.g{1}<|message|><|end|>{0}<|start|>{1}user{1}<|message|><|end|>{0}",
    }
    for start, template in places.items():
        pieces = re.split(r"(\{.\})", template)
        for index, place in enumerate(pieces):
            for character in WHITE_SPACE | {"\u200b"} if place in ("{0}", "{1}") else ():
                # White space that is allowed stands beside it, so that it has no part in a word.
                around = [" " if piece == "{1}" else "" if piece == "{0}" else piece for piece in pieces]
                around[index] = f" {character} " if place == "{1}" else character
                found = agreed("".join(around), start)
                assert (found is not None) == (place == "{1}" and character in " \t\n\f\r"), around


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_case_of_a_real_completion(case: dict[str, Any]) -> None:
    assert case["role"] == "assistant"
    assert (agreed(case["text"], "completion") is not None) == (case["strict"] == "ok" and case["complete"])


def every_sequence(pieces: list[str], longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        yield from map("".join, product(pieces, repeat=length))


KINDS = ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|endoftext|>", "assistant"]
ITEMS = [" to=f", " to=assistant", " f.g", " json", " x", " assistant", "<|channel|>", "c", "<|constrain|>"]


@pytest.mark.parametrize("start", STARTS)
def test_every_sequence_of_kinds(start: str, scale: Scale) -> None:
    found = [agreed(text, start) for text in every_sequence(KINDS, scale(4, 5))]
    assert found.count(None) < len(found)


@pytest.mark.parametrize("author", ["<|start|>assistant", "<|start|>lookup", ""])
def test_every_sequence_of_header_items(author: str, scale: Scale) -> None:
    start = "conversation" if author else "completion"
    found = [agreed(f"{author}{items}<|message|><|end|>", start) for items in every_sequence(ITEMS, scale(4, 5))]
    assert found.count(None) < len(found)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
@pytest.mark.parametrize("before", ["", "<|start|>user<|message|>Hi<|end|>"])
def test_prompts_of_every_role(role: str, before: str) -> None:
    for space, after in product(["", " ", "\n\t"], repeat=2):
        found = agreed(f"{before}<|start|>{space}{role}{after}", "prompt")
        assert found is not None
        assert found[1] == role
    for author in ("", ":", ":x", ".x", " to=x", "<|channel|>final", "\u00a0", " assistant"):
        assert (agreed(f"{before}<|start|>{role}{author}", "prompt") is None) == (author != "")


OPEN = st.sampled_from(["", "", "<|start|>user", "<|start|> tool\n", "<|start|>user:x", "<|start|>"])


@examples(2000)
@given(text=st.tuples(TEXTS, OPEN).map("".join))
@example("<|start|>user:a.b<|message|><|end|>")
@example("<|start|>to=x to=y<|message|><|end|>")
@example("<|start|>x to=to=y to=<|message|><|end|>")
@example("<|start|>json to=x json<|message|><|end|>")
@example("assistant to=x assistant<|message|><|end|><|start|>assistant<|message|><|end|>")
def test_grammar_and_parser_read_the_same(text: str) -> None:
    for start in STARTS:
        agreed(text, start)


# --- characters


@pytest.mark.parametrize(
    ("before", "also", "last"),
    [
        ("<|start|>user:", "", 0xFFFF),
        ("<|start|>user to=", "", sys.maxunicode),
        ("<|start|>user<|constrain|>", ".", 0xFFFF),
    ],
)
def test_which_characters_a_name_may_hold(before: str, also: str, last: int) -> None:
    outside = WHITE_SPACE | set('\u200b<>{}"') | set(also)
    assert len(outside) == 31 + len(also)
    characters = [chr(code) for code in range(last + 1) if not 0xD800 <= code < 0xE000]
    name = "".join(character for character in characters if character not in outside)
    found = agreed(f"{before}{name}<|message|><|end|>", "conversation")
    assert found is not None
    assert name in [(word or "").removeprefix("<|constrain|>") for word in found[0][0]]
    for character in outside:
        found = agreed(f"{before}a{character}b<|message|><|end|>", "conversation")
        assert found is None or character in " \t\n\f\r"  # which part two words


def test_which_characters_a_channel_may_hold() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    name = "".join(character for character in characters if character.isalnum() or character in "_-.")
    found = agreed(f"<|start|>user<|channel|>{name}<|message|><|end|>", "conversation")
    assert found is not None
    assert name in found[0][0]
    for character in set(map(chr, range(0x2100))) - set(name):
        found = agreed(f"<|start|>user<|channel|>a{character}b<|message|><|end|>", "conversation")
        assert found is None or character in " \t\n\f\r"  # which part two words


def test_which_texts_are_special_tokens() -> None:
    assert len(SPECIAL_TOKENS) == 1_091
    for special in SPECIAL_TOKENS:
        assert agreed(f"<|start|>user<|message|>a{special}b<|end|>", "conversation") is None
        assert agreed(f"<|start|>user<|message|>a<{special[1:-1]} >b<|end|>", "conversation") is not None
    lookalikes = [f"<|reserved_{number}|>" for number in range(FIRST_SPECIAL - 2, LAST_TOKEN + 12)]
    lookalikes += ["<|reserved_0200000|>", "<|reserved_2000000|>", "<|reserved_20000|>", "<|reserved_٢٠٠٠٠٠|>"]
    lookalikes += ["<|END|>", "<|end|", "<|end", "<", "<<|", "|end|>", "<|end |>", "<|end_1|>", "<|endofprompt|>"]
    lookalikes += ["<\uff5cend\uff5c>", "<|\u017ftart|>"]  # what Unicode holds to be the same
    found = {text: agreed(f"<|start|>user<|message|>{text}<|end|>", "conversation") for text in lookalikes}
    assert {text for text in lookalikes if found[text] is None} == SPECIAL_TOKENS.keys() & lookalikes
    assert all(read in (None, ([("user", None, None, None, None, text)], None)) for text, read in found.items())


def test_long_input() -> None:
    message = "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
    for text, start, count in (
        (message * 2_000, "conversation", 2_000),
        ("<|message|><|end|>" + message * 2_000, "completion", 2_001),
        (message * 2_000 + "<|start|>tool", "prompt", 2_000),
    ):
        found = agreed(text, start)
        assert found is not None
        assert len(found[0]) == count
    content = "a < b\n" * 50_000 + "<|" * 50_000
    assert agreed(f"<|start|>user<|message|>{content}<|end|>", "conversation") is not None
