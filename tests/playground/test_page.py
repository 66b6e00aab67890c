"""The playground in a real browser: `python -m pytest --browser` builds it and runs these tests.

What the browser answers is compared with what CPython answers, with tiktoken and this interpreter's engine.
"""

from __future__ import annotations

import functools
import json
import threading
import unicodedata
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

import harmony
from docs.playground import build, playground
from harmony import HarmonyEncoding, HarmonyError, Role, validate
from harmony.viewing.characters import readable
from helpers.cases import CASES, STRIPPED
from helpers.paths import CONVERSATIONS, SAMPLE
from helpers.plain import TEXTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SAMPLES = json.loads((build.HERE / "samples.json").read_text(encoding="utf-8"))
COMPLETIONS = list(map(json.loads, SAMPLE.read_bytes().splitlines()))
MINUTE = 60_000  # milliseconds


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a playground that was assembled now."""
    folder = tmp_path_factory.mktemp("playground") / "site"
    build.assemble(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, with an answer. No test of it may leave an error, or ask for anything from elsewhere."""
    page = browser.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(address) else faults.append(request.url))
    page.goto(address)
    page.locator("#results").wait_for(timeout=MINUTE)
    yield page
    page.close()
    assert faults == []


ASK = """
async (questions) => {
  globalThis.own ??= new Worker("worker.js", { type: "module" });
  const answers = [];
  for (const question of questions) {
    answers.push(await new Promise((resolve) => {
      own.onmessage = ({ data }) => data.started || resolve(data.answer ?? data.failure);
      own.postMessage(question);
    }));
  }
  return answers;
}
"""


def answers(page: Page, questions: list[dict[str, Any]]) -> list[Any]:
    """What the page's worker answers, in a second worker of the page."""
    return list(map(without_time, page.evaluate(ASK, list(map(json.dumps, questions)))))


def without_time(answer: str) -> Any:
    return {**json.loads(answer), "seconds": None}


def here(question: dict[str, Any]) -> Any:
    """The same answer from CPython."""
    return without_time(playground.answer(json.dumps(question)))


SHOWN = """
async (hash) => {
  const changed = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
  location.hash = hash;
  await changed;
  while (document.body.ariaBusy === "true") await new Promise((resolve) => setTimeout(resolve, 2));
  const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent);
  return {
    visible: !document.getElementById("results").hidden,
    status: document.getElementById("status").textContent,
    headers: texts("#messages h3"),
    contents: texts("#messages pre"),
    faults: texts("#faults code"),
    findings: texts("#findings code"),
    excerpts: texts("#findings pre"),
    tokens: texts("#tokens .token"),
    ids: document.getElementById("ids").textContent,
    text: document.getElementById("text").textContent,
  };
}
"""


def shown(page: Page, **state: str) -> dict[str, Any]:
    """What the page shows for an input in its address."""
    page.evaluate("history.replaceState(null, '', '#')")
    return dict(page.evaluate(SHOWN, urlencode(state)))


# --- the same as in CPython


@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_the_corpus_is_shown_as_it_is_parsed_here(page: Page, encoding: HarmonyEncoding, mode: str) -> None:
    assert len(CASES) + len(STRIPPED) > 60
    for case in CASES + STRIPPED:
        text, start = case["text"], "conversation" if case["role"] is None else "completion"
        try:
            result = encoding.parse_text(text, case["role"], strict=mode == "strict")
            messages, codes = result.messages, [found.code for found in result.diagnostics]
        except HarmonyError as error:
            messages, codes = error.messages, [error.code]
        seen = shown(page, kind="text", start=start, mode=mode, input=text)
        assert seen["contents"] == [message.text for message in messages], case["id"]
        assert seen["faults"] == codes, case["id"]
        for header, message in zip(seen["headers"], messages, strict=True):
            fields = [message.author.role.value, message.author.name, message.channel, message.recipient]
            assert [name for name in fields if name and name not in header] == [], case["id"]
        found = validate(text, start)
        assert seen["findings"] == [finding.code for finding in found]
        assert [f"{finding.excerpt}" for finding in found] == seen["excerpts"]
        tokens = encoding.encode(text, allowed_special="all")
        assert (seen["ids"], seen["text"]) == (", ".join(map(str, tokens)), text)
        assert len(seen["tokens"]) == len(tokens)


