"""Shows the counts of a log as tables on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from harmony.errors import printable
from harmony.stats.counts import Lengths, Summary

if TYPE_CHECKING:
    from rich.table import Table

#: The label for messages without a channel.
NO_CHANNEL: Final = "(no channel)"

_ROWS: Final = 20  # shown in a table
_STATISTICS: Final = ("mean", "median", "90 %", "99 %", "longest")
_TEXTS: Final = ("", "in", "role", "channel", "recipient", "code")  # the columns of printed tables that hold text


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
