# cython: language_level=3
"""A growing buffer of UTF-8: the bytes of ranks are appended, and whole characters are read as text.

It knows nothing of the format. The functions are inlined. A caller must have checked that a token is a rank.
"""

from cpython.mem cimport PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_DecodeUTF8Stateful
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    MOVE = 16  # bytes copied at once; the vocabulary ends with this many zeros
    ROOM = 144  # the longest rank has 128 bytes, and one move may go beyond it


cdef struct Ranks:  # the fields of `vocabulary.Vocabulary`
    const uint32_t *offsets
    const uint8_t *data


cdef struct Content:
    char *data
    Py_ssize_t size
    Py_ssize_t capacity
    Py_ssize_t settled  # a delta has given the bytes before it, which are whole characters
    Py_ssize_t shown  # `_text` holds the bytes before it


cdef inline void clear(Content *content) noexcept:
    content.size = content.settled = content.shown = 0


cdef inline int append_rank(Content *content, const Ranks *ranks, int64_t rank) except -1:
    cdef uint32_t start = ranks.offsets[rank]
    cdef uint32_t length = ranks.offsets[rank + 1] - start
    if content.capacity - content.size < ROOM:
        grow(content, ROOM)
    copy_rank(content.data + content.size, ranks.data + start, length)
    content.size += length
    return 0


cdef inline void copy_rank(char *target, const uint8_t *source, uint32_t length) noexcept:
    """Copies the bytes of a rank. `target` has room for ROOM bytes."""
    memcpy(target, source, MOVE)
    if length > MOVE:
        memcpy(target + MOVE, source + MOVE, length - MOVE)


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
    """The text of the new bytes, up to the last whole character; with `final`, of all new bytes. None for no text."""
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
    """The text of the bytes from `start` to `stop`; "" where there are none."""
    return PyUnicode_DecodeUTF8(content.data + start, stop - start, "replace") if stop > start else ""


cdef inline bytes last_bytes(Content *content, Py_ssize_t most):
    """The last bytes, at most this many."""
    cdef Py_ssize_t count = min(content.size, most)
    return content.data[content.size - count:content.size] if count else b""
