"""Prints a run: each measure as soon as it is there, and at the end every target with its result."""

from __future__ import annotations

from statistics import median
from typing import Final

from bench.results import Curve, Facts, Measure, Verdict, exponents

_NAMES: Final = 28  # the width of the column of names, at the least


def facts_text(facts: Facts) -> str:
    """Versions, who is missing, Python and the machine."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    lines = [versions, f"Python {facts.python}, {facts.system}, {facts.processor}, {facts.cores} cores, {facts.date}"]
    return "\n".join([*lines, *(f"missing: {name}: {reason}" for name, reason in facts.missing.items())])


def measure_text(measure: Measure) -> str:
    """The median of each subject, and the least and the most of its repeats."""
    lines = [f"{measure.title}, {measure.unit}"]
    width = max([_NAMES, *map(len, measure.figures), *map(len, measure.failed)])
    for name, figures in measure.figures.items():
        spread = f"({_short(min(figures))} to {_short(max(figures))})" if len(figures) > 1 else ""
        lines.append(f"    {name:{width}} {_short(median(figures)):>10}  {spread}")
    return "\n".join(lines + [f"    {name:{width}}  failed: {reason}" for name, reason in measure.failed.items()])


def curve_text(curve: Curve) -> str:
    """What one token or message costs each subject at the sizes of a curve."""
    sizes = sorted({size for points in curve.points.values() for size, _ in points})
    shown = [size for size in sizes if str(size)[0] == "1"]
    lines = [f"growth: {curve.title}, µs for one of so many {curve.unit}", " " * 30]
    lines[-1] += "".join(f"{size:>11,}" for size in shown) + "   exponent at the end"
    for name, points in curve.points.items():
        costs = {size: _short(seconds * 1e6 / size) for size, seconds in points}
        row = "".join(f"{costs.get(size, '-'):>11}" for size in shown)
        lines.append(f"    {name:26}{row}" + "".join(f"   {slope:.2f}" for slope in exponents(points)[:1]))
    return "\n".join(lines + [f"    {name} stops: {reason}" for name, reason in curve.stopped.items()])


def verdicts_text(verdicts: list[Verdict]) -> str:
    """Every target on one line, in columns."""
    rows = [("target", "ours", "theirs", "unit", "ratio", "lowest to highest", "target", "")]
    for found in verdicts:
        growth = found.unit == "exponent"
        rows.append(
            (
                found.title,
                "" if found.ours is None else _short(found.ours),
                "" if found.theirs is None else _short(found.theirs),
                "exponent" if growth else found.cost_unit,
                judged_text(found),
                f"{_short(found.low)} to {_short(found.high)}",
                bound_text(found),
                "met" if found.met else "NOT MET",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column in (0, 3, 7) else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def judged_text(verdict: Verdict) -> str:
    """The figure that is judged, with its unit, such as `143×`, `520 MB/s` or `35.1 ns a token`."""
    return _short(verdict.ratio) + _unit(verdict)


def bound_text(verdict: Verdict) -> str:
    """What the figure may not exceed, or not be below, with its unit."""
    if verdict.least is not None:
        return f"≥ {verdict.least:g}{_unit(verdict)}"
    return f"≤ {verdict.most:g}{_unit(verdict)}"


def _unit(verdict: Verdict) -> str:
    match verdict.unit:
        case "exponent":
            return ""
        case "×":
            return "×"
        case unit:
            return f" {unit}"


def _short(figure: float) -> str:
    """The number with three digits, or with all digits before the point."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}" if figure >= 0.095 else f"{figure:.2g}"
