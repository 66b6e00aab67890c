"""The summary of a run, what is told while it lasts, and what is read and written without a suffix or a name."""

from __future__ import annotations

import pty
import subprocess
import sys
from pathlib import Path

import pytest

from harmony.cli import runs
from harmony.logs.convert import Task
from helpers.command import GOOD, TIME, harmony, records
from helpers.paths import CONVERSATIONS, SAMPLE


def said_by(*arguments: str | Path) -> list[str]:
    done = harmony(*arguments, timed=True)
    assert done.returncode == 0
    return done.stderr.decode().splitlines()


def test_the_summary_has_the_time_the_rate_and_the_output(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    for arguments, end in ((("parse", SAMPLE, "-o", output), f", written to {output}"), (("stats", SAMPLE), " MB/s")):
        lines = said_by(*arguments)
        assert lines[0] == "harmony: 40 records, 107 messages, 6,148 tokens"
        assert TIME.fullmatch(lines[-1].encode() + b"\n")
        assert lines[-1].endswith(end)
    again = said_by("parse", SAMPLE, "-o", output, "--resume")
    assert again[0] == f"harmony: {output} is already complete"
    assert not TIME.search("\n".join(again).encode())  # nothing was done that takes time


def test_what_is_skipped_in_a_folder_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in ("a.jsonl", "b.ndjson", "c.json", ".hidden.jsonl"):
        (tmp_path / "logs" / name).write_bytes(GOOD + b"\n")
    for number in range(6):
        (tmp_path / "logs" / f"notes-{number}.txt").touch()
    for command in (["parse", tmp_path / "logs", "-o", tmp_path / "out.jsonl"], ["stats", tmp_path / "logs"]):
        done = harmony(*command)
        names = ".hidden.jsonl, notes-0.txt, notes-1.txt, notes-2.txt, notes-3.txt, and 2 more"
        assert done.stderr.decode().splitlines()[:2] == [
            "harmony: 3 records, 3 messages, 9 tokens",
            f"harmony: skipped 7 files: {names}",
        ]


def test_a_line_from_time_to_time_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(SAMPLE.read_bytes() * 100)
    runs.parse(Task(), [str(log)], str(tmp_path / "a.jsonl"), workers=1, resume=False)
    assert capsys.readouterr().err == ""  # it took less than the time between two lines
    monkeypatch.setattr(runs, "_SECONDS_BETWEEN_LINES", -1.0)
    runs.parse(Task(), [str(log)], str(tmp_path / "b.jsonl"), workers=1, resume=False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == -(-log.stat().st_size // (1 << 20))
    size = f"{log.stat().st_size / 1e6:,.1f} MB"
    assert lines[-1].startswith(f"harmony: 4,000 records so far, {size} of {size} (100%), ")


@pytest.mark.parametrize("name", ["out.csv", "out.xlsx", "out.jsonl.xz", "out.txt"])
def test_an_output_of_an_unknown_suffix_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    for command in (("parse", SAMPLE), ("render", CONVERSATIONS)):
        done = harmony(*command, "-o", tmp_path / name)
        said = f"harmony: {tmp_path / name}: expected an output named .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow, "
        assert done.returncode == 2
        assert done.stderr.decode() == f"{said}found the suffix `{Path(name).suffix}`\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.ndjson", "out.json", "out.ndjson.gz", "out"])
def test_other_names_for_lines(tmp_path: Path, name: str) -> None:
    assert harmony("parse", SAMPLE, "-o", tmp_path / name).returncode == 0
    assert (tmp_path / name).is_file()


def test_a_folder_becomes_a_folder_without_a_suffix(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.ndjson").write_bytes(GOOD)
    assert harmony("parse", tmp_path / "logs", "-o", tmp_path / "out").returncode == 0
    assert len(records((tmp_path / "out" / "a.ndjson").read_bytes())) == 1


@pytest.mark.parametrize("command", ["parse", "stats", "render", "validate"])
def test_standard_input_is_read_without_a_file(command: str) -> None:
    data = CONVERSATIONS.read_bytes() if command in ("render", "validate") else SAMPLE.read_bytes()
    named, unnamed = (harmony(command, *files, stdin=data) for files in (["-"], []))
    assert (unnamed.returncode, unnamed.stdout, unnamed.stderr) == (named.returncode, named.stdout, named.stderr)
    assert unnamed.returncode == 0


@pytest.mark.parametrize("command", ["parse", "render"])
def test_on_a_terminal_the_help_is_shown_instead(command: str) -> None:
    _, child = pty.openpty()
    done = subprocess.run([sys.executable, "-m", "harmony", command], stdin=child, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"Usage: python -m harmony {command} [OPTIONS]".encode())
