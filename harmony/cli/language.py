"""The commands that read no log: `harmony explain`, `tokens`, `grammar`, `vocab`, `compat` and `completion`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from harmony.cli.arguments import NAME
from harmony.runtime import VERSION
from harmony.runtime.extras import how_to_install

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The variable by which the script of `harmony completion` asks for completions.
COMPLETION_VARIABLE: Final = "_HARMONY_COMPLETE"

_SHELLS: Final = ("bash", "zsh", "fish")
_MOST_SHOWN: Final = 16_000_000  # bytes; encoding them as tokens takes thirty times as much memory


@click.command(epilog="Example: harmony explain unknown-role")
@click.argument("code", metavar="[CODE]", required=False)
def explain(code: str | None) -> None:
    """Explain the code of an error or of a repair.

    Every error and every diagnostic has a code. This command prints what the
    code means, what you can do, and example inputs. It runs the examples, so
    the messages that you see are those of this version.

    CODE is a code such as unknown-role. Without it, all codes are listed.
    """
    from harmony.cli.explain import print_entry, print_list

    if code is None:
        print_list()
    else:
        print_entry(code)


@click.command(epilog="Example: harmony tokens '<|start|>user<|message|>Hi<|end|>'")
@click.argument("items", metavar="TEXT...", nargs=-1, required=True)
@click.option("--ids", is_flag=True, help="TEXT is a list of token ids.")
def tokens(items: Sequence[str], ids: bool) -> None:
    """Show the tokens of a text, or the text of token ids.

    TEXT is a text, or token ids, or - for standard input.

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
    if list(items) == ["-"]:
        with refused():
            check_apart(items, ["-"])
        data = sys.stdin.buffer.read(_MOST_SHOWN + 1)
        if len(data) > _MOST_SHOWN:
            refuse(f"expected no more than {_MOST_SHOWN:,} bytes on standard input, found more")
        items = [data.decode(errors="surrogateescape")]
    text = " ".join(items)
    if ids:
        found = _ids(text)
    else:
        try:
            found = encoding.encode(text, allowed_special="all")
        except ImportError as error:
            refuse(str(error))
    show_tokens(found)


@click.command("grammar", epilog="Example: harmony grammar --railroad > grammar.html")
@click.option("--railroad", "as_page", is_flag=True, help="Print an HTML page with a diagram of each rule.")
@click.option(
    "--for",
    "engine",
    metavar="ENGINE",
    type=click.Choice(["llguidance"]),
    help="llguidance: print the grammar that guides a model, in the notation of llguidance.",
)
@click.option(
    "--tools",
    metavar="FILE",
    type=NAME,
    help="With --for, the tools that the model may call: a JSON list in the shape of Chat Completions or Responses.",
)
def show_grammar(as_page: bool, engine: str | None, tools: str | None) -> None:
    """Show the grammar of the format, for the parser generator Lark.

    `harmony validate` checks with this grammar. The output is always UTF-8.

    With --for llguidance, show the grammar of the completions that a model
    may write with these tools: their headers, and their arguments by their
    JSON schemas. Without --tools, the model may call none.
    """
    from harmony import grammar
    from harmony.cli.ending import refuse, refused
    from harmony.grammar import railroad

    if as_page and engine is not None:
        refuse("--railroad cannot be used with --for")
    if tools is not None and engine is None:
        refuse("--tools needs --for llguidance")
    try:
        if engine is None:
            text = railroad.page() if as_page else grammar.read()
        else:
            with refused():
                text = _guiding(tools)
    except ImportError:
        refuse(f"the page needs railroad-diagrams: {how_to_install('cli', 'railroad-diagrams')}")
    sys.stdout.buffer.write(text.encode())


def _guiding(file: str | None) -> str:
    """The grammar for llguidance, with the tools in a file."""
    import json

    from harmony import decoding
    from harmony.cli.ending import refuse
    from harmony.errors import printable

    if file is None:
        return decoding.grammar(None)
    try:
        with click.open_file(file, "rb") as opened:
            tools = json.loads(opened.read())
    except OSError as error:
        refuse(f"{printable(file)}: {error.strerror or error}")
    except (ValueError, RecursionError) as error:
        refuse(f"{printable(file)}: expected a JSON list of tools, found what is no JSON: {error}")
    return decoding.grammar(tools)


@click.group()
def vocab() -> None:
    """Show or export the vocabulary o200k_harmony."""


@vocab.command(epilog="Example: harmony vocab info")
def info() -> None:
    """Show its size, its source, and the engine that parses."""
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
        click.echo(f"{name:{width}}  {printable(fact)}")


@vocab.command(epilog="Example: harmony vocab export ~/encodings")
@click.argument("folder", metavar="DIR", type=NAME)
def export(folder: str) -> None:
    """Write the official file o200k_base.tiktoken into a folder.

    DIR is the folder. It is created if it does not exist.

    openai-harmony and others read it from there if the environment variable
    TIKTOKEN_ENCODINGS_BASE names the folder.
    """
    from harmony.cli import runs
    from harmony.cli.ending import refused
    from harmony.errors import printable
    from harmony.format import vocabulary
    from harmony.logs.outputs import Output

    path = Path(folder, vocabulary.FILE_NAME)
    with refused(), runs.refusing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with Output(str(path), {}, resume=False) as output:
            output.write(vocabulary.shipped().official_file())
            output.finish()
    click.echo(f"{printable(str(path))}: {vocabulary.FILE_SIZE:,} bytes, SHA-256 {vocabulary.FILE_SHA256}")


@click.command("compat", epilog="Example: PYTHONPATH=$(harmony compat --path) python server.py")
@click.option("--path", "show_path", is_flag=True, help="Print the folder for PYTHONPATH, and nothing else.")
def show_compat(show_path: bool) -> None:
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
        click.echo(folder)
        return
    click.echo(
        f"An `openai_harmony` that is harmony is in {folder}\n"
        "For a program and all processes that it starts:\n"
        '  PYTHONPATH="$(harmony compat --path)" vllm serve openai/gpt-oss-20b\n'
        "For one process, before anything imports openai_harmony:\n"
        "  import harmony.compat; harmony.compat.install()\n"
        f"Parsing is lenient; {compat.VARIABLE}=strict in the environment makes it strict."
    )


@click.command(epilog='Example: eval "$(harmony completion bash)"')
@click.argument("shell", metavar="SHELL", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in a shell.

    SHELL is bash, zsh or fish. Run the script when the shell starts: put the
    line of the example into ~/.bashrc or ~/.zshrc, with your shell in it. For
    fish, put `harmony completion fish | source` into
    ~/.config/fish/config.fish.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # click knows these shells
    click.echo(found(context.find_root().command, {}, "harmony", COMPLETION_VARIABLE).source(), nl=False)


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
