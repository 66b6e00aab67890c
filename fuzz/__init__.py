"""Tests the library with far more input than the tests use. `docs/robustness.md` says how, and what was found.

    python -m fuzz.differential --seed 1 --count 100000   both engines and the columns, in every way there is
    python -m fuzz.volume --seed 1 --tokens 1000000000    columns against the engine, on very many tokens
    python -m fuzz.guided ids -max_total_time=300         inputs that atheris looks for, led by coverage
    python -m fuzz.oracle --seed 1 --count 20000          against openai-harmony, each difference explained
    python -m fuzz.codes 7 5                              faults in every short input, by `validate` and strict parsing
    python -m fuzz.typescript --seed 1 --count 2000       types of tools' schemas, by TypeScript's own compiler
    fuzz/sanitize.sh                                      the tests under AddressSanitizer and UBSan

Each exits with 1 at the first difference, which it prints with the shortest input that it finds.
"""
