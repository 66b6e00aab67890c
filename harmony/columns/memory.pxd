# cython: language_level=3
"""Rows as one thread builds them, for the modules that do so; `_column_rows.pyx` says what they do."""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    # The columns of one integer a row, in the order of `Columns`: two of int64, the others of int32.
    CONVERSATION = 0
    OFFSETS = 1
    MESSAGE = 2
    CODES = 3
    FIELDS = 5
    CONTENT_TOKENS = 8
    END = 9
    COLUMNS = 10
    ROW_WIDTH = 48  # bytes

    ROOM = 160  # bytes, always behind the content: more than the longest token, 128, and as many as are copied at once


cdef class Rows:
    """The columns of neighbouring conversations, as far as they are built."""
    cdef Py_ssize_t first, conversations  # of which they are
    cdef Py_ssize_t to_row, to_content  # their place among others, once it is claimed
    cdef Py_ssize_t row_count, row_capacity
    cdef Py_ssize_t content_size, content_capacity
    cdef Py_ssize_t conversation_capacity
    cdef Py_ssize_t asked  # bytes, for all of them
    cdef void *block  # holds all columns, for few large pieces of memory cost less than many
    cdef void *columns[COLUMNS]
    cdef int64_t *starts  # the row with which each conversation begins
    cdef uint8_t *complete
    cdef char *content
    cdef dict diagnostics, errors

    cdef Py_ssize_t capacity(self) noexcept
    cdef int begin(self, Py_ssize_t first, Py_ssize_t conversations, Py_ssize_t rows, Py_ssize_t content) except -1
    cdef int reserve_rows(self, Py_ssize_t count) except -1 nogil
    cdef int reserve_content(self, Py_ssize_t size) except -1 nogil
    cdef int append(self, bytes text) except -1
    cdef int add(self, Py_ssize_t index, int number, const int32_t *codes, int length, int end) except -1 nogil
    cdef int replace(self, Py_ssize_t begin) except -1
    cdef bint has_room(self, Rows other) noexcept
    cdef int claim(self, Rows other) except -1
    cdef void copy(self, Rows other) noexcept nogil
    cdef int number_values(self, list values) except -1
    cdef object finished(self, list values)


cdef Rows take_rows(Py_ssize_t first, Py_ssize_t conversations, Py_ssize_t tokens)
cdef int give_rows(Rows rows) except -1
