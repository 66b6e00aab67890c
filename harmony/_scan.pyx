# cython: language_level=3, freethreading_compatible=True
"""The scanner, compiled. Its twin `_scan_py.py` says what every public name does."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcmp

from harmony import vocabulary
from harmony.tokens import as_id

cdef int64_t FIRST_SPECIAL = vocabulary.FIRST_SPECIAL
cdef int64_t MESSAGE = vocabulary.MESSAGE
cdef int64_t END = vocabulary.END
cdef int64_t CALL = vocabulary.CALL
cdef int64_t RETURN = vocabulary.RETURN
cdef bytes MESSAGE_TEXT = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE].encode()
cdef tuple STOP_TEXTS = tuple([vocabulary.SPECIAL_TEXTS[token].encode() for token in vocabulary.STOPS])


cdef inline int64_t id_of(token, Py_ssize_t place) except? -1:
    """The id that an integer is, or -1 for all that are too large or too small to be one."""
    cdef int overflow
    cdef int64_t number = PyLong_AsLongLongAndOverflow(token if type(token) is int else as_id(token, place), &overflow)
    return -1 if overflow else number


cdef Py_ssize_t special_in_list(list tokens, Py_ssize_t place) except -1:
    cdef int64_t number
    try:
        while place < len(tokens):  # asked each time: a strange integer's `__index__` may have changed the list
            token = tokens[place]
            number = token if type(token) is int else as_id(token, place)
            if not 0 <= number < FIRST_SPECIAL:
                return place
            place += 1
    except OverflowError:  # of an integer that is too large for any id
        return place
    return len(tokens)


cdef Py_ssize_t special_in_buffer(const uint32_t[::1] tokens, Py_ssize_t place) noexcept:
    while place < tokens.shape[0] and tokens[place] < FIRST_SPECIAL:
        place += 1
    return place


cpdef Py_ssize_t next_special(tokens, Py_ssize_t start) except -1:
    if type(tokens) is list:
        return special_in_list(tokens, start)
    if isinstance(tokens, memoryview):
        return special_in_buffer(tokens, start)
    return special_in_list(list(tokens), start)


def skip_tokens(tokens, first, others):
    cdef Py_ssize_t at = 0, end, stop
    cdef bint is_first = first is not None
    verdicts = others if first is None else first
    if type(tokens) is tuple:
        tokens = list(tokens)
    while is_first or at < len(tokens):
        end = next_special(tokens, at if is_first else at + 1)
        while end < len(tokens) and id_of(tokens[end], end) != MESSAGE:
            end = next_special(tokens, end + 1)
        if end >= len(tokens):
            return at
        if not verdicts[tuple(tokens[at:end])]:
            return -1
        stop = next_special(tokens, end + 1)
        if stop >= len(tokens) or id_of(tokens[stop], stop) not in (END, CALL, RETURN):
            return -1
        at = stop + 1
        is_first = False
        verdicts = others
    return at


cdef Py_ssize_t marker_from(const char *text, Py_ssize_t size, Py_ssize_t at) noexcept:
    """Where the next `<|` is; the size of the text, if there is none."""
    cdef const char *found
    while at + 1 < size:
        found = <const char *>memchr(text + at, c"<", size - at - 1)
        if found is NULL:
            return size
        at = found - text
        if text[at + 1] == c"|":
            return at
        at += 1
    return size


cdef inline bint stands_at(bytes marker, const char *text, Py_ssize_t size, Py_ssize_t at) noexcept:
    return size - at >= len(marker) and memcmp(text + at, <const char *>marker, len(marker)) == 0


cdef Py_ssize_t stop_at(const char *text, Py_ssize_t size, Py_ssize_t at):
    """How long the stop at a place is; 0 where there is none."""
    for marker in STOP_TEXTS:
        if stands_at(<bytes>marker, text, size, at):
            return len(<bytes>marker)
    return 0


def skip_text(bytes text, first, others):
    cdef const char *data = text
    cdef Py_ssize_t size = len(text), at = 0, end, width = 0
    cdef bint is_first = first is not None
    verdicts = others if first is None else first
    while is_first or at < size:
        end = marker_from(data, size, at)
        while end < size and not stands_at(MESSAGE_TEXT, data, size, end):
            end = marker_from(data, size, end + 1)
        if end == size:
            return at
        if not verdicts[text[at:end]]:
            return -1
        at = marker_from(data, size, end + len(MESSAGE_TEXT))
        while at < size:
            width = stop_at(data, size, at)
            if width:
                break
            if vocabulary.special_token_at(text, at):
                return -1
            at = marker_from(data, size, at + 1)
        if at == size:
            return -1
        at += width
        is_first = False
        verdicts = others
    return at
