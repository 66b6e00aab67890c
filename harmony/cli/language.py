"""The commands that read no log: `harmony explain`, `tokens`, `grammar`, `vocab` and `compat`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from harmony.runtime import VERSION

vocab: Final = typer.Typer(
    rich_markup_mode=None, help="Show or export the vocabulary o200k_harmony.", no_args_is_help=True
)

_MOST_SHOWN: Final = 16_000_000  # bytes; encoding them as tokens takes thirty times as much memory


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="A code, such as unknown-role.", show_default=False)
    ] = None,
) -> None:
    """Explain a code of an error or a repair, and what to do about it.

    Every error and every diagnostic has a code. This command prints what the
    code means, what you can do, and example inputs. It runs the examples, so
    the messages that you see are those of this version.

    Without a CODE, it lists all codes.
    """
    from harmony.cli.explain import print_entry, print_list

    if code is None:
        print_list()
    else:
        print_entry(code)


def tokens(
    items: Annotated[list[str], typer.Argument(metavar="TEXT", help="A text, or token ids, or - for standard input.")],
    ids: Annotated[bool, typer.Option("--ids", help="TEXT is a list of token ids.")] = False,
) -> None:
    """Show the tokens of a text, or the text of token ids.

    If the text contains a special token such as <|end|>, it becomes that
    token, whoever wrote it. So if a message of a user contains <|end|>, its
    rendered text has other tokens here than `harmony render` gives.
    """
    from harmony.cli.ending import refuse, refused
    from harmony.cli.show import show_tokens
    from harmony.encoding import load_harmony_encoding
    from harmony.format import vocabulary
    from harmony.logs.outputs import check_apart

    encoding = load_harmony_encoding(vocabulary.ENCODING_NAME)
    if items == ["-"]:
        with refused():
            check_apart(items, ["-"])
        data = sys.stdin.buffer.read(_MOST_SHOWN + 1)
        if len(data) > _MOST_SHOWN:
            refuse(f"expected no more than {_MOST_SHOWN:,} bytes on standard input, found more")
        items = [data.decode(errors="surrogateescape")]
    text = " ".join(items)
    show_tokens(_ids(text) if ids else encoding.encode(text, allowed_special="all"))


def show_grammar(
    as_page: Annotated[
        bool, typer.Option("--railroad", help="Print an HTML page with a diagram of each rule.")
    ] = False,
) -> None:
    """Show the formal grammar of the format, for the parser generator Lark.

    `harmony validate` checks with this grammar. The output is always UTF-8.
    """
    from harmony import grammar
    from harmony.cli.ending import refuse
    from harmony.grammar import railroad

    try:
        text = railroad.page() if as_page else grammar.read()
    except ImportError:
        refuse("the page needs railroad-diagrams: pip install 'harmony-codec[cli]'")
    sys.stdout.buffer.write(text.encode())


@vocab.command(epilog="Example: harmony vocab info")
def info() -> None:
    """Show facts about the vocabulary: its size, its source, and the engine that parses."""
    import os

    from harmony.errors import printable
    from harmony.format import vocabulary
    from harmony.runtime.compiled import COMPILED

    loaded = vocabulary.load()
    folder = os.environ.get(vocabulary.FOLDER_VARIABLE)
    facts = {
        "encoding": f"{vocabulary.ENCODING_NAME}, vocabulary o200k_harmony",
        "byte-pair ranks": f"{vocabulary.FIRST_SPECIAL:,}, ids 0 to {vocabulary.FIRST_SPECIAL - 1}",
        "special tokens": (
            f"{len(vocabulary.SPECIAL_TOKENS):,}, ids {vocabulary.FIRST_SPECIAL} to {vocabulary.LAST_TOKEN}"
        ),
        "official file": f"{vocabulary.FILE_NAME}, {vocabulary.FILE_SIZE:,} bytes, SHA-256 {vocabulary.FILE_SHA256}",
        "read from": f"the package ({vocabulary.PACKED_NAME})",
        "compared with": str(Path(folder) / vocabulary.FILE_NAME) if folder else "nothing",
        "token bytes": f"{loaded.offsets[-1]:,}",
        "engine": "compiled" if COMPILED else "Python",
        "version": VERSION,
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        typer.echo(f"{name:{width}}  {printable(fact)}")


@vocab.command(epilog="Example: harmony vocab export ~/encodings")
def export(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder to write to. It is created if it does not exist.", show_default=False
        ),
    ],
) -> None:
    """Write the official file o200k_base.tiktoken into a folder.

    openai-harmony and others read it from there if the environment variable
    TIKTOKEN_ENCODINGS_BASE names the folder.
    """
    from harmony.cli import runs
    from harmony.cli.ending import refused
    from harmony.errors import printable
    from harmony.format import vocabulary
    from harmony.logs.outputs import Output

    path = folder / vocabulary.FILE_NAME
    with refused(), runs.refusing(str(path)):
        folder.mkdir(parents=True, exist_ok=True)
        with Output(str(path), {}, resume=False) as output:
            output.write(vocabulary.shipped().official_file())
            output.finish()
    typer.echo(f"{printable(str(path))}: {vocabulary.FILE_SIZE:,} bytes, SHA-256 {vocabulary.FILE_SHA256}")


def show_compat(
    show_path: Annotated[
        bool, typer.Option("--path", help="Print the folder for PYTHONPATH, and nothing else.")
    ] = False,
) -> None:
    """Show how programs that import openai_harmony run on harmony.

    In the environment of such a program, put the folder that `--path` prints
    at the front of PYTHONPATH. It holds an openai_harmony that is harmony. The
    program and all processes that it starts import it.
    """
    from harmony.cli.ending import refused
    from harmony.errors import printable

    with refused():
        from harmony import compat  # it reads an environment variable, which may be wrong

    folder = printable(str(compat.path()))
    if show_path:
        typer.echo(folder)
        return
    typer.echo(
        f"An `openai_harmony` that is harmony is in {folder}\n"
        "For a program and all processes that it starts:\n"
        '  PYTHONPATH="$(harmony compat --path)" vllm serve openai/gpt-oss-20b\n'
        "For one process, before anything imports openai_harmony:\n"
        "  import harmony.compat; harmony.compat.install()\n"
        f"Parsing is lenient; {compat.VARIABLE}=strict in the environment makes it strict."
    )


def _ids(text: str) -> list[int]:
    import re

    from harmony.cli.ending import refuse
    from harmony.errors import quote
    from harmony.format import vocabulary

    numbers = []
    for word in re.findall(r"[^\s,\[\]]+", text):
        number = int(word) if re.fullmatch("[0-9]{1,9}", word) else -1
        if not 0 <= number <= vocabulary.LAST_TOKEN:
            refuse(f"expected token ids in 0..{vocabulary.LAST_TOKEN}, found {quote(word)}")
        numbers.append(number)
    return numbers
