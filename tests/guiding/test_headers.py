"""Headers: every completion that it lets through is strictly valid, and it lets through what the model writes."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import numpy as np
import pytest

from harmony import (
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    Role,
    StreamableParser,
    SystemContent,
    ToolDescription,
    ToolNamespaceConfig,
    validate,
)
from harmony.decoding import MASK_WORDS, Allowed, Headers
from harmony.format.header import Header, read_header
from harmony.format.vocabulary import CALL, CHANNEL, END, FIRST_SPECIAL, MESSAGE, RETURN, START
from harmony.guiding.forms import CALL_CHANNELS, TYPES, call_headers, plain_headers
from harmony.messages.roles import KNOWN_CHANNELS
from harmony.rendering.renderer import RenderOptions
from helpers.guided import COMPLETIONS, is_odd
from helpers.sizes import Scale

RECIPIENTS: Final = (
    *("functions.sky", "functions.sky_at", "browser.search", "python"),
    *("日本.x:y/z", "a\0\\\x1b\x7f'b", "to=a.b"),
)
CHOICES: Final = ("auto", "required", "none", *RECIPIENTS)


def written(encoding: HarmonyEncoding, text: str) -> list[int]:
    return encoding.encode(text, allowed_special="all")


def walk(headers: Headers, seed: int) -> list[int]:
    """A random completion. Content is of any tokens, also of such that are no characters."""
    chance = random.Random(seed)
    tokens = []
    while not headers.done:
        allowed = headers.allowed()
        if allowed.text and chance.random() < 0.6:
            token = chance.randrange(FIRST_SPECIAL)
        else:
            token = chance.choice(sorted(allowed.tokens))
        headers.accept(token)
        tokens.append(token)
    return tokens


def bits(mask: Any) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(np.asarray(mask).view(np.uint8), bitorder="little")).tolist())


@pytest.mark.parametrize("tool_choice", CHOICES)
def test_random_walks_are_strictly_valid(encoding: HarmonyEncoding, tool_choice: str, scale: Scale) -> None:
    whole = Headers(encoding, RECIPIENTS, tool_choice=tool_choice)
    for seed in range(scale(150, 3000)):
        tokens = walk(whole.copy(), seed)
        result = encoding.parse(tokens, Role.ASSISTANT)
        assert validate(tokens, "completion") == []
        calls = [message.recipient for message in result.messages if message.recipient is not None]
        assert calls == [result.messages[-1].recipient] * len(calls)
        if tool_choice == "none":
            assert calls == []
        elif tool_choice != "auto":
            assert calls[0] in RECIPIENTS if tool_choice == "required" else calls == [tool_choice]
        for message, span in zip(result.messages, result.spans, strict=True):
            stop = RETURN if message.channel == "final" else END if message.recipient is None else CALL
            assert tokens[span.stop] == stop


@pytest.mark.parametrize("case", COMPLETIONS, ids=lambda case: case["id"])
def test_real_completions_are_let_through(encoding: HarmonyEncoding, case: dict[str, Any]) -> None:
    recipients = {each["recipient"] for each in case["messages"] if "recipient" in each} - {"assistant"}
    tokens = written(encoding, case["text"])
    taken = Headers(encoding, recipients).accept_many(tokens)
    assert (taken < len(tokens)) == is_odd(case)


def test_all_forms_of_headers_read_as_they_should(encoding: HarmonyEncoding) -> None:
    for channel in KNOWN_CHANNELS:
        for header in plain_headers(channel):
            read = read_header(written(encoding, header)[:-1], Role.ASSISTANT)
            assert read == Header(Role.ASSISTANT, None, None, channel, read.content_type)
    for recipient in RECIPIENTS:
        for header in call_headers(recipient):
            read = read_header(written(encoding, header)[:-1], Role.ASSISTANT)
            assert read == Header(Role.ASSISTANT, None, recipient, read.channel, read.content_type)
            assert read.channel in CALL_CHANNELS
            assert read.content_type in {None, *(kind.strip() for kind in TYPES if kind)}


def test_headers_have_the_tokens_of_their_texts(encoding: HarmonyEncoding) -> None:
    """Also where a recipient begins or ends in characters that the vocabulary joins to others."""
    odd = [
        "'s",
        "a'",
        "don't",
        "9a",
        "a1234",
        "\u0301a",
        "a\u0301",
        "aBC",
        "/",
        "a//",
        "_",
        "=",
        "日",
        "👩\u200d",
        "\x1c",
    ]
    names = [*odd, *(f"{name}.{name}" for name in odd)]
    guide = Headers(encoding, names)
    for header in chain.from_iterable(map(call_headers, names)):
        tokens = written(encoding, header)
        assert guide.copy().accept_many(tokens) == len(tokens), header


@pytest.mark.parametrize("style", ["openai", "oss"])
@pytest.mark.parametrize("recipient", RECIPIENTS)
@pytest.mark.parametrize("kind", [None, "json", "<|constrain|>json"])
def test_rendered_calls_are_let_through(
    encoding: HarmonyEncoding, style: Any, recipient: str, kind: str | None
) -> None:
    call = Message.from_role_and_content(Role.ASSISTANT, "{}").with_recipient(recipient).with_channel("commentary")
    if kind is not None:
        call = call.with_content_type(kind)
    tokens = encoding.render(call, RenderOptions(style=style))
    first, later = Headers(encoding, RECIPIENTS), Headers(encoding, RECIPIENTS)
    assert tokens[:2] == written(encoding, "<|start|>assistant")
    assert first.accept_many(tokens[2:]) == len(tokens) - 2
    assert first.done
    thought = written(encoding, "<|channel|>analysis<|message|>Hm<|end|>")
    assert later.accept_many(thought + tokens) == len(thought) + len(tokens)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("", "Hello"),
        ("", "<|message|>"),
        ("", "assistant"),
        ("<|channel|>final", "e"),
        ("<|channel|>comment", "<|message|>"),
        ("<|channel|>", "mardown"),
        ("<|channel|>final", "<|channel|>"),
        ("<|channel|>final", " to=functions.sky"),
        ("<|channel|>analysis to=functions", ".moon"),
        ("<|channel|>commentary to=functions.sky json", "{"),
        ("<|channel|>commentary to=functions.sky json", "<|channel|>"),
        (" to=functions.sky", "<|message|>"),
        ("<|channel|>commentary", " python"),
        ("<|channel|>commentary to=python <|constrain|>", " code"),
        ("<|channel|>final <|constrain|>", " json"),
        ("<|channel|>final<|message|>a", "<|end|>"),
        ("<|channel|>analysis<|message|>a", "<|return|>"),
        ("<|channel|>analysis<|message|>a", "<|call|>"),
        ("<|channel|>commentary to=functions.sky<|message|>{}", "<|end|>"),
        ("<|channel|>analysis<|message|>a", "<|start|>"),
        ("<|channel|>analysis<|message|>a", "<|channel|>"),
        ("<|channel|>analysis<|message|>a", "<|endoftext|>"),
        ("<|channel|>analysis<|message|>a<|end|>", "<|channel|>"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>", "user"),
        ("<|channel|>final<|message|>a<|return|>", "<|start|>"),
    ],
)
def test_what_is_broken_is_refused_and_changes_nothing(encoding: HarmonyEncoding, good: str, bad: str) -> None:
    tokens = written(encoding, good)
    wrong = written(encoding, bad)
    headers = Headers(encoding, RECIPIENTS)
    assert headers.accept_many(tokens + wrong) == len(tokens)
    before = headers.allowed()
    with pytest.raises(ValueError, match=r"^Expected .*, got "):
        headers.accept(wrong[0])
    assert headers.allowed() == before
    assert wrong[0] not in before.tokens


def test_errors_name_the_tokens(encoding: HarmonyEncoding) -> None:
    headers = Headers(encoding, [])
    with pytest.raises(ValueError, match=r"^Expected `<\|channel\|>`, got the token 13225 `Hello`$"):
        headers.accept(13225)
    headers.accept_many(written(encoding, "<|channel|>analysis<|message|>"))
    for token, found in ((RETURN, r"`<\|return\|>`"), (-1, "-1, which is no token id"), (1 << 70, "11.*no token id")):
        with pytest.raises(ValueError, match=rf"^Expected text or `<\|end\|>`, got {found}"):
            headers.accept(token)
    wrong: Any
    for wrong, kind in ((1.0, "float"), (True, "bool"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^Expected `int`, got `{kind}` - at `token`$"):
            headers.accept(wrong)
    headers.accept(np.int32(1))  # type: ignore[arg-type]
    many = Headers(encoding, [f"functions.f{number}x" for number in range(40)])
    many.accept_many(written(encoding, " to=functions.f"))
    with pytest.raises(ValueError, match="one of 34 more tokens"):
        many.accept(CHANNEL)


def test_masks_say_what_allowed_says(encoding: HarmonyEncoding) -> None:
    headers = Headers(encoding, RECIPIENTS)
    mask = np.full(MASK_WORDS + 1, -1, np.int32)
    text = (
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant to=python<|channel|>analysis code<|message|>1<|call|>"
    )
    for token in [*written(encoding, text), None]:
        allowed = headers.allowed()
        headers.fill(mask)
        assert bits(mask) == set(range(FIRST_SPECIAL) if allowed.text else ()) | allowed.tokens
        if token is not None:
            headers.accept(token)
    assert headers.done
    assert headers.allowed() == Allowed(False, frozenset())


class Tensor:
    """As torch's: no buffer, but an array of numpy over its memory."""

    def __init__(self, words: Any) -> None:
        self.numpy = lambda: words


