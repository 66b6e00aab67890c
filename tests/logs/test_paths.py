"""Records along paths: every way to read one takes the same out of it, whatever it holds and however it is written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harmony.logs import quick_py, reading, walk_py
from harmony.logs.json_py import Ids
from harmony.logs.paths import Plan, steps_of, take_out
from harmony.logs.reading import RecordReader, plan_of
from harmony.logs.records import FieldTaken, Layout, Names
from harmony.runtime.compiled import COMPILED
from helpers.sizes import examples

needs_both = pytest.mark.skipif(not COMPILED, reason="the compiled modules are not there")

IDS = "[200005,17196,200008,12194,200002]"
TEXT = json.dumps("<|channel|>final<|message|>Hi<|return|>")
FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

spaces = st.sampled_from(["", "", "", " ", "\t", "\r", "  "])
numbers = st.sampled_from(
    ["0", "-0", "12", "-1.5e+7", "1E400", "0.10", "1e-3", "01", "1.", "-", ".5", "+1", "1e", "12x"]
)
strings = st.sampled_from(
    [
        *(
            '""',
            '"a"',
            '"stop"',
            '"\\u00e9\\n\\/"',
            '"\\ud83d\\ude00"',
            '"é🤷\x7f"',
            '"eight or more letters \\" here"',
        ),
        *('"\\ud800"', '"\\udc00\\ud800"', '"\\ufffd"', '"\\u12"', '"\\x"', '"\x01"', '"a', '"\\'),
    ]
)
words = st.sampled_from(["null", "true", "false", "nul", "True", "NaN", ""])
lists_of_ids = st.sampled_from(
    [IDS, IDS, IDS, "[]", "[ ]", "[-1]", "[4294967296]", "[1,]", "[1,,2]", '["1"]', "[1 , 2]"]
)
completions = st.one_of(lists_of_ids, lists_of_ids, st.just(TEXT))
names = st.sampled_from(
    ["a", "b", "c", "tokens", "text", "role", "error", "completion_index", "a.b", "long name one", "long name two", "é"]
)
leaves = st.one_of(completions, completions, completions, strings, numbers, words)


@st.composite
def objects(draw: st.DrawFn, inside: st.SearchStrategy[str]) -> str:
    """An object, as it may be written; a name may stand twice."""
    members = draw(st.lists(st.tuples(names, inside), max_size=4))
    quoted = [json.dumps(name, ensure_ascii=draw(st.booleans())) for name, _ in members]
    space = draw(spaces)
    return "{" + space + f"{space},".join(f"{name}{space}:{draw(spaces)}{value}" for name, (_, value) in zip(
        quoted, members, strict=True)) + space + "}"  # fmt: skip


@st.composite
def arrays(draw: st.DrawFn, inside: st.SearchStrategy[str]) -> str:
    space = draw(spaces)
    return "[" + space + f"{space},{space}".join(draw(st.lists(inside, max_size=3))) + space + "]"


values = st.recursive(leaves, lambda inside: st.one_of(objects(inside), arrays(inside)), max_leaves=8)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A path to something that a record may have."""
    steps = draw(st.lists(st.sampled_from([".a", ".b", '."a.b"', "[]", "[]", "[]", "[0]", "[-1]"]), max_size=3))
    return draw(st.sampled_from(["a", "b", "tokens"])) + "".join(steps)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], str]:
    """Some paths, and a record. Most records have what some path leads to."""
    chosen = draw(st.lists(paths(), min_size=1, max_size=3))
    members = {draw(names): draw(values) for _ in range(draw(st.integers(0, 3)))}
    for path in chosen:
        *_, at = draw(st.permutations([path, *chosen]))
        value = draw(st.one_of(completions, leaves))
        for step in reversed(steps_of(at)[1:]):
            if isinstance(step, str):
                beside = draw(st.sampled_from(["", '"c":1,', '"index" : 0, ', '"text":"Hi",']))
                value = "{" + beside + json.dumps(step) + f":{value}" + "}"
            else:
                value = draw(st.sampled_from([f"[{value}]", f"[{value}, {value}]", f"[{value},{draw(leaves)}]"]))
        members[str(steps_of(at)[0])] = value
    space = draw(spaces)
    return chosen, "{" + f",{space}".join(f"{json.dumps(name)}:{space}{each}" for name, each in members.items()) + "}"


