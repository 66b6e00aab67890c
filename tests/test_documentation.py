"""The code blocks of README.md and docs/*.md run, and print what the pages say. `helpers/pages.py` says how."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Final

import pytest
import zstandard

from helpers.pages import Block, Ran, blocks, commands, fits, not_run, run
from helpers.paths import CONVERSATIONS, DATA, EXAMPLES, ROOT, SAMPLE

PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: How many comments of each page say why a block, or none of its blocks, is run. A new one has to be counted here.
NOT_RUN: Final = {
    "README.md": 2,
    "benchmarks.md": 3,
    "commands.md": 1,
    "compat.md": 1,
    "decoding.md": 2,
    "diagnostics.md": 1,
    "index.md": 2,
    "install.md": 1,
    "logs.md": 1,
    "peers.md": 2,
    "playground.md": 2,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the pages name, as in a clone and as a reader would call them."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(DATA / "shapes", tmp_path / "tests" / "data" / "shapes")
    (tmp_path / "logs").mkdir()
    for path in (SAMPLE, CONVERSATIONS):
        shutil.copy(path, tmp_path)
    shutil.copy(SAMPLE, tmp_path / "logs")
    (tmp_path / "old.jsonl.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    (tmp_path / "more.jsonl.zst").write_bytes(zstandard.compress(SAMPLE.read_bytes()))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs_as_it_stands(page: Path, folder: Path) -> None:
    to_run = [block for block in blocks(page.read_text(encoding="utf-8")) if block.reason is None]
    ran = run(page.name, to_run, folder)
    for block, parts in zip(to_run, ran, strict=False):
        said = list(commands(block.text)) if block.kind == "console" else [("", block.output or "")]
        for (command, expected), part in zip(said, parts, strict=True):
            check(f"{page.name}, line {block.line}: {command}", block.kind, expected, part)
    assert len(ran) == len(to_run)


def check(place: str, kind: str, expected: str, ran: Ran) -> None:
    assert "Traceback" not in ran.stderr, f"{place}\n{ran.stderr}"
    if kind != "console" or not expected:
        assert ran.status == 0, f"{place}\n{ran.stdout}{ran.stderr}"
    if expected:
        printed = ran.stdout + ran.stderr * (ran.status != 0)
        assert fits(printed, expected), f"{place}\nprinted:\n{printed}\nThe page says:\n{expected}"


def printed(page: Path, folder: Path) -> str:
    """What the Python of a page prints."""
    found = [block for block in blocks(page.read_text(encoding="utf-8")) if block.kind == "python"]
    ran = [part for [part] in run(page.name, found, folder)]
    assert [part.status for part in ran] == [0] * len(found), ran[-1].stderr
    return "".join(part.stdout for part in ran)


def test_the_readme_prints_its_messages_and_faults(tmp_path: Path) -> None:
    found = printed(ROOT / "README.md", tmp_path)
    assert found.splitlines()[:3] == ["analysis Sunny, then.", "final Bring a hat.", "Bring a hat."]
    assert found.endswith("Bring a hat. ['missing-message']\n")


def test_the_explanation_of_the_format_shows_what_is_rendered(tmp_path: Path) -> None:
    page = ROOT / "docs" / "format.md"
    shown = re.findall(r"^```text\n(.*?)\n```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    first, last = shown[2].replace("\n<|start|>", "<|start|>"), shown[-1].replace("\n<|start|>", "<|start|>")
    _, _, rendered = printed(page, tmp_path).partition("\n")
    assert rendered.strip() == first.removesuffix("<|start|>assistant") + last


def test_what_is_not_run_is_counted() -> None:
    reasons = {page.name: not_run(page.read_text(encoding="utf-8")) for page in PAGES}
    assert {name: len(found) for name, found in reasons.items() if found} == NOT_RUN, reasons


def test_a_block_is_not_left_out_in_silence() -> None:
    page = """
# Title

<!-- not run: it needs
a network -->
```sh
one
```

    $ two
    2

Text.

```python
three
```

```text
3
```

<!-- not run: its comment does not stand directly above it -->

Text.

```sh
four
```
"""
    assert blocks(page) == [
        Block(6, "sh", "one\n", reason="it needs a network"),
        Block(10, "console", "$ two\n2\n"),
        Block(15, "python", "three\n", output="3\n"),
        Block(27, "sh", "four\n"),
    ]
    for wrong in ("```\nls\n```", "```pyhton\n1\n```", "```json\n{\n```", "```toml\n[\n```"):
        with pytest.raises(ValueError, match="line"):
            blocks(wrong)


def test_a_failure_is_found(tmp_path: Path) -> None:
    page = "```python\na = 1\n```\n```python\nprint(a)\n1 / 0\n```\n```python\nprint(a)\n```\n"
    first, second = run("page", blocks(page), tmp_path)
    assert first == [Ran(0, "", "")]
    assert (second[0].status, second[0].stdout) == (1, "1\n")
    assert 'File "page", line 6' in second[0].stderr
    [[failed]] = run("page", blocks("```sh\nfalse\necho no\n```"), tmp_path)
    assert (failed.status, failed.stdout) == (1, "")
    [[one, two]] = run("page", blocks("```console\n$ echo 1; exit 3\n1\n$ echo 2\n3\n```"), tmp_path)
    assert (one, two) == (Ran(3, "1\n", ""), Ran(0, "2\n", ""))


def test_outputs_are_compared_line_by_line() -> None:
    assert fits("a\nb  \nc\n", "a\nb\nc")
    assert fits("a\nb\nc\n", "a\n…\n")
    assert fits("a\nb\nc\nd\n", "a\n  …\nd\n")
    assert not fits("a\nb\nc\n", "a\nb\n")
    assert not fits("a\nb\nc\n", "a\n…\nb\n")
