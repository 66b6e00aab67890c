"""The command line: `harmony parse | stats | view | grep | render | validate | lint | …`.

The commands that parse and render logs are in this module. Those that check logs are in `lint.py`. `grep`, `stats` and
`view` have modules of their own, and the commands that read no log are in `language.py`. Each command imports what it
works with when it is called, so `harmony --version` and `harmony --help` are quick. `ending.py` says which exit status
means what.
"""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import click

from harmony.cli.arguments import (
    ANALYSIS,
    PURPOSE,
    SCHEMAS,
    SHAPE,
    STYLE,
    TURNS,
    Commands,
    LogCommand,
    check_guessing,
    files,
    into_option,
    keep_going_option,
    limit_option,
    output_option,
    prompt_messages_option,
    record_options,
    sample_option,
    size_option,
    strict_option,
    structured_options,
    workers_option,
)
from harmony.cli.grep import grep
from harmony.cli.language import COMPLETION_VARIABLE, completion, explain, show_compat, show_grammar, tokens, vocab
from harmony.cli.lint import lint, validate
from harmony.cli.stats import stats
from harmony.cli.view import view
from harmony.runtime import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harmony.format.choices import Analysis, Purpose, Schemas, Shape, Style, Turns
    from harmony.logs.records import Layout
    from harmony.rendering.renderer import RenderConversationConfig


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


@app.command(cls=LogCommand, epilog="Example: harmony parse logs/ --output messages.parquet")
@files
@output_option
@record_options()
@strict_option
@click.option(
    "--to",
    "shape",
    metavar="SHAPE",
    type=SHAPE,
    default="harmony",
    show_default=True,
    help="The shape of the messages: harmony, chat (Chat Completions) or responses.",
)
@into_option
@prompt_messages_option
@structured_options
@keep_going_option
@click.option(
    "--nested", is_flag=True, help="In a table, write one row for each completion instead of one for each message."
)
@limit_option
@sample_option
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
    shape: Shape,
    prompt_messages: bool,
    structured: bool | RenderConversationConfig,
    keep_going: bool,
    nested: bool,
    limit: int | None,
    sample: int | None,
    workers: int | None,
    max_record_size: int,
    resume: bool,
    engine: str,
) -> None:
    """Parse completions into messages.

    Each FILE is a log, a folder of logs, a URI such as s3://bucket/logs/, a
    pattern in quotes such as 'logs/*.jsonl', or - for standard input, which is
    also read without a FILE. Logs are JSON Lines ({lines}) or tables
    ({tables}); their first bytes decide. Each record has `tokens` (ids) or
    `text` (with markers such as <|end|> written out). It can have the `role`
    of the first message. Without it, the role is assistant, unless the
    completion begins with <|start|> and a role.

    Each record gives one line of output, in the same order. It keeps its other
    fields, and gets `messages`, `complete`, `diagnostics` and `error`, which
    are null where there is nothing. If it has such a field of its own that is
    not null, the command stops; use --into. In a table, each message is a
    row. Without --output, a terminal shows the messages.

    Completions that break the format are repaired, for example if they have
    a second channel or no <|message|>. The field `diagnostics` lists the
    code, message and position of each repair. With --stripped, a completion
    without any marker is read too, such as
    `analysisWe need the sky.assistantfinalIt is blue.`

    With --to chat, `messages` has one message of the Chat Completions API,
    and with --to responses the output items of the Responses API. A
    completion with messages of others is an error of its record then. What
    --prompt-messages adds stays in the shape of harmony. In a table, which
    needs --nested, `messages` is the text of the JSON.

    With --structured, the contents of system and developer messages have
    fields instead of a text, where `harmony render` makes the same text of
    them. So `harmony render --messages prompt_messages` gives prompts again.
    A table needs --nested then, too.

    Until the output is complete, it is named OUTPUT.partial. If the command
    was interrupted, run it again with --resume: it continues, and gives the
    same bytes. An OUTPUT that is complete stays as it is if the inputs and
    the options are the same, and is refused if they are not.
    """
    from harmony.cli import runs
    from harmony.cli.ending import print_bad_count, print_summary, refuse, refused
    from harmony.logs.choosing import Choice
    from harmony.logs.convert import Task

    choice = Choice(limit, sample)
    if "" in (*files, output):
        refuse("expected the name of a file or a folder, found an empty name")
    if (resume or engine == "ray") and output in (None, "-"):
        refuse(f"{'--resume' if resume else '--engine ray'} needs --output with the name of a file")
    if engine == "ray" and (resume or workers is not None):
        refuse(f"{'--resume' if resume else '--workers'} cannot be used with --engine ray")
    if not choice.is_all() and (resume or engine == "ray"):
        chosen = "--sample" if limit is None else "--limit"
        refuse(f"{chosen} cannot be used with {'--resume' if resume else '--engine ray'}")
    if prompt_messages and layout.names.prompt is None:
        refuse("--prompt-messages needs --prompt, or a preset that knows where prompts are")
    check_guessing(strict=strict, stripped=layout.stripped)
    with refused():
        if output is None and sys.stdout.isatty() and shape == "harmony" and not structured:
            from harmony.cli.show import show_logs

            bad = show_logs(files, layout, max_record_size, strict=strict, choice=choice)
            print_bad_count(bad)
            return
        task = Task(
            layout=layout,
            strict=strict,
            nested=nested,
            shape=shape,
            prompt_messages=prompt_messages,
            structured=structured,
            keep_going=keep_going,
            max_record_size=max_record_size,
            choice=choice,
        )
        if engine == "ray":
            run = runs.parse_on_cluster(task, files, output or "-")
        else:
            run = runs.parse(task, files, output or "-", workers=workers, resume=resume)
    print_summary(run)


