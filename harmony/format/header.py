"""What the words of a message header mean: reads the tokens between `<|start|>` and `<|message|>`, and writes them.

    {author}[ to={recipient}][<|channel|>{channel}[ to={recipient}]][{content type}]

Reading: the automaton ensures that `<|channel|>` and `<|constrain|>` stand at most once each, and in this order.
Headers repeat, so a header of usual length is read once and remembered.

Writing: a header is written only if reading it gives the same Header. There are two exceptions, which openai-harmony
writes too: the recipient `all` is not written, and a tool whose name has no dot may have any recipient, though its name
is read as an unknown role unless the recipient is `assistant`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgspec

from harmony.errors import Fault, quote
from harmony.format import vocabulary
from harmony.format.choices import Style
from harmony.messages.model import Author, Message, TextContent
from harmony.messages.record import unchecked
from harmony.messages.roles import ROLES, Role

#: A bare word of these is a content type. Behind a recipient, any word without a dot is one.
KNOWN_CONTENT_TYPES: Final = frozenset({"json", "code", "text", "markdown", "yaml", "xml", "html", "csv"})

#: The beginning of a content type that is written with the marker, as in `<|constrain|>json`.
CONSTRAINED: Final = vocabulary.SPECIAL_TEXTS[vocabulary.CONSTRAIN]

_CHANNEL: Final = vocabulary.SPECIAL_TEXTS[vocabulary.CHANNEL]
_MESSAGE: Final = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE]
_NAMED_ROLES: Final = ROLES - {Role.TOOL.value}

#: A word of a header. Only this ASCII white space separates words; other Unicode white space is an error in a name.
WORD: Final = re.compile(r"[^ \t\n\f\r]+")
#: All Unicode white space, and U+200B, for use inside `[...]` of a pattern.
SPACE: Final = "\u200b\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: The other characters that no name may hold; then a pattern for any character that no name may hold.
OUTSIDE_NAMES: Final = '<>{}"'
NOT_IN_NAMES: Final = re.compile(f"[{OUTSIDE_NAMES}{SPACE}]")
#: A dot that does not part two names of a tool, as in `...`, `Sure.` and `functions.`.
LOOSE_DOT: Final = re.compile(r"\A\.|\.(?=\.|\Z)")
#: A channel's name is letters, digits, `_`, `-` and dots. This is any other character.
NOT_IN_CHANNELS: Final = re.compile(r"[^\w.-]")

# Headers repeat, so some modules remember what they found out about them:
# - this module: the Header or its fault, by a tuple of ids and the given role;
# - `parsing/parser_c.pyx`: the Header, by its text and the given role;
# - `columns/headers.pyx`: the same, by ids or text in its own memory, which threads read without the GIL;
# - `checking/validation.py`: only whether a header is legal, by the bytes of a text or by the ids of a buffer;
# - `parsing/bare_content.py`: whether an unfinished header is already content;
# - `parsing/header_repair.py`: what a broken header means, and the diagnostics.
# A header has about five tokens. A longer one than this is read again each time, which limits the memory.
REMEMBERED_LENGTH: Final = 64
REMEMBERED_HEADERS: Final = 4096
REMEMBERED_REPAIRS: Final = 1024  # these take more memory


class Header(msgspec.Struct, frozen=True):
    """The fields of a header. `content_type` is `word` or `<|constrain|>word`, without white space between."""

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

    def resumed(self, before: Header) -> Header:
        """This header, as the rest of one whose first part is `before`: `<|channel|>final<|message|><|channel|>…`."""
        return Header(
            before.role if self.role is Role.ASSISTANT else self.role,
            before.name if self.role is Role.ASSISTANT else self.name,
            before.recipient if self.recipient is None else self.recipient,
            before.channel if self.channel is None else self.channel,
            before.content_type if self.content_type is None else self.content_type,
        )

    def message(self, text: str) -> Message:
        """A new message with this header, and `text` as its content."""
        author = unchecked(Author, self.role, self.name)
        content = [unchecked(TextContent, text)]
        message: Message = unchecked(Message, author, content, self.channel, self.recipient, self.content_type)
        return message


class DefaultChannel(msgspec.Struct, frozen=True):
    """The channel of messages without a channel and a recipient: those of the assistant, or of every author.

    With `in_empty_completion`, a completion that ends in a stop and has no message gets an empty one on this channel.
    """

    name: str
    every_author: bool = False
    in_empty_completion: bool = False

    @lru_cache(REMEMBERED_HEADERS)  # noqa: B019  it keeps few small objects
    def of(self, header: Header) -> Header:
        """The header, with this channel where it is to have it."""
        if header.channel is not None or header.recipient is not None:
            return header
        if header.role is not Role.ASSISTANT and not self.every_author:
            return header
        return msgspec.structs.replace(header, channel=self.name)


#: The header of a message that has no header of its own: the assistant's, with no other field.
NO_HEADER: Final = Header(Role.ASSISTANT, None, None, None, None)


def read_header(tokens: Sequence[int], given: Role | None) -> Header:
    """Reads the header in `tokens`, which are the tokens between `<|start|>` and `<|message|>`.

    `given` is the role that the caller gave for the first header of a completion. That header has no author, but may
    repeat the role. Raises Fault; its position is an index into `tokens`.
    """
    if len(tokens) > REMEMBERED_LENGTH:
        return _read(tokens, given)
    found = _remembered(tuple(tokens), given)
    if isinstance(found, Fault):
        raise found.again()
    return found


def open_role(tokens: Sequence[int], given: Role | None) -> Role | None:
    """The role whose turn is next, where the input ends in `<|start|>` and `tokens`. None where these are no role."""
    try:
        words = [item.word for item in _items(tokens)]
    except Fault:
        return None
    if given is not None:
        return given if words in ([], [given.value]) else None
    return Role(words[0]) if len(words) == 1 and words[0] in ROLES else None


class _HeaderText:
    """The text between two markers of a header. Its tokens are decoded together: a character may span several."""

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
        # Only faults need this, so the ends of the tokens are counted again: a list of them would outgrow the text.
        token_bytes = vocabulary.load().token_bytes
        indices = range(self.start, self._stop)
        ends = accumulate(len(token_bytes(self._tokens[index])) for index in indices)
        return next((index for index, end in zip(indices, ends, strict=True) if end > byte), self._stop)


class _Item(NamedTuple):
    """A marker or a word of a header."""

    word: str  # the marker as it is written out, or the word
    offset: int  # characters from the start of its header text; for a marker, its index among the tokens
    header_text: _HeaderText | None  # None for a marker

    def place(self, offset: int = 0) -> int:
        """The index of the token in which the word's character at `offset` begins."""
        return self.offset if self.header_text is None else self.header_text.place(self.offset + offset)

    def fault(self, code: str, offset: int = 0) -> Fault:
        """A fault at this item; its position is the token of the word's character at `offset`."""
        return Fault(code, self.place(offset), found=quote(self.word))

    def name(self, start: int = 0) -> str:
        """The word from `start` on. Raises Fault where that is no name."""
        if wrong := NOT_IN_NAMES.search(self.word, start):
            raise self.fault("invalid-name", wrong.start())
        return self.word[start:]

    def recipient(self, start: int = 0) -> str:
        """The word from `start` on. Raises Fault where that is no recipient."""
        name = self.name(start)
        if wrong := LOOSE_DOT.search(name):
            raise self.fault("invalid-name/dot", start + wrong.start())
        return name

    def channel(self) -> str:
        """The word. Raises Fault where it is no channel's name."""
        name = self.name()
        if wrong := NOT_IN_CHANNELS.search(name):
            raise self.fault("invalid-name/channel", wrong.start())
        return name

    def content_type(self) -> str:
        """The word. Raises Fault where it is no content type."""
        if "." in self.word:  # a word with a dot is the name of a tool
            raise self.fault("dotted-content-type")
        return self.name()

    @property
    def is_recipient(self) -> bool:
        return self.header_text is not None and self.word.startswith("to=")


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
        header_text = _HeaderText(tokens, start, stop)
        for match in WORD.finditer(header_text.text):
            yield _Item(match[0], match.start(), header_text)
        start = stop


