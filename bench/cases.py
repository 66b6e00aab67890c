"""The cases, curves and targets of the benchmark, as data. Other modules run them."""

from __future__ import annotations

from typing import Final, NamedTuple

from bench.faults import FAULTS, WELL_FORMED
from bench.processes import Input
from bench.results import Target, Worst
from bench.subjects import FORK, OURS, PEER, PYTHON, SUBJECTS, TEMPLATE

SCRIPT: Final = "plain script"
TWO_THREADS: Final = "harmony, two threads"
TWO_WORKERS: Final = "harmony, two workers"
PATTERN: Final = "a regular expression"
EXTEND: Final = "extend"
COPY: Final = "a copy, and the message rendered"
BATCH: Final = "parse_batch"
TABLE: Final = "parse_table"
CLEAN: Final = "no completion broken"
BROKEN: Final = "1.5 of 100 broken"
LONG_LOG: Final = "harmony parse, one worker"
#: Short commands: their words behind `harmony`.
COMMANDS: Final = {"harmony --version": ["--version"], "harmony --help": ["--help"]}
PROCESS: Final = "process, three reads"
#: The streams of the APIs, with the method that is timed for each.
STREAMS: Final = {
    "chat.Stream, a token a push": "push_chat",
    "chat.Stream, 16 tokens a push": "push_chat_steps",
    "responses.Stream, a token a push": "push_responses",
    "responses.Stream, 16 tokens a push": "push_responses_steps",
}
STATS: Final = "harmony stats, five records"
IMPORT: Final = "import harmony"
TOKEN: Final = "ns a token"
BYTE: Final = "ns a byte"
MILLISECOND: Final = "ms"
SECOND: Final = "s"


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
_SOME_TEXTS: Final = Input("texts", 50)


def cases(*, quick: bool = False) -> list[Case]:
    """All cases. Quick ones have fewer completions."""
    whole = Input("completions", 50)
    streamed = Input("completions", 10)
    many, most = Input("completions", 100 if quick else 2000), Input("completions", 2000 if quick else 30_000)
    talk = Input("conversation", 20)
    chats = Input("chats", 50)
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
            "api_streams",
            "stream to the APIs of OpenAI",
            TOKEN,
            _ours({PROCESS: "stream_lenient", **STREAMS}, streamed),
        ),
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
        Case(
            "extend",
            "extend a prompt of 100,000 tokens and its completion by a message",
            MILLISECOND,
            _ours({EXTEND: "extend", COPY: "copy_and_render"}, Input("turn", 100_000)),
        ),
        Case(
            "training",
            f"training examples of {chats.size} chats of 550 tokens",
            TOKEN,
            [*_all("examples", chats), Entry(TEMPLATE, TEMPLATE, "examples", chats)],
        ),
        Case(
            "guide", "mask and step of Headers, a token of content", TOKEN, _engines("guide", Input("one_message", 550))
        ),
        Case(
            "compile",
            "a grammar of 50 tools, and its first mask",
            MILLISECOND,
            _ours({OURS: "compile"}, Input("tools", 50)),
        ),
        Case("letters", "render one letter 10,000 times", MILLISECOND, _all("render_text", Input("letters", 10_000))),
        Case("json", "JSON round trip of 20 messages", MILLISECOND, _all("json", talk)),
        *_texts(many.size),
        *_tables(many),
        *_repairs(many.size, 50 if quick else 200),
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

_UNSPACED: Final = {
    "Chinese": "chinese_without_message",
    "Japanese": "japanese_without_message",
    "Thai": "thai_without_message",
}


def _worst_fault(title: str, measure: str) -> Worst:
    """Every kind of fault is to cost at most three times what well-formed input costs."""
    sides = [((measure, fault.title), (measure, WELL_FORMED[fault.well_formed]), fault.title) for fault in FAULTS]
    return Worst(title, tuple(Target(name, ours, theirs, most=3, unit="times") for ours, theirs, name in sides))


def _worst_cost(title: str, measure: str, subjects: list[str], most: float) -> Worst:
    return Worst(title, tuple(Target(name, (measure, name), None, most=most, unit=TOKEN) for name in subjects))


