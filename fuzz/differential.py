"""Reads the same streams with both engines and both builders of columns, in every way. All results must be equal.

A stream is read whole, token by token, in steps cut at random, in steps that the engines take in turn, as text, and
with others as columns; each strictly and leniently. What lenient parsing promises of any input is checked too.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import chain, cycle
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow

from fuzz.streams import ENCODING, smallest, stream
from harmony import Diagnostic, HarmonyError, Message, Role, TextContent
from harmony.batch import SCHEMA, parse_batch, parse_table
from harmony.columns.arrow import flat
from harmony.columns.rows import ELSEWHERE, GIVEN
from harmony.errors import TABLE
from harmony.format.header import NOT_IN_NAMES
from harmony.format.vocabulary import FIRST_SPECIAL, LAST_TOKEN, MESSAGE, STOPS, special_tokens_in

_COMPILED: Final = os.environ.get("HARMONY_EXTENSION") != "no"
#: The engines, and the builders of columns; the first engine is the one that all else is compared with.
ENGINES: Final = [import_module(f"harmony.{name}") for name in ["parsing.parser_py"] + ["parsing.parser_c"] * _COMPILED]
BUILDERS: Final = [import_module(f"harmony.{name}") for name in ["columns.build_py"] + ["columns.build_c"] * _COMPILED]

#: Streams with the same given role, which go into columns together.
_BATCH: Final = 64
_GIVEN: Final = [Role.ASSISTANT, None, Role.ASSISTANT, None, *Role]
_SECONDS: Final = 10  # between two lines that tell how far it is
_SHOWN: Final = 1500  # characters of what was read

#: What a reader gave ("read"), or what it raised, so that it can be compared.
Seen: TypeAlias = tuple[str, Any]


class Case(NamedTuple):
    """One stream, and the given role of its first message."""

    number: int
    tokens: list[int]
    role: Role | None


class Check(NamedTuple):
    """The name of a comparison, and the values that must be equal."""

    what: str
    expected: Any
    found: Any


def seen(read: Callable[..., Any], *arguments: Any, **options: Any) -> Seen:
    """The result of a call, or its exception."""
    try:
        return "read", read(*arguments, **options)
    except HarmonyError as error:
        return "refused", (error.code, error.position, str(error), error.messages)
    except Exception as error:  # no input may cause one, so it is reported with the input
        return "raised", (type(error).__name__, str(error))


def whole(engine: ModuleType, source: Any, role: Role | None, **options: bool) -> Seen:
    """The result of parsing an input as a whole: messages, complete, diagnostics, next role, spans, token count."""
    parse = engine.parse_text if isinstance(source, str) else engine.parse
    kind, found = seen(parse, source, role, **options)
    if kind == "read":
        fields = found.messages, found.complete, found.diagnostics, found.next_role, found.spans, found.token_count
        return kind, fields
    return kind, found


def text_of(message: Message) -> str:
    return "".join(part.text for part in message.content if isinstance(part, TextContent))


def in_buffer(tokens: list[int]) -> bool:
    """Whether a buffer of uint32 can hold the tokens."""
    return all(0 <= token < 1 << 32 for token in tokens)


def at_odd_address(tokens: list[int]) -> memoryview:
    """The tokens as a buffer at an address that is not aligned for uint32."""
    return memoryview(b"\0" + array("I", tokens).tobytes())[1:]


# --- streams


def shown(parser: Any) -> tuple[Any, ...]:
    """All public values of a parser."""
    return (
        parser.state,
        parser.state_data,
        parser.complete,
        parser.current_role,
        parser.current_channel,
        parser.current_recipient,
        parser.current_content_type,
        parser.current_content,
        parser.last_content_delta,
        parser.messages,
        parser.diagnostics,
        parser.tokens,
    )


def each_step(engine: ModuleType, case: Case, *, strict: bool) -> list[Any]:
    """The state after each token, and after the end of the input. A stream continues after an error."""
    parser = engine.StreamableParser(ENCODING, case.role, strict=strict)
    known = []
    for token in [*case.tokens, None]:
        kind, found = seen(parser.process_eos) if token is None else seen(parser.process, token)
        known.append((kind, found is parser if kind == "read" else found, shown(parser)))
    return known


def in_steps(engines: Sequence[ModuleType], case: Case, most: int, *, strict: bool) -> tuple[Any, ...]:
    """The state after steps of up to `most` tokens. Several engines take the steps in turn."""
    chance = random.Random(case.number)
    parser = engines[0].StreamableParser(ENCODING, case.role, strict=strict)
    text, place = "", 0
    for engine in cycle(engines):
        if type(parser) is not engine.StreamableParser:
            saved = parser.__reduce__()[2]
            parser = engine.StreamableParser(ENCODING, None)
            parser.__setstate__(saved)
        if place >= len(case.tokens):
            break
        size = chance.randint(1, most)
        for segment in parser.process_many(case.tokens[place : place + size]):
            text += segment.delta
            if segment.message is not None:
                _equal("the deltas", text, text_of(segment.message))
                text = ""
        _equal("the deltas", text, parser.current_content)
        place += size
    parser.process_eos()
    _equal("the tokens", parser.tokens, case.tokens)
    return parser.messages, parser.complete, in_order(parser.diagnostics)


def _equal(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r} - in {what}")


def in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """The state without diagnostics: when a stream reports them depends on its steps."""
    return sorted(diagnostics, key=lambda found: (found.position, found.code, found.message))


def at_end(result: Seen, tokens: Sequence[int]) -> Seen:
    """The final state of a stream, from the result of parsing it as a whole.

    Where the last token is a stop inside a header, the end of a stream tells of it in other words.
    """
    kind, found = result
    if kind == "read":
        return kind, (*found[:2], in_order(found[2]))
    if kind == "refused" and found[:2] == ("unexpected-in-header", len(tokens) - 1) and tokens[-1] in STOPS:
        before, after = (TABLE["strict"][key].split("{")[0] for key in (found[0], f"{found[0]}/at-end"))
        return kind, (*found[:2], found[2].replace(before, after), found[3])
    return result


# --- all ways of one stream


def checks(case: Case, *, strict: bool) -> Iterator[Check]:
    """All comparisons for one stream: each way of reading it, and the expected result."""
    mode = "strict" if strict else "lenient"
    expected = whole(ENGINES[0], case.tokens, case.role, strict=strict)
    yield from first_checks(case, expected, strict=strict)
    steps = each_step(ENGINES[0], case, strict=strict)
    for engine in ENGINES:
        name = f"{mode}, {engine.__name__}"
        if engine is not ENGINES[0]:
            yield Check(f"{name}: token by token", steps, each_step(engine, case, strict=strict))
        if in_buffer(case.tokens):
            found = whole(engine, at_odd_address(case.tokens), case.role, strict=strict)
            yield Check(f"{name}: a buffer", expected, found)
        for most in (1, 7):
            found = seen(in_steps, [engine], case, most, strict=strict)
            yield Check(f"{name}: steps of up to {most}", at_end(expected, case.tokens), found)
    yield from _as_text(case, mode, strict=strict)


def first_checks(case: Case, expected: Seen, *, strict: bool) -> Iterator[Check]:
    """The fast and important comparisons: the rules for any input, and the engines alone and in turn."""
    mode = "strict" if strict else "lenient"
    if not strict:
        yield from _promises(case, expected)
    for engine in ENGINES[1:]:
        found = whole(engine, case.tokens, case.role, strict=strict)
        yield Check(f"{mode}, {engine.__name__}: a list", expected, found)
    found = seen(in_steps, ENGINES, case, 3, strict=strict)
    yield Check(f"{mode}: steps that the engines take in turn", at_end(expected, case.tokens), found)


def _as_text(case: Case, mode: str, *, strict: bool) -> Iterator[Check]:
    """The stream as text gives the same result as its tokens. Both engines read it, and changed texts, alike."""
    text = written(case)
    damaged = _changed(text, random.Random(case.number), "\ud800")
    yield from text_checks(text, case.role, strict=strict)
    forms = [("damaged text", damaged, False)]
    if not strict:
        forms.append(("text without its markers", "".join(_between_markers(text)), True))
    for name, form, stripped in forms:
        yield from _alike(f"{mode}: {name}", form, case.role, strict=strict, stripped=stripped)


def written(case: Case) -> str:
    """The text of a case, without the integers that are no token ids."""
    return ENCODING.decode([token for token in case.tokens if 0 <= token <= LAST_TOKEN])


def _changed(text: str, chance: random.Random, other: str) -> str:
    """The text with up to two characters left out somewhere, and a few others in their place; `other` may be one."""
    place = chance.randint(0, len(text))
    insertion = chance.choice(["", "<|", "|>", other, "\x00", " "])
    return text[:place] + insertion + text[place + chance.randrange(3) :]


def text_checks(text: str, role: Role | None, *, strict: bool) -> Iterator[Check]:
    """Both engines read a text like its tokens, and no marker ends up in a message."""
    mode = "strict" if strict else "lenient"
    expected = whole(ENGINES[0], text, role, strict=strict)
    yield from _alike(f"{mode}: text", text, role, strict=strict, stripped=False)
    if expected[0] == "read":
        left = [mark for message in expected[1][0] for mark in special_tokens_in(text_of(message))]
        yield Check(f"{mode}: no content of a text holds a marker", [], left)
    tokens = ENCODING.encode(text, allowed_special="all")
    if ENCODING.decode(tokens) == text:  # then it has no single surrogate
        by_tokens = _placeless(whole(ENGINES[0], tokens, role, strict=strict))
        yield Check(f"{mode}: text, as its tokens", by_tokens, _placeless(expected))


def _alike(what: str, text: str, role: Role | None, **options: bool) -> Iterator[Check]:
    for engine in ENGINES[1:]:
        expected = whole(ENGINES[0], text, role, **options)
        yield Check(f"{what}, {engine.__name__}", expected, whole(engine, text, role, **options))


def _between_markers(text: str) -> Iterator[str]:
    place = 0
    for start, stop, _ in [*special_tokens_in(text), (len(text), len(text), 0)]:
        yield text[place:start]
        place = stop


def _placeless(result: Seen) -> Seen:
    """A result without what counts tokens or characters."""
    kind, found = result
    if kind == "read":
        messages, complete, diagnostics, next_role = found[:4]
        return kind, (messages, complete, sorted(one.code for one in diagnostics), next_role)
    return (kind, (found[0], found[3])) if kind == "refused" else result


def _promises(case: Case, lenient: Seen) -> Iterator[Check]:
    """The rules for any input: it is read, like strict parsing if that accepts it, and no content is lost."""
    yield Check("any input is read", "read", lenient[0])
    if lenient[0] != "read":
        return
    messages, _, diagnostics = lenient[1][:3]
    strict = whole(ENGINES[0], case.tokens, case.role, strict=True)
    if strict[0] == "read":
        yield Check("what strict parsing reads is read alike", strict, lenient)
    yield Check("what strict parsing refuses is told, and nothing else", strict[0] == "refused", bool(diagnostics))
    odd = [name for message in messages for name in _names(message) if NOT_IN_NAMES.search(name)]
    yield Check("no field holds a marker", [], odd)
    place, contents = 0, "\0".join(map(text_of, messages))
    for piece in _contents(case.tokens):
        found = contents.find(piece, place)
        yield Check("no content is lost", (piece, True), (piece, found >= 0))
        place = found + len(piece)


def _names(message: Message) -> Iterator[str]:
    content_type = (message.content_type or "").removeprefix("<|constrain|>")
    yield from filter(None, (message.author.name, message.recipient, message.channel, content_type))


def _contents(tokens: list[int]) -> Iterator[str]:
    """The texts after each `<|message|>`, up to the first token that is not text."""
    for place, token in enumerate(tokens, 1):
        if token == MESSAGE:
            stop = place
            while stop < len(tokens) and 0 <= tokens[stop] < FIRST_SPECIAL:
                stop += 1
            text = ENCODING.decode(tokens[place:stop])
            if "\ufffd" not in text:  # otherwise invalid bytes may join with the following ones
                yield text


# --- columns


def rows_of(
    engine: ModuleType, index: int, case: Case, *, strict: bool, text: str | None = None
) -> list[dict[str, Any]]:
    """The rows of one case, which is conversation `index`, as an engine reads its tokens, or the text instead."""
    source = case.tokens if text is None else text
    kind, found = whole(engine, source, case.role, strict=strict)
    shared: dict[str, Any] = {"complete": False, "diagnostics": [], "error": None}
    diagnostics: list[Diagnostic] = []
    if kind == "read":
        messages, shared["complete"], diagnostics, _, spans = found[:5]
    else:
        code, position, message, messages = found
        shared["error"] = {"code": code, "message": message, "position": position}
        # Everything before the fault is well-formed, so lenient parsing gives its places.
        spans = whole(engine, source, case.role, strict=False)[1][4]
    rows: list[dict[str, Any]] = [
        {
            "conversation": index,
            "message": number,
            "role": message.author.role.value,
            "name": message.author.name,
            "recipient": message.recipient,
            "channel": message.channel,
            "content_type": message.content_type,
            "content": text_of(message),
            "content_tokens": span.stop - span.content_start if text is None else None,
            "stop": span.end,
            **shared,
        }
        for number, (message, span) in enumerate(zip(messages, spans, strict=kind == "read"))
    ] or [{**dict.fromkeys(SCHEMA.names), "conversation": index, **shared}]
    rows[0]["diagnostics"] = [
        {"code": found.code, "message": found.message, "position": found.position} for found in diagnostics
    ]
    return rows


def column_checks(cases: list[Case], *, strict: bool) -> Iterator[Check]:
    """The cases as columns: all from a list, those that fit from a buffer, by each builder, and as texts."""
    role = cases[0].role
    mode = "strict" if strict else "lenient"
    fitting = [case for case in cases if in_buffer(case.tokens)]
    for kind, some in (("a list", cases), ("a buffer", fitting)):
        rows = [rows_of(ENGINES[0], index, case, strict=strict) for index, case in enumerate(some)]
        expected = "read", list(chain.from_iterable(rows))
        tokens, offsets = _joined(some)
        given = at_odd_address(tokens) if kind == "a buffer" else tokens
        for threads, count in ((1, "one thread"), (2, "two threads")):
            found = seen(_parsed, given, offsets, role=role, strict=strict, threads=threads)
            yield Check(f"{mode}: columns of {kind}, {count}", expected, found)
        if kind == "a list":
            for builder in BUILDERS:
                found = seen(_built, builder, cases, strict=strict)
                yield Check(f"{mode}: columns by {builder.__name__}", expected, found)
    yield from text_column_checks(cases, strict=strict)


def text_column_checks(cases: list[Case], *, strict: bool) -> Iterator[Check]:
    """The cases as a column of texts, some of which are cut or changed."""
    role, mode = cases[0].role, "strict" if strict else "lenient"
    texts = [_changed(written(case), random.Random(case.number), "") for case in cases]
    rows = [rows_of(ENGINES[0], index, case, strict=strict, text=texts[index]) for index, case in enumerate(cases)]
    expected = "read", list(chain.from_iterable(rows))
    table = pyarrow.table({"text": texts})
    for threads, count in ((1, "one thread"), (2, "two threads")):
        found = seen(_parsed_texts, table, role=role, strict=strict, threads=threads)
        yield Check(f"{mode}: a column of texts, {count}", expected, found)


def _joined(cases: list[Case]) -> tuple[list[int], list[int]]:
    offsets = [0]
    for case in cases:
        offsets.append(offsets[-1] + len(case.tokens))
    return [token for case in cases for token in case.tokens], offsets


def _parsed(*arguments: Any, **options: Any) -> Any:
    return parse_batch(*arguments, **options).to_pylist()


def _parsed_texts(table: pyarrow.Table, **options: Any) -> Any:
    return parse_table(table, text="text", **options).to_pylist()


def _built(builder: ModuleType, cases: list[Case], *, strict: bool) -> Any:
    """The rows of a builder; ids that no buffer can hold stand elsewhere, as they do in `parse_batch`."""
    elsewhere = {index: case.tokens for index, case in enumerate(cases) if not in_buffer(case.tokens)}
    kept = [case._replace(tokens=[]) if index in elsewhere else case for index, case in enumerate(cases)]
    tokens, offsets = _joined(kept)
    roles = [GIVEN.index(case.role) | (ELSEWHERE if index in elsewhere else 0) for index, case in enumerate(cases)]
    ids, bounds = memoryview(array("I", tokens)), memoryview(array("q", offsets))
    return flat(builder.build(ids, bounds, bytes(roles), strict=strict, elsewhere=elsewhere)).to_pylist()


# --- the command


def difference(found: Iterator[Check], what: str | None = None) -> Check | None:
    """The first check that fails, or the first of this name that does."""
    return next((check for check in found if check.expected != check.found and what in (None, check.what)), None)


class Difference(NamedTuple):
    """A check that failed, and the cases that it was made with; a single one may have been read by itself."""

    check: Check
    cases: list[Case]
    strict: bool
    in_columns: bool

    def smallest(self) -> Difference:
        """The same failure with as few cases and tokens as possible."""
        found = self
        if len(self.cases) > 1:
            found = self._replace(cases=smallest(self.cases, lambda cases: bool(cases) and self._fails(cases)))
        for place in range(len(found.cases)):
            found = found._with_fewer_tokens(place)
        return found._replace(check=self._again(found.cases) or self.check)

    def _with_fewer_tokens(self, place: int) -> Difference:
        def changed(tokens: list[int]) -> list[Case]:
            return [*self.cases[:place], self.cases[place]._replace(tokens=tokens), *self.cases[place + 1 :]]

        tokens = smallest(self.cases[place].tokens, lambda tokens: self._fails(changed(tokens)))
        return self._replace(cases=changed(tokens))

    def _again(self, cases: list[Case]) -> Check | None:
        if self.in_columns:
            return difference(column_checks(cases, strict=self.strict), self.check.what)
        return difference(checks(cases[0], strict=self.strict), self.check.what)

    def _fails(self, cases: list[Case]) -> bool:
        return self._again(cases) is not None

    def text(self) -> str:
        lines = [f"difference - {self.check.what}"]
        for case in self.cases:
            given = "none" if case.role is None else case.role.value
            written = ENCODING.decode([token for token in case.tokens if 0 <= token <= LAST_TOKEN])
            lines += [f"  stream {case.number}, role {given}: {case.tokens}", f"    {written!r}"]
        expected, found = repr(self.check.expected), repr(self.check.found)
        differ = (place for place, (one, other) in enumerate(zip(expected, found, strict=False)) if one != other)
        begin = max(0, next(differ, 0) - _SHOWN // 3)
        lines += [f"  expected: {expected[begin : begin + _SHOWN]}", f"  found:    {found[begin : begin + _SHOWN]}"]
        return "\n".join(lines)


def first_difference(cases: list[Case]) -> Difference | None:
    """The first difference between readings of these cases, which are given the same role."""
    for strict in (False, True):
        for case in cases:
            if check := difference(checks(case, strict=strict)):
                return Difference(check, [case], strict, in_columns=False)
        if check := difference(column_checks(cases, strict=strict)):
            return Difference(check, cases, strict, in_columns=True)
    return None


def run(seed: int, first: int, count: int) -> bool:
    """Reads streams until one is read differently, and prints how; whether none was."""
    began = told = time.monotonic()
    done = tokens = 0
    for start in range(first - first % _BATCH, first + count, _BATCH):
        role = _GIVEN[start // _BATCH % len(_GIVEN)]
        numbers = range(max(start, first), min(start + _BATCH, first + count))
        cases = [Case(number, stream(seed, number, role), role) for number in numbers]
        if found := first_difference(cases):
            print(f"seed {seed}: {found.smallest().text()}")
            return False
        done += len(cases)
        tokens += sum(len(case.tokens) for case in cases)
        now = time.monotonic()
        if now - told > _SECONDS or done == count:
            print(f"{done:,} streams, {tokens:,} tokens, {tokens / (now - began):,.0f} tokens a second", flush=True)
            told = now
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what the streams are made from")
    parser.add_argument("--first", type=int, default=0, help="the number of the first stream")
    parser.add_argument("--count", type=int, default=10_000, help="how many streams")
    options = parser.parse_args()
    raise SystemExit(not run(options.seed, options.first, options.count))


if __name__ == "__main__":
    main()
