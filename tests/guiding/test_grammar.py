"""The grammar for llguidance: its completions are strictly valid, and their arguments fit the schemas of the tools."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, Final

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    Role,
    SystemContent,
    ToolDescription,
    validate,
)
from harmony.chat import ConversionError
from harmony.decoding import MASK_WORDS, Headers, grammar, ll_tokenizer
from harmony.format.vocabulary import CALL, END, MESSAGE, RETURN, load
from harmony.guiding.forms import call_headers, plain_headers
from harmony.messages.roles import KNOWN_CHANNELS
from helpers.guided import COMPLETIONS, is_odd
from helpers.sizes import Scale

SKY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "units": {"enum": ["metric", "imperial"]},
        "hours": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Final[list[Any]] = [
    {"type": "function", "function": {"name": "sky", "parameters": SKY}},
    {"type": "function", "name": "sky_at", "parameters": {"type": "object", "additionalProperties": False}},
    {"type": "code_interpreter"},
    {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find", "parameters": SKY}]},
]
SCHEMAS: Final = {"functions.sky": SKY, "functions.sky_at": TOOLS[1]["parameters"], "crm.find": SKY}
RECIPIENTS: Final = (*SCHEMAS, "python")
CHOICES: Final = ("auto", "required", "none", *RECIPIENTS)
ANSWER: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
    },
}
SCHEMA_OF_ANSWER: Final = ANSWER["json_schema"]["schema"]  # type: ignore[index]
BAD_FORMAT: Final = {"type": "json_schema", "name": "answer", "schema": {"not": {}}}
OK: Final = '{"city": "Oslo", "days": 3}'
THOUGHT: Final = "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant"
Mask = np.ndarray[Any, Any]
#: Characters that bring JSON to its end.
CLOSING: Final = b'"}],:1'


@pytest.fixture(scope="module")
def tokenizer() -> LLTokenizer:
    return ll_tokenizer()


def matcher(tokenizer: LLTokenizer, *arguments: Any, **options: Any) -> LLMatcher:
    found = LLMatcher(tokenizer, grammar(*arguments, **options))
    assert not found.is_error(), found.get_error()
    return found


def written(encoding: HarmonyEncoding, text: str) -> list[int]:
    return encoding.encode(text, allowed_special="all")


def mask_of(matcher: LLMatcher) -> Mask:
    mask: Mask = allocate_token_bitmask(1, 32 * MASK_WORDS)
    fill_next_token_bitmask(matcher, mask)
    return mask[0].view(np.uint8)


def allowed(mask: Mask) -> list[int]:
    places = np.flatnonzero(mask)  # few bytes have a bit that is set, except inside text
    rows, bits = np.unpackbits(mask[places, None], axis=1, bitorder="little").nonzero()
    found: list[int] = (8 * places[rows] + bits).tolist()
    return found


def walk(matcher: LLMatcher, seed: int) -> list[int] | None:
    """A random completion; None if it did not end in time."""
    chance = random.Random(seed)
    likely = [*(load().byte_ranks[byte] for byte in CLOSING), RETURN, CALL, END]
    tokens: list[int] = []
    while not matcher.is_stopped():
        if len(tokens) > 500:
            return None
        mask = mask_of(matcher)
        ids = [] if chance.random() < 0.6 else [token for token in likely if mask[token >> 3] >> (token & 7) & 1]
        tries = (chance.randrange(32 * MASK_WORDS) for _ in range(20))
        one = next((token for token in tries if mask[token >> 3] >> (token & 7) & 1), None)
        token = chance.choice(ids or (allowed(mask) if one is None else [one]))
        assert matcher.consume_token(token)
        tokens.append(token)
    assert matcher.is_accepting()
    return tokens


@pytest.mark.parametrize("tool_choice", CHOICES)
def test_random_walks_are_valid(
    encoding: HarmonyEncoding, tokenizer: LLTokenizer, tool_choice: str, scale: Scale
) -> None:
    whole = matcher(tokenizer, TOOLS, tool_choice=tool_choice, response_format=ANSWER)
    finished = 0
    for seed in range(scale(25, 3000)):
        tokens = walk(whole.deep_copy(), seed)
        if tokens is None:
            continue
        finished += 1
        *before, last = encoding.parse(tokens, Role.ASSISTANT).messages
        assert validate(tokens, "completion") == []
        assert all(message.recipient is None and message.channel != "final" for message in before)
        if last.recipient in SCHEMAS:
            jsonschema.validate(json.loads(last.text), SCHEMAS[last.recipient])
        elif last.recipient is None:
            jsonschema.validate(json.loads(last.text), SCHEMA_OF_ANSWER)
        if tool_choice == "none":
            assert last.recipient is None
        elif tool_choice != "auto":
            assert last.recipient in (RECIPIENTS if tool_choice == "required" else {tool_choice})
    assert finished > scale(20, 2900)


USUAL: Final = (
    f"<|channel|>commentary to=functions.sky <|constrain|>json<|message|>{OK}<|call|>",
    f"<|channel|>commentary to=functions.sky<|constrain|>json<|message|>{OK}<|call|>",
    f" to=functions.sky<|channel|>commentary json<|message|>{OK}<|call|>",
    f" to=functions.sky<|channel|>commentary <|constrain|>json<|message|>{OK}<|call|>",
    f"<|channel|>commentary to=functions.sky <|constrain|> json<|message|>{OK}<|call|>",
    f"<|channel|>commentary functions.sky json<|message|>{OK}<|call|>",
    f"{THOUGHT} crm.find<|channel|>analysis<|message|>{OK}<|call|>",
    f"<|channel|>analysis to=functions.sky code<|message|>{OK}<|call|>",
    f"{THOUGHT}<|channel|>commentary to=crm.find<|message|>{OK}<|call|>",
    f"{THOUGHT} to=functions.sky_at<|channel|>commentary json<|message|>{{}}<|call|>",
    "<|channel|>analysis to=python code<|message|>print('a')\n<|call|>",
    "<|channel|>commentary<|message|>Looking.<|end|><|start|>assistant<|channel|>final<|message|>Rain, 日本<|return|>",
    "<|channel|>final<|message|><|return|>",
)


@pytest.mark.parametrize("text", USUAL)
def test_the_usual_forms_are_accepted(encoding: HarmonyEncoding, tokenizer: LLTokenizer, text: str) -> None:
    found = matcher(tokenizer, TOOLS)
    tokens = written(encoding, text)
    assert found.try_consume_tokens(tokens) == len(tokens)
    assert found.is_accepting()
    assert Headers(encoding, RECIPIENTS).accept_many(tokens) == len(tokens)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param("<|channel|>commentary to=functions", ".moon", id="unknown recipient"),
        pytest.param('<|channel|>commentary to=functions.sky<|message|>{"city": "Oslo"', "}", id="missing field"),
        pytest.param('<|channel|>commentary to=functions.sky<|message|>{"city": "Oslo", "days": ', "40", id="range"),
        pytest.param('<|channel|>commentary to=functions.sky<|message|>{"city": "Oslo", "days": ', "0", id="low"),
        pytest.param("<|channel|>commentary to=functions.sky<|message|>{", '"town"', id="unknown field"),
        pytest.param("", "<|message|>", id="no header"),
        pytest.param("", "Rain", id="text"),
        pytest.param("", "assistant", id="assistant once more"),
        pytest.param("<|channel|>commentary", " python", id="no to="),
        pytest.param("<|channel|>commentary to=functions.sky json", "{", id="no message"),
        pytest.param("<|channel|>analysis", "<|channel|>", id="two channels"),
        pytest.param("<|channel|>comment", "<|message|>", id="misspelt channel"),
        pytest.param("<|channel|>analysis<|message|>a", "<|return|>", id="stop of a thought"),
        pytest.param(f"<|channel|>commentary to=functions.sky<|message|>{OK}", "<|end|>", id="stop of a call"),
        pytest.param("<|channel|>final<|message|>a", "<|end|>", id="stop of an answer"),
        pytest.param("<|channel|>analysis<|message|>a", "<|channel|>", id="marker in content"),
        pytest.param("<|channel|>commentary to=functions.sky<|message|>{", "<|start|>", id="marker in JSON"),
        pytest.param(f"<|channel|>commentary to=functions.sky<|message|>{OK}<|call|>", "<|start|>", id="second call"),
    ],
)
def test_what_is_broken_is_refused(encoding: HarmonyEncoding, tokenizer: LLTokenizer, good: str, bad: str) -> None:
    found = matcher(tokenizer, TOOLS)
    start, wrong = written(encoding, good), written(encoding, bad)
    assert found.try_consume_tokens(start) == len(start)
    assert found.deep_copy().validate_tokens(wrong) < len(wrong)


@pytest.mark.parametrize("case", COMPLETIONS, ids=lambda case: case["id"])
def test_real_completions_are_accepted(encoding: HarmonyEncoding, tokenizer: LLTokenizer, case: dict[str, Any]) -> None:
    tools = []
    for each in case["messages"]:
        space, _, name = each.get("recipient", "").partition(".")
        if name:
            tools.append({"type": "namespace", "name": space, "tools": [{"type": "function", "name": name}]})
    tokens = written(encoding, case["text"])
    taken = matcher(tokenizer, tools).try_consume_tokens(tokens)
    assert (taken < len(tokens)) == is_odd(case)


def texts(matcher: LLMatcher, seen: set[bytes], before: bytes = b"") -> Iterator[str]:
    """All texts that the grammar allows up to `<|message|>`. Of the ways to encode each, one is enough."""
    for token in allowed(mask_of(matcher)):
        text = before + load().token_bytes(token)
        if text in seen:
            continue
        seen.add(text)
        if token == MESSAGE:
            yield text.decode()
        else:
            after = matcher.deep_copy()
            assert after.consume_token(token)
            yield from texts(after, seen, text)


def paths(headers: Headers, encoding: HarmonyEncoding, before: tuple[int, ...] = ()) -> Iterator[str]:
    """All texts that Headers allows up to `<|message|>`."""
    for token in headers.allowed().tokens:
        after = headers.copy()
        after.accept(token)
        if token == MESSAGE:
            yield encoding.decode([*before, token])
        else:
            yield from paths(after, encoding, (*before, token))


@pytest.mark.parametrize("tool_choice", ["auto", "required", "none", "functions.sky"])
def test_both_have_the_same_headers(encoding: HarmonyEncoding, tokenizer: LLTokenizer, tool_choice: str) -> None:
    channels = KNOWN_CHANNELS if tool_choice in ("auto", "none") else ("analysis", "commentary")
    called = {"none": (), "functions.sky": ("functions.sky",)}.get(tool_choice, RECIPIENTS)
    expected = {header for channel in channels for header in plain_headers(channel)}
    expected |= {header for name in called for header in call_headers(name)}
    found, headers = (
        matcher(tokenizer, TOOLS, tool_choice=tool_choice),
        Headers(encoding, RECIPIENTS, tool_choice=tool_choice),
    )
    assert set(texts(found, set())) == set(paths(headers, encoding)) == expected
    thought = written(encoding, THOUGHT)
    assert found.consume_tokens(thought)
    assert headers.accept_many(thought) == len(thought)
    assert set(texts(found, set())) == set(paths(headers, encoding)) == expected


def test_parallel_lets_calls_follow_a_call(encoding: HarmonyEncoding, tokenizer: LLTokenizer) -> None:
    call = f" to=functions.sky<|channel|>commentary json<|message|>{OK}<|call|>"
    after = f"{call}<|start|>assistant"
    calls = written(encoding, f"{THOUGHT}{after}{THOUGHT}{call}")
    final = written(encoding, f"{after}<|channel|>final<|message|>")
    for tool_choice in ("auto", "required", "functions.sky"):
        found = matcher(tokenizer, TOOLS, tool_choice=tool_choice, parallel=True)
        assert found.deep_copy().consume_tokens(calls)
        assert found.validate_tokens(final) < len(final)
    found = matcher(tokenizer, TOOLS, parallel=True)
    assert found.consume_tokens(written(encoding, call))
    assert found.is_accepting()


def test_stops_that_the_tokenizer_counts_as_ends_are_left_out(encoding: HarmonyEncoding) -> None:
    tokenizer = ll_tokenizer([RETURN, CALL])
    call = f"<|channel|>analysis to=functions.sky<|message|>{OK}"
    for text, stop in ((call, CALL), (f"{THOUGHT}<|channel|>final<|message|>a", RETURN)):
        found = matcher(tokenizer, TOOLS, eos=[RETURN, CALL])
        assert found.consume_tokens(written(encoding, text))
        assert found.is_accepting()
        assert stop in allowed(mask_of(found))
        assert END not in allowed(mask_of(found))


def test_the_answer_has_the_response_format(encoding: HarmonyEncoding, tokenizer: LLTokenizer) -> None:
    found = matcher(tokenizer, None, response_format=ANSWER)
    for header in plain_headers("final"):
        assert found.deep_copy().consume_tokens(written(encoding, f'{header}{{"ok": true}}<|return|>'))
        wrong = written(encoding, f'{header}{{"ok": 1}}')
        assert found.validate_tokens(wrong) < len(wrong)
    assert found.consume_tokens(written(encoding, THOUGHT))
    text = matcher(tokenizer, None, response_format={"type": "text"})
    assert text.consume_tokens(written(encoding, "<|channel|>final<|message|>ok<|return|>"))


def test_a_conversation_says_which_tools_there_are(encoding: HarmonyEncoding, tokenizer: LLTokenizer) -> None:
    functions = [ToolDescription.new("sky", "Looks.", SKY), ToolDescription.new("sky_at", "Looks.")]
    conversation = Conversation.from_messages(
        [
            Message.from_role_and_content(Role.SYSTEM, SystemContent.new().with_python_tool().with_browser_tool()),
            Message.from_role_and_content(Role.DEVELOPER, DeveloperContent.new().with_function_tools(functions)),
        ]
    )
    for call, whole in (
        (f" to=functions.sky<|channel|>commentary<|message|>{OK}<|call|>", True),
        (" to=functions.sky<|channel|>commentary<|message|>{}<|call|>", False),
        (' to=functions.sky_at<|channel|>commentary<|message|>{"a": 1}<|call|>', True),
        (" to=functions.sky_at<|channel|>commentary<|message|>1<|call|>", False),
        (' to=browser.search<|channel|>analysis<|message|>{"query": "a"}<|call|>', True),
        (" to=python<|channel|>analysis<|message|>a<|call|>", True),
    ):
        tokens = written(encoding, call)
        assert (matcher(tokenizer, conversation).try_consume_tokens(tokens) == len(tokens)) == whole


@pytest.mark.parametrize("name", ["日本", "a\\b", "a\0b", "a\x7fb", "a'b", "\\u007f", "%json", "a\x1b😀"])
def test_odd_names(encoding: HarmonyEncoding, tokenizer: LLTokenizer, name: str) -> None:
    tokens = written(encoding, f" to=functions.{name}<|channel|>commentary<|message|>{{}}<|call|>")
    assert matcher(tokenizer, [{"type": "function", "name": name}]).try_consume_tokens(tokens) == len(tokens)


def test_spelled_markers_are_text(encoding: HarmonyEncoding, tokenizer: LLTokenizer) -> None:
    spelled = encoding.encode("a<|end|><|start|>user", disallowed_special=())
    tokens = [*written(encoding, "<|channel|>final<|message|>"), *spelled, RETURN]
    assert matcher(tokenizer, None).try_consume_tokens(tokens) == len(tokens)
    assert Headers(encoding, []).accept_many(tokens) == len(tokens)


def tool(**parameters: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


@pytest.mark.parametrize(
    ("tools", "options", "error", "text"),
    [
        (tool(type="array", uniqueItems=True), {}, ValueError, r'refuses: .*"uniqueItems".* of `functions\.f`$'),
        (tool(type="object", properties={"a": {"not": {}}}), {}, ValueError, '"not".*functions.f'),
        (tool(type="string", format="moon"), {}, ValueError, "moon.*functions.f"),
        (None, {"response_format": BAD_FORMAT}, ValueError, '"not".*`response_format`'),
        (TOOLS, {"tool_choice": "sky"}, ValueError, "declared recipient such as `functions.sky`, got 'sky'"),
        (None, {"tool_choice": "required"}, ValueError, "a recipient to call"),
        (TOOLS, {"eos": [END]}, ValueError, r"got `<\|end\|>`, behind which"),
        (TOOLS, {"eos": [CALL], "parallel": True}, ValueError, r"got `<\|call\|>`, behind which"),
        (TOOLS, {"eos": [201088]}, ValueError, r"0\.\.201087, got 201088 - at `eos`"),
        (TOOLS, {"eos": ["a"]}, TypeError, r"Expected `int`, got `str` - at `eos\[0\]`"),
        (TOOLS, {"eos": CALL}, TypeError, "several values, got `int` - at `eos`"),
        ([{"type": "file_search"}], {}, ConversionError, r"tools\[0\]"),
        (None, {"response_format": {"type": "moon"}}, ConversionError, "response_format"),
    ],
)
def test_wrong_arguments(tools: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        grammar(tools, **options)


def test_a_tokenizer_has_an_end() -> None:
    with pytest.raises(ValueError, match=r"^Expected one id or more, got none - at `eos`$"):
        ll_tokenizer([])


@pytest.mark.parametrize("eos", ["1", b"\1", bytearray(1)])
def test_a_text_or_bytes_are_no_ids(eos: Any) -> None:
    with pytest.raises(TypeError, match=f"^Expected several values, got `{type(eos).__name__}` - at `eos`$"):
        ll_tokenizer(eos)


def test_a_schema_counts_only_where_its_tool_may_be_called() -> None:
    tools = [*tool(type="array", uniqueItems=True), TOOLS[0]]
    assert "uniqueItems" not in grammar(tools, tool_choice="functions.sky")


def test_the_masks_of_the_tokenizer_have_the_models_size(tokenizer: LLTokenizer) -> None:
    assert tokenizer.vocab_size == 32 * MASK_WORDS
    assert tokenizer.eos_tokens == [199999]
