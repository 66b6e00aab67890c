"""A process that has imported the command line, and forks for each command: `command.py` begins it.

It is asked through a socket: for the arguments and the environment, with the three standard files. It answers with the
status of the end.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import threading
from pathlib import Path


def load() -> None:
    """Imports what commands import when they need it, but for what draws pictures and what works on clusters."""
    for name in ("dateutil.tz", "fsspec", "jsonschema", "numpy", "pandas", "zstandard"):  # pandas: pyarrow needs it
        importlib.import_module(name)

    import harmony
    from helpers.modules import modules

    for name in modules():
        if name not in ("harmony.__main__", "harmony.ray", "harmony.stats.picture"):
            importlib.import_module(name)
    harmony.load_harmony_encoding("HarmonyGptOss").encode("a")


def serve(connection: socket.socket) -> None:
    while True:
        request, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not request:
            return
        folder, arguments, environment = json.loads(request)
        if any(argument.startswith("s3://") for argument in arguments):
            importlib.import_module("s3fs")  # which few tests need
        process = os.fork()
        if not process:
            break
        for file in files:
            os.close(file)
        connection.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[0] = folder
    run()


def run() -> None:
    """Runs the command, and ends as Python does, but for taking apart the modules: that would copy their memory."""
    try:
        runpy.run_module("harmony", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        status = end.code or 0
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    load()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
