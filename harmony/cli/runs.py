"""Runs of the command line on logs: which input goes to which output, progress bars, summaries and errors."""

from __future__ import annotations

import errno
import os
import stat
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

from harmony.errors import printable
from harmony.logs import convert
from harmony.logs.completions import Tally
from harmony.logs.formats import is_table
from harmony.logs.inputs import BLOCK, Unreadable, expand
from harmony.logs.outputs import CannotResume, Paths, check_apart, is_finished

if TYPE_CHECKING:
    from harmony.stats.counts import Stats

_CODES_SHOWN: Final = 12
_SECONDS_BETWEEN: Final = 0.1  # between two updates of the progress bar

#: The error message if memory runs out.
NO_MEMORY: Final = "there is not enough memory: use fewer --workers or a smaller --max-record-size"


class Refused(Exception):  # noqa: N818  its text is for users
    """Raised if a command cannot do what it was asked for, or not to the end. Work done before it is kept."""


class Job(NamedTuple):
    """Inputs, and the one output that is made of them."""

    inputs: list[str]
    output: str
    in_folder: bool = False  # the folder is created if it does not exist


def jobs(files: Sequence[str], output: str) -> list[Job]:
    """One job for all files. If the output is a folder, one job for each file."""
    named = expand(files)
    if output != "-" and (output.endswith(("/", os.sep)) or Path(output).is_dir()):
        if any(name == "-" for name, _ in named):
            raise Refused(
                "standard input cannot be written to a folder, because it has no name: give a file as --output"
            )
        made = [Job([name], str(Path(output, relative)), in_folder=True) for name, relative in named]
    else:
        made = [Job([name for name, _ in named], output)]
    check_apart((name for name, _ in named), (job.output for job in made))
    return made


def parse(task: convert.Task, files: Sequence[str], output: str, *, workers: int | None, resume: bool) -> Tally | None:
    """Parses logs, with a progress bar on a terminal.

    Returns the tally of all logs, or None if every output was already complete and `resume` is set. Raises Refused, and
    KeyboardInterrupt.
    """
    with refusing(None):
        made = jobs(files, output)
    total = None
    with _progress([_size_of(job) for job in made]) as shown:
        for job in made:
            if resume and is_finished(job.output):
                shown.print(f"{job.output} is already complete")
            else:
                with refusing(job.output):
                    if job.in_folder:
                        Path(job.output).parent.mkdir(parents=True, exist_ok=True)
                    into = "rows" if is_table(job.output) else "lines"
                    own = msgspec.structs.replace(task, to=into, threads=workers or cores())
                    total = total or Tally()
                    count, watch = _workers(job, workers), shown.watcher(total)
                    total += convert.convert(own, job.inputs, job.output, workers=count, resume=resume, watch=watch)
            shown.finished()
    return total


def parse_on_cluster(task: convert.Task, files: Sequence[str], output: str) -> Tally:
    """Parses logs on a Ray cluster, like `parse`. An output without a suffix is a folder."""
    with refusing(None):
        from harmony import ray

        with _progress([None]) as shown:
            # The parts in a folder have the format of the inputs. For a file, its suffix decides.
            is_file = Path(output).suffix and not output.endswith("/") and not Path(output).is_dir()
            into_table = any(is_table(name) for name in ([output] if is_file else files))
            into = "rows" if into_table or (task.nested and not is_file) else "lines"
            return ray.run(msgspec.structs.replace(task, to=into), files, output, watch=shown.watcher(Tally()))


def count(
    task: convert.Task, files: Sequence[str], outputs: Sequence[str], *, workers: int | None
) -> tuple[Stats, Tally]:
    """Counts what logs hold, with a progress bar on a terminal. Raises the same errors as `parse`.

    `outputs` are the files that the caller will write; none of them may be an input.
    """
    try:
        import pyarrow  # noqa: F401  counting needs it for every kind of log
    except ImportError:
        raise Refused("counting needs pyarrow: pip install 'harmony-codec[cli]'") from None
    job = Job([name for name, _ in expand(files)], "")
    with refusing(None):
        check_apart(job.inputs, outputs)
    with _progress([_size_of(job)]) as shown, refusing(None):
        task = msgspec.structs.replace(task, to="stats", threads=workers or cores())
        return convert.count(task, job.inputs, workers=_workers(job, workers), watch=shown.watcher(Tally()))


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def summary(tally: Tally) -> Iterator[str]:
    """The lines of the summary of a log."""
    numbers = {"record": tally.records, "message": tally.messages, "token": tally.tokens}
    yield ", ".join(_counted(number, name) for name, number in numbers.items())
    bad, repairs = sum(tally.errors.values()), sum(tally.diagnostics.values())
    if bad:
        theirs = "with its" if bad == 1 else "each with its"
        yield f"{_counted(bad, 'bad record')}, {theirs} error: {_codes(tally.errors)}"
    if repairs:
        yield f"{_counted(repairs, 'repair')}: {_codes(tally.diagnostics)}"


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'s'[: number != 1]}"


def _codes(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{printable(code)} {number:,}" for code, number in ordered[:_CODES_SHOWN])
    return shown + f", and {len(ordered) - _CODES_SHOWN} other codes" * (len(ordered) > _CODES_SHOWN)


def _workers(job: Job, asked: int | None) -> int:
    """How many processes to use. 1 means no worker: for small logs, and for input whose lines must come out at once."""
    sizes = [Path(name).stat() for name in job.inputs if name != "-" and not is_table(name)]
    streams = "-" in job.inputs or not all(stat.S_ISREG(size.st_mode) for size in sizes)
    if streams:
        return asked or (1 if job.output == "-" else cores())
    return min(asked or cores(), 1 + sum(size.st_size for size in sizes) // (2 * BLOCK))


@contextmanager
def refusing(output: str | None) -> Iterator[None]:
    """Turns errors into Refused. Its text says what went wrong, and how to resume."""

    def go_on() -> str:
        if output is None or output == "-" or not Paths.of(output).state.exists():
            return ""
        return f"; the work so far is kept in {output}.partial, and --resume continues from there"

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
    """The progress bar for all inputs together. Without a terminal it draws nothing."""

    def __init__(self, bar: Progress | None, sizes: Sequence[int | None]) -> None:
        self._bar = bar
        self._sizes = sizes
        self._done = 0
        self._drawn = 0.0
        known = None if None in self._sizes else sum(size or 0 for size in self._sizes)
        self._task = bar.add_task("", total=known, records=0) if bar is not None else None

    def print(self, line: str) -> None:
        console = self._bar.console if self._bar is not None else Console(stderr=True, highlight=False)
        console.print(f"harmony: {printable(line)}", markup=False, soft_wrap=True)

    def watcher(self, before: Tally) -> convert.Watcher:
        def watch(taken: int, size: int | None, tally: Tally) -> None:
            if self._bar is not None and self._task is not None and monotonic() - self._drawn > _SECONDS_BETWEEN:
                self._drawn = monotonic()
                done = sum(size or 0 for size in self._sizes[: self._done]) + taken
                records = before.records + tally.records
                total = size if len(self._sizes) == 1 else None  # None does not change it
                self._bar.update(self._task, completed=done, total=total, records=records, refresh=True)

        return watch

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


def _size_of(job: Job) -> int | None:
    found = [Path(name).stat() if name != "-" else os.fstat(sys.stdin.fileno()) for name in job.inputs]
    return sum(each.st_size for each in found) if all(stat.S_ISREG(each.st_mode) for each in found) else None
