# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Token ids out of JSON, and messages into it, compiled. Its twin `json_py.py` says what every public name does."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy

cdef extern from *:
    """
    #if defined(_MSC_VER)
    #include <intrin.h>
    static int trailing_zeros(unsigned long long bits) {
        unsigned long at;
        _BitScanForward64(&at, bits);
        return (int)at;
    }
    #else
    static int trailing_zeros(unsigned long long bits) { return __builtin_ctzll(bits); }
    #endif
    """
    int trailing_zeros(uint64_t bits) noexcept

import sys

import msgspec

from harmony.columns.rows import message_of
from harmony.messages.model import flat_messages

# Eight bytes at a time, of which the first is the least significant.
cdef bint EIGHT = sys.byteorder == "little"
cdef uint64_t ONES = 0x0101010101010101
cdef uint64_t HIGH_BITS = 0x8080808080808080
cdef uint64_t EVERY_FOURTH = 0x000000FF000000FF
cdef uint64_t HUNDRED_AND_MILLION = 100 + (1_000_000 << 32)
cdef uint64_t ONE_AND_TEN_THOUSAND = 1 + (10_000 << 32)

cdef object RAW = msgspec.Raw
cdef object STRING = msgspec.json.Decoder(str)
cdef dict NAMES = {}  # of members, by their bytes
cdef Py_ssize_t MOST_NAMES = 4096

cdef bytes BEFORE_TEXT = b'"text":"'  # no name has a quote, so it stands there once

# How each byte is written in a string of JSON: as itself, or as an escape.
cdef char[256][6] ESCAPES
cdef uint8_t[256] ESCAPE_LENGTHS


