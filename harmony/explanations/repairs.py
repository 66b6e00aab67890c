"""What is written about the codes of repairs: what lenient parsing does about what models write."""

from __future__ import annotations

from typing import Final

from harmony.explanations.entry import Entry, entry
from harmony.explanations.examples import Repaired, RepairedIds, StrippedText
from harmony.format.vocabulary import CHANNEL, MESSAGE, RETURN

_FINAL: Final = 17196
_HI: Final = 12194
_BYTE_FF: Final = 187  # the token whose only byte is 0xff
_FIRST: Final = "<|channel|>analysis<|message|>Hm.<|end|>"  # what is right, before what is to be repaired
_ANSWER: Final = "<|channel|>final<|message|>Hi<|return|>"
_CALL: Final = "<|channel|>commentary to=functions.sky"

STREAM: Final[dict[str, Entry]] = {
    "replaced-token": entry(
        "An integer that is the id of no token becomes U+FFFD, in content and in headers. Look for padding or for "
        "another vocabulary where the ids were made.",
        RepairedIds([CHANNEL, _FINAL, MESSAGE, _HI, 300_000, RETURN]),
    ),
    "missing-start": entry(
        "A header stands between messages without its `<|start|>`. A message begins there; without an author it is the "
        "assistant's. Models often write the next header right after a stop.",
        Repaired(f"{_FIRST}{_ANSWER}"),
        Repaired(f"{_FIRST}commentary to=functions.sky json<|message|>{{}}<|call|>"),
        Repaired(f'{_FIRST}commentary to=functions.sky {{"city": "Oslo"}}<|call|>'),
    ),
    "missing-stop": entry(
        "A `<|start|>` or a `<|channel|>` stands inside content. The message before it ends there, as if its stop were "
        "there, and the next one begins.",
        Repaired("<|channel|>analysis Sunny today<|channel|>final<|message|>Hi<|return|>"),
        Repaired(f"<|channel|>analysis<|message|>Hm.<|start|>assistant{_ANSWER}"),
        Repaired(f"<|channel|>analysis<|message|>Hm.{_ANSWER}"),
    ),
    "empty-message": entry(
        "`<|message|>` opens content, but a marker follows at once. Where `<|channel|>` follows, the header goes on. "
        "Where `<|start|>` follows a header without words, there was no message. An empty message is never invented.",
        Repaired("<|message|><|channel|>final<|message|>Hi<|return|>"),
        Repaired(f"{_CALL}<|message|><|channel|>commentary json<|message|>{{}}<|call|>"),
        Repaired(f"<|message|><|start|>assistant{_ANSWER}"),
    ),
    "second-message": entry(
        "A second `<|message|>` stands inside content. What follows it becomes a message of the assistant without a "
        "channel, for it has no header of its own.",
        Repaired("<|channel|>final<|message|>Hi<|message|>there<|return|>"),
    ),
    "repeated-message": entry(
        "`<|message|>` is written twice, with nothing in between. The second is left out.",
        Repaired("<|channel|>final<|message|><|message|>Hi<|return|>"),
    ),
    "late-message": entry(
        "A `<|message|>` comes after text that was already taken for content. The text stays a message, and what "
        "follows is another one with the same header.",
        Repaired("<|channel|>final It is sunny all day.<|message|>Hi<|return|>"),
    ),
    "end-of-text": entry(
        "`<|endoftext|>` ends a message. It is taken for a stop. Check which stop tokens the sampling uses.",
        Repaired("<|channel|>final<|message|>Hi<|endoftext|>"),
    ),
    "extra-stop": entry(
        "A stop stands after the end of a message. It is left out.",
        Repaired(f"{_FIRST}<|return|>"),
    ),
    "misplaced-token": entry(
        "A special token stands where it has no meaning. It is left out, and what stands around it is joined. From "
        "between two texts that would spell a marker if they were joined, it leaves U+FFFD in its place.",
        Repaired("<|channel|>final<|message|>Hi<|constrain|> there<|return|>"),
    ),
    "white-space-between": entry(
        "White space stands between two messages. It is left out. Often a template put a newline after each stop.",
        Repaired(f"{_FIRST} <|start|>assistant{_ANSWER}"),
    ),
    "leftover-word": entry(
        "The word of a role or of a channel stands alone after a stop. It is the rest of a header, and is left out. "
        "Models write it when they are stopped after a call.",
        Repaired(f"{_CALL}<|message|>{{}}<|call|>commentary"),
    ),
    "stray-text": entry(
        "Text that reads as no header stands between messages. It becomes a message of the assistant without a "
        "channel, so that it is not lost. Decide by the code whether your users should see it.",
        Repaired(f"{_FIRST}Sunny.<|end|>"),
    ),
    "doubtful-channel": entry(
        "With `stripped=True`, a text begins with the name of a channel, and goes on like prose. It is read as the "
        "channel, but it may be a word of the text.",
        StrippedText("analysis of the sky"),
    ),
    "other-format": entry(
        "The text was repaired, and it holds the markers of another chat format, such as ChatML, as ordinary text; or "
        "a message to `self`. This is told once, at the first fault. Check the chat template and the model.",
        Repaired("<|im_start|>assistant Hi<|im_end|><|return|>"),
    ),
}

