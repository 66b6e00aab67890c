"""The page of the grammar: all of the grammar is on it, links lead somewhere, and nothing is asked of a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import escape
from html.parser import HTMLParser

import pytest
from harmony.grammar.railroad import page

from harmony import grammar

DEFINITIONS = re.findall(r"^([?!]?\w+(?:\.\d+)?):", grammar.read(), re.MULTILINE)
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """What a page holds; a tag that is not closed in its turn is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str | None]] = []
        self.anchors: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.text = ""
        #: By anchor, what stands in the boxes of its diagram, each with the class of its box.
        self.diagrams: dict[str, list[tuple[str, str]]] = {}
        self.box = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append((tag, dict(attributes).get("id")))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attributes
        names = dict(attributes)
        if anchor := names.get("id"):
            self.anchors.append(anchor)
        if tag == "svg":
            assert self.anchors[-1] not in self.diagrams
            self.diagrams[self.anchors[-1]] = []
        elif tag == "g" and names.get("class"):
            self.box = str(names["class"]).strip()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1][0] == "text":
            self.diagrams[self.anchors[-1]].append((self.box, data))


PAGE = page()
READ = Reader(PAGE)


def diagram(monkeypatch: pytest.MonkeyPatch, expression: str) -> list[tuple[str, str]]:
    monkeypatch.setattr(grammar, "read", lambda: f"// --- All\n\n// A rule.\nwhole: {expression}\n")
    return Reader(page()).diagrams["whole"]


def test_every_rule_and_terminal_has_an_anchor_and_a_diagram() -> None:
    assert len(DEFINITIONS) > 30
    assert list(READ.diagrams) == [re.sub(r"^[?!]|\.\d+$", "", name) for name in DEFINITIONS]
    assert all(READ.diagrams.values())
    assert len(READ.anchors) == len(set(READ.anchors))
    assert all(f"<code>{name}</code></a></h3>" in PAGE for name in DEFINITIONS)


def test_every_section_has_a_heading() -> None:
    headings = re.findall("^// --- (.*)", grammar.read(), re.MULTILINE)
    shown = re.findall("<h2>(.*)</h2>", PAGE)
    assert [re.sub("</?code>", "`", heading) for heading in shown] == headings


def test_every_link_leads_to_an_anchor_of_the_page() -> None:
    links = [value for name, value in READ.attributes if name.endswith("href")]
    assert len(links) > 100
    assert {str(link) for link in links} <= {f"#{anchor}" for anchor in READ.anchors}


def test_comments_and_examples_are_on_the_page() -> None:
    text = " ".join(READ.text.split())
    for paragraph in re.findall(r"(?:^// (?! |---).*\n)+", grammar.read(), re.MULTILINE):
        assert " ".join(re.sub("^// ", "", paragraph, flags=re.MULTILINE).split()).translate({96: "", 42: ""}) in text
    examples = re.findall("^//     (.*)", grammar.read(), re.MULTILINE)
    assert len(examples) > 60
    for example in examples:
        assert f"{escape(example, quote=False)}\n" in re.sub("</?(?:i|pre)>", "", PAGE)
    assert "<code>&lt;|start|&gt;</code>" in PAGE
    assert "<|" not in PAGE
    assert "user:<i>  no name follows the colon" in PAGE


def test_special_tokens_look_different_from_words() -> None:
    assert READ.diagrams["STOP"] == [("terminal special", f"<|{name}|>") for name in ("end", "call", "return")]
    assert READ.diagrams["NAMED_ROLE"][1] == ("terminal word", ":")
    assert READ.diagrams["channel"] == [
        ("non-terminal special", "_CHANNEL"),
        ("non-terminal", "CHANNEL_NAME"),
        ("non-terminal", "_SPACE"),
    ]


def test_an_expression_of_several_lines_is_shown_whole() -> None:
    assert READ.diagrams["NOT_SPECIAL"] == [("terminal pattern", "/(?!\\|(?: … )\\|>)/x")]
    assert grammar.read().partition("NOT_SPECIAL: ")[2].strip() in READ.text


def test_nothing_comes_from_elsewhere() -> None:
    assert "://" not in PAGE
    assert not re.search("@import|url\\(", PAGE)
    assert READ.tags.isdisjoint({"script", "link", "img", "iframe", "object", "use"})
    assert not [name for name, _ in READ.attributes if name == "src" or name.startswith("on")]


def test_two_runs_give_the_same_page() -> None:
    command = "import sys; from harmony.grammar.railroad import page; sys.stdout.buffer.write(page().encode())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True, env=environment)
        assert run.stdout == PAGE.encode()


@pytest.mark.parametrize(
    ("expression", "boxes"),
    [
        ('"a".."z"', [("terminal word", '"a" to "z"')]),
        ('"a"i | /b+/i', [("terminal word", '"a"i'), ("terminal pattern", "/b+/i")]),
        ('("a" "b")+', [("terminal word", "a"), ("terminal word", "b")]),
        ('"a" -> other', [("terminal word", "a"), ("non-terminal", "-> other")]),
    ],
)
def test_each_notation_has_its_items(
    monkeypatch: pytest.MonkeyPatch, expression: str, boxes: list[tuple[str, str]]
) -> None:
    assert diagram(monkeypatch, expression) == boxes


@pytest.mark.parametrize("expression", ['"a"~3', '["a"]', '"a" |'])
def test_what_has_no_diagram_is_refused(monkeypatch: pytest.MonkeyPatch, expression: str) -> None:
    with pytest.raises(ValueError, match="no diagram shows"):
        diagram(monkeypatch, expression)
