# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The builder of columns, compiled. The docstrings of its twin `build_py.py` say what it builds.

It makes one pass over the tokens, without the GIL and without a Python object for each token or message. It follows the
strict table of `machine.py`. `header.py` reads each different header once. If a conversation has something illegal or a
very long header, the engine reads that message with the GIL (`odd.pyx`). Texts are read by `texts.pyx`.

The tokens belong to the caller, and another thread or process may change them at any time. So `read_once` reads each
token once, and only that copy is checked, used as an index and remembered. Tokens of 64 bits are copied first. Offsets
and roles belong to this module.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from harmony.columns.entries cimport add_text
from harmony.columns.headers cimport AT_END, Headers, Known, find
from harmony.columns.memory cimport END, FIELDS, OFFSETS, Rows, give_rows, take_rows
from harmony.columns.odd cimport OddReader
from harmony.columns.texts cimport TextReader
from harmony.runtime.memory cimport read_once, resize

from array import array
from bisect import bisect_left
from _thread import start_new_thread
from threading import Lock

from harmony.format import machine, vocabulary
from harmony.errors import HarmonyError
from harmony.columns.entries import load_entries
from harmony.columns.rows import (
    ELSEWHERE as _ELSEWHERE,
    END_CODES,
    GIVEN,
    IN_TEXTS as _IN_TEXTS,
    UNLESS_START as _UNLESS_START,
    Values,
    given_role,
    integers,
    parse_source,
)
from harmony.format.header import REMEMBERED_LENGTH

cdef uint32_t FIRST_SPECIAL = vocabulary.FIRST_SPECIAL
cdef uint32_t LAST_TOKEN = vocabulary.LAST_TOKEN
cdef int TEXT = machine.Kind.TEXT
cdef int INVALID = machine.Kind.INVALID
cdef int END_OF_INPUT = machine.Kind.END_OF_INPUT
cdef int KIND_COUNT = len(machine.Kind)
cdef int EXPECT_START = machine.State.EXPECT_START
cdef int HEADER = machine.State.HEADER
cdef int CONTENT = machine.State.CONTENT
cdef int ILLEGAL = machine.ILLEGAL
cdef const uint8_t[::1] KINDS = machine.KINDS
cdef const uint8_t[::1] MOVES = machine.MOVES[True]

cdef enum:
    PART = 1 << 16  # tokens that a thread reads at a time: their rows fit into the processor's cache
    BYTES_A_TOKEN = 4  # of text, to compare the lengths of tokens and texts
    WINDOW = 1 << 14  # tokens of 64 bits that are copied at a time
    BLOCK = 256  # and those of them that are checked at a time

cdef int ELSEWHERE = _ELSEWHERE
cdef int IN_TEXTS = _IN_TEXTS
cdef int UNLESS_START = _UNLESS_START
cdef int GIVEN_NONE = GIVEN.index(None)
cdef uint32_t START = vocabulary.START
cdef Py_ssize_t LONGEST_HEADER = REMEMBERED_LENGTH
cdef const int32_t[::1] ENDS = array("i", [END_CODES.get(token, -1) for token in vocabulary.SPECIAL_TEXTS])


cdef inline int kind_of(uint32_t token) noexcept nogil:
    if token < FIRST_SPECIAL:
        return TEXT
    return KINDS[token - FIRST_SPECIAL] if token <= LAST_TOKEN else INVALID


