"""Logs to logs: the same whatever the format, the number of processes, and however often a run was killed."""

from __future__ import annotations

import gzip
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from harmony import HarmonyEncoding
from harmony.batch import NESTED_SCHEMA, SCHEMA
from harmony.logs.completions import Tally
from harmony.logs.convert import Task, convert, count
from harmony.logs.outputs import CannotResume
from harmony.logs.records import Layout
from helpers.cases import LOG, LOG_LINES
from helpers.command import harmony, measured, timeless
from helpers.files import read_lines
from helpers.paths import SAMPLE
from helpers.sizes import Scale

SUFFIXES = ["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "arrow"]
TABLES = ("parquet", "arrow")
BAD = b'nope\n{"id":"none"}\n\n{"id":"\xff"}\n{"id":"bad","tokens":[1,"x"]}\n'


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harmony", *arguments]


def converted(
    inputs: Sequence[Path],
    output: Path,
    *,
    nested: bool = False,
    strict: bool = False,
    stripped: bool = False,
    resume: bool = False,
    into: str | None = None,
) -> Tally:
    """What one process makes of logs."""
    to: Any = "rows" if output.suffix in (".parquet", ".arrow") else "lines"
    task = Task(layout=Layout(stripped=stripped, into=into), strict=strict, to=to, nested=nested)
    names = [str(name) for name in inputs]
    return convert(task, names, str(output), workers=1, resume=resume, watch=lambda taken, size, tally: None)


def with_states(*outputs: Path) -> set[str]:
    """The names of outputs that are complete, and of the states beside them."""
    return {name for output in outputs for name in (output.name, f".{output.name}.harmony")}


def read_table(file: Path) -> pa.Table:
    return pq.read_table(file) if file.suffix == ".parquet" else pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def write(file: Path, data: bytes) -> Path:
    """Writes lines into a file of its suffix."""
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    file.write_bytes(pack.get(file.suffix, bytes)(data))
    return file


HEADER = ("role", "name", "recipient", "channel", "content_type")
#: A record as it can be compared: its id, messages, `complete`, repairs and the code of its error.
Read = tuple[Any, ...]


def read_record(record: dict[str, Any], messages: list[tuple[Any, ...]]) -> Read:
    repairs = [(repair["code"], repair["position"]) for repair in record.get("diagnostics") or []]
    error = record.get("error")
    return record.get("id"), messages, record.get("complete", False), repairs, error and error["code"]


def read(file: Path) -> list[Read]:
    """The records of an output of any format, alike."""
    if file.suffix not in (".parquet", ".arrow"):
        return [
            read_record(
                line,
                [
                    (*(message.get(name) for name in HEADER), "".join(part["text"] for part in message["content"]))
                    for message in line["messages"] or []
                ],
            )
            for line in map(json.loads, read_lines(file).splitlines())
        ]
    rows = read_table(file).to_pylist()
    if "messages" in rows[0]:
        return [
            read_record(
                row, [tuple(message[name] for name in (*HEADER, "content")) for message in row["messages"] or []]
            )
            for row in rows
        ]
    found: list[Read] = []
    for row in rows:
        assert row["conversation"] == len(found) - (row["message"] not in (None, 0))
        if row["message"] in (None, 0):
            found.append(read_record(row, []))
        if row["message"] is not None:
            assert row["message"] == len(found[-1][1])
            found[-1][1].append(tuple(row[name] for name in (*HEADER, "content")))
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, scale: Scale) -> tuple[Path, int]:
    """A log of several pieces, in which some records are bad, some are repaired, and fields come late; its records."""
    file, pieces = tmp_path_factory.mktemp("logs") / "log.jsonl", scale(3, 7)
    sample, cases = SAMPLE.read_bytes(), LOG_LINES
    late = sample.replace(b'{"id":', b'{"late":[1, 2],"id":')
    file.write_bytes((sample * 20 + cases + BAD) * pieces + late * 20)
    return file, 20 * sample.count(b"\n") * (pieces + 1) + pieces * (cases.count(b"\n") + 4)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        *((suffix, ()) for suffix in SUFFIXES),
        ("parquet", ("--nested",)),
        ("parquet", ("--strict",)),
        ("jsonl", ("--strict",)),
    ],
)
def test_any_number_of_workers_gives_the_same_bytes(
    log: tuple[Path, int], tmp_path: Path, suffix: str, options: tuple[str, ...], scale: Scale
) -> None:
    file, records = log
    one, other = tmp_path / f"one.{suffix}", tmp_path / f"other.{suffix}"
    tally = converted([file], one, nested="--nested" in options, strict="--strict" in options)
    assert tally.records == records
    for workers in scale(("3",), ("2", "3")) if not options else ("3",):
        done = harmony("parse", str(file), "-o", str(other), "--workers", workers, *options)
        assert done.returncode == 1
        said = f"harmony: {tally.records:,} records, {tally.messages:,} messages, {tally.tokens:,} tokens\n"
        assert done.stderr.decode().startswith(said)
        assert other.read_bytes() == one.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == with_states(one, other)


