"""The command line over logs: every format, many files, bars and pictures, and whatever can go wrong with them."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from helpers.command import GOOD, PLAIN, TIME, flat, harmony, on_a_terminal, records, shown_on
from helpers.files import read_lines
from helpers.paths import CONVERSATIONS, DATA, SAMPLE
from helpers.sizes import Scale

EXPECTED = DATA / "sample_messages.jsonl"


def test_the_sample_log(tmp_path: Path) -> None:
    done = harmony("parse", str(SAMPLE))
    assert (done.returncode, done.stderr) == (0, b"harmony: 40 records, 107 messages, 6,148 tokens\n")
    read, written, expected = (records(data) for data in (SAMPLE.read_bytes(), done.stdout, EXPECTED.read_bytes()))
    assert len(read) == len(written) == len(expected)
    for before, after, messages in zip(read, written, expected, strict=True):
        passed = {name: value for name, value in before.items() if name != ("tokens" if "tokens" in before else "text")}
        found = {name: after.pop(name) for name in ("messages", "complete")}
        assert (after.pop("diagnostics"), after.pop("error")) == (None, None)
        assert after == passed
        assert found["complete"] == messages["complete"]
        assert [flat(message) for message in found["messages"]] == messages["messages"]

    target = tmp_path / "messages.jsonl"
    assert harmony("parse", "-", "-o", str(target), stdin=SAMPLE.read_bytes()).stdout == b""
    assert target.read_bytes() == done.stdout
    assert harmony("parse", str(SAMPLE), "--output", "-", HARMONY_EXTENSION="no").stdout == done.stdout
    assert harmony("parse", str(SAMPLE), "--strict").stdout == done.stdout


def test_a_terminal_shows_repairs_at_their_places(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    texts = {
        "stray": "<|channel|>commentary<|channel|>analysis<|message|>Hm.<|endoftext|>",
        "cut": "<|channel|>final",
        "well": "<|message|>x<|end|>",
    }
    log.write_text("\n".join(json.dumps({"id": name, "text": text}) for name, text in texts.items()))
    lines, said, status = on_a_terminal("parse", str(log), columns=130)
    assert (said, status) == (b"", 0)
    assert [line.rstrip(" ─") for line in lines] == [
        "line 1 · stray",
        "assistant · analysis",
        "! other-channel at character 11: expected one channel, found `commentary` too; it is left out",
        "Hm.",
        "! end-of-text at character 54: expected a stop, found `<|endoftext|>`; it is taken for one",
        "",
        "line 2 · cut",
        "! interrupted-header at character 16: expected `<|message|>`, found the end of the input; the header is given "
        "up",
        "(the input ends inside a message)",
        "",
        "line 3 · well",
        "assistant  <|end|>",
        "x",
        "",
        "",
    ]


@pytest.mark.parametrize("command", ["parse", "render"])
def test_many_lines_keep_their_order_and_their_numbers(command: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    given = b'"tokens":[200008]}' if command == "parse" else PLAIN[1:]
    with log.open("wb") as file:
        for number in range(6_000):
            if number % 1000 == 999:
                file.write(b"\n{\n")
            padding = b"p" * (3_000_000 if number == 4_000 else number % 700)  # more than is read at once
            file.write(b'{"id":%d,"padding":"%s",%s\n' % (number, padding, given))
    done = harmony(command, str(log))
    assert harmony(command, "-", stdin=log.read_bytes()).stdout == done.stdout
    good = [record for record in records(done.stdout) if record["error"] is None]
    assert [record["id"] for record in good] == list(range(6_000))
    errors = [record["error"]["message"] for record in records(done.stdout) if record["error"] is not None]
    assert [error.rpartition(" ")[2] for error in errors] == [f"{1001 + 1002 * index:,}" for index in range(6)]


@pytest.mark.parametrize("command", ["parse", "render"])
def test_a_record_is_answered_before_the_next_is_written(command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "harmony", command, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    given = b'"tokens":[200008]}' if command == "parse" else PLAIN[1:]
    for number in range(3):
        process.stdin.write(b'{"id":%d,%s\n{"id' % (number, given))
        process.stdin.flush()
        good = json.loads(process.stdout.readline())
        assert (good["id"], good["error"]) == (number, None)
        process.stdin.write(b'":"other"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["error"]["code"] == "invalid-record"
    process.communicate()
    assert process.returncode == 1


@pytest.mark.parametrize("command", ["parse", "render"])
def test_input_that_does_not_wait_is_not_taken_for_its_end(command: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    done = subprocess.run(
        [sys.executable, "-m", "harmony", command, "-"], stdin=reading, capture_output=True, timeout=120
    )
    os.close(reading)
    os.close(writing)
    assert (done.returncode, done.stderr) == (
        2,
        b"harmony: standard input cannot be read: Resource temporarily unavailable\n",
    )


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(SAMPLE.read_bytes() * 100)  # more than a pipe holds
    for workers in ("1", "2"):
        command = f"{sys.executable} -m harmony parse {log} -o - --workers {workers} | head -n 1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120)
        assert (len(done.stdout.splitlines()), done.stderr) == (1, b"")


def log_of(folder: Path, megabytes: int) -> Path:
    """A log so large that it is cut into many pieces, some records of which are bad."""
    log = folder / "log.jsonl"
    data = SAMPLE.read_bytes() + b"nope\n"
    log.write_bytes(data * (megabytes * 1_000_000 // len(data)))
    return log


def names_in(folder: Path) -> set[str]:
    """The files in a folder, without the states beside outputs that are complete."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".harmony"))
    return {str(path.relative_to(folder)) for path in files}


