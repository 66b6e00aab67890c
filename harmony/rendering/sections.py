"""The texts of system and developer messages: what SystemContent and DeveloperContent say to the model.

Decides the sections and their order, as openai-harmony 0.0.8 has them; the types of parameters are `typescript`'s.
Works on plain, checked data and knows no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from harmony.messages.model import DeveloperContent, SystemContent, ToolDescription, ToolNamespaceConfig
from harmony.rendering.typescript import Writer


def system_text(content: SystemContent, types: Writer, function_tools: bool) -> str:
    """What a system message says; `function_tools` is whether the conversation declares any in `functions`."""
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


def developer_text(content: DeveloperContent, types: Writer) -> str:
    """What a developer message says."""
    sections = [] if content.instructions is None else ["# Instructions", content.instructions]
    if content.tools:
        sections.append(_tools(content.tools, types))
    return "\n\n".join(sections)


def _tools(tools: dict[str, ToolNamespaceConfig], types: Writer) -> str:
    return "\n\n".join(["# Tools", *("\n".join(_namespace(tools[name], types)) for name in sorted(tools))])


def _namespace(namespace: ToolNamespaceConfig, types: Writer) -> Iterator[str]:
    yield f"## {namespace.name}\n"
    description = _lines(namespace.description or "")
    if not namespace.tools:
        yield from description
        return
    yield from (f"// {line}" for line in description)
    yield f"namespace {namespace.name} {{\n"
    for tool in namespace.tools:
        yield from _function(tool, types)
    yield f"}} // namespace {namespace.name}"


def _function(tool: ToolDescription, types: Writer) -> Iterator[str]:
    yield from (f"// {line}" for line in _lines(tool.description))
    parameters = "" if tool.parameters is None else f"_: {types.text(tool.parameters)}"
    yield f"type {tool.name} = ({parameters}) => any;\n"


def _lines(text: str) -> list[str]:
    """The lines of a text, ended by `\\n` or `\\r\\n` alone; what stands after the last end is a line if it is any."""
    *lines, rest = text.split("\n")
    return [line.removesuffix("\r") for line in lines] + ([rest] if rest else [])
