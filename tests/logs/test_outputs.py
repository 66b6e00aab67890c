"""Files written whole or not at all: what a killed run leaves, and that another goes on with it to the same bytes."""

from __future__ import annotations

import gzip
import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony.logs import outputs, table_files
from harmony.logs.inputs import Reader
from harmony.logs.outputs import CannotResume, Output
from harmony.logs.places import Place
from helpers.paths import ROOT
from helpers.sizes import Scale
from helpers.written import LINES, LOG, NAMES, RUN, TABLES, held, written


@pytest.mark.parametrize("name", NAMES)
def test_a_file_appears_when_it_is_whole(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"what was there before")
    with Output(str(file), RUN, resume=False) as output:
        assert output.state is None
        for number, data in enumerate(written(name)):
            output.write(data)
            output.keep({"number": number})
            assert file.read_bytes() == b"what was there before"
        output.finish()
    assert held(file) == LINES
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if os.name == "posix":
        (tmp_path / "other").touch()
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def whole(tmp_path: Path, name: str) -> bytes:
    """The bytes of a file that is written without an interruption."""
    with Output(str(tmp_path / f"whole-{name}"), RUN, resume=False) as output:
        for data in written(name):
            output.write(data)
        output.finish()
    return (tmp_path / f"whole-{name}").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_from_every_place_that_was_kept(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    pieces, expected = written(name), whole(tmp_path, name)
    for kept in range(len(pieces) + 1):
        with Output(str(file), RUN, resume=False) as output:
            for number, data in enumerate(pieces[: kept + 2]):
                if number == kept:
                    output.keep({"next": number, "tail": b"\xff\n"})
                output.write(data)
            if kept >= len(pieces):
                output.keep({"next": kept, "tail": b"\xff\n"})
        assert not file.exists()
        with Output(str(file), RUN, resume=True) as output:
            assert output.state == {"next": kept, "tail": "/wo="}
            for data in pieces[kept:]:
                output.write(data)
            output.finish()
        assert file.read_bytes() == expected
        file.unlink()


def test_what_was_written_and_not_kept_is_cut_off(tmp_path: Path) -> None:
    file, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"

    def run(*, resume: bool, lines: bytes, keeps: bool = False, more: bytes = b"") -> dict[str, Any] | None:
        with Output(str(file), RUN, resume=resume) as output:
            output.write(lines)
            if keeps:
                output.keep({"lines": lines.decode()})
            output.write(more)
        return output.state

    assert run(resume=True, lines=b"never kept\n") is None
    assert run(resume=True, lines=b"1\n", keeps=True, more=b"lost\n") is None
    assert partial.read_bytes() == b"1\nlost\n"
    assert run(resume=True, lines=b"") == {"lines": "1\n"}
    assert partial.read_bytes() == b"1\n"
    assert run(resume=False, lines=b"") is None
    assert partial.read_bytes() == b""
    assert run(resume=True, lines=b"2\n", keeps=True) is None
    with Output(str(file), RUN, resume=True) as output:
        output.finish()
    assert file.read_bytes() == b"2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_state_without_its_partial_file_is_left_from_a_run_that_ended(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.partial.state").write_bytes(b'{"run":{},"size":9,"state":{}}')
    with Output(str(tmp_path / "out.jsonl"), RUN, resume=True) as output:
        assert output.state is None
        output.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


