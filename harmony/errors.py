"""Everything that can be wrong with an input: the exception, the diagnostic, and a table of all codes and sentences.

Each kind of fault has one kebab-case code and one sentence. The position is a separate number, so one sentence serves
both token ids (the position is the index of a token) and rendered text (the offset of a character).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from harmony.messages.model import Message

#: Characters that nobody can see, though `str.isprintable` accepts them: Unicode's default ignorable letters and marks,
#: such as variation selectors, and the blank pattern of Braille.
UNSEEN: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_SHOWN_LENGTH: Final = 60  # characters of the input in a sentence
_IN_HEADER: Final = "unexpected tokens remaining in message header: "
_CUT_OFF: Final = "Unexpected EOS while waiting for message header to complete: "
_A_NAME: Final = 'a name without white space, U+200B or any of `< > {{ }} "`'
_A_PART: Final = "a part of the name"
_A_CHANNEL: Final = "a channel's name of letters, digits, `_`, `-` and dots"

#: The part of the library that finds a fault: encoding and decoding, strict parsing, `validate` alone, lenient parsing,
#: rendering, `lint`, the readers of logs and tables, `harmony.chat` and `harmony.responses`, and the loader of the
#: vocabulary.
Family: TypeAlias = Literal[
    "text", "strict", "validate", "repair", "rendering", "lint", "records", "conversion", "vocabulary"
]

#: Every code and its sentence, by family. A code that has several sentences has a key for each, as in `code/case`.
#: `harmony explain CODE` and docs/diagnostics.md say more about each, and a test reaches each by a real input.
#:
#: Five sentences hold wording that programs written for openai-harmony match on: `Invalid token for decoding: N`,
#: `Invalid utf-8`, `Encountered text corresponding to disallowed special token`, `unexpected tokens remaining in
#: message header`, and `Unexpected EOS while waiting for message header to complete`.
TABLE: Final[dict[Family, dict[str, str]]] = {
    "text": {
        "invalid-token": "Invalid token for decoding: {found}, expected an id in 0..{last}",
        "invalid-utf-8": "Invalid utf-8: expected tokens that decode to UTF-8, found the byte {found}",
        "cannot-encode": "Could not encode text: {reason}",
        "disallowed-special": (
            "Encountered text corresponding to disallowed special token {found}: name it in `allowed_special` to "
            "encode it as that token, or leave it out of `disallowed_special` to encode it as text"
        ),
    },
    "strict": {
        # between messages, and where a marker may stand
        "expected-start": "expected {expected}, found {found}",
        "expected-start/no-role": 'expected {expected}, or `role="assistant"` for a completion, found {found}',
        "unexpected-in-header": _IN_HEADER + "expected {expected}, found {found}",
        "unexpected-in-content": "expected {expected}, found {found}",
        "truncated-header": _CUT_OFF + "expected {expected}, found the end of the input inside a message header",
        "unexpected-in-header/at-end": _CUT_OFF + "expected {expected}, found {found}",
        # the words of a header
        "missing-author": "expected an author after `<|start|>`, found {found}",
        "unknown-role": (
            "Unknown role: {found}, expected `system`, `developer`, `user`, `assistant` or a tool's name, which holds "
            "a dot or is followed by `to=assistant`"
        ),
        "missing-channel": "expected a channel's name right after `<|channel|>`, found {found}",
        "missing-recipient": "expected a recipient's name right after `to=`, found {found}",
        "missing-content-type": "expected a content type after `<|constrain|>`, found {found}",
        "second-recipient": _IN_HEADER + "expected one recipient, found a second, {found}",
        "unexpected-word": _IN_HEADER + "expected a known content type or a recipient with a dot, found {found}",
        "dotted-content-type": _IN_HEADER + "expected a content type, which holds no dot, found {found}",
        "after-content-type": _IN_HEADER + "expected `<|message|>` after the content type, found {found}",
        "invalid-name": f"{_IN_HEADER}expected {_A_NAME}, found {{found}}",
        "invalid-name/dot": f"{_IN_HEADER}expected {_A_PART} on both sides of each dot, found {{found}}",
        "invalid-name/channel": f"{_IN_HEADER}expected {_A_CHANNEL}, found {{found}}",
        "header-not-utf-8": "expected UTF-8 in a message header, found the byte {found}",
    },
    # Strict parsing accepts these inputs, but they are not whole.
    "validate": {
        "truncated-content": "expected {expected}, found the end of the input inside content",
        "missing-turn": (
            "expected {expected}, found the end of the input; a prompt ends in an open `<|start|>` and a role"
        ),
    },
    # Each sentence ends with what lenient parsing does.
    "repair": {
        # in the stream
        "replaced-token": "expected an id in 0..{last}, found {found}; it becomes U+FFFD",
        "missing-start": "expected `<|start|>`, found a header without it; a message begins here",
        "missing-stop": "expected a stop, found {found} inside content; the message ends before it",
        "empty-message": "expected content, found {found}; the empty message is left out",
        "empty-message/resumed": "expected content, found {found}; the header goes on",
        "second-message": "expected a stop, found {found} inside content; what follows is a message without a header",
        "repeated-message": "expected content, found {found} again; it is left out",
        "late-message": (
            "expected a stop, found {found} after the content's beginning; what follows has the same header"
        ),
        "end-of-text": "expected a stop, found {found}; it is taken for one",
        "extra-stop": "expected `<|start|>`, found {found} after the end of a message; it is left out",
        "misplaced-token": "expected no {found} here; it is left out",
        "white-space-between": "expected `<|start|>`, found white space between messages; it is left out",
        "leftover-word": "expected `<|start|>`, found {found} after the end of a message; it is left out",
        "stray-text": "expected `<|start|>`, found text; it is taken for a message of the assistant",
        "doubtful-channel": "expected a channel without its marker, found {found}; {word} may be a word of the text",
        "other-format": (
            "expected the markers of Harmony, found {found}, which belongs to another chat format; it stays as it is"
        ),
        # in a header
        "missing-message": "expected a header that ends in `<|message|>`, found text; it is taken for content",
        "interrupted-header": "expected `<|message|>`, found {found}; the header is given up",
        "repeated-start": "expected one `<|start|>`, found another; what stood between them is left out",
        "repeated-role": "expected the role once, found {found} again; it is left out",
        "other-author": "expected no role but `{expected}` here, found {found}; it is taken for the author",
        "other-order": "expected {found} before the content type; the order is repaired",
        "implied-author": (
            "expected an author after `<|start|>`, found {found}; the message is taken for the assistant's"
        ),
        "unknown-author": "expected a role or a tool's name with a dot, found {found}; it is taken for a tool's name",
        "unmarked-channel": "expected `<|channel|>` before {found}; it is taken for the channel",
        "glued-words": "expected white space behind {word} in {found}; it is split there",
        "no-channel": "expected a channel's name after `<|channel|>`, found {found}; the marker is left out",
        "other-channel": "expected one channel, found {found} too; it is left out",
        "no-recipient": "expected a recipient's name after `to=`, found {found}; `to=` is left out",
        "spaced-name": "expected no white space before the name {found}; it is left out",
        "misplaced-recipient": "expected a {slot}, found a name with a dot, {found}; it is taken for the recipient",
        "stray-recipient": "expected no recipient {found} before the header that counts; it is left out",
        "other-recipient": "expected one recipient, found {found} too; it is left out",
        "no-content-type": "expected a content type after `<|constrain|>`, found {found}; the marker is left out",
        "other-content-type": "expected one content type, found {found} too; it is left out",
        "unknown-word": "expected no {found} in a message header; it is left out",
        "odd-white-space": (
            "expected only spaces, tabs and line ends between words, found {found}; it is taken for a space"
        ),
        "cut-name": f"expected {_A_NAME}, found {{found}}; it is cut to {{word}}",
        "cut-name/dot": f"expected {_A_PART} on both sides of each dot, found {{found}}; it is cut to {{word}}",
        "cut-name/channel": f"expected {_A_CHANNEL}, found {{found}}; it is cut to {{word}}",
        "replaced-bytes": "expected UTF-8 in a message header, found the byte {found}; it becomes U+FFFD",
    },
    "rendering": {
        "wrong-type": "expected `{expected}`, found `{found}`",
        "wrong-type/flat": "expected `Message`, found `{found}`, which `Message.from_dict` reads",
        "unwritable-name": f"expected {_A_NAME}, found {{found}}",
        "unwritable-name/dot": f"expected {_A_PART} on both sides of each dot, found {{found}}",
        "unwritable-name/channel": f"expected {_A_CHANNEL}, found {{found}}",
        "reads-as-recipient": "expected a name that does not begin with `to=`, found {found}",
        "reads-as-author": "expected a tool's name, found {found}, which reads as another author",
        "nameless-tool": "expected the tool's name, found none",
        "unwritable-content-type": f"expected {_A_NAME}, and without a dot, found {{found}}",
        "unknown-content-type": "expected a recipient beside it, or one of {expected}, found {found}",
        "misplaced-content": "expected `{found}` in a {expected} message, found it in one of role {role}",
        "unwritable-content": "{reason}",
        "lone-surrogate": "expected Unicode text, found the surrogate {found} by itself",
        "too-long": "expected at most {limit:,} tokens, found {size}; the largest message has {largest}",
        "too-long/continued": "expected at most {limit:,} tokens, found {size}; the prompt and its completion have "
        "{before:,}",
        "action-too-long": "expected at most {limit:,} tokens in one message of the assistant, found {size}",
        "wrong-type/argument": "Expected `{expected}`, got `{found}`",
        "cannot-render": "{reason}",
    },
    "lint": {
        "unknown-channel": "expected one of the channels {expected}, found {found}",
        "channel-required": "expected one of the channels {expected}, found none",
        "call-off-commentary": "expected the channel `commentary` for a call to {call}, found {found}",
        "undeclared-tool": "expected a tool that a system or developer message declares, found a call to {call}",
        "arguments-not-json": "expected JSON, as the content type {content_type} says, found {found} ({reason})",
        "arguments-break-schema": "expected arguments of {call} with {expected}",
        "arguments-break-schema/not-json": "expected arguments of {call} in JSON, as it has a schema, found {found}",
        "unusable-schema": "expected {place} in the schema of {call} with {expected}, found {found}",
        "unusable-schema/unfit": (
            "expected a JSON schema that arguments of {call} can be checked by, found one that cannot: {reason}"
        ),
        "unknown-type": "expected a type of JSON schema as {place} in the schema of {call}, found {found}",
        "schema-becomes-any": (
            "expected parameters of {call} that the reference style has types for, found some that become `any`: "
            '{found}; `schemas="full"` writes them'
        ),
        "unwritable-tool": "expected a tool's name that a header can hold, found {found}: {reason}",
        "result-without-call": "expected a result only where a call waits for it, found {found}",
        "result-without-call/other": "expected a result of {call}, found {found}",
        "final-with-recipient": "expected no recipient on the channel `final`, found {found}",
        "wrong-order/system": "expected a system message only before all other messages, found one later",
        "wrong-order/developer": "expected the developer's messages before the first turn, found one after it began",
        "wrong-order/user": "expected a user's message to begin the first turn, found the role {found}",
        "after-final": "expected the turn to end with the answer at message {answer}, found more of it",
        "leftover-analysis": "expected no analysis of a finished turn, found a message on the channel `analysis`",
    },
    "records": {
        "record-too-large": "expected no more bytes than `--max-record-size` allows, found {found:,}",
        "invalid-utf-8/bytes": "expected UTF-8, found the byte {found}",
        "invalid-utf-8/value": "expected UTF-8, found other bytes",
        "invalid-json": "{reason}",
        "too-deep": ("expected arrays and objects that are nested less deeply, found more levels than can be read"),
        "invalid-record": "{reason}",
        "invalid-record/no-completion": "expected a completion at {expected}, found none",
        "invalid-record/no-input": "expected a completion at {expected}, or a conversation at `{messages}`, found none",
        "invalid-record/conversation": (
            "expected a completion at {expected}, found none, but {found} at `{messages}`, of which `harmony render` "
            "makes a prompt"
        ),
        "invalid-record/no-conversation": "expected a conversation at `{messages}`, found none",
        "invalid-record/chat": (
            "expected messages in the JSON form of openai-harmony, found {what} of the OpenAI APIs, which would be "
            "lost: {found}; `harmony render --from {shape}` converts them"
        ),
        "invalid-record/no-request": (
            "expected a list of messages, or a request with `messages` or `input`, found an object with neither"
        ),
        "invalid-record/mixed": (
            "expected messages of one shape, found {found}; say which it is with `--from`: harmony, chat or responses"
        ),
        "invalid-record/unclear": (
            "expected {expected} beside an input that is only a text, as in a request of the Responses API, found "
            "neither; say what it is with `--from`, or where the messages are with `--messages`"
        ),
        "invalid-record/not-a-reply": (
            "expected messages of the assistant alone for `--to {shape}`, found one of role {found}; `--to harmony` "
            "writes all of them"
        ),
        "invalid-record/no-turn": "expected a message of the assistant, from which to learn, found none",
        "invalid-record/null": "expected {expected}, found null",
        "invalid-record/null-id": "Expected `int`, got `null`",
        "invalid-record/unwritable": "expected what JSON can hold, found `{found}`: {reason}",
    },
    "conversion": {
        "invalid-field": "expected {expected}, found {found}",
        "unsupported-content": "expected a part of type {expected}, found {found}, which Harmony has no place for",
        "unsupported-field": "expected only fields that Harmony has a place for, found {found}",
        "unsupported-item": "expected a message, reasoning, a call or its result, found the type {found}",
        "unsupported-tool": "expected a tool of type `function`, `custom` or `namespace`, found {found}",
        "unsupported-tool/builtin": "expected {expected} in `builtin_tools` beside this tool, found the type {found}",
        "unsupported-format": "expected the format `text`, `json_object` or `json_schema`, found {found}",
        "duplicate-tool": "expected each name of a tool once, found {found} again",
        "unknown-effort": "expected one of the efforts `{expected}`, found {found}",
        "unknown-call": "expected the id of an earlier call, or the name of the tool beside it, found {found}",
        "cut-call": "expected a whole call, found one of {found} that is cut off; the message leaves it out",
        "repaired-tool-name": "expected the name of a declared tool, found {found}; it is taken for {word}",
    },
    "vocabulary": {
        "bad-vocabulary": "the vocabulary file {name} cannot be used: {reason}; {advice}",
    },
}
_SENTENCES: Final = {key: sentence for family in TABLE.values() for key, sentence in family.items()}


def sentence(key: str, **facts: object) -> str:
    """The sentence of a code, or of one of its cases, with these facts filled in."""
    return _SENTENCES[key].format(**facts)


def code_of(key: str) -> str:
    """The code that a key of the table belongs to."""
    return key.partition("/")[0]


class Diagnostic(msgspec.Struct, frozen=True):
    """One fault of an input.

    `code` is a kebab-case word for programs, `message` a sentence for people. docs/diagnostics.md explains each code.
    `position` is the index of the token where the fault was found, or the offset of the character where the input was
    text.
    """

    code: str
    message: str
    position: int


class RecordError(msgspec.Struct, frozen=True):
    """Why a record gave no result. `position` is that of the HarmonyError, or None where the record itself is wrong."""

    code: str
    message: str
    position: int | None


class HarmonyError(RuntimeError):
    """Raised for every fault of an input: in tokens, headers and content, as in openai-harmony.

    It is also raised for a vocabulary file that cannot be used, and for a text that cannot be encoded.

    `code` is a kebab-case word for programs. `position` says where the fault is, and `unit` what it counts: "token" for
    the index of a token, "character" for the offset of a character, "message" for the index of a message that cannot be
    rendered. `position` is None where there is no such place. `messages` are those parsed before the fault.
    """

    def __init__(
        self,
        *arguments: object,
        code: str = "harmony-error",
        position: int | None = None,
        unit: Literal["token", "character", "message"] = "token",
        messages: Sequence[Message] = (),
    ) -> None:
        super().__init__(*arguments)
        self.code = code
        self.position = position
        self.unit = unit
        self.messages: list[Message] = list(messages)

    def __str__(self) -> str:
        sentence = super().__str__()
        return sentence if self.position is None else f"{sentence} at {self.unit} {self.position}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


class RenderError(HarmonyError, ValueError):
    """Raised for a conversation that cannot be rendered. Its text names the message and the field.

    `position` is the index of the message in the conversation; None where a single message was rendered.
    """

    def __str__(self) -> str:
        return RuntimeError.__str__(self)  # the path in the sentence holds the position already


class RenderTypeError(RenderError, TypeError):
    """Raised for a conversation that cannot be rendered because something in it is of a wrong type."""


class Fault(Exception):  # noqa: N818  internal: users catch HarmonyError
    """A fault that becomes a HarmonyError or a Diagnostic later, when its position in the whole input is known.

    `key` is a key of the table: a code, or a code and one of its cases. `position` counts from where the raising code
    began to read, for example from the beginning of a header; None means that the fault has no position. `field` is the
    path, inside the message, to the field that cannot be rendered.
    """

    def __init__(self, key: str, position: int | None = None, *, field: str = "", **facts: object) -> None:
        super().__init__(key)
        self.code: str = code_of(key)
        self.position = position
        self.field = field
        self.sentence: str = sentence(key, **facts)

    def again(self) -> Fault:
        """A new Fault that says the same, for one that is remembered must not be raised or changed."""
        same = Fault.__new__(Fault, *self.args)
        same.code, same.position, same.field, same.sentence = self.code, self.position, self.field, self.sentence
        return same

    def error(self, *, unit: Literal["token", "character"] = "token", messages: Sequence[Message] = ()) -> HarmonyError:
        """The HarmonyError for this fault, after `position` was set to the position in the whole input."""
        return HarmonyError(self.sentence, code=self.code, position=self.position, unit=unit, messages=messages)

    def diagnostic(self, position: int) -> Diagnostic:
        """The Diagnostic for this fault, at this position."""
        return Diagnostic(self.code, self.sentence, position)

    def record_error(self, place: str = "") -> RecordError:
        """The RecordError for this fault. `place` says in words where it is, as in `at `$.tokens``."""
        return RecordError(self.code, f"{self.sentence} - {place}" if place else self.sentence, None)

    def render_error(self, index: int | None) -> RenderError:
        """The RenderError for this fault in the message of this index; None is for a single message."""
        place = "message" if index is None else f"messages[{index}]"
        path = f"{place}.{self.field}" if self.field else place
        error_type = RenderTypeError if self.code == "wrong-type" else RenderError
        return error_type(f"{self.sentence} - at `{path}`", code=self.code, position=index, unit="message")


def in_turn(words: Sequence[str], last: str = "or") -> str:
    """The words as a sentence lists them: `a, b or c`."""
    return f" {last} ".join(", ".join(words).rsplit(", ", 1))


def quote(text: str) -> str:
    """A piece of input for an error: in backticks, on one line, and shortened to 60 characters."""
    return f"`{printable(text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + '…')}`"


def printable(text: str) -> str:
    """A text on one line. Characters that are invisible, or that turn or hide other text, become escapes."""
    return "".join(c if c.isprintable() and c not in UNSEEN else c.encode("unicode_escape").decode() for c in text)
