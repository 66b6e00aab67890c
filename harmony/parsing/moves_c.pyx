# cython: language_level=3, freethreading_compatible=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The moves of the automaton, compiled; `parser_c.pyx` is built on them. The twin in Python is `moves_py.py`.

The same three things as in the twin are written here. Everything else is in `moves.py` and `repairs.py`, for both
engines. Those modules use the fields that `moves_c.pxd` shows to Python.

The bytes of tokens are copied from the vocabulary into one buffer, which is decoded once per message. A pointer into
the vocabulary is used only after a check that the token is one of its ranks.
"""

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t
from harmony.parsing.content cimport (
    append, append_items, append_numbers, append_rank, clear, last_bytes, settle, text_between
)
from harmony.parsing.words cimport Classes, count_words, ends_no_word, fill
from harmony.runtime.calls cimport called
from harmony.runtime.memory cimport is_set, read_once, set

cdef extern from "Python.h":
    # The declaration in cpython.ref takes an object, so the count would include a reference of the call itself.
    Py_ssize_t reference_count "Py_REFCNT"(PyObject *)

from msgspec import StructMeta

from harmony.errors import Fault
from harmony.format import machine, vocabulary
from harmony.format.header import OUTSIDE_NAMES, SPACE, read_header
from harmony.messages.model import Author, Message, TextContent
from harmony.parsing import moves, shared
from harmony.parsing.tokens import as_id
from harmony.results import ENDS, Segment, Span
from harmony.runtime.locks import Once

# The tables of `machine.py` and `vocabulary.py`, copied into C variables, which are fast to read.
FIRST_SPECIAL = vocabulary.FIRST_SPECIAL
LAST_TOKEN = vocabulary.LAST_TOKEN
LAST_RANK = FIRST_SPECIAL - 1
NO_ID = -1  # stands for every integer that is no token id, also for one that is too large for int64

TEXT = machine.Kind.TEXT
cdef int CHANNEL = machine.Kind.CHANNEL
cdef int CONSTRAIN = machine.Kind.CONSTRAIN
cdef int MESSAGE = machine.Kind.MESSAGE
cdef int INVALID = machine.Kind.INVALID
cdef int EXPECT_START = machine.State.EXPECT_START
cdef int HEADER = machine.State.HEADER
cdef int STRAY_TEXT = machine.State.STRAY_TEXT
cdef int OPEN_HEADER = machine.Action.OPEN_HEADER
cdef int ADD_TO_HEADER = machine.Action.ADD_TO_HEADER
cdef int CLOSE_HEADER = machine.Action.CLOSE_HEADER
cdef int ADD_TO_CONTENT = machine.Action.ADD_TO_CONTENT
cdef int CLOSE_MESSAGE = machine.Action.CLOSE_MESSAGE
cdef int REPAIR_HEADER = machine.Action.REPAIR_HEADER
cdef int ILLEGAL = machine.ILLEGAL

cdef dict ENDS_OF = ENDS
KIND_COUNT = len(machine.Kind)
cdef int STATE_COUNT = len(machine.State)
cdef int LONGEST_WORD = 0, WORDS_THAT_DECIDE = 0
cdef Py_ssize_t FIRST_TOKENS = 0, REMEMBERED_LENGTH = 0
cdef Py_ssize_t FIRST_LOOK = shared.FIRST_LOOK, FIRST_CHARACTERS = shared.FIRST_CHARACTERS
cdef const uint8_t[::1] KINDS = machine.KINDS
cdef const uint8_t[::1] STRICT_MOVES = machine.MOVES[True]
cdef const uint8_t[::1] LENIENT_MOVES = machine.MOVES[False]

cdef const uint32_t[::1] RANK_OFFSETS
cdef const uint8_t[::1] RANK_BYTES

# The text of each rank that was a delta. None: not asked for yet. False: its bytes are no whole characters.
cdef list TEXTS = [None] * vocabulary.FIRST_SPECIAL

cdef int ranks_are_loaded = 0

cdef int load_vocabulary() except -1:
    if not is_set(&ranks_are_loaded):
        load_ranks()
    return 0


def _take_ranks():
    global RANK_OFFSETS, RANK_BYTES
    if not is_set(&ranks_are_loaded):  # a signal's handler may have loaded them meanwhile
        loaded = vocabulary.load()
        RANK_OFFSETS = loaded.offsets
        RANK_BYTES = loaded.data
        RANKS.data = &RANK_BYTES[0]
        RANKS.offsets = &RANK_OFFSETS[0]
        set(&ranks_are_loaded)
    return True


load_ranks = Once(_take_ranks)

cdef object repairs = None
cdef Classes CLASSES
cdef int repairs_are_loaded = 0

cdef int need_repairs() except -1:
    if not is_set(&repairs_are_loaded):
        load_repairs()
    return 0


def _take_repairs():
    global repairs, REMEMBERED_LENGTH, LONGEST_WORD, WORDS_THAT_DECIDE, FIRST_TOKENS
    loaded = moves.repairs()
    if not is_set(&repairs_are_loaded):
        fill(&CLASSES, loaded.bare_content.BYTES, OUTSIDE_NAMES + SPACE)
        FIRST_TOKENS = loaded.bare_content.FIRST_TOKENS
        REMEMBERED_LENGTH = loaded.bare_content.REMEMBERED_LENGTH
        LONGEST_WORD = loaded.bare_content.LONGEST_WORD
        WORDS_THAT_DECIDE = loaded.bare_content.WORDS_THAT_DECIDE
        repairs = loaded
        set(&repairs_are_loaded)
    return True


load_repairs = Once(_take_repairs)


cdef object new_message(object header, str text):
    """The same as `Header.message`, in less time: many inputs are mostly short messages."""
    author = called(StructMeta, Author, (header.role, header.name))
    content = [called(StructMeta, TextContent, (text,))]
    fields = (author, content, header.channel, header.recipient, header.content_type)
    return called(StructMeta, Message, fields)


cdef object rank_text(int64_t rank):
    """The text of one rank, or False where its bytes are no whole characters."""
    text = TEXTS[rank]
    if text is None:
        try:
            text = PyUnicode_DecodeUTF8(
                <const char *>RANKS.data + RANKS.offsets[rank], RANKS.offsets[rank + 1] - RANKS.offsets[rank], NULL
            )
        except UnicodeDecodeError:
            text = False
        with cython.critical_section(TEXTS):
            if TEXTS[rank] is None:  # an entry is never replaced, so reading it needs no lock
                TEXTS[rank] = text
    return text


cdef class Moves:
    """The state of one input in the automaton, and everything that was read so far."""

    def __cinit__(self):
        self.begin(None, True, None)

    def __dealloc__(self):
        PyMem_Free(self._content.data)

    cdef int set_up(self, object given, bint strict, object default_channel) except -1:
        """Sets what a caller chooses. All else is as `begin` has left it."""
        if not strict:
            need_repairs()
        self._strict = strict
        self._default_channel = default_channel
        self._moves = &STRICT_MOVES[0] if strict else &LENIENT_MOVES[0]
        self._state = EXPECT_START if given is None else HEADER
        self._given = given
        return 0

    cdef int begin(self, object given, bint strict, object default_channel) except -1:
        load_vocabulary()
        self.set_up(given, strict, default_channel)
        self._unit = "token"
        self._position = self._start = self._header_start = self._content_start = 0
        self._header_tokens = []
        self._run_start = self._words.counted = 0
        self._delta = self._delta_header = self._resumed = None
        self._spans = None
        self.forget_header()
        clear(&self._content)
        self._content_tokens = []
        self._text = ""
        self._tokens = []
        self._messages = []
        self._segments = None
        self._cut = False
        self._diagnostics = []
        return 0

    cdef int _run(self, object tokens) except -1:
        """Takes all tokens, or those before the first one that raises. `tokens` are what `as_sequence` gives."""
        if type(tokens) is memoryview:
            return self._run_buffer(tokens)
        return self._run_list(tokens if type(tokens) is list else list(tokens))

    cdef int _run_list(self, list tokens) except -1:
        cdef Py_ssize_t place = 0
        cdef bint streaming = self._spans is None
        cdef int action = action_of_text(self)
        while place < len(tokens):  # the length is asked each time: an item's `__index__` may change the list
            if action == ADD_TO_CONTENT:
                kept = self._tokens if streaming else None
                place = append_items(
                    &self._content, &RANKS, LAST_RANK, tokens, place, &self._position, kept, self._content_tokens
                )
                if place >= len(tokens):
                    break
            integer = tokens[place]
            place += 1
            if type(integer) is not int:
                integer = as_id(integer, self._position)
                action = action_of_text(self)  # an `__index__` may also have used this parser
            if streaming:
                self._tokens.append(integer)
            action = self._take(token_id(integer), integer, action)
        return 0

    cdef int _run_buffer(self, const uint32_t[::1] tokens) except -1:
        cdef Py_ssize_t place = 0, count = tokens.shape[0]
        cdef const uint32_t *begin = &tokens[0] if count else NULL
        cdef uint32_t token
        cdef bint streaming = self._spans is None
        cdef int action = action_of_text(self)
        while place < count:
            if action == ADD_TO_CONTENT:
                kept = self._tokens if streaming else None
                place = append_numbers(
                    &self._content, &RANKS, LAST_RANK, begin, place, count, &self._position, kept, self._content_tokens
                )
                if place == count:
                    break
            token = read_once(begin + place)
            place += 1
            integer = token
            if streaming:
                self._tokens.append(integer)
            action = self._take(token if token <= LAST_TOKEN else NO_ID, integer, action)
        return 0

    cdef int _take(self, int64_t token, object integer, int action) except -1:
        """Takes one token. `action` is that of text before it; the one of text behind it is returned.

        A rank that changes no state needs no `_step`, unless the header text is looked at behind it.
        """
        cdef Py_ssize_t size
        if 0 <= token < FIRST_SPECIAL:
            size = len(self._header_tokens) + 1 - self._run_start
            if action == ADD_TO_HEADER and (size < FIRST_LOOK or size & (size - 1) != 0):
                self._header_tokens.append(integer)
                self._position += 1
                return action
            if action == ADD_TO_CONTENT:
                append_rank(&self._content, &RANKS, token)
                if self._spans is None:
                    self._content_tokens.append(integer)
                self._position += 1
                return action
        try:
            self._step(token, integer, 1)
        finally:
            self._position += 1
        return action_of_text(self)

    cdef int _step(self, int64_t token, object integer, Py_ssize_t width) except -1:
        """Takes one token, which is `width` positions wide. `integer` is the token as it was given, for errors."""
        cdef int kind, move, action
        cdef Py_ssize_t size
        if token == NO_ID:
            kind = INVALID
        elif token < FIRST_SPECIAL:
            kind = TEXT
        else:
            kind = KINDS[token - FIRST_SPECIAL]
        if kind != TEXT and not self._strict and self._header_tokens and not self._is_still_header(kind):
            repairs.look_before(self, kind)
        move = self._moves[self._state * KIND_COUNT + kind]
        action = move >> 4
        if move == ILLEGAL:
            if self._strict:
                moves.illegal(self, kind, integer, width)
            else:  # as `illegal` does, in less time
                repairs.repair(self, kind, integer, width)
            return 0
        if action == ADD_TO_CONTENT:
            self._add_to_content(token)
            self._content_tokens.append(integer)
        else:
            self.act(action, kind, integer, width)
        self._state = move & 15
        if kind == TEXT and self._header is None and not self._strict:
            size = len(self._header_tokens) - self._run_start
            if size >= FIRST_LOOK and size & (size - 1) == 0:
                repairs.look(self, kind)
        return 0

    cdef bint _is_still_header(self, int marker) except -1:
        """Whether the last header text is certainly not taken for content. This quick test saves most slower ones."""
        cdef Py_ssize_t words, size = len(self._header_tokens) - self._run_start
        if self._state == STRAY_TEXT:
            return False
        if marker == MESSAGE:  # nearly every header ends here, and `look_before` leaves it to be read first
            return True
        if (self._given is not None and self._run_start == 0) or size > REMEMBERED_LENGTH:
            return False
        count_words(&self._words, &CLASSES, &RANKS, LAST_RANK, LONGEST_WORD, self._header_tokens, self._run_start)
        words = self._words.count + (self._words.length > 0 and marker != TEXT)
        return not self._words.odd and words < (2 if marker == CHANNEL else WORDS_THAT_DECIDE)

    cdef bint may_decide(self) except -1:
        """Whether the last token may have shown that the last header text is content, in lenient parsing.

        This saves nearly all calls of `bare_content.may_decide`, which then has the last word.
        """
        cdef Py_ssize_t size = len(self._header_tokens)
        if self._state == STRAY_TEXT and size <= FIRST_TOKENS:
            return True
        if ends_no_word(&CLASSES, &RANKS, LAST_RANK, self._header_tokens, self._run_start):
            return False
        return not self._is_still_header(TEXT)

    cdef int act(self, int action, int kind, object token, Py_ssize_t width) except -1:
        """What a move does, other than to add to the content."""
        if action == ADD_TO_HEADER:
            self._header_tokens.append(token if kind != INVALID else vocabulary.NO_TOKEN)
            if kind == CHANNEL or kind == CONSTRAIN:
                self._run_start = len(self._header_tokens)
        elif action == CLOSE_HEADER:
            try:
                header = read_header(self._header_tokens, self._given)
            except Fault as fault:
                moves.illegal_header(self, fault, width)
            else:
                self.open_content(header, self._position + width)
        elif action == CLOSE_MESSAGE:
            self.close_message(ENDS_OF.get(token))
        elif action == OPEN_HEADER:
            self._start = self._position
            self._header_start = self._position + width
        elif action == REPAIR_HEADER:
            repairs.repair_header(self, width)
        return 0

    cdef int _take_text(self, str text) except -1:
        """Takes a piece of ordinary text: adds it to the content or to the header."""
        cdef bint is_long = self._header is None and not self._strict and len(text) > FIRST_CHARACTERS
        if is_long or self._moves[self._state * KIND_COUNT + TEXT] == ILLEGAL:
            moves.take_text(self, text)
            return 0
        return self.add_text(text)

    cdef int add_text(self, str text) except -1:
        data = vocabulary.encode_utf_8(text)
        if action_of_text(self) == ADD_TO_CONTENT:
            append(&self._content, data)
        else:
            self._header_tokens.extend(data.translate(vocabulary.load().byte_ranks))
        return 0

    cdef int open_content(self, object header, Py_ssize_t start) except -1:
        self.remember_header(header)
        self._content_start = start
        return self.forget_header_tokens()

    cdef int forget_header_tokens(self) except -1:
        self._given = None
        self._header_tokens = []
        self._run_start = self._words.counted = 0
        return 0

    cdef int remember_header(self, object header) except -1:
        if self._resumed is not None:
            header = repairs.resumed(self, header)
        if self._default_channel is not None:
            header = self._default_channel.of(header)
        self._header = header
        self._without_header = False
        if self._spans is None and self._delta_header is None:
            self.show(header)
        return 0

    cdef int forget_header(self) except -1:
        self._header = None
        self._without_header = False
        return self.show(self._delta_header) if self._spans is None else 0

    cdef int show(self, object header) except -1:
        if header is None:
            self._role = self._channel = self._recipient = self._content_type = None
        else:
            self._role = header.role
            self._channel = header.channel
            self._recipient = header.recipient
            self._content_type = header.content_type
        return 0

    cdef int close_message(self, object end) except -1:
        if self._without_header and self._content.size == 0:  # nothing followed a second `<|message|>`
            return self.forget_header()
        if self._spans is None:
            self._delta = settle(&self._content, True)
            self._delta_header = None if self._delta is None else self._header
        rest = text_between(&self._content, self._content.shown, self._content.size)
        message = new_message(self._header, self._text + rest if self._text else rest)
        self.add_message(message, self._start, self._content_start, self._position, end)
        if self._segments is not None:
            # The Segment is made first: while it is made, another thread may set `_segments` to None.
            header = self._header
            segment = Segment(header.channel, header.recipient, header.role, self._delta or "", message)
            self._segments.append(segment)
        self.forget_header()
        clear(&self._content)
        if self._spans is None:
            self._content_tokens = []
        self._text = ""
        return 0

    cdef int add_message(
        self, object message, Py_ssize_t start, Py_ssize_t content_start, Py_ssize_t stop, object end
    ) except -1:
        if reference_count(<PyObject *>self._messages) > 1:  # the user holds this list, so it stays as it is
            self._messages = self._messages[:]
        self._messages.append(message)
        if self._spans is not None:
            self._spans.append(Span(start, content_start, stop, end))
        return 0

    cdef int _add_to_content(self, int64_t rank) except -1:
        """Appends one rank, and sets the delta, which is nearly always the text of the rank itself."""
        cdef bint whole = self._content.settled == self._content.size
        append_rank(&self._content, &RANKS, rank)
        if whole:
            text = rank_text(rank)
            if text is not False:
                self._delta = text
                self._content.settled = self._content.size
                return 0
        self._delta = settle(&self._content, False)
        return 0

    # --- methods that `moves.py` and `repairs.py` use, with the names of the twin

    def _begin(self, given, bint strict, default_channel=None):
        self.begin(given, strict, default_channel)

    def _act(self, int action, int kind, token, Py_ssize_t width):
        """What a move does, other than to add to the content."""
        self.act(action, kind, token, width)

    def _add_text(self, str text not None):
        self.add_text(text)

    def _open_content(self, header, Py_ssize_t start):
        self.open_content(header, start)

    def _forget_header_tokens(self):
        self.forget_header_tokens()

    def _remember_header(self, header):
        self.remember_header(header)

    def _forget_header(self):
        self.forget_header()

    def _remember_delta(self, str delta, header):
        self._delta = delta
        self._delta_header = header
        if header is not None:
            self.show(header)

    def _close_message(self, end):
        self.close_message(end)

    def _enter(self, int state):
        if not 0 <= state < STATE_COUNT:
            raise ValueError(f"Expected a state below {STATE_COUNT}, got {state}")
        self._state = state

    def _add_bytes(self, data not None):
        append(&self._content, bytes(data))
        if self._spans is None:
            self._content_tokens.extend(data.translate(vocabulary.load().byte_ranks))

    def _last_bytes(self, Py_ssize_t most):
        """The last bytes of the content, at most this many."""
        return last_bytes(&self._content, most)

    def _held(self):
        """The bytes of the content, and how many of them a delta has given."""
        return last_bytes(&self._content, self._content.size), self._content.settled

    def _hold(self, bytes content not None, Py_ssize_t settled):
        clear(&self._content)
        append(&self._content, content)
        self._content.settled = min(max(settled, 0), self._content.size)