def _read(tokens: Sequence[int], given: Role | None) -> Header:
    author: _Item | None = None
    recipient: str | None = None
    channel: str | None = None
    content_type: str | None = None
    # The code of the fault to raise if the next item is not the one that has to follow; "" if any item may follow.
    wanted = "missing-author" if given is None else ""
    repeated = given  # only the first word may repeat the role that the caller gave

    for item in _items(tokens):
        if item.header_text is None:
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
                raise Fault(wanted, item.header_text.start, found="white space")
            channel, wanted = item.channel(), ""
        elif wanted == "missing-content-type":
            content_type, wanted = CONSTRAINED + item.content_type(), ""
        elif content_type is not None:
            raise item.fault("after-content-type")
        elif item.is_recipient:
            if recipient is not None:
                raise item.fault("second-recipient")
            if item.word == "to=":
                after = item.header_text.text[item.offset + 3 : item.offset + 4]
                raise Fault("missing-recipient", item.place(), found="white space" if after else "nothing")
            recipient = item.recipient(len("to="))
        elif recipient is not None:
            content_type = item.content_type()
        elif item.word in KNOWN_CONTENT_TYPES:
            content_type = item.word
        elif "." in item.word:
            recipient = item.recipient()
        elif item.word != repeated:
            raise item.fault("unexpected-word")
        repeated = None

    if wanted:
        raise Fault(wanted, len(tokens), found=quote(_MESSAGE))
    if given is not None:
        return Header(given, None, recipient, channel, content_type)
    assert author is not None  # else `missing-author` was raised
    found = read_author(author.word, answers=recipient == Role.ASSISTANT.value)
    if found is None:
        raise author.fault("unknown-role")
    return Header(*found, recipient, channel, content_type)


