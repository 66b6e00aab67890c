"""The packed vocabulary: that it is the official one, and what happens where a file is not."""

from __future__ import annotations

import gzip
import hashlib
import runpy
import sys
import tracemalloc
from pathlib import Path

import pytest

import harmony
from harmony.format import vocabulary
from harmony.format.vocabulary import FIRST_SPECIAL, LAST_TOKEN
from helpers.paths import ROOT

OFFICIAL = vocabulary.load().official_file()


def test_the_packed_file_is_the_official_one() -> None:
    assert hashlib.sha256(OFFICIAL).hexdigest() == vocabulary.FILE_SHA256
    assert len(OFFICIAL) == vocabulary.FILE_SIZE


def test_the_script_packs_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(harmony.__file__).parent / "format" / "data"
    script = tmp_path / "pack.py"
    script.write_bytes((ROOT / "harmony" / "format" / "data" / "pack.py").read_bytes())
    source = tmp_path / "o200k_base.tiktoken.gz"
    source.write_bytes(gzip.compress(OFFICIAL, 1))
    monkeypatch.setattr(sys, "argv", ["pack.py", str(source)])
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / vocabulary.PACKED_NAME).read_bytes() == (shipped / vocabulary.PACKED_NAME).read_bytes()


def test_every_special_token_is_found_in_text_and_nothing_else_is() -> None:
    assert len(vocabulary.SPECIAL_TOKENS) == LAST_TOKEN + 1 - FIRST_SPECIAL
    for token, text in vocabulary.SPECIAL_TEXTS.items():
        assert list(vocabulary.special_tokens_in(f"<|{text}a{text}")) == [
            (2, 2 + len(text), token),
            (3 + len(text), 3 + 2 * len(text), token),
        ]
    for text in (
        "<|reserved_200002|>",
        "<|reserved_0200000|>",
        "<|reserved_201089|>",
        "<|Start|>",
        "<|start |>",
        "<||>",
    ):
        assert list(vocabulary.special_tokens_in(text)) == []


def test_token_bytes_of_every_rank_are_those_that_tiktoken_decodes() -> None:
    loaded = vocabulary.load()
    for rank in range(FIRST_SPECIAL):
        assert loaded.token_bytes(rank) == loaded.encoder.decode_single_token_bytes(rank)
    assert bytes(loaded.data[-16:]) == bytes(16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (OFFICIAL[:-1], "it has 3,613,921 bytes, not 3,613,922"),
        (b"", "it has 0 bytes"),
        (OFFICIAL + b"\n", "it has more bytes, not 3,613,922"),
        (OFFICIAL[:-2] + b"5\n", "its SHA-256 is"),
    ],
)
def test_a_folder_with_a_wrong_file(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / vocabulary.FILE_NAME).write_bytes(content)
    monkeypatch.setenv(vocabulary.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(harmony.HarmonyError) as caught:
        vocabulary.read()
    assert caught.value.code == "bad-vocabulary"
    for part in (
        str(tmp_path / vocabulary.FILE_NAME),
        reason,
        "TIKTOKEN_ENCODINGS_BASE" if content is None else "export",
    ):
        assert part in str(caught.value)


def test_a_folder_with_the_official_file(official_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vocabulary.FOLDER_VARIABLE, official_folder)
    tracemalloc.start()
    loaded = vocabulary.read()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert loaded.data == vocabulary.load().data
    assert loaded.offsets == vocabulary.load().offsets
    assert most < 3 * vocabulary.FILE_SIZE  # the official file is hashed, and not unpacked: that takes 44 MB


def test_a_truncated_packed_file() -> None:
    with pytest.raises(harmony.HarmonyError, match="install harmony-codec again"):
        vocabulary.Vocabulary(b"\0" * 100)


@pytest.mark.parametrize("place", [0, 4, 3, 400_000, 799_995, 800_000, 1_500_000, 2_197_665, 2_197_681])
def test_a_packed_file_with_a_bit_that_flipped(place: int) -> None:
    packed = bytearray((Path(harmony.__file__).parent / "format" / "data" / vocabulary.PACKED_NAME).read_bytes())
    packed[place] ^= 0x10
    with pytest.raises(harmony.HarmonyError, match=r"its CRC-32 is [0-9a-f]{8}, not 8e0f5a1a; install harmony-codec"):
        vocabulary.Vocabulary(bytes(packed))


@pytest.mark.parametrize("start", [0, 4096, 400_000, 1_000_000])
def test_a_packed_file_with_a_page_of_zeros(start: int) -> None:
    packed = bytearray((Path(harmony.__file__).parent / "format" / "data" / vocabulary.PACKED_NAME).read_bytes())
    packed[start : start + 4096] = bytes(4096)
    with pytest.raises(harmony.HarmonyError, match="its CRC-32 is") as caught:
        vocabulary.Vocabulary(bytes(packed))
    assert caught.value.code == "bad-vocabulary"
