"""What is shown of one input: its messages, the tokens that each came of, and the diagnostics at their places.

`shown` takes what was parsed, and the source that it was parsed from. It draws nothing: `lines.py` writes what it gives
as lines for terminals, and `page.py` as HTML.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from codecs import getincrementaldecoder
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.columns.rows import GIVEN, UNLESS_START, given_role
from harmony.encoding import load_harmony_encoding
from harmony.errors import Diagnostic, HarmonyError, RecordError
from harmony.format import vocabulary
from harmony.messages.model import Message
from harmony.messages.roles import Role
from harmony.results import OPEN_HEADER, ParseResult, RenderedSpan, Span, learned

#: What was parsed: token ids, or a text with markers.
Source: TypeAlias = Sequence[int] | str

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

    def content_parts(self) -> Iterator[tuple[Sequence[Piece], Sequence[Diagnostic]]]:
        """The content in parts, each with the diagnostics that stand behind it. There is at least one part."""
        left = [each for each in self.diagnostics if each.position > self.content_start]
        starts = [piece.start for piece in self.content]
        done = 0
        for position, found in groupby(left.copy(), attrgetter("position")):
            place = bisect_left(starts, position)
            if place < len(starts):
                inside = list(found)
                yield self.content[done:place], inside
                done, left = place, left[len(inside) :]
        yield self.content[done:], left


class Shown(msgspec.Struct, frozen=True):
    """An input as it is shown: its title, its messages, and what stands behind the last of them.

    `tokens` is None for a text. `unit` is what positions count, and `shift` is the length of what was put before the
    input: `place` gives the position of a diagnostic in the input itself. `diagnostics` are those that belong to no
    message. `error` says why there are no messages, or why they have no tokens. `number` is that of the line or row.
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

    def place(self, found: Diagnostic) -> int:
        """The position of a diagnostic in the input."""
        return max(found.position - self.shift, 0)

    def with_error(self, error: RecordError) -> Shown:
        """The same, with the reason why there are no tokens."""
        return msgspec.structs.replace(self, error=error)

    def codes(self) -> list[str]:
        """The codes of all diagnostics and of the error, each once, in order."""
        found = [each.code for message in self.messages for each in message.diagnostics]
        found += [each.code for each in self.diagnostics]
        return list(dict.fromkeys(found if self.error is None else [*found, self.error.code]))


def usual_role(source: Source) -> Role | None:
    """The role of the first message of a completion: the assistant, unless the source begins with its `<|start|>`."""
    return given_role(_ASSISTANT, source if isinstance(source, str) else list(source))


def shown_source(
    title: str, source: Source, role: Role | None, *, channels: Collection[str], stripped: bool = False, shift: int = 0
) -> Shown:
    """What is shown of token ids or of a text with markers, which are parsed leniently.

    `role` is that of the first message, if the source does not begin with its `<|start|>`. `channels` are those of the
    training mask. The first `shift` tokens or characters were put before the source: positions count behind them.
    """
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    try:
        if isinstance(source, str):
            result = encoding.parse_text(source, role, strict=False, stripped=stripped)
        else:
            result = encoding.parse(source, role, strict=False)
    except HarmonyError as error:  # a source that is too large
        return Shown(title, error=RecordError(error.code, str(error), error.position))
    return shown_result(title, result, source, channels=channels, shift=shift)


