"""Arguments and options that several commands share, and the classes of commands."""

from __future__ import annotations

import re
import signal
import sys
from typing import Any, Final, get_args

import click

from harmony.format.choices import Purpose, Start, Style
from harmony.logs.limits import MAX_LINE

#: The name of a file. Whether it can be read is not checked here, but where the file is opened.
NAME: Final = click.Path(readable=False, allow_dash=True)
PURPOSE: Final = click.Choice(get_args(Purpose))
START: Final = click.Choice(get_args(Start))
STYLE: Final = click.Choice(get_args(Style))

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

        self.help = (self.help or "").format(lines=suffixes(LineFormat), tables=suffixes(TableFormat))
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
tokens_option: Final = click.option(
    "--tokens", metavar="NAME", default="tokens", show_default=True, help="The name of the field with the token ids."
)
text_option: Final = click.option(
    "--text", metavar="NAME", default="text", show_default=True, help="The name of the field with the text."
)
role_option: Final = click.option(
    "--role", metavar="NAME", default="role", show_default=True, help="The name of the field with the role."
)
strict_option: Final = click.option(
    "--strict", is_flag=True, help="Do not repair: a completion that breaks the format becomes an error."
)
stripped_option: Final = click.option(
    "--stripped",
    is_flag=True,
    help="For completions that have lost their markers, because a detokenizer left out special tokens. Where the "
    "markers stood is guessed.",
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
