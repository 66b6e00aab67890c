"""What is wrong with the links of a site that was built: each has to lead to a page, a file or an anchor of the site.

What a page fetches by itself, such as a script, a style or a picture, has to be in the site too. A link to another site
is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

#: The attributes by which an element fetches something when its page is shown.
FETCHED: Final = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
#: Each picture of a `srcset`. A comma may be a part of its address.
_PICTURE: Final = re.compile(r"(?:^|,)\s*(\S*[^\s,])")
_IN_STYLE: Final = re.compile(
    r"""(?:@import\s*|url\(\s*)(?:"([^"]*)"|'([^']*)')  # between quotes
    |url\(\s*([^"')\s]+)""",
    re.VERBOSE,
)


class Page(HTMLParser):
    """The anchors and links of a page, and what it fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self._styles: list[str] = []
        self._in_style = False
        self.feed(path.read_text(encoding="utf-8"))
        self.fetched += of_style("".join(self._styles))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if found.get("rel") not in ("canonical", "next", "prev"):
            for name in FETCHED.get(tag, ()):
                link = found.get(name, "")
                self.fetched += _PICTURE.findall(link) if name == "srcset" else [link] if link else []
        if "mermaid" in found.get("class", "").split():
            self.fetched.append("https://unpkg.com/mermaid")  # which the theme loads for such a picture
        self.fetched += of_style(found.get("style", ""))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self._styles.append(data)


def of_style(text: str) -> list[str]:
    """What a style fetches."""
    return ["".join(found) for found in _IN_STYLE.findall(text)]


def faults(site: Path) -> list[str]:
    """One sentence for each fault."""
    pages = {path: Page(path) for path in sorted(site.resolve().rglob("*.html"))}
    fetched = {path: page.fetched for path, page in pages.items()}
    for path in sorted(site.resolve().rglob("*.css")):
        fetched[path] = of_style(path.read_text(encoding="utf-8"))
    found = []
    for path, links in fetched.items():
        others = [link for link in links if urlsplit(link).netloc]
        found += [(path, f"expected nothing to be fetched from other sites, found `{link}`") for link in others]
        links = [*pages[path].links, *links] if path in pages else links
        found += [(path, fault) for link in links for fault in _of_link(link, path, pages, site.resolve())]
    return [f"{path.relative_to(site.resolve())}: {fault}" for path, fault in found]


def _of_link(link: str, source: Path, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return
    from_top = parts.path.startswith("/")  # as in 404.html, which is shown at any address
    path = (site if from_top else source.parent) / unquote(parts.path).lstrip("/")
    path = path.resolve() if parts.path else source
    if path.is_dir():
        path /= "index.html"
    anchor = unquote(parts.fragment)
    if not path.is_file():
        yield f"expected a link to a page or a file of the site, found `{link}`"
    elif anchor and path in pages and anchor not in pages[path].anchors:
        yield f"expected a link to an anchor of {path.name}, found `{link}`"
