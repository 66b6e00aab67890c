"""What griffe, which reads the sources for the reference, cannot see in them. `mkdocs.yml` names this file."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Sources(griffe.Extension):
    """Takes a compiled module's twin in Python, adds the constructors of records, and links pages in docstrings."""

    def on_alias_instance(self, *, alias: griffe.Alias, **_: Any) -> None:
        """A compiled module has the same docstrings as its twin, but no types."""
        alias.target_path = re.sub(r"_c\.(\w+)$", r"_py.\1", alias.target_path)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """A page that a docstring names is a link from the pages in `reference/`."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"`?\bdocs/(\w+)\.md\b`?", r"[\1.md](../\1.html)", obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """A Struct of msgspec has a constructor with its fields, as a dataclass has."""
        if "__init__" not in cls.members and (fields := list(_fields(cls))):
            constructor = griffe.Function("__init__", parameters=griffe.Parameters(*fields))
            cls.set_member("__init__", constructor)


def _fields(cls: griffe.Class) -> list[griffe.Parameter]:
    lineage = [*reversed(cls.mro()), cls]
    if not any(str(base) == "msgspec.Struct" for each in lineage for base in each.bases):
        return []
    found = {}
    for each in lineage:
        for name, attribute in each.attributes.items():
            if attribute.annotation is not None and not str(attribute.annotation).startswith("ClassVar"):
                default = attribute.value and re.sub(r"^msgspec\.field\(\w+=(.+)\)$", r"\1()", str(attribute.value))
                kind = griffe.ParameterKind.positional_or_keyword
                found[name] = griffe.Parameter(name, annotation=attribute.annotation, kind=kind, default=default)
    return list(found.values())
