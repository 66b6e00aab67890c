"""All that is written about codes, as docs/diagnostics.md and as `harmony explain` prints it.

python -m harmony.explanations.page > docs/diagnostics.md
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from harmony.errors import TABLE, Family, code_of, quote
from harmony.explanations import conversations, conversions, parsing, repairs
from harmony.explanations.entry import Entry
from harmony.explanations.examples import Called, Example, Linted, Logged, Outcome, Rendered


class Section(NamedTuple):
    """The codes of a family, or of a part of it, under one heading."""

    family: Family
    title: str
    about: str
    entries: Mapping[str, Entry]


SECTIONS: Final = (
    Section(
        "text",
        "Token ids and text",
        "Raised as a `HarmonyError` where ids are decoded, and where texts are encoded. Parsing raises the first too.",
        parsing.TEXT,
    ),
    Section(
        "strict",
        "Strict parsing",
        "Raised as a `HarmonyError` by `parse`, `parse_text` and `StreamableParser`, where they are strict, and told "
        "by `validate` with the same code at the same place. `validate` adds what the grammar accepts there.",
        parsing.STRICT,
    ),
    Section(
        "validate",
        "What is not whole",
        "Told by `validate` alone: parsing takes such an input, and says that it is not complete.",
        parsing.VALIDATE,
    ),
    Section(
        "repair",
        "Repairs between messages and inside content",
        "Told in `diagnostics` where parsing is lenient (`strict=False`, and `harmony parse`). Each row is a "
        "completion of the assistant, the codes of all repairs in it, and the messages that come of it, as they are "
        "rendered. [`repairs.md`](repairs.md) has the rules for them.",
        repairs.STREAM,
    ),
    Section(
        "repair",
        "Repairs of headers",
        "Told in the same way.",
        repairs.HEADERS,
    ),
    Section(
        "rendering",
        "Rendering",
        "Raised as a `RenderError`, which is a `HarmonyError` and a `ValueError`, and told by `harmony validate` of "
        "records with `messages`.",
        conversations.RENDERING,
    ),
    Section(
        "lint",
        "Lint",
        "Told by `lint` and by `harmony lint`. The position is the index of a message. [`lint.md`](lint.md) has all "
        "rules.",
        conversations.LINT,
    ),
    Section(
        "records",
        "Records of logs and tables",
        "Told in the field `error` of a record, by `harmony parse` and `harmony render`, and by `harmony validate`. A "
        "record can have `invalid-utf-8` and any code of strict parsing or rendering too.",
        conversations.RECORDS,
    ),
    Section(
        "conversion",
        "Conversions from and to the APIs of OpenAI",
        "Raised as a `ConversionError`, which is a `ValueError`, by `harmony.chat` and `harmony.responses`. Its `path` "
        "leads to the value. `repaired-tool-name` and `cut-call` are diagnostics instead: they tell what was changed "
        "in a reply. [`chat.md`](chat.md) has the rules.",
        conversions.CONVERSION,
    ),
    Section(
        "vocabulary",
        "The vocabulary",
        "Raised as a `HarmonyError` where the vocabulary is loaded.",
        conversations.VOCABULARY,
    ),
)
#: What is written about each code.
ENTRIES: Final[dict[str, Entry]] = {code: each for section in SECTIONS for code, each in section.entries.items()}
CODES: Final = tuple(ENTRIES)
_FAMILIES: Final = {code: section for section in SECTIONS for code in section.entries}
_SHOWN: Final = 200  # characters of an input on one line
_NEAREST: Final = 3
_WIDTH: Final = 120  # of the page


class Explanation(NamedTuple):
    """What is printed about one code; each example is what was given, and what came of it."""

    code: str
    title: str
    about: str
    sentences: list[str]
    examples: list[tuple[str, Outcome]]


def explanation(code: str) -> Explanation:
    """What is printed about a code. Its examples are run. Raises ValueError for an unknown code."""
    if code not in ENTRIES:
        nearest = get_close_matches(code, CODES, _NEAREST, 0.5)
        expected = ", ".join(map(quote, nearest)) if nearest else "a code that `harmony explain` lists"
        raise ValueError(f"expected {' or '.join(expected.rsplit(', ', 1))}, found the unknown code {quote(code)}")
    examples = [(_cut(example.shown()), example.run()) for example in ENTRIES[code].examples]
    keys = [key for family in TABLE.values() for key in family if code_of(key) == code]
    sentences = [TABLE[family][key] for family in TABLE for key in keys if key in TABLE[family]]
    return Explanation(code, _FAMILIES[code].title, ENTRIES[code].about, sentences, examples)


def _cut(text: str) -> str:
    return "\n".join(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…" for line in text.split("\n"))


def page() -> str:
    """The page docs/diagnostics.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Every code, and what to do about it"
    yield ""
    yield from wrapped(
        "Each fault that harmony tells has a kebab-case code to match on and a sentence for people. This page has "
        "every code, with an input that shows it and what is said of that input. `harmony explain CODE` prints an "
        "entry in the terminal. The page is made by `python -m harmony.explanations.page > docs/diagnostics.md`; the "
        "tests run every input."
    )
    yield ""
    yield from wrapped(
        'In examples in Python, `encoding` is `load_harmony_encoding("HarmonyGptOss")`, and `chat` and `responses` are '
        "modules of harmony."
    )
    yield ""
    yield "<!-- no block of this page is run: it shows faults, and tests/checking/test_codes.py runs every input -->"
    for section in SECTIONS:
        yield ""
        yield f"## {section.title}"
        yield ""
        yield from wrapped(section.about)
        for code in section.entries:
            yield ""
            yield f"### {code}"
            yield ""
            yield from wrapped(ENTRIES[code].about)
            yield ""
            found = explanation(code)
            yield from _rows(found) if section.family == "repair" else _blocks(found)
    yield ""


def wrapped(text: str) -> list[str]:
    """A paragraph of a page, as lines."""
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _blocks(found: Explanation) -> Iterator[str]:
    for example, (shown, outcome) in zip(ENTRIES[found.code].examples, found.examples, strict=True):
        if example is not ENTRIES[found.code].examples[0]:
            yield ""
        yield f"```{_language(example)}"
        yield shown
        yield "```"
        for said in outcome.said:
            yield ""
            yield f"> {said.sentence}" if said.code == found.code else f"> {said.code}: {said.sentence}"


def _language(example: Example) -> str:
    if isinstance(example, Called):
        return "python"
    return "json" if isinstance(example, Rendered | Linted | Logged) else "text"


def _rows(found: Explanation) -> Iterator[str]:
    sentence = next(said.sentence for _, outcome in found.examples for said in outcome.said if said.code == found.code)
    yield f"> {sentence}"
    yield ""
    yield "| the model wrote | repaired | what is read |"
    yield "|---|---|---|"
    for shown, outcome in found.examples:
        codes = ", ".join(f"`{said.code}`" for said in outcome.said)
        read = "<br>".join(f"`{text}`" for text in outcome.read or []) or "nothing"
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{shown}`", codes, read)) + " |"


if __name__ == "__main__":
    sys.stdout.write(page())
