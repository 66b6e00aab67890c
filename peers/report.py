"""The results as Markdown, which is printed, and which `docs/peers.md` holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from peers.server import Answer, Reply
from peers.suites import Suite
from peers.ways import WAYS


def suites_text(suites: list[Suite]) -> str:
    """A table of the programs, and each test that differs."""
    return "\n".join(_suites(suites))


def server_text(replies: list[Reply]) -> str:
    """A table that counts the server's failures, and each reply that fails in some way."""
    return "\n".join(_server(replies))


def _suites(suites: list[Suite]) -> Iterator[str]:
    yield from _table(
        ["program", "version", "tests", *(way.name for way in WAYS), "not counted"],
        (
            [
                suite.program,
                suite.version,
                f"{suite.counted:,}",
                *(f"{suite.passed[way.name]:,}" for way in WAYS),
                ", ".join(f"{number} {outcome}" for outcome, number in suite.not_counted.items()),
            ]
            for suite in suites
        ),
    )
    for suite in suites:
        if suite.differences:
            yield f"\n{suite.program}:\n"
        for one in suite.differences:
            yield f"- {one.way}: `{one.test}` {one.expected}, now {one.found}. {one.reason}"


def _server(replies: list[Reply]) -> Iterator[str]:
    malformed = [reply for reply in replies if reply.is_malformed]
    rows: list[tuple[str, Callable[[Answer], bool]]] = [
        ("fail", Answer.fails),
        ("an exception: HTTP 500, or a stream that breaks off", lambda answer: bool(answer.error)),
        ("a stream that does not end in `response.completed`", lambda answer: not answer.is_completed),
        ("text missing from the output", lambda answer: bool(answer.lost)),
        ("text that the stream gives only at its end", lambda answer: bool(answer.unsent)),
    ]
    kinds = {"malformed": malformed, "well-formed": [reply for reply in replies if not reply.is_malformed]}
    for kind, chosen in kinds.items():
        yield f"\n{len(chosen)} {kind} replies:\n"
        yield from _table(
            ["replies with", *(way.name for way in WAYS)],
            (
                [name, *(str(sum(has(reply.answers[way.name]) for reply in chosen)) for way in WAYS)]
                for name, has in rows
            ),
        )
    for reply in replies:
        for way in WAYS:
            answer = reply.answers[way.name]
            if answer.fails() or answer.unsent:
                yield f"- {way.name}: {reply.name} `{reply.text!r}`: {_faults(answer)}"
    for reply in replies:
        if reply.hidden:
            yield f"- not shown by this server: {reply.name} `{reply.text!r}`: {reply.hidden}"


def _faults(answer: Answer) -> str:
    found = [answer.error, "" if answer.is_completed else "not completed"]
    found += [f"lost {answer.lost}" if answer.lost else "", f"unsent {answer.unsent}" if answer.unsent else ""]
    return "; ".join(one for one in found if one)


def _table(heads: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    for row in [heads, ["---"] * len(heads), *rows]:
        yield f"| {' | '.join(row)} |"
