# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""What the compiled builder of columns remembers of headers. `header.py` reads each different header once."""

cimport cython
from cpython.mem cimport PyMem_RawFree
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy, memset
from harmony.columns.memory cimport FIELDS
from harmony.runtime.memory cimport resize

from threading import Lock

from harmony.columns.rows import GIVEN, GIVEN_CODE
from harmony.errors import Fault
from harmony.format.header import REMEMBERED_HEADERS, REMEMBERED_LENGTH, open_role, read_header

cdef Py_ssize_t LONGEST_KEY = 4 * REMEMBERED_LENGTH  # bytes: a token has four
cdef Py_ssize_t MOST_HEADERS = REMEMBERED_HEADERS  # half of the slots
cdef int ROLE_BITS = GIVEN_CODE


@cython.final
cdef class Headers:
    def __cinit__(self, values, Headers shared=None):
        self.values, self.shared, self.lock = values, shared, Lock()
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
        cdef Known *known
        if self.shared is None or size > LONGEST_KEY:
            return self.read(hash, given, key, size, tokens)
        with self.shared.lock:
            self.catch_up()
            known = find(self, hash, given, key, size)
            if known is NULL:
                known = self.read(hash, given, key, size, tokens)
                if self.shared.known_count < MOST_HEADERS:
                    self.shared.add(known, key)
                    self.caught_up += 1
        return known

    cdef int catch_up(self) except -1:
        """Copies what other threads have learned since the last time."""
        cdef Headers shared = self.shared
        cdef Known *known
        for self.caught_up in range(self.caught_up, shared.known_count):
            known = &shared.known[self.caught_up]
            key = shared.keys + known.start
            if self.known_count < MOST_HEADERS and find(self, known.hash, known.given, key, known.size) is NULL:
                self.add(known, key)
        self.caught_up = shared.known_count
        return 0

    cdef Known *read(
        self, uint64_t hash, int given, const void *key, Py_ssize_t size, list tokens
    ) except NULL:
        cdef Known found
        cdef int field
        found.hash, found.given, found.size, found.legal = hash, given, size, False
        role = GIVEN[given & ROLE_BITS]
        if tokens is None or size > LONGEST_KEY:
            pass
        elif given & AT_END:
            found.legal = open_role(tokens, role) is not None
        else:
            try:
                codes = self.values.of_header(read_header(tokens, role))
                for field in range(FIELDS):
                    found.codes[field] = codes[field]
                found.legal = True
            except Fault:
                pass
        if self.known_count == MOST_HEADERS:
            self.known_count = self.keys_size = 0
            memset(self.slots, 0, SLOTS * sizeof(uint16_t))
        return self.add(&found, key)

    cdef Known *add(self, const Known *other, const void *key) noexcept:
        """Adds an entry, for which there must be room. One with too long a key can be used until the next is added."""
        cdef Known *known = &self.known[self.known_count]
        cdef Py_ssize_t slot = other.hash >> 51
        known[0] = other[0]
        known.start = self.keys_size
        if known.size > LONGEST_KEY:
            return known
        memcpy(self.keys + known.start, key, known.size)
        while self.slots[slot] != 0:
            slot = (slot + 1) & (SLOTS - 1)
        self.known_count += 1
        self.keys_size += known.size
        self.slots[slot] = <uint16_t>self.known_count
        return known
