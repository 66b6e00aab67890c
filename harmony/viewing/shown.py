"""What is shown of one input: its messages, the tokens that each came of, and the diagnostics at their places.

`shown_source` parses an input, and `shown_result` takes what was parsed. They draw nothing: `lines.py` writes what they
give as lines for terminals, and `page.py` as HTML.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from codecs import getincrementaldecoder
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.columns.rows import GIVEN, UNLESS_START, Values, given_role, message_of, parse_source
from harmony.encoding import load_harmony_encoding
from harmony.errors import Diagnostic, HarmonyError, RecordError
from harmony.format import vocabulary
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.rendering.sections import part_text
from harmony.results import OPEN_HEADER, ParseResult, RenderedSpan, Span, learned

#: What was parsed: token ids, or a text with markers.
Source: TypeAlias = Sequence[int] | str
_Places: TypeAlias = tuple[slice, slice, slice, slice]

_ASSISTANT: Final = GIVEN.index(Role.ASSISTANT) | UNLESS_START  # as of a record without a role
_LONG: Final = 600  # characters of analysis; a longer one is folded
_MOST_SPACE: Final = 16  # times that JSON which is set out may be as long as it was
_NO_TOKEN: Final = "\N{REPLACEMENT CHARACTER}".encode()  # as lenient parsing reads an integer that is no token id
_FOLDED: Final = frozenset((Role.SYSTEM, Role.DEVELOPER, Role.TOOL))


class Piece(NamedTuple):
    """One token, or several tokens that make whole characters only together.

    `start` is the index of the first of them. Of a text, a piece is a part of the text: `start` is its offset, and it
    has no ids. `learned` says whether the training mask marks it.
    """

    text: str
    start: int
    ids: tuple[int, ...] = ()
    learned: bool = False

    def written_ids(self) -> str:
        """The ids, with spaces between them. An integer that is no id may be too long to be written."""
        loaded = vocabulary.load()
        known = range(vocabulary.LAST_TOKEN + 1)
        return " ".join(str(token) if token in known else loaded.describe(token) for token in self.ids)

    @property
    def is_special(self) -> bool:
        """Whether the piece is a special token, such as `<|end|>`."""
        return bool(self.ids) and vocabulary.FIRST_SPECIAL <= self.ids[0] <= vocabulary.LAST_TOKEN


class ShownMessage(msgspec.Struct, frozen=True):
    """A message as it is shown.

    `header` holds the pieces from `<|start|>` to `<|message|>`, `content` those of the content, and `stop` the stop.
    They are empty if the source is not known. `before` holds what stands before the message and belongs to none.

    `is_exact` says whether the pieces of the content join to `text`. Where they do not, a repair has changed the
    content. `tokens` is the number of tokens from the header to the stop, and `learned` how many of them the training
    mask marks; each is None where it is not known. `arguments` is the JSON of the content, set out over several lines;
    None for other contents, and where it would look the same.
    """

    message: Message
    text: str
    end: Literal["end", "call", "return"] | None
    tokens: int | None
    learned: int | None
    before: Sequence[Piece]
    header: Sequence[Piece]
    content: Sequence[Piece]
    stop: Sequence[Piece]
    is_exact: bool
    is_folded: bool
    arguments: str | None
    content_start: int
    diagnostics: Sequence[Diagnostic]

    def in_header(self) -> list[Diagnostic]:
        """The diagnostics that stand before the content."""
        return [each for each in self.diagnostics if each.position <= self.content_start]

    def in_content(self) -> list[Diagnostic]:
        """The other diagnostics: those in the content or behind it."""
        return [each for each in self.diagnostics if each.position > self.content_start]

    def content_parts(self) -> Iterator[tuple[Sequence[Piece], Sequence[Diagnostic]]]:
        """The content in parts, each with the diagnostics that stand behind it. There is at least one part."""
        starts = [piece.start for piece in self.content]
        behind: list[Diagnostic] = []
        done = 0
        for position, found in groupby(self.in_content(), attrgetter("position")):
            place = bisect_left(starts, position)
            if place < len(starts):
                yield self.content[done:place], list(found)
                done = place
            else:
                behind += found
        yield self.content[done:], behind


class Shown(msgspec.Struct, frozen=True):
    """An input as it is shown: its title, its messages, and what stands behind the last of them.

    `tokens` is None for a text. `unit` is what positions count, and `shift` is the length of what was put before the
    input: `place` gives the position of a diagnostic in the input itself. `diagnostics` are those that belong to no
    message. `error` says why there are no messages, or why they have no tokens. `number` is that of the line or row.
    `note` is a sentence about the whole input, if there is something to say.
    """

    title: str
    messages: Sequence[ShownMessage] = ()
    behind: Sequence[Piece] = ()
    diagnostics: Sequence[Diagnostic] = ()
    error: RecordError | None = None
    tokens: int | None = None
    unit: Literal["token", "character"] = "token"
    complete: bool = True
    next_role: Role | None = None
    shift: int = 0
    number: int | None = None
    note: str | None = None

    def place(self, found: Diagnostic) -> int:
        """The position of a diagnostic in the input."""
        return max(found.position - self.shift, 0)

    def codes(self) -> list[str]:
        """The codes of all diagnostics and of the error, each once, in order."""
        found = [each.code for message in self.messages for each in message.diagnostics]
        found += [each.code for each in self.diagnostics]
        return list(dict.fromkeys(found if self.error is None else [*found, self.error.code]))


def usual_role(source: Source) -> Role | None:
    """The role of the first message of a completion: the assistant, unless the source begins with its `<|start|>`."""
    return given_role(_ASSISTANT, source if isinstance(source, str) else list(source[:1])) if source else None


def parsed(source: Source, role: Role | None, *, strict: bool = False, stripped: bool = False) -> ParseResult:
    """Parses a source. Raises HarmonyError as `encoding.parse` does, and for an input that is too large.

    With `stripped`, it has lost its markers. Token ids are then read by their text, so there are no spans.
    """
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    if isinstance(source, str):
        return encoding.parse_text(source, role, strict=strict, stripped=stripped)
    if not stripped:
        return encoding.parse(source, role, strict=strict)
    values = Values()
    found = parse_source(list(source), role, values, strict=False, stripped=True)
    messages = [message_of(values.lists(), row.codes, row.content.decode()) for row in found.rows]
    return ParseResult(messages, found.diagnostics, [], found.complete, None, len(source))


def shown_source(
    title: str, source: Source, role: Role | None, *, channels: Collection[str], stripped: bool = False, shift: int = 0
) -> Shown:
    """What is shown of token ids or of a text with markers, which are parsed leniently.

    `role` is that of the first message, if the source does not begin with its `<|start|>`. `channels` are those of the
    training mask. The first `shift` tokens or characters were put before the input: positions and counts leave them
    out. `stripped` is that of `parsed`.
    """
    try:
        result = parsed(source, role, stripped=stripped)
    except HarmonyError as error:  # a source that is too large
        return Shown(title, error=RecordError(error.code, str(error), error.position))
    return shown_result(title, result, source, channels=channels, shift=shift)


def shown_result(
    title: str, result: ParseResult, source: Source | None = None, *, channels: Collection[str] = (), shift: int = 0
) -> Shown:
    """What is shown of a result, with the pieces of the source that it was parsed from, if that is given."""
    source = "" if source is None else source
    places = list(_places(result, source))
    cutter = _Cutter(source, result, channels, shift)
    diagnostics = _by_message(result)
    spans: Sequence[Span | None] = result.spans or [None] * len(result.messages)
    messages = [
        _shown_message(cutter, message, span, own, found)
        for message, span, own, found in zip(result.messages, spans, places, diagnostics, strict=False)
    ]
    return Shown(
        title,
        messages,
        behind=cutter.pieces(places[-1][0]),
        diagnostics=diagnostics[-1],
        tokens=None if result.token_count is None else result.token_count - shift,
        unit="character" if result.token_count is None else "token",
        complete=result.complete,
        next_role=result.next_role,
        shift=shift,
    )


def _shown_message(
    cutter: _Cutter, message: Message, span: Span | None, places: _Places, diagnostics: Sequence[Diagnostic]
) -> ShownMessage:
    """A message with its pieces. `span` is None where its places are not known."""
    text = "".join(map(part_text, message.content))
    before, header, content, stop = map(cutter.pieces, places)
    learned = [len(piece.ids) for piece in (*header, *content, *stop) if piece.learned]
    return ShownMessage(
        message,
        text,
        end=None if span is None else span.end,
        tokens=None if span is None else cutter.size_of(span),
        learned=sum(learned) if cutter.marked else None,
        before=before,
        header=header,
        content=content,
        stop=stop,
        is_exact="".join(piece.text for piece in content) == text,
        is_folded=message.author.role in _FOLDED or (message.channel == "analysis" and len(text) > _LONG),
        arguments=_set_out(text),
        content_start=0 if span is None else span.content_start,
        diagnostics=diagnostics,
    )


def _by_message(result: ParseResult) -> list[list[Diagnostic]]:
    """The diagnostics of each message, and then those that belong to none.

    A diagnostic belongs to the last message that begins at its position or before. One before the first message belongs
    to the first.
    """
    found: list[list[Diagnostic]] = [[] for _ in range(len(result.messages) + 1)]
    starts = [span.start for span in result.spans]
    for each in result.diagnostics:
        found[max(bisect_right(starts, each.position) - 1, 0) if starts else -1].append(each)
    return found


def _places(result: ParseResult, source: Source) -> Iterator[_Places]:
    """For each message the places of what stands before it, of its header, its content and its stop.

    At the end, the first of them is the place of what stands behind the last message.
    """
    nothing, done = slice(0, 0), 0
    for span in result.spans:
        start, content = max(span.start, done), max(span.content_start, done)
        stop = max(span.stop, content)
        end = stop + _stop_length(span, source)
        yield slice(done, start), slice(start, content), slice(content, stop), slice(stop, end)
        done = end
    for _ in result.messages[len(result.spans) :]:  # their places in an input that lost its markers are not known
        yield nothing, nothing, nothing, nothing
    yield slice(done, len(source)), nothing, nothing, nothing


def _stop_length(span: Span, source: Source) -> int:
    """The length of the stop of a message in its source; 0 where there is none, as in a text without markers."""
    if isinstance(source, str):
        marker = f"<|{span.end}|>"
        return len(marker) if source.startswith(marker, span.stop) else 0
    return int(span.end is not None and span.stop < len(source))


class _Cutter:
    """Cuts a source into pieces. `marked` are the places of the tokens that the training mask marks, in order."""

    def __init__(self, source: Source, result: ParseResult, channels: Collection[str], shift: int) -> None:
        self.marked: list[slice] = []
        self._source = source
        self._shift = shift
        self._cuts = sorted(each.position for each in result.diagnostics)
        self._is_text = result.token_count is None
        if source and not isinstance(source, str):
            places = _marked(result, source, channels)
            self.marked = [slice(max(place.start, shift), place.stop) for place in places]

    def size_of(self, span: Span) -> int | None:
        """The number of tokens from the header to the stop; None for a text."""
        return None if self._is_text else max(span.stop + (span.end is not None) - max(span.start, self._shift), 0)

    def pieces(self, place: slice) -> list[Piece]:
        """The pieces of a part of the source. A piece of a text ends before the place of each diagnostic."""
        if isinstance(self._source, str):
            inside = self._cuts[bisect_right(self._cuts, place.start) : bisect_left(self._cuts, place.stop)]
            bounds = [place.start, *dict.fromkeys(inside), place.stop]
            parts = [Piece(self._source[start:stop], start) for start, stop in pairwise(bounds)]
            return [part for part in parts if part.text]
        decoder = getincrementaldecoder("utf-8")("replace")
        found: list[Piece] = []
        text, ids, start = "", [], place.start
        for index, token in enumerate(self._source[place], place.start):
            ids.append(token)
            text += decoder.decode(_bytes_of(token))
            if not decoder.getstate()[0]:
                found.append(Piece(text, start, tuple(ids), self._is_marked(start)))
                text, ids, start = "", [], index + 1
        if ids:
            found.append(Piece(text + decoder.decode(b"", True), start, tuple(ids), self._is_marked(start)))
        return found

    def _is_marked(self, index: int) -> bool:
        last = bisect_right(self.marked, index, key=lambda place: place.start) - 1
        return last >= 0 and index < self.marked[last].stop


def _marked(result: ParseResult, source: Sequence[int], channels: Collection[str]) -> Iterator[slice]:
    """The places of the tokens that the training mask marks, in order."""
    spans = (
        RenderedSpan(span.start, span.content_start, span.stop, span.end, index, message.author.role, message.channel)
        for index, (message, span) in enumerate(zip(result.messages, result.spans, strict=False))
    )

    def opened(span: RenderedSpan) -> int:
        """An open header that is not there is in the prompt, or is missing."""
        return OPEN_HEADER if span.start < len(source) and source[span.start] == vocabulary.START else 0

    return learned(spans, channels, opened=opened)


def _bytes_of(token: int) -> bytes:
    return vocabulary.load().token_bytes(token) if 0 <= token <= vocabulary.LAST_TOKEN else _NO_TOKEN


def _set_out(text: str) -> str | None:
    """A JSON object or list over several lines, its values as they are written; None for any other content."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        found = msgspec.json.format(text, indent=2)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    # Each level of nesting is indented further, so deep JSON would become far longer than it is.
    return found if found != text and len(found) <= _MOST_SPACE * (len(text) + 1) else None
