"""The page in a real browser: its texts, its switches and its search; contents are inert; it prints whole.

`python -m pytest --browser tests/viewing` runs these tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harmony import HarmonyEncoding, show
from harmony.messages.roles import KNOWN_CHANNELS
from harmony.viewing.characters import readable
from harmony.viewing.page import page
from harmony.viewing.shown import Shown, shown_source, usual_role
from helpers.cases import CASES
from helpers.texts import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TITLE = "a log"
HEIGHTS = "nodes => nodes.map((node) => node.getBoundingClientRect().height)"


@pytest.fixture(scope="module")
def records(encoding: HarmonyEncoding) -> list[Shown]:
    """The corpus as text and as ids, a message that is folded, a word that is long, and hostile contents."""
    texts = [case["text"] for case in CASES]
    texts += ["<|start|>system<|message|>Be brief.<|end|>", "<|channel|>final<|message|>" + "long" * 500]
    texts.append(f"<|channel|>final<|message|>{HOSTILE}<|return|>")
    found = []
    for text in texts:
        tokens = encoding.encode(text, allowed_special="all")
        for source in (text, tokens):
            found.append(shown_source(HOSTILE, source, usual_role(source), channels=KNOWN_CHANNELS))
    return found


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def opened(
    browser: Browser, records: Sequence[Shown], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The page, which may leave no error and ask for nothing."""
    path = tmp_path / "page.html"
    path.write_text(page(records, title=TITLE), "utf-8")
    context = browser.new_context(java_script_enabled=request.param, viewport={"width": 390, "height": 800})
    tab = context.new_page()
    faults: list[str] = []
    tab.on("console", lambda said: faults.append(said.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: faults.append(dialog.message))
    tab.on("request", lambda asked: None if asked.url == path.as_uri() else faults.append(asked.url))
    tab.goto(path.as_uri())
    yield tab
    assert tab.title() == TITLE
    context.close()
    assert faults == []


def test_the_texts_are_those_of_the_messages(opened: Page, records: Sequence[Shown]) -> None:
    texts = opened.locator(".content").evaluate_all("nodes => nodes.map((node) => node.textContent)")
    assert texts == [readable(message.text) for record in records for message in record.messages]


def test_switches(opened: Page) -> None:
    marker = opened.locator(".markers").first
    assert not marker.is_visible()
    opened.get_by_label("tokens and markers").check()
    assert marker.is_visible()
    opened.get_by_label("tokens and markers").uncheck()
    opened.get_by_label("token ids").check()
    first = opened.locator(".markers b[title]").first
    said = first.evaluate("node => getComputedStyle(node, '::after').content")
    assert said == f'"{first.get_attribute("title")}"'
    learned = opened.locator(".content u").first
    lines = "node => getComputedStyle(node).textDecorationLine"
    assert learned.evaluate(lines) == "none"
    opened.get_by_label("what training learns").check()
    assert learned.evaluate(lines) == "underline"


def test_nothing_is_wider_than_a_narrow_screen(opened: Page) -> None:
    for switch in ("tokens and markers", "token ids"):
        widths = opened.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths == [390, 390]
        opened.get_by_label(switch).check()


def test_what_is_folded_is_printed(opened: Page, records: Sequence[Shown]) -> None:
    folded = opened.locator("details.message:not([open])")
    assert folded.count() == sum(message.is_folded for record in records for message in record.messages) > 0
    assert not folded.first.locator(".content").is_visible()
    opened.emulate_media(media="print")
    assert min(folded.locator(".content").evaluate_all(HEIGHTS)) > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    colours = opened.evaluate(
        "['color', 'backgroundColor'].map((name) => getComputedStyle(document.querySelector('.harmony'))[name])"
    )
    ink, ground = (sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) for colour in colours)
    assert (ink < ground) is (scheme == "light")


def test_a_code_is_seen_where_its_link_leads(opened: Page) -> None:
    link = opened.locator(".diagnostic a").first
    link.click()
    place = opened.locator(link.get_attribute("href") or "").bounding_box()
    above = opened.locator("header").bounding_box()
    assert place is not None
    assert above is not None
    assert above["y"] + above["height"] <= place["y"] < 800


def test_search(browser: Browser, encoding: HarmonyEncoding, tmp_path: Path) -> None:
    texts = ["<|start|>system<|message|>Be brief.<|end|>", "<|channel|>final<|message|>Blue.", "<|channel|>final red"]
    found = [shown_source(text[:20], text, usual_role(text), channels=()) for text in texts]
    path = tmp_path / "page.html"
    path.write_text(page(found, title=TITLE), "utf-8")
    tab = browser.new_page()
    tab.goto(path.as_uri())
    shown = tab.locator(".record:visible")
    for words, count in (("BRIEF", 1), ("final blue", 1), ("final", 2), ("missing-message", 1), ("constrain", 0)):
        tab.get_by_label("search").fill(words)
        assert shown.count() == count, words
        assert tab.locator("output").inner_text() == f"{count} of 3 records"
    tab.get_by_label("search").fill("brief")
    assert tab.get_by_text("Be brief.").is_visible()
    tab.get_by_label("search").fill("")
    assert (shown.count(), tab.locator("output").inner_text()) == (3, "")
    tab.close()


def test_the_part_for_a_notebook_stays_inside(browser: Browser, encoding: HarmonyEncoding) -> None:
    """Its styles change nothing outside, and two of them have switches of their own."""
    part = show(encoding.encode("<|channel|>final<|message|>Hi<|return|>", allowed_special="all"))._repr_html_()
    tab = browser.new_page()
    tab.set_content("<p id=before><i>x</i><b>y</b></p>")
    style = "[...document.querySelectorAll('#before i, #before b')].map((node) => getComputedStyle(node).cssText)"
    before = tab.evaluate(style)
    tab.set_content(f"<p id=before><i>x</i><b>y</b></p><div>{part}</div><div>{part}</div>")
    assert tab.evaluate(style) == before
    tab.get_by_label("tokens and markers").first.check()
    visible = [one.is_visible() for one in tab.locator(".markers").all()]
    assert visible == [True, True, False, False]
    tab.close()
