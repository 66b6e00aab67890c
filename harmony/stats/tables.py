"""Shows the counts of a log as tables on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from harmony.errors import printable
from harmony.stats.counts import Summary
from harmony.stats.tallies import Lengths

if TYPE_CHECKING:
    from rich.rule import Rule
    from rich.table import Table

    from harmony.stats.comparison import Comparison, Share
    from harmony.stats.groups import Grouped

#: The label for messages without a channel.
NO_CHANNEL: Final = "(no channel)"
#: The label for the contents of tools.
TOOL_RESULTS: Final = "tool results"

_ROWS: Final = 20  # shown in a table
_STATISTICS: Final = ("mean", "median", "90 %", "99 %", "longest")
_TEXTS: Final = ("", "in", "of", "role", "channel", "recipient", "code")  # the columns of printed tables that hold text


def tables(summary: Summary) -> Iterator[Table]:
    """The summary as tables for a terminal. Empty tables are left out, except the first."""
    whole, calls = summary.conversations, summary.tool_calls
    yield _table(f"Conversations: {whole:,}", ["", "conversations", "share"], _shares(kinds_of(summary), whole))
    channels = [(NO_CHANNEL if item.channel is None else item.channel, item) for item in summary.channels]
    roles = Counter({(role, name): count for name, item in channels for role, count in item.roles.items()})
    messages = [[*names, *_share(count, roles.total())] for names, count in roles.most_common()]
    contents = contents_of(summary)
    tokens = sum(lengths.total for lengths in contents.values())
    rows_of_contents = [
        [name, *_share(lengths.total, tokens), *_statistics(lengths)] for name, lengths in contents.items()
    ]
    lengths = (("tokens", summary.conversation_tokens), ("messages", summary.conversation_messages))
    of_conversations = [[name, *_statistics(found)] for name, found in lengths if found.count]
    named = "Tool calls"
    if calls.other_calls:
        named += f"; {calls.other_calls:,} under no name here, counts too low by at most {calls.undercount:,}"
    for title, columns, rows in (
        ("Messages", ["role", "channel", "messages", "share"], messages),
        (
            "Content tokens, and lengths of messages in tokens",
            ["of", "tokens", "share", *_STATISTICS],
            rows_of_contents,
        ),
        ("Lengths of conversations", ["in", *_STATISTICS], of_conversations),
        (named, ["recipient", "calls", "share"], _shares(calls.names, calls.calls)),
        ("Repairs", ["code", "conversations", "share"], _shares(summary.repairs, whole)),
        ("Errors", ["code", "conversations", "share"], _shares(summary.errors, whole)),
    ):
        if rows:
            yield _table(title, columns, rows)


def tables_by(grouped: Grouped) -> Iterator[Table | Rule]:
    """The counts by the values of a field: first all values beside each other, and then the tables of each."""
    from rich.rule import Rule
    from rich.text import Text

    whole = grouped.total.conversations
    rows = [_overview("(all)", grouped.total, whole)]
    rows += [_overview(group.label, group.counts, whole) for group in grouped.groups]
    columns = [grouped.by, "count", "share", "complete", "repaired", "bad", "tokens"]
    yield _table(f"Conversations by {grouped.by}; tokens are medians", columns, rows, most=len(rows), texts=1)
    for group in grouped.groups:
        yield Rule(Text(f"{printable(grouped.by)}: {printable(group.label)}"), style="dim", align="left")
        yield from tables(group.counts)


def tables_of_comparison(compared: Comparison) -> Iterator[Table]:
    """Two logs beside each other."""
    moved = [share for share in compared.shares if share.sureness is not None and share.sureness > 1]
    others = compared.shares[len(moved) :]  # they are sorted
    logs = f"{compared.conversations:,} conversations against {compared.other_conversations:,}"
    columns = ["of", "here", "against", "change", "95 % interval"]
    if moved:
        yield _table(f"Shares that moved, in %: {logs}", columns, [_row_of_share(share) for share in moved])
    if others:
        title = f"Shares that may not have moved, in %: {logs}"
        yield _table(title, columns, [_row_of_share(share) for share in others])
    medians = [
        [median.of, *(_number(value) for value in (median.median, median.other_median))] for median in compared.medians
    ]
    if medians:
        yield _table("Medians of lengths", ["of", "here", "against"], medians)


def _row_of_share(share: Share) -> list[str]:
    name = share.name if share.of == "conversations" else f"{share.of} {share.name}"
    row = [name, _percent(share.count, share.whole), _percent(share.other_count, share.other_whole)]
    if share.difference is None or share.low is None or share.high is None:
        return [*row, "-", "-"]
    return [*row, f"{100 * share.difference:+.2f}", f"{100 * share.low:+.2f} to {100 * share.high:+.2f}"]


def _percent(count: int, whole: int) -> str:
    return f"{100 * count / whole:.2f}" if whole else "-"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _overview(name: str, counts: Summary, whole: int) -> list[str]:
    own, median = counts.conversations, counts.conversation_tokens.median
    parts = (counts.complete, counts.repaired, counts.bad)
    shares = [_share(part, own)[1] for part in parts]
    return [name, *_share(own, whole), *shares, "-" if median is None else f"{median:,}"]


def kinds_of(summary: Summary) -> dict[str, int]:
    """What became of the conversations. Cut-off ones stand under "cut off" if it is not known in what they were cut."""
    unknown = summary.truncated - summary.no_stop - summary.cut_in_header
    return {
        "complete": summary.complete,
        "no stop": summary.no_stop,
        "cut inside a header": summary.cut_in_header,
        **({"cut off": unknown} if unknown else {}),
        "repaired": summary.repaired,
        "bad": summary.bad,
    }


def contents_of(summary: Summary) -> dict[str, Lengths]:
    """The known lengths of contents: of the assistant by channel, and of the others by role."""
    of_assistant = {
        NO_CHANNEL if item.channel is None else item.channel: item.content_tokens
        for item in summary.channels
        if item.content_tokens.count
    }
    # No channel has a space, so these names are no channels.
    others = {
        TOOL_RESULTS if role == "tool" else f"from {role}": lengths
        for role, lengths in summary.other_content_tokens.items()
        if lengths.count
    }
    return {**of_assistant, **others}


def _table(title: str, columns: list[str], rows: list[list[str]], *, most: int = _ROWS, texts: int = 0) -> Table:
    """A table of `most` rows at most. The first `texts` columns, and those named in _TEXTS, hold text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE_HEAD)
    for place, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if place < texts or column in _TEXTS else "right"
        table.add_column(Text(printable(column)), justify=justify, overflow="fold")
    for row in rows if len(rows) <= most else rows[: most - 1]:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if len(rows) > most:
        table.add_row(f"… {len(rows) - most + 1:,} more", style="dim")
    return table


def _shares(counts: dict[str, int], whole: int) -> list[list[str]]:
    return [[name, *_share(count, whole)] for name, count in counts.items()]


def _share(count: int, whole: int) -> list[str]:
    return [f"{count:,}", f"{count / whole:.2%}" if whole else "-"]


def _statistics(lengths: Lengths) -> list[str]:
    values = lengths.median, lengths.percentile_90, lengths.percentile_99, lengths.longest
    return [f"{lengths.mean:,.1f}", *(f"{value:,}" for value in values)]
