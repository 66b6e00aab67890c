"""The tests of a program, run in all ways, and compared test by test."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from peers.programs import TESTS, Program
from peers.ways import REFERENCE, WAYS, Setting, Way

_REASON: Final = 200  # characters of the reason why a test failed


class Difference(NamedTuple):
    """A test whose outcome differs from that with the reference."""

    test: str
    way: str
    expected: str
    found: str
    reason: str


class Suite(NamedTuple):
    """What became of a program's tests.

    `counted` are those that pass with the reference. The others say nothing, for most of them lack a network, a model
    or a GPU. `passed` has a number for each way.
    """

    program: str
    version: str
    counted: int
    not_counted: dict[str, int]
    passed: dict[str, int]
    differences: list[Difference]


def run_suite(program: Program, setting: Setting) -> Suite:
    """Runs the tests of a program in each way."""
    if TESTS[program.name].needs_hub:
        setting.make_hub(program)
    outcomes = {way.name: _outcomes(program, setting, way) for way in WAYS}
    expected = outcomes[REFERENCE.name]
    counted = [test for test, one in expected.items() if one["outcome"] == "passed"]
    differences = []
    for way in WAYS:
        for test in sorted(expected.keys() | outcomes[way.name].keys()):
            missing = {"outcome": "not there", "reason": ""}
            before, after = expected.get(test, missing), outcomes[way.name].get(test, missing)
            if before["outcome"] != after["outcome"]:
                reason = " ".join(after["reason"].split())[:_REASON]
                differences.append(Difference(test, way.name, before["outcome"], after["outcome"], reason))
    return Suite(
        program.name,
        program.version(),
        len(counted),
        dict(Counter(one["outcome"] for one in expected.values() if one["outcome"] != "passed")),
        {
            name: sum(found.get(test, {}).get("outcome") == "passed" for test in counted)
            for name, found in outcomes.items()
        },
        differences,
    )


def _outcomes(program: Program, setting: Setting, way: Way) -> dict[str, dict[str, str]]:
    options = ["-q", "-p", "peers_outcomes", "-p", "no:cacheprovider"]
    mark = TESTS[program.name].mark
    found = setting.run(program, way, "pytest", *options, *program.tests(), PEERS_MARK=mark)
    return {one["test"]: one for one in found}
