# cython: language_level=3, freethreading_compatible=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The automaton's moves, compiled: what `parser_c.pyx` is built on. The twin is `moves_py.py`.

Token bytes are copied straight from the vocabulary into one buffer, which is decoded once a message. Pointers into
the vocabulary are followed only behind a check that the token is one of its ranks.
"""

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t
from harmony.parsing.content cimport all_bytes, append, append_rank, clear, last_bytes, settle, text_between
from harmony.runtime.memory cimport is_set, read_once, set

cdef extern from "Python.h":
    # As it is declared in cpython.ref it would count the reference that the call itself holds.
    Py_ssize_t reference_count "Py_REFCNT"(PyObject *)

from itertools import islice

from harmony.format import machine, vocabulary
from harmony.parsing.shared import characters, not_in_pair, placed, repaired
from harmony.runtime.locks import Once, forks_wait
from harmony.errors import Fault, quote
from harmony.format.header import NO_HEADER as _NO_HEADER, open_role, read_header
from harmony.messages.model import Role
from harmony.results import ENDS, Segment, Span
from harmony.parsing.tokens import as_id

# The tables of `machine.py` and `vocabulary.py`, copied once so that they cost nothing to read.
FIRST_SPECIAL = vocabulary.FIRST_SPECIAL
LAST_TOKEN = vocabulary.LAST_TOKEN
NO_ID = -1  # stands for every integer that is no id, however large

cdef int TEXT = machine.Kind.TEXT
cdef int CHANNEL = machine.Kind.CHANNEL
cdef int CONSTRAIN = machine.Kind.CONSTRAIN
cdef int MESSAGE = machine.Kind.MESSAGE
cdef int INVALID = machine.Kind.INVALID
cdef int END_OF_INPUT = machine.Kind.END_OF_INPUT
cdef int EXPECT_START = machine.State.EXPECT_START
cdef int HEADER = machine.State.HEADER
cdef int STRAY_TEXT = machine.State.STRAY_TEXT
cdef int BARE_CONTENT = machine.State.BARE_CONTENT
cdef int OPEN_HEADER = machine.Action.OPEN_HEADER
cdef int ADD_TO_HEADER = machine.Action.ADD_TO_HEADER
cdef int CLOSE_HEADER = machine.Action.CLOSE_HEADER
cdef int ADD_TO_CONTENT = machine.Action.ADD_TO_CONTENT
cdef int CLOSE_MESSAGE = machine.Action.CLOSE_MESSAGE
cdef int LEAVE_OPEN = machine.Action.LEAVE_OPEN
cdef int IMPLY_START = machine.Action.IMPLY_START
cdef int MEND_HEADER = machine.Action.MEND_HEADER
cdef int GIVE_UP_HEADER = machine.Action.GIVE_UP_HEADER
cdef int REPLACE = machine.Action.REPLACE
cdef int LEAVE_OUT = machine.Action.LEAVE_OUT
cdef int REOPEN = machine.Action.REOPEN
cdef int ILLEGAL = machine.ILLEGAL

cdef dict ENDS_OF = ENDS
cdef object NO_HEADER = _NO_HEADER
cdef int KIND_COUNT = len(machine.Kind)
cdef int LONGEST_WORD = 0
cdef int WORDS_THAT_DECIDE = 0
cdef Py_ssize_t LONG_RUN = 0
cdef Py_ssize_t FIRST_LOOK = 0
cdef const uint8_t[::1] KINDS = machine.KINDS
cdef const uint8_t[::1] STRICT_MOVES = machine.MOVES[True]
cdef const uint8_t[::1] LENIENT_MOVES = machine.MOVES[False]

cdef const uint32_t[::1] RANK_OFFSETS
cdef const uint8_t[::1] RANK_BYTES

# The text of each rank that has been a delta: None where it has not been yet, False where it is no whole text.
cdef list TEXTS = [None] * vocabulary.FIRST_SPECIAL

cdef int ranks_are_loaded = 0

cdef int load_vocabulary() except -1:
    if not is_set(&ranks_are_loaded):
        load_ranks()
    return 0


def _take_ranks():
    global RANK_OFFSETS, RANK_BYTES
    if not is_set(&ranks_are_loaded):  # a signal's handler may have been here
        loaded = vocabulary.load()
        RANK_OFFSETS = loaded.offsets
        RANK_BYTES = loaded.data
        RANKS.data = &RANK_BYTES[0]
        RANKS.offsets = &RANK_OFFSETS[0]
        set(&ranks_are_loaded)
    return True


load_ranks = Once(_take_ranks)

cdef object bare_content = None
cdef object header_repair = None
cdef const uint8_t[::1] BYTES  # of `bare_content.py`
cdef int lenient_is_loaded = 0

cdef int load_lenient() except -1:
    """Imports what lenient parsing alone needs: without it, a process starts a tenth sooner."""
    if not is_set(&lenient_is_loaded):
        load_modules()
    return 0


def _take_modules():
    global bare_content, header_repair, BYTES, LONG_RUN, FIRST_LOOK, LONGEST_WORD, WORDS_THAT_DECIDE
    with forks_wait:
        import harmony.parsing.bare_content
        import harmony.parsing.header_repair
    if not is_set(&lenient_is_loaded):
        BYTES = harmony.parsing.bare_content.BYTES
        LONG_RUN = harmony.parsing.bare_content.REMEMBERED_LENGTH
        FIRST_LOOK = harmony.parsing.bare_content.FIRST_LOOK
        LONGEST_WORD = harmony.parsing.bare_content.LONGEST_WORD
        WORDS_THAT_DECIDE = harmony.parsing.bare_content.WORDS_THAT_DECIDE
        header_repair = harmony.parsing.header_repair
        bare_content = harmony.parsing.bare_content
        set(&lenient_is_loaded)
    return True


load_modules = Once(_take_modules)


cdef bint is_short(list tokens, Py_ssize_t start, int marker) except -1:
    """Whether the tokens from `start` on have fewer words than decide, and only what names may have."""
    cdef Py_ssize_t index
    cdef int64_t token
    cdef uint32_t place
    cdef uint8_t byte
    cdef int words = 0
    cdef int length = 0
    cdef bint in_word = False
    for index in range(start, len(tokens)):
        token = tokens[index]
        if token >= FIRST_SPECIAL:
            return False
        for place in range(RANKS.offsets[token], RANKS.offsets[token + 1]):
            byte = BYTES[RANKS.data[place]]
            if byte == 2:
                return False
            words += in_word and byte == 1
            in_word = byte == 0
            length = length + 1 if in_word else 0
            if length > LONGEST_WORD:
                return False
    words += in_word and marker != TEXT
    return words < (2 if marker == CHANNEL else WORDS_THAT_DECIDE)


cdef object rank_text(int64_t rank):
    """The text of one rank, or False where its bytes are no whole text."""
    text = TEXTS[rank]
    if text is None:
        try:
            text = PyUnicode_DecodeUTF8(
                <const char *>RANKS.data + RANKS.offsets[rank], RANKS.offsets[rank + 1] - RANKS.offsets[rank], NULL
            )
        except UnicodeDecodeError:
            text = False
        with cython.critical_section(TEXTS):
            if TEXTS[rank] is None:  # never replaced, so that it may be read without a lock
                TEXTS[rank] = text
    return text


cdef class Moves:
    """One input on its way through the automaton: its state, and what has been read so far."""

    def __cinit__(self, *_arguments, **_options):
        self._begin(None, True)

    def __dealloc__(self):
        PyMem_Free(self._content.data)

    cdef int _begin(self, object given, bint strict) except -1:
        load_vocabulary()
        if not strict:
            load_lenient()
        self._strict = strict
        self._moves = &STRICT_MOVES[0] if strict else &LENIENT_MOVES[0]
        self._unit = "token"
        self._state = EXPECT_START if given is None else HEADER
        self._given = given
        self._position = self._start = self._header_start = self._content_start = 0
        self._header_tokens = []
        self._run_start = 0
        self._forget_header()
        clear(&self._content)
        self._content_tokens = []
        self._text = ""
        self._delta = None
        self._tokens = []
        self._messages = []
        self._spans = None
        self._segments = None
        self._cut = False
        self._diagnostics = []
        return 0

    cdef int _run(self, object tokens) except -1:
        """Takes tokens, as `as_sequence` gives them, until one raises."""
        if type(tokens) is memoryview:
            return self._run_buffer(tokens)
        return self._run_list(tokens if type(tokens) is list else list(tokens))

    cdef int _run_list(self, list tokens) except -1:
        cdef Py_ssize_t place = 0
        cdef int64_t token
        cdef bint streaming = self._spans is None
        cdef bint adding = is_adding(self)
        while place < len(tokens):  # asked each time: a strange integer's `__index__` may have changed the list
            integer = tokens[place]
            place += 1
            if type(integer) is not int:
                integer = as_id(integer, self._position)
                adding = is_adding(self)  # or may have used this parser
            if streaming:
                self._tokens.append(integer)
            token = token_id(integer)
            if adding and 0 <= token < FIRST_SPECIAL:
                append_rank(&self._content, &RANKS, token)
                if streaming:
                    self._content_tokens.append(integer)
                self._position += 1
                continue
            try:
                self._step(token, integer, 1)
            finally:
                self._position += 1
            adding = is_adding(self)
        return 0

    cdef int _run_buffer(self, const uint32_t[::1] tokens) except -1:
        cdef Py_ssize_t place, count = tokens.shape[0]
        cdef const uint32_t *begin = &tokens[0] if count else NULL
        cdef int64_t token
        cdef bint streaming = self._spans is None
        cdef bint adding = is_adding(self)
        for place in range(count):
            token = read_once(begin + place)
            if streaming:
                self._tokens.append(token)
            if adding and token < FIRST_SPECIAL:
                append_rank(&self._content, &RANKS, token)
                if streaming:
                    self._content_tokens.append(token)
                self._position += 1
                continue
            try:
                self._step(token if token <= LAST_TOKEN else NO_ID, token, 1)
            finally:
                self._position += 1
            adding = is_adding(self)
        return 0

    cdef int _step(self, int64_t token, object integer, Py_ssize_t width) except -1:
        """Takes one token, `width` positions wide; `integer` is it as it was given, for errors."""
        cdef int kind, move, action
        cdef Py_ssize_t size
        if token == NO_ID:
            kind = INVALID
        elif token < FIRST_SPECIAL:
            kind = TEXT
        else:
            kind = KINDS[token - FIRST_SPECIAL]
        if kind != TEXT and not self._strict and self._header_tokens:
            self._look_before(kind)
        move = self._moves[self._state * KIND_COUNT + kind]
        action = move >> 4
        if move == ILLEGAL:
            if not self._strict:
                return self._repair(kind, token, integer, width)
            self._refuse(machine.illegal(self._state, kind, self._position, vocabulary.load().describe(integer)))
        elif action == ADD_TO_CONTENT:
            self._add_to_content(token)
            self._content_tokens.append(integer)
        else:
            self._act(action, kind, token, integer, width)
        self._state = move & 15
        if kind == TEXT and self._header is None and not self._strict:
            size = len(self._header_tokens) - self._run_start
            if size >= FIRST_LOOK and size & (size - 1) == 0:
                self._look(kind)
        return 0

    cdef int _act(self, int action, int kind, int64_t token, object integer, Py_ssize_t width) except -1:
        """What a move does, or one of the things that a repair does."""
        if action == ADD_TO_HEADER:
            self._header_tokens.append(token if kind != INVALID else vocabulary.NO_TOKEN)
            if kind == CHANNEL or kind == CONSTRAIN:
                self._run_start = len(self._header_tokens)
        elif action == CLOSE_HEADER:
            self._close_header(width)
        elif action == CLOSE_MESSAGE:
            self._close_message(ENDS_OF.get(token))
        elif action == OPEN_HEADER:
            self._start = self._position
            self._header_start = self._position + width
        elif action == IMPLY_START:
            self._imply_start()
        elif action == MEND_HEADER:
            self._mend_header(width)
        elif action == GIVE_UP_HEADER:
            self._give_up_header(kind, token, integer, width)
        elif action == REOPEN:
            self._reopen(integer, width)
        elif action == REPLACE:
            self._add_bytes(header_repair.REPLACEMENT)
        elif action == LEAVE_OUT:
            self._add_bytes(header_repair.left_out(last_bytes(&self._content, header_repair.LONGEST_MARKER)))
        return 0

    cdef int _take_text(self, str text) except -1:
        """Takes a piece of ordinary text, as a run of tokens would be taken."""
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t size = 0 if self._strict else FIRST_LOOK
        cdef Py_ssize_t stop
        while self._header is None and 0 < size < len(text) - start:
            stop = not_in_pair(text, start + size)
            self._add_text(text[start:stop])
            self._look(TEXT)
            start, size = stop, 2 * size
        return self._add_text(text[start:])

    cdef int _add_text(self, str text) except -1:
        cdef int move = self._moves[self._state * KIND_COUNT + TEXT]
        if move == ILLEGAL:
            if self._strict:
                self._refuse(machine.illegal(self._state, TEXT, self._position, "the text " + quote(text)))
            self._imply_start()
            self._state = STRAY_TEXT
            move = self._moves[self._state * KIND_COUNT + TEXT]
        data = vocabulary.encode_utf_8(text)
        if move >> 4 == ADD_TO_CONTENT:
            append(&self._content, data)
        else:
            self._header_tokens.extend(data.translate(vocabulary.load().byte_ranks))
        return 0

    cdef object _end(self):
        """Takes the end of the input; the role whose turn is next, where it ends in an open `<|start|>role`."""
        cdef int move = self._moves[self._state * KIND_COUNT + END_OF_INPUT]
        role = None
        blank = self._state == STRAY_TEXT and bare_content.is_blank(self._header_tokens)
        self._cut = self._cut or not (blank or self._state == EXPECT_START)
        if move != ILLEGAL and move >> 4 == LEAVE_OPEN:
            role = open_role(self._header_tokens, self._given)
            if role is None:
                move = ILLEGAL
        if move == ILLEGAL:
            if not self._strict:
                self._repair(END_OF_INPUT, NO_ID, vocabulary.NO_TOKEN, 0)
                return None
            self._fail(machine.illegal(self._state, END_OF_INPUT, self._position, ""))
        if move >> 4 == CLOSE_MESSAGE:
            self._close_message(None)
        self._state = move & 15
        return role

    cdef int _imply_start(self) except -1:
        self._start = self._header_start = self._position
        self._given = Role.ASSISTANT
        return 0

    cdef int _close_header(self, Py_ssize_t width) except -1:
        try:
            header = read_header(self._header_tokens, self._given)
        except Fault as fault:
            if not self._strict:
                return self._mend_header(width)
            fault.position = self._place(fault.position)
            self._refuse(fault)
        return self._open_content(header, self._position + width)

    cdef int _mend_header(self, Py_ssize_t width) except -1:
        if self._look(MESSAGE):
            return self._repair(MESSAGE, vocabulary.MESSAGE, vocabulary.MESSAGE, width)
        header, faults = header_repair.mend_header(self._header_tokens, self._given)
        self._note_in_header(faults)
        return self._open_content(header, self._position + width)

    cdef int _open_content(self, object header, Py_ssize_t start) except -1:
        self._remember_header(header)
        self._content_start = start
        return self._forget_header_tokens()

    cdef int _forget_header_tokens(self) except -1:
        self._given = None
        self._header_tokens = []
        self._run_start = 0
        return 0

    cdef Py_ssize_t _place(self, object index) except -1:
        """The position of the token at an index of the open header."""
        if self._unit == "character":
            return self._header_start + characters(islice(self._header_tokens, index))
        return self._header_start + (len(self._header_tokens) if index is None else index)

    cdef int _remember_header(self, object header) except -1:
        self._header = header
        self._role = header.role
        self._channel = header.channel
        self._recipient = header.recipient
        self._content_type = header.content_type
        return 0

    cdef int _forget_header(self) except -1:
        self._header = self._role = self._channel = self._recipient = self._content_type = None
        return 0

    cdef int _close_message(self, object end) except -1:
        if self._header is NO_HEADER and self._content.size == 0:  # a second `<|message|>` that nothing followed
            return self._forget_header()
        if self._spans is None:
            self._delta = settle(&self._content, True)
        rest = text_between(&self._content, self._content.shown, self._content.size)
        message = self._header.message(self._text + rest if self._text else rest)
        if reference_count(<PyObject *>self._messages) > 1:  # somebody keeps what `messages` gave: it stays as it was
            self._messages = self._messages[:]
        self._messages.append(message)
        if self._spans is not None:
            self._spans.append(Span(self._start, self._content_start, self._position, end))
        if self._segments is not None:
            # Made before the list is asked for: another thread may set `_segments` to None while it is made.
            segment = Segment(self._channel, self._recipient, self._role, self._delta or "", message)
            self._segments.append(segment)
        self._forget_header()
        clear(&self._content)
        if self._spans is None:
            self._content_tokens = []
        self._text = ""
        return 0

    cdef int _add_to_content(self, int64_t rank) except -1:
        """Appends one rank, and sets the delta: in all but rare cases the rank's own text."""
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

    # --- lenient parsing

    cdef int _look_before(self, int kind) except -1:
        """Opens the content that a header's text turns out to be, now that a marker has ended it."""
        if kind == CHANNEL or kind == CONSTRAIN or (kind == MESSAGE and self._state == STRAY_TEXT):
            if not self._is_short(kind):
                self._look(kind)
        return 0

    cdef int _look_again(self) except -1:
        """The same while text comes in, where its last token may have decided it."""
        if self._header is None and not self._strict and self._header_tokens and not self._is_short(TEXT):
            if bare_content.may_decide(self._header_tokens, self._run_start, self._slot()):
                self._look(TEXT)
        return 0

    cdef bint _is_short(self, int marker) except -1:
        """Whether the header's last text is too short to be content; by far the most are."""
        cdef Py_ssize_t size = len(self._header_tokens) - self._run_start
        if self._state == STRAY_TEXT or (self._given is not None and self._run_start == 0) or size > LONG_RUN:
            return False
        return is_short(self._header_tokens, self._run_start, marker)

    cdef bint _look(self, int marker) except -1:
        """Opens content whose `<|message|>` is missing, if the header's last text is that; whether it is."""
        if len(self._header_tokens) == self._run_start:
            return False
        slot = self._slot()
        if not bare_content.is_content(self._header_tokens, self._run_start, slot, marker):
            return False
        self._open_bare_content(bare_content.content_of(self._header_tokens, self._run_start, slot, self._given))
        return True

    cdef object _slot(self):
        return bare_content.slot_of(
            self._header_tokens, self._run_start, self._given, stray=self._state == STRAY_TEXT
        )

    cdef int _open_bare_content(self, object mended) except -1:
        self._note_in_header(mended.faults)
        self._open_content(mended.header, self._place(mended.start))
        self._state = BARE_CONTENT
        return self._add_bytes(mended.content)

    cdef int _add_bytes(self, bytes data) except -1:
        append(&self._content, data)
        if self._spans is None:
            self._content_tokens.extend(data.translate(vocabulary.load().byte_ranks))
        return 0

    cdef int _repair(self, int kind, int64_t token, object integer, Py_ssize_t width) except -1:
        """Takes a token that may not stand here; the end of the input is such a token too."""
        repair = machine.REPAIRS[self._state, kind]
        if repair.code is not None:
            place = self._header_start if repair.at_header else self._position
            self._note([repaired(repair.code, place, integer)])
        for action in repair.actions:
            self._act(action, kind, token, integer, width)
        self._state = repair.after
        return 0

    cdef int _give_up_header(self, int kind, int64_t token, object integer, Py_ssize_t width) except -1:
        """Ends a header that gets no `<|message|>`. Where there was content behind it, the token ends that."""
        cdef int move
        mended = bare_content.give_up(self._header_tokens, self._run_start, self._slot(), self._given, kind)
        if mended.header is not None:
            self._open_bare_content(mended)
        else:
            self._note_in_header(mended.faults)
            self._forget_header_tokens()
            if not mended.nothing:
                return 0
            self._state = EXPECT_START
        move = self._moves[self._state * KIND_COUNT + kind]
        if move == ILLEGAL:
            self._repair(kind, token, integer, width)
        elif move >> 4 == CLOSE_MESSAGE:
            self._close_message(ENDS_OF.get(token))
        return 0

    cdef int _reopen(self, object integer, Py_ssize_t width) except -1:
        cdef bint bare = self._state == BARE_CONTENT
        cdef bint blank = self._content.size <= header_repair.MOST_BLANK_BYTES and not all_bytes(&self._content).strip()
        header = self._header if bare else NO_HEADER
        code = "late-message" if bare else "repeated-message" if blank else "second-message"
        self._note([repaired(code, self._position, integer)])
        if not blank:
            self._close_message(None)
            self._start = self._position
            self._remember_header(header)
            self._content_start = self._position + width
        return 0

    cdef int _note_in_header(self, object faults) except -1:
        """Remembers what was mended in the open header."""
        return self._note(placed(faults, self._header_tokens, self._header_start, self._unit))

    cdef int _note(self, list diagnostics) except -1:
        self._diagnostics += diagnostics
        return 0

    cdef int _refuse(self, object fault) except -1:
        """Raises for a token that may not stand here. A header that holds one is given up; content stays open."""
        if self._header is None:
            self._state = EXPECT_START
            self._forget_header_tokens()
        return self._fail(fault)

    cdef int _fail(self, object fault) except -1:
        raise fault.error(unit=self._unit, messages=self._messages) from None


cdef inline bint is_adding(Moves moves):
    return moves._moves[moves._state * KIND_COUNT + TEXT] >> 4 == ADD_TO_CONTENT
