"""The rules of lint: for each, conversations that trip it, and ones that just do not."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from typing import Any

import pytest

from harmony import (
    Conversation,
    Diagnostic,
    RenderConversationConfig,
    TextContent,
    ToolDescription,
    drop_analysis,
    load_harmony_encoding,
)
from harmony.checking.rules import RULES, lint
from harmony.errors import TABLE
from helpers.calls import DIAMOND, FINAL, FUNCTIONS, TOOLS, USER, at, call, calling, channels, declaring, result
from helpers.paths import ROOT
from helpers.talk import assigned, conversation, developer, message, system, talk

ANALYSIS = message("assistant", channel="analysis")


CHANNELS_TEXT = "# Valid channels: analysis, final. Channel must be included for every message."
TOOLS_TEXT = (
    "# Tools\n\n## python\n\nRuns.\n\n## functions\n\nnamespace functions {\n\n// Says\ntype f = () => any;\n\n}"
)
FORMATS_TEXT = f"{TOOLS_TEXT}\n\n# Response Formats\n\n## answer\n\n{{}}"
ONE_OF_ANOTHER_DRAFT = {**DIAMOND, "d0": {"$schema": "http://json-schema.org/draft-07/schema#", **DIAMOND["d0"]}}

#: The rule, a conversation, and where it trips.
CASES: list[tuple[str, Conversation, list[int]]] = [
    ("unknown-channel", conversation(system(), USER, message("assistant", channel="thoughts")), [2]),
    ("unknown-channel", conversation(system(), message("user", channel="thoughts"), FINAL), [1]),
    ("unknown-channel", conversation(message("system", CHANNELS_TEXT), USER, ANALYSIS, call("x.y"), FINAL), [3]),
    ("unknown-channel", conversation(channels(["a.b", "c"]), message("assistant", channel="a.b")), []),
    ("unknown-channel", conversation(system(), USER, ANALYSIS, call(), FINAL, message("assistant")), []),
    ("unknown-channel", conversation(USER, message("assistant", channel="thoughts")), []),
    ("unknown-channel", conversation(system(channel_config=None), message("assistant", channel="thoughts")), []),
    ("unknown-channel", conversation(channels([]), USER, message("assistant", channel="thoughts")), []),
    ("channel-required", conversation(system(), USER, message("assistant")), [2]),
    ("channel-required", conversation(message("system", CHANNELS_TEXT), message("assistant")), [1]),
    ("channel-required", conversation(system(), USER, result(), message("tool", name="x.y"), FINAL), []),
    ("channel-required", conversation(channels(["final"]), USER, message("assistant")), []),
    ("channel-required", conversation(channels([], required=True), USER, message("assistant")), []),
    ("channel-required", conversation(USER, message("assistant")), []),
    ("call-off-commentary", conversation(USER, call(channel="analysis"), call(channel=None)), [1, 2]),
    ("call-off-commentary", conversation(USER, call(), call("python", channel="analysis"), result()), []),
    ("call-off-commentary", conversation(message("user", recipient="functions.f", channel="final")), []),
    ("undeclared-tool", conversation(USER, call(), call("python"), call("browser.search")), [1, 2, 3]),
    ("undeclared-tool", conversation(message("developer", FORMATS_TEXT), call("answer"), call("functions.f")), [1]),
    (
        "undeclared-tool",
        conversation(TOOLS, FUNCTIONS, call("browser"), call("functions"), call("python.run")),
        [2, 3, 4],
    ),
    ("undeclared-tool", conversation(FUNCTIONS, call("functions.get"), call("get_weather")), [1, 2]),
    ("undeclared-tool", conversation(message("developer", "type f = () => any;\n## python"), call("python")), [1]),
    (
        "undeclared-tool",
        conversation(TOOLS, FUNCTIONS, call(), call("python"), call("browser.search"), call("functions.now")),
        [],
    ),
    ("undeclared-tool", conversation(*(call(name) for name in ("all", "user", "assistant", "user:alice"))), []),
    ("undeclared-tool", conversation(message("user", recipient="x.y"), result("x.y")), []),
    ("undeclared-tool", conversation(message("developer", TOOLS_TEXT), call("functions.f"), call("python")), []),
    ("undeclared-tool", conversation(message("developer", TOOLS_TEXT), call("functions"), call("f")), [1, 2]),
    *(
        ("arguments-not-json", conversation(call("x.y", text, content_type=kind)), [0])
        for kind in ("json", "<|constrain|>json")
        for text in ('{"city": Oslo}', "", "{", "NaN", "[-Infinity]", "{} {}", "'a'", '"\n"', "[" * 100_000, "9" * 5000)
    ),
    ("arguments-not-json", conversation(call(text="[", content_type="json").adding_content("]")), []),
    ("arguments-not-json", conversation(call(text='{"a": 1e999, "a": "\\ud800"}', content_type="json")), []),
    ("arguments-not-json", conversation(call(text="city", content_type="code"), call(text="city")), []),
    ("arguments-not-json", conversation(message("assistant", "{", channel="final", content_type="json")), []),
    *(
        ("arguments-break-schema", conversation(TOOLS, FUNCTIONS, given), [2])
        for given in (
            call(text='{"city": 5}', content_type="json"),
            call(text='{"city": 5}', content_type="code"),
            call(text='{"city": "Oslo", "city": 5}'),
            call(text="{}"),
            call(text="Oslo"),
            call("browser.search", '{"topn": 10}', content_type="code", channel="analysis"),
        )
    ),
    (
        "arguments-break-schema",
        calling('{"a": 5}', {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": False}}),
        [2],
    ),
    ("arguments-break-schema", calling("5", {"$ref": "https://json-schema.org/draft/2020-12/schema"}), [2]),
    (
        "arguments-break-schema",
        calling("[5]", {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}),
        [2],
    ),
    ("arguments-break-schema", conversation(FUNCTIONS, call(), call(text="{", content_type="json")), []),
    ("arguments-break-schema", conversation(FUNCTIONS, call("functions.now", "5"), call("functions.later", "5")), []),
    ("arguments-break-schema", calling('{"a": 5}', {"unevaluatedProperties": False, "format": "date"}), []),
    *(
        ("unusable-schema", calling("{}", schema), [0])
        for schema in (
            {"type": "any"},
            {"required": True},
            {"items": [{}]},
            {"$schema": 5},
            {"enum": {1, 2}},
            {"minimum": float("nan")},
        )
    ),
    *(
        ("unusable-schema", calling('{"a": "b"}', schema), [2])
        for schema in (
            {"$ref": "#"},
            {"allOf": [{"$ref": "#"}] * 2},
            {"$ref": "#/nowhere"},
            {"$ref": "#nowhere"},
            {"$ref": "http://localhost:9/schema.json"},
            {"$id": "http://localhost:9/", "$ref": "schema.json"},
            {"$ref": "file:///etc/passwd"},
            {"properties": {"a": {"pattern": "\\p{L}"}}},
            {"$ref": "#/$defs/d0", "$defs": DIAMOND},
            {"$ref": "#/$defs/d0", "$defs": ONE_OF_ANOTHER_DRAFT},
            {"$ref": "#/$defs/d0", "$defs": DIAMOND, "$schema": "http://json-schema.org/draft-04/schema#"},
        )
    ),
    ("unusable-schema", conversation(developer(ToolDescription.new("f", "d", {"type": "any"})), call()), [0]),
    ("unusable-schema", declaring({"properties": {"a": {"type": "any"}}}), [0]),
    ("unusable-schema", declaring({"$ref": "#/nowhere"}), []),  # found where it is called
    (
        "unusable-schema",
        calling('{"a": 5}', {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}),
        [],
    ),
    ("unusable-schema", calling('{"child": {}}', {"properties": {"child": {"$ref": "#"}}}), []),
    *(
        ("unknown-type", declaring(schema), [0] * number)
        for schema, number in (
            ({"type": "OBJECT"}, 1),
            ({"properties": {"a": {"type": "float"}, "b": {"items": {"type": ["list", "dict", "null"]}}}}, 3),
            ({"$defs": {"x": {"anyOf": [{"type": "any"}]}}}, 1),
            ({"type": ["object", "null"], "properties": {"type": {"type": "string"}}}, 0),
            ({"enum": [{"type": "float"}], "default": {"type": "float"}, "type": 5}, 0),
        )
    ),
    *(
        ("schema-becomes-any", declaring({"type": "object", "properties": {"a": schema}}), positions)
        for positions, schemas in (
            (
                [0],
                [
                    {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    {"$ref": "#/$defs/x"},
                    {"const": 5},
                    {"enum": ["a"]},
                    {"properties": {"b": True}},
                    {"type": "null"},
                    {"type": ["object", "null"]},
                    {"type": "array", "items": {"allOf": [{"type": "string"}]}},
                    {"oneOf": [{"type": "string"}, {"not": {}}]},
                    False,
                ],
            ),
            (
                [],
                [{"type": "string"}, {}, True, {"description": "Any.", "nullable": True}, {"type": ["string", "null"]}],
            ),
            ([], [{"type": "float"}, {"type": "array"}, {"type": "object"}, {"oneOf": [{"type": "string"}]}]),
        )
        for schema in schemas
    ),
    *(
        ("unwritable-tool", conversation(developer(ToolDescription.new(name, "d"))), [0])
        for name in ("get weather", "", "a<b", "a..b", "a.", "f\u200b", '"f"')
    ),
    ("unwritable-tool", conversation(developer(ToolDescription.new("get-weather.größe", "d")), TOOLS), []),
    ("result-without-call", conversation(USER, result()), [1]),
    ("result-without-call", conversation(USER, call("python"), result("browser.search"), result("python")), [2]),
    ("result-without-call", conversation(USER, call(), result(), result()), [3]),
    ("result-without-call", conversation(USER, call(), USER, result()), [3]),
    ("result-without-call", conversation(USER, call(), result(None)), [2]),
    ("result-without-call", conversation(USER, call("browser.search"), result("browser")), [2]),
    ("result-without-call", conversation(USER, message("assistant", recipient="user"), result("user")), [2]),
    (
        "result-without-call",
        conversation(USER, call(), call("python"), call(), result("python"), result(), result()),
        [],
    ),
    ("result-without-call", conversation(USER, call(), ANALYSIS, result(), call()), []),
    *(
        ("final-with-recipient", conversation(USER, message("assistant", channel="final", recipient=name)), [1])
        for name in ("user", "all", "functions.f")
    ),
    ("final-with-recipient", conversation(USER, call(), FINAL, message("user", channel="final", recipient="all")), []),
    ("wrong-order", conversation(system(), system(), USER), [1]),
    ("wrong-order", conversation(developer(), system(), USER, system()), [1, 3]),
    ("wrong-order", conversation(system(), USER, developer(), FINAL), [2]),
    ("wrong-order", conversation(system(), FINAL, ANALYSIS, USER, FINAL), [1]),
    ("wrong-order", conversation(result(), developer()), [0, 1]),
    ("wrong-order", conversation(system(), developer(), developer(), USER, USER, call(), result(), FINAL, USER), []),
    ("wrong-order", conversation(developer()), []),
    ("wrong-order", conversation(USER, FINAL), []),
    ("after-final", conversation(USER, FINAL, ANALYSIS, call(), result()), [2, 3, 4]),
    ("after-final", conversation(USER, FINAL, ANALYSIS, USER, FINAL), [2]),
    ("after-final", conversation(USER, ANALYSIS, FINAL, USER, ANALYSIS, call(), result()), []),
    ("after-final", conversation(USER, FINAL, ANALYSIS, FINAL, system()), []),
    ("leftover-analysis", conversation(USER, ANALYSIS, FINAL, USER), [1]),
    (
        "leftover-analysis",
        conversation(
            USER, call("python", channel="analysis"), message("tool", name="python", channel="analysis"), FINAL, USER
        ),
        [1, 2],
    ),
    ("leftover-analysis", conversation(USER, FINAL, ANALYSIS, FINAL, USER, FINAL), [2]),
    ("leftover-analysis", conversation(USER, ANALYSIS, FINAL), []),
    ("leftover-analysis", conversation(USER, ANALYSIS, USER, ANALYSIS, FINAL), []),
    ("leftover-analysis", conversation(USER, FINAL, ANALYSIS, USER), []),
]


@pytest.mark.parametrize(("code", "given", "positions"), CASES)
def test_a_rule_trips_where_it_should_and_only_there(code: str, given: Conversation, positions: list[int]) -> None:
    before = copy.deepcopy(given)
    assert at(code, given) == positions
    assert given == before


def test_every_rule_is_tried_both_ways() -> None:
    tried = Counter((code, bool(positions)) for code, _, positions in CASES)
    assert set(tried) == {(code, trips) for code in RULES for trips in (True, False)}


@pytest.mark.parametrize("code", RULES)
def test_a_rule_has_a_code_of_its_own_and_says_what_trips_it(code: str) -> None:
    assert all(code not in TABLE[family] for family in TABLE if family != "lint")
    rule = RULES[code]
    assert rule.code == code
    for text in (rule.sentence, rule.meaning, rule.trips):
        assert text.endswith(".")
    assert rule.meaning.startswith(rule.sentence)
    assert rule.sentence.count(". ") == 0
    assert f"Trips: {rule.trips}" in " ".join((rule.check.__doc__ or "").split())
    assert "Trips" not in rule.meaning


@pytest.mark.parametrize("code", [code for code, rule in RULES.items() if rule.needs == "completion"])
def test_a_rule_that_needs_a_completion_finds_nothing_in_the_end_of_a_clean_conversation(code: str) -> None:
    clean = [drop_analysis(talk()), *(given for _, given, _ in CASES if at(code, given) == [])]
    ends = [given.messages[begin:] for given in clean for begin in range(len(given.messages))]
    assert len(ends) > 100
    assert [end for end in ends if at(code, conversation(*end))] == []


# --- what is found


def test_what_is_found_in_words() -> None:
    given = conversation(
        TOOLS,
        FUNCTIONS,
        USER,
        message("assistant", channel="thoughts"),
        call(text='{"city": 5}', channel="analysis", content_type="<|constrain|>json"),
        call(text="{", content_type="json"),
        result("python"),
        message("assistant", recipient="user", channel="final"),
        call("magic"),
        FUNCTIONS,
    )
    assert [(one.position, one.code, one.message) for one in lint(given)] == [
        (3, "unknown-channel", "expected one of the channels `analysis`, `commentary`, `final`, found `thoughts`"),
        (
            4,
            "arguments-break-schema",
            'expected arguments of `functions.get_weather` with `"type": "string"` at `$.city`, found `5`',
        ),
        (
            4,
            "call-off-commentary",
            "expected the channel `commentary` for a call to `functions.get_weather`, found `analysis`",
        ),
        (
            5,
            "arguments-not-json",
            "expected JSON, as the content type `json` says, found `{` "
            "(Expecting property name enclosed in double quotes at character 1)",
        ),
        (6, "result-without-call", "expected a result of `functions.get_weather`, found one of `python`"),
        (7, "final-with-recipient", "expected no recipient on the channel `final`, found `user`"),
        (8, "after-final", "expected the turn to end with the answer at message 7, found more of it"),
        (8, "undeclared-tool", "expected a tool that a system or developer message declares, found a call to `magic`"),
        (9, "wrong-order", "expected the developer's messages before the first turn, found one after it began"),
    ]


def test_what_is_found_in_the_schemas_of_declared_tools_in_words() -> None:
    optional = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    street = {"type": "object", "properties": {"lines": {"type": "array", "items": {"type": "text"}}}}
    schema = {"type": "object", "properties": {"city": optional, "street": street}}
    given = conversation(developer(ToolDescription.new("get weather", "d", schema)), USER)
    assert [one.message for one in lint(given)] == [
        "expected parameters of `functions.get weather` that the reference style has types for, found some that become "
        '`any`: the property `city` (`anyOf`); `schemas="full"` writes them',
        "expected a type of JSON schema as `type` of the property `street.lines[]` in the schema of "
        "`functions.get weather`, found `text`",
        "expected `type` of the property `street.lines[]` in the schema of `functions.get weather` with "
        '`"anyOf": [{"$ref": "#/$defs/simpleTypes"}, {"type": "array"…`, found `"text"`',
        "expected a tool's name that a header can hold, found `functions.get weather`: expected a name without white "
        'space, U+200B or any of `< > { } "`, found `functions.get weather`',
    ]


def test_null_fits_what_is_nullable_as_in_rendering() -> None:
    nullable = {"type": "string", "enum": ["a"], "nullable": True}
    schema = {"type": "object", "properties": {"a": nullable, "b": {"type": "string", "nullable": False}}}
    assert at("arguments-break-schema", calling('{"a": null}', schema)) == []
    assert at("arguments-break-schema", calling('{"a": "b"}', schema)) == [2]
    assert at("arguments-break-schema", calling('{"b": null}', schema)) == [2]


def test_results_are_in_the_order_of_messages_then_of_codes() -> None:
    for code in (None, list(RULES), list(RULES)[::-1]):
        given = conversation(system(), call(channel="x"), call(), FINAL, ANALYSIS, USER, result(), system())
        found = [(diagnostic.position, diagnostic.code) for diagnostic in lint(given, select=code)]
        assert found == sorted(found)
        assert len(found) == len(set(found)) > 6
        assert all(isinstance(diagnostic, Diagnostic) for diagnostic in lint(given))


def test_clean_conversations_are_clean() -> None:
    assert lint(conversation()) == []
    assert lint(drop_analysis(talk())) == []
    training = conversation(
        TOOLS,
        FUNCTIONS,
        message("user", "What is the weather in Oslo and in Bergen?"),
        message("assistant", "I look it up.", channel="analysis"),
        message("assistant", "Let me see.", channel="commentary"),
        call(content_type="<|constrain|>json"),
        call(text='{"city": "Bergen"}', content_type="json"),
        result(text='{"sky": "rain"}'),
        result(text='{"sky": "rain"}'),
        call("python", "print(1 + 1)", channel="analysis", content_type="code"),
        message("tool", "2", name="python", channel="analysis", recipient="assistant"),
        message("assistant", "Rain in both.", channel="final"),
    )
    assert lint(training) == []


def test_a_parsed_conversation_says_the_same_in_text() -> None:
    encoding = load_harmony_encoding("HarmonyGptOss")
    given = conversation(
        TOOLS,
        FUNCTIONS,
        USER,
        call(),
        result(),
        call("functions.later"),
        call("browser.search"),
        call("browser"),
        call("python", channel="thoughts"),
        FINAL,
    )
    tokens = encoding.render_conversation(given, RenderConversationConfig(auto_drop_analysis=False))
    parsed = Conversation.from_messages(encoding.parse(tokens).messages)
    assert type(parsed.messages[0].content[0]) is TextContent
    without_schema = {"ignore": ["arguments-break-schema"]}
    assert lint(parsed, **without_schema) == lint(given, **without_schema) != []
    assert lint(parsed) == lint(parsed, **without_schema)  # types in TypeScript are no schema


def test_leftover_analysis_is_what_drop_analysis_leaves_out_before_the_last_turn() -> None:
    kinds = [USER, ANALYSIS, FINAL, message("tool", name="x.y", channel="analysis"), call("python", channel="analysis")]
    for number in range(len(kinds) ** 5):
        given = conversation(*(copy.copy(kinds[number // len(kinds) ** place % len(kinds)]) for place in range(5)))
        kept = set(map(id, drop_analysis(given).messages))
        last = max((place for place, one in enumerate(given) if one.author.role == "user"), default=0)
        gone = [place for place, one in enumerate(given) if id(one) not in kept and place < last]
        assert at("leftover-analysis", given) == gone


# --- which rules


def test_select_and_ignore() -> None:
    given = conversation(USER, FINAL, call("magic"))
    assert {one.code for one in lint(given)} == {"after-final", "undeclared-tool"}
    assert [one.code for one in lint(given, select={"after-final"})] == ["after-final"]
    assert [one.code for one in lint(given, select=iter(["after-final"]))] == ["after-final"]
    assert [one.code for one in lint(given, ignore=("after-final",))] == ["undeclared-tool"]
    assert lint(given, select=["after-final"], ignore=["after-final"]) == []
    assert lint(given, select=[]) == []
    assert lint(given, select=None, ignore=[]) == lint(given)


@pytest.mark.parametrize("name", ["select", "ignore"])
def test_wrong_codes(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected codes out of {', '.join(RULES)}, got `x` - at `{name}`"):
        lint(talk(), **{name: ["after-final", "x"]})
    for wrong, found in (("after-final", "str"), (5, "int")):
        with pytest.raises(TypeError, match=f"Expected a collection of codes, got `{found}` - at `{name}`"):
            lint(talk(), **{name: wrong})
    with pytest.raises(TypeError, match=f"Expected `str`, got `list` - at `{name}`"):
        lint(talk(), **{name: [["after-final"]]})


@pytest.mark.parametrize("wrong", ["text", None, [USER], USER])
def test_wrong_conversations(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"^Expected `Conversation`, got `{type(wrong).__name__}` - at `conversation`$"):
        lint(wrong)
    given = assigned(conversation(), "messages", wrong)
    if not isinstance(wrong, list):
        with pytest.raises(TypeError, match=r"^Expected `list`, got `.+` - at `conversation\.messages`$"):
            lint(given)


def test_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    given = calling('{"a": 5}', {"type": "object", "properties": {"a": {"type": "string"}}}, channel="analysis")
    assert len(lint(given)) == 2
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert [one.code for one in lint(given)] == ["call-off-commentary"]
    for code in ("arguments-break-schema", "unusable-schema"):
        with pytest.raises(ImportError, match="pip install jsonschema, or the extra `lint` of harmony-codec"):
            lint(given, select=[code])
        assert lint(given, select=[code], ignore=[code]) == []


def test_the_guide_names_every_rule() -> None:
    guide = (ROOT / "docs/validation.md").read_text(encoding="utf-8")
    assert all(f"`{code}`" in guide for code in RULES)
