"""Rendering: what becomes of conversations, what is dropped, many at a time, and spans."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from harmony import (
    ChannelConfig,
    Conversation,
    DeveloperContent,
    HarmonyEncoding,
    Message,
    ReasoningEffort,
    RenderConversationConfig,
    RenderError,
    RenderOptions,
    Role,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
    drop_analysis,
)
from harmony.format import vocabulary
from harmony.format.vocabulary import MESSAGE, START
from helpers.talk import WEATHER, conversation, message, talk

OSS = RenderConversationConfig(style="oss")


# --- what is written


def test_a_conversation_as_it_is_written(encoding: HarmonyEncoding) -> None:
    text = encoding.decode(encoding.render_conversation(talk()))
    assert text == (
        "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
        "Knowledge cutoff: 2024-06\nCurrent date: 2025-06-28\n\nReasoning: medium\n\n"
        "# Valid channels: analysis, commentary, final. Channel must be included for every message.\n"
        "Calls to these tools must go to the commentary channel: 'functions'.<|end|>"
        "<|start|>developer<|message|># Instructions\n\nBe brief.\n\n# Tools\n\n"
        "## functions\n\nnamespace functions {\n\n"
        "// Gets the weather.\n// Of one place.\ntype get_weather = (_: {\n// e.g. Oslo\ncity: string,\n}) => any;\n\n"
        "} // namespace functions<|end|>"
        "<|start|>user<|message|>Wie wird das Wetter in Oslo? 🌦<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>"
        '{"city": "Oslo"}<|call|>'
        '<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>{"sky": "rain"}<|end|>'
        "<|start|>assistant<|channel|>final<|message|>Regen.<|end|>"
        "<|start|>user<|message|>Danke!<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>Thanks are due.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Gern.<|end|>"
    )


def test_the_three_renderings(encoding: HarmonyEncoding) -> None:
    whole = encoding.render_conversation(talk())
    assert encoding.render_conversation_for_completion(talk(), Role.ASSISTANT) == [*whole, START, 173781]
    assert encoding.render_conversation_for_completion(talk(), "assistant") == [*whole, START, 173781]
    assert encoding.render_conversation_for_training(talk()) == [*whole[:-1], vocabulary.RETURN]
    everything = RenderConversationConfig(auto_drop_analysis=False)
    assert encoding.render_conversation(talk(), everything) == [
        token for one in talk() for token in encoding.render(one, RenderOptions(conversation_has_function_tools=True))
    ]


def test_an_empty_conversation(encoding: HarmonyEncoding) -> None:
    nothing = Conversation.from_messages([])
    assert encoding.render_conversation(nothing) == encoding.render_conversation_for_training(nothing) == []
    assert encoding.render_conversation_for_completion(nothing, Role.ASSISTANT) == [START, 173781]
    assert encoding.render_with_spans(nothing).spans == []


def test_pieces_are_encoded_by_themselves(encoding: HarmonyEncoding) -> None:
    parts = Message.from_role_and_contents(Role.USER, [TextContent("un believ"), TextContent(""), TextContent("able")])
    plain = encoding.encode
    assert encoding.render(parts) == [START, *plain("user"), MESSAGE, *plain("un believ"), *plain("able"), 200007]
    assert plain("un believ") + plain("able") != plain("un believable")
    named = message("user", name="alice", content_type="json")
    header = [START, *plain("user"), *plain(":alice"), *plain(" json"), MESSAGE]
    assert encoding.render(named)[: len(header)] == header


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("assistant<|channel|>commentary to=f.g <|constrain|>json", {"channel": "commentary", "recipient": "f.g"}),
        ("assistant to=f.g <|constrain|>json", {"recipient": "f.g"}),
        ("f.g<|channel|>commentary to=assistant <|constrain|>json", {"name": "f.g", "recipient": "assistant"}),
        ("user:al<|channel|>commentary to=f.g <|constrain|>json", {"name": "al", "recipient": "f.g"}),
        ("assistant to=f.g<|channel|>analysis <|constrain|>json", {"channel": "analysis", "recipient": "f.g"}),
    ],
)
def test_style_oss(written: str, fields: dict[str, Any], encoding: HarmonyEncoding) -> None:
    role = written.partition("<")[0].partition(" ")[0].partition(":")[0]
    role = "tool" if "." in role else role
    channel = "commentary" if "commentary" in written else None
    for content_type in ("json", "<|constrain|>json"):
        one = message(role, **{"channel": channel, **fields}, content_type=content_type)
        tokens = encoding.render(one, RenderOptions(style="oss"))
        assert encoding.decode(tokens).startswith(f"<|start|>{written}<|message|>Hi<|")
        assert tokens == encoding.render_conversation(conversation(one), OSS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SystemContent(model_identity=None, knowledge_cutoff=None, channel_config=None), "Reasoning: medium"),
        (SystemContent(reasoning_effort=None, channel_config=None, model_identity="M"), "M\nKnowledge cutoff: 2024-06"),
        (
            SystemContent(None, ReasoningEffort.LOW, None, None, ChannelConfig(["final"], False)),
            "Reasoning: low\n\n# Valid channels: final.",
        ),
        (SystemContent(None, ReasoningEffort.HIGH, None, None, ChannelConfig([], True), {}), "Reasoning: high"),
        (SystemContent(None, None, None, None, None), ""),
        (DeveloperContent(), ""),
        (DeveloperContent(instructions="", tools={}), "# Instructions\n\n"),
        (
            DeveloperContent(
                tools={
                    "z": ToolNamespaceConfig(name="named", description="one\r\ntwo\u2028still\n\nfour\r", tools=[]),
                    "a": ToolNamespaceConfig(
                        name="b", description="d\n", tools=[ToolDescription.new("f", ""), ToolDescription.new("g", "G")]
                    ),
                }
            ),
            "# Tools\n\n## b\n\n// d\nnamespace b {\n\ntype f = () => any;\n\n// G\ntype g = () => any;\n\n"
            "} // namespace b\n\n## named\n\none\ntwo\u2028still\n\nfour\r",
        ),
    ],
)
def test_sections(content: Any, expected: str, encoding: HarmonyEncoding) -> None:
    role = Role.SYSTEM if isinstance(content, SystemContent) else Role.DEVELOPER
    text = encoding.decode(encoding.render(Message.from_role_and_content(role, content)))
    assert text == f"<|start|>{role.value}<|message|>{expected}<|end|>"


def test_function_tools_are_told_of_in_the_system_message(encoding: HarmonyEncoding) -> None:
    told = "Calls to these tools must go to the commentary channel: 'functions'."
    system = Message.from_role_and_content(Role.SYSTEM, SystemContent.new())

    def says(tools: dict[str, ToolNamespaceConfig]) -> bool:
        developer = Message.from_role_and_content(Role.DEVELOPER, DeveloperContent(tools=tools))
        return told in encoding.decode(encoding.render_conversation(conversation(system, developer)))

    assert says({"functions": ToolNamespaceConfig(name="other", tools=[WEATHER])})
    assert not says({"functions": ToolNamespaceConfig(name="functions", tools=[])})
    assert not says({"other": ToolNamespaceConfig(name="functions", tools=[WEATHER])})
    assert told in encoding.decode(encoding.render(system, RenderOptions(conversation_has_function_tools=True)))
    assert told not in encoding.decode(encoding.render(system))


# --- what is dropped


def turns(*words: str) -> Conversation:
    """Messages by short names: u, s, and the assistant's a (analysis), f (final), c (commentary), t (a tool's)."""
    kinds = {
        "s": ("system", None),
        "u": ("user", None),
        "a": ("assistant", "analysis"),
        "c": ("assistant", "commentary"),
        "f": ("assistant", "final"),
    }
    made = []
    for number, word in enumerate(words):
        if word == "t":
            made.append(message("tool", str(number), name="browser.search", channel="analysis"))
        else:
            role, channel = kinds[word]
            made.append(message(role, str(number), channel=channel))
    return conversation(*made)


@pytest.mark.parametrize(
    ("words", "kept_by_render", "kept_by_drop_analysis"),
    [
        ("u a f", "0 2", "0 2"),
        ("u a f u a f", "0 2 3 4 5", "0 2 3 5"),
        ("u a f u a", "0 1 2 3 4", "0 2 3 4"),
        ("u a c", "0 1 2", "0 1 2"),
        ("u a t a f", "0 4", "0 4"),
        ("u a u a f", "0 2 4", "0 1 2 4"),  # the first turn was given up, and is not finished
        ("s u a f a", "0 1 2 3 4", "0 1 3 4"),
        ("u f a f", "0 1 2 3", "0 1 3"),
        ("u f", "0 1", "0 1"),
        ("", "", ""),
    ],
)
def test_which_analysis_is_dropped(
    words: str, kept_by_render: str, kept_by_drop_analysis: str, encoding: HarmonyEncoding
) -> None:
    whole = turns(*words.split())
    spans = encoding.render_with_spans(whole).spans
    assert " ".join(str(span.index) for span in spans) == kept_by_render
    before = whole.to_json()
    dropped = drop_analysis(whole)
    assert " ".join(one.content[0].text for one in dropped) == kept_by_drop_analysis
    assert all(any(one is other for other in whole) for one in dropped)
    assert whole.to_json() == before
    everything = encoding.render_with_spans(whole, RenderConversationConfig(auto_drop_analysis=False))
    assert len(everything.spans) == len(whole.messages)


# --- many at a time, spans


def test_many_at_a_time(encoding: HarmonyEncoding) -> None:
    good = [conversation(*talk().messages[:count]) for count in range(11)]
    bad = conversation(message("tool"))
    given: list[Any] = [*good, bad, None, *good * 10]
    for purpose in ("conversation", "completion", "training"):
        results = encoding.render_many(iter(given), purpose=purpose)
        assert len(results) == len(given)
        for one, result in zip(given, results, strict=True):
            if one is bad or one is None:
                assert isinstance(result, RenderError)
                assert result.code == ("nameless-tool" if one is bad else "wrong-type")
                assert result.__traceback__ is result.__context__ is result.__cause__ is None
            else:
                assert result == encoding.render_with_spans(one, purpose=purpose).tokens
    long = [conversation(message("user", f"{number} " + "many words " * 500)) for number in range(40)]
    long[20] = bad
    results = encoding.render_many(long)
    assert [isinstance(result, RenderError) for result in results] == [number == 20 for number in range(40)]
    assert results[:20] + results[21:] == [encoding.render_conversation(one) for one in long[:20] + long[21:]]
    assert encoding.render_many([]) == []
    assert encoding.render_many([bad])[0].code == "nameless-tool"
    too_long = encoding.render_many([good[5]], RenderConversationConfig(max_tokens=3))[0]
    assert isinstance(too_long, RenderError)


def test_many_survive_a_deleted_field(encoding: HarmonyEncoding) -> None:
    without = talk()
    del without.messages[3].channel
    results = encoding.render_many([talk(), without, talk()])
    assert [isinstance(result, RenderError) for result in results] == [False, True, False]
    assert results[1].code == "cannot-render"


class Interrupting(list[Any]):
    """Content that interrupts the main thread by a signal, when it is looked at for the first time."""

    def __init__(self, number: int) -> None:
        super().__init__([TextContent("a")])
        self.numbers = [number]

    def __iter__(self) -> Any:
        main = threading.main_thread().ident
        assert main is not None
        while self.numbers:
            signal.pthread_kill(main, self.numbers.pop())
        return super().__iter__()


class OutOfTimeError(Exception):
    pass


@pytest.mark.parametrize("error", [TimeoutError, KeyboardInterrupt, OutOfTimeError])
@pytest.mark.parametrize("in_threads", [False, True])
def test_what_a_signal_raises_comes_out_of_many(
    in_threads: bool, error: type[BaseException], encoding: HarmonyEncoding
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    long = [conversation(message("user", f"{number} " + "many words " * 500)) for number in range(200)]
    long[100 if in_threads else 5].messages[0].content = Interrupting(signal.SIGUSR1)
    threads = threading.active_count()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(error):
            encoding.render_many(long)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert threading.active_count() == threads


def test_spans_make_a_loss_mask(encoding: HarmonyEncoding) -> None:
    rendered = encoding.render_with_spans(talk(), purpose="training")
    assert rendered.tokens == encoding.render_conversation_for_training(talk())
    assert [span.index for span in rendered.spans] == [0, 1, 2, 4, 5, 7, 8, 9, 10]
    assert [span.end for span in rendered.spans] == ["end"] * 3 + ["call"] + ["end"] * 4 + ["return"]
    mask = [
        span.role == "assistant" and span.channel in ("commentary", "final")
        for span in rendered.spans
        for _ in range(span.start, span.stop + 1)
    ]
    assert len(mask) == len(rendered.tokens)
    learned = [token for token, counts in zip(rendered.tokens, mask, strict=True) if counts]
    assert encoding.decode(learned) == (
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>"
        '{"city": "Oslo"}<|call|><|start|>assistant<|channel|>final<|message|>Regen.<|end|>'
        "<|start|>assistant<|channel|>final<|message|>Gern.<|return|>"
    )
    for span in rendered.spans:
        assert rendered.tokens[span.start] == START
        assert rendered.tokens[span.content_start - 1] == MESSAGE
        assert vocabulary.SPECIAL_TEXTS[rendered.tokens[span.stop]] == f"<|{span.end}|>"
