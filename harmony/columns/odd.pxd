# cython: language_level=3
"""The declaration of `odd.pyx`, for the builder of columns."""

from harmony.columns.memory cimport Rows
from harmony.parsing.moves_c cimport Moves


cdef class OddReader(Moves):
    cdef Rows rows
    cdef object values
    cdef Py_ssize_t index  # of the conversation
    cdef int number  # of the next message
    cdef dict known  # the codes of headers, by their addresses
    cdef bint is_doubtful  # whether a message may be of another chat format

    cdef bint read(self, Rows rows, Py_ssize_t index, object tokens, object given, bint strict) except -1
    cdef int close_message(self, object end) except -1
    cdef tuple codes_of(self, object header)
