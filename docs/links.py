"""What is wrong with the links of a site that was built: each has to lead to a page, a file or an anchor of the site.

What a page fetches by itself, such as a script, a style or a picture, has to be in the site too. A link to another site
is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: The attributes by which an element fetches something when its page is shown.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


class Page(HTMLParser):
    """The anchors and links of a page, and what it fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if found.get(FETCHED.get(tag, "")) and found.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(found[FETCHED[tag]])
        if "mermaid" in found.get("class", "").split():
            self.fetched.append("https://unpkg.com/mermaid")  # which the theme loads for such a picture


def faults(site: Path) -> list[str]:
    """One sentence for each fault."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = [
        f"{page.path.relative_to(site)}: {fault}" for page in pages.values() for fault in _of_page(page, pages, site)
    ]
    for path in sorted(site.rglob("*.css")):
        urls = re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)}: expected nothing to be fetched, found `{url}`" for url in urls]
    return found


def _of_page(page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    for link in page.fetched:
        if urlsplit(link).netloc:
            yield f"expected nothing to be fetched from other sites, found `{link}`"
    for link in page.links + page.fetched:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        from_top = parts.path.startswith("/")  # as in 404.html, which is shown at any address
        path = (site if from_top else page.path.parent) / unquote(parts.path).lstrip("/")
        path = path.resolve() if parts.path else page.path
        if path.is_dir():
            path /= "index.html"
        anchor = unquote(parts.fragment)
        if not path.is_file():
            yield f"expected a link to a page or a file of the site, found `{link}`"
        elif anchor and path in pages and anchor not in pages[path].anchors:
            yield f"expected a link to an anchor of {path.name}, found `{link}`"
