"""What explains a header that the two libraries read differently: one row of `docs/differences.md` each.

A row is a function that takes the feature which the row is about out of a header, as little as that needs, in each of
the ways there are; of a header without the feature it makes nothing. A row explains a difference if both libraries
accept what it makes, and read it alike. Where a header has several such features, it takes several rows.

Headers are strings of `marked.py`, all between `<|start|>` and `<|message|>`. `given` is the role that the caller gave,
for the first header of a completion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from fuzz.marked import CHANNEL, CONSTRAIN, MARKS
from harmony.format.header import KNOWN_CONTENT_TYPES, OUTSIDE_NAMES, SPACE
from harmony.messages.roles import ROLES

Explanation: TypeAlias = Callable[[str, str | None], Iterator[str]]

_SPACE: Final = r"[ \t\n\f\r]"
_IN_WORD: Final = rf"[^ \t\n\f\r{MARKS}]"
_WORD: Final = f"{_IN_WORD}+"
_WORD_START: Final = f"(?<!{_IN_WORD})"
_WORD_END: Final = f"(?!{_IN_WORD})"
_BARE: Final = f"{_WORD_START}(?<![{CHANNEL}{CONSTRAIN}])"  # a word that is no channel and no constrained type begins
_OTHER_SPACE: Final = rf"(?![ \t\n\f\r\u200b])[{SPACE}]"
_NAME_CHARACTER: Final = f"[^{SPACE}{OUTSIDE_NAMES}{MARKS}]"
_KNOWN_TYPE: Final = f"(?:{'|'.join(KNOWN_CONTENT_TYPES)}){_WORD_END}"
_CHANNEL_ITEM: Final = f"{CHANNEL}{_WORD}"
#: A header's first word where it is the author.
_AUTHOR: Final = re.compile(f"{_SPACE}*(?P<author>{_WORD})")


def _each(pattern: str, replacement: str, header: str) -> Iterator[str]:
    """The header with one place where the pattern fits replaced; each of them in turn."""
    for match in re.finditer(pattern, header):
        yield header[: match.start()] + match.expand(replacement) + header[match.end() :]


def _all(pattern: str, replacement: str, header: str) -> Iterator[str]:
    """The header with all places where the pattern fits replaced at once."""
    replaced = re.sub(pattern, replacement, header)
    if replaced != header:
        yield replaced


def type_as_recipient(header: str, given: str | None) -> Iterator[str]:
    """`final <|constrain|>json`, `analysis code`: the recipient that openai-harmony reads is written as one."""
    yield from _each(f"{CONSTRAIN}(?={_IN_WORD})|{_BARE}(?={_KNOWN_TYPE})", " to=", header)


def misplaced_marker(header: str, given: str | None) -> Iterator[str]:
    """Markers that a header may not hold: they are left out, or an `x`."""
    fitting = re.sub(f"(?![{CHANNEL}{CONSTRAIN}])[{MARKS}]", "", header)
    channel, once, rest = fitting.partition(CHANNEL)
    fitting = channel + once + rest.replace(CHANNEL, "")
    first, once, rest = fitting.partition(CONSTRAIN)
    before, _, last = fitting.rpartition(CONSTRAIN)
    for one in (first + once + rest.replace(CONSTRAIN, ""), before.replace(CONSTRAIN, "") + once + last):
        if one != header:
            yield one
    yield from _all(f"(?![{CHANNEL}{CONSTRAIN}])[{MARKS}]", "x", header)


def named_role(header: str, given: str | None) -> Iterator[str]:
    """`user:alice`: the name is left out."""
    if given is None:
        yield from _all(f"^({_SPACE}*(?:system|developer|user|assistant)):{_NAME_CHARACTER}+{_WORD_END}", r"\1", header)


def tool_by_itself(header: str, given: str | None) -> Iterator[str]:
    """`functions.f<|message|>`: the tool answers the assistant."""
    if given is None:
        author = rf"^({_SPACE}*(?={_IN_WORD}*\.){_WORD})(?={_SPACE}*(?:{_CHANNEL_ITEM})?{_SPACE}*$)"
        yield from _all(author, r"\1 to=assistant", header)


def spaced_constrain(header: str, given: str | None) -> Iterator[str]:
    """`<|constrain|> json`: the white space is left out."""
    yield from _all(f"{CONSTRAIN}{_SPACE}+(?={_IN_WORD})", CONSTRAIN, header)


def spelled_marker(header: str, given: str | None) -> Iterator[str]:
    """Text that spells a marker: it is one."""
    spelled = header.replace("<|channel|>", CHANNEL).replace("<|constrain|>", CONSTRAIN)
    if spelled != header:
        yield spelled


def unknown_word(header: str, given: str | None) -> Iterator[str]:
    """`assistant lookup`: the recipient that openai-harmony reads is written as one."""
    author = _AUTHOR.match(header) if given is None else None
    start = author.end() if author else 0
    for rest in _each(rf"{_BARE}(?!to=|{_KNOWN_TYPE})(?=[^ \t\n\f\r{MARKS}.]+{_WORD_END})", "to=", header[start:]):
        yield header[:start] + rest


def unknown_author_calls(header: str, given: str | None) -> Iterator[str]:
    """`lookup to=functions.f`: the unknown author answers the assistant."""
    author = _AUTHOR.match(header)
    if given is None and author and "." not in author["author"] and author["author"] not in ROLES:
        rest = header[author.end() :]
        recipient = rf"{_BARE}(?:to={_NAME_CHARACTER}+|(?=[^\s.]*\.){_NAME_CHARACTER}+){_WORD_END}"
        for answering in _each(recipient, "to=assistant", rest):
            yield header[: author.end()] + answering


def loose_dot(header: str, given: str | None) -> Iterator[str]:
    """`...`, `Sure.`: there is a letter on both sides of each dot."""
    yield from _all(rf"(?:{_WORD_START}|(?<=\.)|(?<=to=)|(?<=:))(?=\.)|(?<=\.){_WORD_END}", "x", header)


def channel_that_is_no_word(header: str, given: str | None) -> Iterator[str]:
    """`commentary?`: each character of the channel's name but letters and digits becomes `_`."""

    def words_alone(match: re.Match[str]) -> str:
        return CHANNEL + re.sub(rf"(?![\w.-]){_NAME_CHARACTER}", "_", match[1])

    replaced = re.sub(f"{CHANNEL}({_WORD})", words_alone, header)
    if replaced != header:
        yield replaced


