"""The table of codes: a real input reaches every code and every sentence, and every code that is raised is there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harmony.checking.rules import RULES
from harmony.errors import TABLE, HarmonyError, code_of, sentence
from harmony.explanations import page
from harmony.explanations.examples import Called, Example, Linted, Logged, Said
from harmony.format import vocabulary
from helpers.command import harmony

ROOT = Path(__file__).parent.parent.parent
SOURCES = [*(ROOT / "harmony").rglob("*.py"), *(ROOT / "harmony").rglob("*.pyx"), ROOT / "grammar" / "__init__.py"]
KEYS = [key for family in TABLE.values() for key in family]
CODES = list(dict.fromkeys(map(code_of, KEYS)))
explanation = cache(page.explanation)  # which runs the examples
TEXT = "<|channel|>final<|message|>Hi.<|return|>"


def command(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = harmony(*arguments)
    assert done.returncode == status, done
    return done


# --- every code, and every sentence


def call(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "channel": "commentary", "recipient": "functions.sky", "content": "{}", **fields}


def declared(schema: Any) -> dict[str, Any]:
    space = {"name": "functions", "tools": [{"name": "sky", "description": "", "parameters": schema}]}
    return {"role": "developer", "content": [{"type": "developer_content", "tools": {"functions": space}}]}


USER = {"role": "user", "content": "?"}
#: Further inputs, for sentences that no entry of the page shows.
MORE: list[Example] = [
    Logged(b'{"id": "\xff"}'),
    Linted("arguments-break-schema", [declared({"type": "object"}), USER, call(content="Oslo")]),
    Linted("unusable-schema", [declared({"$ref": "#/$defs/none"}), USER, call()]),
    Called("encoding.parse_text('<|start|>user<|message|>Hi<|end|>', 'assistant')"),
    Called("encoding.render({'role': 'user', 'content': 'Hi'})"),
    Called("encoding.extend([200006, 1428], [200008, 200007], [], config=RenderConversationConfig(max_tokens=5))"),
]


def of_tables(folder: Path) -> Iterator[Said]:
    """What is said of rows of a table."""
    unchecked = pa.array([b"\xff", b"a", b"b", b"c"], pa.binary()).view(pa.string())
    made = pa.table(
        {
            "tokens": pa.array([[200008, 1], None, [200008, None], [200008, 2]], pa.list_(pa.int64())),
            "late": pa.array([0, 0, 0, 1 << 62]).view(pa.timestamp("s")),
            "note": unchecked,
        }
    )
    pq.write_table(made.select(["tokens", "note"]), folder / "in.parquet")
    with pa.ipc.new_file(folder / "in.arrow", made.select(["tokens", "late"]).schema) as writer:
        writer.write_table(made.select(["tokens", "late"]))
    for name, output in (("in.arrow", "out.jsonl"), ("in.parquet", "out.arrow")):
        source, target = folder / name, folder / output
        command("parse", str(source), "-o", str(target), status=1)
        if output.endswith("jsonl"):
            errors = [json.loads(line).get("error") for line in target.read_bytes().splitlines()]
        else:
            errors = pa.ipc.open_file(target.read_bytes()).read_all().column("error").to_pylist()
        yield from (Said(error["code"], error["message"]) for error in errors if error)


def of_files(folder: Path) -> Iterator[Said]:
    """What `harmony validate` says of records that it cannot check, and of a file that is no text."""
    (folder / "empty.jsonl").write_text('{}\n{"messages": [{"role": "assistant", "content": "", "refusal": "No."}]}\n')
    (folder / "latin.txt").write_bytes(b"\xe9")
    done = command("validate", str(folder / "empty.jsonl"), str(folder / "latin.txt"), "--format", "json", status=1)
    yield from (Said(problem["code"], problem["message"]) for problem in json.loads(done.stdout))
    done = command("render", str(folder / "empty.jsonl"), status=1)
    yield from _errors(done.stdout)
    (folder / "unclear.jsonl").write_text(
        '{"input": "Hi"}\n{"messages": {}}\n{"messages": [{"role": "user", "channel": "final", "thinking": "?"}]}\n'
    )
    yield from _errors(command("render", str(folder / "unclear.jsonl"), status=1).stdout)
    (folder / "asked.jsonl").write_text(json.dumps({"text": "<|start|>user<|message|>Hi<|end|>"}))
    yield from _errors(command("parse", "--to", "chat", str(folder / "asked.jsonl"), "-o", "-", status=1).stdout)
    (folder / "user.jsonl").write_text(json.dumps({"messages": [USER]}))
    done = command("render", "--for", "training", "--mask", str(folder / "user.jsonl"), status=1)
    yield from _errors(done.stdout)


def _errors(output: bytes) -> Iterator[Said]:
    for line in output.splitlines():
        if error := json.loads(line)["error"]:
            yield Said(error["code"], error["message"])


def of_the_vocabulary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Said]:
    """What is said where the vocabulary's file is missing, and where it is another."""
    monkeypatch.setenv(vocabulary.FOLDER_VARIABLE, str(folder))
    for data in (None, b"another"):
        if data is not None:
            (folder / vocabulary.FILE_NAME).write_bytes(data)
        with pytest.raises(HarmonyError) as error:
            vocabulary.read()
        yield Said(error.value.code, str(error.value))
    monkeypatch.delenv(vocabulary.FOLDER_VARIABLE)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Said]:
    """All that is said of all inputs."""
    folder = tmp_path_factory.mktemp("codes")
    found = [one for code in page.CODES for _, outcome in explanation(code).examples for one in outcome.said]
    found += [one for example in MORE for one in example.run().said]
    with pytest.MonkeyPatch.context() as patch:
        found += of_the_vocabulary(folder, patch)
    return [*found, *of_tables(folder), *of_files(folder)]


