"""Checks files one after another, and prints a report of their problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from harmony.checking.rules import RULES
from harmony.checking.schemas import load_jsonschema
from harmony.cli.check import Linter, Problem, linter_of
from harmony.cli.ending import refuse, refused
from harmony.cli.reports import Report
from harmony.cli.settings import Settings
from harmony.cli.show import hint
from harmony.errors import printable
from harmony.logs.inputs import Unreadable, expand
from harmony.logs.outputs import check_apart


def linter_or_refuse(select: Sequence[str], ignore: Sequence[str]) -> Linter:
    """The linter for some codes. Ends the command for an unknown code, or where a selected rule lacks its library."""
    try:
        return linter_of(select, ignore)
    except (ValueError, ImportError) as error:
        refuse(str(error))


def note_left_out(settings: Settings) -> None:
    """Prints which rules are not checked although they are selected, and which because a library is missing."""
    selected = [code for code in settings.select or [] if code not in (settings.ignore or [])]
    left_out = [code for code in selected if RULES[code].needs != "completion"]
    if settings.start == "completion" and left_out:
        _note(f"{', '.join(left_out)}: not checked in completions, because the whole conversation is needed")
    unchecked = [code for code in RULES if RULES[code].needs == "schemas" and code not in (settings.ignore or [])]
    if not settings.select and unchecked:
        try:
            load_jsonschema()
        except ImportError as error:
            _note(f"{', '.join(unchecked)}: not checked, because {error}")


def report_problems(
    files: Sequence[str], problems_of: Callable[[str], Iterator[Problem]], report: Report, *, hints: bool
) -> int:
    """Checks files and folders, and prints the report. Returns the exit status of the command.

    Every file is checked, even if one is missing. `problems_of` gives the problems of a file as they are found.
    """
    named = [_named(file) for file in files]
    with refused():
        check_apart((name for found in named if isinstance(found, list) for name in found), ["-"])
    count = bad_files = 0
    first_code = None
    unread = False
    for file in (file for found in named for file in (found if isinstance(found, list) else [found])):
        before = count
        try:
            if isinstance(file, Unreadable):
                raise file
            for problem in problems_of(file):
                first_code = first_code or problem.code
                count += 1
                _print(report.problem(problem))
        except (Unreadable, ImportError) as error:
            _note(str(error))
            report.unread(str(error))
            unread = True
        bad_files += count > before
    _print(report.end())
    if count:
        _note(f"{count:,} problem{'s'[: count != 1]} in {bad_files:,} file{'s'[: bad_files != 1]}")
        if hints:
            hint(first_code)
    return 2 if unread else int(count > 0)


def _print(text: str | None) -> None:
    if text is not None:
        click.echo(text)


def _note(sentence: str) -> None:
    click.echo(f"harmony: {printable(sentence)}", err=True)


def _named(file: str) -> list[str] | Unreadable:
    """The files for one argument, or the error."""
    try:
        return [name for name, _ in expand([file])]
    except Unreadable as error:
        return error
