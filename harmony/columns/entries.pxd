# cython: language_level=3
"""The declaration of `entries.pyx`, for the builder of columns."""

from libc.stdint cimport uint32_t
from harmony.columns.memory cimport Rows


cdef Py_ssize_t add_text(
    Rows rows, const uint32_t *tokens, Py_ssize_t place, Py_ssize_t stop, uint32_t *found
) except -1 nogil
