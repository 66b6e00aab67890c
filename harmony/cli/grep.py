"""`harmony grep`: finds messages and records in logs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from harmony.cli.arguments import NAME, LogCommand, into_option, record_options, size_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harmony.logs.records import Layout
    from harmony.logs.search import Hit, Query
    from harmony.logs.searched import Place

_MATCH_STYLE: Final = "bold red"
_PLACE_STYLE: Final = "magenta"


def _header_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(f"--{name.replace('_', '-')}", f"by_{name}", metavar="NAME", multiple=True, help=text)


@click.command(cls=LogCommand, epilog="Example: harmony grep 'rate.?limit' logs/ --channel analysis")
@click.argument("words", metavar="[PATTERN] FILE...", nargs=-1, required=True, type=NAME)
@click.option("--regexp", "-e", metavar="PATTERN", help="The pattern. Then all arguments are files.")
@click.option("--fixed-strings", "-F", is_flag=True, help="PATTERN is plain text, not a regular expression.")
@click.option("--ignore-case", "-i", is_flag=True, help="Upper and lower case are the same in PATTERN.")
@_header_option("role", "Messages of this role: system, developer, user, assistant or tool.")
@_header_option("channel", "Messages on this channel, such as analysis.")
@_header_option("recipient", "Messages to this recipient, such as functions.search or 'functions.*'.")
@_header_option("name", "Messages of an author with this name, such as 'functions.*'.")
@_header_option("content_type", "Messages of this content type, such as json.")
@click.option("--diagnostic", metavar="CODE", multiple=True, help="Records that had this repair.")
@click.option("--error", metavar="CODE", multiple=True, help="Records with this error.")
@click.option("--incomplete", is_flag=True, help="Records that do not end between messages.")
@click.option("--record", metavar="NUMBER", type=click.IntRange(min=1), help="Only the record of this line or row.")
@click.option("--id", "identity", metavar="VALUE", help="Only the record with this id.")
@click.option("--invert-match", "-v", is_flag=True, help="What does not fit: messages, or records with --records.")
@click.option("--records", is_flag=True, help="Print whole records as they stand in the log: the output is a log.")
@click.option("--count", "-c", is_flag=True, help="Print only how many messages, or records, each file has.")
@click.option("--max-count", "-m", metavar="NUMBER", type=click.IntRange(min=1), help="Stop a file after this many.")
@record_options()
@into_option
@size_option
def grep(
    words: Sequence[str],
    regexp: str | None,
    fixed_strings: bool,
    ignore_case: bool,
    diagnostic: Sequence[str],
    error: Sequence[str],
    incomplete: bool,
    record: int | None,
    identity: str | None,
    invert_match: bool,
    records: bool,
    count: bool,
    max_count: int | None,
    layout: Layout,
    max_record_size: int,
    **header: Sequence[str],
) -> None:
    """Find messages in logs.

    PATTERN is a regular expression of Python, which is searched in the text
    of messages; ^ and $ stand for the ends of its lines. Without PATTERN, all
    messages are found that the options select. The first argument is a file
    if there is one of this name, or if it is the only argument; --regexp,
    --fixed-strings and --ignore-case say that there is a pattern.

    Each FILE is a log, a folder of logs, or - for standard input. Logs are
    JSON Lines ({lines}) or tables ({tables}), as for `harmony parse`: of
    completions, of conversations, or what `harmony parse` wrote. For that,
    --into NAME is the field that holds the output.

    Several values of one option are alternatives. Different options must all
    hold. Each message is printed as a line of JSON: its file, the number and
    the id of its record, its number in the record, and the message. A
    terminal shows the text, with the matches marked.

    Exit status: 0 if something is found, 1 if not, 2 if a file cannot be
    read, or if nothing is found and some records could not be read.
    """
    from harmony.cli.ending import refuse, refused

    pattern, files = _pattern_of(words, regexp, is_meant=fixed_strings or ignore_case)
    if "" in files:
        refuse("expected the name of a file or a folder, found an empty name")
    if not files:
        refuse("expected a file, found only a pattern: use - for standard input")
    with refused():
        try:
            import pyarrow  # noqa: F401  the columns that are searched need it
        except ImportError:
            raise ImportError("searching needs pyarrow: pip install 'harmony-codec[cli]'") from None
        from harmony.logs.search import Query, text_query
        from harmony.logs.searched import Place

        _check_codes(diagnostic, error)
        _check_roles(header["by_role"])
        compiled, literal = None, None
        if pattern is not None:
            compiled, literal = text_query(pattern, fixed=fixed_strings, ignore_case=ignore_case)
        elif fixed_strings or ignore_case:
            raise ValueError(f"--{'fixed-strings' if fixed_strings else 'ignore-case'} needs a pattern")
        query = Query(
            header={name.removeprefix("by_"): tuple(values) for name, values in header.items() if values},
            pattern=compiled,
            literal=literal,
            diagnostics=frozenset(diagnostic),
            errors=frozenset(error),
            incomplete=incomplete,
            invert=invert_match,
            records=records,
            located=record is not None or identity is not None,
        )
        search = _Search(query, layout, Place(record, identity), max_count, max_record_size)
        status = _run(search, files, only_count=count)
    sys.exit(status)


def _pattern_of(words: Sequence[str], regexp: str | None, *, is_meant: bool) -> tuple[str | None, list[str]]:
    """The pattern, if there is one, and the files. `is_meant` says that an option about the pattern was given."""
    if regexp is not None or len(words) == 1 or (not is_meant and _exists(words[0])):
        return regexp, list(words)
    return words[0], list(words[1:])


def _exists(name: str) -> bool:
    try:
        return name == "-" or (name != "" and Path(name).exists())
    except (OSError, ValueError):  # too long for a name, for example
        return False


def _check_codes(diagnostics: Iterable[str], errors: Iterable[str]) -> None:
    """Raises ValueError for what is no code of a repair, or no code at all."""
    from harmony.errors import TABLE, code_of

    repairs = {code_of(key) for key in TABLE["repair"]}
    for code in diagnostics:
        _check("the code of a repair", code, repairs)
    known = {code_of(key) for family in TABLE.values() for key in family}
    for code in errors:
        _check("the code of an error", code, known)


def _check_roles(roles: Iterable[str]) -> None:
    from harmony.messages.roles import ROLES

    for role in roles:
        _check("a role", role, ROLES)


def _check(expected: str, found: str, known: Iterable[str]) -> None:
    from difflib import get_close_matches

    from harmony.errors import quote

    names = sorted(known)
    if found in names:
        return
    close = get_close_matches(found, names)
    if not close and len(names) <= 5:
        close = names
    hint = f": did you mean {' or '.join(map(quote, close))}?" if close else ": `harmony explain` lists all codes"
    raise ValueError(f"expected {expected}, found {quote(found)}{hint}")


class _Search(NamedTuple):
    query: Query
    layout: Layout
    place: Place
    most: int | None  # hits of a file
    size: int


class _Unread:
    """The records of a file that could not be read."""

    def __init__(self) -> None:
        self.count = 0
        self.first: str | None = None

    def add(self, messages: Sequence[str]) -> None:
        self.count += len(messages)
        self.first = self.first or next(iter(messages), None)


def _run(search: _Search, files: Sequence[str], *, only_count: bool) -> int:
    """Searches files and prints what is found. Returns the exit status."""
    from harmony.cli.ending import refuse
    from harmony.errors import printable
    from harmony.logs.inputs import Unreadable, expand
    from harmony.logs.outputs import check_apart

    found = bad = failed = 0
    names: list[str] = []
    for file in files:
        try:
            names += [name for name, _ in expand([file])]
        except Unreadable as error:
            click.echo(f"harmony: {printable(str(error))}", err=True)
            failed += 1
    check_apart(names, ["-"])
    for name in names:
        unread = _Unread()
        hits = 0
        try:
            hits = _file(search, name, unread, only_count=only_count)
        except Unreadable as error:
            click.echo(f"harmony: {printable(str(error))}", err=True)
            failed += 1
        except (TypeError, ValueError, ImportError) as error:
            click.echo(f"harmony: {printable(f'{name}: {error}')}", err=True)
            failed += 1
        except MemoryError:
            refuse("there is not enough memory: use a smaller --max-record-size")
        if only_count:
            click.echo(f"{printable(name)}:{hits}" if len(names) > 1 else str(hits))
        if unread.count:
            records = "1 record" if unread.count == 1 else f"{unread.count:,} records"
            click.echo(
                f"harmony: {printable(f'{name}: {records} could not be read, the first: {unread.first}')}", err=True
            )
        found += hits
        bad += unread.count
    if failed:
        return 2
    if not found:
        _suggest_channel(search.query)
        return 2 if bad else 1
    return 0


def _suggest_channel(query: Query) -> None:
    """Says which channel was perhaps meant: any word can be a channel, so an unknown one is no error."""
    from harmony.messages.roles import KNOWN_CHANNELS

    for channel in query.header.get("channel", ()):
        if channel not in KNOWN_CHANNELS:
            try:
                _check("a channel", channel, KNOWN_CHANNELS)
            except ValueError as error:
                click.echo(f"harmony: {error}", err=True)


def _file(search: _Search, name: str, unread: _Unread, *, only_count: bool) -> int:
    """Searches a file, prints what is found unless it is only counted, and returns how much that is."""
    from harmony.logs.search import hit, select
    from harmony.logs.searched import parts

    on_screen = sys.stdout.isatty()
    query, hits = search.query, 0
    for part in parts(name, search.layout, search.place, search.size):
        told = [error for index, error in part.unread.items() if error.code not in query.errors]
        unread.add([error.message for error in told])
        rows = select(part, query)
        if search.most is not None:
            rows = rows[: search.most - hits]
        hits += len(rows)
        if not only_count:
            if query.records:
                indices = part.rows.column("conversation").take(_places(rows)).to_pylist()
                _print_records(map(part.record_of, indices), on_screen=on_screen)
            elif on_screen:
                _show(name, (hit(part, row) for row in rows), query)
            else:
                sys.stdout.buffer.write(b"".join(hit(part, row).to_json(name) for row in rows))
            sys.stdout.flush()
        if hits == search.most:
            break
    return hits


def _places(rows: list[int]) -> Any:
    import pyarrow as pa

    return pa.array(rows, pa.int64())


def _print_records(records: Iterable[bytes], *, on_screen: bool) -> None:
    from harmony.viewing.characters import readable

    for record in records:
        if on_screen:
            click.echo(readable(record.decode(errors="backslashreplace")), nl=False)
        else:
            sys.stdout.buffer.write(record)


def _show(name: str, hits: Iterable[Hit], query: Query) -> None:
    """Shows messages on a terminal, with the matches marked."""
    from rich.padding import Padding
    from rich.text import Text

    from harmony.errors import printable
    from harmony.viewing.characters import readable
    from harmony.viewing.lines import header_runs
    from harmony.viewing.terminal import console_of

    screen = console_of()
    for each in hits:
        title = Text(f"{printable(name)}:{each.record}", _PLACE_STYLE)
        if each.id is not None:
            title.append(f" {printable(str(each.id))}", "dim")
        if each.completion_index is not None:
            title.append(f" completion {each.completion_index}", "dim")
        if each.message is not None:
            title.append(f" message {each.number} ", "dim").append_text(Text.assemble(*header_runs(each.message)))
        screen.print(title)
        if each.message is None:
            error = each.error or {}
            told = f"error {error['code']}: {error.get('message')}" if "code" in error else "(no message)"
            screen.print(Text(f"  {printable(told)}", "bold red" if error else "italic dim"))
            continue
        shown, end = Text(), 0
        for found in query.pattern.finditer(each.text) if query.pattern is not None and not query.invert else ():
            shown.append(readable(each.text[end : found.start()]))
            shown.append(readable(found[0]), _MATCH_STYLE)
            end = found.end()
        shown.append(readable(each.text[end:]))
        screen.print(Padding(shown, (0, 0, 1, 2)))
