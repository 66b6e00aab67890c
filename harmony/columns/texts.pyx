# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Reads completions that are texts for the compiled builder of columns, without the GIL and without Python objects.

It reads what strict parsing accepts, which is well-formed UTF-8 too. All other texts go through the engine. The memory
of a column belongs to the caller, and others may change it at any time. So each text is copied first, and only the copy
is checked and read.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from harmony.columns.headers cimport AT_END, Known, Headers, find
from harmony.columns.memory cimport Rows
from harmony.columns.openings cimport (
    PADDING, Openings, Short, begins_with, eight_bytes, look_through, make_short, next_opening, openings_of
)
from harmony.runtime.memory cimport is_utf_8, resize

from harmony.columns.rows import GIVEN, IN_TEXTS as _IN_TEXTS, END_CODES, UNLESS_START as _UNLESS_START, decoded
from harmony.format import machine, vocabulary
from harmony.format.header import REMEMBERED_LENGTH

cdef enum:
    MARKER_SLOTS = 4096
    LONGEST_MARKER = 24
    STOP_COUNT = 3

cdef struct Marker:  # a special token as it is written
    uint32_t token  # 0 in an empty slot
    int32_t end  # the code of the end, if it is a stop; otherwise -1
    uint8_t width
    char text[LONGEST_MARKER]

cdef Marker MARKERS[MARKER_SLOTS]
cdef Marker NO_MARKER
cdef Py_ssize_t LONGEST_HEADER = 4 * REMEMBERED_LENGTH  # bytes
cdef int GIVEN_NONE = GIVEN.index(None)
cdef int IN_TEXTS = _IN_TEXTS
cdef int UNLESS_START = _UNLESS_START
cdef Short START, MESSAGE
cdef Marker STOPS[STOP_COUNT]  # the usual markers in content
cdef Short WRITTEN_STOPS[STOP_COUNT]
cdef Py_ssize_t START_WIDTH = len(vocabulary.SPECIAL_TEXTS[vocabulary.START])
cdef Py_ssize_t MESSAGE_WIDTH = len(vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE])


cdef inline Py_ssize_t name_of(const char *text, Py_ssize_t size, uint32_t *hash) noexcept nogil:
    """The length of the text up to and with `|>`, if a name stands before that; else 0. `text` begins with `<|`."""
    cdef Py_ssize_t place = 2
    cdef uint32_t found = 0
    cdef char byte
    if size > LONGEST_MARKER:
        size = LONGEST_MARKER
    while place < size:
        byte = text[place]
        if not (c"a" <= byte <= c"z" or byte == c"_" or c"0" <= byte <= c"9"):
            break
        found = (found ^ <uint8_t>byte) * <uint32_t>0x01000193
        place += 1
    if place + 1 >= size or text[place] != c"|" or text[place + 1] != c">":
        return 0
    hash[0] = found ^ found >> 15
    return place + 2


cdef inline const Marker *marker_at(const char *text, Py_ssize_t size) noexcept nogil:
    """The marker that begins here; NO_MARKER if none does. `text` begins with `<|`."""
    cdef uint32_t hash = 0
    cdef Py_ssize_t width, place
    cdef const Marker *marker
    for place in range(STOP_COUNT):
        if begins_with(text, &WRITTEN_STOPS[place]):
            return &STOPS[place]
    width = name_of(text, size, &hash)
    while width > 0:
        marker = &MARKERS[hash & (MARKER_SLOTS - 1)]
        if marker.token == 0:
            break
        if marker.width == width and not memcmp(marker.text, text, width):
            return marker
        hash += 1
    return &NO_MARKER


cdef Short short_of(int token):
    cdef Short made
    cdef bytes text = vocabulary.SPECIAL_TEXTS[token].encode()
    make_short(&made, text, len(text))
    return made


def _take_markers():
    """Copies the special tokens of the vocabulary. Raises ImportError if one does not have the expected shape."""
    cdef uint32_t hash
    cdef Marker *marker
    cdef Py_ssize_t place = 0
    for token, text in vocabulary.SPECIAL_TEXTS.items():
        written = text.encode()
        hash = 0
        if not written.startswith(b"<|") or name_of(written, len(written), &hash) != len(written):
            raise ImportError(f"texts.pyx: expected a marker of a-z, 0-9 and `_`, found {text!r}")
        while MARKERS[hash & (MARKER_SLOTS - 1)].token != 0:
            hash += 1
        marker = &MARKERS[hash & (MARKER_SLOTS - 1)]
        marker.token, marker.end, marker.width = token, END_CODES.get(token, -1), len(written)
        memcpy(marker.text, <const char *>written, len(written))
        if token in END_CODES:
            STOPS[place], WRITTEN_STOPS[place] = marker[0], short_of(token)
            place += 1


_take_markers()
START, MESSAGE = short_of(vocabulary.START), short_of(vocabulary.MESSAGE)


cdef inline uint64_t mixed(uint64_t hash, uint64_t block) noexcept nogil:
    hash = (hash ^ block) * <uint64_t>0x9E3779B97F4A7C15
    return hash ^ hash >> 32


cdef inline uint64_t hash_of(const char *text, Py_ssize_t size, uint64_t hash) noexcept nogil:
    """A hash of a short text; `hash` is another number that it depends on."""
    cdef uint64_t block = 0, other = size
    cdef Py_ssize_t place = 0
    if size < 8:
        for place in range(size):
            block = block << 8 | <uint8_t>text[place]
        return mixed(mixed(hash, block), other)
    while place + 16 < size:  # the processor does two products at a time
        hash = mixed(hash, eight_bytes(text + place))
        other = mixed(other, eight_bytes(text + place + 8))
        place += 16
    hash = mixed(hash, eight_bytes(text + max(size - 16, <Py_ssize_t>0)))
    other = mixed(other, eight_bytes(text + size - 8))
    return mixed(hash, other)


