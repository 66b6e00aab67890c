"""Headers: which token may come next, so that no message has a broken header or a wrong stop.

The headers that may come are a finite set of token sequences. They are laid out as an automaton once; a state of it is
a number. So a step is a look-up, and a copy is two references. Content is not looked at: it ends at its stop.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from harmony.encoding import HarmonyEncoding
from harmony.errors import in_turn, quote
from harmony.format import vocabulary
from harmony.guiding.forms import check_recipient, declared, headers_of, several, token_id, wanted
from harmony.messages.model import Conversation
from harmony.messages.roles import KNOWN_CHANNELS, Role
from harmony.parsing.shared import check_encoding

if TYPE_CHECKING:
    from typing_extensions import Buffer

# The last layer of gpt-oss has no row for the last id of the vocabulary, which is a reserved one.
MASK_WORDS: Final = 201_088 // 32
"""The number of 32-bit words in a mask: 6,284, with one bit for each of the 201,088 logits of gpt-oss."""

# The states that every automaton has. Those of headers follow.
_DONE: Final = 0  # behind the stop of an answer or a call
_BETWEEN: Final = 1  # behind `<|end|>`
_HEADER: Final = 2  # behind `<|start|>assistant`, where a completion begins
_CONTENT: Final = {vocabulary.END: 3, vocabulary.CALL: 4, vocabulary.RETURN: 5}  # by the stop that ends it
_FIXED: Final = 6
_IN_CONTENT: Final = frozenset(_CONTENT.values())

# Where an item of a header begins or ends. No name holds a space, `<` or `>`.
# Each item may be encoded by itself: the vocabulary's split pattern begins a new piece at each single space.
_ITEMS: Final = re.compile("(?=[ <])|(?<=>)")
_MOST_NAMED: Final = 6  # tokens in an error


class Allowed(NamedTuple):
    """The tokens that may come next: every ordinary token if `text`, and those of `tokens`."""

    text: bool
    tokens: frozenset[int]


class Headers:
    """Guides the sampling of one completion: each header is a whole one of the declared forms, each stop the right one.

        >>> headers = decoding.Headers(encoding, ["functions.sky"], tool_choice="required")
        >>> encoding.decode(sorted(headers.allowed().tokens))
        ' to functions<|channel|>'
        >>> headers.accept_many(encoding.encode("<|channel|>final", allowed_special="all"))
        1

    `recipients` are those that the model may call, or a Conversation, whose system and developer messages declare them.
    `channels` are those that may come. `tool_choice` is "auto"; "required" for a completion that ends in a call; "none"
    for one without calls; or the recipient of the call that ends it. A recipient with the name "auto",
    "required" or "none" cannot be chosen in this way.

    Messages on `analysis` and preambles end in `<|end|>`, calls in `<|call|>`, and an answer on `final` in
    `<|return|>`. A call or an answer ends the completion. For each header, one sequence of tokens is allowed: the one
    that `encode` and rendering give.

    Raises TypeError for arguments of a wrong type. Raises ValueError for a recipient that no header can hold, for a
    `tool_choice` that is no declared recipient, for an unknown channel, and where no completion could end.
    """

    __slots__ = ("_plan", "_state")

    def __init__(
        self,
        encoding: HarmonyEncoding,
        recipients: Iterable[str] | Conversation,
        *,
        channels: Iterable[str] = KNOWN_CHANNELS,
        tool_choice: str = "auto",
    ) -> None:
        check_encoding(encoding)
        if isinstance(recipients, Conversation):
            names = tuple(declared(recipients))
        else:
            given = several(recipients, "recipients")
            names = tuple(check_recipient(name, f"recipients[{place}]") for place, name in enumerate(given))
        want = wanted(names, tool_choice, channels)
        self._plan = _Plan(encoding, headers_of(want))
        self._state = _HEADER

    def allowed(self) -> Allowed:
        """The tokens that may come next. None may where `done`."""
        return Allowed(self._state in _IN_CONTENT, frozenset(self._plan.moves[self._state]))

    def accept(self, token: int) -> None:
        """Takes the next token. Raises ValueError for one that is not allowed, and changes nothing then.

        Raises TypeError for what is no integer.
        """
        if type(token) is not int:
            token = token_id(token, "token")
        after = self._plan.moves[self._state].get(token)
        if after is not None:
            self._state = after
        elif self._state not in _IN_CONTENT or not 0 <= token < vocabulary.FIRST_SPECIAL:
            raise ValueError(f"Expected {self._expected()}, got {_named(token)}")

    def accept_many(self, tokens: Iterable[int]) -> int:
        """Takes tokens as long as they are allowed. Returns how many it took: the rest of a draft is to be thrown away.

        >>> headers = decoding.Headers(encoding, [])
        >>> headers.accept_many(encoding.encode("<|channel|>final<|message|>Hi<|end|>", allowed_special="all"))
        4
        """
        count = 0
        for token in tokens:
            try:
                self.accept(token)
            except ValueError:
                break
            count += 1
        return count

    @property
    def done(self) -> bool:
        """Whether the completion has ended: no token may come."""
        return self._state == _DONE

    def fill(self, bitmask: Buffer | Any) -> None:
        """Writes the mask of the allowed tokens: bit `id % 32` of word `id // 32` is 1 for an allowed token, else 0.

            >>> from array import array
            >>> headers = decoding.Headers(encoding, [], channels=["final"])
            >>> mask = array("i", bytes(4 * decoding.MASK_WORDS))
            >>> headers.fill(mask)
            >>> sum(word.bit_count() for word in mask.tobytes())
            1

        `bitmask` is a buffer of 32-bit integers, one row of the masks that vLLM, SGLang and llguidance use: an array of
        numpy, a memoryview, or a tensor of torch in the memory of the CPU. It has MASK_WORDS words or more; those
        beyond become 0. Raises TypeError for anything else, also for memory that is read-only or not contiguous. Raises
        ValueError for fewer words, and for more than one row.
        """
        words = _words(bitmask)
        if self._state in _IN_CONTENT:
            words[:] = self._plan.content_mask(self._state, len(words))
            return
        words[:] = _zeros(len(words))
        for token in self._plan.moves[self._state]:
            words[token >> 5] |= 1 << (token & 31)

    def copy(self) -> Self:
        """A copy that goes its own way, for beam search or for the branches of a draft. It costs next to nothing."""
        new = object.__new__(type(self))
        new._plan, new._state = self._plan, self._state
        return new

    def _expected(self) -> str:
        if self.done:
            return "no token behind the end of the completion"
        moves = sorted(self._plan.moves[self._state])
        names = [_named(token) for token in moves[:_MOST_NAMED]]
        if len(moves) > _MOST_NAMED:
            names.append(f"one of {len(moves) - _MOST_NAMED:,} more tokens")
        return in_turn(["text"] * (self._state in _IN_CONTENT) + names)


class _Plan:
    """The automaton of the headers. Copies share it, and nothing changes it but its memory of masks."""

    __slots__ = ("_masks", "moves")

    def __init__(self, encoding: HarmonyEncoding, headers: Iterable[tuple[str, int]]) -> None:
        self.moves: list[dict[int, int]] = [{} for _ in range(_FIXED)]
        self._masks: dict[tuple[int, int], memoryview[int]] = {}
        ends = encoding.stop_tokens_for_assistant_actions()
        for stop, state in _CONTENT.items():
            self.moves[state][stop] = _DONE if stop in ends else _BETWEEN
        self._lay(_BETWEEN, [vocabulary.START, *encoding.encode(Role.ASSISTANT.value)], _HEADER)
        encode = cache(partial(encoding.encode, allowed_special="all"))  # headers share most of their items
        for header, stop in headers:
            tokens = [token for item in _ITEMS.split(header) for token in encode(item)]
            self._lay(_HEADER, tokens, _CONTENT[stop])

    def _lay(self, state: int, tokens: list[int], last: int) -> None:
        """Lays a path of tokens from a state to another. It shares the states of the paths that begin alike."""
        for token in tokens[:-1]:
            after = self.moves[state].get(token)
            if after is None:
                after = self.moves[state][token] = len(self.moves)
                self.moves.append({})
            state = after
        self.moves[state][tokens[-1]] = last

    def content_mask(self, state: int, size: int) -> memoryview[int]:
        """The mask of a content's state: all ordinary tokens and the stop."""
        mask = self._masks.get((state, size))
        if mask is None:
            whole, rest = divmod(vocabulary.FIRST_SPECIAL, 32)
            words = array("I", [0xFFFFFFFF]) * whole + array("I", [(1 << rest) - 1])
            words.extend(bytes(size - len(words)))
            for token in self.moves[state]:
                words[token >> 5] |= 1 << (token & 31)
            mask = self._masks[state, size] = memoryview(words).toreadonly()
        return mask


