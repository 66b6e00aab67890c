"""Compares columns with the engine on very many tokens: random completions, most of them well-formed.

Each completion is parsed to messages by the engine, and twice to columns, by one thread and by two. All three have to
hold the same, and what was made without a fault has to be read without a repair.
"""

from __future__ import annotations

import argparse
import random
import time
from functools import cache
from itertools import accumulate, count, zip_longest
from typing import Any, Final, NamedTuple, TypeAlias

import numpy
import pyarrow as pa

from fuzz.differential import ENGINES, Case, first_difference, rows_of
from fuzz.streams import AUTHORS, HEADERS, encoded, with_faults
from harmony import Role
from harmony.batch import SCHEMA, parse_batch
from harmony.columns.arrow import without_dictionaries, without_dictionary
from harmony.format import vocabulary
from harmony.format.vocabulary import CALL, END, FIRST_SPECIAL, MESSAGE, RETURN, START

Ids: TypeAlias = numpy.ndarray[Any, numpy.dtype[numpy.uint32]]

_BATCH: Final = 10_000  # messages that are parsed to columns at a time
_CONTENT: Final = 400  # tokens of a content, on average
_SECONDS: Final = 10  # between two lines that tell how far it is
_PLAIN: Final = pa.schema([field.with_type(without_dictionary(field.type)) for field in SCHEMA])


class Batch(NamedTuple):
    """Completions, one after another, and which of them have faults."""

    role: Role | None
    tokens: Ids
    offsets: list[int]
    faulty: set[int]

    def completion(self, index: int) -> Ids:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


def make(seed: int, number: int, share: float) -> Batch:
    """One batch of a seed; `share` of its completions have faults."""
    chance, numbers = random.Random(f"{seed} {number}"), numpy.random.default_rng([seed, number])
    role = Role.ASSISTANT if number % 2 else None
    lengths = numbers.geometric(1 / _CONTENT, _BATCH) - 1
    ends = numpy.cumsum(lengths)
    contents = [alphabet[numbers.integers(len(alphabet), size=ends[-1])] for alphabet in _alphabets()]
    kinds = numbers.choice(len(contents), p=[0.9, 0.08, 0.02], size=_BATCH)
    completions: list[Ids] = []
    faulty: set[int] = set()
    message = 0
    while message < _BATCH:
        first, pieces = message, []
        for message in range(first, min(first + chance.randint(1, 5), _BATCH)):
            given = message == first and role is not None
            pieces += [
                chance.choice(_headers(given)),
                contents[kinds[message]][ends[message] - lengths[message] : ends[message]],
                chance.choice(_stops()),
            ]
        message += 1
        found = numpy.concatenate(pieces)
        if chance.random() < share:
            faulty.add(len(completions))
            found = numpy.array([token % (1 << 32) for token in with_faults(chance, found.tolist())], numpy.uint32)
        completions.append(found)
    return Batch(role, numpy.concatenate(completions), [0, *accumulate(map(len, completions))], faulty)


@cache
def _alphabets() -> list[Ids]:
    """Ranks of ASCII, of whole characters, and all."""
    texts = [vocabulary.load().token_bytes(token) for token in range(FIRST_SPECIAL)]
    ascii_alone = [token for token, text in enumerate(texts) if text.isascii()]
    characters = [token for token, text in enumerate(texts) if "\ufffd" not in text.decode(errors="replace")]
    return [numpy.array(ranks, numpy.uint32) for ranks in (ascii_alone, characters, range(FIRST_SPECIAL))]


@cache
def _headers(given: bool) -> list[Ids]:
    """What a message may begin with, up to `<|message|>`; of the assistant where its author is given."""
    written = HEADERS if given else [*("assistant" + header for header in HEADERS), *AUTHORS]
    return [numpy.array([*[START][given:], *encoded(text), MESSAGE], numpy.uint32) for text in written]


@cache
def _stops() -> list[Ids]:
    return [numpy.array([stop], numpy.uint32) for stop in (END, CALL, RETURN)]


def expected(batch: Batch) -> pa.RecordBatch:
    """The rows of a batch, each of whose completions the engine parses by itself; ValueError for a needless repair."""
    found = []
    for index in range(len(batch.offsets) - 1):
        rows = rows_of(ENGINES[-1], index, Case(index, batch.completion(index).tolist(), batch.role), strict=False)
        if index not in batch.faulty and rows[0]["diagnostics"]:
            raise ValueError(f"expected no diagnostics, found {rows[0]['diagnostics']} - in completion {index}")
        found += rows
    return pa.RecordBatch.from_pylist(found, schema=_PLAIN)


def by_columns(batch: Batch, threads: int) -> pa.RecordBatch:
    return without_dictionaries(parse_batch(batch.tokens, batch.offsets, role=batch.role, threads=threads))


def told(batch: Batch, threads: int, found: pa.RecordBatch, right: pa.RecordBatch) -> str:
    """The completion that columns and engine read differently, and its shortest part that shows the difference."""
    rows, right_rows = found.to_pylist(), right.to_pylist()
    row = next(place for place, pair in enumerate(zip_longest(rows, right_rows)) if pair[0] != pair[1])
    index = right_rows[min(row, len(right_rows) - 1)]["conversation"]
    lines = [f"difference - columns, {threads} threads: row {row}, completion {index}"]
    lines += [
        f"  {name}: {some[row] if row < len(some) else None}"
        for name, some in (("expected", right_rows), ("found", rows))
    ]
    if alone := first_difference([Case(index, batch.completion(index).tolist(), batch.role)]):
        return "\n".join([*lines, alone.smallest().text()])
    return "\n".join([*lines, "  by itself it is read alike"])


def run(seed: int, first: int, tokens: int, faults: float) -> bool:
    """Parses batches until they have as many tokens, or one is read differently, which is printed; whether none was."""
    began = shown = time.monotonic()
    done = completions = faulty = 0
    for number in count(first):
        if done >= tokens:
            break
        batch = make(seed, number, faults)
        try:
            right = expected(batch)
        except ValueError as error:
            print(f"batch {number}: {error}")
            return False
        for threads in (1, 2):
            found = by_columns(batch, threads)
            if not found.equals(right):
                print(f"batch {number}: {told(batch, threads, found, right)}")
                return False
        done += len(batch.tokens)
        completions += len(batch.offsets) - 1
        faulty += len(batch.faulty)
        now = time.monotonic()
        if now - shown > _SECONDS or done >= tokens:
            print(
                f"{done:,} tokens, {completions:,} completions, {faulty:,} with faults, "
                f"{done / (now - began):,.0f} tokens a second",
                flush=True,
            )
            shown = now
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz.volume", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what the completions are made from")
    parser.add_argument("--first", type=int, default=0, help="the number of the first batch")
    parser.add_argument("--tokens", type=int, default=100_000_000, help="how many tokens at the least")
    parser.add_argument("--faults", type=float, default=0.01, help="the share of completions with faults")
    options = parser.parse_args()
    raise SystemExit(not run(options.seed, options.first, options.tokens, options.faults))


if __name__ == "__main__":
    main()
