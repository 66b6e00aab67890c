# cython: language_level=3
"""Helpers for memory that work without the GIL: growing, copying, safe reading, flags, and a check of UTF-8."""

from cpython.mem cimport PyMem_RawRealloc
from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    #include <stdint.h>
    #include <string.h>

    /* Asks the system for large pages, as numpy does: the first access to each new page is slow. */
    static inline void advise_large_pages(void *data, size_t size) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        uintptr_t start = ((uintptr_t)data + 4095) & ~(uintptr_t)4095;
        if (size >= ((size_t)1 << 22)) madvise((void *)start, (uintptr_t)data + size - start, MADV_HUGEPAGE);
    #endif
    }

    /* Copies to memory that is not read soon. Writing past the cache avoids loading the old contents into it. */
    static inline void copy_past_cache(char *to, const char *from, size_t size) {
    #ifdef __SSE2__
        size_t at = (0 - (size_t)to) & 15;
        if (size >= 4096) {
            memcpy(to, from, at);
            for (; at + 16 <= size; at += 16)
                _mm_stream_si128((__m128i *)(to + at), _mm_loadu_si128((const __m128i *)(from + at)));
            _mm_sfence();
            to += at, from += at, size -= at;
        }
    #endif
        memcpy(to, from, size);
    }

    /* Reads a number exactly once, at any address, from memory that belongs to the caller.
       Another thread or process may write there meanwhile. An ordinary read may be compiled to two reads: one for the
       check and one for the use as an index. Then the checked number and the used one could differ. */
    static inline uint32_t read_once(const void *from) {
    #ifdef _MSC_VER
        return *(const volatile uint32_t __unaligned *)from;
    #else
        uint32_t number;
        memcpy(&number, from, sizeof(number));
        __asm__("" : "+r"(number));
        return number;
    #endif
    }

    /* The number of ASCII bytes at the beginning of a text. */
    static inline size_t ascii_prefix(const void *text, size_t size) {
        const unsigned char *bytes = (const unsigned char *)text;
        size_t at = 0;
        for (; at + 8 <= size; at += 8) {
            uint64_t block;
            memcpy(&block, bytes + at, 8);
            if (block & UINT64_C(0x8080808080808080)) break;
        }
        while (at < size && bytes[at] < 0x80) at++;
        return at;
    }

    /* Whether another thread has set the flag. If so, everything that it wrote before is visible here. */
    static inline int is_set(const int *flag) {
    #ifdef _MSC_VER
        return *(const volatile int *)flag;
    #else
        return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
    #endif
    }

    static inline void set(int *flag) {
    #ifdef _MSC_VER
        *(volatile int *)flag = 1;
    #else
        __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
    #endif
    }
    """
    void advise_large_pages(void *data, size_t size) noexcept nogil
    void copy_past_cache(char *target, const char *source, size_t size) noexcept nogil
    uint32_t read_once(const void *source) noexcept nogil
    size_t ascii_prefix(const void *text, size_t size) noexcept nogil
    bint is_set(const int *flag) noexcept nogil
    void set(int *flag) noexcept nogil


cdef inline int resize(void **data, size_t size) except -1 nogil:
    cdef void *resized = PyMem_RawRealloc(data[0], size)
    if resized is NULL:
        with gil:
            raise MemoryError
    data[0] = resized
    advise_large_pages(resized, size)
    return 0


cdef inline bint is_utf_8(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """Whether bytes are strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. ASCII is fast."""
    cdef Py_ssize_t at = 0, more
    cdef uint8_t lead, low, high
    while at < size:
        lead = text[at]
        if lead < 0x80:
            at += ascii_prefix(text + at, size - at)
            continue
        at += 1
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if size - at < more or not low <= text[at] <= high:
            return False
        if more > 1 and text[at + 1] & 0xC0 != 0x80 or more > 2 and text[at + 2] & 0xC0 != 0x80:
            return False
        at += more
    return True
