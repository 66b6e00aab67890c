# cython: language_level=3, freethreading_compatible=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The engine, compiled. Its twin `parser_py.py` says what every public name does."""

cimport cython
from libc.stdint cimport int64_t
from cpython.mem cimport PyMem_Free
from libc.string cimport memset
from harmony.parsing.content cimport Content, append, append_rank, last_bytes, settle, text_between
from harmony.parsing.moves_c cimport FIRST_SPECIAL, Moves, NO_ID, RANKS, load_vocabulary, token_id

from harmony.format import machine, vocabulary
from harmony.parsing.moves import end, repairs, restore, save
from harmony.parsing.shared import POSITION, check_encoding, markers_in, new_parser, state_data
from harmony.messages.roles import as_role
from harmony.results import STREAM_STATES, ParseResult, Segment, Snapshot
from harmony.parsing.tokens import as_id, as_sequence

cdef int EXPECT_START = machine.State.EXPECT_START
cdef int TEXT = machine.Kind.TEXT


cdef class StreamableParser(Moves):
    """StreamableParser(encoding, role, *, strict=True)
--

Parses the tokens of a completion as they come, one at a time or some at a time.

    `role` is the role of the first message, whose `<|start|>role` is in the prompt; None where the tokens begin with
    a `<|start|>` of their own.

    A token that may not stand where it stands raises HarmonyError. In content it is left out, and the content stays
    open; a header with such a token is given up, and the next token has to be `<|start|>`. With `strict=False` no
    token raises it: what is wrong is repaired, and told in `diagnostics`. Text that may yet become part of a header is
    held back until it is known what it is, at the latest by `process_eos`; what was given as a delta stays.

    A token that is no integer is a TypeError. The class may be subclassed, pickled and copied, in mid-stream too; both
    engines read each other's pickles. One thread at a time may feed a parser.
    """

    cdef object __weakref__

    def __init__(self, encoding, role, *, strict=True):
        check_encoding(encoding)
        given = as_role(role)
        with cython.critical_section(self):  # another thread may be using it
            self.begin(given, strict)

    # --- input

    @cython.critical_section
    def process(self, token):
        """Takes the next token; returns the parser itself."""
        if type(token) is not int:
            token = as_id(token, self._position)
        self._tokens.append(token)
        self._delta = None
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
        """Takes several tokens as one step; returns what they added, message by message, in order.

        Where one of them raises, those after it are not taken; what came before it is in `messages` and
        `current_content`.
        """
        sequence = as_sequence(tokens)
        cdef list segments = []
        self._segments = segments
        self._delta = None
        try:
            self._run(sequence)
        finally:
            self._segments = None
            self._look_again()
            if self._header is not None:
                delta = settle(&self._content, False)
                if delta is not None:
                    segments.append(Segment(self._channel, self._recipient, self._role, delta, None))
                    self._delta = delta
        return segments

    @cython.critical_section
    def process_eos(self):
        """Takes the end of the input, which ends a message that has no stop; returns the parser itself."""
        self._delta = None
        end(self)
        return self

    # --- what has been read

    @property
    @cython.critical_section
    def messages(self):
        """The messages that are finished; not to be changed.

        A list that was read stays as it is: where somebody still has it, the end of the next message copies it.
        """
        return self._messages

    @property
    @cython.critical_section
    def tokens(self):
        """All tokens that came, those that raised a HarmonyError among them: read-only, and made without a copy."""
        return Snapshot(self._tokens, len(self._tokens))

    @property
    @cython.critical_section
    def diagnostics(self):
        """What was found wrong and repaired so far; in strict mode nothing, for what is wrong raises.

        They are in the order in which they were found, which is not always that of their positions. As `tokens`, they
        are read-only, and made without a copy.
        """
        return Snapshot(self._diagnostics, len(self._diagnostics))

    @property
    @cython.critical_section
    def complete(self):
        """Whether the input may end here, or could when it did: it is between messages, and no text is held back."""
        return self._state == EXPECT_START and not self._cut

    @property
    def state(self):
        """Between messages, in a header, or in content."""
        return STREAM_STATES[self._state]

    @property
    @cython.critical_section
    def state_data(self):
        """The state as openai-harmony lays it out, with the tokens of the open header or content as a Snapshot."""
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
        """The text that the last step added to the content; None where it added none.

        After a step of several tokens it is that of its last segment.
        A token that ends within a character adds up to that character. What is left of one at the stop is added,
        as U+FFFD, by the stop: the deltas of a message join to its content.
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
        if self._header is None and not self._strict and self._header_tokens and not self._is_short(TEXT):
            repairs().look_again(self)
        return 0


cdef StreamableParser whole_input(object role, bint strict):
    cdef StreamableParser parser = StreamableParser.__new__(StreamableParser)
    if role is not None or not strict:
        parser.begin(as_role(role), strict)
    parser._spans = []
    return parser


cdef object result(StreamableParser parser):
    next_role = end(parser) if parser._state != EXPECT_START else None
    if parser._diagnostics:
        parser._diagnostics.sort(key=POSITION)
    return ParseResult(parser._messages, parser._diagnostics, parser._spans, not parser._cut, next_role)


def parse(tokens, role, *, strict):
    """All that the tokens of one input hold; `HarmonyEncoding.parse` says the rest."""
    sequence = as_sequence(tokens)
    cdef StreamableParser parser = whole_input(role, strict)
    parser._run(sequence)
    return result(parser)


def parse_text(text, role, *, strict, stripped=False):
    """All that one rendered text holds; `HarmonyEncoding.parse_text` says the rest."""
    cdef StreamableParser parser = whole_input(role, strict)
    parser._unit = "character"
    for start, stop, token in markers_in(text, stripped=stripped):
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
    """The bytes of tokens, joined; a special token's are its written form. Raises HarmonyError for an unknown id."""
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