#: Reads a log and writes it, some lines or ten rows at a time, each when it is told to; says when it has kept them.
COPY = """
import sys
import msgspec
from harmony.logs import inputs
from harmony.logs.places import Place
from harmony.logs.inputs import Reader
from harmony.logs.outputs import Output

inputs.BLOCK, inputs.ROWS = 1_000, 10
source, target = sys.argv[1:]
with Output(target, {"inputs": [source]}, resume=True) as output:
    place = Place() if output.state is None else msgspec.convert(output.state["place"], Place)
    for piece in Reader([source], place):
        sys.stdin.readline()
        output.write(piece.data)
        output.keep({"place": piece.after})
        print(piece.after.offset, flush=True)
    output.finish()
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_run_killed_at_any_moment_is_gone_on_with(tmp_path: Path, name: str, scale: Scale) -> None:
    source = tmp_path / ("log.parquet" if name in TABLES else "log.jsonl.gz")
    if name in TABLES:
        pq.write_table(pa.table({"line": [line.decode() for line in LINES * 40]}), source, row_group_size=300)
    else:
        source.write_bytes(gzip.compress(LOG * 10))
    choose = random.Random(name)
    command = [sys.executable, "-c", COPY, str(source)]
    begun = []
    for _ in range(scale(2, 4)):
        process = subprocess.Popen([*command, str(tmp_path / name)], stdin=-1, stdout=-1, text=True, bufsize=1)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go on\n" * 20)  # and it waits for more, so that it cannot end before it is killed
        begun.append(int(process.stdout.readline()))
        for _ in range(choose.randrange(20)):
            process.stdout.readline()
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert begun == sorted(set(begun)), "each run goes on behind the one before"
    assert not (tmp_path / name).exists()
    for target in (name, f"whole-{name}"):
        subprocess.run(
            [*command, str(tmp_path / target)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert held(tmp_path / name) == [line for piece in Reader([str(source)]) for line in lines_of(piece.data)]
    assert not list(tmp_path.glob("*.partial*"))


def lines_of(data: bytes | pa.RecordBatch) -> list[bytes]:
    if isinstance(data, bytes):
        return data.splitlines(keepends=True)
    return [line.encode() + b"\n" for line in data["line"].to_pylist()]


def test_a_place_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    place = Place(1, 2, 3, (1 << 64) - 1, (1 << 40, 1_700_000_000_123_456_789))
    with Output(str(tmp_path / "out.jsonl"), RUN, resume=False) as output:
        output.keep({"place": place})
    with Output(str(tmp_path / "out.jsonl"), RUN, resume=True) as output:
        assert output.state is not None
        assert msgspec.convert(output.state["place"], Place) == place


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({**RUN, "strict": True}, "`strict` was `false`, and is `true`"),
        ({"inputs": ["a.jsonl", "c.jsonl"], "strict": False}, '`inputs[1]` was `"b.jsonl"`, and is `"c.jsonl"`'),
        ({"inputs": ["a.jsonl"], "strict": False}, '`inputs[1]` was `"b.jsonl"`, and is nothing'),
        ({**RUN, "role": {"name": None}}, '`role` was nothing, and is `{"name": null}`'),
        ({**RUN, "inputs": ["a.jsonl", "b\udcff"]}, '`inputs[1]` was `"b.jsonl"`, and is `"b\\udcff"`'),
    ],
)
def test_another_run_is_not_gone_on_with(tmp_path: Path, run: dict[str, Any], said: str) -> None:
    file, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    with Output(str(file), RUN, resume=False) as output:
        output.write(b"{}\n")
        output.keep({})
    with pytest.raises(CannotResume) as caught:
        Output(str(file), run, resume=True)
    assert str(caught.value) == f"{partial} is of another run: {said}; remove {partial} to begin anew"
    assert partial.read_bytes() == b"{}\n"
    with Output(str(file), RUN, resume=True) as output:
        assert output.state == {}
    partial.unlink()
    with Output(str(file), run, resume=True) as output:
        assert output.state is None
        output.keep({})
    with Output(str(file), run, resume=True) as output:
        assert output.state == {}


def refused(file: Path) -> str:
    """Why a run cannot be gone on with, which leaves what was kept as it is."""
    partial, state = Path(f"{file}.partial"), Path(f"{file}.partial.state")
    before = partial.read_bytes(), state.read_bytes()
    with pytest.raises(CannotResume) as caught:
        Output(str(file), RUN, resume=True)
    assert (partial.read_bytes(), state.read_bytes()) == before
    said, _, advice = str(caught.value).rpartition("; ")
    assert advice == f"remove {partial} to begin anew"
    begin, _, reason = said.partition(" cannot be gone on with: ")
    assert begin == str(state)
    return reason


def test_a_state_that_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    file, state = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial.state"
    with Output(str(file), RUN, resume=False) as output:
        output.write(LOG)
        output.keep({"number": 7})
    kept = state.read_bytes()
    size = b'"size":%d' % len(LOG)
    assert size in kept
    changed = [kept[:end] for end in range(len(kept))]
    changed += [kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :] for at in range(len(kept))]
    changed += [kept + b"\n", kept.replace(size, b'"size":0'), kept.replace(b'{"number":7}', b"{}")]
    for data in changed:
        state.write_bytes(data)
        assert refused(file).startswith(("its content is not that of its checksum: ", "expected `harmony state "))
    state.write_bytes(kept)
    with Output(str(file), RUN, resume=True) as output:
        assert output.state == {"number": 7}


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (b"", "nothing"),
        (b'{"run":{},"size":0,"state":{}}', '`{"run":{},"size":0,"state":{}}`'),
        (b"harmony state 1 0123456789abcdef\n{}", "`harmony state 1 0123456789abcdef`"),
        (b"\xff\n", "`\\xff`"),
    ],
)
def test_a_state_of_another_layout_is_not_gone_on_with(tmp_path: Path, state: bytes, found: str) -> None:
    (tmp_path / "out.jsonl.partial").write_bytes(b"{}\n")
    (tmp_path / "out.jsonl.partial.state").write_bytes(state)
    expected = "expected `harmony state 2` and a checksum in its first line, found "
    assert refused(tmp_path / "out.jsonl") == f"{expected}{found}: another version wrote it, or it was changed"


@pytest.mark.parametrize("name", NAMES)
def test_a_partial_file_that_was_changed_is_not_gone_on_with(tmp_path: Path, name: str) -> None:
    with Output(str(tmp_path / name), RUN, resume=False) as output:
        for data in written(name):
            output.write(data)
        output.keep({})
    partial = tmp_path / f"{name}.partial"
    kept = partial.read_bytes()
    for at in (0, len(kept) // 2, len(kept) - 1):
        partial.write_bytes(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :] + b"more")
        assert (
            refused(tmp_path / name)
            == f"expected the {len(kept):,} bytes that were written to {partial.name}, found others"
        )
        partial.write_bytes(kept[:at])
        assert refused(tmp_path / name) == f"expected at least {len(kept):,} bytes in {partial.name}, found {at:,}"
    partial.write_bytes(kept + b"never kept")
    with Output(str(tmp_path / name), RUN, resume=True) as output:
        output.finish()
    assert held(tmp_path / name) == LINES


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    name = str(tmp_path / "out.jsonl")
    with Output(name, RUN, resume=False) as output:
        output.write(b"1\n")
        output.keep({})
        for resume in (True, False):
            with pytest.raises(CannotResume, match=r"out\.jsonl\.partial is being written by another run"):
                Output(name, RUN, resume=resume)
        output.finish()
    with Output(name, RUN, resume=False) as output:
        output.finish()


def test_a_lock_on_what_has_got_its_name_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run opens the partial file, and before it has the lock another ends, and names that file."""
    name = str(tmp_path / "out.jsonl")
    first = Output(name, RUN, resume=False)
    first.write(b"1\n")
    flock = outputs.fcntl.flock

    def late(file: Any, flags: int) -> None:
        monkeypatch.undo()
        first.finish()
        flock(file, flags)

    monkeypatch.setattr(outputs.fcntl, "flock", late)
    with Output(name, RUN, resume=False) as second:
        assert Path(name).read_bytes() == b"1\n"
        second.write(b"2\n")
        assert Path(name).read_bytes() == b"1\n"
        second.finish()
    assert Path(name).read_bytes() == b"2\n"


