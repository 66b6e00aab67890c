"""`harmony validate` and `harmony lint`: what is wrong with logs, texts and token ids.

`lint` finds what `validate` finds, and more. `check.py` finds the problems, and `reports.py` writes them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from harmony.cli.arguments import (
    FORMAT,
    NAME,
    LogCommand,
    files,
    record_options,
    size_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harmony.cli.arguments import OutputFormat
    from harmony.format.choices import Start
    from harmony.logs.records import Layout

_FORMAT_HELP = "text, json (an array), github (for GitHub Actions), sarif (2.1.0), or gitlab (Code Quality)."
_SELECT_HELP = "Use only these lint rules, such as wrong-order,after-final."
_IGNORE_HELP = "Skip these lint rules."
_select_option = click.option("--select", metavar="CODES", multiple=True, help=_SELECT_HELP)
_ignore_option = click.option("--ignore", metavar="CODES", multiple=True, help=_IGNORE_HELP)


@click.command(cls=LogCommand, epilog="Example: harmony validate conversations.jsonl")
@files
@click.option(
    "--lint",
    "linting",
    is_flag=True,
    help="Also check rules about several messages, such as calls of undeclared tools. `harmony lint` can do more.",
)
@_select_option
@_ignore_option
@click.option(
    "--format", "output_format", metavar="FORMAT", type=FORMAT, default="text", show_default=True, help=_FORMAT_HELP
)
@record_options(start="conversation")
@size_option
def validate(
    files: Sequence[str],
    layout: Layout,
    linting: bool,
    select: Sequence[str],
    ignore: Sequence[str],
    output_format: OutputFormat,
    max_record_size: int,
) -> None:
    """Check logs, texts and token ids, and show where problems are.

    Each FILE is a log, a folder of logs, a file with one text or with token
    ids, or - for standard input. Logs are JSON Lines ({lines}) or tables
    ({tables}), as for `harmony parse`. Each record has `tokens` (ids), `text`
    (with markers such as <|end|> written out) or `messages` (a conversation).

    Any other file is one text. If it holds only integers, commas, brackets
    and white space, it is read as token ids. One newline at the end of the
    file is ignored.

    A conversation is valid if it can be rendered. The `role` of a completion
    works as in `harmony parse`.

    Lines and columns count from 1, columns in characters. In a log, a column
    is the place in the line of the record. Without problems, the formats text
    and github print nothing. Exit status: 1 if there are problems, 2 if a
    file cannot be read.
    """
    from functools import partial

    from harmony.cli.check import codes_of, problems
    from harmony.cli.ending import refuse
    from harmony.cli.reporting import linter_or_refuse, report_problems
    from harmony.cli.reports import REPORTS

    if not linting and (select or ignore):
        refuse("--select and --ignore need --lint")
    linter = linter_or_refuse(codes_of(select), codes_of(ignore)) if linting else None
    check = partial(problems, layout=layout, linter=linter, most=max_record_size)
    sys.exit(report_problems(files, check, REPORTS[output_format](), hints=output_format == "text"))


@click.command(cls=LogCommand, epilog="Example: harmony lint logs/ --start completion --statistics")
@click.argument("files", metavar="FILE...", nargs=-1, type=NAME)
@_select_option
@_ignore_option
@click.option("--format", "output_format", metavar="FORMAT", type=FORMAT, help=f"{_FORMAT_HELP}  [default: text]")
@click.option("--statistics", is_flag=True, help="Only count the problems by code, the most frequent first.")
@click.option("--exit-zero", is_flag=True, help="End with the status 0 even if there are problems.")
@click.option("--rules", is_flag=True, help="Show all lint rules, and do nothing else.")
@click.option("--explain", metavar="CODE", help="Show what `harmony explain CODE` shows, and do nothing else.")
@record_options(start=None)
@size_option
def lint(
    files: Sequence[str],
    layout: Layout,
    start: Start | None,
    select: Sequence[str],
    ignore: Sequence[str],
    output_format: OutputFormat | None,
    statistics: bool,
    exit_zero: bool,
    rules: bool,
    explain: str | None,
    max_record_size: int,
) -> None:
    """Check conversations by rules about several messages.

    Each FILE is a log, or holds one text or token ids, as for
    `harmony validate`; the options for records are the same, too. What
    `harmony validate` finds is reported first, and such a conversation is not
    checked by the rules. In completions (--start completion), the rules that need the
    whole conversation are left out; --rules shows which these are.

    Options that are not given are read from the table [tool.harmony.lint] of
    the nearest pyproject.toml that has it, in this directory or above: the
    keys are select, ignore, start and format.

    Exit status: 1 if there are problems (0 with --exit-zero), 2 if a file
    cannot be read.
    """
    if explain is not None:
        from harmony.cli.explain import print_entry

        print_entry(explain)
        return
    if rules:
        from harmony.cli.explain import print_rules

        print_rules(output_format or "text")
        return
    if not files:
        raise click.MissingParameter(param_hint="'FILE...'", param_type="argument", ctx=click.get_current_context())

    from functools import partial
    from pathlib import Path

    from msgspec.structs import replace

    from harmony.cli.check import codes_of, problems
    from harmony.cli.ending import refuse, refused
    from harmony.cli.reporting import linter_or_refuse, note_left_out, report_problems
    from harmony.cli.reports import REPORTS, Statistics
    from harmony.cli.settings import Settings, read_settings

    with refused():
        given = Settings(codes_of(select) or None, codes_of(ignore) or None, start, output_format)
        settings = read_settings(Path.cwd()).but(given)
    output_format = settings.format or "text"
    if statistics and output_format not in ("text", "json"):
        refuse(f"expected the format text or json for --statistics, found {output_format}")
    linter = linter_or_refuse(settings.select or [], settings.ignore or [])
    note_left_out(settings)
    layout = replace(layout, start=settings.start or "conversation")
    check = partial(problems, layout=layout, linter=linter, most=max_record_size)
    report = Statistics(as_json=output_format == "json") if statistics else REPORTS[output_format]()
    status = report_problems(files, check, report, hints=output_format == "text")
    sys.exit(0 if exit_zero and status == 1 else status)