@cython.final
cdef class Builder:
    """Builds the rows of conversations, and remembers the headers that it has read."""
    cdef object values, elsewhere
    cdef tuple kept  # the owners of the memory that is read, which may have to live longer than the call of `build`
    cdef str format  # of the tokens, as in `struct`
    cdef const uint8_t *tokens  # these three belong to the caller of `build`
    cdef Py_ssize_t width  # bytes of a token
    cdef const int64_t *offsets
    cdef const uint8_t *roles
    cdef bint strict, stripped, bare
    cdef Rows rows
    cdef Headers headers
    cdef TextReader texts  # None if there are no texts
    cdef OddReader odd  # None until it is needed
    cdef uint32_t *open  # the tokens of the current header, up to and with its `<|message|>`
    cdef uint32_t *narrow  # a copy of tokens that have 64 bits
    cdef Py_ssize_t narrow_begin, narrow_stop, narrow_capacity  # which tokens are copied, and how many can be
    cdef Py_ssize_t stop  # of the tokens that are to be read
    cdef Py_ssize_t odd_place  # where the message begins that the engine must read
    cdef int odd_number  # of that message

    def __cinit__(self, tokens, const int64_t[::1] offsets, const uint8_t[::1] roles, values, elsewhere, texts,
                  bint strict, bint stripped, bint bare, shared):
        cdef const uint8_t[::1] data = tokens.cast("B")
        self.kept = data, offsets, roles, texts
        self.format, self.width = tokens.format, tokens.itemsize
        self.tokens, self.offsets, self.roles = &data[0], &offsets[0], &roles[0]
        self.values, self.elsewhere = values, elsewhere
        self.strict, self.stripped, self.bare = strict, stripped, bare
        self.headers, self.narrow_stop = Headers(values, shared), -1
        if texts is not None:
            self.texts = TextReader(texts, texts.data, texts.offsets, self.headers)
        resize(<void **>&self.open, (LONGEST_HEADER + 1) * sizeof(uint32_t))

    def __dealloc__(self):
        PyMem_RawFree(self.open)
        PyMem_RawFree(self.narrow)

    cdef int run(self, Py_ssize_t first, Py_ssize_t stop) except -1:
        """Reads the conversations from `first` to `stop`."""
        cdef Py_ssize_t index, row, content_size
        cdef Py_ssize_t size = 0 if self.texts is None else self.texts.offsets[stop] - self.texts.offsets[first]
        cdef Rows rows = take_rows(first, stop - first, self.offsets[stop] - self.offsets[first], size)
        self.rows = rows
        self.stop = self.offsets[stop]
        with nogil:
            for index in range(first, stop):
                row, content_size = rows.row_count, rows.content_size
                if not self.read(index):
                    rows.row_count, rows.content_size = row, content_size
                    with gil:
                        self.read_source(index)
                if self.bare and rows.row_count == row:
                    rows.add(index, -1, NULL, -1, -1)
                rows.starts[index - first + 1] = rows.row_count
        return 0

    cdef bint read(self, Py_ssize_t index) except -1 nogil:
        """Reads one conversation. Returns False if it must be read to messages instead."""
        cdef int given = self.roles[index]
        cdef const uint32_t *tokens
        cdef Py_ssize_t count
        if given & ELSEWHERE or self.stripped:
            return False
        if given & IN_TEXTS:
            self.texts.take(index)
            return self.texts.read(self.rows, index, given ^ IN_TEXTS)
        tokens = self.narrowed(index)
        if tokens is NULL:
            return False
        count = self.offsets[index + 1] - self.offsets[index]
        if given & UNLESS_START:
            given = GIVEN_NONE if count > 0 and read_once(tokens) == START else given ^ UNLESS_START
        if self.read_messages(index, tokens, 0, count, given, 0):
            return True
        with gil:
            return self.read_odd(index, tokens, count, given)

    cdef bint read_messages(
        self, Py_ssize_t index, const uint32_t *tokens, Py_ssize_t place, Py_ssize_t stop, int given, int number
    ) except -1 nogil:
        """Reads messages from `place` on, of which the first has this number.

        Returns False before a message that the engine must read. `odd_place` and `odd_number` are then set.
        """
        cdef Py_ssize_t begin, length, content_size
        cdef int state = EXPECT_START if given == GIVEN_NONE else HEADER
        cdef uint8_t move
        cdef uint64_t key
        cdef Known *header
        cdef uint32_t token = 0
        while True:
            self.odd_place, self.odd_number = place, number
            length = 0
            key = given
            while state != CONTENT:
                if place < stop:
                    token = read_once(&tokens[place])
                    move = MOVES[state * KIND_COUNT + kind_of(token)]
                else:
                    move = MOVES[state * KIND_COUNT + END_OF_INPUT]
                if move == ILLEGAL:
                    return False
                if place == stop:
                    self.rows.complete[index - self.rows.first] = state == EXPECT_START
                    return state == EXPECT_START or self.header(length, given | AT_END, key).legal
                if state != EXPECT_START:
                    key = (key ^ token) * <uint64_t>0x9E3779B97F4A7C15
                    if length <= LONGEST_HEADER:
                        self.open[length] = token
                    length += 1
                place += 1
                state = move & 15
            header = self.header(length - 1, given, key)
            if not header.legal:
                return False
            begin = place
            content_size = self.rows.content_size
            place = add_text(self.rows, tokens, place, stop, &token)
            move = 0 if place == stop else MOVES[CONTENT * KIND_COUNT + kind_of(token)]
            if move == ILLEGAL:
                self.rows.content_size = content_size
                return False
            self.rows.add(index, number, header.codes, <int32_t>(place - begin), -1)
            number += 1
            if place == stop:
                self.rows.complete[index - self.rows.first] = 0
                return True
            (<int32_t *>self.rows.columns[END])[self.rows.row_count - 1] = ENDS[token - FIRST_SPECIAL]
            place += 1
            state = move & 15
            given = GIVEN_NONE

    cdef const uint32_t *narrowed(self, Py_ssize_t index) except? NULL nogil:
        """The tokens of a conversation as uint32. NULL if one of them has more bits, for the engine must read it.

        Tokens of 64 bits are copied for many conversations at a time, because memory is faster in long runs.
        """
        cdef Py_ssize_t begin = self.offsets[index], stop = self.offsets[index + 1]
        if self.width == sizeof(uint32_t):
            return <const uint32_t *>self.tokens + begin
        if not self.narrow_begin <= begin <= stop <= self.narrow_stop:
            if not self.narrow_down(begin, min(max(stop, begin + WINDOW), self.stop)):
                return self.narrow if self.narrow_down(begin, stop) else NULL
        return self.narrow + (begin - self.narrow_begin)

    cdef bint narrow_down(self, Py_ssize_t begin, Py_ssize_t stop) except -1 nogil:
        """Copies tokens of 64 bits as uint32. Returns False if one of them has more bits."""
        cdef uint64_t block[BLOCK]
        cdef uint64_t any_bits = 0
        cdef Py_ssize_t place, count
        cdef uint32_t *out
        if stop - begin >= self.narrow_capacity:
            self.narrow_capacity = stop - begin + 1
            resize(<void **>&self.narrow, self.narrow_capacity * sizeof(uint32_t))
        out = self.narrow
        self.narrow_begin, self.narrow_stop = begin, stop
        while begin < stop:
            count = min(<Py_ssize_t>BLOCK, stop - begin)
            memcpy(block, self.tokens + begin * sizeof(uint64_t), count * sizeof(uint64_t))
            for place in range(count):
                any_bits |= block[place]
                out[place] = <uint32_t>block[place]
            out += count
            begin += count
        if any_bits >> 32:
            self.narrow_stop = -1
            return False
        return True

    cdef Known *header(self, Py_ssize_t length, int given, uint64_t key) except NULL nogil:
        """The entry for the header whose `length` tokens are in `open`; it is made if it is new."""
        cdef Known *known
        key = (key ^ given) * <uint64_t>0x9E3779B97F4A7C15
        known = find(self.headers, key, given, self.open, length * sizeof(uint32_t))
        if known is not NULL:
            return known
        with gil:
            return self.learn(length, given, key)

    cdef Known *learn(self, Py_ssize_t length, int given, uint64_t key) except NULL:
        tokens = [self.open[place] for place in range(min(length, LONGEST_HEADER))]
        return self.headers.learn(key, given, self.open, length * sizeof(uint32_t), tokens)

    cdef bint read_odd(self, Py_ssize_t index, const uint32_t *tokens, Py_ssize_t stop, int given) except -1:
        """Reads the rest of a conversation from a message on that is repaired, or gets an error.

        The engine takes over at the beginning of each faulty message, and gives back at the next message. Returns False
        if the conversation must be read to messages instead.
        """
        cdef Py_ssize_t row = self.rows.starts[index - self.rows.first], place
        cdef Py_ssize_t content = (<int64_t *>self.rows.columns[OFFSETS])[row]
        # A copy, so that each reading sees the same tokens even if the caller's memory changes.
        cdef bytes copied = PyBytes_FromStringAndSize(<const char *>tokens, stop * sizeof(uint32_t))
        cdef bint at_end, complete = True
        tokens = <const uint32_t *>PyBytes_AS_STRING(copied)
        if self.odd is None:
            self.odd = OddReader.__new__(OddReader)
            self.odd.values, self.odd.are_signed = self.values, self.format == "i"
        self.odd.begin_conversation(
            self.rows, index, GIVEN[given] if self.odd_place == 0 else None, self.strict
        )
        try:
            while True:
                place = self.odd.read(tokens, self.odd_place, stop, self.odd_number)
                if not self.odd.is_between_messages():
                    self.odd.end()
                    break
                with nogil:
                    at_end = self.read_messages(index, tokens, place, stop, GIVEN_NONE, self.odd.number)
                if at_end:
                    complete = self.rows.complete[index - self.rows.first]
                    break
        except HarmonyError as error:
            self.odd.note_error(error)
            return True
        return self.odd.finish(row, content, complete)

    cdef int read_source(self, Py_ssize_t index) except -1:
        """Reads one conversation to messages, and makes rows of them."""
        cdef int32_t codes[FIELDS]
        cdef int field
        cdef const char *start = <const char *>self.tokens + self.offsets[index] * self.width
        if self.roles[index] & ELSEWHERE:
            source = self.elsewhere[index]
        elif self.roles[index] & IN_TEXTS:
            self.texts.take(index)
            source = self.texts.source()
        else:
            # A copy, so that parsing and error messages see the same tokens even if the caller's memory changes.
            size = (self.offsets[index + 1] - self.offsets[index]) * self.width
            source = integers(memoryview(PyBytes_FromStringAndSize(start, size)).cast(self.format))
        given = given_role(self.roles[index], source)
        found = parse_source(source, given, self.values, strict=self.strict, stripped=self.stripped)
        for number, row in enumerate(found.rows):
            for field in range(FIELDS):
                codes[field] = row.codes[field]
            self.rows.append(row.content)
            self.rows.add(index, number, codes, row.content_tokens, row.end)
        self.rows.complete[index - self.rows.first] = found.complete
        if found.diagnostics:
            self.rows.diagnostics[index] = found.diagnostics
        if found.error is not None:
            self.rows.errors[index] = found.error
        return 0


