"""A format of files is one entry of a table: with one entry more, every command reads and writes it."""

from __future__ import annotations

import json
import lzma
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony.logs import formats
from harmony.logs.convert import Task, convert
from harmony.logs.formats import FORMATS, LineFormat, format_of, is_log, suffixes
from harmony.logs.inputs import Piece, Reader, Unreadable, expand
from harmony.logs.outputs import Output, check_apart
from helpers.command import harmony as without_xz
from helpers.command import timeless
from helpers.paths import CONVERSATIONS, ROOT, SAMPLE
from helpers.xz import XZ

#: Runs the command in a process that has the format.
COMMAND = """
import sys
sys.path.insert(0, {folder!r})
from helpers.xz import XZ
from harmony.logs import formats
formats.FORMATS.append(XZ)
from harmony.__main__ import main
main()
"""


@pytest.fixture
def with_xz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", [*FORMATS, XZ])


def harmony(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", COMMAND.format(folder=str(ROOT / "tests")), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, env={**os.environ, "COLUMNS": "80"})
    assert b"Traceback" not in done.stderr
    done.stderr = timeless(done.stderr)
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample log, as two files of the format in a folder, of two streams each."""
    made = tmp_path / "logs"
    (made / "day").mkdir(parents=True)
    lines = SAMPLE.read_bytes().splitlines(keepends=True)
    for name, part in (("a.jsonl.xz", lines[:20]), ("day/b.JSONL.XZ", lines[20:])):
        (made / name).write_bytes(lzma.compress(b"".join(part[:7])) + lzma.compress(b"".join(part[7:])))
    return made


def test_a_folder_of_the_format_is_parsed_into_one_file_and_into_a_folder(folder: Path, tmp_path: Path) -> None:
    expected = without_xz("parse", SAMPLE, "-o", "-")
    assert expected.returncode == 0
    for workers in ("1", "2"):
        output = tmp_path / f"whole-{workers}.jsonl.xz"
        done = harmony("parse", folder, "-o", output, "--workers", workers)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", expected.stderr)
        assert lzma.decompress(output.read_bytes()) == expected.stdout
    assert harmony("parse", folder, "-o", f"{tmp_path}/made/").returncode == 0
    made = sorted(path for path in (tmp_path / "made").rglob("[!.]*") if path.is_file())
    assert [path.name for path in made] == ["a.jsonl.xz", "b.JSONL.XZ"]
    assert b"".join(lzma.decompress(path.read_bytes()) for path in made) == expected.stdout
    assert harmony("parse", folder, "-o", tmp_path / "out.parquet").returncode == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 107


def test_the_format_is_counted_validated_and_rendered(folder: Path, tmp_path: Path) -> None:
    counted, expected = harmony("stats", folder, "--json"), without_xz("stats", SAMPLE, "--json")
    assert (counted.returncode, counted.stdout) == (0, expected.stdout)
    checked = harmony("validate", folder, "--start", "completion", "--format", "json")
    expected = without_xz("validate", SAMPLE, "--start", "completion", "--format", "json")
    assert checked.returncode == expected.returncode == 1
    found, told = (json.loads(done.stdout) for done in (checked, expected))
    assert [(each["code"], each["message"]) for each in found] == [(each["code"], each["message"]) for each in told]
    packed, prompts = tmp_path / "conversations.jsonl.xz", tmp_path / "prompts.jsonl.xz"
    packed.write_bytes(lzma.compress(CONVERSATIONS.read_bytes()))
    assert harmony("render", packed, "-o", prompts).returncode == 0
    assert lzma.decompress(prompts.read_bytes()) == without_xz("render", CONVERSATIONS, "-o", "-").stdout


def test_help_and_errors_name_every_suffix(tmp_path: Path) -> None:
    for command in ("parse", "validate"):
        text = " ".join(harmony(command, "--help").stdout.decode().split())
        assert "Logs are JSON Lines (.jsonl, .jsonl.gz, .jsonl.zst, .jsonl.xz) or tables (.parquet, .arrow)" in text
    for command in ("parse", "validate", "stats"):
        done = harmony(command, tmp_path)
        said = "expected a file named .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow, .jsonl.xz, found none"
        assert (done.returncode, said in done.stderr.decode()) == (2, True)
    written = (ROOT / "docs" / "logs.md").read_text()
    assert [each.suffix for each in FORMATS if f"`{each.suffix}`" not in written] == []


@pytest.mark.usefixtures("with_xz")
def test_a_run_goes_on_in_the_format_from_every_place(folder: Path, tmp_path: Path) -> None:
    names = [name for name, _ in expand([str(folder)])]
    assert [is_log(name) for name in names] == [True, True]
    pieces = list(Reader(names))
    for done, piece in enumerate(pieces, 1):
        assert list(Reader(names, piece.after)) == pieces[done:]
    output = tmp_path / "out.jsonl.xz"
    with Output(str(output), {}, resume=False) as target:
        target.write(b"1\n")
        target.keep({})
        target.write(b"lost\n")
    with Output(str(output), {}, resume=True) as target:
        assert target.state == {}
        target.write(b"2\n")
        target.finish()
    assert lzma.decompress(output.read_bytes()) == b"1\n2\n"
    with pytest.raises(ValueError, match="is also the input"):
        check_apart([str(output)], [str(output)])
    convert(Task(), [], str(tmp_path / "empty.jsonl.xz"), workers=1, resume=False, watch=lambda *_: None)
    assert lzma.decompress((tmp_path / "empty.jsonl.xz").read_bytes()) == b""


@pytest.mark.usefixtures("with_xz")
def test_what_is_good_before_a_fault_in_the_format_is_given(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl.xz"
    good = lzma.compress(SAMPLE.read_bytes())
    file.write_bytes(good + good[: len(good) // 2])
    found: list[Piece] = []
    with pytest.raises(Unreadable, match=r"after [0-9]+ lines: expected the rest of an xz stream"):
        found.extend(Reader([str(file)]))
    assert b"".join(bytes(piece.data) for piece in found).startswith(SAMPLE.read_bytes())


@pytest.mark.usefixtures("with_xz")
def test_a_cluster_finds_and_cuts_the_format_as_one_machine_does(folder: Path) -> None:
    from harmony.logs.remote import find, pieces_of

    names = [name for name, _ in expand([str(folder)])]
    for places in ([str(folder)], [folder.as_uri()]):
        found = [piece for file in find(places, None) for piece, _ in pieces_of(pickle.loads(pickle.dumps(file)))]
        assert [(piece.data, piece.first) for piece in found] == [(piece.data, piece.first) for piece in Reader(names)]


def test_a_format_is_found_by_the_end_of_its_suffix() -> None:
    assert suffixes() == ".jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow"
    assert suffixes(LineFormat) == ".jsonl, .jsonl.gz, .jsonl.zst"
    assert len({each.ending for each in FORMATS}) == len(FORMATS)
    for each in FORMATS:
        assert format_of(f"log{each.suffix.upper()}") is each
        assert format_of(f"log{each.ending}") is each
        assert is_log(f"log{each.suffix}")
    assert format_of("-") is format_of("log.txt") is format_of("log") is formats.LINES


def test_the_library_of_every_format_is_in_the_extra() -> None:
    import tomllib

    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cli"]
    names = {requirement.partition(">=")[0] for requirement in extra}
    assert {each.library.partition(".")[0] for each in FORMATS if each.library is not None} <= names


def test_tables_of_no_rows_are_tables(tmp_path: Path) -> None:
    for each in FORMATS:
        if isinstance(each, LineFormat):
            continue
        with (tmp_path / "table").open("wb") as file:
            each.write(file, pa.schema([("id", pa.int64())])).close()
        with (tmp_path / "table").open("rb") as file:
            assert each.read_schema(file).names == ["id"]
