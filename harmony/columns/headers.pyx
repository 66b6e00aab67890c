# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""What the compiled builder of columns remembers of headers. `header.py` reads each different header once."""

cimport cython
from cpython.mem cimport PyMem_RawFree
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy, memset
from harmony.columns.memory cimport FIELDS
from harmony.runtime.memory cimport resize

from harmony.columns.rows import GIVEN, GIVEN_CODE
from harmony.errors import Fault
from harmony.format.header import REMEMBERED_HEADERS, REMEMBERED_LENGTH, open_role, read_header

cdef Py_ssize_t LONGEST_KEY = 4 * REMEMBERED_LENGTH  # bytes: a token has four
cdef Py_ssize_t MOST_HEADERS = REMEMBERED_HEADERS  # half of the slots
cdef int ROLE_BITS = GIVEN_CODE


@cython.final
cdef class Headers:
    def __cinit__(self, values):
        self.values = values
        resize(<void **>&self.known, MOST_HEADERS * sizeof(Known))
        resize(<void **>&self.keys, MOST_HEADERS * LONGEST_KEY)
        resize(<void **>&self.slots, SLOTS * sizeof(uint16_t))
        memset(self.slots, 0, SLOTS * sizeof(uint16_t))

    def __dealloc__(self):
        PyMem_RawFree(self.known)
        PyMem_RawFree(self.keys)
        PyMem_RawFree(self.slots)

    cdef Known *learn(
        self, uint64_t hash, int given, const void *key, Py_ssize_t size, list tokens
    ) except NULL:
        """Reads a new header, and makes its entry. If `tokens` is None, the automaton has no move in it.

        A longer key than LONGEST_KEY is not remembered, and not legal: the engine reads such a header.
        """
        cdef Py_ssize_t slot
        cdef Known *known
        cdef int field
        if self.known_count == MOST_HEADERS:
            self.known_count = self.keys_size = 0
            memset(self.slots, 0, SLOTS * sizeof(uint16_t))
        known = &self.known[self.known_count]
        known.hash, known.given, known.size = hash, given, size
        known.start = self.keys_size
        known.legal = False
        if size > LONGEST_KEY:
            return known
        role = GIVEN[given & ROLE_BITS]
        if tokens is None:
            pass
        elif given & AT_END:
            known.legal = open_role(tokens, role) is not None
        else:
            try:
                codes = self.values.of_header(read_header(tokens, role))
                for field in range(FIELDS):
                    known.codes[field] = codes[field]
                known.legal = True
            except Fault:
                pass
        memcpy(self.keys + known.start, key, size)
        slot = hash >> 51
        while self.slots[slot] != 0:
            slot = (slot + 1) & (SLOTS - 1)
        self.known_count += 1
        self.keys_size += size
        self.slots[slot] = <uint16_t>self.known_count
        return known
