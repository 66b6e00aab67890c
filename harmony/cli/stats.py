"""`harmony stats`: counts what logs hold, and compares two logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from harmony.cli.arguments import (
    NAME,
    check_guessing,
    files,
    keep_going_option,
    limit_option,
    record_options,
    sample_option,
    size_option,
    strict_option,
    workers_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harmony.cli.summary import Run
    from harmony.logs.records import Layout
    from harmony.stats.groups import GroupedStats


@click.command(epilog="Example: harmony stats logs/ --plot stats.html")
@files
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.option(
    "--plot", metavar="PICTURE", type=NAME, help="Draw the counts to a file with the suffix .png, .svg or .html."
)
@click.option(
    "--by",
    metavar="PATH",
    help="Count also for each value of this field, such as model or meta.model. At most 100 values get counts of their "
    "own.",
)
@click.option(
    "--against",
    metavar="FILE",
    type=NAME,
    help="Compare with another log, file or folder: which shares moved, with intervals of 95 %.",
)
@click.option(
    "--into", metavar="NAME", help="The field that holds the output of `harmony parse`, if it was written with --into."
)
@record_options()
@strict_option
@keep_going_option
@limit_option
@sample_option
@workers_option
@size_option
def stats(
    files: Sequence[str],
    as_json: bool,
    plot: str | None,
    by: str | None,
    against: str | None,
    layout: Layout,
    strict: bool,
    keep_going: bool,
    limit: int | None,
    sample: int | None,
    workers: int | None,
    max_record_size: int,
) -> None:
    """Count the messages, tool calls and tokens of logs.

    Each FILE is a log, a folder of logs, a URI, a pattern in quotes, or - for
    standard input. Logs and their fields are the same as for `harmony parse`.
    What `harmony parse` wrote, and conversations in
    `messages`, are counted as they are.

    The counts are: messages by role and channel, tool calls by name, content
    tokens of the assistant by channel and of tools, lengths, and how many
    completions have no stop, were cut inside a header, repaired or bad.
    """
    from harmony.cli import runs
    from harmony.cli.ending import print_summary, refuse, refused
    from harmony.logs.choosing import Choice
    from harmony.logs.convert import Task

    check_guessing(strict=strict, stripped=layout.stripped)
    if against is not None and (by is not None or plot is not None):
        refuse(f"--against cannot be used with {'--plot' if by is None else '--by'}")
    with refused():
        if plot is not None:
            from harmony.stats import picture  # raises an error if a library is missing

            picture.check(plot)  # raises an error before the work begins
        task = Task(
            layout=layout,
            strict=strict,
            to="stats",
            keep_going=keep_going,
            max_record_size=max_record_size,
            by=by,
            choice=Choice(limit, sample),
        )
        outputs = ["-", *([plot] if plot else [])]
        found, run = runs.count(task, files, outputs, workers=workers)
        if plot is not None:
            picture.save(found.summary(), plot, None if by is None else found.by(by))
        if against is not None:
            other, other_run = runs.count(task, [against], outputs, workers=workers)
    if against is not None:
        _print_comparison(found, other, as_json=as_json)
        _print_summaries([("here", found, run), ("against", other, other_run)])
        return
    _print(found, by, as_json=as_json)
    for line in _kinds(found):
        click.echo(f"harmony: {line}", err=True)
    print_summary(run)


def _print(found: GroupedStats, by: str | None, *, as_json: bool) -> None:
    if as_json:
        _write_json(found.summary() if by is None else found.by(by))
        return
    from harmony.stats.tables import tables, tables_by
    from harmony.viewing.terminal import console_of

    screen = console_of()
    for table in tables(found.summary()) if by is None else tables_by(found.by(by)):
        screen.print(table)


def _print_comparison(found: GroupedStats, other: GroupedStats, *, as_json: bool) -> None:
    from harmony.stats.comparison import compare

    compared = compare(found.summary(), other.summary())
    if as_json:
        _write_json(compared)
        return
    from harmony.stats.tables import tables_of_comparison
    from harmony.viewing.terminal import console_of

    screen = console_of()
    for table in tables_of_comparison(compared):
        screen.print(table)


def _write_json(counts: Any) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(counts), indent=2).decode() + "\n")


def _print_summaries(logs: Sequence[tuple[str, GroupedStats, Run]]) -> None:
    """Prints what two logs hold. Ends the command with status 1 if some records are bad."""
    for name, found, run in logs:
        for line in [*_kinds(found), *run.lines()]:
            click.echo(f"harmony: {name}: {line}", err=True)
    if any(run.tally.errors for _, _, run in logs):
        sys.exit(1)


def _kinds(found: GroupedStats) -> Iterator[str]:
    """How many records were not parsed, because that may not be what was meant."""
    for count, what in ((found.conversations, "a conversation"), (found.parsed, "the output of harmony parse")):
        if count:
            hold = "record holds" if count == 1 else "records hold"
            yield f"{count:,} {hold} {what}, and nothing was parsed there"
