"""Reads the records of a piece of a log: where the completion of each is, and what its record knows of it.

The input is a piece of a log: some lines of JSON, or some rows of a table. The output is Unparsed, which holds the
source of each completion. This module does not know which files the pieces come from.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from harmony.columns.rows import (
    ELSEWHERE,
    GIVEN,
    GIVEN_CODE,
    UNLESS_START,
    Source,
    Sources,
)
from harmony.errors import Fault, RecordError, quote
from harmony.logs.chat_shape import is_input, kind_of_conversation
from harmony.logs.inputs import MAX_LINE
from harmony.logs.leads import NOTHING, Lead, lead_of_prefix, lead_of_prompt
from harmony.logs.paths import INDEX, Plan, Variant, lists_of, steps_of, take_out
from harmony.logs.records import (
    BadRecord,
    Layout,
    Names,
    Record,
    check_free,
    completion_field,
    no_completion,
    read_completion,
    read_conversation,
    read_name,
    read_prompt,
    read_records,
    record_error,
)
from harmony.logs.unparsed import Known, Unparsed
from harmony.messages.model import Conversation
from harmony.messages.roles import Role, as_role
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.columns.tables import TableParser
    from harmony.logs.inputs import Piece

if TYPE_CHECKING or not COMPILED:
    from harmony.logs.json_py import Ids
else:
    from harmony.logs.json_c import Ids

_ASSISTANT: Final = GIVEN.index(Role.ASSISTANT) | UNLESS_START
_NO_ROLE: Final = GIVEN.index(None)
_AS_CONVERSATION: Final = b'{"messages":%b}'
_NULL: Final = msgspec.Raw(b"null")
_REPLACED: Final = b"\\ufffd"  # what `read_records` writes for a single surrogate


class Slot(NamedTuple):
    """One completion of a record of JSON, or the error of the record.

    `found` has the values by path, and `fields` what passes through, from which the completion is still to be taken.
    The completion is that of number `place` in its record.
    """

    record: Record | BadRecord
    found: Mapping[str, msgspec.Raw]
    fields: dict[str, Any]
    place: int = 0
    error: RecordError | None = None


class Whole(Sequence[Mapping[str, Any]]):
    """What passes through if a completion is bad: all fields of its record. They are rarely needed, so made late."""

    def __init__(self, slots: Sequence[Slot], plan: Plan) -> None:
        self._slots = slots
        self._plan = plan

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> Mapping[str, Any]:  # type: ignore[override]
        record, _, _, place, error = self._slots[index]
        if isinstance(record, BadRecord):
            return {}
        if self._plan.is_flat or error is not None:
            return record.fields
        return _with_index(self._plan.variants(record.fields)[place], self._plan)


@lru_cache(1 << 6)
def plan_of(names: Names) -> tuple[Plan, Names]:
    """The plan for the paths, and the names as keys: paths that are only names stand without their quotes."""
    plan = Plan(names.all())
    lists = max((lists_of(path) for path in (*names.completions(), names.messages)), key=len)
    for path in (names.role, names.prompt, names.finish_reason):
        if path is not None and len(lists_of(path)) > len(lists):
            raise ValueError(f"expected a path to one value for each completion, found {quote(path)}")
    if not plan.is_flat:
        return plan, names
    plain = {name: path and steps_of(path)[0] for name, path in msgspec.structs.asdict(names).items()}
    return plan, Names(**plain)  # type: ignore[arg-type]


class RecordReader(msgspec.Struct, frozen=True):
    """Reads the records of pieces: the completions of each, their roles, and the fields that pass through.

    `most` is the limit in bytes for a completion in a table (lines were limited when they were cut). `passing` says
    whether other fields are read. With `conversations`, a record without a completion may have the messages of a
    conversation.
    """

    layout: Layout = Layout()
    most: int = MAX_LINE
    passing: bool = True
    conversations: bool = False

    def read(self, piece: Piece) -> Unparsed:
        """Reads the records of a piece. Raises TypeError and ValueError for a table without the required columns."""
        if isinstance(piece.data, bytes):
            return self.lines(piece.data, piece.first, piece.too_long)
        return self.rows(piece.data, piece.first)

    def lines(self, data: bytes, first: int, too_long: int = 0) -> Unparsed:
        """Reads the records of all lines that are not blank. The arguments are those of `read_records`."""
        plan, names = plan_of(self.layout.names)
        ids, offsets, roles = Ids(), [0], bytearray()
        elsewhere: dict[int, Source] = {}
        conversations: dict[int, Conversation] = {}
        fields: list[Mapping[str, Any]] = []
        lengths: list[int | None] = []
        known = Known({}, set(), {}, set())
        slots = list(slots_of(read_records(data, first, too_long), plan))
        for index, slot in enumerate(slots):
            role, path, before = _ASSISTANT, None, len(ids)
            if slot.error is not None:
                elsewhere[index] = slot.error
            else:
                try:
                    path = completion_field(slot.found, names)
                    if path is not None:
                        role, lead = self._role(slot.found, names, index, known)
                        if lead.tokens:
                            known.shifts[index] = len(lead.tokens if path == names.tokens else lead.text)
                            ids.scan(msgspec.json.encode(lead.tokens))
                        if path != names.tokens or not ids.scan(slot.found[path]):
                            completion = read_completion(slot.found[path], path, as_ids=path == names.tokens)
                            elsewhere[index] = _behind(lead, completion)
                        if names.finish_reason is not None and names.finish_reason in slot.found:
                            known.seen.add("finish_reason")
                            reason = read_name(slot.found[names.finish_reason], names.finish_reason)
                            known.take_reason(index, reason, names.finish_reason)
                    elif self.conversations and (messages := slot.found.get(names.messages, _NULL)) != _NULL:
                        conversations[index] = _conversation(messages, names.messages, slot.record)
                    else:
                        raise self._no_completion(slot, names)
                except (ValueError, RecursionError) as error:
                    elsewhere[index] = record_error(error, slot.record.number)
            roles.append(role | (ELSEWHERE if index in elsewhere else 0))
            fields.append(_passing(slot.fields, path, plan))
            offsets.append(len(ids))
            source = elsewhere.get(index)
            length = len(ids) - before if source is None else len(source) if isinstance(source, list) else None
            lengths.append(length and length - known.shifts.get(index, 0))
        sources = Sources(ids.view(), memoryview(array("q", offsets)), bytes(roles), elsewhere)
        numbers = [slot.record.number for slot in slots]
        whole = Whole(slots, plan)
        return Unparsed(numbers, sources, lengths, fields, whole, conversations, known=known, start=self.layout.start)

    def rows(self, batch: pa.RecordBatch, first: int) -> Unparsed:
        """Reads the records of rows of a table. The first row has the number `first`."""
        from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

        _, names = plan_of(self.layout.names)
        rows = self.taken(batch, first)
        messages = rows.found.get(names.messages) if self.conversations else None
        if messages is not None and not any(path in rows.found for path in names.completions()):
            nothing = Sources(memoryview(b"").cast("I"), memoryview(bytes(8 * len(messages) + 8)).cast("q"), b"", {})
            return self._with_conversations(Unparsed(rows.numbers, nothing, [], [], []), messages, range(len(messages)))
        parser = self.table_parser(rows.batch.schema, hidden=names.completions())
        sources, known = self.sources(parser, rows)
        shifts = known.shifts
        lengths = [
            length and length - shifts.get(index, 0) if isinstance(sources.elsewhere.get(index), list) else length
            for index, length in enumerate(parser.lengths(rows.batch))
        ]
        read = Unparsed(rows.numbers, sources, lengths, [], [], known=known, start=self.layout.start)
        if self.passing:
            fields, errors = values_of(rows.batch.select(parser.kept(rows.batch.schema)))
            read = read._replace(fields=list(fields), errors=errors, batch=rows.whole)
        if messages is not None:
            read = self._with_conversations(read, messages, parser.rows_without_completion(rows.batch))
        return read

    def taken(self, batch: pa.RecordBatch, first: int) -> Rows:
        """Takes the rows of a table apart along the paths. The first row has the number `first`."""
        plan, names = plan_of(self.layout.names)
        numbers: Sequence[int] = range(first, first + len(batch))
        if plan.is_flat:
            found = {name: batch.column(name) for name in names.all() if name in batch.schema.names}
            return Rows(numbers, _without_empty_ids(batch, names), batch, found, {})
        from harmony.logs.table_paths import take

        taken = take(batch, plan, names.completions())
        columns = {name: taken.found[name] for name in [*names.completions(), names.role] if name in taken.found}
        rest = taken.rest
        for name, column in columns.items():
            rest = rest.append_column(name, column)
        numbers = numbers if taken.rows is None else [first + row for row in taken.rows]
        return Rows(numbers, _without_empty_ids(rest, names), taken.whole, taken.found, taken.wrong)

    def sources(self, parser: TableParser, rows: Rows) -> tuple[Sources, Known]:
        """The sources of the completions of some rows, and what the rows know of them."""
        _, names = plan_of(self.layout.names)
        sources, known = parser.read(rows.batch), Known({}, set(), {}, set())
        elsewhere, roles = dict(sources.elsewhere), bytearray(sources.roles)
        if self.layout.start == "completion" and names.role not in rows.batch.schema.names:
            roles = bytearray(code | UNLESS_START for code in roles)  # a completion may name its role itself
        elif self.layout.start != "completion":
            roles = bytearray(code & ~(GIVEN_CODE | UNLESS_START) | _NO_ROLE for code in roles)
        for index, error in rows.wrong.items():
            elsewhere[index] = error
        reasons, prompts = (_values(rows.found.get(path or "")) for path in (names.finish_reason, names.prompt))
        with_leads = self.layout.start == "completion" and (self.layout.prefix or prompts)
        for index in range(len(rows.batch)) if reasons or with_leads else ():
            if isinstance(elsewhere.get(index), RecordError):
                continue
            try:
                if reasons:
                    known.seen.add("finish_reason")
                    known.take_reason(index, reasons[index], names.finish_reason)
                if with_leads:
                    prompt = prompts[index] if prompts else None
                    lead = self._lead(prompt, index, known)
                    roles[index] = roles[index] & ~(GIVEN_CODE | UNLESS_START) | _code_behind(lead, roles[index])
                    if lead.text:
                        source = sources.of(index)
                        if isinstance(source, RecordError):
                            raise ValueError(source.message)
                        known.shifts[index] = len(lead.text if isinstance(source, str) else lead.tokens)
                        elsewhere[index] = lead.text + source if isinstance(source, str) else [*lead.tokens, *source]
            except (ValueError, TypeError) as error:
                elsewhere[index] = record_error(error)
        for index in elsewhere:
            roles[index] |= ELSEWHERE
        return sources._replace(roles=bytes(roles), elsewhere=elsewhere), known

    def table_parser(
        self,
        schema: pa.Schema,
        *,
        hidden: Sequence[str] | None = None,
        strict: bool = False,
        stripped: bool = False,
        nested: bool = False,
        threads: int = 1,
    ) -> TableParser:
        """The parser for tables of this schema. It uses those of the named columns that exist.

        Raises TypeError and ValueError for tables without the required columns.
        """
        from harmony.columns.tables import TableParser  # loaded here, because lines of JSON need no Arrow

        _, names = plan_of(self.layout.names)
        tokens, text, role = (
            name if name is not None and name in schema.names else None
            for name in (names.tokens, names.text, names.role)
        )
        if tokens is None and text is None:
            beside = "a conversation" if names.messages in schema.names and not self.conversations else None
            missing = no_completion(names, conversations=self.conversations, found=beside)
            raise ValueError(f"{missing}; the columns are {listed(schema.names)}")
        parser = TableParser(
            tokens,
            text,
            Role.ASSISTANT,
            role if self.layout.start == "completion" else None,
            strict=strict,
            stripped=stripped,
            nested=nested,
            threads=threads,
            most=self.most,
            hidden=hidden,
        )
        parser.schema(schema)  # raises an error if a column has a wrong type
        return parser

    def _with_conversations(self, read: Unparsed, messages: pa.Array, rows: Sequence[int]) -> Unparsed:
        """The same records, with the conversations of these rows."""
        import pyarrow as pa  # loaded here, because lines of JSON need no Arrow

        from harmony.columns.passed import values_of

        conversations: dict[int, Conversation] = {}
        elsewhere = dict(read.sources.elsewhere)
        column = pa.RecordBatch.from_arrays([messages], names=["messages"])
        values, errors = values_of(column) if rows else ([], {})
        for index in rows:
            elsewhere.pop(index, None)
            written = msgspec.json.encode(values[index])
            if len(written) > self.most:
                fault = Fault("record-too-large", found=len(written))
                elsewhere[index] = fault.record_error(f"at `{self.layout.names.messages}`")
            elif index in errors:
                elsewhere[index] = errors[index]
            else:
                try:
                    conversations[index] = read_conversation(written)
                except (ValueError, RecursionError) as error:
                    elsewhere[index] = record_error(error)
        return read._replace(sources=read.sources._replace(elsewhere=elsewhere), conversations=conversations)

    def _no_completion(self, slot: Slot, names: Names) -> ValueError:
        """The error for a record without what is read, which says what it has instead."""
        found = kind_of_conversation(slot.found.get(names.messages))
        if found is None and is_input(slot.fields.get("input")):
            found, names = "a request of the Responses API", msgspec.structs.replace(names, messages="input")
        return no_completion(names, conversations=self.conversations, found=found)

    def _role(self, found: Mapping[str, msgspec.Raw], names: Names, index: int, known: Known) -> tuple[int, Lead]:
        """The code of a completion's role, and what stands before the completion."""
        if self.layout.start != "completion":
            return _NO_ROLE, NOTHING
        written = found.get(names.role)
        role = _ASSISTANT if written is None else GIVEN.index(as_role(read_name(written, names.role)))
        prompt = None
        if names.prompt is not None and (value := found.get(names.prompt, _NULL)) != _NULL:
            prompt = read_prompt(value, names.prompt)
        lead = self._lead(prompt, index, known)
        return _code_behind(lead, role), lead

    def _lead(self, prompt: list[int] | str | None, index: int, known: Known) -> Lead:
        if self.layout.prefix:
            return lead_of_prefix(self.layout.prefix)
        if prompt is None:
            return NOTHING
        known.seen.add("prompt")
        lead = lead_of_prompt(prompt)
        known.prompts[index] = prompt[: len(prompt) - len(lead.text if isinstance(prompt, str) else lead.tokens)]
        return lead


