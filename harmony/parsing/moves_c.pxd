# cython: language_level=3
"""The declarations of `moves_c.pyx` that other compiled modules use."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint8_t, uint32_t
from harmony.parsing.content cimport Content, Ranks, small_value
from harmony.parsing.words cimport Words

cdef Ranks RANKS
cdef int64_t FIRST_SPECIAL, LAST_RANK, LAST_TOKEN, NO_ID
cdef int TEXT, KIND_COUNT

cdef int load_vocabulary() except -1
cdef object new_message(object header, str text)

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
    cdef Words _words  # of the last header text
    # `moves.py` and `repairs.py` read these fields, and write the public ones. `moves_py.py` explains each.
    cdef readonly bint _strict
    cdef readonly int _state
    cdef readonly str _unit
    cdef readonly object _header, _default_channel, _delta_header
    cdef readonly list _spans
    cdef public object _given, _delta, _resumed
    cdef public bint _cut, _without_header
    cdef public Py_ssize_t _position, _start, _header_start, _content_start, _run_start
    cdef public list _header_tokens, _content_tokens, _tokens, _messages, _diagnostics

    cdef int begin(self, object given, bint strict, object default_channel) except -1
    cdef int set_up(self, object given, bint strict, object default_channel) except -1
    cdef int _run(self, object tokens) except -1
    cdef int _run_list(self, list tokens) except -1
    cdef int _run_buffer(self, const uint32_t[::1] tokens) except -1
    cdef int _take(self, int64_t token, object integer, int action) except -1
    cdef int _step(self, int64_t token, object integer, Py_ssize_t width) except -1
    cdef bint _is_still_header(self, int marker) except -1
    cdef bint may_decide(self) except -1
    cdef int act(self, int action, int kind, object token, Py_ssize_t width) except -1
    cdef int _take_text(self, str text) except -1
    cdef int add_text(self, str text) except -1
    cdef int open_content(self, object header, Py_ssize_t start) except -1
    cdef int forget_header_tokens(self) except -1
    cdef int remember_header(self, object header) except -1
    cdef int forget_header(self) except -1
    cdef int show(self, object header) except -1
    cdef inline int forget_delta(self) except -1:
        """Begins a step: the delta of the one before is over."""
        self._delta = None
        if self._delta_header is not None:
            self._delta_header = None
            self.show(self._header)
        return 0
    cdef int close_message(self, object end) except -1
    cdef int add_message(
        self, object message, Py_ssize_t start, Py_ssize_t content_start, Py_ssize_t stop, object end
    ) except -1
    cdef int _add_to_content(self, int64_t rank) except -1


cdef inline int action_of_text(Moves each) noexcept:
    """The action for ordinary text in this state. Where it is ADD_TO_HEADER or ADD_TO_CONTENT, the state stays."""
    return each._moves[each._state * KIND_COUNT + TEXT] >> 4
