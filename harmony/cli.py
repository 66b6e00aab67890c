"""The command line: `harmony parse | render | validate | tokens | grammar | vocab`.

Exit status: 0 all well, 1 some records were bad (each is reported in its place) or `validate` found problems, 2 wrong
usage.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from io import FileIO, TextIOWrapper
from itertools import groupby
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal, NoReturn, TypeAlias

import typer
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

import harmony
from harmony import vocabulary
from harmony._checking import Unreadable, linter_of, problems
from harmony.errors import HarmonyError, quote
from harmony.header import Style
from harmony.jsonl import Batch, LogRecord, RecordError, Rendered, parse_batch, read_batches, read_blocks, render_batch
from harmony.messages import Message, TextContent
from harmony.parser import COMPILED
from harmony.rendering import Purpose, RenderConversationConfig
from harmony.results import ParseResult
from harmony.validation import Start

app: Final = typer.Typer(
    name="harmony",
    help="OpenAI's Harmony response format, the chat format of gpt-oss.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)
vocab: Final = typer.Typer(help="The vocabulary o200k_harmony, which is inside the package.", no_args_is_help=True)
app.add_typer(vocab, name="vocab")

_CHANNEL_STYLES: Final = {"analysis": "dim", "commentary": "yellow", "final": "bold green"}
_SPECIAL_STYLE: Final = "bold magenta"
_ASIDE_STYLE: Final = "italic dim"
# Control characters, surrogates, and what turns the direction of text.
_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_COMMANDS_AND_BREAKS: Final = re.compile(f"{_COMMANDS.pattern}|[\t\n]")
_UNREAD_SUFFIXES: Final = (".gz", ".zst", ".parquet", ".arrow")

_FileArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="FILE", help="JSON Lines, or - for standard input.", show_default=False)
]
_OutputOption: TypeAlias = Annotated[
    str | None, typer.Option("--output", "-o", help="Where the JSON Lines go: a file, or - for standard output.")
]


def run() -> None:
    """Runs the command."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _refuse("standard input, output and error have to be open")
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may know fewer characters than Unicode
        sys.stdout.reconfigure(errors="backslashreplace")
    if hasattr(signal, "SIGPIPE"):  # a pipe closed at its other end ends this end, as it does `cat`
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except HarmonyError as error:  # of the vocabulary, for those of records are reported one by one
        _refuse(str(error))
    except OSError as error:  # such as a full disk
        _refuse(error.strerror or str(error))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"harmony {harmony.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """OpenAI's Harmony response format, the chat format of gpt-oss."""


@app.command(epilog="Example: [bold]harmony parse completions.jsonl -o messages.jsonl[/bold]")
def parse(
    file: _FileArgument,
    output: _OutputOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what the format does not allow, rather than repair it.")
    ] = False,
) -> None:
    """Parse completions into messages.

    A line of FILE is an object with `tokens` (ids) or `text` (markers
    written out), and optionally the `role` of the first message: assistant
    by default, null where the tokens begin with a <|start|> of their own.

    Each line gives one line, in order: its other fields, with `messages`
    and `complete`, or with `error`. Where no --output is named, a terminal
    shows the messages to be read.

    What breaks the format, such as a second channel or a missing
    <|message|>, is repaired to what it most likely means. `diagnostics`
    then hold the code, the message and the position of each repair.
    """
    encoding = harmony.load_harmony_encoding(vocabulary.ENCODING_NAME)
    _convert(file, output, lambda batch: parse_batch(batch, encoding, strict=strict))


