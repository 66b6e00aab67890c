"""Renders the conversations of a piece of a log, lines or rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harmony.encoding import HarmonyEncoding
from harmony.errors import HarmonyError, RecordError
from harmony.format.choices import Purpose
from harmony.logs.paths import steps_of, take_out
from harmony.logs.reading import RecordReader, plan_of
from harmony.logs.records import Layout, Names, Outcome, Rendered, record_error
from harmony.rendering.renderer import RenderConversationConfig

if TYPE_CHECKING:
    from harmony.logs.inputs import Piece
    from harmony.logs.unparsed import Unparsed


class Rendering(msgspec.Struct, frozen=True):
    """How conversations are rendered, and the path to their messages.

    `most` is the limit in bytes for a conversation of a table. Raises ValueError for what is no path.
    """

    encoding: HarmonyEncoding
    config: RenderConversationConfig
    purpose: Purpose
    as_text: bool
    messages: str
    most: int

    def __post_init__(self) -> None:
        plan_of(self._names())

    def _names(self) -> Names:
        return Names(tokens=None, text=None, messages=self.messages)

    def outcomes(self, piece: Piece) -> Iterator[Outcome]:
        """Renders the conversations of a piece together, on all cores. The outcomes have the order of the records.

        Raises TypeError and ValueError for a table without the messages.
        """
        reader = RecordReader(Layout(self._names(), start="conversation"), self.most, conversations=True)
        read = reader.read(piece)
        unit: Literal["line", "row"] = "line" if isinstance(piece.data, bytes) else "row"
        if unit == "row":
            read = _with_fields(read, reader, piece)
        sources = [_source(read, index) for index in range(len(read.numbers))]
        conversations = (read.conversations[index] for index, error in enumerate(sources) if error is None)
        renderings = iter(self.encoding.render_many(conversations, self.config, purpose=self.purpose))
        steps = steps_of(self.messages)
        for number, fields, error in zip(read.numbers, read.fields, sources, strict=True):
            if error is not None:
                yield Outcome(number, fields, error, unit)
                continue
            tokens = next(renderings)
            if isinstance(tokens, HarmonyError):
                yield Outcome(number, fields, record_error(tokens, number if unit == "line" else None), unit)
                continue
            kept: dict[str, Any] = dict(fields)
            take_out(kept, steps)
            text = self.encoding.decode(tokens) if self.as_text else None
            yield Outcome(number, kept, Rendered(tokens, text), unit)


def _source(read: Unparsed, index: int) -> RecordError | None:
    """The error of a record; None where it has a conversation."""
    if index in read.errors:
        return read.errors[index]
    if index in read.conversations:
        return None
    error = read.sources.elsewhere[index]
    assert isinstance(error, RecordError)
    return error


def _with_fields(read: Unparsed, reader: RecordReader, piece: Piece) -> Unparsed:
    """The records of a table, with all of their fields as values."""
    from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

    assert not isinstance(piece.data, bytes)
    fields, errors = values_of(reader.taken(piece.data, piece.first).whole)
    return read._replace(fields=list(fields), errors=errors)
