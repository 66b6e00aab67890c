# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Reads one conversation that is not well-formed, for the compiled builder of columns.

It is the engine, but each message becomes a row at once. No Message is made, and its text stays UTF-8.
"""

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memchr, memcpy
from harmony.columns.memory cimport FIELDS, Rows
from harmony.parsing.content cimport Content, clear, last_bytes
from harmony.parsing.moves_c cimport Moves
from harmony.runtime.memory cimport is_utf_8

from harmony.columns.rows import END_VALUES
from harmony.errors import HarmonyError, RecordError
from harmony.format.header import REMEMBERED_HEADERS
from harmony.parsing.moves import end as end_of_input
from harmony.parsing.repairs import OTHER_MARKERS, OTHER_RECIPIENT
from harmony.parsing.shared import POSITION

cdef dict END_CODES = {None: -1, **{end: code for code, end in enumerate(END_VALUES)}}


cdef class OddReader(Moves):
    def __cinit__(self, *_arguments, **_options):
        self.known = {}

    cdef bint read(self, Rows rows, Py_ssize_t index, object tokens, object given, bint strict) except -1:
        """Reads the tokens, a buffer of uint32, as conversation `index`. An error is noted beside the rows before it.

        Returns False if the caller must read them to messages instead, because `repairs.finish` has to see these.
        """
        self.begin(given, strict, None)
        self._spans = []  # the input is whole, so no deltas are made
        self.rows, self.index, self.number, self.is_doubtful = rows, index, 0, False
        try:
            self._run_buffer(tokens)
            end_of_input(self)
        except HarmonyError as error:
            rows.errors[index] = RecordError(error.code, str(error), error.position)
            rows.complete[index - rows.first] = False
            return True
        if self._diagnostics:
            if self.is_doubtful:
                return False
            self._diagnostics.sort(key=POSITION)
            rows.diagnostics[index] = self._diagnostics
        rows.complete[index - rows.first] = not self._cut
        return True

    cdef int close_message(self, object end) except -1:
        cdef int32_t codes[FIELDS]
        cdef int field
        cdef Py_ssize_t begin = self.rows.content_size, size = self._content.size
        if self._without_header and size == 0:  # as in the engine
            return self.forget_header()
        header = self._header
        found = self.codes_of(header)
        for field in range(FIELDS):
            codes[field] = found[field]
        self.rows.reserve_content(size)
        if size > 0:
            memcpy(self.rows.content + begin, self._content.data, size)
            if holds_marker(&self._content):
                text = last_bytes(&self._content, size).decode("latin-1")  # other markers are ASCII
                self.is_doubtful = self.is_doubtful or OTHER_MARKERS.search(text) is not None
        if header.recipient == OTHER_RECIPIENT:
            self.is_doubtful = True
        self.rows.content_size = begin + size
        if not is_utf_8(<const uint8_t *>self.rows.content + begin, size):
            self.rows.replace(begin)
        self.rows.add(self.index, self.number, codes, <int32_t>(self._position - self._content_start), END_CODES[end])
        self.number += 1
        self.forget_header()
        clear(&self._content)
        return 0

    cdef tuple codes_of(self, object header):
        """The codes of a header's fields. Most headers are remembered, and so are objects that were met before."""
        known = self.known.get(<size_t><void *>header)
        if known is None:
            if len(self.known) >= REMEMBERED_HEADERS:
                self.known.clear()
            # The header is kept, so no other object can have its address.
            known = self.known[<size_t><void *>header] = (header, self.values.of_header(header))
        return known[1]


cdef bint holds_marker(const Content *content) noexcept:
    """Whether the content holds `<|`, as each written marker does."""
    cdef const char *at = content.data
    cdef const char *stop = content.data + content.size - 1
    while at < stop:
        at = <const char *>memchr(at, c"<", stop - at)
        if at is NULL:
            return False
        if at[1] == c"|":
            return True
        at += 1
    return False
