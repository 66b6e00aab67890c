# cython: language_level=3
"""What `_moves.pyx` shows to the modules that build on it."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint8_t, uint32_t
from harmony.parsing.content cimport Content, Ranks

cdef Ranks RANKS
cdef int64_t FIRST_SPECIAL, LAST_TOKEN, NO_ID

cdef inline int64_t token_id(object token) noexcept:
    """The id that an int is, or NO_ID."""
    cdef int overflow
    cdef int64_t number = PyLong_AsLongLongAndOverflow(token, &overflow)
    return number if overflow == 0 and 0 <= number <= LAST_TOKEN else NO_ID


cdef class Moves:
    cdef bint _strict
    cdef const uint8_t *_moves
    cdef str _unit
    cdef int _state
    cdef object _given
    cdef bint _cut
    cdef Py_ssize_t _position, _start, _header_start, _content_start, _run_start
    cdef list _header_tokens
    cdef object _header, _role, _channel, _recipient, _content_type
    cdef Content _content
    cdef str _text
    cdef object _delta
    cdef list _content_tokens, _tokens, _messages, _spans, _segments, _diagnostics

    cdef int _begin(self, object given, bint strict) except -1
    cdef int _run(self, object tokens) except -1
    cdef int _run_list(self, list tokens) except -1
    cdef int _run_buffer(self, const uint32_t[::1] tokens) except -1
    cdef int _step(self, int64_t token, object integer, Py_ssize_t width) except -1
    cdef int _act(self, int action, int kind, int64_t token, object integer, Py_ssize_t width) except -1
    cdef int _take_text(self, str text) except -1
    cdef int _add_text(self, str text) except -1
    cdef object _end(self)
    cdef int _imply_start(self) except -1
    cdef int _close_header(self, Py_ssize_t width) except -1
    cdef int _mend_header(self, Py_ssize_t width) except -1
    cdef int _open_content(self, object header, Py_ssize_t start) except -1
    cdef int _forget_header_tokens(self) except -1
    cdef Py_ssize_t _place(self, object index) except -1
    cdef int _remember_header(self, object header) except -1
    cdef int _forget_header(self) except -1
    cdef int _close_message(self, object end) except -1
    cdef int _add_to_content(self, int64_t rank) except -1
    cdef int _look_before(self, int kind) except -1
    cdef bint _is_short(self, int marker) except -1
    cdef bint _look(self, int marker) except -1
    cdef object _slot(self)
    cdef int _open_bare_content(self, object mended) except -1
    cdef int _add_bytes(self, bytes data) except -1
    cdef int _look_again(self) except -1
    cdef int _repair(self, int kind, int64_t token, object integer, Py_ssize_t width) except -1
    cdef int _give_up_header(self, int kind, int64_t token, object integer, Py_ssize_t width) except -1
    cdef int _reopen(self, object integer, Py_ssize_t width) except -1
    cdef int _note_in_header(self, object faults) except -1
    cdef int _note(self, list diagnostics) except -1
    cdef int _refuse(self, object fault) except -1
    cdef int _fail(self, object fault) except -1
