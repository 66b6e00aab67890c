"""Repairs a broken header: lenient parsing reads here a header that `header.py` refuses.

The items of a broken header may come in any order. First, all items are collected. The form of an item, or the marker
before it, says whether it is a recipient, a channel or a content type. At the end it is decided which of them count.
For example, `<|channel|>commentary<|channel|>analysis` has two channels, and the last one counts.

Each fault that is noted is one repair; the comment beside it shows an example. A correct header is never read here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

from harmony.errors import Diagnostic, Fault, quote
from harmony.format import vocabulary
from harmony.format.header import (
    CONSTRAINED,
    KNOWN_CONTENT_TYPES,
    LOOSE_DOT,
    NOT_IN_CHANNELS,
    OUTSIDE_NAMES,
    REMEMBERED_LENGTH,
    REMEMBERED_REPAIRS,
    SPACE,
    Header,
    is_dotted,
    read_author,
)
from harmony.messages.roles import KNOWN_CHANNELS, ROLES, Role

#: U+FFFD in UTF-8: it takes the place of a token that is no text.
REPLACEMENT: Final = "\ufffd".encode()
#: White space between two `<|message|>` is left out if it has at most this many bytes; the limit keeps the check cheap.
MOST_BLANK_BYTES: Final = 32
#: The length of the longest special token in its written form, in characters.
LONGEST_MARKER: Final = max(map(len, vocabulary.SPECIAL_TOKENS))

_MARKERS: Final = (vocabulary.CHANNEL, vocabulary.CONSTRAIN)

# Parts of patterns: a white space character, a character of a name, and the known words.
A_SPACE: Final = f"[{SPACE}]"
IN_NAMES: Final = f"[^{OUTSIDE_NAMES}{SPACE}]"
A_ROLE: Final = f"(?:{'|'.join(sorted(ROLES))})"
A_CHANNEL: Final = f"(?:{'|'.join(KNOWN_CHANNELS)})"
A_TYPE: Final = f"(?:{'|'.join(sorted(KNOWN_CONTENT_TYPES))})"

#: A name with a dot inside, as tools have. `functions.f` matches; `Sure.`, the end of a sentence, does not.
DOTTED_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")
#: The beginning of a function's name. Such a word is no prose, so it is a recipient behind other words too.
FUNCTIONS: Final = "functions."
# A role with other text directly behind it, as in `assistantOK` and `assistant:`.
_GLUED_ROLE: Final = re.compile(rf"{A_ROLE}(?=[.:-]+\Z|[^a-z0-9_.:-])")
# A recipient behind a channel, without white space: `commentary:to=functions.f`, `commentto=functions.f`.
_GLUED_RECIPIENT: Final = re.compile(rf"[^\w.-]to=|to=(?={DOTTED_NAME.pattern}\Z)")
#: A known word with another one directly behind it, as in `assistantfinal` or `commentaryto=f`.
GLUED: Final = re.compile(rf"({A_ROLE})(?=(?:{A_ROLE}|{A_CHANNEL}|to=))|({A_CHANNEL})(?=to=|{A_TYPE}(?!{IN_NAMES}))")
#: A byte that is not UTF-8, as the surrogate that stands for it in the text of a HeaderText.
ESCAPED: Final = re.compile("[\udc80-\udcff]")
#: Neighbouring characters that a name may hold.
PIECE: Final = re.compile(f"{IN_NAMES}+")
#: A word of a broken header, where any white space separates words, U+00A0 and U+200B too.
LOOSE_WORD: Final = re.compile(f"[^{SPACE}]+")
_ODD_SPACE: Final = re.compile(r"(?![ \t\n\f\r])" + A_SPACE)  # white space that no correct header has
_HALF_MARKER: Final = re.compile(rb"<(?:\|\w*\|?)?\Z")


def left_out(before: bytes | bytearray) -> bytes:
    """The bytes to put in the place of a token that is left out: mostly none.

    `before` are the bytes before the token, or the last of them. Where they end like the beginning of a written marker,
    as in `<|en`, the result is U+FFFD: otherwise `<|en` and `d|>` on the two sides would join to a marker.
    """
    return REPLACEMENT if _HALF_MARKER.search(before[-LONGEST_MARKER:]) else b""


def repaired_header(
    tokens: Sequence[int], given: Role | None, behind: str = "`<|message|>`", offset: int | None = None
) -> tuple[Header, Sequence[Diagnostic]]:
    """The most likely meaning of a broken header, and what was repaired; the positions are token indices.

    The header is all of `tokens`. Where `offset` is given, the header ends before that character of the text behind the
    last marker. `behind` is what errors say follows the header. Headers repeat, so the results are remembered.
    """
    if len(tokens) > REMEMBERED_LENGTH:
        return _repaired(tokens, given, behind, offset)
    return _remembered(tuple(tokens), given, behind, offset)


def _repaired(
    tokens: Sequence[int], given: Role | None, behind: str, offset: int | None
) -> tuple[Header, Sequence[Diagnostic]]:
    bag = _Bag(given)
    header = bag.read(tokens, behind, offset)
    faults = sorted(bag.faults, key=lambda fault: fault.position or 0)
    return header, tuple(fault.diagnostic(fault.position or 0) for fault in faults)


_remembered = lru_cache(REMEMBERED_REPAIRS)(_repaired)


class HeaderText:
    """The text between two markers of a header. A byte that is not UTF-8 is a surrogate in it."""

    __slots__ = ("_stop", "_tokens", "data", "start", "text")

    def __init__(self, tokens: Sequence[int], start: int, stop: int) -> None:
        token_bytes = vocabulary.TOKEN_BYTES
        # A long run is not copied, for its list takes more memory than its text.
        run = tokens[start:stop] if stop - start <= REMEMBERED_LENGTH else None
        if run and max(run) < vocabulary.FIRST_SPECIAL:
            data = bytearray().join([token_bytes[token] for token in run])
        else:
            data = bytearray()
            for token in islice(tokens, start, stop):
                data += token_bytes[token] if token < vocabulary.FIRST_SPECIAL else _in_place_of(token, data)
        self.start: int = start
        self.data: bytearray = data
        self.text: str = self.data.decode(errors="surrogateescape")
        self._tokens = tokens
        self._stop = stop

    def bytes_before(self, offset: int) -> int:
        before = self.text[:offset]
        return len(before) if before.isascii() else len(before.encode(errors="surrogateescape"))

    def place(self, offset: int) -> int:
        """The index of the token in which the character at `offset` begins."""
        return self.place_of_byte(self.bytes_before(offset))

    def place_of_byte(self, before: int) -> int:
        """The index of the token that holds the byte behind the first `before` ones."""
        data = bytearray()
        for index in range(self.start, self._stop):
            token = self._tokens[index]
            data += vocabulary.TOKEN_BYTES[token] if token < vocabulary.FIRST_SPECIAL else _in_place_of(token, data)
            if len(data) > before:
                return index
        return self._stop


def _in_place_of(token: int, before: bytearray) -> bytes:
    return REPLACEMENT if token == vocabulary.NO_TOKEN else left_out(before)


class _Item(NamedTuple):
    """A word of a header, or a part of one, with only characters that a name may hold."""

    word: str
    segment: int  # the number of `<|channel|>` before it
    place: int
    loose: bool  # stands behind a character that no name holds, or behind odd white space
    told: bool  # a `cut-name` says already that it is left out
    written: bool = False  # for a recipient: written with `to=`


class _Bag:
    """Collects the items of a header, and decides at the end which of them count."""

    def __init__(self, given: Role | None) -> None:
        self.given = given
        self.faults: list[Fault] = []
        self.author: tuple[Role, str | None] | None = None if given is None else (given, None)
        self.stranger: _Item | None = None  # a word in the author's place that is no role; perhaps a tool's name
        self.channels: list[_Item] = []
        self.recipients: list[_Item] = []
        self.types: list[tuple[_Item, bool]] = []  # with True for a type behind `<|constrain|>`
        self.constrained = False  # whether the next type stands behind a `<|constrain|>`
        self.slot: str = "author" if given is None else ""  # what the next word is, as the marker before it says
        self.is_first = True
        self.strays = 0
        self.leading = False  # whether the first recipient stands in the place of an author
        self.segment = 0
        self.markers: list[int] = []

    def read(self, tokens: Sequence[int], behind: str, offset: int | None) -> Header:
        """Reads the tokens, with the arguments of `repaired_header`."""
        end = place = len(tokens)
        start = 0
        self.markers = [token for token in tokens if token in _MARKERS]
        while start <= end:
            stop = start
            while stop < end and tokens[stop] not in _MARKERS:
                stop += 1
            if stop > start:
                text = HeaderText(tokens, start, stop)
                if stop == end and offset is not None:
                    place = text.place(offset)
                    text.text = text.text[:offset]
                self._read_text(text)
            if stop == end:
                break
            marker = quote(vocabulary.SPECIAL_TEXTS[tokens[stop]])
            self._close_slot(stop, marker)
            if tokens[stop] == vocabulary.CHANNEL and self.types and not self.channels:
                # `<|constrain|>json<|channel|>commentary<|message|>`
                self._note("other-order", stop, found=marker)
            self.constrained = tokens[stop] == vocabulary.CONSTRAIN
            self.slot = "content type" if self.constrained else "channel"
            self.segment += not self.constrained
            start = stop + 1
        self._close_slot(place, behind)
        return self._settled()

    def _note(self, code: str, place: int, *, found: str, **facts: str) -> None:
        self.faults.append(Fault(code, place, field="", found=found, **facts))

    def _add_recipient(self, item: _Item) -> None:
        if loose := LOOSE_DOT.search(item.word):
            # `to=functions.`
            name = item.word[: loose.start()]
            self._note("cut-name/dot", item.place, found=quote(item.word), word=quote(name) if name else "nothing")
            if not name:
                return
            item = item._replace(word=name)
        if self.types and not self.recipients:
            # `<|channel|>commentary json to=functions.f<|message|>`
            self._note("other-order", item.place, found=quote(item.word))
        self.recipients.append(item)

    def _close_slot(self, place: int, found: str) -> None:
        """Notes a missing name, as in `to=<|channel|>analysis`, `<|channel|><|message|>`, `<|start|><|channel|>`."""
        code = {
            "author": "implied-author",
            "channel": "no-channel",
            "recipient": "no-recipient",
            "content type": "no-content-type",
        }.get(self.slot)
        if code:
            self._note(code, place, found=found)
            self.constrained = False
        self.slot = ""

    def _read_text(self, header_text: HeaderText) -> None:
        text = header_text.text
        if wrong := ESCAPED.search(text):  # only the first one, as finding a place takes long in a long text
            self._note("replaced-bytes", header_text.place(wrong.start()), found=f"0x{ord(wrong[0]) - 0xDC00:02x}")
        if odd := _ODD_SPACE.search(text):
            # `functions.f\u200b`, `commentary\u00a0to=functions.f`
            self._note("odd-white-space", header_text.place(odd.start()), found=quote(odd[0]))
        for word, start in _words(text):
            if not text.startswith(word, start):
                # `to =functions.f`
                self._note("spaced-name", header_text.place(start), found=quote(_readable(word)))
            pieces = list(PIECE.finditer(word))
            if not pieces or pieces[0][0] != word:
                # `functions.f{`, `"functions.f"`
                left = quote(_readable(pieces[0][0])) if pieces else "nothing"
                self._note("cut-name", header_text.place(start), found=quote(_readable(word)), word=left)
            behind_odd = _ODD_SPACE.fullmatch(text[start - 1 : start]) is not None
            for index, piece in enumerate(pieces):
                offset = start + piece.start()
                if (self.slot == "channel" and offset) or (self.slot == "recipient" and not index):
                    # `<|channel|> analysis`, `to= functions.f`
                    self._note("spaced-name", header_text.place(offset), found=quote(_readable(piece[0])))
                place, is_cut = header_text.place(offset), index > 0
                self._read_word(_Item(_readable(piece[0]), self.segment, place, behind_odd or is_cut, is_cut))

    def _read_word(self, item: _Item) -> None:
        start = 0
        while (glued := GLUED.match(item.word, start)) and not (self.slot == "channel" and glued[1]):
            if start == 0:
                # `assistantfinal`, `assistantassistant`, `commentaryto=functions.f`
                self._note("glued-words", item.place, found=quote(item.word), word=quote(glued[0]))
            self._read_item(item._replace(word=glued[0]))
            start = glued.end()
        self._read_item(item._replace(word=item.word[start:]))

    def _read_item(self, item: _Item) -> None:
        word, slot = item.word, self.slot
        is_first, self.is_first = self.is_first, False
        if word.startswith("to="):
            self._close_slot(item.place, quote(word))
            name = word[len("to=") :]
            if name:
                self._add_recipient(item._replace(word=name, written=True))
            else:
                self.slot = "recipient"
            return
        self.slot = ""
        if slot == "author":
            self._read_author(item)
        elif slot in ("channel", "content type") and DOTTED_NAME.fullmatch(word):
            # `<|channel|>functions.f<|channel|>commentary`, `<|constrain|>functions.f`
            self._note("misplaced-recipient", item.place, slot=slot, found=quote(word))
            self._add_recipient(item)
        elif slot == "channel":
            if glued := _GLUED_RECIPIENT.search(word):
                # `<|channel|>commentary:to=functions.f<|message|>`
                place = glued.end() - len("to=")
                self._add_recipient(item._replace(word=word[glued.end() :], written=True))
                word = word[:place]
            name = NOT_IN_CHANNELS.split(word, 1)[0]
            if name != item.word:
                # `<|channel|>commentary?<|message|>`
                self._note(
                    "cut-name/channel", item.place, found=quote(item.word), word=quote(name) if name else "nothing"
                )
            if name:
                self.channels.append(item._replace(word=name))
        elif slot == "content type" and "." not in word:
            self.types.append((item, True))
        elif slot == "content type":
            # `<|constrain|>json.<|message|>`
            self._note("unknown-word", item.place, found=quote(word))
        elif slot == "recipient" and word not in KNOWN_CONTENT_TYPES:
            self._add_recipient(item._replace(written=True))
        else:
            self._read_bare(item, is_first=is_first)

    def _read_author(self, item: _Item) -> None:
        self.author = read_author(item.word, answers=False)
        if self.author is not None:
            return
        if item.word in KNOWN_CHANNELS:
            # `<|start|>final<|message|>`
            self._note("implied-author", item.place, found=quote(item.word))
            self._read_channel(item)
        elif role := _GLUED_ROLE.match(item.word):
            # `<|start|>assistantOK<|channel|>final`
            self._note("cut-name", item.place, found=quote(item.word), word=quote(role[0]))
            self.author = read_author(role[0], answers=False)
        else:
            self.stranger = item

    def _read_channel(self, item: _Item) -> None:
        # `<|start|>assistant final<|message|>`, `<|end|>commentary to=functions.f<|message|>`
        self._note("unmarked-channel", item.place, found=quote(item.word))
        self.channels.append(item)

    def _read_bare(self, item: _Item, *, is_first: bool) -> None:
        """Reads a word that has neither a marker nor `to=` before it."""
        word = item.word
        if word in ROLES and is_first and self.given is not None:
            if word != self.given:
                # `<|end|>user<|message|>`
                self._note("other-author", item.place, expected=self.given.value, found=quote(word))
            self.author = read_author(word, answers=False)
        elif word in ROLES and self.author is not None and word == self.author[0]:
            # `<|start|>assistant assistant<|channel|>final`
            self._note("repeated-role", item.place, found=quote(word))
        elif word in KNOWN_CONTENT_TYPES:
            self.types.append((item, self.constrained))
        elif (
            is_dotted(word)
            and (word.startswith(FUNCTIONS) or not self.strays)
            and (is_first or DOTTED_NAME.fullmatch(word))
        ):
            # `commentary functions.f`, `commentary to functions.f`
            self.leading = is_first and self.given is not None
            self._add_recipient(item)
        elif word in KNOWN_CHANNELS and vocabulary.CHANNEL not in self.markers and not self.channels:
            self._read_channel(item)
        elif self.recipients and not self.types and not item.loose and "." not in word:
            self.types.append((item, self.constrained))
        else:
            self.strays += 1
            if not item.told:
                # `<|channel|>final analysis<|message|>`
                self._note("unknown-word", item.place, found=quote(word))

    def _settled(self) -> Header:
        author = self.author
        if self.stranger is not None and self.recipients and self.recipients[0].word != Role.ASSISTANT:
            # `<|start|>lookup to=functions.f<|message|>`: a tool answers, and does not call
            self._note("implied-author", self.stranger.place, found=quote(self.stranger.word))
        elif self.stranger is not None:
            # `<|start|>get_weather<|channel|>commentary<|message|>`, `<|start|>Sure. to=assistant<|message|>`
            if not self.recipients or LOOSE_DOT.search(self.stranger.word):
                self._note("unknown-author", self.stranger.place, found=quote(self.stranger.word))
            author = (Role.TOOL, self.stranger.word)
        elif self.leading and any(item.word == Role.ASSISTANT for item in self.recipients):
            # `<|end|>functions.f to=assistant<|channel|>commentary<|message|>`: what a tool answers
            item = self.recipients.pop(0)
            self._note("other-author", item.place, expected=Role.ASSISTANT.value, found=quote(item.word))
            author = (Role.TOOL, item.word)
        role, name = author or (Role.ASSISTANT, None)
        recipient = self._recipient(role)
        channel = self._channel(recipient)
        return Header(role, name, recipient.word if recipient else None, channel, self._content_type())

    def _recipient(self, role: Role) -> _Item | None:
        """The recipient that counts: the first one behind `to=`, else the first word with a dot.

        What the assistant writes to itself counts only if there is no other recipient, and no other channel follows.
        """
        to_itself = role is Role.ASSISTANT
        real = [item for item in self.recipients if not (to_itself and item.word == Role.ASSISTANT)]
        last_channel = self.channels[-1] if self.channels else None
        if not real:
            real = [item for item in self.recipients if self._beside(item) is last_channel]
        chosen = next((item for item in real if item.written), real[0] if real else None)
        for item in self.recipients:
            if item is chosen:
                continue
            # `<|channel|>commentary to=assistant<|channel|>analysis`, `to=functions.sky to=functions.sea`
            stray = to_itself and item.word == Role.ASSISTANT
            self._note("stray-recipient" if stray else "other-recipient", item.place, found=quote(item.word))
        return chosen

    def _beside(self, recipient: _Item) -> _Item | None:
        """The channel that a recipient belongs to: the last one before it, else the next, else the last of all."""
        index = bisect_left(self.channels, recipient.segment, key=lambda item: item.segment)
        return self.channels[min(index, len(self.channels) - 1)] if self.channels else None

    def _channel(self, recipient: _Item | None) -> str | None:
        """The channel that counts: the one that the recipient belongs to; without a recipient, the last one."""
        if not self.channels:
            return None
        chosen = self._beside(recipient) if recipient else self.channels[-1]
        for item in self.channels:
            if item is not chosen:
                # `<|channel|>commentary<|channel|>analysis<|message|>`
                self._note("other-channel", item.place, found=quote(item.word))
        return chosen.word if chosen else None

    def _content_type(self) -> str | None:
        """The content type that counts: one behind `<|constrain|>` before a bare one; then a known one, the last."""
        if not self.types:
            return None
        marked = [item for item, is_marked in self.types if is_marked]
        items = marked or [item for item, _ in self.types]
        known = [item for item in items if item.word in KNOWN_CONTENT_TYPES]
        chosen = known[-1] if known else items[0]
        if not known and not marked and self.strays >= 2:
            # `to=functions.f please call this`: prose
            self._note("unknown-word", chosen.place, found=quote(chosen.word))
            return None
        for item, _ in self.types:
            if item is not chosen:
                # `to=python <|constrain|>analysis code`
                self._note("other-content-type", item.place, found=quote(item.word))
        return (CONSTRAINED if marked else "") + chosen.word


def _words(text: str) -> Iterator[tuple[str, int]]:
    """The words of a text, and where each begins. `to =` counts as one word, `to=`."""
    before, place = "", 0
    for match in LOOSE_WORD.finditer(text):
        if before == "to" and match[0].startswith("="):
            before += match[0]
            continue
        if before:
            yield before, place
        before, place = match[0], match.start()
    if before:
        yield before, place


def _readable(word: str) -> str:
    """The word, with U+FFFD for each byte that is not UTF-8."""
    return word.encode(errors="surrogateescape").decode(errors="replace")
