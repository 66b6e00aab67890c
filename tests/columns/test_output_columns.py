"""The table of output columns drives the schemas and the documentation, and the compiled builder agrees with it."""

from __future__ import annotations

import os
from collections import namedtuple
from importlib import import_module

import pytest

from harmony.batch import NESTED_SCHEMA, SCHEMA
from harmony.columns.arrow import OF_CONVERSATION, OF_MESSAGE, OF_ROW
from harmony.columns.rows import CODED, Columns
from helpers.paths import ROOT


def test_the_schemas_have_the_columns_of_the_table() -> None:
    assert SCHEMA.names == [column.name for column in (*OF_ROW, *OF_MESSAGE, *OF_CONVERSATION)]
    assert NESTED_SCHEMA.names == ["messages", *(column.name for column in OF_CONVERSATION)]
    assert [field.name for field in NESTED_SCHEMA.field("messages").type.value_type] == [
        column.name for column in OF_MESSAGE
    ]


def test_the_documentation_names_every_column() -> None:
    written = (ROOT / "docs" / "logs.md").read_text()
    assert [name for name in SCHEMA.names if f"`{name}`" not in written] == []
    assert all(column.meaning for column in (*OF_ROW, *OF_MESSAGE, *OF_CONVERSATION))


@pytest.mark.skipif(os.environ.get("HARMONY_EXTENSION") == "no", reason="there is no compiled builder")
def test_the_compiled_builder_refuses_columns_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = import_module("harmony.columns.memory")
    names = list(Columns._fields)
    for first, second in [("offsets", "message"), ("content_tokens", "end"), (CODED[0], CODED[-1]), ("end", "content")]:
        one, other = names.index(first), names.index(second)
        changed = [*names]
        changed[one], changed[other] = second, first
        monkeypatch.setattr(memory, "Columns", namedtuple("Columns", changed))
        with pytest.raises(ImportError, match=r"^memory.pxd: expected the number [0-9]+ for the column `"):
            memory._check_numbers()
