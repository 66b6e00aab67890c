"""The records of logs as they are shown: completions, conversations of any shape, and files with one text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from harmony.encoding import load_harmony_encoding
from harmony.errors import Fault, RecordError, printable
from harmony.format import vocabulary
from harmony.logs.completions import Unit
from harmony.logs.inputs import Piece, expand, shown, unread
from harmony.logs.reading import RecordReader
from harmony.logs.records import Layout, Outcome, Rendered, id_of
from harmony.logs.rendered import Rendering
from harmony.logs.shapes import find
from harmony.logs.single import ids_of, parts_of, text_of
from harmony.messages.roles import Role
from harmony.rendering.renderer import RenderConversationConfig
from harmony.viewing.shown import Shown, Source, shown_source, usual_role


class Chosen(NamedTuple):
    """Which records are shown: the record of this number in each file, and those with this `id`. None means all."""

    number: int | None = None
    id: str | None = None

    def takes(self, number: int, name: str | None) -> bool:
        """Whether a record is shown, by its number and its id."""
        return self.number in (None, number) and self.id in (None, name)

    def is_all(self) -> bool:
        """Whether all records are shown."""
        return self.number is None and self.id is None


class Viewer(msgspec.Struct, frozen=True):
    """Reads the records of logs, and parses them leniently.

    `channels` are those of the training mask. `most` is the limit in bytes for a record.
    """

    layout: Layout
    channels: Collection[str]
    most: int
    chosen: Chosen = Chosen()

    def shown(self, files: Sequence[str]) -> Iterator[Shown]:
        """What is shown of each record, in order. Raises Unreadable, ImportError and ValueError."""
        inputs = [name for name, _ in expand(files)]
        for name in inputs:
            prefix = f"{name} " if len(inputs) > 1 else ""
            for part in parts_of(name, self.most):
                if isinstance(part, bytes):
                    yield self._single(part, shown(name))
                    continue
                yield from self._records(name, part, prefix)
                if self.chosen.number is not None and _last(part) >= self.chosen.number:
                    break

    def _single(self, data: bytes, title: str) -> Shown:
        """What is shown of a file with one text or with token ids."""
        try:
            text = text_of(data)
        except UnicodeDecodeError as error:
            fault = Fault("invalid-utf-8/bytes", found=f"0x{data[error.start]:02x}")
            return Shown(title, error=fault.record_error(f"at byte {error.start:,}"))
        source = ids_of(text) or text
        role = usual_role(source) if self.layout.start == "completion" else None
        return self._source(title, source, role, 0, None)

    def _records(self, name: str, piece: Piece, prefix: str) -> Iterator[Shown]:
        """What is shown of the chosen records of a piece."""
        try:
            read = RecordReader(self.layout, self.most).read(piece)
        except (TypeError, ValueError) as reason:  # a table without the columns of completions
            for outcome in self._conversations(name, piece, reason):
                if self._takes(outcome.number, outcome.fields):
                    yield self._rendered(outcome, prefix)
            return
        unit = unit_of(piece)
        for index, number in enumerate(read.numbers):
            fields = read.fields[index]
            if not self._takes(number, fields):
                continue
            source = read.sources.of(index)
            error = read.errors.get(index) or (source if isinstance(source, RecordError) else None)
            if error is not None and self._has_conversation(read.whole[index] if unit == "line" else fields):
                for outcome in self._conversations(name, _part(piece, number), ValueError(error.message)):
                    yield self._rendered(outcome, prefix)
                continue
            title = _title(prefix, unit, number, fields)
            if error is not None or isinstance(source, RecordError):
                yield Shown(title, error=error, number=number)
            else:
                shift = read.known.shifts.get(index, 0)
                yield self._source(title, source, read.sources.role_of(index), shift, number)

    def _takes(self, number: int, fields: Mapping[str, Any]) -> bool:
        return self.chosen.is_all() or self.chosen.takes(number, name_of(fields))

    def _has_conversation(self, fields: Mapping[str, Any]) -> bool:
        try:
            return find(fields, self.layout.names.messages, None) is not None
        except ValueError:  # a conversation that cannot be used: rendering says why
            return True

    def _conversations(self, name: str, piece: Piece, unread_before: Exception) -> Iterator[Outcome]:
        """The conversations of a piece, rendered. Raises Unreadable for a table that has none."""
        rendering = Rendering(
            load_harmony_encoding(vocabulary.ENCODING_NAME),
            RenderConversationConfig(),
            "conversation",
            False,
            self.layout.names.messages,
            self.most,
            analysis="keep",
        )
        try:
            yield from rendering.outcomes(piece)
        except (TypeError, ValueError):
            raise unread(name, unread_before) from None

    def _rendered(self, outcome: Outcome, prefix: str) -> Shown:
        title = _title(prefix, outcome.unit, outcome.number, outcome.fields)
        if isinstance(outcome.result, RecordError):
            return Shown(title, error=outcome.result, number=outcome.number)
        assert isinstance(outcome.result, Rendered)
        return self._source(title, outcome.result.tokens, None, 0, outcome.number)

    def _source(self, title: str, source: Source, role: Role | None, shift: int, number: int | None) -> Shown:
        found = shown_source(title, source, role, channels=self.channels, stripped=self.layout.stripped, shift=shift)
        return msgspec.structs.replace(found, number=number)


def name_of(fields: Mapping[str, Any]) -> str | None:
    """The id of a record as a text; None if it has none."""
    found = id_of(fields)
    return found if found is None or isinstance(found, str) else msgspec.json.encode(found).decode()


def _title(prefix: str, unit: Unit, number: int, fields: Mapping[str, Any]) -> str:
    name = name_of(fields)
    return printable(f"{prefix}{unit} {number:,}" + ("" if name is None else f" · {name}"))


def _part(piece: Piece, number: int) -> Piece:
    """The record of this number as a piece of its own."""
    place = number - piece.first
    if isinstance(piece.data, bytes):
        return Piece(piece.data.split(b"\n")[place] + b"\n", number, piece.after)
    return Piece(piece.data.slice(place, 1), number, piece.after)


def _last(piece: Piece) -> int:
    """The number of the last line or row of a piece."""
    return piece.first + (piece.data.count(b"\n") if isinstance(piece.data, bytes) else len(piece.data)) - 1


def unit_of(piece: Piece) -> Unit:
    """What the numbers of the records of a piece count."""
    return "line" if isinstance(piece.data, bytes) else "row"