def test_answers_about_text_and_ids_are_those_of_cpython(page: Page, encoding: HarmonyEncoding) -> None:
    questions = []
    for case in CASES + COMPLETIONS:
        tokens = case["tokens"] if "tokens" in case else encoding.encode(case["text"], allowed_special="all")
        for strict in (True, False):
            for start in ("completion", "conversation"):
                both = {"strict": strict, "start": start}
                questions.append({"kind": "tokens", "input": ", ".join(map(str, tokens)), **both})
                questions.append({"kind": "text", "input": case.get("text") or encoding.decode(tokens), **both})
    for question, answer in zip(questions, answers(page, questions), strict=True):
        assert answer == here(question), question


def test_answers_about_messages_are_those_of_cpython(page: Page) -> None:
    questions = [
        {"kind": "messages", "input": line, "start": start, "strict": True}
        for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines()
        for start in ("conversation", "prompt")
    ]
    for question, answer in zip(questions, answers(page, questions), strict=True):
        assert answer == here(question), question
        assert answer.get("tokens"), question


def test_texts_are_encoded_as_by_tiktoken(page: Page, encoding: HarmonyEncoding) -> None:
    questions = [{"kind": "text", "input": text, "start": "completion", "strict": False} for text in TEXTS]
    for text, answer in zip(TEXTS, answers(page, questions), strict=True):
        assert answer["tokens"] == encoding.encode(text, disallowed_special=()), text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
@pytest.mark.parametrize("strict", [True, False])
def test_answers_about_samples_are_those_of_cpython(page: Page, sample: dict[str, Any], strict: bool) -> None:
    question = {**sample, "strict": strict}
    assert answers(page, [question]) == [here(question)]


# --- what a person does


def settled(page: Page) -> str:
    """The page's summary, after it has answered."""
    page.wait_for_timeout(300)  # a moment after the last key, it asks
    page.wait_for_function("() => document.body.ariaBusy === 'false'")
    return page.locator("#status").inner_text()


def test_samples_can_be_chosen(page: Page) -> None:
    page.get_by_label("Sample").select_option("A broken header")
    assert settled(page).startswith("2 messages; 30 tokens; 1 repair.")
    page.get_by_label("an error (strict)").check()
    assert settled(page).startswith("1 message; 30 tokens; an error, unexpected-in-header.")
    page.get_by_label("repaired (lenient)").check()
    page.get_by_label("Sample").select_option("A chat request with a tool")
    assert "the turn of the assistant is open" in settled(page)
    assert page.locator("#text").inner_text().endswith("<|start|>assistant")


def test_a_fault_shows_its_place(page: Page) -> None:
    user = "<|start|>user<|message|>👋 Grüße aus Oslo, wo heute die Sonne scheint!<|end|>"
    text = user + "<|start|>assistant<|channel|>final thoughts<|message|>Hi<|end|>"
    shown(page, kind="text", start="conversation", mode="strict", input=text)
    line, caret = page.locator("#findings pre").inner_text().split("\n")
    assert line[caret.index("^") :].startswith("thoughts")
    page.locator("#findings button.place").click()
    selected = "document.getElementById('input').value.slice(document.getElementById('input').selectionStart)"
    assert page.evaluate(selected).startswith("thoughts<|message|>")
    ids = [200005, 17196, 200008, 12194, 200005, 200007]
    shown(page, kind="tokens", start="completion", mode="strict", input=", ".join(map(str, ids)))
    page.locator("#faults button.place").click()
    assert page.locator("#tokens .found").inner_text() == "<|channel|>"


def test_text_ids_and_messages_lead_to_each_other(page: Page) -> None:
    text = (
        "<|start|>user<|message|>Hi 👋 \\ there<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>A greeting.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Yes.<|end|>"
    )
    first = shown(page, kind="text", start="conversation", mode="strict", input=text)
    page.get_by_role("button", name="Edit these ids").click()
    settled(page)
    assert page.get_by_label("Input", exact=True).input_value() == first["ids"]
    page.get_by_role("button", name="Edit these messages").click()
    settled(page)
    messages = json.loads(page.get_by_label("Input", exact=True).input_value())["messages"]
    assert [message.get("channel") for message in messages] == [None, "analysis", "final"]
    assert page.locator("#ids").text_content() == first["ids"]
    page.get_by_role("button", name="Edit this text").click()
    settled(page)
    assert page.get_by_label("Input", exact=True).input_value() == text


