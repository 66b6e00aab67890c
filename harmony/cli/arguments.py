"""Arguments that several commands share, and what their help says of the suffixes of logs."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

import typer

from harmony.cli import runs
from harmony.logs.formats import LineFormat, TableFormat, suffixes
from harmony.logs.inputs import MAX_LINE

_WIDTH: Final = 72  # columns of a paragraph in the help
_LOG: Final = "A log, a folder of logs, or - for standard input."
LogsArgument: TypeAlias = Annotated[list[str], typer.Argument(metavar="FILE...", help=_LOG, show_default=False)]
TokensOption: TypeAlias = Annotated[str, typer.Option("--tokens", metavar="NAME", help="The field with the ids.")]
TextOption: TypeAlias = Annotated[str, typer.Option("--text", metavar="NAME", help="The field with the text.")]
RoleOption: TypeAlias = Annotated[str, typer.Option("--role", metavar="NAME", help="The field with the role.")]
StrictOption: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Refuse what the format does not allow, rather than repair it.")
]
WorkersOption: TypeAlias = Annotated[
    int | None, typer.Option("--workers", min=1, help="How many processes work; as many as there are cores by default.")
]
SizeOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-record-size",
        metavar="SIZE",
        parser=runs.size_of,
        help="The most bytes a record may have, such as 64MB or 1GiB; a larger one becomes an error in its place.",
    ),
]
#: The largest record by default, as text because it is parsed as what is given is.
SIZE: Final[Any] = f"{MAX_LINE // 10**6}MB"


def with_suffixes(command: Callable[..., None]) -> Callable[..., None]:
    """Puts the suffixes of logs for `{lines}` and `{tables}` into the docstring of a command, which is its help."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    found = {"lines": suffixes(LineFormat), "tables": suffixes(TableFormat)}
    command.__doc__ = "\n\n".join(
        textwrap.fill(paragraph.format(**found), _WIDTH) if "{lines}" in paragraph else paragraph
        for paragraph in paragraphs
    )
    return command
