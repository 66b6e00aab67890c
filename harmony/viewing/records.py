"""The records of logs as they are shown: completions, conversations of any shape, and files with one text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from harmony.encoding import load_harmony_encoding
from harmony.errors import Diagnostic, Fault, RecordError
from harmony.format import vocabulary
from harmony.logs.completions import Unit
from harmony.logs.inputs import Piece, expand, input_name, unread
from harmony.logs.paths import INDEX
from harmony.logs.reading import RecordReader
from harmony.logs.records import ID_FIELDS, Layout, Outcome, Rendered, id_of, own_of
from harmony.logs.rendered import Rendering
from harmony.logs.shapes import find
from harmony.logs.single import ids_of, parts_of, text_of
from harmony.logs.unparsed import Unparsed
from harmony.messages.roles import Role
from harmony.rendering.renderer import RenderConversationConfig
from harmony.viewing.shown import Shown, Source, shown_source, usual_role

_PARSED_BEFORE: Final = (
    "these messages were parsed before, and rendered again: positions count in the completion that was parsed"
)


class Chosen(NamedTuple):
    """Which records are shown: the record of this number in each file, and those with this `id`. None means all."""

    number: int | None = None
    id: str | None = None

    def takes(self, number: int, ids: Collection[str]) -> bool:
        """Whether a record is shown, by its number and its ids."""
        return self.number in (None, number) and (self.id is None or self.id in ids)

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

    def records(self, files: Sequence[str]) -> Iterator[Shown]:
        """What is shown of each record, in order. Raises Unreadable, ImportError and ValueError."""
        inputs = [name for name, _ in expand(files)]
        for name in inputs:
            file = input_name(name) if len(inputs) > 1 else ""
            for part in parts_of(name, self.most):
                if isinstance(part, bytes):
                    if self.chosen.takes(1, ()):
                        yield self._single(part, input_name(name))
                    continue
                yield from self._of_piece(name, part, file)
                if self.chosen.number is not None and _last(part) >= self.chosen.number:
                    break

    def _single(self, data: bytes, title: str) -> Shown:
        """What is shown of a file with one text or with token ids."""
        try:
            text = text_of(data)
        except UnicodeDecodeError as error:
            fault = Fault("invalid-utf-8/bytes", found=f"0x{data[error.start]:02x}")
            return Shown(title, error=fault.record_error(f"at byte {error.start:,}"), number=1)
        ids = ids_of(text)
        source: Source = text if ids is None else ids
        role = usual_role(source) if self.layout.start == "completion" else None
        return self._source(title, source, role, 1)

    def _of_piece(self, name: str, piece: Piece, file: str) -> Iterator[Shown]:
        """What is shown of the chosen records of a piece."""
        try:
            read = RecordReader(self.layout, self.most).read(piece)
        except (TypeError, ValueError) as reason:  # a table without the columns of completions
            for outcome in self._conversations(name, piece, reason):
                if self._takes(outcome.number, outcome.fields):
                    yield self._rendered(outcome, file)
            return
        lines: list[bytes] = []  # of the piece, once a record needs its own
        for index, number in enumerate(read.numbers):
            fields = read.fields[index]
            if not self._takes(number, fields):
                continue
            source = read.sources.of(index)
            error = read.errors.get(index) or (source if isinstance(source, RecordError) else None)
            if error is not None and self._has_conversation(read.whole[index] if piece.unit == "line" else fields):
                place = number - piece.first
                if isinstance(piece.data, bytes):
                    lines = lines or piece.data.split(b"\n")
                    data = lines[place] + b"\n"
                else:
                    data = piece.data.slice(place, 1)
                for outcome in self._conversations(name, Piece(data, number, piece.after), ValueError(error.message)):
                    yield self._rendered(outcome, file)
                continue
            title = title_of_record(piece.unit, number, fields, file)
            if error is not None or isinstance(source, RecordError):
                yield Shown(title, error=_told(own_of(fields, self.layout.into)) or error, number=number)
            else:
                yield self._completion(title, read, index, source)

    def _takes(self, number: int, fields: Mapping[str, Any]) -> bool:
        return self.chosen.is_all() or self.chosen.takes(number, ids_of_record(fields))

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

    def _rendered(self, outcome: Outcome, file: str) -> Shown:
        """What is shown of a conversation, and what `harmony parse` wrote beside it, if it did."""
        title = title_of_record(outcome.unit, outcome.number, outcome.fields, file)
        own = own_of(outcome.fields, self.layout.into)
        if isinstance(outcome.result, RecordError):
            return Shown(title, error=_told(own) or outcome.result, number=outcome.number)
        assert isinstance(outcome.result, Rendered)
        found = self._source(title, outcome.result.tokens, None, outcome.number)
        if not own:
            return found
        return msgspec.structs.replace(
            found,
            diagnostics=[*found.diagnostics, *_repairs(own)],
            complete=own.get("complete") is not False,
            error=_told(own),
            note=_PARSED_BEFORE,
        )

    def _completion(self, title: str, read: Unparsed, index: int, source: Source) -> Shown:
        """What is shown of a completion, with what its record knows of its end."""
        shift = read.known.shifts.get(index, 0)
        found = self._source(title, source, read.sources.role_of(index), read.numbers[index], shift)
        if found.complete or not read.lacks_only_a_stop(index, stripped=self.layout.stripped):
            return found
        return msgspec.structs.replace(found, complete=True)

    def _source(self, title: str, source: Source, role: Role | None, number: int, shift: int = 0) -> Shown:
        found = shown_source(title, source, role, channels=self.channels, stripped=self.layout.stripped, shift=shift)
        return msgspec.structs.replace(found, number=number)


def _told(own: Mapping[str, Any]) -> RecordError | None:
    """The error that `harmony parse` wrote into a record."""
    try:
        return msgspec.convert(own.get("error"), RecordError | None)
    except msgspec.ValidationError:  # a field of somebody else
        return None


def _repairs(own: Mapping[str, Any]) -> list[Diagnostic]:
    """The repairs that `harmony parse` wrote into a record."""
    try:
        return msgspec.convert(own.get("diagnostics") or [], list[Diagnostic])
    except msgspec.ValidationError:
        return []


def ids_of_record(fields: Mapping[str, Any]) -> list[str]:
    """The values of all fields that may hold the id of a record, as texts."""
    found = (id_of({name: fields[name]}) for name in ID_FIELDS if name in fields)
    return [each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in found if each is not None]


def title_of_record(unit: Unit, number: int, fields: Mapping[str, Any], file: str = "") -> str:
    """The title of a record: its number, its id, which of its completions this is, and its file; what there is."""
    parts = [f"{unit} {number:,}", *ids_of_record(fields)[:1]]
    if (index := fields.get(INDEX)) is not None:
        parts.append(f"completion {index}")
    return " · ".join([*parts, file] if file else parts)


def _last(piece: Piece) -> int:
    """The number of the last line or row of a piece."""
    return piece.first + (piece.data.count(b"\n") if isinstance(piece.data, bytes) else len(piece.data)) - 1
