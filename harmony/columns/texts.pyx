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
from libc.string cimport memcmp, memcpy
from harmony.columns.headers cimport AT_END, Known, Headers, find
from harmony.columns.memory cimport Rows
from harmony.runtime.memory cimport is_utf_8, resize

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif

    #define PADDING 32 /* zeros behind the copy of a text, so that whole blocks can be read */

    /* Copies a text, and zeros behind it. Returns whether all of it is ASCII. */
    static inline int copy_text(char *to, const char *from, size_t size) {
        size_t at = 0;
        unsigned char high = 0;
    #ifdef __SSE2__
        __m128i seen = _mm_setzero_si128();
        for (; at + 32 <= size; at += 32) {
            __m128i first = _mm_loadu_si128((const __m128i *)(from + at));
            __m128i second = _mm_loadu_si128((const __m128i *)(from + at + 16));
            _mm_storeu_si128((__m128i *)(to + at), first);
            _mm_storeu_si128((__m128i *)(to + at + 16), second);
            seen = _mm_or_si128(seen, _mm_or_si128(first, second));
        }
        high = _mm_movemask_epi8(seen) ? 0x80 : 0;
    #endif
        memcpy(to + at, from + at, size - at);
        memset(to + size, 0, PADDING);
        for (; at < size; at += 8) { /* reads the copy, whose padding is zero */
            uint64_t block;
            memcpy(&block, to + at, 8);
            high |= (block & UINT64_C(0x8080808080808080)) ? 0x80 : 0;
        }
        return high == 0;
    }

    /* The offset of the next `<|`; the size of the text if there is none. PADDING zeros must follow the text. */
    static inline size_t opening_from(const char *text, size_t size, size_t at) {
    #if defined(__SSE2__) && defined(__GNUC__)
        const __m128i less = _mm_set1_epi8('<'), bar = _mm_set1_epi8('|');
        for (; at < size; at += 16) {
            __m128i here = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(text + at)), less);
            __m128i behind = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(text + at + 1)), bar);
            int found = _mm_movemask_epi8(_mm_and_si128(here, behind));
            if (found) return at + __builtin_ctz(found);
        }
    #else
        for (; at < size; at++) {
            const char *found = memchr(text + at, '<', size - at);
            if (found == NULL) break;
            at = found - text;
            if (text[at + 1] == '|') return at;
        }
    #endif
        return size;
    }
    """
    enum: PADDING
    bint copy_text(char *target, const char *source, size_t size) noexcept nogil
    Py_ssize_t opening_from(const char *text, size_t size, size_t place) noexcept nogil

from harmony.columns.rows import GIVEN, IN_TEXTS as _IN_TEXTS, END_CODES, UNLESS_START as _UNLESS_START, decoded
from harmony.format import machine, vocabulary
from harmony.format.header import REMEMBERED_LENGTH

cdef enum:
    MARKER_SLOTS = 4096
    LONGEST_MARKER = 24

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
cdef bytes START_TEXT = vocabulary.SPECIAL_TEXTS[vocabulary.START].encode()
cdef bytes MESSAGE_TEXT = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE].encode()
cdef const char *START = START_TEXT
cdef const char *MESSAGE = MESSAGE_TEXT
cdef Py_ssize_t START_WIDTH = len(START_TEXT)
cdef Py_ssize_t MESSAGE_WIDTH = len(MESSAGE_TEXT)


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
    cdef Py_ssize_t width = name_of(text, size, &hash)
    cdef const Marker *marker
    while width > 0:
        marker = &MARKERS[hash & (MARKER_SLOTS - 1)]
        if marker.token == 0:
            break
        if marker.width == width and not memcmp(marker.text, text, width):
            return marker
        hash += 1
    return &NO_MARKER


def _take_markers():
    """Copies the special tokens of the vocabulary. Raises ImportError if one does not have the expected shape."""
    cdef uint32_t hash
    cdef Marker *marker
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


_take_markers()


cdef inline uint64_t mixed(uint64_t hash, uint64_t block) noexcept nogil:
    hash = (hash ^ block) * <uint64_t>0x9E3779B97F4A7C15
    return hash ^ hash >> 32


cdef inline uint64_t hash_of(const char *text, Py_ssize_t size, uint64_t hash) noexcept nogil:
    """A hash of a short text; `hash` is another number that it depends on."""
    cdef uint64_t block = 0
    cdef Py_ssize_t place = 0
    if size < 8:
        for place in range(size):
            block = block << 8 | <uint8_t>text[place]
        return mixed(mixed(hash, block), size)
    while place + 8 <= size:
        memcpy(&block, text + place, 8)
        hash = mixed(hash, block)
        place += 8
    memcpy(&block, text + size - 8, 8)
    return mixed(mixed(hash, block), size)


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
        PyMem_RawFree(self.text)

    cdef int take(self, Py_ssize_t index) except -1 nogil:
        """Copies the text of a conversation."""
        cdef Py_ssize_t begin = self.offsets[index]
        self.size = self.offsets[index + 1] - begin
        if self.size + PADDING > self.capacity:
            self.capacity = self.size + self.size // 2 + PADDING
            resize(<void **>&self.text, self.capacity)
        self.is_ascii = copy_text(self.text, self.data + begin, self.size)
        return 0

    cdef object source(self):
        """The current text; the error of its record if it is not UTF-8."""
        return decoded(PyBytes_FromStringAndSize(self.text, self.size), self.column.name)

    cdef bint read(self, Rows rows, Py_ssize_t index, int given) except -1 nogil:
        """Reads the current text as conversation `index`. Returns False if the engine must read it instead."""
        cdef const char *text = self.text
        cdef Py_ssize_t size = self.size, at = 0, begin, stop
        cdef int number = 0
        cdef Known *header
        cdef const Marker *marker = &NO_MARKER
        cdef bint is_start = size >= START_WIDTH and not memcmp(text, START, START_WIDTH)
        if given & UNLESS_START:
            given = GIVEN_NONE if is_start else given ^ UNLESS_START
        if not self.is_ascii and not is_utf_8(<const uint8_t *>text, size):
            return False
        rows.reserve_content(size)
        while True:
            if given == GIVEN_NONE:
                if at == size:
                    rows.complete[index - rows.first] = True
                    return True
                if size - at < START_WIDTH or memcmp(text + at, START, START_WIDTH):
                    return False
                at += START_WIDTH
            stop = opening_from(text, size, at)
            while stop < size and (size - stop < MESSAGE_WIDTH or memcmp(text + stop, MESSAGE, MESSAGE_WIDTH)):
                if stop - at > LONGEST_HEADER:
                    return False
                stop = opening_from(text, size, stop + 1)
            if stop == size:
                rows.complete[index - rows.first] = False
                return self.header(at, size, given | AT_END).legal
            header = self.header(at, stop, given)
            if not header.legal:
                return False
            begin = stop + MESSAGE_WIDTH
            stop = opening_from(text, size, begin)
            while stop < size:
                marker = marker_at(text + stop, size - stop)
                if marker.token != 0:
                    break
                stop = opening_from(text, size, stop + 1)
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
