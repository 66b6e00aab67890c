# cython: language_level=3
"""The declarations of `texts.pyx`, for the builder of columns."""

from libc.stdint cimport int64_t, uint64_t
from harmony.columns.headers cimport Headers, Known
from harmony.columns.memory cimport Rows


cdef class TextReader:
    """Reads completions that are texts, in which markers are written out. One thread uses it at a time."""
    cdef object column
    cdef const char *data  # these two belong to the caller
    cdef const int64_t *offsets
    cdef Headers headers
    cdef char *memory  # zeros, a copy of the current text, and zeros
    cdef char *text  # the copy
    cdef uint64_t *openings  # a bit for each byte of the text
    cdef Py_ssize_t size, capacity

    cdef int take(self, Py_ssize_t index) except -1 nogil
    cdef int reserve(self, Py_ssize_t capacity) except -1 nogil
    cdef bint read(self, Rows rows, Py_ssize_t index, int given) except -1 nogil
    cdef Known *header(self, Py_ssize_t begin, Py_ssize_t stop, int given) except NULL nogil
    cdef Known *learn(self, Py_ssize_t begin, Py_ssize_t stop, int given, uint64_t hash) except NULL
    cdef object source(self)