def other_white_space(header: str, given: str | None) -> Iterator[str]:
    """U+00A0 and other white space that is not ASCII, and U+000B: it is left out, or a space."""
    yield from _all(f"(?:{_OTHER_SPACE})+", "", header)
    yield from _all(f"(?:{_OTHER_SPACE})+", " ", header)


def no_name_character(header: str, given: str | None) -> Iterator[str]:
    """U+200B, or one of `< > { } "`: it is left out, or an `x`."""
    outside = r"(?:(?!<\|(?:channel|constrain)\|>)[<>{}\"\u200b])+"
    yield from _all(outside, "x", header)
    yield from _all(outside, "", header)


def empty_recipient(header: str, given: str | None) -> Iterator[str]:
    """`to=` and no name: there is one."""
    yield from _all(f"{_BARE}to={_WORD_END}", "to=assistant", header)


def empty_type(header: str, given: str | None) -> Iterator[str]:
    """`<|constrain|>` and no word: the marker is left out, or there is a word."""
    yield from _all(f"{CONSTRAIN}(?={_SPACE}*(?:[{MARKS}]|$))", "", header)
    yield from _all(f"{CONSTRAIN}(?={_SPACE}*(?:[{MARKS}]|$))", f"{CONSTRAIN}x", header)


def type_that_begins_with_to(header: str, given: str | None) -> Iterator[str]:
    """`<|constrain|>to=f`: the `to=` is left out."""
    yield from _all(f"(?<={CONSTRAIN})to=", "", header)


def dotted_type(header: str, given: str | None) -> Iterator[str]:
    """A content type with a dot: the dot is `_`."""
    for match in re.finditer(rf"(?<!{CHANNEL}){_WORD_START}(?!to=){_WORD}", header):
        if "." in match[0]:
            yield header[: match.start()] + match[0].replace(".", "_") + header[match.end() :]


def late_channel(header: str, given: str | None) -> Iterator[str]:
    """A channel behind the content type: it stands in front."""
    channel = re.search(_CHANNEL_ITEM, header)
    author = _AUTHOR.match(header) if given is None else None
    if channel and (author or given is not None):
        at = author.end() if author else 0
        before = header[at : channel.start()]
        if before.strip():
            yield f"{header[:at]}{channel[0]} {before}{header[channel.end() :]}"


def late_author(header: str, given: str | None) -> Iterator[str]:
    """The author, or the repeated role, behind the channel: it stands in front."""
    yield from _all(f"^({_SPACE}*)({_CHANNEL_ITEM}){_SPACE}+({given or _WORD}){_WORD_END}", r"\3\2", header)


def author_that_is_no_name(header: str, given: str | None) -> Iterator[str]:
    """`to=f` or a content type in the place of the author: it is a word, or there is an author before it."""
    if given is None:
        found = f"^({_SPACE}*(?:{_CHANNEL_ITEM})?{_SPACE}*)(?:to=|{CONSTRAIN})(?={_IN_WORD})"
        if re.search(found, header):
            yield "assistant " + header
        yield from _all(found, r"\1", header)
        yield from _all(rf"^({_SPACE}*(?:{_CHANNEL_ITEM})?{_SPACE}*){CONSTRAIN}(?!{_IN_WORD})", r"\1x", header)


def tool_behind_a_tool(header: str, given: str | None) -> Iterator[str]:
    """`lookup tool`, which openai-harmony reads as `lookup`: `tool` is left out, or a recipient is in its place."""
    if given is None:
        channel = f"(?:{_SPACE}*{_CHANNEL_ITEM})?"
        author = rf"(?!(?:{'|'.join(ROLES)}){channel}{_SPACE})[^ \t\n\f\r{CONSTRAIN}]+{channel}"  # with stray markers
        found = f"^({_SPACE}*{author}{_SPACE}+)tool{_WORD_END}"
        yield from _all(found, r"\1", header)
        yield from _all(found, r"\1to=assistant", header)


#: By the name that each has in `docs/differences.md`. Of two that explain as much, the first is taken.
HEADER_ROWS: Final[dict[str, Explanation]] = {
    row.__name__.replace("_", "-"): row
    for row in (
        type_as_recipient,
        misplaced_marker,
        named_role,
        tool_by_itself,
        spaced_constrain,
        spelled_marker,
        late_author,
        unknown_word,
        unknown_author_calls,
        loose_dot,
        channel_that_is_no_word,
        other_white_space,
        no_name_character,
        empty_recipient,
        empty_type,
        type_that_begins_with_to,
        dotted_type,
        late_channel,
        author_that_is_no_name,
        tool_behind_a_tool,
    )
}

#: Those that write what openai-harmony reads in the way that the format has for it: it reads both alike.
TRANSLATIONS: Final = frozenset(("spelled-marker", "unknown-word", "late-author", "late-channel"))
