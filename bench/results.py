"""What one run of the benchmark found, as it is written to JSON; medians, ratios and verdicts are reckoned here.

All figures are costs: less is better. Knows neither how they were measured nor how they are shown.
"""

from __future__ import annotations

import math
from statistics import median

import msgspec


class Measure(msgspec.Struct):
    """The cost of one unit of work, in `unit`: for each subject one figure for each repeat, in order."""

    name: str
    title: str
    unit: str
    figures: dict[str, list[float]]
    failed: dict[str, str] = msgspec.field(default_factory=dict)


class Curve(msgspec.Struct):
    """How seconds grow with a size, by subject; `stopped` says where one was not asked for more, and why."""

    name: str
    title: str
    unit: str
    points: dict[str, list[tuple[int, float]]]
    stopped: dict[str, str] = msgspec.field(default_factory=dict)


class Target(msgspec.Struct, frozen=True):
    """What is to hold. `ours` and `theirs` are the name of a measure and of a subject.

    With `least`, ours costs at least that many times less than theirs. Without theirs, `least` is a rate, in 1000 of
    ours' unit. With `most`, ours costs at most that many times as much as theirs. Without theirs, `most` is a cost.
    """

    title: str
    ours: tuple[str, str]
    theirs: tuple[str, str] | None
    least: float | None = None
    unit: str = "×"
    most: float | None = None


class Worst(msgspec.Struct, frozen=True):
    """What is to hold of several targets with one bound. The verdict is that on the worst of them, and names it."""

    title: str
    targets: tuple[Target, ...]


class Verdict(msgspec.Struct):
    """What came of a target: medians, the figure that is judged, and the range of that figure in single repeats.

    The judged figure is `ratio`: a ratio, a rate or a cost, as `unit` says. Of a curve's target, it is the exponent of
    its growth. It may not be below `least`, or not above `most`.
    """

    title: str
    subject: str
    against: str
    ours: float | None
    theirs: float | None
    cost_unit: str
    ratio: float
    low: float
    high: float
    least: float | None
    unit: str
    met: bool
    most: float | None = None


class Facts(msgspec.Struct):
    """Where and with what a run was made."""

    date: str
    seconds: float
    quick: bool
    python: str
    system: str
    processor: str
    cores: int
    versions: dict[str, str]
    missing: dict[str, str]


class Result(msgspec.Struct):
    facts: Facts
    verdicts: list[Verdict]
    measures: list[Measure]
    curves: list[Curve]


def measures_of(target: Target | Worst) -> set[str]:
    """The names of the measures that a target needs."""
    if isinstance(target, Worst):
        return set().union(*map(measures_of, target.targets))
    return {side[0] for side in (target.ours, target.theirs) if side is not None}


def judge(target: Target, measures: list[Measure]) -> Verdict | None:
    """The verdict on a target; None where one of its sides was not measured."""
    named = {measure.name: measure for measure in measures}
    (name, subject), against = target.ours, target.theirs
    if name not in named or not (ours := named[name].figures.get(subject)):
        return None
    if against is None:
        theirs = None
        figures = ours if target.least is None else [1000 / figure for figure in ours]
        ratio = median(figures)
    elif against[0] not in named or not (theirs := named[against[0]].figures.get(against[1])):
        return None
    elif target.least is None:
        figures, ratio = _ratios(theirs, ours), median(ours) / median(theirs)
    else:
        figures, ratio = _ratios(ours, theirs), median(theirs) / median(ours)
    return Verdict(
        title=target.title,
        subject=subject,
        against=against[1] if against else "",
        ours=median(ours),
        theirs=median(theirs) if theirs else None,
        cost_unit=named[name].unit,
        ratio=ratio,
        low=min(figures),
        high=max(figures),
        least=target.least,
        unit=target.unit,
        met=(target.least is None or ratio >= target.least) and (target.most is None or ratio <= target.most),
        most=target.most,
    )


def judge_worst(worst: Worst, measures: list[Measure]) -> Verdict | None:
    """The verdict on the target that is furthest from its bound; None where one of them was not measured."""
    verdicts = [judge(target, measures) for target in worst.targets]
    found = [verdict for verdict in verdicts if verdict is not None]
    if not found or len(found) < len(verdicts):
        return None
    last = max(found, key=lambda verdict: part_of_bound(verdict, verdict.ratio))
    last.title = f"{worst.title}: {last.title}"
    return last


def part_of_bound(verdict: Verdict, figure: float) -> float:
    """How much of its bound a figure of a verdict uses up. The target is met if that is at most 1."""
    return verdict.least / figure if verdict.least is not None else figure / (verdict.most or math.nan)


def judge_growth(curve: Curve, subject: str, most: float) -> Verdict | None:
    """The verdict on a curve that is to be a line; None where it has too few points to tell."""
    points = curve.points.get(subject, [])
    slopes = exponents(points)
    if not slopes:
        return None
    ratio = slopes[0]
    return Verdict(
        title=f"growth of {subject}: {curve.title}, to {points[-1][0]:,} {curve.unit}",
        subject=subject,
        against="",
        ours=None,
        theirs=None,
        cost_unit="s",
        ratio=ratio,
        low=min(slopes),
        high=max(slopes),
        least=None,
        unit="exponent",
        met=ratio <= most,
        most=most,
    )


def exponents(points: list[tuple[int, float]]) -> list[float]:
    """How steep the end of a curve is, both scales logarithmic: 1 is linear, 2 quadratic; [] where it is too short.

    From the sizes a hundredth of the last, a thirtieth and a tenth to the last one. At smaller ones a call itself, not
    its size, is what costs.
    """
    if len(points) < 2:
        return []
    size, seconds = points[-1]
    starts = [point for point in points[:-1] if size / 101 <= point[0] <= size / 9]
    return [math.log(seconds / time) / math.log(size / start) for start, time in starts]


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """The ratios of the repeats; of all that are possible, the least and the greatest where there are not as many."""
    if len(ours) == len(theirs):
        return [their / our for our, their in zip(ours, theirs, strict=True)]
    return [min(theirs) / max(ours), max(theirs) / min(ours)]
