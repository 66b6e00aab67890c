"""Outputs that are written directly, for they are no files: pipes, devices and standard output."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harmony.logs.outputs import Output
from helpers.written import LINES, LOG, NAMES, RUN, held, written


def through_a_pipe(tmp_path: Path, name: str, write: Callable[[Output], None]) -> bytes:
    """What comes out at the other end of a named pipe."""
    os.mkfifo(tmp_path / name)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / name).read_bytes()))
    reader.start()
    with Output(str(tmp_path / name), RUN, resume=True) as output:
        assert output.state is None
        write(output)
    reader.join()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    return found[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_is_written_directly(tmp_path: Path, name: str) -> None:
    def write(output: Output) -> None:
        for data in written(name):
            output.write(data)
            output.keep({})
        output.finish()

    data = through_a_pipe(tmp_path, name, write)
    (tmp_path / f"whole-{name}").write_bytes(data)
    assert held(tmp_path / f"whole-{name}") == LINES


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_that_is_left_without_an_end(tmp_path: Path, name: str) -> None:
    assert through_a_pipe(tmp_path, name, lambda output: output.write(written(name)[0]))


def test_devices_are_written_directly() -> None:
    def fill(name: str) -> None:
        with Output(name, RUN, resume=False) as output:
            output.write(LOG)
            output.keep({})
            output.finish()

    fill("/dev/null")
    with pytest.raises(OSError, match="No space left on device"):
        fill("/dev/full")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert not list(Path("/dev").glob("*.partial"))


def test_standard_output_is_flushed_at_each_keep() -> None:
    code = (
        "import sys; from harmony.logs.outputs import Output\n"
        "with Output('-', {}, resume=True) as output:\n"
        "    for line in sys.stdin.buffer:\n"
        "        output.write(line); output.keep({})\n"
        "    output.finish()\n"
        "print('more', flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for line in LINES[:3]:
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline() == line
    assert process.communicate()[0] == b"more\n"
