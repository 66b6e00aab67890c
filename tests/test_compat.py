"""harmony in the place of openai_harmony: by a folder in PYTHONPATH, and by a call."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from types import FunctionType
from typing import Any
from unittest.mock import patch

import openai_harmony as reference
import pytest

import harmony
from harmony import Author, Conversation, Message, Role, compat
from helpers.cases import CASES

CALL = Message.from_role_and_content(Role.ASSISTANT, "{}").with_channel("commentary")
ODD_NAMES = [
    copy.copy(CALL).with_recipient("my tool"),
    copy.copy(CALL).with_recipient("functions.f").with_content_type("application/json; charset=utf-8"),
    copy.copy(CALL).with_channel("my channel"),
    Message.from_author_and_content(Author.new(Role.TOOL, "my tool"), "4").with_recipient("assistant"),
    Message.from_author_and_content(Author.new(Role.USER, "Ann Lee"), "Hi"),
]


def run(*command: str, **environment: str) -> str:
    """What a new Python prints. Its environment has no alias, unless it is given."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", compat.VARIABLE)}
    done = subprocess.run(
        [sys.executable, *command],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder() -> str:
    printed = run("-m", "harmony", "compat", "--path")
    assert printed == f"{compat.path()}\n"
    return printed.strip()


# --- how a program finds it


def names_of(module: Any) -> set[str]:
    """The classes and functions that a module defines for others."""
    return {
        name
        for name, value in vars(module).items()
        if isinstance(value, type | FunctionType) and not name.startswith("_") and "openai_harmony" in value.__module__
    }


def test_every_name_of_openai_harmony_is_there() -> None:
    raises_only = {"raise_disallowed_special_token"}  # `encode` calls it; no program does
    assert names_of(reference) - raises_only <= set(compat.__all__)


def test_signatures_are_those_of_openai_harmony() -> None:
    for name in ("StreamableParser", "HarmonyEncoding"):
        for method, theirs in vars(getattr(reference, name)).items():
            if (method == "__init__" and name == "HarmonyEncoding") or not inspect.isfunction(theirs):
                continue
            ours = inspect.signature(getattr(getattr(compat, name), method)).parameters
            for parameter in inspect.signature(theirs).parameters.values():
                assert ours[parameter.name].kind is parameter.kind, (name, method)


#: A program that uses openai_harmony, and starts a process that does.
PROGRAM = """
import multiprocessing, sys

def main():
    import openai_harmony, openai_harmony.openai_harmony as inner, harmony.compat
    assert openai_harmony.Message is harmony.Message is harmony.compat.Message
    assert openai_harmony.StreamableParser is harmony.compat.StreamableParser
    assert inner.HarmonyError is openai_harmony.HarmonyError is harmony.HarmonyError
    assert inner.get_tool_namespace_config("browser")["name"] == "browser"
    assert set(openai_harmony.__all__) <= set(dir(openai_harmony))
    print(openai_harmony.__file__, flush=True)

if __name__ == "__main__":
    main()
    process = multiprocessing.get_context("spawn").Process(target=main)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


def test_a_folder_in_pythonpath_serves_spawned_processes_too(folder: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert run(str(program), PYTHONPATH=folder).split() == [str(Path(folder, "openai_harmony", "__init__.py"))] * 2


def test_install_serves_its_process(folder: str) -> None:
    found = run(
        "-c",
        "import harmony.compat, importlib.util; harmony.compat.install(); harmony.compat.install()\n"
        "import openai_harmony, pickle; from openai_harmony.openai_harmony import HarmonyError\n"
        "assert importlib.util.find_spec('openai_harmony').origin == openai_harmony.__file__\n"
        "encoding = openai_harmony.load_harmony_encoding('HarmonyGptOss')\n"
        "assert pickle.loads(pickle.dumps(encoding)) is encoding\n"
        "print(openai_harmony.__file__, type(encoding) is openai_harmony.HarmonyEncoding)",
    )
    assert found.split() == [str(Path(folder, "openai_harmony", "__init__.py")), "True"]


def test_install_is_refused_where_the_other_is_loaded() -> None:
    assert sys.modules["openai_harmony"] is reference
    with pytest.raises(RuntimeError, match="Expected no `openai_harmony` to be imported before") as error:
        compat.install()
    assert str(reference.__file__) in str(error.value)
    assert sys.modules["openai_harmony"] is reference


def test_the_compiled_classes_of_openai_harmony_are_named_where_they_are_missed(folder: str) -> None:
    found = run(
        "-c",
        "import openai_harmony.openai_harmony as inner\n"
        "try: inner.PyStreamableParser\n"
        "except AttributeError as error: print(error)\n"
        "try: inner.get_tool_namespace_config('shell')\n"
        "except ValueError as error: print(error)",
        PYTHONPATH=folder,
    )
    assert found.splitlines() == [
        "harmony has no 'PyStreamableParser' of openai-harmony's compiled module; use the classes of `openai_harmony` "
        "itself",
        "Unknown tool namespace: expected `browser` or `python`, got 'shell'",
    ]


def test_the_command_tells_of_both_ways(folder: str) -> None:
    told = run("-m", "harmony", "compat")
    assert folder in told
    assert "harmony.compat.install()" in told


def test_its_examples() -> None:
    assert run("-c", "import doctest; from harmony import compat; print(doctest.testmod(compat).failed)") == "0\n"


# --- its defaults


@pytest.fixture(scope="module")
def encoding() -> compat.HarmonyEncoding:
    return compat.load_harmony_encoding("HarmonyGptOss")


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_parsing_is_lenient_and_every_answer_has_a_channel(
    case: dict[str, Any], encoding: compat.HarmonyEncoding
) -> None:
    tokens = encoding.encode(case["text"], allowed_special="all")
    read = harmony.load_harmony_encoding("HarmonyGptOss").parse(tokens, case["role"], strict=False).messages
    for message in read:
        if message.channel is None and message.recipient is None:
            message.with_channel("final")
    assert encoding.parse_messages_from_completion_tokens(tokens, Role(case["role"])) == read
    parser = compat.StreamableParser(encoding, Role(case["role"]))
    for token in tokens:
        parser = pickle.loads(pickle.dumps(parser.process(token)))
    assert type(parser) is compat.StreamableParser
    assert parser.process_eos().messages == read


def test_a_users_message_has_a_channel_in_a_completion_only(encoding: compat.HarmonyEncoding) -> None:
    text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>user<|message|>And then?<|end|>"
    tokens = encoding.encode(text, allowed_special="all")
    assert [one.channel for one in encoding.parse_messages_from_completion_tokens(tokens, Role.ASSISTANT)] == [
        "analysis",
        "final",
    ]
    tokens = encoding.encode(f"<|start|>assistant{text}", allowed_special="all")
    assert [one.channel for one in encoding.parse_messages_from_completion_tokens(tokens)] == ["analysis", None]


@pytest.mark.parametrize(
    "text",
    [
        "<|return|>",
        "<|endoftext|>",
        "<|channel|>commentary to=functions.sky<|call|>",
        "<|message|><|channel|>final<|return|>",
        "<|channel|>commentary to=functions.sky<|message|><|channel|>final<|return|>",
    ],
)
def test_a_completion_that_has_ended_has_a_message(text: str, encoding: compat.HarmonyEncoding) -> None:
    tokens = encoding.encode(text, allowed_special="all")
    expected = [compat.Message.from_role_and_content(Role.ASSISTANT, "").with_channel("final")]
    assert encoding.parse_messages_from_completion_tokens(tokens, Role.ASSISTANT) == expected
    parser = compat.StreamableParser(encoding, Role.ASSISTANT)
    for token in tokens:
        parser.process(token)
    assert parser.process_eos().messages == expected
    assert harmony.load_harmony_encoding("HarmonyGptOss").parse(tokens, "assistant", strict=False).messages == []


def test_a_completion_without_a_stop_may_have_no_message(encoding: compat.HarmonyEncoding) -> None:
    for text in ("", "<|channel|>commentary to=functions.sky"):
        tokens = encoding.encode(text, allowed_special="all")
        assert encoding.parse_messages_from_completion_tokens(tokens, Role.ASSISTANT) == []


def test_strict_is_chosen_by_the_environment_or_by_the_argument(folder: str, encoding: compat.HarmonyEncoding) -> None:
    program = (
        "from openai_harmony import *\n"
        "encoding = load_harmony_encoding('HarmonyGptOss')\n"
        "for tokens in ([200008, 12194], [12194, 200002]):\n"
        "    try: print(encoding.parse_messages_from_completion_tokens(tokens, Role.ASSISTANT)[0].channel)\n"
        "    except HarmonyError: print('error')"
    )
    assert run("-c", program, PYTHONPATH=folder).split() == ["final", "final"]
    assert run("-c", program, PYTHONPATH=folder, HARMONY_COMPAT="lenient").split() == ["final", "final"]
    assert run("-c", program, PYTHONPATH=folder, HARMONY_COMPAT="strict").split() == ["None", "error"]
    with pytest.raises(harmony.HarmonyError):
        encoding.parse_messages_from_completion_tokens([12194, 200002], Role.ASSISTANT, strict=True)
    with pytest.raises(harmony.HarmonyError):
        compat.StreamableParser(encoding, Role.ASSISTANT, strict=True).process_many([12194, 200002, 200006])


def test_a_wrong_choice_is_told(folder: str) -> None:
    with pytest.raises(
        AssertionError,
        match="Expected `lenient` or `strict`, got `Strict` - at the environment variable HARMONY_COMPAT",
    ):
        run("-c", "import openai_harmony", PYTHONPATH=folder, HARMONY_COMPAT="Strict")
    assert run("-m", "harmony", "--version", HARMONY_COMPAT="Strict")
    with pytest.raises(AssertionError, match="harmony: Expected `lenient` or `strict`, got `Strict`"):
        run("-m", "harmony", "compat", "--path", HARMONY_COMPAT="Strict")


@pytest.mark.parametrize("message", ODD_NAMES)
def test_names_that_no_header_holds_are_rendered_as_by_openai_harmony(
    message: Message, official_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", official_folder)
    theirs = reference.load_harmony_encoding("HarmonyGptOss")
    given = reference.Conversation.from_messages([reference.Message.from_dict(message.to_dict())])
    encoding = compat.HarmonyEncoding()
    conversation = Conversation.from_messages([message])
    with pytest.warns(UserWarning, match="cannot be parsed") as caught:
        rendered = encoding.render_conversation(conversation)
    assert len(caught) == 1
    assert rendered == theirs.render_conversation(given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in ODD_NAMES:  # one warning is enough
            encoding.render(other)
    with pytest.raises(harmony.RenderError):
        harmony.load_harmony_encoding("HarmonyGptOss").render_conversation(conversation)


def test_what_openai_harmony_does_not_render_either(encoding: compat.HarmonyEncoding) -> None:
    with pytest.raises(harmony.RenderError, match="expected the tool's name, found none"):
        encoding.render(Message(author=Author(role=Role.TOOL)))
    with pytest.raises(harmony.RenderError, match="surrogate"):
        encoding.render(copy.copy(CALL).with_recipient("\ud800"))


@pytest.mark.parametrize("library", [compat, harmony, reference], ids=lambda library: library.__name__)
def test_attributes_and_patches_of_encodings_and_messages(
    library: Any, official_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", official_folder)
    encoding = library.load_harmony_encoding("HarmonyGptOss")
    with patch.object(encoding, "note", "kept", create=True), patch.object(encoding, "encode", return_value=[5]):
        assert (encoding.note, encoding.encode("Hi")) == ("kept", [5])
    with patch.object(library.HarmonyEncoding, "stop_tokens", lambda self: [self.name]):
        assert encoding.stop_tokens() == ["HarmonyGptOss"]
    with patch.object(library.Message, "from_dict", return_value="patched"):
        assert library.Message.from_dict({}) == "patched"
    message = library.Message.from_role_and_content(library.Role.USER, "Hi")
    message.channel = "final"
    assert message.to_dict()["channel"] == "final"
    with pytest.raises((AttributeError, ValueError)):  # pydantic has its own error for this
        message.note = "lost"
