"""Files of records read in pieces: how they are cut, where reading goes on, and what comes before a fault."""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from harmony.logs import inputs
from harmony.logs.formats import format_of, suffixes
from harmony.logs.inputs import BLOCK, Reader, Unreadable, expand
from harmony.logs.places import Place, stamp_of
from helpers.files import SUFFIXES, changed, joined, read, stored
from helpers.paths import SAMPLE
from helpers.sizes import examples

LOG = SAMPLE.read_bytes()
# Some megabytes of tokens, which take several blocks of zstd.
LARGE = b"".join(
    b'{"id":%d,"tokens":%s}\n' % (number, str([number * step % 200_000 for step in range(1, 300)]).encode())
    for number in range(1_000)
)
NOISE = random.Random("noise").randbytes(600_000)  # which is stored as it is
LONG = b'{}\n{"text":"%s"}\n' % NOISE.hex().encode() * 2  # lines that are longer than a block
SMALL_BLOCK = 48


def cut(text: bytes, block: int) -> Iterator[bytes]:
    """What pieces are to be, said in another way: line after line, as long as they fit."""
    held = b""
    for line in io.BytesIO(text):
        if held and len(held) + len(line) > block:
            yield held
            held = b""
        held += line
    if held:
        yield held


LINES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"{}", b'{"id":7}', b""]),
        st.integers(SMALL_BLOCK - 3, SMALL_BLOCK * 3).map(lambda size: b"x" * size),
    ),
    max_size=24,
)