#: Writes until a file may grow no more; then it stops, or goes on when it may grow again.
FILL = """
import resource, signal, sys
from harmony.logs.outputs import Output
from helpers.written import RUN, written

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
name, limit, then = sys.argv[1:]
pieces = written(name.rpartition("/")[2])
with Output(name, RUN, resume=True) as output:
    number = 0 if output.state is None else output.state["next"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), -1))
    while number < len(pieces):
        try:
            output.write(pieces[number])
        except OSError as error:
            print(error.strerror, flush=True)
            if then == "stop":
                sys.exit()
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        else:
            number += 1
            output.keep({"next": number})
    output.finish()
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_what_was_kept(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    expected = whole(tmp_path, name)
    half = (len(LOG) if name in TABLES else len(expected)) // 2
    for then, limit in (("stop", half), ("go on", half * 3 // 2)):
        assert not file.exists()
        done = subprocess.run(
            [sys.executable, "-c", FILL, str(file), str(limit), then], stdout=-1, check=True, cwd=ROOT / "tests"
        )
        assert done.stdout == b"File too large\n"
    assert file.read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"whole-{name}"])


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_made_whole_keeps_its_journal(tmp_path: Path, name: str) -> None:
    expected = whole(tmp_path, name)
    in_the_way = tmp_path / f"{name}.partial.whole"
    in_the_way.mkdir()
    with Output(str(tmp_path / name), RUN, resume=False) as output:
        for data in written(name):
            output.write(data)
        output.keep({"all": True})
        with pytest.raises(IsADirectoryError):
            output.finish()
    in_the_way.rmdir()
    with Output(str(tmp_path / name), RUN, resume=True) as output:
        assert output.state == {"all": True}
        output.finish()
    assert (tmp_path / name).read_bytes() == expected


@pytest.mark.parametrize("name", TABLES)
def test_a_table_needs_a_schema_and_no_rows(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with Output(str(file), RUN, resume=False) as output, pytest.raises(ValueError, match="expected a batch, if only"):
        output.finish()
    batch = written(name)[0]
    with Output(str(file), RUN, resume=True) as output:
        output.write(batch.slice(0, 0))
        output.keep({})
    with Output(str(file), RUN, resume=True) as output:
        with pytest.raises(ValueError, match="expected the column `size` of int64 in all of a table, found nothing"):
            output.write(batch.select(["line"]))
        output.finish()
    assert held(file) == []
    found = pq.read_schema(file) if name == "out.parquet" else pa.ipc.open_file(file).schema
    assert found == batch.schema


def test_row_groups_are_of_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def groups() -> list[int]:
        with Output(str(tmp_path / "out.parquet"), RUN, resume=False) as output:
            for begin in range(0, 100, 10):
                output.write(pa.record_batch({"size": list(range(begin, begin + 10))}))
            output.finish()
        found = pq.ParquetFile(tmp_path / "out.parquet").metadata
        assert pq.read_table(tmp_path / "out.parquet")["size"].to_pylist() == list(range(100))
        assert found.row_group(0).column(0).compression == "ZSTD"
        return [found.row_group(index).num_rows for index in range(found.num_row_groups)]

    assert groups() == [100]
    monkeypatch.setattr(table_files, "_GROUP_ROWS", 35)
    assert groups() == [40, 40, 20]
    monkeypatch.setattr(table_files, "_GROUP_BYTES", 200)
    assert groups() == [30, 30, 30, 10]


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_file_without_lines_is_a_file_of_its_format(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with Output(str(file), RUN, resume=False) as output:
        output.write(b"")
        output.finish()
    assert held(file) == []
    assert bool(file.read_bytes()) == (name != "out.jsonl")
    assert list(Reader([str(file)])) == []


def test_compressed_bytes_tell_nothing_of_their_making(tmp_path: Path) -> None:
    with Output(str(tmp_path / "out.gz"), RUN, resume=False) as output:
        output.write(b"{}\n")
        output.finish()
    assert (tmp_path / "out.gz").read_bytes()[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"  # no name, and no time


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "out.jsonl"
    link.symlink_to("far/real.jsonl")
    with Output(str(link), RUN, resume=False) as output:
        assert (tmp_path / "far" / "real.jsonl.partial").exists()
        output.write(b"{}\n")
        output.finish()
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["real.jsonl"]
    assert link.read_bytes() == b"{}\n"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.jsonl").mkdir()
    for name, error in [
        ("none/out.jsonl", FileNotFoundError),
        ("file/out.jsonl", NotADirectoryError),
        ("folder.jsonl", IsADirectoryError),
        ("long" * 100, OSError),
    ]:
        with pytest.raises(error) as caught:
            Output(str(tmp_path / name), RUN, resume=True)
        assert caught.value.strerror
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.jsonl"]


@pytest.mark.parametrize(("name", "library"), [("out.zst", "zstandard"), ("out.parquet", "pyarrow")])
def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, library: str) -> None:
    for module in ("zstandard", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    told = rf"^files of \w+ need {library}: pip install {library}, or the extra `cli` of harmony-codec$"
    with pytest.raises(ImportError, match=told):
        Output(str(tmp_path / name), RUN, resume=False)
    assert list(tmp_path.iterdir()) == []
