"""Schemas whose objects stand in several places: each level of nesting doubles what is written of them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from harmony import (
    Conversation,
    HarmonyEncoding,
    Message,
    RenderConversationConfig,
    RenderError,
    Role,
    SystemContent,
    ToolDescription,
    ToolNamespaceConfig,
    lint,
)
from harmony.messages.record import MOST_REPEATED, check_finite, check_repeats
from harmony.rendering.typescript import TooLong, Writer
from harmony.runtime.compiled import COMPILED
from helpers.sizes import examples
from helpers.talk import conversation, developer, message

LEVELS = 60  # nobody could wait for what is not refused, or count to it


def properties(inner: Any) -> Any:
    return {"type": "object", "properties": {"x": inner, "y": inner}}


# Each holds what is inside it twice; most are never written as text.
SHAPES: dict[str, Callable[[Any], Any]] = {
    "properties": properties,
    "oneOf": lambda inner: {"oneOf": [inner, inner]},
    "variants of a property": lambda inner: {"type": "object", "properties": {"x": {"oneOf": [inner, inner]}}},
    "arrays": lambda inner: {"type": "array", "items": {"type": "object", "properties": {"a": inner, "b": inner}}},
    "descriptions": lambda inner: {**properties(inner), "description": "d" * 1000},
    "defaults": lambda inner: {"type": "object", "default": [inner, inner]},
    "enums": lambda inner: {"type": "number", "enum": [inner, inner]},
    "definitions": lambda inner: {"type": "object", "$defs": {"a": inner, "b": inner}},
    "tuples": lambda inner: {"type": "object", "x": (inner, inner)},
}


def repeated(shape: Callable[[Any], Any], levels: int = LEVELS) -> dict[str, Any]:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = shape(schema)
    found: dict[str, Any] = schema
    return found


def asking(schema: dict[str, Any]) -> Conversation:
    return conversation(
        message("user"),
        developer(ToolDescription.new("f", "d", schema)),
        message("assistant", "{}", channel="commentary", recipient="functions.f"),
    )


@pytest.fixture(params=SHAPES)
def given(request: pytest.FixtureRequest) -> Conversation:
    return asking(repeated(SHAPES[request.param]))


def test_rendering_refuses_at_once(given: Conversation, encoding: HarmonyEncoding) -> None:
    tries: list[Callable[[], object]] = [
        lambda: encoding.render_conversation(given),
        lambda: encoding.render_with_spans(given),
        lambda: encoding.count_tokens(given),  # which has no limit of tokens
        lambda: encoding.render(given.messages[1]),
    ]
    for render in tries:
        with pytest.raises(RenderError, match="Expected at most 1,048,576 values that are written again") as error:
            render()
        assert error.value.code == "unwritable-content"
        assert ".content[0].tools.functions.tools[0].parameters." in str(error.value)
    (many,) = encoding.render_many([given])
    assert isinstance(many, RenderError)
    assert (many.code, many.position) == ("unwritable-content", 1)


def test_the_place_is_told(encoding: HarmonyEncoding) -> None:
    given = asking({"type": "object", "properties": {"small": {"type": "string"}, "large": repeated(properties)}})
    with pytest.raises(RenderError) as error:
        encoding.render_conversation(given)
    path = "messages[1].content[0].tools.functions.tools[0].parameters.properties.large"
    assert str(error.value).endswith(f": use fewer objects in several places - at `{path}`")


@pytest.mark.parametrize(
    "write",
    [
        lambda given: given.to_json(),
        lambda given: given.to_msgpack(),
        lambda given: given.to_dict(),
        lambda given: given.model_dump(),
        lambda given: given.model_dump(mode="json"),
        lambda given: given.messages[1].to_json(),
        lambda given: given.messages[1].content[0].to_dict(),
        lambda given: given.messages[1].content[0].tools["functions"].tools[0].model_dump(),
    ],
)
def test_export_refuses_at_once(write: Callable[[Conversation], object], given: Conversation) -> None:
    with pytest.raises(ValueError, match="Expected at most 1,048,576 values that are written again"):
        write(given)


def test_lint_says_that_the_schema_is_too_much(given: Conversation) -> None:
    (found,) = lint(given, select=["unusable-schema", "arguments-break-schema"])
    assert (found.code, found.position) == ("unusable-schema", 1)
    assert found.message.endswith("it takes too many steps")


def test_what_writes_nothing_takes_them(given: Conversation) -> None:
    again = pickle.loads(pickle.dumps(copy.deepcopy(given)))
    part: Any = given.messages[1].content[0]
    function = {"name": "f", "description": "d", "parameters": part.tools["functions"].tools[0].parameters}
    tools = {"functions": {"name": "functions", "tools": [function]}}
    data = {"role": "developer", "content": [{"type": "developer_content", "tools": tools}]}
    for message_of_tools in (again.messages[1], Message.from_dict(data), Message.model_validate(data)):
        assert message_of_tools.author.role == Role.DEVELOPER


def test_what_contains_itself_is_refused(encoding: HarmonyEncoding) -> None:
    endless: dict[str, Any] = {"type": "object"}
    endless["properties"] = {"x": endless, "y": [endless, endless]}
    given = asking(endless)
    with pytest.raises(RenderError, match="the data is nested too deeply, or contains itself - at `messages"):
        encoding.render_conversation(given)
    for write in (Conversation.to_json, Conversation.to_msgpack, Conversation.to_dict, Conversation.model_dump):
        with pytest.raises(ValueError, match="the data is nested too deeply, or contains itself"):
            write(given)
    (found,) = lint(given, select=["unusable-schema"])
    assert found.message.endswith("it goes too deep")


def test_a_schema_set_in_the_place_of_a_record(encoding: HarmonyEncoding) -> None:
    given = asking({})
    part: Any = given.messages[1].content[0]
    part.tools = {"functions": {"name": "functions", "tools": [{"name": "f", "parameters": repeated(properties)}]}}
    with pytest.raises(RenderError, match="values that are written again"):
        encoding.render_conversation(given)
    part.tools = repeated(properties)
    with pytest.raises(RenderError, match="values that are written again"):
        encoding.render_conversation(given)


def test_tools_of_the_system_are_held_to_it(encoding: HarmonyEncoding) -> None:
    tool = ToolDescription.new("f", "d", repeated(properties))
    part = SystemContent.new().with_tools(ToolNamespaceConfig(name="browser", tools=[tool]))
    with pytest.raises(RenderError, match="values that are written again"):
        encoding.render(Message.from_role_and_content(Role.SYSTEM, part))


def test_objects_in_a_few_places_are_written_in_each(encoding: HarmonyEncoding) -> None:
    shared = asking(repeated(properties, 8))
    apart = Conversation.from_json(shared.to_json())
    assert encoding.render_conversation(shared) == encoding.render_conversation(apart)
    assert Conversation.from_dict(shared.to_dict()) == apart
    assert lint(shared, select=["unusable-schema"]) == []


def test_only_what_stands_in_several_places_counts() -> None:
    limit = 20_000
    check_repeats([{"a": number} for number in range(100_000)], limit)  # these take memory of their own
    inner = [[] for _ in range(1_000)]
    check_repeats([inner] * 21, limit)  # the first is no repetition
    with pytest.raises(ValueError, match="20,000 values that are written again"):
        check_repeats([inner] * 22, limit)


def test_looking_at_repetition_takes_no_memory_for_it() -> None:
    with pytest.raises(ValueError, match=f"{MOST_REPEATED:,}"):
        check_repeats([[None] * 1_000_000] * 9_000)  # 72 GB of references, if they were all listed


def test_long_texts_count_by_their_length() -> None:
    text = "x" * 1_280_000
    check_repeats([text] * 100)
    with pytest.raises(ValueError, match=f"{MOST_REPEATED:,}"):
        check_repeats([[text, *range(100)]] * 20_000)
    with pytest.raises(ValueError, match=f"{MOST_REPEATED:,}"):
        check_repeats([{text: None}] * 20_000)


def test_classes_of_ones_own_are_counted_like_their_base(encoding: HarmonyEncoding) -> None:
    class Mine(dict[str, Any]):
        pass

    with pytest.raises(RenderError, match="values that are written again"):
        encoding.render_conversation(asking(repeated(lambda inner: Mine(properties(inner)))))
    schema = Mine(type="object", properties=Mine(x=Mine(type="string")))
    plain = msgspec.json.decode(msgspec.json.encode(dict(schema, properties={"x": {"type": "string"}})))
    assert encoding.render_conversation(asking(schema)) == encoding.render_conversation(asking(plain))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("x" * 300_000) | st.just({1: 2}),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


@examples(300)
@hypothesis.given(values=st.lists(VALUES), times=st.sampled_from([1, 100, 2000]))
def test_both_engines_agree_on_what_is_small(values: list[Any], times: int) -> None:
    data = [values] * times
    names = ["harmony.messages.repeats_py", *(["harmony.messages.repeats_c"] if COMPILED else [])]
    found = {import_module(name).is_small(data) for name in names}
    assert len(found) == 1
    if found == {True}:
        check_repeats(data, 10_000)
        check_finite(data, b"null")
        assert len(msgspec.json.encode(data)) < 10_000_000


def test_small_data_ends_at_a_number_of_values() -> None:
    for name in ["harmony.messages.repeats_py", *(["harmony.messages.repeats_c"] if COMPILED else [])]:
        is_small = import_module(name).is_small
        assert is_small([[None] * 9_999])
        assert not is_small([[None] * 10_000])
        assert not is_small([[float("nan")]])
        itself: list[Any] = []
        itself.append(itself)
        assert not is_small(itself)


# --- what is written


def nested(levels: int, width: int) -> dict[str, Any]:
    """A schema without repetition, with many properties far inside, each of which is indented by all around it."""
    schema: dict[str, Any] = {"type": "object", "properties": {f"{number}": {} for number in range(width)}}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_types_are_written_up_to_a_length() -> None:
    schema = nested(40, 500)
    text = Writer().text(schema)
    assert len(text) > 10 * len(msgspec.json.encode(schema))
    assert Writer(len(text)).text(schema) == text
    with pytest.raises(TooLong):
        Writer(len(text) - 1).text(schema)
    both = Writer(2 * len(text) - 1)  # for all of a message's tools
    assert both.text(schema) == text
    with pytest.raises(TooLong):
        both.text(schema)


def test_rendering_does_not_write_what_cannot_fit(encoding: HarmonyEncoding) -> None:
    given = asking(nested(80, 10_000))
    misses = encoding.cache_info().misses
    with pytest.raises(RenderError) as error:
        encoding.render_conversation(given, RenderConversationConfig(max_tokens=1_000))
    assert str(error.value) == (
        "expected at most 1,000 tokens, found at least 1,001; the largest message has at least 1,001 tokens"
        " - at `messages[1].content[0]`"
    )
    assert encoding.cache_info().misses <= misses + 4
