"""What is printed on a terminal cannot command it, nor turn or hide the text around it."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from harmony.cli.show import show
from harmony.errors import RecordError, printable, quote
from harmony.logs.records import Outcome
from harmony.results import ParseResult
from harmony.stats.counts import Summary
from harmony.stats.tables import tables
from harmony.stats.tallies import Lengths, ToolCalls
from harmony.viewing.characters import readable
from helpers.command import harmony, on_a_terminal
from helpers.talk import message

# Controls, and what turns text, ends lines, hides itself, or carries letters that nobody sees.
HIDDEN = "\x00\x1b\x7f\x9b\u00ad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2064\u2066\u2069\ufeff"
HIDDEN += "\ufff9\ufffb\U000e0000\U000e0001\U000e0041\U000e007f\ud800"
# What letters and emoji are made of.
JOINING = "\u200c\u200d\ufe0f\ufe00\U000e0100\u034f\u115f\u3164"
WRITTEN = {c: c.encode("unicode_escape").decode() for c in HIDDEN + JOINING}


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_what_is_hidden_is_written_out_everywhere(character: str) -> None:
    assert readable(f"a{character}b") == f"a{WRITTEN[character]}b"
    assert printable(f"a{character}b") == f"a{WRITTEN[character]}b"
    assert quote(f"a{character}b") == f"`a{WRITTEN[character]}b`"


@pytest.mark.parametrize("character", JOINING, ids=ascii)
def test_what_joins_stays_in_content_only(character: str) -> None:
    assert readable(f"a{character}b") == f"a{character}b"
    assert printable(f"a{character}b") == f"a{WRITTEN[character]}b"


def test_texts_of_many_scripts_stay_as_they_are() -> None:
    text = "Grüße, 日本\u3000語\u00a0! क्\u200dष 👩\u200d👩\u200d👧 ❤\ufe0f \U0001fae8\n\ttab"
    text += "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u06dd\u0661"
    assert readable(text) == text
    assert printable("Grüße, 日本語 👩") == "Grüße, 日本語 👩"


def test_names_show_whatever_content_shows() -> None:
    for number in (*range(0x3400), *range(0xA000, 0x12000), *range(0x1B000, 0x20000), *range(0xDFF00, 0xE1000)):
        character = chr(number)
        content, name = readable(character), printable(character)
        assert name in (character, character.encode("unicode_escape").decode())
        assert content in (character, name)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            assert (content != character) == (character not in "\t\n")


HOSTILE = "[red]x\u200ey\u2028z\u202e\U000e0041\u200d[/red]"
SHOWN = r"[red]x\u200ey\u2028z\u202e\U000e0041\u200d[/red]"


def test_every_name_of_a_message_is_shown_by_its_codes() -> None:
    one = message("tool", "text \u200e \u200d", name=HOSTILE, channel=HOSTILE, recipient=HOSTILE, content_type=HOSTILE)
    outcome = ParseResult([one], [], [], complete=True, next_role=None)
    written = io.StringIO()
    screen = Console(file=written, width=400, highlight=False)
    show(screen, Outcome(1, {"id": msgspec.Raw(json.dumps(HOSTILE, ensure_ascii=False).encode())}, outcome))
    show(screen, Outcome(2, {}, RecordError("code", f"sentence {HOSTILE}", None)))
    lines = written.getvalue().split("\n")
    assert lines[0].startswith(f"line 1 · {SHOWN} ─")
    assert lines[1] == f"tool {SHOWN} · {SHOWN} → {SHOWN} {SHOWN}"
    assert lines[2].rstrip() == "  text \\u200e \u200d"
    assert lines[5] == f"error code: sentence {SHOWN}"


def test_every_name_in_tables_is_shown_by_its_codes() -> None:
    from harmony.stats.counts import Channel

    none = Lengths(0, 0, None, None, None, None, None, [])
    some = Lengths(1, 1, 1.0, 1, 1, 1, 1, [])
    counts = {HOSTILE: 1}
    summary = Summary(
        conversations=1,
        complete=1,
        truncated=0,
        no_stop=0,
        cut_in_header=0,
        repaired=0,
        bad=0,
        channels=[Channel(HOSTILE, 1, counts, some)],
        other_content_tokens={HOSTILE: some},
        tool_calls=ToolCalls(1, counts, 0, 0),
        repairs=counts,
        errors=counts,
        conversation_tokens=none,
        conversation_messages=none,
    )
    written = io.StringIO()
    for table in tables(summary):
        Console(file=written, width=400).print(table)
    assert written.getvalue().count(SHOWN) == 7
    assert not set(written.getvalue()) & set(HIDDEN + JOINING)


NAME = "a\u200e\u2028\u202e\U000e0041\u200d\n\x1b[31m"
NAME_SHOWN = r"a\u200e\u2028\u202e\U000e0041\u200d\n\x1b[31m"


def unseen(text: str) -> set[str]:
    return set(text) & set(HIDDEN + JOINING)


@pytest.mark.parametrize(
    "arguments",
    [
        ("parse", f"{NAME}.jsonl"),
        ("parse", f"{NAME}.parquet", "--output", "x.jsonl"),
        ("stats", NAME),
        ("stats", "{log}", "--plot", NAME),
        ("render", f"{NAME}.jsonl"),
        ("render", f"{NAME}.parquet"),
        ("validate", NAME),
        ("validate", f"{NAME}.parquet"),
        ("validate", "--lint", "--select", NAME, "{log}"),
        ("tokens", "--ids", NAME.replace("[", "")),
        ("vocab", "export", f"{{log}}/{NAME}"),
    ],
    ids=lambda arguments: ascii(arguments[:2]),
)
def test_errors_show_names_by_their_codes(arguments: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"tokens":[]}\n')
    done = harmony(*(argument.replace("{log}", str(log)) for argument in arguments))
    said = done.stderr.decode()
    assert done.returncode == 2
    assert r"a\u200e" in said
    assert len(said.splitlines()) == 1
    assert unseen(said) == set()


def test_names_of_files_in_what_is_told_of_them(tmp_path: Path) -> None:
    text = "<|start|>user<|message|>a\u200e\u2028b<|end|>c\u200e\u2028\u200d"
    file = tmp_path / f"{NAME}.txt"
    file.write_text(text)
    done = harmony("validate", str(file))
    place, excerpt, _ = done.stdout.decode().splitlines()
    assert place.startswith(f"{tmp_path}/{NAME_SHOWN}.txt:1:")
    assert r"c\u200e\u2028\u200d" in excerpt
    assert unseen(done.stdout.decode()) == set()
    github = harmony("validate", "--format", "github", str(file)).stdout.decode()
    assert len(github.splitlines()) == 1
    assert unseen(github) <= {"\u200d"}  # a file is found by its own name

    log, output = tmp_path / "log.jsonl", tmp_path / f"{NAME}.jsonl"
    log.write_text(json.dumps({"text": "<|message|>Hi<|end|>"}))
    for _ in range(2):
        done = harmony("parse", str(log), "--output", str(output), "--resume")
        assert done.returncode == 0
    assert f"{NAME_SHOWN}.jsonl is already complete" in done.stderr.decode()
    assert unseen(done.stderr.decode()) == set()


def test_a_terminal_shows_codes(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    header = "<|channel|>final to=functions.\u200ef\u202e\U000e0041\ufe0f<|message|>"
    log.write_text(json.dumps({"id": NAME, "text": f"{header}a\u200eb \u2028 ❤\ufe0f<|end|>"}, ensure_ascii=False))
    lines, _, _ = on_a_terminal("parse", str(log), columns=200)
    assert any(line.startswith(r"assistant · final → functions.\u200ef\u202e\U000e0041\ufe0f") for line in lines)
    assert "a\\u200eb \\u2028 ❤\ufe0f" in lines
    assert unseen("".join(lines)) <= {"\ufe0f"}


def test_tokens_show_codes() -> None:
    shown = "".join(harmony("tokens", "a\u200e\u2028b\u200d").stdout.decode().split("\n"))
    assert r"\u200e" in shown
    assert r"\u2028" in shown
    assert unseen(shown) == set()


def test_the_place_of_the_vocabulary(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    done = harmony("vocab", "export", str(folder))
    assert done.returncode == 0
    assert f"/{NAME_SHOWN}/" in done.stdout.decode()
    info = harmony("vocab", "info", TIKTOKEN_ENCODINGS_BASE=str(folder)).stdout.decode()
    assert f"/{NAME_SHOWN}/" in info
    assert unseen(info) == set()
