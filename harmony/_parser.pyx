# cython: language_level=3, freethreading_compatible=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The engine, compiled. Its twin `_parser_py.py` says what every public name does.

Token bytes are copied straight from the vocabulary into one buffer, which is decoded once a message. Pointers into
the vocabulary are followed only behind a check that the token is one of its ranks.
"""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t
from harmony._content cimport Content, Ranks, all_bytes, append, append_rank, clear, last_bytes, settle, text_between

cdef extern from "Python.h":
    # As it is declared in cpython.ref it would count the reference that the call itself holds.
    Py_ssize_t reference_count "Py_REFCNT"(PyObject *)

from harmony import machine, repairs, vocabulary
from harmony._engine import POSITION, SavedParser, as_role, characters, check_encoding, end_of, repair_fault, state_data
from harmony.errors import Fault, quote
from harmony.header import open_role, read_header
from harmony.messages import Role
from harmony.results import STREAM_STATES, ParseResult, Segment, Span
from harmony.stripped import markers_in
from harmony.tokens import as_id, as_sequence

# The tables of `machine.py` and `vocabulary.py`, copied once so that they cost nothing to read.
cdef int64_t FIRST_SPECIAL = vocabulary.FIRST_SPECIAL
cdef int64_t LAST_TOKEN = vocabulary.LAST_TOKEN
cdef int64_t NO_TOKEN = -1  # stands for every integer that is no id, however large

cdef int TEXT = machine.Kind.TEXT
cdef int CHANNEL = machine.Kind.CHANNEL
cdef int CONSTRAIN = machine.Kind.CONSTRAIN
cdef int MESSAGE = machine.Kind.MESSAGE
cdef int INVALID = machine.Kind.INVALID
cdef int END_OF_INPUT = machine.Kind.END_OF_INPUT
cdef int EXPECT_START = machine.State.EXPECT_START
cdef int HEADER = machine.State.HEADER
cdef int CONTENT = machine.State.CONTENT
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

cdef int KIND_COUNT = len(machine.Kind)
cdef int WORDS_THAT_DECIDE = repairs.WORDS_THAT_DECIDE["channel"]
cdef Py_ssize_t LONG_RUN = 64  # so long a run of text in a header is looked at by itself
cdef const uint8_t[::1] KINDS = machine.KINDS
cdef const uint8_t[::1] STRICT_MOVES = machine.MOVES[True]
cdef const uint8_t[::1] LENIENT_MOVES = machine.MOVES[False]

cdef const uint32_t[::1] RANK_OFFSETS
cdef const uint8_t[::1] RANK_BYTES
cdef Ranks RANKS
RANKS.offsets = NULL

# The text of each rank that has been a delta: None where it has not been yet, False where it is no whole text.
cdef list TEXTS = [None] * vocabulary.FIRST_SPECIAL

cdef int load_vocabulary() except -1:
    global RANK_OFFSETS, RANK_BYTES
    if RANKS.offsets is NULL:
        loaded = vocabulary.load()
        RANK_OFFSETS = loaded.offsets
        RANK_BYTES = loaded.data
        RANKS.data = &RANK_BYTES[0]
        RANKS.offsets = &RANK_OFFSETS[0]
    return 0


cdef inline int64_t token_id(object token) noexcept:
    """The id that an int is, or NO_TOKEN."""
    cdef int overflow
    cdef int64_t number = PyLong_AsLongLongAndOverflow(token, &overflow)
    return number if overflow == 0 and 0 <= number <= LAST_TOKEN else NO_TOKEN


cdef bint is_short(list tokens, Py_ssize_t start, bint ended) except -1:
    """Whether the tokens from `start` on have fewer words than decide, and only what names may have."""
    cdef Py_ssize_t index
    cdef int64_t token
    cdef uint32_t place
    cdef int words = 0
    cdef bint in_word = False
    for index in range(start, len(tokens)):
        token = tokens[index]
        if token >= FIRST_SPECIAL:
            return False
        for place in range(RANKS.offsets[token], RANKS.offsets[token + 1]):
            if RANKS.data[place] in (0x20, 0x09, 0x0a, 0x0c, 0x0d):
                words += in_word
                in_word = False
            elif RANKS.data[place] in (0x22, 0x3c, 0x3e, 0x7b, 0x7d) or RANKS.data[place] >= 0x7f:
                return False
            else:
                in_word = True
    return words + (in_word and ended) < WORDS_THAT_DECIDE


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


cdef class StreamableParser:
    """Parses the tokens of a completion as they come, one at a time or some at a time."""

    cdef bint _strict
    cdef const uint8_t *_moves
    cdef str _unit
    cdef int _state
    cdef object _given
    cdef bint _cut
    cdef Py_ssize_t _position, _start, _header_start, _content_start, _run_start
    cdef list _header_tokens
    cdef object _header, _role, _channel, _recipient, _content_type
    cdef Content _content
    cdef str _text
    cdef object _delta
    cdef list _content_tokens, _tokens, _messages, _spans, _segments, _diagnostics
    cdef object __weakref__

    def __cinit__(self, *_arguments, **_options):
        self._begin(None, True)

    def __dealloc__(self):
        PyMem_Free(self._content.data)

    def __init__(self, encoding, role, *, strict=True):
        check_encoding(encoding)
        self._begin(as_role(role), strict)

    cdef int _begin(self, object given, bint strict) except -1:
        load_vocabulary()
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

    # --- input

    @cython.critical_section
    def process(self, token):
        """Takes the next token; returns the parser itself."""
        if type(token) is not int:
            token = as_id(token, self._position)
        self._own_tokens().append(token)
        self._delta = None
        try:
            self._step(token_id(token), token, 1)
            if not self._strict and self._delta is None:
                self._delta = self._held_text()
        finally:
            self._position += 1
        return self

    @cython.critical_section
    def process_many(self, tokens):
        """Takes several tokens as one step; returns what they added, message by message, in order."""
        sequence = as_sequence(tokens)
        cdef list segments = []
        self._segments = segments
        self._delta = None
        try:
            self._run(sequence)
        finally:
            self._segments = None
            delta = self._held_text()
            if delta is not None:
                segments.append(Segment(self._channel, self._recipient, self._role, delta, None))
                self._delta = delta
        return segments

    @cython.critical_section
    def process_eos(self):
        """Takes the end of the input, which ends a message that has no stop; returns the parser itself."""
        self._delta = None
        self._end()
        return self

    # --- what has been read

    @property
    @cython.critical_section
    def messages(self):
        """The messages that are finished; not to be changed."""
        return self._messages

    @property
    @cython.critical_section
    def tokens(self):
        """All tokens that came, those that raised a HarmonyError among them; as `messages`, not to be changed."""
        return self._tokens

    @property
    @cython.critical_section
    def diagnostics(self):
        """What was found wrong and repaired so far; in strict mode nothing, for what is wrong raises."""
        return self._diagnostics

    @property
    @cython.critical_section
    def complete(self):
        """Whether the input may end here, or could when it did: it is between messages."""
        return self._is_between() and not self._cut

    @property
    def state(self):
        """Between messages, in a header, or in content."""
        return STREAM_STATES[self._state]

    @property
    @cython.critical_section
    def state_data(self):
        """The state as openai-harmony lays it out, with the tokens of the open header or content."""
        cdef Py_ssize_t pending = self._content.size - self._content.settled
        return state_data(self._state, self._header, self._header_tokens, self._content_tokens, pending)

    @property
    @cython.critical_section
    def current_content(self):
        """The content of the open message so far, up to its last whole character; "" between messages."""
        if self._content.shown < self._content.settled:
            self._text += text_between(&self._content, self._content.shown, self._content.settled)
            self._content.shown = self._content.settled
        return self._text

    @property
    @cython.critical_section
    def current_role(self):
        """The role of the open message, or the one the caller gave while the first header is open."""
        return self._role if self._header is not None else self._given

    @property
    @cython.critical_section
    def current_channel(self):
        """The channel of the message whose content is open."""
        return self._channel

    @property
    @cython.critical_section
    def current_recipient(self):
        """The recipient of the message whose content is open."""
        return self._recipient

    @property
    @cython.critical_section
    def current_content_type(self):
        """The content type of the message whose content is open."""
        return self._content_type

    @property
    @cython.critical_section
    def last_content_delta(self):
        """The text that the last step added to the content; None where it added none."""
        return self._delta

    # --- copies

    @cython.critical_section
    def __reduce__(self):
        from harmony.parser import new_parser

        saved = SavedParser(
            strict=self._strict,
            state=self._state,
            given=self._given,
            position=self._position,
            header_start=self._header_start,
            header_tokens=self._header_tokens[:],
            header=self._header,
            content=all_bytes(&self._content),
            content_tokens=self._content_tokens[:],
            settled=self._content.settled,
            delta=self._delta,
            tokens=self._tokens[:],
            messages=self._messages[:],
            run_start=self._run_start,
            cut=self._cut,
            diagnostics=self._diagnostics[:],
        )
        subclass = None if type(self) is StreamableParser else type(self)
        return new_parser, (subclass,), (saved, getattr(self, "__dict__", {}))

    def __setstate__(self, state):
        saved = SavedParser.checked(state[0])
        self._begin(saved.given, saved.strict)
        self._state = saved.state
        self._position = saved.position
        self._header_start = saved.header_start
        self._header_tokens = saved.header_tokens
        if saved.header is not None:
            self._remember_header(saved.header)
        append(&self._content, saved.content)
        self._content_tokens = saved.content_tokens
        self._content.settled = saved.settled
        self._delta = saved.delta
        self._tokens = saved.tokens
        self._messages = saved.messages
        self._run_start = saved.run_start
        self._cut = saved.cut
        self._diagnostics = saved.diagnostics
        for name, value in state[1].items():
            setattr(self, name, value)

    # --- the automaton's moves

    cdef int _run(self, object tokens) except -1:
        """Takes tokens, as `as_sequence` gives them, until one raises."""
        if type(tokens) is memoryview:
            return self._run_buffer(tokens)
        return self._run_list(tokens if type(tokens) is list else list(tokens))

    cdef int _run_list(self, list tokens) except -1:
        cdef Py_ssize_t place = 0
        cdef int64_t token
        cdef bint streaming = self._spans is None
        cdef bint adding = self._is_adding()
        while place < len(tokens):  # asked each time: a strange integer's `__index__` may have changed the list
            integer = tokens[place]
            place += 1
            if type(integer) is not int:
                integer = as_id(integer, self._position)
                adding = self._is_adding()  # or may have used this parser
            if streaming:
                self._own_tokens().append(integer)
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
            adding = self._is_adding()
        return 0

    cdef int _run_buffer(self, const uint32_t[::1] tokens) except -1:
        cdef Py_ssize_t place
        cdef int64_t token
        cdef bint streaming = self._spans is None
        cdef bint adding = self._is_adding()
        for place in range(tokens.shape[0]):
            token = tokens[place]
            if streaming:
                self._own_tokens().append(token)
            if adding and token < FIRST_SPECIAL:
                append_rank(&self._content, &RANKS, token)
                if streaming:
                    self._content_tokens.append(token)
                self._position += 1
                continue
            try:
                self._step(token if token <= LAST_TOKEN else NO_TOKEN, token, 1)
            finally:
                self._position += 1
            adding = self._is_adding()
        return 0

    cdef inline bint _is_adding(self):
        return self._moves[self._state * KIND_COUNT + TEXT] >> 4 == ADD_TO_CONTENT

    cdef int _step(self, int64_t token, object integer, Py_ssize_t width) except -1:
        """Takes one token, `width` positions wide; `integer` is it as it was given, for errors."""
        cdef int kind, move, action
        if token == NO_TOKEN:
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
        elif action == ADD_TO_HEADER:
            self._add_to_header(token, kind)
        elif action == OPEN_HEADER:
            self._open_header(width)
        elif action == CLOSE_HEADER:
            self._close_header(width)
        elif action == MEND_HEADER:
            self._mend_header(width)
        elif action == CLOSE_MESSAGE:
            self._close_message(end_of(token))
        self._state = move & 15
        return 0

    cdef int _take_text(self, str text) except -1:
        """Takes a piece of ordinary text, as a run of tokens would be taken."""
        cdef int move = self._moves[self._state * KIND_COUNT + TEXT]
        if move == ILLEGAL:
            if self._strict:
                self._refuse(machine.illegal(self._state, TEXT, self._position, "the text " + quote(text)))
            self._imply_start()
            self._state = STRAY_TEXT
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
        self._cut = self._cut or not self._is_between()
        if move != ILLEGAL and move >> 4 == LEAVE_OPEN:
            role = open_role(self._header_tokens, self._given)
            if role is None:
                move = ILLEGAL
        if move == ILLEGAL:
            if not self._strict:
                self._repair(END_OF_INPUT, NO_TOKEN, repairs.NO_TOKEN, 0)
                return None
            self._fail(machine.illegal(self._state, END_OF_INPUT, self._position, ""))
        if move >> 4 == CLOSE_MESSAGE:
            self._close_message(None)
        self._state = move & 15
        return role

    cdef bint _is_between(self) except -1:
        if self._state == STRAY_TEXT:
            return repairs.is_blank(self._header_tokens)
        return self._state == EXPECT_START

    cdef int _open_header(self, Py_ssize_t width) except -1:
        self._start = self._position
        self._header_start = self._position + width
        return 0

    cdef int _imply_start(self) except -1:
        self._start = self._header_start = self._position
        self._given = Role.ASSISTANT
        return 0

    cdef int _add_to_header(self, int64_t token, int kind) except -1:
        self._header_tokens.append(token)
        if kind == CHANNEL or kind == CONSTRAIN:
            self._run_start = len(self._header_tokens)
        return 0

    cdef int _close_header(self, Py_ssize_t width) except -1:
        try:
            header = read_header(self._header_tokens, self._given)
        except Fault as fault:
            if not self._strict:
                return self._mend_header(width)
            fault.position = self._place(fault)
            self._refuse(fault)
        return self._open_content(header, self._position + width)

    cdef int _mend_header(self, Py_ssize_t width) except -1:
        if self._look(True):
            return self._repair(MESSAGE, vocabulary.MESSAGE, vocabulary.MESSAGE, width)
        header, faults = repairs.mend_header(self._header_tokens, self._given)
        self._note(faults, False)
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

    cdef Py_ssize_t _place(self, object fault) except -1:
        """The position of a fault in the open header, whose own is an index into the header's tokens."""
        before = self._header_tokens[:fault.position]
        return self._header_start + (len(before) if self._unit == "token" else characters(before))

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
            self._segments.append(Segment(self._channel, self._recipient, self._role, self._delta or "", message))
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

    cdef list _own_tokens(self):
        if reference_count(<PyObject *>self._tokens) > 1:  # as in `_close_message`
            self._tokens = self._tokens[:]
        return self._tokens

    # --- lenient parsing

    cdef int _look_before(self, int kind) except -1:
        """Looks at the header's text before a marker behind which it can be no content."""
        if kind == CHANNEL or kind == CONSTRAIN or (kind == MESSAGE and self._state > CONTENT):
            if not self._is_short(True):
                self._look(True)
        return 0

    cdef bint _is_short(self, bint ended) except -1:
        """Whether the header's last text is too short to be content; by far the most are."""
        if self._state == STRAY_TEXT or (self._given is not None and self._run_start == 0):
            return False
        return len(self._header_tokens) - self._run_start < LONG_RUN and is_short(
            self._header_tokens, self._run_start, ended
        )

    cdef bint _look(self, bint ended) except -1:
        """Opens the content whose `<|message|>` is missing, where the header's last text turns out to be that."""
        if len(self._header_tokens) == self._run_start:
            return False
        slot = self._slot()
        if not repairs.is_content(self._header_tokens, self._run_start, slot, ended=ended):
            return False
        self._open_bare_content(repairs.content_of(self._header_tokens, self._run_start, slot, self._given))
        return True

    cdef object _slot(self):
        return repairs.slot_of(self._header_tokens, self._run_start, self._given, stray=self._state == STRAY_TEXT)

    cdef int _open_bare_content(self, object mended) except -1:
        self._note(mended.faults, False)
        self._open_content(mended.header, self._place(Fault("missing-message", mended.start, found="")))
        self._state = BARE_CONTENT
        return self._add_bytes(mended.content)

    cdef int _add_bytes(self, bytes data) except -1:
        append(&self._content, data)
        if self._spans is None:
            self._content_tokens.extend(data.translate(vocabulary.load().byte_ranks))
        return 0

    cdef object _held_text(self):
        """What the last step added to the content without having said so."""
        if self._header is None and not self._strict and self._header_tokens and not self._is_short(False):
            if repairs.may_decide(self._header_tokens, self._run_start, self._slot()):
                self._look(False)
        return None if self._header is None else settle(&self._content, False)

    cdef int _repair(self, int kind, int64_t token, object integer, Py_ssize_t width) except -1:
        """Takes a token that may not stand here; the end of the input is such a token too."""
        cdef int action
        repair = machine.REPAIRS[self._state, kind]
        if repair.code is not None:
            self._note([repair_fault(repair.code, self._position, integer)], True)
        for each in repair.actions:
            action = each
            if action == IMPLY_START:
                self._imply_start()
            elif action == OPEN_HEADER:
                self._open_header(width)
            elif action == ADD_TO_HEADER:
                self._add_to_header(token if kind != INVALID else repairs.NO_TOKEN, kind)
            elif action == CLOSE_HEADER:
                self._close_header(width)
            elif action == MEND_HEADER:
                self._mend_header(width)
            elif action == GIVE_UP_HEADER:
                self._give_up_header(kind, token, integer, width)
            elif action == CLOSE_MESSAGE:
                self._close_message(None)
            elif action == REOPEN:
                self._reopen(width)
            elif action == REPLACE:
                self._add_bytes(repairs.REPLACEMENT)
            elif action == LEAVE_OUT:
                self._add_bytes(repairs.left_out(last_bytes(&self._content, repairs.LONGEST_MARKER)))
        self._state = repair.after
        return 0

    cdef int _give_up_header(self, int kind, int64_t token, object integer, Py_ssize_t width) except -1:
        """Ends a header that gets no `<|message|>`. Where there was content behind it, the token ends that."""
        following = repairs.FOLLOWING[kind]
        mended = repairs.give_up(self._header_tokens, self._run_start, self._slot(), self._given, following)
        if mended.header is None:
            self._note(mended.faults, False)
            return self._forget_header_tokens()
        self._open_bare_content(mended)
        if self._moves[self._state * KIND_COUNT + kind] != ILLEGAL:
            return self._close_message(end_of(token))
        return self._repair(kind, token, integer, width)

    cdef int _reopen(self, Py_ssize_t width) except -1:
        header = self._header if self._state == BARE_CONTENT else repairs.NO_HEADER
        if self._content.size:
            self._close_message(None)
            self._start = self._position
            self._remember_header(header)
        self._content_start = self._position + width
        return 0

    cdef int _note(self, object faults, bint placed) except -1:
        """Remembers what was repaired; faults that are not `placed` count from where the header begins."""
        if reference_count(<PyObject *>self._diagnostics) > 1:  # as in `_close_message`
            self._diagnostics = self._diagnostics[:]
        for fault in faults:
            self._diagnostics.append(fault.diagnostic(fault.position if placed else self._place(fault)))
        return 0

    cdef int _refuse(self, object fault) except -1:
        """Raises for a token that may not stand here. A header that holds one is given up; content stays open."""
        if self._header is None:
            self._state = EXPECT_START
            self._given = None
            self._header_tokens = []
        return self._fail(fault)

    cdef int _fail(self, object fault) except -1:
        raise fault.error(unit=self._unit, messages=self._messages) from None


