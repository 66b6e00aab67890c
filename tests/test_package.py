"""The package as a whole: what importing it loads, which engine it takes, and that nothing needs a network."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import harmony
from harmony.runtime.extras import how_to_install
from helpers.modules import modules
from helpers.paths import EXAMPLES, ROOT


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def test_importing_and_parsing_load_nothing_heavy() -> None:
    done = run(
        "import sys, harmony\n"
        "harmony.load_harmony_encoding('HarmonyGptOss').parse([200008, 12194, 200007], 'user')\n"
        "print([name for name in ('tiktoken', 'lark', 'pyarrow', 'pydantic', 'numpy', 'rich') if name in sys.modules])"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


#: Runs a command, and prints which of these modules it has imported.
_IMPORTED = """
import sys
from harmony.__main__ import main
try:
    main()
finally:
    names = ("lark", "msgspec", "multiprocessing", "numpy", "pandas", "pyarrow", "pyarrow.dataset", "rich", "tiktoken")
    print([name for name in names if name in sys.modules], file=sys.stderr)
"""


def imported(*arguments: str) -> str:
    command = [sys.executable, "-c", _IMPORTED, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["vocab", "--help"], ["completion", "bash"]])
def test_short_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments) == "[]"


@pytest.mark.parametrize("command", ["parse", "stats", "render", "validate", "explain", "tokens", "grammar", "compat"])
def test_the_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    assert imported(command, "--help") in ("[]", "['msgspec']")


def test_counting_a_small_log_imports_no_pandas_and_no_data_sets(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"tokens":[200008,12194,200002]}\n'
        '{"text":"<|channel|>final<|channel|>final<|message|>Hi<|return|>"}\n'
        '{"tokens":["no id"]}\n'
    )
    assert "pyarrow" in imported("stats", str(log))
    assert not {"pandas", "pyarrow.dataset"} & set(ast.literal_eval(imported("stats", "--json", str(log))))


@pytest.mark.parametrize("library", ["click", "rich", "xxhash"])
def test_a_library_of_the_command_line_that_is_missing(library: str) -> None:
    code = (
        f"import sys; sys.modules['{library}'] = None; sys.argv[1:] = ['stats', '-']; import harmony.__main__ as main"
    )
    done = run(f"{code}; main.main()")
    expected = f"harmony: the command line needs {library}: {how_to_install('cli', library)}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_names_for_type_checkers_are_those_that_are_imported_late() -> None:
    tree = ast.parse(Path(harmony.__file__).read_text(encoding="utf-8"))
    [choice] = [node for node in tree.body if isinstance(node, ast.If)]
    for_checkers = {
        alias.name: f"harmony.{alias.name}" if node.module == "harmony" else node.module
        for node in choice.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert for_checkers == vars(harmony)["_LATE"]
    assert {*harmony.__all__, "batch"} <= for_checkers.keys()


def test_dir_shows_what_is_not_imported_yet() -> None:
    done = run("import harmony; print(set(harmony.__all__) - set(dir(harmony)), 'Message' in vars(harmony))")
    assert (done.stdout, done.stderr) == ("set() False\n", "")


def test_every_public_name_is_there() -> None:
    assert all(hasattr(harmony, name) for name in harmony.__all__)
    assert sorted(harmony.__all__) == harmony.__all__
    assert importlib.metadata.version("harmony-codec") == harmony.__version__


#: Imports each module in a process that has none of ours; what is not ours is there, which takes most of the time.
ALONE = """
import importlib, os, sys
import click, lark, msgspec, pyarrow, rich, tiktoken

assert not [name for name in sys.modules if name.startswith("harmony")]
for name in sys.argv[1:]:
    process = os.fork()
    if not process:
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(process, 0)[1]:
        sys.exit(f"{name} cannot be imported alone")
