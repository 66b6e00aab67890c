"""The page: its texts are those of the messages, its contents are inert, and its policy allows only its own script."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harmony
from harmony import HarmonyEncoding, Message, Role
from harmony.explanations.page import ENTRIES
from harmony.messages.roles import KNOWN_CHANNELS
from harmony.results import ParseResult
from harmony.viewing.characters import readable
from harmony.viewing.page import fragment, page
from harmony.viewing.shown import Shown, shown_result, shown_source, usual_role
from helpers.cases import CASES
from helpers.texts import HOSTILE

_VOID = frozenset(("meta", "input"))
_TAG = re.compile(
    "a|b|body|code|details|div|em|h1|h2|head|header|html|i|input|label|meta|output|p|pre|script|section|span|style|"
    "summary|title|u"
)
_ATTRIBUTE = re.compile(
    "aria-label|charset|checked|class|content|data-code|hidden|href|http-equiv|id|lang|name|open|placeholder|title|type"
)


class Read(HTMLParser):
    """What a page holds: the texts of contents and of set out JSON, all tags and attributes, styles and scripts."""

    def __init__(self, written: str) -> None:
        super().__init__(convert_charrefs=True)
        self.contents: list[str] = []
        self.set_out: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._open: list[tuple[str, str]] = []
        self.feed(written)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in _VOID:
            return
        name = dict(attrs).get("class") or ""
        self._open.append((tag, name))
        if name == "content":
            self.contents.append("")
        elif tag == "pre":
            self.set_out.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] in self.raw:
            self.raw[self._open[-1][0]].append(data)
        elif ("div", "content") in self._open:
            self.contents[-1] += data
        elif any(tag == "pre" for tag, _ in self._open):
            self.set_out[-1] += data


def check_markup(read: Read) -> None:
    """Nothing in the page is an element or an attribute that only its contents could have made."""
    assert all(_TAG.fullmatch(tag) for tag, _ in read.tags)
    assert all(_ATTRIBUTE.fullmatch(name) for _, attributes in read.tags for name in attributes)


def check(records: list[Shown]) -> Read:
    """What holds for any page."""
    read = Read(page(records, title="a title"))
    messages = [message for record in records for message in record.messages]
    assert read.contents == [readable(message.text) for message in messages]
    assert read.set_out == [readable(each.arguments) for each in messages if each.arguments is not None]
    check_markup(read)
    assert len(read.raw["script"]) == len(read.raw["style"]) == 1
    links = [attributes["href"] or "" for tag, attributes in read.tags if tag == "a"]
    anchors = {f"#{attributes['id']}" for _, attributes in read.tags if "id" in attributes}
    assert set(links) <= anchors
    return read


def test_the_corpus_reads_as_it_is(encoding: HarmonyEncoding) -> None:
    records = []
    for case in CASES:
        tokens = encoding.encode(case["text"], allowed_special="all")
        for source in (case["text"], tokens):
            records.append(shown_source(case["id"], source, usual_role(source), channels=KNOWN_CHANNELS))
    assert sum(len(record.codes()) for record in records) > 20
    read = check(records)
    titles = [attributes["title"] for tag, attributes in read.tags if tag in "ib" and "title" in attributes]
    ids = [piece.ids for record in records for each in record.messages for piece in (*each.header, *each.content)]
    assert " ".join(map(str, next(filter(None, ids)))) in titles


def test_hostile_contents_are_inert(encoding: HarmonyEncoding) -> None:
    text = f"<|channel|>final<|message|>{HOSTILE}<|return|>"
    tokens = [200005, 17196, 200008, *encoding.encode(HOSTILE, disallowed_special=()), 200002]
    role, name = Role.ASSISTANT, "</script><b>"
    message = Message(author=harmony.Author(role=Role.TOOL, name=HOSTILE), content=[harmony.TextContent(text=HOSTILE)])
    message.channel = message.recipient = message.content_type = HOSTILE
    records = [
        shown_source(name, text, role, channels=()),
        shown_source(HOSTILE, tokens, role, channels=KNOWN_CHANNELS),
        shown_result(HOSTILE, ParseResult([message], [], [], True, None)),
        Shown(HOSTILE, error=harmony.errors.RecordError(HOSTILE, HOSTILE, None)),
    ]
    read = Read(page(records, title=HOSTILE))
    assert read.contents == [readable(HOSTILE)] * 3
    assert not set("\x00\x1b\u202e\u200b\r").intersection(page(records, title=HOSTILE))
    check_markup(read)
    assert len(read.raw["script"]) == 1
    assert r"\u202egnp.exe\u202c \x00 \x1b[31mred" in read.contents[0]


@given(text=st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Mn", "Zl", "Zp"])))
def test_any_text_reads_as_it_is(text: str) -> None:
    message = Message.from_role_and_content(Role.USER, text)
    check([shown_result("", ParseResult([message], [], [], True, None))])


def test_the_policy_allows_the_style_and_the_script_of_the_page_alone() -> None:
    written = page([], title="nothing")
    read = Read(written)
    [policy] = [attributes["content"] for tag, attributes in read.tags if "http-equiv" in attributes]
    digests = [b64encode(sha256(read.raw[kind][0].encode()).digest()).decode() for kind in ("style", "script")]
    assert policy == f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"
    assert "There are no records." in written
    assert not re.search(r"https?://|url\(|@import", written)


def test_codes_are_explained_on_the_page(encoding: HarmonyEncoding) -> None:
    result = harmony.show("<|channel|>final<|channel|>analysis<|message|>Hi")._repr_html_()
    assert ENTRIES["other-channel"].summary() in result.replace("&#39;", "'").replace("&#34;", '"')
    assert re.search(r'id="code-[0-9a-f]{8}-other-channel"', result)


@pytest.mark.parametrize(("ids", "mask"), [(False, False), (True, False), (False, True)])
def test_switches(ids: bool, mask: bool, encoding: HarmonyEncoding) -> None:
    tokens = encoding.encode("<|channel|>final<|message|>Hi<|return|>", allowed_special="all")
    record = shown_source("", tokens, Role.ASSISTANT, channels=KNOWN_CHANNELS)
    read = Read(page([record], title="", with_ids=ids, with_mask=mask))
    switches = {
        attributes["class"]: "checked" in attributes
        for tag, attributes in read.tags
        if tag == "input" and attributes["type"] == "checkbox"
    }
    assert switches == {"with-tokens": ids, "with-ids": ids, "with-mask": mask}
    assert (
        "with-ids" not in fragment([shown_source("", "<|message|>a", Role.ASSISTANT, channels=())]).split("<header>")[1]
    )
