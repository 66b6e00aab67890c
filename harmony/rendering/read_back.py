"""Reads the texts of system and developer messages back into SystemContent and DeveloperContent.

A text is read as if one way of writing had written it. What was read is then rendered in that way, and counts only if
this gives the same text. So a reader may be simple: where it is wrong, the text stays a text. Another text than the
given one never comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from harmony.format.choices import Schemas, Style
from harmony.messages.contents import (
    ChannelConfig,
    DeveloperContent,
    ResponseFormat,
    SystemContent,
    ToolNamespaceConfig,
)
from harmony.messages.model import Message, TextContent
from harmony.messages.record import unchecked
from harmony.messages.roles import ReasoningEffort, Role
from harmony.rendering.arguments import checked
from harmony.rendering.back_full import FullReader
from harmony.rendering.back_reference import ReferenceReader
from harmony.rendering.back_template import TemplateReader
from harmony.rendering.cursor import Cursor, Unread, joined, json_value
from harmony.rendering.full import FullWriter
from harmony.rendering.renderer import RenderConversationConfig, has_function_tools
from harmony.rendering.sections import Types, developer_text, system_text, writer_of
from harmony.rendering.template import TemplateWriter
from harmony.rendering.typescript import TooLong, Writer

Reader: TypeAlias = ReferenceReader | FullReader | TemplateReader
_READERS: Final[dict[type[Types], type[Reader]]] = {
    Writer: ReferenceReader,
    FullWriter: FullReader,
    TemplateWriter: TemplateReader,
}


class Manner(NamedTuple):
    """A way of writing. The style "oss" writes these contents as "openai" does."""

    style: Style
    schemas: Schemas


#: The ways of writing, in the order in which they are tried.
MANNERS: Final = tuple(Manner(style, schemas) for schemas in ("reference", "full") for style in ("openai", "hf"))

_FUNCTIONS_LINE: Final = "\nCalls to these tools must go to the commentary channel: 'functions'."
_REQUIRED: Final = " Channel must be included for every message."
_CHANNELS: Final = re.compile(
    rf"# Valid channels: ([^\n]*?)\.({re.escape(_REQUIRED)})?(?:{re.escape(_FUNCTIONS_LINE)})?", re.DOTALL
)
_EFFORTS: Final = {f"Reasoning: {effort.value.lower()}": effort for effort in ReasoningEffort}
_CUTOFF: Final = "Knowledge cutoff: "
_DATE: Final = "Current date: "
_INSTRUCTIONS: Final = "# Instructions\n\n"
_TOOLS: Final = "# Tools\n\n"
_FORMATS: Final = "# Response Formats\n\n"
_TOOLS_HEADING: Final = re.compile(rf"(?:\A|(?<=\n\n)){_TOOLS}## ")
#: How many headings in a text are taken for the one of the tools. The others are a part of the instructions.
_MOST_HEADINGS: Final = 4

_ROLES: Final = (Role.SYSTEM, Role.DEVELOPER)

_Content = TypeVar("_Content", SystemContent, DeveloperContent)


def read_system(text: str) -> SystemContent | None:
    """The content of a system message that renders to this text; None where there is none.

        >>> read_system("You are ChatGPT.\\nKnowledge cutoff: 2024-06\\n\\nReasoning: low").knowledge_cutoff
        '2024-06'
        >>> read_system("You are a pirate.")

    A text without anything that only this format has is no such content, although it could be an identity.
    """
    functions = text.endswith(_FUNCTIONS_LINE)
    return next(_found(_system(text, manner, functions) for manner in MANNERS), None)


def read_developer(text: str) -> DeveloperContent | None:
    """The content of a developer message that renders to this text in some style; None where there is none.

    >>> read_developer("# Instructions\\n\\nBe brief.").instructions
    'Be brief.'
    """
    return next(_found(_developer(text, manner) for manner in MANNERS), None)


def read_schema(text: str) -> dict[str, Any] | None:
    """A JSON schema of parameters that renders to this type in some style; None where there is none.

    >>> read_schema("{\\ncity: string,\\n}")["required"]
    ['city']
    """
    space = f"namespace functions {{\n\ntype read = (_: {text}) => any;\n\n}} // namespace functions"
    content = read_developer(f"{_TOOLS}## functions\n\n{space}")
    tools = content.tools if content is not None and content.instructions is None else None
    found = tools["functions"].tools if tools is not None and tools.keys() == {"functions"} else []
    return found[0].parameters if len(found) == 1 and found[0].name == "read" else None


def with_contents(messages: list[Message], structured: bool | RenderConversationConfig) -> list[Message]:
    """The messages with SystemContent and DeveloperContent in place of the texts that read back, if it is `structured`.

    All messages are read in one way of writing: in that of a config, else in the one in which most texts read back.
    Messages that stay are the same objects. Raises TypeError for what is neither a bool nor a config.
    """
    if isinstance(structured, bool):
        manners = MANNERS if structured else ()
    else:
        config = checked(structured, RenderConversationConfig, "structured")
        manners = (Manner("hf" if config.style == "hf" else "openai", config.schemas),)
    wanted = sum(message.author.role in _ROLES for message in messages)
    best, most = messages, 0
    for manner in manners if wanted else ():
        found, count = _read_all(messages, manner)
        if count > most:
            best, most = found, count
        if count == wanted:
            break
    return best


def _read_all(messages: list[Message], manner: Manner) -> tuple[list[Message], int]:
    """The messages as they read back in one way of writing, and how many do."""
    found = [_replaced(message, Role.DEVELOPER, lambda text: _developer(text, manner)) for message in messages]
    functions = any(map(has_function_tools, found))
    found = [_replaced(message, Role.SYSTEM, lambda text: _system(text, manner, functions)) for message in found]
    return found, sum(after is not before for after, before in zip(found, messages, strict=True))


def _replaced(message: Message, role: Role, read: Callable[[str], SystemContent | DeveloperContent | None]) -> Message:
    if message.author.role is not role or len(message.content) != 1:
        return message
    part = message.content[0]
    content = read(part.text) if type(part) is TextContent else None
    if content is None:
        return message
    made: Message = unchecked(
        Message, message.author, [content], message.channel, message.recipient, message.content_type
    )
    return made


def _found(contents: Iterable[_Content | None]) -> Iterator[_Content]:
    return (content for content in contents if content is not None)


# --- system messages


def _system(text: str, manner: Manner, functions: bool) -> SystemContent | None:
    """What renders to a text in a conversation that declares functions or does not."""
    types = writer_of(manner.style, manner.schemas, Role.SYSTEM)
    try:
        content = _system_content(text, manner)
        return content if system_text(content, types(len(text)), functions) == text else None
    except (Unread, TooLong, ValueError, RecursionError, OverflowError):
        return None


def _system_content(text: str, manner: Manner) -> SystemContent:
    content = SystemContent(None, None, None, None, None, None)
    rest, channels = _cut(text, text.rfind("# Valid channels: "))
    if channels is not None:
        found = _CHANNELS.fullmatch(channels)
        if found is None:
            raise Unread
        content.channel_config = ChannelConfig(found[1].split(", "), found[2] is not None)
    rest, tools = _cut(rest, _heading(rest, f"{_TOOLS}## "))
    if tools is not None:
        content.tools = _tools(tools, manner, Role.SYSTEM)
    before, effort = _cut(rest, -1 if rest is None else rest.rfind("Reasoning: "))
    if effort in _EFFORTS:
        content.reasoning_effort, rest = _EFFORTS[effort], before
    content.conversation_start_date, rest = _last_line(rest, _DATE)
    content.knowledge_cutoff, rest = _last_line(rest, _CUTOFF)
    if content == SystemContent(None, None, None, None, None, None):
        raise Unread  # any text could be an identity
    content.model_identity = rest
    return content


def _cut(text: str | None, at: int) -> tuple[str | None, str | None]:
    """What stands before a section, and the section, if one begins at this place. None stands for nothing."""
    if text is not None and at == 0:
        return None, text
    if text is not None and at >= 2 and text.startswith("\n\n", at - 2):
        return text[: at - 2], text[at:]
    return text, None


def _heading(text: str | None, heading: str) -> int:
    """Where a section with this heading begins, if there is one."""
    return -1 if text is None else 0 if text.startswith(heading) else text.find(f"\n\n{heading}") + 2


def _last_line(text: str | None, mark: str) -> tuple[str | None, str | None]:
    """The value of a last line that begins with a mark, and the text before this line; None for nothing."""
    before, end, line = (text or "").rpartition("\n")
    if not line.startswith(mark):
        return None, text
    return line.removeprefix(mark), before if end else None


# --- developer messages


def _developer(text: str, manner: Manner) -> DeveloperContent | None:
    types = writer_of(manner.style, manner.schemas, Role.DEVELOPER)
    for place in _places_of_tools(text):
        try:
            content = _developer_content(text, place, manner)
            if developer_text(content, types(len(text)), manner.style) == text:
                return content
        except (Unread, TooLong, ValueError, RecursionError, OverflowError):
            continue
    return None


def _places_of_tools(text: str) -> list[int] | list[None]:
    """Where the section of the tools may begin. None stands for no tools, and is there only without a heading."""
    return [found.start() for found in islice(_TOOLS_HEADING.finditer(text), _MOST_HEADINGS)] or [None]


def _developer_content(text: str, place: int | None, manner: Manner) -> DeveloperContent:
    content = DeveloperContent()
    head, tools = (text, None) if place is None else _cut(text, place)
    last = head if tools is None else tools
    before, formats = _cut(last, -1 if last is None else last.rfind(f"{_FORMATS}## "))
    if formats is not None:
        content.response_formats = list(_formats(formats.removeprefix(_FORMATS)))
        head, tools = (before, None) if tools is None else (head, before)
    if tools is not None:
        content.tools = _tools(tools, manner, Role.DEVELOPER)
    elif formats is None and manner.style == "hf" and head is not None:
        head = head.removesuffix("\n\n")
    if head is not None:
        if not head.startswith(_INSTRUCTIONS):
            raise Unread
        content.instructions = head.removeprefix(_INSTRUCTIONS)
    return content


def _formats(text: str) -> Iterator[ResponseFormat]:
    cursor = Cursor(text + "\n")
    while True:
        cursor.need("## ")
        name = cursor.until("\n\n")
        description = joined(cursor.comments()) or None
        schema = json_value(cursor.until("\n"))
        if not isinstance(schema, dict):
            raise Unread
        yield ResponseFormat(name, schema, description)
        if cursor.is_at_end():
            return
        cursor.need("\n")


# --- tools


def _tools(section: str, manner: Manner, role: Role) -> dict[str, ToolNamespaceConfig]:
    """The namespaces of a section, which begins with its heading."""
    cursor = Cursor(section.removeprefix(_TOOLS) + "\n\n")
    reader = _reader(manner, role)(cursor)
    tools: dict[str, ToolNamespaceConfig] = {}
    while not cursor.is_at_end():
        cursor.need("## ")
        name = cursor.until("\n\n")
        if name in tools:
            raise Unread
        tools[name] = _namespace(cursor, reader, name)
    return tools


def _reader(manner: Manner, role: Role) -> type[Reader]:
    """What reads what the writer of these types wrote."""
    return _READERS[writer_of(manner.style, manner.schemas, role)]


def _namespace(cursor: Cursor, reader: Reader, name: str) -> ToolNamespaceConfig:
    start = cursor.at
    try:
        description = reader.description(name)
    except Unread:
        cursor.at = start
        return ToolNamespaceConfig(name=name, description=_bare_description(cursor), tools=[])
    found = []
    while not cursor.take(f"}} // namespace {name}\n\n"):
        found.append(reader.tool())
    return ToolNamespaceConfig(name=name, description=description, tools=found)


def _bare_description(cursor: Cursor) -> str | None:
    """The description of a namespace without tools: up to the next namespace, or to the end."""
    if cursor.peek("\n## ") or cursor.at == len(cursor.text) - 1:
        cursor.need("\n")
        return None
    end = cursor.text.find("\n\n## ", cursor.at)
    end = len(cursor.text) - 2 if end < 0 else end
    found = cursor.text[cursor.at : end]
    cursor.at = end + 2
    return joined(found.split("\n")) if found else None