def _without_empty_ids(batch: pa.RecordBatch, names: Names) -> pa.RecordBatch:
    """The batch with null for each empty list of ids beside a text, which is then the completion."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = batch.schema.names
    if names.tokens not in columns or names.text not in columns:
        return batch
    place = columns.index(names.tokens)
    ids, texts = batch.column(place), batch.column(names.text)
    if pa.types.is_list(ids.type) or pa.types.is_large_list(ids.type):
        if pa.types.is_null(ids.type.value_type):  # no list has an id, so nothing said what ids are
            ids = ids.cast(pa.list_(pa.int64()))
        is_empty = pc.and_(pc.equal(pc.list_value_length(ids), 0), texts.is_valid()).fill_null(False)
        if is_empty.true_count:
            ids = pc.if_else(is_empty, pa.scalar(None, ids.type), ids)
    return batch.set_column(place, names.tokens, ids)


def _code_behind(lead: Lead, role: int) -> int:
    """The code of the role of a completion behind a lead, where its record gives it this code."""
    if lead.role is not None:
        return GIVEN.index(lead.role)
    if lead.names_role:
        return _NO_ROLE
    return role & ~UNLESS_START if lead.text else role


def _conversation(messages: msgspec.Raw, name: str, record: Record | BadRecord) -> Conversation:
    """Reads the conversation of a record. What was replaced in a single surrogate's place is read from the line."""
    written = bytes(messages)
    if _REPLACED in written and isinstance(record, Record) and name in record.fields:
        written = json.dumps(json.loads(record.written)[name]).encode()
    return read_conversation(_AS_CONVERSATION % written)


