"""The three ways in which each program is run, and the environment of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from harmony.format import vocabulary
from peers.programs import TESTS, Program

#: What runs inside the environments of the programs.
_INSIDE: Final = Path(__file__).parent / "inside"
_OURS: Final = "harmony"
_REFERENCE: Final = "openai_harmony"
_SHOWN: Final = 4000  # characters of the output of a program that failed


class Way(NamedTuple):
    """A library in the place of openai_harmony: the module behind the name, and the variables that it reads."""

    name: str
    module: str
    variables: dict[str, str]


REFERENCE: Final = Way("openai-harmony", _REFERENCE, {})
STRICT: Final = Way("strict", _OURS, {"HARMONY_COMPAT": "strict"})
LENIENT: Final = Way("lenient", _OURS, {})
WAYS: Final = (REFERENCE, STRICT, LENIENT)


class Setting:
    """What all runs share: a folder for files, with the vocabulary, which openai-harmony downloads otherwise."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self._vocabulary = files / "vocabulary"
        self._hub = files / "hub"
        command = [sys.executable, "-m", "harmony", "vocab", "export", str(self._vocabulary)]
        subprocess.run(command, check=True, capture_output=True)

    def run(self, program: Program, way: Way, module: str, *arguments: str, **variables: str) -> list[dict[str, Any]]:
        """Runs a Python module in the sources of a program, with a library in the place of openai_harmony.

        Returns the records that it wrote to the file whose path is in the variable PEERS_OUTPUT.
        """
        output = self.files / f"{program.name} {module} {way.name}.jsonl"
        environment = self._environment(program, way) | variables | {"PEERS_OUTPUT": str(output)}
        done = _run(program, environment, "-m", module, *arguments)
        if not output.is_file():
            raise SystemExit(f"expected results of {program.name} with {way.name}, found none:\n{_said(done)}")
        first, *found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        if first["library"] != way.module:
            raise SystemExit(f"expected `{way.module}` behind openai_harmony ({way.name}), found `{first['library']}`")
        return found

    def make_hub(self, program: Program) -> None:
        """Makes the cache of a hub, where the tests of a program need one."""
        special_tokens = sorted(vocabulary.SPECIAL_TOKENS, key=vocabulary.SPECIAL_TOKENS.__getitem__)
        given = {
            "file": str(self._vocabulary / vocabulary.FILE_NAME),
            "pattern": vocabulary.load().encoder._pat_str,
            "special_tokens": special_tokens,
        }
        path = self.files / "hub.json"
        path.write_text(json.dumps(given), encoding="utf-8")
        done = _run(program, self._environment(program, REFERENCE), "-m", "peers_hub", str(path), str(self._hub))
        if done.returncode:
            raise SystemExit(f"expected a cache of the hub for {program.name}, found none:\n{_said(done)}")

    def _environment(self, program: Program, way: Way) -> dict[str, str]:
        folders = [str(_INSIDE)]
        if way.module == _OURS:
            folders.insert(0, _alias(program))
        environment = dict(os.environ)
        environment.pop("HARMONY_COMPAT", None)
        environment |= {"PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {
            "TIKTOKEN_ENCODINGS_BASE": str(self._vocabulary),
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self._hub),
        }
        return environment | dict(TESTS[program.name].variables) | way.variables


def _alias(program: Program) -> str:
    """The folder of the alias, as the library tells it that is installed beside the program."""
    done = _run(program, dict(os.environ), "-c", "from harmony import compat; print(compat.path())")
    if done.returncode:
        raise SystemExit(
            f"expected harmony beside {program.name}, found:\n{_said(done)}\n"
            f"Install it there: {program.python} -m pip install ."
        )
    return done.stdout.strip()


def _run(program: Program, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program.python), *arguments]
    return subprocess.run(
        command, cwd=program.source, env=environment, capture_output=True, text=True, errors="replace", check=False
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return f"{done.stdout[-_SHOWN:]}\n{done.stderr[-_SHOWN:]}\nexit status {done.returncode}".strip()
