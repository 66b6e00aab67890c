# cython: language_level=3
"""Looks through a text, many bytes at a time: finds where markers can begin, and checks that the text is UTF-8."""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__SSE2__) && defined(__GNUC__)
    #include <emmintrin.h>
    #define HAS_BLOCKS
    #endif

    #define PADDING 128 /* zeros before and behind a text, so that whole blocks can be read */

    #ifdef HAS_BLOCKS
    #define ALL(byte) _mm_set1_epi8((char)(byte))

    static inline __m128i block_at(const char *text) {
        return _mm_loadu_si128((const __m128i *)text);
    }

    /* Sets the highest bit of each byte that breaks a rule of UTF-8. Each rule is about a byte and the three before. */
    static inline __m128i faults_at(const char *text) {
        const __m128i here = block_at(text), before = block_at(text - 1);
        const __m128i under_a0 = _mm_cmplt_epi8(here, ALL(0xA0)), under_90 = _mm_cmplt_epi8(here, ALL(0x90));
        /* A difference has the highest bit if the byte is at least 0xC0, 0xE0 or 0xF0. */
        __m128i continues = _mm_subs_epu8(before, ALL(0x40));
        continues = _mm_or_si128(continues, _mm_subs_epu8(block_at(text - 2), ALL(0x60)));
        continues = _mm_or_si128(continues, _mm_subs_epu8(block_at(text - 3), ALL(0x70)));
        __m128i faults = _mm_xor_si128(continues, _mm_cmplt_epi8(here, ALL(0xC0)));
        faults = _mm_or_si128(faults, _mm_cmpeq_epi8(_mm_and_si128(here, ALL(0xFE)), ALL(0xC0)));
        faults = _mm_or_si128(faults, _mm_cmpeq_epi8(_mm_max_epu8(here, ALL(0xF5)), here));
        faults = _mm_or_si128(faults, _mm_and_si128(under_a0, _mm_cmpeq_epi8(before, ALL(0xE0))));
        faults = _mm_or_si128(faults, _mm_andnot_si128(under_a0, _mm_cmpeq_epi8(before, ALL(0xED))));
        faults = _mm_or_si128(faults, _mm_and_si128(under_90, _mm_cmpeq_epi8(before, ALL(0xF0))));
        return _mm_or_si128(faults, _mm_andnot_si128(under_90, _mm_cmpeq_epi8(before, ALL(0xF4))));
    }

    /* Sets the bit of each `<|`. Returns whether the text is certainly UTF-8. The zero behind the text is looked at
       too: it is the fault of a character that is cut off. */
    static inline int look_through(const char *text, size_t size, uint64_t *openings) {
        __m128i faults = _mm_setzero_si128();
        int is_open = 0; /* whether one of the last three bytes is not ASCII */
        for (size_t place = 0; place <= size; place += 64) {
            __m128i here, seen = _mm_setzero_si128();
            uint64_t found = 0;
            for (int part = 0; part < 64; part += 16) {
                const __m128i behind = block_at(text + place + part + 1);
                here = block_at(text + place + part);
                seen = _mm_or_si128(seen, here);
                found |= (uint64_t)_mm_movemask_epi8(_mm_and_si128(
                    _mm_cmpeq_epi8(here, ALL('<')), _mm_cmpeq_epi8(behind, ALL('|')))) << part;
            }
            openings[place / 64] = found;
            if (is_open | _mm_movemask_epi8(seen))
                for (int part = 0; part < 64; part += 16)
                    faults = _mm_or_si128(faults, faults_at(text + place + part));
            is_open = _mm_movemask_epi8(here) & 0xE000;
        }
        return _mm_movemask_epi8(faults) == 0;
    }
    #else
    static inline int look_through(const char *text, size_t size, uint64_t *openings) {
        unsigned char high = 0;
        const char *end = text + size, *found = text;
        memset(openings, 0, (size / 64 + 1) * sizeof(uint64_t));
        while (found < end && (found = (const char *)memchr(found, '<', end - found)) != NULL) {
            if (found[1] == '|') openings[(found - text) / 64] |= UINT64_C(1) << (found - text) % 64;
            found++;
        }
        for (size_t place = 0; place < size; place++) high |= (unsigned char)text[place];
        return high < 0x80;
    }
    #endif

    static inline int lowest_bit(uint64_t bits) {
    #ifdef __GNUC__
        return __builtin_ctzll(bits);
    #else
        int place = 0;
        for (; !(bits & 0xFF); bits >>= 8) place += 8;
        for (; !(bits & 1); bits >>= 1) place++;
        return place;
    #endif
    }

    static inline uint64_t eight_bytes(const char *text) {
        uint64_t bytes;
        memcpy(&bytes, text, 8);
        return bytes;
    }

    /* A short string, to be compared with the begin of a text. */
    typedef struct { uint64_t bytes[2], mask[2]; } Short;

    static inline void make_short(Short *made, const char *string, size_t size) {
        memset(made, 0, sizeof(*made));
        memcpy(made->bytes, string, size);
        memset(made->mask, 0xFF, size);
    }

    /* 16 bytes of the text are read, of which some may be PADDING. */
    static inline int begins_with(const char *text, const Short *string) {
        return !(((eight_bytes(text) ^ string->bytes[0]) & string->mask[0]) |
                 ((eight_bytes(text + 8) ^ string->bytes[1]) & string->mask[1]));
    }
    """
    enum: PADDING
    bint look_through(const char *text, size_t size, uint64_t *openings) noexcept nogil
    int lowest_bit(uint64_t bits) noexcept nogil
    uint64_t eight_bytes(const char *text) noexcept nogil
    ctypedef struct Short:
        pass
    void make_short(Short *made, const char *string, size_t size) noexcept nogil
    bint begins_with(const char *text, const Short *string) noexcept nogil


cdef struct Openings:  # what is left of the places of all `<|` in a text
    const uint64_t *bits  # for each byte a bit
    uint64_t left  # of the bits at `place`
    Py_ssize_t place


cdef inline Openings openings_of(uint64_t *bits, Py_ssize_t size) noexcept nogil:
    """All `<|` that `look_through` has found. The last one is the end of the text."""
    cdef Openings openings
    bits[size >> 6] |= <uint64_t>1 << (size & 63)
    openings.bits, openings.left, openings.place = bits, bits[0], 0
    return openings


cdef inline Py_ssize_t next_opening(Openings *openings) noexcept nogil:
    """The place of the next `<|`; the size of the text behind the last one, and after that there is none."""
    cdef uint64_t left = openings.left
    while left == 0:
        openings.place += 64
        openings.bits += 1
        left = openings.bits[0]
    openings.left = left & (left - 1)
    return openings.place + lowest_bit(left)
