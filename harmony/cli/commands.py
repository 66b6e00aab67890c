"""The command line: `harmony parse | stats | render | validate | grep | explain | tokens | grammar | vocab | compat`.

The commands that read logs are in this module, and the others in `language.py`. Each command imports what it works with
when it is called, so `harmony --version` and `harmony --help` are quick. `ending.py` says which exit status means what.
"""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import click

from harmony.cli.arguments import (
    NAME,
    PURPOSE,
    STYLE,
    Commands,
    LogCommand,
    files,
    into_option,
    keep_going_option,
    prompt_messages_option,
    record_options,
    size_option,
    strict_option,
    workers_option,
)
from harmony.cli.grep import grep
from harmony.cli.language import COMPLETION_VARIABLE, completion, explain, show_compat, show_grammar, tokens, vocab
from harmony.runtime import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harmony.format.choices import Purpose, Style
    from harmony.logs.completions import Tally
    from harmony.logs.inputs import Unreadable
    from harmony.logs.records import Layout


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="harmony %(version)s")
def app() -> None:
    """OpenAI's Harmony response format, the chat format of gpt-oss."""


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
        app(complete_var=COMPLETION_VARIABLE)
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


@app.command(cls=LogCommand, epilog="Example: harmony parse logs/ --output messages.parquet")
@files
@click.option(
    "--output",
    "-o",
    metavar="NAME",
    type=NAME,
    help="A file, or - for standard output, or a folder. In a folder, each input gets its own file.",
)
@record_options()
@strict_option
@into_option
@prompt_messages_option
@keep_going_option
@click.option(
    "--nested", is_flag=True, help="In a table, write one row for each completion instead of one for each message."
)
@workers_option
@size_option
@click.option(
    "--resume", is_flag=True, help="Continue where the same command was interrupted, or start if it did not run yet."
)
@click.option(
    "--engine",
    metavar="ENGINE",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="local for this machine, or ray for a cluster.",
)
def parse(
    files: Sequence[str],
    output: str | None,
    layout: Layout,
    strict: bool,
    prompt_messages: bool,
    keep_going: bool,
    nested: bool,
    workers: int | None,
    max_record_size: int,
    resume: bool,
    engine: str,
) -> None:
    """Parse completions into messages.

    Each FILE is a log, a folder of logs, or - for standard input. Logs are
    JSON Lines ({lines}) or tables ({tables}); the suffix decides. Each record
    has `tokens` (ids) or `text` (with markers such as <|end|> written out).
    It can have the `role` of the first message. The default is assistant. Use
    null if the completion itself begins with <|start|> and a role.

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

    if "" in (*files, output):
        refuse("expected the name of a file or a folder, found an empty name")
    if (resume or engine == "ray") and output in (None, "-"):
        refuse(f"{'--resume' if resume else '--engine ray'} needs --output with the name of a file")
    if engine == "ray" and (resume or workers is not None):
        refuse(f"{'--resume' if resume else '--workers'} cannot be used with --engine ray")
    if prompt_messages and layout.names.prompt is None:
        refuse("--prompt-messages needs --prompt, or a preset that knows where prompts are")
    _check_guessing(strict=strict, stripped=layout.stripped)
    with refused():
        if output is None and sys.stdout.isatty():
            from harmony.cli.show import show_logs

            bad = show_logs(files, layout, max_record_size, strict=strict)
            print_bad_count(bad)
            return
        task = Task(
            layout=layout,
            strict=strict,
            nested=nested,
            prompt_messages=prompt_messages,
            keep_going=keep_going,
            max_record_size=max_record_size,
        )
        tally: Tally | None
        if engine == "ray":
            tally = runs.parse_on_cluster(task, files, output or "-")
        else:
            tally = runs.parse(task, files, output or "-", workers=workers, resume=resume)
    if tally is not None:
        print_summary(tally)


@app.command(epilog="Example: harmony stats logs/ --plot stats.html")
@files
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.option(
    "--plot", metavar="PICTURE", type=NAME, help="Draw the counts to a file with the suffix .png, .svg or .html."
)
@record_options()
@strict_option
@keep_going_option
@workers_option
@size_option
def stats(
    files: Sequence[str],
    as_json: bool,
    plot: str | None,
    layout: Layout,
    strict: bool,
    keep_going: bool,
    workers: int | None,
    max_record_size: int,
) -> None:
    """Count the messages, tool calls and tokens of logs.

    Each FILE is a log, a folder of logs, or - for standard input. Logs and
    their fields are the same as for `harmony parse`.

    The counts are: messages by role and channel, tool calls by name, tokens
    by channel, lengths, and how many completions were cut off, repaired or
    bad.
    """
    from harmony.cli import runs
    from harmony.cli.ending import print_summary, refused
    from harmony.logs.convert import Task

    _check_guessing(strict=strict, stripped=layout.stripped)
    with refused():
        if plot is not None:
            from harmony.stats import picture  # raises an error if a library is missing

            picture.check(plot)  # raises an error before the work begins
        task = Task(layout=layout, strict=strict, keep_going=keep_going, max_record_size=max_record_size)
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
        from harmony.stats.tables import tables

        screen = console()
        for table in tables(summed):
            screen.print(table)
    print_summary(tally)


@app.command(cls=LogCommand, epilog="Example: harmony render conversations.jsonl --text -o prompts.jsonl")
@files
@click.option(
    "--output",
    "-o",
    metavar="NAME",
    type=NAME,
    help="A file, or - for standard output, or a folder. In a folder, each input gets its own file.",
)
@click.option(
    "--messages",
    metavar="PATH",
    default="messages",
    show_default=True,
    help="Where the conversation is, such as request.messages.",
)
@click.option(
    "--for",
    "purpose",
    metavar="PURPOSE",
    type=PURPOSE,
    default="completion",
    show_default=True,
    help="completion: a prompt that ends in an open <|start|>assistant. training: an answer at the end is closed with "
    "<|return|>. conversation: only the messages.",
)
@click.option(
    "--style",
    metavar="STYLE",
    type=STYLE,
    default="openai",
    show_default=True,
    help="How headers are written: openai, like openai-harmony, or oss, as the models mostly write them.",
)
@click.option(
    "--text",
    is_flag=True,
    help="Write `text` instead of `tokens`. Not safe if a message contains text such as <|end|>.",
)
@into_option
@size_option
def render(
    files: Sequence[str],
    output: str | None,
    messages: str,
    purpose: Purpose,
    style: Style,
    text: bool,
    into: str | None,
    max_record_size: int,
) -> None:
    """Render conversations into tokens.

    Each FILE is a log, a folder of logs, or - for standard input. Logs are
    JSON Lines ({lines}) or tables ({tables}). Each record has `messages`, a
    conversation in the JSON form of openai-harmony. If the last message of
    the assistant is an answer, the analysis before the first answer is left
    out, as openai-harmony does. Messages of the chat API, with fields such as
    `tool_calls`, are an error of their record.

    Each record gives one line of output, in the same order. It keeps its
    other fields, and gets `tokens` (ids) or `text`, or `error`. Its `role` is
    null, so that `harmony parse` can read the output.

    In `text`, a marker that a user typed, such as <|end|>, looks like a real
    one. Parsed again, one message can become several. Use `tokens` for
    conversations that you did not write yourself.

    Without --output, a terminal shows the text and the number of tokens.
    """
    from harmony.cli.ending import print_bad_count, refused
    from harmony.cli.render import render_logs
    from harmony.encoding import load_harmony_encoding
    from harmony.format import vocabulary
    from harmony.logs.rendered import Rendering
    from harmony.rendering.renderer import RenderConversationConfig

    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    with refused():
        config = RenderConversationConfig(style=style)
        rendering = Rendering(encoding, config, purpose, text, messages, max_record_size)
        bad = render_logs(files, output, rendering, into)
    print_bad_count(bad)


@app.command(cls=LogCommand, epilog="Example: harmony validate --lint conversations.jsonl")
@files
@click.option(
    "--lint", is_flag=True, help="Also check rules about several messages, such as calls of undeclared tools."
)
@click.option(
    "--select", metavar="CODES", multiple=True, help="Use only these lint rules, such as wrong-order,after-final."
)
@click.option("--ignore", metavar="CODES", multiple=True, help="Skip these lint rules.")
@click.option(
    "--format",
    "output_format",
    metavar="FORMAT",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="text, json (an array), or github (for GitHub Actions).",
)
@record_options(start="conversation")
@size_option
def validate(
    files: Sequence[str],
    layout: Layout,
    lint: bool,
    select: Sequence[str],
    ignore: Sequence[str],
    output_format: str,
    max_record_size: int,
) -> None:
    """Check logs, texts and token ids, and show where problems are.

    Each FILE is a log, a folder of logs, a file with one text or with token
    ids, or - for standard input. Logs are JSON Lines ({lines}) or tables
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

    if not lint and (select or ignore):
        refuse("--select and --ignore need --lint")
    named = [_named(file) for file in files]
    with refused():
        check_apart((name for found in named if isinstance(found, list) for name in found), ["-"])
    try:
        linter = linter_of(select, ignore) if lint else None
    except (ValueError, ImportError) as error:
        refuse(str(error))
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    count = bad_files = 0
    first_code = None
    unread = False
    for found in named:
        for file in found if isinstance(found, list) else [found]:
            before = count
            try:
                if isinstance(file, Unreadable):
                    raise file
                for problem in problems(file, encoding, layout.start, linter, max_record_size, layout.names):
                    first_code = first_code or problem.code
                    if output_format == "json":
                        click.echo(("," if count else "[") + problem.to_json())
                    else:
                        click.echo(problem.to_text() if output_format == "text" else readable(problem.to_github()))
                    count += 1
            except (Unreadable, ImportError) as error:
                click.echo(f"harmony: {printable(str(error))}", err=True)
                unread = True
            bad_files += count > before
    if output_format == "json":
        click.echo("]" if count else "[]")
    if count:
        found_text = f"{count:,} problem{'s'[: count != 1]} in {bad_files:,} file{'s'[: bad_files != 1]}"
        click.echo(f"harmony: {found_text}", err=True)
        if output_format == "text":
            hint(first_code)
    if count or unread:
        sys.exit(2 if unread else 1)


def _named(file: str) -> list[str] | Unreadable:
    """The files for one argument, or the error: `validate` checks the other files even if one is missing."""
    from harmony.logs.inputs import Unreadable, expand

    try:
        return [name for name, _ in expand([file])]
    except Unreadable as error:
        return error


for command in (grep, explain, tokens, show_grammar, show_compat, vocab, completion):
    app.add_command(command)
