"""`harmony render`: renders logs of conversations piece by piece, to files, standard output or a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harmony.cli import runs
from harmony.cli.show import hint, show
from harmony.errors import RecordError, in_turn
from harmony.logs.formats import LINES, is_table
from harmony.logs.inputs import Piece, Reader, holds_table, input_name, no_rows
from harmony.logs.outputs import Output, check_apart
from harmony.logs.places import Place
from harmony.logs.records import Rendered
from harmony.viewing.terminal import console_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from harmony.format.choices import Shape
    from harmony.logs.records import Outcome
    from harmony.logs.rendered import Rendering


def render_logs(files: Sequence[str], output: str | None, rendering: Rendering, into: str | None) -> int:
    """Renders the records of files, and returns how many of them are bad. Raises Refused.

    What is added to a record stands under the key `into`, if any.
    """
    codes: list[str] = []
    shapes: Counter[Shape] = Counter()
    for job in _jobs(files, output or "-"):
        before = None  # the outcomes of one record have the same fields
        for outcome in _render(job, rendering, into, on_screen=output is None and sys.stdout.isatty()):
            if isinstance(outcome.result, Rendered):
                shapes[outcome.result.shape] += outcome.fields is not before
            elif isinstance(outcome.result, RecordError):
                codes.append(outcome.result.code)
            before = outcome.fields
    if len(shapes) > 1 and "harmony" in shapes:  # requests of both APIs may be meant to stand in one log
        found = in_turn([f"{count:,} as {shape}" for shape, count in shapes.most_common()], "and")
        click.echo(f"harmony: records of several shapes were read: {found}; --from says the shape of all", err=True)
    hint(codes[0] if codes else None)
    return len(codes)


def _jobs(files: Sequence[str], output: str) -> list[runs.Job]:
    """The jobs. The outputs in a folder are lines: that of a table has another suffix."""
    with runs.refusing(None):
        made = [
            job._replace(output=str(Path(job.output).with_suffix(LINES.suffix)))
            if job.in_folder and is_table(job.output)
            else job
            for job in runs.jobs(files, output)
        ]
        check_apart((name for job in made for name in job.inputs), (job.output for job in made))
    return made


def _render(job: runs.Job, rendering: Rendering, into: str | None, *, on_screen: bool) -> Iterator[Outcome]:
    """Carries out a job, and yields the outcome of each record."""
    if job.in_folder:
        with runs.refusing(job.output):
            Path(job.output).parent.mkdir(parents=True, exist_ok=True)
    screen = console_of()
    with runs.refusing(job.output), nullcontext() if on_screen else Output(job.output, {}, resume=False) as target:
        is_empty = True
        encoded = _encoder(rendering, job.output, into)
        for piece in Reader(job.inputs, full=job.output != "-", most=rendering.most):
            is_empty = False
            try:
                outcomes: list[Outcome] = list(rendering.outcomes(piece))
                written = None if target is None else encoded(piece, outcomes)
            except (TypeError, ValueError) as error:  # a table without messages, or a field that would be replaced
                raise ValueError(f"{input_name(job.inputs[piece.after.file])}: {error}") from error
            yield from outcomes
            if target is None or written is None:
                for outcome in outcomes:
                    show(screen, outcome)
                continue
            target.write(written)  # one write, because each write is compressed separately
            if job.output == "-":
                target.keep({})
        if target is not None:
            if is_empty and is_table(job.output):
                target.write(encoded(_no_rows(job), []))
            target.finish()


def _no_rows(job: runs.Job) -> Piece:
    """A piece without rows, for the columns of a table: those of the first table among the inputs, if there is one."""
    table = next((name for name in job.inputs if holds_table(name)), None)
    return Piece(b"" if table is None else no_rows(table), 1, Place())


def _encoder(
    rendering: Rendering, output: str, into: str | None
) -> Callable[[Piece, Sequence[Outcome]], bytes | pa.RecordBatch]:
    """What writes the outcomes of a piece: as lines, or as rows of a table."""
    if is_table(output):
        from harmony.logs.rendered_rows import RenderedRows  # lines of JSON need no Arrow

        return RenderedRows(rendering, into).batch
    return lambda piece, outcomes: b"".join(outcome.to_json(into) for outcome in outcomes)
