"""The texts of system and developer messages, made from SystemContent and DeveloperContent.

This module decides the sections and their order, which are those of openai-harmony 0.0.8. Response formats are not in
openai-harmony; their section is that of OpenAI's guide to the format. `typescript.py`, `full.py` and `template.py`
write the types of parameters. The contents must be checked before. This module knows no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from harmony.errors import HarmonyError
from harmony.format.choices import Schemas, Style
from harmony.messages.contents import (
    DeveloperContent,
    ResponseFormat,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespaceConfig,
)
from harmony.messages.roles import Role
from harmony.rendering.template import TemplateWriter
from harmony.rendering.typescript import Writer

if TYPE_CHECKING:
    from harmony.rendering.full import FullWriter

#: What writes the types of a message, in one of the ways.
Types: TypeAlias = "Writer | FullWriter | TemplateWriter"


def writer_of(style: Style, schemas: Schemas, role: Role) -> type[Types]:
    """What writes the schemas of tools in a message of this role. The template has types of its own for functions."""
    if schemas == "full":
        from harmony.rendering.full import FullWriter  # loaded here, because most programs write no whole types

        return FullWriter
    return TemplateWriter if style == "hf" and role is Role.DEVELOPER else Writer


def system_text(content: SystemContent, types: Types, function_tools: bool) -> str:
    """The text of a system message. `function_tools`: whether the conversation declares tools in `functions`."""
    identity = [] if content.model_identity is None else [content.model_identity]
    if content.knowledge_cutoff is not None:
        identity.append(f"Knowledge cutoff: {content.knowledge_cutoff}")
    if content.conversation_start_date is not None:
        identity.append(f"Current date: {content.conversation_start_date}")
    sections = ["\n".join(identity)] if identity else []

    if content.reasoning_effort is not None:
        sections.append(f"Reasoning: {content.reasoning_effort.value.lower()}")
    if content.tools:
        sections.append(_tools(content.tools, types))
    if content.channel_config is not None and content.channel_config.valid_channels:
        channels = f"# Valid channels: {', '.join(content.channel_config.valid_channels)}."
        if content.channel_config.channel_required:
            channels += " Channel must be included for every message."
        if function_tools:
            channels += "\nCalls to these tools must go to the commentary channel: 'functions'."
        sections.append(channels)
    return "\n\n".join(sections)


def developer_text(content: DeveloperContent, types: Types, style: Style) -> str:
    """The text of a developer message. In the style "hf", a blank line stands behind instructions at its end."""
    sections = [] if content.instructions is None else ["# Instructions", content.instructions]
    if content.tools:
        sections.append(_tools(content.tools, types))
    if content.response_formats:
        sections += ["# Response Formats", *map(_response_format, content.response_formats)]
    elif style == "hf" and sections and not content.tools:
        sections.append("")
    return "\n\n".join(sections)


def part_text(part: Any) -> str:
    """The text of a part of a content, as the model reads it. It is JSON if the part cannot be rendered."""
    if isinstance(part, TextContent):
        return part.text
    try:
        if hasattr(part, "instructions"):
            return developer_text(part, Writer(), "openai")
        return system_text(part, Writer(), function_tools=False)
    except (HarmonyError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return msgspec.json.encode(part.to_dict()).decode()


def _response_format(form: ResponseFormat) -> str:
    description = [f"// {line}" for line in Writer.lines(form.description or "")]
    return "\n".join([f"## {form.name}\n", *description, msgspec.json.encode(form.schema).decode()])


def _tools(tools: dict[str, ToolNamespaceConfig], types: Types) -> str:
    return "\n\n".join(["# Tools", *("\n".join(_namespace(tools[name], types)) for name in sorted(tools))])


def _namespace(namespace: ToolNamespaceConfig, types: Types) -> Iterator[str]:
    yield f"## {namespace.name}\n"
    description = types.lines(namespace.description) if namespace.description else []
    if not namespace.tools:
        yield from description
        return
    yield from (f"// {line}" for line in description)
    yield f"namespace {namespace.name} {{\n"
    names = [tool.name for tool in namespace.tools]
    for tool in namespace.tools:
        yield from _function(tool, types, names)
    yield f"}} // namespace {namespace.name}"


def _function(tool: ToolDescription, types: Types, names: list[str]) -> Iterator[str]:
    parameters = types.parameters(tool.parameters, names)
    yield from parameters.types
    yield from (f"// {line}" for line in [*types.lines(tool.description), *parameters.comments])
    yield f"type {tool.name} = ({parameters.text}) => any;\n"