def test_a_folder_becomes_a_folder(tmp_path: Path) -> None:
    logs, made = tmp_path / "logs", tmp_path / "made"
    (logs / "day").mkdir(parents=True)
    lines = SAMPLE.read_bytes().splitlines(keepends=True)
    (logs / "a.jsonl").write_bytes(b"".join(lines[:10]))
    (logs / "day" / "b.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[10:20])))
    (logs / "day" / "c.jsonl.zst").write_bytes(zstandard.compress(b"".join(lines[20:])))
    (logs / "notes.txt").write_bytes(b"no log")
    pq.write_table(pa.table({"id": ["d"], "tokens": [[200008, 12194, 200002]]}), logs / "day" / "d.parquet")
    done = harmony("parse", str(logs), "-o", f"{made}/")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"harmony: 41 records, 108 messages, ")
    assert names_in(made) == {"a.jsonl", "day/b.jsonl.gz", "day/c.jsonl.zst", "day/d.parquet"}
    written = b"".join(read_lines(made / name) for name in ("a.jsonl", "day/b.jsonl.gz", "day/c.jsonl.zst"))
    assert written == harmony("parse", str(SAMPLE)).stdout
    assert pq.read_table(made / "day" / "d.parquet")["content"].to_pylist() == ["Hi"]
    # All of them as lines, in the order of their names.
    together = harmony("parse", str(logs)).stdout
    assert together.startswith(written)
    assert json.loads(together.removeprefix(written))["id"] == "d"


