"""The grammar as an HTML page: each rule and terminal with its comment and a railroad diagram.

This module decides how a part of a rule is drawn, and how the page looks. It contains no rules. It reads the file
`harmony.lark`: the comments are those in the file, and Lark's own grammar of its notation reads the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

import harmony.grammar as grammar
from lark import Lark, Token, Tree

from harmony.format.vocabulary import SPECIAL_TOKENS

if TYPE_CHECKING:
    from railroad import DiagramItem

_HEADING: Final = "// --- "
_EXAMPLE: Final = "    "
_TITLE: Final = "The grammar of the Harmony response format"
_STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1e21; --quiet: #5c6470; --soft: #f1f3f5; --link: #0b57b5;
  --rule: #e3eefb; --word: #e5f4e3; --special: #f1dcfa; --special-line: #8a2fb0; --pattern: #fdf0d0; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #16181c; --ink: #e6e8eb; --quiet: #9aa3af; --soft: #22262c; --link: #9cc4f8;
    --rule: #1d3350; --word: #1f3d24; --special: #46205a; --special-line: #d08cf0; --pattern: #463a17; } }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--quiet); }
h3 { margin: 2rem 0 0; }
h3 a { color: inherit; text-decoration: none; }
p { max-width: 45rem; margin: 0.5rem 0; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.875em; }
pre { margin: 0.5rem 0; padding: 0.5rem 0.75rem; overflow-x: auto; background: var(--soft); }
pre i { color: var(--quiet); }
mark { padding: 0 0.4em; border: 1px solid var(--ink); border-radius: 0.7em; background: var(--word); color: inherit;
  white-space: nowrap; }
mark.special { border-color: var(--special-line); background: var(--special); }
mark.pattern { border-style: dashed; background: var(--pattern); }
mark.rule { border-radius: 0; background: var(--rule); }
figure { margin: 0; overflow-x: auto; }
svg { display: block; }
svg path, svg rect { fill: none; stroke: var(--ink); stroke-width: 1.5; }
svg text { fill: var(--ink); font: 14px ui-monospace, monospace; text-anchor: middle; }
svg a text { fill: var(--link); text-decoration: underline; }
svg .comment { fill: var(--quiet); font-size: 12px; transform: translateY(-3px); }
svg .group-box { stroke: var(--quiet); stroke-dasharray: 8 4; }
svg .terminal > rect { fill: var(--word); }
svg .non-terminal > rect { fill: var(--rule); }
svg .pattern > rect { fill: var(--pattern); stroke-dasharray: 5 3; }
svg .special > rect { fill: var(--special); stroke: var(--special-line); stroke-width: 2.5; }
@media print {
  body { max-width: none; padding: 0; font-size: 0.8rem; }
  pre { white-space: pre-wrap; }
  section section { break-inside: avoid; }
  h2 { break-after: avoid; }
  svg { max-width: 100%; height: auto; }
  svg rect, pre, mark { print-color-adjust: exact; } }
"""
_LEGEND: Final = """
<p>A text is in the language if it can go along the rails from left to right, through
<mark class="special">special tokens</mark>, <mark>words</mark>, and what
<mark class="pattern">regular expressions</mark> match. A <mark class="rule">name</mark> is a way through the diagram of
that name; it looks like a special token if it always is one.</p>
<p>In the tree that Lark makes, a terminal whose name begins with <code>_</code> is left out. A rule whose name begins
with <code>_</code> is replaced by its children, and so is a rule with <code>?</code> if it has a single child. A frame
with <code>-&gt; name</code> has that name in the tree.</p>
"""


def page() -> str:
    """The page in HTML, which loads no other file.

    Raises ImportError where the library `railroad-diagrams` is missing, and ValueError for a part of a rule that cannot
    be drawn.
    """
    text = grammar.read()
    notation = Lark.open_from_package("lark", "lark.lark", ["grammars"], parser="lalr", maybe_placeholders=False)
    tree = notation.parse(text)
    definitions = {_name(node).line: node for kind in ("rule", "token") for node in tree.find_data(kind)}
    special = {str(_name(node)) for node in definitions.values() if _is_special(node)}

    contents: list[str] = []
    body: list[str] = []
    comment: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(_HEADING):
            heading, anchor = _prose(line.removeprefix(_HEADING)), f"section-{len(contents) + 1}"
            body += [*_comment(comment), f'</section>\n<section id="{anchor}">\n<h2>{heading}</h2>']
            contents.append(f'<li><a href="#{anchor}">{heading}</a><br>')
            comment = []
        elif line.startswith("//"):
            comment.append(line.removeprefix("//").removeprefix(" "))
        elif number in definitions:
            anchor = _name(definitions[number]).lstrip("!?")
            contents[-1] += f' <a href="#{anchor}"><code>{anchor}</code></a>'
            body += [f'<section id="{anchor}">', *_definition(definitions[number], anchor, comment, special)]
            body.append("</section>")
            comment = []

    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">'
    head += f"\n<title>{_TITLE}</title>\n<style>{_STYLE}</style>"
    start = f"<h1>{_TITLE}</h1>\n<p>Each rule and terminal of <code>harmony.lark</code>, with its railroad diagram.</p>"
    entries = "".join(f"\n{entry}</li>" for entry in contents)
    return "\n".join(
        [
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{start}',
            f"<nav><ul>{entries}\n</ul></nav>\n<section>{_LEGEND}",
            *body,
            "</section>\n</body>\n</html>\n",
        ]
    )


