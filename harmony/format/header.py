"""What the words of a message header mean: tokens between `<|start|>` and `<|message|>` become a Header, and back.

    {author}[ to={recipient}][<|channel|>{channel}[ to={recipient}]][{content type}]

Reading: the automaton has seen to it that `<|channel|>` and `<|constrain|>` stand at most once each and in this
order. Headers repeat, so those of usual length are read once and remembered.

Writing: a header is written only if reading gives it back, but for two that the format's reference writes too: the
recipient `all` leaves no word behind, and a tool's name without a dot and a recipient reads as an unknown role.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from harmony.errors import Fault, quote
from harmony.format import vocabulary
from harmony.messages.model import Author, Message, TextContent
from harmony.messages.record import unchecked
from harmony.messages.roles import ROLES, Role

#: Bare words that are a content type even where no recipient stands before them.
KNOWN_CONTENT_TYPES: Final = frozenset({"json", "code", "text", "markdown", "yaml", "xml", "html", "csv"})

#: How a message's content type says that it was written as `<|constrain|>` and a word.
CONSTRAINED: Final = vocabulary.SPECIAL_TEXTS[vocabulary.CONSTRAIN]

_CHANNEL: Final = vocabulary.SPECIAL_TEXTS[vocabulary.CHANNEL]
_MESSAGE: Final = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE]
_NAMED_ROLES: Final = ROLES - {Role.TOOL.value}

#: How headers are written: as openai-harmony does, the recipient before the channel, or as oss-harmony 0.0.11 does and
#: the model tends to: the recipient after the channel `commentary`, and every content type as `<|constrain|>word`.
Style: TypeAlias = Literal["openai", "oss"]

#: A word of a header: white space between them is ASCII, and the rest of Unicode's White_Space is an error in a name.
WORD: Final = re.compile(r"[^ \t\n\f\r]+")
#: All that is white space in Unicode, and U+200B, as a set in a pattern.
SPACE: Final = "\u200b\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: What else no name holds; and a character that none does.
OUTSIDE_NAMES: Final = '<>{}"'
NOT_IN_NAMES: Final = re.compile(f"[{OUTSIDE_NAMES}{SPACE}]")

# Headers repeat, and each of four places remembers what it has asked about them, by what it has at hand:
# this module the Header, by a tuple of ids and the given role; `columns/build_c.pyx` the same by ids in its own memory,
# which threads read without the GIL; `checking/validation.py` only whether a header is legal, by the bytes of a text or
# the ids of a buffer; and `parsing/bare_content.py` whether a header that goes on is content already.
# A header has some five tokens. Those past this length are read anew each time, which bounds what is remembered.
REMEMBERED_LENGTH: Final = 64
REMEMBERED_HEADERS: Final = 4096


class Header(msgspec.Struct, frozen=True):
    """What a header says; `content_type` is normalised to `<|constrain|>word` or `word`."""

    role: Role
    name: str | None
    recipient: str | None
    channel: str | None
    content_type: str | None

    def to_dict(self) -> dict[str, Any]:
        """The header as openai-harmony lays it out in a parser's `state_data`."""
        author = {"role": self.role.value} if self.name is None else {"role": self.role.value, "name": self.name}
        return {
            "author": author,
            "recipient": self.recipient,
            "channel": self.channel,
            "content_type": self.content_type,
        }

    def message(self, text: str) -> Message:
        """A new message with this header, and `text` as its content."""
        author = unchecked(Author, self.role, self.name)
        content = [unchecked(TextContent, text)]
        message: Message = unchecked(Message, author, content, self.channel, self.recipient, self.content_type)
        return message


#: The header of a message that has none.
NO_HEADER: Final = Header(Role.ASSISTANT, None, None, None, None)


def read_header(tokens: Sequence[int], given: Role | None) -> Header:
    """The header that `tokens` spell: all between `<|start|>` and `<|message|>`, without these two.

    `given` is the role that the caller named, for the first header of a completion, which has no author of its own
    but may repeat the role. Raises Fault; its position is an index into `tokens`.
    """
    if len(tokens) <= REMEMBERED_LENGTH:
        return _remembered(tuple(tokens), given)
    return _read(tokens, given)


