"""harmony in the place of `openai_harmony`, for programs that import that name.

Two ways lead there. With the folder that `harmony compat --path` prints at the front of PYTHONPATH, `import
openai_harmony` gives this library, also in the processes that a program starts. `install()` does the same for one
process:

    >>> from harmony import compat
    >>> compat.install()
    >>> import openai_harmony
    >>> openai_harmony.Message is compat.Message
    True

Names, signatures and behaviour are those of openai-harmony 0.0.8. docs/compat.md says what is better, and what differs.
Three things are not the same as in `harmony` itself, because these programs expect it:

- Parsing is lenient, and a message of the assistant that has neither a channel nor a recipient gets the channel
  `final`. In a completion, so does a message of another author, as when a model writes the user's next turn. A
  completion that ends in a stop and has no message gets an empty one, which is no call. None of these programs passes
  `strict=`, and many lose a whole reply if one token of it raises. With the environment variable HARMONY_COMPAT=strict,
  parsing is strict, as it is in openai-harmony.
- Rendering writes a name that no header can hold, such as a tool's name with a space, with a warning the first time.
  `harmony` refuses it, because the model cannot write such a name back.
- An encoding or a parser has these defaults only if it was made here. Messages are the same objects in both.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

from harmony import encoding as _encoding
from harmony.encoding import HarmonyEncodingName
from harmony.errors import Fault, HarmonyError, quote
from harmony.format.choices import Style
from harmony.format.header import DefaultChannel, Header, check_header
from harmony.messages.model import (
    Author,
    ChannelConfig,
    Content,
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
)
from harmony.messages.roles import Role
from harmony.parsing import engine as _engine
from harmony.parsing.shared import Encoding
from harmony.parsing.tokens import Tokens
from harmony.rendering.renderer import RenderConversationConfig, Renderer, RenderOptions
from harmony.results import StreamState
from harmony.runtime.locks import Once, forks_wait

__all__ = [
    "Author",
    "ChannelConfig",
    "Content",
    "Conversation",
    "DeveloperContent",
    "HarmonyEncoding",
    "HarmonyEncodingName",
    "HarmonyError",
    "Message",
    "ReasoningEffort",
    "RenderConversationConfig",
    "RenderOptions",
    "Role",
    "StreamState",
    "StreamableParser",
    "SystemContent",
    "TextContent",
    "ToolDescription",
    "ToolNamespaceConfig",
    "install",
    "load_harmony_encoding",
    "path",
]

#: The environment variable that chooses how parsing is done: "lenient", which is the default, or "strict".
VARIABLE: Final = "HARMONY_COMPAT"
_NAME: Final = "openai_harmony"


def _is_strict() -> bool:
    chosen = os.environ.get(VARIABLE, "")
    if chosen not in ("", "lenient", "strict"):
        raise ValueError(
            f"Expected `lenient` or `strict`, got {quote(chosen)} - at the environment variable {VARIABLE}"
        )
    return chosen == "strict"


STRICT: Final = _is_strict()


def _default_channel(role: Role | str | None, strict: bool) -> DefaultChannel | None:
    """The channel of messages without one. A completion may also hold a message of another author than the model.

    A completion has one message at least: gpt-oss's server fails without.
    """
    completion = role == Role.ASSISTANT
    return None if strict else DefaultChannel("final", every_author=completion, in_empty_completion=completion)


class StreamableParser(_engine.StreamableParser):
    """harmony's StreamableParser, with the defaults of this module."""

    def __init__(self, encoding: Encoding, role: Role | str | None, *, strict: bool = STRICT) -> None:
        super().__init__(encoding, role, strict=strict, default_channel=_default_channel(role, strict))


class HarmonyEncoding(_encoding.HarmonyEncoding):
    """harmony's HarmonyEncoding, with the defaults of this module."""

    def __init__(self) -> None:
        super().__init__()
        self._renderer = Renderer(self._warn_of_header)
        self._has_warned = False

    def __reduce__(self) -> tuple[Callable[[str], HarmonyEncoding], tuple[str]]:
        return load_harmony_encoding, (self.name,)

    def parse_messages_from_completion_tokens(
        self,
        tokens: Tokens,
        role: Role | str | None = None,
        *,
        strict: bool = STRICT,
        default_channel: str | None = None,
    ) -> list[Message]:
        """The messages of a completion. In lenient parsing, `default_channel` is `final` if none is given."""
        channel = _default_channel(role, strict) if default_channel is None else default_channel
        return _engine.parse(tokens, role, strict=strict, default_channel=channel).messages

    def _warn_of_header(self, header: Header, style: Style) -> None:
        """Warns of the first header that cannot be read back, where `harmony` would refuse it."""
        try:
            check_header(header, style)
        except Fault as fault:
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"{fault.field}: {fault.sentence}. It is rendered as openai-harmony does, but cannot be parsed. "
                    "Further names like this are rendered without a warning",
                    stacklevel=2,
                )


_the_one: Final = Once(HarmonyEncoding)


def load_harmony_encoding(name: str | HarmonyEncodingName) -> HarmonyEncoding:
    """The encoding of this name, as `harmony.load_harmony_encoding` gives it, with the defaults of this module.

    Raises ValueError for any name but "HarmonyGptOss", and HarmonyError as `harmony.load_harmony_encoding` does.

        >>> load_harmony_encoding("HarmonyGptOss")
        <HarmonyEncoding 'HarmonyGptOss'>
    """
    _encoding.load_harmony_encoding(name)  # checks the name
    return _the_one()


def path() -> Path:
    """The folder for PYTHONPATH: it holds a package `openai_harmony`, which is this module under that name.

    >>> (path() / "openai_harmony" / "__init__.py").is_file()
    True
    """
    return Path(__file__).parent / "alias"


def install() -> None:
    """Makes `import openai_harmony` give this module, in this process. Calling it again changes nothing.

        >>> install()
        >>> import openai_harmony
        >>> openai_harmony.StreamableParser is StreamableParser
        True

    A process that this one starts does not know of it: use PYTHONPATH there, with the folder of `path()`. Raises
    RuntimeError where another `openai_harmony` is imported already, since objects of both would be mixed.
    """
    file = path() / _NAME / "__init__.py"
    with forks_wait:
        if (loaded := sys.modules.get(_NAME)) is not None:
            found = getattr(loaded, "__file__", None) or "a module without a file"
            if found == str(file):
                return
            raise RuntimeError(
                f"Expected no `{_NAME}` to be imported before `harmony.compat.install()`, found {found}: call it first"
            )
        spec = spec_from_file_location(_NAME, file, submodule_search_locations=[str(file.parent)])
        assert spec is not None
        assert spec.loader is not None  # a file that ends in .py has a loader
        module = module_from_spec(spec)
        sys.modules[_NAME] = module
        spec.loader.exec_module(module)
