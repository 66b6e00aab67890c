"""The command line, run as processes.

Most of the time of a command goes into importing. So commands are forked from a process that has imported all, where
they have the environment that it has; the others begin anew, as they do for users.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

GOOD = b'{"tokens":[200008,12194,200002]}'
PLAIN = b'{"messages":[{"role":"user","channel":null,"content":"a"}]}'
_SECONDS = 120  # after which a command is taken to hang


def harmony(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What a command gives that reads these bytes, on a terminal of 80 columns, without the time that it took."""
    words = list(map(str, arguments))
    if environment or Warm.environment_now() != warm().environment:
        command = [sys.executable, "-m", "harmony", *words]
        done = subprocess.run(
            command,
            input=stdin,
            env={**os.environ, "COLUMNS": "80", **environment},
            capture_output=True,
            timeout=_SECONDS,
        )
    else:
        done = warm().run(words, stdin)
    assert b"Traceback" not in done.stderr
    done.stderr = timeless(done.stderr)
    return done


class Warm:
    """The process that has imported all."""

    def __init__(self) -> None:
        self.environment = self.environment_now()
        self._connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(_SECONDS)
        program = str(Path(__file__).with_name("warm.py"))
        self._process = subprocess.Popen(
            [sys.executable, program, str(other.fileno())],
            stdin=subprocess.PIPE,  # as the commands will have them
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            pass_fds=[other.fileno()],
            start_new_session=True,
        )
        other.close()

    @staticmethod
    def environment_now() -> dict[str, str]:
        now = {**os.environ, "COLUMNS": "80"}
        now.pop("PYTEST_CURRENT_TEST", None)
        return now

    def run(self, arguments: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        socket.send_fds(self._connection, [json.dumps([str(Path.cwd()), arguments]).encode()], theirs)
        for file in theirs:
            os.close(file)
        with ThreadPoolExecutor(3) as pool:
            writing = pool.submit(_write, pipes[0][1], stdin)
            out, error = pool.submit(_read, pipes[1][0]), pool.submit(_read, pipes[2][0])
            try:
                answer = self._connection.recv(100)
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise
            writing.result()
        assert answer, self._process.communicate()[1].decode()
        return subprocess.CompletedProcess(arguments, json.loads(answer), out.result(), error.result())


@cache
def warm() -> Warm:
    return Warm()


def _write(file: int, data: bytes) -> None:
    with os.fdopen(file, "wb") as pipe, suppress(BrokenPipeError):
        pipe.write(data)


def _read(file: int) -> bytes:
    with os.fdopen(file, "rb") as pipe:
        return pipe.read()


# What getrusage tells of a process begins with the memory of the one that began it, so that one has to be small.
_MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "harmony", *sys.argv[1:]], stdin=subprocess.DEVNULL, capture_output=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([done.returncode, peak, done.stdout.decode(), done.stderr.decode()]))
"""


def measured(*arguments: str) -> tuple[int, int, str, str]:
    """The status of a command that begins anew, the most bytes that it took, what it gives and what it says."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, *arguments], capture_output=True, check=True)
    status, peak, output, said = json.loads(done.stdout)
    return status, peak, output, said


def records(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def flat(message: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if value is not None}
    return {**kept, "content": "".join(part["text"] for part in message["content"])}


def shown_on(parent: int) -> str:
    """All that is written to a terminal, whose one end this is, until its other end is closed."""
    shown = b""
    try:
        while block := os.read(parent, 65536):
            shown += block
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    return shown.decode()


def on_a_terminal(*arguments: str, columns: int = 60) -> tuple[list[str], bytes, int]:
    """The lines that the command shows on a terminal, what it says beside them, and its exit status."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "harmony", *arguments],
        stdout=child,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(child)
    shown = shown_on(parent)
    said = process.communicate()[1]
    lines = [line.strip() for line in strip_styles(shown).split("\r\n")]
    assert max(map(len, lines)) <= columns
    return lines, said, process.returncode


#: The line of a summary that says how long a run took; no two runs have the same.
TIME = re.compile(rb"harmony: [0-9,]+\.[0-9]{2} s, [0-9,]+ records/s, [0-9,.]+ MB/s(?:, written to [^\n]+)?\n")


def timeless(said: bytes) -> bytes:
    """What a command says, without the line that says how long it took."""
    return TIME.sub(b"", said)


def strip_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
