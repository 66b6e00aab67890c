"""A log of conversations rendered as it is read: to a file, to standard output, or to a terminal to be read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TypeAlias

from harmony.cli import runs
from harmony.cli.show import console, show
from harmony.errors import RecordError
from harmony.logs.inputs import Reader
from harmony.logs.outputs import Output
from harmony.logs.records import BadRecord, Outcome, Record, read_records

Render: TypeAlias = Callable[[Sequence[Record | BadRecord]], Iterable[Outcome]]


def render_log(file: str, output: str | None, most: int, render: Render) -> int:
    """Renders the records of a file; returns how many of them are bad. Raises Refused."""
    screen = console()
    on_screen = output is None and sys.stdout.isatty()
    bad = 0
    job = runs.one_job(file, output or "-")
    with runs.refusing(job.output), nullcontext() if on_screen else Output(job.output, {}, resume=False) as target:
        for piece in Reader(job.inputs, full=job.output != "-", most=most):
            outcomes = list(render(read_records(piece.data, piece.first, piece.too_long)))
            bad += sum(isinstance(outcome.result, RecordError) for outcome in outcomes)
            if target is None:
                for outcome in outcomes:
                    show(screen, outcome)
                continue
            target.write(b"".join(outcome.to_json() for outcome in outcomes))  # each write is compressed by itself
            if job.output == "-":
                target.keep({})
        if target is not None:
            target.finish()
    return bad
