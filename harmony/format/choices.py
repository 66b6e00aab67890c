"""The ways to write and to read the format, as the strings of arguments and options. Importing this takes no time."""

from __future__ import annotations

from typing import Literal, TypeAlias

#: The three forms of an input: whole messages; a prompt, which ends in an open `<|start|>role`; and a completion, whose
#: first message has no `<|start|>assistant`.
Start: TypeAlias = Literal["conversation", "prompt", "completion"]

#: How messages are written. "openai" puts the recipient before the channel, as openai-harmony does. "oss" puts it after
#: the channel `commentary`, and writes each content type as `<|constrain|>word`. That is what oss-harmony 0.0.11 does,
#: and what the model tends to write. "hf" writes what the chat template of gpt-oss on Hugging Face writes: the headers
#: of "openai", other types of tools, and JSON for the calls and the results of functions.
Style: TypeAlias = Literal["openai", "oss", "hf"]

#: The purpose of a rendering. "conversation" renders the messages as they are. "completion" adds an open `<|start|>`
#: and the role whose turn is next. "training" ends an answer on `final` with `<|return|>`, if it is the last message.
Purpose: TypeAlias = Literal["conversation", "completion", "training"]

#: What becomes of the reasoning of a turn that a user's message ends. "turn": the format drops it, so the prompt has to
#: be rendered anew. "all": it stays.
Reasoning: TypeAlias = Literal["turn", "all"]

#: What becomes of the `<|return|>` at the end of a completion, when a prompt goes on behind it. "end": it becomes
#: `<|end|>`, as in every rendered history. "keep": it stays.
Close: TypeAlias = Literal["end", "keep"]

#: Which analysis is rendered: all of it, that of turns that are not finished, or what the purpose needs. For a prompt,
#: "auto" is the rule of openai-harmony. For training, only turns before the last one lose their analysis.
Analysis: TypeAlias = Literal["auto", "keep", "drop"]

#: Which turns of a conversation are learned: each in an example of its own, only the last, or all in one example.
Turns: TypeAlias = Literal["each", "last", "all"]

#: The shape of messages: those of the JSON form of Harmony, of the Chat Completions API, or of the Responses API.
Shape: TypeAlias = Literal["harmony", "chat", "responses"]

#: How the JSON schemas of tools are written. "reference" is what openai-harmony writes, with `any` for much. "full" is
#: whole types: what fits the schema fits the type.
Schemas: TypeAlias = Literal["reference", "full"]
