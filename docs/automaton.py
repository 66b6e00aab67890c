"""Writes `automaton.md` and its picture, `automaton.svg`, from the tables in `harmony/format/machine.py`:

python docs/automaton.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harmony.format.machine import LENIENT, REPAIRS, STRICT, Action, State, Table

_BEGIN = """\
# The automaton

Which token may stand where. `harmony/format/machine.py` has the tables, and explains them from the beginning; this page
is made from them by `python docs/automaton.py`.

## Strict parsing

An arrow is a move, with the kinds of tokens that make it. The kinds inside a box do not change the
state. Any other token is an error.

![The states of strict parsing, with arrows from state to state](automaton.svg)

A conversation begins in EXPECT_START, and a completion in HEADER. This is what each move does:
"""

_LENIENT = """
## What lenient parsing adds

It has these moves too, and says nothing about them. They begin in the three states that strict parsing does not have.
"""

_REPAIRS = """
## Repairs

Lenient parsing makes one of these moves where the tables above have none. The code is that of the diagnostic; where it
is empty, the actions decide what is said.

| in the state | a token of the kind | code | what is done | next state |
|---|---|---|---|---|
"""


def _moves(table: Table) -> Iterator[str]:
    yield "\n| in the state | a token of the kind | what is done | next state |\n|---|---|---|---|\n"
    for (state, kind), (action, after) in table.items():
        yield f"| {state.name} | {kind.name} | {_said(action)} | {after.name} |\n"


def _said(action: Action) -> str:
    return "nothing" if action is Action.SKIP else action.name.lower().replace("_", " ")


def page() -> str:
    """The page, in Markdown."""
    added = {pair: move for pair, move in LENIENT.items() if pair not in STRICT}
    rows = [
        f"| {state.name} | {kind.name} | {f'`{repair.code}`' if repair.code else ''} "
        f"| {', '.join(map(_said, repair.actions)) or 'nothing'} | {repair.after.name} |\n"
        for (state, kind), repair in sorted(REPAIRS.items())
    ]
    return "".join([_BEGIN, *_moves(STRICT), _LENIENT, *_moves(added), _REPAIRS, *rows])


_STATES: Final = (State.EXPECT_START, State.HEADER, State.CHANNEL, State.CONSTRAIN, State.CONTENT)
_WIDTH, _HEIGHT, _APART, _TOP = 140, 46, 225, 150  # of the boxes, in pixels
_SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 30 {width} 250" font-family="sans-serif" font-size="12">
<style>
  rect, path {{ fill: none; stroke: #555; stroke-width: 1.2 }}
  text {{ fill: #222; text-anchor: middle }}
  .kinds {{ fill: #0b5cad }}
  @media (prefers-color-scheme: dark) {{
    rect, path {{ stroke: #aaa }}
    text {{ fill: #ddd }}
    .kinds {{ fill: #7ab8ff }}
  }}
</style>
<marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,0 L8,4 L0,8"/></marker>
{parts}
</svg>
"""


def picture() -> str:
    """The states of strict parsing in a row. Moves to the right are above it, those to the left are below."""
    arrows: dict[tuple[int, int], list[str]] = {}
    for (state, kind), (_, after) in STRICT.items():
        arrows.setdefault((_STATES.index(state), _STATES.index(after)), []).append(kind.name)
    middles = [_WIDTH // 2 + 5 + _APART * place for place in range(len(_STATES))]
    parts = []
    for middle, state in zip(middles, _STATES, strict=True):
        parts.append(f'<rect x="{middle - _WIDTH // 2}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>')
        parts.append(f'<text x="{middle}" y="{_TOP + 19}">{state.name}</text>')
    for (begin, end), kinds in arrows.items():
        parts += _arrow(middles[begin], middles[end], end - begin, ", ".join(kinds))
    return _SVG.format(width=middles[-1] + middles[0], parts="\n".join(parts))


def _arrow(begin: int, end: int, steps: int, kinds: str) -> Iterator[str]:
    middle = (begin + end) // 2
    if steps == 0:
        x, y = middle, _TOP + 36
    elif steps == 1:
        x, y = middle, _TOP + 17
        yield f'<path d="M{begin + _WIDTH // 2},{_TOP + 23} H{end - _WIDTH // 2}" marker-end="url(#end)"/>'
    else:
        side, bend = (_TOP, -45 * steps) if steps > 0 else (_TOP + _HEIGHT, 24 * -steps)
        from_x, to_x = (begin + 12 * steps, end - 14) if steps > 0 else (begin - 40, end + 40)
        x, y = middle, side + int(bend * 0.75) - 6
        way = f"M{from_x},{side} C{from_x},{side + bend} {to_x},{side + bend} {to_x},{side}"
        yield f'<path d="{way}" marker-end="url(#end)"/>'
    yield f'<text class="kinds" x="{x}" y="{y}">{kinds}</text>'


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "automaton.md").write_text(page(), encoding="utf-8")
    (folder / "automaton.svg").write_text(picture(), encoding="utf-8")
