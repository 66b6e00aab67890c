"""The command line: `harmony parse | stats | render | validate | explain | tokens | grammar | vocab`.

Exit status: 0 all well, 1 some records were bad (each is reported in its place) or `validate` found problems, 2 wrong
usage, or a file that could not be read or written to its end.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

import msgspec
import typer

from harmony.cli import runs
from harmony.cli.arguments import (
    SIZE,
    LogsArgument,
    RoleOption,
    SizeOption,
    StrictOption,
    TextOption,
    TokensOption,
    WorkersOption,
    with_suffixes,
)
from harmony.cli.check import linter_of, problems
from harmony.cli.explain import explain
from harmony.cli.render import render_log
from harmony.cli.show import console, hint, readable, show_logs, show_tokens
from harmony.encoding import load_harmony_encoding
from harmony.errors import HarmonyError, printable, quote
from harmony.format import vocabulary
from harmony.format.header import Style
from harmony.format.machine import Start
from harmony.logs.completions import Tally
from harmony.logs.convert import Task
from harmony.logs.formats import is_table
from harmony.logs.inputs import Unreadable, expand
from harmony.logs.outputs import Output, check_apart
from harmony.logs.records import Names, render_records
from harmony.rendering.renderer import Purpose, RenderConversationConfig
from harmony.runtime import VERSION
from harmony.runtime.compiled import COMPILED

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

_MOST_SHOWN: Final = 16_000_000  # bytes; to encode them as tokens takes thirty times as many


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
        _refuse(str(error), error.code)
    except MemoryError:
        _refuse(runs.NO_MEMORY)
    except OSError as error:  # such as a full disk
        reason = error.strerror or str(error)
        _refuse(f"{error.filename}: {reason}" if error.filename else reason)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"harmony {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """OpenAI's Harmony response format, the chat format of gpt-oss."""


@app.command(epilog="Example: [bold]harmony parse logs/ --output messages.parquet[/bold]")
@with_suffixes
def parse(
    files: LogsArgument,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="A file, a folder for a file each, or - for standard output."),
    ] = None,
    strict: StrictOption = False,
    tokens: TokensOption = "tokens",
    text: TextOption = "text",
    role: RoleOption = "role",
    nested: Annotated[
        bool, typer.Option("--nested", help="Into a table: one row a completion, rather than one a message.")
    ] = False,
    workers: WorkersOption = None,
    max_record_size: SizeOption = SIZE,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same command was interrupted; else begin.")
    ] = False,
    engine: Annotated[
        runs.Engine, typer.Option(metavar="ENGINE", help="local, or ray, which takes a cluster of machines.")
    ] = "local",
) -> None:
    """Parse completions into messages.

    Logs are JSON Lines ({lines}) or tables
    ({tables}), by their suffix. A record has `tokens` (ids) or `text` (markers
    written out), and optionally the `role` of the first message: assistant
    by default, null where the tokens begin with a <|start|> of their own.

    Each record gives one line, in order: its other fields, with `messages`
    and `complete`, or with `error`. In a table, each message is a row. Where
    no --output is named, a terminal shows the messages to be read.

    What breaks the format, such as a second channel or a missing
    <|message|>, is repaired to what it most likely means. `diagnostics`
    then hold the code, the message and the position of each repair.

    The output has its name when it is whole, and OUTPUT.partial until then.
    Interrupted at any moment, the same command with --resume goes on, and
    gives the same bytes; an OUTPUT that is whole it leaves as it is.
    """
    names = Names(tokens, text, role)
    if "" in (*files, output):
        _refuse("expected the name of a file or a folder, found nothing")
    if (resume or engine == "ray") and output in (None, "-"):
        _refuse(f"{'--resume' if resume else '--engine ray'} needs --output, the name of a file")
    if engine == "ray" and (resume or workers is not None):
        _refuse(f"{'--resume' if resume else '--workers'} is not for --engine ray")
    with _refused():
        if output is None and sys.stdout.isatty():
            bad = show_logs(files, names, max_record_size, strict=strict)
            _summary_of_bad(bad)
            return
        task = Task(names=names, strict=strict, nested=nested, max_record_size=max_record_size)
        tally: Tally | None
        if engine == "ray":
            tally = runs.parse_on_cluster(task, files, output or "-")
        else:
            tally = runs.parse(task, files, output or "-", workers=workers, resume=resume)
    if tally is not None:
        _summary(tally)


