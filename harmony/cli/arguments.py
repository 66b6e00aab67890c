"""Arguments and options that several commands share, and the classes of commands."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import click

from harmony.format.choices import Analysis, Purpose, Schemas, Shape, Start, Style, Turns
from harmony.logs.limits import MAX_LINE

if TYPE_CHECKING:
    from harmony.rendering.renderer import RenderConversationConfig

#: The formats in which `validate` and `lint` report problems; `reports.py` has each.
OutputFormat: TypeAlias = Literal["text", "json", "github", "sarif", "gitlab"]

#: The name of a file. Whether it can be read is not checked here, but where the file is opened.
NAME: Final = click.Path(readable=False, allow_dash=True)
ANALYSIS: Final = click.Choice(get_args(Analysis))
PURPOSE: Final = click.Choice(get_args(Purpose))
SHAPE: Final = click.Choice(get_args(Shape))
START: Final = click.Choice(get_args(Start))
FORMAT: Final = click.Choice(get_args(OutputFormat))
STYLE: Final = click.Choice(get_args(Style))
SCHEMAS: Final = click.Choice(get_args(Schemas))
TURNS: Final = click.Choice(get_args(Turns))

_SIZE: Final = re.compile(r"([0-9]+) ?(?:([KMG])(i?))?B?", re.IGNORECASE)


class Commands(click.Group):
    """The group of all commands. Its help lists them in the order in which they were added."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(128 + signal.SIGINT) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class LogCommand(click.Command):
    """A command on logs. In its help, `{lines}` and `{tables}` stand for the suffixes of logs."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from harmony.logs.formats import LineFormat, TableFormat, suffixes

        self.help: str | None = (self.help or "").format(lines=suffixes(LineFormat), tables=suffixes(TableFormat))
        super().format_help_text(ctx, formatter)


def size_of(text: str) -> int:
    """The number of bytes for a text such as 256MB (256 million), 256MiB (256 times 1024 times 1024) or 4096."""
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        size = int(number[:18]) * (1024 if binary else 1000) ** (" KMG".index((unit or " ").upper()))
    if size == 0:
        from harmony.errors import quote

        raise click.BadParameter(f"expected a size such as 64MB or 1GiB, found {quote(text)}")
    return size


def check_guessing(*, strict: bool, stripped: bool) -> None:
    """Ends the command if it is to guess and not to guess."""
    if strict and stripped:
        from harmony.cli.ending import refuse

        refuse("--strict cannot be used with --stripped: where lost markers stood is a guess")


def _or_standard_input(
    context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None
) -> str | tuple[str, ...]:
    """The files, or standard input if none are named. On a terminal, where nothing comes from it, the help is shown."""
    if value:
        return value
    if sys.stdin.isatty():
        click.echo(context.get_help(), err=True)
        context.exit(2)
    return "-" if parameter.nargs == 1 else ("-",)


file_or_input: Final = click.argument("file", metavar="[FILE]", required=False, type=NAME, callback=_or_standard_input)
files: Final = click.argument(
    "files", metavar="[FILE...]", nargs=-1, required=False, type=NAME, callback=_or_standard_input
)
strict_option: Final = click.option(
    "--strict", is_flag=True, help="Do not repair: a completion that breaks the format becomes an error."
)


def _start_option(default: Start | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--start",
        metavar="START",
        type=START,
        default=default,
        show_default=default is not None,
        help="What token ids and texts are: completion, the answer to a prompt; conversation, complete messages; or "
        "prompt, which ends in an open <|start|>role. A completion that begins with <|start|> is a conversation.",
    )


_PATH: Final = "PATH"
#: The options that make a Layout, beside `--preset`.
_LAID_OUT: Final = frozenset(
    ("tokens", "text", "role", "prompt", "finish_reason", "messages", "start", "prefix", "stripped", "into")
)
_RECORD_OPTIONS: Final = (
    click.option(
        "--preset",
        metavar="NAME",
        help="Read the records that a server or a tool writes: vllm, vllm-chat, sglang, openai-batch, llama.cpp, "
        "lm-eval, langfuse or hf. Other options win over it.",
    ),
    click.option("--tokens", metavar=_PATH, help="Where the token ids are. The default is tokens."),
    click.option("--text", metavar=_PATH, help="Where the text is, if there are no token ids. The default is text."),
    click.option("--role-field", "role", metavar=_PATH, help="Where the role is. The default is role."),
    click.option(
        "--prompt",
        metavar=_PATH,
        help="Where the prompt is, as ids or text. The completion goes on in its open header.",
    ),
    click.option(
        "--finish-reason",
        metavar=_PATH,
        help="Where the server says why the model stopped. With stop or tool_calls, a message needs no stop token.",
    ),
    click.option("--messages", metavar=_PATH, help="Where the conversation is. The default is messages."),
    click.option(
        "--prefix",
        metavar="TEXT",
        help="What stands before each completion, such as '<|channel|>analysis<|message|>'.",
    ),
    click.option(
        "--stripped",
        is_flag=True,
        help="For completions that have lost their markers, because a detokenizer left out special tokens. Where the "
        "markers stood is guessed.",
    ),
)


def record_options(start: Start | None = "completion") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options that say what the records of a log hold. The command gets them as `layout`, a Layout.

    `start` is the default of `--start`. Without a default, the command also gets `start` as it was given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_layout(**arguments: Any) -> None:
            from harmony.cli.ending import refused
            from harmony.logs.presets import layout_of

            given = {name: arguments.pop(name) for name in _LAID_OUT if name in arguments}
            if start is None:
                arguments["start"] = given["start"]
            with refused():
                layout = layout_of(arguments.pop("preset"), given)
            command(layout=layout, **arguments)

        made = _start_option(start)(with_layout)
        for option in reversed(_RECORD_OPTIONS):
            made = option(made)
        return made

    return decorate


prompt_messages_option: Final = click.option(
    "--prompt-messages", is_flag=True, help="Also parse the prompts: their messages become the field prompt_messages."
)
_STRUCTURED_OPTIONS: Final = (
    click.option(
        "--structured",
        is_flag=True,
        help="Read system and developer messages back: identity, instructions, tools with their schemas. A text that "
        "would not be rendered the same stays a text.",
    ),
    click.option(
        "--style",
        metavar="STYLE",
        type=STYLE,
        help="With --structured, how the messages were rendered: openai, oss or hf. By default, it is found out.",
    ),
    click.option(
        "--schemas",
        metavar="HOW",
        type=SCHEMAS,
        help="With --structured, how the parameters of tools were rendered: reference or full. By default, it is found "
        "out.",
    ),
)


def structured_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options for reading messages back. The command gets them as `structured`, as `parse` takes it."""

    @wraps(command)
    def with_structured(structured: bool, style: Style | None, schemas: Schemas | None, **arguments: Any) -> None:
        how: bool | RenderConversationConfig = structured
        if style is not None or schemas is not None:
            if not structured:
                from harmony.cli.ending import refuse

                refuse(f"{'--schemas' if style is None else '--style'} needs --structured")
            from harmony.rendering.renderer import RenderConversationConfig

            how = RenderConversationConfig(style=style or "openai", schemas=schemas or "reference")
        command(structured=how, **arguments)

    made: Callable[..., None] = with_structured
    for option in reversed(_STRUCTURED_OPTIONS):
        made = option(made)
    return made


keep_going_option: Final = click.option(
    "--keep-going", is_flag=True, help="Go on although the first hundred records all fail alike."
)
output_option: Final = click.option(
    "--output",
    "-o",
    metavar="NAME",
    type=NAME,
    help="A file, or - for standard output, or a folder. In a folder, each input gets its own file.",
)
into_option: Final = click.option(
    "--into",
    metavar="NAME",
    help="The field, or the column, that holds all of the output, for records that have fields of the same names.",
)
limit_option: Final = click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(min=1), help="Read only the first records."
)
sample_option: Final = click.option(
    "--sample",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    help="Read a random sample of this many records, each with the same chance. The same log always gives the "
    "same sample. With --limit, it is drawn from the first records.",
)
workers_option: Final = click.option(
    "--workers",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    help="The number of processes. The default is the number of cores.",
)
size_option: Final = click.option(
    "--max-record-size",
    metavar="SIZE",
    type=size_of,
    default=f"{MAX_LINE // 10**6}MB",
    show_default=True,
    help="The size limit for a record, such as 64MB or 1GiB. A larger record becomes an error.",
)
