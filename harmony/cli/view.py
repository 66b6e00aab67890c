"""`harmony view`: shows the messages, tokens and repairs of logs, in the terminal or as one page of HTML."""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from harmony.cli.arguments import NAME, LogCommand, files, limit_option, record_options, size_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harmony.logs.records import Layout
    from harmony.viewing.shown import Shown

_PAGE_LIMIT: Final = 200


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

    In a terminal, the output is paged. With --html, the first 200 records
    become a page with a search; --limit takes more or fewer. The page also
    shows the tokens, their ids and the training mask.

    Exit status: 1 if some records are bad, 2 if a file cannot be read or no
    record is found.
    """
    from harmony.cli.ending import print_bad_count, refuse, refused
    from harmony.errors import in_turn, quote
    from harmony.logs.inputs import expand
    from harmony.logs.outputs import check_apart
    from harmony.messages.roles import KNOWN_CHANNELS
    from harmony.results import channels_of
    from harmony.viewing.records import Chosen, Viewer

    if raw and page is not None:
        refuse("--raw cannot be used with --html: the page has a switch for tokens and markers")
    chosen = Chosen(number, name)
    with refused():
        learned = channels_of([word.strip() for word in mask.split(",")] if mask is not None else ())
        viewer = Viewer(
            layout, KNOWN_CHANNELS if page is not None and mask is None else learned, max_record_size, chosen
        )
        if page is None:
            count, bad = _print(islice(viewer.shown(files), limit), ids=ids, raw=raw, whole=not chosen.is_all())
        else:
            check_apart((file for file, _ in expand(files)), [page])
            count, bad = _write_page(
                viewer.shown(files), files, page, limit or _PAGE_LIMIT, ids=ids, mask=mask is not None
            )
        if not count and not chosen.is_all():
            wanted = [f"the number {number:,}"] if number is not None else []
            wanted += [] if name is None else [f"the id {quote(name)}"]
            raise ValueError(f"expected a record with {in_turn(wanted, 'and')}, found none")
    print_bad_count(bad)


def _print(records: Iterable[Shown], *, ids: bool, raw: bool, whole: bool) -> tuple[int, int]:
    """Prints records, and returns how many there are, and how many are bad.

    A terminal shows them in colours and paged. A pipe gets plain lines that are not wrapped.
    """
    from harmony.cli.show import hint
    from harmony.viewing.lines import title_of
    from harmony.viewing.terminal import all_lines, console_of, drawn

    screen = console_of()
    is_terminal = sys.stdout.isatty()
    count = bad = 0
    first_code = None

    def texts() -> Iterator[str]:
        nonlocal count, bad, first_code
        for shown in records:
            count, bad = count + 1, bad + (shown.error is not None)
            first_code = first_code or next(iter(shown.codes()), None)
            more = f": --record {shown.number} shows them" if shown.number else ""
            found = all_lines(shown, screen.width, ids=ids, raw=raw, whole=whole, more=more)
            if is_terminal:
                with screen.capture() as captured:
                    screen.print(drawn(title_of(shown), found))
                yield captured.get()
            else:
                yield "".join(f"{line}\n" for line in [f"── {title_of(shown)}", *(each.plain() for each in found)])

    if is_terminal and sys.stdin.isatty():  # the pager takes keys
        os.environ.setdefault("LESS", "-FRX")  # `less` then keeps colours, and does not page what fits on the screen
        click.echo_via_pager(texts())
    else:
        for text in texts():
            click.echo(text, nl=False)
    hint(first_code)
    return count, bad


def _write_page(
    records: Iterator[Shown], files: Sequence[str], name: str, limit: int, *, ids: bool, mask: bool
) -> tuple[int, int]:
    """Writes the first records as a page of HTML. Returns how many these are, and how many of them are bad."""
    from harmony.errors import printable
    from harmony.logs.inputs import shown
    from harmony.viewing.page import page

    found = list(islice(records, limit))
    has_more = next(records, None) is not None
    title = printable(f"{', '.join(map(shown, files))}: {len(found):,} {'record' if len(found) == 1 else 'records'}")
    written = page(found, title=title, is_cut=has_more, with_ids=ids, with_mask=mask)
    with click.open_file(name, "wb") as file:
        file.write(written.encode())
    if has_more:
        click.echo(f"harmony: the page has the first {limit:,} records; --limit takes more", err=True)
    return len(found), sum(each.error is not None for each in found)
