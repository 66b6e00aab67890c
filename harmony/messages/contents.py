"""The parts of a message's content: text, system content and developer content, with the tools that these declare.

`harmony.messages.model` exports them beside the messages, and decides their flat form. This module knows no messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Self

import msgspec

from harmony.messages.builtin_tools import BROWSER, PYTHON
from harmony.messages.record import ArgumentError, Record
from harmony.messages.roles import KNOWN_CHANNELS, ReasoningEffort


class ToolDescription(Record, omit_defaults=True):
    """One function that the model may call. `parameters` is a JSON schema, rendered in the order of its keys."""

    name: str
    description: str
    parameters: dict[str, Any] | None = None

    @classmethod
    def new(cls, name: str, description: str, parameters: dict[str, Any] | None = None) -> Self:
        """A function with this name, a description for the model, and the JSON schema of its parameters."""
        return cls(name=name, description=description, parameters=parameters)


class ToolNamespaceConfig(Record, omit_defaults=True, kw_only=True):
    """A group of functions under one name. The recipient `functions.search` names `search` in the group `functions`."""

    name: str
    description: str | None = None
    tools: list[ToolDescription]

    @classmethod
    def browser(cls) -> Self:
        """The built-in group `browser`, for searching and reading the web."""
        return cls.model_validate(deepcopy(BROWSER))

    @classmethod
    def python(cls) -> Self:
        """The built-in tool `python`, for running Python code."""
        return cls.model_validate(deepcopy(PYTHON))


class ResponseFormat(Record, omit_defaults=True):
    """A form for the answer: a name, a JSON schema, rendered in the order of its keys, and what the form is for."""

    name: str
    schema: dict[str, Any]
    description: str | None = None


class ChannelConfig(Record):
    """Which channels the assistant may use, and whether each message must name one."""

    valid_channels: list[str]
    channel_required: bool

    @classmethod
    def require_channels(cls, channels: list[str]) -> Self:
        """A config with these channels, where each message must name one of them."""
        return cls(valid_channels=channels, channel_required=True)


def _with_namespace(
    tools: dict[str, ToolNamespaceConfig] | None, namespace: ToolNamespaceConfig
) -> dict[str, ToolNamespaceConfig]:
    if not isinstance(namespace, ToolNamespaceConfig):
        raise ArgumentError(f"Expected `ToolNamespaceConfig`, got `{type(namespace).__name__}`")
    return {**(tools or {}), namespace.name: namespace}


class Content(Record):
    """One part of a message's content: TextContent, SystemContent or DeveloperContent."""

    def to_dict(self) -> dict[str, Any]:
        """The part as a new dict, with its `type`. Fields that are None are left out."""
        if self.__struct_config__.tag is None:
            raise NotImplementedError(f"`{type(self).__name__}` has no written form")
        return self.model_dump(exclude_none=True)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Reads a part from a dict. `type` may be missing, unknown keys are ignored. Raises as `model_validate`."""
        return cls.model_validate(raw)

    def _data(self) -> list[Any] | None:
        tools = getattr(self, "tools", None)
        data: list[Any] = []
        for space in tools.values() if type(tools) is dict else [tools]:
            if type(space) is not ToolNamespaceConfig or type(space.tools) is not list:
                return None
            for tool in space.tools:
                if type(tool) is not ToolDescription:
                    return None
                data.append(tool.parameters)
        return data


class TextContent(Content, tag="text", gc=False):
    """A part that is text. Most messages have one such part, and no other."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """The part as a new dict: `{"type": "text", "text": …}`."""
        return {"type": "text", "text": self.text}


class SystemContent(Content, tag="system_content"):
    """The content of the system message: identity, dates, reasoning effort, channels, and built-in tools.

    A field that is None is left out of the rendered message. The flat form leaves it out too, as openai-harmony 0.0.8
    does, and reading the flat form fills in the default. So a `model_identity` of None is lost in the flat form.
    """

    model_identity: str | None = "You are ChatGPT, a large language model trained by OpenAI."
    reasoning_effort: ReasoningEffort | None = ReasoningEffort.MEDIUM
    conversation_start_date: str | None = None
    knowledge_cutoff: str | None = "2024-06"
    channel_config: ChannelConfig | None = msgspec.field(
        default_factory=lambda: ChannelConfig.require_channels(list(KNOWN_CHANNELS))
    )
    tools: dict[str, ToolNamespaceConfig] | None = None

    @classmethod
    def new(cls) -> Self:
        """System content with the defaults."""
        return cls()

    def with_model_identity(self, model_identity: str) -> Self:
        """Sets the first line, which says who the model is, and returns this content."""
        return self._with("model_identity", model_identity)

    def with_reasoning_effort(self, reasoning_effort: ReasoningEffort) -> Self:
        """Sets the effort, and returns this content."""
        return self._with("reasoning_effort", reasoning_effort)

    def with_conversation_start_date(self, conversation_start_date: str) -> Self:
        """Sets the text of the current date, such as `2025-06-28`, and returns this content."""
        return self._with("conversation_start_date", conversation_start_date)

    def with_knowledge_cutoff(self, knowledge_cutoff: str) -> Self:
        """Sets the text of the knowledge cutoff, such as `2024-06`, and returns this content."""
        return self._with("knowledge_cutoff", knowledge_cutoff)

    def with_channel_config(self, channel_config: ChannelConfig) -> Self:
        """Sets the channels, and returns this content."""
        return self._with("channel_config", channel_config)

    def with_required_channels(self, channels: list[str]) -> Self:
        """Sets the channels, one of which each message must name, and returns this content."""
        return self._with("channel_config", ChannelConfig.require_channels(channels))

    def with_tools(self, ns_config: ToolNamespaceConfig) -> Self:
        """Adds a namespace, or replaces the one of its name, and returns this content."""
        return self._with("tools", _with_namespace(self.tools, ns_config))

    def with_browser_tool(self) -> Self:
        """Adds the tool `browser`, and returns this content."""
        return self.with_tools(ToolNamespaceConfig.browser())

    def with_python_tool(self) -> Self:
        """Adds the tool `python`, and returns this content."""
        return self.with_tools(ToolNamespaceConfig.python())


class DeveloperContent(Content, tag="developer_content", omit_defaults=True):
    """The content of the developer message: instructions, functions that the model may call, and forms of its answer.

    `response_formats` is an addition to openai-harmony. An empty list of them becomes None, and None is in no form as
    data.
    """

    instructions: str | None = None
    tools: dict[str, ToolNamespaceConfig] | None = None
    response_formats: list[ResponseFormat] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.response_formats, list | tuple) and not self.response_formats:
            self.response_formats = None

    @classmethod
    def new(cls) -> Self:
        """Developer content without instructions, tools and response formats."""
        return cls()

    def with_instructions(self, instructions: str) -> Self:
        """Sets the instructions, and returns this content."""
        return self._with("instructions", instructions)

    def with_tools(self, ns_config: ToolNamespaceConfig) -> Self:
        """Adds a namespace, or replaces the one of its name, and returns this content."""
        return self._with("tools", _with_namespace(self.tools, ns_config))

    def with_function_tools(self, tools: Sequence[ToolDescription]) -> Self:
        """Sets the functions of the namespace `functions`, replaces earlier ones, and returns this content."""
        return self.with_tools(ToolNamespaceConfig(name="functions", tools=list(tools)))

    def with_response_format(self, name: str, schema: dict[str, Any], description: str | None = None) -> Self:
        """Adds a form for the answer, or replaces the one of its name, and returns this content.

            >>> schema = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}}}}
            >>> content = DeveloperContent.new().with_response_format("shopping_list", schema)
            >>> content.response_formats[0].name
            'shopping_list'

        The model reads the schema, but nothing makes its answer valid. Raises as ResponseFormat does: TypeError for a
        value of a wrong type.
        """
        formats = self.response_formats or []
        names = [one.name for one in formats]
        place = names.index(name) if name in names else len(names)
        made = ResponseFormat(name, schema, description)
        return self._with("response_formats", [*formats[:place], made, *formats[place + 1 :]])

    def _data(self) -> list[Any] | None:
        formats = getattr(self, "response_formats", None)
        if formats is None:
            return super()._data()
        if type(formats) is not list or not {ResponseFormat}.issuperset(map(type, formats)):
            return None
        of_tools = [] if self.tools is None else super()._data()
        return None if of_tools is None else of_tools + [one.schema for one in formats]

    def _fields(self) -> dict[str, Any]:
        fields = super()._fields()
        if not self.response_formats:
            del fields["response_formats"]
        return fields


def holds_schemas(part: Content) -> bool:
    """Whether a part declares tools or response formats, whose schemas are data of the user."""
    return bool(getattr(part, "tools", None) or getattr(part, "response_formats", None))
