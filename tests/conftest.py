"""What the tests share: how much they take in, both engines, the encoding, and openai-harmony as the oracle."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

import harmony
from harmony.format import vocabulary
from helpers.engines import ENGINES
from helpers.paths import ROOT
from helpers.sizes import Scale

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.register_assert_rewrite(*(f"helpers.{name}" for name in ("command", "files", "messages", "rows", "ways")))

# `fuzz` is not installed with the package.
sys.path.append(str(ROOT))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run only the tests that can take in more than they usually do, with all of it: longer sequences, more "
        "examples and larger files. With HARMONY_EXTENSION=no it leaves out those that take each engine in turn, for "
        "they do the same where the extension is built",
    )
    parser.addoption(
        "--browser",
        action="store_true",
        help="run only the tests in a browser: of the viewer's page, and of the playground. They need Chromium. Those "
        "of the playground build it first, so they also need npm and PyPI",
    )


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("exhaustive" if config.getoption("--exhaustive") else "quick")


#: Files of which one process takes all tests, for their fixtures take long: a cluster, a server, inputs for every
#: code, a playground in a browser.
KEPT_TOGETHER = (
    "tests/test_ray.py",
    "tests/conversion/test_server.py",
    "tests/checking/test_codes.py",
    "tests/playground/test_page.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives the processes one test after the other, and the files that are kept together first."""
    from xdist.scheduler import LoadScopeScheduling

    class OneByOne(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, _ = nodeid.partition("::")
            return file if file in KEPT_TOGETHER else nodeid

    return OneByOne(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [item for item in items if _is_chosen(item)]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def _is_chosen(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    in_browser = "browser" in item.fixturenames
    if in_browser or item.config.getoption("--browser"):
        return in_browser and item.config.getoption("--browser")
    if not item.config.getoption("--exhaustive"):
        return True
    has_sizes = "scale" in item.fixturenames or hypothesis.is_hypothesis_test(item.obj)
    takes_engines = {"engine", "engines"}.intersection(item.fixturenames)
    return has_sizes and not (takes_engines and len(ENGINES) == 1)


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """`scale(5, 6)` is 6 in the exhaustive run, and otherwise 5."""
    whole = request.config.getoption("--exhaustive")
    return lambda quick, exhaustive: exhaustive if whole else quick


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> ModuleType:
    """Each engine: `StreamableParser`, `parse`, `parse_text`, `decode_bytes`."""
    return import_module(request.param)


@pytest.fixture(scope="session")
def engines() -> list[ModuleType]:
    """The engines, that in Python first, where a test compares what each of them does."""
    return [import_module(name) for name in ENGINES]


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. It is there with `--browser` alone."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("these tests need Chromium; Debian's package is `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()
