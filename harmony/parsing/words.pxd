# cython: language_level=3
"""Quick tests of the text in an open header, which save most calls of `bare_content.py`.

They tell where that module certainly does not say "content". It knows the rules; these tests only know its constants.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from harmony.parsing.content cimport Ranks

cdef enum:
    MOST = 64  # more than there are characters that no name holds and that are not in ASCII
    LONGEST_RANK = 128


cdef struct Classes:  # of characters and bytes, filled once
    uint8_t bytes[256]  # `bare_content.BYTES`
    uint8_t deciding[128]  # ASCII characters that no name holds, white space too
    uint64_t seconds[256]  # for the first byte of the others in UTF-8: a bit for each second byte that may follow
    uint32_t characters[MOST]
    int count


cdef struct Words:  # of a list of tokens, from one index on
    Py_ssize_t counted  # the tokens before this index have been counted
    int count  # words that have ended
    int length  # of the word that has not ended
    bint odd  # there is a special token, a character that names seldom hold, or a long word


cdef inline int fill(Classes *classes, bytes classes_of_bytes, str outside_names) except -1:
    """`outside_names` are the characters that no name holds, as they stand inside `[...]` of a regular expression."""
    cdef Py_ssize_t index = 0
    cdef uint32_t first, last, character
    memset(classes, 0, sizeof(Classes))
    memcpy(classes.bytes, <const char *>classes_of_bytes, sizeof(classes.bytes))
    while index < len(outside_names):
        first = last = <uint32_t>ord(outside_names[index])
        if index + 2 < len(outside_names) and outside_names[index + 1] == "-":
            index += 2
            last = <uint32_t>ord(outside_names[index])
        for character in range(first, last + 1):
            add(classes, character)
        index += 1
    return 0


cdef inline int add(Classes *classes, uint32_t character) except -1:
    cdef bytes encoded
    if character < 0x80:
        classes.deciding[character] = True
    elif classes.count == MOST:
        raise OverflowError(f"Expected at most {MOST} characters that no name holds")
    else:
        encoded = chr(character).encode()
        classes.seconds[<uint8_t>encoded[0]] |= <uint64_t>1 << (encoded[1] & 63)
        classes.characters[classes.count] = character
        classes.count += 1
    return 0


cdef inline int count_words(
    Words *words, const Classes *classes, const Ranks *ranks, int64_t last_rank, int longest, list tokens,
    Py_ssize_t start
) except -1:
    """Counts the words of the tokens from `start` on, from where the last call stopped."""
    cdef Py_ssize_t index
    cdef int64_t rank
    cdef uint32_t place
    cdef uint8_t byte
    if words.counted <= start:
        words.counted = start
        words.count = words.length = words.odd = 0
    for index in range(words.counted, len(tokens)):
        rank = tokens[index]
        words.odd = words.odd or not 0 <= rank <= last_rank
        if words.odd:
            break
        for place in range(ranks.offsets[rank], ranks.offsets[rank + 1]):
            byte = classes.bytes[ranks.data[place]]
            words.count += words.length > 0 and byte == 1
            words.length = words.length + 1 if byte == 0 else 0
            words.odd = words.odd or byte == 2 or words.length > longest
    words.counted = len(tokens)
    return 0


cdef inline bint ends_no_word(
    const Classes *classes, const Ranks *ranks, int64_t last_rank, list tokens, Py_ssize_t start
) except -1:
    """Whether the last two tokens from `start` on certainly hold no character that ends a word, or is in no name."""
    cdef uint8_t text[2 * LONGEST_RANK]
    cdef Py_ssize_t size = 0, at = 0, index, stop = len(tokens)
    cdef int64_t rank
    cdef uint32_t length
    for index in range(max(start, stop - 2), stop):
        rank = tokens[index]
        if not 0 <= rank <= last_rank:
            return False
        length = ranks.offsets[rank + 1] - ranks.offsets[rank]
        memcpy(text + size, ranks.data + ranks.offsets[rank], length)
        size += length
    while at < size:
        if text[at] < 0x80:
            if classes.deciding[text[at]]:
                return False
        elif at + 1 < size and text[at + 1] & 0xC0 == 0x80 and classes.seconds[text[at]] >> (text[at + 1] & 63) & 1:
            if is_in(classes, text + at, size - at):
                return False
        at += 1
    return True


cdef inline bint is_in(const Classes *classes, const uint8_t *text, Py_ssize_t size) noexcept:
    """Whether the bytes begin with one of the `characters`, or may do so."""
    cdef int index
    cdef uint32_t character
    if text[0] < 0xE0 or text[0] >= 0xF0:
        return True
    if size < 3:
        return False
    character = (text[0] & 0x0F) << 12 | (text[1] & 0x3F) << 6 | text[2] & 0x3F
    for index in range(classes.count):
        if classes.characters[index] == character:
            return True
    return False
