# cython: language_level=3, freethreading_compatible=True
"""The compiled scanner. Its twin in Python, `scan_py.py`, is the reference."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcmp
from harmony.parsing.characters cimport Characters, character_at, pair_from, part, stands_at as spells
from harmony.runtime.memory cimport read_once

from array import array

from harmony.format import vocabulary
from harmony.parsing.tokens import as_id

cdef uint32_t FIRST_SPECIAL = vocabulary.FIRST_SPECIAL
cdef int64_t LAST_TOKEN = vocabulary.LAST_TOKEN
cdef uint32_t NO_TOKEN = 0xFFFFFFFF
cdef uint32_t MESSAGE = vocabulary.MESSAGE
cdef uint32_t END = vocabulary.END
cdef uint32_t CALL = vocabulary.CALL
cdef uint32_t RETURN = vocabulary.RETURN
cdef bytes MESSAGE_TEXT = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE].encode()
cdef tuple STOP_TEXTS = tuple([vocabulary.SPECIAL_TEXTS[token].encode() for token in vocabulary.STOPS])
cdef tuple STOPS = vocabulary.STOPS
cdef dict SPECIAL_TOKENS = vocabulary.SPECIAL_TOKENS
cdef Py_ssize_t LONGEST_MARKER = max(map(len, vocabulary.SPECIAL_TOKENS))


def as_buffer(tokens):
    """Token ids as a buffer of uint32. Each integer that is no token id becomes 0xFFFFFFFF.

    Raises TypeError for an item that is no integer.
    """
    if isinstance(tokens, memoryview):
        return tokens
    cdef list items = tokens if type(tokens) is list else list(tokens)
    buffer = array("I", bytes(4 * len(items)))
    cdef uint32_t[::1] ids = buffer
    cdef Py_ssize_t place
    cdef int overflow
    cdef int64_t number
    for place in range(ids.shape[0]):
        token = items[place]
        if type(token) is not int:  # its `__index__` may change the list, so a copy is read
            return as_buffer([as_id(token, place) for place, token in enumerate(items.copy())])
        number = PyLong_AsLongLongAndOverflow(token, &overflow)
        ids[place] = <uint32_t>number if overflow == 0 and 0 <= number <= LAST_TOKEN else NO_TOKEN
    return memoryview(buffer)


cdef inline Py_ssize_t special_from(
    const uint32_t *tokens, Py_ssize_t size, Py_ssize_t place, uint32_t *found
) noexcept:
    """The same as `next_special`, on a pointer. `found` receives the token itself."""
    cdef uint32_t token
    while place < size:
        token = read_once(tokens + place)
        if token >= FIRST_SPECIAL:
            found[0] = token
            return place
        place += 1
    return size


def next_special(const uint32_t[::1] tokens, Py_ssize_t place):
    """The index of the first special token at `place` or behind it; the number of tokens where there is none.

    An integer that is no token id counts as a special token.
    """
    cdef uint32_t found
    cdef Py_ssize_t size = tokens.shape[0]
    return special_from(&tokens[0] if size else NULL, size, place, &found)


def skip_tokens(const uint32_t[::1] tokens, first, others):
    """Passes over the whole messages at the beginning of the tokens, and returns the index behind them.

    The index is the number of tokens where nothing follows; otherwise a header without `<|message|>` follows. Returns
    -1 for a fault. `first` gives the verdicts for the first header of a completion, which has no `<|start|>`. It is
    None for other input, where the first header is like the `others`.
    """
    cdef Py_ssize_t size = tokens.shape[0], at = 0, end, stop, place
    cdef const uint32_t *begin = &tokens[0] if size else NULL
    cdef uint32_t found = 0
    cdef bint is_first = first is not None
    verdicts = others if first is None else first
    while is_first or at < size:
        end = special_from(begin, size, at if is_first else at + 1, &found)
        while end < size and found != MESSAGE:
            end = special_from(begin, size, end + 1, &found)
        if end >= size:
            return at
        if not verdicts[tuple([read_once(begin + place) for place in range(at, end)])]:
            return -1
        stop = special_from(begin, size, end + 1, &found)
        if stop == size or found not in (END, CALL, RETURN):
            return -1
        at = stop + 1
        is_first = False
        verdicts = others
    return at


cdef Py_ssize_t marker_from(const char *text, Py_ssize_t size, Py_ssize_t at) noexcept:
    """The offset of the next `<|`; the size of the text where there is none."""
    cdef const char *found
    while at + 1 < size:
        found = <const char *>memchr(text + at, c"<", size - at - 1)
        if found is NULL:
            return size
        at = found - text
        if text[at + 1] == c"|":
            return at
        at += 1
    return size


cdef inline bint stands_at(bytes marker, const char *text, Py_ssize_t size, Py_ssize_t at) noexcept:
    return size - at >= len(marker) and memcmp(text + at, <const char *>marker, len(marker)) == 0


cdef Py_ssize_t stop_at(const char *text, Py_ssize_t size, Py_ssize_t at):
    """The length of the stop that is written at `at`; 0 where none is."""
    for marker in STOP_TEXTS:
        if stands_at(<bytes>marker, text, size, at):
            return len(<bytes>marker)
    return 0


def skip_text(bytes text, first, others):
    """The same as `skip_tokens` for a rendered text in UTF-8; returns a byte offset, or -1 for a fault."""
    cdef const char *data = text
    cdef Py_ssize_t size = len(text), at = 0, end, width = 0
    cdef bint is_first = first is not None
    verdicts = others if first is None else first
    while is_first or at < size:
        end = marker_from(data, size, at)
        while end < size and not stands_at(MESSAGE_TEXT, data, size, end):
            end = marker_from(data, size, end + 1)
        if end == size:
            return at
        if not verdicts[text[at:end]]:
            return -1
        at = marker_from(data, size, end + len(MESSAGE_TEXT))
        while at < size:
            width = stop_at(data, size, at)
            if width:
                break
            # All special tokens begin with a letter behind `<|`. This test is quick, and rules out most other text.
            if at + 2 < size and c"a" <= data[at + 2] <= c"z" and vocabulary.special_token_at(text, at):
                return -1
            at = marker_from(data, size, at + 1)
        if at == size:
            return -1
        at += width
        is_first = False
        verdicts = others
    return at


cdef bint next_marker(str text, const Characters *all, Py_ssize_t at, Marker *found) except -1:
    """Finds the next special token that a text spells, as `vocabulary.special_tokens_in` does."""
    cdef Py_ssize_t index
    cdef bytes marker
    while True:
        found.start = pair_from(all, at, all.size)
        if found.start == all.size:
            return False
        found.stop = end_of_marker(all, found.start)
        if found.stop > 0:
            for index in range(len(STOPS)):  # these are the most frequent
                marker = <bytes>STOP_TEXTS[index]
                if len(marker) == found.stop - found.start and spells(all, found.start, marker, len(marker)):
                    found.token = STOPS[index]
                    return True
            token = SPECIAL_TOKENS.get(part(text, found.start, found.stop))
            if token is not None:
                found.token = token
                return True
        at = found.start + 2


cdef Py_ssize_t end_of_marker(const Characters *all, Py_ssize_t start) noexcept:
    """The end of `<|name|>` or `<|name_1|>`; 0 where none stands at `start`, or where it is too long."""
    cdef Py_ssize_t limit = min(all.size, start + LONGEST_MARKER), at = start + 2, begin = start + 2
    while at < limit and c"a" <= character_at(all, at) <= c"z":
        at += 1
    if begin < at < limit and character_at(all, at) == c"_":
        at += 1
        begin = at
        while at < limit and c"0" <= character_at(all, at) <= c"9":
            at += 1
    return at + 2 if begin < at <= limit - 2 and spells(all, at, b"|>", 2) else 0


cdef Py_ssize_t end_of_header(const Characters *all, Py_ssize_t start, Py_ssize_t most) noexcept:
    """The place behind the next `<|message|>`; 0 where none is among the `most` characters from `start` on."""
    cdef Py_ssize_t limit = min(all.size, start + most), at = pair_from(all, start, limit)
    while at < limit and not spells(all, at, MESSAGE_TEXT, len(MESSAGE_TEXT)):
        at = pair_from(all, at + 2, limit)
    return at + len(MESSAGE_TEXT) if at < limit else 0
