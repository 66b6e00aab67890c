"""Example inputs for codes. Each kind of example runs the function that finds the fault, and returns the outcome."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

from harmony import chat, responses
from harmony.chat import ConversionError
from harmony.checking.rules import lint
from harmony.checking.validation import validate
from harmony.encoding import HarmonyEncoding, load_harmony_encoding
from harmony.errors import Diagnostic, HarmonyError
from harmony.format import vocabulary
from harmony.format.choices import Start
from harmony.messages.model import Conversation
from harmony.messages.roles import Role
from harmony.results import ParseResult

_SECONDS: Final = 120


class Said(NamedTuple):
    """A fault that was found: its code, and its sentence as users see it."""

    code: str
    sentence: str


class Outcome(NamedTuple):
    """The outcome of an example: the faults and, for a repaired input, its messages in rendered form."""

    said: list[Said]
    read: list[str] | None = None


class Example(Protocol):
    """An input that shows a code."""

    def shown(self) -> str:
        """The input as it is printed."""
        ...

    def run(self) -> Outcome:
        """Runs the example."""
        ...


def _encoding() -> HarmonyEncoding:
    return load_harmony_encoding(vocabulary.ENCODING_NAME)


def _said(found: Diagnostic, unit: str) -> Said:
    return Said(found.code, f"{found.message} at {unit} {found.position}")


def _raised(error: HarmonyError | ConversionError) -> Outcome:
    return Outcome([Said(error.code, str(error))])


def _repaired(result: ParseResult) -> Outcome:
    encoding = _encoding()
    read = [encoding.decode(encoding.render(message)) for message in result.messages]
    return Outcome([Said(found.code, found.message) for found in result.diagnostics], read)


class Parsed(NamedTuple):
    """A text for strict parsing; `role` is that of a completion."""

    text: str
    role: Role | None = None

    def shown(self) -> str:
        return self.text

    def run(self) -> Outcome:
        try:
            _encoding().parse_text(self.text, self.role)
        except HarmonyError as error:
            return _raised(error)
        return Outcome([])


class Ids(NamedTuple):
    """Token ids for strict parsing."""

    tokens: list[int]

    def shown(self) -> str:
        return str(self.tokens)

    def run(self) -> Outcome:
        try:
            _encoding().parse(self.tokens)
        except HarmonyError as error:
            return _raised(error)
        return Outcome([])


class Checked(NamedTuple):
    """A text for `validate`."""

    text: str
    start: Start

    def shown(self) -> str:
        return self.text

    def run(self) -> Outcome:
        return Outcome([_said(found, "character") for found in validate(self.text, self.start)])


class Repaired(NamedTuple):
    """A completion of the assistant for lenient parsing, as a text."""

    text: str

    def shown(self) -> str:
        return self.text

    def run(self) -> Outcome:
        return _repaired(_encoding().parse_text(self.text, Role.ASSISTANT, strict=False))


class RepairedIds(NamedTuple):
    """A completion of the assistant for lenient parsing, as token ids."""

    tokens: list[int]

    def shown(self) -> str:
        return str(self.tokens)

    def run(self) -> Outcome:
        return _repaired(_encoding().parse(self.tokens, Role.ASSISTANT, strict=False))


class StrippedText(NamedTuple):
    """A completion of the assistant as a text that has lost its markers."""

    text: str

    def shown(self) -> str:
        return self.text

    def run(self) -> Outcome:
        return _repaired(_encoding().parse_text(self.text, Role.ASSISTANT, strict=False, stripped=True))


class Rendered(NamedTuple):
    """The messages of a conversation to be rendered, as in JSON."""

    messages: list[dict[str, Any]]

    def shown(self) -> str:
        return _as_lines(self.messages)

    def run(self) -> Outcome:
        try:
            _encoding().render_conversation(Conversation.from_dict({"messages": self.messages}))
        except HarmonyError as error:
            return _raised(error)
        return Outcome([])


class Linted(NamedTuple):
    """The messages of a conversation for `lint`, as in JSON; `rule` is the rule to check."""

    rule: str
    messages: list[dict[str, Any]]

    def shown(self) -> str:
        return _as_lines(self.messages)

    def run(self) -> Outcome:
        try:
            found = lint(Conversation.from_dict({"messages": self.messages}), select=[self.rule])
        except ImportError as error:  # two rules need a library that may be missing
            return Outcome([Said(self.rule, str(error))])
        return Outcome([_said(one, "message") for one in found])


class Logged(NamedTuple):
    """A line of a log for `harmony parse`, with options."""

    line: bytes
    options: tuple[str, ...] = ()

    def shown(self) -> str:
        line = self.line.decode(errors="backslashreplace")
        return line if not self.options else f"{line}\n\nwith {' '.join(self.options)}"

    def run(self) -> Outcome:
        command = [sys.executable, "-m", "harmony", "parse", "-", "--output", "-", *self.options]
        done = subprocess.run(command, input=self.line, capture_output=True, timeout=_SECONDS, check=False)
        error = json.loads(done.stdout)["error"]
        return Outcome([Said(error["code"], error["message"])])


class Called(NamedTuple):
    """Python code that calls the library. It can use `encoding`, `chat`, `responses` and all public names."""

    code: str

    def shown(self) -> str:
        return self.code

    def run(self) -> Outcome:
        names: dict[str, Any] = {}
        exec("from harmony import *", names)  # as users do
        names |= {"encoding": _encoding(), "chat": chat, "responses": responses}
        *before, last = ast.parse(self.code).body
        assert isinstance(last, ast.Expr)  # its value is the outcome
        try:
            exec(compile(ast.Module(list(before), []), "example", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "example", "eval"), names)
        except (HarmonyError, ConversionError) as error:
            return _raised(error)
        found: Iterable[Any] = value if isinstance(value, list) else []
        errors = [Said(one.code, str(one)) for one in found if isinstance(one, HarmonyError)]
        return Outcome([*errors, *(_said(one, "message") for one in found if isinstance(one, Diagnostic))])


def _as_lines(messages: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(message) for message in messages)
