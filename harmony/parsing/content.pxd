# cython: language_level=3
"""A growing buffer of UTF-8: the bytes of ranks are appended, and whole characters are read as text.

It knows nothing of the format. The functions are inlined. A caller must have checked that a token is a rank.
"""

from cpython.mem cimport PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_DecodeUTF8Stateful
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy
from harmony.runtime.memory cimport read_once

cdef extern from *:
    """
    /* The value of an int of at most one digit; -1 for any other int, or where the layout of ints is not known. */
    static inline int64_t small_value(PyObject *integer) {
    #if defined(PYPY_VERSION) || defined(GRAALVM_PYTHON) || defined(Py_LIMITED_API)
        return -1;
    #elif PY_VERSION_HEX >= 0x030C0000
        return PyUnstable_Long_IsCompact((PyLongObject *)integer)
            ? (int64_t)PyUnstable_Long_CompactValue((PyLongObject *)integer) : -1;
    #else
        Py_ssize_t size = Py_SIZE(integer);
        return size == 1 ? (int64_t)((PyLongObject *)integer)->ob_digit[0] : size == 0 ? 0 : -1;
    #endif
    }
    """
    int64_t small_value(object integer) noexcept

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


cdef inline Py_ssize_t append_items(
    Content *content, const Ranks *ranks, int64_t last_rank, list tokens, Py_ssize_t place, Py_ssize_t *position,
    list kept, list kept_too
) except -1:
    """Appends the ranks at `place` of a list and behind it. Returns the place of the first item that is no rank.

    It may stop earlier, at a rank. Their number is added to `position`. `kept` and `kept_too` get the same items; both
    may be None. No code of others runs here, so nobody else uses the content meanwhile.
    """
    cdef char *data = content.data
    cdef Py_ssize_t size = content.size, capacity = content.capacity, begin = place
    cdef int64_t rank
    cdef uint32_t start, length
    try:
        while place < len(tokens):
            item = tokens[place]
            if type(item) is not int:
                break
            rank = small_value(item)
            if not 0 <= rank <= last_rank:
                break
            if capacity - size < ROOM:
                content.size = size
                grow(content, ROOM)
                data, capacity = content.data, content.capacity
            if kept is not None:
                kept.append(item)
                kept_too.append(item)
            start = ranks.offsets[rank]
            length = ranks.offsets[rank + 1] - start
            copy_rank(data + size, ranks.data + start, length)
            size += length
            place += 1
    finally:
        content.size = size
        position[0] += place - begin
    return place


cdef inline Py_ssize_t append_numbers(
    Content *content, const Ranks *ranks, int64_t last_rank, const uint32_t *tokens, Py_ssize_t place,
    Py_ssize_t count, Py_ssize_t *position, list kept, list kept_too
) except -1:
    """The same as `append_items`, for `count` numbers in memory that others may change at any time."""
    cdef char *data = content.data
    cdef Py_ssize_t size = content.size, capacity = content.capacity, begin = place
    cdef uint32_t rank, start, length
    try:
        while place < count:
            rank = read_once(tokens + place)
            if rank > last_rank:
                break
            if capacity - size < ROOM:
                content.size = size
                grow(content, ROOM)
                data, capacity = content.data, content.capacity
            if kept is not None:
                item = rank
                kept.append(item)
                kept_too.append(item)
            start = ranks.offsets[rank]
            length = ranks.offsets[rank + 1] - start
            copy_rank(data + size, ranks.data + start, length)
            size += length
            place += 1
    finally:
        content.size = size
        position[0] += place - begin
    return place


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
