"""The formats in which problems are reported: for people, as JSON, for GitHub and GitLab, and as SARIF.

A report is printed while files are checked, so it is never held in memory as a whole. Each line is ASCII where the
format is JSON, for the name of a file need not be Unicode.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote as percent_encoded

import msgspec

from harmony.cli.arguments import OutputFormat
from harmony.cli.check import Problem
from harmony.errors import printable
from harmony.explanations.page import ENTRIES
from harmony.runtime import VERSION
from harmony.viewing.characters import readable

_SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Report:
    """A report. Each method gives what is to be printed; None for nothing."""

    def problem(self, problem: Problem) -> str | None:
        """A problem."""
        raise NotImplementedError

    def unread(self, sentence: str) -> None:
        """Notes that a file could not be read. All formats print that to standard error; some hold it too."""

    def end(self) -> str | None:
        """What stands behind all problems."""
        return None


class TextReport(Report):
    """A line for each problem, as compilers write it, with an excerpt below."""

    def problem(self, problem: Problem) -> str:
        place = f"{problem.line}:{problem.column}" if problem.row is None else f"row {problem.row}"
        line = printable(f"{problem.file}:{place}: {problem.code} {problem.message}")
        return line if problem.excerpt is None else "\n    ".join([line, *problem.excerpt.split("\n")])


class _Array(Report):
    """An array of JSON, with an item on each line."""

    _any = False

    def item(self, value: Any) -> str:
        """An item, and what stands before it."""
        before, self._any = "," if self._any else "[", True
        return before + json.dumps(value)

    def end(self) -> str:
        return "]" if self._any else "[]"


class JsonReport(_Array):
    """An array with an object for each problem, which has the fields of Problem."""

    def problem(self, problem: Problem) -> str:
        return self.item(msgspec.to_builtins(problem))


class GithubReport(Report):
    """Workflow commands of GitHub Actions, which shows each problem at its line."""

    def problem(self, problem: Problem) -> str:
        place = "" if problem.row is not None else f",line={problem.line},col={problem.column}"
        file, code = (_escaped(text).replace(":", "%3A").replace(",", "%2C") for text in (problem.file, problem.code))
        return readable(f"::error file={file}{place},title={code}::{_escaped(_told(problem))}")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _told(problem: Problem) -> str:
    """The sentence of a problem, for formats that know no rows of tables."""
    return problem.message if problem.row is None else f"row {problem.row}: {problem.message}"


class GitlabReport(_Array):
    """The array of GitLab's Code Quality reports.

    The fingerprint of a problem is made of its file, code and sentence, and of how many others before it have the same.
    So it does not change when lines are added before it.
    """

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def problem(self, problem: Problem) -> str:
        path = _relative(problem.file)
        same = sha256("\0".join([path, problem.code, problem.message]).encode(errors="surrogateescape")).digest()
        self._seen[same] += 1
        return self.item(
            {
                "description": printable(_told(problem)),
                "check_name": problem.code,
                "fingerprint": sha256(same + str(self._seen[same]).encode()).hexdigest(),
                "severity": "major",
                "location": {
                    "path": printable(path),
                    "lines": {"begin": problem.line if problem.line is not None else 1},
                },
            }
        )


def _relative(name: str) -> str:
    """The name of a file without the current directory before it, and without `./`."""
    relative = os.path.relpath(name)
    return (name if relative.startswith(os.pardir) else relative).replace(os.sep, "/")


class SarifReport(Report):
    """A log in SARIF 2.1.0 with one run. Its rules are the codes that were found."""

    def __init__(self) -> None:
        self._rules: dict[str, int] = {}
        self._any = False
        self._unread: list[str] = []

    def problem(self, problem: Problem) -> str:
        before, self._any = "," if self._any else self._begin(), True
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(problem.file)}}
        location: dict[str, Any] = {"physicalLocation": physical}
        if problem.row is None:
            physical["region"] = {"startLine": problem.line, "startColumn": problem.column}
        else:
            location["logicalLocations"] = [{"name": f"row {problem.row}"}]
        result = {
            "ruleId": problem.code,
            "ruleIndex": self._rules.setdefault(problem.code, len(self._rules)),
            "level": "error",
            "message": {"text": printable(_told(problem))},
            "locations": [location],
        }
        return before + json.dumps(result)

    def unread(self, sentence: str) -> None:
        self._unread.append(sentence)

    def end(self) -> str:
        said = [{"level": "error", "message": {"text": printable(sentence)}} for sentence in self._unread]
        after = {
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": not said, "toolExecutionNotifications": said}],
            "tool": {"driver": {"name": "harmony", "version": VERSION, "rules": list(map(_sarif_rule, self._rules))}},
        }
        return ("" if self._any else self._begin()) + "]," + json.dumps(after)[1:] + "]}"

    @staticmethod
    def _begin() -> str:
        return f'{{"$schema":"{_SARIF_SCHEMA}","version":"2.1.0","runs":[{{"results":['


def _sarif_rule(code: str) -> dict[str, Any]:
    entry = ENTRIES[code]
    return {"id": code, "shortDescription": {"text": entry.summary()}, "fullDescription": {"text": entry.about}}


def _uri(name: str) -> str:
    """The name of a file as a URI; one that is relative stays so."""
    prefix = "file://" if Path(name).is_absolute() else ""
    return prefix + percent_encoded(os.fsencode(Path(name).as_posix()))


class Statistics(Report):
    """How many problems each code has, the most frequent first. `as_json` gives an array instead of lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._counts: Counter[str] = Counter()

    def problem(self, problem: Problem) -> None:
        self._counts[problem.code] += 1

    def end(self) -> str | None:
        counts = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))
        if self._as_json:
            found = [{"code": code, "count": count, "summary": ENTRIES[code].summary()} for code, count in counts]
            return json.dumps(found, indent=2)
        if not counts:
            return None
        wide, long = len(f"{counts[0][1]:,}"), max(len(code) for code, _ in counts)
        return "\n".join(f"{count:{wide},}  {code:{long}}  {ENTRIES[code].summary()}" for code, count in counts)


#: The report for each format.
REPORTS: Final[dict[OutputFormat, type[Report]]] = {
    "text": TextReport,
    "json": JsonReport,
    "github": GithubReport,
    "sarif": SarifReport,
    "gitlab": GitlabReport,
}
