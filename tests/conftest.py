"""What the tests share: both engines behind one fixture, the encoding, and openai-harmony as the oracle."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import hypothesis
import pytest

import harmony
from harmony.format import vocabulary
from helpers.engines import ENGINES
from helpers.paths import ROOT

hypothesis.settings.register_profile("harmony", deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.load_profile("harmony")

pytest.register_assert_rewrite(*(f"helpers.{name}" for name in ("command", "files", "messages", "rows", "ways")))

# `fuzz` is not installed with the package.
sys.path.append(str(ROOT))


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> ModuleType:
    """Each engine: `StreamableParser`, `parse`, `parse_text`, `decode_bytes`."""
    return import_module(request.param)


@pytest.fixture(scope="session")
def encoding() -> harmony.HarmonyEncoding:
    return harmony.load_harmony_encoding("HarmonyGptOss")


@pytest.fixture(scope="session")
def official_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder that holds the official vocabulary file, as our own package writes it."""
    folder = tmp_path_factory.mktemp("encodings")
    (folder / vocabulary.FILE_NAME).write_bytes(vocabulary.load().official_file())
    return str(folder)


@pytest.fixture(scope="session")
def openai_harmony(official_folder: str) -> Any:
    """The reference, with its encoding loaded as `openai_harmony.encoding`."""
    import openai_harmony

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(vocabulary.FOLDER_VARIABLE, official_folder)
        openai_harmony.encoding = openai_harmony.load_harmony_encoding("HarmonyGptOss")
    return openai_harmony
