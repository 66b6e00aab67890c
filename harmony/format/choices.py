"""The ways to write and to read the format, as the strings of arguments and options. Importing this takes no time."""

from __future__ import annotations

from typing import Literal, TypeAlias

#: The three forms of an input: whole messages; a prompt, which ends in an open `<|start|>role`; and a completion, whose
#: first message has no `<|start|>assistant`.
Start: TypeAlias = Literal["conversation", "prompt", "completion"]

#: How headers are written. "openai" puts the recipient before the channel, as openai-harmony does. "oss" puts it after
#: the channel `commentary`, and writes each content type as `<|constrain|>word`. That is what oss-harmony 0.0.11 does,
#: and what the model tends to write.
Style: TypeAlias = Literal["openai", "oss"]

#: The purpose of a rendering. "conversation" renders the messages as they are. "completion" adds an open `<|start|>`
#: and the role whose turn is next. "training" ends an answer on `final` with `<|return|>`, if it is the last message.
Purpose: TypeAlias = Literal["conversation", "completion", "training"]

#: Which analysis is rendered: all of it, that of turns that are not finished, or what the purpose needs. For a prompt,
#: "auto" is the rule of openai-harmony. For training, only turns before the last one lose their analysis.
Analysis: TypeAlias = Literal["auto", "keep", "drop"]

#: Which turns of a conversation are learned: each in an example of its own, only the last, or all in one example.
Turns: TypeAlias = Literal["each", "last", "all"]

#: The shape of messages: those of the JSON form of Harmony, of the Chat Completions API, or of the Responses API.
Shape: TypeAlias = Literal["harmony", "chat", "responses"]
