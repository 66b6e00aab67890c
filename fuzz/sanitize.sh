#!/bin/sh
# Runs Python with a copy of the library that is built with AddressSanitizer and UndefinedBehaviorSanitizer (gcc, Linux):
#
#     fuzz/sanitize.sh                                          the tests of what is compiled
#     fuzz/sanitize.sh -m pytest tests/parsing                  or of one file
#     fuzz/sanitize.sh -m fuzz.differential --count 1000        or a fuzzer
#
# It takes the `python` of the path, which needs what the extra `test` installs. The first report ends the run.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/build/sanitized

build() {
    rm -rf "$folder"
    mkdir -p "$folder/source" "$folder/run"
    for name in setup.py pyproject.toml README.md LICENSE harmony grammar; do
        cp -R "$root/$name" "$folder/source/$name"
    done
    find "$folder/source/harmony" \( -name '*.so' -o -name '*.c' \) -delete
    # The flags stand last, behind those of setup.py.
    cat >"$folder/cc" <<'END'
#!/bin/sh
exec gcc "$@" -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
END
    chmod +x "$folder/cc"
    HARMONY_EXTENSION=yes CC="$folder/cc" LDSHARED="$folder/cc -shared" \
        python -m pip install --quiet --no-deps --target "$folder/run" "$folder/source"
    touch "$folder/built"
}

# Where nothing has been built yet, what `find` says of that stands for a change.
changed=$(find "$root/setup.py" "$root/harmony" -name '*.p[yx]*' ! -name '*.pyc' -newer "$folder/built" 2>&1 | head -n 1)
[ -z "$changed" ] || build
for name in pyproject.toml grammar tests fuzz docs examples; do
    rm -rf "${folder:?}/run/$name"
    cp -R "$root/$name" "$folder/run/$name"
done
cd "$folder/run"

# Python's own allocator would hide from AddressSanitizer where an object ends; what Python keeps to its end is no leak.
export HARMONY_EXTENSION=yes PYTHONPATH="$folder/run" PYTHONMALLOC=malloc
export ASAN_OPTIONS=detect_leaks=0
export PYTEST_ADDOPTS="--numprocesses=0"  # one process, which a report ends
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) $(gcc -print-file-name=libstdc++.so)"
export LD_PRELOAD

if [ $# -eq 0 ]; then
    set -- -m pytest -x -k "not _py and not one_verdict" \
        tests/parsing/test_parser.py tests/parsing/test_text.py tests/parsing/test_lenient.py tests/parsing/test_laws.py \
        tests/parsing/test_every_sequence.py tests/columns/test_columns.py tests/test_batch.py \
        tests/checking/test_validation.py tests/logs/test_completions.py tests/test_fuzz.py
fi
exec python "$@"
