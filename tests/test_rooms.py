"""The rooms of the package: each imports only what stands below it, in the order of the README's map.

Imports inside functions count too; those for type checkers alone do not, for they are never carried out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from helpers.paths import ROOT

_CIMPORT: Final = re.compile(r"^ *(?:from (harmony[\w.]*) c?import ([\w, *]+)|c?import (harmony[\w.]*))", re.MULTILINE)


def rooms() -> list[str]:
    """The rooms of the README's map, from the lowest to the highest; a module at the top is a room by itself.

    A row may name several, the lowest first.
    """
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Map of the code")[1].split("\n## ")[0]
    cells = re.findall(r"^\|(.*?)\|", section, re.MULTILINE)
    found = re.findall(r"`(?:harmony/(\w+)(?:/|\.py)|(grammar)/)`", "".join(cells))
    return ["".join(names) for names in found]


def modules() -> dict[str, list[Path]]:
    """The files of each module of the package, by its dotted name."""
    found: dict[str, list[Path]] = {}
    for folder, prefix in ((ROOT / "harmony", ()), (ROOT / "grammar", ("grammar",))):
        for path in sorted(folder.rglob("*.py*")):
            parts = (*prefix, *path.relative_to(folder).with_suffix("").parts)
            if path.suffix in (".py", ".pyx", ".pxd") and "data" not in parts:
                name = ".".join(part for part in parts if part != "__init__")
                found.setdefault(name, []).append(path)
    return found


MODULES: Final = modules()


def _carried_out(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            if "or not" in ast.unparse(node.test):  # a choice between twins
                yield from _carried_out(node)
            else:
                for other in node.orelse:
                    yield other
                    yield from _carried_out(other)
            continue
        yield node
        yield from _carried_out(node)


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """What a file imports: each a module's dotted name, and what is taken from it, or ""."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        for match in _CIMPORT.finditer(text):
            yield from ((match[1] or match[3], name.strip()) for name in (match[2] or "").split(","))
        return
    for node in _carried_out(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what is imported"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
            yield from ((str(one.value), "") for one in node.args if isinstance(one, ast.Constant))


def imports(name: str) -> set[str]:
    """The modules of the package that a module imports; "" stands for the package's own `__init__`."""
    found = set()
    for path in MODULES[name]:
        for module, taken in _pairs(path):
            if module.split(".")[0] == "harmony":
                inside = module.removeprefix("harmony").removeprefix(".")
                whole = f"{inside}.{taken}".strip(".")
                found.add(whole if whole in MODULES else inside)
    return found - {name}


def test_the_map_names_every_room() -> None:
    names = {name.split(".")[0] for name in MODULES} - {"", "__main__"}
    assert sorted(rooms()) == sorted(names)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_import_goes_up(name: str) -> None:
    order = rooms()
    room = name.split(".")[0]
    if room in ("", "__main__"):
        return  # the front, which everything stands below
    for other in imports(name):
        assert other, f"{name} imports the front of the package, which is imported by nobody inside"
        above = order.index(other.split(".")[0]) > order.index(room)
        assert not above, f"{name} imports {other}, which stands above it in the README's map"


def test_no_circle_of_modules() -> None:
    TopologicalSorter({name: imports(name) for name in MODULES}).prepare()


def test_no_file_is_too_long() -> None:
    long = {}
    for folder in ("harmony", "grammar", "tests", "fuzz", "bench", "examples"):
        for path in (ROOT / folder).rglob("*.py*"):
            if path.suffix in (".py", ".pyx", ".pxd") and path.read_text(encoding="utf-8").count("\n") > 500:
                long[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8").count("\n")
    assert long == {}
