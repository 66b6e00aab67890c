"""Runs the blocks of a page, which come as JSON, and writes a line of JSON for each: what its parts gave and printed.

python run_page.py PAGE < BLOCKS
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import traceback
from typing import Any

#: Ends a shell at the first command that fails. `harmony` did not fail if its status is 1: then it has found something
#: wrong in its input, or has found nothing, and says so.
STRICT = """
set -uo pipefail
trap 'status=$?; case "$status $BASH_COMMAND" in "1 harmony "*) ;; *) exit $status;; esac' ERR
{}
true
"""


def python(code: str, page: str, line: int, names: dict[str, Any]) -> tuple[int, str, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile("\n" * line + code, page, "exec"), names)
        except BaseException:
            return 1, printed.getvalue(), traceback.format_exc()
    return 0, printed.getvalue(), ""


def shell(code: str) -> tuple[int, str, str]:
    done = subprocess.run(["bash", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def main() -> None:
    page = sys.argv[1]
    names: dict[str, Any] = {"__name__": "__main__"}
    for line, kind, parts in json.load(sys.stdin):
        if kind == "python":
            ran = [python(part, page, line, names) for part in parts]
        else:
            ran = [shell(STRICT.format(part) if kind == "sh" else part) for part in parts]
        print(json.dumps(ran), flush=True)
        if kind != "console" and any(status for status, _, _ in ran):
            break


if __name__ == "__main__":
    main()