def bare(value: Any) -> Any:
    """What was taken out of a record, with JSON as bytes, so that it can be compared."""
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    if isinstance(value, dict):
        return [(name, bare(each)) for name, each in value.items()]
    return [bare(each) for each in value] if isinstance(value, list) else value


def told(taken: Any) -> Any:
    """What a walk gives, or the error that it raises."""
    try:
        return [(indices, dict(bare(found)), bare(whole)) for indices, found, whole in taken()]
    except ValueError as error:
        return str(error)


def plan_for(chosen: list[str]) -> Plan | None:
    try:
        return Plan(chosen)
    except ValueError:
        return None


@needs_both
@examples(4000, 200)
@given(case=cases())
@example(case=(["a[0].b", "a[-1].c"], '{"a":[{"b":1,"c":2}]}'))
@example(case=(["a[0].b[]", "a[1].c.a"], '{"a":[{"b":[1,2]},{"c":{"a":2}}]}'))
@example(case=(["a[].b", "a[].tokens"], '{"a":[{"b":1,"b":2},null,{"tokens":[]}]}'))
def test_both_engines_take_the_same_out_of_a_record(case: tuple[list[str], str]) -> None:
    from harmony.logs import walk_c

    plan = plan_for(case[0])
    try:
        fields = FIELDS.decode(case[1])
    except ValueError:
        return
    if plan is None:
        return
    expected = told(lambda: walk_py.variants(plan.root, fields))
    assert told(lambda: walk_c.variants(plan.root, fields)) == expected
    for path in case[0]:
        for one, other in zip(*(records(module, plan, fields) for module in (walk_py, walk_c)), strict=True):
            walk_py.take_out(one, steps_of(path))
            walk_c.take_out(other, steps_of(path))
            assert bare(one) == bare(other)


def records(module: Any, plan: Plan, fields: Any) -> list[Any]:
    """The records of the completions; none where the walk raises an error."""
    try:
        return [whole for _, _, whole in module.variants(plan.root, fields)]
    except ValueError:
        return []


def outcome(data: bytes, layout: Layout) -> Any:
    """What becomes of some lines: all that was read of them, and what is written."""
    try:
        read = RecordReader(layout).lines(data, 2)
        parsed = read.parse(strict=False, bare=False)
        passed = [json.loads(msgspec.json.encode(fields)) for fields in parsed.passed()]
        return read.numbers, read.lengths, passed, parsed.tally(), parsed.to_json(layout.into)
    except FieldTaken as error:
        return str(error)


@needs_both
@examples(2000, 100)
@given(case=cases(), cut=st.integers(0, 200), byte=st.integers(0, 255), into=st.sampled_from([None, "harmony"]))
@example(case=(["tokens"], '{"tokens":' + IDS + '}{"tokens":' + IDS + "}"), cut=200, byte=0, into=None)
@example(case=(["tokens[]"], '{"id":1,"tokens":[' + IDS + "," + IDS + '],"b":2}'), cut=200, byte=0, into=None)
@example(case=(["tokens"], '{"é":1,"tokens":' + IDS + ',"\\u00e9":2}'), cut=200, byte=0, into=None)
def test_a_record_read_in_one_pass_is_the_same(
    case: tuple[list[str], str], cut: int, byte: int, into: str | None
) -> None:
    chosen, written = case
    line = written.encode("utf-8", "surrogatepass")
    lines = [line, line[:cut] + bytes([byte]) + line[cut + 1 :], line]
    reason = chosen[2] if len(chosen) > 2 else None
    for found in (Names(chosen[0], None), Names(None, chosen[-1], finish_reason=reason), Names(chosen[0], chosen[-1])):
        try:
            layout = Layout(found, into=into)
            plan_of(found)
        except ValueError:
            continue
        for data in (lines[0], b"\n".join(lines)):
            quick = outcome(data, layout)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(reading, "Quick", quick_py.Quick)
                assert outcome(data, layout) == quick


