"""Renders the conversations of a piece of a log, lines or rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from harmony.encoding import HarmonyEncoding
from harmony.errors import Fault, HarmonyError, RecordError
from harmony.format.choices import Purpose, Shape
from harmony.logs.paths import parent_of, steps_of
from harmony.logs.reading import RecordReader, Slot, listed, plan_of, slots_of
from harmony.logs.records import (
    BadRecord,
    Layout,
    Names,
    Outcome,
    Rendered,
    no_completion,
    read_records,
    record_error,
)
from harmony.logs.shapes import INPUT, Request, conversation_of, find, shape_of, without
from harmony.messages.model import Conversation
from harmony.rendering.renderer import RenderConversationConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.logs.inputs import Piece

_REPLACED: Final = b"\\ufffd"  # what `read_records` writes for a single surrogate


class _Read(NamedTuple):
    """A record: its fields, and its conversation or its error."""

    number: int
    fields: Mapping[str, Any]
    conversation: Conversation | RecordError
    shape: Shape = "harmony"


class Rendering(msgspec.Struct, frozen=True):
    """How conversations are rendered, the path to their messages or requests, and their shape; None to find it out.

    `most` is the limit in bytes for a conversation of a table. Raises ValueError for what is no path.
    """

    encoding: HarmonyEncoding
    config: RenderConversationConfig
    purpose: Purpose
    as_text: bool
    messages: str
    most: int
    shape: Shape | None = None

    def __post_init__(self) -> None:
        plan_of(self._names())

    def _names(self) -> Names:
        return Names(tokens=None, text=None, messages=self.messages)

    def outcomes(self, piece: Piece) -> Iterator[Outcome]:
        """Renders the conversations of a piece together, on all cores. The outcomes have the order of the records.

        Raises TypeError and ValueError for a table without the messages.
        """
        unit: Literal["line", "row"] = "line" if isinstance(piece.data, bytes) else "row"
        records = list(self._lines(piece) if isinstance(piece.data, bytes) else self._rows(piece.data, piece.first))
        conversations = (each.conversation for each in records if isinstance(each.conversation, Conversation))
        renderings = iter(self.encoding.render_many(conversations, self.config, purpose=self.purpose))
        for number, fields, conversation, shape in records:
            tokens = conversation if isinstance(conversation, RecordError) else next(renderings)
            if isinstance(tokens, HarmonyError):
                tokens = record_error(tokens)
            if isinstance(tokens, RecordError):
                yield Outcome(number, fields, tokens, unit)
                continue
            text = self.encoding.decode(tokens) if self.as_text else None
            yield Outcome(number, without(fields, self._request(fields)), Rendered(tokens, text, shape), unit)

    def _lines(self, piece: Piece) -> Iterator[_Read]:
        plan, _ = plan_of(self._names())
        for slot in slots_of(read_records(piece.data, piece.first, piece.too_long), plan):
            number = slot.record.number
            if slot.error is not None:
                yield _Read(number, slot.fields, slot.error)
                continue
            try:
                request = self._request(slot.fields)
                shape = self.shape or shape_of(request)
                yield _Read(number, slot.fields, conversation_of(self._exact(request, slot), shape), shape)
            except (ValueError, RecursionError) as error:
                yield _Read(number, slot.fields, record_error(error, number))

    def _exact(self, request: Request, slot: Slot) -> Request:
        """The request of a slot. What was replaced in a single surrogate's place is read from the line."""
        if _REPLACED in bytes(request.raw(request.key) or b"") and None not in steps_of(self.messages):
            assert not isinstance(slot.record, BadRecord)
            return self._request(json.loads(slot.record.written))
        return request

    def _rows(self, batch: pa.RecordBatch, first: int) -> Iterator[_Read]:
        from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

        layout = Layout(self._names(), start="conversation")
        rows = RecordReader(layout).taken(batch, first)
        records, errors = values_of(rows.whole)
        if self.messages not in rows.found and _lacks_input(records, self.messages):
            raise ValueError(f"{no_completion(self._names())}; the columns are {listed(batch.schema.names)}")
        for index, (number, fields) in enumerate(zip(rows.numbers, records, strict=True)):
            error = rows.wrong.get(index) or errors.get(index)
            if error is not None:
                yield _Read(number, fields, error)
                continue
            try:
                request = self._request(fields)
                shape = self.shape or shape_of(request)
                size = len(bytes(request.raw(request.key) or b""))
                if size > self.most:
                    fault = Fault("record-too-large", found=size)
                    yield _Read(number, fields, fault.record_error(f"at `{self.messages}`"))
                else:
                    yield _Read(number, fields, conversation_of(request, shape), shape)
            except (ValueError, RecursionError) as reason:
                yield _Read(number, fields, record_error(reason))

    def _request(self, fields: Mapping[str, Any]) -> Request:
        """The conversation of a record. Raises ValueError where there is none."""
        request = find(fields, self.messages, self.shape)
        if request is None:
            raise no_completion(self._names())
        return request


def _lacks_input(records: Sequence[dict[str, Any]], path: str) -> bool:
    """Whether the rows of a table have no column for the input of a request where the path to their messages is."""
    parent = parent_of(records[0], steps_of(path)) if records else {}
    return isinstance(parent, dict) and INPUT not in parent
