# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Token ids out of JSON, and messages into it, compiled. Its twin `json_py.py` says what every public name does."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from harmony.logs.scan_json cimport EIGHT, HIGH_BITS, ONES, behind_space, has_less, trailing_zeros

import msgspec

from harmony.columns.rows import message_of
from harmony.messages.model import flat_messages

# Eight bytes at a time, of which the first is the least significant.
cdef uint64_t EVERY_FOURTH = 0x000000FF000000FF
cdef uint64_t HUNDRED_AND_MILLION = 100 + (1_000_000 << 32)
cdef uint64_t ONE_AND_TEN_THOUSAND = 1 + (10_000 << 32)

cdef bytes BEFORE_TEXT = b'"text":"'  # no name has a quote, so it stands there once

# How each byte is written in a string of JSON: as itself, or as an escape.
cdef char[256][6] ESCAPES
cdef uint8_t[256] ESCAPE_LENGTHS


cdef class Ids:
    """Ids()
--

Token ids, one completion behind the other: a buffer of uint32 that grows."""

    def __dealloc__(self):
        PyMem_Free(self.ids)

    def __len__(self):
        return self.size

    cdef int reserve(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t capacity
        cdef void *resized
        if self.size + count > self.capacity:
            capacity = self.size + count + self.capacity // 2
            resized = PyMem_Realloc(self.ids, capacity * sizeof(uint32_t))
            if resized is NULL:
                raise MemoryError
            self.ids = <uint32_t *>resized
            self.capacity = capacity
        return 0

    def scan(self, written):
        """Appends the integers of an array in JSON; False, and nothing appended, where it is not all uint32."""
        cdef Py_buffer view
        cdef const uint8_t *end
        cdef const uint8_t *behind
        cdef Py_ssize_t size = self.size
        PyObject_GetBuffer(written, &view, PyBUF_SIMPLE)
        try:
            end = <const uint8_t *>view.buf + view.len
            behind = self.scanned(behind_space(<const uint8_t *>view.buf, end), end)
            if behind is NULL or behind_space(behind, end) != end:
                self.size = size
                return False
            return True
        finally:
            PyBuffer_Release(&view)

    cdef int add(self, const uint32_t *ids, Py_ssize_t count) except -1:
        self.reserve(count)
        memcpy(self.ids + self.size, ids, count * sizeof(uint32_t))
        self.size += count
        return 0

    cdef const uint8_t *scanned(self, const uint8_t *at, const uint8_t *end) except? NULL:
        """Appends the integers of an array, and returns the place behind it; NULL where it is not all uint32."""
        cdef const uint8_t *digits
        cdef Py_ssize_t size = self.size
        cdef uint64_t number = 0
        if at == end or at[0] != c"[":
            return NULL
        at = behind_space(at + 1, end)
        if at < end and at[0] == c"]":
            return at + 1
        while True:
            digits = at
            at = behind_number(at, end, &number)
            if at == digits or number >> 32 or (digits[0] == c"0" and at - digits > 1):
                return NULL
            if size == self.capacity:
                self.size = size
                self.reserve(1)
            self.ids[size] = <uint32_t>number
            size += 1
            if at < end and at[0] == c"," and end - at > 1 and at[1] > c" ":
                at += 1  # by far the most
                continue
            at = behind_space(at, end)
            if at == end or (at[0] != c"," and at[0] != c"]"):
                return NULL
            if at[0] == c"]":
                self.size = size
                return at + 1
            at = behind_space(at + 1, end)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.ids if self.size else <char *>b"", self.size * sizeof(uint32_t), 1, flags)

    def view(self):
        """All ids, which must not grow any more."""
        return memoryview(self).cast("I")


cdef inline const uint8_t *behind_number(const uint8_t *at, const uint8_t *end, uint64_t *number) noexcept:
    """Reads digits, up to eleven, which are more than an id has; where they end."""
    cdef const uint8_t *begin = at
    cdef uint64_t digits, others
    if EIGHT and end - at >= 8:
        memcpy(&digits, at, 8)
        digits ^= 0x30 * ONES
        others = (digits + 0x76 * ONES | digits) & HIGH_BITS  # set where a byte is more than 9
        if others & 0xFF == 0 and others != 0:
            at += trailing_zeros(others) >> 3
            # Zeros go before the digits; then pairs, fours and all eight are added up at once.
            digits <<= 64 - 8 * (at - begin)
            digits = digits * 10 + (digits >> 8)
            number[0] = (
                (digits & EVERY_FOURTH) * HUNDRED_AND_MILLION + (digits >> 16 & EVERY_FOURTH) * ONE_AND_TEN_THOUSAND
            ) >> 32
            return at
    number[0] = 0
    while at < end and c"0" <= at[0] <= c"9" and at - begin < 11:
        number[0] = number[0] * 10 + (at[0] - c"0")
        at += 1
    return at


cdef enum:
    MOST_RECENT = 16


