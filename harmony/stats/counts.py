"""Counts what a log of completions holds: messages, tool calls, tokens, lengths, errors and repairs.

The input is batches of messages, as `harmony.batch.parse_batch` makes them. All rows of a conversation must be in one
batch. A conversation with an `error` is bad. One without an error that ends inside a message is truncated. One with
`diagnostics` is repaired; it can be truncated too. A tool call is a message of the assistant to a recipient other than
`assistant` and `all`. The numbers of tokens come with the messages.

Memory is limited, whatever the log holds. The counts do not depend on how the log was cut into batches, or on the order
in which batches were merged, except for tools:

- Lengths are counted in buckets: one for each length below 256, and 128 for each doubling above. So a percentile is
exact
  below 256, and within 0.4 % above. Counts, totals, means and longest lengths are exact.
- For channels, roles and codes, 100 names each are counted separately: first the names that the format knows, then the
  shortest, then the first in the alphabet. All others are counted together as `(all others)`, which is not a valid
  name.
- For tools, up to 10,000 names are counted. If there are more, the most frequent are kept (algorithm of Misra and
  Gries), and the counts of rare names depend on how the log was cut. A count may be too low by at most `undercount`,
  which is at most a ten-thousandth of all calls. A dropped name has at most `undercount` more calls than the last one.
- A name of more than 256 characters is counted as its first 255 characters and `…`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from math import ceil
from typing import Any, Final, TypeAlias

import msgspec
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from harmony.columns.constants import integer, integers, string, strings
from harmony.messages.roles import KNOWN_CHANNELS, Role

#: The label for all names that are not counted separately.
OTHERS: Final = "(all others)"

_LABELS: Final = 100  # channels, roles and codes
_TOOLS: Final = 10_000
_NAME_LENGTH: Final = 256
_LONGEST_NAME: Final = integer(_NAME_LENGTH)
_BUCKET_BITS: Final = 8  # the leading bits of a length that choose its bucket
_FREE_BITS: Final = integer(_BUCKET_BITS - 1)
_LENGTH_BITS: Final = 48  # the limit up to which the logarithm of a float is exact enough
_KNOWN: Final = frozenset([*KNOWN_CHANNELS, *(role.value for role in Role)])
_NO_TOOLS: Final = strings(["assistant", "all"], pa.large_string())
_ASSISTANT: Final = string(Role.ASSISTANT.value)
_OTHERS: Final = string(OTHERS)
_ZERO: Final = integer(0)
_ONE: Final = integer(1)
#: The columns that are used for counting. A string may be dictionary-encoded.
_COLUMNS: Final = {
    **dict.fromkeys(("conversation", "message", "content_tokens"), "integer"),
    **dict.fromkeys(("role", "recipient", "channel"), "string"),
    "complete": "boolean",
    "diagnostics": "list of struct with a string `code`",
    "error": "struct with a string `code`",
}

#: Pairs of values, and how often each occurs.
_Pairs: TypeAlias = Iterator[tuple[Any, Any, int]]


class Bin(msgspec.Struct, frozen=True):
    """The number of lengths from `start` up to, but not including, `stop`."""

    start: int
    stop: int
    count: int


class Lengths(msgspec.Struct, frozen=True):
    """Statistics of `count` lengths. They are None if `count` is 0.

    `bins` has four bins for each doubling, without empty ones. 90 % of the lengths do not exceed `percentile_90`.
    """

    count: int
    total: int
    mean: float | None
    median: int | None
    percentile_90: int | None
    percentile_99: int | None
    longest: int | None
    bins: list[Bin]


class Channel(msgspec.Struct, frozen=True):
    """Counts for a channel: messages, messages by role, and the tokens of their contents, if they are known."""

    channel: str | None
    messages: int
    roles: dict[str, int]
    content_tokens: Lengths


class ToolCalls(msgspec.Struct, frozen=True):
    """Counts of tool calls: in total, by name, and without a name. Counts by name may be too low by `undercount`."""

    calls: int
    names: dict[str, int]
    other_calls: int
    undercount: int


class Summary(msgspec.Struct, frozen=True):
    """The counts of a log. Each conversation is `complete`, `truncated` or `bad`, and can also be `repaired`.

    `repairs` and `errors` map codes to the number of conversations that have them, the largest first. Unknown numbers
    of tokens are not in `conversation_tokens`, and bad conversations are not in `conversation_messages`.
    """

    conversations: int
    complete: int
    truncated: int
    repaired: int
    bad: int
    channels: list[Channel]
    tool_calls: ToolCalls
    repairs: dict[str, int]
    errors: dict[str, int]
    conversation_tokens: Lengths
    conversation_messages: Lengths


class Stats:
    """Counts batch by batch. Stats can be pickled, and `a + b` is the sum of both counts."""

    def __init__(self) -> None:
        self._conversations: Counter[str] = Counter()
        self._channels: defaultdict[str | None, _Channel] = defaultdict(_Channel)
        self._tools = _FrequentNames()
        self._repairs: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._tokens = _Histogram()
        self._messages = _Histogram()

    def add(self, batch: pa.RecordBatch, tokens: Sequence[int | None] | pa.Array | None) -> None:
        """Counts the conversations of a batch.

        `tokens` has the number of input tokens of each conversation (None if unknown), or is None. Raises ValueError,
        and counts nothing, if a column is missing or wrong, or if `tokens` has another length.
        """
        columns = _columns(batch)
        first_rows, message_counts = _conversations(columns)
        token_counts = _token_counts(tokens, len(first_rows))
        messages, lengths, tools = _messages(columns)
        repaired, repairs = _repairs(columns["diagnostics"].take(first_rows))
        errors = columns["error"].take(first_rows)
        bad = errors.is_valid()
        codes = _counted(*_labels(pc.struct_field(errors.filter(bad), "code"))) if bad.true_count else {}
        truncated = pc.and_not(pc.invert(columns["complete"].take(first_rows)), bad).true_count
        kinds = {"all": len(first_rows), "truncated": truncated, "repaired": repaired, "bad": bad.true_count}

        self._conversations.update(kinds)
        for name, role, count in messages:
            self._channels[name].roles[OTHERS if role is None else role] += count
        for name, known, count in lengths:
            if known is not None:
                start, length = known
                self._channels[name].tokens.take(start, length, count)
        self._tools.take(*tools)
        self._repairs.update(repairs)
        self._errors.update(codes)
        self._tokens.take_each(token_counts)
        self._messages.take_each(message_counts.filter(pc.invert(bad)))
        self._bound()

    def __add__(self, other: Stats) -> Stats:
        """The sum of both counts, as a new object."""
        both = Stats()
        for each in (self, other):
            both._conversations.update(each._conversations)
            for name, channel in each._channels.items():
                both._channels[name] += channel
            both._tools += each._tools
            both._repairs.update(each._repairs)
            both._errors.update(each._errors)
            both._tokens += each._tokens
            both._messages += each._messages
        both._bound()
        return both

    def _bound(self) -> None:
        _bound(self._channels)
        for tallies in (self._repairs, self._errors, *(channel.roles for channel in self._channels.values())):
            _bound(tallies)

    def summary(self) -> Summary:
        """All counts, as a Struct that `msgspec.json.encode` can write."""
        counts = self._conversations
        channels = [
            Channel(name, channel.roles.total(), _by_count(channel.roles), channel.tokens.lengths())
            for name, channel in self._channels.items()
        ]
        return Summary(
            conversations=counts["all"],
            complete=counts["all"] - counts["truncated"] - counts["bad"],
            truncated=counts["truncated"],
            repaired=counts["repaired"],
            bad=counts["bad"],
            channels=sorted(channels, key=lambda item: (-item.messages, item.channel or "")),
            tool_calls=self._tools.summary(),
            repairs=_by_count(self._repairs),
            errors=_by_count(self._errors),
            conversation_tokens=self._tokens.lengths(),
            conversation_messages=self._messages.lengths(),
        )


class _Histogram:
    """Counts lengths in buckets. The key of a bucket is the smallest length in it."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._total = self._longest = 0

    def take(self, start: int, length: int, count: int) -> None:
        """Counts a length of the bucket with this start."""
        self._buckets[start] += count
        self._total += length * count
        self._longest = max(self._longest, length)

    def take_each(self, lengths: pa.Array) -> None:
        for bucket in _starts(lengths).value_counts().to_pylist():
            self._buckets[bucket["values"]] += bucket["counts"]
        self._total += pc.sum(lengths, min_count=0).as_py()
        self._longest = max(self._longest, pc.max(lengths).as_py() or 0)

    def __iadd__(self, other: _Histogram) -> _Histogram:
        self._buckets.update(other._buckets)
        self._total += other._total
        self._longest = max(self._longest, other._longest)
        return self

    def lengths(self) -> Lengths:
        starts = sorted(self._buckets)
        passed = list(accumulate(self._buckets[start] for start in starts))
        if not passed:
            return Lengths(0, 0, None, None, None, None, None, [])
        count = passed[-1]
        # The middle of the bucket in which the percentile is reached.
        places = (starts[bisect_left(passed, -(-count * percent // 100))] for percent in (50, 90, 99))
        median, most, nearly_all = (min(start + _width(start) // 2, self._longest) for start in places)
        bins: Counter[int] = Counter()
        for start in starts:
            bins[bisect_right(_EDGES, start)] += self._buckets[start]
        listed = [Bin(_EDGES[index - 1], _EDGES[index], number) for index, number in bins.items()]
        return Lengths(count, self._total, self._total / count, median, most, nearly_all, self._longest, listed)


class _Channel:
    """The counts of one channel: messages by role, and the lengths of their contents."""

    def __init__(self) -> None:
        self.roles: Counter[str] = Counter()
        self.tokens = _Histogram()

    def __iadd__(self, other: _Channel) -> _Channel:
        self.roles.update(other.roles)
        self.tokens += other.tokens
        return self


class _FrequentNames:
    """Counts names. If there are too many, only the most frequent are kept."""

    def __init__(self) -> None:
        self._total = self._undercount = 0
        self._calls: Counter[str] = Counter()

    def take(self, names: pa.Array, counts: pa.Array) -> None:
        for name, calls in zip(names.to_pylist(), counts.to_pylist(), strict=True):
            self._calls[name] += calls
            self._total += calls
        self._bound()

    def __iadd__(self, other: _FrequentNames) -> _FrequentNames:
        self._total += other._total
        self._undercount += other._undercount
        self._calls.update(other._calls)
        self._bound()
        return self

    def _bound(self) -> None:
        # Not as soon as there are too many names, because this goes through all of them.
        if len(self._calls) > 4 * _TOOLS:
            less = sorted(self._calls.values(), reverse=True)[_TOOLS]
            self._calls = Counter({name: calls - less for name, calls in self._calls.items() if calls > less})
            self._undercount += less

    def summary(self) -> ToolCalls:
        names = dict(islice(_by_count(self._calls).items(), _TOOLS))
        return ToolCalls(self._total, names, self._total - sum(names.values()), self._undercount)


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _bound(tallies: dict[Any, Any]) -> None:  # which makes missing values
    """Moves the counts of surplus names to OTHERS. Which names these are does not depend on the order of the data."""
    names = [name for name in tallies if name is not None and name != OTHERS]
    if len(names) > _LABELS:
        for name in sorted(names, key=lambda name: (name not in _KNOWN, len(name), name))[_LABELS:]:
            tallies[OTHERS] += tallies.pop(name)


def _columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns for counting. Raises ValueError if one is missing or has a wrong type."""
    columns = {}
    for name, expected in _COLUMNS.items():
        index = batch.schema.get_field_index(name)
        found = _kind(batch.schema.types[index]) if index >= 0 else "none"
        if found != expected:
            raise ValueError(f"expected a column `{name}` of type {expected}, found {found}")
        columns[name] = batch.column(index)
        columns[name].validate(full=True)  # a file may hold strings that are not UTF-8
    return columns


def _kind(kind: pa.DataType) -> str:
    """A type, in the words of `_COLUMNS` where it is one of those."""
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


def _conversations(columns: dict[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
    """For each conversation: the index of its first row, and the number of its messages."""
    encoded = columns["conversation"].dictionary_encode(null_encoding="encode")
    numbers = encoded.indices.cast(pa.int64())  # by first appearance
    highest_before = pc.cumulative_max(pa.concat_arrays([integers([-1]), numbers])).slice(0, len(numbers))
    first_rows = pc.indices_nonzero(pc.greater(numbers, highest_before))
    messages = numbers.filter(columns["message"].is_valid())
    # Each conversation is counted once more, for it may have no message.
    counts = pa.concat_arrays([numbers.take(first_rows), messages]).value_counts().field("counts")
    return first_rows, pc.subtract(counts, _ONE)


def _token_counts(tokens: Sequence[int | None] | pa.Array | None, conversations: int) -> pa.Array:
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
    _check(counts)
    return counts


def _messages(columns: dict[str, pa.Array]) -> tuple[_Pairs, _Pairs, tuple[pa.Array, pa.Array]]:
    """Messages by channel and role; by channel and length, with the start of its bucket; tools, and their calls."""
    there = columns["message"].is_valid()
    roles, role_names = _labels(columns["role"].filter(there))
    channels, channel_names = _labels(columns["channel"].filter(there))
    recipients, recipient_names = _labels(columns["recipient"].filter(there))
    lengths = columns["content_tokens"].filter(there).cast(pa.int64())
    _check(lengths)
    encoded = lengths.dictionary_encode()
    starts = zip(_starts(encoded.dictionary).to_pylist(), encoded.dictionary.to_pylist(), strict=True)
    by_assistant = pc.equal(role_names, _ASSISTANT).take(roles)
    to_tool = pc.invert(pc.is_in(recipient_names, _NO_TOOLS)).take(recipients)
    calls = recipients.filter(pc.and_(by_assistant, to_tool)).value_counts()
    names = channel_names.to_pylist()
    return (
        _pairs(channels, names, roles, role_names.to_pylist()),
        _pairs(channels, names, encoded.indices, list(starts)),
        (recipient_names.take(calls.field("values")), calls.field("counts")),
    )


def _pairs(first: pa.Array, first_values: list[Any], second: pa.Array, second_values: list[Any]) -> _Pairs:
    """Each pair of values, given as indices into lists, and how often it occurs. A null is None."""
    width = len(second_values) + 1
    first, second = (pc.add(indices.cast(pa.int64()), _ONE).fill_null(_ZERO) for indices in (first, second))
    found = pc.add(pc.multiply(first, integer(width)), second).value_counts()
    for key, count in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True):
        one, other = divmod(key, width)
        yield first_values[one - 1] if one else None, second_values[other - 1] if other else None, count


def _repairs(diagnostics: pa.Array) -> tuple[int, Counter[str]]:
    """How many conversations were repaired, and how many by each code."""
    repaired = diagnostics.filter(pc.greater(pc.list_value_length(diagnostics), _ZERO))
    if not len(repaired):  # the usual case
        return 0, Counter()
    codes, names = _labels(pc.struct_field(repaired.flatten(), "code"))
    labels = names.take(codes).fill_null(_OTHERS).to_pylist()
    each = set(zip(pc.list_parent_indices(repaired).to_pylist(), labels, strict=True))
    return len(repaired), Counter(label for _, label in each)


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


def _check(lengths: pa.Array) -> None:
    for length in pc.min_max(lengths).as_py().values():
        if length is not None and not 0 <= length < 1 << _LENGTH_BITS:
            raise ValueError(f"expected a number of tokens below 2^{_LENGTH_BITS}, found {length:,}")


def _starts(lengths: pa.Array) -> pa.Array:
    """For each length, the smallest length in its bucket."""
    exponents = pc.floor(pc.log2(pc.max_element_wise(lengths, _ONE, skip_nulls=False))).cast(pa.int64())
    shifts = pc.max_element_wise(pc.subtract(exponents, _FREE_BITS), _ZERO, skip_nulls=False)
    return pc.shift_left(pc.shift_right(lengths, shifts), shifts)


def _width(start: int) -> int:
    """The number of different lengths in the bucket with this start."""
    return 1 << max(0, start.bit_length() - _BUCKET_BITS)


# The starts of the bins: each is the start of a bucket.
_QUARTERS: Final = [ceil(2 ** (power / 4)) for power in range(4 * _LENGTH_BITS + 1)]
_EDGES: Final = sorted({0, *(-(-length // _width(length)) * _width(length) for length in _QUARTERS)})
