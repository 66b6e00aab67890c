"""Completions with a fault in each, as models write them, for the cost of repairs.

Each kind of fault is put into the completions of `corpus.py`, or is prose of the same length without markers.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bench import corpus
from harmony.format.vocabulary import CHANNEL, FIRST_SPECIAL, MESSAGE, RETURN, STOPS

_PROSE: Final = Path(__file__).with_name("prose.json")  # sentences in languages that write no spaces
_CALL: Final = re.compile(r"<\|channel\|>\w+ to=(functions\.\w+)\s*(?:<\|constrain\|>)?\w*\Z")
_SOME_CALL: Final = '<|start|>assistant<|channel|>commentary to=functions.sky json<|message|>{"city":"Oslo"}<|call|>'


class _Message(NamedTuple):
    """The tokens of one message: before its `<|message|>`, behind it, and the stop."""

    header: list[int]
    content: list[int]
    stop: int

    def tokens(self) -> list[int]:
        return [*self.header, MESSAGE, *self.content, self.stop]


_Break: TypeAlias = Callable[[list[int]], list[int]]


class Fault(NamedTuple):
    """A kind of fault in plain words, and the makers of the broken and of the well-formed completions to compare."""

    title: str
    maker: str
    well_formed: str


def well_formed_prose(size: int) -> list[list[int]]:
    """As many completions with one message each, whose content is that of all messages of a completion."""
    return [[*_encoded("<|channel|>final"), MESSAGE, *text, RETURN] for text in _contents(size)]


def no_markers(size: int) -> list[list[int]]:
    """The same contents without any marker, as a refusal is often written."""
    return _contents(size)


def well_formed_chinese(size: int) -> list[list[int]]:
    """As many completions of Chinese prose in one message each."""
    return [[*_encoded("<|channel|>final"), MESSAGE, *text, RETURN] for text in _unspaced("chinese", size)]


def chinese_without_message(size: int) -> list[list[int]]:
    """The same without `<|message|>`."""
    return _without_message("chinese", size)


def japanese_without_message(size: int) -> list[list[int]]:
    """Japanese prose behind a channel, without `<|message|>`."""
    return _without_message("japanese", size)


def thai_without_message(size: int) -> list[list[int]]:
    """Thai prose behind a channel, without `<|message|>`."""
    return _without_message("thai", size)


def some_broken(size: int) -> list[list[int]]:
    """A log in which 1.5 of a hundred completions are broken, each kind of fault in turn."""
    found = corpus.completions(size)
    for number in range(size * 3 // 200):
        turn, kind = divmod(number, len(FAULTS))
        found[number * 200 // 3 + 30] = MAKERS[FAULTS[kind].maker](turn + 1)[turn]
    return found


def _no_message(tokens: list[int]) -> list[int]:
    messages = list(_messages(tokens))
    place = _longest(messages)
    return [
        token
        for number, message in enumerate(messages)
        for token in ([*message.header, *message.content, message.stop] if number == place else message.tokens())
    ]


def _channel_in_content(tokens: list[int]) -> list[int]:
    messages = list(_messages(tokens))
    place = _longest(messages)
    content = messages[place].content
    middle = len(content) // 2
    messages[place] = messages[place]._replace(content=[*content[:middle], CHANNEL, *content[middle:]])
    return _joined(messages)


def _two_channels(tokens: list[int]) -> list[int]:
    messages = list(_messages(tokens))
    place = _longest(messages)
    message = messages[place]
    start = message.header.index(CHANNEL)
    more = _encoded("<|channel|>commentary to=assistant")
    messages[place] = message._replace(header=[*message.header[:start], *more, *message.header[start:]])
    return _joined(messages)


def _word_in_header(tokens: list[int]) -> list[int]:
    messages = list(_messages(tokens))
    place = _longest(messages)
    messages[place] = messages[place]._replace(header=[*messages[place].header, *_encoded(" thoughts")])
    return _joined(messages)


def _recipient_as_channel(tokens: list[int]) -> list[int]:
    return _with_other_calls(tokens, "{start}<|channel|>{recipient}<|channel|>commentary json")


def _author_calls(tokens: list[int]) -> list[int]:
    return _with_other_calls(tokens, "assistantcommentary to={recipient} json")


def _no_start(tokens: list[int]) -> list[int]:
    author = _encoded("<|start|>assistant")
    return [
        token
        for place, token in enumerate(tokens)
        if tokens[place : place + 2] != author and tokens[place - 1 : place + 1] != author
    ]


def _start_twice(tokens: list[int]) -> list[int]:
    author = _encoded("<|start|>assistant")
    return [
        each
        for place, token in enumerate(tokens)
        for each in (author if tokens[place : place + 2] == author else []) + [token]
    ]


def _broken(fault: _Break) -> Callable[[int], list[list[int]]]:
    return lambda size: [fault(tokens) for tokens in corpus.completions(size)]


#: Makers of inputs by name, as in `corpus.MAKERS`.
MAKERS: Final[dict[str, Callable[[int], list[list[int]]]]] = {
    maker.__name__: maker
    for maker in (
        well_formed_prose,
        no_markers,
        well_formed_chinese,
        chinese_without_message,
        japanese_without_message,
        thai_without_message,
        some_broken,
    )
} | {
    fault.__name__.lstrip("_"): _broken(fault)
    for fault in (
        _no_message,
        _channel_in_content,
        _two_channels,
        _word_in_header,
        _recipient_as_channel,
        _author_calls,
        _no_start,
        _start_twice,
    )
}

_COMPLETIONS: Final = "completions"

#: What figures of well-formed completions are called, by the maker of these.
WELL_FORMED: Final = {
    _COMPLETIONS: "well-formed",
    "well_formed_prose": "well-formed prose",
    "well_formed_chinese": "well-formed Chinese",
}

#: The ten kinds of fault.
FAULTS: Final = (
    Fault("content without `<|message|>`", "no_message", _COMPLETIONS),
    Fault("prose without any marker", "no_markers", "well_formed_prose"),
    Fault("Chinese without `<|message|>`", "chinese_without_message", "well_formed_chinese"),
    Fault("`<|channel|>` in content", "channel_in_content", _COMPLETIONS),
    Fault("two channels in a header", "two_channels", _COMPLETIONS),
    Fault("a word too many in a header", "word_in_header", _COMPLETIONS),
    Fault("a recipient as the channel", "recipient_as_channel", _COMPLETIONS),
    Fault("an author that calls", "author_calls", _COMPLETIONS),
    Fault("no `<|start|>assistant`", "no_start", _COMPLETIONS),
    Fault("`<|start|>assistant` twice", "start_twice", _COMPLETIONS),
)


@cache
def _encoded(text: str) -> list[int]:
    from harmony import load_harmony_encoding

    return load_harmony_encoding("HarmonyGptOss").encode(text, allowed_special="all")


@cache
def _decoded(tokens: tuple[int, ...]) -> str:
    from harmony import load_harmony_encoding

    return load_harmony_encoding("HarmonyGptOss").decode(tokens)


def _messages(tokens: Sequence[int]) -> Iterator[_Message]:
    start = message = 0
    for place, token in enumerate(tokens):
        if token == MESSAGE:
            message = place
        elif token in STOPS:
            yield _Message(list(tokens[start:message]), list(tokens[message + 1 : place]), token)
            start = place + 1


def _joined(messages: Sequence[_Message]) -> list[int]:
    return [token for message in messages for token in message.tokens()]


def _longest(messages: Sequence[_Message]) -> int:
    """The index of the longest message that has a channel and nothing else in its header."""
    fitting = [place for place, message in enumerate(messages) if message.header[-2:-1] == [CHANNEL]]
    return max(fitting, key=lambda place: len(messages[place].content))


def _with_other_calls(tokens: list[int], header: str) -> list[int]:
    """The completion with another header in each call of a function; it has one at least."""
    messages = list(_messages(tokens))
    found = [_CALL.search(_decoded(tuple(message.header))) for message in messages]
    if not any(found):
        messages += _messages(_encoded(_SOME_CALL))
        found.append(_CALL.search(_decoded(tuple(messages[-1].header))))
    for place, match in enumerate(found):
        if match is not None:
            written = header.format(start=match.string[: match.start()], recipient=match[1])
            messages[place] = messages[place]._replace(header=_encoded(written))
    return _joined(messages)


def _contents(size: int) -> list[list[int]]:
    """The content of all messages of each completion."""
    return [
        [token for message in _messages(tokens) for token in message.content if token < FIRST_SPECIAL]
        for tokens in corpus.completions(size)
    ]


def _unspaced(language: str, size: int) -> list[list[int]]:
    """As many texts of about 550 tokens, with the sentences in another order each time."""
    sentences = json.loads(_PROSE.read_bytes())[language]
    order = random.Random(3)
    found = []
    for _ in range(size):
        tokens: list[int] = []
        while len(tokens) < corpus.LENGTH:
            tokens += _encoded("".join(order.sample(sentences, len(sentences))))
        found.append(tokens)
    return found


def _without_message(language: str, size: int) -> list[list[int]]:
    return [[*_encoded("<|channel|>final"), *text, RETURN] for text in _unspaced(language, size)]