cdef struct Frame:  # what stands before and behind the text of a message, by the codes of its header
    int32_t[5] key
    const char *before
    const char *behind
    Py_ssize_t length_before, length_behind


cdef class Writer:
    """Writer(columns)
--

Writes the messages of a conversation as JSON, in their flat form."""
    cdef object columns
    cdef const int64_t[::1] rows, offsets
    cdef const int32_t[::1] role, name, recipient, channel, content_type
    cdef const uint8_t[::1] content
    cdef dict frames  # all of them, by their keys, as bytes
    cdef Frame[MOST_RECENT] recent  # few headers make up most messages
    cdef int count

    def __init__(self, columns):
        self.columns = columns
        self.rows, self.offsets = integers(columns.rows, "q"), integers(columns.offsets, "q")
        self.role, self.name = integers(columns.role, "i"), integers(columns.name, "i")
        self.recipient, self.channel = integers(columns.recipient, "i"), integers(columns.channel, "i")
        self.content_type = integers(columns.content_type, "i")
        self.content = memoryview(columns.content).cast("B")
        self.frames = {}
        self.count = 0

    def messages(self, Py_ssize_t index, bytes before=b"", bytes behind=b""):
        """The array of the messages of conversation `index`, with some bytes before it and behind it."""
        cdef Py_ssize_t row, size, first = self.rows[index], stop = self.rows[index + 1]
        cdef const Frame *frame
        cdef Frame made
        cdef char *room
        cdef char *out
        size = len(before) + len(behind) + 2
        for row in range(first, stop):
            frame = self.frame(row, &made)
            size += frame.length_before + frame.length_behind + 1
            size += 6 * (self.offsets[row + 1] - self.offsets[row])  # no byte becomes more than an escape
        room = out = <char *>PyMem_Malloc(size)
        if room is NULL:
            raise MemoryError
        try:
            out = copied(out, before, len(before))
            out = copied(out, b"[", 1)
            for row in range(first, stop):
                if row > first:
                    out = copied(out, b",", 1)
                frame = self.frame(row, &made)
                out = copied(out, frame.before, frame.length_before)
                out = escaped(out, &self.content[0] + self.offsets[row], self.offsets[row + 1] - self.offsets[row])
                out = copied(out, frame.behind, frame.length_behind)
            out = copied(out, b"]", 1)
            out = copied(out, behind, len(behind))
            return PyBytes_FromStringAndSize(room, out - room)
        finally:
            PyMem_Free(room)

    cdef const Frame *frame(self, Py_ssize_t row, Frame *made) except NULL:
        """The frame of the message in a row. `made` holds it if it is not one of the recent ones."""
        cdef bytes before, behind
        cdef int number
        made.key = [self.role[row], self.name[row], self.recipient[row], self.channel[row], self.content_type[row]]
        for number in range(self.count):
            if memcmp(self.recent[number].key, made.key, sizeof(made.key)) == 0:
                return &self.recent[number]
        codes = tuple(made.key)
        pair = self.frames.get(codes)
        if pair is None:
            written = msgspec.json.encode(flat_messages([message_of(self.columns.values, codes, "")])[0])
            before, text, behind = written.partition(BEFORE_TEXT)
            pair = self.frames[codes] = before + text, behind
        before, behind = pair
        made.before, made.length_before = before, len(before)
        made.behind, made.length_behind = behind, len(behind)
        if self.count < MOST_RECENT:
            self.recent[self.count] = made[0]
            self.count += 1
        return made


cdef inline char *copied(char *out, const char *data, Py_ssize_t size) noexcept:
    memcpy(out, data, size)
    return out + size


cdef integers(buffer, item):
    view = memoryview(buffer).cast("B")
    return view.cast(item)


cdef char *escaped(char *out, const uint8_t *text, Py_ssize_t size) noexcept:
    """Writes a text as it stands in a string of JSON; where it ends."""
    cdef Py_ssize_t at = 0
    cdef uint64_t eight
    cdef uint8_t length
    while at < size:
        if size - at >= 8:
            memcpy(&eight, text + at, 8)
            if not (has_less(eight, 0x20) or has_less(eight ^ 0x22 * ONES, 1) or has_less(eight ^ 0x5C * ONES, 1)):
                memcpy(out, &eight, 8)  # by far the most: no control character, no quote, no backslash
                out += 8
                at += 8
                continue
        length = ESCAPE_LENGTHS[text[at]]
        memcpy(out, ESCAPES[text[at]], length)
        out += length
        at += 1
    return out


cdef int load_escapes() except -1:
    """Takes from msgspec how a string is written."""
    cdef bytes text
    cdef int byte
    for byte in range(256):
        text = bytes([byte])
        if byte < 0x80:
            text = msgspec.json.encode(chr(byte))
            text = text[1:len(text) - 1]
        ESCAPE_LENGTHS[byte] = <uint8_t>len(text)
        memcpy(ESCAPES[byte], <const char *>text, len(text))
    return 0


load_escapes()
