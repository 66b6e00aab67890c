"""The cases, curves and targets of the benchmark, as data. Other modules run them."""

from __future__ import annotations

from typing import Final, NamedTuple

from bench.processes import Input
from bench.results import Target
from bench.subjects import FORK, OURS, PEER, PYTHON, SUBJECTS

SCRIPT: Final = "plain script"
TWO_THREADS: Final = "harmony, two threads"
TWO_WORKERS: Final = "harmony, two workers"
TOKEN: Final = "ns a token"
BYTE: Final = "ns a byte"
MILLISECOND: Final = "ms"


class Entry(NamedTuple):
    """A method of a subject, its input, and the name of its figures."""

    label: str
    subject: str
    method: str
    given: Input


class Case(NamedTuple):
    """Subjects whose repeats are interleaved, so that they can be compared."""

    name: str
    title: str
    unit: str
    entries: list[Entry]


class Growth(NamedTuple):
    """A method that is timed at several sizes, two sizes in each decade."""

    name: str
    title: str
    unit: str
    method: str
    maker: str
    first: int
    last: int


# More headers than the engines remember, so each one is parsed.
_OTHER_HEADERS: Final = Input("other_headers", 5000)


def cases(*, quick: bool = False) -> list[Case]:
    """All cases. Quick ones have fewer completions."""
    whole = Input("completions", 50)
    streamed = Input("completions", 10)
    many, most = Input("completions", 100 if quick else 2000), Input("completions", 2000 if quick else 30_000)
    talk = Input("conversation", 20)
    threads = [Entry(OURS, OURS, "columns", most), Entry(TWO_THREADS, OURS, "columns_two", most)]
    return [
        Case("parse", "parse lists of 550 tokens", TOKEN, _all("parse", whole)),
        Case("parse_lenient", "the same, strict=False", TOKEN, _all("parse_lenient", whole)),
        Case("columns", f"columns of {many.size:,} completions", TOKEN, _all("columns", many)),
        Case("threads", f"columns of {most.size:,} completions, by threads", TOKEN, threads),
        Case("stream", "stream, three reads a token", TOKEN, _all("stream", streamed)),
        Case("stream_lenient", "the same, strict=False", TOKEN, _all("stream_lenient", streamed)),
        Case("stream_steps", "stream, 16 tokens a step, others one", TOKEN, _all("stream_steps", streamed)),
        Case(
            "content",
            "stream, current_content a token, 4,000 tokens",
            TOKEN,
            _all("stream_content", Input("one_message", 4000)),
        ),
        Case("state", "stream, state and messages a token", TOKEN, _all("stream_state", Input("completions", 2))),
        Case("same_header", "one header 100 times", TOKEN, _all("parse_whole", Input("same_header", 100))),
        Case("other_headers", "5,000 headers, each another", TOKEN, _all("parse_whole", _OTHER_HEADERS)),
        Case("render", "render 20 messages and 10 tools", MILLISECOND, _all("render", talk)),
        Case("render_longer", "the same, one message longer", MILLISECOND, _all("render_longer", talk)),
        Case("letters", "render one letter 10,000 times", MILLISECOND, _all("render_text", Input("letters", 10_000))),
        Case("json", "JSON round trip of 20 messages", MILLISECOND, _all("json", talk)),
        _validation("validation", "validate 1,000 messages of 500 characters", "rendered", BYTE),
        _validation("validation_tokens", "the same as token ids", "rendered_tokens", TOKEN),
    ]


def growths(*, quick: bool = False) -> list[Growth]:
    """All curves; the quick ones end a decade earlier. A longer conversation would exceed the model's context."""
    found = [
        Growth("one_message", "parse one message", "tokens", "parse", "one_message", 1000, 1_000_000),
        Growth("messages", "parse many messages", "messages", "parse", "messages", 1, 100_000),
        Growth("header", "parse one header", "tokens", "parse_whole", "one_header", 1, 100_000),
        Growth("conversation", "render a conversation", "messages", "render", "conversation", 3, 3000),
        Growth("letters", "render one letter, repeated", "letters", "render_text", "letters", 100, 100_000),
    ]
    return [growth._replace(last=growth.last // 10) for growth in found] if quick else found


#: The most that the exponent of ours may be: 1 is linear, 2 quadratic, and much memory is slower than little.
MOST_EXPONENT: Final = 1.2

#: What is to hold, in the order in which it is shown.
TARGETS: Final = [
    Target("parse lists of 550 tokens", ("parse", OURS), ("parse", PEER), 100),
    Target("columns, one thread, uint32 to Arrow", ("columns", OURS), ("columns", PEER), 400),
    Target("columns, two threads against one", ("threads", TWO_THREADS), ("threads", OURS), 1.7),
    Target("stream, three reads a token", ("stream", OURS), ("stream", PEER), 20),
    Target("stream, 16 tokens a step", ("stream_steps", OURS), ("stream_steps", PEER), 40),
    Target("stream, current_content a token", ("content", OURS), ("content", PEER), 20),
    Target("stream, state and messages a token", ("state", OURS), ("state", PEER), 100),
    Target("tokens inside headers", ("same_header", OURS), ("same_header", PEER), 100),
    Target("parse, pure Python against Rust", ("parse", PYTHON), ("parse", PEER), 4),
    Target("render 20 messages, first time", ("render", OURS), ("render", PEER), 2.5),
    Target("the same, one message longer", ("render_longer", OURS), ("render_longer", PEER), 20),
    Target("log command, one process", ("log", OURS), ("log", SCRIPT), 40),
    Target("JSON round trip", ("json", OURS), ("json", PEER), 10),
    Target("fresh process, time", ("fresh", OURS), ("fresh", PEER), 3),
    Target("fresh process, memory", ("fresh_memory", OURS), ("fresh_memory", PEER), 2),
    Target("is_valid against validate", ("validation", "harmony, is_valid"), ("validation", "harmony, validate"), 50),
    Target("validate", ("validation", "harmony, validate"), None, 5, "MB/s"),
]


def _all(method: str, given: Input) -> list[Entry]:
    return [Entry(subject, subject, method, given) for subject in (OURS, PYTHON, PEER, FORK)]


def _validation(name: str, title: str, maker: str, unit: str) -> Case:
    given = Input(maker, 1000)
    subjects = [subject for subject, kind in SUBJECTS.items() if hasattr(kind, "validate")]
    entries = [
        Entry(f"{subject}, {method}", subject, method, given)
        for subject in subjects
        for method in ("validate", "is_valid")
    ]
    return Case(name, title, unit, entries)
