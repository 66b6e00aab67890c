"""Guesses where the markers stood in a text from which a detokenizer has left them out.

    analysisWe need the sky.assistantcommentary to=functions.sky json{"city": "Oslo"}

Such a text does not say where its markers were. The rules here only find the places where a message begins, and where
its header ends. The words of the header then mean what they mean everywhere, and lenient parsing repairs what is wrong.

A text may have kept some of its markers, such as the last stop. They count, and each part of the text between them is
read by the same rules. docs/repairs.md lists the rules, and says where a guess can be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from harmony.errors import Diagnostic, Fault, quote
from harmony.format import vocabulary
from harmony.format.header import SPACE
from harmony.messages.roles import Role
from harmony.parsing.header_repair import A_CHANNEL, A_ROLE, A_SPACE, A_TYPE, IN_NAMES

#: A marker: its start and its end in the text (characters), and its token id. A guessed marker has no length.
Marker = tuple[int, int, int]

_S: Final = f"{A_SPACE}*+"
_JSON: Final = rf"{_S}[{{\[]|\""
# A JSON value directly behind its content type.
_VALUE: Final = rf"(?={_JSON}|-?\d|(?:true|false|null)(?!\w)|\n)"
# A content type that is glued to the word before it. In `to_json{` it is the end of a name.
_GLUED_TYPE: Final = rf"(?<![_.-]){A_TYPE}(?={_JSON})"
_GLUED_CHANNEL: Final = rf"(?<![_.-]){A_CHANNEL}(?={_JSON}|{_S}{A_TYPE}(?:{_JSON}))"
_NAME: Final = rf"(?:(?!{_GLUED_TYPE}|{_GLUED_CHANNEL}){IN_NAMES})+"
_TO: Final = rf"{_S}to={_S}(?:assistant(?={A_CHANNEL})|{_NAME})"
# ` to=functions.sky`, `commentary to=functions.sky json`, `final`, ` to=functions.sky commentary json`; in
# `commentary to=functions.skycommentary{` the channel is written twice.
_HEADER: Final = re.compile(
    rf"(?:(?P<before>{_TO})?{_S}(?P<channel>{A_CHANNEL})(?P<after>{_TO})?|(?P<only>{_TO}))"
    rf"(?:(?<!{A_SPACE})(?P<again>(?:(?<==assistant)|(?!{_GLUED_TYPE})){A_CHANNEL}))?"
    rf"(?:{A_SPACE}++(?P<type>{A_TYPE}){_VALUE}|(?P<glued>{A_TYPE})(?={_JSON}|\n)|(?<==python){A_SPACE}++code)?"
)
_TYPE: Final = re.compile(rf"{_S}{A_TYPE}(?:{_TO})?")  # behind `<|constrain|>`

# Where a message begins. The assistant's: `assistantfinal`, `assistant to=functions.sky`.
_ASSISTANT: Final = rf"(?<!to=)(?:assistant)+(?={A_CHANNEL}|{_S}to={_S}{IN_NAMES})"
# A tool's result: `functions.sky to=assistantcommentary{`, `functions.skycommentary to=assistant`.
_OWN: Final = r"(?:functions|browser)\."  # the tools that most have; their names begin behind any character
_IN_TOOL: Final = rf"(?:(?!{_OWN}|assistant)[\w-])"
_TOOL: Final = (
    rf"(?:(?<![\w.-])|(?={_OWN}))(?!assistant|(?:{A_CHANNEL}|{A_ROLE})\b)(?:"
    rf"(?P<tool>[A-Za-z_]{_IN_TOOL}*(?:\.{_IN_TOOL}+)*)(?<!assistant)(?={A_SPACE}++to=assistant{A_CHANNEL})"
    rf"|(?P<dotted>[A-Za-z_]{_IN_TOOL}*(?:\.{_IN_TOOL}+?)+?)(?<!assistant)"
    rf"(?=(?:{A_CHANNEL})?{A_SPACE}++to=assistant(?:{A_CHANNEL}|{_JSON}|\Z)))"
)
_BEGINNING: Final = re.compile(rf"(?P<assistant>{_ASSISTANT})|{_TOOL}", re.ASCII)

# The other authors of a conversation. Their word is glued to the end of a sentence or of a list of tools, and mostly to
# a capital letter.
_FIRST: Final = re.compile(r"(?:system|developer|user)(?=\S)")
_END: Final = rf"(?:(?<=[^\w{SPACE}<>{{\"'`/\\@#$&(\[,=-])|\}} // namespace [\w-]*?)"
_USER: Final = re.compile(rf"{_END}(?P<author>user)(?=\S)")
_AUTHORS: Final = {
    "system": re.compile(rf"{_END}(?P<author>developer(?=\#)|user(?=\S))"),
    "developer": _USER,
    "final": _USER,
}
_ROLE: Final = re.compile("(?:assistant)+")
_LAST: Final = re.compile(r"(?<!to=)(?:assistant)+\Z")
_PROSE: Final = re.compile(" [a-z]")


class Guess(NamedTuple):
    """A text that has lost its markers, as it is parsed: the role of its first message, the markers, and doubts."""

    role: Role | None
    markers: list[Marker]
    doubts: list[Diagnostic]


def guessed(text: str, role: Role | None) -> Guess:
    """All markers of a text, those that are left and those that are guessed. Without a role it is the assistant's."""
    reader = _Reader(text, role)
    place = 0
    for start, stop, token in vocabulary.special_tokens_in(text):
        reader.read(place, start, token)
        reader.take(start, stop, token)
        place = stop
    reader.read(place, len(text), None)
    return Guess(reader.role, reader.markers, reader.doubts)