def test_the_address_holds_the_state(page: Page, browser: Browser) -> None:
    page.get_by_role("radio", name="Token ids").check()
    page.get_by_label("Input", exact=True).fill("200006, 1428, 200008, 12194, 200007")
    page.get_by_label("It is").select_option("conversation")
    settled(page)
    other = browser.new_page()
    other.goto(page.url)
    other.locator("#results").wait_for(timeout=MINUTE)
    assert other.get_by_label("Input", exact=True).input_value() == "200006, 1428, 200008, 12194, 200007"
    assert other.locator("#messages pre").inner_text() == "Hi"
    other.close()


def test_what_the_input_field_cannot_hold_is_told(page: Page) -> None:
    seen = shown(
        page, kind="tokens", start="conversation", mode="strict", input="200006, 1428, 200008, 370, 201, 65, 200007"
    )
    assert "\r\n" in seen["contents"][0]
    page.get_by_role("button", name="Edit this text").click()
    assert "cannot hold carriage returns" in page.locator("#note").inner_text()


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        ("tokens", "200006, <|start|>", "found '<|start|>' as number 1"),
        ("chat", "[", "line 1 column 2"),
        ("chat", '{"model": "gpt-oss-20b"}', "the field `messages`"),
        ("chat", '[{"role": "user", "content": [{"type": "image_url"}]}]', "messages[0].content[0]"),
        ("messages", '[{"role": "nobody", "content": "x"}]', "nobody"),
    ],
)
def test_what_cannot_be_read_is_told(page: Page, kind: str, given: str, problem: str) -> None:
    seen = shown(page, kind=kind, start="prompt", mode="strict", input=given)
    assert (seen["visible"], problem in seen["status"]) == (False, True), seen["status"]


def test_fields_without_a_place_in_the_prompt_are_named(page: Page) -> None:
    request = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
    seen = shown(page, kind="chat", start="prompt", mode="strict", input=json.dumps(request))
    assert "no place in the prompt: `model`, `temperature`." in seen["status"]


def test_the_page_goes_on_while_python_works(page: Page) -> None:
    text = "<|start|>user<|message|>" + "xyzzy plugh " * 9000
    page.get_by_role("radio", name="Text").check()
    page.get_by_label("Input", exact=True).fill(text)
    turns = page.evaluate(
        """async () => {
          let turns = 0;
          const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
          while (document.body.ariaBusy !== "true") await turn();
          for (; document.body.ariaBusy === "true"; turns += 1) await turn();
          return turns;
        }"""
    )
    assert turns > 10
    assert page.locator("#tokens .token").count() == playground.MOST_SHOWN
    assert page.get_by_role("button", name="The input is too long for the address").is_disabled()


@pytest.mark.parametrize("width", [390, 800, 1600])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for sample in SAMPLES:
        shown(page, mode="strict", **{name: sample[name] for name in ("kind", "start", "input")})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


DIE = """
async (text) => {
  const status = document.getElementById("status");
  location.hash = new URLSearchParams({ kind: "text", input: text, start: "completion", mode: "lenient" });
  await new Promise((resolve) => setTimeout(resolve, 50));
  while (document.body.ariaBusy === "true") await new Promise((resolve) => setTimeout(resolve, 5));
  return [status.textContent, document.getElementById("results").hidden, document.getElementById("text").textContent];
}
"""


