"""What other threads, processes and signals do meanwhile: no crash, no deadlock, and no harm to what they leave alone.

Each program here runs in a process of its own, for a crash would take the test's process with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from harmony.format import vocabulary
from helpers.sizes import Scale

#: A deadlock ends the program by this signal, and the test with it.
_SECONDS: Final = 60

_BEFORE: Final = f"""
import os, signal, sys, threading
signal.alarm({_SECONDS})

import numpy, pyarrow
from harmony import HarmonyError, StreamableParser, batch, is_valid, load_harmony_encoding
from harmony.format import vocabulary

def child(work):
    "Does the work in a forked child, which a deadlock ends by a signal; its status."
    process = os.fork()
    if process == 0:
        signal.alarm({_SECONDS})
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitpid(process, 0)[1]
"""


def run(program: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    """Runs a program; it has to end by itself, and well."""
    # Python 3.12 and later warn of what is tried here: to fork a process that has several threads.
    ignored = "ignore:This process:DeprecationWarning"
    done = subprocess.run(
        [sys.executable, "-W", ignored, "-c", _BEFORE + program, *arguments],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=10 * _SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- inputs that change while they are read

_CHANGING: Final = """
from harmony.runtime.compiled import COMPILED

stream = [200005, 17196, 200008, *[64] * 60, 200002]
count, turns = (5000, int(sys.argv[1])) if COMPILED else (50, 40)
offsets = numpy.arange(count + 1) * len(stream)

def change(tokens):
    "Stops become text and text becomes stops, and now and then a marker or no id at all, until the end is set."
    ends = numpy.flatnonzero(tokens == 200002)
    while not ended.is_set():
        for _ in range(100):
            tokens[ends] = 5
            tokens[ends] = 200002
        for token in (0xFFFFFFFF, 200006, 200002):
            tokens[ends[0]] = token

ended = threading.Event()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_an_array_that_another_thread_changes(threads: int, scale: Scale) -> None:
    run(
        _CHANGING
        + f"""
tokens = numpy.array(stream * (count + 5), "u4")
still = tokens[count * len(stream):].copy()  # behind the conversations that change stand five that do not
bounds = numpy.arange(count + 6) * len(stream)
expected = batch.parse_batch(still, bounds[:6]).drop_columns(["conversation"]).to_pylist()
threading.Thread(target=change, args=(tokens[:count * len(stream)],), daemon=True).start()
for _ in range(turns):
    rows = batch.parse_batch(tokens, bounds, threads={threads})
    behind = rows.filter(pyarrow.compute.greater_equal(rows["conversation"], count)).drop_columns(["conversation"])
    assert behind.to_pylist() == expected
    is_valid(tokens)
    load_harmony_encoding("HarmonyGptOss").parse(tokens[:10 * len(stream)], "assistant", strict=False)
ended.set()
""",
        scale("100", "400"),
    )


def test_a_file_that_another_process_changes(tmp_path: Path, scale: Scale) -> None:
    run(
        _CHANGING
        + """
numpy.array(stream * count, "u4").tofile(sys.argv[2])
writer = os.fork()
if writer == 0:
    signal.alarm(120)  # a signal that ends the reader does not end it
    change(numpy.memmap(sys.argv[2], "u4", "r+"))
try:
    tokens = numpy.memmap(sys.argv[2], "u4", "r")
    for turn in range(turns):
        rows = batch.parse_batch(tokens, offsets, threads=1 + turn % 2)
        assert set(rows["conversation"].to_pylist()) == set(range(count))
finally:
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
""",
        scale("100", "400"),
        str(tmp_path / "tokens"),
    )


def test_offsets_that_another_thread_changes(scale: Scale) -> None:
    run(
        _CHANGING
        + """
tokens = numpy.array(stream * count, "u4")
right, offsets, listed = offsets, offsets.copy(), offsets.copy()
wrong = numpy.array([1 << 62, -(1 << 62)] * (count // 2), "i8")

def change():
    while not ended.is_set():
        for changed in (offsets, listed):
            changed[1:] = wrong
            changed[1:] = right[1:]

table = pyarrow.table({"tokens": pyarrow.LargeListArray.from_arrays(pyarrow.array(listed), tokens)})
threading.Thread(target=change, daemon=True).start()
outcomes = set()
for _ in range(turns):
    for parse in (
        lambda: batch.parse_batch(tokens, offsets),
        lambda: batch.parse_batch(tokens, pyarrow.array(offsets), threads=2),
        lambda: batch.parse_table(table),
    ):
        try:
            outcomes.add(len(set(parse()["conversation"].to_pylist())))
        except ValueError as error:
            assert "offsets" in str(error), error
ended.set()
assert outcomes <= {count}, outcomes
""",
        scale("100", "400"),
    )