class _Reader:
    """Reads the parts of a text one after another, between the markers that are left."""

    def __init__(self, text: str, role: Role | None) -> None:
        self.text = text
        self.markers: list[Marker] = []
        self.doubts: list[Diagnostic] = []
        self.slot = "beginning"  # where a part begins: there, or in "author", "channel", "content type", "content"
        self.is_call = False
        self.author = ""  # of the open message: its role, or its channel if that is `final`
        first = _FIRST.match(text)
        self.is_conversation = first is not None and (role is None or _BEGINNING.search(text) is not None)
        names_itself = self.is_conversation or text.startswith(vocabulary.SPECIAL_TEXTS[vocabulary.START])
        self.role = Role.ASSISTANT if role is None and not names_itself else role

    def take(self, start: int, stop: int, token: int) -> None:
        """Takes a marker that is left."""
        self.markers.append((start, stop, token))
        if token in vocabulary.STOPS or token == vocabulary.END_OF_TEXT:
            self.slot, self.is_call, self.author = "beginning", False, ""
        elif token == vocabulary.START:
            self.slot, self.is_call, self.author = "author", False, ""
        elif token == vocabulary.MESSAGE:
            self.slot = "content"
        elif token == vocabulary.CHANNEL:
            self.slot = "channel"
        elif token == vocabulary.CONSTRAIN and self.slot != "content":
            self.slot = "content type"

    def read(self, start: int, stop: int, marker: int | None) -> None:
        """Reads the part of the text from `start` to `stop`; `marker` is the one behind it."""
        beginnings = list(self._beginnings(start, stop, marker))
        ends = [place for place, _, _ in beginnings] + [stop]
        self._open(start, ends[0], marker if len(ends) == 1 else vocabulary.END)
        for (begin, header, author), end in zip(beginnings, ends[1:], strict=True):
            if begin > start and self.slot in ("content", "beginning"):
                self._guess(begin, vocabulary.CALL if self.is_call else vocabulary.END)
            if begin > 0 or self.is_conversation:
                self._guess(begin, vocabulary.START)
            self.slot, self.is_call, self.author = "author", False, author
            if author in ("system", "developer", "user"):
                self._guess(header, vocabulary.MESSAGE)
                self.slot = "content"
            else:
                self._read_header(header, end, marker if end == stop else vocabulary.END)

    def _beginnings(self, start: int, stop: int, marker: int | None) -> Iterator[tuple[int, int, str]]:
        """The messages that begin in a part: where each begins, where its author's word ends, and its author."""
        before, author = start, self.author
        if start == 0 and self.is_conversation and (first := _FIRST.match(self.text, 0, stop)):
            before, author = first.end(), first[0]
            yield 0, before, author
        for found in _BEGINNING.finditer(self.text, before, stop):
            if self.slot == "author" and found.start() == start:
                continue  # `<|start|>` stands before it
            yield from self._turns(before, found.start(), author)
            name = found.lastgroup or ""
            before, author = found.end(), name
            header = _HEADER.match(self.text, found.end(), stop)
            if name == "assistant" and header is not None and header["channel"] == "final":
                author = "final"
            yield found.start(), found.end(), author
        # `Hm.assistant<|channel|>final`, or the end of a prompt
        ends = self.is_conversation if marker is None else marker in (vocabulary.CHANNEL, vocabulary.MESSAGE)
        last = _LAST.search(self.text, before, stop) if ends and self.slot != "author" else None
        if author in ("system", "developer"):
            yield from self._turns(before, stop if last is None else last.start(), author)
        if last is not None:
            yield last.start(), stop, "assistant"

    def _turns(self, start: int, stop: int, author: str) -> Iterator[tuple[int, int, str]]:
        """The messages of the developer and the user in the text behind a message of `author`."""
        while self.is_conversation and author in _AUTHORS:
            found = list(_AUTHORS[author].finditer(self.text, start, stop))
            if not found:
                return
            # The developer's word is the first. The user's is mostly the last: long texts talk about users too.
            capital = [match for match in found if not self.text[match.end()].islower()]
            chosen = next((match for match in found if match["author"] == "developer"), (capital or found)[-1])
            start, author = chosen.end(), chosen["author"]
            yield chosen.start("author"), start, author

    def _open(self, start: int, stop: int, marker: int | None) -> None:
        """Reads the beginning of a part, where no message was found to begin: perhaps the rest of a header."""
        if self.slot == "content" or start == stop:
            return
        if self.slot == "content type":
            found = _TYPE.match(self.text, start, stop)
            if found is not None:
                self.is_call = self.is_call or "to=" in found[0]
                self._end_header(found.end(), stop, marker)
            return
        place = start
        if self.slot == "author" and (role := _ROLE.match(self.text, start, stop)):
            place = role.end()
        is_sure = self.slot != "beginning" or start != place
        header = self._read_header(place, stop, marker)
        if header and not is_sure and header["channel"] and _PROSE.match(self.text, header.end()):
            end = header.end()
            fault = Fault("doubtful-channel", found=quote(self.text[start : end + 20]), word=quote(header["channel"]))
            self.doubts.append(fault.diagnostic(start))

    def _read_header(self, start: int, stop: int, marker: int | None) -> re.Match[str] | None:
        """Reads a header, and guesses its markers."""
        header = _HEADER.match(self.text, start, stop)
        if header is None:
            return None
        for name in ("channel", "again"):
            if header[name] is not None and not (self.slot == "channel" and header.start(name) == start):
                self._guess(header.start(name), vocabulary.CHANNEL)
        if header["glued"] is not None:
            self._guess(header.start("glued"), vocabulary.CONSTRAIN)
        recipients = [header[name] for name in ("before", "after", "only") if header[name] is not None]
        self.is_call = self.is_call or any(not to.endswith("=assistant") for to in recipients)
        self._end_header(header.end(), stop, marker)
        return header

    def _end_header(self, place: int, stop: int, marker: int | None) -> None:
        """Guesses the `<|message|>` behind a header, unless nothing or a marker of a header follows."""
        goes_on = marker in (vocabulary.CHANNEL, vocabulary.CONSTRAIN, vocabulary.MESSAGE)
        if goes_on and not self.text[place:stop].strip():
            return
        if place < stop:
            self._guess(place, vocabulary.MESSAGE)
            self.slot = "content"
        else:
            self.slot = "author"  # no message: no stop is guessed

    def _guess(self, place: int, token: int) -> None:
        self.markers.append((place, place, token))