@app.command(epilog="Example: [bold]harmony render conversations.jsonl --text -o prompts.jsonl[/bold]")
def render(
    file: _FileArgument,
    output: _OutputOption = None,
    purpose: Annotated[
        Purpose,
        typer.Option(
            "--for",
            metavar="PURPOSE",
            help="completion, with the assistant's turn open at the end; training, with <|return|> where the end is an "
            "answer; or conversation, the messages and no more.",
        ),
    ] = "completion",
    style: Annotated[
        Style,
        typer.Option(
            metavar="STYLE",
            help="Of the headers: openai, as openai-harmony writes them, or oss, as the models tend to.",
        ),
    ] = "openai",
    text: Annotated[
        bool, typer.Option("--text", help="Give `text`, markers written out, in place of `tokens`.")
    ] = False,
) -> None:
    """Render conversations into tokens.

    A line of FILE is an object with `messages`, a conversation in the JSON
    form of openai-harmony. As there, the analysis before the first answer
    is left out where the assistant's last message is an answer.

    Each line gives one line, in order: its other fields, with `tokens`
    (ids) or `text`, or with `error`. Their `role` is null, so that
    `harmony parse` reads them back; but where messages spell markers, a
    text reads as if they were markers, and only tokens are safe.

    Where no --output is named, a terminal shows the text to be read, and
    the number of tokens.
    """
    encoding = harmony.load_harmony_encoding(vocabulary.ENCODING_NAME)
    config = RenderConversationConfig(style=style)
    _convert(file, output, lambda batch: render_batch(batch, encoding, config, purpose, as_text=text))


@app.command(epilog="Example: [bold]harmony validate --lint conversations.jsonl[/bold]")
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="JSON Lines, text or token ids, or - for standard input.", show_default=False
        ),
    ],
    start: Annotated[
        Start,
        typer.Option(
            metavar="START",
            help="What texts and tokens are to be: conversation, whole messages; prompt, which ends in an open "
            "<|start|>role; or completion, which answers a prompt.",
        ),
    ] = "conversation",
    lint: Annotated[
        bool, typer.Option("--lint", help="Look also for what no grammar can state, from message to message.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="CODES", help="Lint by these rules only, such as wrong-order,after-final."),
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CODES", help="Lint without these rules.")] = None,
    output_format: Annotated[
        Literal["text", "json", "github"],
        typer.Option(
            "--format", metavar="FORMAT", help="text, to be read; json, an array; or github, for GitHub Actions."
        ),
    ] = "text",
) -> None:
    """Check what is in files, and tell what is wrong as a linter does.

    Each line of a file named .jsonl is an object with `tokens` (ids),
    `text` (markers written out) or `messages`, a conversation. Any other
    file is one text, or token ids where it holds only integers, commas,
    brackets and white space. A newline that ends it is no part of it.

    A conversation is right if it can be rendered. A completion's `role`
    is as in `harmony parse`. To lint completions, ignore wrong-order and
    undeclared-tool, for what these look for came before.

    Nothing is shown where all is well. Exit status: 1 if there are
    problems, 2 if a file cannot be read.
    """
    for file in files:
        _check_suffix(file, "JSON Lines, text or token ids")
    if not lint and (select or ignore):
        _refuse("--select and --ignore need --lint")
    try:
        linter = linter_of(select, ignore) if lint else None
    except (ValueError, ImportError) as error:
        _refuse(str(error))
    encoding = harmony.load_harmony_encoding(vocabulary.ENCODING_NAME)
    count = bad_files = 0
    unread = False
    for file in files:
        before = count
        try:
            for problem in problems(file, encoding, start, linter):
                if output_format == "json":
                    typer.echo(("," if count else "[") + problem.to_json())
                else:
                    typer.echo(_printable(problem.to_text() if output_format == "text" else problem.to_github()))
                count += 1
        except Unreadable as error:
            typer.echo(f"harmony: {_printable(str(error))}", err=True)
            unread = True
        bad_files += count > before
    if output_format == "json":
        typer.echo("]" if count else "[]")
    if count:
        found = f"{count:,} problem{'s'[: count != 1]} in {bad_files:,} file{'s'[: bad_files != 1]}"
        typer.echo(f"harmony: {found}", err=True)
    if count or unread:
        raise typer.Exit(2 if unread else 1)


@app.command(epilog="Example: [bold]harmony tokens '<|start|>user<|message|>Hi<|end|>'[/bold]")
def tokens(
    items: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="A text, or token ids; - reads it from standard input.")
    ],
    ids: Annotated[bool, typer.Option("--ids", help="The items are token ids.")] = False,
) -> None:
    """Show a text, or token ids, as tokens, special tokens marked.

    Special tokens written out in a text are those tokens.
    """
    encoding = harmony.load_harmony_encoding(vocabulary.ENCODING_NAME)
    if items == ["-"]:
        items = [sys.stdin.buffer.read().decode(errors="surrogateescape")]
    text = " ".join(items)
    _show_tokens(_ids(text) if ids else encoding.encode(text, allowed_special="all"))


