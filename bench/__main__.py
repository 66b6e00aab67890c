"""`python -m bench`: harmony against other libraries, and against its targets. docs/benchmarks.md says how.

Exit status: 0, 1 where no title has the pattern, or 2 for wrong usage. A target that is not met is told, as is a
library that is missing; neither changes the status.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from bench import commands, report, timing
from bench.cases import MOST_EXPONENT, TARGETS, cases, growths
from bench.processes import Setting, Workers
from bench.results import (
    Curve,
    Facts,
    Measure,
    Result,
    Target,
    Verdict,
    Worst,
    judge,
    judge_growth,
    judge_worst,
    measures_of,
)
from bench.subjects import OURS, PYTHON, SUBJECTS, Library

#: What both of ours stand on, whose versions matter too.
_BELOW: Final = ("tiktoken", "msgspec", "lark", "pyarrow")


def main() -> None:
    options = _options()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), options.oss_harmony)
        with Workers(setting) as workers:
            facts = _facts(workers, quick=options.quick)
            print(report.facts_text(facts), end="\n\n", flush=True)
            measures, curves = [], []
            for found in _measured(workers, setting, options):
                if isinstance(found, Measure):
                    measures.append(found)
                    print(report.measure_text(found), flush=True)
                else:
                    curves.append(found)
                    print(report.curve_text(found), flush=True)
    if not measures and not curves:
        raise SystemExit(f"expected a pattern that is in some title, found `{options.only.pattern}`")
    verdicts = _verdicts(measures, curves)
    facts.seconds = time.perf_counter() - began
    print(f"\n{report.verdicts_text(verdicts)}\n")
    names = {found.name for found in measures}
    tried = [target for target in TARGETS if not options.only or not names.isdisjoint(measures_of(target))]
    not_judged = [target.title for target in tried if _judged(target, measures) is None]
    if not_judged:
        print(f"not judged, for one side was not measured: {'; '.join(not_judged)}")
    print(f"{sum(found.met for found in verdicts)} of {len(verdicts)} targets met, in {facts.seconds:.0f} s")
    if options.json:
        encoded = msgspec.json.encode(Result(facts, verdicts, measures, curves))
        options.json.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="harmony against other libraries.")
    parser.add_argument("--json", metavar="FILE", type=_new_file, help="write all figures to a file")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        type=_pattern,
        default="",
        help="measure what has a title or a target with this in it",
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller inputs: to see that all runs")
    parser.add_argument("--oss-harmony", metavar="FOLDER", help="where pip install --target has put oss-harmony")
    return parser.parse_args()


def _new_file(written: str) -> Path:
    path = Path(written)
    if path.is_dir() or not path.parent.is_dir():  # it is told now rather than when all has been measured
        raise argparse.ArgumentTypeError(f"expected a file in a folder that exists, found `{written}`")
    return path


def _pattern(written: str) -> re.Pattern[str]:
    try:
        return re.compile(written, re.IGNORECASE)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, found `{written}`: {error}") from None


def _measured(workers: Workers, setting: Setting, options: argparse.Namespace) -> Iterator[Measure | Curve]:
    """All that was asked for, one by one, in the order of the targets."""
    quick, wanted = options.quick, partial(_is_wanted, re.compile(options.only))
    effort = timing.QUICK if quick else timing.WHOLE
    sizes = commands.QUICK if quick else commands.WHOLE
    names = [name for name in workers if issubclass(SUBJECTS[name], Library)]
    for case in cases(quick=quick):
        if wanted(case.title, case.name):
            if case.name == "threads":
                yield commands.cores(effort.repeats)
            yield timing.time_case(case, workers, setting, effort)
    if wanted("fresh process", "fresh", "fresh_memory"):
        yield from commands.fresh(names, setting, effort.repeats)
    if wanted("log command", "log"):
        yield from commands.logs(names, setting, sizes)
    if wanted("long log", "long_log"):
        yield commands.long_log(setting, sizes)
    if wanted("short commands", "commands"):
        yield commands.short(setting, effort.repeats)
    if wanted("import", "import"):
        yield commands.imported(setting, effort.repeats)
    if wanted("memory"):
        yield from commands.memory(names, setting, sizes)
    for growth in growths(quick=quick):
        if wanted(f"growth: {growth.title}"):
            yield timing.time_growth(growth, {name: workers[name] for name in names})


def _is_wanted(pattern: re.Pattern[str], title: str, *names: str) -> bool:
    """Whether a pattern is in the title or a name of measures, or in the title of a target that needs one of them."""
    targets = [target.title for target in TARGETS if not measures_of(target).isdisjoint(names)]
    return any(map(pattern.search, (title, *names, *targets)))


def _verdicts(measures: list[Measure], curves: list[Curve]) -> list[Verdict]:
    found = [_judged(target, measures) for target in TARGETS]
    found += [judge_growth(curve, subject, MOST_EXPONENT) for curve in curves for subject in (OURS, PYTHON)]
    return [verdict for verdict in found if verdict is not None]


def _judged(target: Target | Worst, measures: list[Measure]) -> Verdict | None:
    return judge_worst(target, measures) if isinstance(target, Worst) else judge(target, measures)


def _facts(workers: Workers, *, quick: bool) -> Facts:
    return Facts(
        date=datetime.date.today().isoformat(),
        seconds=0,
        quick=quick,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        versions={name: worker.version for name, worker in workers.items()}
        | {name: importlib.metadata.version(name) for name in _BELOW},
        missing=workers.missing,
    )


def _processor() -> str:
    """Its name, where the system tells it."""
    cpus = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpus.read_text()) if cpus.exists() else []
    return names[0] if names else platform.processor() or "an unnamed processor"


if __name__ == "__main__":
    main()
