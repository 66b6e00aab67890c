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
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from harmony.errors import printable
from harmony.messages.roles import KNOWN_CHANNELS, Role

if TYPE_CHECKING:
    from rich.table import Table

#: The label for all names that are not counted separately, and the label for messages without a channel.
OTHERS: Final = "(all others)"
NO_CHANNEL: Final = "(no channel)"

_LABELS: Final = 100  # channels, roles and codes
_TOOLS: Final = 10_000
_NAME_LENGTH: Final = 256
_BUCKET_BITS: Final = 8  # the leading bits of a length that choose its bucket
_LENGTH_BITS: Final = 48  # the limit up to which the logarithm of a float is exact enough
_PARTS: Final = 256  # the number of batches after which their names are counted together
_ROWS: Final = 20  # shown in a table
_KNOWN: Final = frozenset([*KNOWN_CHANNELS, *(role.value for role in Role)])
_NO_TOOLS: Final = pa.array(["assistant", "all"], pa.large_string())
_STATISTICS: Final = ("mean", "median", "90 %", "99 %", "longest")
_TEXTS: Final = ("", "in", "role", "channel", "recipient", "code")  # the columns of printed tables that hold text
#: The columns that are used for counting. A string may be dictionary-encoded.
_COLUMNS: Final = {
    **dict.fromkeys(("conversation", "message", "content_tokens"), "integer"),
    **dict.fromkeys(("role", "recipient", "channel"), "string"),
    "complete": "boolean",
    "diagnostics": "list of struct with a string `code`",
    "error": "struct with a string `code`",
}


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
        messages, tools = _messages(columns)
        repaired, repairs = _repairs(columns["diagnostics"].take(first_rows))
        errors = columns["error"].take(first_rows)
        bad = errors.is_valid()
        codes = _counted(*_labels(pc.struct_field(errors.filter(bad), "code"))) if bad.true_count else {}
        truncated = pc.and_not(pc.invert(columns["complete"].take(first_rows)), bad).true_count
        kinds = {"all": len(first_rows), "truncated": truncated, "repaired": repaired, "bad": bad.true_count}

        self._conversations.update(kinds)
        for role, name, start, count, total, longest in messages:
            channel = self._channels[name]
            channel.roles[role] += count
            if start is not None:
                channel.tokens.take(start, count, total, longest)
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

    def take(self, start: int, count: int, total: int, longest: int) -> None:
        """Counts lengths of one bucket."""
        self._buckets[start] += count
        self._total += total
        self._longest = max(self._longest, longest)

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
        self._parts = [pa.table({"name": pa.array([], pa.large_string()), "calls": pa.array([], pa.int64())})]

    def take(self, names: pa.Array, counts: pa.Array) -> None:
        self._total += pc.sum(counts, min_count=0).as_py()
        self._parts.append(pa.table([names, counts], names=["name", "calls"]))
        self._join_many()

    def __iadd__(self, other: _FrequentNames) -> _FrequentNames:
        self._total += other._total
        self._undercount += other._undercount
        self._parts += other._parts
        self._join_many()
        return self

    def _join_many(self) -> None:
        # Not after each batch, because this goes through all names.
        if len(self._parts) > _PARTS or sum(part.num_rows for part in self._parts) > 4 * _TOOLS:
            joined = self._joined()
            if joined.num_rows > _TOOLS:
                less = joined["calls"].sort("descending")[_TOOLS].as_py()
                calls = pc.subtract(joined["calls"], less)
                joined = pa.table([joined["name"], calls], names=["name", "calls"]).filter(pc.greater(calls, 0))
                self._undercount += less
            self._parts = [joined.combine_chunks()]

    def _joined(self) -> pa.Table:
        """All names with their counts, each name once."""
        joined = pa.concat_tables(self._parts).group_by("name", use_threads=False).aggregate([("calls", "sum")])
        return joined.rename_columns(["name", "calls"])

    def summary(self) -> ToolCalls:
        found = self._joined()
        counts = _by_count(Counter(dict(zip(*(column.to_pylist() for column in found.columns), strict=True))))
        names = dict(islice(counts.items(), _TOOLS))
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
    rows = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), len(columns["message"])), start=-1)
    table = pa.table([columns["conversation"], columns["message"], rows], names=["conversation", "message", "row"])
    grouped = table.group_by("conversation", use_threads=False).aggregate([("row", "min"), ("message", "count")])
    return grouped["row_min"].combine_chunks(), grouped["message_count"].combine_chunks()


def _token_counts(tokens: Sequence[int | None] | pa.Array | None, conversations: int) -> pa.Array:
    """The numbers of tokens that are known."""
    if tokens is None:
        return pa.array([], pa.int64())
    try:
        counts = tokens.cast(pa.int64()) if isinstance(tokens, pa.Array) else pa.array(tokens, pa.int64())
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise ValueError(f"expected the number of tokens of each conversation: {error}") from None
    if len(counts) != conversations:
        raise ValueError(f"expected the numbers of tokens of {conversations:,} conversations, found {len(counts):,}")
    _check(counts)
    return counts.drop_null()


