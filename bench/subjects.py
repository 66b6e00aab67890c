"""The libraries that are measured, one small class each, all with the same methods."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from typing import Any, ClassVar

from bench import corpus


class Subject:
    """A library, imported when it is made; its methods but `version` are what can be timed."""

    distribution: str
    module: str
    environment: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.library = importlib.import_module(self.module)
        self.encoding = self.library.load_harmony_encoding("HarmonyGptOss")
        self.parser = self.library.StreamableParser
        self.role = self.library.Role.ASSISTANT
        self.conversation = self.library.Conversation.from_json(corpus.conversation())
        self.count = 0

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.distribution)

    def parse(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse_messages_from_completion_tokens(tokens, self.role)

    def parse_lenient(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse_messages_from_completion_tokens(tokens, self.role, strict=False)

    def stream(self, corpus: list[list[int]], *, strict: bool = True) -> None:
        for tokens in corpus:
            parser = self.parser(self.encoding, self.role, strict=strict)
            for token in tokens:
                parser.process(token)
                parser.last_content_delta  # noqa: B018
                parser.current_channel  # noqa: B018
                parser.current_recipient  # noqa: B018

    stream_many = stream

    def stream_lenient(self, corpus: list[list[int]]) -> None:
        self.stream(corpus, strict=False)

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

    def render(self, _: list[list[int]]) -> None:
        self.encoding.render_conversation_for_completion(self.conversation, self.role)

    def render_longer(self, _: list[list[int]]) -> None:
        self.count += 1
        said = (
            f"This is what number {self.count} says, for the first time: nobody has said it before, not in these words."
        )
        messages = [*self.conversation.messages, self.library.Message.from_role_and_content("user", said)]
        longer = self.library.Conversation.from_messages(messages)
        self.encoding.render_conversation_for_completion(longer, self.role)

    def json(self, _: list[list[int]]) -> None:
        self.library.Conversation.from_json(self.conversation.to_json())

    def letters(self, counts: list[list[int]]) -> None:
        message = self.library.Message.from_role_and_content("user", "a" * len(counts[0]))
        self.encoding.render(message)


class Harmony(Subject):
    """harmony with its compiled engine."""

    distribution = "harmony-codec"
    module = "harmony"
    environment: ClassVar = {"HARMONY_EXTENSION": "yes"}

    def parse(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse(tokens, self.role)

    def parse_lenient(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            self.encoding.parse(tokens, self.role, strict=False)

    def stream_many(self, corpus: list[list[int]]) -> None:
        for tokens in corpus:
            parser = self.parser(self.encoding, self.role)
            for start in range(0, len(tokens), 16):
                parser.process_many(tokens[start : start + 16])

    def render(self, inputs: list[list[int]]) -> None:
        self.encoding.resize_cache(0)  # the first time, every time
        super().render(inputs)

    def render_longer(self, inputs: list[list[int]]) -> None:
        self.encoding.resize_cache(self.library.rendering.CACHE_BYTES)
        super().render_longer(inputs)

    def letters(self, counts: list[list[int]]) -> None:
        self.encoding.resize_cache(0)
        super().letters(counts)


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