#: What is to hold, in the order in which it is shown.
TARGETS: Final[list[Target | Worst]] = [
    Target("parse lists of 550 tokens", ("parse", OURS), ("parse", PEER), 100),
    Target("columns, one thread, uint32 to Arrow", ("columns", OURS), ("columns", PEER), 400),
    Target("columns, two threads against one", ("threads", TWO_THREADS), ("threads", OURS), 1.7),
    Target("stream, three reads a token", ("stream", OURS), ("stream", PEER), 20),
    Target("stream, 16 tokens a step", ("stream_steps", OURS), ("stream_steps", PEER), 40),
    Target("stream, current_content a token", ("content", OURS), ("content", PEER), 20),
    Target("stream, state and messages a token", ("state", OURS), ("state", PEER), 100),
    *(Target(stream, ("api_streams", stream), ("api_streams", PROCESS), most=2, unit="times") for stream in STREAMS),
    Target("tokens inside headers", ("same_header", OURS), ("same_header", PEER), 100),
    Target("parse, pure Python against Rust", ("parse", PYTHON), ("parse", PEER), 4),
    Target("render 20 messages, first time", ("render", OURS), ("render", PEER), 2.5),
    Target("the same, one message longer", ("render_longer", OURS), ("render_longer", PEER), 20),
    Target("extend a prompt of 100,000 tokens", ("extend", EXTEND), ("extend", COPY), most=1.5, unit="times"),
    Target("training examples", ("training", OURS), ("training", TEMPLATE), most=1, unit="times"),
    Target("guide a token, mask and step", ("guide", OURS), None, most=3000, unit=TOKEN),
    Target("the same in Python alone", ("guide", PYTHON), None, most=10_000, unit=TOKEN),
    Target("a grammar of 50 tools", ("compile", OURS), None, most=200, unit=MILLISECOND),
    Target("log command, one process", ("log", OURS), ("log", SCRIPT), 40),
    Target("JSON round trip", ("json", OURS), ("json", PEER), 10),
    Target("fresh process, time", ("fresh", OURS), ("fresh", PEER), 3),
    Target("fresh process, memory", ("fresh_memory", OURS), ("fresh_memory", PEER), 2),
    Target("is_valid against validate", ("validation", "harmony, is_valid"), ("validation", "harmony, validate"), 50),
    Target("validate", ("validation", "harmony, validate"), None, 5, "MB/s"),
    Target("text columns, one thread", ("table_texts", OURS), None, 500, "MB/s"),
    Target("text columns, two threads against one", ("table_texts", TWO_THREADS), ("table_texts", OURS), 1.7),
    Target("text columns against a regular expression", ("table_texts", OURS), ("table_texts", PATTERN), 50),
    Target("parse_text of one completion", ("parse_text", OURS), None, 150, "MB/s"),
    Target("parse_text, strict=False", ("parse_text_lenient", OURS), None, 150, "MB/s"),
    Target("parse_table of tokens", ("tables", TABLE), ("tables", BATCH), most=1.2, unit="times"),
    _worst_fault("repaired input, parse", "repaired"),
    _worst_fault("repaired input, stream", "repaired_stream"),
    _worst_cost("repaired input, columns", "repaired_columns", [fault.title for fault in FAULTS], 40),
    Target(f"columns, {BROKEN}", ("some_broken", BROKEN), ("some_broken", CLEAN), most=1.5, unit="times"),
    _worst_cost("stream without spaces", "unspaced", list(_UNSPACED), 300),
    Target("a long log, processor time", ("long_log", LONG_LOG), None, 150, "MB/s"),
    *(Target(command, ("commands", command), None, most=0.1, unit=SECOND) for command in COMMANDS),
    Target(STATS, ("commands", STATS), None, most=0.5, unit=SECOND),
    Target("import harmony, processor time", ("import", IMPORT), None, most=0.08, unit=SECOND),
]


def _ours(methods: dict[str, str], given: Input) -> list[Entry]:
    """What several methods of ours do with one input, by the names of their figures."""
    return [Entry(label, OURS, method, given) for label, method in methods.items()]


def _texts(size: int) -> list[Case]:
    """Texts with markers written out: as a column, and one by one."""
    column = {OURS: "table_texts", TWO_THREADS: "table_texts_two", PATTERN: "match_texts"}
    return [
        Case("table_texts", f"columns of {size:,} texts", BYTE, _ours(column, Input("texts", size))),
        Case("parse_text", "parse_text of one completion", BYTE, _engines("parse_texts", _SOME_TEXTS)),
        Case(
            "parse_text_lenient",
            "parse_text of one completion, strict=False",
            BYTE,
            _engines("parse_texts_lenient", _SOME_TEXTS),
        ),
    ]


def _engines(method: str, given: Input) -> list[Entry]:
    return [Entry(subject, subject, method, given) for subject in (OURS, PYTHON)]


def _tables(completions: Input) -> list[Case]:
    methods = {BATCH: "columns", TABLE: "table_tokens"}
    return [Case("tables", f"a table of {completions.size:,} completions", TOKEN, _ours(methods, completions))]


def _repairs(many: int, some: int) -> list[Case]:
    """Input that needs repairs. The cost of a batch itself counts less in the columns of more completions."""
    columns = f"columns of {many:,} completions, some of them broken"
    unspaced = "stream languages without spaces, without `<|message|>`"
    return [
        _repaired("repaired", "parse repaired input, strict=False", "parse_lenient", 50),
        _repaired("repaired_stream", "stream repaired input, three reads a token", "stream_to_end", 10),
        _repaired("repaired_columns", f"columns of {some} completions, all of them broken", "columns", some),
        Case("some_broken", columns, TOKEN, _inputs({CLEAN: "completions", BROKEN: "some_broken"}, "columns", many)),
        Case("unspaced", unspaced, TOKEN, _inputs(_UNSPACED, "stream_to_end", 10)),
    ]


def _repaired(name: str, title: str, method: str, size: int) -> Case:
    """Every kind of fault, and the well-formed inputs beside them."""
    makers = {label: maker for maker, label in WELL_FORMED.items()} | {fault.title: fault.maker for fault in FAULTS}
    return Case(name, title, TOKEN, _inputs(makers, method, size))


def _inputs(makers: dict[str, str], method: str, size: int) -> list[Entry]:
    """What one method of ours does with several inputs, by the names of their figures."""
    return [Entry(label, OURS, method, Input(maker, size)) for label, maker in makers.items()]


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
