"""The rules of `lint` as a table, and the page docs/lint.md.

python -m harmony.explanations.rules_page > docs/lint.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from harmony.checking.rules import INPUTS, RULES, Rule
from harmony.explanations.page import ENTRIES, wrapped

#: The headings of a table of the rules, and what stands for a rule that no function of the library repairs.
HEADINGS: Final = ("code", "rule", "fixed by", "needs")
_NOT_FIXED: Final = "-"

_USE: Final = """\
# Checking conversations by rules

`harmony validate` finds what breaks the format. `harmony lint` also finds what the format allows but a conversation
should not have, such as a call of a tool that nobody declared. It reads what `harmony validate` and `harmony parse`
read: logs, folders of logs, files with one text or with token ids, and `-` for standard input.

```sh
harmony lint conversations.jsonl
harmony lint logs/ --start completion --ignore after-final
harmony lint logs/ --statistics
harmony lint --explain wrong-order
```

A conversation that breaks the format is reported as `harmony validate` reports it, and the rules do not check it.
`--select` names the only rules to use, and `--ignore` names rules to skip. `harmony lint --rules` prints the table of
the rules, and with `--format json` it prints JSON. `--statistics` prints only how many problems each code has, the most
frequent first.

The exit status is 0 without problems, 1 with problems, and 2 if a file cannot be read or the command is used wrongly.
`--exit-zero` turns 1 into 0.

In Python, [`lint`](validation.md) checks one conversation by the same rules.

## Completions

With `--start completion`, tokens and texts are answers without their prompt. The rules that need the whole conversation
are left out for them: the column "needs" of the table says which these are. They still check the records of the same
log that have `messages`, or whose completion begins with `<|start|>` and has the `role` null. If you select such a rule
by name, a note says that it is not used.

## Places

A problem has a line and a column, as editors have them. Both count from 1, and columns count characters (Unicode code
points), not bytes. In a log of JSON Lines, the line is that of the record, and the column is the place in that line: of
the character in `text`, of the id in `tokens`, of the message in `messages`, or of the field that is wrong. In a
record with a text, the sentence also has the line and the column inside the text. A compressed log has the lines that
it has after decompression. A table has no lines: its problems have the number of the row, from 1.

The index of a token or a message in a sentence, as in "at token 5", counts from 0, as in Python. So does `position` in
JSON.

## Formats

| format | what it is for |
|---|---|
| `text` | people, and editors that read the output of compilers |
| `json` | programs: an array with an object for each problem |
| `github` | GitHub Actions, which shows each problem at its line |
| `sarif` | GitHub code scanning and other readers of SARIF 2.1.0 |
| `gitlab` | GitLab Code Quality |

`harmony validate` has the same formats. An object of `json` has `file`, `line`, `column`, `code`, `message`, `position`
and `unit`. It has `excerpt` where a text can be shown, and `row` for a row of a table.

In SARIF, a file that could not be read is a notification of the run. A problem in a table has no region there, and the
sentence begins with the row. For GitLab, which needs a line, it has the line 1. The fingerprint for GitLab is made of
the file, the code and the sentence, so a problem keeps it when its line moves.

## Settings of a project

`harmony lint` reads the nearest `pyproject.toml` that has the table `[tool.harmony.lint]`, in the current directory or
above it. An option on the command line wins. A rule that the command line selects is not ignored.

```toml
[tool.harmony.lint]
select = ["wrong-order", "undeclared-tool"]  # the only rules to use; all if it is missing
ignore = ["leftover-analysis"]               # rules to skip
start = "completion"                         # or "conversation", "prompt"
format = "github"                            # any format of the table above
```

## pre-commit

This repository has the hooks `harmony-validate` and `harmony-lint`. They check the logs of a commit:

```yaml
repos:
  - repo: URL-OF-THIS-REPOSITORY
    rev: A-TAG-OR-A-COMMIT
    hooks:
      - id: harmony-lint
        args: [--ignore, leftover-analysis]
```

## Continuous integration

On GitHub, problems become notes at their lines, or alerts of code scanning:

```yaml
steps:
  - run: harmony lint data/ --format github
  - run: harmony lint data/ --format sarif --exit-zero > harmony.sarif
  - uses: github/codeql-action/upload-sarif@v3
    with:
      sarif_file: harmony.sarif
```

On GitLab, they are shown in the merge request:

```yaml
lint:
  script:
    - harmony lint data/ --format gitlab > code-quality.json
  artifacts:
    when: always
    reports:
      codequality: code-quality.json
```

Give file names relative to the repository, because GitLab and GitHub find files by these names.

## Rules
"""


def cells(rule: Rule) -> tuple[str, str, str, str]:
    """The row of a rule in a table."""
    return rule.code, rule.sentence, rule.fixed_by or _NOT_FIXED, INPUTS[rule.needs]


def page() -> str:
    """The page docs/lint.md."""
    return _USE + "\n".join(_rules())


def _rules() -> Iterator[str]:
    yield ""
    yield from wrapped(
        "This page is made by `python -m harmony.explanations.rules_page > docs/lint.md`, and the rules come from the "
        "code. No rule changes a file. The column `fixed by` names a function of the library that repairs what the "
        "rule finds. The column `needs` says what a rule must see: a completion, or the conversation with the messages "
        "of the prompt. The schemas of tools are there only in a record with `messages`, in a developer message that "
        "holds them as objects."
    )
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for rule in RULES.values():
        code, sentence, fixed_by, needs = cells(rule)
        fixed = fixed_by if fixed_by == _NOT_FIXED else f"`{fixed_by}`"
        yield f"| [`{code}`](#{code}) | {_cell(sentence)} | {fixed} | {needs} |"
    for code, rule in RULES.items():
        yield ""
        yield f"### {code}"
        yield ""
        yield from wrapped(f"{ENTRIES[code].about} Trips: {rule.trips} [Example](diagnostics.md#{code}).")
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
