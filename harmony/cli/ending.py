"""How commands end: with what they print to standard error, and with which exit status.

Exit status 0: everything is fine. 1: some records are bad (each has its error in its place), or `validate` found
problems. 2: wrong usage, or a file that could not be read or written to its end.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from harmony.cli import runs
from harmony.cli.show import hint
from harmony.cli.summary import Run
from harmony.errors import printable
from harmony.logs.inputs import Unreadable


def refuse(reason: str, code: str | None = None) -> NoReturn:
    """Prints why the command cannot do what it was asked for, and ends it with status 2."""
    click.echo(f"harmony: {printable(reason)}", err=True)
    hint(code)
    raise SystemExit(2)


@contextmanager
def refused() -> Iterator[None]:
    """Turns the errors that a command can raise into `refuse`; other errors are bugs, and keep their traceback."""
    try:
        yield
    except (runs.Refused, Unreadable, ImportError, OverflowError, TypeError, ValueError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def print_summary(run: Run) -> None:
    """Prints what a log holds. Ends the command with status 1 if some records are bad."""
    for line in run.lines():
        click.echo(f"harmony: {line}", err=True)
    hint(next(iter([*run.tally.errors, *run.tally.diagnostics]), None))
    if run.tally.errors:
        sys.exit(1)


def print_bad_count(bad: int) -> None:
    """Prints how many records are bad, and ends the command with status 1 if any is."""
    if bad:
        record = "bad record, with its error" if bad == 1 else "bad records, each with its error"
        click.echo(f"harmony: {bad:,} {record}", err=True)
        sys.exit(1)