HEADERS: Final[dict[str, Entry]] = {
    "missing-message": entry(
        "A header has no `<|message|>`. What follows the last item of the header is the content.",
        Repaired('<|channel|>final {"sky": "blue"}<|return|>'),
        Repaired("<|channel|>final__SKY__<|return|>"),
        Repaired(f'{_CALL}{{"city": "Oslo"}}<|call|>'),
        Repaired("Sunny all day.<|return|>"),
    ),
    "interrupted-header": entry(
        "The input, or the message, ends inside a header, and there is nothing that could be content. The header is "
        "given up, and no message comes of it: a call without arguments is never invented. `complete` is false if the "
        "input ended there, or if the header names a recipient.",
        Repaired(_CALL),
        Repaired(f"{_CALL} <|constrain|>json<|return|>"),
    ),
    "repeated-start": entry(
        "A header begins again with another `<|start|>`. What stood between the two is left out.",
        Repaired(f"{_FIRST}<|start|><|start|>assistant{_ANSWER}"),
        Repaired(f"<|start|>assistant{_ANSWER}"),
    ),
    "repeated-role": entry(
        "A header names its role twice. The second is left out.",
        Repaired(f"{_FIRST}<|start|>assistant assistant{_ANSWER}"),
    ),
    "other-author": entry(
        "A header names another author than the one that was expected. The author that is written counts. At the "
        "beginning of a completion, check the role that was passed.",
        Repaired("user<|message|>Hello<|end|>"),
        Repaired(f"{_FIRST}functions.sky to=assistant<|channel|>commentary<|message|>blue<|end|>"),
    ),
    "other-order": entry(
        "A channel or a recipient stands after the content type. It is read as if it stood before it.",
        Repaired("<|channel|>commentary json to=functions.sky<|message|>{}<|call|>"),
    ),
    "implied-author": entry(
        "No author follows `<|start|>`, or an unknown one that calls. The message is taken for the assistant's: tools "
        "answer, and do not call.",
        Repaired(f"{_FIRST}<|start|>{_ANSWER}"),
        Repaired(f"{_FIRST}<|start|>final<|message|>Hi<|return|>"),
        Repaired(f"{_FIRST}<|start|>lookup to=functions.f<|message|>{{}}<|call|>"),
    ),
    "unknown-author": entry(
        "The author is no role and has no dot. It is taken for the name of a tool. Give tools names with a dot, such "
        "as `functions.sky`.",
        Repaired(f"{_FIRST}<|start|>sky<|channel|>commentary<|message|>blue<|end|>"),
    ),
    "unmarked-channel": entry(
        "The name of a channel stands in a header without `<|channel|>`. It is taken for the channel.",
        Repaired("final<|message|>Hi<|return|>"),
    ),
    "glued-words": entry(
        "Two words of a header are written as one. They are split where a role or a known channel ends.",
        Repaired(f"{_FIRST}<|start|>assistantfinal<|message|>Hi<|return|>"),
    ),
    "no-channel": entry(
        "No name follows `<|channel|>`. The marker is left out, and the message has no channel.",
        Repaired("<|channel|><|message|>Hi<|return|>"),
    ),
    "other-channel": entry(
        "A header names two channels. The one beside the recipient counts, or else the last. The other is left out.",
        Repaired("<|channel|>commentary<|channel|>analysis<|message|>Hm.<|end|>"),
    ),
    "no-recipient": entry(
        "No name follows `to=`. `to=` is left out, and the message has no recipient.",
        Repaired(" to=<|channel|>analysis<|message|>Hm.<|end|>"),
    ),
    "spaced-name": entry(
        "White space stands before a name, where the name should follow at once. It is left out.",
        Repaired("<|channel|> final<|message|>Hi<|return|>"),
        Repaired("<|channel|>commentary to= functions.sky<|message|>{}<|call|>"),
    ),
    "misplaced-recipient": entry(
        "A name with a dot stands in the place of a channel or of a content type. It is taken for the recipient.",
        Repaired("<|channel|>functions.sky<|channel|>commentary json<|message|>{}<|call|>"),
        Repaired("<|channel|>commentary <|constrain|>functions.sky<|message|>{}<|call|>"),
    ),
    "stray-recipient": entry(
        "The assistant addresses itself, and the real header follows. The recipient `assistant` is left out.",
        Repaired("<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm.<|end|>"),
    ),
    "other-recipient": entry(
        "A header names two recipients. One that is written with `to=` counts before a word with a dot; then the first "
        "counts. The other is left out. Look at the call before you run it: the model may have meant two.",
        Repaired(f"{_CALL} to=functions.sea<|message|>{{}}<|call|>"),
        Repaired("<|channel|>commentary main.py to=functions.sky<|message|>{}<|call|>"),
    ),
    "no-content-type": entry(
        "No content type follows `<|constrain|>`. The marker is left out.",
        Repaired(f"{_CALL} <|constrain|><|message|>{{}}<|call|>"),
    ),
    "other-content-type": entry(
        "A header names two content types. One after `<|constrain|>` wins over a bare word. Among several, the last "
        "known one counts, such as `json` or `code`. The other is left out. No type is made of two.",
        Repaired("<|channel|>final code<|constrain|>json<|message|>{}<|return|>"),
        Repaired("<|channel|>commentary to=python <|constrain|>analysis code<|message|>6 * 7<|call|>"),
    ),
    "unknown-word": entry(
        "A word in a header is nothing that could stand there. It is left out.",
        Repaired("<|channel|>final thoughts<|message|>Hi<|return|>"),
    ),
    "odd-white-space": entry(
        "White space that is not ASCII stands between words, such as a no-break space. It is taken for a space.",
        Repaired("<|channel|>commentary\u00a0to=functions.sky<|message|>{}<|call|>"),
    ),
    "cut-name": entry(
        "A name holds a character that no name can, or a channel's name one that is no letter, digit, `_`, `-` or dot. "
        "It is cut before that character.",
        Repaired(f"{_CALL}{{<|message|>{{}}<|call|>"),
        Repaired("<|channel|>final!<|message|>Hi<|return|>"),
        Repaired("<|channel|>commentary to=functions.<|message|>{}<|call|>"),
        Repaired("<|channel|>commentary:to=functions.sky json<|message|>{}<|call|>"),
    ),
    "replaced-bytes": entry(
        "Bytes in a header are not UTF-8. They become U+FFFD, as they do in content, where that is no fault.",
        RepairedIds([CHANNEL, _FINAL, 220, _BYTE_FF, MESSAGE, _HI, RETURN]),
    ),
}
