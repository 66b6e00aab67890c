"""Finds where content begins when its `<|message|>` is missing: which text is still a header, and which is content?

    <|channel|>final {"answer": "hi"}<|return|>

The question is asked about the last header text: the text behind the last marker. Its first token has the index
`run_start`. The question is asked again and again while a stream comes in, and the answer "content" is never taken
back. So the answer is "content" only where no correct header can follow. Models also write a few words too many into
headers, so a few words without a place do not make a text content.

This module does not know what the words of a header mean. That is in `header_repair.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from harmony.errors import Diagnostic, Fault, quote, sentence
from harmony.format import vocabulary
from harmony.format.header import (
    KNOWN_CONTENT_TYPES,
    OUTSIDE_NAMES,
    REMEMBERED_HEADERS,
    REMEMBERED_LENGTH,
    REMEMBERED_REPAIRS,
    SPACE,
    Header,
    is_dotted,
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
    FUNCTIONS,
    GLUED,
    IN_NAMES,
    LOOSE_WORD,
    PIECE,
    HeaderText,
    repaired_header,
)

#: What a header text begins with. "author": it follows `<|start|>`. "given": the caller gave the role, so the text may
#: begin with any item. "stray": `<|start|>` is missing, so the first item can only be guessed. "channel" and "content
#: type": the text follows `<|channel|>` or `<|constrain|>`.
Slot: TypeAlias = Literal["author", "given", "stray", "channel", "content type"]
# In these slots the first word may be any item. In the others it is an author, a channel or a content type.
_OPEN_SLOTS: Final = ("given", "stray")

# A text with at most this many words without a place may still be a header. With more it is content.
_MOST_STRAYS: Final = 2
#: A text needs at least this many words to become content by its words: one more than those, and the first one.
WORDS_THAT_DECIDE: Final = _MOST_STRAYS + 2

# The end of a header without `<|message|>` is remembered if it has at most this many tokens: prose has more.
_MOST_REMEMBERED: Final = 8

#: The name that errors use for the token that ends a header without `<|message|>`.
ENDINGS: Final[dict[int, str]] = {
    Kind.START: "`<|start|>`",
    Kind.STOP: "a stop",
    Kind.END_OF_TEXT: "`<|endoftext|>`",
    Kind.END_OF_INPUT: "the end of the input",
}

#: The class of each byte in a header text: 0 for a byte of a name, 1 for white space between words, 2 for any other
#: byte. A text with a byte of class 2 is decoded and looked at.
BYTES: Final = bytes(
    1 if byte in b" \t\n\f\r" else 2 if byte == 0x0B or byte >= 0x7F or chr(byte) in OUTSIDE_NAMES else 0
    for byte in range(256)
)

#: Where `<|start|>` is missing, each of the first 20 tokens is looked at: the first word seldom has more.
FIRST_TOKENS: Final = 20

# A text with more words than this is content, whatever the words are; a correct one has at most three.
_MOST_WORDS: Final = 16
#: A word without a place that is longer than this makes the text content; some languages write no spaces.
LONGEST_WORD: Final = 32
# A text with more characters than this behind a character that no name holds is content.
_MOST_BEHIND_NAME: Final = 32

# Behind a known word: no further letter, as in `finally`, which is another word.
_ENDS: Final = r"(?![a-z0-9_.:-])"
_TO: Final = rf"to{A_SPACE}*+={A_SPACE}*+(?:{IN_NAMES}+|\Z)"
_DOTTED: Final = rf"{DOTTED_NAME.pattern}(?!{IN_NAMES})"
_FUNCTION: Final = rf"functions\.{IN_NAMES}+"
_TYPE: Final = rf"{A_TYPE}(?:(?!{IN_NAMES})|(?=\[))"
# What may follow the first item: a recipient and a type; or a type alone, where JSON follows.
_REST: Final = (
    rf"(?:(?:{A_SPACE}*+{_TO}|{A_SPACE}++{_FUNCTION})(?:{A_SPACE}*+{_TYPE})?"
    rf"|{A_SPACE}++{DOTTED_NAME.pattern}(?:{A_SPACE}*+{A_TYPE})?(?={A_SPACE}*+[{{\[])"
    rf"|{A_SPACE}*+{A_TYPE}(?={A_SPACE}*+[{{\[]))?{A_SPACE}*+"
)
# Behind a channel: characters that no channel has, before a recipient, as in `commentary:to=functions.f`.
_CUT: Final = rf"(?:[^\w.{OUTSIDE_NAMES}{SPACE}-]++(?=to=))?"
_AUTHOR: Final = (
    rf"(?:{A_ROLE})+(?::{IN_NAMES}+)?(?!{IN_NAMES})(?:{A_SPACE}++{A_ROLE}(?!{IN_NAMES}))*"
    rf"(?:{A_SPACE}++{A_CHANNEL}(?!{IN_NAMES}))?"
    rf"|(?:{A_ROLE})*{A_CHANNEL}(?:(?={A_SPACE}*+to=)|{_ENDS})|{IN_NAMES}+(?={A_SPACE}++to=)|{_DOTTED}|{A_ROLE}{_ENDS}"
)
_OPEN: Final = re.compile(
    rf"{A_SPACE}*+(?:{A_ROLE})?{A_SPACE}*+{A_CHANNEL}?{A_SPACE}*+{_TO}(?:{A_SPACE}*+{_TYPE})?{A_SPACE}*+"
)
# The part of a header text that is certainly a header though no `<|message|>` follows. The rest is content.
_SURE: Final[dict[Slot, re.Pattern[str]]] = {
    "author": re.compile(rf"{A_SPACE}*+(?:{_AUTHOR}){_REST}"),
    "given": _OPEN,
    "stray": _OPEN,
    "channel": re.compile(rf"{A_SPACE}*+(?:{IN_NAMES}+(?={A_SPACE}++to=)|{A_CHANNEL}{_CUT}|{_DOTTED}){_REST}"),
    "content type": re.compile(rf"{A_SPACE}*+(?:{_TYPE}|{_DOTTED}){_REST}"),
}

# A word that may begin a header whose `<|start|>` is missing; and an unfinished word that may become such a word.
_STARTER: Final = re.compile(
    rf"(?:{A_ROLE})+(?::{IN_NAMES}*|{A_CHANNEL})?|{A_CHANNEL}(?:to=.*)?|to(?:=.*)?|{DOTTED_NAME.pattern}", re.DOTALL
)
_BECOMING: Final = re.compile(rf"(?:{A_ROLE})+:.*|(?:{A_CHANNEL})?to=.*|[\w.-]*", re.DOTALL | re.ASCII)

_GLUED_TEXT: Final = re.compile(rf"{A_CHANNEL}(?!.*to=).*[^\w.-]", re.DOTALL)
_ITEMS: Final = ("to=", *ROLES, *KNOWN_CHANNELS)
_ITEM: Final = re.compile(rf"to=|(?:{A_ROLE}|{A_CHANNEL})\Z|{GLUED.pattern}")
_SPACES: Final = re.compile(f"{A_SPACE}*")
_NOTHING: Final = re.compile(rf"{A_SPACE}*+{A_ROLE}?{A_SPACE}*+{A_CHANNEL}?{A_SPACE}*+")
_JSON: Final = re.compile(rf"(?:^|{A_SPACE})\{{.", re.DOTALL)  # a single brace may be an accident
_OUTSIDE: Final = re.compile(f"[{OUTSIDE_NAMES}]")
_WORD_END: Final = re.compile(f"[^{SPACE}]{A_SPACE}")
_UNFINISHED: Final = re.compile(rf"{ESCAPED.pattern}{{1,3}}\Z")  # perhaps the beginning of a character


# Sentences without facts, which are ready for use.
_MISSING_MESSAGE: Final = sentence("missing-message")
_MISSING_START: Final = sentence("missing-start")
_STRAY_TEXT: Final = sentence("stray-text")
_REPEATED_START: Final = sentence("repeated-start")


class BareContent(NamedTuple):
    """The result of repairing a header without `<|message|>`.

    `header` is None where there is no message. `content` has the bytes of its content; the first of them is in the
    token at the index `start`. The positions of `faults` are token indices. `nothing` is True where the text was only
    white space between messages, or the rest of a header behind a stop: the next token is then taken as if the text
    were not there. `addressed` is True where the header named a recipient, but there is no message.
    """

    header: Header | None
    content: bytes | bytearray
    start: int
    faults: Sequence[Diagnostic]
    nothing: bool = False
    addressed: bool = False


def is_nothing(tokens: Sequence[int]) -> bool:
    """Whether a text between messages is no message, if no header and no content follows it.

    That is white space and U+200B, or the rest of a header, as in `<|call|>commentary`.
    """
    return _NOTHING.fullmatch(HeaderText(tokens, 0, len(tokens)).text) is not None


def slot_of(tokens: Sequence[int], run_start: int, given: Role | None, *, stray: bool) -> Slot:
    """What the header text that begins at the token `run_start` begins with."""
    if run_start:
        return "channel" if tokens[run_start - 1] == vocabulary.CHANNEL else "content type"
    return "stray" if stray else "author" if given is None else "given"


def may_decide(tokens: Sequence[int], run_start: int, slot: Slot) -> bool:
    """Whether the last token may have turned a header text into content, so that `is_content` is worth asking.

    It may, if the token ends a word and there are enough words, or if the token has a character that no name holds.
    Where `<|start|>` is missing, the first letters may be enough, so the first tokens are all worth asking.
    """
    if slot == "stray" and len(tokens) <= FIRST_TOKENS:
        return True
    last = _text_bytes(tokens[-1])
    if last.isalpha():
        return False
    before = _text_bytes(tokens[-2]) if len(tokens) > run_start + 1 else b""
    end = (before + last).decode(errors="ignore")
    if _OUTSIDE.search(end):
        return True
    if not _WORD_END.search(end):
        return False
    words = b"".join(map(_text_bytes, tokens[run_start:])).decode(errors="ignore")
    return sum(1 for _ in _WORD_END.finditer(words)) >= (1 if slot in _OPEN_SLOTS else WORDS_THAT_DECIDE)


def _text_bytes(token: int) -> bytes:
    return vocabulary.TOKEN_BYTES[token] if token < vocabulary.FIRST_SPECIAL else b""


def is_content(tokens: Sequence[int], run_start: int, slot: Slot, marker: int) -> bool:
    """Whether the header text is certainly content.

    `marker` is the kind of the marker that has ended the text, or Kind.TEXT where the text may go on.
    """
    if len(tokens) == run_start + 1 and slot not in _OPEN_SLOTS and _text_bytes(tokens[run_start]).isalpha():
        return False  # most header texts are one word, the one that their slot is for
    if len(tokens) - run_start > REMEMBERED_LENGTH:
        return _is_content(tokens, slot, marker, run_start)
    return _remembered(tuple(tokens[run_start:]), slot, marker)


def _is_content(tokens: Sequence[int], slot: Slot, marker: int, run_start: int = 0) -> bool:
    text = HeaderText(tokens, run_start, len(tokens)).text
    ended = marker != Kind.TEXT
    if not ended and text and "\udc80" <= text[-1] <= "\udcff":
        text = _UNFINISHED.sub("", text)
    outside = _OUTSIDE.search(text)
    if outside and (len(text) - outside.start() > _MOST_BEHIND_NAME or _JSON.search(text)):
        return True
    strays = 0
    was_to = False
    addressed = False  # after a recipient the decision waits: to make two calls of one is worse than to be late
    placed = slot not in _OPEN_SLOTS  # the first word is what the slot says
    for count, match in enumerate(LOOSE_WORD.finditer(text)):
        complete = ended or match.end() < len(text)
        word, start = match[0], 0
        if outside:
            piece = PIECE.search(word)
            word, start = (piece[0], piece.start()) if piece else ("", 0)
        if count == 0 and slot in _OPEN_SLOTS and (not word or start or not _may_start(word, slot, complete=complete)):
            return True
        # A known channel, glued to text of a language without spaces; its punctuation stands in no channel.
        if count == 0 and slot == "channel" and len(word) > LONGEST_WORD and _GLUED_TEXT.match(word):
            return True
        if count >= _MOST_WORDS:
            return True
        if not complete:
            break
        if was_to and word.startswith("="):
            word = "to" + word  # `to =functions.f`
        elif was_to:
            strays += 1
        was_to = word == "to" and not placed
        if was_to:
            continue
        named = "." in word and (word.startswith(FUNCTIONS) or not strays) and DOTTED_NAME.fullmatch(word) is not None
        if not (placed or named or _is_item(word)):
            strays += 1
            # While the text may go on, a long word may be a correct content type; with a dot, a correct recipient.
            if ended and len(word) > LONGEST_WORD and "." not in word:
                return True
        placed = word == "to="  # the next word is the name
        addressed = addressed or named or word.startswith("to=")
        if strays > _MOST_STRAYS and not addressed:
            return True
    strays += was_to
    if not ended or not strays or addressed:
        return False
    # `<|channel|>analysis Need weather<|channel|>final`: the second channel begins another header
    if slot == "channel" and marker == Kind.CHANNEL:
        return True
    # `some text <|reserved_200050|> more text <|channel|>final`: no header holds that token
    return slot in _OPEN_SLOTS and any(token >= vocabulary.FIRST_SPECIAL for token in tokens[run_start:])


_remembered = lru_cache(REMEMBERED_HEADERS)(_is_content)


def _is_item(word: str) -> bool:
    """Whether a word has a place in a header, other than a name with a dot."""
    return word in KNOWN_CONTENT_TYPES or (word.startswith(_ITEMS) and _ITEM.match(word) is not None)


def _may_start(word: str, slot: Slot, *, complete: bool) -> bool:
    if complete:
        legal = slot == "given" and (is_dotted(word) or word in KNOWN_CONTENT_TYPES or not word.strip("."))
        return legal or _STARTER.fullmatch(word) is not None
    return slot == "given" or _BECOMING.fullmatch(word) is not None  # any word may yet get a dot


def content_of(tokens: Sequence[int], run_start: int, slot: Slot, given: Role | None) -> BareContent:
    """Splits tokens into a header and content, where `is_content` is true of their last header text."""
    text = HeaderText(tokens, run_start, len(tokens))
    return _split(tokens, slot, text, _sure(text.text, slot), given)


def give_up(tokens: Sequence[int], run_start: int, slot: Slot, given: Role | None, ending: int) -> BareContent:
    """Repairs a header that ends without `<|message|>`, at a token of the kind `ending`.

    Text that is not certainly a header becomes content. Where there is no such text, there is no message: an answer or
    a call is never invented.
    """
    if len(tokens) > _MOST_REMEMBERED:
        return _give_up(tokens, run_start, slot, given, ending)
    return _remembered_end(tuple(tokens), run_start, slot, given, ending)


def _give_up(tokens: Sequence[int], run_start: int, slot: Slot, given: Role | None, ending: int) -> BareContent:
    if slot == "stray" and is_nothing(tokens):
        words = " ".join(LOOSE_WORD.findall(HeaderText(tokens, 0, len(tokens)).text))
        fault = Fault("leftover-word", found=quote(words)) if words else Fault("white-space-between")
        return BareContent(None, b"", 0, [fault.diagnostic(0)], nothing=True)
    if slot == "given" and not tokens and ending in (Kind.STOP, Kind.END_OF_TEXT):
        return BareContent(None, b"", 0, [Fault("extra-stop", found=ENDINGS[ending]).diagnostic(0)])
    repeated = BareContent(None, b"", 0, [Diagnostic("repeated-start", _REPEATED_START, len(tokens))])
    if not tokens and ending == Kind.START and given in (None, Role.ASSISTANT):
        return repeated
    given_up = Fault("interrupted-header", found=ENDINGS[ending]).diagnostic(len(tokens))
    interrupted = BareContent(None, b"", 0, [given_up])
    text = HeaderText(tokens, run_start, len(tokens))
    offset = _sure(text.text, slot)
    if ending == Kind.END_OF_INPUT and _is_cut_header(text.text, offset, slot):
        return interrupted
    if not _SPACES.fullmatch(text.text, offset):
        return _split(tokens, slot, text, offset, given)
    header, _ = repaired_header(tokens, given, ENDINGS[ending])
    says_nothing = header.channel is None and header.recipient is None and header.content_type is None
    if ending == Kind.START and says_nothing and run_start == 0 and header.role is Role.ASSISTANT:
        return repeated
    return interrupted._replace(addressed=header.recipient is not None)


_remembered_end = lru_cache(REMEMBERED_REPAIRS)(_give_up)


def _sure(text: str, slot: Slot) -> int:
    """How many characters of a header text are certainly a header, with the white space behind them."""
    match = _SURE[slot].match(text)
    if match is None:
        return 0
    if slot in _OPEN_SLOTS:
        first = PIECE.search(text)
        if first is None or not _may_start(first[0], slot, complete=True):
            return 0
    return match.end()


def _is_cut_header(text: str, offset: int, slot: Slot) -> bool:
    """Whether the input ends behind an item of a header, or inside a word that could have become an item."""
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


def _split(tokens: Sequence[int], slot: Slot, text: HeaderText, offset: int, given: Role | None) -> BareContent:
    before = text.bytes_before(offset)
    start = text.place_of_byte(before)
    header, found = repaired_header(tokens[: start + 1], given, "text", offset)
    if slot != "stray":
        faults = [*found, Diagnostic("missing-message", _MISSING_MESSAGE, start)]
    elif offset:
        missing_start = Diagnostic("missing-start", _MISSING_START, 0)
        faults = [missing_start, *found, Diagnostic("missing-message", _MISSING_MESSAGE, start)]
    else:
        faults = [*found, Diagnostic("stray-text", _STRAY_TEXT, start)]
    del text.data[:before]  # the rest is passed on without a copy, for it can be very long
    return BareContent(header, text.data, start, faults)
