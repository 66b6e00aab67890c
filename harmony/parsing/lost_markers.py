"""Guesses where the markers stood in a text from which a detokenizer has left them out.

    analysisWe need the sky.assistantcommentary to=functions.sky json{"city": "Oslo"}

The text does not say where its markers were, so these rules guess:

- A message begins at the beginning of the text, and at every `assistant` with a known channel directly behind it, or
  with a recipient behind it.
- Its header is that channel, a recipient and a known content type. The content type may be glued to the function's
  name, as in `functions.skyjson{`, but not behind `_`, `-` or a dot, as in `to_json{`.

The guess can be wrong. A message that contains the word `assistantfinal` is split there. A first word `analysis` is
read as a channel, even if it belongs to the text. Nothing tells whether the last message was ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from harmony.format import vocabulary
from harmony.parsing.header_repair import A_CHANNEL, A_SPACE, A_TYPE, IN_NAMES

_JSON: Final = rf"{A_SPACE}*+[{{\[]"
# A name ends before `json{`, unless the name would then end in `_`, `-` or a dot.
_NAME: Final = rf"(?:(?!(?<![_.-]){A_TYPE}{_JSON}){IN_NAMES})+"
_TO: Final = rf"{A_SPACE}*+to={A_SPACE}*+{_NAME}"
# ` to=functions.sky`, `commentary to=functions.sky json`, `final`, ` to=functions.sky commentary json`
_HEADER: Final = re.compile(
    rf"(?:(?P<first>{_TO})?{A_SPACE}*+(?P<channel>{A_CHANNEL})(?P<second>{_TO})?|(?P<only>{_TO}))"
    rf"(?:{A_SPACE}*+(?P<type>{A_TYPE})(?={_JSON}|\n))?"
)
_BEGINNING: Final = re.compile(rf"assistant(?={A_CHANNEL}|{A_SPACE}++to={IN_NAMES})")


def markers_in(text: str) -> Iterator[tuple[int, int, int]]:
    """Each marker of a text: its start and end (characters), and its token id.

    For a text without markers they are guessed. A guessed marker has no length: its end is its start. The `<|start|>`
    of the first message is not among them.
    """
    written = vocabulary.special_tokens_in(text)
    first = next(written, None)
    return _guessed(text) if first is None else chain([first], written)


def _guessed(text: str) -> Iterator[tuple[int, int, int]]:
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
