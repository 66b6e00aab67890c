# cython: language_level=3
"""Reads the characters of a `str` in C, whatever their width is. It knows nothing of the format.

The functions are inlined. A Characters must not outlive its `str`.
"""

cdef extern from *:
    """
    typedef struct {
        const void *data;
        Py_ssize_t size;
        int kind;  /* bytes for each character */
    } Characters;

    static inline Characters characters_of(PyObject *text) {
        Characters all = {PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), (int)PyUnicode_KIND(text)};
        return all;
    }

    static inline Py_UCS4 character_at(const Characters *all, Py_ssize_t at) {
        return PyUnicode_READ(all->kind, all->data, at);
    }

    /* The place of the next `<|` that ends at `stop` or before; `stop` if there is none.
       `memchr` is faster than any loop over wider characters. It may find a byte of another character. */
    static inline Py_ssize_t pair_from(const Characters *all, Py_ssize_t at, Py_ssize_t stop) {
        const char *data = (const char *)all->data;
        while (at + 1 < stop) {
            const char *found = (const char *)memchr(data + at * all->kind, '<', (stop - 1 - at) * all->kind);
            if (!found) return stop;
            at = (Py_ssize_t)((size_t)(found - data) / (size_t)all->kind);
            if (character_at(all, at) == '<' && character_at(all, at + 1) == '|') return at;
            at++;
        }
        return stop;
    }

    /* Whether half of a character in UTF-16 stands anywhere. */
    #define HARMONY_SURROGATES(type) do { \\
            const type *data = (const type *)all->data; \\
            type found = 0; \\
            Py_ssize_t at; \\
            for (at = 0; at < all->size; at++) found |= (data[at] & (type)~0x7FF) == 0xD800; \\
            return found != 0; \\
        } while (0)
    static inline int has_surrogates(const Characters *all) {
        if (all->kind == 2) HARMONY_SURROGATES(Py_UCS2);
        if (all->kind == 4) HARMONY_SURROGATES(Py_UCS4);
        return 0;
    }

    /* Whether the ASCII characters of `word` stand at a place. */
    static inline int stands_at(const Characters *all, Py_ssize_t at, const char *word, Py_ssize_t length) {
        Py_ssize_t index;
        if (all->size - at < length) return 0;
        if (all->kind == 1) return memcmp((const char *)all->data + at, word, length) == 0;
        for (index = 0; index < length; index++)
            if (character_at(all, at + index) != (Py_UCS4)(unsigned char)word[index]) return 0;
        return 1;
    }
    """
    ctypedef struct Characters:
        Py_ssize_t size
    Characters characters_of(str text) noexcept
    Py_UCS4 character_at(const Characters *all, Py_ssize_t at) noexcept
    Py_ssize_t pair_from(const Characters *all, Py_ssize_t at, Py_ssize_t stop) noexcept
    bint has_surrogates(const Characters *all) noexcept
    bint stands_at(const Characters *all, Py_ssize_t at, const char *word, Py_ssize_t length) noexcept

cdef extern from "Python.h":
    str part "PyUnicode_Substring"(str text, Py_ssize_t start, Py_ssize_t stop)  # quicker than a slice