@examples(60)
@example(texts=[b"{}\n" + b"x" * (SMALL_BLOCK - 3)], suffix=".jsonl", parts=1)  # no end, and no room for one
@given(
    texts=st.lists(st.tuples(LINES, st.booleans()).map(lambda made: b"\n".join(made[0]) + b"\n" * made[1]), max_size=3),
    suffix=st.sampled_from(SUFFIXES),
    parts=st.integers(1, 4),
)
def test_cutting_depends_on_the_offset_alone(texts: list[bytes], suffix: str, parts: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(inputs, "BLOCK", SMALL_BLOCK)
        names = []
        for number, text in enumerate(texts):
            names.append(f"{folder}/{number}{suffix}")
            Path(names[-1]).write_bytes(stored(text, suffix, parts))
        whole = list(Reader(names))
        assert [piece.data for piece in whole] == [piece for text in texts for piece in cut(text, SMALL_BLOCK)]
        for index, text in enumerate(texts):
            number = 1
            for piece in (piece for piece in whole if piece.after.file == index):
                assert piece.first == number
                number += len(list(io.BytesIO(piece.data)))
                assert piece.after.number == number
                assert piece.after.digest == xxh3_64_intdigest(text[: piece.after.offset])
        for done, piece in enumerate(whole, 1):
            assert list(Reader(names, piece.after)) == whole[done:]
        eager = list(Reader(names, full=False))
        assert joined(eager) == b"".join(texts)
        assert all(piece.data.endswith(b"\n") for piece in eager if piece.after.offset < len(texts[piece.after.file]))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_log_in_pieces_of_a_megabyte(tmp_path: Path, suffix: str) -> None:
    text = LARGE * 2
    names = [str(tmp_path / f"{index}{suffix}") for index in range(2)]
    for name in names:
        Path(name).write_bytes(stored(text, suffix, 3))
    reader = Reader(names)
    sizes = sum(Path(name).stat().st_size for name in names)
    assert (reader.taken, reader.size) == (0, sizes)
    taken, pieces = [], []
    for piece in reader:
        taken.append(reader.taken)
        pieces.append(piece)
    assert joined(pieces) == text * 2
    assert all(BLOCK // 2 < len(piece.data) <= BLOCK for piece, after in pairwise(pieces) if after.first != 1)
    assert taken == sorted(taken)
    assert reader.taken == sizes
    again = Reader(names, pieces[-2].after)
    assert list(again) == pieces[-1:]
    assert again.taken == sizes
    assert Reader(names, Place(1)).taken == sizes // 2


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("full", [True, False])
def test_a_line_of_any_length_is_one_piece(tmp_path: Path, suffix: str, full: bool) -> None:
    file = tmp_path / f"log{suffix}"
    line = b'{"text":"%s"}\n' % (b"so " * 10_000_000)
    file.write_bytes(stored(LOG + line + LOG + line[:-1], suffix))
    pieces = list(Reader([str(file)], full=full))
    first = LOG.count(b"\n") + 1
    assert [piece.first for piece in pieces if len(piece.data) > BLOCK] == [first, 2 * first]
    assert joined(pieces) == LOG + line + LOG + line[:-1]


def test_the_last_line_may_lack_its_end_and_then_nothing_may_follow(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(b'{"id":1}\n{"id":2}')
    (piece,) = Reader([str(file)])
    assert piece.after == Place(0, 17, 3, xxh3_64_intdigest(b'{"id":1}\n{"id":2}'), stamp_of(str(file)))
    assert list(Reader([str(file)], piece.after)) == []
    file.write_bytes(b'{"id":1}\n{"id":2}3')
    assert changed([file], piece.after) == f"{file}: expected its end at byte 17, found more"


def test_a_place_is_written_as_json_and_read_again() -> None:
    place = Place(1, 9, 3, (1 << 64) - 1, (1 << 40, 1_700_000_000_123_456_789))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(place)), Place) == place


def lines_before(data: bytes, suffix: str) -> bytes:
    """The whole lines that the libraries decompress of data cut off, read by other ways than ours."""
    found = b""
    if suffix == ".jsonl.zst":
        found = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    while suffix == ".jsonl.gz" and data:
        inflater = zlib.decompressobj(wbits=31)
        found += inflater.decompress(data)
        data = inflater.unused_data
    return found[: found.rfind(b"\n") + 1]


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize("text", [LARGE, NOISE, LONG], ids=["tokens", "noise", "long"])
def test_what_comes_before_the_end_of_a_file_cut_off(tmp_path: Path, suffix: str, parts: int, text: bytes) -> None:
    data = stored(text, suffix, parts)
    file = tmp_path / f"log{suffix}"
    for size in [*(len(data) * quarter // 4 for quarter in (1, 2, 3)), 1, 3, 7, 15, len(data) - 1, len(data) - 9]:
        file.write_bytes(data[:size])
        pieces, said = read(Reader([str(file)]))
        good = lines_before(data[:size], suffix)
        assert joined(pieces) == good
        count = len(list(io.BytesIO(good)))
        after = f" after {count:,} line{'s'[: count != 1]}" if good else ""
        assert said.startswith(f"{file} cannot be read{after}: expected ")
        if size > 4:
            assert said.endswith("found the end of the file")


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
@pytest.mark.parametrize("parts", [1, 5])
def test_what_comes_before_a_fault_in_compressed_data(tmp_path: Path, suffix: str, parts: int) -> None:
    data = stored(LARGE, suffix, parts)
    file = tmp_path / f"log{suffix}"
    for at in [*(len(data) * quarter // 4 for quarter in (1, 2, 3)), len(data) - 2]:
        file.write_bytes(data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 64]) + data[at + 64 :])
        pieces, said = read(Reader([str(file)]))
        found, good = joined(pieces), lines_before(data[:at], suffix)
        assert found.startswith(good)
        if at == len(data) - 2:  # nothing but the checksum is wrong
            assert found == LARGE
        assert f" cannot be read after {len(found.splitlines()):,} lines: expected " in said
        places = [piece.after for piece in pieces]
        assert read(Reader([str(file)], places[-1])) == ([], said)


def test_the_line_that_ends_in_the_byte_of_a_fault_is_given(tmp_path: Path) -> None:
    file = tmp_path / "log.gz"
    deflated = bytes.fromhex("1587b10900000c8376aff1bf90df9b8a084656d25096801db07f0f")  # one bit of it was changed
    file.write_bytes(gzip.compress(b"")[:10] + deflated + bytes(8))
    pieces, said = read(Reader([str(file)]))
    assert joined(pieces) == b"{0\n"
    assert "after 1 line: expected gzip data, found a fault: Error -3 while decompressing data: invalid " in said


def test_a_file_cut_off_while_more_is_inflated_than_a_step_gives(tmp_path: Path) -> None:
    text = b"{}\n" * 100_000
    data = stored(text, ".jsonl.gz")
    file = tmp_path / "log.gz"
    for size in range(18, len(data)):
        file.write_bytes(data[:size])
        pieces, said = read(Reader([str(file)]))
        assert joined(pieces) == lines_before(data[:size], ".jsonl.gz")
        assert said.endswith("found the end of the file")


def test_what_else_is_legal_in_compressed_files(tmp_path: Path) -> None:
    skipped = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"aside"
    streamed = zstandard.ZstdCompressor().compressobj()  # its frame does not say how much it holds
    frame = streamed.compress(LOG) + streamed.flush()
    same = b"a" * 400_000 + b"\n"  # blocks of one byte, repeated
    legal: list[tuple[str, bytes, bytes]] = [
        ("empty.gz", b"", b""),
        ("empty.zst", b"", b""),
        ("none.gz", gzip.compress(b""), b""),
        ("none.zst", zstandard.compress(b""), b""),
        ("padded.gz", gzip.compress(LOG) + bytes(100_000) + gzip.compress(LOG) + b"\0", LOG * 2),
        ("named.gz", b"\x1f\x8b\x08\x08" + bytes(6) + b"log.jsonl\0" + gzip.compress(LOG)[10:], LOG),
        ("skipped.zst", skipped + frame + skipped + frame + skipped, LOG * 2),
        ("noise.zst", zstandard.compress(NOISE), NOISE),
        ("same.zst", zstandard.compress(same), same),
        ("UPPER.JSONL.GZ", gzip.compress(LOG), LOG),
        ("plain.txt", LOG, LOG),
    ]
    for name, data, text in legal:
        file = tmp_path / name
        file.write_bytes(data)
        assert joined(list(Reader([str(file)]))) == text, name


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (
            "log.gz",
            b"no" + gzip.compress(LOG)[2:],
            "expected gzip data, found a fault: Error -3 while decompressing data: incorrect header check",
        ),
        ("log.gz", gzip.compress(b"{}\n", mtime=0) + b"{}", "after 1 line: expected gzip data, found a fault"),
        ("log.zst", b"no zstd", "expected a zstd frame, found the bytes 6e 6f 20 7a"),
        (
            "log.zst",
            zstandard.compress(b"{}\n{}") + b"{}",
            "after 1 line: expected a zstd frame, found the bytes 7b 7d",
        ),
        (
            "log.zst",
            b"\x5a\x2a\x4d\x18\xff\xff\xff\xff",
            "expected the rest of a zstd frame, found the end of the file",
        ),
        ("log.parquet", b"PAR1" + LOG, "Parquet magic bytes not found in footer"),
        ("log.parquet", b"no table", "Parquet magic bytes not found in footer"),
        ("log.arrow", b"no table", ""),
        ("log.arrow", b"ARROW1\0\0", ""),
    ],
)
def test_files_that_are_not_what_their_suffix_says(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    pieces, said = read(Reader([str(file)]))
    assert joined(pieces) == b"{}\n" * ("1 line" in reason)
    assert said.startswith(f"{file} cannot be read")
    assert reason in said
    assert "\n" not in said


def test_folders_give_the_logs_in_them(tmp_path: Path) -> None:
    logs = ["a.jsonl", "b.JSONL.GZ", "day/c.jsonl.zst", "day/more/d.parquet", "g.json", "n.ndjson.gz", "z.arrow"]
    others = [
        ".hidden.jsonl",
        ".git/e.jsonl",
        ".z.arrow.harmony",
        "day/array.json",
        "f.jsonl.partial",
        "h.jsonl.partial.state",
        "k.gz",
        "day/notes.txt",
    ]
    for name in logs + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'[\n{"id":1}]' if name == "day/array.json" else b"")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    skipped: list[str] = []
    expand([str(tmp_path)], skipped)
    assert skipped == [
        *(".git/", ".hidden.jsonl", "day/array.json", "day/notes.txt", "f.jsonl.partial", "h.jsonl.partial.state"),
        *("k.gz", "pipe.jsonl"),
    ]
    found = expand([str(tmp_path), "-", str(tmp_path / "day"), str(tmp_path / "g.json")])
    assert found == [
        *((str(tmp_path / name), name) for name in logs),
        ("-", "-"),
        *((str(tmp_path / "day" / name), name) for name in ("c.jsonl.zst", "more/d.parquet")),
        (str(tmp_path / "g.json"), "g.json"),
    ]
    assert expand([]) == []


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.jsonl").symlink_to("nothing")
    missing = "cannot be read: No such file or directory"
    for name, said in [
        ("none.jsonl", missing),
        ("linked", missing),
        ("empty", f"expected a file named {suffixes()}, found none"),
    ]:
        with pytest.raises(Unreadable, match=said):
            expand([str(tmp_path / name)])
    with pytest.raises(Unreadable, match=missing):
        Reader([str(tmp_path / "none.jsonl")])
    _, said = read(Reader([str(tmp_path)]))
    assert said == f"{tmp_path} cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.jsonl", tmp_path / "folder"
    file.touch(0o000)
    folder.mkdir(0o000)
    for name in (file, folder, tmp_path):
        with pytest.raises(Unreadable, match="cannot be read: Permission denied"):
            expand([str(name)])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("-", "lines"),
        ("log", "lines"),
        ("log.jsonl", "lines"),
        ("log.gz.txt", "lines"),
        ("a.b/log.JSONL.Gz", "gzip"),
        ("log.zst", "zstd"),
        ("log.Parquet", "parquet"),
        ("log.arrow", "arrow"),
    ],
)
def test_the_suffix_says_the_format(name: str, found: str) -> None:
    assert format_of(name).name == found