def test_fields_of_other_names(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(
        b'{"ids":[200008,12194,200002],"by":"user"}\n{"ids":null,"out":"<|message|>a<|end|>"}\n{"tokens":[1]}\n'
    )
    done = harmony("parse", str(log), "--tokens", "ids", "--text", "out", "--role-field", "by")
    first, second, third = records(done.stdout)
    assert [flat(message) for message in first["messages"]] == [{"role": "user", "content": "Hi"}]
    assert [flat(message) for message in second["messages"]] == [{"role": "assistant", "content": "a"}]
    assert third["error"]["message"] == "expected a completion at `ids` or `out`, found none - in line 3"
    assert done.returncode == 1


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_render_reads_and_writes_compressed_logs(tmp_path: Path, suffix: str) -> None:
    packed, target = tmp_path / f"log.jsonl.{suffix}", tmp_path / f"prompts.jsonl.{suffix}"
    data = CONVERSATIONS.read_bytes() * 20
    packed.write_bytes(gzip.compress(data) if suffix == "gz" else zstandard.compress(data))
    done = harmony("render", str(packed), "-o", str(target))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    plain = harmony("render", "-", stdin=data).stdout
    assert read_lines(target) == plain
    assert len(target.read_bytes()) < len(plain) / 20  # records are compressed together
    assert names_in(tmp_path) == {packed.name, target.name}


def after(code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the command in a process in which some code ran before."""
    begin = f"import resource, sys; {code}; from harmony.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", begin, *arguments], capture_output=True, timeout=120)
    assert b"Traceback" not in done.stderr
    return done


#: No file may be larger, as if the disk were full.
LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.mark.parametrize(("name", "size"), [("out.jsonl.gz", 200_000), ("out.parquet", 5_000_000)])
def test_a_full_disk(tmp_path: Path, name: str, size: int) -> None:
    log, whole, output = log_of(tmp_path, 6), tmp_path / f"whole-{name}", tmp_path / name
    assert harmony("parse", str(log), "-o", str(whole)).returncode == 1
    done = after(LIMIT.format(size), "parse", str(log), "-o", str(output), "--workers", "2")
    kept = f"; the work so far is kept in {output}.partial, and --resume continues from there"
    if not Path(f"{output}.partial.state").exists():  # the first piece of all did not fit
        kept = ""
    assert (done.returncode, done.stderr.decode()) == (
        2,
        f"harmony: {output} cannot be written: File too large{kept}\n",
    )
    assert not output.exists()
    assert harmony("parse", str(log), "-o", str(output), "--resume").returncode == 1
    assert output.read_bytes() == whole.read_bytes()
    assert names_in(tmp_path) == {log.name, whole.name, output.name}


def test_rendering_to_a_full_disk_gives_no_file(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    done = after(LIMIT.format(1_000), "render", str(CONVERSATIONS), "-o", str(prompts))
    assert done.returncode == 2
    assert f"{prompts} cannot be written: File too large" in done.stderr.decode()
    assert not prompts.exists()


def test_a_broken_log_is_read_as_far_as_it_is_good_and_gone_on_with_when_it_is_mended(tmp_path: Path) -> None:
    log, output, whole = tmp_path / "log.jsonl.gz", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    packed = gzip.compress(SAMPLE.read_bytes() * 100)
    log.write_bytes(packed)
    harmony("parse", str(log), "-o", str(whole))
    at = len(packed) // 2
    log.write_bytes(packed[:at] + b"\xff" * 9 + packed[at + 9 :])
    for options in ((), ("--resume",)):
        done = harmony("parse", str(log), "-o", str(output), *options)
        assert done.returncode == 2
        assert re.match(rf"harmony: {log} cannot be read after [0-9,]+ lines: expected gzip", done.stderr.decode())
        assert done.stderr.decode().endswith(
            f"; the work so far is kept in {output}.partial, and --resume continues from there\n"
        )
        before = Path(f"{output}.partial").read_bytes()
        assert len(before) > len(whole.read_bytes()) / 3
        assert whole.read_bytes().startswith(before)
        assert not output.exists()
    assert f"after {len(before.splitlines()):,} lines" in done.stderr.decode()
    log.write_bytes(packed)
    done = harmony("parse", str(log), "-o", str(output), "--resume")
    assert (done.returncode, done.stderr) == (0, b"harmony: 4,000 records, 10,700 messages, 614,800 tokens\n")
    assert output.read_bytes() == whole.read_bytes()


def test_resume(tmp_path: Path) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "out.jsonl"
    log.write_bytes(SAMPLE.read_bytes())
    # There is nothing to go on with.
    done = harmony("parse", str(log), "-o", str(output), "--resume")
    assert (done.returncode, done.stderr) == (0, b"harmony: 40 records, 107 messages, 6,148 tokens\n")
    written = output.read_bytes()
    log.unlink()
    log.write_bytes(GOOD)
    done = harmony("parse", str(log), "-o", str(output), "--resume")
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"harmony: {output} is complete, but {log} has changed since: it had ")
    assert output.read_bytes() == written
    assert harmony("parse", str(log), "-o", str(output)).returncode == 0
    assert len(records(output.read_bytes())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([".", "-o", "out.jsonl"], ".: expected a file named .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .arrow"),
        (
            ["-", "-o", "folder"],
            "standard input cannot be written to a folder, because it has no name: give a file as --output",
        ),
        (["a/x.jsonl", "b/x.jsonl", "-o", "folder"], "folder/x.jsonl would be written twice, because two inputs"),
        (["a/x.jsonl", "-o", "a/x.jsonl/y.jsonl"], "a/x.jsonl/y.jsonl.partial cannot be written: Not a directory"),
        (["a/x.jsonl", "-o", "/dev/full"], "/dev/full cannot be written: No space left on device"),
        (["a/x.jsonl", "--resume"], "--resume needs --output with the name of a file"),
        (["a/x.jsonl", "--resume", "-o", "-"], "--resume needs --output with the name of a file"),
        (["a/x.jsonl", "--engine", "ray"], "--engine ray needs --output with the name of a file"),
        (["a/x.jsonl", "--engine", "other"], "'other' is not one of"),
        (["a/x.jsonl", "--workers", "0"], "Invalid value for '--workers'"),
        (["a/x.jsonl", "a/none.jsonl"], "a/none.jsonl cannot be read: No such file or directory"),
        (["bad.parquet", "-o", "out.jsonl"], "bad.parquet cannot be read: "),
        (
            ["other.parquet", "-o", "out.jsonl"],
            "expected a completion at `tokens` or `text`, found none; the columns are `id`\n",
        ),
        (["typed.parquet", "-o", "out.jsonl"], "Expected a list of integers, found `string` - at column `tokens`"),
    ],
)
def test_what_cannot_be_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "folder"):
        Path(name).mkdir()
    if arguments[0] != ".":
        for name in ("a/x.jsonl", "b/x.jsonl"):
            Path(name).write_bytes(GOOD)
        Path("bad.parquet").write_bytes(b"PAR1 and no more")
        pq.write_table(pa.table({"id": [1]}), "other.parquet")
        pq.write_table(pa.table({"tokens": ["a"]}), "typed.parquet")
    done = harmony("parse", *arguments, stdin=GOOD, COLUMNS="200")
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stdout == b""
    assert not Path("out.jsonl").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(0o500)
    done = harmony("parse", str(SAMPLE), "-o", str(tmp_path / "folder" / "out.jsonl"))
    assert done.returncode == 2
    assert b"cannot be written: Permission denied" in done.stderr


def test_libraries_that_are_missing(tmp_path: Path) -> None:
    log, packed, table = tmp_path / "log.jsonl", tmp_path / "log.jsonl.zst", tmp_path / "log.parquet"
    log.write_bytes(SAMPLE.read_bytes() * 60)
    packed.write_bytes(zstandard.compress(GOOD))
    pq.write_table(pa.table({"tokens": [[200008]]}), table)
    without = "sys.modules.update(dict.fromkeys(({}, 'numpy', 'pandas')))"
    libraries = without.format("'pyarrow', 'zstandard'")
    needs = "harmony: files of {0} need {1}: pip install {1}, or the extra `cli` of harmony-codec\n"
    for arguments, said in [
        ((str(packed), "-o", "-"), needs.format("zstd", "zstandard")),
        ((str(log), "-o", f"{tmp_path}/out.jsonl.zst"), needs.format("zstd", "zstandard")),
        ((str(table), "-o", "-"), needs.format("parquet", "pyarrow")),
        ((str(log), "-o", f"{tmp_path}/out.arrow"), needs.format("arrow", "pyarrow")),
    ]:
        done = after(libraries, "parse", *arguments)
        assert (done.returncode, done.stderr.decode()) == (2, said)
    for name in ("out.jsonl", "out.jsonl.gz"):
        assert after(libraries, "parse", str(log), "-o", str(tmp_path / name), "--workers", "2").returncode == 0
    assert read_lines(tmp_path / "out.jsonl.gz") == read_lines(tmp_path / "out.jsonl")
    done = after(without.format("'altair'"), "stats", str(log), "--plot", str(tmp_path / "x.png"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"pip install altair vl-convert-python, or the extra `plot`" in done.stderr
    done = after(libraries, "stats", str(log))
    assert done.returncode == 2
    assert done.stderr == b"harmony: counting needs pyarrow: pip install pyarrow, or the extra `cli` of harmony-codec\n"


def begun(log: Path, output: Path) -> subprocess.Popen[bytes]:
    """The command with two workers, when it has kept something for the first time."""
    command = [sys.executable, "-m", "harmony", "parse", str(log), "-o", str(output), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    while process.poll() is None and not Path(f"{output}.partial.state").exists():
        try:
            process.wait(0.005)
        except subprocess.TimeoutExpired:
            continue
    assert process.poll() is None
    return process


def test_an_interruption_and_the_loss_of_a_worker(tmp_path: Path, scale: Scale) -> None:
    log, whole, output = log_of(tmp_path, scale(16, 48)), tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    harmony("parse", str(log), "-o", str(whole))
    kept = f"; the work so far is kept in {output}.partial, and --resume continues from there\n"
    process = begun(log, output)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = process.communicate(timeout=60)[1].decode()
    assert (process.returncode, said) == (130, f"harmony: interrupted{kept}")
    assert harmony("parse", str(log), "-o", str(output), "--resume").returncode == 1
    assert output.read_bytes() == whole.read_bytes()

    for _ in range(scale(2, 8)):  # one time in six the pool's own thread writes to a pipe that nobody reads any more
        for made in tmp_path.glob("out.jsonl*"):
            made.unlink()
        process = begun(log, output)
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(child), signal.SIGKILL)
        said = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 2
        assert said.endswith(kept)
        assert "Traceback" not in said
    assert harmony("parse", str(log), "-o", str(output), "--resume").returncode == 1
    assert output.read_bytes() == whole.read_bytes()


def test_stats(tmp_path: Path) -> None:
    log = log_of(tmp_path, 6)
    repeated = log.read_bytes().count(b"nope\n")
    one, two = (harmony("stats", str(log), "--json", "--workers", workers) for workers in ("1", "2"))
    assert (one.returncode, one.stdout, one.stderr) == (1, two.stdout, two.stderr)
    found = json.loads(one.stdout)
    assert (found["conversations"], found["bad"], found["errors"]) == (
        41 * repeated,
        repeated,
        {"invalid-json": repeated},
    )
    assert sum(channel["messages"] for channel in found["channels"]) == 107 * repeated
    assert found["conversation_tokens"]["total"] == 6_148 * repeated
    assert one.stderr.decode().splitlines() == [
        f"harmony: {41 * repeated:,} records, {107 * repeated:,} messages, {6_148 * repeated:,} tokens",
        f"harmony: {repeated:,} bad records, each with its error: invalid-json {repeated:,}",
        f"harmony: the first error: {log}: JSON is malformed: invalid character (byte 4) - in line 41",
    ]
    tables = harmony("stats", str(SAMPLE), COLUMNS="100").stdout.decode()
    for line in ("Conversations: 40", "assistant   analysis", "functions.get_weather"):
        assert line in tables
    assert max(map(len, tables.splitlines())) <= 100


def test_stats_are_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "picture.SVG"
    done = harmony("stats", str(SAMPLE), "--plot", str(picture))
    assert (done.returncode, done.stderr) == (0, b"harmony: 40 records, 107 messages, 6,148 tokens\n")
    assert picture.read_bytes().lstrip().startswith(b"<svg ")
    assert b"Tool calls" in done.stdout


def test_a_picture_that_cannot_be_drawn_is_told_before_the_work(tmp_path: Path) -> None:
    reading, writing = os.pipe()  # nothing ever comes from it
    for name, said in (("x.pdf", ".png, .svg"), ("x", ".png, .svg")):
        arguments = [sys.executable, "-m", "harmony", "stats", "-", "--plot", str(tmp_path / name)]
        done = subprocess.run(arguments, stdin=reading, capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, b"")
        assert said in done.stderr.decode()
    os.close(reading)
    os.close(writing)


def on_a_screen(*arguments: str) -> str:
    """All that a command writes to standard error, where that is a terminal of 90 columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harmony", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=child,
        env={**environment, "TERM": "xterm"},
    )
    os.close(child)
    shown = shown_on(parent)
    process.wait()
    return shown


@pytest.mark.parametrize("command", ["parse", "stats"])
def test_a_bar_tells_how_far_it_is_and_leaves_no_rest(tmp_path: Path, command: str) -> None:
    log = log_of(tmp_path, 24)
    options = ["-o", str(tmp_path / "out.jsonl")] if command == "parse" else []
    shown = on_a_screen(command, str(log), "--workers", "2", *options)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    pictures = re.findall(r"━ +([0-9.]+)/24\.[0-9] MB +([0-9.]+ [kMG]?B/s|\?) +([0-9,]+) records +([0-9:-]+)", plain)
    assert len(pictures) >= 2
    taken = [float(picture[0]) for picture in pictures]
    assert taken == sorted(taken)
    assert any(rate != "?" and left != "-:--:--" for _, rate, _, left in pictures)
    # The bar's line is emptied, the cursor is there again, and on that line stands what the log held.
    _, _, last = shown.rpartition("\x1b[2K")
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last).replace("\r", "").splitlines()
    assert lines[0].startswith("harmony: ")
    assert "records, " in lines[0]
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    piped = harmony(command, str(log), "--workers", "2", *options).stderr.decode()
    assert TIME.fullmatch(lines.pop(-2).encode() + b"\n")
    assert lines == [*piped.splitlines(), "harmony: `harmony explain invalid-json` says more"]
