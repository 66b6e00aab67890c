"""The command line, run as a process."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import Any


def harmony(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "harmony", *arguments],
        input=stdin,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr
    return done


def records(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def flat(message: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if value is not None}
    return {**kept, "content": "".join(part["text"] for part in message["content"])}


GOOD = b'{"tokens":[200008,12194,200002]}'
PLAIN = b'{"messages":[{"role":"user","content":"a"}]}'


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


def strip_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