cdef class Ids:
    """Ids()
--

Token ids, one completion behind the other: a buffer of uint32 that grows."""
    cdef uint32_t *ids
    cdef Py_ssize_t size, capacity

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
        PyObject_GetBuffer(written, &view, PyBUF_SIMPLE)
        try:
            return self.scanned(<const uint8_t *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef bint scanned(self, const uint8_t *at, Py_ssize_t length) except -1:
        cdef const uint8_t *end = at + length
        cdef const uint8_t *digits
        cdef uint32_t *out
        cdef uint64_t number = 0
        self.reserve(length // 2 + 1)
        out = self.ids + self.size
        at = behind_space(at, end)
        if at == end or at[0] != c"[":
            return False
        at = behind_space(at + 1, end)
        if at < end and at[0] == c"]":
            return behind_space(at + 1, end) == end
        while True:
            digits = at
            at = behind_number(at, end, &number)
            if at == digits or number >> 32 or (digits[0] == c"0" and at - digits > 1):
                return False
            out[0] = <uint32_t>number
            out += 1
            at = behind_space(at, end)
            if at == end or (at[0] != c"," and at[0] != c"]"):
                return False
            if at[0] == c"]":
                break
            at = behind_space(at + 1, end)
        if behind_space(at + 1, end) != end:
            return False
        self.size = out - self.ids
        return True

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


cdef inline const uint8_t *behind_space(const uint8_t *at, const uint8_t *end) noexcept:
    while at < end and (at[0] == c" " or at[0] == c"\t" or at[0] == c"\n" or at[0] == c"\r"):
        at += 1
    return at


def members(written):
    """The members of an object in JSON. It must be valid: `msgspec` has read the record that it is in.

    Raises TypeError for any other value.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(written, &view, PyBUF_SIMPLE)
    try:
        return members_in(<const uint8_t *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef dict members_in(const uint8_t *at, Py_ssize_t size):
    cdef const uint8_t *end = at + size
    cdef const uint8_t *start
    cdef dict found = {}
    at = behind_space(at, end)
    if at == end or at[0] != c"{":
        raise TypeError("expected an object")
    at = behind_space(at + 1, end)
    while at < end and at[0] == c'"':
        start = at
        at = behind_string(at, end)
        name = name_of(start + 1, at - start - 2)
        at = behind_space(at, end)
        start = behind_space(at + 1, end)  # the colon
        at = behind_value(start, end)
        found[name] = raw(start, at)
        at = behind_space(at, end)
        if at < end and at[0] == c",":
            at = behind_space(at + 1, end)
    return found


def items(written):
    """The items of an array in JSON, which must be valid. Raises TypeError for any other value."""
    cdef Py_buffer view
    PyObject_GetBuffer(written, &view, PyBUF_SIMPLE)
    try:
        return items_in(<const uint8_t *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef list items_in(const uint8_t *at, Py_ssize_t size):
    cdef const uint8_t *end = at + size
    cdef const uint8_t *start
    cdef list found = []
    at = behind_space(at, end)
    if at == end or at[0] != c"[":
        raise TypeError("expected an array")
    at = behind_space(at + 1, end)
    while at < end and at[0] != c"]":
        start = at
        at = behind_value(at, end)
        found.append(raw(start, at))
        at = behind_space(at, end)
        if at < end and at[0] == c",":
            at = behind_space(at + 1, end)
    return found


cdef object raw(const uint8_t *start, const uint8_t *end):
    return RAW(PyBytes_FromStringAndSize(<const char *>start, end - start))


cdef object name_of(const uint8_t *text, Py_ssize_t size):
    """The name of a member. Names are the same in all records, so a string is made of each only once."""
    key = PyBytes_FromStringAndSize(<const char *>text, size)
    name = NAMES.get(key)
    if name is None:
        name = STRING.decode(b'"%b"' % key)
        if len(NAMES) < MOST_NAMES:
            NAMES[key] = name
    return name


cdef inline const uint8_t *behind_string(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind a string. `at` is that of its first quote."""
    cdef const uint8_t *quote
    cdef const uint8_t *before
    at += 1
    while at < end:
        quote = <const uint8_t *>memchr(at, c'"', end - at)
        if quote is NULL:
            return end
        before = quote
        while before > at and before[-1] == c"\\":
            before -= 1
        if (quote - before) & 1 == 0:  # an odd number of backslashes makes the quote a part of the string
            return quote + 1
        at = quote + 1
    return end


cdef inline const uint8_t *behind_numbers(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind numbers, commas and spaces, or a place before that.

    Letters and brackets have one bit that these have not, and a quote has another value.
    """
    cdef uint64_t[4] words
    while end - at >= 32:
        memcpy(words, at, 32)
        if (words[0] | words[1] | words[2] | words[3]) & 0x40 * ONES or (
            has_less(words[0] ^ 0x22 * ONES, 1) or has_less(words[1] ^ 0x22 * ONES, 1)
            or has_less(words[2] ^ 0x22 * ONES, 1) or has_less(words[3] ^ 0x22 * ONES, 1)
        ):
            break
        at += 32
    return at


cdef inline const uint8_t *behind_value(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind a value of valid JSON. No bracket stands in it but in strings, objects and arrays."""
    cdef Py_ssize_t depth = 0
    while at < end:
        if depth:
            at = behind_numbers(at, end)
            if at == end:
                break
        if at[0] == c'"':
            at = behind_string(at, end)
            if not depth:
                return at
            continue
        if at[0] == c"[" or at[0] == c"{":
            depth += 1
        elif at[0] == c"]" or at[0] == c"}":
            if not depth:
                return at  # that of the array or the object around the value
            depth -= 1
            if not depth:
                return at + 1
        elif not depth and (at[0] == c"," or at[0] == c" " or at[0] == c"\t" or at[0] == c"\n" or at[0] == c"\r"):
            return at
        at += 1
    return end


cdef class Writer:
    """Writer(columns)
--

Writes the messages of a conversation as JSON, in their flat form."""
    cdef object columns
    cdef const int64_t[::1] rows, offsets
    cdef const int32_t[::1] role, name, recipient, channel, content_type
    cdef const uint8_t[::1] content
    cdef dict frames  # what stands before and behind the text, by the codes of the header

    def __init__(self, columns):
        self.columns = columns
        self.rows, self.offsets = integers(columns.rows, "q"), integers(columns.offsets, "q")
        self.role, self.name = integers(columns.role, "i"), integers(columns.name, "i")
        self.recipient, self.channel = integers(columns.recipient, "i"), integers(columns.channel, "i")
        self.content_type = integers(columns.content_type, "i")
        self.content = memoryview(columns.content).cast("B")
        self.frames = {}

    def messages(self, Py_ssize_t index):
        """The array of the messages of conversation `index`."""
        cdef Py_ssize_t row, size = 2, first = self.rows[index], stop = self.rows[index + 1]
        cdef char *out
        cdef bytes before, behind
        cdef list frames = []
        for row in range(first, stop):
            frame = self.frame(row)
            size += len(<bytes>frame[0]) + len(<bytes>frame[1]) + 6 * (self.offsets[row + 1] - self.offsets[row]) + 1
            frames.append(frame)
        cdef bytearray written = bytearray(size)
        out = written
        out[0] = c"["
        out += 1
        for row in range(first, stop):
            before, behind = frames[row - first]
            if row > first:
                out[0] = c","
                out += 1
            memcpy(out, <const char *>before, len(before))
            out += len(before)
            out = escaped(out, &self.content[0] + self.offsets[row], self.offsets[row + 1] - self.offsets[row])
            memcpy(out, <const char *>behind, len(behind))
            out += len(behind)
        out[0] = c"]"
        return (<char *>written)[:out + 1 - <char *>written]

    cdef tuple frame(self, Py_ssize_t row):
        key = self.role[row], self.name[row], self.recipient[row], self.channel[row], self.content_type[row]
        frame = self.frames.get(key)
        if frame is None:
            written = msgspec.json.encode(flat_messages([message_of(self.columns.values, key, "")])[0])
            before, text, behind = written.partition(BEFORE_TEXT)
            frame = self.frames[key] = before + text, behind
        return frame


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


cdef inline bint has_less(uint64_t eight, uint64_t limit) noexcept:
    """Whether one of eight bytes is less than the limit, which is at most 0x80."""
    return (eight - limit * ONES) & ~eight & HIGH_BITS != 0


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
