# cython: language_level=3
"""The declarations of `memory.pyx`, for the builder of columns."""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    # The columns that hold one integer for each row, in the order of `Columns`: two of int64, the others of int32.
    CONVERSATION = 0
    OFFSETS = 1
    MESSAGE = 2
    CODES = 3
    FIELDS = 5
    CONTENT_TOKENS = 8
    END = 9
    COLUMNS = 10
    ROW_WIDTH = 48  # bytes

    ROOM = 160  # bytes that are always free behind the content: more than the longest token (128) and than one copy


cdef class Rows:
    """The columns of consecutive conversations, while they are built. One thread uses it at a time."""
    cdef Py_ssize_t first, conversations  # the index of the first conversation, and their number
    cdef Py_ssize_t to_row, to_content  # their place among all rows, once it is claimed
    cdef Py_ssize_t row_count, row_capacity
    cdef Py_ssize_t content_size, content_capacity
    cdef Py_ssize_t conversation_capacity
    cdef Py_ssize_t asked  # the bytes that were asked for
    cdef void *block  # holds all columns, because one large block of memory costs less than many
    cdef void *columns[COLUMNS]
    cdef int64_t *starts  # the first row of each conversation
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


cdef Rows take_rows(Py_ssize_t first, Py_ssize_t conversations, Py_ssize_t tokens, Py_ssize_t bytes_of_texts)
cdef int give_rows(Rows rows) except -1