cdef StreamableParser whole_input(object role, bint strict):
    cdef StreamableParser parser = StreamableParser.__new__(StreamableParser)
    if role is not None or not strict:
        parser._begin(as_role(role), strict)
    parser._spans = []
    return parser


cdef object result(StreamableParser parser):
    next_role = parser._end()
    if parser._diagnostics:
        parser._diagnostics.sort(key=POSITION)
    return ParseResult(parser._messages, parser._diagnostics, parser._spans, not parser._cut, next_role)


def parse(tokens, role, *, strict):
    sequence = as_sequence(tokens)
    cdef StreamableParser parser = whole_input(role, strict)
    parser._run(sequence)
    return result(parser)


def parse_text(text, role, *, strict, stripped=False):
    cdef StreamableParser parser = whole_input(role, strict)
    parser._unit = "character"
    for start, stop, token in markers_in(text, parser._given, stripped=stripped):
        if parser._position < start:
            parser._take_text(text[parser._position:start])
            parser._position = start
        parser._step(token, token, stop - start)
        parser._position = stop
    if parser._position < len(text):
        parser._take_text(text[parser._position:])
        parser._position = len(text)
    return result(parser)


def decode_bytes(tokens):
    cdef StreamableParser buffer = StreamableParser.__new__(StreamableParser)
    cdef int64_t rank
    for position, token in enumerate(as_sequence(tokens)):
        token = as_id(token, position)
        rank = token_id(token)
        if rank == NO_TOKEN:
            raise machine.no_token(position, vocabulary.load().describe(token)).error()
        if rank < FIRST_SPECIAL:
            append_rank(&buffer._content, &RANKS, rank)
        else:
            append(&buffer._content, vocabulary.SPECIAL_TEXTS[rank].encode())
    return all_bytes(&buffer._content)