@lru_cache(2)  # an engine has masks of one size
def _zeros(size: int) -> memoryview[int]:
    return memoryview(bytes(4 * size)).cast("I")


def _words(bitmask: Any) -> memoryview[int]:
    """The memory of a mask as words."""
    expected = "a buffer of 32-bit integers that can be written, in one piece"
    try:
        view = memoryview(bitmask)
    except TypeError:
        try:
            view = memoryview(bitmask.numpy())  # a tensor
        except (AttributeError, TypeError):
            raise TypeError(f"Expected {expected}, got `{type(bitmask).__name__}` - at `bitmask`") from None
    if view.format not in ("i", "I", "l", "L") or view.itemsize != 4 or view.readonly or not view.c_contiguous:
        kind = f"{'read-only ' * view.readonly}items of the format `{view.format}` and {view.itemsize} bytes"
        found = kind if view.c_contiguous else f"{kind}, not in one piece"
        raise TypeError(f"Expected {expected}, got {found} - at `bitmask`")
    shape = view.shape or (1,)
    if shape[-1] < MASK_WORDS or view.nbytes != 4 * shape[-1]:
        found = " × ".join(map(str, shape))
        raise ValueError(f"Expected one row of at least {MASK_WORDS:,} words, got {found} - at `bitmask`")
    return view.cast("B").cast("I")


def _named(token: int) -> str:
    if token in vocabulary.SPECIAL_TEXTS:
        return quote(vocabulary.SPECIAL_TEXTS[token])
    if 0 <= token < vocabulary.FIRST_SPECIAL:
        return f"the token {token} {quote(vocabulary.load().token_bytes(token).decode(errors='replace'))}"
    return f"{token!r}, which is no token id"