@lru_cache(REMEMBERED_HEADERS)
def _remembered(tokens: tuple[int, ...], given: Role | None) -> Header | Fault:
    try:
        return _read(tokens, given)
    except Fault as fault:
        return fault.again()  # without a traceback, which would keep frames alive


def read_author(word: str, *, answers: bool) -> tuple[Role, str | None] | None:
    """The role and the name that an author's word stands for; None for no author. `answers`: to the assistant."""
    if word in ROLES:
        # `tool` by itself is a tool of that name, as in openai-harmony.
        return Role(word), word if word == Role.TOOL else None
    role, _, name = word.partition(":")
    if name and role in _NAMED_ROLES:
        return Role(role), name
    return (Role.TOOL, word) if is_dotted(word) or (answers and "." not in word) else None


def is_dotted(word: str) -> bool:
    """Whether a word has dots, each of which parts two names, as in the name of a tool."""
    return "." in word and not LOOSE_DOT.search(word)


def check_header(header: Header, style: Style) -> None:
    """Raises Fault, with the field, for a header that would not be read back as it is."""
    addressed = header.recipient is not None and header.recipient != "all"
    if header.name is not None:
        _check_name("author.name", header.name)
        if header.role is Role.TOOL:
            _check_word("author.name", header.name)
            answers = header.recipient == Role.ASSISTANT.value
            if read_author(header.name, answers=answers) not in ((Role.TOOL, header.name), None):
                raise Fault("reads-as-author", field="author.name", found=quote(header.name))
            _check_dots("author.name", header.name)
    if header.recipient is not None and addressed:
        _check_name("recipient", header.recipient)
        _check_dots("recipient", header.recipient)
    if header.channel is not None:
        _check_name("channel", header.channel)
        _check_word("channel", header.channel)
        if not is_channel(header.channel):
            raise Fault("unwritable-name/channel", field="channel", found=quote(header.channel))
    if header.content_type is not None:
        word = header.content_type.removeprefix(CONSTRAINED)
        _check_content_type(word, is_any=style == "oss" or word != header.content_type or addressed)


def write_header(header: Header, style: Style) -> list[str | int]:
    """The pieces of a header in order, from `<|start|>` to `<|message|>`: ids of special tokens, and texts.

    Encode each text by itself. Only a header that `check_header` accepts is read back as it was.
    """
    address: list[str | int] = []
    if header.recipient is not None and header.recipient != "all":
        address = [f" to={header.recipient}"]
    behind = style == "oss" and header.channel == "commentary"

    pieces: list[str | int] = [vocabulary.START]
    if header.role is Role.TOOL:
        pieces.append(header.name or "")
    else:
        pieces += [header.role.value] if header.name is None else [header.role.value, f":{header.name}"]
    if not behind:
        pieces += address
    if header.channel is not None:
        pieces += [vocabulary.CHANNEL, header.channel]
    if behind:
        pieces += address
    if header.content_type is not None:
        word = header.content_type.removeprefix(CONSTRAINED)
        constrained = style == "oss" or word != header.content_type
        pieces += [" ", vocabulary.CONSTRAIN, word] if constrained else [f" {word}"]
    return [*pieces, vocabulary.MESSAGE]


def whole_header(role: Role, name: object, recipient: object, channel: object, content_type: object) -> Header:
    """A header of these fields, which a user may have set to anything. Raises Fault, with the field, for no text."""
    header = Header(
        role,
        _text("author.name", name),
        _text("recipient", recipient),
        _text("channel", channel),
        _text("content_type", content_type),
    )
    if role is Role.TOOL and header.name is None:
        raise Fault("nameless-tool", field="author.name")
    return header


def _text(field: str, value: object) -> str | None:
    """The value of a field as exactly a `str`, not as a member of an enum. Raises Fault where it is no string."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault("wrong-type", field=field, expected="str", found=type(value).__name__)
    return vocabulary.whole(str.__str__(value), field)


def is_channel(word: str) -> bool:
    """Whether a header can hold the word as a channel."""
    return bool(word) and not NOT_IN_CHANNELS.search(word)


def _check_name(field: str, value: str) -> None:
    if not value or NOT_IN_NAMES.search(value):
        raise Fault("unwritable-name", field=field, found=quote(value) if value else "nothing")


def _check_dots(field: str, value: str) -> None:
    if LOOSE_DOT.search(value):
        raise Fault("unwritable-name/dot", field=field, found=quote(value))


def _check_word(field: str, value: str) -> None:
    """Raises Fault for a word that would be read as a recipient."""
    if value.startswith("to="):
        raise Fault("reads-as-recipient", field=field, found=quote(value))


def _check_content_type(word: str, *, is_any: bool) -> None:
    if not word or "." in word or NOT_IN_NAMES.search(word):
        raise Fault("unwritable-content-type", field="content_type", found=quote(word) if word else "nothing")
    _check_word("content_type", word)
    if not is_any and word not in KNOWN_CONTENT_TYPES:
        expected = " ".join(sorted(KNOWN_CONTENT_TYPES))
        raise Fault("unknown-content-type", field="content_type", expected=f"`{expected}`", found=quote(word))
