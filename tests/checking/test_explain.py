"""`harmony explain` on a terminal, and the hint at it below what other commands say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harmony.explanations import page
from helpers.command import all_on_a_terminal, harmony

HINT = "harmony: `harmony explain %s` says more"


def on_a_terminal(*arguments: str, status: int, columns: int = 80) -> list[str]:
    lines, ended = all_on_a_terminal(*arguments, columns=columns)
    assert ended == status
    return lines


def test_an_entry_is_wrapped() -> None:
    lines = on_a_terminal("explain", "unknown-role", status=0, columns=60)
    assert lines[0] == "unknown-role (Strict parsing)"
    assert max(map(len, lines)) <= 60
    assert "    <|start|>wizard<|message|>Hi<|end|>" in lines
    assert " ".join(page.ENTRIES["unknown-role"].about.split()) in " ".join(" ".join(lines).split())


def test_the_list_is_by_family() -> None:
    lines = on_a_terminal("explain", status=0)
    assert max(map(len, lines)) <= 80
    first = [line.split()[0] for line in lines if line.split()]
    assert [word for word in first if word in page.ENTRIES] == list(page.CODES)
    for section in page.SECTIONS:
        assert section.title in [line.strip() for line in lines]


@pytest.mark.parametrize("output_format", ["text", "json", "github"])
def test_validate_hints_at_it_for_people(tmp_path: Path, output_format: str) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("<|start|>wizard<|message|>Hi<|end|>")
    lines = on_a_terminal("validate", str(file), "--format", output_format, status=1)
    assert (lines[-1] == HINT % "unknown-role") == (output_format == "text")
    assert lines.count(HINT % "unknown-role") == (output_format == "text")


def test_parse_and_render_hint_at_it(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"text": "final<|message|>Hi<|return|>"}) + "\n")
    assert on_a_terminal("parse", str(log), status=0)[-1] == HINT % "unmarked-channel"
    target = str(tmp_path / "out.jsonl")
    assert on_a_terminal("parse", str(log), "-o", target, status=0)[-1] == HINT % "unmarked-channel"
    assert HINT % "unexpected-word" in on_a_terminal("parse", str(log), "--strict", status=1)
    log.write_text('{"messages": [{"role": "tool", "content": ""}]}\n')
    assert HINT % "nameless-tool" in on_a_terminal("render", str(log), status=1)
    log.write_text(json.dumps({"text": "<|channel|>final<|message|>Hi<|return|>"}) + "\n")
    assert "says more" not in " ".join(on_a_terminal("parse", str(log), status=0))


def test_what_is_no_terminal_gets_no_hint(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("x")
    done = harmony("validate", file)
    assert done.returncode == 1
    assert done.stderr == b"harmony: 1 problem in 1 file\n"
