"""An output that is complete is believed only if the state beside it says so; each thing that differs is told apart."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from harmony.logs.convert import Task, completed, convert
from harmony.logs.outputs import CannotResume, Output
from harmony.logs.states import Finished
from helpers.command import GOOD, harmony
from helpers.paths import SAMPLE

NAMES = ["out.jsonl", "out.jsonl.gz", "out.parquet"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with a bad record."""
    file = tmp_path / "log.jsonl"
    file.write_bytes(SAMPLE.read_bytes() + b"nope\n")
    return file


def task_for(output: Path, **options: Any) -> Task:
    return Task(to="rows" if output.suffix == ".parquet" else "lines", **options)


def made(inputs: list[Path], output: Path, **options: Any) -> None:
    task, names = task_for(output, **options), [str(name) for name in inputs]
    convert(task, names, str(output), workers=1, resume=False, watch=lambda *_: None)


def refused(inputs: list[Path], output: Path, **options: Any) -> str:
    with pytest.raises(CannotResume) as caught:
        completed(task_for(output, **options), [str(name) for name in inputs], str(output))
    said, _, advice = str(caught.value).rpartition("; ")
    assert advice == f"remove {output} to begin anew, or write elsewhere"
    return said


@pytest.mark.parametrize("name", NAMES)
def test_a_finished_run_is_told_from_all_others(log: Path, tmp_path: Path, name: str) -> None:
    output, state = tmp_path / name, tmp_path / f".{name}.harmony"
    assert completed(task_for(output), [str(log)], str(output)) is None
    made([log], output)
    tally = completed(task_for(output), [str(log)], str(output))
    assert tally is not None
    assert (tally.records, tally.errors) == (41, {"invalid-json": 1})
    # The number of threads is no difference; options, inputs and version are.
    assert completed(task_for(output, threads=7), [str(log)], str(output)) == tally
    complete = f"{output} is complete, but"
    strict = f"{complete} it was made with other options: `task.strict` was `false`, and is `true`"
    assert refused([log], output, strict=True) == strict
    other = f'{complete} it was made of other inputs: `inputs[1]` was nothing, and is `"{SAMPLE}"`'
    assert refused([log, SAMPLE], output) == other
    kept = state.read_bytes()
    found = Finished.read(kept)
    found.run["version"] = "0.0.1"
    state.write_bytes(found.encoded())
    assert refused([log], output).startswith(f"{complete} version 0.0.1 made it, and this is version ")
    state.write_bytes(kept)
    # An input that has changed: its bytes, or its time alone.
    status = log.stat()
    os.utime(log, ns=(1, 1))
    assert refused([log], output).startswith(
        f"{complete} {log} has changed since: it had {status.st_size:,} bytes last"
    )
    os.utime(log, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert completed(task_for(output), [str(log)], str(output)) == tally


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_is_not_as_it_was_written_is_refused(log: Path, tmp_path: Path, name: str) -> None:
    output, state = tmp_path / name, tmp_path / f".{name}.harmony"
    made([log], output)
    whole, kept = output.read_bytes(), state.read_bytes()
    output.write_bytes(whole[:-1])
    had = f"it had {len(whole):,} bytes then, and has {len(whole) - 1:,}"
    assert refused([log], output) == f"{output} was changed or cut off after it was complete: {had}"
    output.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert refused([log], output) == f"{output} was changed after it was complete: it has other bytes"
    output.write_bytes(whole)
    for data in (b"", kept[:-1], kept.replace(b'"size"', b'"Size"'), kept.replace(b"log.jsonl", b"lag.jsonl")):
        state.write_bytes(data)
        assert refused([log], output).startswith(f"{state}, the state of {output}, cannot be used: ")
    state.unlink()
    missing = f"no run of harmony has finished: {state} is missing"
    assert refused([log], output) == f"{output} is a file that {missing}"
    output.write_bytes(b"")
    assert refused([log], output) == f"{output} is empty, and {missing}"


def test_another_writer_takes_the_state_away(log: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    made([log], output)
    with Output(str(output), {}, resume=False) as target:
        target.write(b"{}\n")
        target.finish()
    assert refused([log], output).endswith(f"{tmp_path}/.out.jsonl.harmony is missing")


def unread(file: Path) -> tuple[int, ...]:
    """What tells whether a file was written or replaced. That it is read changes another time."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_a_run_that_is_repeated_ends_as_the_first(log: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    command = ["parse", log, "-o", output, "--resume"]
    first = harmony(*command)
    written = unread(output)
    again = harmony(*command)
    assert first.returncode == again.returncode == 1
    assert again.stderr == f"harmony: {output} is already complete\n".encode() + first.stderr
    assert unread(output) == written
    changed = harmony(*command, "--strict")
    assert (changed.returncode, b"made with other options: `task.strict` was" in changed.stderr) == (2, True)
    log.write_bytes(GOOD)
    assert harmony(*command).returncode == 2
    assert unread(output) == written
    assert harmony(*command[:-1]).returncode == 0
    assert harmony(*command).returncode == 0


def test_standard_input_is_not_known_again(tmp_path: Path) -> None:
    command = ["parse", "-", "-o", tmp_path / "out.jsonl", "--resume"]
    assert harmony(*command, stdin=GOOD).returncode == 0
    again = harmony(*command, stdin=GOOD)
    assert (again.returncode, b"nobody can tell whether standard input is the same" in again.stderr) == (2, True)


def test_each_output_of_a_folder_has_its_own_state(log: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "day").mkdir(parents=True)
    for name in ("a.jsonl", "day/b.jsonl"):
        shutil.copy(log, logs / name)
    command = ["parse", logs, "-o", tmp_path / "made", "--resume"]
    first = harmony(*command)
    (tmp_path / "made" / "day" / "b.jsonl").unlink()
    again = harmony(*command)
    assert again.stderr == f"harmony: {tmp_path}/made/a.jsonl is already complete\n".encode() + first.stderr
    assert (tmp_path / "made" / "day" / ".b.jsonl.harmony").exists()
    # What was made is a folder of logs too, and its states are not told as skipped files.
    assert b"skipped" not in harmony("stats", tmp_path / "made").stderr


def test_a_partial_file_that_is_discarded_is_told(log: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    class StopError(Exception):
        pass

    def stop(*_: Any) -> None:
        raise StopError

    with pytest.raises(StopError):
        convert(Task(), [str(log)], str(output), workers=1, resume=False, watch=stop)
    done = harmony("parse", log, "-o", output)
    said = f"harmony: the unfinished {output}.partial of an earlier run is discarded; --resume would go on with it\n"
    assert done.stderr.decode().startswith(said)
    assert b"discarded" not in harmony("parse", log, "-o", output).stderr
