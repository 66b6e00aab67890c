"""What was read of the records of a log before parsing: the source of each completion, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from harmony.columns.engine import build
from harmony.columns.rows import Columns, Sources, ends_in_last_message
from harmony.errors import RecordError, quote
from harmony.format.choices import Shape, Start
from harmony.logs.completions import Completions, Unit, structured_messages
from harmony.logs.leads import lead_of_prompt, moved_diagnostic, moved_error
from harmony.messages.model import Conversation

if TYPE_CHECKING:
    import pyarrow as pa

    from harmony.rendering.renderer import RenderConversationConfig

#: Why models stop, as servers write it: after a stop token, or before one.
STOPPED: Final = frozenset(
    ("stop", "tool_calls", "function_call", "tool_use", "end_turn", "eos", "eos_token", "stop_sequence", "word")
)
CUT_OFF: Final = frozenset(
    ("length", "max_tokens", "limit", "content_filter", "abort", "cancelled", "timeout", "error")
)
_MARKER: Final = "<|"


class Known(msgspec.Struct):
    """What records know of their completions, by the index of the completion, where there is something to know."""

    shifts: dict[int, int] = {}  # the length of the lead that was put before it, in tokens or characters
    stopped: set[int] = set()  # the model stopped by itself
    prompts: dict[int, list[int] | str] = {}
    seen: set[str] = set()  # `prompt` and `finish_reason`, if a record has one

    def take_reason(self, index: int, reason: str | None, path: str | None) -> None:
        """Takes the finish reason at this path. Raises ValueError for one that is not known."""
        if reason in STOPPED:
            self.stopped.add(index)
        elif reason is not None and reason not in CUT_OFF:
            raise ValueError(
                f"expected a finish reason such as `stop`, `tool_calls` or `length`, found {quote(reason)} - at "
                f"`{path}`: without --finish-reason the record is read"
            )


class Unparsed(NamedTuple):
    """Some completions before parsing. In each field, index `i` belongs to completion `i`.

    If a record holds a conversation, its source is ignored. Such records exist only if the reader allows conversations.
    """

    numbers: Sequence[int]  # the numbers of their lines or rows, from 1
    sources: Sources
    lengths: list[int | None]  # the number of tokens of each; None for a text
    fields: Sequence[
        Mapping[str, Any]
    ]  # that pass through, as JSON or as values; empty if the reader skips other fields
    whole: Sequence[Mapping[str, Any]]  # those of a completion that gives an error; they hold the completion too
    conversations: Mapping[int, Conversation] = {}
    errors: Mapping[int, RecordError] = {}  # for values of a table that cannot be written
    batch: pa.RecordBatch | None = None  # the rows, if the piece is of a table
    known: Known = Known()
    start: Start = "completion"

    def parse(
        self,
        *,
        strict: bool,
        stripped: bool = False,
        bare: bool,
        threads: int = 1,
        shape: Shape = "harmony",
        structured: bool | RenderConversationConfig = False,
    ) -> Completions:
        """Parses all completions. The first arguments are those of `build`.

        `shape` and `structured` are the shape of the messages for `to_json`, and whether their contents are read back.
        """
        tokens, offsets, roles, elsewhere, texts = self.sources
        columns = build(
            tokens,
            offsets,
            roles,
            strict=strict,
            stripped=stripped,
            bare=bare,
            threads=threads,
            elsewhere=elsewhere,
            texts=texts,
        )
        columns = self.placed(columns, stripped=stripped).with_errors(self.errors)
        made = None
        if shape != "harmony":
            from harmony.logs.shaped import shaped  # it takes the conversions, which other runs do not need

            columns, made = shaped(columns, self.sources, shape, partial(self._is_cut, columns, stripped))
        elif structured:
            made = structured_messages(columns, structured)
        fields, whole = self.fields, self.whole
        if self.batch is not None and columns.errors:
            whole = list(fields)
            for index in columns.errors:
                whole[index] = _values_of_row(self.batch, index)
        unit: Unit = "line" if self.batch is None else "row"
        return Completions(self.numbers, fields, whole, self.lengths, columns, unit, made)

    def _is_cut(self, columns: Columns, stripped: bool, index: int) -> bool:
        """Whether a completion ends inside its last message."""
        complete = memoryview(columns.complete).cast("B")[index]
        return not complete and ends_in_content(self.sources, index, columns, stripped=stripped)

    def placed(self, columns: Columns, *, stripped: bool) -> Columns:
        """The columns with positions that count from the completion, and with what is known of its end."""
        shifts = self.known.shifts
        if shifts:
            columns = columns._replace(
                diagnostics={
                    index: [moved_diagnostic(each, shifts[index]) for each in found] if index in shifts else found
                    for index, found in columns.diagnostics.items()
                },
                errors={
                    index: moved_error(found, shifts[index]) if index in shifts else found
                    for index, found in columns.errors.items()
                },
            )
        if not self.known.stopped and self.start != "prompt":
            return columns
        complete = bytearray(columns.complete)
        for index, whole in enumerate(complete):
            if index in columns.errors:
                continue
            if self.start == "prompt":
                complete[index] = self._is_prompt(index)
            elif not whole and index in self.known.stopped:
                complete[index] = ends_in_content(self.sources, index, columns, stripped=stripped)
        return columns._replace(complete=bytes(complete))

    def lacks_only_a_stop(self, index: int, *, stripped: bool) -> bool:
        """Whether the record says that the model stopped, where its completion ends inside the last message."""
        if index not in self.known.stopped:
            return False
        return stripped or ends_in_last_message(self.sources.of(index), self.sources.role_of(index))

    def unmarked(self, columns: Columns) -> int:
        """How many texts have no marker such as `<|end|>` at all. A text without a fault has one, so it is not read."""
        count = 0
        for index in columns.diagnostics.keys() | columns.errors.keys():
            source = self.sources.of(index)
            count += isinstance(source, str) and _MARKER not in source[self.known.shifts.get(index, 0) :]
        return count

    def _is_prompt(self, index: int) -> bool:
        """Whether the source ends in an open `<|start|>role`, as a prompt does."""
        source = self.sources.of(index)
        if isinstance(source, RecordError):
            return False
        try:
            return lead_of_prompt(source).role is not None
        except ValueError:
            return False


def ends_in_content(sources: Sources, index: int, columns: Columns, *, stripped: bool) -> bool:
    """Whether the source ends within the content of its last message, so that only the stop is missing."""
    rows, message, ends = _view(columns.rows, "q"), _view(columns.message, "i"), _view(columns.end, "i")
    last = rows[index + 1] - 1
    if last < rows[index] or message[last] < 0 or ends[last] >= 0:
        return False
    # Without a repair, only the last message can lack its stop. With one, the parser is asked where that message ends.
    return (
        stripped or index not in columns.diagnostics or ends_in_last_message(sources.of(index), sources.role_of(index))
    )


def _view(buffer: Any, item: Any) -> memoryview:
    return memoryview(buffer).cast("B").cast(item)


def _values_of_row(batch: pa.RecordBatch, index: int) -> Mapping[str, Any]:
    from harmony.columns.passed import values_of  # loaded here, because lines of JSON need no Arrow

    [fields], _ = values_of(batch.slice(index, 1))
    return fields
