"""The libraries that are measured, one small class each, all with the same methods."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from typing import Any, ClassVar


class Subject:
    """A library, imported when it is made; its methods but `version` are what can be timed."""

    distribution: str
    module: str
    environment: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        library = importlib.import_module(self.module)
        self.encoding = library.load_harmony_encoding("HarmonyGptOss")
        self.parser = library.StreamableParser
        self.role = library.Role.ASSISTANT

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.distribution)

    def parse(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse_messages_from_completion_tokens(tokens, self.role)

    def stream(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            parser = self.parser(self.encoding, self.role)
            for token in tokens:
                parser.process(token)
                parser.last_content_delta  # noqa: B018
                parser.current_channel  # noqa: B018
                parser.current_recipient  # noqa: B018

    stream_many = stream

    def content(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            parser = self.parser(self.encoding, self.role)
            for token in tokens:
                parser.process(token)
                parser.current_content  # noqa: B018

    def state(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            parser = self.parser(self.encoding, self.role)
            for token in tokens:
                parser.process(token)
                parser.state  # noqa: B018
                parser.messages  # noqa: B018

    def headers(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse_messages_from_completion_tokens(tokens, None)


class Harmony(Subject):
    """harmony with its compiled engine."""

    distribution = "harmony-codec"
    module = "harmony"
    environment: ClassVar = {"HARMONY_EXTENSION": "yes"}

    def parse(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse(tokens, self.role)

    def stream_many(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            parser = self.parser(self.encoding, self.role)
            for start in range(0, len(tokens), 16):
                parser.process_many(tokens[start : start + 16])


class HarmonyPython(Harmony):
    """harmony with its engine in Python."""

    environment: ClassVar = {"HARMONY_EXTENSION": "no"}


class OpenaiHarmony(Subject):
    """The reference, in Rust."""

    distribution = "openai-harmony"
    module = "openai_harmony"


SUBJECTS: dict[str, type[Subject]] = {
    "harmony": Harmony,
    "harmony in Python": HarmonyPython,
    "openai-harmony": OpenaiHarmony,
}


def environment(subject: str, vocabulary_folder: str) -> dict[str, Any]:
    """The environment of a process for one subject; only openai-harmony needs the vocabulary on disk."""
    found = {key: value for key, value in os.environ.items() if key != "TIKTOKEN_ENCODINGS_BASE"}
    found |= SUBJECTS[subject].environment
    if subject == "openai-harmony":
        found["TIKTOKEN_ENCODINGS_BASE"] = vocabulary_folder
    return found
