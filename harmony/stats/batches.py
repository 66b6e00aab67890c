"""What is taken from a batch of messages for counting: its columns, its conversations and their messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from harmony.columns.constants import integer, integers, string, strings
from harmony.messages.roles import Role
from harmony.stats.tallies import OTHERS, check_lengths, starts_of

_NAME_LENGTH: Final = 256
_LONGEST_NAME: Final = integer(_NAME_LENGTH)
_NO_TOOLS: Final = strings(["assistant", "all"], pa.large_string())
_ASSISTANT: Final = string(Role.ASSISTANT.value)
_OTHERS: Final = string(OTHERS)
_FALSE: Final = pc.is_null(integers([0]))[0]
_ZERO: Final = integer(0)
_ONE: Final = integer(1)
#: The columns that are used for counting. A string may be dictionary-encoded. `stop` may have the type null.
COLUMNS: Final = {
    **dict.fromkeys(("conversation", "message", "content_tokens"), "integer"),
    **dict.fromkeys(("role", "recipient", "channel", "stop"), "string"),
    "complete": "boolean",
    "diagnostics": "list of struct with a string `code`",
    "error": "struct with a string `code`",
}

#: Pairs of values, and how often each occurs.
_Pairs: TypeAlias = Iterator[tuple[Any, Any, int]]


def columns_of(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns for counting. Raises ValueError if one is missing or has a wrong type."""
    columns = {}
    for name, expected in COLUMNS.items():
        index = batch.schema.get_field_index(name)
        found = _kind(batch.schema.types[index]) if index >= 0 else "none"
        if found != expected and not (name == "stop" and found == "null"):
            raise ValueError(f"expected a column `{name}` of type {expected}, found {found}")
        columns[name] = batch.column(index)
        columns[name].validate(full=True)  # a file may hold strings that are not UTF-8
    return columns


def _kind(kind: pa.DataType) -> str:
    """A type, in the words of `COLUMNS` where it is one of those."""
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_kind(kind.value_type)}"
    if pa.types.is_struct(kind) and kind.get_field_index("code") >= 0:
        return f"struct with a {_kind(kind.field('code').type)} `code`"
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    return "string" if pa.types.is_string(text) or pa.types.is_large_string(text) else str(kind)


