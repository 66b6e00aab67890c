# cython: language_level=3, freethreading_compatible=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The compiled engine. Its twin in Python, `parser_py.py`, is the reference."""

cimport cython
from libc.stdint cimport int64_t
from cpython.mem cimport PyMem_Free
from libc.string cimport memset
from harmony.parsing.content cimport Content, append, append_rank, last_bytes, settle, text_between
from harmony.parsing.characters cimport Characters, characters_of, has_surrogates, part, stands_at
from harmony.parsing.moves_c cimport FIRST_SPECIAL, Moves, NO_ID, RANKS, load_vocabulary, new_message, token_id
from harmony.parsing.scan_c cimport Marker, end_of_header, next_marker

cdef extern from "Python.h":
    const unsigned long Py_TPFLAGS_IMMUTABLETYPE
    ctypedef struct PyTypeObject:
        unsigned long tp_flags
    void PyType_Modified(PyTypeObject *)

from harmony.errors import HarmonyError
from harmony.format import machine, vocabulary
from harmony.format.header import REMEMBERED_HEADERS, REMEMBERED_LENGTH
from harmony.parsing.moves import end, repairs, restore, save
from harmony.parsing.shared import POSITION, check_encoding, checked_channel, guessed, new_parser, state_data
from harmony.messages.roles import Role, as_role
from harmony.results import ENDS, STREAM_STATES, ParseResult, Segment, Snapshot
from harmony.parsing.tokens import as_id, as_sequence

cdef int EXPECT_START = machine.State.EXPECT_START
cdef int CONTENT = machine.State.CONTENT
cdef int TEXT = machine.Kind.TEXT

cdef dict ENDS_OF = ENDS
cdef bytes START_TEXT = vocabulary.SPECIAL_TEXTS[vocabulary.START].encode()

# The roles by their words. A Role is not found here: its hash is that of its name.
cdef dict ROLES = {role.value: role for role in Role}
# For each given role, the headers by their texts; for a refused one, False. A longer text than this is not remembered.
cdef list GIVEN = [None, *Role]
cdef list HEADERS = [{} for _ in GIVEN]
cdef Py_ssize_t LONGEST_HEADER = 4 * REMEMBERED_LENGTH  # characters


