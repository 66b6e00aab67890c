"""`python -m bench.tables RESULT.json docs/benchmarks.md`: writes the table of targets from what one run has written.

The part between the two comments that name this module is replaced. Measures nothing.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Final

import msgspec

from bench.results import Facts, Result, Verdict
from bench.subjects import PEER

_BEGIN: Final = "<!-- python -m bench.tables bench/results.json docs/benchmarks.md: begin -->\n"
_NOTHING: Final = "\N{EN DASH}"
_END: Final = "<!-- python -m bench.tables: end -->\n"


def main(source: str, target: str) -> None:
    result = msgspec.json.decode(Path(source).read_bytes(), type=Result)
    page = Path(target).read_text(encoding="utf-8")
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"expected the lines `{_BEGIN.strip()}` and `{_END.strip()}` in {target}")
    Path(target).write_text(before + begin + "\n" + "\n\n".join(parts(result)) + "\n\n" + end + after, encoding="utf-8")


def parts(result: Result) -> list[str]:
    """The pictures, paragraphs and the table of one run."""
    verdicts = [found for found in result.verdicts if found.unit != "exponent"]
    found = ["![How many times less harmony takes, with the targets](ratios.svg)"]
    if sum(verdict.unit != "×" for verdict in verdicts) > 1:
        found.append("![Rates and costs of harmony, with the targets](limits.svg)")
    rows = ["| what | harmony | the other | figure | target |", "|---|---|---|---|---|", *map(_row, verdicts)]
    return [*found, textwrap.fill(_introduction(result.facts), 120, break_long_words=False), "\n".join(rows)]


def _introduction(facts: Facts) -> str:
    return (
        f"These are medians of one run of `python -m bench` on {facts.cores} cores with Python {facts.python}, from "
        f"`bench/results.json`. The other library is {PEER} {facts.versions[PEER]} unless a row names something else, "
        "and the runs of both are interleaved. On another machine, expect other times but similar ratios."
    )


def _row(found: Verdict) -> str:
    theirs = _NOTHING if found.theirs is None else _short(found.theirs)
    least = f"{found.least:g}{_unit(found)}" if found.least is not None else f"at most {found.most:g}{_unit(found)}"
    target = least if found.met else f"{least}, not met"
    ours = f"{_short(found.ours or 0)} {found.cost_unit}"
    figure = ours if found.theirs is None and found.most is not None else f"{_rounded(found.ratio)}{_unit(found)}"
    title = found.title.replace("|", r"\|")
    return f"| {title} | {ours} | {theirs} | {figure} | {target} |"


def _unit(found: Verdict) -> str:
    return "×" if found.unit == "×" else f" {found.unit}"


def _short(figure: float) -> str:
    """Three digits, or all digits before the point."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _rounded(figure: float) -> str:
    """Two digits, or all digits before the point."""
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.1f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
