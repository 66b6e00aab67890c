"""Each compiled module shows what its twin in Python shows: the same names, signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import pytest

import harmony
from harmony import batch, compat, ray, training
from harmony.runtime.compiled import COMPILED

#: Each twin in Python, and the compiled modules that do what it does.
TWINS: Final = {
    "messages.repeats_py": ["messages.repeats_c"],
    "parsing.moves_py": ["parsing.moves_c"],
    "parsing.parser_py": ["parsing.parser_c"],
    "parsing.scan_py": ["parsing.scan_c"],
    "columns.build_py": ["columns.build_c", "columns.memory"],
    "logs.json_py": ["logs.json_c"],
    "logs.quick_py": ["logs.quick_c"],
    "logs.walk_py": ["logs.walk_c"],
}

needs_both = pytest.mark.skipif(not COMPILED, reason="the compiled modules are not there")


def own(module: ModuleType) -> dict[str, Any]:
    """The classes and functions that a module defines for others."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module.__name__
    }


def parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A function or a class, and what of the class is for others."""
    yield name, value
    if isinstance(value, type):
        for part in sorted(vars(value)):
            if not part.startswith("_") or part == "__init__":
                yield f"{name}.{part}", getattr(value, part)


def shape(value: Any) -> list[tuple[str, Any, Any]]:
    """The parameters of what can be called, without their types, which compiled signatures do not have."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(value).parameters.values()]


@needs_both
@pytest.mark.parametrize("python", TWINS)
def test_twins_show_the_same(python: str) -> None:
    twin = own(import_module(f"harmony.{python}"))
    compiled = {name: value for one in TWINS[python] for name, value in own(import_module(f"harmony.{one}")).items()}
    for name, value in twin.items():
        for path, part in parts(name, value):
            other = compiled[name]
            for step in path.split(".")[1:]:
                other = getattr(other, step)
            if path.endswith(".__init__"):
                continue  # the class has its signature
            assert inspect.getdoc(other) == inspect.getdoc(part), path
            if callable(part) and path != "Moves":  # which is never called
                assert shape(other) == shape(part), path


def public() -> Iterator[tuple[str, Any]]:
    """Everything that users may call, with the methods of public classes."""
    for module in (harmony, batch, compat, ray, training):
        for name in module.__all__:
            for path, part in parts(name, getattr(module, name)):
                if callable(part) and not isinstance(part, property) and not path.endswith(".__init__"):
                    yield f"{module.__name__}.{path}", part


@pytest.mark.parametrize(("path", "value"), [pytest.param(*pair, id=pair[0]) for pair in public()])
def test_everything_public_has_a_signature_and_a_docstring(path: str, value: Any) -> None:
    if getattr(value, "__origin__", None) is None:
        inspect.signature(value)
    assert inspect.getdoc(value), path


def test_pages_of_help_are_full() -> None:
    page = inspect.getdoc(harmony.StreamableParser) or ""
    assert "A token that may not stand where it stands raises HarmonyError." in page
    assert "encoding, role, *, strict=True" in str(inspect.signature(harmony.StreamableParser)).replace("'", "") or (
        not COMPILED
    )