@needs_both
@pytest.mark.parametrize(
    ("path", "record", "count"),
    [
        ("tokens", '{"id": "a", "tokens": %s}', 1),
        ("a.tokens", '{"id":-1.5e3,"a":{"b":[{"c":"\\u00e9"}],"tokens":%s}}', 1),
        ("a[].tokens", '{"a":[{"index":0,"tokens":%s}, {"index":1,"tokens":%s,"b":"stop"}],"c":{}}', 2),
        ("a[]", '{"a":[%s,%s,%s]}', 3),
        ("a[].tokens", '{"a":[{"tokens":%s}],"completion_index":null}', 0),
        ("tokens", '{"tokens":%s,"error":null}', 0),
        ("tokens", '{"tokens":%s,"tokens":%s}', 0),
        ("tokens", '{"tokens":%s,"a":"\\ud800"}', 0),
        ("tokens", '{"tokens":%s,"a":' + "[" * 100 + "]" * 100 + "}", 0),
        ("a[0].tokens", '{"a":[{"tokens":%s}]}', 0),
    ],
)
def test_which_records_are_read_in_one_pass(path: str, record: str, count: int) -> None:
    from harmony.logs.json_c import Ids as CompiledIds
    from harmony.logs.quick_c import Quick

    line = record.replace("%s", IDS).encode()
    plan = Plan([path])
    quick: quick_py.Quick = Quick(plan, path, ["error"])
    assert quick.take(line) == count
    variants = [] if plan.is_flat else plan.variants(FIELDS.decode(line))
    for number in range(count):
        ids: Ids = CompiledIds()
        assert quick.found(number) == {path: quick_py.SCANNED}
        quick.move(number, ids)
        assert list(ids.view()) == json.loads(IDS)
        if variants:
            _, _, whole = variants[number]
            take_out(whole, steps_of(path))
            index = {"completion_index": number} if plan.depth else {}
            assert quick.rest(number, path) == msgspec.json.encode({**whole, **index})
    if count:
        assert quick.take(b"{}") == (0 if plan.depth else 1)


def test_what_stands_for_a_quick_in_python_takes_nothing() -> None:
    assert quick_py.Quick(Plan(["tokens"]), "tokens", []).take(b'{"tokens":[1]}') == 0


def test_a_field_is_not_replaced_under_another_key_than_that_of_the_reader() -> None:
    read = RecordReader(Layout()).lines(b'{"tokens":%b,"harmony":1}' % IDS.encode(), 1)
    with pytest.raises(FieldTaken, match="`harmony`"):
        read.parse(strict=False, bare=False).to_json("harmony")


def test_two_paths_to_one_item_are_told() -> None:
    fields = FIELDS.decode(b'{"a":[{"b":1,"c":2}]}')
    with pytest.raises(
        ValueError, match=r"expected items that differ, found one item for `a\[0\]` and `a\[-1\]` - at `a`"
    ):
        Plan(["a[0].b", "a[-1].c"]).variants(fields)


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("a.messages", '{"a":{"messages":%s}}'),
        ("a[].messages", '{"a":[{"messages":%s}],"b":"\\udfff"}'),
        ("a[1]", '{"a":[0,%s]}'),
        ("messages", '{"messages":%s}'),
    ],
)
def test_a_single_surrogate_in_messages_is_told_at_any_path(path: str, record: str) -> None:
    reader = RecordReader(Layout(Names(None, None, messages=path), start="conversation"), conversations=True)
    data = record.replace("%s", '[{"role":"user","content":"a\\ud800"}]').encode()
    read = reader.lines(data, 1)
    assert not read.sources.elsewhere
    [content] = read.conversations[0].messages[0].content
    assert content.to_dict() == {"type": "text", "text": "a\ud800"}
