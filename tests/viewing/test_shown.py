"""What is shown of an input: all of its tokens, once; all of its diagnostics, once; and the mask of training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony import Conversation, HarmonyEncoding, Message, Role
from harmony.format.vocabulary import LAST_TOKEN, START
from harmony.messages.roles import KNOWN_CHANNELS
from harmony.results import ParseResult
from harmony.viewing.shown import Piece, Shown, shown_result, shown_source, usual_role
from helpers.cases import CASES, KINDS
from helpers.chats import conversations

_TEXTS = {case["id"]: case["text"] for case in CASES}


def all_pieces(shown: Shown) -> list[Piece]:
    """The pieces of an input in order."""
    inside = ([*each.before, *each.header, *each.content, *each.stop] for each in shown.messages)
    return [*chain.from_iterable(inside), *shown.behind]


def check(shown: Shown, source: Sequence[int] | str, result: ParseResult) -> None:
    """What holds for any input."""
    pieces = all_pieces(shown)
    if isinstance(source, str):
        assert "".join(piece.text for piece in pieces) == source
    else:
        assert [token for piece in pieces for token in piece.ids] == list(source)
        place = 0
        for piece in pieces:
            assert piece.start == place
            place += len(piece.ids)
    inside = [found for each in shown.messages for found in each.diagnostics]
    assert sorted([*inside, *shown.diagnostics], key=repr) == sorted(result.diagnostics, key=repr)
    assert [each.text for each in shown.messages] == [message.text for message in result.messages]
    for each in shown.messages:
        parts = list(each.content_parts())
        assert [piece for run, _ in parts for piece in run] == list(each.content)
        told = [*each.in_header(), *(found for _, inside_part in parts for found in inside_part)]
        assert told == list(each.diagnostics)
        if not result.diagnostics:
            assert each.is_exact


@pytest.mark.parametrize("name", _TEXTS)
def test_the_corpus_is_shown_whole(name: str, encoding: HarmonyEncoding) -> None:
    text = _TEXTS[name]
    tokens = encoding.encode(text, allowed_special="all")
    role = usual_role(text)
    assert role is usual_role(tokens)
    for source, result in (
        (text, encoding.parse_text(text, role, strict=False)),
        (tokens, encoding.parse(tokens, role, strict=False)),
    ):
        check(shown_source("", source, role, channels=KNOWN_CHANNELS), source, result)


_WORDS = st.sampled_from([200, 173781, 35644, 12606, 815, 316, 28, 4108, 30082, 17196, 9468, 100, 233, 61138])
_TOKENS = st.lists(
    st.one_of(st.sampled_from(list(KINDS.values())), _WORDS, st.sampled_from([200_002, 200_012, -1, LAST_TOKEN + 1])),
    max_size=25,
)


@given(tokens=_TOKENS)
def test_nothing_of_broken_input_is_lost(encoding: HarmonyEncoding, tokens: list[int]) -> None:
    role = usual_role(tokens)
    check(shown_source("", tokens, role, channels=["final"]), tokens, encoding.parse(tokens, role, strict=False))
    text = encoding.decode([token for token in tokens if 0 <= token <= LAST_TOKEN])
    check(shown_source("", text, role, channels=[]), text, encoding.parse_text(text, role, strict=False))


@given(conversation=conversations(), learn=st.sets(st.sampled_from(KNOWN_CHANNELS)))
def test_the_mask_is_that_of_training(encoding: HarmonyEncoding, conversation: Conversation, learn: set[str]) -> None:
    rendered = encoding.render_with_spans(conversation, purpose="training")
    shown = shown_source("", rendered.tokens, None, channels=learn)
    mask = [piece.learned for piece in all_pieces(shown) for _ in piece.ids]
    assert mask == rendered.mask(learn)
    assert sum(each.learned or 0 for each in shown.messages) == sum(mask)


def test_the_mask_of_a_completion_is_that_behind_its_prompt(encoding: HarmonyEncoding) -> None:
    prompt = encoding.encode("<|start|>user<|message|>Hi<|end|><|start|>assistant", allowed_special="all")
    for case in CASES:
        completion = encoding.encode(case["text"], allowed_special="all")
        if case["strict"] != "ok" or completion[:1] == [START]:
            continue
        behind = shown_source("", [*prompt, *completion], None, channels=KNOWN_CHANNELS)
        alone = shown_source("", completion, Role.ASSISTANT, channels=KNOWN_CHANNELS)
        expected = [piece.learned for piece in all_pieces(behind) for _ in piece.ids][len(prompt) :]
        assert [piece.learned for piece in all_pieces(alone) for _ in piece.ids] == expected, case["id"]


def test_a_header_without_start_is_learned_whole(encoding: HarmonyEncoding) -> None:
    text = "<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>Hi<|return|>"
    tokens = encoding.encode(text, allowed_special="all")
    shown = shown_source("", tokens, Role.ASSISTANT, channels=KNOWN_CHANNELS)
    assert all(piece.learned for piece in all_pieces(shown))


def test_a_character_of_several_tokens_is_one_piece(encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode("<|channel|>final<|message|>👩‍🚀!", allowed_special="all")
    [message] = shown_source("", tokens, Role.ASSISTANT, channels=()).messages
    assert "".join(piece.text for piece in message.content) == "👩‍🚀!"
    assert max(len(piece.ids) for piece in message.content) > 1
    assert "\ufffd" not in message.text
    cut = tokens[:4]
    [message] = shown_source("", cut, Role.ASSISTANT, channels=()).messages
    assert [(piece.text, piece.ids) for piece in message.content] == [("\ufffd", (cut[3],))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"a":1.50,"a":[1e400,12345678901234567890]}',
            '{\n  "a": 1.50,\n  "a": [\n    1e400,\n    12345678901234567890\n  ]\n}',
        ),
        ('[{"x":null}]', '[\n  {\n    "x": null\n  }\n]'),
        ("[]", None),
        ("7", None),
        ('"text"', None),
        ("plain", None),
        ('{"a":', None),
        ('{"a":1} x', None),
        ("[" * 100_000, None),
        ("[" * 500 + "]" * 500, None),
        ('{"a":"\ud800"}', None),
    ],
)
def test_json_is_set_out_as_it_was_written(text: str, expected: str | None) -> None:
    message = Message.from_role_and_content(Role.ASSISTANT, text)
    [shown] = shown_result("", ParseResult([message], [], [], True, None)).messages
    assert shown.arguments == expected


def test_positions_count_behind_what_was_put_before(encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode("<|channel|>commentary<|channel|>final<|message|>Hi<|return|>", allowed_special="all")
    shown = shown_source("", tokens, Role.ASSISTANT, channels=(), shift=3)
    [found] = shown.messages[0].diagnostics
    assert shown.place(found) == max(found.position - 3, 0)
