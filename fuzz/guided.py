"""Lets atheris look for inputs, guided by the lines of the library that they reach.

    pip install atheris
    python -m fuzz.guided ids -max_total_time=300 build/corpus/ids

The targets are `ids`, `text`, `lines` and `tables`. What follows is for libFuzzer, whose `-help=1` lists its options.
In the folder it keeps what reached something new, to go on from there. An input that is misread goes to a file; given
in place of the folder, it is tried again.
"""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    with atheris.instrument_imports(include=["harmony"]):
        from fuzz.targets import TARGETS
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        raise SystemExit(f"expected {', '.join(f'`{target}`' for target in TARGETS)}, found `{name}`")
    program, *given = sys.argv
    # A few bytes are a whole input, and long inputs show nothing more.
    atheris.Setup([program, "-len_control=0", "-max_len=100", *given], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