cdef class Whole:
    """The rows of all conversations. A thread that has finished a part takes the next one, and never waits."""
    cdef Rows rows
    cdef list bounds  # the first conversation of each part
    cdef Py_ssize_t taken, placed  # how many parts a thread has taken, and how many have a place among all rows
    cdef dict ready  # finished rows by part; they get their places in order
    cdef int copying
    cdef object lock
    cdef object error  # what stopped one of the threads

    def __cinit__(self, list bounds, Py_ssize_t conversations, Py_ssize_t tokens, Py_ssize_t bytes_of_texts):
        self.bounds = [*bounds, conversations]
        self.rows = take_rows(0, conversations, tokens, bytes_of_texts)
        self.ready = {}
        self.lock = Lock()

    def help(self, builder, ended):
        """Works in a thread of its own, and keeps an error for the thread that waits for `ended`."""
        try:
            self.work(builder, len(self.bounds))
        except BaseException as error:
            self.error = error
        finally:
            ended.release()

    def work(self, Builder builder, Py_ssize_t most):
        """Reads parts until none is left, or `most` are read, and copies finished rows."""
        cdef Py_ssize_t part, count = len(self.bounds) - 1
        cdef Rows rows
        for _ in range(most):
            with self.lock:
                part = self.taken
                self.taken += part < count
            if part == count:
                break
            builder.run(self.bounds[part], self.bounds[part + 1])
            with self.lock:
                self.ready[part] = builder.rows
                rows = self.place()
            while rows is not None:
                with nogil:
                    self.rows.copy(rows)
                give_rows(rows)
                with self.lock:
                    self.copying -= 1
                    rows = self.place()

    cdef Rows place(self):
        """Gives the rows of the next part in order their place, and returns them to be copied; None if it is not ready.
        """
        cdef Rows rows = self.ready.get(self.placed)
        if rows is None:
            return None
        if not self.rows.has_room(rows):
            if self.copying:  # growing moves the memory, so wait: the last copying thread calls this again
                return None
            self.rows.reserve_rows(rows.row_count)
            self.rows.reserve_content(rows.content_size)
        self.rows.claim(rows)
        del self.ready[self.placed]
        self.placed += 1
        self.copying += 1
        return rows


