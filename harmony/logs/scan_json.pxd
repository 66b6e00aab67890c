# cython: language_level=3
"""Where the parts of JSON end.

What `behind_string` and `behind_value` read must be valid. The functions with `certain` in their names return NULL for
what is not certainly valid; the bytes must be UTF-8, and a zero must stand behind them.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strchr

cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    #define HIGH_BITS 0x8080808080808080ULL
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define EIGHT 0
    #else
    #define EIGHT 1
    #endif
    #if defined(_MSC_VER)
    #include <intrin.h>
    static int trailing_zeros(unsigned long long bits) {
        unsigned long at;
        _BitScanForward64(&at, bits);
        return (int)at;
    }
    #else
    static inline int trailing_zeros(unsigned long long bits) { return __builtin_ctzll(bits); }
    #endif
    """
    const uint64_t ONES, HIGH_BITS  # of eight bytes at a time
    const bint EIGHT  # whether the first of eight bytes is the least significant
    int trailing_zeros(uint64_t bits) noexcept


cdef inline const uint8_t *behind_space(const uint8_t *at, const uint8_t *end) noexcept:
    while at < end and (at[0] == c" " or at[0] == c"\t" or at[0] == c"\n" or at[0] == c"\r"):
        at += 1
    return at


cdef inline bint has_less(uint64_t eight, uint64_t limit) noexcept:
    """Whether one of eight bytes is less than the limit, which is at most 0x80."""
    return specials(eight, limit) != 0


