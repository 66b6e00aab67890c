"""What a broken header most likely means: how lenient parsing reads what `header.py` refuses.

Two questions are answered here. Is text in a header still a header, or is it content whose `<|message|>` is missing?
That is asked run by run, a run being the text between two markers, and while a stream comes in: the answer "content"
is never taken back, so it is given only where no header of the strict language can follow, and one word more than
such a header holds may be an accident. And what does a header say? It is read as a bag of items in any order; each
method of `_Bag` that notes a fault is one repair, with an example.

A header that is strictly right never comes here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal, NamedTuple, TypeAlias

from harmony import vocabulary
from harmony.errors import Fault, quote
from harmony.header import (
    CONSTRAINED,
    KNOWN_CONTENT_TYPES,
    REMEMBERED_HEADERS,
    REMEMBERED_LENGTH,
    SPACE,
    WORD,
    ZERO_WIDTH_SPACE,
    Header,
    read_author,
)
from harmony.machine import Kind
from harmony.messages import Role

#: The channels that the models are trained to use.
KNOWN_CHANNELS: Final = ("analysis", "commentary", "final")

#: How an integer that is the id of no token stands in a header: it reads as U+FFFD.
NO_TOKEN: Final = vocabulary.LAST_TOKEN + 1

#: What a run of text begins with: an author, after `<|start|>`; nothing, where the caller gave the role; what can only
#: be guessed, where `<|start|>` is missing; or what the marker before it says.
Slot: TypeAlias = Literal["author", "given", "stray", "channel", "content type"]

#: How many words are there, at the least, when a run turns out to be content by its words: one that cannot begin a
#: header, or two that have no place behind the one that its slot is for.
WORDS_THAT_DECIDE: Final[dict[Slot, int]] = {"author": 3, "given": 1, "stray": 1, "channel": 3, "content type": 3}

#: What follows a header that is given up.
Following: TypeAlias = Literal["start", "stop", "end of input"]

FOLLOWING: Final[dict[int, Following]] = {
    Kind.START: "start",
    Kind.STOP: "stop",
    Kind.END_OF_TEXT: "stop",
    Kind.END_OF_INPUT: "end of input",
}

#: What stands in content for what is no text.
REPLACEMENT: Final = "\ufffd".encode()
#: No special token is longer, written out.
LONGEST_MARKER: Final = 32
#: That of a message without one.
NO_HEADER: Final = Header(Role.ASSISTANT, None, None, None, None)

_ROLES: Final = frozenset(role.value for role in Role)
_MARKERS: Final = (vocabulary.CHANNEL, vocabulary.CONSTRAIN)

# More words than these between two markers are content, whatever they are: a legal header has three at most. And so
# is more text than this behind a character that no name holds.
_MOST_WORDS: Final = 16
_MOST_BEHIND_NAME: Final = 32

_S: Final = f"[{SPACE}]"
_N: Final = f'[^<>{{}}"{SPACE}]'  # a character of a name
_ROLE: Final = f"(?:{'|'.join(sorted(_ROLES))})"
_CHANNEL: Final = f"(?:{'|'.join(KNOWN_CHANNELS)})"
_TYPE: Final = f"(?:{'|'.join(sorted(KNOWN_CONTENT_TYPES))})"
_TO: Final = rf"to={_S}*+(?:{_N}+|\Z)"
_DOTTED: Final = rf"{_N}*\.{_N}+"
_FUNCTION: Final = rf"functions\.{_N}+"
# Behind the first item: a recipient and a type; or a type alone, where the content is plainly JSON.
_REST: Final = rf"(?:(?:{_S}*+{_TO}|{_S}++{_FUNCTION})(?:{_S}*+{_TYPE}(?!{_N}))?|{_S}*+{_TYPE}(?={_S}*+\{{))?"

#: What is a header for sure where no `<|message|>` follows, by what the run begins with. Anything else is content.
_SURE: Final[dict[Slot, re.Pattern[str]]] = {
    "author": re.compile(
        rf"{_S}*+(?:(?:{_ROLE})+{_CHANNEL}|(?:{_ROLE})+(?::{_N}+)?(?!{_N})|{_N}+(?={_S}++to=)|{_DOTTED})"
        rf"(?:{_S}++{_ROLE}(?!{_N}))*{_REST}"
    ),
    "given": re.compile(rf"{_S}*+(?:{_ROLE})?{_S}*+{_CHANNEL}?{_S}*+{_TO}(?:{_S}*+{_TYPE}(?!{_N}))?"),
    "channel": re.compile(rf"{_S}*+(?:{_N}+(?={_S}++to=)|{_CHANNEL}|{_DOTTED}){_REST}"),
    "content type": re.compile(rf"{_S}*+(?:{_DOTTED}|{_TYPE}(?!{_N})){_REST}"),
}
_SURE["stray"] = _SURE["given"]

# A word that may begin a header whose `<|start|>` is missing, and all that may become one.
_STARTER: Final = re.compile(rf"{_ROLE}(?::{_N}*|{_CHANNEL})?|{_CHANNEL}(?:to=.*)?|to=.*|{_FUNCTION}", re.DOTALL)
_STARTERS: Final = (
    *_ROLES,
    *(role + channel for role in _ROLES for channel in KNOWN_CHANNELS),
    *(channel + "to=" for channel in KNOWN_CHANNELS),
    "to=",
    "functions.",
)

_LONGEST_STARTER: Final = max(map(len, _STARTERS))

_WORD: Final = re.compile(f"[^{SPACE}]+")
_PIECE: Final = re.compile(f"{_N}+")
_JSON: Final = re.compile(rf"(?:^|{_S})\{{")
_NO_NAME: Final = re.compile('[<>{}"]')
_WHITE: Final = re.compile(f"[{SPACE.replace(ZERO_WIDTH_SPACE, '')}]*")
_ESCAPED: Final = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8
_ENDING_BYTES: Final = re.compile(f"{_ESCAPED.pattern}{{0,3}}\\Z")
_SPACES: Final = re.compile(f"{_S}*")
_WORD_END: Final = re.compile(rb"[^ \t\n\f\r][ \t\n\f\r]")
_NO_NAME_BYTE: Final = re.compile(rb'[<>{}"]')
_HALF_MARKER: Final = re.compile(rb"<(?:\|\w*\|?)?\Z")
_GLUED: Final = re.compile(rf"({_ROLE})(?=(?:{_ROLE}|{_CHANNEL}|to=))|({_CHANNEL})(?=to=)")


class Mended(NamedTuple):
    """What became of a header without `<|message|>`.

    `header` is None where there is no message. `content` are the bytes that belong to it, the first of them in the
    token at the index `start`. The faults' positions are indices of tokens.
    """

    header: Header | None
    content: bytes
    start: int
    faults: tuple[Fault, ...]


def is_blank(tokens: Sequence[int]) -> bool:
    """Whether text between messages is nothing but white space."""
    return _WHITE.fullmatch(_Run(tokens, 0, len(tokens)).text) is not None


def left_out(before: bytes | bytearray) -> bytes:
    """What takes the place of a token that is left out, given the last bytes before it: nothing, mostly.

    It is U+FFFD where the text on both sides of it might otherwise join to the spelling of a marker.
    """
    return REPLACEMENT if _HALF_MARKER.search(before[-LONGEST_MARKER:]) else b""


def may_decide(tokens: Sequence[int], run: int, slot: Slot) -> bool:
    """Whether with its last token a run can have turned out to be content, so that it is worth looking at.

    That is where the token ends a word, and as many as it takes are there; or where it holds what no name does. Where
    `<|start|>` is missing, the first letters can be enough.
    """
    if slot == "stray" and len(tokens) <= _LONGEST_STARTER:
        return True
    last = _plain_bytes(tokens[-1])
    if last.isalpha():
        return False
    if _NO_NAME_BYTE.search(last):
        return True
    before = _plain_bytes(tokens[-2])[-1:] if len(tokens) > run + 1 else b""
    if not _WORD_END.search(before + last):
        return False
    ends = sum(1 for _ in _WORD_END.finditer(b"".join(map(_plain_bytes, tokens[run:]))))
    return ends >= WORDS_THAT_DECIDE[slot]


def _plain_bytes(token: int) -> bytes:
    return vocabulary.TOKEN_BYTES[token] if token < vocabulary.FIRST_SPECIAL else b""


def slot_of(tokens: Sequence[int], run: int, given: Role | None, *, stray: bool) -> Slot:
    """What the run that begins at the index `run` begins with."""
    if run:
        return "channel" if tokens[run - 1] == vocabulary.CHANNEL else "content type"
    return "stray" if stray else "author" if given is None else "given"


def is_content(tokens: Sequence[int], run: int, slot: Slot, *, ended: bool) -> bool:
    """Whether the run can be no part of a header any more; `ended` where a marker of headers follows it."""
    if len(tokens) == run + 1 and WORDS_THAT_DECIDE[slot] > 1 and _plain_bytes(tokens[run]).isalpha():
        return False  # by far the most are the one word that their slot is for
    found = _is_content if len(tokens) - run > REMEMBERED_LENGTH else _remembered
    return found(tuple(tokens[run:]), slot, ended)


def _is_content(tokens: tuple[int, ...], slot: Slot, ended: bool) -> bool:
    text = _Run(tokens, 0, len(tokens)).text
    if not ended:  # the last bytes may be the beginning of a character
        text = text.removesuffix(_ENDING_BYTES.search(text)[0])
    if _JSON.search(text):
        return True
    no_name = _NO_NAME.search(text)
    if no_name and len(text) - no_name.start() > _MOST_BEHIND_NAME:
        return True
    strays = 0
    slotted = slot in ("author", "channel", "content type")  # the first word is what the slot says
    for count, match in enumerate(_WORD.finditer(text)):
        complete = ended or match.end() < len(text)
        piece = _PIECE.search(match[0])
        word = piece[0] if piece else ""
        if count == 0 and slot in ("given", "stray") and not _may_start(word, slot, complete=complete):
            return True
        if count >= _MOST_WORDS:
            return True
        if not complete:
            break
        if piece is None or not (slotted or _is_item(word)):
            strays += 1
        slotted = word == "to="  # the next word is the name
        if strays > 1:
            return True
    return False


_remembered = lru_cache(REMEMBERED_HEADERS)(_is_content)


def _is_item(word: str) -> bool:
    return (
        "." in word
        or word.startswith("to=")
        or word in KNOWN_CONTENT_TYPES
        or word in KNOWN_CHANNELS
        or word in _ROLES
        or _GLUED.match(word) is not None
    )


def _may_start(word: str, slot: Slot, *, complete: bool) -> bool:
    if _STARTER.fullmatch(word):
        return True
    if slot == "given":  # a legal header may begin with these, and any word may yet get a dot
        return not complete or "." in word or word in KNOWN_CONTENT_TYPES
    return not complete and any(starter.startswith(word) for starter in _STARTERS)


def content_of(tokens: Sequence[int], run: int, slot: Slot, given: Role | None) -> Mended:
    """The header and the content that tokens hold whose last run `is_content`."""
    text = _Run(tokens, run, len(tokens))
    return _split(tokens, run, slot, text, _sure(text.text, slot), given)


def give_up(tokens: Sequence[int], run: int, slot: Slot, given: Role | None, following: Following) -> Mended:
    """What to make of a header that has no `<|message|>`: what is no header for sure is content."""
    text = _Run(tokens, run, len(tokens))
    offset = _sure(text.text, slot)
    rest = text.text[offset:]
    if slot == "stray" and is_blank(tokens):
        return Mended(None, b"", 0, (Fault("white-space-between", 0),))
    if following == "end of input" and _is_cut_header(text.text, offset, slot):
        return Mended(None, b"", 0, (_interrupted(len(tokens), following),))
    if rest and (offset or rest.strip()):
        return _split(tokens, run, slot, text, offset, given)
    bag = _Bag(given)
    header = bag.read(tokens)
    says_nothing = header.channel is None and header.recipient is None and header.content_type is None
    if following != "stop" or says_nothing:
        return Mended(None, b"", 0, (_interrupted(len(tokens), following),))
    return Mended(header, b"", len(tokens), (*bag.faults, Fault("missing-message", len(tokens), found="a stop")))


def mend_header(tokens: Sequence[int], given: Role | None) -> tuple[Header, list[Fault]]:
    """What a broken header says that `<|message|>` follows, and the faults that were mended."""
    bag = _Bag(given)
    return bag.read(tokens), bag.faults


def _interrupted(position: int, following: Following) -> Fault:
    found = {"start": "`<|start|>`", "stop": "a stop", "end of input": "the end of the input"}[following]
    return Fault("interrupted-header", position, found=found)


def _sure(text: str, slot: Slot) -> int:
    """How much of a run is a header for sure, with the white space behind it."""
    match = _SURE[slot].match(text)
    if match is None:
        return 0
    if slot in ("given", "stray"):
        first = _PIECE.search(text)
        if first is None or not _may_start(first[0], slot, complete=True):
            return 0
    spaces = _SPACES.match(text, match.end())
    return spaces.end() if spaces else match.end()


def _is_cut_header(text: str, offset: int, slot: Slot) -> bool:
    """Whether the input ends within a word that could have become part of the header."""
    rest = text[offset:].lstrip(" \t\n\f\r")
    if slot in ("given", "stray"):
        return bool(offset) and _PIECE.fullmatch(rest) is not None
    words = WORD.findall(rest)
    if not words:
        return True
    if len(words) > 1 or rest != words[0] or not _PIECE.fullmatch(rest):
        return False
    if not offset:
        return True
    before = text[:offset]
    addressed = "to=" in before or "." in before
    wholes = (*KNOWN_CONTENT_TYPES, "to=", "functions.")
    return text[offset - 1] in " \t\n\f\r" and (
        addressed or rest.startswith("functions.") or any(whole.startswith(rest) for whole in wholes)
    )


def _split(tokens: Sequence[int], run: int, slot: Slot, text: _Run, offset: int, given: Role | None) -> Mended:
    bag = _Bag(given)
    header = bag.read(tokens, run, offset)
    start = text.place(offset)
    content = text.data[text.bytes_before(offset) :]
    code = "missing-message" if offset or slot != "stray" else "stray-text"
    return Mended(header, content, start, (*bag.faults, Fault(code, start, found="text")))


class _Run:
    """The text between two markers of a header; bytes that are not UTF-8 are surrogates in it."""

    __slots__ = ("bounds", "data", "start", "text")

    def __init__(self, tokens: Sequence[int], start: int, stop: int) -> None:
        token_bytes = vocabulary.load().token_bytes
        data = bytearray()
        bounds = []
        for token in tokens[start:stop]:
            if token < vocabulary.FIRST_SPECIAL:
                data += token_bytes(token)
            else:
                data += REPLACEMENT if token == NO_TOKEN else left_out(data)
            bounds.append(len(data))
        self.start = start
        self.bounds = bounds
        self.data = bytes(data)
        self.text = self.data.decode(errors="surrogateescape")

    def bytes_before(self, offset: int) -> int:
        return len(self.text[:offset].encode(errors="surrogateescape"))

    def place(self, offset: int) -> int:
        """The index of the token in which the character at `offset` begins."""
        return self.start + bisect_right(self.bounds, self.bytes_before(offset))


class _Item(NamedTuple):
    """A word of a header, without what no name holds, or a part of one."""

    word: str
    segment: int  # how many `<|channel|>` stand before it
    place: int
    loose: bool  # it stood behind a character that no name holds


class _Bag:
    """The items of a header, as they come; which of them count is settled when all are there."""

    def __init__(self, given: Role | None) -> None:
        self.given = given
        self.faults: list[Fault] = []
        self.author: tuple[Role, str | None] | None = None if given is None else (given, None)
        self.stranger: _Item | None = None  # an author that is no role; a tool's name, perhaps
        self.channels: list[_Item] = []
        self.recipients: list[_Item] = []
        self.types: list[tuple[_Item, bool]] = []  # and whether it stood behind `<|constrain|>`
        self.slot: str = "author" if given is None else ""  # what the next word has to be
        self.is_first = True
        self.segment = 0
        self.markers: list[int] = []

    def read(self, tokens: Sequence[int], run: int | None = None, offset: int = 0) -> Header:
        """What the tokens say: all of them, or those before the character at `offset` of the run that begins at `run`."""
        end = place = len(tokens)
        start = 0
        self.markers = [token for token in tokens[:run] if token in _MARKERS]
        while start <= end:
            stop = start
            while stop < end and tokens[stop] not in _MARKERS:
                stop += 1
            if stop > start:
                text = _Run(tokens, start, stop)
                if start == run:
                    place = text.place(offset)
                self._read_run(text, text.text[:offset] if start == run else text.text)
            if stop == end:
                break
            marker = quote(vocabulary.SPECIAL_TEXTS[tokens[stop]])
            self._close_slot(stop, marker)
            if tokens[stop] == vocabulary.CHANNEL and self.types and not self.channels:
                # `<|constrain|>json<|channel|>commentary<|message|>`
                self._note("other-order", stop, found=marker)
            self.slot = "channel" if tokens[stop] == vocabulary.CHANNEL else "content type"
            self.segment += tokens[stop] == vocabulary.CHANNEL
            start = stop + 1
        self._close_slot(place, "nothing")
        return self._settled()

    def _note(self, code: str, place: int, **facts: object) -> None:
        self.faults.append(Fault(code, place, **facts))

    def _add_recipient(self, item: _Item) -> None:
        if self.types and not self.recipients:
            # `<|channel|>commentary json to=functions.f<|message|>`
            self._note("other-order", item.place, found=quote(item.word))
        self.recipients.append(item)

    def _close_slot(self, place: int, found: str) -> None:
        """`to=<|channel|>analysis`, `<|channel|><|message|>`, `<|start|><|channel|>final`: a name is missing."""
        code = {
            "author": "implied-author",
            "channel": "no-channel",
            "recipient": "no-recipient",
            "content type": "no-content-type",
        }.get(self.slot)
        if code:
            self._note(code, place, found=found)
        self.slot = ""

    def _read_run(self, run: _Run, text: str) -> None:
        for wrong in _ESCAPED.finditer(text):
            self._note("replaced-bytes", run.place(wrong.start()), found=f"0x{ord(wrong[0]) - 0xDC00:02x}")
        for match in WORD.finditer(text):
            pieces = list(_PIECE.finditer(match[0]))
            whole = "".join(piece[0] for piece in pieces[:1])
            if whole != match[0]:
                # `functions.f\u200b`, `functions.f{`, `"functions.f"`
                self._note("cut-name", run.place(match.start()), found=quote(match[0]), word=_plain(whole))
            for index, piece in enumerate(pieces):
                offset = match.start() + piece.start()
                if self.slot == "channel" and offset or self.slot == "recipient" and not index:
                    # `<|channel|> analysis`, `to= functions.f`
                    self._note("spaced-name", run.place(offset), found=quote(piece[0]))
                self._read_word(_Item(_plain(piece[0]), self.segment, run.place(offset), index > 0))

    def _read_word(self, item: _Item) -> None:
        start = 0
        while (glued := _GLUED.match(item.word, start)) and not (self.slot == "channel" and glued[1]):
            if start == 0:
                # `assistantfinal`, `assistantassistant`, `commentaryto=functions.f`
                self._note("glued-words", item.place, found=quote(item.word), word=glued[0])
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
                self._add_recipient(item._replace(word=name))
            else:
                self.slot = "recipient"
            return
        self.slot = ""
        if slot == "author":
            self._read_author(item)
        elif slot == "channel" and "." not in word:
            self.channels.append(item)
        elif slot == "content type" and "." not in word:
            self.types.append((item, True))
        elif slot in ("channel", "content type"):
            # `<|channel|>functions.f<|channel|>commentary`, `<|constrain|>functions.f`
            self._note("misplaced-recipient", item.place, slot=slot, found=quote(word))
            self._add_recipient(item)
        elif slot == "recipient" and word not in KNOWN_CONTENT_TYPES:
            self._add_recipient(item)
        else:
            self._read_bare(item, is_first=is_first)

    def _read_author(self, item: _Item) -> None:
        self.author = read_author(item.word, addressed=False)
        if self.author is None and item.word in KNOWN_CHANNELS:
            # `<|start|>final<|message|>`
            self._note("implied-author", item.place, found=quote(item.word))
            self._read_channel(item)
        elif self.author is None:
            self.stranger = item

    def _read_channel(self, item: _Item) -> None:
        # `<|start|>assistant final<|message|>`, `<|end|>commentary to=functions.f<|message|>`
        self._note("unmarked-channel", item.place, found=quote(item.word))
        self.channels.append(item)

    def _read_bare(self, item: _Item, *, is_first: bool) -> None:
        """A word without a mark of what it is."""
        word = item.word
        if word in _ROLES and is_first and self.given is not None:
            if word != self.given:
                # `<|end|>user<|message|>`
                self._note("other-author", item.place, expected=self.given, found=quote(word))
            self.author = read_author(word, addressed=False)
        elif word in _ROLES and self.author is not None and word == self.author[0]:
            # `<|start|>assistant assistant<|channel|>final`
            self._note("repeated-role", item.place, found=quote(word))
        elif word in KNOWN_CONTENT_TYPES:
            self.types.append((item, False))
        elif "." in word:
            self._add_recipient(item)
        elif word in KNOWN_CHANNELS and vocabulary.CHANNEL not in self.markers and not self.channels:
            self._read_channel(item)
        elif self.recipients and not self.types and not item.loose:
            self.types.append((item, False))
        else:
            # `<|channel|>final analysis<|message|>`
            self._note("unknown-word", item.place, found=quote(word))

    def _settled(self) -> Header:
        author = self.author
        if self.stranger is not None:
            # `<|start|>get_weather<|channel|>commentary<|message|>`
            if not self.recipients:
                self._note("unknown-author", self.stranger.place, found=quote(self.stranger.word))
            author = (Role.TOOL, self.stranger.word)
        role, name = author or (Role.ASSISTANT, None)
        recipient = self._recipient(role)
        channel = self._channel(recipient)
        self.faults.sort(key=lambda fault: fault.position or 0)
        return Header(role, name, recipient.word if recipient else None, channel, self._content_type())

    def _recipient(self, role: Role) -> _Item | None:
        """The first real one."""
        chosen = None
        for index, item in enumerate(self.recipients):
            # `<|channel|>commentary to=assistant<|channel|>analysis`: the assistant does not write to itself
            stray = role is Role.ASSISTANT and item.word == Role.ASSISTANT and self._begins_anew(index)
            if chosen is None and not stray:
                chosen = item
            else:
                self._note("other-recipient", item.place, found=quote(item.word))
        return chosen

    def _begins_anew(self, index: int) -> bool:
        """Whether the real header follows behind this recipient."""
        beside = self._beside(self.recipients[index])
        later = any(item.word != Role.ASSISTANT for item in self.recipients[index + 1 :])
        return later or any(beside is not None and item.segment > beside.segment for item in self.channels)

    def _beside(self, recipient: _Item) -> _Item | None:
        """The channel that a recipient stands with: that before it, or the next, or the last."""
        for item in self.channels:
            if item.segment >= recipient.segment:
                return item
        return self.channels[-1] if self.channels else None

    def _channel(self, recipient: _Item | None) -> str | None:
        """That beside the recipient, or the last."""
        if not self.channels:
            return None
        chosen = self._beside(recipient) if recipient else self.channels[-1]
        for item in self.channels:
            if item is not chosen:
                # `<|channel|>commentary<|channel|>analysis<|message|>`
                self._note("other-channel", item.place, found=quote(item.word))
        return chosen.word if chosen else None

    def _content_type(self) -> str | None:
        """The last known one; of unknown words, the first behind `<|constrain|>`, or else the first."""
        known = [item for item, _ in self.types if item.word in KNOWN_CONTENT_TYPES]
        marked = [item for item, is_marked in self.types if is_marked]
        candidates = known[-1:] or marked[:1] or [item for item, _ in self.types[:1]]
        for item, _ in self.types:
            if item is not candidates[0]:
                # `to=python <|constrain|>analysis code`
                self._note("other-content-type", item.place, found=quote(item.word))
        if not candidates:
            return None
        return (CONSTRAINED if marked else "") + candidates[0].word


def _plain(word: str) -> str:
    """A word in which bytes that are not UTF-8 are U+FFFD."""
    return word.encode(errors="surrogateescape").decode(errors="replace")
