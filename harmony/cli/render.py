"""`harmony render`: renders a log of conversations piece by piece, to a file, standard output or a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TypeAlias

from harmony.cli import runs
from harmony.cli.show import console, hint, show
from harmony.errors import RecordError
from harmony.logs.inputs import Reader
from harmony.logs.outputs import Output
from harmony.logs.records import BadRecord, Outcome, Record, read_records

Render: TypeAlias = Callable[[Sequence[Record | BadRecord]], Iterable[Outcome]]


def render_log(file: str, output: str | None, most: int, render: Render) -> int:
    """Renders the records of a file, and returns how many of them are bad. Raises Refused."""
    screen = console()
    on_screen = output is None and sys.stdout.isatty()
    bad = 0
    first_code = None
    job = runs.one_job(file, output or "-")
    with runs.refusing(job.output), nullcontext() if on_screen else Output(job.output, {}, resume=False) as target:
        for piece in Reader(job.inputs, full=job.output != "-", most=most):
            if not isinstance(piece.data, bytes):
                raise runs.Refused(f"{file}: expected a file of JSON Lines, found a table")
            outcomes = list(render(read_records(piece.data, piece.first, piece.too_long)))
            errors = [outcome.result for outcome in outcomes if isinstance(outcome.result, RecordError)]
            bad += len(errors)
            first_code = first_code or next((error.code for error in errors), None)
            if target is None:
                for outcome in outcomes:
                    show(screen, outcome)
                continue
            target.write(
                b"".join(outcome.to_json() for outcome in outcomes)
            )  # one write, because each write is compressed separately
            if job.output == "-":
                target.keep({})
        if target is not None:
            target.finish()
    hint(first_code)
    return bad
