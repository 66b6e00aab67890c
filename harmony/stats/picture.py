"""Draws the summary of a log as one picture: results of conversations, messages, tokens, tool calls and lengths.

It draws the channels that the format knows, and the five others with the most messages. A channel has the same colour
everywhere. It draws the fifteen most frequent tools. Everything else is drawn together as "all others". Names are shown
on one line: invisible characters are written out, and a long name is shortened in its middle. This module counts
nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

from harmony.errors import printable
from harmony.stats.counts import Summary
from harmony.stats.tables import NO_CHANNEL, contents_of, kinds_of
from harmony.stats.tallies import OTHERS

try:
    import altair as alt
    import vl_convert  # noqa: F401  altair needs it to save pictures
except ImportError as error:
    raise ImportError("a picture needs altair and vl-convert-python: pip install 'harmony-codec[plot]'") from error

_Panel: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
_Mark: TypeAlias = dict[str, Any]  # the data of one bar or point

_TOOLS: Final = 15
_ROLES: Final = 6
_WIDTH: Final = 360  # of a panel in pixels, without the names beside it
_NAMES: Final = 200  # pixels for the names
_SPACE: Final = 40  # between panels
_STEP: Final = 24  # pixels from bar to bar
_ROOM: Final = 1.4  # leaves room for the number behind the longest bar
_SCALE: Final = 2  # pixels of a PNG for one pixel of the picture
_LEAST: Final = 0.5  # the place of 0 on a logarithmic axis
_SHORT_NUMBER: Final = "datum.value < 1 ? '0' : format(datum.value, '~s')"  # such as 2k or 5M
# The colours of Okabe and Ito, which colour-blind people can distinguish, and greys.
_COLOURS: Final = {"final": "#009E73", "analysis": "#56B4E9", "commentary": "#E69F00", NO_CHANNEL: "#999999"}
_OTHER_COLOURS: Final = ("#CC79A7", "#D55E00", "#F0E442", "#0072B2", "#000000")
_REST_COLOUR: Final = "#D5D5D5"
_PLAIN_COLOUR: Final = "#4F5D75"  # for everything that is not a channel


def save(summary: Summary, path: str | PathLike[str]) -> None:
    """Draws a summary to a file: `.png`, `.svg` or `.html`. The page needs no network.

    Raises ValueError for any other suffix, and OSError if the file cannot be written.
    """
    check(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".html":
        page = _picture(summary).to_html(inline=True, embed_options={"actions": False}, json_kwds={"cls": _InScript})
        Path(path).write_text(page, "utf-8")
    elif suffix == ".svg":
        _picture(summary).save(str(path), format="svg")
    else:
        _picture(summary).save(str(path), format="png", scale_factor=_SCALE)


class _InScript(json.JSONEncoder):
    """Writes JSON for a script in a page. It escapes `<`, so no name can end the script."""

    def encode(self, value: Any) -> str:
        return super().encode(value).replace("<", r"\u003c")


def check(path: str | PathLike[str]) -> None:
    """Raises ValueError if the suffix is not that of a picture. Call it before the work begins."""
    if Path(path).suffix.lower() not in (".png", ".svg", ".html"):
        raise ValueError(f"expected a picture's name to end in .png, .svg or .html, found {printable(str(path))}")


def _picture(summary: Summary) -> alt.VConcatChart:
    colours = _channel_colours(summary)
    messages = sum(channel.messages for channel in summary.channels)
    title = f"{_counted(summary.conversations, 'conversation')}, {_counted(messages, 'message')}"
    picture: alt.VConcatChart = (
        alt.vconcat(
            _side_by_side(_kinds(summary), _messages(summary, colours)),
            _side_by_side(_tokens(summary, colours), _tools(summary)),
            _lengths(summary),
            spacing=30,
            title=alt.TitleParams(title, fontSize=20, anchor="start", offset=16),
            padding=20,
            background="white",
        )
        .configure_view(stroke=None)
        .configure_title(anchor="start", fontSize=15, subtitleFontSize=12, subtitleColor="#555555", offset=10)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", gridColor="#E8E8E8")
        .configure_axisY(domain=False, ticks=False)
        .configure_legend(labelFontSize=12, symbolType="square")
    )
    return picture


def _channel_colours(summary: Summary) -> dict[str, str]:
    """The channels that are drawn separately, and OTHERS if there are more, in the order of the legend."""
    messages = Counter[str]()
    for channel in summary.channels:
        messages[_label(channel.channel)] += channel.messages
    colours = {name: colour for name, colour in _COLOURS.items() if name in messages}
    others = [name for name, _ in messages.most_common() if name not in colours and name != OTHERS]
    colours |= dict(zip(others, _OTHER_COLOURS, strict=False))
    return colours if len(colours) == len(messages) else colours | {OTHERS: _REST_COLOUR}


def _kinds(summary: Summary) -> _Panel:
    whole = summary.conversations
    rows = []
    for kind, count in kinds_of(summary).items():
        text = f"{count:,} ({count / whole:.1%})" if whole else "0"
        rows.append({"name": kind, "value": count / whole if whole else 0, "text": text, "colour": _PLAIN_COLOUR})
    title = alt.TitleParams("What became of conversations", subtitle="repaired ones are complete or cut off, too")
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
    return _bars(title, "share of all conversations", rows, largest=1, axis=axis)


def _messages(summary: Summary, colours: dict[str, str]) -> _Panel:
    roles = Counter[str]()
    for channel in summary.channels:
        for role, count in channel.roles.items():
            roles[printable(role)] += count
    title = alt.TitleParams("Messages", subtitle="by role and channel")
    if not roles:
        return _nothing(title, "no messages")
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
    legend = alt.Legend(title=None, orient="bottom", columns=4, labelExpr=_short_name(12), labelLimit=_WIDTH // 4)
    colour = alt.Color("channel:N", scale=scale, legend=legend)
    bars = _chart(rows).mark_bar().encode(color=colour, order="place:Q")
    return _with_texts(title, bars, texts, _x("messages", max(ends.values())))


def _tokens(summary: Summary, colours: dict[str, str]) -> _Panel:
    contents = contents_of(summary)
    total = sum(lengths.total for lengths in contents.values())
    title = alt.TitleParams("Content tokens", subtitle=f"of the assistant by channel, {total:,} in all")
    if not contents:
        return _nothing(title, "no numbers of tokens")
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


def _tools(summary: Summary) -> _Panel:
    calls = summary.tool_calls
    counts = Counter[str]()
    for name, count in calls.names.items():
        counts[printable(name)] += count
    drawn = counts.most_common(_TOOLS)
    more = f"; the {len(drawn)} most frequent of {len(counts):,} names" if len(drawn) < len(counts) else ""
    title = alt.TitleParams("Tool calls", subtitle=f"by recipient, {calls.calls:,} in all{more}")
    rows = [{"name": name, "value": count, "text": f"{count:,}", "colour": _PLAIN_COLOUR} for name, count in drawn]
    return _bars(title, "calls", rows) if rows else _nothing(title, "no tool calls")


def _lengths(summary: Summary) -> _Panel:
    unit, found = "tokens", summary.conversation_tokens
    if not found.count:
        unit, found = "messages", summary.conversation_messages
    if not found.count:
        return _nothing(alt.TitleParams("Lengths of conversations", subtitle="in tokens"), "no conversations")
    facts = f"median {found.median:,}, 90 % up to {found.percentile_90:,}, 99 % up to {found.percentile_99:,}"
    facts = f"in {unit}: {facts}, longest {found.longest:,}"
    # A logarithmic scale has no place for 0, so 0 is drawn at a half.
    least, end = max(found.bins[0].start, _LEAST), found.bins[-1].stop
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
            y=alt.Y("count:Q", title="conversations", axis=_number_axis()),
            y2="zero:Q",
            tooltip=[alt.Tooltip("range:N", title=unit), alt.Tooltip("count:Q", title="conversations", format=",")],
        )
    )
    title = alt.TitleParams("Lengths of conversations", subtitle=facts)
    panel: alt.Chart = bars.properties(title=title, width=2 * _WIDTH + _NAMES + _SPACE, height=200)
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
    """Bars in the order of the entries, and the text of each entry behind its bar."""
    axis = alt.Axis(labelLimit=_NAMES, labelExpr=_short_name(30), minExtent=_NAMES, maxExtent=_NAMES)
    y = alt.Y("name:N", title=None, sort=[row["name"] for row in rows], axis=axis)
    texts = _chart(rows).mark_text(align="left", dx=5, fontSize=12, color="#333333").encode(x=x, y=y, text="text:N")
    layers: _Panel = alt.layer(bars.encode(x=x, y=y), texts)
    panel: _Panel = layers.properties(title=title, width=_WIDTH, height=alt.Step(_STEP))
    return panel


def _nothing(title: alt.TitleParams, reason: str) -> _Panel:
    axis = alt.Axis(labels=False, minExtent=_NAMES, maxExtent=_NAMES)  # keeps the space of the names
    text = _chart([{"name": "", "text": reason}]).mark_text(align="left", fontSize=14, color="#777777")
    text = text.encode(x=alt.value(5), y=alt.Y("name:N", title=None, axis=axis), text="text:N")
    panel: alt.Chart = text.properties(title=title, width=_WIDTH, height=4 * _STEP)
    return panel


def _side_by_side(left: _Panel, right: _Panel) -> alt.HConcatChart:
    row: alt.HConcatChart = alt.hconcat(left, right, spacing=_SPACE).resolve_scale(color="independent")
    return row


def _x(unit: str, largest: float, axis: Any = None) -> alt.X:
    scale = alt.Scale(domain=[0, _ROOM * largest or 1], nice=False)
    return alt.X("value:Q", title=unit, axis=axis or _number_axis(), scale=scale)


def _number_axis() -> alt.Axis:
    return alt.Axis(labelExpr=_SHORT_NUMBER, tickCount=5, tickMinStep=1)


def _short_name(limit: int) -> str:
    """An expression that shortens a long name in its middle, because both ends say the most."""
    short = f"slice(datum.label, 0, {limit // 2}) + '…' + slice(datum.label, {1 - limit // 2})"
    return f"length(datum.label) > {limit} ? {short} : datum.label"


def _chart(rows: list[_Mark]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def _label(channel: str | None) -> str:
    return NO_CHANNEL if channel is None else printable(channel)


def _drawn(channel: str | None, colours: dict[str, str]) -> str:
    label = _label(channel)
    return label if label in colours else OTHERS


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s'[: count != 1]}"