def open_role(tokens: Sequence[int], given: Role | None) -> Role | None:
    """The role whose turn is next where the input ends in `<|start|>` and `tokens`, if they are just a role."""
    try:
        words = [item.word for item in _items(tokens)]
    except Fault:
        return None
    if given is not None:
        return given if words in ([], [given.value]) else None
    return Role(words[0]) if len(words) == 1 and words[0] in ROLES else None


class _Run:
    """Neighbouring tokens of ordinary text, decoded together, for a character may span several."""

    __slots__ = ("_stop", "_tokens", "start", "text")

    def __init__(self, tokens: Sequence[int], start: int, stop: int) -> None:
        token_bytes = vocabulary.load().token_bytes
        data = bytearray()
        for index in range(start, stop):
            data += token_bytes(tokens[index])
        self.start = start
        self._tokens = tokens
        self._stop = stop
        try:
            self.text = data.decode()
        except UnicodeDecodeError as error:
            place = self._place_of_byte(error.start)
            raise Fault("header-not-utf-8", place, found=f"0x{data[error.start]:02x}") from None

    def place(self, offset: int) -> int:
        """The index of the token in which the character at `offset` begins."""
        return self._place_of_byte(len(self.text[:offset].encode()))

    def _place_of_byte(self, byte: int) -> int:
        # Only a fault asks for it, so that no list of where tokens end is kept, which would be larger than the text.
        token_bytes = vocabulary.load().token_bytes
        indices = range(self.start, self._stop)
        ends = accumulate(len(token_bytes(self._tokens[index])) for index in indices)
        return next((index for index, end in zip(indices, ends, strict=True) if end > byte), self._stop)


class _Item(NamedTuple):
    """A marker or a word of a header."""

    word: str  # the marker as it is written out, or the word
    offset: int  # characters from the start of the run; for a marker, its index among the tokens
    run: _Run | None  # None for a marker

    def place(self, offset: int = 0) -> int:
        """The index of the token in which the word's character at `offset` begins."""
        return self.offset if self.run is None else self.run.place(self.offset + offset)

    def fault(self, code: str, offset: int = 0) -> Fault:
        """The fault that this is what was found; its place is that of the word's character at `offset`."""
        return Fault(code, self.place(offset), found=quote(self.word))

    def name(self, start: int = 0) -> str:
        """The word from `start` on, where it is a name."""
        if wrong := NOT_IN_NAMES.search(self.word, start):
            raise self.fault("invalid-name", wrong.start())
        return self.word[start:]

    def content_type(self) -> str:
        """The word, where it is a content type."""
        if "." in self.word:  # that would be the name of a tool
            raise self.fault("dotted-content-type")
        return self.name()

    @property
    def is_recipient(self) -> bool:
        return self.run is not None and self.word.startswith("to=")


def _items(tokens: Sequence[int]) -> Iterator[_Item]:
    start = 0
    while start < len(tokens):
        if tokens[start] >= vocabulary.FIRST_SPECIAL:
            yield _Item(vocabulary.SPECIAL_TEXTS[tokens[start]], start, None)
            start += 1
            continue
        stop = start
        while stop < len(tokens) and tokens[stop] < vocabulary.FIRST_SPECIAL:
            stop += 1
        run = _Run(tokens, start, stop)
        for match in WORD.finditer(run.text):
            yield _Item(match[0], match.start(), run)
        start = stop


def _read(tokens: Sequence[int], given: Role | None) -> Header:
    author: _Item | None = None
    recipient: str | None = None
    channel: str | None = None
    content_type: str | None = None
    # What the next item has to be, as the code of the fault that it is missing.
    wanted = "missing-author" if given is None else ""
    repeated = given  # only the very first word can repeat the role that the caller gave

    for item in _items(tokens):
        if item.run is None:
            if wanted:
                raise item.fault(wanted)
            if content_type is not None:
                raise item.fault("after-content-type")
            wanted = "missing-channel" if item.word == _CHANNEL else "missing-content-type"
        elif wanted and item.is_recipient:
            raise item.fault(wanted)
        elif wanted == "missing-author":
            item.name()
            author, wanted = item, ""
        elif wanted == "missing-channel":
            if item.offset != 0:
                raise Fault(wanted, item.run.start, found="white space")
            channel, wanted = item.name(), ""
        elif wanted == "missing-content-type":
            content_type, wanted = CONSTRAINED + item.content_type(), ""
        elif content_type is not None:
            raise item.fault("after-content-type")
        elif item.is_recipient:
            if recipient is not None:
                raise item.fault("second-recipient")
            if item.word == "to=":
                after = item.run.text[item.offset + 3 : item.offset + 4]
                raise Fault("missing-recipient", item.place(), found="white space" if after else "nothing")
            recipient = item.name(len("to="))
        elif recipient is not None:
            content_type = item.content_type()
        elif item.word in KNOWN_CONTENT_TYPES:
            content_type = item.word
        elif "." in item.word:
            recipient = item.name()
        elif item.word != repeated:
            raise item.fault("unexpected-word")
        repeated = None

    if wanted:
        raise Fault(wanted, len(tokens), found=quote(_MESSAGE))
    if given is not None:
        return Header(given, None, recipient, channel, content_type)
    assert author is not None  # one was wanted
    found = read_author(author.word, addressed=recipient is not None)
    if found is None:
        raise author.fault("unknown-role")
    return Header(*found, recipient, channel, content_type)


