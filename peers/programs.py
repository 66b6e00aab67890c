"""The programs whose tests are run, and which of their tests use openai_harmony."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple


class Tests(NamedTuple):
    """The tests of a program that use openai_harmony, by their paths in the sources; `*` stands for any name.

    Each test gets the mark, and sees the variables of the environment. `needs_hub` tells whether tests load models'
    tokenizers from a hub, of which `inside/peers_hub.py` makes a cache.
    """

    paths: tuple[str, ...]
    mark: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    needs_hub: bool = False


_RESPONSES: Final = "tests/entrypoints/openai/responses"
TESTS: Final[dict[str, Tests]] = {
    "gpt-oss": Tests(("tests",)),
    "vllm": Tests(
        (
            "tests/parser/test_harmony*.py",
            "tests/parser/test_chat_parsing.py",
            "tests/entrypoints/openai/chat_completion/test_serving_chat.py",
            *(
                f"{_RESPONSES}/test_{name}.py"
                for name in ("errors", "function_call_parsing", "harmony_utils", "mcp_tools")
            ),
            *(f"{_RESPONSES}/test_{name}.py" for name in ("parsable_context_unit", "protocol", "sampling_params")),
            *(f"{_RESPONSES}/test_{name}.py" for name in ("response_input_to_harmony", "responses_utils")),
            *(f"{_RESPONSES}/test_{name}.py" for name in ("serving_responses", "streaming_events")),
            "tests/entrypoints/openai/parser",
            "tests/entrypoints/openai/test_render_parity.py",
            "tests/entrypoints/unit_tests/test_context.py",
            "tests/entrypoints/scale_out/derender/test_derender_stream.py",
            "tests/tool_parsers/test_structural_tag_registry.py",
        ),
        mark="skip_global_cleanup",  # what vLLM cleans up after each test takes longer than the test
        variables=(("VLLM_TARGET_DEVICE", "cpu"),),
        needs_hub=True,
    ),
    "lmdeploy": Tests(("tests/test_lmdeploy/serve/parsers/test_gpt_oss_parser.py",)),
    "exo": Tests(
        ("src/exo/worker/tests/unittests/test_runner/test_parse_gpt_oss.py",),
        variables=(("EXO_DASHBOARD_DIR", "."),),  # a dashboard that is not built is not looked for
    ),
    "omlx": Tests(("tests/test_harmony*.py", "tests/test_output_parser.py")),
}


class Program(NamedTuple):
    """A program: the folder of its sources, and the Python of an environment that has what it needs."""

    name: str
    source: Path
    python: Path

    def tests(self) -> list[str]:
        """The paths of its tests that use openai_harmony."""
        found = []
        for pattern in TESTS[self.name].paths:
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
