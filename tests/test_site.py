"""The site of the documentation is built, has every public name and command, and leads and fetches nowhere else."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harmony
from docs.links import faults
from harmony.cli.commands import app
from helpers.paths import ROOT


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "docs" / "build.py")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository, without what was built in it."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "node_modules", "*.so")
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored)


def public_names() -> list[str]:
    """All names in `harmony` and in its public modules; those of a module that `harmony` has too count once."""
    top = [getattr(harmony, name) for name in harmony.__all__]
    found = [f"harmony.{name}" for name in harmony.__all__]
    for path in sorted((ROOT / "harmony").glob("[a-z]*.py")):
        module = importlib.import_module(f"harmony.{path.stem}")
        names = [name for name in getattr(module, "__all__", ()) if getattr(module, name) not in top]
        found += [f"{module.__name__}.{name}" for name in names]
    return found


def test_the_site_has_every_public_name_and_every_command(copy: Path) -> None:
    done = build(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = copy / "build" / "site" / "reference"
    pages = "".join(path.read_text(encoding="utf-8") for path in reference.glob("*.html"))
    names = public_names()
    assert {"harmony.Message", "harmony.batch.parse_table", "harmony.chat.Stream"} < set(names)
    assert [name for name in names if f'id="{name}"' not in pages] == []
    commands = (reference / "commands.html").read_text(encoding="utf-8")
    assert {"parse", "stats"} < set(app.commands)
    assert [name for name in app.commands if f'id="harmony-{name}"' not in commands] == []


def test_a_page_with_a_fault_is_refused(copy: Path) -> None:
    page = copy / "docs" / "repairs.md"
    before = page.read_text(encoding="utf-8")
    for text, fault in (
        ("[a](nowhere.md)", "docs/repairs.md: expected a link to a file of this repository, found `nowhere.md`"),
        ("[a](grep.md#nowhere)", "anchor does not exist"),
        ("![a](https://example.com/a.png)", "repairs.html: expected nothing to be fetched from other sites"),
    ):
        page.write_text(f"{before}\n{text}\n", encoding="utf-8")
        done = build(copy)
        assert done.returncode == 1
        assert fault in done.stdout + done.stderr


def site(folder: Path, body: str, style: str = "") -> Path:
    """A small site: a page with this body, and what it may lead to."""
    (folder / "in").mkdir()
    for name, text in {
        "index.html": f"<p id=top>{body}</p>",
        "other.html": "<h1 id='two words'>",
        "in/index.html": '<a href="..">up</a><a href="/other.html">other</a>',
        "in/own.css": style,
        "a.png": "",
        "b,c.png": "",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "body",
    [
        '<a href="other.html#two%20words">a</a> <a href="#top">b</a> <a href="in/">c</a> <a href="in">d</a>',
        '<a href="https://example.com/x#y">a</a> <a href="mailto:a@example.com">b</a>',
        '<link rel="canonical" href="https://example.com/"><link rel="stylesheet" href="in/own.css">',
        '<img src="a.png" srcset="a.png 1x, b,c.png 2x"><object data="a.png"></object><audio src="a.png"></audio>',
        "<style>@import 'in/own.css'; p { background: url(a.png) }</style> url(https://example.com/) in a text",
        """<i style="background: url('data:image/svg+xml,<svg fill=url(%23x)>')">""",
        "<p></p>",
    ],
)
def test_a_site_without_a_fault(body: str, tmp_path: Path) -> None:
    assert faults(site(tmp_path, body, "p { background: url(../a.png), url(data:image/png;base64,AA) }")) == []


NO_FILE = "expected a link to a page or a file of the site, found `{}`"
ELSEWHERE = "expected nothing to be fetched from other sites, found `{}`"
FAR = "https://example.com/a"


@pytest.mark.parametrize(
    ("body", "fault", "link"),
    [
        ('<a href="{}">a</a>', NO_FILE, "nowhere.html"),
        ('<a href="{}">a</a>', NO_FILE, "/in/other.html"),
        ('<a href="{}">a</a>', "expected a link to an anchor of other.html, found `{}`", "other.html#top"),
        ('<a href="{}">a</a>', "expected a link to an anchor of index.html, found `{}`", "#two"),
        ('<img src="{}">', NO_FILE, "b.png"),
        ('<img src="a.png" srcset="a.png 1x, {} 2x">', NO_FILE, "b.png"),
        ("<style>@import '{}';</style>", NO_FILE, "own.css"),
        ('<i style="background: url({})">', NO_FILE, "b.png"),
        *(
            (body, ELSEWHERE, FAR)
            for body in (
                '<script src="{}"></script>',
                '<link rel="stylesheet" href="{}">',
                '<iframe src="{}"></iframe>',
                '<img srcset="a.png, {} 2x">',
                '<source srcset="{}">',
                '<video poster="{}"></video>',
                '<audio src="{}"></audio>',
                '<object data="{}"></object>',
                '<svg><image xlink:href="{}"/></svg>',
                "<style>@import url({});</style>",
                '<style>p > i {{ color: red }} @import "{}";</style>',
                "<i style=\"background: url('{}')\">",
            )
        ),
        ('<img src="{}">', ELSEWHERE, "//example.com/a.png"),
        ('<pre class="mermaid">{}</pre>', ELSEWHERE, "https://unpkg.com/mermaid"),
    ],
)
def test_a_fault_of_a_page_is_told(body: str, fault: str, link: str, tmp_path: Path) -> None:
    assert faults(site(tmp_path, body.format(link))) == [f"index.html: {fault.format(link)}"]


@pytest.mark.parametrize(
    ("style", "fault", "link"),
    [
        ('@import "{}";', ELSEWHERE, FAR),
        ("p {{ background: url( '{}' ) }}", ELSEWHERE, "//example.com/a.png"),
        ("p {{ background: url({}) }}", NO_FILE, "a.png"),  # it is one folder above
    ],
)
def test_a_fault_of_a_style_is_told(style: str, fault: str, link: str, tmp_path: Path) -> None:
    assert faults(site(tmp_path, "", style.format(link))) == [f"in/own.css: {fault.format(link)}"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_at_the_top_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\(([^)\s#:]+)[#)]", (ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
