"""The fields of records as columns of a table, and those that have names of the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony.batch import SCHEMA
from helpers.command import harmony
from helpers.conversions import SUFFIXES, TABLES, converted, read_table
from helpers.files import read_lines
from helpers.paths import SAMPLE


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


def test_bad_records_keep_their_fields_in_a_table(tmp_path: Path) -> None:
    rows = fields_of(tmp_path, b'"id":1,', tail=b'{"id":2,"tokens":"a","role":"user"}\nnope\n')
    assert [(row["id"], row["other"]) for row in rows] == [
        (1, None),
        (2, '{"tokens":"a","role":"user"}'),
        (None, None),
    ]
