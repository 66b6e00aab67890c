"""`python -m bench.plots RESULT.json`: draws docs/ratios.svg, limits.svg and growth.svg from what one run has written.

Decides what is drawn: every target that is a ratio, beside what it asks for; every other target, beside its limit;
every curve, one panel each, both scales logarithmic. Measures nothing. With a folder behind the file, the pictures go
there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, TypeAlias

import altair as alt
import msgspec

from bench.report import bound_text, judged_text
from bench.results import Curve, Facts, Result, Verdict, part_of_bound
from bench.subjects import FORK, OURS, PEER, PYTHON

_Row: TypeAlias = dict[str, Any]
_Picture: TypeAlias = alt.LayerChart | alt.FacetChart | alt.ConcatChart

_DOCS: Final = Path(__file__).parent.parent / "docs"
# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS: Final = {OURS: "#0072B2", PYTHON: "#56B4E9", PEER: "#D55E00", FORK: "#E69F00"}
_SHAPES: Final = {OURS: "circle", PYTHON: "square", PEER: "triangle-up", FORK: "diamond"}
_MET: Final = "#0072B2"
_UNMET: Final = "#999999"
_TARGET: Final = "#D55E00"
_TEXT: Final = "#333333"
_WIDTH: Final = 520  # of the bars, in pixels
_NAMES: Final = 260  # of the names beside them
_LONG_NAMES: Final = 400  # of those that name an input too
_STEP: Final = 27  # from bar to bar
_PANEL: Final = 250  # of a curve's panel, both ways
_NUMBERS: Final = 56  # of the numbers beside it
_PANELS: Final = 3  # beside each other
_LEAST: Final = 1.0  # where bars begin: no gain
_SECONDS: Final = (
    "datum.value >= 1 ? format(datum.value, '~r') + ' s' : "
    "datum.value >= 0.001 ? format(datum.value * 1e3, '~r') + ' ms' : format(datum.value * 1e6, '~r') + ' µs'"
)
_SHORT_NUMBER: Final = "format(datum.value, '~s')"


def main(source: str, folder: str = str(_DOCS)) -> None:
    result = msgspec.json.decode(Path(source).read_bytes(), type=Result)
    for name, picture in (("ratios", ratios(result)), ("limits", limits(result)), ("growth", growth(result))):
        picture.save(str(Path(folder) / f"{name}.svg"), format="svg")


def ratios(result: Result) -> _Picture:
    """A bar for each ratio, from 1, its spread over it, and a mark where the target is."""
    rows: list[_Row] = [
        {
            "name": found.title,
            "start": _LEAST,
            "value": max(found.ratio, _LEAST),
            "low": max(found.low, _LEAST),
            "high": max(found.high, _LEAST),
            "mark": found.least,
            "text": f"{found.ratio:,.0f}×" if found.ratio >= 20 else f"{found.ratio:.1f}×",
            "colour": _MET if found.met else _UNMET,
        }
        for found in result.verdicts
        if found.unit == "×"
    ]
    most = max((max(row["high"], row["mark"]) for row in rows), default=10) * 1.6
    axis = alt.Axis(values=_ticks(_LEAST, most), labelExpr="format(datum.value, ',') + '×'")
    x = alt.X("value:Q", title="times less time or memory, on a logarithmic scale", axis=axis)
    subtitle = "bar: medians, grey where the target is not met; black: lowest to highest repeat; orange: the target"
    title = alt.TitleParams("harmony against what it is compared with", subtitle=[subtitle, _facts(result.facts)])
    return _styled(_bars(rows, x, _logarithmic(_LEAST, most), _NAMES).properties(title=title))


def limits(result: Result) -> _Picture:
    """A bar for each other target, from the target: to the left where the figure is better than it."""
    rows = [_limit(found) for found in result.verdicts if found.unit not in ("×", "exponent")]
    least = min([0.3, *(min(row["value"], row["low"]) for row in rows)]) / 1.6
    most = max([3.0, *(max(row["value"], row["high"]) for row in rows)]) * 1.6
    label = "datum.value < 1 ? '1/' + format(1 / datum.value, ',.0f') : format(datum.value, ',') + '×'"
    axis = alt.Axis(values=_ticks(least, most), labelExpr=label)
    x = alt.X("value:Q", title="the cost against what the target allows, on a logarithmic scale", axis=axis)
    subtitle = "bar: medians, grey and to the right where the target is not met; black: lowest to highest repeat"
    title = alt.TitleParams("harmony against limits of its own", subtitle=[subtitle, _facts(result.facts)])
    return _styled(_bars(rows, x, _logarithmic(least, most), _LONG_NAMES).properties(title=title))


def _limit(found: Verdict) -> _Row:
    low, high = sorted(part_of_bound(found, figure) for figure in (found.low, found.high))
    return {
        "name": found.title.replace("`", ""),
        "start": 1.0,
        "value": part_of_bound(found, found.ratio),
        "low": low,
        "high": high,
        "mark": 1.0,
        "text": f"{judged_text(found)}; target {bound_text(found)}",
        "colour": _MET if found.met else _UNMET,
    }


def _bars(rows: list[_Row], x: alt.X, scale: alt.Scale, names: int) -> _Picture:
    """A bar from `start` to `value`, a line from `low` to `high`, a tick at `mark`, and the text behind all of them."""
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("name:N", title=None, sort=[row["name"] for row in rows], axis=alt.Axis(labelLimit=names))
    )
    bars = base.mark_bar(height=15).encode(x=x.scale(scale), x2="start:Q", color=alt.Color("colour:N", scale=None))
    spread = base.mark_rule(strokeWidth=1.5, color="#111111").encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    marks = base.mark_tick(color=_TARGET, thickness=3, size=23, opacity=1).encode(x=alt.X("mark:Q", scale=scale))
    end = alt.expr.max(alt.datum.high, alt.datum.mark)
    texts = (
        base.transform_calculate(end=end)
        .mark_text(align="left", dx=7, fontSize=12, color=_TEXT)
        .encode(x=alt.X("end:Q", scale=scale), text="text:N")
    )
    picture: _Picture = alt.layer(bars, spread, marks, texts).properties(width=_WIDTH, height=alt.Step(_STEP))
    return picture


def _ticks(first: float, last: float) -> list[float]:
    """Two ticks a decade, such as 1, 3 and 10; below 1 the inverse of these."""
    whole = [factor * 10**power for power in range(6) for factor in (1, 3)]
    return [tick for tick in (*whole, *(1 / tick for tick in whole[1:])) if first <= tick <= last]


def growth(result: Result) -> _Picture:
    """Seconds of one run against size; dotted lines are linear, so that what is steeper can be seen."""
    subjects = [name for name in _COLOURS if any(curve.points.get(name) for curve in result.curves)]
    panels = [_panel(curve, subjects) for curve in result.curves]
    subtitle = [
        "seconds of one run, both scales logarithmic; dotted lines are linear",
        "a line ends where one run would take more than a few seconds",
        _facts(result.facts),
    ]
    picture = alt.concat(*panels, columns=_PANELS, spacing=35).properties(
        title=alt.TitleParams("How cost grows", subtitle=subtitle)
    )
    return _styled(picture)


def _panel(curve: Curve, subjects: list[str]) -> _Picture:
    rows: list[_Row] = [
        {"subject": name, "size": size, "seconds": seconds}
        for name, points in curve.points.items()
        for size, seconds in points
    ]
    sizes = [row["size"] for row in rows] or [1, 10]
    costs = [row["seconds"] for row in rows] or [1, 10]
    least, most = min(costs) / 2, max(costs) * 2
    x_axis = alt.Axis(values=_decades(min(sizes), max(sizes)), labelExpr=_SHORT_NUMBER)
    y_axis = alt.Axis(values=_decades(least, most), labelExpr=_SECONDS, labelPadding=6, minExtent=_NUMBERS)
    x = alt.X("size:Q", title=curve.unit, scale=_logarithmic(min(sizes), max(sizes)), axis=x_axis)
    y = alt.Y("seconds:Q", title=None, scale=_logarithmic(least, most), axis=y_axis)
    legend = alt.Legend(title=None, orient="top")
    colours = alt.Scale(domain=subjects, range=[_COLOURS[name] for name in subjects])
    shapes = alt.Scale(domain=subjects, range=[_SHAPES[name] for name in subjects])
    colour = alt.Color("subject:N", scale=colours, legend=legend)
    shape = alt.Shape("subject:N", scale=shapes, legend=legend)
    data = alt.Chart(alt.InlineData(values=rows)).encode(x=x, y=y, color=colour)
    guides = (
        alt.Chart(alt.InlineData(values=_guides(min(sizes), max(sizes), least, most)))
        .mark_line(color="#BBBBBB", strokeDash=[2, 3], strokeWidth=1, clip=True)
        .encode(x=x, y=y, detail="line:N")
    )
    points = data.mark_point(filled=True, size=40, opacity=1).encode(shape=shape)
    panel: _Picture = alt.layer(guides, data.mark_line(strokeWidth=2), points).properties(
        title=curve.title, width=_PANEL, height=_PANEL
    )
    return panel


def _logarithmic(first: float, last: float) -> alt.Scale:
    return alt.Scale(type="log", domain=[first, last], nice=False)


def _guides(first: float, last: float, least: float, most: float) -> list[_Row]:
    """The ends of linear lines, two decades apart, that cross the panel."""
    lines = []
    seconds = 10.0**-12
    while seconds < most:
        if seconds * last / first > least:
            lines += [
                {"line": seconds, "size": first, "seconds": seconds},
                {"line": seconds, "size": last, "seconds": seconds * last / first},
            ]
        seconds *= 100
    return lines


def _decades(least: float, most: float) -> list[float]:
    return [10.0**power for power in range(-9, 10) if least * 0.999 <= 10.0**power <= most * 1.001]


def _facts(facts: Facts) -> str:
    versions = ", ".join(f"{name} {facts.versions[name]}" for name in (OURS, PEER, FORK) if name in facts.versions)
    quick = ", a quick run" if facts.quick else ""
    return f"{versions}; Python {facts.python}, {facts.processor}, {facts.cores} cores, {facts.date}{quick}"


def _styled(picture: _Picture) -> _Picture:
    styled: _Picture = (
        picture.properties(padding=20, background="white")
        .configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=12, subtitleColor="#555555", offset=12)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#E8E8E8")
        .configure_axisY(domain=False, ticks=False)
        .configure_legend(labelFontSize=13)
    )
    return styled


if __name__ == "__main__":
    main(*sys.argv[1:])