def pattern(key: str) -> re.Pattern[str]:
    """What the sentence of a key looks like, with any facts in it."""
    family = next(family for family in TABLE.values() if key in family)
    parts = (
        re.escape(literal) + ("" if name is None else ".+") for literal, name, _, _ in Formatter().parse(family[key])
    )
    return re.compile("".join(parts), re.DOTALL)


def test_every_sentence_is_reached(said: list[Said]) -> None:
    for key in KEYS:
        fits = [one for one in said if one.code == code_of(key) and pattern(key).match(one.sentence)]
        assert fits, f"no input gives the sentence of `{key}`"


def test_only_codes_of_the_table_are_given(said: list[Said]) -> None:
    assert {one.code for one in said} == set(CODES)


def test_every_code_has_an_entry_whose_examples_show_it() -> None:
    assert set(page.CODES) == set(CODES)
    assert len(page.CODES) == len(set(page.CODES))
    for code in page.CODES:
        for _, outcome in explanation(code).examples:
            assert code in {one.code for one in outcome.said}, code
        assert page.ENTRIES[code].summary().endswith(".")


def test_a_code_belongs_to_one_family() -> None:
    families: dict[str, set[str]] = {}
    for family, keys in TABLE.items():
        for key in keys:
            families.setdefault(code_of(key), set()).add(family)
    # What is no UTF-8 is found in token ids, and in what logs and tables hold.
    assert {code: found for code, found in families.items() if len(found) > 1} == {"invalid-utf-8": {"text", "records"}}
    assert {code_of(key) for key in TABLE["lint"]} == set(RULES)


def test_the_facts_of_a_sentence_are_needed() -> None:
    with pytest.raises(KeyError):
        sentence("unknown-role")
    assert sentence("unknown-role", found="`x`").startswith("Unknown role: `x`, expected `system`")


# --- what the source raises


_CALLS = {"Fault", "fault", "_note", "Repair", "repaired", "sentence", "HarmonyError", "RenderError", "RenderTypeError"}


def raised() -> Iterator[tuple[str, str]]:
    """Every code that is written where faults are made, and the file."""
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        if path.suffix == ".pyx":
            yield from (
                (code, path.name) for code in re.findall(r'(?:Fault|repaired|_note)\(\s*"([a-z0-9/-]+)"', source)
            )
            continue
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in _CALLS:
                continue
            given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "code")]
            for value in given:
                for part in ast.walk(value):
                    if isinstance(part, ast.Constant) and re.fullmatch(r"[a-z]+(-[a-z0-9]+)+(/.+)?", str(part.value)):
                        yield part.value, path.name


def test_every_code_that_is_raised_is_in_the_table() -> None:
    found = list(raised())
    assert len({code for code, _ in found}) > 80
    for code, name in found:
        assert code in KEYS or code in CODES or code == "harmony-error", f"{name} raises `{code}`"


def test_every_key_of_the_table_is_written_somewhere_else() -> None:
    written = {
        node.value
        for path in SOURCES
        if path.suffix == ".py" and path.name != "errors.py" and "explanations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert [key for key in KEYS if key not in written] == []


# --- the page, and the command


def test_the_page_is_what_the_table_makes() -> None:
    written = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    assert page.page() == written, "python -m harmony.explanations.page > docs/diagnostics.md"
    headings = re.findall(r"^### (.+)$", written, re.MULTILINE)
    assert headings == list(page.CODES)


@pytest.mark.parametrize("code", ["unknown-role", "missing-start", "wrong-order", "truncated-content"])
def test_explain_prints_the_entry(code: str) -> None:
    printed = command("explain", code).stdout.decode()
    assert printed.startswith(f"{code} (")
    assert " ".join(page.ENTRIES[code].about.split()) in " ".join(printed.split())
    for shown, outcome in explanation(code).examples:
        for line in shown.split("\n"):
            assert f"    {line}\n" in printed
        for one in outcome.said:
            assert one.sentence in printed
        for message in outcome.read or []:
            assert f"    {message}\n" in printed


def test_explain_lists_all_codes() -> None:
    lines = command("explain").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == list(page.CODES)
    assert all(line.endswith(page.ENTRIES[line.split()[0]].summary()) for line in lines)


def test_explain_names_the_nearest_codes() -> None:
    done = command("explain", "unknown-rule", status=2)
    assert done.stdout == b""
    assert done.stderr.decode() == (
        "harmony: expected `unknown-role`, `unknown-word` or `unknown-type`, found the unknown code `unknown-rule`\n"
    )
    assert (
        b"a code that `harmony explain` lists, found the unknown code `\\x1b`"
        in command("explain", "\x1b", status=2).stderr
    )
