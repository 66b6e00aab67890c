# cython: language_level=3
"""The declarations of `scan_c.pyx` that other compiled modules use."""

from libc.stdint cimport int64_t
from harmony.parsing.characters cimport Characters

cdef struct Marker:
    Py_ssize_t start
    Py_ssize_t stop
    int64_t token

cdef bint next_marker(str text, const Characters *all, Py_ssize_t at, Marker *found) except -1
cdef Py_ssize_t end_of_header(const Characters *all, Py_ssize_t start, Py_ssize_t most) noexcept
