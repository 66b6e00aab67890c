"""What is shown, as HTML: a page of its own, or a part of a notebook. It needs no network, and reads without scripts.

Every text is escaped, and characters that would hide or turn other text are written out. The text of each content in
the page is the content of the message, as `readable` writes it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from typing import Any, Final

from harmony.errors import printable
from harmony.explanations.page import ENTRIES
from harmony.messages.roles import KNOWN_CHANNELS
from harmony.runtime.extras import how_to_install
from harmony.viewing.characters import readable_runs
from harmony.viewing.lines import ending_of, facts_of, learned_of, place_of, size_of
from harmony.viewing.shown import Piece, Shown

try:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup, escape
except ImportError as _error:
    raise ImportError(f"a page needs jinja2: {how_to_install('view', 'jinja2')}") from _error

_PREFIX: Final = "code-"  # of the anchors of codes


def page(
    records: Sequence[Shown], *, title: str, is_cut: bool = False, with_ids: bool = False, with_mask: bool = False
) -> str:
    """A document with all of these records. `is_cut` says that there are more.

    `with_ids` and `with_mask` say which switches are on at first.
    """
    facts = _facts(records, title=title, is_cut=is_cut, with_ids=with_ids, with_mask=with_mask)
    return _TEMPLATES.get_template("page.html").render(facts, is_page=True, script=Markup(_read("page.js")))


def fragment(records: Sequence[Shown]) -> str:
    """The same as an element, for a notebook.

    Its anchors are its own, because the parts of a notebook share one document.
    """
    own = sha256(repr(records).encode(errors="backslashreplace")).hexdigest()[:8]
    return _TEMPLATES.get_template("view.html").render(_facts(records), prefix=f"{_PREFIX}{own}-")


def _facts(records: Sequence[Shown], **others: Any) -> dict[str, Any]:
    """What the templates use."""
    codes = dict.fromkeys(code for record in records for code in record.codes())
    sources = [record for record in records if any(message.header or message.content for message in record.messages)]
    return {
        "records": records,
        "prefix": _PREFIX,
        "codes": [(code, ENTRIES[code].about) for code in codes if code in ENTRIES],
        "has_pieces": bool(sources),
        "has_ids": any(record.unit == "token" for record in sources),
        "style": Markup(_read("page.css")),
        **others,
    }


def _read(name: str) -> str:
    return files("harmony.viewing").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    """The hash of a style or a script, by which the security policy of the page allows it, and nothing else."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _readable(text: str) -> Markup:
    """A content as `readable` writes it, with what is written out in elements of its own."""
    return Markup("").join(
        Markup("<em>{}</em>").format(run) if is_written_out else escape(run)
        for run, is_written_out in readable_runs(text)
    )


def _marked_up(text: str) -> Markup:
    """A sentence of this package, with what stands between backticks as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts)
    )


def _groupby_learned(pieces: Iterable[Piece]) -> Iterator[tuple[bool, Iterator[Piece]]]:
    return groupby(pieces, lambda piece: piece.learned)


_TEMPLATES: Final = Environment(
    loader=PackageLoader("harmony.viewing", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.filters |= {
    "readable": _readable,
    "printable": printable,
    "digest": _digest,
    "marked_up": _marked_up,
    "groupby_learned": _groupby_learned,
}
_TEMPLATES.globals |= {
    "channels": KNOWN_CHANNELS,
    "place_of": place_of,
    "facts_of": facts_of,
    "learned_of": learned_of,
    "size_of": size_of,
    "ending_of": ending_of,
}
