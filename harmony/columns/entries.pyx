# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The bytes of tokens for the compiled builder of columns: most tokens are copied by one move.

The tokens belong to the caller, and another thread or process may change them at any time. So each is read once.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from harmony.columns.memory cimport ROOM, Rows
from harmony.runtime.memory cimport is_utf_8, read_once, resize

from harmony.format import vocabulary
from harmony.runtime.locks import Once

cdef uint32_t FIRST_SPECIAL = vocabulary.FIRST_SPECIAL

cdef enum:
    INLINE = 15  # bytes of a token that its entry holds
    BROKEN = 0x80  # a flag in an entry's length: the bytes of the token are not valid UTF-8

cdef struct Entry:  # a cache line holds four
    char data[INLINE]
    uint8_t length  # INLINE + 1 if there are more bytes

cdef const uint32_t[::1] RANK_OFFSETS
cdef const uint8_t[::1] RANK_BYTES
cdef Entry *ENTRIES = NULL


def _take_entries():
    """Copies the vocabulary into entries. From then on they are only read."""
    global ENTRIES, RANK_OFFSETS, RANK_BYTES
    cdef Entry *entries = NULL
    cdef uint32_t rank, start, length
    loaded = vocabulary.load()
    if ENTRIES is not NULL:  # a signal handler may have loaded them meanwhile
        return True
    RANK_OFFSETS = loaded.offsets
    RANK_BYTES = loaded.data
    resize(<void **>&entries, FIRST_SPECIAL * sizeof(Entry))
    for rank in range(FIRST_SPECIAL):
        start = RANK_OFFSETS[rank]
        length = RANK_OFFSETS[rank + 1] - start
        memcpy(entries[rank].data, &RANK_BYTES[start], INLINE)  # reading past a token is safe: the data ends in zeros
        entries[rank].length = <uint8_t>min(length, <uint32_t>INLINE + 1)
        if not is_utf_8(&RANK_BYTES[start], length):
            entries[rank].length |= BROKEN
    ENTRIES = entries
    return True


load_entries = Once(_take_entries)


cdef Py_ssize_t add_text(
    Rows rows, const uint32_t *tokens, Py_ssize_t place, Py_ssize_t stop, uint32_t *found
) except -1 nogil:
    """Appends the bytes of ordinary tokens to the content.

    Returns the place of the first other one, and sets `found`.
    """
    cdef const Entry *entries = ENTRIES
    cdef char *out = rows.content + rows.content_size
    cdef char *limit = rows.content + rows.content_capacity - ROOM
    cdef Py_ssize_t begin = rows.content_size
    cdef const uint32_t *at = tokens + place
    cdef const uint32_t *end = tokens + stop
    cdef uint32_t token, length
    cdef uint32_t first_special = FIRST_SPECIAL
    cdef uint32_t seen = 0
    while at < end:
        token = read_once(at)
        if token >= first_special:
            found[0] = token
            break
        if out > limit:
            rows.content_size = out - rows.content
            rows.reserve_content(ROOM)
            out = rows.content + rows.content_size
            limit = rows.content + rows.content_capacity - ROOM
        memcpy(out, &entries[token], sizeof(Entry))
        length = entries[token].length
        seen |= length
        length &= ~BROKEN
        if length > INLINE:
            length = RANK_OFFSETS[token + 1] - RANK_OFFSETS[token]
            memcpy(out, &RANK_BYTES[RANK_OFFSETS[token]], length)
        out += length
        at += 1
    rows.content_size = out - rows.content
    if seen & BROKEN and not is_utf_8(<uint8_t *>rows.content + begin, rows.content_size - begin):
        with gil:
            rows.replace(begin)
    return at - tokens