cdef inline const uint8_t *behind_string(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind a string. `at` is that of its first quote."""
    cdef const uint8_t *quote
    cdef const uint8_t *before
    at += 1
    while at < end:
        quote = <const uint8_t *>memchr(at, c'"', end - at)
        if quote is NULL:
            return end
        before = quote
        while before > at and before[-1] == c"\\":
            before -= 1
        if (quote - before) & 1 == 0:  # an odd number of backslashes makes the quote a part of the string
            return quote + 1
        at = quote + 1
    return end


cdef inline const uint8_t *behind_numbers(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind numbers, commas and spaces, or a place before that.

    Letters and brackets have one bit that these have not, and a quote has another value.
    """
    cdef uint64_t[4] words
    while end - at >= 32:
        memcpy(words, at, 32)
        if (words[0] | words[1] | words[2] | words[3]) & 0x40 * ONES or (
            has_less(words[0] ^ 0x22 * ONES, 1) or has_less(words[1] ^ 0x22 * ONES, 1)
            or has_less(words[2] ^ 0x22 * ONES, 1) or has_less(words[3] ^ 0x22 * ONES, 1)
        ):
            break
        at += 32
    return at


cdef inline const uint8_t *behind_value(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind a value of valid JSON. No bracket stands in it but in strings, objects and arrays."""
    cdef Py_ssize_t depth = 0
    while at < end:
        if depth:
            at = behind_numbers(at, end)
            if at == end:
                break
        if at[0] == c'"':
            at = behind_string(at, end)
            if not depth:
                return at
            continue
        if at[0] == c"[" or at[0] == c"{":
            depth += 1
        elif at[0] == c"]" or at[0] == c"}":
            if not depth:
                return at  # that of the array or the object around the value
            depth -= 1
            if not depth:
                return at + 1
        elif not depth and (at[0] == c"," or at[0] == c" " or at[0] == c"\t" or at[0] == c"\n" or at[0] == c"\r"):
            return at
        at += 1
    return end


cdef inline const uint8_t *behind_certain(const uint8_t *at, const uint8_t *end, int depth) noexcept:
    """The place behind a value."""
    cdef uint8_t bracket
    if at[0] == c'"':
        return behind_certain_string(at, end)
    if at[0] == c"-" or c"0" <= at[0] <= c"9":
        return behind_certain_number(at)
    if at[0] != c"[" and at[0] != c"{":
        return behind_word(at, end)
    if depth == 64:
        return NULL
    bracket = at[0] + 2  # the closing one
    at = behind_space(at + 1, end)
    if at[0] == bracket:
        return at + 1
    while True:
        if bracket == c"}":
            if at[0] != c'"':
                return NULL
            at = behind_certain_string(at, end)
            if at is NULL:
                return NULL
            at = behind_space(at, end)
            if at[0] != c":":
                return NULL
            at = behind_space(at + 1, end)
        at = behind_certain(at, end, depth + 1)
        if at is NULL:
            return NULL
        at = behind_space(at, end)
        if at[0] == bracket:
            return at + 1
        if at[0] != c",":
            return NULL
        at = behind_space(at + 1, end)


cdef inline const uint8_t *behind_word(const uint8_t *at, const uint8_t *end) noexcept:
    if end - at >= 4 and (memcmp(at, b"true", 4) == 0 or memcmp(at, b"null", 4) == 0):
        return at + 4
    return at + 5 if end - at >= 5 and memcmp(at, b"false", 5) == 0 else NULL


cdef inline const uint8_t *behind_digits(const uint8_t *at) noexcept:
    """The place behind digits; NULL if there are none."""
    cdef const uint8_t *start = at
    while c"0" <= at[0] <= c"9":
        at += 1
    return at if at > start else NULL


cdef inline const uint8_t *behind_certain_number(const uint8_t *at) noexcept:
    if at[0] == c"-":
        at += 1
    at = at + 1 if at[0] == c"0" else behind_digits(at)
    if at is not NULL and at[0] == c".":
        at = behind_digits(at + 1)
    if at is not NULL and (at[0] == c"e" or at[0] == c"E"):
        at += 1
        if at[0] == c"+" or at[0] == c"-":
            at += 1
        at = behind_digits(at)
    return at


cdef inline const uint8_t *behind_certain_string(const uint8_t *at, const uint8_t *end) noexcept:
    """The place behind a string. `at` is that of its first quote."""
    cdef uint64_t eight, special
    at += 1
    while True:
        while EIGHT and end - at >= 8:
            memcpy(&eight, at, 8)
            special = specials(eight, 0x20) | specials(eight ^ 0x22 * ONES, 1) | specials(eight ^ 0x5C * ONES, 1)
            if special:
                at += trailing_zeros(special) >> 3
                break
            at += 8
        if at[0] == c'"':
            return at + 1
        if at[0] < 0x20:
            return NULL  # also at the end
        if at[0] != c"\\":
            at += 1
            continue
        if at[1] == c"u":
            at = behind_code(at)
            if at is NULL:
                return NULL
        elif at[1] and strchr(b'"\\/bfnrt', at[1]) is not NULL:
            at += 2
        else:
            return NULL


cdef inline const uint8_t *behind_code(const uint8_t *at) noexcept:
    """The place behind an escape with a number, or behind the two of a pair of surrogates; NULL for a single one."""
    cdef int code = code_at(at)
    if 0xD800 <= code < 0xDC00:
        at += 6
        code = code_at(at)
        if code < 0xDC00 or code >= 0xE000:
            return NULL
    elif code < 0 or 0xDC00 <= code < 0xE000:
        return NULL
    return at + 6


cdef inline int code_at(const uint8_t *at) noexcept:
    cdef int index, code = 0
    cdef uint8_t digit
    if at[0] != c"\\" or at[1] != c"u":
        return -1
    for index in range(2, 6):
        digit = at[index]
        if c"0" <= digit <= c"9":
            code = 16 * code + digit - c"0"
        elif c"a" <= digit | 0x20 <= c"f":
            code = 16 * code + (digit | 0x20) - c"a" + 10
        else:
            return -1
    return code


cdef inline uint64_t specials(uint64_t eight, uint64_t limit) noexcept:
    """Bits of which the lowest is in the first of eight bytes that is less than the limit."""
    return (eight - limit * ONES) & ~eight & HIGH_BITS
