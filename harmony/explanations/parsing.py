"""What is written about the codes of encoding, decoding, strict parsing and `validate`."""

from __future__ import annotations

from typing import Final

from harmony.explanations.entry import Entry, entry
from harmony.explanations.examples import Called, Checked, Ids, Parsed
from harmony.format.vocabulary import CHANNEL, END, MESSAGE, START
from harmony.messages.roles import Role

_LENIENT: Final = "Where a model wrote this, `strict=False` repairs it."
_USER: Final = 1428
_ASSISTANT: Final = 173781
_BYTE_FF: Final = 187  # the token whose only byte is 0xff

TEXT: Final[dict[str, Entry]] = {
    "invalid-token": entry(
        "An integer is the id of no token. Ids go from 0 to 201088, so it comes from another vocabulary, from padding "
        "such as -1, or from damaged data. Look at what made the ids; leave padding out before parsing. With "
        "`strict=False`, parsing puts U+FFFD in its place.",
        Ids([START, _USER, MESSAGE, 300_000, END]),
        Called("encoding.decode([9906, -1])"),
    ),
    "invalid-utf-8": entry(
        "Bytes do not decode to UTF-8. `decode_utf8` says so of token ids that stop within a character, as a stream "
        "often does: wait for the next token, or use `decode`, which puts U+FFFD there. In a log it is said of a line, "
        "a file or a column that is in another encoding: convert it to UTF-8.",
        Called(f"encoding.decode_utf8([{_BYTE_FF}])"),
    ),
    "cannot-encode": entry(
        "The encoder gives up on a text. That happens where one character, such as a space, is repeated about a "
        "million times. Shorten the run, or split the text.",
        Called('encoding.encode(" " * 1_500_000)'),
    ),
    "disallowed-special": entry(
        "A text spells a special token, and `encode` was not told what to do with it. Pass `disallowed_special=()` to "
        "encode it as ordinary text, which is right for anything that users or models wrote. Name it in "
        "`allowed_special` only where the text is your own and a marker is meant.",
        Called('encoding.encode("<|end|>")'),
    ),
}

