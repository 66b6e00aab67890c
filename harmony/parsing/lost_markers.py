"""Where the markers stand in a rendered text: written out, or, where a detokenizer left them out, supposed.

    analysisWe need the sky.assistantcommentary to=functions.sky json{"city": "Oslo"}

Such a text does not say where its markers were. A message is taken to begin where the text does, and at every
`assistant` that a known channel's name follows without a space, or a recipient; its header to be that channel, a
recipient and a known content type. So a message that speaks of `assistantfinal` is torn there; a first word `analysis`
is a channel even where it was none; a type glued to a function's name (`functions.skyjson{`) is cut off it, unless
`_`, `-` or a dot stands before it (`to_json{`); and whether the last message was ended is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from harmony.format import vocabulary
from harmony.parsing.header_repair import A_CHANNEL, A_SPACE, A_TYPE, IN_NAMES

_JSON: Final = rf"{A_SPACE}*+[{{\[]"
# A name ends before `json{`, unless what is left of it would end in a joint.
_NAME: Final = rf"(?:(?!(?<![_.-]){A_TYPE}{_JSON}){IN_NAMES})+"
_TO: Final = rf"{A_SPACE}*+to={A_SPACE}*+{_NAME}"
# ` to=functions.sky`, `commentary to=functions.sky json`, `final`, ` to=functions.sky commentary json`
_HEADER: Final = re.compile(
    rf"(?:(?P<first>{_TO})?{A_SPACE}*+(?P<channel>{A_CHANNEL})(?P<second>{_TO})?|(?P<only>{_TO}))"
    rf"(?:{A_SPACE}*+(?P<type>{A_TYPE})(?={_JSON}|\n))?"
)
_BEGINNING: Final = re.compile(rf"assistant(?={A_CHANNEL}|{A_SPACE}++to={IN_NAMES})")


def markers_in(text: str) -> Iterator[tuple[int, int, int]]:
    """Each marker of a text: where it starts, where it ends (characters), and its token id.

    Of a text that has none, they are those supposed, which have no length. The first message's `<|start|>` is not among
    them.
    """
    written = vocabulary.special_tokens_in(text)
    first = next(written, None)
    return _supposed(text) if first is None else chain([first], written)


def _supposed(text: str) -> Iterator[tuple[int, int, int]]:
    places = [(match.start(), match.end()) for match in _BEGINNING.finditer(text)]
    if not places or places[0][0] > 0:
        places.insert(0, (0, 0))
    ends = [start for start, _ in places[1:]] + [len(text)]
    for (start, header_start), end in zip(places, ends, strict=True):
        if start > 0:
            yield start, start, vocabulary.START
        header = _HEADER.match(text, header_start, end)
        if header is not None:
            if header["channel"] is not None:
                yield header.start("channel"), header.start("channel"), vocabulary.CHANNEL
            if header["type"] is not None and not text[header.start("type") - 1].isspace():
                yield header.start("type"), header.start("type"), vocabulary.CONSTRAIN
            yield header.end(), header.end(), vocabulary.MESSAGE
        if end < len(text):
            is_call = header is not None and (header["first"] or header["second"] or header["only"])
            yield end, end, vocabulary.CALL if is_call else vocabulary.END
