"""Builds the site of the documentation in `build/site`, and checks it:

python docs/build.py

The pages come from `docs/*.md`, `CONTRIBUTING.md` and `CHANGELOG.md`. The reference comes from the docstrings, the page
of commands from the command line itself. A file of the repository that a page links to becomes a page too. Nothing is
fetched, neither here nor by who reads the site. A broken link, or anything that a page would fetch, is an error. If
`docs/playground/build.py` has assembled the playground, it becomes part of the site.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import griffe
import yaml

from harmony.cli.commands import app
from links import faults

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = ROOT / "build" / "pages"
SITE: Final = ROOT / "build" / "site"
#: The assembled playground. It becomes part of the site if it is there.
PLAYGROUND: Final = ROOT / "build" / "playground"

#: The page that a file at the top of the repository is on the site.
TOP: Final = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

#: The pages of the names in `harmony`: their title, and the modules whose names they have.
GROUPS: Final = {
    "messages": ("Messages", ("harmony.messages.",)),
    "encoding": ("Encoding and rendering", ("harmony.encoding", "harmony.rendering.")),
    "parsing": ("Parsing", ("harmony.parsing.", "harmony.results", "harmony.errors")),
    "checking": ("Validation and lint", ("harmony.checking.",)),
    "viewing": ("Viewing", ("harmony.viewing.",)),
}
#: The public modules with names of their own.
MODULES: Final = ("batch", "chat", "compat", "decoding", "ray", "responses", "training")
_COLUMNS: Final = 78  # of the help of a command
#: How the docstring of a module is shown, without its names.
_ABOUT: Final = "    options: {members: false, show_root_heading: false, show_root_toc_entry: false}"


def gather() -> None:
    """Puts all pages, pictures and styles of the site into PAGES."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for path in sorted((ROOT / "docs").glob("*")):
        if path.suffix in (".css", ".png", ".svg"):
            write(path.name, path.read_bytes())
    for path in sorted((ROOT / "docs").glob("*.md")):
        write(path.name, adapted(path).encode())
    for name, page in TOP.items():
        if name != "README.md":  # its place on the site is that of docs/index.md
            write(page, adapted(ROOT / name).encode())
    if PLAYGROUND.exists():
        shutil.copytree(PLAYGROUND, PAGES / "playground")
    for name, text in reference():
        write(f"reference/{name}.md", text.encode())
    write("reference/commands.md", "".join(commands()).encode())
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)["nav"]
    in_nav = {name for name in _pages_of(nav) if name.endswith(".md")}
    there = {str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md")}
    if wrong := sorted(in_nav - there) + sorted(name for name in there - in_nav if not name.startswith("files/")):
        raise SystemExit(f"expected the pages of `nav` in mkdocs.yml and those of docs/ to be the same, not: {wrong}")


def write(name: str, data: bytes) -> None:
    path = PAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# --- pages that are written by hand


def adapted(path: Path) -> str:
    """A page of the repository as the site needs it: its links lead to pages of the site, and its tables are different.

    On GitHub, `\\|` in a table is a pipe, also in code. Python-Markdown leaves code as it is, and needs no backslash.
    """
    fenced = False
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        fenced ^= line.lstrip().startswith("```")
        if not fenced and not line.startswith("    "):
            if line.startswith("|"):
                line = re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), line)
            line = re.sub(r"(?<=\]\()[^)\s]+(?=\))", lambda link: _target(path, link[0]), line)
        lines.append(line)
    return "\n".join(lines)