STRICT: Final[dict[str, Entry]] = {
    "expected-start": entry(
        "Something stands between messages, where only `<|start|>` may. Often it is a newline after a stop, a second "
        "stop, or a completion that was parsed without its role: pass `role=Role.ASSISTANT` for what a model wrote "
        f"after a prompt. {_LENIENT}",
        Parsed("<|start|>user<|message|>Hi<|end|>\n<|start|>assistant<|message|>Hello<|end|>"),
        Parsed("<|channel|>final<|message|>Hi<|return|>"),
    ),
    "unexpected-in-header": entry(
        "A special token stands in a header that has no place for it. A header has at most one `<|channel|>`, then at "
        "most one `<|constrain|>`, and ends in `<|message|>`: a second channel, a stop or a `<|start|>` is an error. "
        "A StreamableParser tells of a stop one step later, at the next token, or at the end of the input in other "
        f"words. {_LENIENT}",
        Parsed("<|channel|>analysis<|channel|>final<|message|>Hi<|return|>", Role.ASSISTANT),
        Parsed("<|start|>assistant<|end|>"),
        Called('StreamableParser(encoding, "assistant").process(200007).process_eos()'),
    ),
    "unexpected-in-content": entry(
        "A special token stands inside content, which holds text only. Mostly the stop of the message before it is "
        "missing. If the content should speak of markers, they must be encoded as ordinary text, as rendering does. "
        f"{_LENIENT}",
        Parsed("<|start|>user<|message|>Hi<|start|>assistant<|message|>Hello<|end|>"),
    ),
    "truncated-header": entry(
        "The input ends inside a header. The model was stopped early, or the input was cut. Only `<|start|>` and a "
        "role may stand open at the end, as in a prompt; for a whole conversation or a completion, `validate` refuses "
        "that too. Give the model more tokens, or drop what is cut off, which `strict=False` does.",
        Parsed("<|start|>assistant<|channel|>commentary to=functions.sky"),
        Checked("<|start|>user", "conversation"),
    ),
    "missing-author": entry(
        "No author follows `<|start|>`. A header begins with a role or with the name of a tool. Write one, or pass the "
        f"role where the input is a completion. {_LENIENT}",
        Parsed("<|start|><|message|>Hi<|end|>"),
    ),
    "unknown-role": entry(
        "The author of a message is no role and reads as no tool. Roles are `system`, `developer`, `user`, `assistant` "
        "and `tool`; the name of a tool holds a dot, or has the recipient `assistant` after it. Correct the role, or "
        f"write the tool's full name, such as `functions.wizard`. {_LENIENT}",
        Parsed("<|start|>wizard<|message|>Hi<|end|>"),
    ),
    "missing-channel": entry(
        "No name follows `<|channel|>`. The name stands right after the marker, without white space: "
        f"`<|channel|>final`. {_LENIENT}",
        Parsed("<|start|>assistant<|channel|> final<|message|>Hi<|end|>"),
    ),
    "missing-recipient": entry(
        "No name follows `to=`. The recipient stands right after it, without white space: `to=functions.sky`. Leave "
        f"`to=` out where there is no recipient. {_LENIENT}",
        Parsed("<|start|>assistant to= functions.sky<|channel|>commentary<|message|>{}<|call|>"),
    ),
    "missing-content-type": entry(
        "No content type follows `<|constrain|>`. Write one, such as `<|constrain|>json`, or leave the marker out. "
        f"{_LENIENT}",
        Parsed("<|start|>assistant to=functions.sky<|channel|>commentary <|constrain|><|message|>{}<|call|>"),
    ),
    "second-recipient": entry(
        "A header names two recipients. A message goes to one, written before the channel or after it. Call two tools "
        f"in two messages. {_LENIENT}",
        Parsed("<|start|>assistant to=functions.sky<|channel|>commentary to=functions.sea<|message|>{}<|call|>"),
    ),
    "unexpected-word": entry(
        "A bare word in a header is nothing that could stand there. Without `to=`, a word is a content type that is "
        "known (`json code text markdown yaml xml html csv`) or a recipient with a dot. Write `to=` before a recipient "
        f"and `<|constrain|>` before any other content type. {_LENIENT}",
        Parsed("<|start|>assistant<|channel|>final thoughts<|message|>Hi<|end|>"),
    ),
    "dotted-content-type": entry(
        "A content type holds a dot, and would read as the name of a tool. Behind a recipient, a bare word is the "
        "content type. If the word is a second recipient, leave it out; if it is a type, choose one without a dot. "
        f"{_LENIENT}",
        Parsed("<|start|>assistant to=functions.sky application.json<|message|>{}<|call|>"),
    ),
    "after-content-type": entry(
        "Something follows the content type. The content type is the last item of a header, and `<|message|>` follows "
        f"it. Put recipient and channel before it. {_LENIENT}",
        Parsed("<|start|>assistant<|channel|>commentary json to=functions.sky<|message|>{}<|call|>"),
    ),
    "invalid-name": entry(
        "A name in a header holds a character that no name can. These are white space of any kind, U+200B and "
        '`< > { } "`. '
        "Between the words of a header stand ASCII spaces only, so a no-break space (U+00A0) is such a character too. "
        "Remove it, or write `<|message|>` before text that was meant as content. A channel's name is letters, digits, "
        f"`_`, `-` and dots alone, and a dot in the name of a tool parts two names. {_LENIENT}",
        Parsed('<|start|>assistant to=functions.sky{"city": "Oslo"}<|message|><|call|>'),
        Parsed("<|start|>assistant<|channel|>commentaryto=functions.sky<|message|>{}<|call|>"),
        Parsed("<|start|>assistant<|channel|>commentary to=functions.<|message|>{}<|call|>"),
    ),
    "header-not-utf-8": entry(
        "The tokens of a header are not UTF-8. In content such bytes become U+FFFD, but a name must be exact. Look for "
        f"a token that was dropped or changed on its way. {_LENIENT}",
        Ids([START, _ASSISTANT, CHANNEL, _BYTE_FF, MESSAGE, END]),
    ),
}

VALIDATE: Final[dict[str, Entry]] = {
    "truncated-content": entry(
        "The input ends inside content, before a stop. Parsing takes it as the message so far, with `complete` false. "
        "But a conversation, a prompt or a completion is whole only with a stop after each message. The model was "
        "stopped early: give it more tokens, or leave the message out.",
        Checked("<|start|>user<|message|>Hi", "conversation"),
    ),
    "missing-turn": entry(
        "A prompt does not end in an open `<|start|>` and a role. The model would not know whose turn it is. Render "
        "with `render_conversation_for_completion`, or check the input as a `conversation`.",
        Checked("<|start|>user<|message|>Hi<|end|>", "prompt"),
    ),
}