@pytest.mark.parametrize("make", [lambda a: a, lambda a: a[None], lambda a: a.view(np.uint32), memoryview, Tensor])
def test_what_a_mask_may_be(encoding: HarmonyEncoding, make: Any) -> None:
    words = np.full(MASK_WORDS, -1, np.int32)
    Headers(encoding, []).fill(make(words))
    assert bits(words) == {CHANNEL}


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        (array("i", bytes(4 * (MASK_WORDS - 1))), ValueError, "at least 6,284 words, got 6283 - at `bitmask`"),
        (np.zeros((2, MASK_WORDS), np.int32), ValueError, "one row of .*got 2 × 6284"),
        (np.zeros(MASK_WORDS, np.int64), TypeError, "32-bit integers.* got items of the format `l` and 8 bytes"),
        (np.zeros(MASK_WORDS, np.float32), TypeError, "format `f`"),
        (bytearray(4 * MASK_WORDS), TypeError, "format `B`"),
        (memoryview(bytes(4 * MASK_WORDS)).cast("i"), TypeError, "got read-only items"),
        (np.zeros(2 * MASK_WORDS, np.int32)[::2], TypeError, "not in one piece"),
        ([0] * MASK_WORDS, TypeError, "got `list` - at `bitmask`"),
    ],
)
def test_what_a_mask_may_not_be(encoding: HarmonyEncoding, mask: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Headers(encoding, []).fill(mask)


def test_copies_go_their_own_way(encoding: HarmonyEncoding) -> None:
    headers = Headers(encoding, RECIPIENTS)
    other = headers.copy()
    other.accept_many(written(encoding, "<|channel|>final<|message|>"))
    assert headers.allowed().tokens > {CHANNEL}
    assert other.allowed() == Allowed(True, frozenset({RETURN}))


def test_a_conversation_says_which_recipients_there_are(encoding: HarmonyEncoding) -> None:
    crm = ToolNamespaceConfig(name="crm", tools=[ToolDescription.new("find", "Finds.")])
    developer = DeveloperContent.new().with_function_tools([ToolDescription.new("sky", "Looks.")]).with_tools(crm)
    conversation = Conversation.from_messages(
        [
            Message.from_role_and_content(Role.SYSTEM, SystemContent.new().with_python_tool()),
            Message.from_role_and_content(Role.DEVELOPER, developer),
            Message.from_role_and_content(Role.USER, "Hi"),
        ]
    )
    for recipient, known in (("python", True), ("functions.sky", True), ("crm.find", True), ("functions.find", False)):
        tokens = written(encoding, f" to={recipient}<|channel|>commentary<|message|>")
        assert (Headers(encoding, conversation).accept_many(tokens) == len(tokens)) == known


@pytest.mark.parametrize("channels", [["final"], ["commentary"], ["analysis", "final"]])
def test_only_the_given_channels_come(encoding: HarmonyEncoding, channels: list[str]) -> None:
    found: set[str | None] = set()
    for seed in range(40):
        tokens = walk(Headers(encoding, ["functions.sky"], channels=channels), seed)
        parser = StreamableParser(encoding, Role.ASSISTANT)
        parser.process_many(tokens)
        found |= {message.channel for message in parser.messages}
    assert found == set(channels)


def bad_arguments() -> Iterator[Any]:
    none: list[str] = []
    yield pytest.param(["a b"], {}, ValueError, r"white space.* - at `recipients\[0\]`", id="white space")
    yield pytest.param(["f", "functions."], {}, ValueError, r"dot.* - at `recipients\[1\]`", id="dot")
    yield pytest.param([""], {}, ValueError, r"recipients\[0\]", id="empty")
    yield pytest.param(["\ud800"], {}, ValueError, r"recipients\[0\]", id="surrogate")
    yield pytest.param([3], {}, TypeError, r"Expected `str`, got `int` - at `recipients\[0\]`", id="number")
    yield pytest.param("python", {}, TypeError, "several values, got `str` - at `recipients`", id="str")
    yield pytest.param(None, {}, TypeError, "several values, got `NoneType` - at `recipients`", id="none")
    yield pytest.param(
        ["f"], {"tool_choice": "g"}, ValueError, "or a declared recipient such as `f`, got 'g'", id="choice"
    )
    yield pytest.param(["f"], {"tool_choice": None}, TypeError, "`str`.*`tool_choice`", id="no choice")
    yield pytest.param(
        none, {"tool_choice": "required"}, ValueError, "a recipient to call.*no completion", id="nothing"
    )
    yield pytest.param(["f"], {"channels": ["finale"]}, ValueError, "'finale' - at `channels`", id="channel")
    yield pytest.param(
        ["f"], {"channels": "final"}, TypeError, "several values, got `str` - at `channels`", id="one channel"
    )
    yield pytest.param(none, {"channels": ["analysis"]}, ValueError, "`final` among", id="no end")
    yield pytest.param(["f"], {"channels": ["final"], "tool_choice": "f"}, ValueError, "a recipient to call", id="f")


@pytest.mark.parametrize(("recipients", "arguments", "error", "text"), [*bad_arguments()])
def test_wrong_arguments(
    encoding: HarmonyEncoding, recipients: Any, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Headers(encoding, recipients, **arguments)


def test_an_encoding_is_no_name() -> None:
    with pytest.raises(TypeError, match=r"^Expected `HarmonyEncoding`, got `str` - at `encoding`$"):
        Headers("HarmonyGptOss", [])  # type: ignore[arg-type]


def test_the_first_token_of_a_completion_and_of_a_later_message(encoding: HarmonyEncoding) -> None:
    headers = Headers(encoding, [])
    assert headers.allowed() == Allowed(False, frozenset({CHANNEL}))
    headers.accept_many(written(encoding, "<|channel|>analysis<|message|><|end|>"))
    assert headers.allowed() == Allowed(False, frozenset({START}))
    assert MESSAGE not in headers.allowed().tokens
