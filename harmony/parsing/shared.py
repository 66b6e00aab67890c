"""Functions that both engines share: checks of arguments, positions, a parser's state as data, and pickles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec

from harmony.errors import Diagnostic, code_of, quote, sentence
from harmony.format import machine, vocabulary
from harmony.format.header import DefaultChannel, Header, is_channel
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.results import STREAM_STATES, Snapshot
from harmony.runtime.locks import forks_wait

if TYPE_CHECKING:
    from harmony.parsing.lost_markers import Guess
    from harmony.parsing.moves_py import Moves

#: The sort key of the diagnostics of a whole input.
POSITION: Final = attrgetter("position")

#: A header text is looked at when it has this many tokens, and again each time their number has doubled. If it is
#: content, the rest of it is read faster, and takes less memory.
FIRST_LOOK: Final = 1 << 5
#: The same for header text that comes in one piece, in characters.
FIRST_CHARACTERS: Final = 1 << 6


class Encoding(Protocol):
    """The part of a HarmonyEncoding that a parser uses."""

    @property
    def name(self) -> str:
        """The name that the encoding is loaded by."""
        ...


def check_encoding(encoding: object) -> None:
    """Raises TypeError for an argument that is no HarmonyEncoding, such as a name or a tokenizer."""
    if getattr(encoding, "name", None) != vocabulary.ENCODING_NAME:
        raise TypeError(f"Expected `HarmonyEncoding`, got `{type(encoding).__name__}` - at `encoding`")


def checked_channel(default_channel: str | DefaultChannel | None, *, strict: bool) -> DefaultChannel | None:
    """The argument `default_channel`. Raises TypeError and ValueError, as StreamableParser documents."""
    if default_channel is None:
        return None
    if isinstance(default_channel, str):
        default_channel = DefaultChannel(str.__str__(default_channel))
    if not isinstance(default_channel, DefaultChannel):
        raise TypeError(f"Expected `str | None`, got `{type(default_channel).__name__}` - at `default_channel`")
    if not is_channel(default_channel.name):
        found = quote(default_channel.name)
        raise ValueError(f"Expected a channel's name, such as `final`, got {found} - at `default_channel`")
    if strict:
        raise ValueError("Expected `strict=False` beside `default_channel`: strict parsing repairs nothing")
    return default_channel


def check_stripped(*, strict: bool) -> None:
    """Raises ValueError if a text that has lost its markers is to be parsed strictly."""
    if strict:
        raise ValueError("Expected `strict=False` beside `stripped=True`: where lost markers stood is a guess")


def characters(tokens: Iterable[int]) -> int:
    """The number of characters of `tokens`, each of which is the rank of a single byte or a special token."""
    token_bytes = vocabulary.load().token_bytes
    # A byte of the form 10xxxxxx continues a character that an earlier one began.
    return sum(
        len(vocabulary.SPECIAL_TEXTS[token])
        if token >= vocabulary.FIRST_SPECIAL
        else token_bytes(token)[0] & 0xC0 != 0x80
        for token in tokens
    )


def placed(found: Sequence[Diagnostic], tokens: Sequence[int], start: int, unit: str) -> Sequence[Diagnostic]:
    """The diagnostics of a header, whose positions are indices of its tokens, with their positions in the input.

    The header begins at the position `start`.
    """
    if unit == "token" and start == 0:
        return found
    if unit == "token":
        return [Diagnostic(each.code, each.message, start + each.position) for each in found]
    places = {}
    rest, before, taken = iter(tokens), 0, 0
    for index in sorted({each.position for each in found}):
        before += characters(islice(rest, index - taken))
        places[index], taken = before, index
    return [Diagnostic(each.code, each.message, start + places[each.position]) for each in found]


def place(moves: Moves, index: int | None) -> int:
    """The position of the token at an index of the open header; for None, the position behind the header."""
    if moves._unit == "character":
        return moves._header_start + characters(islice(moves._header_tokens, index))
    return moves._header_start + (len(moves._header_tokens) if index is None else index)


def guessed(text: str, role: Role | None) -> Guess:
    """A text that has lost its markers, with the markers that are guessed."""
    with forks_wait:
        from harmony.parsing import lost_markers  # rarely needed

    return lost_markers.guessed(text, role)


def not_in_pair(text: str, place: int) -> int:
    """`place`, or the next place where `place` is between two surrogates of one character."""
    return place + ("\ud800" <= text[place - 1] <= "\udbff")


def repaired(key: str, position: int, token: int) -> Diagnostic:
    """The diagnostic of a token that lenient parsing found where it may not stand."""
    is_known = vocabulary.FIRST_SPECIAL <= token <= vocabulary.LAST_TOKEN
    return Diagnostic(*(_remembered if is_known else _told)(key, token), position)


def _told(key: str, token: int) -> tuple[str, str]:
    """The code and the sentence."""
    return code_of(key), sentence(key, found=vocabulary.load().describe(token), last=vocabulary.LAST_TOKEN)


_remembered = lru_cache(1 << 8)(_told)


def state_data(
    state: int, header: Header | None, header_tokens: list[int], content_tokens: list[int], pending: int
) -> dict[str, Any]:
    """A parser's state as a dict with the keys of openai-harmony.

    `pending` is the number of bytes at the end of the content that are no whole character yet. The tokens with these
    bytes are left out.
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


