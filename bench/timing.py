"""How cases and curves are timed: subjects in turn, repeat by repeat, each in its own process.

Decides how often, how long, and where a curve of a slow subject ends. Knows no library and no command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Final, NamedTuple

from bench.cases import BYTE, MILLISECOND, TOKEN, Case, Entry, Growth
from bench.processes import Input, Setting, SubjectError, Worker, Workers
from bench.results import Curve, Measure

_SCALES: Final = {TOKEN: 1e9, BYTE: 1e9, MILLISECOND: 1e3}
_LONG: Final = 5.0  # seconds of one run that are enough for a curve
_SHORT: Final = 0.3  # seconds of one run that can be repeated without a thought


class Effort(NamedTuple):
    """How many repeats, and how many seconds each takes at least."""

    repeats: int
    least: float


WHOLE: Final = Effort(7, 0.15)
QUICK: Final = Effort(3, 0.03)


def time_case(case: Case, workers: Workers, setting: Setting, effort: Effort) -> Measure:
    """Every entry once to warm up, and then all in turn, beginning with another one in each repeat."""
    measure = Measure(case.name, case.title, case.unit, {})
    entries = [entry for entry in case.entries if entry.subject in workers]
    for repeat in range(-1, effort.repeats):
        first = repeat % max(len(entries), 1)
        for entry in entries[first:] + entries[:first]:
            try:
                seconds = workers[entry.subject].time(entry.method, entry.given, effort.least if repeat >= 0 else 0)
            except SubjectError as error:
                measure.failed[entry.label] = str(error)
                entries.remove(entry)
                continue
            if repeat >= 0:
                measure.figures.setdefault(entry.label, []).append(seconds * _scale(case, entry, setting))
    measure.figures = {entry.label: measure.figures[entry.label] for entry in entries}
    workers.forget()
    return measure


def _scale(case: Case, entry: Entry, setting: Setting) -> float:
    """What makes a case's unit of the seconds of a run."""
    count = 1 if case.unit == MILLISECOND else setting.count(entry.given)
    return _SCALES[case.unit] / count


def time_growth(growth: Growth, workers: Mapping[str, Worker]) -> Curve:
    """Every subject at every size, as long as one run is not expected to take more than a few seconds."""
    curve = Curve(growth.name, growth.title, growth.unit, {subject: [] for subject in workers})
    for size in sizes(growth.first, growth.last):
        for subject, worker in workers.items():
            if subject in curve.stopped:
                continue
            points = curve.points[subject]
            expected = _expected(points, size)
            if expected > _LONG:
                curve.stopped[subject] = f"{size:,} {growth.unit} would take some {expected:.0f} s"
                continue
            try:
                points.append((size, _steady(worker, growth.method, Input(growth.maker, size))))
            except SubjectError as error:
                curve.stopped[subject] = f"{size:,} {growth.unit}: {error}"
        for worker in workers.values():
            worker.forget()
    return curve


def sizes(first: int, last: int) -> list[int]:
    """Two sizes a decade, such as 3, 10, 30, 100, from the first to the last."""
    found = (factor * 10**power for power in range(10) for factor in (1, 3))
    return [size for size in found if first <= size <= last]


def _steady(worker: Worker, method: str, given: Input) -> float:
    """The median of five, but a run that takes long is not repeated; the first is to warm up."""
    once = worker.time(method, given)
    return median(worker.time(method, given, 0.01) for _ in range(5)) if once < _SHORT else once


def _expected(points: list[tuple[int, float]], size: int) -> float:
    """Seconds that the next size will take, if the curve goes on as it went from the last but one to the last."""
    if not points:
        return 0
    last, seconds = points[-1]
    slope = 1.0
    if len(points) > 1:
        before, time = points[-2]
        slope = max(slope, math.log(seconds / time) / math.log(last / before))
    return float(seconds * (size / last) ** slope)
