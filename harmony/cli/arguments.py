"""Arguments of commands on logs, and the suffixes of logs in the help of commands."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from harmony.logs.formats import LineFormat, TableFormat, suffixes
from harmony.logs.inputs import MAX_LINE

_WIDTH: Final = 72  # columns of a paragraph in the help
_LOG: Final = "Logs, folders of logs, or - for standard input."
_SIZE: Final = re.compile(r"([0-9]+) ?(?:([KMG])(i?))?B?", re.IGNORECASE)


def size_of(text: str) -> int:
    """The number of bytes for a text such as 256MB (256 million), 256MiB (256 times 1024 times 1024) or 4096."""
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found is not None:
        number, unit, binary = found.groups()
        size = int(number[:18]) * (1024 if binary else 1000) ** (" KMG".index((unit or " ").upper()))
    if size == 0:
        from harmony.errors import quote

        raise typer.BadParameter(f"expected a size such as 64MB or 1GiB, found {quote(text)}")
    return size


LogsArgument: TypeAlias = Annotated[list[str], typer.Argument(metavar="FILE", help=_LOG, show_default=False)]
TokensOption: TypeAlias = Annotated[
    str, typer.Option("--tokens", metavar="NAME", help="The name of the field with the token ids.")
]
TextOption: TypeAlias = Annotated[
    str, typer.Option("--text", metavar="NAME", help="The name of the field with the text.")
]
RoleOption: TypeAlias = Annotated[
    str, typer.Option("--role", metavar="NAME", help="The name of the field with the role.")
]
StrictOption: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Do not repair: a completion that breaks the format becomes an error.")
]
StrippedOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--stripped",
        help="For completions that have lost their markers, because a detokenizer left out special tokens. Where the "
        "markers stood is guessed.",
    ),
]
WorkersOption: TypeAlias = Annotated[
    int | None, typer.Option("--workers", min=1, help="The number of processes. The default is the number of cores.")
]
SizeOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-record-size",
        metavar="SIZE",
        parser=size_of,
        help="The size limit for a record, such as 64MB or 1GiB. A larger record becomes an error.",
    ),
]
EngineOption: TypeAlias = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", metavar="ENGINE", help="local for this machine, or ray for a cluster."),
]
#: The default limit. It is a text because the option's parser also reads the default.
SIZE: Final[Any] = f"{MAX_LINE // 10**6}MB"


def with_suffixes(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces `{lines}` and `{tables}` in the docstring of a command, which is its help, with the suffixes of logs."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    found = {"lines": suffixes(LineFormat), "tables": suffixes(TableFormat)}
    command.__doc__ = "\n\n".join(
        textwrap.fill(paragraph.format(**found), _WIDTH) if "{lines}" in paragraph else paragraph
        for paragraph in paragraphs
    )
    return command