def test_texts_that_another_thread_changes(scale: Scale) -> None:
    """A text may be cut, be no UTF-8, or lose its markers, while it is read. Its neighbours stay as they are."""
    run(
        """
from harmony.runtime.compiled import COMPILED

text = b"<|channel|>final<|message|>" + b"word " * 12 + b"<|return|>"
count, turns = (4000, int(sys.argv[1])) if COMPILED else (50, 40)
data = numpy.frombuffer(text * (count + 5), "u1").copy()
offsets = pyarrow.array(numpy.arange(count + 6) * len(text))
column = pyarrow.Array.from_buffers(
    pyarrow.large_string(), count + 5, [None, offsets.buffers()[1], pyarrow.py_buffer(data)]
)
table = pyarrow.table({"text": column})
changed = data[:count * len(text)].reshape(count, len(text))
kept = changed.copy()
ended = threading.Event()

def change():
    while not ended.is_set():
        for place, byte in ((30, 0xFF), (30, 0xE4), (-9, 0x61), (-10, 0xC3), (5, 0x3C), (27, 0x3C), (28, 0x7C)):
            changed[:, place] = byte
        changed[:] = kept

threading.Thread(target=change, daemon=True).start()
for turn in range(turns):
    rows = batch.parse_table(table, text="text", threads=1 + turn % 2)
    rows.validate(full=True)
    behind = rows.filter(pyarrow.compute.greater_equal(rows["conversation"], count))
    assert behind["content"].to_pylist() == ["word " * 12] * 5
    assert behind["error"].null_count == 5
ended.set()
""",
        scale("60", "400"),
    )


def test_a_parser_that_several_threads_use(scale: Scale) -> None:
    """One thread at a time may feed a parser. Where several do, errors may come of it, but no crash."""
    run(
        """
encoding = load_harmony_encoding("HarmonyGptOss")
parser = StreamableParser(encoding, "assistant", strict=False)
saved = StreamableParser(encoding, "assistant", strict=False).process_many([200005, 17196, 200008, 64]) or parser
state = parser.__reduce__()[2]
stream = [200005, 17196, 200008, 64, 65, 200007, 200006, 173781, 200008, 66, 5, 200012, 64, 200002]
sys.setswitchinterval(1e-6)

def use(work):
    for _ in range(int(sys.argv[1])):
        try:
            work()
        except Exception:
            pass

works = [
    lambda: parser.process_many(stream),
    lambda: [parser.process(token) for token in stream],
    lambda: parser.__init__(encoding, "assistant", strict=False),
    lambda: parser.__setstate__(state),
    lambda: (parser.tokens[:], parser.state_data, parser.messages[:], parser.current_content, parser.process_eos()),
]
threads = [threading.Thread(target=use, args=(work,)) for work in works]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
parser.__init__(encoding, "assistant")
assert [message.content[0].text for message in parser.process_many(stream[:6]) and parser.messages] == ["ab"]
""",
        scale("1000", "3000"),
    )


def test_threads_that_read_headers_for_the_first_time(scale: Scale) -> None:
    """Each thread has its own input, but all read the same vocabulary."""
    run(
        """
encoding = load_harmony_encoding("HarmonyGptOss")
ranks = vocabulary.load().byte_ranks
begin, failed = threading.Barrier(4), []

def use(thread):
    begin.wait()
    try:
        for turn in range(int(sys.argv[1])):
            name = f"functions.get_{thread}_{turn}"
            header = list(f"commentary to={name}".encode().translate(ranks))
            for stream in ([200005, *header, 200008, 64, 200012], [*header, 200008, 64]):
                [message] = encoding.parse(stream, "assistant", strict=False).messages
                assert (message.recipient, message.content[0].text) == (name, "a"), message
    except BaseException as error:
        failed.append(error)

threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failed:
    raise failed[0]
""",
        scale("500", "20000"),
    )


# --- forks and signals while something is loaded

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has neither fork nor named pipes")


@pytest.fixture
def slow_folder(tmp_path: Path) -> dict[str, str]:
    """A folder whose vocabulary is a pipe: loading waits until somebody writes to it."""
    (tmp_path / "slow").mkdir()
    os.mkfifo(tmp_path / "slow" / vocabulary.FILE_NAME)
    return {vocabulary.FOLDER_VARIABLE: str(tmp_path / "slow")}