@app.command(cls=LogCommand, epilog="Example: harmony render batch.jsonl --messages body -o prompts.jsonl")
@files
@output_option
@click.option(
    "--messages",
    metavar="PATH",
    default="messages",
    show_default=True,
    help="Where the messages are, such as body.messages, or the request that holds them, such as body.",
)
@click.option(
    "--from",
    "shape",
    metavar="SHAPE",
    type=SHAPE,
    help="The shape of the messages: harmony, chat or responses. By default, it is found out for each record.",
)
@click.option(
    "--for",
    "purpose",
    metavar="PURPOSE",
    type=PURPOSE,
    default="completion",
    show_default=True,
    help="completion: a prompt that ends in an open <|start|>assistant. training: an answer at the end is closed with "
    "<|return|>, and the analysis of the last turn is kept. conversation: only the messages.",
)
@click.option(
    "--analysis",
    metavar="WHICH",
    type=ANALYSIS,
    default="auto",
    show_default=True,
    help="The analysis that is rendered. keep: all of it. drop: only that of turns that are not finished. auto: with "
    "--for training, also that of the last turn; else what openai-harmony keeps, which is all of it unless the last "
    "message of the assistant is an answer: then none before the first answer.",
)
@click.option(
    "--mask",
    is_flag=True,
    help="With --for training, write `input_ids` and `labels` instead of `tokens`. A label is -100 where the model is "
    "not to learn.",
)
@click.option(
    "--turns",
    metavar="TURNS",
    type=TURNS,
    help="With --mask, the turns that are learned. each, the default: each in a record of its own, with what stands "
    "before it. last: only the last. all: all in one record.",
)
@click.option(
    "--style",
    metavar="STYLE",
    type=STYLE,
    default="openai",
    show_default=True,
    help="How messages are written: openai, like openai-harmony; oss, with headers as the models mostly write them; or "
    "hf, like the chat template of gpt-oss on Hugging Face.",
)
@click.option(
    "--schemas",
    metavar="HOW",
    type=SCHEMAS,
    default="reference",
    show_default=True,
    help="How the parameters of tools are written: reference, like openai-harmony, or full, with all that their JSON "
    "schemas say.",
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
    shape: Shape | None,
    purpose: Purpose,
    analysis: Analysis,
    mask: bool,
    turns: Turns | None,
    style: Style,
    schemas: Schemas,
    text: bool,
    into: str | None,
    max_record_size: int,
) -> None:
    """Render conversations into tokens.

    Each FILE is a log, a folder of logs, or - for standard input. Logs are
    JSON Lines ({lines}) or tables ({tables}). Each record has `messages`, or
    the `input` of a request of the Responses API. Messages are in the JSON
    form of openai-harmony, or in the shape of one of the OpenAI APIs. In the
    shape of an API, what stands beside them counts too: `tools`,
    `response_format`, `reasoning_effort`, `instructions`, `text` and
    `reasoning`. What Harmony has no place for, such as an image, is an error
    of its record.

    A message with a `channel` is of harmony, and one with `tool_calls` of
    chat. If a conversation has nothing but roles and contents, it is of chat
    where the system or the assistant speaks, and else of harmony. --from says
    the shape of all records.

    If the last message of the assistant is an answer, the analysis before the
    first answer is left out, as openai-harmony does; the style hf leaves out
    what the template does.

    Each record gives one record of output, in the same order. It keeps its
    other fields, and gets `tokens` (ids) or `text`, and `error`, null if
    there is none. Its `role` is null, so that `harmony parse` can read the
    output. If a record has such a field of its own that is not null, the
    command stops; use --into. The output is lines or, if its name is one of a
    table, a table.

    With --for training --mask, each turn of the assistant gives a record, with
    `input_ids`, `labels` and `error`, as trainers read them.

    In `text`, a marker that a user typed, such as <|end|>, looks like a real
    one. Parsed again, one message can become several. Use `tokens` for
    conversations that you did not write yourself.

    Without --output, a terminal shows the text and the number of tokens.
    """
    from harmony.cli.ending import print_bad_count, refuse, refused
    from harmony.cli.render import render_logs
    from harmony.encoding import load_harmony_encoding
    from harmony.format import vocabulary
    from harmony.logs.rendered import Rendering
    from harmony.rendering.renderer import RenderConversationConfig

    if mask and (purpose != "training" or text):
        refuse("--mask needs --for training, and cannot be used with --text")
    if turns is not None and not mask:
        refuse("--turns needs --mask")
    learned = turns or "each" if mask else None
    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    with refused():
        config = RenderConversationConfig(style=style, schemas=schemas)
        rendering = Rendering(encoding, config, purpose, text, messages, max_record_size, shape, analysis, learned)
        bad = render_logs(files, output, rendering, into)
    print_bad_count(bad)


for _command in (stats, view, grep, validate, lint, explain, tokens, show_grammar, show_compat, vocab, completion):
    app.add_command(_command)
