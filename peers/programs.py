"""The programs whose tests are run, and which of their tests use openai_harmony."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

#: Of each program, the files and folders of tests, by the path in its sources; `*` stands for any name.
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "gpt-oss": ("tests",),
    "vllm": (
        "tests/parser/test_harmony*.py",
        "tests/parser/test_chat_parsing.py",
        "tests/entrypoints/openai/chat_completion/test_serving_chat.py",
        "tests/entrypoints/openai/responses",
        "tests/entrypoints/openai/parser",
        "tests/entrypoints/openai/test_render_parity.py",
        "tests/entrypoints/unit_tests/test_context.py",
        "tests/entrypoints/launchers/render/test_app_state.py",
        "tests/entrypoints/scale_out/derender",
        "tests/tool_parsers/test_structural_tag_registry.py",
        "tests/tool_use/test_muse*.py",
    ),
    "lmdeploy": ("tests/test_lmdeploy/serve/parsers/test_gpt_oss_parser.py",),
    "exo": ("src/exo/worker/tests/unittests/test_runner/test_parse_gpt_oss.py",),
    "omlx": ("tests/test_harmony*.py", "tests/test_output_parser.py"),
}

#: Marks that each test of a program gets. vLLM's leaves out what follows each test and takes longer than the test.
MARKS: Final[dict[str, str]] = {"vllm": "skip_global_cleanup"}


class Program(NamedTuple):
    """A program: the folder of its sources, and the Python of an environment that has what it needs."""

    name: str
    source: Path
    python: Path

    def tests(self) -> list[str]:
        """Its tests that use openai_harmony, by their paths in the sources."""
        found = []
        for pattern in TESTS[self.name]:
            matching = sorted(self.source.glob(pattern))
            if not matching:
                raise SystemExit(f"expected the sources of {self.name} in `{self.source}`, found no `{pattern}` there")
            found += [str(path.relative_to(self.source)) for path in matching]
        return found

    def version(self) -> str:
        """The version of a release, or what git calls the commit."""
        about = self.source / "PKG-INFO"
        if about.is_file():
            found = re.search(r"^Version: (.*)$", about.read_text(encoding="utf-8"), re.MULTILINE)
            return found[1] if found else "unknown"
        command = ["git", "-C", str(self.source), "describe", "--tags", "--always"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or "unknown"