@app.command(epilog="Example: [bold]harmony stats logs/ --plot stats.html[/bold]")
def stats(
    files: LogsArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Give the numbers as JSON.")] = False,
    plot: Annotated[
        str | None, typer.Option(metavar="PICTURE", help="Draw them, to a file named .png, .svg or .html.")
    ] = None,
    tokens: TokensOption = "tokens",
    text: TextOption = "text",
    role: RoleOption = "role",
    strict: StrictOption = False,
    workers: WorkersOption = None,
    max_record_size: SizeOption = SIZE,
) -> None:
    """Count what is in completions.

    Messages by role and channel, tool calls by name, tokens by channel,
    lengths, and the shares of completions that were cut off, repaired or
    bad. Logs and their fields are as for `harmony parse`.
    """
    with _refused():
        if plot is not None:
            from harmony.stats import picture  # which says what is missing

            picture.check(plot)  # before the work is done
        task = Task(names=Names(tokens, text, role), strict=strict, max_record_size=max_record_size)
        outputs = ["-", *([plot] if plot else [])]
        found, tally = runs.count(task, files, outputs, workers=workers)
        summed = found.summary()
        if plot is not None:
            picture.save(summed, plot)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summed), indent=2).decode() + "\n")
    else:
        from harmony.stats.counts import tables

        screen = console()
        for table in tables(summed):
            screen.print(table)
    _summary(tally)


@app.command(epilog="Example: [bold]harmony render conversations.jsonl --text -o prompts.jsonl[/bold]")
def render(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON Lines, or - for standard input.", show_default=False)
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Where the JSON Lines go: a file, or - for standard output.")
    ] = None,
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
        bool,
        typer.Option(
            "--text",
            help="Give `text`, markers written out, in place of `tokens`; not safe where messages spell markers.",
        ),
    ] = False,
    max_record_size: SizeOption = SIZE,
) -> None:
    """Render conversations into tokens.

    A line of FILE is an object with `messages`, a conversation in the JSON
    form of openai-harmony. As there, the analysis before the first answer
    is left out where the assistant's last message is an answer.

    Each line gives one line, in order: its other fields, with `tokens`
    (ids) or `text`, or with `error`. Their `role` is null, so that
    `harmony parse` reads them back. Where messages spell markers, the
    `text` reads as if these were markers, and one message as several; only
    `tokens` are safe then.

    Where no --output is named, a terminal shows the text to be read, and
    the number of tokens.
    """
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    config = RenderConversationConfig(style=style)
    render = partial(render_records, encoding=encoding, config=config, purpose=purpose, as_text=text)
    for name in (file, output):
        if name is not None and is_table(name):
            _refuse(f"{name}: expected JSON Lines")
    with _refused():
        bad = render_log(file, output, max_record_size, render)
    _summary_of_bad(bad)


@app.command(epilog="Example: [bold]harmony validate --lint conversations.jsonl[/bold]")
@with_suffixes
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="A log, a folder of logs, a text, token ids, or - for standard input.",
            show_default=False,
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
    tokens: TokensOption = "tokens",
    text: TextOption = "text",
    role: RoleOption = "role",
    max_record_size: SizeOption = SIZE,
) -> None:
    """Check what is in files, and tell what is wrong as a linter does.

    Logs are JSON Lines ({lines}) or tables
    ({tables}), as for `harmony parse`. A record has `tokens` (ids),
    `text` (markers written out) or `messages`, a conversation. Any other
    file is one text, or token ids where it holds only integers, commas,
    brackets and white space. A newline that ends it is no part of it.

    A conversation is right if it can be rendered. A completion's `role`
    is as in `harmony parse`. To lint completions, ignore wrong-order and
    undeclared-tool, for what these look for came before.

    Nothing is shown where all is well. Exit status: 1 if there are
    problems, 2 if a file cannot be read.
    """
    if not lint and (select or ignore):
        _refuse("--select and --ignore need --lint")
    named = [_named(file) for file in files]
    with _refused():
        check_apart((name for found in named if isinstance(found, list) for name in found), ["-"])
    try:
        linter = linter_of(select, ignore) if lint else None
    except (ValueError, ImportError) as error:
        _refuse(str(error))
    encoding, names = load_harmony_encoding(vocabulary.ENCODING_NAME), Names(tokens, text, role)
    count = bad_files = 0
    first_code = None
    unread = False
    for found in named:
        for file in found if isinstance(found, list) else [found]:
            before = count
            try:
                if isinstance(file, Unreadable):
                    raise file
                for problem in problems(file, encoding, start, linter, max_record_size, names):
                    first_code = first_code or problem.code
                    if output_format == "json":
                        typer.echo(("," if count else "[") + problem.to_json())
                    else:
                        typer.echo(problem.to_text() if output_format == "text" else readable(problem.to_github()))
                    count += 1
            except (Unreadable, ImportError) as error:
                typer.echo(f"harmony: {printable(str(error))}", err=True)
                unread = True
            bad_files += count > before
    if output_format == "json":
        typer.echo("]" if count else "[]")
    if count:
        found_text = f"{count:,} problem{'s'[: count != 1]} in {bad_files:,} file{'s'[: bad_files != 1]}"
        typer.echo(f"harmony: {found_text}", err=True)
        if output_format == "text":
            hint(first_code)
    if count or unread:
        raise typer.Exit(2 if unread else 1)