def test_workers_that_count() -> None:
    names = [str(SAMPLE)] * 80
    watched: list[tuple[int, int | None, Tally]] = []
    task = Task(to="stats")
    stats, tally = count(task, names, workers=1, watch=lambda *told: watched.append(told))
    two, other = count(task, names, workers=2, watch=lambda *told: None)
    assert (two.summary(), other) == (stats.summary(), tally)
    assert [taken for taken, _, _ in watched] == [SAMPLE.stat().st_size * number for number in range(1, 81)]
    assert {size for _, size, _ in watched} == {SAMPLE.stat().st_size * 80}
    assert [told.records for _, _, told in watched] == list(range(40, 3_201, 40))


@pytest.fixture(scope="module")
def same_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same records in every format, one of them bad."""
    folder = tmp_path_factory.mktemp("same")
    records = [
        {"tokens": None, "text": None, "role": "assistant", **record}
        for record in [*map(json.loads, SAMPLE.read_bytes().splitlines()), *LOG]
    ]
    records.insert(5, {"id": "bad", "tokens": None, "text": None, "role": "assistant"})
    kept = [{name: record[name] for name in ("id", "tokens", "text", "role")} for record in records]
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in kept)
    made = {suffix: write(folder / f"log.{suffix}", lines) for suffix in SUFFIXES if suffix not in TABLES}
    table = pa.Table.from_pylist(kept)
    made |= {suffix: folder / f"log.{suffix}" for suffix in TABLES}
    pq.write_table(table, made["parquet"], row_group_size=7)
    with pa.ipc.new_file(str(made["arrow"]), table.schema) as writer:
        writer.write_table(table, max_chunksize=11)
    return made


@pytest.mark.parametrize("source", SUFFIXES)
def test_every_format_becomes_every_format(
    same_logs: dict[str, Path], tmp_path: Path, source: str, encoding: HarmonyEncoding
) -> None:
    expected: list[Read] = []
    for record in map(json.loads, same_logs["jsonl"].read_bytes().splitlines()):
        if record["id"] == "bad":
            expected.append(("bad", [], False, [], "invalid-record"))
            continue
        parse: Any = encoding.parse_text if record["tokens"] is None else encoding.parse
        result = parse(record["text"] if record["tokens"] is None else record["tokens"], record["role"], strict=False)
        headers = [
            (message.author.role.value, message.author.name, message.recipient, message.channel, message.content_type)
            for message in result.messages
        ]
        texts = ["".join(part.text for part in message.content) for message in result.messages]
        messages = [(*header, text) for header, text in zip(headers, texts, strict=True)]
        repairs = [(repair.code, repair.position) for repair in result.diagnostics]
        expected.append((record["id"], messages, result.complete, repairs, None))
    for suffix in SUFFIXES:
        for nested in (False, True):
            output = tmp_path / f"{nested}.{suffix}"
            tally = converted([same_logs[source]], output, nested=nested)
            assert read(output) == expected
            assert tally.records == len(expected)
            assert tally.errors == {"invalid-record": 1}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "arrow"])
def test_several_logs_become_one(same_logs: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    inputs = [same_logs[name] for name in (TABLES if suffix == "arrow" else ("jsonl", "jsonl.gz", "jsonl.zst"))]
    alone, together = tmp_path / f"alone.{suffix}", tmp_path / f"together.{suffix}"
    tally = converted(inputs[:1], alone)
    assert converted(inputs, together).records == len(inputs) * tally.records
    assert read(together) == read(alone) * len(inputs)
    if suffix != "jsonl":
        numbers = read_table(together)["conversation"].unique().to_pylist()
        assert numbers == list(range(len(inputs) * tally.records))


def fields_of(tmp_path: Path, *lines: bytes, tail: bytes = b"", into: str | None = None) -> list[dict[str, Any]]:
    """The fields of records as columns of a table with one row a record."""
    file, output = tmp_path / "fields.jsonl", tmp_path / "fields.parquet"
    file.write_bytes(b"".join(b'{%s"tokens":[200008,12194,200002]}\n' % line for line in lines) + tail)
    converted([file], output, into=into)
    rows: list[dict[str, Any]] = read_table(output).drop_columns(SCHEMA.names if into is None else [into]).to_pylist()
    return rows


def test_fields_become_columns_by_the_values_that_they_have(tmp_path: Path) -> None:
    first, second, third = fields_of(
        tmp_path,
        b'"s":"a\\u00e9","b":true,"i":1,"n":1,"l":[1, 2],"o":{"a":null},"m":1,"z":null,"e":1.5,"big":1,"mixed":[],',
        b'"i":-9223372036854775808,"n":2.5,"s":null,"m":"x","big":9223372036854775808,"e":1e400,"mixed":"x",',
        b'"i":9223372036854775807,"n":9007199254740993,"m":null,"l":null,"other":5,"mixed":2.50,',
    )
    written = {"l": "[1, 2]", "o": '{"a":null}', "m": "1", "e": "1.5", "big": "1", "mixed": "[]"}
    assert first == {"s": "aé", "b": True, "i": 1, "n": 1.0, "z": None, "other": None, **written}
    assert [second[name] for name in ("s", "b", "i", "n", "big", "e")] == [
        *(None, None, -(1 << 63), 2.5, str(1 << 63), "1e400")
    ]
    assert (third["i"], third["m"], third["l"]) == ((1 << 63) - 1, None, None)
    # Strings and numbers are strings, without quotes; with other values, all are JSON.
    assert [row["m"] for row in (first, second)] == ["1", "x"]
    assert [row["mixed"] for row in (second, third)] == ['"x"', "2.50"]
    # A floating-point number does not hold this one, and `other` is no column of the log's own.
    assert (third["n"], json.loads(third["other"])) == (None, {"n": (1 << 53) + 1, "other": 5})


def test_a_late_field_and_a_value_that_does_not_fit_go_to_another_column(tmp_path: Path) -> None:
    early = [b'"id":%d,"score":0.5,"label":"x","ok":true,"padding":"%s",' % (id_, b"p" * 700) for id_ in range(2_000)]
    odd = [
        *(b'"id":"7",', b'"id":7.0,', b'"id":18446744073709551616,', b'"id":null,', b'"id":[1],', b'"id":1e999,'),
        *(
            b'"score":3,',
            b'"score":"3",',
            b'"score":9007199254740993,',
            b'"label":5,',
            b'"label":2.50,',
            b'"label":1e999,',
            b'"label":{"a": 1},',
            b'"ok":1,',
        ),
        *(b'"late":1.50,', b'"late":null,', b'"\\ud800":"\\udc00",', b'"":"",', b'"id":' + b"9" * 5_000 + b","),
        *(b'"content":5,', b'"complete":{},'),  # no columns of the log's own
    ]
    rows = fields_of(tmp_path, *early, *odd)
    assert [row["id"] for row in rows[: len(early)]] == list(range(2_000))
    others = [row["other"] for row in rows]
    assert others[: len(early)] == [None] * len(early)
    assert others[len(early) :] == [
        *('{"id":"7"}', '{"id":7.0}', '{"id":18446744073709551616}', None, '{"id":[1]}', '{"id":1e999}'),
        *(
            None,
            '{"score":"3"}',
            '{"score":9007199254740993}',
            None,
            None,
            '{"label":1e999}',
            '{"label":{"a": 1}}',
            '{"ok":1}',
        ),
        *('{"late":1.50}', '{"late":null}', '{"\ufffd":"\\ufffd"}', '{"":""}', '{"id":' + "9" * 5_000 + "}"),
        *('{"content":5}', '{"complete":{}}'),
    ]
    assert [row["label"] for row in rows[len(early) + 9 : len(early) + 11]] == ["5", "2.50"]
    assert rows[len(early) + 6]["score"] == 3.0
    assert list(rows[0]) == ["id", "score", "label", "ok", "padding", "other"]


@pytest.mark.parametrize("name", [name for name in SCHEMA.names if name != "role"])
def test_fields_named_as_columns_of_messages_stop_a_run_or_are_kept_beside_these(tmp_path: Path, name: str) -> None:
    own = b'"x":"y","%s":5,' % name.encode()
    told = f"fields.jsonl: the field `{name}` of the log would be replaced by that of the output: give a key"
    with pytest.raises(ValueError, match=told):
        fields_of(tmp_path, own)
    assert fields_of(tmp_path, own, into="harmony") == [{"x": "y", name: 5, "other": None}]
    with pytest.raises(ValueError, match=told.replace(name, "x")):
        fields_of(tmp_path, own, into="x")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_column_of_a_table_with_a_name_of_the_output(tmp_path: Path, suffix: str, workers: str) -> None:
    source, output = tmp_path / "log.parquet", tmp_path / f"out.{suffix}"
    pq.write_table(pa.table({"tokens": [[200008, 12194, 200002]], "complete": [7]}), source)
    done = harmony("parse", source, "-o", output, "--workers", workers)
    where = "" if suffix in TABLES else "in line 1: "
    assert (done.returncode, done.stderr.decode()) == (
        2,
        f"harmony: {source}: {where}the field `complete` of the log would be replaced by that of the output: "
        "give a key for the output, such as --into harmony\n",
    )
    assert not output.exists()
    done = harmony("parse", source, "-o", output, "--workers", workers, "--into", "harmony")
    assert (done.returncode, done.stderr) == (0, b"harmony: 1 record, 1 message, 3 tokens\n")
    (row,) = read_table(output).to_pylist() if suffix in TABLES else map(json.loads, read_lines(output).splitlines())
    assert (row["complete"], row["harmony"]["complete"], row["harmony"]["error"]) == (7, True, None)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_late_field_that_would_be_replaced_is_told_with_its_file_and_line(tmp_path: Path, workers: str) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(SAMPLE.read_bytes() * 60)
    second.write_bytes(SAMPLE.read_bytes() * 60 + b'{"tokens":[200008],"error":"own"}\n')
    done = harmony("parse", first, second, "-o", tmp_path / "out.jsonl", "--workers", workers)
    assert (done.returncode, done.stderr.decode().partition(" of the log")[0]) == (
        2,
        f"harmony: {second}: in line 2,401: the field `error`",
    )
    assert not (tmp_path / "out.jsonl").exists()


def test_a_column_of_its_own_holds_what_stands_at_the_top(same_logs: dict[str, Path], tmp_path: Path) -> None:
    for source in ("jsonl", "parquet"):
        for nested in (False, True):
            plain, under = tmp_path / "plain.parquet", tmp_path / "under.parquet"
            tally = converted([same_logs[source]], plain, nested=nested)
            assert converted([same_logs[source]], under, nested=nested, into="out") == tally
            schema = NESTED_SCHEMA if nested else SCHEMA
            rows, found = read_table(plain).select(schema.names).to_pylist(), read_table(under)
            assert found["out"].to_pylist() == rows
            assert found.schema.names == ["id", "role", *(["other"] if source == "jsonl" else []), "out"]


def test_bad_records_keep_their_fields_in_a_table(tmp_path: Path) -> None:
    rows = fields_of(tmp_path, b'"id":1,', tail=b'{"id":2,"tokens":"a","role":"user"}\nnope\n')
    assert [(row["id"], row["other"]) for row in rows] == [
        (1, None),
        (2, '{"tokens":"a","role":"user"}'),
        (None, None),
    ]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_records_give_a_legal_file(tmp_path: Path, suffix: str, nested: bool) -> None:
    for source, data in (("a.jsonl", b""), ("b.jsonl", b"\n \r\n\n"), ("c.jsonl.gz", b""), ("d.jsonl.zst", b"\n")):
        file, output = write(tmp_path / source, data), tmp_path / f"{source}.{suffix}"
        assert converted([file], output, nested=nested) == Tally()
        if suffix in TABLES:
            table = read_table(output)
            assert table.num_rows == 0
            assert {"messages" if nested else "content", "complete", "error", "other"} <= set(table.schema.names)
        else:
            assert read_lines(output) == b""
    no_rows = pa.schema([("id", pa.string()), ("tokens", pa.list_(pa.int32()))]).empty_table()
    pq.write_table(no_rows, tmp_path / "e.parquet")
    assert converted([tmp_path / "e.parquet"], tmp_path / f"e.{suffix}", nested=nested) == Tally()


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Handles of the processes that a process has begun, which can be waited for."""
    tasks = Path(f"/proc/{process.pid}/task")
    handles = []
    for task in tasks.iterdir() if tasks.exists() else ():
        for child in (task / "children").read_text().split():
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(int(child)))
    return handles


