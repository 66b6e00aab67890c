"""Draws the summary of a log as one picture: what became of conversations, messages, tokens, repairs, errors, and more.

A panel that would be empty is left out. It draws the channels that the format knows, and the five others with the most
messages. A channel has the same colour everywhere. It draws the fifteen most frequent names of tools, repairs and
errors, and the values of a field with the most conversations, largest first. Names are whole: invisible characters are
written out, and a long name takes several lines. This module counts nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

from harmony.errors import printable
from harmony.runtime.extras import how_to_install
from harmony.stats.counts import Summary
from harmony.stats.groups import Grouped
from harmony.stats.tables import NO_CHANNEL, contents_of, kinds_of
from harmony.stats.tallies import OTHERS

try:
    import altair as alt
    import vl_convert  # noqa: F401  altair needs it to save pictures
except ImportError as _error:
    raise ImportError(
        f"a picture needs altair and vl-convert-python: {how_to_install('plot', 'altair', 'vl-convert-python')}"
    ) from _error

_Panel: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
_Mark: TypeAlias = dict[str, Any]  # the data of one bar or point

_NAMED: Final = 15  # bars for names of a kind
_GROUPS: Final = 12
_ROLES: Final = 6
_WIDTH: Final = 360  # of a panel in pixels, without the names beside it
_NAMES: Final = 200  # pixels for the names
_LETTERS: Final = 29  # of a name in one line
_LETTER: Final = 6.6  # pixels of an average letter
_LINE: Final = 14  # pixels from line to line in a name
_SPACE: Final = 40  # between panels
_STEP: Final = 24  # pixels from bar to bar
_ROOM: Final = 1.4  # leaves room for the number behind the longest bar
_SCALE: Final = 2  # pixels of a PNG for one pixel of the picture
_FEW: Final = 4  # bins, or numbers on an axis
_LEAST: Final = 0.5  # the place of 0 on a logarithmic axis
_SHORT_NUMBER: Final = "datum.value < 1 ? '0' : format(datum.value, '~s')"  # such as 2k or 5M
# The colours of Okabe and Ito, which colour-blind people can distinguish, and greys.
_COLOURS: Final = {"final": "#009E73", "analysis": "#56B4E9", "commentary": "#E69F00", NO_CHANNEL: "#999999"}
_OTHER_COLOURS: Final = ("#CC79A7", "#D55E00", "#F0E442", "#0072B2", "#000000")
_REST_COLOUR: Final = "#D5D5D5"
_PLAIN_COLOUR: Final = "#4F5D75"  # for everything that is not a channel
_KIND_COLOURS: Final = {
    "complete": _PLAIN_COLOUR,
    "no stop": "#E69F00",
    "cut inside a header": "#CC79A7",
    "cut off": "#F0E442",
    "bad": "#D55E00",
}


def save(summary: Summary, path: str | PathLike[str], grouped: Grouped | None = None) -> None:
    """Draws a summary to a file: `.png`, `.svg` or `.html`. The page needs no network.

    If the log was counted by the values of a field, `grouped` has these counts, which are drawn beside each other.

    Raises ValueError for any other suffix, and OSError if the file cannot be written.
    """
    check(path)
    suffix = Path(path).suffix.lower()
    picture = _picture(summary, grouped)
    if suffix == ".html":
        page = picture.to_html(inline=True, embed_options={"actions": False}, json_kwds={"cls": _InScript})
        Path(path).write_text(page, "utf-8")
    elif suffix == ".svg":
        picture.save(str(path), format="svg")
    else:
        picture.save(str(path), format="png", scale_factor=_SCALE)


class _InScript(json.JSONEncoder):
    """Writes JSON for a script in a page. It escapes `<`, so no name can end the script."""

    def encode(self, value: Any) -> str:
        return super().encode(value).replace("<", r"\u003c")


def check(path: str | PathLike[str]) -> None:
    """Raises ValueError if the suffix is not that of a picture. Call it before the work begins."""
    if Path(path).suffix.lower() not in (".png", ".svg", ".html"):
        raise ValueError(f"expected a picture's name to end in .png, .svg or .html, found {printable(str(path))}")


def _picture(summary: Summary, grouped: Grouped | None) -> alt.VConcatChart:
    colours = _channel_colours(summary)
    messages = sum(channel.messages for channel in summary.channels)
    title = f"{_counted(summary.conversations, 'conversation')}, {_counted(messages, 'message')}"
    narrow = [
        _kinds(summary),
        _messages(summary, colours),
        _tokens(summary, colours),
        _named("Repairs", "by code", "conversations", summary.repairs),
        _named("Errors", "by code", "conversations", summary.errors),
        _tools(summary),
        *([] if grouped is None else _groups(grouped)),
    ]
    lengths = _lengths(summary) or _chart([{"text": "no conversations"}]).mark_text(fontSize=14).encode(text="text:N")
    picture: alt.VConcatChart = (
        alt.vconcat(
            *_rows([panel for panel in narrow if panel is not None]),
            lengths,
            spacing=30,
            title=alt.TitleParams(title, fontSize=20, anchor="start", offset=16),
            padding=20,
            background="white",
        )
        .resolve_scale(color="independent")
        .configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=12, subtitleColor="#555555", offset=10)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#E8E8E8")
        .configure_axisY(domain=False, ticks=False)
        .configure_legend(labelFontSize=12, symbolType="square")
    )
    return picture


def _rows(panels: list[_Panel]) -> Iterator[_Panel | alt.HConcatChart]:
    """The panels in their order, two beside each other."""
    for place in range(0, len(panels), 2):
        left, *right = panels[place : place + 2]
        yield _side_by_side(left, right[0]) if right else left


def _channel_colours(summary: Summary) -> dict[str, str]:
    """The channels that are drawn separately, and OTHERS if there are more, in the order of the legend."""
    messages = Counter[str]()
    for channel in summary.channels:
        messages[_label(channel.channel)] += channel.messages
    colours = {name: colour for name, colour in _COLOURS.items() if name in messages}
    others = [name for name, _ in messages.most_common() if name not in colours and name != OTHERS]
    colours |= dict(zip(others, _OTHER_COLOURS, strict=False))
    return colours if len(colours) == len(messages) else colours | {OTHERS: _REST_COLOUR}


def _kinds(summary: Summary) -> _Panel | None:
    whole = summary.conversations
    rows: list[_Mark] = []
    if not whole:
        return None
    for kind, count in kinds_of(summary).items():
        text = f"{count:,} ({count / whole:.1%})"
        rows.append({"name": kind, "value": count / whole, "text": text, "colour": _PLAIN_COLOUR})
    title = alt.TitleParams("What became of conversations", subtitle="repaired ones are complete or cut off, too")
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
    return _bars(title, "share of all conversations", rows, largest=1, axis=axis)


def _messages(summary: Summary, colours: dict[str, str]) -> _Panel | None:
    roles = Counter[str]()
    for channel in summary.channels:
        for role, count in channel.roles.items():
            roles[printable(role)] += count
    title = alt.TitleParams("Messages", subtitle="by role and channel")
    if not roles:
        return None
    frequent = {role: role for role, _ in roles.most_common(_ROLES) if role != OTHERS}
    counts = Counter[tuple[str, str]]()
    ends = Counter[str](dict.fromkeys(frequent, 0))
    for channel in summary.channels:
        for role, count in channel.roles.items():
            shown = frequent.get(printable(role), OTHERS)
            counts[shown, _drawn(channel.channel, colours)] += count
            ends[shown] += count
    places = {channel: place for place, channel in enumerate(colours)}
    rows = [
        {"name": role, "channel": channel, "value": count, "place": places[channel]}
        for (role, channel), count in counts.items()
    ]
    texts = [{"name": role, "value": count, "text": f"{count:,}"} for role, count in ends.items()]
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    colour = alt.Color("channel:N", scale=scale, legend=_legend(list(colours)))
    bars = _chart(rows).mark_bar().encode(color=colour, order="place:Q")
    return _with_texts(title, bars, texts, _x("messages", max(ends.values())))


def _tokens(summary: Summary, colours: dict[str, str]) -> _Panel | None:
    contents = contents_of(summary)
    if not contents:
        return None
    total = sum(lengths.total for lengths in contents.values())
    title = alt.TitleParams("Content tokens", subtitle=f"of the assistant by channel, and of others; {total:,} in all")
    channels = {_label(channel.channel) for channel in summary.channels}
    counts = Counter[str]()
    for name, lengths in contents.items():
        label = printable(name)
        counts[label if label in colours or label not in channels else OTHERS] += lengths.total
    rows = [
        {"name": name, "value": count, "text": f"{count:,}", "colour": colours.get(name, _PLAIN_COLOUR)}
        for name, count in counts.most_common()
    ]
    return _bars(title, "tokens", rows)


def _tools(summary: Summary) -> _Panel | None:
    calls = summary.tool_calls
    return _named("Tool calls", f"by recipient, {calls.calls:,} in all", "calls", calls.names)


def _named(heading: str, subtitle: str, unit: str, named: dict[str, int]) -> _Panel | None:
    """The most frequent names, largest first."""
    if not named:
        return None
    counts = Counter[str]()
    for name, count in named.items():
        counts[printable(name)] += count
    drawn = counts.most_common(_NAMED)
    more = f"; the {len(drawn)} most frequent of {len(counts):,} names" if len(drawn) < len(counts) else ""
    rows = [{"name": name, "value": count, "text": f"{count:,}", "colour": _PLAIN_COLOUR} for name, count in drawn]
    return _bars(alt.TitleParams(heading, subtitle=subtitle + more), unit, rows)


def _groups(grouped: Grouped) -> Iterator[_Panel]:
    """The values of a field beside each other: what became of their conversations, and how long these are."""
    drawn = grouped.groups[:_GROUPS]
    by = printable(grouped.by)
    more = f"; the {len(drawn)} largest of {len(grouped.groups)} values" if len(drawn) < len(grouped.groups) else ""
    names = {printable(group.label): group.counts for group in drawn}
    parts = {
        kind: colour
        for kind, colour in _KIND_COLOURS.items()
        if any(kinds_of(each).get(kind) for each in names.values())
    }
    rows: list[_Mark] = []
    for name, counts in names.items():
        kinds = kinds_of(counts)
        rows += [
            {"name": name, "kind": kind, "place": place, "value": kinds.get(kind, 0) / counts.conversations}
            for place, kind in enumerate(parts)
        ]
    ends = [
        {
            "name": name,
            "value": 1,
            "text": f"{counts.conversations:,} ({counts.complete / counts.conversations:.1%})",
        }
        for name, counts in names.items()
    ]
    scale = alt.Scale(domain=list(parts), range=list(parts.values()))
    colour = alt.Color("kind:N", scale=scale, legend=_legend(list(parts)))
    bars = _chart(rows).mark_bar().encode(color=colour, order="place:Q")
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
    title = alt.TitleParams(
        f"What became of conversations, by {by}",
        subtitle=f"behind each bar: how many there are, and how many are complete{more}",
    )
    yield _with_texts(title, bars, ends, _x("share of the conversations", 1, axis))
    medians = {name: counts.conversation_tokens.median for name, counts in names.items()}
    lengths = [
        {"name": name, "value": median, "text": f"{median:,}", "colour": _PLAIN_COLOUR}
        for name, median in sorted(medians.items(), key=lambda item: -(item[1] or 0))
        if median is not None
    ]
    if lengths:
        yield _bars(alt.TitleParams(f"Lengths of conversations, by {by}", subtitle="medians"), "tokens", lengths)


def _legend(names: list[str]) -> alt.Legend:
    """A legend below a panel, in which no name is cut."""
    longest = max(map(len, names))
    columns = max(1, int(_WIDTH / (_LETTER * longest + 30)))
    return alt.Legend(title=None, orient="bottom", columns=columns, labelLimit=0)


def _lengths(summary: Summary) -> _Panel | None:
    unit, found = "tokens", summary.conversation_tokens
    if not found.count:
        unit, found = "messages", summary.conversation_messages
    if not found.count:
        return None
    facts = f"median {found.median:,}, 90 % up to {found.percentile_90:,}, 99 % up to {found.percentile_99:,}"
    facts = f"numbers of conversations by their length in {unit}: {facts}, longest {found.longest:,}"
    # A logarithmic scale has no place for 0, so 0 is drawn at a half.
    least, end = max(found.bins[0].start, _LEAST), found.bins[-1].stop
    if len(found.bins) < _FEW:  # one bar would fill the panel
        least, end = max(least / 2, _LEAST), end * 2
    rows: list[_Mark] = [
        {
            "start": max(item.start, _LEAST),
            "stop": item.stop,
            "zero": 0,
            "count": item.count,
            "range": f"{item.start:,} to {item.stop - 1:,}",
        }
        for item in found.bins
    ]
    axis = alt.Axis(values=_ticks(least, end), labelExpr=_SHORT_NUMBER, grid=False)
    scale = alt.Scale(type="log", domain=[least, end], nice=False)
    bars: alt.Chart = (
        _chart(rows)
        .mark_rect(color=_PLAIN_COLOUR, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("start:Q", title=f"{unit}, on a logarithmic scale", axis=axis, scale=scale),
            x2="stop:Q",
            y=alt.Y("count:Q", title=None, axis=_number_axis(max(item.count for item in found.bins), names=_NAMES)),
            y2="zero:Q",
            tooltip=[alt.Tooltip("range:N", title=unit), alt.Tooltip("count:Q", title="conversations", format=",")],
        )
    )
    title = alt.TitleParams("Lengths of conversations", subtitle=facts)
    panel: _Panel = bars.properties(title=title, width=2 * _WIDTH + _NAMES + _SPACE, height=200)
    return panel


def _ticks(least: float, end: float) -> list[float]:
    """A few round numbers for a logarithmic axis, and the place of 0 if the axis has it."""
    steps = (1, 2, 5) if end / least < 10_000 else (1,)
    rounds = (step * 10**power for power in range(16) for step in steps)
    return [_LEAST] * (least < 1) + [tick for tick in rounds if least <= tick <= end]


def _bars(title: alt.TitleParams, unit: str, rows: list[_Mark], *, largest: float = 0, axis: Any = None) -> _Panel:
    """One bar for each entry, in order: with its `name`, `value` and `colour`, and the `text` behind it."""
    x = _x(unit, largest or max(row["value"] for row in rows), axis)
    bars = _chart(rows).mark_bar().encode(color=alt.Color("colour:N", scale=None))
    return _with_texts(title, bars, rows, x)


def _with_texts(title: alt.TitleParams, bars: alt.Chart, rows: list[_Mark], x: alt.X) -> _Panel:
    """Bars in the order of the entries, the name of each entry before its bar, and its text behind it."""
    axis = alt.Axis(labels=False, minExtent=_NAMES, maxExtent=_NAMES)  # keeps the space of the names
    y = alt.Y("name:N", title=None, sort=[row["name"] for row in rows], axis=axis)
    texts = _chart(rows).mark_text(align="left", dx=5, fontSize=12, color="#333333").encode(x=x, y=y, text="text:N")
    names: dict[int, list[_Mark]] = {}
    for row in rows:
        lines = _lines(row["name"])
        names.setdefault(len(lines), []).append({"name": row["name"], "lines": lines})
    labels = [
        _chart(some)
        .mark_text(align="right", dx=-5, dy=-_LINE * (count - 1) / 2, lineHeight=_LINE, fontSize=12)
        .encode(x=alt.value(0), y=y, text="lines:N")
        for count, some in names.items()
    ]
    layers: _Panel = alt.layer(bars.encode(x=x, y=y), texts, *labels)
    step = max(_STEP, _LINE * max(names) + 8)
    panel: _Panel = layers.properties(title=title, width=_WIDTH, height=alt.Step(step))
    return panel


def _lines(name: str) -> list[str]:
    """A name in lines, cut behind a separator where there is one."""
    lines = []
    while len(name) > _LETTERS:
        found = [place for place in range(_LETTERS // 2, _LETTERS) if name[place] in "._-/: "]
        end = found[-1] + 1 if found else _LETTERS
        lines.append(name[:end])
        name = name[end:]
    return [*lines, name]


def _side_by_side(left: _Panel, right: _Panel) -> alt.HConcatChart:
    row: alt.HConcatChart = alt.hconcat(left, right, spacing=_SPACE).resolve_scale(color="independent")
    return row


def _x(unit: str, largest: float, axis: Any = None) -> alt.X:
    scale = alt.Scale(domain=[0, _ROOM * largest or 1], nice=False)
    return alt.X("value:Q", title=unit, axis=axis or _number_axis(largest), scale=scale)


def _number_axis(largest: float, *, names: int | None = None) -> alt.Axis:
    """An axis of whole numbers up to about the largest one. `names` is the room for its labels, if it is given."""
    room = alt.Undefined if names is None else names
    if largest <= _FEW:
        return alt.Axis(values=list(range(int(largest) + 1)), format="d", minExtent=room, maxExtent=room)
    return alt.Axis(labelExpr=_SHORT_NUMBER, tickCount=5, tickMinStep=1, minExtent=room, maxExtent=room)


def _chart(rows: list[_Mark]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def _label(channel: str | None) -> str:
    return NO_CHANNEL if channel is None else printable(channel)


def _drawn(channel: str | None, colours: dict[str, str]) -> str:
    label = _label(channel)
    return label if label in colours else OTHERS


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s'[: count != 1]}"
