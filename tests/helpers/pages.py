"""The code blocks of a page of the documentation, and what each prints when it runs.

What a block is follows from its language: `python` runs in Python, `sh` in a shell, and a `console` has commands behind
`$` with what they print. A block without a language and an indented block are commands too. A `text` block directly
behind a block that runs is what that prints. A line `…` in an output stands for any lines.

A block that cannot run in a test has the comment `<!-- not run: REASON -->` directly above it. The comment
`<!-- no block of this page is run: REASON -->` stands for all blocks of its page.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml
from markdown_it import MarkdownIt

_NOT_RUN: Final = re.compile(r"<!-- not run: (.+?) -->\s*", re.DOTALL)
_PAGE_NOT_RUN: Final = re.compile(r"<!-- no block of this page is run: (.+?) -->", re.DOTALL)
_LANGUAGES: Final = ("console", "python", "sh", "text")
#: Languages of data, which has to be well-formed.
_DATA: Final = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
_RUN: Final = Path(__file__).with_name("run_page.py")


class Block(NamedTuple):
    """A code block. `output` is what the page says that it prints, and `reason` why it is not run."""

    line: int
    kind: str
    text: str
    output: str | None = None
    reason: str | None = None


class Ran(NamedTuple):
    """What came of a block that was run. Each command of a console has a result of its own."""

    status: int
    stdout: str
    stderr: str


def blocks(text: str) -> list[Block]:
    """The blocks of a page that run, or would run but for a comment. Raises ValueError for one that is wrong."""
    whole = _PAGE_NOT_RUN.search(text)
    found: list[Block] = []
    before = None  # the reason or the block that the next block follows directly
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language = token.info.strip()
            if token.type == "code_block":
                language = "console" if token.content.startswith("$ ") else "sh"
            line = token.map[0] + 1
            reason = before if isinstance(before, str) else whole and whole[1]
            if language not in (*_LANGUAGES, *_DATA):
                expected = ", ".join((*_LANGUAGES, *_DATA))
                raise ValueError(f"line {line}: expected a block in one of {expected}, found `{language}`")
            if language == "text":
                if isinstance(before, Block):
                    found[-1] = before._replace(output=token.content)
            elif language in _LANGUAGES:
                found.append(Block(line, language, token.content, reason=reason))
                before = found[-1]
                continue
            elif reason is None:
                _check(language, token.content, line)
            before = None
        elif token.type == "html_block" and (mark := _NOT_RUN.fullmatch(token.content)):
            before = " ".join(mark[1].split())
        else:
            before = None
    return found


def not_run(text: str) -> list[str]:
    """The reasons of a page why blocks are not run; a reason for all of its blocks stands alone."""
    if whole := _PAGE_NOT_RUN.search(text):
        return [whole[1]]
    return [block.reason for block in blocks(text) if block.reason is not None]


def _check(language: str, text: str, line: int) -> None:
    try:
        _DATA[language](text)
    except ValueError:
        try:
            for each in text.splitlines():
                _DATA[language](each)  # as in JSON Lines
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None


def commands(console: str) -> Iterator[tuple[str, str]]:
    """The commands of a console, each with what it prints."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command}\n{more.removeprefix('> ')}"
        yield command, output


def run(page: str, found: list[Block], folder: Path) -> list[list[Ran]]:
    """Runs blocks one after another in a fresh process, until one fails, and gives the results of each."""
    given = [
        (block.line, block.kind, [command for command, _ in commands(block.text)] or [block.text]) for block in found
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, str(_RUN), page],
        input=json.dumps(given),
        env={**os.environ, "PATH": path, "HOME": str(folder), "PYTHONUNBUFFERED": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [[Ran(*each) for each in json.loads(line)] for line in done.stdout.splitlines()]


def fits(output: str, expected: str) -> bool:
    """Whether an output is what a page says."""
    parts = re.split(r"^[ ]*…[ ]*\n", _trimmed(expected), flags=re.MULTILINE)
    return re.fullmatch("(?:.*\n)*".join(map(re.escape, parts)), _trimmed(output)) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n") + "\n"
