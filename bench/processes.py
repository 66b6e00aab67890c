"""What runs in processes of its own: one for each subject, which is asked for timings, and whole commands.

Knows the environment that each subject needs, and nothing of what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from bench import corpus, faults
from bench.subjects import FORK, SUBJECTS
from harmony.format import vocabulary

ROOT: Final = Path(__file__).parent.parent
_UNIT_BYTES: Final = 1024 * 1024 if sys.platform == "darwin" else 1024  # a MB, in units of ru_maxrss


class SubjectError(Exception):
    """Raised if a subject is missing, or fails at its work. The text says why."""


class Input(NamedTuple):
    """A function of `corpus.py` or `faults.py`, and the size that it is called with."""

    maker: str
    size: int


def made(given: Input) -> Any:
    """What the function gives for this size."""
    return (corpus.MAKERS | faults.MAKERS)[given.maker](given.size)


def _count(found: Any) -> int:
    if isinstance(found, str):
        return len(found.encode())
    return sum(map(_count, found)) if found and not isinstance(found[0], int) else len(found)


class Setting:
    """A scratch folder with the inputs and the peers' vocabulary, and the folder that oss-harmony is in, if any."""

    def __init__(self, folder: Path, fork: str | None) -> None:
        self.folder = folder
        self.fork = fork
        (folder / vocabulary.FILE_NAME).write_bytes(vocabulary.load().official_file())
        self._counts: dict[Input, int] = {}

    def environment(self, subject: str) -> dict[str, str]:
        """The variables of a process for one subject; only peers read the vocabulary from the folder."""
        found = {key: value for key, value in os.environ.items() if key != vocabulary.FOLDER_VARIABLE}
        found |= SUBJECTS[subject].environment
        if SUBJECTS[subject].module == "openai_harmony":
            found[vocabulary.FOLDER_VARIABLE] = str(self.folder)
        if subject == FORK and self.fork is not None:
            path = [str(Path(self.fork).resolve()), *filter(None, [found.get("PYTHONPATH")])]
            found["PYTHONPATH"] = os.pathsep.join(path)
        return found

    def path(self, given: Input) -> Path:
        """The file that holds an input, which is made when it is first asked for."""
        path = self.folder / f"{given.maker}-{given.size}.json"
        if given not in self._counts:
            found = made(given)
            path.write_text(json.dumps(found))
            self._counts[given] = _count(found)
        return path

    def count(self, given: Input) -> int:
        """How many tokens an input has, or bytes of UTF-8 where it is text."""
        self.path(given)
        return self._counts[given]


class Worker:
    """The process of one subject. Raises SubjectError where the subject cannot be used."""

    def __init__(self, subject: str, setting: Setting) -> None:
        self._setting = setting
        self._process = subprocess.Popen(
            worker_command(subject),
            cwd=ROOT,
            env=setting.environment(subject),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.version: str = self._answer()["version"]
        except SubjectError:
            self.close()
            raise

    def time(self, method: str, given: Input, least: float = 0) -> float:
        """Seconds that a method takes for an input, the mean of runs that take `least` together.

        Raises SubjectError.
        """
        self._ask({"method": method, "path": str(self._setting.path(given)), "least": least})
        seconds: float = self._answer()["seconds"]
        return seconds

    def forget(self) -> None:
        """Releases all prepared inputs."""
        self._ask(None)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, request: dict[str, Any] | None) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the missing answer shows that the process has ended
            print(json.dumps(request), file=self._process.stdin, flush=True)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SubjectError(f"its process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SubjectError(answer["error"])
        return answer


class Workers(dict[str, Worker]):
    """A process for each subject that can be used; why the others cannot, `missing` says. All end with the block."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.missing: dict[str, str] = {}
        for subject in SUBJECTS:
            try:
                self[subject] = Worker(subject, setting)
            except SubjectError as error:
                self.missing[subject] = str(error)

    def forget(self) -> None:
        for worker in self.values():
            worker.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for worker in self.values():
            worker.close()


def worker_command(subject: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "bench.worker", subject, *more]


class Usage(NamedTuple):
    """What a command took: seconds on the clock, MB of memory at the most, and seconds of all its processors."""

    seconds: float
    peak: float
    processor: float


# On Linux, the peak of a process starts with the peak of its parent. So a small process starts it.
_TIMED: Final = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_maxrss, used.ru_utime + used.ru_stime, done.returncode)
"""


def timed(words: list[str], environment: dict[str, str]) -> Usage:
    """What a command takes. The memory is that of its largest process. Raises SubjectError."""
    command = [sys.executable, "-c", _TIMED, *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    seconds, peak, processor, status = done.stdout.split()
    if int(status) != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise SubjectError(f"status {int(status)}: {said[-1] if said else 'it said nothing'}")
    return Usage(float(seconds), float(peak) / _UNIT_BYTES, float(processor))