@app.command("grammar", epilog="Example: [bold]harmony grammar --railroad > grammar.html[/bold]")
def show_grammar(
    as_page: Annotated[bool, typer.Option("--railroad", help="Give a page of HTML that draws each rule.")] = False,
) -> None:
    """Show the formal grammar of the format, which stock Lark loads.

    It is what `harmony validate` goes by. It is always written in UTF-8.
    """
    from harmony import grammar, railroad  # Lark is loaded where it is needed

    try:
        text = railroad.page() if as_page else grammar.read()
    except ImportError:
        _refuse("the page needs railroad-diagrams: pip install 'harmony-codec[cli]'")
    sys.stdout.buffer.write(text.encode())


@vocab.command(epilog="Example: [bold]harmony vocab info[/bold]")
def info() -> None:
    """Tell what the vocabulary is, where it was read from, and which engine parses."""
    loaded = vocabulary.load()
    folder = os.environ.get(vocabulary.FOLDER_VARIABLE)
    facts = {
        "encoding": f"{vocabulary.ENCODING_NAME}, vocabulary o200k_harmony",
        "byte-pair ranks": f"{vocabulary.FIRST_SPECIAL:,}, ids 0 to {vocabulary.FIRST_SPECIAL - 1}",
        "special tokens": (
            f"{len(vocabulary.SPECIAL_TOKENS):,}, ids {vocabulary.FIRST_SPECIAL} to {vocabulary.LAST_TOKEN}"
        ),
        "official file": f"{vocabulary.FILE_NAME}, {vocabulary.FILE_SIZE:,} bytes, SHA-256 {vocabulary.FILE_SHA256}",
        "read from": str(Path(folder) / vocabulary.FILE_NAME) if folder else f"the package ({vocabulary.PACKED_NAME})",
        "token bytes": f"{loaded.offsets[-1]:,}",
        "engine": "compiled" if COMPILED else "Python",
        "version": harmony.__version__,
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        typer.echo(f"{name:{width}}  {fact}")


@vocab.command(epilog="Example: [bold]harmony vocab export ~/encodings[/bold]")
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write to; made if need be.", show_default=False)
    ],
) -> None:
    """Write the official file o200k_base.tiktoken into a folder.

    openai-harmony and others read it there with TIKTOKEN_ENCODINGS_BASE=FOLDER.
    """
    path = folder / vocabulary.FILE_NAME
    partial = path.with_suffix(".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(vocabulary.shipped().official_file())
        partial.replace(path)
    except OSError as error:
        _refuse(f"{path} cannot be written: {error.strerror}")
    typer.echo(f"{path}: {vocabulary.FILE_SIZE:,} bytes, SHA-256 {vocabulary.FILE_SHA256}")


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"harmony: {_printable(reason)}", err=True)
    raise SystemExit(2)


def _convert(file: str, output: str | None, convert: Callable[[Batch], Iterable[LogRecord]]) -> None:
    """Reads a log and writes what becomes of each record, as soon as it is known; tells how many records are bad."""
    bad = 0
    with _input(file) as source, _output(output, source) as target:
        console = _console()
        for batch in read_batches(read_blocks(source)):
            for record in convert(batch):
                bad += isinstance(record.outcome, RecordError)
                if target is None:
                    _show(console, record)
                else:
                    target.write(record.to_json())
            if target is not None:
                target.flush()
    if bad:
        typer.echo(
            f"harmony: {bad:,} bad {'record, with its error' if bad == 1 else 'records, each with its error'}", err=True
        )
        raise typer.Exit(1)


def _input(file: str) -> FileIO:
    if file == "-":
        return FileIO(sys.stdin.fileno(), closefd=False)
    _check_suffix(file)
    try:
        return Path(file).open("rb", buffering=0)
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror}")


def _output(file: str | None, source: FileIO) -> AbstractContextManager[BinaryIO | None]:
    """Where the records are written to; None is a terminal that shows them to be read."""
    if file is None and sys.stdout.isatty():
        return nullcontext()
    if file is None or file == "-":
        return nullcontext(sys.stdout.buffer)
    _check_suffix(file)
    try:
        if Path(file).exists() and os.path.samestat(Path(file).stat(), os.fstat(source.fileno())):
            _refuse(f"{file} is the file that is read")
        return Path(file).open("wb")
    except OSError as error:
        _refuse(f"{file} cannot be written: {error.strerror}")