#: The StreamableParser of this process's engine, set by `engine.py`. Reading a pickle makes an instance of it.
parser_class: Any = None


def new_parser(subclass: type[Any] | None) -> Any:
    """An empty parser, of this process's engine or of a subclass, which `pickle` and `copy` then fill."""
    chosen: Any = subclass or parser_class
    return chosen.__new__(chosen)


class SavedParser(msgspec.Struct, frozen=True):
    """The state of a StreamableParser in a pickle or a copy. The names are those of the engines' fields."""

    strict: bool
    default_channel: DefaultChannel | None
    state: Annotated[int, msgspec.Meta(ge=0, lt=len(machine.State))]
    given: Role | None
    position: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    header_start: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
    header_tokens: list[Annotated[int, msgspec.Meta(ge=0, le=vocabulary.NO_TOKEN)]]
    header: Header | None
    resumed: Header | None
    without_header: bool
    content: bytes
    content_tokens: list[Annotated[int, msgspec.Meta(ge=0, lt=vocabulary.FIRST_SPECIAL)]]
    settled: Annotated[int, msgspec.Meta(ge=0)]
    delta: str | None
    delta_header: Header | None
    tokens: list[int]
    messages: list[Message]
    run_start: Annotated[int, msgspec.Meta(ge=0)]
    cut: bool
    diagnostics: list[Diagnostic]

    def checked(self) -> SavedParser:
        """A copy that shares no list. Raises ValueError for a state that no engine can have saved."""
        saved = msgspec.convert(msgspec.structs.asdict(self), SavedParser)
        held = saved.header_tokens
        markers = {vocabulary.CHANNEL, vocabulary.CONSTRAIN}
        # Only these states hold other special tokens. A strict stream is in the second one behind a stop.
        odd = saved.state in (machine.State.STRAY_TEXT, machine.State.ODD_HEADER)
        stopped = saved.state == machine.State.ODD_HEADER and bool(held) and held[-1] in vocabulary.STOPS
        fits = [
            (saved.header is not None) == (saved.state in (machine.State.CONTENT, machine.State.BARE_CONTENT)),
            saved.header is None or (not held and saved.resumed is None),
            saved.resumed is None or (saved.state != machine.State.EXPECT_START and not saved.strict),
            saved.header is not None or not saved.content,
            saved.settled <= len(saved.content),
            saved.state <= machine.State.CONTENT or not saved.strict or stopped,
            saved.default_channel is None or not saved.strict,
            odd or all(token < vocabulary.FIRST_SPECIAL or token in markers for token in held),
            saved.run_start == max((place for place, token in enumerate(held, 1) if token in markers), default=0),
        ]
        if not all(fits):
            raise ValueError("Expected the state of a parser, found parts that do not belong together")
        return saved
