"""`harmony view`: shows the messages, tokens and repairs of logs, in the terminal or as one page of HTML."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import click

from harmony.cli.arguments import NAME, LogCommand, files, limit_option, record_options, size_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harmony.logs.records import Layout
    from harmony.viewing.shown import Shown

_PAGE_LIMIT: Final = 200
_LINES: Final = 100  # that are drawn together


@click.command(cls=LogCommand, epilog="Example: harmony view replies.jsonl --id reply-7 --ids")
@files
@click.option("--record", "number", metavar="NUMBER", type=click.IntRange(min=1), help="Show only this line or row.")
@click.option(
    "--id",
    "name",
    metavar="ID",
    help="Show only the record with this id: its field id, custom_id, request_id or doc_id.",
)
@click.option("--ids", is_flag=True, help="Show each message as its tokens, with their ids.")
@click.option(
    "--mask",
    metavar="CHANNELS",
    help="Underline the tokens that training would learn, with these channels, such as analysis,final.",
)
@click.option("--raw", is_flag=True, help="Show the text as it is, with its markers.")
@click.option(
    "--html",
    "page",
    metavar="NAME",
    type=NAME,
    help="Write one page of HTML, which needs no network. - is standard output.",
)
@limit_option
@record_options()
@size_option
def view(
    files: Sequence[str],
    number: int | None,
    name: str | None,
    ids: bool,
    mask: str | None,
    raw: bool,
    page: str | None,
    limit: int | None,
    layout: Layout,
    max_record_size: int,
) -> None:
    """Look at completions, conversations and prompts.

    Each FILE is a log, a folder of logs, a file with one text or with token
    ids, or - for standard input. Logs are JSON Lines ({lines}) or tables
    ({tables}). Each record has `tokens` (ids), `text` (with markers such as
    <|end|> written out), or the messages of a conversation, in the shape of
    Harmony or of one of the OpenAI APIs.

    Each message is shown with its role, channel, recipient, content type,
    number of tokens and stop. What breaks the format is repaired, and each
    repair is shown at its place with its code; `harmony explain CODE` says
    more. The JSON of a call is shown as it was written, and again over
    several lines.

    The messages of the system, the developer and tools, and long analysis,
    are folded: only their first lines are shown. If one record is chosen,
    by --record or --id, everything is shown.

    In a terminal, the output is paged, unless the log comes from a pipe. With
    --html, the first 200 records become a page with a search; --limit takes
    more or fewer. The page also shows the tokens, their ids and the training
    mask.

    Exit status: 1 if some records are bad, 2 if a file cannot be read or no
    record is found.
    """
    from harmony.cli.ending import print_bad_count, refuse, refused
    from harmony.cli.show import hint
    from harmony.errors import in_turn, quote
    from harmony.logs.inputs import expand
    from harmony.logs.outputs import check_apart
    from harmony.messages.roles import KNOWN_CHANNELS
    from harmony.results import channels_of
    from harmony.viewing.records import Chosen, Viewer

    if raw and page is not None:
        refuse("--raw cannot be used with --html: the page has a switch for tokens and markers")
    if page == "":
        refuse("expected the name of a file for --html, found an empty name")
    chosen = Chosen(number, name)
    with refused():
        learned = channels_of([word.strip() for word in mask.split(",")] if mask is not None else (), "--mask")
        channels = KNOWN_CHANNELS if page is not None and mask is None else learned
        records = Viewer(layout, channels, max_record_size, chosen).records(files)
        first = next(records, None)
        if first is None and not chosen.is_all():
            wanted = [f"the number {number:,}"] if number is not None else []
            wanted += [] if name is None else [f"the id {quote(name)}"]
            raise ValueError(f"expected a record with {in_turn(wanted, 'and')}, found none")
        found = _Counted(records if first is None else chain([first], records))
        if page is None:
            _print(islice(found, limit), ids=ids, raw=raw, whole=not chosen.is_all())
        else:
            check_apart((file for file, _ in expand(files)), [page])
            _write_page(found, files, page, limit or _PAGE_LIMIT, ids=ids, mask=mask is not None)
    if first is None:
        click.echo("harmony: there are no records", err=True)
    if found.texts and (ids or mask is not None):
        texts = "record that is a text" if found.texts == 1 else "records that are texts"
        click.echo(f"harmony: --ids and --mask show nothing of {found.texts:,} {texts}", err=True)
    hint(found.first_code)
    print_bad_count(found.bad)


class _Counted:
    """Passes records on, and counts those that are bad, and those that are texts. Keeps the first code."""

    def __init__(self, records: Iterator[Shown]) -> None:
        self.bad = self.texts = 0
        self.first_code: str | None = None
        self._records = records

    def __iter__(self) -> Iterator[Shown]:
        return self

    def __next__(self) -> Shown:
        found = next(self._records)
        self.bad += found.error is not None
        self.texts += found.unit == "character" and found.error is None
        self.first_code = self.first_code or next(iter(found.codes()), None)
        return found


def _print(records: Iterable[Shown], *, ids: bool, raw: bool, whole: bool) -> None:
    """Prints records. A terminal shows them in colours and paged. A pipe gets plain lines that are not wrapped."""
    from harmony.viewing.lines import title_of
    from harmony.viewing.terminal import all_lines, console_of, drawn

    screen = console_of()
    is_terminal = sys.stdout.isatty()

    def texts() -> Iterator[str]:
        for shown in records:
            more = f": --record {shown.number} shows them" if shown.number else ""
            found = all_lines(shown, screen.width, ids=ids, raw=raw, whole=whole, more=more)
            if not is_terminal:
                yield f"── {title_of(shown)}\n"
                yield from (f"{line.plain()}\n" for line in found)
                continue
            parts = drawn(title_of(shown), found)
            while some := list(islice(parts, _LINES)):
                with screen.capture() as captured:
                    screen.print(*some, sep="\n")
                yield captured.get()

    if is_terminal and sys.stdin.isatty():  # the pager takes keys
        os.environ.setdefault("LESS", "-FRX")  # `less` then keeps colours, and does not page what fits on the screen
        with _without_sigpipe():
            click.echo_via_pager(texts())
    else:
        for text in texts():
            click.echo(text, nl=False)


@contextmanager
def _without_sigpipe() -> Iterator[None]:
    """Lets the user leave the pager early: writing to it then is an error that click handles, and not the end."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _write_page(
    records: Iterator[Shown], files: Sequence[str], name: str, limit: int, *, ids: bool, mask: bool
) -> None:
    """Writes the first records as a page of HTML. If a file cannot be read to its end, those before are written."""
    from harmony.cli.ending import refuse
    from harmony.logs.inputs import Unreadable, input_name
    from harmony.viewing.page import page

    found: list[Shown] = []
    fault = None
    try:
        found += islice(records, limit)
        has_more = next(records, None) is not None
    except Unreadable as error:
        fault, has_more = error, False
    count = f"{len(found):,} {'record' if len(found) == 1 else 'records'}"
    title = f"{', '.join(map(input_name, files))}: {count}"
    try:
        with click.open_file(name, "wb") as file:
            file.write(page(found, title=title, is_cut=has_more, with_ids=ids, with_mask=mask).encode())
    except OSError as error:
        refuse(f"{name}: {error.strerror}")
    if fault is not None:
        raise fault
    if has_more:
        click.echo(f"harmony: the page has the first {limit:,} records; --limit takes more", err=True)
