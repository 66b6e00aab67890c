"""The three ways in which each program is run, and the environment of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from peers.programs import Program

#: What runs inside the environments of the programs.
INSIDE: Final = Path(__file__).parent / "inside"

_OURS: Final = "harmony"
_REFERENCE: Final = "openai_harmony"


class Way(NamedTuple):
    """A library in the place of openai_harmony: the module that has to be behind the name, and how strict it is."""

    name: str
    module: str
    variables: dict[str, str]


REFERENCE: Final = Way("openai-harmony", _REFERENCE, {})
STRICT: Final = Way("strict", _OURS, {"HARMONY_COMPAT": "strict"})
LENIENT: Final = Way("lenient", _OURS, {})
WAYS: Final = (REFERENCE, STRICT, LENIENT)


class Setting(NamedTuple):
    """What all runs share: a folder with the vocabulary, which the reference downloads otherwise, and one for files."""

    vocabulary: Path
    files: Path

    def run(
        self, program: Program, way: Way, arguments: list[str], **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs the Python of a program in its sources, with a library in the place of openai_harmony."""
        folders = [str(INSIDE)]
        if way.module == _OURS:
            folders.insert(0, _alias(program))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("HARMONY_COMPAT", "PYTHONPATH")
        }
        environment |= {"TIKTOKEN_ENCODINGS_BASE": str(self.vocabulary), "HF_HUB_OFFLINE": "1"}
        environment |= {"PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= way.variables | variables
        command = [str(program.python), *arguments]
        return subprocess.run(
            command, cwd=program.source, env=environment, capture_output=True, text=True, errors="replace", check=False
        )


def records(path: Path, way: Way, done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """What a run wrote, where the library was the right one."""
    if not path.is_file():
        shown = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}".strip()
        raise SystemExit(
            f"expected a result with {way.name}, found none; the program ended with {done.returncode}:\n{shown}"
        )
    first, *found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if first["library"] != way.module:
        raise SystemExit(f"expected {way.module} behind `import openai_harmony` ({way.name}), found {first['library']}")
    return found


def make_vocabulary(folder: Path) -> None:
    """Writes the vocabulary as a file that openai-harmony reads."""
    subprocess.run([sys.executable, "-m", "harmony", "vocab", "export", str(folder)], check=True, capture_output=True)


def _alias(program: Program) -> str:
    """The folder of the alias, told by the library that is installed beside the program."""
    command = [str(program.python), "-m", "harmony", "compat", "--path"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"expected harmony beside {program.name}, found: {done.stderr.strip()}\n"
            f"Install it there: {program.python} -m pip install ."
        )
    return done.stdout.strip()