def conversations_of(columns: dict[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
    """For each conversation: the index of its first row, and the number of its messages."""
    numbers = numbered(columns["conversation"])
    first_rows = first_rows_of(numbers)
    messages = numbers.filter(columns["message"].is_valid())
    # Each conversation is counted once more, for it may have no message.
    counts = pa.concat_arrays([numbers.take(first_rows), messages]).value_counts().field("counts")
    return first_rows, pc.subtract(counts, _ONE)


def numbered(conversations: pa.Array) -> pa.Array:
    """The conversations as numbers from 0, in the order in which they appear."""
    return conversations.dictionary_encode(null_encoding="encode").indices.cast(pa.int64())


def first_rows_of(numbers: pa.Array) -> pa.Array:
    """The rows in which a number appears for the first time."""
    highest_before = pc.cumulative_max(pa.concat_arrays([integers([-1]), numbers])).slice(0, len(numbers))
    return pc.indices_nonzero(pc.greater(numbers, highest_before))


def token_counts_of(tokens: Sequence[int | None] | pa.Array | None, conversations: int) -> pa.Array:
    """The numbers of tokens that are known."""
    if tokens is None:
        return integers([])
    try:
        if isinstance(tokens, pa.Array):
            counts = tokens.cast(pa.int64()).drop_null()
        else:
            counts = integers(count for count in tokens if count is not None)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise ValueError(f"expected the number of tokens of each conversation: {error}") from None
    if len(tokens) != conversations:
        raise ValueError(f"expected the numbers of tokens of {conversations:,} conversations, found {len(tokens):,}")
    check_lengths(counts)
    return counts


class Messages(NamedTuple):
    """The messages of a batch: how many by channel and role, the lengths of their contents, and the calls of tools.

    The contents of the assistant are by channel, and those of all others by role. A length comes with the start of its
    bucket.
    """

    roles: _Pairs
    by_channel: _Pairs
    by_role: _Pairs
    tools: pa.Array
    calls: pa.Array


def messages_of(columns: dict[str, pa.Array]) -> Messages:
    """The messages of a batch."""
    there = columns["message"].is_valid()
    roles, role_names = _labels(columns["role"].filter(there))
    channels, channel_names = _labels(columns["channel"].filter(there))
    recipients, recipient_names = _labels(columns["recipient"].filter(there))
    lengths = columns["content_tokens"].filter(there).cast(pa.int64())
    check_lengths(lengths)
    encoded = lengths.dictionary_encode()
    starts = list(zip(starts_of(encoded.dictionary).to_pylist(), encoded.dictionary.to_pylist(), strict=True))
    by_assistant = pc.equal(role_names, _ASSISTANT).take(roles).fill_null(_FALSE)
    by_others = pc.invert(by_assistant)
    to_tool = pc.invert(pc.is_in(recipient_names, _NO_TOOLS)).take(recipients)
    calls = recipients.filter(pc.and_(by_assistant, to_tool)).value_counts()
    channel_list, role_list = channel_names.to_pylist(), role_names.to_pylist()
    return Messages(
        _pairs(channels, channel_list, roles, role_list),
        _pairs(channels.filter(by_assistant), channel_list, encoded.indices.filter(by_assistant), starts),
        _pairs(roles.filter(by_others), role_list, encoded.indices.filter(by_others), starts),
        recipient_names.take(calls.field("values")),
        calls.field("counts"),
    )


def _pairs(first: pa.Array, first_values: list[Any], second: pa.Array, second_values: list[Any]) -> _Pairs:
    """Each pair of values, given as indices into lists, and how often it occurs. A null is None."""
    width = len(second_values) + 1
    first, second = (pc.add(indices.cast(pa.int64()), _ONE).fill_null(_ZERO) for indices in (first, second))
    found = pc.add(pc.multiply(first, integer(width)), second).value_counts()
    for key, count in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
        one, other = divmod(key, width)
        yield first_values[one - 1] if one else None, second_values[other - 1] if other else None, count


def unfinished_of(columns: dict[str, pa.Array]) -> tuple[int, int]:
    """How many conversations without an error end in a content that has no stop, and how many in a header.

    Both are 0 where the batch does not say what ended messages.
    """
    stops = columns["stop"]
    if pa.types.is_null(stops.type):
        return 0, 0
    cut = pc.and_not(pc.invert(columns["complete"]), columns["error"].is_valid())
    rows = pc.indices_nonzero(cut)
    backwards = rows.take(integers(range(len(rows) - 1, -1, -1)))
    last_rows = backwards.take(first_rows_of(numbered(columns["conversation"].take(backwards))))
    no_stop = pc.and_(columns["message"].is_valid(), stops.is_null()).take(last_rows).true_count
    return no_stop, len(last_rows) - no_stop


def repairs_of(diagnostics: pa.Array) -> tuple[int, Counter[str]]:
    """How many conversations were repaired, and how many by each code."""
    repaired = diagnostics.filter(pc.greater(pc.list_value_length(diagnostics), _ZERO))
    if not len(repaired):  # the usual case
        return 0, Counter()
    codes, names = _labels(pc.struct_field(repaired.flatten(), "code"))
    labels = names.take(codes).fill_null(_OTHERS).to_pylist()
    each = set(zip(pc.list_parent_indices(repaired).to_pylist(), labels, strict=True))
    return len(repaired), Counter(label for _, label in each)


def codes_of(errors: pa.Array) -> Counter[str]:
    """How often each code occurs among some errors."""
    return _counted(*_labels(pc.struct_field(errors, "code"))) if len(errors) else Counter()


def _counted(indices: pa.Array, names: pa.Array) -> Counter[str]:
    found = indices.value_counts()
    labels = names.take(found.field("values")).fill_null(_OTHERS).to_pylist()
    return Counter(dict(zip(labels, found.field("counts").to_pylist(), strict=True)))


def _labels(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A column of strings as indices into different names, which are cut to the allowed length."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = encoded.dictionary.cast(pa.large_string())
    too_long = pc.greater(pc.utf8_length(names), _LONGEST_NAME)
    if too_long.true_count:
        names = pc.if_else(too_long, pc.utf8_replace_slice(names, _NAME_LENGTH - 1, 1 << 62, "…"), names)
    distinct = names.dictionary_encode()
    return distinct.indices.take(encoded.indices), distinct.dictionary
