"""The examples in the docstrings of public names run, and print what they say.

An example may use every public name of `harmony`, the modules `chat`, `decoding`, `responses` and `training`,
`encoding`, which is what `load_harmony_encoding` gives, and `tokens`, which is a reply of the model.
"""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from typing import Any, Final

import pytest

import harmony
from harmony import HarmonyEncoding, chat, decoding, responses, training

#: What most programs begin with: each of these has an example.
ENTRY_POINTS: Final = (
    "Conversation.from_messages",
    "HarmonyEncoding.decode",
    "HarmonyEncoding.encode",
    "HarmonyEncoding.extend",
    "HarmonyEncoding.parse",
    "HarmonyEncoding.parse_text",
    "HarmonyEncoding.render",
    "HarmonyEncoding.render_conversation",
    "HarmonyEncoding.render_conversation_for_completion",
    "HarmonyEncoding.render_conversation_for_training",
    "Message.from_role_and_content",
    "StreamableParser",
    "RenderResult.mask",
    "chat.Stream",
    "chat.completion",
    "chat.from_harmony",
    "chat.to_harmony",
    "decoding.Headers",
    "load_harmony_encoding",
    "responses.Stream",
    "responses.from_harmony",
    "responses.response",
    "responses.to_harmony",
    "training",
    "training.examples",
    "training.pack",
)
#: The modules whose public names these are, and how examples call the modules.
MODULES: Final = {"": harmony, "chat.": chat, "decoding.": decoding, "responses.": responses, "training.": training}
#: The reply that examples convert.
REPLY: Final = "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>Blue.<|return|>"
_LONGEST: Final = 6  # lines of input and output


def docstrings() -> Iterator[tuple[str, str]]:
    """The docstring of each module and public name, and of each public method and property of public classes."""
    for prefix, module in MODULES.items():
        if prefix:
            yield prefix.rstrip("."), inspect.getdoc(module) or ""
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{prefix}{name}", inspect.getdoc(value) or ""
            if inspect.isclass(value):
                for part in sorted(vars(value)):
                    if not part.startswith("_"):
                        yield f"{prefix}{name}.{part}", inspect.getdoc(getattr(value, part)) or ""


def parsed(name: str, docstring: str, encoding: HarmonyEncoding) -> doctest.DocTest:
    names: dict[str, Any] = {each: getattr(harmony, each) for each in harmony.__all__}
    names |= {
        "harmony": harmony,
        "chat": chat,
        "decoding": decoding,
        "responses": responses,
        "training": training,
        "encoding": encoding,
    }
    names["tokens"] = encoding.encode(REPLY, allowed_special="all")
    return doctest.DocTestParser().get_doctest(docstring, names, name, None, None)


@pytest.mark.parametrize(("name", "docstring"), [pytest.param(*pair, id=pair[0]) for pair in docstrings()])
def test_examples_print_what_they_say(name: str, docstring: str, encoding: HarmonyEncoding) -> None:
    test = parsed(name, docstring, encoding)
    if name in ENTRY_POINTS:
        assert test.examples
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
    assert docstring.count(">>> ") == len(test.examples)
    assert sum((one.source + one.want).count("\n") for one in test.examples) <= _LONGEST


def test_the_entry_points_are_public_names() -> None:
    assert set(ENTRY_POINTS) <= {name for name, _ in docstrings()}