_remembered = lru_cache(REMEMBERED_HEADERS)(_read)


def read_author(word: str, *, addressed: bool) -> tuple[Role, str | None] | None:
    """The role and name that an author's word stands for, or None; `addressed` where a recipient follows."""
    if word in ROLES:
        # `tool` by itself is a tool of that name, as in openai-harmony.
        return Role(word), word if word == Role.TOOL else None
    role, _, name = word.partition(":")
    if name and role in _NAMED_ROLES:
        return Role(role), name
    return (Role.TOOL, word) if "." in word or addressed else None


def write_header(header: Header, style: Style) -> list[str | int]:
    """What a header is made of, in order, from `<|start|>` to `<|message|>`: special tokens, and texts.

    Each text is to be encoded by itself. Raises Fault, with the field, where reading would not give the header back.
    """
    role = header.role
    name = _text("author.name", header.name)
    recipient = _text("recipient", header.recipient)
    channel = _text("channel", header.channel)
    content_type = _text("content_type", header.content_type)

    address: list[str | int] = []
    if recipient is not None and recipient != "all":
        _check_name("recipient", recipient)
        address = [f" to={recipient}"]
    behind = style == "oss" and channel == "commentary"

    pieces = [vocabulary.START, *_written_author(role, name, bool(address))]
    if not behind:
        pieces += address
    if channel is not None:
        _check_name("channel", channel)
        _check_word("channel", channel)
        pieces += [vocabulary.CHANNEL, channel]
    if behind:
        pieces += address
    if content_type is not None:
        word = content_type.removeprefix(CONSTRAINED)
        constrained = style == "oss" or word != content_type
        _check_content_type(word, is_any=constrained or bool(address))
        pieces += [" ", vocabulary.CONSTRAIN, word] if constrained else [f" {word}"]
    return [*pieces, vocabulary.MESSAGE]


def _written_author(role: Role, name: str | None, addressed: bool) -> list[str | int]:
    if name is not None:
        _check_name("author.name", name)
    if role is not Role.TOOL:
        return [role.value] if name is None else [role.value, f":{name}"]
    if name is None:
        raise Fault("nameless-tool", field="author.name")
    _check_word("author.name", name)
    if read_author(name, addressed=addressed) not in ((Role.TOOL, name), None):
        raise Fault("reads-as-author", field="author.name", found=quote(name))
    return [name]


def _text(field: str, value: object) -> str | None:
    """A field as a plain string, which a member of an enum is not."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault("wrong-type", field=field, expected="str", found=type(value).__name__)
    return vocabulary.whole(str.__str__(value), field)


def _check_name(field: str, value: str) -> None:
    if not value or NOT_IN_NAMES.search(value):
        raise Fault("unwritable-name", field=field, found=quote(value) if value else "nothing")


def _check_word(field: str, value: str) -> None:
    """A word that begins an item of its own must not read as a recipient."""
    if value.startswith("to="):
        raise Fault("reads-as-recipient", field=field, found=quote(value))


def _check_content_type(word: str, *, is_any: bool) -> None:
    if not word or "." in word or NOT_IN_NAMES.search(word):
        raise Fault("unwritable-content-type", field="content_type", found=quote(word) if word else "nothing")
    _check_word("content_type", word)
    if not is_any and word not in KNOWN_CONTENT_TYPES:
        expected = " ".join(sorted(KNOWN_CONTENT_TYPES))
        raise Fault("unknown-content-type", field="content_type", expected=f"`{expected}`", found=quote(word))
