"""The summary of a run: what was read, what was wrong with it, how long it took, and where the result is."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Final

from harmony.errors import printable
from harmony.logs.completions import Tally
from harmony.logs.convert import Watcher

_CODES_SHOWN: Final = 12
_NAMES_SHOWN: Final = 5


class Run:
    """What a command did with logs: the tally, the skipped files, and the records and bytes that it has read."""

    def __init__(self, output: str | None = None, tally: Tally | None = None) -> None:
        self.tally: Tally = Tally() if tally is None else tally
        self.skipped: list[str] = []
        self._output = None if output == "-" else output
        self._begun = monotonic()
        self._seconds = 0.0
        self._records = self._bytes = 0

    def watcher(self, watch: Watcher, *, resumed: bool = False) -> Watcher:
        """A watcher that counts what a job reads, and then calls another one.

        A job that is resumed counts from its first piece on, because what came before is of an earlier run.
        """
        taken_before = records_before = 0
        known = not resumed
        all_records, all_bytes = self._records, self._bytes

        def count(taken: int, size: int | None, tally: Tally) -> None:
            nonlocal taken_before, records_before, known
            if not known:
                known, taken_before, records_before = True, taken, tally.records
            self._records = all_records + tally.records - records_before
            self._bytes = all_bytes + taken - taken_before
            watch(taken, size, tally)

        return count

    def ended(self) -> None:
        """Notes the time. If no job has ended, because all were complete before, the summary has no time."""
        self._seconds = max(monotonic() - self._begun, 1e-6)

    def lines(self) -> Iterator[str]:
        """The lines of the summary."""
        tally = self.tally
        numbers = {"record": tally.records, "message": tally.messages, "token": tally.tokens}
        yield ", ".join(_counted(number, name) for name, number in numbers.items())
        bad, repairs = sum(tally.errors.values()), sum(tally.diagnostics.values())
        if bad:
            theirs = "with its" if bad == 1 else "each with its"
            yield f"{_counted(bad, 'bad record')}, {theirs} error: {_codes(tally.errors)}"
            if tally.first_error is not None:
                yield f"the first error: {printable(tally.first_error)}"
        if repairs:
            yield f"{_counted(repairs, 'repair')}: {_codes(tally.diagnostics)}"
        for path in tally.unfound if tally.records else ():
            yield f"no record has anything at `{printable(path)}`"
        if 2 * tally.unmarked > tally.records:
            texts = _counted(tally.unmarked, "text")
            yield f"{texts} without any marker such as <|end|>: --stripped guesses where they stood"
        if self.skipped:
            shown = ", ".join(map(printable, self.skipped[:_NAMES_SHOWN]))
            more = len(self.skipped) - _NAMES_SHOWN
            yield f"skipped {_counted(len(self.skipped), 'file')}: {shown}" + f", and {more:,} more" * (more > 0)
        if self._seconds:
            yield self._time()

    def _time(self) -> str:
        rates = f"{self._records / self._seconds:,.0f} records/s, {megabytes(self._bytes / self._seconds)}/s"
        written = "" if self._output is None else f", written to {printable(self._output)}"
        return f"{self._seconds:,.2f} s, {rates}{written}"


def megabytes(size: float) -> str:
    """A number of bytes, in MB."""
    return f"{size / 1e6:,.1f} MB"


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'s'[: number != 1]}"


def _codes(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{printable(code)} {number:,}" for code, number in ordered[:_CODES_SHOWN])
    return shown + f", and {len(ordered) - _CODES_SHOWN} other codes" * (len(ordered) > _CODES_SHOWN)