def _messages(columns: dict[str, pa.Array]) -> tuple[Iterator[tuple[Any, ...]], tuple[pa.Array, pa.Array]]:
    """Messages by role, channel and bucket, and their number, total and longest length; tools, and their calls."""
    there = columns["message"].is_valid()
    roles, role_names = _labels(columns["role"].filter(there))
    channels, channel_names = _labels(columns["channel"].filter(there))
    recipients, recipient_names = _labels(columns["recipient"].filter(there))
    lengths = columns["content_tokens"].filter(there).cast(pa.int64())
    _check(lengths)
    table = pa.table([roles, channels, _starts(lengths), lengths], names=["role", "channel", "start", "length"])
    grouped = table.group_by(["role", "channel", "start"], use_threads=False).aggregate(
        [([], "count_all"), ("length", "sum"), ("length", "max")]
    )
    names = role_names.take(grouped["role"]).fill_null(OTHERS), channel_names.take(grouped["channel"])
    numbers = (grouped[name] for name in ("start", "count_all", "length_sum", "length_max"))
    by_assistant = pc.equal(role_names, Role.ASSISTANT.value).take(roles)
    to_tool = pc.invert(pc.is_in(recipient_names, _NO_TOOLS)).take(recipients)
    calls = recipients.filter(pc.and_(by_assistant, to_tool)).value_counts()
    return (
        zip(*(column.to_pylist() for column in (*names, *numbers)), strict=True),
        (recipient_names.take(calls.field("values")), calls.field("counts")),
    )


def _repairs(diagnostics: pa.Array) -> tuple[int, Counter[str]]:
    """How many conversations were repaired, and how many by each code."""
    repaired = diagnostics.filter(pc.greater(pc.list_value_length(diagnostics), 0))
    if not len(repaired):  # the usual case
        return 0, Counter()
    codes, names = _labels(pc.struct_field(repaired.flatten(), "code"))
    pairs = pa.table([pc.list_parent_indices(repaired), codes], names=["conversation", "code"])
    each = pairs.group_by(["conversation", "code"], use_threads=False).aggregate([])
    return len(repaired), _counted(each["code"].combine_chunks(), names)


def _counted(indices: pa.Array, names: pa.Array) -> Counter[str]:
    found = indices.value_counts()
    labels = names.take(found.field("values")).fill_null(OTHERS).to_pylist()
    return Counter(dict(zip(labels, found.field("counts").to_pylist(), strict=True)))


def _labels(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A column of strings as indices into different names, which are cut to the allowed length."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = encoded.dictionary.cast(pa.large_string())
    too_long = pc.greater(pc.utf8_length(names), _NAME_LENGTH)
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
    exponents = pc.floor(pc.log2(pc.max_element_wise(lengths, 1, skip_nulls=False))).cast(pa.int64())
    shifts = pc.max_element_wise(pc.subtract(exponents, _BUCKET_BITS - 1), 0, skip_nulls=False)
    return pc.shift_left(pc.shift_right(lengths, shifts), shifts)


def _width(start: int) -> int:
    """The number of different lengths in the bucket with this start."""
    return 1 << max(0, start.bit_length() - _BUCKET_BITS)


# The starts of the bins: each is the start of a bucket.
_QUARTERS: Final = [ceil(2 ** (power / 4)) for power in range(4 * _LENGTH_BITS + 1)]
_EDGES: Final = sorted({0, *(-(-length // _width(length)) * _width(length) for length in _QUARTERS)})


def tables(summary: Summary) -> Iterator[Table]:
    """The summary as tables for a terminal. Empty tables are left out, except the first."""
    whole, calls = summary.conversations, summary.tool_calls
    kinds = {kind: getattr(summary, kind) for kind in ("complete", "truncated", "repaired", "bad")}
    yield _table(f"Conversations: {whole:,}", ["", "conversations", "share"], _shares(kinds, whole))
    channels = [(NO_CHANNEL if item.channel is None else item.channel, item) for item in summary.channels]
    roles = Counter({(role, name): count for name, item in channels for role, count in item.roles.items()})
    messages = [[*names, *_share(count, roles.total())] for names, count in roles.most_common()]
    tokens = sum(item.content_tokens.total for _, item in channels)
    contents = [
        [name, *_share(item.content_tokens.total, tokens), *_statistics(item.content_tokens)]
        for name, item in channels
        if item.content_tokens.count
    ]
    lengths = (("tokens", summary.conversation_tokens), ("messages", summary.conversation_messages))
    of_conversations = [[name, *_statistics(found)] for name, found in lengths if found.count]
    named = "Tool calls"
    if calls.other_calls:
        named += f"; {calls.other_calls:,} under no name here, counts too low by at most {calls.undercount:,}"
    for title, columns, rows in (
        ("Messages", ["role", "channel", "messages", "share"], messages),
        ("Content tokens, and lengths of messages in tokens", ["channel", "tokens", "share", *_STATISTICS], contents),
        ("Lengths of conversations", ["in", *_STATISTICS], of_conversations),
        (named, ["recipient", "calls", "share"], _shares(calls.names, calls.calls)),
        ("Repairs", ["code", "conversations", "share"], _shares(summary.repairs, whole)),
        ("Errors", ["code", "conversations", "share"], _shares(summary.errors, whole)),
    ):
        if rows:
            yield _table(title, columns, rows)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="left" if column in _TEXTS else "right", overflow="fold")
    for row in rows if len(rows) <= _ROWS else rows[: _ROWS - 1]:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if len(rows) > _ROWS:
        table.add_row(f"… {len(rows) - _ROWS + 1:,} more", style="dim")
    return table


def _shares(counts: dict[str, int], whole: int) -> list[list[str]]:
    return [[name, *_share(count, whole)] for name, count in counts.items()]


def _share(count: int, whole: int) -> list[str]:
    return [f"{count:,}", f"{count / whole:.2%}" if whole else "-"]


def _statistics(lengths: Lengths) -> list[str]:
    values = lengths.median, lengths.percentile_90, lengths.percentile_99, lengths.longest
    return [f"{lengths.mean:,.1f}", *(f"{value:,}" for value in values)]
