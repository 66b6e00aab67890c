"""`python -m peers`: the programs that import openai_harmony, with it and with harmony in its place.

docs/peers.md says how to get the programs. Each needs a folder of sources, and the Python of an environment that holds
what it requires, openai-harmony 0.0.8, pytest and harmony. Exit status: 0, 1 where something differs from the
reference or a program cannot be run, or 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from peers import replays, report
from peers.programs import TESTS, Program
from peers.server import run_server
from peers.suites import run_suite
from peers.ways import LENIENT, Setting


def main() -> int:
    options = _options()
    programs = [Program(*given) for given in options.program]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder))
        if options.replay:
            return _replay(programs, setting, options)
        suites = [run_suite(program, setting) for program in programs]
        print(report.suites_text(suites))
        return int(any(suite.differences for suite in suites))


def _replay(programs: list[Program], setting: Setting, options: argparse.Namespace) -> int:
    cases = [*replays.of_corpus(options.replay), *replays.of_explanations(), *replays.of_chance(options.random)]
    replies = run_server(programs[0], setting, cases)
    print(report.server_text(replies))
    return int(any(reply.answers[LENIENT.name].fails() for reply in replies))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m peers", description="Runs programs that import openai_harmony with harmony in its place."
    )
    parser.add_argument(
        "--program",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "SOURCE", "PYTHON"),
        help=f"a program ({', '.join(TESTS)}), the folder of its sources, and the Python of its environment",
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="instead of tests: give replies to gpt-oss's server, those of a file such as tests/data/completions.jsonl "
        "and the examples of harmony's repairs",
    )
    parser.add_argument("--random", type=int, default=0, metavar="NUMBER", help="as many random replies more")
    options = parser.parse_args()
    names = [name for name, _, _ in options.program]
    if unknown := sorted(set(names) - TESTS.keys()):
        parser.error(f"expected one of {', '.join(TESTS)}, found `{unknown[0]}`")
    if options.replay and names != ["gpt-oss"]:
        parser.error("expected `--program gpt-oss` and no other with --replay: it is the server that gets the replies")
    # The path of a Python is not resolved: in an environment, it is a link to a Python outside.
    options.program = [
        (name, Path(source).resolve(), Path(python).absolute()) for name, source, python in options.program
    ]
    return options


if __name__ == "__main__":
    raise SystemExit(main())