def _name(definition: Tree[Token]) -> Token:
    name = definition.children[0]
    assert isinstance(name, Token)
    return name


def _is_special(definition: Tree[Token]) -> bool:
    """Whether a terminal matches only special tokens."""
    literals = {str(literal.children[0])[1:-1] for literal in definition.find_data("literal")}
    return bool(literals) and literals <= SPECIAL_TOKENS.keys() and not any(definition.find_data("name"))


def _definition(definition: Tree[Token], anchor: str, comment: list[str], special: set[str]) -> Iterator[str]:
    from railroad import Diagram

    priority = "".join(f".{node.children[0]}" for node in definition.find_data("priority"))
    yield f'<h3><a href="#{anchor}"><code>{_name(definition)}{priority}</code></a></h3>'
    yield from _comment(comment)
    svg: list[str] = []
    Diagram(_draw(definition.children[-1], special)).format(10, 1).writeSvg(svg.append)
    # The library writes the text of a link twice, one on top of the other.
    once = re.sub(r"(<text [^>]*>[^<]*</text>)\1", r"\1", "".join(svg))
    yield f"<figure>{once}</figure>"
    for literal in definition.find_data("literal"):
        if "\n" in (pattern := str(literal.children[0])):
            yield f"<pre>{escape(pattern, quote=False)}</pre>"


def _comment(lines: list[str]) -> Iterator[str]:
    """The comment in HTML: paragraphs, and indented lines as examples, in which two spaces begin a remark."""
    for (is_example, is_text), group in groupby(lines, lambda line: (line.startswith(_EXAMPLE), bool(line))):
        if is_example:
            examples = "\n".join(escape(line.removeprefix(_EXAMPLE), quote=False) for line in group)
            yield "<pre>" + re.sub(r"(?<=\S)  .*", r"<i>\g<0></i>", examples) + "</pre>"
        elif is_text:
            yield f"<p>{_prose(' '.join(group))}</p>"


def _prose(text: str) -> str:
    """The text in HTML: text in backticks becomes code, a word in asterisks is emphasized."""
    text = re.sub(r"(?<!\S)\*(\w+)\*", r"<em>\1</em>", escape(text, quote=False))
    return re.sub("`([^`]+)`", r"<code>\1</code>", text)


def _draw(node: Tree[Token] | Token, special: set[str]) -> DiagramItem:
    """The drawing of a part of a rule. `special` has the names of the terminals that match only special tokens."""
    # This library comes with the extra `cli`, so it may be missing.
    from railroad import Choice, Group, NonTerminal, OneOrMore, Optional, Sequence, Terminal, ZeroOrMore

    match node:
        case Tree(data="expansions", children=parts):
            return Choice(0, *(_draw(part, special) for part in parts))
        case Tree(data="expansion", children=[_, *_] as parts):
            return Sequence(*(_draw(part, special) for part in parts))
        case Tree(data="alias", children=[part, name]):
            return Group(_draw(part, special), f"-> {name}")
        case Tree(data="expr", children=[part, "?"]):
            return Optional(_draw(part, special))
        case Tree(data="expr", children=[part, "*"]):
            return ZeroOrMore(_draw(part, special))
        case Tree(data="expr", children=[part, "+"]):
            return OneOrMore(_draw(part, special))
        case Tree(data="name", children=[name]):
            return NonTerminal(str(name), href=f"#{name}", cls="special" if name in special else "")
        case Tree(data="literal", children=[Token(type="REGEXP") as pattern]):
            # One of several lines is shown whole below the diagram.
            first, *lines = pattern.split("\n")
            return Terminal(f"{first} … {lines[-1].strip()}" if lines else first, cls="pattern")
        case Tree(data="literal", children=[Token() as string]):
            text = string[1:-1] if string.endswith('"') else str(string)
            return Terminal(text, cls="special" if text in SPECIAL_TOKENS else "word")
        case Tree(data="literal_range", children=[first, last]):
            return Terminal(f"{first} to {last}", cls="word")
    raise ValueError(f"no diagram shows {node!r}")
