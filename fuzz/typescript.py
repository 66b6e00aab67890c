"""Checks whole types with TypeScript's own compiler: it accepts each, and each value that fits the schema.

It draws schemas, and values that jsonschema confirms. Developer messages with tools of these schemas are rendered with
`schemas="full"`. What stands there between `namespace` and its end is a program in TypeScript, and to this the values
are added as arguments. It needs `tsc`: on the path, or from `npm install typescript` in the current directory.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import harmony
from fuzz.schemas import Drawer, Sampler
from harmony import DeveloperContent, Message, RenderOptions, Role, ToolDescription

_CONFIG: Final = {
    "compilerOptions": {"strict": True, "noEmit": True, "target": "es2022", "types": [], "skipLibCheck": True},
    "include": ["*.ts"],
}
#: A function that takes exactly what fits `T`, and looks at each literal as it is written.
_FITS: Final = "declare function fits<T>(): <const V extends T>(value: V) => void;\n"
_FAULT: Final = re.compile(r"^(\w+)\.ts\((\d+),\d+\): error (.+)$", re.MULTILINE)
_EMPTY: Final = "() => any;"
_END: Final = "} // namespace functions"
_VALUES: Final = 4  # for each schema


class Program(NamedTuple):
    """A namespace with tools, the values that fit each, and the whole text of the program."""

    schemas: list[Any]
    values: list[list[Any]]
    text: str


def compiler() -> str | None:
    """The TypeScript compiler, if there is one here."""
    return shutil.which("tsc") or shutil.which("tsc", path=Path("node_modules", ".bin"))


def program(schemas: list[Any], values: list[list[Any]], description: str = "Does it.") -> Program:
    """A program for tools of these schemas, with values that have to fit them."""
    tools = [ToolDescription.new(f"f{number}", description, schema) for number, schema in enumerate(schemas)]
    content = DeveloperContent.new().with_function_tools(tools)
    encoding = harmony.load_harmony_encoding("HarmonyGptOss")
    message = Message.from_role_and_content(Role.DEVELOPER, content)
    text = encoding.decode(encoding.render(message, RenderOptions(schemas="full")))
    namespace = text[text.index("namespace functions {") : text.index(_END)]
    calls = ""
    for number, fitting in enumerate(values):
        if f"type f{number} = {_EMPTY}" not in namespace:
            calls += "".join(f"fits<Parameters<f{number}>[0]>()({literal(value)});\n" for value in fitting)
    return Program(schemas, values, f"export {{}};\n{_FITS}{namespace}{calls}{_END}\n")


def literal(value: Any) -> str:
    """A JSON value as an expression of TypeScript."""
    return json.dumps(value, ensure_ascii=True)


def faults(programs: list[Program], tsc: str) -> dict[int, list[str]]:
    """What the compiler finds in each program, by the index of the program: the line, and the error."""
    found: dict[int, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tsconfig.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
        for number, one in enumerate(programs):
            Path(folder, f"p{number}.ts").write_bytes(one.text.encode())
        done = subprocess.run([tsc, "-p", folder, "--pretty", "false"], capture_output=True, text=True, cwd=folder)
        for name, line, error in _FAULT.findall(done.stdout):
            number = int(name[1:])
            shown = re.split("\r\n|[\n\r\u2028\u2029]", programs[number].text)[int(line) - 1]
            found.setdefault(number, []).append(f"{error}: {shown}")
    if done.returncode and not found:
        raise RuntimeError(done.stdout + done.stderr)
    return found


def drawn(seed: int, number: int) -> Program:
    """A program with two tools."""
    chance = random.Random(f"{seed} {number}")
    schemas = [Drawer(chance).root for _ in range(2)]
    values = [Sampler(schema, chance).values(_VALUES, 40) for schema in schemas]
    return program(schemas, values, chance.choice(["Does it.", "Two\r\nlines */", "a\rb\u2028c"]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.typescript", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000, help="how many schemas")
    options = parser.parse_args()
    tsc = compiler()
    if tsc is None:
        parser.error("expected the command tsc, found none; `npm install typescript` brings it")
    programs = [drawn(options.seed, number) for number in range((options.count + 1) // 2)]
    wrong = faults(programs, tsc)
    for number, errors in list(wrong.items())[:10]:
        print(f"--- program {number}", json.dumps(programs[number].schemas), programs[number].text, *errors, sep="\n")
    version = subprocess.run([tsc, "--version"], capture_output=True, text=True).stdout.split()[-1]
    values = [fitting for one in programs for fitting in one.values]
    print(f"command: python -m fuzz.typescript --seed {options.seed} --count {options.count}")
    print(f"harmony {harmony.__version__}, TypeScript {version}, Python {sys.version.split()[0]}")
    print(f"schemas drawn: {len(values)}")
    print(f"schemas with values that jsonschema confirms: {sum(map(bool, values))}")
    print(f"values: {sum(map(len, values))}")
    print(f"programs with an error of the compiler: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