cdef class StreamableParser(Moves):
    """StreamableParser(encoding, role, *, strict=True, default_channel=None)
--

Parses the tokens of a completion as they come, one at a time or some at a time.

    `role` is the role of the first message. Pass it where the prompt ends in `<|start|>role`. Pass None where the
    tokens themselves begin with `<|start|>`.

        >>> parser = StreamableParser(encoding, Role.ASSISTANT)
        >>> tokens = encoding.encode("<|channel|>final<|message|>Hi", allowed_special="all")
        >>> [segment.delta for segment in parser.process_many(tokens)], parser.current_channel
        (['Hi'], 'final')

    A token that may not stand where it stands raises HarmonyError. Inside content that token is left out, and the
    content stays open. Inside a header the whole header is given up, and the next token has to be `<|start|>`. Only a
    stop inside a header does not raise at once. The next token raises instead, or `process_eos` where none follows.

    With `strict=False` no token raises HarmonyError. Every fault is repaired, and each repair is listed in
    `diagnostics`. Text that may still become part of a header is held back until the parser knows what it is;
    `process_eos` releases the rest. A delta that was given is never taken back. `default_channel`, such as "final", is
    the channel of the assistant's messages that have neither a channel nor a recipient. It is an option of
    `strict=False`, for programs that ignore messages without a channel.

    TypeError is raised for a token that is no integer, for an `encoding` that is no HarmonyEncoding, and for a `role`
    or a `default_channel` that is no string; ValueError for an unknown role, and for a `default_channel` that is no
    channel's name or stands beside `strict=True`.

    The class may be subclassed, and a parser may have further attributes. A parser can be pickled and copied, also in
    mid-stream; a pickle of the compiled engine can be read by the one in Python, and the other way round. Only one
    thread at a time may feed a parser.
    """

    cdef dict __dict__
    cdef object __weakref__

    def __init__(self, encoding, role, *, strict=True, default_channel=None):
        check_encoding(encoding)
        given = as_role(role)
        channel = checked_channel(default_channel, strict=strict)
        with cython.critical_section(self):  # another thread may be using this parser
            self.begin(given, strict, channel)

    # --- input

    @cython.critical_section
    def process(self, token):
        """Takes the next token, and returns the parser itself. Raises HarmonyError and TypeError, as the class says."""
        if type(token) is not int:
            token = as_id(token, self._position)
        self._tokens.append(token)
        self.forget_delta()
        try:
            self._step(token_id(token), token, 1)
            if not self._strict and self._delta is None:
                self._look_again()
                self._delta = settle(&self._content, False)
        finally:
            self._position += 1
        return self

    @cython.critical_section
    def process_many(self, tokens):
        """Takes several tokens as one step, and returns what they added: one Segment for each message, in order.

        `tokens` are a list, a tuple, another iterable of integers, or a buffer of integers such as a numpy array.
        Where a token raises, the tokens behind it are not taken. What the tokens before it gave is in `messages` and
        `current_content`.
        """
        sequence = as_sequence(tokens)
        cdef list segments = []
        self._segments = segments
        self.forget_delta()
        try:
            self._run(sequence)
        finally:
            self._segments = None
            self._look_again()
            if self._header is not None:
                delta = settle(&self._content, False)
                if delta is not None:
                    self.forget_delta()  # of a message that this step has ended
                    segments.append(Segment(self._channel, self._recipient, self._role, delta, None))
                    self._delta = delta
        return segments

    @cython.critical_section
    def process_eos(self):
        """Takes the end of the input, and returns the parser itself.

        A message that has no stop ends here. In strict mode HarmonyError is raised where the input ends inside a
        header, unless that is only `<|start|>` and a role.
        """
        self.forget_delta()
        end(self)
        if self._diagnostics:
            repairs().finish(self)
        return self

    # --- what has been read

    @property
    @cython.critical_section
    def messages(self):
        """The finished messages. Do not change the list.

        The list that you get does not change either. Where you still hold it when the next message ends, the parser
        goes on with a copy.
        """
        return self._messages

    @property
    @cython.critical_section
    def tokens(self):
        """All tokens so far, also those that raised a HarmonyError. Read-only, and made without a copy."""
        return Snapshot(self._tokens, len(self._tokens))

    @property
    @cython.critical_section
    def diagnostics(self):
        """One Diagnostic for each repair so far. Always empty in strict mode, where a fault raises.

        They are in the order in which the faults were found, which may differ from the order of their positions.
        Read-only, and made without a copy.
        """
        return Snapshot(self._diagnostics, len(self._diagnostics))

    @property
    @cython.critical_section
    def complete(self):
        """Whether the input could end here: it is between messages, and no text is held back.

        After `process_eos`: whether that was so when the input ended. False in any case after a header that named a
        recipient, and that no content followed: a call may be missing.
        """
        return self._state == EXPECT_START and not self._cut

    @property
    def state(self):
        """Where the parser stands: EXPECT_START (between messages), HEADER or CONTENT."""
        return STREAM_STATES[self._state]

    @property
    @cython.critical_section
    def state_data(self):
        """The state as a dict, with the keys of openai-harmony 0.0.8; the tokens in it are a Snapshot.

        Its keys are `state`, and `header_tokens` inside a header, or `header` and `content_tokens` inside content.
        """
        cdef Py_ssize_t pending = self._content.size - self._content.settled
        return state_data(self._state, self._header, self._header_tokens, self._content_tokens, pending)

    @property
    @cython.critical_section
    def current_content(self):
        """The text of the open message so far, up to its last whole character; "" between messages."""
        if self._content.shown < self._content.settled:
            self._text += text_between(&self._content, self._content.shown, self._content.settled)
            self._content.shown = self._content.settled
        return self._text

    @property
    @cython.critical_section
    def current_role(self):
        """The role of the message whose content is open; None between messages.

        While the first header is open, it is the role that the caller gave. Where the last step ended a message and
        gave the end of its text, it is the role of that message until the next step.
        """
        return self._given if self._role is None else self._role

    @property
    @cython.critical_section
    def current_channel(self):
        """The channel of the message whose content is open; None where there is none.

        Where the last step ended a message and gave the end of its text, it is that of this message until the next
        step.
        """
        return self._channel

    @property
    @cython.critical_section
    def current_recipient(self):
        """The recipient of the message whose content is open; None where there is none.

        Where the last step ended a message and gave the end of its text, it is that of this message until the next
        step.
        """
        return self._recipient

    @property
    @cython.critical_section
    def current_content_type(self):
        """The content type of the message whose content is open; None where there is none.

        Where the last step ended a message and gave the end of its text, it is that of this message until the next
        step.
        """
        return self._content_type

    @property
    @cython.critical_section
    def last_content_delta(self):
        """The text that the last step added to the content; None where it added none.

        After `process_many` it is the text of the last Segment. Where a token ends inside a character, the delta ends
        before that character, and a later token gives it. Where the stop comes first, the stop gives U+FFFD instead. So
        the deltas of a message, joined, are its content. The token that ends a message also gives the text that was
        held back until then; `current_role`, `current_channel`, `current_recipient` and `current_content_type` are then
        still those of that message.
        """
        return self._delta

    # --- copies

    @cython.critical_section
    def __reduce__(self):
        subclass = None if type(self) is StreamableParser else type(self)
        return new_parser, (subclass,), (save(self), getattr(self, "__dict__", {}))

    def __setstate__(self, state):
        with cython.critical_section(self):  # as in `__init__`
            restore(self, state[0])
        for name, value in state[1].items():
            setattr(self, name, value)

    cdef int _look_again(self) except -1:
        """Opens content whose `<|message|>` is missing, where the last token has decided that the text is content."""
        if self._header is None and not self._strict and self._header_tokens and self.may_decide():
            repairs().look_again(self)
        return 0


