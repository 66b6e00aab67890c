"""Runs of the command line on logs: which input goes to which output, progress bars, summaries and errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from harmony.cli.summary import Run, megabytes
from harmony.errors import printable
from harmony.logs import convert, stores
from harmony.logs.completions import Tally
from harmony.logs.formats import check_output, is_table
from harmony.logs.inputs import BLOCK, Unreadable, expand, stamps_of
from harmony.logs.outputs import CannotResume, Paths, check_apart, is_special
from harmony.runtime.extras import how_to_install

if TYPE_CHECKING:
    from harmony.stats.groups import GroupedStats

_SECONDS_BETWEEN: Final = 0.1  # between two updates of the progress bar
_SECONDS_BETWEEN_LINES: Final = 30.0  # without a terminal

#: The error message if memory runs out.
NO_MEMORY: Final = "there is not enough memory: use fewer --workers or a smaller --max-record-size"


class Refused(Exception):  # noqa: N818  its text is for users
    """Raised if a command cannot do what it was asked for, or not to the end. Work done before it is kept."""


class Job(NamedTuple):
    """Inputs, and the one output that is made of them."""

    inputs: list[str]
    output: str
    in_folder: bool = False  # the folder is created if it does not exist


def jobs(files: Sequence[str], output: str, skipped: list[str] | None = None) -> list[Job]:
    """One job for all files. If the output is a folder, one job for each file.

    The names of files that are skipped in folders are added to `skipped`. Raises Refused, Unreadable, and ValueError.
    """
    named = expand(files, skipped)
    output = stores.local(output)
    if _is_folder(output, files, named):
        if any(name == "-" for name, _ in named):
            raise Refused(
                "standard input cannot be written to a folder, because it has no name: give a file as --output"
            )
        made = [Job([name], _inside(output, relative), in_folder=True) for name, relative in named]
    else:
        if not is_special(output):
            check_output(output)
        made = [Job([name for name, _ in named], output)]
    check_apart((name for name, _ in named), (job.output for job in made))
    return made


def _is_folder(output: str, files: Sequence[str], found: Sequence[tuple[str, str]]) -> bool:
    """Whether the output is a folder: by its name, or because it is one, or because a folder is read."""
    if output == "-":
        return False
    if output.endswith(("/", os.sep)) or Path(output).is_dir():
        return True
    if Path(output).suffix or Path(output).exists():
        return False
    names = {name for name, _ in found}
    return any(stores.local(name) not in names and not stores.is_pattern(name) for name in files)


def _inside(folder: str, relative: str) -> str:
    return f"{folder.rstrip('/')}/{relative}" if stores.is_remote(folder) else str(Path(folder, relative))


def parse(task: convert.Task, files: Sequence[str], output: str, *, workers: int | None, resume: bool) -> Run:
    """Parses logs, with a progress bar on a terminal. Raises Refused, and KeyboardInterrupt.

    An output that is already complete counts with what its run had counted, if `resume` is set.
    """
    run = Run(output)
    with refusing(None):
        made = jobs(files, output, run.skipped)
    with _progress([_size_of(job.inputs) for job in made]) as shown:
        for job in made:
            with refusing(job.output):
                into = "rows" if is_table(job.output) else "lines"
                own = msgspec.structs.replace(task, to=into, threads=workers or cores())
                done = convert.completed(own, job.inputs, job.output) if resume else None
                if done is not None:
                    shown.print(f"{job.output} is already complete")
                    run.tally += done
                else:
                    _parse_job(own, job, run, shown, workers=workers, resume=resume)
            shown.finished()
    return run


def _parse_job(task: convert.Task, job: Job, run: Run, shown: _Shown, *, workers: int | None, resume: bool) -> None:
    if job.in_folder and not stores.is_remote(job.output):
        Path(job.output).parent.mkdir(parents=True, exist_ok=True)
    count = _workers(job, workers)
    resumed = resume and not is_special(job.output) and Paths.of(job.output).state.exists()
    watch, tell = run.watcher(shown.watcher(run.tally), resumed=resumed), shown.print
    run.tally += convert.convert(task, job.inputs, job.output, workers=count, resume=resume, watch=watch, tell=tell)
    run.ended()


def parse_on_cluster(task: convert.Task, files: Sequence[str], output: str) -> Run:
    """Parses logs on a Ray cluster, like `parse`. An output without a suffix is a folder."""
    run = Run(output)
    with refusing(None):
        from harmony import ray

        with _progress([None]) as shown:
            # The parts in a folder have the format of the inputs. For a file, its suffix decides.
            is_file = Path(output).suffix and not output.endswith("/") and not Path(output).is_dir()
            into_table = any(is_table(name) for name in ([output] if is_file else files))
            into = "rows" if into_table or (task.nested and not is_file) else "lines"
            if is_file:
                check_output(output)
            watch = run.watcher(shown.watcher(Tally()))
            run.tally = ray.run(msgspec.structs.replace(task, to=into), files, output, watch=watch)
    run.ended()
    return run


def count(
    task: convert.Task, files: Sequence[str], outputs: Sequence[str], *, workers: int | None
) -> tuple[GroupedStats, Run]:
    """Counts what logs hold, with a progress bar on a terminal. Raises the same errors as `parse`.

    `outputs` are the files that the caller will write; none of them may be an input.
    """
    try:
        import pyarrow  # noqa: F401  counting needs it for every kind of log
    except ImportError:
        raise Refused(f"counting needs pyarrow: {how_to_install('cli', 'pyarrow')}") from None
    run = Run()
    job = Job([name for name, _ in expand(files, run.skipped)], "")
    with refusing(None):
        check_apart(job.inputs, outputs)
    with _progress([_size_of(job.inputs)]) as shown, refusing(None):
        task = msgspec.structs.replace(task, to="stats", threads=workers or cores())
        watch = run.watcher(shown.watcher(Tally()))
        stats, run.tally = convert.count(task, job.inputs, workers=_workers(job, workers), watch=watch)
    run.ended()
    return stats, run


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(job: Job, asked: int | None) -> int:
    """How many processes to use. 1 means no worker: for small logs, and for input whose lines must come out at once."""
    size = _size_of([name for name in job.inputs if name == "-" or not is_table(name)])
    if size is None or "-" in job.inputs:
        return asked or (1 if job.output == "-" else cores())
    return min(asked or cores(), 1 + size // (2 * BLOCK))


@contextmanager
def refusing(output: str | None) -> Iterator[None]:
    """Turns errors into Refused. Its text says what went wrong, and how to resume."""

    def go_on() -> str:
        if output is None or output == "-" or not Paths.of(output).state.exists():
            return ""
        kept = stores.base_name(output) if stores.is_remote(output) else output
        return f"; the work so far is kept in {kept}.partial, and --resume continues from there"

    try:
        yield
    except Unreadable as error:
        raise Refused(f"{error}{go_on()}") from error
    except BrokenProcessPool as error:  # before RuntimeError, because it is one too
        raise Refused(f"a worker process was killed, perhaps because memory ran out{go_on()}") from error
    except MemoryError as error:
        raise Refused(f"{NO_MEMORY}{go_on()}") from error
    except (CannotResume, ImportError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise Refused(str(error)) from error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise Refused(f"{NO_MEMORY}{go_on()}") from error
        name = error.filename or output or "the output"
        raise Refused(f"{name} cannot be written: {error.strerror or error}{go_on()}") from error
    except KeyboardInterrupt:
        if go_on():
            sys.stderr.write(f"harmony: interrupted{printable(go_on())}\n")
        raise


class _Shown:
    """The progress bar for all inputs together. Without a terminal, a line from time to time."""

    def __init__(self, bar: Progress | None, sizes: Sequence[int | None]) -> None:
        self._bar = bar
        self._sizes = sizes
        self._done = 0
        self._drawn = 0.0
        self._begun = self._said = monotonic()
        self._known = None if None in self._sizes else sum(size or 0 for size in self._sizes)
        self._task = bar.add_task("", total=self._known, records=0) if bar is not None else None

    def print(self, line: str) -> None:
        console = self._bar.console if self._bar is not None else Console(stderr=True, highlight=False)
        console.print(f"harmony: {printable(line)}", markup=False, soft_wrap=True)

    def watcher(self, before: Tally) -> convert.Watcher:
        def watch(taken: int, size: int | None, tally: Tally) -> None:
            if self._bar is None and monotonic() - self._said > _SECONDS_BETWEEN_LINES:
                self._say(taken, before.records + tally.records)
            if self._bar is not None and self._task is not None and monotonic() - self._drawn > _SECONDS_BETWEEN:
                self._drawn = monotonic()
                done = self._before() + taken
                records = before.records + tally.records
                total = size if len(self._sizes) == 1 else None  # None does not change it
                self._bar.update(self._task, completed=done, total=total, records=records, refresh=True)

        return watch

    def _say(self, taken: int, records: int) -> None:
        self._said = monotonic()
        done, size = self._before() + taken, self._known
        read = megabytes(done) + (f" of {megabytes(size)} ({done / size:.0%})" if size else "")
        self.print(f"{records:,} records so far, {read}, {megabytes(done / (self._said - self._begun))}/s")

    def _before(self) -> int:
        return sum(size or 0 for size in self._sizes[: self._done])

    def finished(self) -> None:
        self._done += 1


@contextmanager
def _progress(sizes: Sequence[int | None]) -> Iterator[_Shown]:
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Shown(None, sizes)
        return
    columns = (
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    # The working thread draws the bar. A thread of its own would be unsafe, because worker processes are forked later.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        yield _Shown(bar, sizes)


def _size_of(names: Sequence[str]) -> int | None:
    """The size of some files in bytes; None if it is not known of all."""
    stamps = stamps_of(names)
    return None if None in stamps else sum(stamp[0] for stamp in stamps if stamp is not None)
