# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Reads what is not well-formed in a conversation, for the compiled builder of columns.

It is the engine, but each message becomes a row at once. No Message is made, and its text stays UTF-8. It begins where
a faulty message begins, and ends where the next message does.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memchr, memcpy
from harmony.columns.memory cimport CODES, FIELDS, Rows
from harmony.parsing.content cimport append_numbers, clear
from harmony.parsing.moves_c cimport LAST_RANK, LAST_TOKEN, NO_ID, RANKS, Moves, action_of_text
from harmony.runtime.memory cimport is_utf_8

from harmony.columns.rows import CODED, END_VALUES
from harmony.errors import RecordError
from harmony.format import machine, vocabulary
from harmony.format.header import REMEMBERED_HEADERS
from harmony.parsing.moves import end as end_of_input
from harmony.parsing.repairs import OTHER_MARKERS, OTHER_RECIPIENT
from harmony.parsing.shared import POSITION

cdef dict END_CODES = {None: -1, **{end: code for code, end in enumerate(END_VALUES)}}
cdef int ADD_TO_CONTENT = machine.Action.ADD_TO_CONTENT
cdef uint32_t START = vocabulary.START
cdef int EXPECT_START = machine.State.EXPECT_START
cdef int HEADER = machine.State.HEADER
cdef int RECIPIENT = CODES + CODED.index("recipient")


cdef class OddReader(Moves):
    def __cinit__(self, *_arguments, **_options):
        self.known = {}

    cdef int begin_conversation(self, Rows rows, Py_ssize_t index, object given, bint strict) except -1:
        """Begins conversation `index`. Its first messages may already be rows."""
        self.begin(given, strict, None)
        self._spans = []  # the input is whole, so no deltas are made
        self.rows, self.index = rows, index
        return 0

    cdef Py_ssize_t read(self, const uint32_t *tokens, Py_ssize_t begin, Py_ssize_t stop, int number) except -1:
        """Reads from `begin`, where a message begins, to the place where the next one does, or to `stop`.

        `number` is that of the first message. Nobody else may change the tokens meanwhile.
        """
        cdef Py_ssize_t place = begin
        cdef uint32_t token
        cdef object integer
        cdef int action = action_of_text(self)
        self._position = self._start = self._header_start = begin
        self.number = number
        while place < stop:
            if action == ADD_TO_CONTENT:
                place = append_numbers(
                    &self._content, &RANKS, LAST_RANK, tokens, place, stop, &self._position, None, self._content_tokens
                )
                if place == stop:
                    break
            token = tokens[place]
            if self.are_signed:
                integer = <int32_t>token  # as it was given, for the texts of errors
            else:
                integer = token
            place += 1
            action = self._take(token if token <= LAST_TOKEN else NO_ID, integer, action)
            if self.is_between_messages():
                break
            if token == START and self._state == HEADER and self._resumed is None and place - 1 > begin:
                self._state = EXPECT_START  # the next message is read from its `<|start|>`
                return place - 1
        return place

    cdef bint is_between_messages(self) noexcept:
        """Whether the next message can be read without what the engine knows."""
        return self._state == EXPECT_START and self._resumed is None

    cdef int end(self) except -1:
        """Takes the end of the input."""
        end_of_input(self)
        return 0

    cdef int note_error(self, object error) except -1:
        """Notes an error beside the rows before it."""
        self.rows.errors[self.index] = RecordError(error.code, str(error), error.position)
        self.rows.complete[self.index - self.rows.first] = False
        return 0

    cdef bint finish(self, Py_ssize_t row, Py_ssize_t content, bint complete) except -1:
        """Notes what was repaired. The conversation has the rows from `row`, and the content from `content`.

        Returns False if the caller must read the conversation to messages, because `repairs.finish` has to see these.
        """
        if self._diagnostics:
            if self.may_be_other_format(row, content):
                return False
            self._diagnostics.sort(key=POSITION)
            self.rows.diagnostics[self.index] = self._diagnostics
        self.rows.complete[self.index - self.rows.first] = complete and not self._cut
        return True

    cdef bint may_be_other_format(self, Py_ssize_t row, Py_ssize_t content) except -1:
        cdef const int32_t *recipients = <const int32_t *>self.rows.columns[RECIPIENT]
        cdef int32_t other = self.values.code_of("recipient", OTHER_RECIPIENT)
        for place in range(row, self.rows.row_count):
            if other >= 0 and recipients[place] == other:
                return True
        if not holds_marker(self.rows.content + content, self.rows.content + self.rows.content_size):
            return False
        written = self.rows.content[content:self.rows.content_size].decode("latin-1")  # other markers are ASCII
        return OTHER_MARKERS.search(written) is not None

    cdef int close_message(self, object end) except -1:
        cdef int32_t codes[FIELDS]
        cdef int field
        cdef Py_ssize_t begin = self.rows.content_size, size = self._content.size
        if self._without_header and size == 0:  # as in the engine
            return self.forget_header()
        found = self.codes_of(self._header)
        for field in range(FIELDS):
            codes[field] = found[field]
        self.rows.reserve_content(size)
        if size > 0:
            memcpy(self.rows.content + begin, self._content.data, size)
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


cdef bint holds_marker(const char *at, const char *stop) noexcept:
    """Whether the content from `at` to `stop` holds `<|`, as each written marker does."""
    while at < stop - 1:
        at = <const char *>memchr(at, c"<", stop - 1 - at)
        if at is NULL:
            return False
        if at[1] == c"|":
            return True
        at += 1
    return False