def test_an_input_that_is_too_deep_leaves_no_old_answer(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.locator("#results").wait_for(timeout=MINUTE)
    deep = "<|channel|>commentary to=functions.x<|message|>" + "[" * 5000 + "]" * 5000 + "<|call|>"
    status, hidden, text = page.evaluate(DIE, deep)
    assert text == deep or (hidden and "could not be read" in status), status
    after = "<|channel|>final<|message|>Hi<|return|>"
    status, hidden, text = page.evaluate(DIE, after)
    assert (hidden, text) == (False, after), status
    page.close()


@pytest.mark.parametrize("lost", ["pyodide/pyodide.mjs", "parts.json", "bpe.py"])
def test_a_file_that_is_missing_is_told(browser: Browser, address: str, lost: str) -> None:
    page = browser.new_page()
    page.route(f"**/{lost}", lambda route: route.fulfill(status=404, body="no such file"))
    page.goto(address)
    page.get_by_text("The playground does not work here").wait_for(timeout=MINUTE)
    page.close()


# --- hostile contents

HOSTILE = (
    "</pre></script><script>hacked = 1</script><img src=x onerror='hacked = 1'><iframe srcdoc='<p>'></iframe>"
    "<a href='javascript:hacked = 1'>x</a>${hacked = 1}{{ 7 * 7 }}\x00\x1b[31m\u202eab\u202c\u2066c\ufeff\u2028&lt;&#0;"
)


#: What a person reads in an element: a character that is written out has its writing before it, in the style.
READ = """
(selector) => [...document.querySelector(selector).childNodes]
  .map((node) => (node.className === "unseen" ? node.dataset.written : node.textContent))
  .join("")
"""


@pytest.mark.parametrize("kind", ["text", "tokens", "messages", "chat"])
def test_hostile_contents_are_text(page: Page, encoding: HarmonyEncoding, kind: str) -> None:
    message = harmony.Message.from_role_and_content(Role.USER, HOSTILE)
    conversation = harmony.Conversation.from_messages([message])
    tokens = encoding.render_conversation(conversation)
    given = {
        "text": encoding.decode(tokens),
        "tokens": str(tokens),
        "messages": conversation.to_json(),
        "chat": json.dumps([{"role": "user", "content": HOSTILE}]),
    }[kind]
    elements = "document.querySelectorAll('script, img, iframe, a').length"
    before = page.evaluate(elements)
    seen = shown(page, kind=kind, start="conversation", mode="lenient", input=given)
    assert (seen["contents"][-1], HOSTILE in seen["text"]) == (HOSTILE, True)
    assert (page.evaluate(elements), page.evaluate("'hacked' in globalThis")) == (before, False)
    assert page.frame_locator("#view iframe").locator("script, img, iframe").count() == 0
    assert page.evaluate(READ, "#messages article:last-child pre") == readable(HOSTILE)


def test_what_is_written_out_is_what_the_viewer_writes_out(page: Page) -> None:
    # Of the first plane, for the Unicode of the browser's Python is newer, and of those that spell tags.
    numbers = [*range(0x10000), *range(0xE0000, 0xE0080)]
    kinds = ("Cc", "Cf", "Mn", "Zl", "Zp", "Zs")
    text = "".join(f"a{chr(number)}" for number in numbers if unicodedata.category(chr(number)) in kinds)
    message = harmony.Message.from_role_and_content(Role.USER, text)
    given = harmony.Conversation.from_messages([message]).to_json()
    shown(page, kind="messages", start="conversation", mode="strict", input=given)
    assert page.evaluate(READ, "#messages pre") == readable(text) != text


def test_hostile_names_and_problems_are_text(page: Page) -> None:
    tag = "<img/src=x/onerror=hacked=1>"
    elements = page.evaluate("document.images.length")
    header = f"<|start|>{tag}:{tag} to={tag}<|channel|>{tag} {tag}<|message|>x<|end|>"
    shown(page, kind="text", start="conversation", mode="lenient", input=header)
    shown(page, kind="text", start="conversation", mode="strict", input=header)
    shown(page, kind="tokens", start=tag, mode=tag, input=tag)
    shown(page, kind="chat", start="prompt", mode="strict", input=json.dumps([{"role": tag, tag: tag}]))
    assert page.evaluate("document.images.length") == elements
    assert page.evaluate("'hacked' in globalThis") is False


def test_scripts_in_the_viewer_and_in_the_page_are_refused(browser: Browser, address: str) -> None:
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text))
    page.goto(address)
    page.locator("#results").wait_for(timeout=MINUTE)
    page.evaluate(
        """() => {
          const hostile = "<b>shown</b><script>parent.hacked = 1</scr" + "ipt><img src=x onerror='parent.hacked = 1'>";
          document.getElementById("view").hidden = false;
          document.querySelector("#view iframe").srcdoc = hostile;
          document.getElementById("note").innerHTML = hostile.replaceAll("parent.", "");
        }"""
    )
    assert page.frame_locator("#view iframe").locator("b").inner_text() == "shown"
    page.wait_for_timeout(300)
    assert page.evaluate("'hacked' in globalThis") is False
    assert any("sandboxed" in text for text in refused)
    assert any("Content Security Policy" in text for text in refused)
    page.close()


def test_the_viewer_shows_the_result(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.locator("#results").wait_for(timeout=MINUTE)
    text = "<|channel|>final<|channel|>final<|message|>1 < 2 & 3<|return|>"
    shown(page, kind="text", start="completion", mode="lenient", input=text)
    frame = page.frame_locator("#view iframe")
    page.locator("#view iframe").scroll_into_view_if_needed()  # records out of sight are not laid out
    frame.get_by_text("1 < 2 & 3").wait_for()
    frame.locator("a").first.click()  # leads to what the code means, and stays in the frame
    frame.get_by_text("1 < 2 & 3").wait_for()
    shown(page, kind="text", start="completion", mode="strict", input=text)
    assert page.locator("#view").is_hidden()  # no message stands before the error
    page.close()