cdef list tokens_of(bytes header, bint at_end):
    """The tokens of a header, one for each byte of text; None if the automaton has no move for one of its markers."""
    text = header.decode()
    ranks = vocabulary.load().byte_ranks
    tokens = []
    state, place = machine.State.HEADER, 0
    moves, kinds = machine.MOVES[True], len(machine.Kind)
    for start, stop, token in vocabulary.special_tokens_in(text):
        move = moves[state * kinds + machine.KINDS[token - vocabulary.FIRST_SPECIAL]]
        if move == machine.ILLEGAL:
            return None
        tokens.extend(text[place:start].encode().translate(ranks))
        tokens.append(token)
        state, place = move & 15, stop
    if moves[state * kinds + (machine.Kind.END_OF_INPUT if at_end else machine.Kind.MESSAGE)] == machine.ILLEGAL:
        return None
    tokens.extend(text[place:].encode().translate(ranks))
    return tokens


@cython.final
cdef class TextReader:
    def __cinit__(self, column, const uint8_t[::1] data, const int64_t[::1] offsets, Headers headers):
        self.column, self.headers = column, headers
        self.data, self.offsets = <const char *>&data[0], &offsets[0]

    def __dealloc__(self):
        PyMem_RawFree(self.memory)
        PyMem_RawFree(self.openings)

    cdef int take(self, Py_ssize_t index) except -1 nogil:
        """Copies the text of a conversation."""
        cdef Py_ssize_t begin = self.offsets[index]
        self.size = self.offsets[index + 1] - begin
        if self.size >= self.capacity:
            self.reserve(self.size + self.size // 2 + 1)
        memcpy(self.text, self.data + begin, self.size)
        memset(self.text + self.size, 0, PADDING)
        return 0

    cdef int reserve(self, Py_ssize_t capacity) except -1 nogil:
        resize(<void **>&self.memory, capacity + 2 * PADDING)
        resize(<void **>&self.openings, (capacity // 64 + 1) * sizeof(uint64_t))
        memset(self.memory, 0, PADDING)
        self.text = self.memory + PADDING
        self.capacity = capacity
        return 0

    cdef object source(self):
        """The current text; the error of its record if it is not UTF-8."""
        return decoded(PyBytes_FromStringAndSize(self.text, self.size), self.column.name)

    cdef bint read(self, Rows rows, Py_ssize_t index, int given) except -1 nogil:
        """Reads the current text as conversation `index`. Returns False if the engine must read it instead."""
        cdef const char *text = self.text
        cdef Py_ssize_t size = self.size, at = 0, begin, stop
        cdef Openings openings
        cdef int number = 0
        cdef Known *header
        cdef const Marker *marker = &NO_MARKER
        if given & UNLESS_START:
            given = GIVEN_NONE if begins_with(text, &START) else given ^ UNLESS_START
        if not look_through(text, size, self.openings) and not is_utf_8(<const uint8_t *>text, size):
            return False
        openings = openings_of(self.openings, size)
        rows.reserve_content(size)
        while True:
            if given == GIVEN_NONE:
                if at == size:
                    rows.complete[index - rows.first] = True
                    return True
                if not begins_with(text + at, &START):
                    return False
                next_opening(&openings)
                at += START_WIDTH
            stop = next_opening(&openings)
            while stop < size and not begins_with(text + stop, &MESSAGE):
                if stop - at > LONGEST_HEADER:
                    return False
                stop = next_opening(&openings)
            if stop == size:
                rows.complete[index - rows.first] = False
                return self.header(at, size, given | AT_END).legal
            header = self.header(at, stop, given)
            if not header.legal:
                return False
            begin = stop + MESSAGE_WIDTH
            stop = next_opening(&openings)
            while stop < size:
                marker = marker_at(text + stop, size - stop)
                if marker.token != 0:
                    break
                stop = next_opening(&openings)
            memcpy(rows.content + rows.content_size, text + begin, stop - begin)
            rows.content_size += stop - begin
            if stop == size:
                rows.add(index, number, header.codes, -1, -1)
                rows.complete[index - rows.first] = False
                return True
            if marker.end < 0:
                return False
            rows.add(index, number, header.codes, -1, marker.end)
            number += 1
            at = stop + marker.width
            given = GIVEN_NONE

    cdef Known *header(self, Py_ssize_t begin, Py_ssize_t stop, int given) except NULL nogil:
        """The entry for the header from `begin` to `stop`; it is made if it is new."""
        cdef const char *text = self.text + begin
        cdef Py_ssize_t size = stop - begin
        cdef uint64_t hash = 0
        cdef Known *known
        given |= IN_TEXTS  # text and tokens of headers are never the same key
        if size <= LONGEST_HEADER:
            hash = hash_of(text, size, given)
            known = find(self.headers, hash, given, text, size)
            if known is not NULL:
                return known
        with gil:
            return self.learn(begin, stop, given, hash)

    cdef Known *learn(self, Py_ssize_t begin, Py_ssize_t stop, int given, uint64_t hash) except NULL:
        cdef Py_ssize_t size = stop - begin
        tokens = None
        if size <= LONGEST_HEADER:
            tokens = tokens_of(PyBytes_FromStringAndSize(self.text + begin, size), given & AT_END)
        return self.headers.learn(hash, given, self.text + begin, size, tokens)
