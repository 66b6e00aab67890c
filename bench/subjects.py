"""The libraries that are measured, one small class each, all with the same methods.

A method is given an input of `corpus.py`, prepares it, and gives back the function that is timed. What a library cannot
do it has no method for. Imports no library before its class is made, so that each process holds its own alone.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

Run: TypeAlias = Callable[[], object]
Completions: TypeAlias = list[list[int]]


# A message in a text, as programs without a library find it.
_MESSAGE: Final = re.compile(
    r"(?:<\|start\|>(?P<author>.*?))?(?:<\|channel\|>(?P<channel>\w+))?(?: to=(?P<recipient>\S+?))?\s*"
    r"(?:<\|constrain\|>(?P<type>\w+)|(?P<word>\w+))?<\|message\|>(?P<content>.*?)<\|(?P<end>end|call|return)\|>",
    re.DOTALL,
)


class Subject:
    """A library, imported when this is made. ImportError where it is missing."""

    distribution: ClassVar[str]
    module: ClassVar[str]
    install: ClassVar[str] = "pip install -e '.[bench]'"
    environment: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        try:
            found = importlib.metadata.distribution(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            raise ImportError(f"{self.distribution} is not installed: {self.install}") from None
        self.version = found.version
        self.library: Any = importlib.import_module(self.module)
        self._load(found)

    def _load(self, found: importlib.metadata.Distribution) -> None:
        raise NotImplementedError


class Library(Subject):
    """A library with the names of openai-harmony."""

    parses: ClassVar[str] = "parse_messages_from_completion_tokens"  # the encoding's method

    def _load(self, found: importlib.metadata.Distribution) -> None:
        self._check(found)
        self.encoding = self.library.load_harmony_encoding("HarmonyGptOss")
        self.role = self.library.Role.ASSISTANT
        self.count = 0

    def _check(self, found: importlib.metadata.Distribution) -> None:
        # Two of the subjects have one import name, and only the first on the path is imported.
        folder = Path(self.library.__file__).parent.resolve()
        expected = Path(str(found.locate_file(self.module))).resolve()
        if folder != expected:
            raise ImportError(f"expected `{self.module}` of {self.distribution} in {expected}, found it in {folder}")

    def parse(self, completions: Completions) -> Run:
        return self._parse(completions, self.role)

    def parse_lenient(self, completions: Completions) -> Run:
        return self._parse(completions, self.role, strict=False)

    def parse_whole(self, conversations: Completions) -> Run:
        """As `parse`, of tokens that begin with a `<|start|>`."""
        return self._parse(conversations, None)

    def _parse(self, completions: Completions, role: Any, **options: bool) -> Run:
        parse = getattr(self.encoding, self.parses)

        def run() -> None:
            for tokens in completions:
                parse(tokens, role, **options)

        return run

    columns = parse  # it has no columns, and gives messages

    def stream(self, completions: Completions, *, strict: bool = True) -> Run:
        def run() -> None:
            for tokens in completions:
                parser = self.library.StreamableParser(self.encoding, self.role, strict=strict)
                for token in tokens:
                    parser.process(token)
                    parser.last_content_delta  # noqa: B018
                    parser.current_channel  # noqa: B018
                    parser.current_recipient  # noqa: B018

        return run

    stream_steps = stream  # it takes a token at a time

    def stream_lenient(self, completions: Completions) -> Run:
        return Library.stream(self, completions, strict=False)

    def stream_content(self, completions: Completions) -> Run:
        def run() -> None:
            for tokens in completions:
                parser = self.library.StreamableParser(self.encoding, self.role)
                for token in tokens:
                    parser.process(token)
                    parser.current_content  # noqa: B018

        return run

    def stream_state(self, completions: Completions) -> Run:
        def run() -> None:
            for tokens in completions:
                parser = self.library.StreamableParser(self.encoding, self.role)
                for token in tokens:
                    parser.process(token)
                    parser.state  # noqa: B018
                    parser.messages  # noqa: B018

        return run

    def render(self, conversation: str) -> Run:
        read = self.library.Conversation.from_json(conversation)
        return lambda: self.encoding.render_conversation_for_completion(read, self.role)

    def render_longer(self, conversation: str) -> Run:
        """The conversation and one message more, which is another each time."""
        read = self.library.Conversation.from_json(conversation)

        def run() -> None:
            longer = self.library.Conversation.from_messages([*read.messages, self.new_message()])
            self.encoding.render_conversation_for_completion(longer, self.role)

        return run

    def new_message(self) -> Any:
        self.count += 1
        said = f"This is what number {self.count} says, for the first time: nobody said it before in these words."
        return self.library.Message.from_role_and_content("user", said)

    def render_text(self, text: str) -> Run:
        message = self.library.Message.from_role_and_content("user", text)
        return lambda: self.encoding.render(message)

    def conversations(self, chats: Completions) -> list[Any]:
        """Chats as conversations: a system message, a question, reasoning and an answer."""
        library, message = self.library, self.library.Message.from_role_and_content
        return [
            library.Conversation.from_messages(
                [
                    message(library.Role.SYSTEM, library.SystemContent.new()),
                    message(library.Role.USER, question),
                    message(self.role, reasoning).with_channel("analysis"),
                    message(self.role, answer).with_channel("final"),
                ]
            )
            for question, reasoning, answer in _texts_of(chats)
        ]

    def examples(self, chats: Completions) -> Run:
        """The token ids of chats, for training."""
        conversations = self.conversations(chats)
        config = self.library.RenderConversationConfig(auto_drop_analysis=False)
        return lambda: [self.encoding.render_conversation_for_training(each, config) for each in conversations]

    def json(self, conversation: str) -> Run:
        read = self.library.Conversation.from_json(conversation)
        return lambda: self.library.Conversation.from_json(read.to_json())


class Harmony(Library):
    """harmony with its compiled engine."""

    distribution = "harmony-codec"
    module = "harmony"
    environment: ClassVar = {"HARMONY_EXTENSION": "yes"}
    parses = "parse"

    def _check(self, found: importlib.metadata.Distribution) -> None:
        pass  # its import name is its own, and a clone that is changed is imported from elsewhere

    def columns(self, completions: Completions, threads: int = 1) -> Run:
        parse_batch = importlib.import_module("harmony.batch").parse_batch
        tokens, offsets = array("I"), array("q", [0])
        for each in completions:
            tokens.extend(each)
            offsets.append(len(tokens))
        return lambda: parse_batch(tokens, offsets, threads=threads)

    def columns_two(self, completions: Completions) -> Run:
        return self.columns(completions, threads=2)

    def table_tokens(self, completions: Completions) -> Run:
        """As `columns`, of a table with a column of lists."""
        arrow, batch = _arrow_and_batch()
        table = arrow.table({"tokens": arrow.array(completions, arrow.list_(arrow.uint32()))})
        return lambda: batch.parse_table(table)

    def table_texts(self, texts: list[str], threads: int = 1) -> Run:
        arrow, batch = _arrow_and_batch()
        table = arrow.table({"text": texts})
        return lambda: batch.parse_table(table, text="text", threads=threads)

    def table_texts_two(self, texts: list[str]) -> Run:
        return self.table_texts(texts, threads=2)

    def match_texts(self, texts: list[str]) -> Run:
        """What the messages of texts are without any library, by a regular expression."""
        return lambda: [[match.groupdict() for match in _MESSAGE.finditer(text)] for text in texts]

    def parse_texts(self, texts: list[str], *, strict: bool = True) -> Run:
        def run() -> None:
            for text in texts:
                self.encoding.parse_text(text, self.role, strict=strict)

        return run

    def parse_texts_lenient(self, texts: list[str]) -> Run:
        return self.parse_texts(texts, strict=False)

    def stream_to_end(self, completions: Completions) -> Run:
        """As `stream_lenient`; the end gives what was held back."""

        def run() -> None:
            for tokens in completions:
                parser = self.library.StreamableParser(self.encoding, self.role, strict=False)
                for token in tokens:
                    parser.process(token)
                    parser.last_content_delta  # noqa: B018
                    parser.current_channel  # noqa: B018
                    parser.current_recipient  # noqa: B018
                parser.process_eos()

        return run

    def stream_steps(self, completions: Completions) -> Run:  # type: ignore[override]  # strict alone
        def run() -> None:
            for tokens in completions:
                parser = self.library.StreamableParser(self.encoding, self.role)
                for start in range(0, len(tokens), 16):
                    parser.process_many(tokens[start : start + 16])

        return run

    def push_chat(self, completions: Completions, size: int = 1) -> Run:
        """As chunks of Chat Completions, some tokens at a time."""
        chat = importlib.import_module("harmony.chat")
        return _pushed(completions, lambda: chat.Stream(self.encoding), size)

    def push_chat_steps(self, completions: Completions) -> Run:
        return self.push_chat(completions, 16)

    def push_responses(self, completions: Completions, size: int = 1) -> Run:
        """As events of Responses, some tokens at a time."""
        responses = importlib.import_module("harmony.responses")
        return _pushed(completions, lambda: responses.Stream(self.encoding, {"model": "gpt-oss-20b"}), size)

    def push_responses_steps(self, completions: Completions) -> Run:
        return self.push_responses(completions, 16)

    def render(self, conversation: str) -> Run:
        self.encoding.resize_cache(0)  # every time is the first time
        return super().render(conversation)

    def render_longer(self, conversation: str) -> Run:
        self.encoding.resize_cache(importlib.import_module("harmony.rendering.renderer").CACHE_BYTES)
        return super().render_longer(conversation)

    def render_text(self, text: str) -> Run:
        self.encoding.resize_cache(0)
        return super().render_text(text)

    def extend(self, turn: list[list[int]]) -> Run:
        """The prompt and the completion of a turn, and behind them a message, which is another each time."""
        prompt, completion = turn
        return lambda: self.encoding.extend(prompt, completion, [self.new_message()], reasoning="all")

    def copy_and_render(self, turn: list[list[int]]) -> Run:
        """What `extend` has to do at the least: to copy the prompt and the completion, and to render the message."""
        prompt, completion = turn

        def run() -> list[int]:
            message = self.library.Conversation.from_messages([self.new_message()])
            copy: list[int] = [*prompt, *completion]
            copy += self.encoding.render_conversation_for_completion(message, self.role)
            return copy

        return run

    def examples(self, chats: Completions) -> Run:
        """The token ids of chats with their labels, which the others do not give."""
        self.encoding.resize_cache(0)
        training = importlib.import_module("harmony.training")
        conversations = self.conversations(chats)
        return lambda: [(one, one.labels()) for each in conversations for one in training.examples(each)]

    def guide(self, completions: Completions) -> Run:
        """A mask and a step for each token but the stops, with 54 recipients."""
        decoding = importlib.import_module("harmony.decoding")
        guide = decoding.Headers(self.encoding, [f"functions.tool_{number}" for number in range(54)])
        mask = array("i", bytes(4 * decoding.MASK_WORDS))

        def run() -> None:
            for tokens in completions:
                headers = guide.copy()
                for token in tokens[:-1]:
                    headers.fill(mask)
                    headers.accept(token)

        return run

    def compile(self, tools: str) -> Run:
        """The grammar of the tools, compiled by llguidance as far as its first mask."""
        decoding, llguidance = map(importlib.import_module, ("harmony.decoding", "llguidance"))
        tokenizer = decoding.ll_tokenizer()
        read = json.loads(tools)
        return lambda: llguidance.LLMatcher(tokenizer, decoding.grammar(read)).compute_bitmask()

    def validate(self, rendered: str | list[int]) -> Run:
        return lambda: self.library.validate(rendered)

    def is_valid(self, rendered: str | list[int]) -> Run:
        return lambda: self.library.is_valid(rendered)


def _pushed(completions: Completions, new_stream: Callable[[], Any], size: int) -> Run:
    def run() -> None:
        for tokens in completions:
            stream = new_stream()
            for start in range(0, len(tokens), size):
                stream.push(tokens[start : start + size])
            stream.finish()

    return run


def _texts_of(chats: Completions) -> list[tuple[str, str, str]]:
    """The question, the reasoning and the answer of each chat."""
    token_bytes = importlib.import_module("harmony.format.vocabulary").load().token_bytes
    texts = [b"".join(map(token_bytes, tokens)).decode(errors="replace") for tokens in chats]
    return list(zip(texts[::3], texts[1::3], texts[2::3], strict=True))


def _arrow_and_batch() -> tuple[Any, Any]:
    return importlib.import_module("pyarrow"), importlib.import_module("harmony.batch")


class HarmonyPython(Harmony):
    """harmony with its engine in Python."""

    environment: ClassVar = {"HARMONY_EXTENSION": "no"}


class OpenaiHarmony(Library):
    """The reference, in Rust."""

    distribution = "openai-harmony"
    module = "openai_harmony"


class OssHarmony(Library):
    """A fork of the reference, with the same import name: its process is given the folder that it is in."""

    distribution = "oss-harmony"
    module = "openai_harmony"
    install = "pip install --target FOLDER oss-harmony, and python -m bench --oss-harmony FOLDER"


class Template(Subject):
    """The published chat template, which is a file in the wheel of TRL, with jinja2 and tiktoken's encoder."""

    distribution = "trl"
    module = "jinja2"
    install = "pip install --no-deps trl"

    def _load(self, found: importlib.metadata.Distribution) -> None:
        path = Path(str(found.locate_file("trl/chat_templates/gptoss.jinja")))
        environment = self.library.Environment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["strftime_now"] = time.strftime
        self.template = environment.from_string(path.read_text(encoding="utf-8"))

    def examples(self, chats: Completions) -> Run:
        """The token ids of chats; it tells no mask."""
        encode = importlib.import_module("harmony.format.vocabulary").load().encoder.encode
        conversations = [
            [{"role": "user", "content": question}, {"role": "assistant", "thinking": reasoning, "content": answer}]
            for question, reasoning, answer in _texts_of(chats)
        ]
        render = self.template.render
        return lambda: [encode(render(messages=each), allowed_special="all") for each in conversations]


OURS: Final = "harmony"
PYTHON: Final = "harmony in Python"
PEER: Final = "openai-harmony"
FORK: Final = "oss-harmony"
TEMPLATE: Final = "jinja2 and tiktoken"
SUBJECTS: Final[dict[str, type[Subject]]] = {
    OURS: Harmony,
    PYTHON: HarmonyPython,
    PEER: OpenaiHarmony,
    FORK: OssHarmony,
    TEMPLATE: Template,
}
