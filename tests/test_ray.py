"""Logs on a cluster of two nodes: the same lines, rows and numbers as on one machine, whatever the files are."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from helpers.paths import EXAMPLES, ROOT, SAMPLE
from helpers.sizes import Scale

library = pytest.importorskip("ray")

from fsspec.implementations.local import LocalFileSystem  # noqa: E402  Ray brings it
from ray.cluster_utils import Cluster  # noqa: E402

from harmony import batch, ray  # noqa: E402
from harmony.logs import convert  # noqa: E402
from harmony.logs.completions import Tally  # noqa: E402
from harmony.logs.inputs import Unreadable, expand  # noqa: E402
from harmony.logs.records import Layout, Names  # noqa: E402
from helpers.deadly import Deadly  # noqa: E402

LINES = SAMPLE.read_bytes().splitlines(keepends=True)
RECORDS = [json.loads(line) for line in LINES]
BAD = [b"{\n", b'{"id":"x","tokens":"none"}\n', b"\xff\n", b"\n", b'{"id":"late","late":[1],"tokens":[200008,1]}\n']


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """Two nodes with a core each, which this process is connected to; their address."""
    environment = dict(os.environ)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(ROOT / "tests")  # for workers, which need `Deadly`
    nodes = Cluster()
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=1, object_store_memory=200 << 20, include_dashboard=False)
        library.init(address=nodes.address, log_to_driver=False)
        library.data.DataContext.get_current().default_hash_shuffle_parallelism = 2  # for two nodes, not two hundred
        yield nodes.address
    finally:
        library.shutdown()
        nodes.shutdown()
        os.environ.clear()  # Ray adds to it
        os.environ.update(environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of several formats: some of many pieces, with bad lines among the others."""
    made = tmp_path_factory.mktemp("logs")
    (made / "one.jsonl").write_bytes(b"".join(LINES * 30 + BAD + LINES * 40))
    (made / "day").mkdir()
    with gzip.open(made / "day" / "two.jsonl.gz", "wb", 1) as file:
        file.write(b"".join(LINES * 60 + BAD + LINES))
    (made / "three.jsonl.zst").write_bytes(zstandard.compress(b"".join([*LINES, *BAD])))
    (made / "empty.jsonl").write_bytes(b"")
    (made / ".hidden.jsonl").write_bytes(b"{\n")
    (made / "notes.txt").write_bytes(b"no log\n")
    return made


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> Path:
    """Completions as a table: ids, or a text where these are null, or neither."""
    records = RECORDS * scale(50, 250)
    columns = {
        "id": pa.array(range(len(records)), pa.int64()),
        "tokens": pa.array([record.get("tokens") for record in records], pa.list_(pa.uint32())),
        "text": pa.array([record.get("text") for record in records], pa.string()),
    }
    columns["tokens"] = pa.concat_arrays([columns["tokens"][:-1], pa.array([None], columns["tokens"].type)])
    file = tmp_path_factory.mktemp("tables") / "completions.parquet"
    pq.write_table(pa.table(columns), file, row_group_size=len(records) * 3 // 10, write_page_checksum=True)
    return file


def alone(task: convert.Task, inputs: list[str], output: Path) -> Tally:
    """What one machine makes of the inputs."""
    names = [name for name, _ in expand(inputs)]
    return without_file(convert.convert(task, names, str(output), workers=1, resume=False, watch=lambda *_: None))


def without_file(tally: Tally) -> Tally:
    """The tally, without the name of the file in its first error: a task of a cluster does not know it."""
    first_error = None if tally.first_error is None else re.sub(r"^/\S+: ", "", tally.first_error)
    return msgspec.structs.replace(tally, first_error=first_error)


def lines_in(output: Path) -> bytes:
    return b"".join(file.read_bytes() for file in parts_of(output)) if output.is_dir() else output.read_bytes()


def rows_in(output: Path) -> pa.Table:
    return pa.concat_tables(map(pq.read_table, parts_of(output))) if output.is_dir() else pq.read_table(output)


def parts_of(output: Path) -> list[Path]:
    """The files of a folder that is whole, in their order."""
    parts = sorted(output.glob("part-*"))
    assert sorted(output.iterdir()) == sorted([*parts, output / "_SUCCESS"])
    return parts


@pytest.mark.parametrize(
    "task", [convert.Task(), convert.Task(strict=True), convert.Task(layout=Layout(stripped=True))]
)
@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_lines_become_the_same_lines(folder: Path, tmp_path: Path, name: str, task: convert.Task) -> None:
    expected = alone(task, [str(folder)], tmp_path / "alone.jsonl")
    assert expected.errors["invalid-json"] == 3
    assert ray.run(task, [str(folder)], str(tmp_path / name)) == expected
    assert lines_in(tmp_path / name) == (tmp_path / "alone.jsonl").read_bytes()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["out.parquet", "out/"])
