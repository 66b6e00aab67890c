"""What can be wrong with Harmony input, in words: the exception, the diagnostic, and every message text.

Each kind of fault has one kebab-case code and one sentence. Where it happened is a number beside them, so the
same sentence serves token ids (the position is a token's index) and written-out text (a character's offset).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from harmony.messages import Message

#: Every sentence, by code. Four of them contain wording that programs written for openai-harmony match on:
#: `Invalid token for decoding`, `Invalid utf-8`, `Encountered text corresponding to disallowed special token`
#: and `unexpected tokens remaining in message header`.
SENTENCES: Final = {
    "invalid-token": "Invalid token for decoding: {token}, expected an id from 0 to {last}",
    "invalid-utf-8": "Invalid utf-8 in the decoded tokens: {reason} at byte {byte}",
    "disallowed-special": (
        "Encountered text corresponding to disallowed special token {found!r} at character {position}; name it in "
        "`allowed_special` to encode it as that token, or leave it out of `disallowed_special` to encode it as text"
    ),
    "expected-start": "expected `<|start|>`, found {found}",
    "expected-message": "unexpected tokens remaining in message header: expected {expected}, found {found}",
    "special-in-content": "expected text or one of `<|end|>`, `<|call|>`, `<|return|>`, found {found}",
    "truncated-header": "expected `<|message|>`, found the end of the input inside a message header",
    "missing-author": "expected an author after `<|start|>`, found {found}",
    "unknown-role": (
        "Unknown role: {found}; expected `system`, `developer`, `user` or `assistant`, or a tool's name, which holds "
        "a dot or stands before a recipient"
    ),
    "missing-channel": "expected a channel's name straight after `<|channel|>`, found {found}",
    "missing-recipient": "expected a recipient's name straight after `to=`, found {found}",
    "missing-content-type": "expected a content type after `<|constrain|>`, found {found}",
    "invalid-name": "expected a name without white space and without any of `< > {{ }} \"`, found {found}",
    "second-recipient": "unexpected tokens remaining in message header: a second recipient, {found}",
    "unexpected-word": (
        "unexpected tokens remaining in message header: {found} is no known content type, and without a dot no recipient"
    ),
    "dotted-content-type": "unexpected tokens remaining in message header: {found} has a dot, as no content type has",
    "after-content-type": (
        "unexpected tokens remaining in message header: expected `<|message|>` after the content type, found {found}"
    ),
    "header-not-utf-8": "expected UTF-8 in a message header, found the byte {found}",
}


class Diagnostic(msgspec.Struct, frozen=True):
    """One thing that is wrong with an input.

    `code` is a kebab-case word to match on, `message` a sentence for people, `position` the index of the token
    where it was found, or the offset of the character in text.
    """

    code: str
    message: str
    position: int


class HarmonyError(RuntimeError):
    """Raised for bad tokens, bad headers and bad content; the only exception for them, as in openai-harmony.

    `code` is a kebab-case word, `position` the index of the offending token (in text: the offset of the
    character) or None where no place is meant, `messages` what was parsed before it.
    """

    code: str
    position: int | None
    messages: list[Message]

    def __init__(
        self,
        message: str,
        *,
        code: str = "harmony-error",
        position: int | None = None,
        messages: Sequence[Message] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.position = position
        self.messages = list(messages)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, {**self.__dict__}