def shown_result(
    title: str, result: ParseResult, source: Source | None = None, *, channels: Collection[str] = (), shift: int = 0
) -> Shown:
    """What is shown of a result, with the pieces of the source that it was parsed from, if that is given."""
    unit: Literal["token", "character"] = "character" if result.token_count is None else "token"
    diagnostics = _by_message(result)
    places = [] if source is None else list(_places(result, len(source)))
    marked = [] if source is None or isinstance(source, str) else _learned(result, source, channels)
    cuts = sorted(each.position for each in result.diagnostics)
    messages = []
    for index, message in enumerate(result.messages):
        span = result.spans[index] if result.spans else None
        before, header, content, stop = (
            ([], [], [], []) if source is None else ([*_pieces(source, place, marked, cuts)] for place in places[index])
        )
        all_pieces = [*header, *content, *stop]
        messages.append(
            ShownMessage(
                message,
                message.text,
                None if span is None else span.end,
                None if span is None or unit == "character" else span.stop + (span.end is not None) - span.start,
                sum(len(piece.ids) for piece in all_pieces if piece.learned) if marked else None,
                before,
                header,
                content,
                stop,
                "".join(piece.text for piece in content) == message.text,
                _is_folded(message),
                _set_out(message.text),
                0 if span is None else span.content_start,
                diagnostics[index],
            )
        )
    behind = [] if source is None else [*_pieces(source, places[-1][0], marked, cuts)]
    return Shown(
        title,
        messages,
        behind,
        diagnostics[-1],
        None,
        result.token_count,
        unit,
        result.complete,
        result.next_role,
        shift,
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


def _places(result: ParseResult, length: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """For each message the places of what stands before it, of its header, its content and its stop.

    At the end, the first of them is the place of what stands behind the last message.
    """
    done = 0
    for span in result.spans:
        start, content = max(span.start, done), max(span.content_start, done)
        stop = max(span.stop, content)
        end = stop if span.end is None else _behind_stop(span, result)
        yield slice(done, start), slice(start, content), slice(content, stop), slice(stop, end)
        done = end
    for _ in result.messages[len(result.spans) :]:  # their places in a text that lost its markers are not known
        yield slice(0), slice(0), slice(0), slice(0)
    yield slice(done, length), slice(0), slice(0), slice(0)


def _behind_stop(span: Span, result: ParseResult) -> int:
    """The place behind the stop of a message: one token, or the characters of its marker."""
    return span.stop + (1 if result.token_count is not None else len(f"<|{span.end}|>"))


def _learned(result: ParseResult, source: Sequence[int], channels: Collection[str]) -> list[slice]:
    """The places of the tokens that the training mask marks, in order."""
    spans = []
    for index, (message, span) in enumerate(zip(result.messages, result.spans, strict=False)):
        # The prompt of a completion ended with the open header of the completion's first message.
        is_open = index == 0 and source[span.start] != vocabulary.START
        start = span.start - OPEN_HEADER if is_open else span.start
        role = message.author.role
        spans.append(RenderedSpan(start, span.content_start, span.stop, span.end, index, role, message.channel))
    return list(learned(spans, channels))


def _pieces(source: Source, place: slice, marked: Sequence[slice], cuts: Sequence[int]) -> list[Piece]:
    """The pieces of a part of the source. A piece of a text ends before each of the `cuts`."""
    if isinstance(source, str):
        inside = cuts[bisect_right(cuts, place.start) : bisect_left(cuts, place.stop)]
        bounds = [place.start, *dict.fromkeys(inside), place.stop]
        return [Piece(source[start:stop], start) for start, stop in pairwise(bounds) if start < stop]
    decoder = getincrementaldecoder("utf-8")("replace")
    found: list[Piece] = []
    text, ids, start = "", [], place.start
    for index, token in enumerate(source[place], place.start):
        ids.append(token)
        text += decoder.decode(_bytes_of(token))
        if not decoder.getstate()[0]:
            found.append(Piece(text, start, tuple(ids), _is_marked(marked, start)))
            text, ids, start = "", [], index + 1
    if ids:
        found.append(Piece(text + decoder.decode(b"", True), start, tuple(ids), _is_marked(marked, start)))
    return found


def _bytes_of(token: int) -> bytes:
    return vocabulary.load().token_bytes(token) if 0 <= token <= vocabulary.LAST_TOKEN else _NO_TOKEN


def _is_marked(marked: Sequence[slice], index: int) -> bool:
    last = bisect_right(marked, index, key=lambda place: place.start) - 1
    return last >= 0 and index < marked[last].stop


def _is_folded(message: Message) -> bool:
    """Whether the message is folded at first: what the model did not write, or long analysis."""
    return message.author.role in _FOLDED or (message.channel == "analysis" and len(message.text) > _LONG)


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