@pytest.mark.parametrize(("suffix", "library"), [("zst", "zstandard"), ("parquet", "pyarrow"), ("arrow", "pyarrow")])
def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str, library: str) -> None:
    for module in ("zstandard", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    file = tmp_path / f"log.jsonl.{suffix}"
    file.touch()
    told = rf"^files of \w+ need {library}: pip install {library}, or the extra `cli` of harmony-codec$"
    with pytest.raises(ImportError, match=told):
        Reader([str(file)])
    assert expand([str(tmp_path)]) == [(str(file), file.name)]


def child(code: str, **options: Any) -> subprocess.Popen[bytes]:
    """A process that runs some code, with pipes for its input and output."""
    begin = "import sys\nfrom harmony.logs.inputs import *\n"
    return subprocess.Popen([sys.executable, "-c", begin + code], **{"stdin": -1, "stdout": -1, **options})


def test_no_library_is_imported_before_it_is_needed() -> None:
    process = child("print([name for name in ('pyarrow', 'zstandard') if name in sys.modules], list(Reader(['-'])))")
    assert process.communicate(b"")[0] == b"[] []\n"


ECHO = """
for piece in Reader(["-"], full=False):
    print(piece.first, piece.data.decode(), end="", flush=True)
"""


def test_standard_input_is_answered_before_more_comes() -> None:
    process = child(ECHO)
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(1, 7, 2):
        process.stdin.write(b'{"id":%d}\n{"id' % number)
        process.stdin.flush()
        assert process.stdout.readline() == b'%d {"id":%d}\n' % (number, number)
        process.stdin.write(b'":"other"}\n')
        process.stdin.flush()
        assert process.stdout.readline() == b'%d {"id":"other"}\n' % (number + 1)
    assert process.communicate(b'{"id":7}')[0] == b'7 {"id":7}'


def test_standard_input_is_gone_on_with() -> None:
    code = f"""
reader = Reader(["-"], Place(0, {len(LOG)}, 9, {xxh3_64_intdigest(LOG)}))
sys.stdout.buffer.writelines(piece.data for piece in reader)
print(reader.size, reader.taken)
"""
    process = child(code)
    assert process.communicate(LOG + b"{}\n")[0] == b"{}\nNone %d\n" % (len(LOG) + 3)


def test_input_that_does_not_wait_is_not_taken_for_its_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b'{"id":1}\n{"id"')
    process = child(ECHO, stdin=reading, stderr=subprocess.PIPE)
    given, said = process.communicate()
    os.close(reading)
    os.close(writing)
    assert given == b'1 {"id":1}\n'
    assert said.endswith(b"standard input cannot be read after 1 line: Resource temporarily unavailable\n")