def test_lines_become_the_same_rows(folder: Path, tmp_path: Path, name: str, nested: bool) -> None:
    task = convert.Task(to="rows", nested=nested)
    expected = alone(task, [str(folder)], tmp_path / "alone.parquet")
    assert ray.run(task, [str(folder)], str(tmp_path / name)) == expected
    found = rows_in(tmp_path / name)
    assert found.equals(pq.read_table(tmp_path / "alone.parquet"))
    assert found["other"].drop_null().to_pylist()[-1] == '{"late":[1]}'


def test_several_nodes_have_parts_of_one_file(folder: Path, tmp_path: Path) -> None:
    ray.run(convert.Task(), [str(folder / "one.jsonl")], str(tmp_path / "out"))
    assert len(parts_of(tmp_path / "out")) > 1


@pytest.mark.parametrize("name", ["out.parquet", "out/"])
def test_a_table_becomes_the_same_rows(table: Path, tmp_path: Path, name: str) -> None:
    task = convert.Task(to="rows")
    expected = alone(task, [str(table)], tmp_path / "alone.parquet")
    assert expected.errors["invalid-record"] == 1
    assert ray.run(task, [str(table)], str(tmp_path / name)) == expected
    assert rows_in(tmp_path / name).equals(pq.read_table(tmp_path / "alone.parquet"))


def test_a_table_becomes_the_same_lines(table: Path, folder: Path, tmp_path: Path) -> None:
    inputs = [str(table), str(folder / "three.jsonl.zst"), str(table)]
    expected = alone(convert.Task(), inputs, tmp_path / "alone.jsonl")
    assert ray.run(convert.Task(), inputs, str(tmp_path / "out.jsonl.gz")) == expected
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == (tmp_path / "alone.jsonl").read_bytes()


def test_other_names_of_fields(tmp_path: Path) -> None:
    lines = [{"ids": record["tokens"], "tokens": 3, "who": "assistant"} for record in RECORDS if "tokens" in record]
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    task = convert.Task(layout=Layout(names=Names(tokens="ids", text="said", role="who")))
    expected = alone(task, [str(log)], tmp_path / "alone.jsonl")
    assert (expected.records, expected.errors) == (len(lines), {})
    assert ray.run(task, [str(log)], str(tmp_path / "out")) == expected
    assert lines_in(tmp_path / "out") == (tmp_path / "alone.jsonl").read_bytes()


def test_uris_and_filesystems(folder: Path, tmp_path: Path) -> None:
    expected = alone(convert.Task(), [str(folder)], tmp_path / "alone.jsonl")
    assert ray.run(convert.Task(), [folder.as_uri()], f"{tmp_path.as_uri()}/by-uri/") == expected
    local = LocalFileSystem()
    assert ray.run(convert.Task(), [str(folder)], str(tmp_path / "by-filesystem"), filesystem=local) == expected
    for name in ("by-uri", "by-filesystem"):
        assert lines_in(tmp_path / name) == (tmp_path / "alone.jsonl").read_bytes()


