# cython: language_level=3
from libc.stdint cimport uint8_t, uint32_t


cdef class Ids:
    cdef uint32_t *ids
    cdef Py_ssize_t size, capacity
    cdef int reserve(self, Py_ssize_t count) except -1
    cdef int add(self, const uint32_t *ids, Py_ssize_t count) except -1
    cdef const uint8_t *scanned(self, const uint8_t *at, const uint8_t *end) except? NULL