def _named(file: str) -> list[str] | Unreadable:
    """The files that a name stands for, or why there are none: other files are looked at all the same."""
    try:
        return [name for name, _ in expand([file])]
    except Unreadable as error:
        return error


app.command(epilog="Example: [bold]harmony explain unknown-role[/bold]")(explain)


@app.command(epilog="Example: [bold]harmony tokens '<|start|>user<|message|>Hi<|end|>'[/bold]")
def tokens(
    items: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="A text, or token ids; - reads it from standard input.")
    ],
    ids: Annotated[bool, typer.Option("--ids", help="The items are token ids.")] = False,
) -> None:
    """Show a text, or token ids, as tokens, special tokens marked.

    Special tokens written out in a text are those tokens, whoever wrote
    them: where messages spell markers, their rendered text gives other
    tokens than the messages do.
    """
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    if items == ["-"]:
        with _refused():
            check_apart(items, ["-"])
        data = sys.stdin.buffer.read(_MOST_SHOWN + 1)
        if len(data) > _MOST_SHOWN:
            _refuse(f"expected no more than {_MOST_SHOWN:,} bytes on standard input, found more")
        items = [data.decode(errors="surrogateescape")]
    text = " ".join(items)
    show_tokens(_ids(text) if ids else encoding.encode(text, allowed_special="all"))


@app.command("grammar", epilog="Example: [bold]harmony grammar --railroad > grammar.html[/bold]")
def show_grammar(
    as_page: Annotated[bool, typer.Option("--railroad", help="Give a page of HTML that draws each rule.")] = False,
) -> None:
    """Show the formal grammar of the format, which stock Lark loads.

    It is what `harmony validate` goes by. It is always written in UTF-8.
    """
    from harmony import grammar  # Lark is loaded where it is needed
    from harmony.grammar import railroad  # Lark is loaded where it is needed

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
        "version": VERSION,
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        typer.echo(f"{name:{width}}  {printable(fact)}")


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
    with _refused(), runs.refusing(str(path)):
        folder.mkdir(parents=True, exist_ok=True)
        with Output(str(path), {}, resume=False) as output:
            output.write(vocabulary.shipped().official_file())
            output.finish()
    typer.echo(f"{printable(str(path))}: {vocabulary.FILE_SIZE:,} bytes, SHA-256 {vocabulary.FILE_SHA256}")


def _refuse(reason: str, code: str | None = None) -> NoReturn:
    typer.echo(f"harmony: {printable(reason)}", err=True)
    hint(code)
    raise SystemExit(2)


@contextmanager
def _refused() -> Iterator[None]:
    """Ends the command where what it was asked for cannot be done."""
    try:
        yield
    except (runs.Refused, Unreadable, ImportError, OverflowError, TypeError, ValueError) as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def _summary(tally: Tally) -> None:
    """Tells what there was in a log; the exit status tells whether all records were good."""
    for line in runs.summary(tally):
        typer.echo(f"harmony: {line}", err=True)
    hint(next(iter([*tally.errors, *tally.diagnostics]), None))
    if tally.errors:
        raise typer.Exit(1)


def _summary_of_bad(bad: int) -> None:
    if bad:
        record = "bad record, with its error" if bad == 1 else "bad records, each with its error"
        typer.echo(f"harmony: {bad:,} {record}", err=True)
        raise typer.Exit(1)


def _ids(text: str) -> list[int]:
    numbers = []
    for word in re.findall(r"[^\s,\[\]]+", text):
        number = int(word) if re.fullmatch("[0-9]{1,9}", word) else -1
        if not 0 <= number <= vocabulary.LAST_TOKEN:
            _refuse(f"expected token ids in 0..{vocabulary.LAST_TOKEN}, found {quote(word)}")
        numbers.append(number)
    return numbers