@pytest.mark.parametrize(("to", "suffix"), [("lines", "jsonl"), ("rows", "parquet")])
@pytest.mark.parametrize("is_folder", [False, True])
def test_nothing_becomes_an_output_all_the_same(tmp_path: Path, to: Any, suffix: str, is_folder: bool) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    output = tmp_path / ("out" if is_folder else f"out.{suffix}")
    assert ray.run(convert.Task(to=to), [str(tmp_path / "empty.jsonl")], str(output)) == Tally()
    if to == "lines":
        assert lines_in(output) == b""
    else:
        alone(convert.Task(to=to), [str(tmp_path / "empty.jsonl")], tmp_path / "alone.parquet")
        assert rows_in(output).equals(pq.read_table(tmp_path / "alone.parquet"))


def test_who_watches_is_told_how_far_it_is(folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None, Tally]] = []
    tally = ray.run(convert.Task(), [str(folder)], str(tmp_path / "out.jsonl"), watch=lambda *all_: told.append(all_))
    size = sum(Path(name).stat().st_size for name, _ in expand([str(folder)]))
    assert [taken for taken, _, _ in told] == sorted(taken for taken, _, _ in told)
    assert told[-1] == (size, size, tally)


def broken_gzip(file: Path) -> bytes:
    """Writes a file whose end is missing; the whole of it."""
    whole = gzip.compress(b"".join(LINES * 60), 1)
    file.write_bytes(whole[: len(whole) // 2])
    return whole


def test_a_file_that_breaks_off_is_told_after_what_comes_before(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    broken = tmp_path / "logs" / "b.jsonl.gz"
    whole = broken_gzip(broken)
    inputs = [str(folder / "one.jsonl"), str(broken), str(folder / "three.jsonl.zst")]
    with pytest.raises(Unreadable) as told:
        alone(convert.Task(), inputs, tmp_path / "alone.jsonl")
    with pytest.raises(Unreadable, match=f"^{re.escape(str(told.value))}$"):
        ray.run(convert.Task(), inputs, str(tmp_path / "out.jsonl"))
    assert not (tmp_path / "out.jsonl").exists()
    partial = tmp_path / "out.jsonl.partial"
    assert partial.read_bytes() == (tmp_path / "alone.jsonl.partial").read_bytes()
    with pytest.raises(Unreadable, match=f"^{re.escape(str(told.value))}$"):
        ray.run(convert.Task(), inputs, str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []

    # One machine goes on with what was kept.
    broken.write_bytes(whole)
    resumed = convert.convert(
        convert.Task(), inputs, str(tmp_path / "out.jsonl"), workers=1, resume=True, watch=lambda *_: None
    )
    assert without_file(resumed) == alone(convert.Task(), inputs, tmp_path / "alone.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


def test_a_broken_table_is_told(table: Path, tmp_path: Path) -> None:
    data = bytearray(table.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(data)
    with pytest.raises(Unreadable) as told:
        alone(convert.Task(), [str(broken)], tmp_path / "alone.jsonl")
    with pytest.raises(Unreadable, match=f"^{re.escape(str(told.value))}$"):
        ray.run(convert.Task(), [str(broken)], str(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_a_table_without_completions(tmp_path: Path, name: str) -> None:
    file = tmp_path / "other.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "n": [1]}), file)
    with pytest.raises(
        ValueError, match=r"^expected a completion at `tokens` or `text`, found none; the columns are `prompt`, `n`$"
    ):
        ray.run(convert.Task(), [str(file)], str(tmp_path / name))


@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_tables_with_different_columns(table: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "other.parquet"
    pq.write_table(pa.table({"tokens": [[200008, 1]], "n": [1]}), file)
    with pytest.raises(ValueError, match=r"^expected the column `[a-z]+` of [a-z0-9]+ in all of a table, found "):
        ray.run(convert.Task(to="rows"), [str(table), str(file)], str(tmp_path / name))
    assert not list(tmp_path.glob(f"{name}/part-*"))


@pytest.mark.parametrize(
    ("given", "output", "error", "text"),
    [
        ("/no/such/file", "out", Unreadable, "/no/such/file cannot be read: No such file or directory"),
        ("file:///no/such/file", "out", Unreadable, "file:///no/such/file cannot be read: No such file or directory"),
        ("file://{}", "out", Unreadable, "expected a file named .jsonl, .jsonl.gz"),
        ("-", "out", Unreadable, "standard input cannot be read by a cluster"),
        ("/dev/null", "out", Unreadable, "/dev/null cannot be read by a cluster: expected a file"),
        ("{}/log", "file:///tmp/out.jsonl", ValueError, "expected a folder, whose name ends in `/`"),
        ("{}/log", ".", FileExistsError, "expected a new or an empty folder, found `log` in it"),
        ("{}/log", "/dev/null/out", OSError, "/dev/null/out"),
        ("{}/log", "/proc/none/out.jsonl", OSError, "No such file or directory"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, given: str, output: str, error: type[Exception], text: str) -> None:
    (tmp_path / "log").write_bytes(LINES[0])
    with pytest.raises(error, match=re.escape(text)):
        ray.run(convert.Task(), [given.format(tmp_path)], output if "/" in output else str(tmp_path / output))


@pytest.mark.parametrize("way", ["{}", "file://{}"])
@pytest.mark.parametrize("place", ["out.jsonl.partial", "out/.partial/log.jsonl", "link/.partial/log.jsonl"])
def test_an_input_is_not_written_over_or_removed(tmp_path: Path, way: str, place: str) -> None:
    (tmp_path / "out" / ".partial").mkdir(parents=True)
    (tmp_path / "link").symlink_to("out")
    log = tmp_path / place
    log.write_bytes(LINES[0])
    output = tmp_path / ("out.jsonl" if place.startswith("out.jsonl") else "out")
    with pytest.raises(ValueError, match=f", which the output {output} needs, .* input .*{place}: write elsewhere"):
        ray.run(convert.Task(), [way.format(log)], str(output))
    assert log.read_bytes() == LINES[0]
    assert not list(tmp_path.glob("out*/part-*"))


def test_what_a_killed_run_left_is_not_taken_for_parts(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(LINES[0])
    (tmp_path / "out" / ".partial").mkdir(parents=True)
    (tmp_path / "out" / ".partial" / "000000-000000000001").write_bytes(b"old")
    ray.run(convert.Task(), [str(tmp_path / "log.jsonl")], str(tmp_path / "out"))
    assert len(parts_of(tmp_path / "out")) == 1
    assert len(lines_in(tmp_path / "out").splitlines()) == 1


@pytest.mark.parametrize(("to", "suffix"), [("lines", "jsonl"), ("rows", "parquet")])
def test_a_worker_that_dies_neither_loses_nor_repeats_anything(
    folder: Path, tmp_path: Path, to: Any, suffix: str
) -> None:
    expected = alone(convert.Task(to=to), [str(folder)], tmp_path / f"alone.{suffix}")
    deadly = Deadly(killed=str(tmp_path / "killed"))
    assert ray.run(convert.Task(to=to), [str(folder)], str(tmp_path / "out"), filesystem=deadly) == expected
    assert (tmp_path / "killed").exists()
    if to == "lines":
        assert lines_in(tmp_path / "out") == (tmp_path / "alone.jsonl").read_bytes()
    else:
        assert rows_in(tmp_path / "out").equals(pq.read_table(tmp_path / "alone.parquet"))


def groups_of(rows: pa.Table) -> dict[int, list[dict[str, Any]]]:
    """The rows of each completion, by its own number."""
    groups: dict[int, list[dict[str, Any]]] = {}
    conversations: dict[int, set[int]] = {}
    for row in rows.to_pylist():
        conversations.setdefault(row["id"], set()).add(row.pop("conversation"))
        groups.setdefault(row["id"], []).append(row)
    assert all(len(numbers) == 1 for numbers in conversations.values())
    assert len(set.union(*conversations.values())) == len(groups)  # unique
    return groups


@pytest.mark.parametrize(("strict", "stripped"), [(False, False), (True, False), (False, True)])
def test_a_dataset_is_parsed(table: Path, strict: bool, stripped: bool) -> None:
    dataset = library.data.read_parquet(str(table), override_num_blocks=3)
    parsed = ray.parse(dataset, tokens="tokens", text="text", strict=strict, stripped=stripped)
    rows = pa.concat_tables(library.get(parsed.to_arrow_refs()))
    whole = pq.read_table(table)
    expected = batch.parse_table(whole, tokens="tokens", text="text", strict=strict, stripped=stripped)
    assert groups_of(rows) == groups_of(expected)
    assert rows.schema.names == expected.schema.names
    assert rows.schema.field("role").type == pa.string()


def test_a_dataset_without_markers_is_not_read_strictly(table: Path) -> None:
    dataset = library.data.read_parquet(str(table))
    with pytest.raises(ValueError, match=r"^Expected `strict=False` beside `stripped=True`: .* is a guess$"):
        ray.parse(dataset, strict=True, stripped=True)


def test_a_dataset_is_parsed_row_by_row(table: Path) -> None:
    dataset = library.data.read_parquet(str(table), override_num_blocks=3)
    parsed = ray.parse(dataset, tokens="tokens", text="text", nested=True).sort("id")
    expected = batch.parse_table(pq.read_table(table), tokens="tokens", text="text", nested=True)
    assert pa.concat_tables(library.get(parsed.to_arrow_refs())).to_pylist() == expected.to_pylist()


def test_a_dataset_without_completions(table: Path) -> None:
    dataset = library.data.read_parquet(str(table))
    with pytest.raises(ValueError, match=r"^Expected one column `ids`, found `id`, `tokens`, `text`$"):
        ray.parse(dataset, tokens="ids")
    with pytest.raises(TypeError, match=r"^Expected a list of integers, found `string` - at column `text`$"):
        ray.parse(dataset, tokens="text")
    unknown = dataset.map_batches(lambda block: block.select(["id"]), batch_format="pyarrow")
    with pytest.raises(ValueError, match=r"Expected one column `tokens`, found `id`"):
        ray.parse(unknown).take_all()


def test_lines_are_read_piece_by_piece(folder: Path) -> None:
    pieces = ray.read_lines(str(folder)).take_all()
    for name in ("one.jsonl", "day/two.jsonl.gz", "three.jsonl.zst"):
        found = [piece for piece in pieces if piece["path"] == str(folder / name)]
        found.sort(key=lambda piece: piece["first"])
        whole = b"".join(piece["data"] for piece in found)
        if name == "one.jsonl":
            assert whole == (folder / name).read_bytes()
            assert len(found) > 2
        first = 1
        for piece in found:
            assert piece["first"] == first
            first += piece["data"].count(b"\n")
    assert {piece["path"] for piece in pieces} == {name for name, _ in expand([str(folder)])} - {
        str(folder / "empty.jsonl")
    }


def test_lines_that_cannot_be_read(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"completions\.parquet: expected a file of lines, found a table$"):
        ray.read_lines([str(table)])
    broken_gzip(tmp_path / "b.jsonl.gz")
    with pytest.raises(Unreadable, match=r"cannot be read after [0-9,]+ lines: expected the rest of a gzip member"):
        ray.read_lines(str(tmp_path)).take_all()


OWN = """
import os, sys
from pathlib import Path
from harmony import ray
from harmony.logs import convert

def below(process):
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [other for child in children for other in (child, *below(child))]

seen = set()
tally = ray.run(convert.Task(), [sys.argv[1]], sys.argv[2], watch=lambda *_: seen.update(below(os.getpid())))
import ray
left = below(os.getpid())
print(tally.records, bool(seen), left, ray.is_initialized(), os.environ["RAY_USAGE_STATS_ENABLED"])
"""


def test_the_example(cluster: str, tmp_path: Path, scale: Scale) -> None:
    """It takes the cluster that there is; in the exhaustive run it begins its own."""
    environment = os.environ | {"RAY_ADDRESS": scale(cluster, "local")}
    command = [sys.executable, str(EXAMPLES / "cluster.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr  # where Ray tells of itself
    assert len(done.stdout.splitlines()) > 3


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes where Linux lists them")
def test_a_cluster_of_its_own_is_quiet_and_ends(folder: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["RAY_ADDRESS"] = "local"  # not the cluster of the other tests
    command = [sys.executable, "-c", OWN, str(folder / "three.jsonl.zst"), str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, capture_output=True, timeout=120, env=environment)
    assert done.stdout.decode() == f"{len(LINES) + len(BAD) - 1} True [] False 0\n"
    assert done.stderr == b""