def build(tokens, const int64_t[::1] offsets, const uint8_t[::1] roles, *,
          strict, stripped=False, bare=True, Py_ssize_t threads=1, elsewhere=None, texts=None):
    """The columns of many conversations.

    `tokens` holds the tokens of all conversations, as integers of 32 or 64 bits. Conversation `i` is
    `tokens[offsets[i]:offsets[i + 1]]`; the caller must have checked the offsets (int64). `roles[i]` is the index of
    its given role in GIVEN, and flags beside it: with ELSEWHERE, the conversation is `elsewhere[i]` instead; with
    IN_TEXTS, it is text `i` of `texts`; with UNLESS_START, the role counts only if the conversation does not begin with
    `<|start|>`. With `bare`, a conversation without a message also gets a row. With `stripped`, all conversations have
    lost their markers, as in `parse_source`.
    """
    cdef Builder builder
    cdef Whole whole
    cdef Py_ssize_t count = roles.shape[0], first = offsets[0], total = offsets[count] - first, written = 0, size
    load_entries()
    values = Values()
    shared = None if threads == 1 else Headers(values)
    builders = [
        Builder(tokens, offsets, roles, values, elsewhere, texts, strict, stripped, bare, shared)
        for _ in range(threads)
    ]
    if threads == 1:
        builder = builders[0]
        builder.run(0, count)
        return builder.rows.finished(values.lists())
    measure, unit = memoryview(offsets), 1
    if texts is not None:
        written = texts.offsets[count] - texts.offsets[0]
        if written > total * BYTES_A_TOKEN:
            measure, unit = texts.offsets, BYTES_A_TOKEN
    length = measure[count] - measure[0]
    size = min(PART * unit, length // threads + 1)
    begins = range(measure[0] + size // 4, measure[0] + max(length, 1), size)  # the first part is short
    whole = Whole([0, *[bisect_left(measure, begin, 0, count) for begin in begins]], count, total, written)
    whole.work(builders[0], 1)  # so threads need not wait for each other to learn the headers that are frequent
    ended = []
    try:
        for builder in builders[1:]:
            lock = Lock()
            lock.acquire()
            start_new_thread(whole.help, (builder, lock))  # a Thread would wait here until it runs
            ended.append(lock)
        whole.work(builders[0], len(begins))
    finally:
        for lock in ended:
            lock.acquire()
    if whole.error is not None:
        raise whole.error
    return whole.rows.finished(values.lists())
