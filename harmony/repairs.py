"""Where the content begins that lacks its `<|message|>`: which text of a header is a header still.

That is asked of a run, the text between two markers, and while a stream comes in. The answer "content" is never taken
back. So it is given only where no header of the strict language can follow; and as models do put a word too many into
a header, one such word is no answer yet. It knows where words end, and which may stand where; what they say is
`mending.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from harmony import vocabulary
from harmony.errors import Fault
from harmony.header import (
    KNOWN_CONTENT_TYPES,
    REMEMBERED_HEADERS,
    REMEMBERED_LENGTH,
    SPACE,
    WORD,
    ZERO_WIDTH_SPACE,
    Header,
)
from harmony.machine import Kind
from harmony.mending import A_CHANNEL, A_ROLE, A_TYPE, ESCAPED, GLUED, IN_NAMES, Run, mend_header
from harmony.messages import KNOWN_CHANNELS, Role

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

#: That of a message without one.
NO_HEADER: Final = Header(Role.ASSISTANT, None, None, None, None)

_ROLES: Final = frozenset(role.value for role in Role)

# More words than these between two markers are content, whatever they are: a legal header has three at most. And so
# is more text than this behind a character that no name holds.
_MOST_WORDS: Final = 16
_MOST_BEHIND_NAME: Final = 32

_S: Final = f"[{SPACE}]"
_TO: Final = rf"to={_S}*+(?:{IN_NAMES}+|\Z)"
_DOTTED: Final = rf"{IN_NAMES}*\.{IN_NAMES}+"
_FUNCTION: Final = rf"functions\.{IN_NAMES}+"
# Behind the first item: a recipient and a type; or a type alone, where the content is plainly JSON.
_REST: Final = rf"(?:(?:{_S}*+{_TO}|{_S}++{_FUNCTION})(?:{_S}*+{A_TYPE}(?!{IN_NAMES}))?|{_S}*+{A_TYPE}(?={_S}*+\{{))?"

#: What is a header for sure where no `<|message|>` follows, by what the run begins with. Anything else is content.
_SURE: Final[dict[Slot, re.Pattern[str]]] = {
    "author": re.compile(
        rf"{_S}*+(?:(?:{A_ROLE})+{A_CHANNEL}|(?:{A_ROLE})+(?::{IN_NAMES}+)?(?!{IN_NAMES})|{IN_NAMES}+(?={_S}++to=)|{_DOTTED})"
        rf"(?:{_S}++{A_ROLE}(?!{IN_NAMES}))*{_REST}"
    ),
    "given": re.compile(rf"{_S}*+(?:{A_ROLE})?{_S}*+{A_CHANNEL}?{_S}*+{_TO}(?:{_S}*+{A_TYPE}(?!{IN_NAMES}))?"),
    "channel": re.compile(rf"{_S}*+(?:{IN_NAMES}+(?={_S}++to=)|{A_CHANNEL}|{_DOTTED}){_REST}"),
    "content type": re.compile(rf"{_S}*+(?:{_DOTTED}|{A_TYPE}(?!{IN_NAMES})){_REST}"),
}
_SURE["stray"] = _SURE["given"]

# A word that may begin a header whose `<|start|>` is missing, and all that may become one.
_STARTER: Final = re.compile(
    rf"{A_ROLE}(?::{IN_NAMES}*|{A_CHANNEL})?|{A_CHANNEL}(?:to=.*)?|to=.*|{_FUNCTION}", re.DOTALL
)
_STARTERS: Final = (
    *_ROLES,
    *(role + channel for role in _ROLES for channel in KNOWN_CHANNELS),
    *(channel + "to=" for channel in KNOWN_CHANNELS),
    "to=",
    "functions.",
)

_LONGEST_STARTER: Final = max(map(len, _STARTERS))

_WORD: Final = re.compile(f"[^{SPACE}]+")
_PIECE: Final = re.compile(f"{IN_NAMES}+")
_JSON: Final = re.compile(rf"(?:^|{_S})\{{")
_NO_NAME: Final = re.compile('[<>{}"]')
_WHITE: Final = re.compile(f"[{SPACE.replace(ZERO_WIDTH_SPACE, '')}]*")
_ENDING_BYTES: Final = re.compile(f"{ESCAPED.pattern}{{1,3}}\\Z")
_SPACES: Final = re.compile(f"{_S}*")
_WORD_END: Final = re.compile(rb"[^ \t\n\f\r][ \t\n\f\r]")
_NO_NAME_BYTE: Final = re.compile(rb'[<>{}"]')


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
    return _WHITE.fullmatch(Run(tokens, 0, len(tokens)).text) is not None


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
    text = Run(tokens, 0, len(tokens)).text
    if not ended:  # the last bytes may be the beginning of a character
        text = _ENDING_BYTES.sub("", text, count=1)
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
        or GLUED.match(word) is not None
    )


def _may_start(word: str, slot: Slot, *, complete: bool) -> bool:
    if _STARTER.fullmatch(word):
        return True
    if slot == "given":  # a legal header may begin with these, and any word may yet get a dot
        return not complete or "." in word or word in KNOWN_CONTENT_TYPES
    return not complete and any(starter.startswith(word) for starter in _STARTERS)


def content_of(tokens: Sequence[int], run: int, slot: Slot, given: Role | None) -> Mended:
    """The header and the content that tokens hold whose last run `is_content`."""
    text = Run(tokens, run, len(tokens))
    return _split(tokens, run, slot, text, _sure(text.text, slot), given)


def give_up(tokens: Sequence[int], run: int, slot: Slot, given: Role | None, following: Following) -> Mended:
    """What to make of a header that has no `<|message|>`: what is no header for sure is content."""
    text = Run(tokens, run, len(tokens))
    offset = _sure(text.text, slot)
    rest = text.text[offset:]
    if slot == "stray" and is_blank(tokens):
        return Mended(None, b"", 0, (Fault("white-space-between", 0),))
    if following == "end of input" and _is_cut_header(text.text, offset, slot):
        return Mended(None, b"", 0, (_interrupted(len(tokens), following),))
    if rest and (offset or rest.strip()):
        return _split(tokens, run, slot, text, offset, given)
    header, faults = mend_header(tokens, given)
    says_nothing = header.channel is None and header.recipient is None and header.content_type is None
    if following == "start" and says_nothing:
        return Mended(None, b"", 0, (Fault("repeated-start", len(tokens)),))
    if following != "stop" or says_nothing:
        return Mended(None, b"", 0, (_interrupted(len(tokens), following),))
    return Mended(header, b"", len(tokens), (*faults, Fault("missing-message", len(tokens), found="a stop")))


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


def _split(tokens: Sequence[int], run: int, slot: Slot, text: Run, offset: int, given: Role | None) -> Mended:
    header, faults = mend_header(tokens, given, run, offset)
    start = text.place(offset)
    content = text.data[text.bytes_before(offset) :]
    code = "missing-message" if offset or slot != "stray" else "stray-text"
    return Mended(header, content, start, (*faults, Fault(code, start, found="text")))
