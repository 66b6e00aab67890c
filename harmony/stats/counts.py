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

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from harmony.stats import batches
from harmony.stats.tallies import OTHERS, FrequentNames, Histogram, Lengths, ToolCalls, bound, by_count


class Channel(msgspec.Struct, frozen=True):
    """Counts for a channel: messages, messages by role, and the tokens of the assistant's contents, if they are known.

    A tool answers on the channel on which it was called, so its contents are not counted here.
    """

    channel: str | None
    messages: int
    roles: dict[str, int]
    content_tokens: Lengths


class Summary(msgspec.Struct, frozen=True):
    """The counts of a log. Each conversation is `complete`, `truncated` or `bad`, and can also be `repaired`.

    A truncated one has `no_stop` if it ends inside content, and else it is `cut_in_header`. Where the log does not say
    what ended messages, it is neither. `other_content_tokens` has the lengths of contents by role, without those of the
    assistant, which `channels` has. `repairs` and `errors` map codes to the number of conversations that have them, the
    largest first. Unknown numbers of tokens are not in `conversation_tokens`, and bad conversations are not in
    `conversation_messages`.
    """

    conversations: int
    complete: int
    truncated: int
    no_stop: int
    cut_in_header: int
    repaired: int
    bad: int
    channels: list[Channel]
    other_content_tokens: dict[str, Lengths]
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
        self._others: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._tools = FrequentNames()
        self._repairs: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._tokens = Histogram()
        self._messages = Histogram()

    def add(self, batch: pa.RecordBatch, tokens: Sequence[int | None] | pa.Array | None) -> None:
        """Counts the conversations of a batch.

        `tokens` has the number of input tokens of each conversation (None if unknown), or is None. Raises ValueError,
        and counts nothing, if a column is missing or wrong, or if `tokens` has another length.
        """
        columns = batches.columns_of(batch)
        first_rows, message_counts = batches.conversations_of(columns)
        token_counts = batches.token_counts_of(tokens, len(first_rows))
        messages = batches.messages_of(columns)
        repaired, repairs = batches.repairs_of(columns["diagnostics"].take(first_rows))
        errors = columns["error"].take(first_rows)
        bad = errors.is_valid()
        codes = batches.codes_of(errors.filter(bad))
        truncated = pc.and_not(pc.invert(columns["complete"].take(first_rows)), bad).true_count
        no_stop, in_header = batches.unfinished_of(columns) if truncated else (0, 0)

        self._conversations.update(
            all=len(first_rows),
            truncated=truncated,
            no_stop=no_stop,
            cut_in_header=in_header,
            repaired=repaired,
            bad=bad.true_count,
        )
        for name, role, count in messages.roles:
            self._channels[name].roles[OTHERS if role is None else role] += count
        for name, known, count in messages.by_channel:
            if known is not None:
                start, length = known
                self._channels[name].tokens.take(start, length, count)
        for role, known, count in messages.by_role:
            if known is not None:
                start, length = known
                self._others[OTHERS if role is None else role].take(start, length, count)
        self._tools.take(messages.tools, messages.calls)
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
            for role, lengths in each._others.items():
                both._others[role] += lengths
            both._tools += each._tools
            both._repairs.update(each._repairs)
            both._errors.update(each._errors)
            both._tokens += each._tokens
            both._messages += each._messages
        both._bound()
        return both

    def _bound(self) -> None:
        bound(self._channels)
        bound(self._others)
        for tallies in (self._repairs, self._errors, *(channel.roles for channel in self._channels.values())):
            bound(tallies)

    def summary(self) -> Summary:
        """All counts, as a Struct that `msgspec.json.encode` can write."""
        counts = self._conversations
        channels = [
            Channel(name, channel.roles.total(), by_count(channel.roles), channel.tokens.lengths())
            for name, channel in self._channels.items()
        ]
        return Summary(
            conversations=counts["all"],
            complete=counts["all"] - counts["truncated"] - counts["bad"],
            truncated=counts["truncated"],
            no_stop=counts["no_stop"],
            cut_in_header=counts["cut_in_header"],
            repaired=counts["repaired"],
            bad=counts["bad"],
            channels=sorted(channels, key=lambda item: (-item.messages, item.channel or "")),
            other_content_tokens={
                role: lengths.lengths()
                for role, lengths in sorted(self._others.items(), key=lambda item: (-item[1].total, item[0]))
            },
            tool_calls=self._tools.summary(),
            repairs=by_count(self._repairs),
            errors=by_count(self._errors),
            conversation_tokens=self._tokens.lengths(),
            conversation_messages=self._messages.lengths(),
        )


class _Channel:
    """The counts of one channel: messages by role, and the lengths of their contents."""

    def __init__(self) -> None:
        self.roles: Counter[str] = Counter()
        self.tokens = Histogram()

    def __iadd__(self, other: _Channel) -> _Channel:
        self.roles.update(other.roles)
        self.tokens += other.tokens
        return self
