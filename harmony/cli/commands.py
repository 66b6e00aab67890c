"""The command line: `harmony parse | stats | render | validate | explain | tokens | grammar | vocab | compat`.

The commands that read logs are in this module, and the others in `language.py`. Each command imports what it works with
when it is called, so `harmony --version` and `harmony --help` are quick. `ending.py` says which exit status means what.
"""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import typer

from harmony.cli.arguments import (
    SIZE,
    EngineOption,
    LogsArgument,
    RoleOption,
    SizeOption,
    StrictOption,
    StrippedOption,
    TextOption,
    TokensOption,
    WorkersOption,
    with_suffixes,
)
from harmony.cli.language import explain, show_compat, show_grammar, tokens, vocab
from harmony.format.choices import Purpose, Start, Style
from harmony.runtime import VERSION

if TYPE_CHECKING:
    from harmony.logs.completions import Tally
    from harmony.logs.inputs import Unreadable

app: Final = typer.Typer(
    name="harmony",
    help="OpenAI's Harmony response format, the chat format of gpt-oss.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
app.add_typer(vocab, name="vocab")


def run() -> None:
    """Runs the command."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from harmony.cli.ending import refuse

        refuse("standard input, standard output and standard error must be open")
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may not support all of Unicode
        sys.stdout.reconfigure(errors="backslashreplace")
    if hasattr(signal, "SIGPIPE"):  # if the reader of a pipe is gone, end without an error, like `cat`
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except Exception as error:
        _end(error)


def _end(error: Exception) -> NoReturn:
    """Ends the command after an error that is not a bug; other errors keep their traceback."""
    from harmony.cli.ending import refuse
    from harmony.cli.runs import NO_MEMORY
    from harmony.errors import HarmonyError

    if isinstance(error, HarmonyError):  # about the vocabulary; errors of records are reported with the record
        refuse(str(error), error.code)
    if isinstance(error, MemoryError):
        refuse(NO_MEMORY)
    if isinstance(error, OSError):  # such as a full disk
        reason = error.strerror or str(error)
        refuse(f"{error.filename}: {reason}" if error.filename else reason)
    raise error


def _check_guessing(*, strict: bool, stripped: bool) -> None:
    if strict and stripped:
        from harmony.cli.ending import refuse

        refuse("--strict cannot be used with --stripped: where lost markers stood is a guess")


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


@app.command(epilog="Example: harmony parse logs/ --output messages.parquet")
@with_suffixes
def parse(
    files: LogsArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="A file, or - for standard output, or a folder. In a folder, each input gets its own file.",
        ),
    ] = None,
    strict: StrictOption = False,
    stripped: StrippedOption = False,
    tokens: TokensOption = "tokens",
    text: TextOption = "text",
    role: RoleOption = "role",
    nested: Annotated[
        bool,
        typer.Option("--nested", help="In a table, write one row for each completion instead of one for each message."),
    ] = False,
    workers: WorkersOption = None,
    max_record_size: SizeOption = SIZE,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue where the same command was interrupted, or start if it did not run yet."
        ),
    ] = False,
    engine: EngineOption = "local",
) -> None:
    """Parse completions into messages.

    Logs are JSON Lines ({lines}) or tables
    ({tables}); the suffix decides. Each record has `tokens` (ids) or `text`
    (with markers such as <|end|> written out). It can have the `role` of the
    first message. The default is assistant. Use null if the completion itself
    begins with <|start|> and a role.

    Each record gives one line of output, in the same order. It keeps its
    other fields, and gets `messages` and `complete`, or `error`. In a table,
    each message is a row. Without --output, a terminal shows the messages.

    Completions that break the format are repaired, for example if they have
    a second channel or no <|message|>. The field `diagnostics` lists the
    code, message and position of each repair. With --stripped, a completion
    without any marker is read too, such as
    `analysisWe need the sky.assistantfinalIt is blue.`

    Until the output is complete, it is named OUTPUT.partial. If the command
    was interrupted, run it again with --resume: it continues, and gives the
    same bytes. It does not change an OUTPUT that is complete.
    """
    from harmony.cli import runs
    from harmony.cli.ending import print_bad_count, print_summary, refuse, refused
    from harmony.logs.convert import Task
    from harmony.logs.records import Names

    names = Names(tokens, text, role)
    if "" in (*files, output):
        refuse("expected the name of a file or a folder, found an empty name")
    if (resume or engine == "ray") and output in (None, "-"):
        refuse(f"{'--resume' if resume else '--engine ray'} needs --output with the name of a file")
    if engine == "ray" and (resume or workers is not None):
        refuse(f"{'--resume' if resume else '--workers'} cannot be used with --engine ray")
    _check_guessing(strict=strict, stripped=stripped)
    with refused():
        if output is None and sys.stdout.isatty():
            from harmony.cli.show import show_logs

            bad = show_logs(files, names, max_record_size, strict=strict, stripped=stripped)
            print_bad_count(bad)
            return
        task = Task(names=names, strict=strict, stripped=stripped, nested=nested, max_record_size=max_record_size)
        tally: Tally | None
        if engine == "ray":
            tally = runs.parse_on_cluster(task, files, output or "-")
        else:
            tally = runs.parse(task, files, output or "-", workers=workers, resume=resume)
    if tally is not None:
        print_summary(tally)


@app.command(epilog="Example: harmony stats logs/ --plot stats.html")
def stats(
    files: LogsArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
    plot: Annotated[
        str | None,
        typer.Option(metavar="PICTURE", help="Draw the counts to a file with the suffix .png, .svg or .html."),
    ] = None,
    tokens: TokensOption = "tokens",
    text: TextOption = "text",
    role: RoleOption = "role",
    strict: StrictOption = False,
    stripped: StrippedOption = False,
    workers: WorkersOption = None,
    max_record_size: SizeOption = SIZE,
) -> None:
    """Count the messages, tool calls and tokens of logs.

    The counts are: messages by role and channel, tool calls by name, tokens
    by channel, lengths, and how many completions were cut off, repaired or
    bad. Logs and their fields are the same as for `harmony parse`.
    """
    from harmony.cli import runs
    from harmony.cli.ending import print_summary, refused
    from harmony.logs.convert import Task
    from harmony.logs.records import Names

    _check_guessing(strict=strict, stripped=stripped)
    with refused():
        if plot is not None:
            from harmony.stats import picture  # raises an error if a library is missing

            picture.check(plot)  # raises an error before the work begins
        names = Names(tokens, text, role)
        task = Task(names=names, strict=strict, stripped=stripped, max_record_size=max_record_size)
        outputs = ["-", *([plot] if plot else [])]
        found, tally = runs.count(task, files, outputs, workers=workers)
        summed = found.summary()
        if plot is not None:
            picture.save(summed, plot)
    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summed), indent=2).decode() + "\n")
    else:
        from harmony.cli.show import console
        from harmony.stats.counts import tables

        screen = console()
        for table in tables(summed):
            screen.print(table)
    print_summary(tally)


@app.command(epilog="Example: harmony render conversations.jsonl --text -o prompts.jsonl")
def render(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A file of JSON Lines, or - for standard input.", show_default=False)
    ],
    output: Annotated[str | None, typer.Option("--output", "-o", help="A file, or - for standard output.")] = None,
    purpose: Annotated[
        Purpose,
        typer.Option(
            "--for",
            metavar="PURPOSE",
            help="completion: a prompt that ends in an open <|start|>assistant. training: an answer at the end is "
            "closed with <|return|>. conversation: only the messages.",
        ),
    ] = "completion",
    style: Annotated[
        Style,
        typer.Option(
            metavar="STYLE",
            help="How headers are written: openai, like openai-harmony, or oss, as the models mostly write them.",
        ),
    ] = "openai",
    text: Annotated[
        bool,
        typer.Option(
            "--text",
            help="Write `text` instead of `tokens`. Not safe if a message contains text such as <|end|>.",
        ),
    ] = False,
    max_record_size: SizeOption = SIZE,
) -> None:
    """Render conversations into tokens.

    Each line of FILE is a JSON object with `messages`, a conversation in the
    JSON form of openai-harmony. If the last message of the assistant is an
    answer, the analysis before the first answer is left out, as
    openai-harmony does.

    Each line gives one line of output, in the same order. It keeps its other
    fields, and gets `tokens` (ids) or `text`, or `error`. Its `role` is null,
    so that `harmony parse` can read the output.

    In `text`, a marker that a user typed, such as <|end|>, looks like a real
    one. Parsed again, one message can become several. Use `tokens` for
    conversations that you did not write yourself.

    Without --output, a terminal shows the text and the number of tokens.
    """
    from functools import partial

    from harmony.cli.ending import print_bad_count, refuse, refused
    from harmony.cli.render import render_log
    from harmony.encoding import load_harmony_encoding
    from harmony.format import vocabulary
    from harmony.logs.formats import is_table
    from harmony.logs.records import render_records
    from harmony.rendering.renderer import RenderConversationConfig

    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    config = RenderConversationConfig(style=style)
    render = partial(render_records, encoding=encoding, config=config, purpose=purpose, as_text=text)
    for name in (file, output):
        if name is not None and is_table(name):
            refuse(f"{name}: expected a file of JSON Lines, found the name of a table")
    with refused():
        bad = render_log(file, output, max_record_size, render)
    print_bad_count(bad)


@app.command(epilog="Example: harmony validate --lint conversations.jsonl")
@with_suffixes
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Logs, folders of logs, files with one text or with token ids, or - for standard input.",
            show_default=False,
        ),
    ],
    start: Annotated[
        Start,
        typer.Option(
            metavar="START",
            help="What texts and token ids must be. conversation: complete messages. prompt: ends in an open "
            "<|start|>role. completion: the answer to a prompt.",
        ),
    ] = "conversation",
    lint: Annotated[
        bool, typer.Option("--lint", help="Also check rules about several messages, such as calls of undeclared tools.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="CODES", help="Use only these lint rules, such as wrong-order,after-final."),
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="CODES", help="Skip these lint rules.")] = None,
    output_format: Annotated[
        Literal["text", "json", "github"],
        typer.Option("--format", metavar="FORMAT", help="text, json (an array), or github (for GitHub Actions)."),
    ] = "text",
    tokens: TokensOption = "tokens",
    text: TextOption = "text",
    role: RoleOption = "role",
    max_record_size: SizeOption = SIZE,
) -> None:
    """Check logs, texts and token ids, and print each problem with its place.

    Logs are JSON Lines ({lines}) or tables
    ({tables}), as for `harmony parse`. Each record has `tokens` (ids), `text`
    (with markers such as <|end|> written out) or `messages` (a conversation).

    Any other file is one text. If it holds only integers, commas, brackets
    and white space, it is read as token ids. One newline at the end of the
    file is ignored.

    A conversation is valid if it can be rendered. The `role` of a completion
    works as in `harmony parse`. If you lint completions, ignore wrong-order
    and undeclared-tool: these rules need the messages of the prompt.

    Without problems, nothing is printed. Exit status: 1 if there are
    problems, 2 if a file cannot be read.
    """
    from harmony.cli.check import linter_of, problems
    from harmony.cli.ending import refuse, refused
    from harmony.cli.show import hint, readable
    from harmony.encoding import load_harmony_encoding
    from harmony.errors import printable
    from harmony.format import vocabulary
    from harmony.logs.inputs import Unreadable
    from harmony.logs.outputs import check_apart
    from harmony.logs.records import Names

    if not lint and (select or ignore):
        refuse("--select and --ignore need --lint")
    named = [_named(file) for file in files]
    with refused():
        check_apart((name for found in named if isinstance(found, list) for name in found), ["-"])
    try:
        linter = linter_of(select, ignore) if lint else None
    except (ValueError, ImportError) as error:
        refuse(str(error))
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
    """The files for one argument, or the error: `validate` checks the other files even if one is missing."""
    from harmony.logs.inputs import Unreadable, expand

    try:
        return [name for name, _ in expand([file])]
    except Unreadable as error:
        return error


app.command(epilog="Example: harmony explain unknown-role")(explain)
app.command(epilog="Example: harmony tokens '<|start|>user<|message|>Hi<|end|>'")(tokens)
app.command("grammar", epilog="Example: harmony grammar --railroad > grammar.html")(show_grammar)
app.command("compat", epilog="Example: PYTHONPATH=$(harmony compat --path) python server.py")(show_compat)
