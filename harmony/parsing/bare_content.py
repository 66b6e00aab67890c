"""Where content begins whose `<|message|>` is missing: which text of a header is still a header, and which is not.

That is asked of a run, the text between two markers, while a stream comes in, and the answer "content" is never taken
back. So it is given only where no header of the strict language can follow; and as models do put words too many into
a header, a few of them are no answer yet. What the words of a header say is not known here, but in `header_repair.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from harmony.errors import Fault
from harmony.format import vocabulary
from harmony.format.header import (
    KNOWN_CONTENT_TYPES,
    OUTSIDE_NAMES,
    REMEMBERED_HEADERS,
    REMEMBERED_LENGTH,
    SPACE,
    Header,
)
from harmony.format.machine import Kind
from harmony.messages.roles import KNOWN_CHANNELS, ROLES, Role
from harmony.parsing.header_repair import (
    A_CHANNEL,
    A_ROLE,
    A_SPACE,
    A_TYPE,
    DOTTED_NAME,
    ESCAPED,
    GLUED,
    IN_NAMES,
    LOOSE_WORD,
    PIECE,
    Run,
    repaired_header,
)

#: What a run begins with: an author, after `<|start|>`; nothing, where the caller gave the role; what can only be
#: guessed, where `<|start|>` is missing; or what the marker before it says.
Slot: TypeAlias = Literal["author", "given", "stray", "channel", "content type"]
# The slots in which the first word may be anything that begins a header. In the others it is what the slot says.
_OPEN_SLOTS: Final = ("given", "stray")

# Words without a place in a header are content where they are more than these: so many may be an accident.
_MOST_STRAYS: Final = 3
#: As many words a run has at least whose words make it content: those, one more, and the one that its slot is for.
WORDS_THAT_DECIDE: Final = _MOST_STRAYS + 2

#: What errors call the token that ends a header without `<|message|>`.
ENDINGS: Final[dict[int, str]] = {
    Kind.START: "`<|start|>`",
    Kind.STOP: "a stop",
    Kind.END_OF_TEXT: "`<|endoftext|>`",
    Kind.END_OF_INPUT: "the end of the input",
}

#: What each byte is to a run: 0 where it is of a name, 1 for white space between words, 2 where the text has to be
#: looked at, for it may be neither.
BYTES: Final = bytes(
    1 if byte in b" \t\n\f\r" else 2 if byte == 0x0B or byte >= 0x7F or chr(byte) in OUTSIDE_NAMES else 0
    for byte in range(256)
)

# Where `<|start|>` is missing, so many tokens are looked at one by one: more than its first word mostly has.
_FIRST_TOKENS: Final = 20

# More words than these are content, whatever they are: a legal run has three. And so is more text than this behind a
# character that no name holds.
_MOST_WORDS: Final = 16
#: And so is a word without a place that is longer than this, as where a language writes no spaces.
LONGEST_WORD: Final = 32
_MOST_BEHIND_NAME: Final = 32

# A known word at which a word of prose cannot go on, as it would in `finally`.
_ENDS: Final = r"(?![a-z0-9_.:-])"
_TO: Final = rf"to{A_SPACE}*+={A_SPACE}*+(?:{IN_NAMES}+|\Z)"
_DOTTED: Final = rf"{DOTTED_NAME.pattern}(?!{IN_NAMES})"
_FUNCTION: Final = rf"functions\.{IN_NAMES}+"
_TYPE: Final = rf"{A_TYPE}(?:(?!{IN_NAMES})|(?=\[))"
# Behind the first item: a recipient and a type; or a type alone, where the content is plainly JSON.
_REST: Final = (
    rf"(?:(?:{A_SPACE}*+{_TO}|{A_SPACE}++{_FUNCTION})(?:{A_SPACE}*+{_TYPE})?"
    rf"|{A_SPACE}++{DOTTED_NAME.pattern}(?:{A_SPACE}*+{A_TYPE})?(?={A_SPACE}*+[{{\[])"
    rf"|{A_SPACE}*+{A_TYPE}(?={A_SPACE}*+[{{\[]))?{A_SPACE}*+"
)
_AUTHOR: Final = (
    rf"(?:{A_ROLE})+(?::{IN_NAMES}+)?(?!{IN_NAMES})(?:{A_SPACE}++{A_ROLE}(?!{IN_NAMES}))*"
    rf"(?:{A_SPACE}++{A_CHANNEL}(?!{IN_NAMES}))?"
    rf"|(?:{A_ROLE})*{A_CHANNEL}(?:(?={A_SPACE}*+to=)|{_ENDS})|{IN_NAMES}+(?={A_SPACE}++to=)|{_DOTTED}|{A_ROLE}{_ENDS}"
)
_OPEN: Final = re.compile(
    rf"{A_SPACE}*+(?:{A_ROLE})?{A_SPACE}*+{A_CHANNEL}?{A_SPACE}*+{_TO}(?:{A_SPACE}*+{_TYPE})?{A_SPACE}*+"
)
# What of a run is a header for sure where no `<|message|>` follows. Anything else is content.
_SURE: Final[dict[Slot, re.Pattern[str]]] = {
    "author": re.compile(rf"{A_SPACE}*+(?:{_AUTHOR}){_REST}"),
    "given": _OPEN,
    "stray": _OPEN,
    "channel": re.compile(rf"{A_SPACE}*+(?:{IN_NAMES}+(?={A_SPACE}++to=)|{A_CHANNEL}|{_DOTTED}){_REST}"),
    "content type": re.compile(rf"{A_SPACE}*+(?:{_TYPE}|{_DOTTED}){_REST}"),
}

# A word that may begin a header whose `<|start|>` is missing, and one that may become such a word.
_STARTER: Final = re.compile(
    rf"{A_ROLE}(?::{IN_NAMES}*|{A_CHANNEL})?|{A_CHANNEL}(?:to=.*)?|to(?:=.*)?|{DOTTED_NAME.pattern}", re.DOTALL
)
_BECOMING: Final = re.compile(rf"{A_ROLE}:.*|(?:{A_CHANNEL})?to=.*|[\w.-]*", re.DOTALL | re.ASCII)

_SPACES: Final = re.compile(f"{A_SPACE}*")
_JSON: Final = re.compile(rf"(?:^|{A_SPACE})\{{.", re.DOTALL)  # a brace by itself may be an accident
_OUTSIDE: Final = re.compile(f"[{OUTSIDE_NAMES}]")
_WORD_END: Final = re.compile(f"[^{SPACE}]{A_SPACE}")
_UNFINISHED: Final = re.compile(rf"{ESCAPED.pattern}{{1,3}}\Z")  # perhaps the beginning of a character


class BareContent(NamedTuple):
    """What became of a header without `<|message|>`.

    `header` is None where there is no message. `content` are the bytes that belong to it, the first of them in the
    token at the index `start`. The faults' positions are indices of tokens. `nothing` is True where there was no more
    than white space between messages, so that what follows is to be looked at as if it were not there.
    """

    header: Header | None
    content: bytes
    start: int
    faults: Sequence[Fault]
    nothing: bool = False


def is_blank(tokens: Sequence[int]) -> bool:
    """Whether text between messages is nothing but white space, or U+200B."""
    return _SPACES.fullmatch(Run(tokens, 0, len(tokens)).text) is not None


def slot_of(tokens: Sequence[int], run: int, given: Role | None, *, stray: bool) -> Slot:
    """What the run that begins at the index `run` begins with."""
    if run:
        return "channel" if tokens[run - 1] == vocabulary.CHANNEL else "content type"
    return "stray" if stray else "author" if given is None else "given"


def may_decide(tokens: Sequence[int], run: int, slot: Slot) -> bool:
    """Whether with its last token a run can have turned out to be content, so that it is worth a look.

    That is where the token ends a word, and as many as it takes are there; or where it holds what no name does. Where
    `<|start|>` is missing the first letters can be enough, and a token has one at least.
    """
    if slot == "stray" and len(tokens) <= _FIRST_TOKENS:
        return True
    last = _text_bytes(tokens[-1])
    if last.isalpha():
        return False
    before = _text_bytes(tokens[-2]) if len(tokens) > run + 1 else b""
    end = (before + last).decode(errors="ignore")
    if _OUTSIDE.search(end):
        return True
    if not _WORD_END.search(end):
        return False
    words = b"".join(map(_text_bytes, tokens[run:])).decode(errors="ignore")
    return sum(1 for _ in _WORD_END.finditer(words)) >= (1 if slot in _OPEN_SLOTS else WORDS_THAT_DECIDE)


def _text_bytes(token: int) -> bytes:
    return vocabulary.TOKEN_BYTES[token] if token < vocabulary.FIRST_SPECIAL else b""


def is_content(tokens: Sequence[int], run: int, slot: Slot, marker: int) -> bool:
    """Whether the run can be no part of a header any more.

    `marker` is the kind of the marker of headers that has ended it, or Kind.TEXT where it may go on.
    """
    if len(tokens) == run + 1 and slot not in _OPEN_SLOTS and _text_bytes(tokens[run]).isalpha():
        return False  # by far the most are the one word that their slot is for
    if len(tokens) - run > REMEMBERED_LENGTH:
        return _is_content(tokens, slot, marker, run)
    return _remembered(tuple(tokens[run:]), slot, marker)


def _is_content(tokens: Sequence[int], slot: Slot, marker: int, run: int = 0) -> bool:
    text = Run(tokens, run, len(tokens)).text
    ended = marker != Kind.TEXT
    if not ended:
        text = _UNFINISHED.sub("", text)
    if _JSON.search(text):
        return True
    outside = _OUTSIDE.search(text)
    if outside and len(text) - outside.start() > _MOST_BEHIND_NAME:
        return True
    strays = 0
    addressed = False  # what is written to a recipient is held back longer: two calls are worse than a late one
    placed = slot not in _OPEN_SLOTS  # the first word is what the slot says
    for count, match in enumerate(LOOSE_WORD.finditer(text)):
        complete = ended or match.end() < len(text)
        piece = PIECE.search(match[0])
        word = piece[0] if piece else ""
        if count == 0 and slot in _OPEN_SLOTS:
            begins = piece is not None and piece.start() == 0 and _may_start(word, slot, complete=complete)
            if not begins:
                return True
        if count >= _MOST_WORDS:
            return True
        if not complete:
            break
        if not (placed or _is_item(word, strays)):
            strays += 1
            # A legal content type may be as long, while no marker has told; and a legal recipient, if it has a dot.
            if ended and len(word) > LONGEST_WORD and "." not in word:
                return True
        placed = word == "to="  # the next word is the name
        named = not strays and DOTTED_NAME.fullmatch(word) is not None
        addressed = addressed or word.startswith("to=") or named
        if strays > _MOST_STRAYS and not addressed:
            return True
    # `<|channel|>analysis Need weather<|channel|>final`: behind what is no header, a second channel begins one
    return slot == "channel" and marker == Kind.CHANNEL and strays > 0 and not addressed


_remembered = lru_cache(REMEMBERED_HEADERS)(_is_content)


def _is_item(word: str, strays: int) -> bool:
    return (
        word.startswith("to=")
        or word in KNOWN_CONTENT_TYPES
        or word in KNOWN_CHANNELS
        or word in ROLES
        or GLUED.match(word) is not None
        or (not strays and DOTTED_NAME.fullmatch(word) is not None)
    )


def _may_start(word: str, slot: Slot, *, complete: bool) -> bool:
    if complete:
        legal = slot == "given" and ("." in word or word in KNOWN_CONTENT_TYPES)
        return legal or _STARTER.fullmatch(word) is not None
    return slot == "given" or _BECOMING.fullmatch(word) is not None  # any word may yet get a dot


def content_of(tokens: Sequence[int], run: int, slot: Slot, given: Role | None) -> BareContent:
    """The header and the content that tokens hold whose last run `is_content`."""
    text = Run(tokens, run, len(tokens))
    return _split(tokens, run, slot, text, _sure(text.text, slot), given)


def give_up(tokens: Sequence[int], run: int, slot: Slot, given: Role | None, ending: int) -> BareContent:
    """What to make of a header that gets no `<|message|>`, but a token of the kind `ending`.

    What is no header for sure is content. Where there is none, a stop makes a message of a header that says something.
    """
    if slot == "stray" and is_blank(tokens):
        return BareContent(None, b"", 0, [Fault("white-space-between", 0)], nothing=True)
    if slot == "given" and not tokens and ending in (Kind.STOP, Kind.END_OF_TEXT):
        return BareContent(None, b"", 0, [Fault("extra-stop", 0, found=ENDINGS[ending])])
    interrupted = BareContent(None, b"", 0, [Fault("interrupted-header", len(tokens), found=ENDINGS[ending])])
    text = Run(tokens, run, len(tokens))
    offset = _sure(text.text, slot)
    if ending == Kind.END_OF_INPUT and _is_cut_header(text.text, offset, slot):
        return interrupted
    if not _SPACES.fullmatch(text.text, offset):
        return _split(tokens, run, slot, text, offset, given)
    header, faults = repaired_header(tokens, given, ENDINGS[ending], run, len(text.text))
    says_nothing = header.channel is None and header.recipient is None and header.content_type is None
    if ending == Kind.START and says_nothing and run == 0 and header.role is Role.ASSISTANT:
        return BareContent(None, b"", 0, [Fault("repeated-start", len(tokens))])
    if says_nothing or ending not in (Kind.STOP, Kind.END_OF_TEXT):
        return interrupted
    if slot == "stray":
        faults.insert(0, Fault("missing-start", 0))
    return BareContent(
        header, b"", len(tokens), [*faults, Fault("missing-content", len(tokens), found=ENDINGS[ending])]
    )


def _sure(text: str, slot: Slot) -> int:
    """How much of a run is a header for sure, with the white space behind it."""
    match = _SURE[slot].match(text)
    if match is None:
        return 0
    if slot in _OPEN_SLOTS:
        first = PIECE.search(text)
        if first is None or not _may_start(first[0], slot, complete=True):
            return 0
    return match.end()


def _is_cut_header(text: str, offset: int, slot: Slot) -> bool:
    """Whether the input ends behind a header's item, or within a word that could have become one."""
    rest = text[offset:].lstrip(" \t\n\f\r")
    if slot in _OPEN_SLOTS and not offset:
        return False
    if not rest:
        return True
    if not PIECE.fullmatch(rest):
        return False
    if not offset:
        return True
    before = text[:offset]
    typed = before.rstrip().endswith(tuple(KNOWN_CONTENT_TYPES))
    addressed = ("to=" in before or "." in before) and not typed and rest[0] != "[" and len(rest) <= LONGEST_WORD
    becoming = not typed and any(whole.startswith(rest) for whole in (*KNOWN_CONTENT_TYPES, "to=", "functions."))
    return before[-1] in " \t\n\f\r" and (addressed or becoming or rest.startswith("functions."))


def _split(tokens: Sequence[int], run: int, slot: Slot, text: Run, offset: int, given: Role | None) -> BareContent:
    header, faults = repaired_header(tokens, given, "text", run, offset)
    if slot == "stray" and offset:
        faults.insert(0, Fault("missing-start", 0))
    start = text.place(offset)
    faults.append(Fault("stray-text" if slot == "stray" and not offset else "missing-message", start))
    return BareContent(header, bytes(memoryview(text.data)[text.bytes_before(offset) :]), start, faults)