def _check_suffix(file: str, expected: str = "JSON Lines") -> None:
    if file.endswith(_UNREAD_SUFFIXES):
        _refuse(f"{file}: expected {expected}, uncompressed")


def _ids(text: str) -> list[int]:
    numbers = []
    for word in re.findall(r"[^\s,\[\]]+", text):
        number = int(word) if re.fullmatch("[0-9]{1,9}", word) else -1
        if not 0 <= number <= vocabulary.LAST_TOKEN:
            _refuse(f"expected token ids in 0..{vocabulary.LAST_TOKEN}, found {quote(word)}")
        numbers.append(number)
    return numbers


def _console() -> Console:
    """A console as wide as the terminal, also where the terminal says that it has no width."""
    console = Console(highlight=False)
    return console if console.width > 0 else Console(highlight=False, width=80)


def _show(console: Console, record: LogRecord) -> None:
    """Prints one record to be read."""
    name = record.fields.get("id")
    title = _printable(bytes(name).decode().strip('"'), _COMMANDS_AND_BREAKS) if name else f"line {record.line:,}"
    console.print(Rule(Text(title), style="dim", align="left"))
    if isinstance(record.outcome, RecordError):
        console.print(Text(f"error {record.outcome.code}: {_printable(record.outcome.message)}", style="bold red"))
    elif isinstance(record.outcome, Rendered):
        _show_rendered(console, record.outcome.tokens)
    else:
        _show_parsed(console, record.outcome)


def _show_parsed(console: Console, result: ParseResult) -> None:
    for message in result.messages:
        console.print(_heading(message))
        for part in message.content:
            if isinstance(part, TextContent):
                console.print(Padding(Text(_printable(part.text)), (0, 0, 1, 2)))
    for repair in result.diagnostics:
        sentence = _printable(repair.message)
        console.print(Text(f"repaired {repair.code} at {repair.position}: {sentence}", style=_ASIDE_STYLE))
    if result.next_role is not None:
        console.print(Text(f"(ends in an open <|start|>{result.next_role.value})", style=_ASIDE_STYLE))
    elif not result.complete:
        console.print(Text("(ends before the message does)", style=_ASIDE_STYLE))


def _show_rendered(console: Console, numbers: list[int]) -> None:
    """Prints token ids as their text, special tokens marked, a message's stop at the end of a line."""
    encoding = harmony.load_harmony_encoding(vocabulary.ENCODING_NAME)
    line = Text()
    for special, run in groupby(numbers, encoding.is_special_token):
        if not special:
            line.append(_printable(encoding.decode(run)))
            continue
        for token in run:
            line.append(encoding.decode([token]), _SPECIAL_STYLE)
            if token in vocabulary.STOPS:
                console.print(line)
                line = Text()
    if line:
        console.print(line)
    console.print(Text(f"({len(numbers):,} tokens)", style=_ASIDE_STYLE))


def _heading(message: Message) -> Text:
    heading = Text(message.author.role.value, style="bold cyan")
    if message.author.name is not None:
        heading.append(f" {_printable(message.author.name)}", "cyan")
    if message.channel is not None:
        heading.append(f" · {_printable(message.channel)}", _CHANNEL_STYLES.get(message.channel, "magenta"))
    if message.recipient is not None:
        heading.append(f" → {_printable(message.recipient)}", "blue")
    if message.content_type is not None:
        heading.append(f" {_printable(message.content_type)}", "dim")
    return heading


def _show_tokens(numbers: list[int]) -> None:
    loaded = vocabulary.load()
    rows = [
        (
            str(index),
            str(token),
            _printable(loaded.token_bytes(token).decode(errors="backslashreplace"), _COMMANDS_AND_BREAKS),
            "special" if token >= vocabulary.FIRST_SPECIAL else "",
        )
        for index, token in enumerate(numbers)
    ]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row).rstrip("\t"))
        return
    console = _console()
    table = Table("token", "id", "text", "", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(row[0], row[1], Text(f"│{row[2]}│"), row[3], style=_SPECIAL_STYLE if row[3] else None)
    console.print(table)


def _printable(text: str, commands: re.Pattern[str] = _COMMANDS) -> str:
    """The text without what would command a terminal: control characters are written out."""
    return commands.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
