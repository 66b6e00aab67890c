"""Differential fuzzing against openai-harmony: `python -m fuzz.oracle --count 20000 --seed 1`.

Parses many inputs with both libraries, as a whole and token by token, and explains every difference by a row of
`docs/differences.md`. Prints how many differences each row explains, and ends with status 1 if one is left.

An input is walked message by message. A header is given to both libraries by itself, and where they differ the rows of
`rows.py` are asked for the fewest that together make them agree. Two checks keep the rows from explaining a fault of
ours: the grammar must accept just the headers that our parser accepts, and what is found for each part must add up to
what each library makes of the whole input.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from unittest.mock import patch

from fuzz.marked import END, MARKS, MESSAGE, NO_TOKEN, START, STOPS, content, shown, spelled_out, to_tokens
from fuzz.oracle_inputs import Input, inputs
from fuzz.rows import HEADER_ROWS, TRANSLATIONS
from harmony import HarmonyError, load_harmony_encoding, validate
from harmony.format import vocabulary
from harmony.format.choices import Start
from harmony.parsing import engine

Message: TypeAlias = tuple[str | None, ...]  # role, name, channel, recipient, content type, text

_HEADER: Final = re.compile(f"([^{MESSAGE}]*)({MESSAGE}?)")
_CONTENT: Final = re.compile(f"([^{STOPS}]*)([{STOPS}]?)")
#: The stop gives U+FFFD for bytes that are no whole character, and shows the header of their message with it.
_FIELDS_OF_INVALID_UTF_8: Final = {
    "current_channel",
    "current_content",
    "current_content_type",
    "current_recipient",
    "current_role",
    "last_content_delta",
}
_STOP_IN_HEADER: Final = re.compile(
    f"(?:[^{MESSAGE}{STOPS}]*{MESSAGE}[^{STOPS}]*[{STOPS}])*[^{MESSAGE}{STOPS}]*[{STOPS}]"
)
#: What the grammar calls an input, by the role that the caller gives; it has no name for the others.
_STARTS: Final[dict[str | None, Start]] = {None: "conversation", "assistant": "completion"}
_MOST_ROWS: Final = 5  # for one header
#: The rows that are not about a header by itself; that of misplaced markers is about contents too.
MISPLACED_MARKER: Final = "misplaced-marker"
OPEN_TURN: Final = "open-turn"
NO_TOKEN_ROW: Final = "id-of-no-token"
LENIENT: Final = "lenient"
INVALID_UTF_8: Final = "invalid-utf-8"
ROWS: Final = (*HEADER_ROWS, OPEN_TURN, NO_TOKEN_ROW, LENIENT, INVALID_UTF_8)

Verdict: TypeAlias = tuple[bool | None, bool | None]  # of harmony and of openai-harmony; None where it is not known


class Outcome(NamedTuple):
    """What one library makes of an input: whether it accepts it, and the messages, or those before the error."""

    accepted: bool | None  # None where it is not known
    messages: tuple[Message, ...]


class Difference(NamedTuple):
    """What the rows named explain: an input or a header that the two libraries read differently."""

    rows: tuple[str, ...]
    marked: str
    role: str | None


class Unexplained(Exception):  # noqa: N818  it is a finding, not an error
    """A difference that no row explains."""


def load_oracle(folder: Path) -> Any:
    """openai-harmony, with its encoding as `encoding`; it reads the vocabulary from a file in `folder`."""
    (folder / vocabulary.FILE_NAME).write_bytes(vocabulary.load().official_file())
    with patch.dict(os.environ, {vocabulary.FOLDER_VARIABLE: str(folder)}):
        openai_harmony: Any = import_module("openai_harmony")
        openai_harmony.encoding = openai_harmony.load_harmony_encoding("HarmonyGptOss")
    return openai_harmony


class Judge:
    """Compares an engine of ours with openai-harmony, and explains where they differ."""

    def __init__(self, engine: Any, oracle: Any) -> None:
        self._engine = engine
        self._oracle = oracle
        self._headers: dict[tuple[str, str | None], tuple[Message | None, Message | None]] = {}

    def ours(self, tokens: Sequence[int], role: str | None) -> Outcome:
        try:
            messages = self._engine.parse(tokens, role, strict=True).messages
        except HarmonyError as error:
            return Outcome(False, flat(error.messages))
        return Outcome(True, flat(messages))

    def theirs(self, tokens: Sequence[int], role: str | None) -> Outcome:
        stream = self._oracle.StreamableParser(self._oracle.encoding, role and self._oracle.Role(role))
        try:
            for token in tokens:
                stream.process(token)
            stream.process_eos()
        except self._oracle.HarmonyError:
            return Outcome(False, flat(stream.messages))
        return Outcome(True, flat(stream.messages))

    def theirs_whole(self, given: Input, *, strict: bool) -> Outcome:
        """As `theirs`, in one call: the messages before an error are not known."""
        parse, role = self._oracle.encoding.parse_messages_from_completion_tokens, given.role
        try:
            return Outcome(True, flat(parse(given.tokens, role and self._oracle.Role(role), strict=strict)))
        except self._oracle.HarmonyError:
            return Outcome(False, ())

    def differences(self, given: Input) -> list[Difference]:
        """What differs in how the two read an input, each with the rows that explain it. Raises Unexplained."""
        ours, theirs = self.ours(given.tokens, given.role), self.theirs(given.tokens, given.role)
        whole = self.theirs_whole(given, strict=True)
        if whole != theirs and (whole.accepted or theirs.accepted):
            raise Unexplained(f"openai-harmony reads the whole as {whole}, and the stream as {theirs}")
        return [
            *self._strict(given, ours, theirs),
            *self._lenient(given, ours, whole),
            *self._stream(given, ours, theirs),
        ]

    def _strict(self, given: Input, ours: Outcome, theirs: Outcome) -> list[Difference]:
        walk = Walk(self, given)
        for whose, whole, parts in (("harmony", ours, walk.ours), ("openai-harmony", theirs, walk.theirs)):
            if parts.accepted is None:  # the walk ended before this one did
                whole = Outcome(None, whole.messages[: len(parts.messages)])
            if whole != parts:
                raise Unexplained(f"{whose} reads the parts as {parts}, and the whole as {whole}")
        if ours == theirs:  # where one refuses a header and the other what comes next, nothing is different
            return []
        if not walk.differences:
            raise Unexplained(f"{ours} {theirs}")
        return walk.differences

    def _lenient(self, given: Input, ours: Outcome, theirs: Outcome) -> list[Difference]:
        """`strict=False` may change only what is refused, and theirs only where a stop stands in a header."""
        read = self._engine.parse(given.tokens, given.role, strict=False)
        repaired, rescued = Outcome(True, flat(read.messages)), self.theirs_whole(given, strict=False)
        if rescued != theirs and not _STOP_IN_HEADER.match(given.marked):
            raise Unexplained(f"openai-harmony reads this as {theirs}, with `strict=False` as {rescued}")
        if ours.accepted == bool(read.diagnostics) or (ours.accepted and repaired != ours):
            raise Unexplained(f"harmony reads this as {ours}, with `strict=False` as {repaired} {read.diagnostics}")
        return [] if ours.accepted or repaired == rescued else [Difference((LENIENT,), given.marked, given.role)]

    def _stream(self, given: Input, ours: Outcome, theirs: Outcome) -> list[Difference]:
        """If both accept an input, their streams differ only in the token at which invalid UTF-8 becomes U+FFFD."""
        if not ours.accepted or ours != theirs:
            return []
        fields = self._fields_that_differ(given.tokens, given.role)
        if not fields:
            return []
        replaced = re.sub("[\udc80-\udcff]", "\ufffd", given.marked)
        if not fields <= _FIELDS_OF_INVALID_UTF_8 or replaced == given.marked:
            raise Unexplained(f"streams: {fields}")
        if self._fields_that_differ(to_tokens(replaced), given.role):
            raise Unexplained(f"streams, also where all bytes are UTF-8: {fields}")
        return [Difference((INVALID_UTF_8,), given.marked, given.role)]

    def _fields_that_differ(self, tokens: Sequence[int], role: str | None) -> set[str]:
        ours = self._engine.StreamableParser(load_harmony_encoding("HarmonyGptOss"), role)
        theirs = self._oracle.StreamableParser(self._oracle.encoding, role and self._oracle.Role(role))
        found = set()
        for token in (*tokens, None):
            for stream in (ours, theirs):
                stream.process_eos() if token is None else stream.process(token)
            one, other = _snapshot(ours), _snapshot(theirs)
            found |= {name for name in one if one[name] != other[name]}
        return found

    def header(self, header: str, given: str | None) -> tuple[Message | None, Message | None]:
        """The message with this header, and no content, as each of the two reads it; None where it refuses it."""
        if (key := (header, given)) not in self._headers:
            tokens = to_tokens((START if given is None else "") + header + MESSAGE + END)
            read = self.ours(tokens, given), self.theirs(tokens, given)
            if any(outcome.accepted and len(outcome.messages) != 1 for outcome in read):
                raise Unexplained(f"a header: {read}")
            if start := _STARTS.get(given):
                broken = validate(tokens, start)
                if read[0].accepted == bool(broken):
                    raise Unexplained(f"harmony reads a header as {read[0]}, and the grammar finds {broken} in it")
            ours, theirs = (outcome.messages[0] if outcome.accepted else None for outcome in read)
            self._headers[key] = ours, theirs
        return self._headers[key]

    def explain_header(self, header: str, given: str | None) -> tuple[str, ...]:
        """The fewest rows that together make the two accept the header, and read it alike. Raises Unexplained."""
        paths: list[tuple[tuple[str, ...], str]] = [((), header)]
        seen = {header}
        for _ in range(_MOST_ROWS):
            longer = []
            for (rows, before), (name, row) in product(paths, HEADER_ROWS.items()):
                for after in row(before, given):
                    if after in seen:
                        continue
                    ours, theirs = self.header(after, given)
                    if name in TRANSLATIONS and theirs != self.header(before, given)[1]:
                        continue
                    seen.add(after)
                    path = tuple(dict.fromkeys((*rows, name)))
                    if ours is not None and ours == theirs:
                        return path
                    longer.append((path, after))
            paths = longer
        ours, theirs = self.header(header, given)
        raise Unexplained(f"a header: {ours} {theirs}")


class Walk:
    """An input taken apart into headers and contents: what each library should make of it, and why they differ.

    It ends where one of the two refuses the input, or both accept it.
    """

    def __init__(self, judge: Judge, given: Input) -> None:
        self._judge = judge
        self._role = given.role  # that of the header that comes next, where the caller gave it
        self._marked = given.marked
        self._at = self._start = 0
        self.differences: list[Difference] = []
        messages: tuple[list[Message], list[Message]] = ([], [])
        verdict: Verdict | None = None
        while verdict is None:
            self._start = self._at
            verdict = self._begin()
            if verdict is None:
                headers, verdict = self._header()
            if verdict is None:
                texts, verdict = self._content()
                for read, header, text in zip(messages, headers, texts, strict=True):
                    if text is not None:
                        read.append((*header[:-1], text))
                self._role = None
        self.ours = Outcome(verdict[0], tuple(messages[0]))
        self.theirs = Outcome(verdict[1], tuple(messages[1]))

    def _begin(self) -> Verdict | None:
        if self._role is not None:
            return None
        if self._at == len(self._marked):
            return True, True
        self._at += 1
        return None if self._marked[self._at - 1] == START else (False, False)

    def _header(self) -> tuple[Any, Verdict | None]:
        header, end = self._next(_HEADER)
        ours, theirs = headers = self._judge.header(header, self._role)
        if not end:
            if not self._judge.ours(to_tokens(self._marked[self._start : self._at]), self._role).accepted:
                return headers, (False, False)
            if ours is None or ours != theirs:  # with `<|message|>` behind it, it is a header of both
                raise Unexplained("a header that the input ends in")
            self._explain(OPEN_TURN)
            return headers, (True, False)
        if ours != theirs:
            self._explain(*self._judge.explain_header(header, self._role))
        if ours is None or theirs is None:
            return headers, (None if ours else False, None if theirs else False)
        return headers, None

    def _content(self) -> tuple[tuple[str | None, str], Verdict | None]:
        text, stop = self._next(_CONTENT)
        if wrong := re.search(f"[{MARKS}]", text):
            self._explain(NO_TOKEN_ROW if wrong[0] == NO_TOKEN else MISPLACED_MARKER)
            before, no_token, _ = text.partition(NO_TOKEN)
            theirs = content(spelled_out(before)) + ("\ufffd" if no_token else "")
            return (None, theirs), (False, None if stop else True)
        read = content(text)
        return (read, read), None if stop else (True, True)

    def _next(self, pattern: re.Pattern[str]) -> tuple[str, str]:
        match = pattern.match(self._marked, self._at)
        assert match is not None  # the patterns fit everywhere
        self._at = match.end()
        return match[1], match[2]

    def _explain(self, *rows: str) -> None:
        self.differences.append(Difference(rows, self._marked[self._start : self._at], self._role))


def flat(messages: Sequence[Any]) -> tuple[Message, ...]:
    """Messages of either library, as tuples that can be compared."""
    return tuple(
        (
            message.author.role.value,
            message.author.name,
            message.channel,
            message.recipient,
            message.content_type,
            *(part.text for part in message.content),
        )
        for message in messages
    )


def _snapshot(stream: Any) -> dict[str, object]:
    """What can be read of a parser in mid-stream."""
    return {
        "state": stream.state.name,
        "messages": len(stream.messages),
        "current_content": stream.current_content,
        "current_role": stream.current_role,
        "current_channel": stream.current_channel,
        "current_recipient": stream.current_recipient,
        "current_content_type": stream.current_content_type,
        "last_content_delta": stream.last_content_delta,
    }


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    options.add_argument("--count", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(engine, load_oracle(Path(folder)))
    explained: dict[str, list[Difference]] = defaultdict(list)
    left = parses = 0
    for given in inputs(arguments.seed, arguments.count):
        parses += 1
        try:
            for difference in judge.differences(given):
                explained[difference.rows[0]].append(difference)
        except Exception as error:  # a crash too is a finding
            left += 1
            print(f"not explained: {shown(given.marked)} (role {given.role}): {error!r}")
    print(f"{'row':28}{'alone':>8}{'with others':>13}  shortest input")
    for row, differences in sorted(explained.items(), key=lambda item: -len(item[1])):
        alone = sum(len(difference.rows) == 1 for difference in differences)
        example = min(differences, key=lambda found: (len(found.rows), len(found.marked)))
        print(f"{row:28}{alone:8,}{len(differences) - alone:13,}  {shown(example.marked)} (role {example.role})")
    print(f"{parses:,} inputs; differences not explained: {left:,}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
