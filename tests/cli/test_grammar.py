"""`harmony grammar`, run as a process: the formal grammar, its page, and the grammar that guides a model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import harmony.grammar
import pytest

from harmony import decoding
from helpers.command import harmony as run_command


def run(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> tuple[int, list[str], str]:
    """Exit status, lines of the output, and what is said beside it."""
    done = run_command(*arguments, stdin=stdin, **environment)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


def test_grammar() -> None:
    command = [sys.executable, "-m", "harmony", "grammar"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == harmony.grammar.read().encode()

    pytest.importorskip("railroad")
    done = subprocess.run([*command, "--railroad"], capture_output=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"<!DOCTYPE html>")
    assert "…".encode() in done.stdout


def test_the_grammar_that_guides(tmp_path: Path) -> None:
    guide = ("grammar", "--for", "llguidance")
    tools = tmp_path / "tools.json"
    tools.write_text('[{"type": "function", "name": "f", "parameters": {"type": "object"}}]')
    status, lines, _ = run(*guide, "--tools", str(tools))
    assert (status, lines[-1]) == (0, 'arguments_0: %json {"type": "object"}')
    assert run(*guide, "--tools", "-", stdin=tools.read_bytes())[1] == lines
    assert run(*guide)[1] == decoding.grammar(None).splitlines()


def test_wrong_tools_for_the_grammar_that_guides(tmp_path: Path) -> None:
    guide = ("grammar", "--for", "llguidance", "--tools")
    tools = tmp_path / "tools.json"
    tools.write_text('[{"type": "function", "name": "f", "parameters": {"not": {}}}]')
    assert run("grammar", "--tools", "-") == (2, [], "harmony: --tools needs --for llguidance\n")
    assert run("grammar", "--for", "llguidance", "--railroad")[2] == "harmony: --railroad cannot be used with --for\n"
    for arguments, stdin, text in (
        ([str(tools)], b"", r'"not".* of `functions\.f`'),
        ([str(tmp_path / "none")], b"", "none: No such file"),
        (["-"], b"[", "expected a JSON list of tools, found what is no JSON"),
        (["-"], b"{}", "expected a list.*`tools`"),
    ):
        status, lines, error = run(*guide, *arguments, stdin=stdin)
        assert (status, lines) == (2, [])
        assert re.search(text, error)


def test_the_page_needs_a_library(tmp_path: Path) -> None:
    (tmp_path / "railroad.py").write_text("raise ModuleNotFoundError(name='railroad')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    assert run("grammar", "--railroad", PYTHONPATH=path) == (
        2,
        [],
        "harmony: the page needs railroad-diagrams: pip install railroad-diagrams, or the extra `cli` of "
        "harmony-codec\n",
    )
