"""Logs in stores and on the web, given by URI and by glob: read, written, interrupted and resumed as files here are."""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harmony.logs import stores
from harmony.logs.inputs import Reader, Unreadable, expand
from harmony.logs.outputs import Output
from helpers.command import harmony, timeless
from helpers.files import joined, table, write_table
from helpers.paths import CONVERSATIONS, SAMPLE
from helpers.store import Store, serving

LOG = SAMPLE.read_bytes()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with serving() as made:
        yield made


@pytest.fixture
def logs(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in the store with logs of several formats; the current folder is empty."""
    monkeypatch.chdir(tmp_path)
    folder = f"logs-{tmp_path.name}"
    write_table(tmp_path / "c.parquet", table(5), 3)
    for name, data in {
        "a.jsonl": LOG,
        "day-1/b.jsonl.gz": gzip.compress(LOG),
        "day-2/c.parquet": (tmp_path / "c.parquet").read_bytes(),
        "day-2/n.ndjson": LOG,
        "day-2/notes.txt": b"no log\n",
        ".hidden/x.jsonl": LOG,
    }.items():
        store.put(f"{folder}/{name}", data)
    (tmp_path / "c.parquet").unlink()
    return folder


def test_every_command_reads_a_store(store: Store, logs: str) -> None:
    one = f"s3://bucket/{logs}/a.jsonl"
    for command in (["parse"], ["stats", "--json"], ["validate", "--start", "completion", "--format", "json"]):
        there, here = harmony(*command, one, **store.environment), harmony(*command, SAMPLE)
        assert there.returncode == here.returncode
        assert there.stdout == here.stdout.replace(json.dumps(str(SAMPLE)).encode(), json.dumps(one).encode())
    prompts = store.put(f"{logs}-prompts/p.jsonl", CONVERSATIONS.read_bytes())
    assert harmony("render", prompts, **store.environment).stdout == harmony("render", CONVERSATIONS).stdout
    done = harmony("parse", f"s3://bucket/{logs}/none.jsonl", **store.environment)
    assert done.stderr.decode() == f"harmony: s3://bucket/{logs}/none.jsonl cannot be read: No such file or directory\n"


def test_folders_and_globs_of_a_store(store: Store, logs: str) -> None:
    def parse(name: str) -> tuple[int, str]:
        done = harmony("parse", f"s3://bucket/{logs}/{name}", **store.environment)
        return len(done.stdout.splitlines()), done.stderr.decode()

    records, said = parse("")
    assert records == 40 * 3 + 5
    assert "harmony: skipped 2 files: .hidden/x.jsonl, day-2/notes.txt\n" in said
    assert parse("day-2/")[0] == 45
    assert parse("day-*/*.ndjson")[0] == 40
    assert parse("**.jsonl.gz")[0] == 40
    assert parse("day-*")[0] == 85
    assert "day-9*: expected a file that matches it, found none" in parse("day-9*")[1]


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.parquet"])
def test_a_store_is_written_and_its_output_known_again(store: Store, logs: str, tmp_path: Path, name: str) -> None:
    output = f"s3://bucket/{logs}-out/{name}"
    command = ["parse", f"s3://bucket/{logs}/a.jsonl", "-o", output]
    assert harmony(*command, **store.environment).returncode == 0
    assert harmony("parse", SAMPLE, "-o", tmp_path / name).returncode == 0
    assert store.get(f"{logs}-out/{name}") == (tmp_path / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f".{name}.harmony"])
    again = harmony(*command, "--resume", **store.environment)
    assert (again.returncode, f"{output} is already complete" in again.stderr.decode()) == (0, True)
    store.put(f"{logs}/a.jsonl", LOG + LOG)
    again = harmony(*command, "--resume", **store.environment)
    assert (again.returncode, "a.jsonl has changed since: it had" in again.stderr.decode()) == (2, True)
    store.put(f"{logs}/a.jsonl", LOG)
    store.put(f"{logs}-out/{name}", b"other")
    again = harmony(*command, "--resume", **store.environment)
    assert again.returncode == 2


def test_a_folder_of_a_store_becomes_a_folder_of_a_store(store: Store, logs: str) -> None:
    done = harmony("parse", f"s3://bucket/{logs}", "-o", f"s3://bucket/{logs}-made", **store.environment)
    assert done.returncode == 0
    made = {key.removeprefix(f"{logs}-made/") for key in store.names() if key.startswith(f"{logs}-made/")}
    names = {"a.jsonl", "day-1/b.jsonl.gz", "day-2/c.parquet", "day-2/n.ndjson"}
    assert {name for name in made if not name.rpartition("/")[2].startswith(".")} == names
    assert gzip.decompress(store.get(f"{logs}-made/day-1/b.jsonl.gz")) == harmony("parse", SAMPLE).stdout


def test_a_run_over_a_store_is_killed_and_resumed(store: Store, logs: str, tmp_path: Path) -> None:
    source = store.put(f"{logs}-large/log.jsonl", LOG * 150)
    output = f"s3://bucket/{logs}-large/out.jsonl"
    command = [sys.executable, "-m", "harmony", "parse", source, "-o", output, "--workers", "2"]
    environment = {**os.environ, **store.environment}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "out.jsonl.partial.state").exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert f"{logs}-large/out.jsonl" not in store.names()
    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, check=True)
    assert timeless(done.stderr).startswith(b"harmony: 6,000 records, ")
    (tmp_path / "log.jsonl").write_bytes(LOG * 150)
    assert store.get(f"{logs}-large/out.jsonl") == harmony("parse", tmp_path / "log.jsonl").stdout
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_an_output_that_cannot_be_uploaded_is_kept(store: Store, logs: str, tmp_path: Path) -> None:
    output = f"s3://bucket-{logs}/out.jsonl"
    command = ["parse", SAMPLE, "-o", output]
    done = harmony(*command, **store.environment)
    kept = "; the work so far is kept in out.jsonl.partial, and --resume continues from there\n"
    assert (done.returncode, done.stderr.decode().endswith(kept)) == (2, True)
    assert done.stderr.decode().startswith(f"harmony: {output} cannot be written: ")
    assert (tmp_path / "out.jsonl.partial").read_bytes() == harmony("parse", SAMPLE).stdout
    store.client.create_bucket(Bucket=f"bucket-{logs}")  # type: ignore[attr-defined]
    assert harmony(*command, "--resume", **store.environment).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_filesystem_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for index in range(2):
        stores.write(f"memory://logs/{index}.jsonl", LOG * (index + 1))
    assert [relative for _, relative in expand(["memory://logs"])] == ["0.jsonl", "1.jsonl"]
    pieces = list(Reader([name for name, _ in expand(["memory://logs/*.jsonl"])]))
    assert joined(pieces) == LOG * 3
    with Output("memory://logs/out.jsonl", {}, resume=False) as output:
        output.write(LOG)
        output.finish()
    assert stores.read("memory://logs/out.jsonl") == LOG
    assert stores.read("memory://logs/none.jsonl") is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_uri_is_a_file(tmp_path: Path) -> None:
    log, output = tmp_path / "a log.jsonl", tmp_path / "out.jsonl"
    log.write_bytes(LOG)
    assert harmony("parse", log.as_uri(), "-o", output.as_uri()).returncode == 0
    assert output.read_bytes() == harmony("parse", SAMPLE).stdout


def test_globs_of_files_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.jsonl", "a/b/y.jsonl", "c/z.ndjson", "[odd]*.jsonl", "a/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(LOG)
    assert expand(["a/*.jsonl"]) == [("a/x.jsonl", "x.jsonl")]
    assert expand(["a/**.jsonl"]) == [("a/b/y.jsonl", "b/y.jsonl"), ("a/x.jsonl", "x.jsonl")]
    assert expand(["[odd]*.jsonl"]) == [("[odd]*.jsonl", "[odd]*.jsonl")]
    assert [relative for _, relative in expand([f"{tmp_path}/[ac]"])] == ["a/b/y.jsonl", "a/x.jsonl", "c/z.ndjson"]
    with pytest.raises(Unreadable, match=r"^q\*: expected a file that matches it, found none$"):
        expand(["q*"])
    assert harmony("parse", "a/**.jsonl", "-o", "made/").returncode == 0
    assert sorted(str(path) for path in Path("made").rglob("[!.]*.jsonl")) == ["made/b/y.jsonl", "made/x.jsonl"]


def test_logs_on_the_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(LOG))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        done = harmony("parse", f"{address}/log.jsonl.gz?token=a", "-o", tmp_path / "out.parquet")
        missing = harmony("parse", f"{address}/none.jsonl")
        refused = harmony("parse", SAMPLE, "-o", f"{address}/out.jsonl")
        server.shutdown()
    assert done.returncode == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 107
    assert missing.stderr.endswith(b"/none.jsonl cannot be read: No such file or directory\n")
    assert b"expected a file, or a URI of a store, as output, found a web address" in refused.stderr


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        ("gs://bucket/log.jsonl", "gcsfs", "needs gcsfs: pip install gcsfs"),
        ("s3://bucket/log.jsonl", "s3fs", "needs s3fs: pip install s3fs"),
        ("hf://datasets/a/b/log.jsonl", "huggingface_hub", "needs huggingface_hub: pip install huggingface_hub"),
        ("s3://bucket/log.jsonl", "fsspec", "needs fsspec: pip install 'harmony-codec[cli]'"),
        ("none://bucket/log.jsonl", "none", "expected a URI such as s3://bucket/log.jsonl, found a fault: "),
    ],
)
def test_a_package_that_is_missing(name: str, module: str, said: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from harmony.__main__ import main; main()"
    for arguments in (["parse", name], ["parse", str(SAMPLE), "-o", name]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2
        assert line.startswith(f"harmony: {name}")
        assert said in line


def test_fsspec_is_imported_for_uris_and_globs_alone(tmp_path: Path) -> None:
    begin = "import sys; sys.argv[1:] = {}; from harmony.__main__ import main"
    code = f"{begin}\ntry: main()\nfinally: print('fsspec' in sys.modules)"
    for name, expected in ((SAMPLE, "False"), (f"{SAMPLE.parent}/sample*.jsonl", "True")):
        program = code.format([*("parse", str(name), "-o"), str(tmp_path / "out.jsonl")])
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stdout == f"{expected}\n"