"""


def test_each_module_can_be_imported_alone() -> None:
    # Before a module Python imports `harmony`, and all that this imports: it comes first, also for these.
    first = set(run("import sys, harmony; print(*sys.modules)").stdout.split())
    assert {"harmony", "harmony.runtime.compiled"} < first
    names = [name for name in modules() if name not in first]
    assert {"harmony.encoding", "harmony.parsing.repairs", "harmony.ray", "harmony.cli.commands"} < set(names)
    done = subprocess.run([sys.executable, "-c", ALONE, *names], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("choice", ["no", ""] + ["yes"] * (os.environ.get("HARMONY_EXTENSION") != "no"))
def test_the_variable_decides_which_engine_parses(choice: str) -> None:
    done = run("import harmony; print(harmony.StreamableParser.__module__)", HARMONY_EXTENSION=choice)
    compiled = choice == "yes" or (choice == "" and find_spec("harmony.parsing.parser_c") is not None)
    assert done.stdout == ("harmony.parsing.parser_c\n" if compiled else "harmony.parsing.parser_py\n")


def test_a_missing_extension_is_an_error_where_it_is_required() -> None:
    hide = "import sys; sys.modules['harmony.parsing.parser_c'] = None\n"
    assert "ModuleNotFoundError" in run(hide + "import harmony", HARMONY_EXTENSION="yes").stderr
    done = run(hide + "import harmony; print(harmony.StreamableParser.__module__)", HARMONY_EXTENSION="")
    assert done.stdout == "harmony.parsing.parser_py\n"
    done = run("import harmony", HARMONY_EXTENSION="maybe")
    assert "HARMONY_EXTENSION: expected `yes`, `no` or nothing, got `maybe`" in done.stderr


def test_nothing_needs_a_network() -> None:
    done = run(
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event.startswith(('socket.', 'urllib.')):\n"
        "        raise RuntimeError(f'network: {event} {arguments}')\n"
        "sys.addaudithook(hook)\n"
        "import harmony\n"
        "encoding = harmony.load_harmony_encoding('HarmonyGptOss')\n"
        "tokens = encoding.encode('<|message|>Hi<|end|>', allowed_special='all')\n"
        "print(encoding.parse(tokens, 'user').messages[0].content[0].text, encoding.decode(tokens))",
        TIKTOKEN_CACHE_DIR=os.devnull,
    )
    assert (done.stdout, done.stderr) == ("Hi <|message|>Hi<|end|>\n", "")


#: Runs in a process in which tiktoken cannot be imported.
WITHOUT_TIKTOKEN = """
import sys
sys.modules["tiktoken"] = None
from harmony import Conversation, Message, Role, load_harmony_encoding, validate
encoding = load_harmony_encoding("HarmonyGptOss")
conversation = Conversation.from_messages([Message.from_role_and_content(Role.USER, "Hi")])
"""


@pytest.mark.parametrize(
    "call",
    [
        "encoding.encode('Hi')",
        "encoding.render(conversation.messages[0])",
        "encoding.render_conversation(conversation)",
        "encoding.render_many([conversation])",
        "encoding.count_tokens(conversation)",
        "encoding.warm_up()",
    ],
)
def test_without_tiktoken_encoding_and_rendering_say_what_is_missing(call: str) -> None:
    done = run(f"{WITHOUT_TIKTOKEN}\ntry:\n    {call}\nexcept ImportError as error:\n    print(error.name, error)")
    assert done.stdout.startswith("tiktoken encoding and rendering need tiktoken, which cannot be imported (")
    assert "): pip install tiktoken; where it has no wheel, pip needs a Rust compiler." in done.stdout
    assert done.stderr == ""


def test_without_tiktoken_parsing_decoding_and_checking_work() -> None:
    done = run(
        f"{WITHOUT_TIKTOKEN}\n"
        "text = '<|channel|>final<|message|>Hi<|return|>'\n"
        "tokens = [200005, 17196, 200008, 12194, 200002]\n"
        "print(encoding.parse(tokens, 'assistant').messages == encoding.parse_text(text, 'assistant').messages)\n"
        "print(encoding.decode(tokens), encoding.parse([12194], 'assistant', strict=False).messages[0].text)\n"
        "print(list(validate(tokens, 'completion')), list(validate(text, 'completion')))"
    )
    assert (done.stdout, done.stderr) == ("True\n<|channel|>final<|message|>Hi<|return|> Hi\n[] []\n", "")


def test_without_tiktoken_a_command_that_encodes_ends_with_the_same_error() -> None:
    hide = "import sys; sys.modules['tiktoken'] = None; import harmony.__main__ as main; sys.argv[1:] ="
    done = run(f"{hide} ['tokens', 'Hi']; main.main()")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("harmony: encoding and rendering need tiktoken")
    done = run(f"{hide} ['tokens', '--ids', '12194']; main.main()")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("machine", "is_needed"),
    [("x86_64", True), ("AMD64", True), ("aarch64", True), ("arm64", True)]
    + [(name, False) for name in ("wasm32", "ARM64", "riscv64", "ppc64le", "s390x", "armv7l", "i686")],
)
def test_tiktoken_is_required_where_it_has_wheels(machine: str, is_needed: bool) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [found] = [each for each in map(Requirement, project["dependencies"]) if each.name == "tiktoken"]
    assert found.marker is not None
    assert found.marker.evaluate({"platform_machine": machine}) == is_needed


def test_the_encoding_is_one_object_in_all_threads() -> None:
    done = run(
        "import threading, harmony\n"
        "barrier, found = threading.Barrier(8), []\n"
        "def load():\n"
        "    barrier.wait()\n"
        "    found.append(harmony.load_harmony_encoding('HarmonyGptOss'))\n"
        "threads = [threading.Thread(target=load) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "print(len(found), len(set(map(id, found))))"
    )
    assert done.stdout == "8 1\n"


# The one of a cluster is run beside the other tests of Ray, the server in `conversion/test_server.py`, and those for
# inference engines in `guiding/test_engines.py`.
RUN_ELSEWHERE = ("cluster.py", "server.py", "guided_transformers.py", "guided_vllm.py")
RUN_HERE = sorted(path for path in EXAMPLES.glob("*.py") if path.name not in RUN_ELSEWHERE)


@pytest.mark.parametrize("example", RUN_HERE, ids=lambda path: path.name)
def test_an_example_runs_as_it_stands(example: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) > 3


def in_extra(name: str) -> set[str]:
    """The packages of an extra of pyproject.toml, with those of the extras that it includes."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found: set[str] = set()
    for requirement in extras[name]:
        package, _, inside = re.split("[>=<;]", requirement)[0].partition("[")
        if package == "harmony-codec":
            found.update(*(in_extra(each) for each in inside.removesuffix("]").split(",")))
        else:
            found.add(package)
    return found


def test_the_extra_has_what_the_examples_need() -> None:
    needed = set()
    for path in EXAMPLES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                needed |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                needed.add(node.module.partition(".")[0])
    engines = {"torch", "transformers", "vllm"}  # who has no such engine needs no example for it
    others = needed - engines - {"harmony", "msgspec", "scripted"} - sys.stdlib_module_names
    assert others == {"duckdb", "llguidance", "polars", "pyarrow", "ray", "starlette", "uvicorn"}
    assert others <= in_extra("examples")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_guide_to_installation_has_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    section = (ROOT / "docs/install.md").read_text(encoding="utf-8").split("## Extras")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == extras.keys()
