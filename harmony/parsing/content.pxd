# cython: language_level=3
"""One growing buffer of UTF-8: the bytes of ranks go in, and text comes out by whole characters.

It knows no format. Its functions are inlined where they are used; whoever calls them has checked that what it
passes is a rank.
"""

from cpython.mem cimport PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_DecodeUTF8Stateful
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    MOVE = 16  # bytes that are copied at once; the vocabulary has as many zeros at its end
    ROOM = 144  # at least the longest rank, 128 bytes, and one move


cdef struct Ranks:  # those of `vocabulary.Vocabulary`
    const uint32_t *offsets
    const uint8_t *data


cdef struct Content:
    char *data
    Py_ssize_t size
    Py_ssize_t capacity
    Py_ssize_t settled  # the bytes before it are whole characters that a delta has given
    Py_ssize_t shown  # the bytes before it are in the text that has been read


cdef inline void clear(Content *content) noexcept:
    content.size = content.settled = content.shown = 0


cdef inline int append_rank(Content *content, const Ranks *ranks, int64_t rank) except -1:
    cdef uint32_t start = ranks.offsets[rank]
    cdef uint32_t length = ranks.offsets[rank + 1] - start
    if content.capacity - content.size < ROOM:
        grow(content, ROOM)
    memcpy(content.data + content.size, ranks.data + start, MOVE)
    if length > MOVE:
        memcpy(content.data + content.size + MOVE, ranks.data + start + MOVE, length - MOVE)
    content.size += length
    return 0


cdef inline int append(Content *content, bytes data) except -1:
    cdef Py_ssize_t length = len(data)
    if content.capacity - content.size <= length:
        grow(content, length + 1)
    memcpy(content.data + content.size, <const char *>data, length)
    content.size += length
    return 0


cdef inline int grow(Content *content, Py_ssize_t room) except -1:
    cdef Py_ssize_t capacity = 2 * content.capacity + room
    cdef char *data = <char *>PyMem_Realloc(content.data, capacity)
    if data is NULL:
        raise MemoryError
    content.data = data
    content.capacity = capacity
    return 0


cdef inline object settle(Content *content, bint final):
    """The text of the bytes that came since the last time, up to the last whole character, or all if `final`."""
    cdef Py_ssize_t used = content.size - content.settled
    if used == 0:
        return None
    if final:
        text = PyUnicode_DecodeUTF8(content.data + content.settled, used, "replace")
    else:
        text = PyUnicode_DecodeUTF8Stateful(content.data + content.settled, used, "replace", &used)
    content.settled += used
    return text or None


cdef inline str text_between(Content *content, Py_ssize_t start, Py_ssize_t stop):
    """The text of the bytes from `start` to `stop`; "" where that is none."""
    return PyUnicode_DecodeUTF8(content.data + start, stop - start, "replace") if stop > start else ""


cdef inline bytes last_bytes(Content *content, Py_ssize_t most):
    """The last bytes, at most this many."""
    cdef Py_ssize_t count = min(content.size, most)
    return content.data[content.size - count:content.size] if count else b""