_LOADING: Final = f"""
official = vocabulary.shipped().official_file()
pipe = os.path.join(os.environ[{vocabulary.FOLDER_VARIABLE!r}], vocabulary.FILE_NAME)

def begin(load):
    "A thread that loads, and has come to the file, which is not there yet."
    thread = threading.Thread(target=load)
    thread.start()
    writer = open(pipe, "wb")  # waits for the thread to open it
    return thread, writer

def end(thread, writer):
    with writer:
        writer.write(official)
    thread.join()
"""
_WORKS: Final = {
    "the encoding": 'load_harmony_encoding("HarmonyGptOss")',
    "a batch": "assert len(batch.parse_batch([200005, 17196, 200008, 64, 200007], [0, 5])) == 1",
    "a text": 'assert load_harmony_encoding("HarmonyGptOss").encode("a") == [64]',
    "a parser": "vocabulary.load(); StreamableParser.__new__(StreamableParser)",
}


@posix
@pytest.mark.parametrize("work", _WORKS.values(), ids=_WORKS.keys())
def test_a_fork_while_another_thread_loads(work: str, slow_folder: dict[str, str]) -> None:
    run(
        _LOADING
        + f"""
def work():
    os.environ.pop({vocabulary.FOLDER_VARIABLE!r}, None)
    {work}

def load():
    {work}

thread, writer = begin(load)
assert child(work) == 0
end(thread, writer)
assert child(work) == 0
""",
        environment=slow_folder,
    )


@posix
@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="without the GIL, a fork waits in CPython 3.14 for a thread that stands in its profile function",
)
def test_forks_at_many_moments_of_a_first_batch(scale: Scale) -> None:
    """The thread that loads stops at each tenth or thirtieth call of a function, and the process is forked."""
    run(
        """
from harmony.runtime.locks import forks_wait

step = int(sys.argv[1])
calls, stopped, goes_on, ended = 0, threading.Semaphore(0), threading.Semaphore(0), threading.Event()

def stop(frame, event, argument):
    global calls
    calls += event == "call"
    if event == "call" and calls % step == 0 and not forks_wait._is_owned():  # else the fork would wait for this thread
        stopped.release()
        goes_on.acquire()

def work():
    found = batch.parse_batch([200005, 17196, 200008, 64, 200007, 64], [0, 6])
    assert found["content"].to_pylist() == ["a", "a"]

def load():
    sys.setprofile(stop)
    work()
    sys.setprofile(None)
    ended.set()
    stopped.release()

thread = threading.Thread(target=load)
thread.start()
forks = 0
while stopped.acquire() and not ended.is_set():
    assert child(work) == 0
    forks += 1
    goes_on.release()
thread.join()
assert forks > 5, forks
""",
        scale("30", "10"),
    )


@posix
def test_a_fork_while_another_thread_builds_the_encoder(scale: Scale) -> None:
    run(
        """
encoding = load_harmony_encoding("HarmonyGptOss")
import tiktoken  # what Python itself locks while it imports is not meant here

for _ in range(int(sys.argv[1])):
    loaded = vocabulary.read()
    thread = threading.Thread(target=lambda: loaded.encoder)
    thread.start()
    frame = None
    while thread.is_alive() and (frame is None or frame.f_code.co_name != "_new_encoder"):
        frame = sys._current_frames().get(thread.ident)
    assert child(lambda: loaded.encoder.encode("a")) == 0
    thread.join()
""",
        scale("1", "5"),
    )


@posix
@pytest.mark.parametrize("work", list(_WORKS.values())[:2], ids=list(_WORKS)[:2])
def test_a_signal_whose_handler_loads_what_is_being_loaded(work: str, slow_folder: dict[str, str]) -> None:
    run(
        _LOADING
        + f"""
def handle(*_):
    os.environ.pop({vocabulary.FOLDER_VARIABLE!r}, None)
    {work}
    found.append(vocabulary.load())
    handled.set()

found, handled = [], threading.Event()
signal.signal(signal.SIGUSR1, handle)

def interrupt():
    with open(pipe, "wb") as writer:  # which waits for the main thread to open it
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        handled.wait()
        writer.write(official)

threading.Thread(target=interrupt).start()
{work}
assert found == [vocabulary.load()]
""",
        environment=slow_folder,
    )