def wait_for_all(handles: list[int]) -> None:
    """Waits until all of these processes have ended, none of which is a child of this one."""
    for handle in handles:
        assert select.select([handle], [], [], 30)[0], "a worker process is left behind"
        os.close(handle)


def killed(arguments: list[str], state: Path, chance: random.Random) -> tuple[bool, int]:
    """Whether the command was killed, at a random moment, before it had ended; how many processes ended with it."""
    before = state.stat().st_mtime_ns if state.exists() else 0
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    moment = chance.uniform(0, 0.15)
    if chance.random() < 0.3:
        moment, before = chance.uniform(0, 0.7), -1
    # Most runs are killed after they kept something, so that all of them together come to an end.
    while process.poll() is None and before >= 0 and (not state.exists() or state.stat().st_mtime_ns == before):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    handles = children_of(process)
    process.kill()
    process.wait()
    wait_for_all(handles)
    return process.returncode == -signal.SIGKILL, len(handles)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
def test_a_run_that_is_killed_is_gone_on_with(tmp_path: Path, suffix: str, scale: Scale) -> None:
    megabytes, kills = scale((12, 2), (48, 10) if suffix == "jsonl" else (16, 4))
    source, whole, output = tmp_path / "log.jsonl", tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    data = SAMPLE.read_bytes() + BAD
    source.write_bytes(data * (megabytes * 1_000_000 // len(data)))
    assert harmony("parse", str(source), "-o", str(whole), "--workers", "2").returncode == 1
    arguments = ["parse", str(source), "-o", str(output), "--workers", "2", "--resume"]
    state, chance = tmp_path / f"{output.name}.partial.state", random.Random(kills)
    done = kept = workers = 0
    while done < kills:
        was_killed, ended = killed(arguments, state, chance)
        if was_killed and not output.exists():
            done += 1
            workers += ended
            kept += state.exists() and b'"size":0,' not in state.read_bytes()
        else:  # it had ended, or written all that there was when it was killed
            assert output.read_bytes() == whole.read_bytes()
            output.unlink()
    assert kept
    assert workers
    assert harmony(*arguments).returncode == 1
    assert output.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {source.name} | with_states(whole, output)


class Stop(Exception):  # noqa: N818
    """Ends a run in its midst."""


def stopped(inputs: Sequence[Path], output: Path, pieces: int) -> None:
    """Leaves a run after so many pieces, each of which was kept."""
    left = pieces

    def watch(taken: int, size: int | None, tally: Tally) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Stop

    names = [str(name) for name in inputs]
    to: Any = "rows" if output.suffix == ".parquet" else "lines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harmony.logs.convert._SECONDS_KEPT", -1.0)
        with pytest.raises(Stop):
            convert(Task(to=to), names, str(output), workers=1, resume=True, watch=watch)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_run_is_gone_on_with_from_every_piece(same_logs: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    inputs = [same_logs[name] for name in (("jsonl", "jsonl.gz", "jsonl.zst") if suffix == "parquet" else SUFFIXES)]
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    tally = converted(inputs, whole)
    for pieces in range(1, len(inputs) + 1):
        stopped(inputs, output, pieces)
        assert not output.exists()
        assert converted(inputs, output, resume=True) == tally
        assert output.read_bytes() == whole.read_bytes()
        output.unlink()


def test_lost_markers_are_not_read_strictly() -> None:
    with pytest.raises(ValueError, match=r"^Expected `strict=False` beside `stripped=True`: .* is a guess$"):
        Task(layout=Layout(stripped=True), strict=True)


def test_what_cannot_be_gone_on_with(same_logs: dict[str, Path], tmp_path: Path) -> None:
    inputs, output = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "out.jsonl"
    data = same_logs["jsonl"].read_bytes()
    for file in inputs:
        file.write_bytes(data)
    stopped(inputs, output, 2)
    with pytest.raises(CannotResume, match=r"`task\.strict` was `false`, and is `true`; remove .*partial to begin"):
        converted(inputs, output, resume=True, strict=True)
    with pytest.raises(
        CannotResume, match=r"`task\.layout\.stripped` was `false`, and is `true`; remove .*partial to begin"
    ):
        converted(inputs, output, resume=True, stripped=True)
    with pytest.raises(CannotResume, match=r"`task\.nested` was `false`, and is `true`; remove .*partial to begin"):
        converted(inputs, output, resume=True, nested=True)
    with pytest.raises(CannotResume, match=r"`inputs\[1\]` was"):
        converted([inputs[0]] * 2, output, resume=True)
    kept = {path: path.read_bytes() for path in tmp_path.glob("*.partial*")}
    for file in inputs:
        for changed in (data[: len(data) // 2], data[:-10] + b"x" + data[-9:], b" " + data[1:]):
            file.write_bytes(changed)
            advice = f"remove {output}.partial to begin anew"
            with pytest.raises(CannotResume, match=f"^{file} is not the file that was read before: .*; {advice}$"):
                converted(inputs, output, resume=True)
        file.write_bytes(data)
    inputs[0].write_bytes(data * 2)  # all of it was read before, and what is new would be left out
    with pytest.raises(CannotResume, match=f"^{inputs[0]} .*: expected nothing behind what was read, found more; "):
        converted(inputs, output, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.partial*")} == kept
    # Nothing of all that has harmed what was kept; and without `resume` it begins anew.
    inputs[0].write_bytes(data)
    inputs[1].write_bytes(data * 2)  # it has grown
    assert converted(inputs, output, resume=True) == converted(inputs, tmp_path / "whole.jsonl")
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    stopped(inputs, tmp_path / "again.jsonl", 1)
    converted(inputs, tmp_path / "again.jsonl", strict=True)
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("suffix", ["jsonl", "arrow"])
def test_memory_does_not_grow_with_the_log(tmp_path: Path, suffix: str, scale: Scale) -> None:
    peaks = []
    for repeated in scale((200, 1_000), (400, 2_000)):
        log = write(tmp_path / "log.jsonl", SAMPLE.read_bytes() * repeated)
        status, peak, _, _ = measured("parse", str(log), "-o", str(tmp_path / f"out.{suffix}"), "--workers", "2")
        assert status == 0
        peaks.append(peak)
    assert abs(peaks[1] - peaks[0]) < 25_000_000


def test_what_is_repeated_beside_messages_takes_little_memory(tmp_path: Path) -> None:
    """A long prompt beside thousands of messages is written some rows at a time."""
    messages, prompt = 4_000, "p" * 100_000
    record = {"prompt": prompt, "tokens": [200008, 64, 200007, *[200006, 173781, 200008, 64, 200007] * (messages - 1)]}
    log, output = tmp_path / "log.jsonl", tmp_path / "out.parquet"
    log.write_text(json.dumps(record) + "\n")
    # The most memory of the process alone: what getrusage tells begins with that of the process that made it.
    run = """
import sys
from harmony.__main__ import main
try:
    main()
finally:
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run(
        [sys.executable, "-c", run, "parse", str(log), "-o", str(output)], capture_output=True, check=False, timeout=120
    )
    assert timeless(done.stderr) == b"harmony: 1 record, 4,000 messages, 19,998 tokens\n"
    assert (
        int(done.stdout) < 450_000
    )  # kB, of which loading pyarrow and pandas takes some 200,000; the rows have 400 MB
    found = pq.read_table(output, columns=["message"])
    assert found.num_rows == messages
