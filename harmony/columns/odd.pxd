# cython: language_level=3
"""The declaration of `odd.pyx`, for the builder of columns."""

from libc.stdint cimport uint32_t
from harmony.columns.memory cimport Rows
from harmony.parsing.moves_c cimport Moves


cdef class OddReader(Moves):
    cdef Rows rows
    cdef object values
    cdef bint are_signed  # the tokens were given as int32
    cdef Py_ssize_t index  # of the conversation
    cdef int number  # of the next message
    cdef dict known  # the codes of headers, by their addresses

    cdef int begin_conversation(self, Rows rows, Py_ssize_t index, object given, bint strict) except -1
    cdef Py_ssize_t read(self, const uint32_t *tokens, Py_ssize_t begin, Py_ssize_t stop, int number) except -1
    cdef bint is_between_messages(self) noexcept
    cdef int end(self) except -1
    cdef int note_error(self, object error) except -1
    cdef bint finish(self, Py_ssize_t row, Py_ssize_t content, bint complete) except -1
    cdef bint may_be_other_format(self, Py_ssize_t row, Py_ssize_t content) except -1
    cdef int close_message(self, object end) except -1
    cdef tuple codes_of(self, object header)
