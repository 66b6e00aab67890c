# cython: language_level=3
"""The declarations of `moves_c.pyx` that other compiled modules use."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint8_t, uint32_t
from harmony.parsing.content cimport Content, Ranks

cdef extern from *:
    """
    /* The value of an int of one digit; -1 for any other int, also where the layout of ints is not known. */
    static inline int64_t small_value(PyObject *integer) {
    #if defined(PYPY_VERSION) || defined(GRAALVM_PYTHON) || defined(Py_LIMITED_API)
        return -1;
    #elif PY_VERSION_HEX >= 0x030C0000
        return PyUnstable_Long_IsCompact((PyLongObject *)integer)
            ? (int64_t)PyUnstable_Long_CompactValue((PyLongObject *)integer) : -1;
    #else
        return Py_SIZE(integer) == 1 ? (int64_t)((PyLongObject *)integer)->ob_digit[0] : -1;
    #endif
    }
    """
    int64_t small_value(object integer) noexcept

cdef Ranks RANKS
cdef int64_t FIRST_SPECIAL, LAST_TOKEN, NO_ID

cdef int load_vocabulary() except -1

cdef inline int64_t token_id(object token) noexcept:
    """The int as a token id; NO_ID where it is none."""
    cdef int overflow
    cdef int64_t number = small_value(token)
    if 0 <= number <= LAST_TOKEN:
        return number
    number = PyLong_AsLongLongAndOverflow(token, &overflow)
    return number if overflow == 0 and 0 <= number <= LAST_TOKEN else NO_ID


cdef class Moves:
    cdef const uint8_t *_moves
    cdef Content _content
    cdef object _role, _channel, _recipient, _content_type  # what users see: of the delta's message, or the open one
    cdef str _text
    cdef list _segments
    # The words of the last header text, in the header tokens before `_counted`, and the length of an unfinished word.
    cdef Py_ssize_t _counted
    cdef int _words, _word_length
    cdef bint _odd_words
    # `moves.py` and `repairs.py` read these fields, and write the public ones. `moves_py.py` explains each.
    cdef readonly bint _strict
    cdef readonly int _state
    cdef readonly str _unit
    cdef readonly object _header, _default_channel, _delta_header
    cdef readonly list _spans
    cdef public object _given, _delta
    cdef public bint _cut, _without_header
    cdef public Py_ssize_t _position, _start, _header_start, _content_start, _run_start
    cdef public list _header_tokens, _content_tokens, _tokens, _messages, _diagnostics

    cdef int begin(self, object given, bint strict, object default_channel) except -1
    cdef int _run(self, object tokens) except -1
    cdef int _run_list(self, list tokens) except -1
    cdef int _run_buffer(self, const uint32_t[::1] tokens) except -1
    cdef Py_ssize_t _add_items(self, list tokens, Py_ssize_t place, bint streaming) except -1
    cdef Py_ssize_t _add_numbers(
        self, const uint32_t *tokens, Py_ssize_t place, Py_ssize_t count, bint streaming
    ) except -1
    cdef bint _add_text_token(self, int64_t rank, object integer, int action) except -1
    cdef int _step(self, int64_t token, object integer, Py_ssize_t width) except -1
    cdef bint _is_still_header(self, int marker) except -1
    cdef int _count_words(self) except -1
    cdef int act(self, int action, int kind, object token, Py_ssize_t width) except -1
    cdef int _take_text(self, str text) except -1
    cdef int add_text(self, str text) except -1
    cdef int open_content(self, object header, Py_ssize_t start) except -1
    cdef int forget_header_tokens(self) except -1
    cdef int remember_header(self, object header) except -1
    cdef int _forget_header(self) except -1
    cdef int show(self, object header) except -1
    cdef inline int forget_delta(self) except -1:
        """Begins a step: the delta of the one before is over."""
        self._delta = None
        if self._delta_header is not None:
            self._delta_header = None
            self.show(self._header)
        return 0
    cdef int close_message(self, object end) except -1
    cdef int _add_to_content(self, int64_t rank) except -1