cdef Moves whole_input(object role, bint strict, object default_channel):
    cdef Moves parser = Moves.__new__(Moves)
    if default_channel is not None:
        default_channel = checked_channel(default_channel, strict=strict)
    if role is not None or not strict:
        if type(role) is not Role:
            role = (ROLES.get(role) if type(role) is str else None) or as_role(role)
        parser.set_up(role, strict, default_channel)
    parser._spans = []
    return parser


cdef object result(Moves parser, object token_count):
    next_role = None
    if parser._state == CONTENT:  # what `end` would do, in less time: many completions stop within content
        parser._cut = True
        parser.close_message(None)
        parser._state = EXPECT_START
    elif parser._state != EXPECT_START:
        next_role = end(parser)
    if parser._diagnostics:
        repairs().finish(parser)
        parser._diagnostics.sort(key=POSITION)
    return ParseResult(parser._messages, parser._diagnostics, parser._spans, not parser._cut, next_role, token_count)


def parse(tokens, role, *, strict, default_channel=None):
    """Parses the tokens of one whole input, as `HarmonyEncoding.parse` documents."""
    sequence = as_sequence(tokens)
    cdef Moves parser = whole_input(role, strict, default_channel)
    parser._run(sequence)
    return result(parser, parser._position)


def parse_text(text, role, *, strict, stripped=False, default_channel=None):
    """Parses one whole rendered text, as `HarmonyEncoding.parse_text` documents."""
    markers = doubts = ()
    if stripped:
        role, markers, doubts = guessed(text, as_role(role))
    cdef Moves parser = whole_input(role, strict, default_channel)
    parser._unit = "character"
    parser._diagnostics.extend(doubts)
    if type(text) is not str:
        text = str.__str__(text)
    if stripped:
        for start, stop, token in markers:
            take_marker(parser, text, start, stop, token)
    else:
        take_markers(parser, text, True)
    if parser._position < len(text):
        parser._take_text(text[parser._position:])
        parser._position = len(text)
    return result(parser, None)


