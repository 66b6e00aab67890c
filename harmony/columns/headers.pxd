# cython: language_level=3
"""The declarations of `headers.pyx`, for the readers of tokens and of texts."""

from libc.stdint cimport int32_t, uint16_t, uint64_t
from libc.string cimport memcmp
from harmony.columns.memory cimport FIELDS

cdef enum:
    SLOTS = 8192
    AT_END = 8  # a flag beside the code of a role: the input ends in this header

cdef struct Known:  # a header that has been read
    uint64_t hash
    Py_ssize_t start  # the place of its key in `keys`
    Py_ssize_t size
    int given
    bint legal
    int32_t codes[FIELDS]


cdef class Headers:
    """The headers that one thread has read. The key of a header is its tokens or its text, with the given role."""
    cdef object values
    cdef Headers shared  # what all threads have learned together; None if there is one thread
    cdef object lock  # held by a thread that uses these headers as `shared`
    cdef Py_ssize_t caught_up  # how many entries of `shared` were copied
    cdef Known *known
    cdef char *keys  # of known headers, one after another
    cdef uint16_t *slots  # a hash table: 1 + the index of a known header, or 0
    cdef Py_ssize_t known_count, keys_size

    cdef Known *learn(
        self, uint64_t hash, int given, const void *key, Py_ssize_t size, list tokens
    ) except NULL
    cdef int catch_up(self) except -1
    cdef Known *read(
        self, uint64_t hash, int given, const void *key, Py_ssize_t size, list tokens
    ) except NULL
    cdef Known *add(self, const Known *other, const void *key) noexcept


cdef inline Known *find(Headers headers, uint64_t hash, int given, const void *key, Py_ssize_t size) noexcept nogil:
    """The entry for a header; NULL if it is new."""
    cdef Py_ssize_t slot = hash >> 51
    cdef Known *known
    while headers.slots[slot] != 0:
        known = &headers.known[headers.slots[slot] - 1]
        if known.hash == hash and known.given == given and known.size == size and not memcmp(
            headers.keys + known.start, key, size
        ):
            return known
        slot = (slot + 1) & (SLOTS - 1)
    return NULL
