"""Writes `automaton.md`, the picture of the automaton, from the tables in `harmony/format/machine.py`:

python docs/automaton.py > docs/automaton.md
"""

from __future__ import annotations

from collections.abc import Iterator

from harmony.format.machine import LENIENT, REPAIRS, STRICT, Action, Kind, State, Table

_BEGIN = """\
# The automaton

Which token may stand where. `harmony/format/machine.py` has the tables, and explains them from the beginning; this page
is made from them by `python docs/automaton.py > docs/automaton.md`.

## Strict parsing

An arrow is a move: the kind of the token, and in brackets what is done. What has no arrow is an error.
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


def _picture(table: Table) -> Iterator[str]:
    yield "\n```mermaid\nstateDiagram-v2\n    direction LR\n"
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, kind), (action, after) in table.items():
        done = "" if action is Action.SKIP else f" ({_said(action)})"
        arrows.setdefault((state, after), []).append(f"{kind.name}{done}")
    if (State.EXPECT_START, Kind.START) in table:
        yield "    [*] --> EXPECT_START: a whole conversation\n    [*] --> HEADER: a completion\n"
    for (state, after), labels in arrows.items():
        yield f"    {state.name} --> {after.name}: {', '.join(labels)}\n"
    yield "```\n"


def _said(action: Action) -> str:
    return action.name.lower().replace("_", " ")


def page() -> str:
    """The page, in Markdown with two diagrams of Mermaid."""
    added = {pair: move for pair, move in LENIENT.items() if pair not in STRICT}
    rows = [
        f"| {state.name} | {kind.name} | {f'`{repair.code}`' if repair.code else ''} "
        f"| {', '.join(map(_said, repair.actions)) or 'nothing'} | {repair.after.name} |\n"
        for (state, kind), repair in sorted(REPAIRS.items())
    ]
    return "".join([_BEGIN, *_picture(STRICT), _LENIENT, *_picture(added), _REPAIRS, *rows])


if __name__ == "__main__":
    print(page(), end="")
