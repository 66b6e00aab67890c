"""A plugin for the pytest of another program: writes the outcome of each test to a file, one JSON object a line.

The first line tells which library stands behind the name openai_harmony. It runs in the program's environment, so it
imports nothing of the project.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import openai_harmony

_FAULTY = ("failed", "error")


class Outcomes:
    """What became of each test; a module that cannot be collected counts as a test that failed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, str]] = {}

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._note(report, "failed")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if mark := os.environ["PEERS_MARK"]:
            for item in items:
                item.add_marker(mark)

    def pytest_runtest_logreport(self, report: Any) -> None:
        before = self.found.get(report.nodeid, {}).get("outcome")
        if before in _FAULTY or (report.when != "call" and report.passed):
            return
        self._note(report, report.outcome)

    def pytest_sessionfinish(self) -> None:
        lines: list[dict[str, str]] = [{"library": openai_harmony.StreamableParser.__module__.split(".")[0]}]
        lines += self.found.values()
        self.path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")

    def _note(self, report: Any, outcome: str) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = crash.message if crash else str(report.longrepr or "")
        self.found[report.nodeid] = {"test": report.nodeid, "outcome": outcome, "reason": reason}


def pytest_configure(config: Any) -> None:
    config.pluginmanager.register(Outcomes(Path(os.environ["PEERS_OUTPUT"])), "peers-outcomes")
