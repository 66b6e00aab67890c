"""Renders the conversations of a piece of a log, lines or rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from harmony.encoding import HarmonyEncoding, render_only
from harmony.errors import Fault, HarmonyError, RecordError, sentence
from harmony.format import vocabulary
from harmony.format.choices import Analysis, Purpose, Shape, Turns
from harmony.logs.paths import parent_of, steps_of
from harmony.logs.reading import RecordReader, listed, plan_of, slots_of
from harmony.logs.records import (
    BadRecord,
    Layout,
    Names,
    Outcome,
    Record,
    Rendered,
    no_completion,
    read_records,
    record_error,
)
from harmony.logs.shapes import INPUT, Request, conversation_of, find, shape_of, without
from harmony.messages.model import Conversation
from harmony.messages.roles import KNOWN_CHANNELS
from harmony.rendering.many import render_many
from harmony.rendering.renderer import RenderConversationConfig, checked_messages
from harmony.rendering.renderer import Rendering as TokenRendering
from harmony.rendering.turns import kept, turns_of

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

    `most` is the limit in bytes for a conversation of a table. `turns` are those to be learned; None if the messages
    are rendered without labels. Raises ValueError for what is no path.
    """

    encoding: HarmonyEncoding
    config: RenderConversationConfig
    purpose: Purpose
    as_text: bool
    messages: str
    most: int
    shape: Shape | None = None
    analysis: Analysis = "auto"
    turns: Turns | None = None

    def __post_init__(self) -> None:
        plan_of(self._names())

    def _names(self) -> Names:
        return Names(tokens=None, text=None, messages=self.messages)

    def outcomes(self, piece: Piece) -> Iterator[Outcome]:
        """Renders the conversations of a piece together, on all cores. The outcomes have the order of the records.

        A record has one outcome, or one for each example of its turns. Raises TypeError and ValueError for a table
        without the messages.
        """
        records = list(self._lines(piece) if isinstance(piece.data, bytes) else self._rows(piece.data, piece.first))
        conversations = (each.conversation for each in records if isinstance(each.conversation, Conversation))
        renderings = self._examples(conversations) if self.turns is not None else self._renderings(conversations)
        for number, fields, conversation, shape in records:
            found = [conversation] if isinstance(conversation, RecordError) else next(renderings)
            if not found:
                reason = ValueError(sentence("invalid-record/no-turn"))
                found = [record_error(reason, number if piece.unit == "line" else None)]
            if not any(isinstance(each, RecordError) for each in found):
                fields = without(fields, self._request(fields))
            for each in found:
                result = each if isinstance(each, RecordError) else msgspec.structs.replace(each, shape=shape)
                yield Outcome(number, fields, result, piece.unit)

    def _renderings(self, conversations: Iterable[Conversation]) -> Iterator[list[Rendered | RecordError]]:
        """The one rendering of each conversation."""
        config = msgspec.structs.replace(self.config, auto_drop_analysis=self.analysis == "auto")
        # The template, for the style "hf", has its own rule for training.
        is_own = self.analysis == "auto" and self.purpose == "training" and self.config.style != "hf"
        if self.analysis == "drop" or is_own:
            vocabulary.load().encoder  # noqa: B018  built once, before threads ask for it
            made = render_many(lambda each: self._render_chosen(each, config), conversations)
        else:
            made = self.encoding.render_many(conversations, config, purpose=self.purpose)
        for tokens in made:
            if isinstance(tokens, HarmonyError):
                yield [record_error(tokens)]
            else:
                yield [Rendered(tokens, self.encoding.decode(tokens) if self.as_text else None)]

    def _render_chosen(self, conversation: Conversation, config: RenderConversationConfig) -> TokenRendering:
        """A conversation without the analysis that is to be left out, as if its last turn was to be learned."""
        messages = checked_messages(conversation)
        turns = list(turns_of(messages))
        last = range(turns[-1].start if turns else len(messages), len(messages))
        return render_only(self.encoding, conversation, config, self.purpose, kept(messages, last, self.analysis))

    def _examples(self, conversations: Iterable[Conversation]) -> Iterator[list[Rendered | RecordError]]:
        """The training examples of each conversation. The examples before a faulty one are given too."""
        from harmony.training import examples_of

        assert self.turns is not None
        for conversation in conversations:
            found: list[Rendered | RecordError] = []
            try:
                for one in examples_of(conversation, self.turns, frozenset(KNOWN_CHANNELS), self.config, self.analysis):
                    found.append(Rendered(one.input_ids, None, labels=one.labels()))
            except HarmonyError as error:
                found.append(record_error(error))
            yield found

    def _lines(self, piece: Piece) -> Iterator[_Read]:
        plan, _ = plan_of(self._names())
        for record, _, fields, _, error in slots_of(read_records(piece.data, piece.first, piece.too_long), plan):
            assert fields is not None  # all fields of each record are read
            if error is not None:
                yield _Read(record.number, fields, error)
                continue
            try:
                request = self._request(fields)
                shape = self.shape or shape_of(request)
                exact = self._exact(request, record)
                yield _Read(record.number, fields, conversation_of(exact, shape), shape)
            except (ValueError, RecursionError) as fault:
                yield _Read(record.number, fields, record_error(fault, record.number))

    def _exact(self, request: Request, record: Record | BadRecord) -> Request:
        """The request of a record. What was replaced in a single surrogate's place is read from the line."""
        if _REPLACED in bytes(request.raw(request.key) or b"") and None not in steps_of(self.messages):
            assert isinstance(record, Record)
            return self._request(json.loads(record.written))
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