def _values(column: pa.Array | None) -> list[Any] | None:
    return None if column is None else column.to_pylist()


def listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def slots_of(records: Sequence[Record | BadRecord], plan: Plan) -> Iterator[Slot]:
    """The completions of records of JSON. A record without any has one slot, with its error."""
    for record in records:
        if isinstance(record, BadRecord):
            yield Slot(record, {}, {}, error=record.error)
        elif plan.is_flat:
            yield Slot(record, record.fields, record.fields)
        else:
            try:
                variants = plan.variants(record.fields)
            except (ValueError, RecursionError) as error:
                yield Slot(record, {}, record.fields, error=record_error(error, record.number))
                continue
            if plan.depth:
                check_free(record.fields, [INDEX], record.number)
            for place, variant in enumerate(variants):
                yield Slot(record, variant.found, _with_index(variant, plan), place)


def _with_index(variant: Variant, plan: Plan) -> dict[str, Any]:
    """What belongs to a variant, with its index, or its indices where one list is inside another."""
    whole: dict[str, Any] = variant.whole
    if plan.depth == 1:
        whole[INDEX] = variant.indices[0] if variant.indices else None
    elif plan.depth:
        whole[INDEX] = list(variant.indices)
    return whole


def _passing(fields: dict[str, Any], path: str | None, plan: Plan) -> Mapping[str, Any]:
    """What passes through once the completion at this path is parsed."""
    if path is None:
        return fields
    if plan.is_flat:
        return {name: value for name, value in fields.items() if name != path}
    take_out(fields, steps_of(path))
    return fields


def _behind(lead: Lead, completion: list[int] | str) -> list[int] | str:
    """The completion behind its lead."""
    if isinstance(completion, str):
        return lead.text + completion
    return [*lead.tokens, *completion] if lead.tokens else completion


class Rows(NamedTuple):
    """Rows of a table whose completions stand in columns of their own, one row for each completion."""

    numbers: Sequence[int]
    batch: pa.RecordBatch  # the columns that pass through, and those of the completions, named by their paths
    whole: pa.RecordBatch  # the columns as they are, if a completion is bad
    found: Mapping[str, pa.Array]  # the prompts and finish reasons, by path
    wrong: Mapping[int, RecordError]
