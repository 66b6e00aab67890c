"""What the benchmark works on: texts and token ids made from the sample log in a fixed order, of any size.

Every function takes a size and gives what JSON can hold, the same on every machine. Knows no library that is measured;
of ours it takes the names and the bytes of tokens.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, Final

from bench.tools import TOOLS
from harmony.format import vocabulary
from harmony.format.vocabulary import CALL, CHANNEL, CONSTRAIN, END, FIRST_SPECIAL, MESSAGE, START, STOPS

SAMPLES: Final = Path(__file__).parent.parent / "examples" / "completions.jsonl"

#: Samples in forms that openai-harmony 0.0.8 cannot read, or reads otherwise.
OURS_ALONE: Final = {
    "constrain-space-word",
    "named-authors",
    "tool-results-two-forms",
    "structured-output",
    "structured-bare-type",
    "markdown-table",
}

_ASSISTANT: Final = 173781
_FINAL: Final = 17196
_COMMENTARY: Final = 12606
_TO_FUNCTIONS: Final = [815, 316, 28, 44580, 775]  # ` to=functions.get`
_WEATHER: Final = 170154  # `_weather`
_JSON: Final = 4108
#: Tokens of a completion, at the least.
LENGTH: Final = 550
_BODY: Final = "The train to Bergen leaves at 8:25 and takes seven hours; book a seat on the left, for the view. "


def completions(size: int) -> list[list[int]]:
    """This many completions of about 550 tokens and several messages each, with prose and calls."""
    return list(islice(_completions(LENGTH), size))


def texts(size: int) -> list[str]:
    """Completions as texts with the markers written out. Left out is one whose content spells a marker itself."""
    return list(islice(_texts(), size))


def one_message(size: int) -> list[list[int]]:
    """One message with this many tokens of prose, arguments and code."""
    return [[CHANNEL, _FINAL, MESSAGE, *islice(cycle(_content()), size), END]]


def turn(size: int) -> list[list[int]]:
    """A prompt with this many tokens, and a completion of about 550 tokens behind it."""
    (message,) = one_message(size - 8)
    return [[START, _ASSISTANT, *message, START, _ASSISTANT], *completions(1)]


def tools(size: int) -> str:
    """This many functions as a request of Chat Completions declares them, as JSON."""
    named = (
        {**tool, "name": f"{tool['name']}_{number}"} for number, tool in zip(range(size), cycle(TOOLS), strict=False)
    )
    return json.dumps([{"type": "function", "function": tool} for tool in named])


def messages(size: int) -> list[list[int]]:
    """One conversation with this many messages of the assistant, as in completions."""
    found: list[int] = []
    for message in islice(_messages(), size):
        found += message
    return [found]


def same_header(size: int) -> list[list[int]]:
    """The same call this many times. It has fifteen tokens and empty content."""
    return [_header([_WEATHER]) * size]


def other_headers(size: int) -> list[list[int]]:
    """This many calls with empty content, each of a different function."""
    names = islice((token for token in count() if _is_word(token)), size)
    return [[token for name in names for token in _header([_WEATHER, name])]]


def one_header(size: int) -> list[list[int]]:
    """One call of a function whose name has this many tokens."""
    return [_header([_WEATHER] * size)]


def letters(size: int) -> str:
    """One letter, this many times."""
    return "a" * size


def rendered(size: int) -> str:
    """This many messages of 500 characters each, as text."""
    channels = cycle(["analysis", "final"])
    return "".join(
        f"<|start|>assistant<|channel|>{channel}<|message|>{_BODY * 5}{number}<|end|>"
        for number, channel in zip(range(size), channels, strict=False)
    )


def rendered_tokens(size: int) -> list[int]:
    """The same as token ids."""
    from harmony import load_harmony_encoding

    return load_harmony_encoding("HarmonyGptOss").encode(rendered(size), allowed_special="all")


def conversation(size: int) -> str:
    """This many messages in the JSON of openai-harmony: ten tools, then turns with reasoning, calls and results."""
    functions = {"name": "functions", "tools": TOOLS}
    instructions = (
        "Help with office work. Use the functions; never guess what they can tell. Answer in the user's language."
    )
    developer = {"type": "developer_content", "instructions": instructions, "tools": {"functions": functions}}
    found: list[dict[str, Any]] = [
        {"role": "system", "content": [{"type": "system_content", "conversation_start_date": "2025-06-28"}]},
        {"role": "developer", "content": [developer]},
    ]
    return json.dumps({"messages": list(islice((*found, *islice(_turns(), size)), size))})


def chats(size: int) -> list[list[int]]:
    """Chats of one turn: for each, a question, reasoning and an answer, three lists of 50, 250 and 250 tokens."""
    token_bytes = vocabulary.load().token_bytes
    tokens = cycle([token for token in _content() if b"|" not in token_bytes(token)])  # a template refuses markers
    return [list(islice(tokens, length)) for _ in range(size) for length in (50, 250, 250)]


def log(path: Path, records: int) -> None:
    """Writes a log of completions with this many records, as a server keeps it."""
    samples = [json.dumps(tokens) for tokens in completions(200)]
    with path.open("w") as lines:
        for number in range(records):
            record = {"id": f"request-{number:08}", "model": "gpt-oss-20b", "created": 1_757_320_098 + number}
            before = json.dumps(record).removesuffix("}")
            lines.write(f'{before}, "tokens": {samples[number % 200]}, "finish_reason": "stop"}}\n')


#: What can be asked for by name.
MAKERS: Final[dict[str, Callable[[int], Any]]] = {
    maker.__name__: maker
    for maker in (
        completions,
        texts,
        one_message,
        turn,
        tools,
        messages,
        same_header,
        other_headers,
        one_header,
        letters,
        rendered,
        rendered_tokens,
        conversation,
        chats,
    )
}


@cache
def _samples() -> list[list[int]]:
    records = map(json.loads, SAMPLES.read_bytes().splitlines())
    return [
        record["tokens"]
        for record in records
        if record.get("tokens", [0])[0] == CHANNEL and record["tokens"][-1] in STOPS and record["id"] not in OURS_ALONE
    ]


def _completions(length: int) -> Iterator[list[int]]:
    """Samples in a fixed order, joined up to the length."""
    order = random.Random(1)
    while True:
        tokens = list(order.choice(_samples()))
        while len(tokens) < length:
            tokens += [START, _ASSISTANT, *order.choice(_samples())]
        yield tokens


def _texts() -> Iterator[str]:
    token_bytes = vocabulary.load().token_bytes
    for tokens in _completions(LENGTH):
        text = b"".join(map(token_bytes, tokens)).decode(errors="replace")
        if len(list(vocabulary.special_tokens_in(text))) == sum(token >= FIRST_SPECIAL for token in tokens):
            yield text


def _messages() -> Iterator[list[int]]:
    """The messages of all completions, the first without the `<|start|>assistant` that the prompt has."""
    start = 2
    for tokens in _completions(LENGTH):
        whole = [START, _ASSISTANT, *tokens]
        for place, token in enumerate(whole, 1):
            if token in STOPS:
                yield whole[start:place]
                start = place
        start = 0


@cache
def _content() -> list[int]:
    return [token for tokens in completions(50) for token in tokens if token < FIRST_SPECIAL]


def _header(name: list[int]) -> list[int]:
    call = [CHANNEL, _COMMENTARY, *_TO_FUNCTIONS, *name, 220, CONSTRAIN, _JSON, MESSAGE, CALL]
    return [START, _ASSISTANT, *call]


def _is_word(token: int) -> bool:
    written = vocabulary.load().token_bytes(token)
    return len(written) > 2 and written.isalpha()


def _turns() -> Iterator[dict[str, Any]]:
    """Messages of turns that call one tool each; their texts are those of completions, each numbered."""
    token_bytes = vocabulary.load().token_bytes
    tokens = next(_completions(40_000))
    bodies = b"".join(map(token_bytes, tokens)).decode().split("<|message|>")[1:]
    distinct = sorted({body.partition("<|")[0] for body in bodies if len(body) > 160})
    random.Random(2).shuffle(distinct)
    texts = (f"{number}. {body}" for number, body in enumerate(cycle(distinct), 1))
    for tool in cycle(TOOLS):
        called = f"functions.{tool['name']}"
        call = {"recipient": called, "content_type": "<|constrain|>json"}
        turn: list[dict[str, Any]] = [
            {"role": "user"},
            {"role": "assistant", "channel": "analysis"},
            {"role": "assistant", "channel": "commentary", **call},
            {"role": "tool", "name": called, "channel": "commentary", "recipient": "assistant"},
            {"role": "assistant", "channel": "analysis"},
            {"role": "assistant", "channel": "final"},
        ]
        yield from ({**message, "content": next(texts)} for message in turn)