cdef int take_marker(Moves parser, str text, Py_ssize_t start, Py_ssize_t stop, object token) except -1:
    """Takes the text before a marker, and the marker."""
    if parser._position < start:
        parser._take_text(text[parser._position:start])
        parser._position = start
    parser._step(token, token, stop - start)
    parser._position = stop
    return 0


cdef int take_markers(Moves parser, str text, bint quick) except -1:
    """Takes a text up to its last marker. With `quick`, whole messages are taken at once where that is possible."""
    cdef Characters all = characters_of(text)
    cdef Marker marker
    quick = quick and not has_surrogates(&all)  # a surrogate is changed where text becomes UTF-8
    while True:
        if quick and parser._resumed is None and (parser._state == EXPECT_START or parser._position == 0):
            take_messages(parser, text, &all)
        if not next_marker(text, &all, parser._position, &marker):
            return 0
        take_marker(parser, text, marker.start, marker.stop, marker.token)


cdef int take_messages(Moves parser, str text, const Characters *all) except -1:
    """Takes the messages that stand next, up to one that may be faulty. Their content is never made UTF-8.

    A message is taken if its header is known to be legal, and the next marker behind the header is a stop or there is
    none. That is all that the automaton asks of it.
    """
    cdef Py_ssize_t start, content_start
    cdef Marker marker
    while parser._given is not None or stands_at(all, parser._position, START_TEXT, len(START_TEXT)):
        start = parser._position
        content_start = end_of_header(all, start, LONGEST_HEADER)
        if content_start == 0:
            break
        header = header_of(part(text, start, content_start), parser._given)
        if header is None:
            break
        ending = None
        if next_marker(text, all, content_start, &marker):
            ending = ENDS_OF.get(marker.token)
            if ending is None:
                break
        else:
            marker.start = marker.stop = all.size
            parser._cut = True
        if parser._default_channel is not None:
            header = parser._default_channel.of(header)
        message = new_message(header, part(text, content_start, marker.start))
        parser.add_message(message, start, content_start, marker.start, ending)
        parser._given = None
        parser._state = EXPECT_START
        parser._position = marker.stop
    return 0


cdef object header_of(str written, object given):
    """The header that is written up to its `<|message|>`, with a `<|start|>` unless its role is given.

    It is None for a header that strict parsing refuses. A header is read once, and then remembered by its text.
    """
    cdef dict known
    cdef Moves parser
    cdef int index = 0
    while GIVEN[index] is not given:
        index += 1
    known = HEADERS[index]
    found = known.get(written)
    if found is not None:
        return found or None
    parser = whole_input(given, True, None)
    try:
        take_markers(parser, written, False)
    except HarmonyError:
        pass  # its `_header` is None
    if len(known) >= REMEMBERED_HEADERS:
        known.clear()
    known[written] = parser._header or False
    return parser._header


def decode_bytes(tokens):
    """The joined bytes of tokens; a special token gives its written form. Raises HarmonyError for an unknown id."""
    cdef Content content
    cdef int64_t rank
    load_vocabulary()
    memset(&content, 0, sizeof(content))
    try:
        for position, token in enumerate(as_sequence(tokens)):
            token = as_id(token, position)
            rank = token_id(token)
            if rank == NO_ID:
                raise machine.no_token(position, vocabulary.load().describe(token)).error()
            if rank < FIRST_SPECIAL:
                append_rank(&content, &RANKS, rank)
            else:
                append(&content, vocabulary.SPECIAL_TEXTS[rank].encode())
        return last_bytes(&content, content.size)
    finally:
        PyMem_Free(content.data)


# Programs may patch StreamableParser, as they may patch any class of Python. Cython makes an immutable type of it.
(<PyTypeObject *>StreamableParser).tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE
PyType_Modified(<PyTypeObject *>StreamableParser)
