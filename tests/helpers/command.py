"""The command line, run as processes.

Most of the time of a command goes into importing. So commands are forked from a process that has imported all. But a
command begins anew, as it does for users, if the test changes a variable that is read while Python begins or imports.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

GOOD = b'{"tokens":[200008,12194,200002]}'
PLAIN = b'{"messages":[{"role":"user","channel":null,"content":"a"}]}'
_SECONDS = 120  # after which a command is taken to hang
_CHOICE = "HARMONY_EXTENSION"  # for each engine there is a process to fork from
_EARLY = re.compile(r"TIKTOKEN_\w+|PYTHON\w+|LANG|LC_\w+")


def harmony(
    *arguments: str | Path, stdin: bytes | Sequence[bytes] = b"", timed: bool = False, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """What a command gives for 80 columns. It reads these bytes, which come at once or one part after the other.

    The time that it took is left out if not `timed`.
    """
    words = list(map(str, arguments))
    (reading, given), (output, writing), (said, saying) = os.pipe(), os.pipe(), os.pipe()
    with ThreadPoolExecutor(3) as pool:
        done = pool.submit(_write, given, [stdin] if isinstance(stdin, bytes) else stdin)
        out, error = pool.submit(_read, output), pool.submit(_read, said)
        status = _status(words, (reading, writing, saying), environment)
        done.result()
    assert b"Traceback" not in error.result()
    return subprocess.CompletedProcess(
        words, status, out.result(), error.result() if timed else timeless(error.result())
    )


def on_a_terminal(*arguments: str, columns: int = 60) -> tuple[list[str], bytes, int]:
    """The lines that the command shows on a terminal, what it says beside them, and its exit status."""
    said, saying = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(_read, said)
        shown, status = _on_a_terminal(arguments, columns, saying)
    lines = [line.strip() for line in shown.split("\r\n")]
    assert max(map(len, lines)) <= columns
    return lines, error.result(), status


def all_on_a_terminal(*arguments: str, columns: int) -> tuple[list[str], int]:
    """The lines that the command shows on a terminal, what it says among them, and its exit status."""
    shown, status = _on_a_terminal(arguments, columns, None)
    return [line.rstrip() for line in shown.splitlines()], status


def _on_a_terminal(arguments: Sequence[str], columns: int, saying: int | None) -> tuple[str, int]:
    """What the command says goes to `saying`, which is closed, or to the terminal too."""
    parent, child = pty.openpty()
    files = os.open(os.devnull, os.O_RDONLY), child, os.dup(child) if saying is None else saying
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(shown_on, parent)
        status = _status(arguments, files, {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"})
    return strip_styles(shown.result()), status


def _status(arguments: Sequence[str], files: Sequence[int], environment: Mapping[str, str]) -> int:
    """The exit status of a command with these standard files, which are closed here."""
    environment = {**os.environ, "COLUMNS": "80", **environment}
    try:
        if _early(environment) != _AT_FIRST:
            return _anew(arguments, files, environment)
        # A missing extension is an error here, as in `engines.py`.
        warm = _warm("no" if environment.get(_CHOICE) == "no" else "yes")
        warm.begin(arguments, files, environment)
    finally:
        for file in files:
            os.close(file)
    return warm.end()


def _anew(arguments: Sequence[str], files: Sequence[int], environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "harmony", *arguments]
    standard = dict(zip(("stdin", "stdout", "stderr"), files, strict=True))
    return subprocess.run(command, **standard, env=environment, timeout=_SECONDS).returncode


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if _EARLY.fullmatch(name)}


_AT_FIRST = _early(os.environ)


class _Warm:
    """The process that has imported all, with one of the engines."""

    def __init__(self, extension: str) -> None:
        self._connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(_SECONDS)
        program = str(Path(__file__).with_name("warm.py"))
        self._process = subprocess.Popen(
            [sys.executable, program, str(other.fileno())],
            stdin=subprocess.PIPE,  # as the commands will have them
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, _CHOICE: extension},
            pass_fds=[other.fileno()],
            start_new_session=True,
        )
        other.close()

    def begin(self, arguments: Sequence[str], files: Sequence[int], environment: Mapping[str, str]) -> None:
        request = json.dumps([str(Path.cwd()), arguments, environment]).encode()
        socket.send_fds(self._connection, [request], files)

    def end(self) -> int:
        try:
            answer = self._connection.recv(100)
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        assert answer, self._process.communicate()[1].decode()
        return int(answer)


_warm = cache(_Warm)


def _write(file: int, parts: Sequence[bytes]) -> None:
    with suppress(BrokenPipeError), os.fdopen(file, "wb") as pipe:
        for part in parts:
            pipe.write(part)
            pipe.flush()


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


#: The line of a summary that says how long a run took; no two runs have the same.
TIME = re.compile(rb"harmony: [0-9,]+\.[0-9]{2} s, [0-9,]+ records/s, [0-9,.]+ MB/s(?:, written to [^\n]+)?\n")


def timeless(said: bytes) -> bytes:
    """What a command says, without the line that says how long it took."""
    return TIME.sub(b"", said)


def strip_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