def _target(page: Path, link: str) -> str:
    """Where a link of a page leads on the site."""
    name, mark, anchor = link.partition("#")
    if not name or ":" in name:
        return link
    path = (page.parent / name).resolve()
    if not path.is_file() or not path.is_relative_to(ROOT):
        raise SystemExit(f"{page.relative_to(ROOT)}: expected a link to a file of this repository, found `{link}`")
    inside = path.relative_to(ROOT)
    if inside == Path("docs/playground/index.html") and PLAYGROUND.exists():
        return "playground/index.html"
    if inside.parent == Path("docs"):
        return f"{path.name}{mark}{anchor}"
    if str(inside) in TOP:
        return f"{TOP[str(inside)]}{mark}{anchor}"
    language = {".py": "python", ".jsonl": "json", ".html": "html"}.get(path.suffix, "text")
    text = path.read_text(encoding="utf-8").rstrip("\n")
    write(f"files/{inside}.md", f"# {inside}\n\n`````{language}\n{text}\n`````\n".encode())
    return f"files/{inside}.md"


# --- pages that are made


def reference() -> Iterator[tuple[str, str]]:
    """The pages with all public names: the name of each page, and its text."""
    extensions = griffe.load_extensions(str(ROOT / "docs" / "sources.py"))
    package = griffe.load("harmony", search_paths=[ROOT], extensions=extensions)
    assert isinstance(package, griffe.Module)
    grouped: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in exports(package):
        where = package[name].canonical_path
        [group] = (group for group, (_, prefixes) in GROUPS.items() if where.startswith(prefixes))
        grouped[group].append(name)
    for group, names in grouped.items():
        lines = [f"# {GROUPS[group][0]}", "", "All of these are in `harmony`.", "", *_entries(package, names)]
        yield group, "\n".join(lines)
    top = {package[name].canonical_path for name in exports(package)}
    for name in MODULES:
        module = package[name]
        own = [each for each in exports(module) if module[each].canonical_path not in top]
        also = [f"`{each}`" for each in exports(module) if each not in own]
        lines = [f"# harmony.{name}", "", f"::: harmony.{name}", _ABOUT, ""]
        lines += [f"It also has these names of `harmony`: {', '.join(also)}.", ""] if also else []
        yield name, "\n".join([*lines, *_entries(module, own)])


def exports(module: griffe.Module) -> list[str]:
    """The names in `__all__`."""
    assert module.exports is not None
    return [str(name) for name in module.exports]


def _entries(module: griffe.Module, names: list[str]) -> Iterator[str]:
    for name in names:
        yield f"::: {module.path}.{name}"
        if any(str(base) == "Enum" for base in getattr(module[name], "bases", ())):
            yield "    options: {show_if_no_docstring: true}"  # its members
        yield ""


def commands() -> Iterator[str]:
    """The page with the help of each command."""
    yield "# Commands\n\nThis is what `harmony COMMAND --help` prints. The extra `cli` has what it needs.\n"
    yield from _help(app, click.Context(app, info_name="harmony", terminal_width=_COLUMNS, **app.context_settings))


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inside = command.commands[name]
            settings = {"terminal_width": _COLUMNS, **inside.context_settings}
            yield from _help(inside, click.Context(inside, info_name=name, parent=context, **settings))


# --- the site


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags for Python objects are of no interest here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def _pages_of(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for part in nav.values():
            yield from _pages_of(part)
    elif isinstance(nav, list):
        for part in nav:
            yield from _pages_of(part)


def _missing_names() -> Iterator[str]:
    """Public names that the reference was asked for, and does not have."""
    for page in sorted((PAGES / "reference").glob("*.md")):
        built = (SITE / "reference" / f"{page.stem}.html").read_text(encoding="utf-8")
        for name in re.findall(r"^::: (harmony\.\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            if f'id="{name}"' not in built and name.removeprefix("harmony.") not in MODULES:
                yield f"reference/{page.stem}.html: expected an entry for `{name}`, found none"


def main() -> None:
    gather()
    shutil.rmtree(SITE, ignore_errors=True)
    zensical = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", "mkdocs.yml"]
    if (status := subprocess.run(zensical, cwd=ROOT).returncode) != 0:
        raise SystemExit(status)
    if found := [*faults(SITE), *_missing_names()]:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
