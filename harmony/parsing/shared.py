"""What both engines share beside the automaton's table, the header rules and the results.

What a caller passes is checked here, and here is what a parser keeps in a pickle, and how it shows its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec

from harmony.errors import Diagnostic, Fault
from harmony.format import machine, vocabulary
from harmony.format.header import Header
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.results import STREAM_STATES, Snapshot
from harmony.runtime.locks import forks_wait

if TYPE_CHECKING:
    from harmony.parsing.moves_py import Moves

#: By what the diagnostics of a whole input are sorted.
POSITION: Final = attrgetter("position")

#: A run of text in a header is looked at early when it has this many tokens, and again each time it has doubled. Text
#: that turns out to be content takes less memory than a header.
FIRST_LOOK: Final = 1 << 12


class Encoding(Protocol):
    """A HarmonyEncoding, as far as a parser knows it."""

    name: str


def check_encoding(encoding: object) -> None:
    """Raises TypeError for what is no HarmonyEncoding, such as a name or a tokenizer."""
    if getattr(encoding, "name", None) != vocabulary.ENCODING_NAME:
        raise TypeError(f"Expected `HarmonyEncoding`, got `{type(encoding).__name__}` - at `encoding`")


def characters(tokens: Iterable[int]) -> int:
    """How many characters `tokens` stand for, each a single byte's rank or a special token, written out."""
    token_bytes = vocabulary.load().token_bytes
    # A byte of the form 10xxxxxx continues a character that an earlier one began.
    return sum(
        len(vocabulary.SPECIAL_TEXTS[token])
        if token >= vocabulary.FIRST_SPECIAL
        else token_bytes(token)[0] & 0xC0 != 0x80
        for token in tokens
    )


def placed(faults: Sequence[Fault], tokens: Sequence[int], start: int, unit: str) -> list[Diagnostic]:
    """The diagnostics of what was repaired in a header of these tokens, which begins at the position `start`."""
    places = {fault.position or 0: fault.position or 0 for fault in faults}
    if unit == "character":
        rest, before, taken = iter(tokens), 0, 0
        for index in sorted(places):
            before += characters(islice(rest, index - taken))
            places[index], taken = before, index
    return [fault.diagnostic(start + places[fault.position or 0]) for fault in faults]


def place(moves: Moves, index: int | None) -> int:
    """The position of the token at an index of the open header; where that is None, of what comes behind it."""
    if moves._unit == "character":
        return moves._header_start + characters(islice(moves._header_tokens, index))
    return moves._header_start + (len(moves._header_tokens) if index is None else index)


def markers_in(text: str, *, stripped: bool) -> Iterator[tuple[int, int, int]]:
    """Each marker of a text: where it starts, where it ends (characters), and its token id; if `stripped`, supposed."""
    if not stripped:
        return vocabulary.special_tokens_in(text)
    with forks_wait:
        from harmony.parsing import lost_markers as guessing  # seldom asked for

    return guessing.markers_in(text)


def not_in_pair(text: str, place: int) -> int:
    """The place, or the next one where it would part a pair of surrogates, which stand for one character."""
    return place + ("\ud800" <= text[place - 1] <= "\udbff")


def repaired(code: str, position: int, token: int) -> Diagnostic:
    """What lenient parsing says of a token that it found where it may not stand."""
    found = vocabulary.load().describe(token)
    return Fault(code, position, found=found, last=vocabulary.LAST_TOKEN).diagnostic(position)


def state_data(
    state: int, header: Header | None, header_tokens: list[int], content_tokens: list[int], pending: int
) -> dict[str, Any]:
    """A parser's state as openai-harmony lays it out; `pending` bytes of content have no whole character yet.

    The tokens of the content are without those at its end that hold these bytes.
    """
    data: dict[str, Any] = {"state": STREAM_STATES[state].value}
    if header is not None:
        stop = len(content_tokens)
        token_bytes = vocabulary.load().token_bytes
        while pending > 0 and stop > 0:
            stop -= 1
            pending -= len(token_bytes(content_tokens[stop]))
        data["header"] = header.to_dict()
        data["content_tokens"] = Snapshot(content_tokens, stop)
    elif state != machine.State.EXPECT_START:
        data["header_tokens"] = Snapshot(header_tokens, len(header_tokens))
    return data


#: The class of this process's engine, which a pickle becomes again; `engine.py` puts it here.
parser_class: Any = None


def new_parser(subclass: type[Any] | None) -> Any:
    """An empty parser of this process's engine, or of a subclass, for `pickle` and `copy` to fill."""
    chosen: Any = subclass or parser_class
    return chosen.__new__(chosen)


class SavedParser(msgspec.Struct, frozen=True):
    """What a StreamableParser keeps in a pickle or a copy; the names are those of the engines' attributes."""

    strict: bool
    state: Annotated[int, msgspec.Meta(ge=0, lt=len(machine.State))]
    given: Role | None
    position: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    header_start: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    header_tokens: list[Annotated[int, msgspec.Meta(ge=0, le=vocabulary.NO_TOKEN)]]
    header: Header | None
    content: bytes
    content_tokens: list[Annotated[int, msgspec.Meta(ge=0, lt=vocabulary.FIRST_SPECIAL)]]
    settled: Annotated[int, msgspec.Meta(ge=0)]
    delta: str | None
    tokens: list[int]
    messages: list[Message]
    run_start: Annotated[int, msgspec.Meta(ge=0)]
    cut: bool
    diagnostics: list[Diagnostic]

    def checked(self) -> SavedParser:
        """A copy that shares no list. Raises ValueError for what no engine has saved."""
        saved = msgspec.convert(msgspec.structs.asdict(self), SavedParser)
        held = saved.header_tokens
        markers = {vocabulary.CHANNEL, vocabulary.CONSTRAIN}
        odd = saved.state in (machine.State.STRAY_TEXT, machine.State.ODD_HEADER)  # those with any special token
        fits = [
            (saved.header is not None) == (saved.state in (machine.State.CONTENT, machine.State.BARE_CONTENT)),
            saved.header is None or not held,
            saved.header is not None or not saved.content,
            saved.settled <= len(saved.content),
            saved.state <= machine.State.CONTENT or not saved.strict,
            odd or all(token < vocabulary.FIRST_SPECIAL or token in markers for token in held),
            saved.run_start == max((place for place, token in enumerate(held, 1) if token in markers), default=0),
        ]
        if not all(fits):
            raise ValueError("Expected the state of a parser, found parts that do not belong together")
        return saved
