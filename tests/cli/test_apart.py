"""What is read is never written: no command harms its own input, whatever names and links lead to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from harmony.format import vocabulary
from harmony.logs.outputs import check_apart
from helpers.command import GOOD, harmony
from helpers.paths import CONVERSATIONS, SAMPLE

LOG = SAMPLE.read_bytes()
BESIDE = ["", ".partial", ".partial.state", ".partial.state.new", ".partial.whole"]
Link = Callable[[Path, Path], None]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, *arguments: str) -> str:
    """What is said of a command that is refused, and leaves all files of a folder as they are, and no new ones."""
    before = files_in(folder)
    done = harmony(*arguments)
    assert files_in(folder) == before
    assert (done.returncode, done.stdout) == (2, b"")
    said = done.stderr.decode()
    assert said.startswith("harmony: ")
    assert said.endswith(": write elsewhere, or rename the input\n")
    return said.removeprefix("harmony: ").rpartition(": ")[0]


@pytest.mark.parametrize("suffix", BESIDE)
@pytest.mark.parametrize(
    ("command", "name"), [("parse", "out.jsonl"), ("parse", "out.parquet"), ("render", "out.jsonl")]
)
def test_an_input_is_not_written_over(tmp_path: Path, command: str, name: str, suffix: str) -> None:
    output = tmp_path / name
    log = Path(f"{output}{suffix}")
    log.write_bytes(LOG)
    needed = f"{log}, which the output {output} needs," if suffix else f"the output {output}"
    assert refused(tmp_path, command, str(log), "-o", str(output)) == f"{needed} is also the input {log}"


@pytest.mark.parametrize("link", [Path.hardlink_to, Path.symlink_to])
def test_an_input_is_found_by_any_of_its_names(tmp_path: Path, link: Link) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "out.jsonl"
    log.write_bytes(LOG)
    (tmp_path / "folder").mkdir()
    for suffix in BESIDE:
        path = Path(f"{output}{suffix}")
        link(path, log)
        for name in (str(log), str(path), f"{tmp_path}/folder/../log.jsonl"):
            with pytest.raises(ValueError, match=f" is also the input {name}: write elsewhere"):
                check_apart(["/dev/null", name], ["/dev/null", str(output)])
        path.unlink()
    check_apart([str(log)], [str(output)])


def test_the_output_is_found_by_its_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real.jsonl.partial").write_bytes(LOG)
    output = tmp_path / "out.jsonl"
    output.symlink_to("far/real.jsonl")
    partial = tmp_path / "far" / "real.jsonl.partial"
    said = refused(tmp_path, "parse", f"{tmp_path}/far/../far/real.jsonl.partial", "-o", str(output))
    assert (
        said
        == f"{partial}, which the output {output} needs, is also the input {tmp_path}/far/../far/real.jsonl.partial"
    )


def test_no_output_of_a_folder_is_written_over(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    for first, second, clash in (
        ("a.jsonl.partial", "a.jsonl", "a.jsonl.partial"),
        ("a.jsonl", "a.jsonl.partial.state", "a.jsonl.partial.state"),
        ("a.parquet", "a.parquet.partial.whole", "a.parquet.partial.whole"),
    ):
        names = [str(inside / name) for name in (first, second)]
        for name in names:
            Path(name).write_bytes(LOG)
        said = refused(tmp_path, "parse", *names, "-o", f"{outside}/")
        assert sorted(said.replace(",", "").split(" is also ")) == sorted(
            [
                f"{outside}/{clash} which the output {outside}/{min(first, second)} needs",
                f"the output {outside}/{clash}",
            ]
        )
        assert not outside.exists()


def test_links_between_outputs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "in" / name).write_bytes(LOG)
    (tmp_path / "out" / "b.jsonl").symlink_to("a.jsonl")
    said = refused(tmp_path, "parse", str(tmp_path / "in"), "-o", str(tmp_path / "out"))
    assert said == f"the output {tmp_path}/out/b.jsonl is also the output {tmp_path}/out/a.jsonl"
    (tmp_path / "out" / "a.jsonl").write_bytes(b"old")
    (tmp_path / "out" / "a.jsonl.partial").hardlink_to(tmp_path / "out" / "a.jsonl")
    output = tmp_path / "out" / "a.jsonl"
    said = refused(tmp_path, "parse", str(tmp_path / "in" / "a.jsonl"), "-o", str(output))
    assert said == f"{output}.partial, which the output {output} needs, is also the output {output}"


def test_an_input_that_is_read_later_is_not_written_over(tmp_path: Path) -> None:
    first, later = tmp_path / "new" / "day" / "a.jsonl", tmp_path / "old" / "day" / "a.jsonl"
    for file in (first, later):
        file.parent.mkdir(parents=True)
        file.write_bytes(GOOD)
    # The first gives old/day/a.jsonl, the second would give old/a.jsonl.
    said = refused(tmp_path, "parse", str(tmp_path / "new"), str(later), "-o", str(tmp_path / "old"))
    assert said == f"the output {later} is also the input {later}"


#: Commands that read a log, all of which write to standard output.
READERS = ["parse", "parse -o -", "parse -o /dev/stdout", "render", "validate", "stats"]


@pytest.mark.parametrize(("command", "by_name"), [*product(READERS, (True, False)), ("tokens", False)])
def test_what_is_written_to_standard_output_is_not_read(tmp_path: Path, command: str, by_name: bool) -> None:
    log, link = tmp_path / "log.jsonl", tmp_path / "link.jsonl"
    data = CONVERSATIONS.read_bytes() if command == "render" else LOG
    log.write_bytes(data * 30)
    link.symlink_to(log)
    given = str(link) if by_name else "-"
    # A command that feeds on its own output ends where a file may grow no more.
    script = f"ulimit -f 4096; {sys.executable} -m harmony {command} {given} <{log} >>{log}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120)
    assert done.returncode == 2
    assert log.read_bytes() == data * 30
    if "/dev" not in command:
        read = f"the input {link}" if by_name else "standard input"
        said = f"harmony: standard output is also {read}: write elsewhere, or rename the input\n"
        assert done.stderr.decode() == said


def test_standard_output_may_be_any_other_file(tmp_path: Path) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "out.jsonl"
    log.write_bytes(LOG)
    for _ in range(2):
        script = f"{sys.executable} -m harmony parse - <{log} >>{output}"
        assert subprocess.run(["bash", "-c", script], capture_output=True, timeout=120).returncode == 0
    assert output.read_bytes() == harmony("parse", str(log)).stdout * 2


@pytest.mark.parametrize("link", [Path.hardlink_to, Path.symlink_to])
def test_a_picture_is_not_drawn_over_a_log(tmp_path: Path, link: Link) -> None:
    log, picture = tmp_path / "log.jsonl", tmp_path / "x.svg"
    log.write_bytes(LOG)
    link(picture, log)
    said = refused(tmp_path, "stats", str(log), "--plot", str(picture))
    assert said == f"the output {picture} is also the input {log}"


def test_the_vocabulary_is_written_over_no_other_file(tmp_path: Path) -> None:
    mine = tmp_path / "o200k_base.partial"
    mine.write_bytes(b"mine")
    assert harmony("vocab", "export", str(tmp_path)).returncode == 0
    assert sorted(files_in(tmp_path)) == [mine.name, vocabulary.FILE_NAME]
    assert mine.read_bytes() == b"mine"
